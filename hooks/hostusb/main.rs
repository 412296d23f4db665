// SPDX-License-Identifier: GPL-2.0-or-later

//! Hands USB devices of the host to a VM, chosen by vendor and product number.
//!
//! Events: `before_vm_start` adds the devices; `before_vm_migrate_source` refuses the migration.
//!
//! Property: `hostusb`, pairs `0xVVVV:0xPPPP` with `&` between them. Absent or blank: nothing
//! happens.
//!
//! Reads `/sys/bus/usb/devices`, and `/etc/vdsm-hooks/allowed-usb` if there is one.

use std::process::ExitCode;

use vdsm_hooks::host::allowlist;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::libvirt::hostdev::{self, Address, UsbDevice};
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Error, Result, hook, program, props};

const PROPERTY: &str = "hostusb";
const ALLOWED: &str = "allowed-usb";

/// Vendor and product number.
type Kind = [u32; 2];

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::given(PROPERTY)? else {
        return Ok(());
    };
    let wrong = |problem| props::wrong(PROPERTY, &value, problem);
    if hook::event()? == "before_vm_migrate_source" {
        return Err(wrong(Error::new(
            "a VM with host USB devices cannot migrate",
        )));
    }
    let wanted = parse(&value).map_err(wrong)?;
    for kind in &wanted {
        let name = name(*kind);
        allowlist::check(ALLOWED, &name)
            .map_err(|problem| props::wrong(PROPERTY, &name, problem))?;
    }
    hook::edit(|document, edits| add_devices(document, edits, &wanted).map_err(wrong))
}

fn add_devices(document: &Document<'_>, edits: &mut Edits<'_>, wanted: &[Kind]) -> Result {
    let devices = domain::devices(document)?;
    if domain::is_usb_off(document) {
        return Err(Error::new("USB is disabled for this VM"));
    }
    let present: Vec<_> = xml::children(devices, "hostdev").collect();
    let count = |kinds: &[Kind], kind| kinds.iter().filter(|one| **one == kind).count();
    let own: Vec<Kind> = present
        .iter()
        .filter_map(|hostdev| kind_of_own(*hostdev))
        .collect();
    // What a run before this one made is no reason to refuse.
    if wanted
        .iter()
        .all(|kind| count(&own, *kind) == count(wanted, *kind))
    {
        return Ok(());
    }
    let is_by_address = |device: &&UsbDevice| {
        let address = Some(Address::Usb(device.address));
        present
            .iter()
            .any(|hostdev| Address::of_hostdev(*hostdev) == address)
    };
    let plugged = hostdev::usb_devices()?;
    let (attached, mut free): (Vec<_>, Vec<_>) = plugged.iter().partition(is_by_address);
    for kind in wanted {
        let name = name(*kind);
        let is_kind = |device: &&UsbDevice| device.kind == *kind;
        let total = plugged.iter().filter(is_kind).count();
        let at = free.iter().position(is_kind);
        let is_attached = present
            .iter()
            .any(|hostdev| kind_of(*hostdev) == Some(*kind));
        let problem = match at {
            Some(at) if !is_attached => {
                let device = free.remove(at);
                edits.append(devices, &hostdev(device, total > 1));
                continue;
            }
            None if total == 0 => format!("device {name} is not plugged in"),
            None if !is_attached && !attached.iter().any(is_kind) => {
                let wanted = count(wanted, *kind);
                format!("only {total} of {wanted} devices {name} are plugged in")
            }
            _ => format!("device {name} is already attached to this VM"),
        };
        return Err(Error::new(problem));
    }
    Ok(())
}

/// libvirt finds a device by its numbers if there is one of the kind; of several it wants to know
/// which (libvirt 9.0 src/hypervisor/virhostdev.c: `virHostdevFindUSBDevice`).
fn hostdev(device: &UsbDevice, is_one_of_several: bool) -> Element {
    let [vendor, product] = device.kind.map(|number| format!("0x{number:04x}"));
    let mut source = Element::new("source")
        .child(Element::new("vendor").attr("id", &vendor))
        .child(Element::new("product").attr("id", &product));
    if is_one_of_several {
        let [bus, number] = device.address.map(|number| number.to_string());
        source = source.child(
            Element::new("address")
                .attr("bus", &bus)
                .attr("device", &number),
        );
    }
    Element::new("hostdev")
        .attr("managed", "no")
        .attr("mode", "subsystem")
        .attr("type", "usb")
        .child(source)
}

/// The numbers that a `<hostdev>` for a USB device names.
fn kind_of(hostdev: Node<'_, '_>) -> Option<Kind> {
    let source =
        xml::child(hostdev, "source").filter(|_| xml::attr(hostdev, "type") == Some("usb"))?;
    let id = |name| hostdev::parse_number(xml::attr(xml::child(source, name)?, "id")?);
    Some([id("vendor")?, id("product")?])
}

/// The same, if this hook may have written it.
fn kind_of_own(hostdev: Node<'_, '_>) -> Option<Kind> {
    let attr = |name| xml::attr(hostdev, name);
    let is_own = (attr("mode"), attr("managed")) == (Some("subsystem"), Some("no"));
    kind_of(hostdev).filter(|_| is_own)
}

fn parse(value: &str) -> Result<Vec<Kind>> {
    let number = |text: &str| {
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 4)?;
        hostdev::digits(digits, 16)
    };
    let pair = |text: &str| {
        let (vendor, product) = text.split_once(':')?;
        let pair = [number(vendor)?, number(product)?];
        // libvirt 9.0 src/conf/domain_conf.c, virDomainHostdevSubsysUSBDefParseXML: it refuses the vendor 0.
        (pair[0] != 0).then_some(pair)
    };
    let pairs = value.split('&').map(|text| {
        pair(text).ok_or_else(|| {
            let text = props::quoted(text);
            Error::new(format!(
                "bad device {text}, expected 0xVVVV:0xPPPP, vendor (not 0) and product in hexadecimal"
            ))
        })
    });
    pairs.collect()
}

fn name([vendor, product]: Kind) -> String {
    format!("0x{vendor:04x}:0x{product:04x}")
}
