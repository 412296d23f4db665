// SPDX-License-Identifier: GPL-2.0-or-later

//! Passes extra arguments to QEMU that libvirt's XML cannot express.
//!
//! Event: `before_vm_start`.
//!
//! Property: `qemu_cmdline`, a JSON array of strings, one per argument. Absent or `[]`: nothing
//! happens.
//!
//! What the arguments mean is not checked: the regular expression in the engine is the fence.

use std::process::ExitCode;

use vdsm_hooks::libvirt::domain;
use vdsm_hooks::xml::{self, Document, Edits};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "qemu_cmdline";
const EXAMPLE: &str = r#"["-fw_cfg", "name=opt/a,string=b"]"#;

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::text(PROPERTY)? else {
        return Ok(());
    };
    let arguments = parse(&value).map_err(|error| props::wrong(PROPERTY, &value, error))?;
    if arguments.is_empty() {
        return Ok(());
    }
    hook::edit(|document, edits| add_arguments(document, edits, &arguments))
}

fn add_arguments(document: &Document<'_>, edits: &mut Edits<'_>, arguments: &[String]) -> Result {
    let root = domain::root(document)?;
    if let Some(other) = root
        .namespaces()
        .find(|n| n.name() == Some("qemu") && n.uri() != domain::QEMU_URI)
    {
        return Err(Error::new(format!(
            "{PROPERTY}: the prefix qemu stands for {:?} in this domain, expected {:?}",
            other.uri(),
            domain::QEMU_URI
        )));
    }
    // Our own of an earlier run: QEMU would get the arguments twice. Hooks that ran since may have
    // put theirs behind.
    let present = domain::qemu_arguments(root);
    if present
        .windows(arguments.len())
        .any(|some| some == arguments)
    {
        log::debug!("{PROPERTY}: the arguments are there already, one after the other: none added");
        return Ok(());
    }
    domain::append_qemu_arguments(root, edits, arguments);
    Ok(())
}

fn parse(value: &str) -> Result<Vec<String>> {
    let arguments: Vec<String> = serde_json::from_str(value).map_err(|error| {
        Error::new(format!(
            "{error}; expected a JSON array of strings, as in {EXAMPLE}"
        ))
    })?;
    for (place, argument) in arguments.iter().enumerate() {
        xml::check_characters(argument).context(format!("element {}", place + 1))?;
    }
    Ok(arguments)
}
