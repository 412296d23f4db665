// SPDX-License-Identifier: GPL-2.0-or-later

//! The hook sriov where the host fails it: every step in turn, and SIGKILL at every step. What sysfs
//! shows of a card with virtual functions are files here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::host::Host;
use support::{Firing, VM_ID, not_run, steps};

const DOMAIN: &[u8] = b"<domain><devices/></domain>\n";
const RECORDS: &str = "/run/vdsm/hooks/sriov";
const FUNCTIONS: [&str; 2] = ["0000:05:02.2", "0000:05:02.3"];

/// The interfaces `vf0` and `vf1` on the two functions.
fn host() -> Host {
    let mut host = json!({
        "dirs": ["/sys/kernel/iommu_groups/7", "/run/vdsm"],
        "files": {},
        "links": {},
        "commands": {"ip": []},
    });
    for (number, function) in FUNCTIONS.iter().enumerate() {
        let nic = format!("vf{number}");
        let place = format!("devices/pci0000:00/{function}");
        let net = format!("/sys/{place}/net/{nic}");
        let address = format!("d6:5e:33:01:02:0{number}\n");
        host["files"][format!("{net}/address")] = Value::from(address);
        host["links"][format!("{net}/device")] = Value::from(format!("../../../{function}"));
        host["links"][format!("/sys/class/net/{nic}")] =
            Value::from(format!("../../{place}/net/{nic}"));
        let directories = host["dirs"].as_array_mut().unwrap();
        directories.push(Value::from(format!("/sys/{place}/physfn")));
    }
    serde_json::from_value(host).unwrap()
}

fn start() -> Firing {
    Firing::new("sriov", "before_vm_start", DOMAIN)
        .on(&host())
        .variable("sriov", "vf0,vf1")
}

fn records(firing: &Firing) -> PathBuf {
    firing.root().unwrap().at(RECORDS)
}

/// The functions that are reserved, each with the VM. A name with a dot in front is nobody's record.
fn reserved(firing: &Firing) -> Vec<(String, String)> {
    let entries = fs::read_dir(records(firing)).into_iter().flatten();
    let record = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let owner = fs::read_to_string(entry.path()).unwrap();
        (entry.file_name().into_string().unwrap(), owner)
    };
    let mut records: Vec<_> = entries.map(record).collect();
    records.retain(|(name, _)| !name.starts_with('.'));
    records.sort();
    records
}

fn both() -> Vec<(String, String)> {
    let both = FUNCTIONS.map(|function| (function.to_owned(), VM_ID.to_owned()));
    both.into()
}

#[test]
fn no_function_stays_reserved_whichever_step_fails() {
    if let Some(reason) = steps::why_not() {
        return not_run("no_function_stays_reserved_whichever_step_fails", &reason);
    }
    let mut refused = 0;
    steps::each("error=EIO", start, |step, firing, outcome| {
        // Who cannot run ip does not know whether the host uses the function.
        let is_ip = step.starts_with("clone");
        if outcome.status == Some(0) && !is_ip {
            // Of some calls nobody needs the answer.
            assert_eq!(reserved(firing), both(), "{step}");
            let data = String::from_utf8(outcome.data.clone().unwrap()).unwrap();
            assert_eq!(data.matches("<interface ").count(), 2, "{step}");
            return;
        }
        refused += 1;
        assert_ne!(outcome.status, Some(0), "{step}");
        assert!(!outcome.touched, "{step}");
        assert!(outcome.left_behind.is_empty(), "{step}");
        let left = fs::read_dir(records(firing)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{step}");
    });
    assert!(refused > 40, "only {refused} steps");
}

#[test]
fn after_sigkill_at_any_step_the_vm_starts_again_and_its_end_frees_all() {
    let test = "after_sigkill_at_any_step_the_vm_starts_again_and_its_end_frees_all";
    if let Some(reason) = steps::why_not() {
        return not_run(test, &reason);
    }
    let count = steps::each("signal=KILL", start, |step, firing, _| {
        assert!(firing.succeeds_at("before_vm_start"), "{step}");
        assert_eq!(reserved(firing), both(), "{step}");
        assert!(firing.succeeds_at("after_vm_destroy"), "{step}");
        assert!(reserved(firing).is_empty(), "{step}");
    });
    assert!(count > 40, "only {count} steps");
}
