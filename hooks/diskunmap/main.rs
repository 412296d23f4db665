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
    for disk in xml::devices(document, "disk") {
        if !qualifies(disk) {
            continue;
        }
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
    let bus = xml::child(disk, "target").and_then(|target| xml::attr(target, "bus"));
    matches!(xml::attr(disk, "device"), Some("disk" | "lun")) && matches!(bus, Some("scsi" | "ide"))
}
