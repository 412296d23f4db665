// SPDX-License-Identifier: GPL-2.0-or-later

//! Binds a VM's memory to NUMA nodes of the host.
//!
//! Events: `before_vm_start`; `before_vm_migrate_destination`, where the nodes are only looked for,
//! because VDSM drops what a hook writes there (VDSM 4.50 lib/vdsm/virt/vm.py: the result of
//! `before_vm_migrate_destination` goes nowhere).
//!
//! Property: `numa=MODE:NODESET`. Absent or blank: nothing happens.
//!
//! Reads `/sys/devices/system/node/online`.

use std::path::Path;
use std::process::ExitCode;

use vdsm_hooks::host::cpu_set::IdSet;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::xml::{self, Document, Edits, Element};
use vdsm_hooks::{Error, Result, hook, program, props};

const PROPERTY: &str = "numa";
const ONLINE: &str = "/sys/devices/system/node/online";
const MODES: [&str; 4] = ["strict", "interleave", "preferred", "restrictive"];

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::given(PROPERTY)? else {
        return Ok(());
    };
    let (mode, nodes) = parse(&value).map_err(|problem| props::wrong(PROPERTY, &value, problem))?;
    if hook::event()? == "before_vm_migrate_destination" {
        return Ok(());
    }
    hook::edit(|document, edits| bind(document, edits, mode, nodes))
}

fn bind(document: &Document<'_>, edits: &mut Edits<'_>, mode: &str, nodes: &str) -> Result {
    let root = domain::root(document)?;
    let memory = Element::new("memory")
        .attr("mode", mode)
        .attr("nodeset", nodes);
    let Some(tune) = xml::child(root, "numatune") else {
        let tune = Element::new("numatune").child(memory);
        match xml::child(root, "cputune").or_else(|| xml::child(root, "vcpu")) {
            Some(before) => edits.insert_after(before, &tune),
            None => edits.append(root, &tune),
        }
        return Ok(());
    };
    let mut present = tune.children().filter(xml::Node::is_element);
    let Some(first) = present.next() else {
        edits.append(tune, &memory);
        return Ok(());
    };
    let is_ours = xml::is(first, "memory")
        && xml::attr(first, "mode") == Some(mode)
        && xml::attr(first, "nodeset") == Some(nodes);
    if is_ours && present.next().is_none() {
        return Ok(());
    }
    Err(Error::new(format!(
        "{PROPERTY}: the domain already has <numatune>, expected either that (virtual NUMA nodes, pinned in the engine) or this property"
    )))
}

/// Mode and node set, both as they were given: libvirt reads the same notation.
fn parse(value: &str) -> Result<(&str, &str)> {
    let form = || {
        let modes = MODES.join(", ");
        Error::new(format!(
            "expected MODE:NODESET such as strict:0-1, with one of {modes}"
        ))
    };
    let (mode, nodes) = value.split_once(':').ok_or_else(form)?;
    if !MODES.contains(&mode) {
        return Err(form());
    }
    let set = IdSet::parse_on(nodes, online)?;
    if mode == "preferred" && set.len() > 1 {
        return Err(Error::new("the mode preferred takes exactly one node"));
    }
    let online = online()?;
    let missing = set.without(&online);
    if !missing.is_empty() {
        return Err(Error::new(format!(
            "this host has no NUMA node {missing}, expected some of {online}"
        )));
    }
    Ok((mode, nodes))
}

/// The nodes that this host has. A kernel without NUMA has no such file, and libvirt then knows node 0
/// alone (src/conf/capabilities.c: virCapabilitiesHostNUMAInitFake).
fn online() -> Result<IdSet> {
    if Path::new(ONLINE).exists() {
        IdSet::of_file(ONLINE)
    } else {
        IdSet::parse("0")
    }
}
