// SPDX-License-Identifier: GPL-2.0-or-later

//! Adds CPU features to, or removes them from, the virtual CPU.
//!
//! Event: `before_vm_start`.
//!
//! Properties: `cpuflags`, a list of `+name`, `-name` and `SAP` with commas between them;
//! `sap_agent`, true for `cpuflags=SAP` where `cpuflags` is absent. Neither: nothing happens.
//!
//! Feature names are libvirt's and are not looked up here.

use std::process::ExitCode;

use vdsm_hooks::libvirt::{cpu, domain};
use vdsm_hooks::xml::{self, Document, Edits};
use vdsm_hooks::{Error, Result, hook, program, props};

const PROPERTY: &str = "cpuflags";
/// What SAP's software wants to see.
const SAP: [&str; 2] = ["invtsc", "rdtscp"];

struct Flag {
    name: String,
    policy: &'static str,
}

fn main() -> ExitCode {
    // Exit 1: the start is refused all the same, and the other hooks may have something to say.
    hook::run(program!(), || run().map_err(Error::keep_going))
}

fn run() -> Result {
    let value = match props::text(PROPERTY)? {
        Some(value) => value,
        None if props::flag("sap_agent")? == Some(true) => "SAP".to_owned(),
        None => return Ok(()),
    };
    if value.trim().is_empty() {
        return Ok(());
    }
    let flags = parse(&value).map_err(|problem| props::wrong(PROPERTY, &value, problem))?;
    hook::edit(|document, edits| set_features(document, edits, &flags))
}

fn set_features(document: &Document<'_>, edits: &mut Edits<'_>, flags: &[Flag]) -> Result {
    let domain = domain::root(document)?;
    let Some(cpu) = xml::child(domain, "cpu") else {
        return Err(Error::new(format!(
            "{PROPERTY}: the domain has no <cpu> to change"
        )));
    };
    if !cpu::takes_features(cpu) {
        // The host emulates its VMs for tests. Were this hook the first, the features would go with
        // the model.
        if domain::is_emulated(domain) {
            log::warn!(
                "{PROPERTY}: the VM is emulated (type qemu) and QEMU chooses its CPU, which takes no features: left alone"
            );
            return Ok(());
        }
        return Err(Error::new(format!(
            "{PROPERTY}: <cpu> has neither a <model> nor a host mode, and libvirt takes features only with one of them"
        )));
    }
    for Flag { name, policy } in flags {
        match cpu::feature(cpu, name) {
            Some(feature) => edits.set_attr(feature, "policy", policy),
            None => edits.append(cpu, &cpu::new_feature(name, policy)),
        }
    }
    Ok(())
}

/// The flags in the order of their first mention; repeats are dropped.
fn parse(value: &str) -> std::result::Result<Vec<Flag>, String> {
    let entries: Vec<&str> = value.split(',').map(str::trim).collect();
    let unsigned =
        |entry: &&&str| !entry.is_empty() && !entry.starts_with(['+', '-']) && **entry != "SAP";
    let wrong: Vec<_> = entries
        .iter()
        .filter(unsigned)
        .map(|entry| props::quoted(entry))
        .collect();
    if !wrong.is_empty() {
        return Err(format!(
            "{} without a sign, expected +name, -name or SAP",
            wrong.join(", ")
        ));
    }
    let mut flags: Vec<Flag> = Vec::new();
    let mut conflicts: Vec<&str> = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let (policy, names) = match entry.split_at_checked(1) {
            Some(("+", name)) => ("require", vec![name]),
            Some(("-", name)) => ("disable", vec![name]),
            _ if *entry == "SAP" => ("require", SAP.to_vec()),
            // Only an empty entry is left, and an empty name is refused below.
            _ => ("require", vec![""]),
        };
        for name in names {
            if !is_name(name) {
                return Err(format!(
                    "entry {} is {}, expected + or - and a name of letters, digits, '_', '.', '-'",
                    place + 1,
                    props::quoted(entry)
                ));
            }
            match flags.iter().find(|flag| flag.name == name) {
                Some(flag) if flag.policy != policy => conflicts.push(name),
                Some(_) => {}
                None => flags.push(Flag {
                    name: name.to_owned(),
                    policy,
                }),
            }
        }
    }
    if !conflicts.is_empty() {
        return Err(format!(
            "{} both required and disabled, expected one of them",
            conflicts.join(", ")
        ));
    }
    Ok(flags)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}
