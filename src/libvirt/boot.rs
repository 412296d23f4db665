// SPDX-License-Identifier: GPL-2.0-or-later

//! The order in which a VM's devices are tried at boot: `<boot order="N"/>` inside a device.

use roxmltree::Node;

use crate::libvirt::domain;
use crate::xml::{self, Document, Edits};
use crate::{Error, Result, props};

/// Properties that make a device the first one.
const FIRST: [&str; 2] = ["boot_hostdev", "httpsisoboot"];

/// A device's place.
pub struct Place<'a, 'i> {
    /// The device.
    pub device: Node<'a, 'i>,
    /// Its `<boot>`.
    pub boot: Node<'a, 'i>,
    /// The place itself, from 1.
    pub order: u64,
}

/// Looks whether `own` is the only property that makes a device the first one: the hook that runs
/// last would decide.
///
/// # Errors
/// Another one does, too.
pub fn check_alone(own: &str) -> Result {
    for other in FIRST.iter().filter(|other| **other != own) {
        if props::given(other)?.is_some() {
            return Err(Error::new(format!(
                "{other} is set as well, and one device is the first to boot from: set one of them"
            )));
        }
    }
    Ok(())
}

/// The places of all devices.
///
/// # Errors
/// A place that is no positive number, or `<os><boot>`, which libvirt does not allow together with
/// places of devices (libvirt 9.0 src/conf/domain_postparse.c: `virDomainDefBootOrderPostParse`).
pub fn places<'a, 'i>(document: &'a Document<'i>) -> Result<Vec<Place<'a, 'i>>> {
    let root = domain::root(document)?;
    if xml::children(root, "os").any(|os| xml::child(os, "boot").is_some()) {
        return Err(Error::new(
            "the domain has <os><boot>, which libvirt does not allow together with boot orders of devices",
        ));
    }
    let mut places = Vec::new();
    for device in xml::children(root, "devices").flat_map(|devices| devices.children()) {
        for boot in xml::children(device, "boot") {
            let order = order(device, boot)?;
            places.push(Place {
                device,
                boot,
                order,
            });
        }
    }
    Ok(places)
}

fn order(device: Node<'_, '_>, boot: Node<'_, '_>) -> Result<u64> {
    let text = xml::attr(boot, "order").unwrap_or_default();
    text.parse()
        .ok()
        .filter(|order| (1..u64::MAX).contains(order))
        .ok_or_else(|| {
            let kind = device.tag_name().name();
            Error::new(format!(
                "<{kind}> has the boot order {text:?}, expected a positive number"
            ))
        })
}

/// Puts these places one back, so that the first is free.
pub fn move_back(places: &[Place<'_, '_>], edits: &mut Edits<'_>) {
    for place in places {
        edits.set_attr(place.boot, "order", &(place.order + 1).to_string());
    }
}
