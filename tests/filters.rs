// SPDX-License-Identifier: GPL-2.0-or-later

//! A NIC has one network filter. Three hooks may want it, and others make ports that libvirt puts no
//! filter on: whichever VDSM runs first, a filter that a property asks for is there in the end, on a
//! NIC that libvirt can filter, or the VM is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::fs;
use std::thread;

use support::beside::{self, Beside, Port};
use support::chain::{self, Turn};
use support::{not_run, private_host, root};
use vdsm_hooks::libvirt::interface;
use vdsm_hooks::xml;

type Variables = [(&'static str, &'static str)];

const GATEWAY: (&str, &str) = ("isolatedprivatevlan", "52:54:00:aa:bb:cc");
const ADDRESSES: (&str, &str) = ("noipspoof", "192.0.2.9,192.0.2.10");
const FOREIGN: (&str, &str) = ("macspoof", "true");
const FOREIGN_ON_ONE: (&str, &str) = ("ifacemacspoof", "true");

const ORDERS: [[&str; 3]; 6] = [
    ["isolatedprivatevlan", "macspoof", "noipspoof"],
    ["isolatedprivatevlan", "noipspoof", "macspoof"],
    ["macspoof", "isolatedprivatevlan", "noipspoof"],
    ["macspoof", "noipspoof", "isolatedprivatevlan"],
    ["noipspoof", "isolatedprivatevlan", "macspoof"],
    ["noipspoof", "macspoof", "isolatedprivatevlan"],
];

/// What VDSM gets from hooks in this order: the document, or the message of the one that failed.
fn fire(
    order: &[&str],
    event: &str,
    document: &[u8],
    variables: &Variables,
) -> Result<String, String> {
    let turns: Vec<_> = order.iter().map(|hook| Turn::of(hook)).collect();
    let turns: Vec<_> = turns.iter().collect();
    chain::fire(&turns, event, document, &owned(variables))
}

fn owned(variables: &Variables) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    variables.iter().map(owned).collect()
}

/// The one result of all orders.
fn in_any_order(event: &str, variables: &Variables) -> Result<String, String> {
    let file = match event {
        "before_vm_start" => "ovirt-vm.xml",
        _ => "interface.xml",
    };
    let document = fs::read(root().join("tests/data").join(file)).unwrap();
    let first = fire(&ORDERS[0], event, &document, variables);
    for order in &ORDERS[1..] {
        let result = fire(order, event, &document, variables);
        assert_eq!(result, first, "{order:?} at {event} with {variables:?}");
    }
    first
}

const EVENTS: [&str; 4] = [
    "before_vm_start",
    "before_device_create",
    "before_nic_hotplug",
    "before_update_device",
];

#[test]
fn the_filter_for_a_gateway_outlives_macspoof() {
    for event in EVENTS {
        let both = in_any_order(event, &[GATEWAY, FOREIGN, FOREIGN_ON_ONE]);
        assert_eq!(both, in_any_order(event, &[GATEWAY]));
        let both = both.unwrap();
        assert!(both.contains("isolatedprivatevlan-vdsm"), "{both}");
        assert!(!both.contains("vdsm-no-mac-spoofing"), "{both}");
    }
}

#[test]
fn addresses_and_a_gateway_are_refused() {
    for event in EVENTS {
        let message = in_any_order(event, &[GATEWAY, ADDRESSES]).unwrap_err();
        let says = "isolatedprivatevlan: isolatedprivatevlan=\"52:54:00:aa:bb:cc\": noipspoof is set as well";
        assert!(message.starts_with(says), "{message}");
    }
}

#[test]
fn addresses_and_foreign_ones_are_refused() {
    for event in EVENTS {
        for foreign in [FOREIGN, FOREIGN_ON_ONE] {
            let message = in_any_order(event, &[ADDRESSES, foreign]).unwrap_err();
            let says = format!(
                "noipspoof: noipspoof=\"192.0.2.9,192.0.2.10\": {} is true as well",
                foreign.0
            );
            assert!(message.starts_with(&says), "{message}");
        }
    }
}

#[test]
fn all_three_are_refused() {
    let variables = [GATEWAY, ADDRESSES, FOREIGN];
    for order in ORDERS {
        let document = fs::read(root().join("tests/data/ovirt-vm.xml")).unwrap();
        let message = fire(&order, "before_vm_start", &document, &variables).unwrap_err();
        assert!(
            message.contains(" is set as well") || message.contains(" is true as well"),
            "{message}"
        );
    }
}

/// A hook that makes a port of another kind, or plugs the NIC in elsewhere.
struct Plug {
    hook: String,
    port: Port,
}

fn plugs() -> Vec<Plug> {
    let mut plugs = Vec::new();
    for (hook, beside) in beside::all() {
        plugs.extend(beside.ports.into_iter().map(|port| Plug {
            hook: hook.clone(),
            port,
        }));
    }
    assert!(plugs.len() > 10, "only {}", plugs.len());
    plugs
}

