// SPDX-License-Identifier: GPL-2.0-or-later

//! Gives a SPICE VM a smart card reader that is connected to the client's.
//!
//! Event: `before_vm_start`.
//!
//! Property: `smartcard`, a boolean. Absent or false: nothing happens.

use std::process::ExitCode;

use vdsm_hooks::libvirt::domain;
use vdsm_hooks::xml::{self, Document, Edits, Element};
use vdsm_hooks::{Error, Result, hook, program, props};

const PROPERTY: &str = "smartcard";

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    if props::flag(PROPERTY)? != Some(true) {
        return Ok(());
    }
    hook::edit(add_smartcard)
}

fn add_smartcard(document: &Document<'_>, edits: &mut Edits<'_>) -> Result {
    let devices = domain::devices(document)?;
    if xml::child(devices, "smartcard").is_some() {
        // libvirt takes one (libvirt 9.0 src/qemu/qemu_validate.c: qemuValidateDomainSmartcardDef), and the
        // engine's own is as good.
        log::warn!("{PROPERTY}: the VM already has a smart card, nothing is changed");
        return Ok(());
    }
    let mut displays = xml::children(devices, "graphics");
    if !displays.any(|display| xml::attr(display, "type") == Some("spice")) {
        return Err(Error::new(format!(
            "{PROPERTY}: the VM has no SPICE graphics to reach the client's reader by, expected a SPICE console or the property off"
        )));
    }
    let smartcard = Element::new("smartcard")
        .attr("mode", "passthrough")
        .attr("type", "spicevmc");
    edits.append(devices, &smartcard);
    Ok(())
}
