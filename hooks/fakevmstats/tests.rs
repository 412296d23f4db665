// SPDX-License-Identifier: GPL-2.0-or-later

//! fakevmstats: what is drawn keeps to its bounds and fits together, call after call; what follows
//! from a VM's id stays the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use support::host::Host;
use support::{Firing, not_run, private_host};

const RUNS: usize = 100;
const IDS: [&str; 3] = [
    "11111111-2222-3333-4444-555555555555",
    "00010203-0405-4607-8809-0a0b0c0d0e0f",
    "fffefdfc-fbfa-49f8-b7f6-f5f4f3f2f1f0",
];
/// Ten VMs that are up for each id, and one that is not.
const UP: usize = 30;

fn statistics() -> String {
    let up = |number: usize| {
        let id = IDS[number % IDS.len()];
        format!(
            "{{\"vmId\": \"{id}\", \"status\": \"Up\", \"disks\": {{\"vda\": {{}}}}, \
             \"network\": {{\"vnet0\": {{}}}}, \"memoryStats\": {{}}}}"
        )
    };
    let vms: Vec<String> = (0..UP).map(up).collect();
    format!("[{},\n {DOWN}\n]\n", vms.join(",\n "))
}

const DOWN: &str =
    r#"{"status":"Down" , "vmId": "0f0e0d0c-0b0a-4908-8706-050403020100",  "x":1.50}"#;

fn host() -> Host {
    let conf = r#"{"vdsm_conf": {"vars": {"fake_vmstats_enable": "true"}}}"#;
    serde_json::from_str(conf).unwrap()
}

/// Numbers by where they stand; all of them are texts.
fn numbers(vm: &Value) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for place in [
        "/cpuUser",
        "/cpuSys",
        "/memUsage",
        "/disks/vda/readRate",
        "/disks/vda/writeRate",
        "/disks/vda/readLatency",
        "/disks/vda/writeLatency",
        "/disks/vda/flushLatency",
        "/network/vnet0/rxDropped",
        "/network/vnet0/rxErrors",
        "/network/vnet0/txDropped",
        "/network/vnet0/txErrors",
        "/memoryStats/mem_total",
        "/memoryStats/mem_unused",
        "/memoryStats/mem_free",
        "/memoryStats/swap_in",
        "/memoryStats/swap_out",
        "/memoryStats/pageflt",
        "/memoryStats/majflt",
        "/diskUsage/0/used",
        "/diskUsage/1/used",
        "/diskUsage/2/used",
    ] {
        let text = vm.pointer(place).and_then(Value::as_str);
        let text = text.unwrap_or_else(|| panic!("no text at {place}: {vm}"));
        found.insert(place.to_owned(), text.parse().unwrap());
    }
    found
}

fn largest(place: &str) -> (f64, f64) {
    let gib = f64::from(1 << 30);
    match place.rsplit('/').next().unwrap() {
        "cpuUser" | "cpuSys" | "memUsage" => (0.0, 100.0),
        "readRate" | "writeRate" => (0.0, 2.0 * gib),
        "readLatency" | "writeLatency" | "flushLatency" => (0.0, 1e9),
        "rxDropped" | "rxErrors" | "txDropped" | "txErrors" => (0.0, 62.0),
        // In KiB: 1 GiB to 32 GiB.
        "mem_total" => (gib / 1024.0, 32.0 * gib / 1024.0),
        "mem_unused" | "mem_free" => (0.0, 32.0 * gib / 1024.0),
        "used" if place.contains("/0/") => (gib / 4.0, 20.0 * gib),
        "used" if place.contains("/1/") => (gib / 4.0, gib),
        "used" => (gib / 4.0, 50.0 * gib),
        _ => (0.0, 1024.0),
    }
}