/// Whether two hooks are tried together here.
pub(crate) fn are_tried(pair: [&str; 2]) -> bool {
    let is_filter = |hook: &str| ORDERS[0].contains(&hook);
    let is_here = |hook: &str| is_filter(hook) || !Beside::of(hook).ports.is_empty();
    pair.into_iter().all(is_here) && pair.into_iter().any(is_filter)
}

/// The orders of some filter hooks with a port's hook at every place among them.
fn orders(filters: &[&'static str], port: &Turn) -> Vec<Vec<Turn>> {
    let mut all = vec![vec![port.clone()]];
    for filter in filters {
        let places = all.iter().flat_map(|order| {
            (0..=order.len()).map(|at| {
                let mut order = order.clone();
                order.insert(at, Turn::of(filter));
                order
            })
        });
        all = places.collect();
    }
    all
}

/// Whether every NIC has this filter and can have it.
fn is_protected(document: &str, filter: &str) -> bool {
    let document = xml::parse(document).unwrap();
    let nics = interface::all(&document).unwrap();
    assert!(!nics.is_empty());
    nics.iter().all(|interface| {
        let filters: Vec<_> = xml::children(*interface, "filterref").collect();
        interface::why_not_filterable(*interface).is_none()
            && filters.len() == 1
            && xml::attr(filters[0], "filter") == Some(filter)
    })
}

/// Every port at each of its events, with its turn and the document.
fn with_every_port(check: impl Fn(&Port, &Turn, &str, &[u8]) + Sync) {
    let check_one = |Plug { hook, port }: &Plug| {
        let turn = match &port.host {
            Some(host) => Turn::of(hook).on(&host.to_string()),
            None => Turn::with_examples(hook),
        };
        if let (true, Err(why)) = (turn.has_host(), private_host()) {
            return not_run(&format!("filters beside {hook}"), why);
        }
        for event in &port.events {
            let file = match event.as_str() {
                "before_vm_start" => "domain.xml",
                _ => "interface.xml",
            };
            let document = fs::read(root().join("tests/data").join(file)).unwrap();
            check(port, &turn, event, &document);
        }
    };
    let (check_one, plugs) = (&check_one, plugs());
    thread::scope(|threads| {
        for plug in &plugs {
            threads.spawn(move || check_one(plug));
        }
    });
}

/// What hooks in this order make of the document, and which order that was.
fn outcome(
    order: &[Turn],
    event: &str,
    document: &[u8],
    variables: &[(String, String)],
) -> (Result<String, String>, String) {
    let names: Vec<_> = order.iter().map(Turn::hook).collect();
    let what = format!("{names:?} at {event} with {variables:?}");
    let turns: Vec<_> = order.iter().collect();
    (chain::fire(&turns, event, document, variables), what)
}

/// What the VM has, and what makes the port.
fn with_port(of_vm: &Variables, port: &Port) -> Vec<(String, String)> {
    let of_port = port.variables.clone().into_iter();
    owned(of_vm).into_iter().chain(of_port).collect()
}

#[test]
fn no_port_takes_a_filter_away_that_a_property_asks_for() {
    with_every_port(|port, turn, event, document| {
        for (asking, filter, also) in [
            (GATEWAY, "isolatedprivatevlan-vdsm", None),
            (GATEWAY, "isolatedprivatevlan-vdsm", Some(FOREIGN)),
            (ADDRESSES, "clean-traffic", None),
        ] {
            let set: Vec<_> = [asking].into_iter().chain(also).collect();
            let hooks: Vec<_> = set.iter().map(|(property, _)| *property).collect();
            let variables = with_port(&set, port);
            for order in orders(&hooks, turn) {
                let (result, what) = outcome(&order, event, document, &variables);
                match result {
                    Ok(result) => {
                        assert!(port.can_be_filtered, "{what}: not refused: {result}");
                        assert!(is_protected(&result, filter), "{what}: {result}");
                    }
                    Err(message) => {
                        assert!(!port.can_be_filtered, "{what}: {message}");
                        assert!(message.contains(asking.0), "{what}: {message}");
                    }
                }
            }
        }
    });
}

#[test]
fn where_no_property_asks_for_a_filter_every_port_is_made() {
    with_every_port(|port, turn, event, document| {
        for (set, hooks) in [(&[][..], &[][..]), (&[FOREIGN], &["macspoof"])] {
            let variables = with_port(set, port);
            for order in orders(hooks, turn) {
                let (result, what) = outcome(&order, event, document, &variables);
                let result = result.unwrap_or_else(|message| panic!("{what}: {message}"));
                assert_ne!(result.as_bytes(), document, "{what}");
            }
        }
    });
}
