// SPDX-License-Identifier: GPL-2.0-or-later

//! A NIC has one network filter, and three hooks may want it: the result must not hang on which of
//! them VDSM runs first.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::fs;

use support::{Firing, root};

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
    let mut document = document.to_vec();
    for hook in order {
        let firing = variables.iter().fold(
            Firing::new(hook, event, &document),
            |firing, (name, value)| firing.variable(name, value),
        );
        let outcome = firing.run();
        match outcome.status {
            Some(0) => document = outcome.data.unwrap(),
            // VDSM skips the others.
            Some(2) => return Err(outcome.stderr),
            other => panic!("{hook}: {other:?}: {}", outcome.stderr),
        }
    }
    Ok(String::from_utf8(document).unwrap())
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
