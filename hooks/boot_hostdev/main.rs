// SPDX-License-Identifier: GPL-2.0-or-later

//! Makes a passed-through host device the VM's first boot device.
//!
//! Event: `before_vm_start`.
//!
//! Property: `boot_hostdev`, the device's name as the engine's Host Devices tab shows it. Absent
//! or empty: nothing happens.
//!
//! Every other boot order goes up by one. `httpsisoboot` wants the first place as well: refused.
//! Reads `/sys/bus/usb/devices` for USB names.

use std::process::ExitCode;

use vdsm_hooks::libvirt::boot;
use vdsm_hooks::libvirt::hostdev::Address;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "boot_hostdev";

fn main() -> ExitCode {
    // Exit 1: the start is refused all the same, and the other hooks may have something to say.
    hook::run(program!(), || run().map_err(Error::keep_going))
}

fn run() -> Result {
    let name = match props::text(PROPERTY)? {
        Some(name) if !name.is_empty() => name,
        _ => return Ok(()),
    };
    let Some(address) = Address::of_name(&name) else {
        return Err(props::wrong(
            PROPERTY,
            &name,
            "expected pci_DDDD_BB_SS_F, scsi_H_B_T_L, usb_usbN, or usb_B_P of a device that is plugged in",
        ));
    };
    boot::check_alone(PROPERTY).map_err(|error| props::wrong(PROPERTY, &name, error))?;
    hook::edit(|document, edits| boot_from(document, edits, &name, &address))
}

fn boot_from(
    document: &Document<'_>,
    edits: &mut Edits<'_>,
    name: &str,
    wanted: &Address,
) -> Result {
    let places = boot::places(document).context(format!("{PROPERTY}={name}"))?;
    let hostdevs = xml::devices(document, "hostdev");
    let Some(&chosen) = hostdevs
        .iter()
        .find(|hostdev| Address::of_hostdev(**hostdev).as_ref() == Some(wanted))
    else {
        return Err(not_passed(name, wanted, &hostdevs));
    };
    let (own, others): (Vec<_>, Vec<_>) =
        places.into_iter().partition(|place| place.device == chosen);
    // Already the first and the only first: nothing to shift. A second run must not shift again.
    if own.iter().any(|place| place.order == 1) && others.iter().all(|place| place.order != 1) {
        return Ok(());
    }
    boot::move_back(&others, edits);
    match own.first() {
        Some(place) => edits.set_attr(place.boot, "order", "1"),
        None => edits.append(chosen, &Element::new("boot").attr("order", "1")),
    }
    Ok(())
}

fn not_passed(name: &str, wanted: &Address, hostdevs: &[Node<'_, '_>]) -> Error {
    let there: Vec<_> = hostdevs
        .iter()
        .filter_map(|hostdev| Address::of_hostdev(*hostdev))
        .collect();
    let there: Vec<_> = there.iter().map(Address::to_string).collect();
    let there = if there.is_empty() {
        "none".to_owned()
    } else {
        there.join(", ")
    };
    let hint = match wanted {
        Address::Scsi(_) => {
            "; with the VM property scsi_hostdev SCSI devices are disks, not host devices"
        }
        _ => "",
    };
    props::wrong(
        PROPERTY,
        name,
        format!("this device is not passed to the VM, expected one of: {there}{hint}"),
    )
}
