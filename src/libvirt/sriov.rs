// SPDX-License-Identifier: GPL-2.0-or-later

//! SR-IOV virtual functions of the host, by the names of their interfaces, and as NICs of a VM.

use std::fs;
use std::time::Duration;

use roxmltree::Node;

use crate::host::bridge::network_device;
use crate::host::{command, files};
use crate::libvirt::hostdev::{Address, parse_number};
use crate::libvirt::interface;
use crate::props::Mac;
use crate::xml::{self, Document, Element};

const TIMEOUT: Duration = Duration::from_secs(10);

/// A virtual function of the host: its PCI device has a `physfn` (Linux 6.1
/// Documentation/ABI/testing/sysfs-bus-pci).
pub struct VirtualFunction {
    /// The name of its network interface.
    pub name: String,
    /// Its address: domain, bus, slot, function.
    pub pci: [u32; 4],
    /// The address that the VM's NIC gets; none if libvirt is to draw one.
    pub mac: Option<Mac>,
}

impl VirtualFunction {
    /// The function with the network interface `name`, whose NIC gets the address `mac` or, without
    /// one, that of the interface.
    ///
    /// # Errors
    /// What is wrong with the interface: it is not there, no virtual function, or in use on the host.
    pub fn look_up(name: &str, mac: Option<Mac>) -> std::result::Result<VirtualFunction, String> {
        let nic = network_device(name);
        if !nic.exists() {
            return Err(format!("no network interface {name}"));
        }
        let device = fs::canonicalize(nic.join("device")).unwrap_or_default();
        let address = device
            .file_name()
            .and_then(|last| pci_address(&last.to_string_lossy()));
        let is_function = nic.join("device/physfn").exists();
        let Some(pci) = address.filter(|_| is_function) else {
            return Err(format!("{name} is not a virtual function"));
        };
        if fs::symlink_metadata(nic.join("master")).is_ok() || has_address(name)? {
            return Err(format!("{name} is in use on the host"));
        }
        let own = || {
            let text = String::from_utf8(files::read_file(&nic.join("address"), 64).ok()?).ok()?;
            Mac::parse(text.trim()).filter(|one| one.is_unicast())
        };
        let mac = mac.or_else(own);
        let name = name.to_owned();
        Ok(VirtualFunction { name, pci, mac })
    }

    /// How the kernel writes the PCI address.
    pub fn address(&self) -> String {
        let [domain, bus, slot, function] = self.pci;
        format!("{domain:04x}:{bus:02x}:{slot:02x}.{function:x}")
    }

    /// The NIC that libvirt makes of it.
    pub fn nic(&self) -> Element {
        let [bus_domain, bus, slot, number] = self.pci;
        let address = Element::new("address")
            .attr("type", "pci")
            .attr("domain", &format!("0x{bus_domain:04x}"))
            .attr("bus", &format!("0x{bus:02x}"))
            .attr("slot", &format!("0x{slot:02x}"))
            .attr("function", &format!("0x{number:x}"));
        let nic = Element::new("interface")
            .attr("managed", "yes")
            .attr("type", "hostdev")
            .child(Element::new("driver").attr("name", "vfio"));
        let nic = match self.mac {
            Some(mac) => nic.child(Element::new("mac").attr("address", &mac.to_string())),
            None => nic,
        };
        nic.child(Element::new("source").child(address))
    }
}

/// The kernel's `DDDD:BB:SS.F`.
fn pci_address(text: &str) -> Option<[u32; 4]> {
    let name = format!("pci_{}", text.replace([':', '.'], "_"));
    match Address::of_name(&name)? {
        Address::Pci(numbers) => Some(numbers),
        _ => None,
    }
}

