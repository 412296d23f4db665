// SPDX-License-Identifier: GPL-2.0-or-later

//! The volumes of a file domain: whether each agrees with its metadata and with its place.

use std::collections::BTreeMap;

use super::images::{ISO_DIRECTORY, REMOVED};
use super::layout::{self, FILE_MODE, METADATA_MODE, OWNER};
use super::report::{Cure, Image, Surveyor};
use crate::props::is_uuid;
use crate::storage::find::dir::Dir;
use crate::storage::format::volume::{MAX_META_BYTES, Volume};
use crate::storage::verdict::engine;

/// The first bytes of a qcow2 file, and where its incompatible features are (QEMU 7.2
/// docs/interop/qcow2.txt).
const QCOW2: &[u8] = b"QFI\xfb";
const FEATURES: std::ops::Range<usize> = 72..80;
/// The feature of a data file of its own, which would be opened wherever it is.
const DATA_FILE: u64 = 1 << 2;
const READ_ONLY: u32 = 0o440;
/// What helps where the text of a `.meta` is wrong.
const BY_HAND: &str = "put it back from a backup, or correct it with an editor while no VM uses the disk: it is text, and has no seal";
/// What helps where a volume is not what its `.meta` says.
const LOOK: &str = "start no VM with it before 'qemu-img info' has said what it is; then put the volume or its .meta back from a backup";

/// Looks at all volumes.
pub(super) fn look(surveyor: &mut Surveyor, domain: &Dir) {
    // What the domain has in `images` has been said.
    let Ok(images) = domain.dir("images") else {
        return;
    };
    let Ok((names, _)) = images.names() else {
        return;
    };
    for name in names.iter().filter_map(|name| name.to_str()) {
        if name == ISO_DIRECTORY || name.starts_with(REMOVED) {
            continue;
        }
        if !is_uuid(name) {
            let cure = Cure::advice("VDSM calls nothing so: move it out of the domain");
            let about = images.name.join(name);
            surveyor.finding(about, "not the name of an image", engine::NOTHING, cure);
            continue;
        }
        if let Some(image) = surveyor.open(&images, name, engine::DISK) {
            image_of(surveyor, &image, name);
        }
    }
}

fn image_of(surveyor: &mut Surveyor, dir: &Dir, image: &str) {
    let names = surveyor.names(dir);
    let names: Vec<&str> = names.iter().filter_map(|name| name.to_str()).collect();
    let mut volumes: BTreeMap<&str, Volume> = BTreeMap::new();
    for name in &names {
        let id = name.strip_suffix(".meta").unwrap_or(name);
        if !is_uuid(id) {
            continue;
        }
        let about = dir.name.join(name);
        if id == *name {
            if !names.contains(&format!("{id}.meta").as_str()) {
                let cure = Cure::advice(
                    "put the .meta back from a backup; what belongs into it are the engine's ids and what 'qemu-img info' says",
                );
                surveyor.finding(about, "a volume without its .meta", engine::DISK, cure);
            }
            continue;
        }
        if !names.contains(&id) {
            let cure = Cure::advice(
                "put the volume back from a backup; if the disk is none any more, delete this as well",
            );
            surveyor.finding(about, "no volume belongs to it", engine::DISK, cure);
            continue;
        }
        match dir.read(name, 0, MAX_META_BYTES + 1) {
            Ok(content) if content.len() as u64 > MAX_META_BYTES => {
                let problem = format!("larger than {MAX_META_BYTES} bytes");
                surveyor.finding(about, problem, engine::DISK, Cure::advice(BY_HAND));
            }
            Ok(content) => {
                volumes.insert(id, Volume::read(&content));
            }
            Err(error) => surveyor.trouble(about, &error),
        }
    }
    for (id, volume) in &volumes {
        agrees(surveyor, dir, image, id, volume, &names);
    }
}

