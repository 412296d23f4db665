// SPDX-License-Identifier: GPL-2.0-or-later

//! Lets a host without hardware virtualization pose as one with it, even of another architecture,
//! and runs its VMs under plain emulation. For tests of the engine and VDSM.
//!
//! Events: `after_get_caps` (what the host says of itself), `before_vm_start` (the VM).
//!
//! Settings, in the section `[vars]` of vdsm.conf: `fake_kvm_support`; false or absent: nothing
//! happens. `fake_kvm_architecture`, `fake_kvm_memory`, `fake_kvm_machine`.

mod caps;
mod guest;

use std::process::ExitCode;

use vdsm_hooks::host::cpuinfo;
use vdsm_hooks::vdsm::conf::VdsmConf;
use vdsm_hooks::{Error, Result, hook, program};

use guest::Guest;

/// Those that the host can pose as; the first one if nothing else is said.
const ARCHITECTURES: [&str; 4] = ["x86_64", "ppc64", "ppc64le", "aarch64"];

fn main() -> ExitCode {
    hook::run(program!(), || run().map_err(Error::keep_going))
}

fn run() -> Result {
    let Some(conf) = VdsmConf::turning_on("fake_kvm_support")? else {
        return Ok(());
    };
    let effective = conf.choice("vars", "fake_kvm_architecture", &ARCHITECTURES)?;
    let memory = conf.number("vars", "fake_kvm_memory")?;
    let machine = conf.get("vars", "fake_kvm_machine")?;
    let guest = Guest {
        real: cpuinfo::architecture(),
        effective: effective.unwrap_or(ARCHITECTURES[0]),
        memory: memory.filter(|kib| *kib > 0),
        machine: machine.filter(|machine| !machine.is_empty()),
    };
    match hook::event()?.as_str() {
        "after_get_caps" => hook::edit_json(|document, edits| {
            caps::pose(document, edits, guest.real, guest.effective)
        }),
        _ => hook::edit(|document, edits| guest::emulate(document, edits, &guest)),
    }
}