/// Whether the host has an IP address on the interface. That of the link alone comes by itself.
fn has_address(nic: &str) -> std::result::Result<bool, String> {
    let words = ["-o", "address", "show", "dev", nic];
    // It fails for an interface that has just gone, and libvirt is going to say so.
    let output = command::run("ip", &words, TIMEOUT)
        .map_err(|error| format!("cannot tell whether {nic} is in use on the host: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    Ok(lines.any(|line| line.contains(" inet") && !line.contains(" scope link")))
}

/// Whether a VM has a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It has not.
    Absent,
    /// As the NIC of [`VirtualFunction::nic`]: a second run meets its own work.
    OwnNic,
    /// As a device that somebody else put there.
    NotOurs,
}

impl VirtualFunction {
    /// Whether the VM has the function already, as a NIC or otherwise.
    pub fn presence(&self, document: &Document<'_>) -> Presence {
        let nics = xml::devices(document, "interface").into_iter();
        let nics = nics.filter(|nic| xml::attr(*nic, "type") == Some("hostdev"));
        let others = xml::devices(document, "hostdev").into_iter();
        let others = others.filter(|device| xml::attr(*device, "type") == Some("pci"));
        let mut found = nics.chain(others).filter(|device| self.is_source(*device));
        match (found.next(), found.next()) {
            (None, _) => Presence::Absent,
            (Some(nic), None) if self.is_nic(nic) => Presence::OwnNic,
            _ => Presence::NotOurs,
        }
    }

    fn is_source(&self, device: Node<'_, '_>) -> bool {
        source_address(device) == Some(self.pci)
    }

    fn is_nic(&self, device: Node<'_, '_>) -> bool {
        let driver = xml::child(device, "driver").and_then(|driver| xml::attr(driver, "name"));
        device.has_tag_name("interface")
            && xml::attr(device, "managed") == Some("yes")
            && driver == Some("vfio")
            && (self.mac.is_none() || self.mac == interface::mac(device))
    }
}

fn source_address(device: Node<'_, '_>) -> Option<[u32; 4]> {
    let address = xml::child(xml::child(device, "source")?, "address")?;
    let number = |name| xml::attr(address, name).and_then(parse_number);
    let bus_domain = xml::attr(address, "domain").map_or(Some(0), parse_number)?;
    Some([
        bus_domain,
        number("bus")?,
        number("slot")?,
        number("function")?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Edits;

    #[test]
    fn whose_work_a_device_is() -> crate::Result {
        let own = Mac::parse("52:54:00:00:00:01");
        let function = |mac| VirtualFunction {
            name: "vf0".to_owned(),
            pci: [0, 5, 2, 3],
            mac,
        };
        let domain = |devices: &str| format!("<domain><devices>{devices}</devices></domain>");
        let nic = |mac| -> crate::Result<String> {
            let empty = domain("");
            let document = xml::parse(&empty)?;
            let mut edits = Edits::new(&document);
            edits.append(
                crate::libvirt::domain::devices(&document)?,
                &function(mac).nic(),
            );
            let text = edits.finish()?.unwrap_or_default();
            let text = text.split("devices>").nth(1).unwrap_or_default();
            Ok(text.trim_end_matches("</").to_owned())
        };
        let (made, drawn) = (nic(own)?, nic(None)?);
        let other = made.replace("00:01\"", "00:02\"");
        let elsewhere = made.replace("function=\"0x3\"", "function=\"0x4\"");
        let emulated = made.replace(" type=\"hostdev\"", " type=\"network\"");
        let unmanaged = made.replace("managed=\"yes\"", "managed=\"no\"");
        let xen = made.replace("vfio", "xen");
        let hostdev = made
            .replace("<interface", "<hostdev")
            .replace("</interface", "</hostdev")
            .replace(" type=\"hostdev\"", " type=\"pci\"");
        let twice = format!("{made}{made}");
        for (mac, devices, expected) in [
            (own, "", Presence::Absent),
            (own, &elsewhere, Presence::Absent),
            (own, &emulated, Presence::Absent),
            (own, &made, Presence::OwnNic),
            (None, &drawn, Presence::OwnNic),
            // libvirt has drawn one since.
            (None, &made, Presence::OwnNic),
            (own, &other, Presence::NotOurs),
            (own, &drawn, Presence::NotOurs),
            (own, &unmanaged, Presence::NotOurs),
            (own, &xen, Presence::NotOurs),
            (own, &hostdev, Presence::NotOurs),
            (own, &twice, Presence::NotOurs),
        ] {
            let text = domain(devices);
            let document = xml::parse(&text)?;
            assert_eq!(function(mac).presence(&document), expected, "{devices}");
        }
        Ok(())
    }
}
