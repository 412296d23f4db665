// SPDX-License-Identifier: GPL-2.0-or-later

//! Gives every VM the CPU feature for hardware virtualization, so that guests can run KVM.
//!
//! Event: `before_vm_start`, after cpuflags.
//!
//! No property: the host decides, by the parameter `nested` of its KVM module in
//! `/sys/module`. A VM whose domain speaks of the feature already is exempt.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::{fs, str};

use vdsm_hooks::libvirt::{cpu, domain};
use vdsm_hooks::xml::{self, Document, Edits};
use vdsm_hooks::{Error, Result, hook, program};

/// Modules, and the feature of the processors that they are for.
const MODULES: [(&str, &str); 2] = [("kvm_intel", "vmx"), ("kvm_amd", "svm")];

fn main() -> ExitCode {
    // Exit 1: it concerns every VM, also those that never asked for it.
    hook::run(program!(), || run().map_err(Error::keep_going))
}

fn run() -> Result {
    let enabled = MODULES.iter().find(|(module, _)| is_nested(module));
    let Some((_, feature)) = enabled else {
        return Ok(());
    };
    hook::edit(|document, edits| require(document, edits, feature))
}

fn require(document: &Document<'_>, edits: &mut Edits<'_>, feature: &str) -> Result {
    let cpu = xml::child(domain::root(document)?, "cpu");
    let Some(cpu) = cpu.filter(|cpu| cpu::takes_features(*cpu)) else {
        log::warn!("the domain has no CPU model or host mode to add {feature} to");
        return Ok(());
    };
    if cpu::feature(cpu, feature).is_none() {
        edits.append(cpu, &cpu::new_feature(feature, "require"));
    }
    Ok(())
}

/// Whether the module is loaded and lets guests nest (Linux 6.1
/// Documentation/virt/kvm/x86/running-nested-guests.rst).
fn is_nested(module: &str) -> bool {
    let path = PathBuf::from(format!("/sys/module/{module}/parameters/nested"));
    match fs::read(&path) {
        Ok(content) => {
            let line = content.split(|byte| *byte == b'\n').next();
            let line = line.and_then(|line| str::from_utf8(line).ok());
            matches!(line.map(str::trim), Some("Y" | "1"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            log::warn!("{}: {error}", path.display());
            false
        }
    }
}
