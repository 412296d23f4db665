// SPDX-License-Identifier: GPL-2.0-or-later

//! Makes a passed-through host device the VM's first boot device.
//!
//! Event: `before_vm_start`.
//!
//! Property: `boot_hostdev`, the device's name as the engine's Host Devices tab shows it. Absent
//! or empty: nothing happens.
//!
//! Every other boot order goes up by one. Reads `/sys/bus/usb/devices` for USB names.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use vdsm_hooks::xml::{self, Document, Edits, El, Node};
use vdsm_hooks::{Error, Result, domain, hook, host, program, props};

const PROPERTY: &str = "boot_hostdev";
const USB_DEVICES: &str = "/sys/bus/usb/devices";

/// Where a host device sits, as numbers: two spellings of one address are equal.
#[derive(PartialEq, Eq)]
enum Address {
    Pci {
        domain: u32,
        bus: u32,
        slot: u32,
        function: u32,
    },
    Scsi {
        host: u32,
        bus: u32,
        target: u32,
        unit: u32,
    },
    Usb {
        bus: u32,
        device: u32,
    },
}

fn main() -> ExitCode {
    // Exit 1: the start is refused all the same, and the other hooks may have something to say.
    hook::run(program!(), || run().map_err(Error::keep_going))
}

fn run() -> Result {
    let name = match props::text(PROPERTY)? {
        Some(name) if !name.is_empty() => name,
        _ => return Ok(()),
    };
    let Some(address) = named(&name) else {
        return Err(props::wrong(
            PROPERTY,
            &name,
            "expected pci_DDDD_BB_SS_F, scsi_H_B_T_L, usb_usbN, or usb_B_P of a device that is plugged in",
        ));
    };
    hook::edit(|document, edits| boot_from(document, edits, &name, &address))
}

fn boot_from(
    document: &Document<'_>,
    edits: &mut Edits<'_>,
    name: &str,
    wanted: &Address,
) -> Result {
    let root = domain::root(document)?;
    if xml::children(root, "os").any(|os| xml::child(os, "boot").is_some()) {
        return Err(Error::new(format!(
            "{PROPERTY}={name}: the domain has <os><boot>, which libvirt does not allow together with boot orders of devices"
        )));
    }
    let hostdevs = xml::devices(document, "hostdev");
    let Some(&chosen) = hostdevs
        .iter()
        .find(|hostdev| address(**hostdev).as_ref() == Some(wanted))
    else {
        return Err(not_passed(name, wanted, &hostdevs));
    };
    let mut others = Vec::new();
    for device in xml::children(root, "devices").flat_map(|devices| devices.children()) {
        for boot in xml::children(device, "boot").filter(|_| device != chosen) {
            others.push((boot, order(device, boot)?));
        }
    }
    let own = xml::child(chosen, "boot");
    let is_first = own.is_some_and(|boot| order(chosen, boot).is_ok_and(|order| order == 1));
    // Already the first and the only first: nothing to shift. A second run must not shift again.
    if is_first && others.iter().all(|(_, order)| *order != 1) {
        return Ok(());
    }
    for (boot, order) in others {
        edits.set_attr(boot, "order", &(order + 1).to_string());
    }
    match own {
        Some(boot) => edits.set_attr(boot, "order", "1"),
        None => edits.append(chosen, &El::new("boot").attr("order", "1")),
    }
    Ok(())
}

fn order(device: Node<'_, '_>, boot: Node<'_, '_>) -> Result<u64> {
    let text = xml::attr(boot, "order").unwrap_or_default();
    text.parse()
        .ok()
        .filter(|order| (1..u64::MAX).contains(order))
        .ok_or_else(|| {
            let kind = device.tag_name().name();
            Error::new(format!(
                "{PROPERTY}: <{kind}> has the boot order {text:?}, expected a positive number"
            ))
        })
}

