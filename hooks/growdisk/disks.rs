// SPDX-License-Identifier: GPL-2.0-or-later

//! The disks of a VM that may be grown: volumes of a storage domain that this VM alone writes to.

use std::path::PathBuf;

use roxmltree::Node;

use vdsm_hooks::Error;
use vdsm_hooks::image::grow::{self, Choice, Failure, Format, Image};
use vdsm_hooks::storage::{Roots, volume_id};
use vdsm_hooks::xml::{self, Document};

use crate::request::Request;

/// A disk that was asked for.
pub(crate) struct Chosen<'r> {
    /// Its target name.
    pub(crate) name: String,
    /// Its image, or why it is left alone.
    pub(crate) image: std::result::Result<Image, LeftAlone>,
    pub(crate) choice: Choice<'r>,
}

/// Why a disk is left alone.
pub(crate) struct LeftAlone {
    reason: String,
    /// The volume that it is nevertheless, and its id.
    volume: Option<(PathBuf, String)>,
}

impl LeftAlone {
    /// What that means for the start: a growth that was cut off has to be finished.
    pub(crate) fn failure(&self) -> Failure {
        let reason = Error::new(&*self.reason);
        match &self.volume {
            Some((path, id)) => grow::left_alone(path, id, reason),
            None => Failure::Before(reason),
        }
    }
}

/// The chosen disks in the order of the document, those that it does not have first; with `auto` all.
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
        let all = disks().map(|(name, disk)| Chosen {
            name: name.to_owned(),
            image: image(disk, roots),
            choice: Choice::default(),
        });
        return all.collect();
    };
    let missing = wanted
        .iter()
        .filter(|one| !disks().any(|(name, _)| name == one.target));
    let mut chosen: Vec<Chosen<'_>> = missing
        .map(|one| Chosen {
            name: one.target.to_owned(),
            image: Err(LeftAlone {
                reason: "the VM has no such disk".to_owned(),
                volume: None,
            }),
            choice: Choice {
                volume: one.volume,
                is_named: true,
            },
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
fn image(disk: Node<'_, '_>, roots: &Roots) -> std::result::Result<Image, LeftAlone> {
    let volume = volume(disk, roots);
    let format = match (format(disk), &volume) {
        (Err(reason), _) => Err(reason),
        (Ok(_), None) => Err("not a volume of a file or block storage domain".to_owned()),
        (Ok(format), Some(_)) => Ok(format),
    };
    match (format, volume) {
        (Ok(format), Some((path, id))) => Ok(Image { path, format, id }),
        (reason, volume) => Err(LeftAlone {
            reason: reason.err().unwrap_or_default(),
            volume,
        }),
    }
}

/// The path and the id of the volume that a disk is.
fn volume(disk: Node<'_, '_>, roots: &Roots) -> Option<(PathBuf, String)> {
    let source = xml::child(disk, "source")?;
    let path = match xml::attr(disk, "type")? {
        "file" => xml::attr(source, "file")?,
        "block" => xml::attr(source, "dev")?,
        _ => return None,
    };
    let id = volume_id(path, roots)?;
    Some((PathBuf::from(path), id.to_owned()))
}

/// The format of a disk, or why it may not be grown.
fn format(disk: Node<'_, '_>) -> std::result::Result<Format, String> {
    let refused = |reason: String| Err(reason);
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
    let format = xml::child(disk, "driver").and_then(|driver| xml::attr(driver, "type"));
    format.and_then(Format::named).ok_or_else(|| {
        let format = format.unwrap_or("not said");
        format!("its format is {format}, expected raw or qcow2")
    })
}
