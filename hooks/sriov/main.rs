// SPDX-License-Identifier: GPL-2.0-or-later

//! Gives a VM the SR-IOV virtual functions with these interface names, as NICs.
//!
//! Events: `before_vm_start`; `before_vm_migrate_source`, which is refused; `after_vm_destroy`,
//! where the VM's reservations go.
//!
//! Property: `sriov`, names with commas between them, each with `@MAC` or without. Absent or blank:
//! nothing happens.

use std::cell::OnceCell;
use std::path::Path;
use std::process::ExitCode;

use vdsm_hooks::host::bridge::MAX_IFNAME_BYTES;
use vdsm_hooks::host::files;
use vdsm_hooks::host::rollback::Undo;
use vdsm_hooks::host::state::Records;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::libvirt::sriov::{Presence, VirtualFunction};
use vdsm_hooks::libvirt::unfiltered::Unfiltered;
use vdsm_hooks::props::Mac;
use vdsm_hooks::vdsm::start;
use vdsm_hooks::xml::{self, Document};
use vdsm_hooks::{Error, Result, hook, program, props};

const PROPERTY: &str = "sriov";
const UNFILTERED: Unfiltered = Unfiltered {
    port: "virtual function",
    instead: "do without sriov",
};
const IOMMU_GROUPS: &str = "/sys/kernel/iommu_groups";

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::given(PROPERTY)? else {
        return Ok(());
    };
    match hook::event()?.as_str() {
        "before_vm_migrate_source" => Err(props::wrong(
            PROPERTY,
            &value,
            "a VM with SR-IOV devices cannot migrate",
        )),
        "after_vm_destroy" => release(),
        _ => start(&value),
    }
}

fn start(value: &str) -> Result {
    let items = parse(value)?;
    let checked = UNFILTERED.check_properties();
    checked.map_err(|error| props::wrong(PROPERTY, value, error))?;
    let records = OnceCell::new();
    let mut undo = Undo::default();
    hook::edit(|document, edits| {
        let functions = look_up(document, value, &items)?;
        // Made only now, so that a refusal leaves nothing.
        let records = records.get_or_init(|| Records::for_hook(PROPERTY));
        let records = records.as_ref().map_err(Error::clone)?;
        let devices = domain::devices(document)?;
        let vm = vm_of(document)?;
        for function in &functions {
            reserve(records, &mut undo, value, &vm, function)?;
            if function.presence(document) == Presence::Absent {
                edits.append(devices, &function.nic());
            }
        }
        Ok(())
    })?;
    undo.keep();
    Ok(())
}

fn parse(value: &str) -> Result<Vec<(&str, Option<Mac>)>> {
    let wrong = |item: &str, what: &str| {
        props::wrong(PROPERTY, value, format!("bad item {item:?}: {what}"))
    };
    let mut items: Vec<(&str, Option<Mac>)> = Vec::new();
    for item in value.split(',') {
        let (name, mac) = match item.split_once('@') {
            Some((name, mac)) => (name, Some(mac)),
            None => (item, None),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let is_name = (1..=MAX_IFNAME_BYTES).contains(&name.len()) && name.chars().all(plain);
        if !is_name || [".", ".."].contains(&name) {
            return Err(wrong(item, "expected the name of a network interface"));
        }
        let address = mac.map(|mac| Mac::parse(mac).filter(|mac| mac.is_unicast()));
        if address == Some(None) {
            return Err(wrong(item, "expected a MAC address of one machine after @"));
        }
        if items.iter().any(|(other, _)| *other == name) {
            return Err(wrong(item, "it is listed twice"));
        }
        items.push((name, address.flatten()));
    }
    Ok(items)
}

fn look_up(
    document: &Document<'_>,
    value: &str,
    items: &[(&str, Option<Mac>)],
) -> Result<Vec<VirtualFunction>> {
    let wrong = |what: String| props::wrong(PROPERTY, value, what);
    domain::devices(document)?;
    vm_of(document)?;
    let mut functions: Vec<VirtualFunction> = Vec::new();
    for (name, mac) in items {
        let function = VirtualFunction::look_up(name, *mac).map_err(wrong)?;
        let is_listed_twice = functions.iter().any(|other| other.pci == function.pci);
        if is_listed_twice || function.presence(document) == Presence::NotOurs {
            return Err(wrong(format!(
                "bad item {name:?}: the VM has this device twice"
            )));
        }
        functions.push(function);
    }
    if files::entries(Path::new(IOMMU_GROUPS))?.is_empty() {
        return Err(wrong("host has no IOMMU".to_owned()));
    }
    Ok(functions)
}

/// Reserves a function for the VM.
fn reserve<'u>(
    records: &'u Records,
    undo: &mut Undo<'u>,
    value: &str,
    vm: &str,
    function: &VirtualFunction,
) -> Result {
    let record = function.address();
    if records.create(&record, vm)? {
        let name = record.clone();
        undo.push(format!("the reservation of {record}"), move || {
            records.remove(&name)
        });
        return Ok(());
    }
    // A start that was broken off has left it, or another VM has it.
    let owner = records.read(&record)?.unwrap_or_default();
    let owner = owner.trim();
    if owner != vm {
        let what = format!("{} is reserved by VM {owner}", function.name);
        return Err(props::wrong(PROPERTY, value, what));
    }
    Ok(())
}

/// Drops this VM's reservations, and nobody else's.
fn release() -> Result {
    let records = Records::for_hook(PROPERTY)?;
    let remove = |vm: &str| -> Result {
        for name in records.names()? {
            if records.read(&name)?.is_some_and(|owner| owner.trim() == vm) {
                records.remove(&name)?;
            }
        }
        Ok(())
    };
    match props::text("vmId")? {
        Some(_) => remove(&start::vm_id()?),
        None => hook::read(|document| remove(&vm_of(document)?)),
    }
}

fn vm_of(document: &Document<'_>) -> Result<String> {
    if props::text("vmId")?.is_some() {
        return start::vm_id();
    }
    let uuid = xml::child(document.root_element(), "uuid").map(xml::text);
    let uuid = uuid
        .map(|uuid| uuid.trim().to_owned())
        .filter(|uuid| !uuid.is_empty());
    uuid.ok_or_else(|| Error::new("neither vmId nor the document has the VM's id"))
}
