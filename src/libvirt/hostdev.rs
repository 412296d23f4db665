// SPDX-License-Identifier: GPL-2.0-or-later

//! Host devices that are passed through: where they sit, and libvirt's names for them.

use std::fmt;
use std::path::Path;

use roxmltree::Node;

use crate::host::files;
use crate::{Result, xml};

const USB_DEVICES: &str = "/sys/bus/usb/devices";

/// Where a host device sits, as numbers: two spellings of one address are equal.
#[derive(Debug, PartialEq, Eq)]
pub enum Address {
    /// Domain, bus, slot, function.
    Pci([u32; 4]),
    /// Host, bus, target, unit.
    Scsi([u32; 4]),
    /// Bus, device.
    Usb([u32; 2]),
}

impl Address {
    /// The address that a node device name of libvirt stands for (libvirt 9.0
    /// src/node_device/node_device_driver.c: `nodeDeviceGenerateName`): `pci_DDDD_BB_SS_F`
    /// (hexadecimal), `scsi_H_B_T_L`, `usb_usbN` for a root hub, `usb_B_P` and `usb_B_P_Q...` for
    /// the device behind these ports, which has to be plugged in. Two numbers that are no such
    /// device are taken for USB's bus and device number, as older set-ups wrote them.
    pub fn of_name(name: &str) -> Option<Address> {
        let (kind, rest) = name.split_once('_')?;
        let parts: Vec<&str> = rest.split('_').collect();
        let radix = if kind == "pci" { 16 } else { 10 };
        let hub = rest.strip_prefix("usb").and_then(|bus| digits(bus, radix));
        if let ("usb", Some(bus)) = (kind, hub) {
            return Some(Address::Usb([bus, 1]));
        }
        let numbers: Option<Vec<u32>> = parts.iter().map(|part| digits(part, radix)).collect();
        match (kind, &numbers?[..]) {
            ("pci", numbers) => Some(Address::Pci(numbers.try_into().ok()?)),
            ("scsi", numbers) => Some(Address::Scsi(numbers.try_into().ok()?)),
            ("usb", numbers @ [_, _, ..]) => {
                let kernel_name = format!("{}-{}", parts[0], parts[1..].join("."));
                let numbers = || numbers.try_into().ok().map(Address::Usb);
                plugged_in(&kernel_name).or_else(numbers)
            }
            _ => None,
        }
    }

    /// The address of a `<hostdev>`; none for a device that has no address of these kinds, such
    /// as one chosen by vendor.
    pub fn of_hostdev(hostdev: Node<'_, '_>) -> Option<Address> {
        let source = xml::child(hostdev, "source")?;
        let address = xml::child(source, "address")?;
        let number = |name| xml::attr(address, name).and_then(parse_number);
        match xml::attr(hostdev, "type")? {
            "pci" => {
                let domain = xml::attr(address, "domain").map_or(Some(0), parse_number);
                let rest = [number("bus")?, number("slot")?, number("function")?];
                Some(Address::Pci([domain?, rest[0], rest[1], rest[2]]))
            }
            "scsi" => {
                let adapter = xml::attr(xml::child(source, "adapter")?, "name")?;
                let host = digits(adapter.strip_prefix("scsi_host")?, 10)?;
                Some(Address::Scsi([
                    host,
                    number("bus")?,
                    number("target")?,
                    number("unit")?,
                ]))
            }
            "usb" => Some(Address::Usb([number("bus")?, number("device")?])),
            _ => None,
        }
    }
}

/// A USB device that is plugged into the host.
pub struct UsbDevice {
    /// Vendor and product number.
    pub kind: [u32; 2],
    /// Bus and device number.
    pub address: [u32; 2],
}

/// The USB devices of the host, by bus and device number.
///
/// # Errors
/// sysfs cannot be read.
pub fn usb_devices() -> Result<Vec<UsbDevice>> {
    let mut devices: Vec<UsbDevice> = Vec::new();
    for name in files::entries(Path::new(USB_DEVICES))? {
        let number = |file, radix| usb_number(&name, file, radix);
        let kind = (number("idVendor", 16), number("idProduct", 16));
        // The interfaces of a device are beside it and have none of these.
        let ((Some(vendor), Some(product)), Some(Address::Usb(address))) =
            (kind, plugged_in(&name))
        else {
            continue;
        };
        devices.push(UsbDevice {
            kind: [vendor, product],
            address,
        });
    }
    devices.sort_by_key(|device| device.address);
    Ok(devices)
}

/// Bus and device number of the USB device with the kernel's name `bus-port.port...` (Linux 6.1
/// drivers/usb/core/usb.c: `usb_alloc_dev`). The device number changes with every plugging, so only
/// sysfs can tell it.
fn plugged_in(kernel_name: &str) -> Option<Address> {
    let number = |file| usb_number(kernel_name, file, 10);
    Some(Address::Usb([number("busnum")?, number("devnum")?]))
}

fn usb_number(kernel_name: &str, file: &str, radix: u32) -> Option<u32> {
    let path = Path::new(USB_DEVICES).join(kernel_name).join(file);
    let text = String::from_utf8(files::read_file(&path, 64).ok()?).ok()?;
    digits(text.trim(), radix)
}

/// A number in libvirt's spelling, decimal or with `0x`.
pub fn parse_number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => digits(hex, 16),
        None => digits(text, 10),
    }
}

/// A number of plain digits only: Rust's own conversion would take a sign as well.
pub fn digits(text: &str, radix: u32) -> Option<u32> {
    let plain = text.chars().all(|c| c.is_digit(radix));
    plain.then(|| u32::from_str_radix(text, radix).ok())?
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Pci([domain, bus, slot, function]) => {
                write!(f, "pci_{domain:04x}_{bus:02x}_{slot:02x}_{function:x}")
            }
            Address::Scsi([host, bus, target, unit]) => {
                write!(f, "scsi_{host}_{bus}_{target}_{unit}")
            }
            Address::Usb([bus, device]) => write!(f, "usb bus {bus} device {device}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, address) in [
            ("pci_0000_0B_00_0", Some(Address::Pci([0, 11, 0, 0]))),
            (
                "pci_10000_e1_00_1",
                Some(Address::Pci([0x10000, 0xe1, 0, 1])),
            ),
            ("scsi_2_0_0_15", Some(Address::Scsi([2, 0, 0, 15]))),
            ("usb_usb7", Some(Address::Usb([7, 1]))),
            // No such port on any machine, so these are bus and device.
            ("usb_250_77", Some(Address::Usb([250, 77]))),
            ("usb_250_77_1", None),
            ("usb_7", None),
            ("usb_usb", None),
            ("pci_0000_0b_00", None),
            ("scsi_2_0_0_f", None),
            ("scsi_+2_0_0_0", None),
            ("scsi_2_0_0_0_0", None),
            ("net_eth0", None),
            ("mdev_1_2_3_4", None),
            ("", None),
        ] {
            assert_eq!(Address::of_name(name), address, "{name}");
        }
    }
}