#[test]
fn numbers_keep_to_their_bounds_and_fit_together() {
    if let Err(reason) = private_host() {
        return not_run("numbers_keep_to_their_bounds_and_fit_together", reason);
    }
    let mut seen: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let mut totals = BTreeSet::new();
    for _ in 0..RUNS {
        let document = statistics();
        let firing = Firing::new("fakevmstats", "after_get_all_vm_stats", document.as_bytes());
        let outcome = firing.data_named_in("_hook_json").on(&host()).run();
        assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""));
        let text = String::from_utf8(outcome.data.unwrap()).unwrap();
        assert!(text.ends_with(&format!(",\n {DOWN}\n]\n")), "{text}");
        let vms: Vec<Value> = serde_json::from_str(&text).unwrap();
        for vm in &vms[..UP] {
            let found = numbers(vm);
            let at = |place: &str| found[place];
            assert!(at("/cpuUser") + at("/cpuSys") < 100.001, "{vm}");
            assert_eq!(at("/memoryStats/mem_free"), at("/memoryStats/mem_unused"));
            assert!(at("/memoryStats/mem_free") <= at("/memoryStats/mem_total"));
            totals.insert(at("/memoryStats/mem_total") as u64);
            for (place, number) in found {
                let (least, most) = largest(&place);
                assert!((least..=most).contains(&number), "{place}: {number}");
                let range = seen.entry(place).or_insert((number, number));
                *range = (range.0.min(number), range.1.max(number));
            }
        }
    }
    // Powers of two, all of them.
    assert_eq!(totals, (20..26).map(|power| 1 << power).collect());
    // Of 3000 numbers some come near both ends. Those that are drawn up to another drawn one come
    // near the upper end less often.
    for (place, (least, most)) in seen {
        let (low, high) = largest(&place);
        let near_low = low + (high - low) / 50.0;
        let share = if place.starts_with("/cpu") || place.contains("mem_") {
            0.6
        } else {
            0.95
        };
        assert!(
            least <= near_low.max(low + 1.0),
            "{place}: never below {least}"
        );
        assert!(
            most >= low + (high - low) * share,
            "{place}: never above {most}"
        );
    }
}

#[test]
fn the_nics_of_a_guest_follow_from_its_id() {
    if let Err(reason) = private_host() {
        return not_run("the_nics_of_a_guest_follow_from_its_id", reason);
    }
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for _ in 0..3 {
        let document = statistics();
        let firing = Firing::new("fakevmstats", "after_get_all_vm_stats", document.as_bytes());
        let outcome = firing.data_named_in("_hook_json").on(&host()).run();
        let vms: Vec<Value> = serde_json::from_slice(&outcome.data.unwrap()).unwrap();
        for vm in &vms[..UP] {
            let stable = ["netIfaces", "guestFQDN", "appsList", "session"].map(|name| &vm[name]);
            let id = vm["vmId"].as_str().unwrap().to_owned();
            let stable = serde_json::to_string(&stable).unwrap();
            seen.entry(id).or_default().insert(stable);
        }
    }
    assert_eq!(seen.len(), IDS.len());
    assert!(seen.values().all(|values| values.len() == 1), "{seen:?}");
    let ones = seen[IDS[0]].first().unwrap();
    let [nics, fqdn, apps, _]: [Value; 4] = serde_json::from_str(ones).unwrap();
    assert_eq!(fqdn, "11111111222233334444555555555555.fakefqdn.com");
    assert!(apps.as_array().is_some_and(|apps| apps.len() > 5));
    let nics = nics.as_array().unwrap();
    assert_eq!(nics.len(), 3);
    // Bytes 0 and 1 of the id are the counts.
    assert_eq!(nics[0]["hw"], "11:11:22:22:33:33");
    assert_eq!(nics[0]["inet"][0], "68.68.85.85");
    assert_eq!(nics[0]["inet6"][0], "0:0:0:0:0:ffff:4444:5555");
    // The second one begins with byte 12; from byte 16 on each is one more than in the id.
    assert_eq!(nics[1]["hw"], "55:55:55:55:12:12");
    assert_eq!(nics[1]["inet"][0], "18.18.35.35");
    assert_eq!(nics[1]["inet6"][0], "0:0:0:0:0:ffff:1212:2323");
    assert_eq!(nics[2]["name"], "eth2");
}
