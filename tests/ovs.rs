// SPDX-License-Identifier: GPL-2.0-or-later

//! The set-up of networks by the hook ovs where the host fails it, every step in turn. Switch and
//! kernel are recorded here; hooks/ovs/hypervisor.sh has real ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;
use support::host::Host;
use support::{Firing, not_run, steps};

const NETWORKS: &str = "/var/lib/vdsm/staging/netconf/nets";
const STATE: &str = "/run/vdsm-hooks/ovs/setup";
/// The transaction of the set-up, and the one that leads back.
const THERE: &str = "add-br red ovsbr0 12";
const BACK: &str = "--if-exists del-br red";

/// One network is there, of another one nothing but VDSM's own.
fn host() -> Host {
    let blue = json!({"nic": "em1", "vlan": 11, "custom": {"ovs": "true"}});
    let host = json!({
        "dirs": ["/sys/class/net/em1", "/sys/class/net/em2"],
        "files": {
            "/var/lib/vdsm/staging/netconf/nets/blue": blue.to_string(),
            "/var/lib/vdsm/staging/netconf/nets/plain": "{\"nic\": \"em3\"}",
        },
        "commands": {"ip": [], "ovs-vsctl": []},
    });
    serde_json::from_value(host).unwrap()
}

fn firing() -> Firing {
    let red = json!({
        "nic": "em2", "vlan": 12, "ipaddr": "198.51.100.7", "prefix": 24,
        "custom": {"ovs": "true"},
    });
    let request = json!({"request": {
        "networks": {"red": red, "blue": {"remove": true}, "plain": {"nic": "em3"}},
        "bondings": {}, "options": {},
    }});
    let request = request.to_string().into_bytes();
    Firing::new("ovs", "before_network_setup", &request).on(&host())
}

/// VDSM's networks, by name.
fn networks(firing: &Firing) -> BTreeMap<String, String> {
    let entries = fs::read_dir(firing.root().unwrap().at(NETWORKS)).unwrap();
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        (entry.file_name().into_string().unwrap(), text)
    };
    entries.map(file).collect()
}

/// Whether the switch was told to go back as often as it was told to change, and last of all.
fn is_back(firing: &Firing) -> bool {
    let calls = firing.root().unwrap().calls();
    let last = |words: &str| calls.iter().rposition(|call| call.contains(words));
    last(THERE) <= last(BACK)
}

fn has_state(firing: &Firing) -> bool {
    firing.root().unwrap().at(STATE).exists()
}

#[test]
fn the_networks_are_as_they_were_whichever_step_fails() {
    let test = "the_networks_are_as_they_were_whichever_step_fails";
    if let Some(reason) = steps::why_not() {
        return not_run(test, &reason);
    }
    let sound = firing();
    let before = networks(&sound);
    let outcome = sound.run();
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let after = networks(&sound);
    assert_eq!(after.keys().collect::<Vec<_>>(), ["plain", "red"]);
    assert!(has_state(&sound) && !is_back(&sound));

    let mut refused = 0;
    steps::each("error=EIO", firing, |step, firing, outcome| {
        if outcome.status == Some(0) {
            // Of some calls nobody needs the answer.
            let mut found = networks(firing);
            if outcome.stderr.contains("left behind") {
                found.retain(|name, _| !name.starts_with('.'));
            }
            assert_eq!(found, after, "{step}");
            return;
        }
        refused += 1;
        assert!(!outcome.touched, "{step}");
        if has_state(firing) {
            // The way back has failed as well: VDSM says that the set-up has failed.
            assert!(firing.succeeds_at("after_network_setup_fail"), "{step}");
        }
        assert_eq!(networks(firing), before, "{step}");
        assert!(is_back(firing) && !has_state(firing), "{step}");
    });
    assert!(refused > 40, "only {refused} steps");
}

#[test]
fn after_sigkill_at_any_step_the_end_of_the_setup_goes_back() {
    let test = "after_sigkill_at_any_step_the_end_of_the_setup_goes_back";
    if let Some(reason) = steps::why_not() {
        return not_run(test, &reason);
    }
    let before = networks(&firing());
    let count = steps::each("signal=KILL", firing, |step, firing, _| {
        assert!(firing.succeeds_at("after_network_setup_fail"), "{step}");
        assert_eq!(networks(firing), before, "{step}");
        assert!(is_back(firing) && !has_state(firing), "{step}");
    });
    assert!(count > 40, "only {count} steps");
}
