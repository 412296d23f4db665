// SPDX-License-Identifier: GPL-2.0-or-later

//! Turns the SCSI devices that are passed through to a VM into disks on the same device.
//!
//! Event: `before_vm_start`.
//!
//! Property: `hostdev_scsi=scsi_block|scsi_hd`. Absent or blank: nothing happens.
//!
//! Reads `/sys/bus/scsi/devices`, `/sys/block`, `/dev/disk/by-id` and the host's mounts.

use std::path::Path;
use std::process::ExitCode;

use vdsm_hooks::host::block::Device;
use vdsm_hooks::host::files;
use vdsm_hooks::libvirt::{disk, domain, hostdev};
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Error, Result, hook, program, props};

mod scsi_bus;

use scsi_bus::ScsiBus;

const PROPERTY: &str = "hostdev_scsi";
/// What the engine writes, and nothing beside it (ovirt-engine 4.5
/// …/vminfo/LibvirtVmXmlBuilder.java: `writeScsiHostDevice`).
const ATTRIBUTES: [(&str, &str); 4] = [
    ("managed", "no"),
    ("mode", "subsystem"),
    ("rawio", "yes"),
    ("type", "scsi"),
];

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::given(PROPERTY)? else {
        return Ok(());
    };
    let wrong = |problem| props::wrong(PROPERTY, &value, problem);
    let is_block = match value.as_str() {
        "scsi_block" => true,
        "scsi_hd" => false,
        _ => {
            return Err(wrong(Error::new(
                "unsupported value, expected scsi_block or scsi_hd",
            )));
        }
    };
    hook::edit(|document, edits| replace_all(document, edits, is_block).map_err(wrong))
}

fn replace_all(document: &Document<'_>, edits: &mut Edits<'_>, is_block: bool) -> Result {
    let devices = domain::devices(document)?;
    let mut bus = ScsiBus::from_document(document)?;
    let mut seen: Vec<String> = Vec::new();
    let mut is_changed = false;
    for (number, hostdev) in (1..).zip(xml::children(devices, "hostdev")) {
        if !qualifies(hostdev) {
            continue;
        }
        let id = source_id(hostdev).ok_or_else(|| {
            Error::new(format!(
                "bad source address in hostdev {number}, expected an adapter scsi_hostN and decimal bus, target and unit"
            ))
        })?;
        if seen.contains(&id) {
            return Err(Error::new(format!("the SCSI device {id} is there twice")));
        }
        if let Some(path) = disk_of(&id)? {
            let address = bus.address_of(hostdev);
            let target = match address {
                Some(_) => bus.take_name(),
                None => bus.take_name_for_place(),
            };
            let disk = disk(document, hostdev, &path, &target, address, is_block)?;
            edits.replace(hostdev, &disk);
            is_changed = true;
        }
        seen.push(id);
    }
    let mut controllers = xml::children(devices, "controller");
    if is_changed && !controllers.any(|controller| xml::attr(controller, "type") == Some("scsi")) {
        // Left to itself libvirt takes an LSI one (libvirt 9.0 src/qemu/qemu_domain_address.c:
        // qemuDomainGetSCSIControllerModel), for which guests have no driver any more.
        let controller = Element::new("controller")
            .attr("type", "scsi")
            .attr("index", "0")
            .attr("model", "virtio-scsi");
        edits.append(devices, &controller);
    }
    Ok(())
}

fn qualifies(hostdev: Node<'_, '_>) -> bool {
    let has = |(name, value): &(&str, &str)| xml::attr(hostdev, name) == Some(value);
    // An iSCSI source names a server and not a device of the host.
    let source = xml::child(hostdev, "source");
    hostdev.attributes().len() == ATTRIBUTES.len()
        && ATTRIBUTES.iter().all(has)
        && source
            .and_then(|source| xml::attr(source, "protocol"))
            .is_none()
}

/// The device's name in sysfs, `host:bus:target:unit`.
fn source_id(hostdev: Node<'_, '_>) -> Option<String> {
    let source = xml::child(hostdev, "source")?;
    let adapter = xml::attr(xml::child(source, "adapter")?, "name")?;
    let address = xml::child(source, "address")?;
    let number = |name| hostdev::digits(xml::attr(address, name)?, 10);
    let host = hostdev::digits(adapter.strip_prefix("scsi_host")?, 10)?;
    let (bus, target, unit) = (number("bus")?, number("target")?, number("unit")?);
    Some(format!("{host}:{bus}:{target}:{unit}"))
}

/// The path of the disk behind a SCSI device; none for a tape, a changer and the like.
fn disk_of(id: &str) -> Result<Option<String>> {
    let directory = Path::new("/sys/bus/scsi/devices").join(id);
    if !directory.exists() {
        return Err(Error::new(format!("no SCSI device {id} on this host")));
    }
    let names = files::entries(&directory.join("block"))?;
    let Some(name) = names.first() else {
        log::warn!("{PROPERTY}: {id} is not a disk, left as scsi-generic");
        return Ok(None);
    };
    let device = Device::from_name(name);
    let users = device.users()?;
    if !users.is_empty() {
        let users = users.join(", ");
        return Err(Error::new(format!(
            "{name} ({id}) is in use on the host by {users}"
        )));
    }
    device.path().map(Some)
}

fn disk(
    document: &Document<'_>,
    hostdev: Node<'_, '_>,
    path: &str,
    target: &str,
    address: Option<Node<'_, '_>>,
    is_block: bool,
) -> Result<Element> {
    let disk = if is_block {
        Element::new("disk")
            .attr("device", "lun")
            .attr("rawio", "yes")
    } else {
        Element::new("disk").attr("device", "disk")
    };
    let driver = Element::new("driver")
        .attr("cache", "none")
        .attr("io", "native")
        .attr("name", "qemu")
        .attr("type", "raw");
    let target = Element::new("target")
        .attr("bus", "scsi")
        .attr("dev", target);
    let disk = disk
        .attr("snapshot", "no")
        .attr("type", "block")
        .child(driver)
        .child(disk::source(document, "dev", path)?)
        .child(target);
    let kept = |name| xml::child(hostdev, name);
    let is_own = |alias: &Node<'_, '_>| {
        xml::attr(*alias, "name").is_some_and(|name| name.starts_with("ua-"))
    };
    // libvirt 9.0 src/conf/domain_conf.c, virDomainDeviceInfoParseXML: it drops an alias that is not the
    // user's.
    let alias = kept("alias").filter(is_own);
    let children = [
        kept("readonly"),
        kept("shareable"),
        alias,
        kept("boot"),
        address,
    ];
    Ok(children
        .into_iter()
        .flatten()
        .map(copy)
        .fold(disk, Element::child))
}

/// The element and its attributes.
fn copy(node: Node<'_, '_>) -> Element {
    let element = Element::new(node.tag_name().name());
    let attributes = node.attributes();
    attributes.fold(element, |element, attribute| {
        element.attr(attribute.name(), attribute.value())
    })
}
