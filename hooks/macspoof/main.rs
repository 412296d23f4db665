// SPDX-License-Identifier: GPL-2.0-or-later

//! Takes VDSM's anti-spoofing filter off a VM's NICs, so that the guest may send with other MAC
//! addresses.
//!
//! Events: `before_vm_start`, `before_device_create`, `before_nic_hotplug`,
//! `before_update_device`.
//!
//! Properties: `macspoof` of the VM, for all its NICs; `ifacemacspoof` of a vNIC profile, for the
//! NIC in hand. Both are booleans; absent or false: nothing happens.
//!
//! Other filters stay. The properties only take away: one that is false restores nothing.

use std::process::ExitCode;

use vdsm_hooks::libvirt::interface;
use vdsm_hooks::xml::{self, Document, Edits};
use vdsm_hooks::{Result, hook, program, props};

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let vm = props::flag("macspoof")? == Some(true);
    let nic = props::flag("ifacemacspoof")? == Some(true);
    if !vm && !nic {
        return Ok(());
    }
    hook::edit(|document, edits| remove_filter(document, edits, vm))
}

/// `whole_vm`: the VM's own property is set, not just that of the NIC in hand.
fn remove_filter(document: &Document<'_>, edits: &mut Edits<'_>, whole_vm: bool) -> Result {
    if xml::is(document.root_element(), "domain") && !whole_vm {
        return Ok(());
    }
    for interface in interface::all(document)? {
        for filter in xml::children(interface, "filterref") {
            if xml::attr(filter, "filter") == Some(interface::VDSM_FILTER) {
                edits.remove(filter);
            }
        }
    }
    Ok(())
}