fn agrees(
    surveyor: &mut Surveyor,
    dir: &Dir,
    image: &str,
    id: &str,
    volume: &Volume,
    names: &[&str],
) {
    let meta = dir.name.join(format!("{id}.meta"));
    for problem in &volume.problems {
        surveyor.finding(&meta, problem, engine::DISK, Cure::advice(BY_HAND));
    }
    let domain = surveyor.id.clone();
    // The volumes of a template are links to it in every image that builds on it.
    let shared = volume.get("VOLTYPE") == Some("SHARED");
    for (key, expected) in [("DOMAIN", domain.as_str()), ("IMAGE", image)] {
        let differs = |value: &&str| *value != expected && !(shared && key == "IMAGE");
        if let Some(value) = volume.get(key).filter(differs) {
            let value = value.escape_debug();
            let problem = format!("{key}={value}, but it is in {expected}");
            let cure = Cure::advice(BY_HAND);
            surveyor.finding(&meta, problem, engine::DISK, cure);
        }
    }
    if let Some(parent) = volume.parent().filter(|parent| !names.contains(parent)) {
        let parent = parent.escape_debug();
        let cure = Cure::advice(
            "put the parent back from a backup: the volume has only what was written since",
        );
        let problem = format!("its parent {parent} is not in the image");
        surveyor.finding(&meta, problem, engine::DISK, cure);
    }
    of_vdsm(surveyor, dir, &format!("{id}.meta"), METADATA_MODE);
    if names.contains(&format!("{id}.lease").as_str()) {
        of_vdsm(surveyor, dir, &format!("{id}.lease"), FILE_MODE);
        layout::of_volume(surveyor, dir, id);
    }
    // VDSM made what others build on read-only before version 3 (VDSM 4.50
    // lib/vdsm/storage/volume.py: setrw).
    let mode = match (dir.look(id), volume.get("VOLTYPE")) {
        (Ok(Some(entry)), Some("INTERNAL" | "SHARED")) if entry.mode() == READ_ONLY => READ_ONLY,
        _ => FILE_MODE,
    };
    if !of_vdsm(surveyor, dir, id, mode) {
        return;
    }
    let about = dir.name.join(id);
    let (Some(format), Some(capacity)) = (volume.get("FORMAT"), volume.capacity()) else {
        return;
    };
    let header = match dir.read(id, 0, FEATURES.end as u64) {
        Ok(header) => header,
        Err(error) => return surveyor.trouble(about, &error),
    };
    let qcow2 = format == "COW";
    if qcow2 && !header.starts_with(QCOW2) {
        let problem = "no qcow2 image, which FORMAT=COW says";
        return surveyor.finding(about, problem, engine::DISK, Cure::advice(LOOK));
    }
    let features = header.get(FEATURES).and_then(|bytes| bytes.try_into().ok());
    if qcow2 && header[7] >= 3 && features.map_or(0, u64::from_be_bytes) & DATA_FILE != 0 {
        let problem = "a qcow2 image with a data file elsewhere, which VDSM never makes";
        return surveyor.finding(about, problem, engine::DISK, Cure::advice(LOOK));
    }
    surveyor.image(Image {
        name: about.to_string_lossy().into_owned(),
        qcow2,
        capacity,
    });
}

/// Whether this is a file; findings if it is none, or not VDSM's.
fn of_vdsm(surveyor: &mut Surveyor, dir: &Dir, name: &str, mode: u32) -> bool {
    let about = dir.name.join(name);
    let entry = match dir.look(name) {
        Ok(Some(entry)) if entry.is_file() => entry,
        Ok(Some(entry)) => {
            let problem = format!("{}, expected a file", entry.describe());
            surveyor.finding(about, problem, engine::DISK, Cure::advice(LOOK));
            return false;
        }
        Ok(None) => return false,
        Err(error) => {
            surveyor.trouble(about, &error);
            return false;
        }
    };
    if entry.owner() != OWNER {
        let (user, group) = entry.owner();
        let cure = Cure::command(format!("chown 36:36 {}", surveyor.path(&about)));
        let problem = format!("owner {user}:{group}, expected 36:36");
        surveyor.finding(&about, problem, engine::DISK, cure);
    }
    layout::mode(surveyor, &about, &entry, mode, engine::DISK);
    true
}
