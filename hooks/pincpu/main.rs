// SPDX-License-Identifier: GPL-2.0-or-later

//! Lets all virtual CPUs of a VM run on a set of host CPUs only.
//!
//! Events: `before_vm_start`; `before_vm_migrate_destination`, where the CPUs are only looked for,
//! because VDSM drops what a hook writes there (VDSM 4.50 lib/vdsm/virt/vm.py: the result of
//! `before_vm_migrate_destination` goes nowhere).
//!
//! Property: `pincpu`, a CPU set in libvirt's notation. Absent or blank: nothing happens.
//!
//! Reads `/sys/devices/system/cpu/online`.

use std::process::ExitCode;

use vdsm_hooks::host::cpu_set::IdSet;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::xml::{self, Document, Edits, Node};
use vdsm_hooks::{Error, Result, hook, program, props};

const PROPERTY: &str = "pincpu";
const ONLINE: &str = "/sys/devices/system/cpu/online";

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::given(PROPERTY)? else {
        return Ok(());
    };
    let wrong = |problem| props::wrong(PROPERTY, &value, problem);
    let set = IdSet::parse_on(&value, online).map_err(wrong)?;
    if hook::event()? == "before_vm_migrate_destination" {
        return check_online(&set).map_err(wrong);
    }
    hook::edit(|document, edits| {
        if let Some(vcpu) = to_pin(document, &value)? {
            check_online(&set).map_err(wrong)?;
            pin(document, vcpu, edits, &value);
        }
        Ok(())
    })
}

/// The `<vcpu>` to pin; none if somebody else has decided where the VM runs.
fn to_pin<'a, 'i>(document: &'a Document<'i>, cpus: &str) -> Result<Option<Node<'a, 'i>>> {
    let root = domain::root(document)?;
    let Some(vcpu) = xml::child(root, "vcpu") else {
        return Err(Error::new(format!(
            "{PROPERTY}: the domain has no <vcpu> to pin"
        )));
    };
    if let Some(present) = xml::attr(vcpu, "cpuset") {
        // A second run meets its own work.
        if present != cpus {
            log::warn!(
                "{PROPERTY}: the VM already has the CPU set {present:?}, nothing is changed"
            );
        }
        return Ok(None);
    }
    // VDSM knew the policy before any hook ran, and goes by it right after the start (VDSM 4.50
    // lib/vdsm/virt/cpumanagement.py: on_vm_create).
    match domain::vdsm_metadata(document, "cpuPolicy").as_deref() {
        Some("dedicated" | "isolate-threads" | "siblings") => {
            log::warn!("{PROPERTY}: the engine pins the CPUs of this VM, nothing is changed");
            return Ok(None);
        }
        Some("none" | "manual") => log::warn!(
            "{PROPERTY}: VDSM will re-pin the CPUs of this VM to its shared pool; use the engine's CPU pinning"
        ),
        _ => {}
    }
    if xml::child(root, "cputune").is_some_and(|tune| xml::child(tune, "vcpupin").is_some()) {
        log::warn!("{PROPERTY}: the VM has <vcpupin> entries, which win for their virtual CPUs");
    }
    Ok(Some(vcpu))
}

fn pin(document: &Document<'_>, vcpu: Node<'_, '_>, edits: &mut Edits<'_>, cpus: &str) {
    edits.set_attr(vcpu, "cpuset", cpus);
    if xml::attr(vcpu, "placement") != Some("auto") {
        return;
    }
    // libvirt 9.0 src/conf/domain_conf.c, virDomainVcpuParse: it ignores the set otherwise.
    edits.set_attr(vcpu, "placement", "static");
    // Memory is placed like the CPUs unless it says otherwise, and libvirt refuses "static" without
    // nodes (libvirt 9.0 src/conf/numa_conf.c: virDomainNumatuneSet; tried with libvirt 9.0 and 11.3).
    let numatune = xml::child(document.root_element(), "numatune");
    if let Some(memory) = numatune.and_then(|tune| xml::child(tune, "memory")) {
        if ["placement", "nodeset"]
            .iter()
            .all(|name| xml::attr(memory, name).is_none())
        {
            edits.set_attr(memory, "placement", "auto");
        }
    }
}

/// The CPUs that this host runs.
fn online() -> Result<IdSet> {
    IdSet::of_file(ONLINE)
}

/// Whether this host can run anything on these CPUs.
fn check_online(set: &IdSet) -> Result {
    let online = online()?;
    let offline = set.without(&online);
    if offline.len() == set.len() {
        return Err(Error::new(format!(
            "none of these CPUs is online on this host, expected some of {online}"
        )));
    }
    if !offline.is_empty() {
        log::warn!("{PROPERTY}={set}: not online on this host: {offline}");
    }
    Ok(())
}
