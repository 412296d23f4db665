// SPDX-License-Identifier: GPL-2.0-or-later

//! What a file domain has beside its `dom_md`: images, ISO files, the OVF of exported VMs, remnants.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::report::{Cure, Surveyor};
use crate::storage::find::dir::{Dir, Entry};
use crate::storage::verdict::engine;

/// The directory of an ISO domain's files, below `images` (VDSM 4.50 lib/vdsm/storage/sd.py:
/// `ISO_IMAGE_UUID`).
pub(super) const ISO_DIRECTORY: &str = "11111111-1111-1111-1111-111111111111";
/// How VDSM marks an image that it deletes (VDSM 4.50 lib/vdsm/storage/constants.py:
/// `REMOVED_IMAGE_PREFIX`). What is left of it goes when a host loads the domain
/// (lib/vdsm/storage/fileSD.py: `imageGarbageCollector`).
pub(super) const REMOVED: &str = "_remove_me_";
/// The numbers of the groups kvm and qemu.
const GROUPS: [u32; 2] = [36, 107];
/// How deep ISO files may lie.
const MAX_DEPTH: usize = 8;

/// Looks at everything but `dom_md`.
pub(super) fn look(surveyor: &mut Surveyor, domain: &Dir) {
    if surveyor.says("CLASS", "Iso") && matches!(domain.look("images"), Ok(None)) {
        let both = ["images".into(), Path::new("images").join(ISO_DIRECTORY)];
        let cure = Cure::command(surveyor.directories(&both))
            .and("the files that were in it come back from a backup only");
        surveyor.finding("images", "missing", engine::NO_ISO, cure);
    } else if let Some(images) = surveyor.open(domain, "images", engine::NO_IMAGES) {
        let names = surveyor.names(&images);
        let is_remnant = |name: &&OsString| name.as_bytes().starts_with(REMOVED.as_bytes());
        let remnants: Vec<&OsString> = names.iter().filter(is_remnant).collect();
        for name in &remnants {
            let about = images.name.join(name);
            let cure = Cure::command(format!("rm -r {}", surveyor.path(&about)))
                .and("not while the engine deletes a disk; VDSM does the same when a host next loads the domain");
            let problem = "left over from an image that was deleted";
            surveyor.finding(about, problem, engine::REMNANT, cure);
        }
        if surveyor.says("CLASS", "Iso") {
            if let Some(files) = surveyor.open(&images, ISO_DIRECTORY, engine::NO_ISO) {
                let mut count = 0;
                iso_files(surveyor, &files, 0, &mut count);
                surveyor.fact("ISO files", count.to_string());
            }
        } else if names.len() > remnants.len() {
            surveyor.fact("images", (names.len() - remnants.len()).to_string());
        }
    }
    if surveyor.says("CLASS", "Backup") {
        exported(surveyor, domain);
    }
}

/// Whether VMs are offered the files of an ISO domain (VDSM 4.50 lib/vdsm/storage/fileUtils.py:
/// `validateQemuReadable`).
fn iso_files(surveyor: &mut Surveyor, dir: &Dir, depth: usize, count: &mut usize) {
    for name in surveyor.names(dir) {
        let about = dir.name.join(&name);
        match dir.look(&name) {
            Ok(Some(entry)) if entry.is_dir() && depth < MAX_DEPTH => {
                let below = name.to_str();
                let below = below.and_then(|below| surveyor.open(dir, below, engine::ISO));
                if let Some(below) = below {
                    iso_files(surveyor, &below, depth + 1, count);
                }
            }
            Ok(Some(entry)) if entry.is_file() => {
                *count += 1;
                if !is_offered(&entry) {
                    let cure = Cure::command(format!("chmod o+r {}", surveyor.path(&about)));
                    let problem = format!(
                        "mode {:04o} and group {} keep it from the VMs: it has to be readable for all, or for the group kvm (36) or qemu (107)",
                        entry.mode(),
                        entry.owner().1
                    );
                    surveyor.finding(about, problem, engine::ISO, cure);
                }
            }
            // An entry that vanishes meanwhile, and links, which VDSM does not list.
            Ok(_) => {}
            Err(error) => surveyor.trouble(about, &error),
        }
    }
}

fn is_offered(entry: &Entry) -> bool {
    let mode = entry.mode();
    mode & 0o004 != 0 || (mode & 0o040 != 0 && GROUPS.contains(&entry.owner().1))
}

/// The directories of exported VMs and templates: one without its OVF makes the engine fail to list
/// any of them (VDSM 4.50 lib/vdsm/storage/sd.py: `getVMsInfo`).
fn exported(surveyor: &mut Surveyor, domain: &Dir) {
    // VDSM makes them when it activates the domain (VDSM 4.50 lib/vdsm/storage/sd.py: activate).
    let Ok(Some(_)) = domain.look("master") else {
        return;
    };
    let Some(master) = surveyor.open(domain, "master", engine::EXPORTED) else {
        return;
    };
    let Ok(Some(_)) = master.look("vms") else {
        return;
    };
    let Some(vms) = surveyor.open(&master, "vms", engine::EXPORTED) else {
        return;
    };
    let mut count = 0;
    for name in surveyor.names(&vms) {
        let is_dir = |entry: Entry| entry.is_dir();
        if !vms.look(&name).is_ok_and(|entry| entry.is_some_and(is_dir)) {
            continue;
        }
        count += 1;
        let vm = name.to_str();
        let vm = vm.and_then(|vm| surveyor.open(&vms, vm, engine::EXPORTED));
        let Some(vm) = vm else {
            continue;
        };
        let ovf = Path::new(&name).with_extension("ovf");
        let is_file = |entry: Entry| entry.is_file() && entry.size() > 0;
        if !vm
            .look(ovf.as_os_str())
            .is_ok_and(|entry| entry.is_some_and(is_file))
        {
            let about = vm.name.join(ovf.file_name().unwrap_or(OsStr::new("")));
            let problem = "missing or empty, so that the engine cannot list what was exported";
            let cure = without_ovf(surveyor, &vm, ovf.as_os_str(), &about);
            surveyor.finding(about, problem, engine::EXPORTED, cure);
        }
    }
    surveyor.fact("VMs", count.to_string());
}

/// What to do about the directory of a VM that has no OVF, or an empty one. What else is in it may
/// be of use to somebody.
fn without_ovf(surveyor: &mut Surveyor, vm: &Dir, ovf: &OsStr, about: &Path) -> Cure {
    let restore = "or put the OVF back from a backup: without it the VM cannot be imported";
    let directory = surveyor.path(&vm.name);
    let names = surveyor.names(vm);
    match names.as_slice() {
        [] => Cure::command(format!("rmdir {directory}")).and(restore),
        [only] if only == ovf && matches!(vm.look(ovf), Ok(Some(entry)) if entry.is_file()) => {
            let empty = surveyor.path(about);
            Cure::command(format!("rm {empty} && rmdir {directory}")).and(restore)
        }
        _ => Cure::advice(
            "put the OVF back from a backup, or move the directory, with what else is in it, out of the domain",
        ),
    }
}
