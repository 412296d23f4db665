// SPDX-License-Identifier: GPL-2.0-or-later

//! Lets a guest give freed blocks back to the storage: turns on discard for SCSI and IDE disks.
//!
//! Event: `before_vm_start`.
//!
//! Property: `diskunmap=on|off`. Absent or `off`: nothing happens.
//!
//! Disks on other buses, CD-ROMs, floppies, and disks that are hot-plugged are left alone.

use std::process::ExitCode;

use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Result, hook, program, props};

const PROPERTY: &str = "diskunmap";
/// How many disks a message names.
const MAX_SHOWN_DISKS: usize = 5;

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    match props::text(PROPERTY)?.as_deref() {
        Some("on") => hook::edit(discard),
        None | Some("off") => Ok(()),
        // Existing VMs may carry such a value, and it never had an effect.
        Some(other) => {
            log::warn!(
                "{}; nothing is changed",
                props::wrong(PROPERTY, other, "expected on or off")
            );
            Ok(())
        }
    }
}

fn discard(document: &Document<'_>, edits: &mut Edits<'_>) -> Result {
    let disks = xml::devices(document, "disk");
    let (chosen, others): (Vec<_>, Vec<_>) = disks.into_iter().partition(|disk| qualifies(*disk));
    if chosen.is_empty() {
        let others = others.into_iter().filter(|disk| is_disk(*disk));
        let others = shown(&others.filter_map(bus).collect::<Vec<_>>());
        log::warn!("{PROPERTY}: the VM has no SCSI or IDE disk{others}, nothing is changed");
    }
    for disk in chosen {
        match xml::child(disk, "driver") {
            Some(driver) => edits.set_attr(driver, "discard", "unmap"),
            None => edits.prepend(
                disk,
                &Element::new("driver")
                    .attr("name", "qemu")
                    .attr("discard", "unmap"),
            ),
        }
    }
    Ok(())
}

fn qualifies(disk: Node<'_, '_>) -> bool {
    is_disk(disk) && matches!(bus(disk), Some((_, "scsi" | "ide")))
}

fn is_disk(disk: Node<'_, '_>) -> bool {
    matches!(xml::attr(disk, "device"), Some("disk" | "lun"))
}

/// The disk's name and its bus.
fn bus<'a>(disk: Node<'a, '_>) -> Option<(&'a str, &'a str)> {
    let target = xml::child(disk, "target")?;
    Some((xml::attr(target, "dev")?, xml::attr(target, "bus")?))
}

/// The disks that the VM has instead, for the message.
fn shown(disks: &[(&str, &str)]) -> String {
    let first = disks.iter().take(MAX_SHOWN_DISKS);
    let first: String = first
        .map(|(name, bus)| format!(", {name} is {bus}"))
        .collect();
    match disks.len().saturating_sub(MAX_SHOWN_DISKS) {
        0 => first,
        more => format!("{first}, and {more} more"),
    }
}
