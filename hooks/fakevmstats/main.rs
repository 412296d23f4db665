// SPDX-License-Identifier: GPL-2.0-or-later

//! Reports invented statistics of running VMs, for load tests and demonstrations of the engine.
//!
//! Event: `after_get_all_vm_stats`.
//!
//! Setting: `fake_vmstats_enable` in the section `[vars]` of vdsm.conf. False or absent: nothing
//! happens.
//!
//! VMs that are not up keep theirs. What a VM says of its NICs follows from its id, so that the
//! engine does not see new ones at every call.

use std::process::ExitCode;

use serde_json::{Map, Number, Value, json};
use vdsm_hooks::json::{Edits, Node, Object};
use vdsm_hooks::vdsm::conf::VdsmConf;
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const GIB: u64 = 1 << 30;
/// What is drawn for each disk and each NIC, and the largest value.
const OF_DISK: [(&str, u64); 5] = [
    ("readRate", 1 << 31),
    ("writeRate", 1 << 31),
    ("readLatency", 1_000_000_000),
    ("writeLatency", 1_000_000_000),
    ("flushLatency", 1_000_000_000),
];
const OF_NIC: [(&str, u64); 4] = [
    ("rxDropped", 62),
    ("rxErrors", 62),
    ("txDropped", 62),
    ("txErrors", 62),
];
/// What the guest has mounted, and the sizes.
const MOUNTS: [(&str, u64); 3] = [("/", 20 * GIB), ("/boot", GIB), ("/home", 50 * GIB)];
const APPS: [&str; 12] = [
    "bash-5.1.8-9.el9.x86_64",
    "chrony-4.5-3.el9.x86_64",
    "coreutils-8.32-36.el9.x86_64",
    "glibc-2.34-125.el9.x86_64",
    "httpd-2.4.62-1.el9.x86_64",
    "kernel-5.14.0-503.el9.x86_64",
    "openssh-server-8.7p1-43.el9.x86_64",
    "openssl-3.2.2-6.el9.x86_64",
    "python3-3.9.19-8.el9.x86_64",
    "qemu-guest-agent-9.0.0-10.el9.x86_64",
    "sudo-1.9.5p2-10.el9.x86_64",
    "systemd-252-46.el9.x86_64",
];

fn main() -> ExitCode {
    hook::run(program!(), || run().map_err(Error::keep_going))
}

fn run() -> Result {
    if VdsmConf::turning_on("fake_vmstats_enable")?.is_none() {
        return Ok(());
    }
    let mut random = Random(getrandom::u64().context("the system's random source")?);
    let apps = json!(APPS);
    hook::edit_json(|document, edits| {
        let vms = document.array();
        let vms = vms.ok_or_else(|| hook::unexpected_json("an array, an object for each VM"))?;
        for vm in vms {
            if let Err(problem) = invent(vm, edits, &mut random, &apps) {
                log::warn!("{problem}; its statistics stay as they are");
            }
        }
        Ok(())
    })
}

fn invent<'a>(vm: Node<'a>, edits: &mut Edits<'a>, random: &mut Random, apps: &Value) -> Result {
    let vm = vm
        .object()
        .ok_or_else(|| Error::new("a VM that is no object"))?;
    let id = vm.get("vmId").and_then(Node::string).unwrap_or_default();
    let status = vm.get("status");
    let status = status.ok_or_else(|| Error::new(format!("VM {id}: no status")))?;
    if status.string().as_deref() != Some("Up") {
        return Ok(());
    }
    let bytes = uuid_bytes(&id).ok_or_else(|| {
        let id = props::quoted(&id);
        Error::new(format!("vmId={id}: not a UUID"))
    })?;
    let total = random.up_to(10_000);
    let user = random.up_to(total);
    put(&vm, edits, "cpuUser", percent(user))?;
    put(&vm, edits, "cpuSys", percent(total - user))?;
    put(&vm, edits, "memUsage", random.up_to(100).to_string())?;
    for (map, counters) in [("disks", &OF_DISK[..]), ("network", &OF_NIC[..])] {
        let map = vm.get(map).and_then(Node::object);
        let devices = map.iter().flat_map(Object::members);
        for device in devices.filter_map(|(_, device)| device.object()) {
            for (name, most) in counters {
                put(&device, edits, name, random.up_to(*most).to_string())?;
            }
        }
    }
    edits.set(&vm, "session", &json!("Unknown"))?;
    invent_memory(&vm, edits, random)?;
    edits.set(&vm, "diskUsage", &disk_usage(random))?;
    edits.set(&vm, "netIfaces", &interfaces(&bytes))?;
    let fqdn = format!("{}.fakefqdn.com", id.replace('-', ""));
    edits.set(&vm, "guestFQDN", &json!(fqdn))?;
    edits.set(&vm, "appsList", apps)
}

