// SPDX-License-Identifier: GPL-2.0-or-later

//! Puts a floppy image of the host into a VM, in its floppy drive or as a USB disk.
//!
//! Events: `before_vm_start` adds the disk; `before_vm_migrate_source` refuses the migration.
//!
//! Property: `floppy=PATH` or `PATH:usb`. Absent or blank: nothing happens.
//!
//! The image must lie below the directories in `/etc/vdsm-hooks/allowed-paths`. A child of this
//! program looks at it, which is given up when its storage does not answer. Asks virsh whether
//! QEMU has floppy drives.

use std::process::ExitCode;
use std::time::Duration;

use vdsm_hooks::host::command;
use vdsm_hooks::image::source::{self, Image};
use vdsm_hooks::libvirt::disk::{self, Targets};
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::xml::{self, Document, Edits, Element};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "floppy";
/// libvirt has to start QEMU if nobody has asked before.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The sizes that a floppy drive knows, in KiB.
const SIZES: [u64; 8] = [160, 180, 320, 360, 720, 1200, 1440, 2880];

fn main() -> ExitCode {
    if let Some(status) = source::serve() {
        return status;
    }
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::given(PROPERTY)? else {
        return Ok(());
    };
    if hook::event()? == "before_vm_migrate_source" {
        let problem = "a VM with a host floppy image cannot migrate";
        return Err(props::wrong(PROPERTY, &value, problem));
    }
    let (path, is_usb) = match value.strip_suffix(":usb") {
        Some(path) => (path, true),
        None => (value.as_str(), false),
    };
    let image = source::find(path).map_err(|problem| props::wrong(PROPERTY, path, problem))?;
    if !is_usb && !SIZES.iter().any(|size| size * 1024 == image.size) {
        log::warn!(
            "{PROPERTY}: {} has the unusual size of {} bytes, expected 1440 KiB or another floppy's size",
            image.path,
            image.size
        );
    }
    hook::edit(|document, edits| {
        add_disk(document, edits, &image, is_usb)
            .map_err(|problem| props::wrong(PROPERTY, &value, problem))
    })
}

fn add_disk(document: &Document<'_>, edits: &mut Edits<'_>, image: &Image, is_usb: bool) -> Result {
    let devices = domain::devices(document)?;
    if disk::are_there(document, "file", &[&image.path])? {
        return Ok(());
    }
    let target = if is_usb {
        usb_target(document)?
    } else {
        drive_target(document, &image.path)?
    };
    let mut disk = Element::new("disk")
        .attr("device", if is_usb { "disk" } else { "floppy" })
        .attr("snapshot", "no")
        .attr("type", "file")
        // A guest could write a header of another format, and a probe would believe it.
        .child(
            Element::new("driver")
                .attr("name", "qemu")
                .attr("type", "raw"),
        )
        .child(disk::source(document, "file", &image.path)?)
        .child(target);
    // Whose file it is does not matter: libvirt gives it to QEMU's user.
    if is_usb || !image.is_writable {
        disk = disk.child(Element::new("readonly"));
    }
    edits.append(devices, &disk);
    Ok(())
}

fn usb_target(document: &Document<'_>) -> Result<Element> {
    if domain::is_usb_off(document) {
        return Err(Error::new("USB is disabled for this VM"));
    }
    let name = Targets::from_document(document).take_next("sd");
    let target = Element::new("target").attr("bus", "usb").attr("dev", &name);
    Ok(target.attr("removable", "on"))
}

fn drive_target(document: &Document<'_>, path: &str) -> Result<Element> {
    let kind = xml::child(domain::root(document)?, "os").and_then(|os| xml::child(os, "type"));
    let attr = |name| kind.and_then(|kind| xml::attr(kind, name));
    let machine = attr("machine").unwrap_or_default();
    let emulator = xml::child(domain::devices(document)?, "emulator").map(xml::text);
    if machine.starts_with("pc-q35-rhel")
        || !libvirt_offers_floppies(machine, attr("arch"), emulator.as_deref())
    {
        return Err(Error::new(format!(
            "machine type {machine:?} has no floppy controller, expected {PROPERTY}={path}:usb"
        )));
    }
    let mut targets = Targets::from_document(document);
    let mut drives = ["fda", "fdb"].into_iter();
    let name = drives.find(|drive| targets.take(drive));
    let name = name.ok_or_else(|| Error::new("no free floppy drive, fda and fdb are taken"))?;
    Ok(Element::new("target").attr("bus", "fdc").attr("dev", name))
}

/// Whether VMs of this kind may have a floppy drive, as far as libvirt can say.
fn libvirt_offers_floppies(machine: &str, arch: Option<&str>, emulator: Option<&str>) -> bool {
    let connection = ["-r", "-c", "qemu:///system", "domcapabilities"];
    let mut arguments = connection.map(str::to_owned).to_vec();
    let options = [
        (
            "machine",
            Some(machine).filter(|machine| !machine.is_empty()),
        ),
        ("arch", arch),
        ("emulatorbin", emulator),
    ];
    for (name, value) in options {
        arguments.extend(value.map(|value| format!("--{name}={value}")));
    }
    let answer = command::run("virsh", &arguments, TIMEOUT).and_then(command::Output::checked);
    let offers = answer.and_then(|output| lists_floppies(&String::from_utf8(output.stdout)?));
    offers.unwrap_or_else(|error| {
        log::debug!("{PROPERTY}: libvirt cannot say whether there are floppy drives: {error}");
        true
    })
}

fn lists_floppies(capabilities: &str) -> Result<bool> {
    let document = xml::parse(capabilities).context("virsh")?;
    let mut lists = document.descendants().filter(|node| xml::is(*node, "enum"));
    let devices = lists.find(|list| xml::attr(*list, "name") == Some("diskDevice"));
    let devices = devices.ok_or_else(|| Error::new("virsh: no list of disk devices"))?;
    Ok(xml::children(devices, "value").any(|value| xml::text(value) == "floppy"))
}
