// SPDX-License-Identifier: GPL-2.0-or-later

//! The SCSI bus of a VM: names and addresses for the disks that a hook puts there.

use roxmltree::Node;

use vdsm_hooks::Result;
use vdsm_hooks::libvirt::disk::Targets;
use vdsm_hooks::libvirt::{domain, hostdev};
use vdsm_hooks::xml::{self, Document};

/// Controller, bus, target, unit.
type Place = [u32; 4];

/// The names and places that are taken.
pub(crate) struct ScsiBus {
    targets: Targets,
    places: Vec<Place>,
}

impl ScsiBus {
    /// The bus of the document's VM.
    ///
    /// # Errors
    /// The document is no domain with devices.
    pub(crate) fn from_document(document: &Document<'_>) -> Result<ScsiBus> {
        let devices = domain::devices(document)?.children().filter(is_on_bus);
        Ok(ScsiBus {
            targets: Targets::from_document(document),
            places: devices
                .filter_map(|device| match drive_address(device) {
                    Some(address) => place(address),
                    None => number_of_name(device).map(place_of_name),
                })
                .collect(),
        })
    }

    /// The address of a device on the bus, if it has one and no other device has the same: libvirt
    /// refuses two in one place (libvirt 9.0 src/conf/domain_validate.c:
    /// `virDomainDefDuplicateDriveAddressesValidate`).
    pub(crate) fn address_of<'a, 'i>(&self, device: Node<'a, 'i>) -> Option<Node<'a, 'i>> {
        drive_address(device).filter(|address| {
            let own = place(*address);
            self.places
                .iter()
                .filter(|place| Some(**place) == own)
                .count()
                == 1
        })
    }

    /// Takes a free name for a disk with an address.
    pub(crate) fn take_name(&mut self) -> String {
        self.targets.take_next("sd")
    }

    /// Takes a free name for a disk without an address. libvirt makes the address from the name, and
    /// refuses one that is taken.
    pub(crate) fn take_name_for_place(&mut self) -> String {
        let is_free = |number| !self.places.contains(&place_of_name(number));
        self.targets.take_next_with("sd", is_free)
    }
}

fn is_on_bus(device: &Node<'_, '_>) -> bool {
    let target = xml::child(*device, "target");
    let attr = |name| target.and_then(|target| xml::attr(target, name));
    // libvirt 9.0 src/conf/domain_postparse.c, virDomainDiskDefPostParse: without one it goes by the name.
    let is_by_name = || attr("dev").is_some_and(|name| name.starts_with("sd"));
    let is_on_scsi = attr("bus").map_or_else(is_by_name, |bus| bus == "scsi");
    let is_disk = xml::is(*device, "disk") && is_on_scsi;
    is_disk || xml::is(*device, "hostdev") && xml::attr(*device, "type") == Some("scsi")
}

fn drive_address<'a, 'i>(device: Node<'a, 'i>) -> Option<Node<'a, 'i>> {
    let address = xml::child(device, "address");
    address.filter(|address| xml::attr(*address, "type") == Some("drive"))
}

fn place(address: Node<'_, '_>) -> Option<Place> {
    let number = |name| xml::attr(address, name).map_or(Some(0), hostdev::parse_number);
    Some([
        number("controller")?,
        number("bus")?,
        number("target")?,
        number("unit")?,
    ])
}

/// The number of a disk's name, `sda` being 0; libvirt makes an address from it where there is none.
fn number_of_name(device: Node<'_, '_>) -> Option<u32> {
    let letters = xml::attr(xml::child(device, "target")?, "dev")?.strip_prefix("sd")?;
    let mut number = 0u32;
    for letter in letters.bytes() {
        let digit = letter.checked_sub(b'a').filter(|digit| *digit < 26)?;
        number = number.checked_mul(26)?.checked_add(u32::from(digit) + 1)?;
    }
    number.checked_sub(1)
}

/// Where libvirt puts the disk whose name has this number: fifteen to a controller, which is unit 7
/// itself (libvirt 9.0 src/conf/domain_conf.c: `virDomainDiskDefAssignAddress`).
fn place_of_name(number: u32) -> Place {
    let unit = number % 15;
    [number / 15, 0, 0, if unit < 7 { unit } else { unit + 1 }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_names() -> Result {
        for (name, number) in [
            ("sda", Some(0)),
            ("sdz", Some(25)),
            ("sdaa", Some(26)),
            ("sd", None),
            ("sdA", None),
            ("vda", None),
            ("sdzzzzzzzzzz", None),
        ] {
            let text = format!("<disk><target dev='{name}'/></disk>");
            let document = xml::parse(&text)?;
            assert_eq!(number_of_name(document.root_element()), number, "{name}");
        }
        Ok(())
    }

    #[test]
    fn places_of_names() {
        for (number, controller, unit) in [(0, 0, 0), (6, 0, 6), (7, 0, 8), (14, 0, 15), (15, 1, 0)]
        {
            assert_eq!(place_of_name(number), [controller, 0, 0, unit], "{number}");
        }
    }
}
