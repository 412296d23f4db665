// SPDX-License-Identifier: GPL-2.0-or-later

//! The disks of a VM that may be grown: volumes of a storage domain that this VM alone writes to.

use std::path::PathBuf;

use roxmltree::Node;

use vdsm_hooks::image::grow::{Choice, Format, Image};
use vdsm_hooks::storage::{Roots, volume_id};
use vdsm_hooks::xml::{self, Document};
use vdsm_hooks::{Error, Result};

use crate::request::Request;

/// A disk that was asked for.
pub(crate) struct Chosen<'r> {
    /// Its target name.
    pub(crate) name: String,
    /// Its image, or why it is left alone.
    pub(crate) image: Result<Image>,
    pub(crate) choice: Choice<'r>,
}

/// The chosen disks in the order of the document, those that it does not have first. With `auto` what
/// may not be grown is passed over.
pub(crate) fn chosen<'r>(
    document: &Document<'_>,
    request: &'r Request<'_>,
    roots: &Roots,
) -> Vec<Chosen<'r>> {
    let disks = || {
        let disks = xml::devices(document, "disk").into_iter();
        disks.map(|disk| (target(disk).unwrap_or_default(), disk))
    };
    let Some(wanted) = &request.disks else {
        let eligible = disks().filter_map(|(name, disk)| {
            let image = image(disk, roots).ok()?;
            Some(Chosen {
                name: name.to_owned(),
                image: Ok(image),
                choice: Choice::default(),
            })
        });
        return eligible.collect();
    };
    let missing = wanted
        .iter()
        .filter(|one| !disks().any(|(name, _)| name == one.target));
    let mut chosen: Vec<Chosen<'_>> = missing
        .map(|one| Chosen {
            name: one.target.to_owned(),
            image: Err(Error::new("the VM has no such disk")),
            choice: Choice::default(),
        })
        .collect();
    for (name, disk) in disks() {
        if let Some(one) = wanted.iter().find(|one| one.target == name) {
            chosen.push(Chosen {
                name: name.to_owned(),
                image: image(disk, roots),
                choice: Choice {
                    volume: one.volume,
                    is_named: true,
                },
            });
        }
    }
    chosen
}

fn target<'a>(disk: Node<'a, '_>) -> Option<&'a str> {
    xml::child(disk, "target").and_then(|target| xml::attr(target, "dev"))
}

/// The image of a disk, if it may be grown.
fn image(disk: Node<'_, '_>, roots: &Roots) -> Result<Image> {
    let refused = |reason: String| Err(Error::new(reason));
    match xml::attr(disk, "device") {
        Some("disk") => {}
        Some(other) => return refused(format!("it is a {other}, expected a disk")),
        None => return refused("its kind is not said, expected a disk".to_owned()),
    }
    for mark in ["readonly", "shareable", "transient", "encryption", "mirror"] {
        if xml::child(disk, mark).is_some() {
            return refused(format!("the disk has <{mark}/>"));
        }
    }
    let blocks = xml::child(disk, "blockio").and_then(|io| xml::attr(io, "logical_block_size"));
    if let Some(size) = blocks.filter(|size| *size != "512") {
        return refused(format!("its sectors have {size} bytes, expected 512"));
    }
    let source = xml::child(disk, "source");
    // libvirt takes encryption here too, and a part of a file only here (formatdomain, "Hard drives").
    for mark in ["encryption", "slices"] {
        if source.is_some_and(|source| xml::child(source, mark).is_some()) {
            return refused(format!("the disk has <{mark}/>"));
        }
    }
    let kind = xml::attr(disk, "type").unwrap_or_default();
    let path = source.and_then(|source| match kind {
        "file" => xml::attr(source, "file"),
        "block" => xml::attr(source, "dev"),
        _ => None,
    });
    let Some((path, id)) = path.and_then(|path| Some((path, volume_id(path, roots)?))) else {
        return refused("not a volume of a file or block storage domain".to_owned());
    };
    let format = xml::child(disk, "driver").and_then(|driver| xml::attr(driver, "type"));
    let Some(known) = format.and_then(Format::named) else {
        let format = format.unwrap_or("not said");
        return refused(format!("its format is {format}, expected raw or qcow2"));
    };
    Ok(Image {
        path: PathBuf::from(path),
        format: known,
        id: id.to_owned(),
    })
}
