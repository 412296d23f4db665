// SPDX-License-Identifier: GPL-2.0-or-later

//! Sends the debug output of the guest's firmware to a file on the host.
//!
//! Event: `before_vm_start`.
//!
//! Property: `log_firmware=on|off`; without it the host's `log_firmware_vm_regexp` decides by the
//! VM's name. Host settings: `log_firmware_dir`, `log_firmware_append`. Nothing set: nothing
//! happens, the document is not even read.
//!
//! QEMU itself opens the file, as its own user. The debug port exists on x86 only; guests of
//! other architectures are left alone.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vdsm_hooks::host::worker::Worker;
use vdsm_hooks::libvirt::console_log::{self, LogFilter};
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::xml::{self, Document, Edits, Node};
use vdsm_hooks::{Error, Result, hook, program, props};

const PROPERTY: &str = "log_firmware";
const DIRECTORY: &str = "/var/log/qemu-firmware";
/// The character device that QEMU's debug port writes to.
const ID: &str = "id=firmware";
/// How long to wait for the storage of the directory.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a path is a directory.
static IS_DIRECTORY: Worker<PathBuf, bool> = Worker::new(|path| Ok(path.is_dir()));

fn main() -> ExitCode {
    if let Some(status) = IS_DIRECTORY.serve() {
        return status;
    }
    // Exit 1: the start is refused all the same, and the other hooks may have something to say.
    hook::run(program!(), || run().map_err(Error::keep_going))
}

fn run() -> Result {
    match console_log::wanted(PROPERTY, "log_firmware_vm_regexp")? {
        LogFilter::No => Ok(()),
        wanted => hook::edit(|document, edits| log_debug_port(document, edits, &wanted)),
    }
}

fn log_debug_port(document: &Document<'_>, edits: &mut Edits<'_>, wanted: &LogFilter) -> Result {
    let root = domain::root(document)?;
    let name = domain::vm_name(document);
    if !wanted.for_vm(&name)? {
        return Ok(());
    }
    console_log::check_file_name(&name)?;
    let directory = props::text("log_firmware_dir")?.unwrap_or_else(|| DIRECTORY.to_owned());
    if !directory.starts_with('/') {
        let problem = "expected an absolute path";
        return Err(props::wrong("log_firmware_dir", &directory, problem));
    }
    let append = props::choice("log_firmware_append", &[("on", ",append=on"), ("off", "")])?;

    let kind = xml::child(root, "os").and_then(|os| xml::child(os, "type"));
    let machine = kind
        .and_then(|kind| xml::attr(kind, "arch"))
        .unwrap_or("x86_64");
    if !["x86_64", "i686"].contains(&machine) {
        log::warn!(
            "{PROPERTY}: a guest of architecture {machine:?} has no debug port, nothing is logged"
        );
        return Ok(());
    }
    if has_firmware_port(&domain::qemu_arguments(root)) {
        return Ok(());
    }
    // libvirt makes an isa-debugcon of it (libvirt 9.0 src/qemu/qemu_command.c:
    // qemuBuildSerialChrDeviceProps), as ours is: at 0x402 both would answer the guest.
    let is_debug_port = |serial: &Node<'_, '_>| {
        xml::child(*serial, "target").and_then(|target| xml::attr(target, "type"))
            == Some("isa-debug")
    };
    if xml::devices(document, "serial").iter().any(is_debug_port) {
        log::warn!("{PROPERTY}: the debug port is taken by a <serial>, nothing is logged");
        return Ok(());
    }
    if let Some(problem) = problem_of(&directory) {
        log::warn!("log_firmware_dir={directory:?}: {problem}, QEMU will not start without it");
    }
    let path = format!("{}/{name}-firmware.log", directory.trim_end_matches('/'));
    let arguments = [
        "-chardev".to_owned(),
        // A comma would end the option.
        format!(
            "file,{ID},path={}{}",
            path.replace(',', ",,"),
            append.unwrap_or_default()
        ),
        "-device".to_owned(),
        "isa-debugcon,iobase=0x402,chardev=firmware".to_owned(),
    ];
    domain::append_qemu_arguments(root, edits, &arguments);
    Ok(())
}

/// Whether a character device has our id: an earlier run's, or somebody's who logs the firmware too.
fn has_firmware_port(arguments: &[String]) -> bool {
    // A comma in a value is doubled, and what is behind it no part of its own.
    let has_id = |value: &String| value.replace(",,", "").split(',').any(|part| part == ID);
    arguments.windows(2).any(|pair| {
        let is_chardev = ["-chardev", "--chardev"].contains(&pair[0].as_str());
        is_chardev && has_id(&pair[1])
    })
}

/// What will keep QEMU from writing to the directory, if that can be seen.
fn problem_of(directory: &str) -> Option<String> {
    let end = Instant::now() + TIMEOUT;
    match IS_DIRECTORY.ask(&PathBuf::from(directory), end) {
        Ok(Some(Ok(true))) => None,
        Ok(Some(Ok(false))) => Some("no such directory".to_owned()),
        Ok(None) => Some(format!(
            "its storage does not answer within {} seconds",
            TIMEOUT.as_secs()
        )),
        Ok(Some(Err(error))) | Err(error) => Some(error.to_string()),
    }
}
