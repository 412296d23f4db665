// SPDX-License-Identifier: GPL-2.0-or-later

//! The hook hugepages where the host fails it, every step in turn; and its root helper with what
//! nobody should tell it. The kernel's pool of pages is a file here; hooks/hugepages/hypervisor.sh
//! has the real one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::fs;
use std::process::Command;

use serde_json::json;
use support::helper_limits::Call;
use support::host::{Host, Root};
use support::{Firing, VM_ID, not_run, private_host, steps};

const DOMAIN: &[u8] = b"<domain><memory>1024</memory><devices/></domain>\n";
const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

fn host() -> Host {
    let host = json!({
        "files": {
            "/proc/meminfo": "MemTotal: 67108864 kB\nHugepagesize: 2048 kB\n",
            POOL: "3\n",
        },
        "hugetlbfs": ["/dev/hugepages"],
    });
    serde_json::from_value(host).unwrap()
}

fn start() -> Firing {
    Firing::new("hugepages", "before_vm_start", DOMAIN)
        .on(&host())
        .variable("hugepages_count", "16")
}

fn pages(root: &Root) -> String {
    let text = fs::read_to_string(root.at(POOL)).unwrap();
    text.trim().to_owned()
}

fn is_recorded(root: &Root) -> bool {
    let record = format!("/run/vdsm/hooks/hugepages/{VM_ID}");
    root.at(&record).exists()
}

#[test]
fn no_page_stays_reserved_whichever_step_fails() {
    let test = "no_page_stays_reserved_whichever_step_fails";
    if let Some(reason) = steps::why_not() {
        return not_run(test, &reason);
    }
    let mut refused = 0;
    steps::each("error=EIO", start, |step, firing, outcome| {
        let root = firing.root().unwrap();
        if outcome.status == Some(0) {
            // Of some calls nobody needs the answer.
            assert_eq!((&*pages(root), is_recorded(root)), ("19", true), "{step}");
            return;
        }
        refused += 1;
        assert!(!outcome.touched, "{step}");
        assert!(outcome.left_behind.is_empty(), "{step}");
        let says = |words| outcome.stderr.contains(words);
        if says("pages too many") || says("left behind") {
            // The undo has failed too: the next one who comes makes up for it.
            assert!(firing.succeeds_at("after_vm_destroy"), "{step}");
        }
        assert_eq!((&*pages(root), is_recorded(root)), ("3", false), "{step}");
    });
    assert!(refused > 40, "only {refused} steps");
}

#[test]
fn the_helper_refuses_what_the_hook_never_says() {
    let test = "the_helper_refuses_what_the_hook_never_says";
    if let Err(reason) = private_host() {
        return not_run(test, reason);
    }
    let firing = start();
    let root = firing.root().unwrap();
    let wrapper = root.wrapper();
    let helper = "/usr/libexec/vdsm-hooks/hugepages-set";
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&wrapper[0]);
        let output = command.args(&wrapper[1..]).arg(helper).args(arguments);
        output.output().unwrap()
    };
    for arguments in [
        &[][..],
        &["2048"],
        &["2048", "5", "6"],
        &["2048", ""],
        &["2048", "5 6"],
        &["2048", "+5"],
        &["2048", "05"],
        &["2048", "5\n"],
        &["2048", "0x5"],
        &["2048", "99999999999999999999"],
        &["2048", "32769"],
        &["4", "5"],
        &["0", "5"],
        &["2048kB/../hugepages-2048", "5"],
        &["../../..", "5"],
    ] {
        let output = run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("hugepages-set: "), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        assert_eq!(pages(root), "3", "{arguments:?}");
    }
    let output = run(&["2048", "32768"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(pages(root), "32768");
}

/// Below sudo nobody else could end it. The kernel may take its time to move memory out of the way.
#[test]
fn the_helper_ends_whatever_the_kernel_does() {
    let call = Call {
        helper: "hugepages-set",
        arguments: &["2048", "5"],
        input: "",
        endless: &[],
        dead: &["/sys/kernel/mm/hugepages"],
        limit: 60,
    };
    if let Err(reason) = call.gives_up() {
        not_run("the_helper_ends_whatever_the_kernel_does", &reason);
    }
}

#[test]
fn after_sigkill_at_any_step_the_end_of_the_vm_leaves_the_pool_as_it_was() {
    let test = "after_sigkill_at_any_step_the_end_of_the_vm_leaves_the_pool_as_it_was";
    if let Some(reason) = steps::why_not() {
        return not_run(test, &reason);
    }
    let count = steps::each("signal=KILL", start, |step, firing, _| {
        let root = firing.root().unwrap();
        assert!(firing.succeeds_at("before_vm_start"), "{step}");
        assert_eq!((&*pages(root), is_recorded(root)), ("19", true), "{step}");
        assert!(firing.succeeds_at("after_vm_destroy"), "{step}");
        assert_eq!((&*pages(root), is_recorded(root)), ("3", false), "{step}");
    });
    assert!(count > 40, "only {count} steps");
}