fn not_passed(name: &str, wanted: &Address, hostdevs: &[Node<'_, '_>]) -> Error {
    let there: Vec<_> = hostdevs
        .iter()
        .filter_map(|hostdev| address(*hostdev))
        .collect();
    let there: Vec<_> = there.iter().map(Address::to_string).collect();
    let there = if there.is_empty() {
        "none".to_owned()
    } else {
        there.join(", ")
    };
    let hint = match wanted {
        Address::Scsi { .. } => {
            "; with the VM property scsi_hostdev SCSI devices are disks, not host devices"
        }
        _ => "",
    };
    props::wrong(
        PROPERTY,
        name,
        format!("this device is not passed to the VM, expected one of: {there}{hint}"),
    )
}

/// The address that a node device name of libvirt stands for.
fn named(name: &str) -> Option<Address> {
    let (kind, rest) = name.split_once('_')?;
    let parts: Vec<&str> = rest.split('_').collect();
    let numbers = |radix| {
        parts
            .iter()
            .map(|part| digits(part, radix))
            .collect::<Option<Vec<_>>>()
    };
    match kind {
        "pci" => match numbers(16)?[..] {
            [domain, bus, slot, function] => Some(Address::Pci {
                domain,
                bus,
                slot,
                function,
            }),
            _ => None,
        },
        "scsi" => match numbers(10)?[..] {
            [host, bus, target, unit] => Some(Address::Scsi {
                host,
                bus,
                target,
                unit,
            }),
            _ => None,
        },
        "usb" => match parts[..] {
            [hub] => hub
                .strip_prefix("usb")
                .and_then(|bus| digits(bus, 10))
                .map(|bus| Address::Usb { bus, device: 1 }),
            [bus, ref ports @ ..] => {
                let numbers = numbers(10)?;
                plugged_in(&format!("{bus}-{}", ports.join("."))).or(match numbers[..] {
                    // What older setups wrote: bus and device number.
                    [bus, device] => Some(Address::Usb { bus, device }),
                    _ => None,
                })
            }
            [] => None,
        },
        _ => None,
    }
}

/// Bus and device number of the USB device with the kernel's name `bus-port.port...`. The device
/// number changes with every plugging, so only sysfs can tell it.
fn plugged_in(kernel_name: &str) -> Option<Address> {
    let number = |file| {
        let path = Path::new(USB_DEVICES).join(kernel_name).join(file);
        String::from_utf8(host::read_file(&path, 64).ok()?)
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    Some(Address::Usb {
        bus: number("busnum")?,
        device: number("devnum")?,
    })
}

/// The address of a `<hostdev>`; none for a device that has no address of these kinds, such as
/// one chosen by vendor.
fn address(hostdev: Node<'_, '_>) -> Option<Address> {
    let source = xml::child(hostdev, "source")?;
    let at = xml::child(source, "address")?;
    let number = |name| {
        let text = xml::attr(at, name)?;
        match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => digits(hex, 16),
            None => digits(text, 10),
        }
    };
    match xml::attr(hostdev, "type")? {
        "pci" => Some(Address::Pci {
            domain: if xml::attr(at, "domain").is_some() {
                number("domain")?
            } else {
                0
            },
            bus: number("bus")?,
            slot: number("slot")?,
            function: number("function")?,
        }),
        "scsi" => {
            let adapter =
                xml::child(source, "adapter").and_then(|adapter| xml::attr(adapter, "name"))?;
            Some(Address::Scsi {
                host: digits(adapter.strip_prefix("scsi_host")?, 10)?,
                bus: number("bus")?,
                target: number("target")?,
                unit: number("unit")?,
            })
        }
        "usb" => Some(Address::Usb {
            bus: number("bus")?,
            device: number("device")?,
        }),
        _ => None,
    }
}

/// Plain digits only: Rust's own conversion would take a sign as well.
fn digits(text: &str, radix: u32) -> Option<u32> {
    text.chars()
        .all(|c| c.is_digit(radix))
        .then(|| u32::from_str_radix(text, radix).ok())?
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Pci {
                domain,
                bus,
                slot,
                function,
            } => {
                write!(f, "pci_{domain:04x}_{bus:02x}_{slot:02x}_{function:x}")
            }
            Address::Scsi {
                host,
                bus,
                target,
                unit,
            } => write!(f, "scsi_{host}_{bus}_{target}_{unit}"),
            Address::Usb { bus, device } => write!(f, "usb bus {bus} device {device}"),
        }
    }
}
