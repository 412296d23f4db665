// SPDX-License-Identifier: GPL-2.0-or-later

//! The capabilities that the host reports.

use serde_json::{Value, json};
use vdsm_hooks::host::cpuinfo;
use vdsm_hooks::json::{Edits, Node};
use vdsm_hooks::{Result, hook};

/// Added to the real flags of an x86_64 host. Not `svm`: the host poses as one of Intel's.
const X86_FLAGS: &str = "vmx sse2 nx model_486 model_pentium spec_ctrl ssbd md_clear \
    model_Skylake-Client model_qemu32 model_coreduo model_core2duo model_n270 model_Conroe \
    model_Westmere model_Nehalem model_Opteron_G5";
const X86_MACHINES: &str = "pc-i440fx-rhel7.1.0 rhel6.3.0 pc-q35-rhel7.6.0 pc-q35-rhel7.5.0 \
    pc-q35-rhel7.4.0 pc-q35-rhel7.3.0 pc-i440fx-rhel7.0.0 pc-i440fx-2.6 rhel6.1.0 rhel6.6.0 \
    rhel6.2.0 pc pc-i440fx-rhel7.6.0 pc-i440fx-rhel7.5.0 pc-i440fx-rhel7.4.0 pc-i440fx-rhel7.3.0 \
    q35 pc-i440fx-rhel7.2.0 rhel6.4.0 rhel6.0.0 rhel6.5.0";
const PPC_FLAGS: &str = "powernv model_POWER8";
const PPC_MACHINES: &str = "pseries pseries-rhel7.2.0 pseries-rhel7.3.0 pseries-rhel7.4.0 \
    pseries-rhel7.5.0 pseries-rhel7.5.0-sxxm pseries-rhel7.6.0-sxxm";
const ARM_MACHINES: &str = "virt virt-rhel7.3.0 virt-rhel7.4.0 virt-rhel7.5.0";

/// Sets what a host of the architecture `effective` would say of itself.
pub(crate) fn pose<'a>(
    document: Node<'a>,
    edits: &mut Edits<'a>,
    real: &str,
    effective: &str,
) -> Result {
    let caps = document.object();
    let caps = caps.ok_or_else(|| hook::unexpected_json("an object, the capabilities"))?;
    let mut flags = Vec::new();
    if real == "x86_64" && effective == "x86_64" {
        flags = cpuinfo::cpu_flags()?;
    }
    let (model, fake_flags, fake_machines) = match effective {
        "x86_64" => ("Intel(Fake) CPU", X86_FLAGS, X86_MACHINES),
        "aarch64" => ("AARCH64 (fake)", "", ARM_MACHINES),
        _ => ("POWER 8(fake)", PPC_FLAGS, PPC_MACHINES),
    };
    for flag in fake_flags.split_whitespace() {
        if !flags.iter().any(|known| known == flag) {
            flags.push(flag.to_owned());
        }
    }
    // The real ones too: today's QEMU has none of the others.
    let mut machines: Vec<Value> = fake_machines.split_whitespace().map(Value::from).collect();
    let real_machines = caps.get("emulatedMachines").and_then(Node::array);
    for machine in real_machines.unwrap_or_default() {
        let machine = Value::from(machine.text());
        if !machines.contains(&machine) {
            machines.push(machine);
        }
    }
    edits.set(&caps, "kvmEnabled", &json!(true))?;
    edits.set(&caps, "cpuModel", &json!(model))?;
    edits.set(&caps, "cpuFlags", &json!(flags.join(",")))?;
    edits.set(&caps, "emulatedMachines", &Value::Array(machines))
}
