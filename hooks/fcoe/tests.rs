// SPDX-License-Identifier: GPL-2.0-or-later

//! The hook fcoe where the host fails it, every step in turn: all files change, or none.

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
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;
use support::host::Host;
use support::{Firing, not_run, steps};

const DIRECTORY: &str = "/etc/fcoe";

/// Two ports change, one is new, two go.
fn host() -> Host {
    let network = |nic| json!({"nic": nic, "custom": {"fcoe": ""}}).to_string();
    let host = json!({
        "files": {
            "/etc/fcoe/cfg-ethx": "FCOE_ENABLE=\"yes\"\nDCB_REQUIRED=\"yes\"\n",
            "/etc/fcoe/cfg-eth0": {"text": "of eth0\n", "mode": "0600", "owner": "36:36"},
            "/etc/fcoe/cfg-eth1": "of eth1\n",
            "/etc/fcoe/cfg-eth2": "of eth2\n",
            "/etc/fcoe/cfg-eth4": {"text": "of eth4\n", "mode": "0640"},
            "/etc/fcoe/cfg-eth5": "of eth5\n",
            "/var/lib/vdsm/staging/netconf/nets/a": network("eth0"),
            "/var/lib/vdsm/staging/netconf/nets/b": network("eth1"),
            "/var/lib/vdsm/staging/netconf/nets/c": network("eth2"),
            "/var/lib/vdsm/staging/netconf/nets/d": network("eth4"),
        },
        "commands": {"systemctl": []},
    });
    serde_json::from_value(host).unwrap()
}

fn request() -> Vec<u8> {
    let request = json!({"request": {"networks": {
        "a": {"nic": "eth0", "custom": {"fcoe": "dcb=no"}},
        "b": {"remove": true},
        "c": {"nic": "eth3", "custom": {"fcoe": ""}},
        "d": {"nic": "eth4", "custom": {"fcoe": "enable=no"}},
    }}});
    request.to_string().into_bytes()
}

/// Owner, mode and content of each file.
type Files = BTreeMap<String, (u32, u32, String)>;

fn files(firing: &Firing) -> Files {
    let entries = fs::read_dir(firing.root().unwrap().at(DIRECTORY)).unwrap();
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let facts = entry.metadata().unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        let mode = facts.mode() & 0o7777;
        let name = entry.file_name().into_string().unwrap();
        (name, (facts.uid(), mode, text))
    };
    entries.map(file).collect()
}

fn firing() -> Firing {
    Firing::new("fcoe", "before_network_setup", &request()).on(&host())
}

#[test]
fn after_sigkill_at_any_step_the_next_request_restarts_the_services() {
    let test = "after_sigkill_at_any_step_the_next_request_restarts_the_services";
    if let Some(reason) = steps::why_not() {
        return not_run(test, &reason);
    }
    let sound = firing();
    assert_eq!(sound.run().status, Some(0));
    let after = files(&sound);
    let owed = |firing: &Firing| {
        let owed = firing.root().unwrap().at("/run/vdsm-hooks/fcoe/restart");
        owed.exists()
    };
    assert!(!owed(&sound));
    let count = steps::each("signal=KILL", firing, |step, firing, _| {
        assert!(firing.succeeds_at("before_network_setup"), "{step}");
        assert_eq!(files(firing), after, "{step}");
        let calls = firing.root().unwrap().calls();
        for service in ["lldpad", "fcoe"] {
            let restart = format!("restart {service}");
            let is_done = calls.iter().any(|call| call.contains(&restart));
            assert!(is_done, "{restart}: {calls:?}: {step}");
        }
        assert!(!owed(firing), "{step}");
        // And no more than what is owed.
        assert!(firing.succeeds_at("before_network_setup"), "{step}");
        assert_eq!(firing.root().unwrap().calls(), calls, "{step}");
    });
    assert!(count > 40, "only {count} steps");
}

#[test]
fn all_files_or_none_whichever_step_fails() {
    if let Some(reason) = steps::why_not() {
        return not_run("all_files_or_none_whichever_step_fails", &reason);
    }
    let sound = firing();
    let before = files(&sound);
    let outcome = sound.run();
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let after = files(&sound);
    let names: Vec<_> = after.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["cfg-eth0", "cfg-eth3", "cfg-eth4", "cfg-eth5", "cfg-ethx"]
    );
    assert_eq!(after["cfg-eth0"].1, 0o644);

    let mut refused = 0;
    steps::each("error=EIO", firing, |step, firing, outcome| {
        let mut found = files(firing);
        if outcome.stderr.contains("left behind") {
            // No port has a name like that.
            found.retain(|name, _| !name.starts_with('.'));
        }
        assert!(!outcome.touched, "{step}");
        if outcome.status == Some(0) {
            // Of some calls nobody needs the answer.
            assert_eq!(found, after, "{step}");
        } else {
            refused += 1;
            assert_eq!(found, before, "{step}");
            assert!(firing.root().unwrap().calls().is_empty(), "{step}");
        }
    });
    assert!(refused > 40, "only {refused} steps");
}
