// SPDX-License-Identifier: GPL-2.0-or-later

//! Keeps what a guest prints on its first serial port in a log on the host.
//!
//! Event: `before_vm_start`.
//!
//! Property: `log_console=on|off`; without it the host's `log_console_vm_regexp` decides by the
//! VM's name. Neither: nothing happens, the document is not even read.
//!
//! libvirt's virtlogd writes and rotates the log. A VM without a serial port is left alone.

use std::process::ExitCode;

use vdsm_hooks::libvirt::console_log::{self, LogFilter};
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Error, Result, hook, program};

const PROPERTY: &str = "log_console";
const DIRECTORY: &str = "/var/log/libvirt/qemu";

fn main() -> ExitCode {
    // Exit 1: the start is refused all the same, and the other hooks may have something to say.
    hook::run(program!(), || run().map_err(Error::keep_going))
}

fn run() -> Result {
    match console_log::wanted(PROPERTY, "log_console_vm_regexp")? {
        LogFilter::No => Ok(()),
        wanted => hook::edit(|document, edits| log_serial_port(document, edits, &wanted)),
    }
}

fn log_serial_port(document: &Document<'_>, edits: &mut Edits<'_>, wanted: &LogFilter) -> Result {
    let root = domain::root(document)?;
    let name = domain::vm_name(document);
    if !wanted.for_vm(&name)? {
        return Ok(());
    }
    let Some(devices) = xml::child(root, "devices") else {
        return Err(Error::new(format!(
            "{PROPERTY}: the domain has no <devices>"
        )));
    };
    let Some(serial) = xml::child(devices, "serial") else {
        // The host's expression means those VMs that have one.
        if matches!(wanted, LogFilter::Yes) {
            let consoles = consoles(devices);
            log::warn!("{PROPERTY}: the VM has no serial port{consoles}, nothing is logged");
        }
        return Ok(());
    };
    console_log::check_file_name(&name)?;
    let file = format!("{DIRECTORY}/{name}-console.log");
    match xml::child(serial, "log") {
        // libvirt 9.0 src/conf/domain_conf.c, virDomainChrSourceDefParseXML: a second one is an error.
        Some(log) => {
            edits.set_attr(log, "file", &file);
            edits.set_attr(log, "append", "on");
        }
        None => edits.append(
            serial,
            &Element::new("log").attr("file", &file).attr("append", "on"),
        ),
    }
    Ok(())
}

/// What the VM has instead, for the message.
fn consoles(devices: Node<'_, '_>) -> String {
    let targets = xml::children(devices, "console").filter_map(|one| xml::child(one, "target"));
    let kinds: Vec<_> = targets.filter_map(|one| xml::attr(one, "type")).collect();
    match kinds[..] {
        [] => String::new(),
        [kind] => format!(", its console is of type {kind}"),
        [..] => format!(", its consoles are of types {}", kinds.join(", ")),
    }
}