/// Sets a member; one that is a number stays one, else it becomes text, as VDSM has it.
fn put<'a>(object: &Object<'a>, edits: &mut Edits<'a>, name: &str, number: String) -> Result {
    let known = object.get(name).map(Node::source).unwrap_or_default();
    let value = if known.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        Value::Number(number.parse::<Number>()?)
    } else {
        Value::String(number)
    };
    edits.set(object, name, &value)
}

fn percent(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Sizes are in KiB.
fn invent_memory<'a>(vm: &Object<'a>, edits: &mut Edits<'a>, random: &mut Random) -> Result {
    let memory = vm.get("memoryStats").and_then(Node::object);
    let mem_total = memory.as_ref().and_then(|memory| memory.get("mem_total"));
    let known = mem_total.and_then(|node| node.text().parse().ok());
    let total = known.unwrap_or_else(|| 1 << (20 + random.up_to(5)));
    let used = random.up_to(total);
    let unused = random.up_to(used);
    let mut drawn = vec![("mem_unused", unused), ("mem_free", unused)];
    if known.is_none() {
        drawn.insert(0, ("mem_total", total));
    }
    let counters = ["swap_in", "swap_out", "pageflt", "majflt"];
    drawn.extend(counters.map(|name| (name, random.up_to(1024))));
    let Some(memory) = memory else {
        let members = drawn.into_iter();
        let members = members.map(|(name, number)| (name.to_owned(), json!(number.to_string())));
        let members: Map<String, Value> = members.collect();
        return edits.set(vm, "memoryStats", &Value::Object(members));
    };
    for (name, number) in drawn {
        put(&memory, edits, name, number.to_string())?;
    }
    Ok(())
}

fn disk_usage(random: &mut Random) -> Value {
    let least = GIB / 4;
    let mount = |(path, total): (&str, u64)| {
        let used = least + random.up_to(total - least);
        json!({"path": path, "fs": "ext4", "total": total.to_string(), "used": used.to_string()})
    };
    Value::Array(MOUNTS.into_iter().map(mount).collect())
}

/// The guest's NICs, with counters that never stop and are always the same for a VM.
fn interfaces(id: &[u8; 16]) -> Value {
    let mut stream = (0..).map(|k: usize| id[k % 16].wrapping_add((k / 16) as u8));
    let mut next = || stream.next().unwrap_or_default();
    // Stands for the number of further mounts, of which there are none.
    next();
    let count = 1 + next() % 3;
    let interface = |number| {
        let hw: Vec<String> = (0..6).map(|_| format!("{:02x}", next())).collect();
        let [a, b, c, d] = [next(), next(), next(), next()];
        json!({
            "hw": hw.join(":"),
            "inet": [format!("{a}.{b}.{c}.{d}")],
            "inet6": [format!("0:0:0:0:0:ffff:{a:x}{b:02x}:{c:x}{d:02x}")],
            "name": format!("eth{number}"),
        })
    };
    Value::Array((0..count).map(interface).collect())
}

fn uuid_bytes(id: &str) -> Option<[u8; 16]> {
    if !vdsm_hooks::props::is_uuid(id) {
        return None;
    }
    u128::from_str_radix(&id.replace('-', ""), 16)
        .ok()
        .map(u128::to_be_bytes)
}

/// Numbers that are good enough to look real (splitmix64): thousands are needed at every call.
struct Random(u64);

impl Random {
    /// From 0 to `most`, all of them about equally likely.
    fn up_to(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = u128::from(mixed ^ (mixed >> 31));
        ((mixed * (u128::from(most) + 1)) >> 64) as u64
    }
}
