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
struct Port {
    hook: &'static str,
    events: &'static [&'static str],
    variables: &'static Variables,
    /// If not that of the hook's examples.
    host: Option<&'static str>,
    /// Whether libvirt can filter what becomes of the NIC.
    can_be_filtered: bool,
}

const START: &[&str] = &["before_vm_start"];
const PLUG: &[&str] = &["before_device_create", "before_nic_hotplug"];
const PLUG_AND_UPDATE: &[&str] = &[
    "before_device_create",
    "before_nic_hotplug",
    "before_update_device",
];
const VNIC_ID: (&str, &str) = ("vnic_id", "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9");
const OPENSTACK: (&str, &str) = ("provider_type", "OPENSTACK_NETWORK");
const PORTS: [Port; 12] = [
    Port {
        hook: "ovs",
        events: PLUG_AND_UPDATE,
        variables: &[],
        host: None,
        can_be_filtered: false,
    },
    // A bridge that is no network of VDSM's.
    Port {
        hook: "ovs",
        events: PLUG_AND_UPDATE,
        variables: &[],
        host: Some(
            r#"{"dirs": ["/sys/class/net/ovirtmgmt"],
                "commands": {"ovs-vsctl": [{"out": "ovirtmgmt\n"}]}}"#,
        ),
        can_be_filtered: false,
    },
    Port {
        hook: "vmfex",
        events: START,
        variables: &[("vmfex", "{'00:1a:4a:aa:bb:01': 'gold'}")],
        host: None,
        can_be_filtered: false,
    },
    Port {
        hook: "vmfex_dev",
        events: PLUG,
        variables: &[("vmfex", "gold")],
        host: None,
        can_be_filtered: false,
    },
    Port {
        hook: "macbind",
        events: START,
        variables: &[("macbind", "{'00:1a:4a:aa:bb:01': 'ovs0'}")],
        host: Some(
            r#"{"dirs": ["/sys/class/net/ovs0"],
                "commands": {"ovs-vsctl": [{"out": "ovs0\n"}]}}"#,
        ),
        can_be_filtered: false,
    },
    Port {
        hook: "macbind",
        events: START,
        variables: &[("macbind", "{'00:1a:4a:aa:bb:01': 'br0'}")],
        host: None,
        can_be_filtered: true,
    },
    Port {
        hook: "ovn",
        events: PLUG,
        variables: &[
            ("provider_type", "EXTERNAL_NETWORK"),
            ("plugin_type", "OVIRT_PROVIDER_OVN"),
            VNIC_ID,
        ],
        host: None,
        can_be_filtered: false,
    },
    Port {
        hook: "openstacknet",
        events: PLUG,
        variables: &[OPENSTACK, ("plugin_type", "OPEN_VSWITCH"), VNIC_ID],
        host: None,
        can_be_filtered: false,
    },
    Port {
        hook: "openstacknet",
        events: PLUG,
        variables: &[OPENSTACK, ("plugin_type", "LINUX_BRIDGE"), VNIC_ID],
        host: None,
        can_be_filtered: true,
    },
    Port {
        hook: "sriov",
        events: START,
        variables: &[("sriov", "enp5s0f0v2")],
        host: None,
        can_be_filtered: false,
    },
    Port {
        hook: "extnet",
        events: PLUG,
        variables: &[("extnet", "lab")],
        host: None,
        can_be_filtered: true,
    },
    Port {
        hook: "allocate_net",
        events: &["before_device_create"],
        variables: &[("equivnets", "red")],
        host: None,
        can_be_filtered: true,
    },
];

/// Whether two hooks are tried together here.
pub(crate) fn are_tried(pair: [&str; 2]) -> bool {
    let is_filter = |hook: &str| ORDERS[0].contains(&hook);
    let is_here = |hook: &str| is_filter(hook) || PORTS.iter().any(|port| port.hook == hook);
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
    let check_one = |port: &Port| {
        let turn = match port.host {
            Some(host) => Turn::of(port.hook).on(host),
            None => Turn::with_examples(port.hook),
        };
        if let (true, Err(why)) = (turn.has_host(), private_host()) {
            return not_run(&format!("filters beside {}", port.hook), why);
        }
        for event in port.events {
            let file = match *event {
                "before_vm_start" => "domain.xml",
                _ => "interface.xml",
            };
            let document = fs::read(root().join("tests/data").join(file)).unwrap();
            check(port, &turn, event, &document);
        }
    };
    let check_one = &check_one;
    thread::scope(|threads| {
        for port in &PORTS {
            threads.spawn(move || check_one(port));
        }
    });
}

/// What hooks in this order make of the document, and which order that was.
fn outcome(
    order: &[Turn],
    event: &str,
    document: &[u8],
    variables: &Variables,
) -> (Result<String, String>, String) {
    let names: Vec<_> = order.iter().map(Turn::hook).collect();
    let what = format!("{names:?} at {event} with {variables:?}");
    let turns: Vec<_> = order.iter().collect();
    (
        chain::fire(&turns, event, document, &owned(variables)),
        what,
    )
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
            let variables = [&set, port.variables].concat();
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
            let variables = [set, port.variables].concat();
            for order in orders(hooks, turn) {
                let (result, what) = outcome(&order, event, document, &variables);
                let result = result.unwrap_or_else(|message| panic!("{what}: {message}"));
                assert_ne!(result.as_bytes(), document, "{what}");
            }
        }
    });
}
