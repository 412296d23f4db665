// SPDX-License-Identifier: GPL-2.0-or-later

//! What a file domain has beside its `dom_md`: images, ISO files, the OVF of exported VMs, remnants.

use std::ffi::OsStr;
use std::path::Path;

use super::report::Surveyor;
use crate::storage::find::dir::{Dir, Entry};

/// The directory of an ISO domain's files, below `images` (VDSM 4.50 lib/vdsm/storage/sd.py:
/// `ISO_IMAGE_UUID`).
pub(super) const ISO_DIRECTORY: &str = "11111111-1111-1111-1111-111111111111";
/// How VDSM marks an image that it deletes (VDSM 4.50 lib/vdsm/storage/constants.py:
/// `REMOVED_IMAGE_PREFIX`).
pub(super) const REMOVED: &str = "_remove_me_";
/// The numbers of the groups kvm and qemu.
const GROUPS: [u32; 2] = [36, 107];
/// How deep ISO files may lie.
const MAX_DEPTH: usize = 8;

/// Looks at everything but `dom_md`.
pub(super) fn look(surveyor: &mut Surveyor, domain: &Dir) {
    if let Some(images) = surveyor.open(domain, "images") {
        let names = surveyor.names(&images);
        let remnants: Vec<_> = names
            .iter()
            .map(|name| name.to_string_lossy())
            .filter(|name| name.starts_with(REMOVED))
            .collect();
        for name in &remnants {
            let about = images.name.join(&**name);
            let remedy = format!("rm -r {}", surveyor.path(&about));
            surveyor.finding(about, "left over from an image that was deleted", remedy);
        }
        if surveyor.says("CLASS", "Iso") {
            if let Some(files) = surveyor.open(&images, ISO_DIRECTORY) {
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
                if let Some(below) = name.to_str().and_then(|name| surveyor.open(dir, name)) {
                    iso_files(surveyor, &below, depth + 1, count);
                }
            }
            Ok(Some(entry)) if entry.is_file() => {
                *count += 1;
                if !is_offered(&entry) {
                    let remedy = format!("chmod o+r {}", surveyor.path(&about));
                    let problem = format!(
                        "mode {:04o} and group {} keep it from the VMs: it has to be readable for all, or for the group kvm (36) or qemu (107)",
                        entry.mode(),
                        entry.owner().1
                    );
                    surveyor.finding(about, problem, remedy);
                }
            }
            // An entry that vanishes meanwhile, and links, which VDSM does not list.
            Ok(_) => {}
            Err(error) => surveyor.finding(about, error.to_string(), None),
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
    let Some(master) = surveyor.open(domain, "master") else {
        return;
    };
    let Ok(Some(_)) = master.look("vms") else {
        return;
    };
    let Some(vms) = surveyor.open(&master, "vms") else {
        return;
    };
    let mut count = 0;
    for name in surveyor.names(&vms) {
        let is_dir = |entry: Entry| entry.is_dir();
        if !vms.look(&name).is_ok_and(|entry| entry.is_some_and(is_dir)) {
            continue;
        }
        count += 1;
        let Some(vm) = name.to_str().and_then(|name| surveyor.open(&vms, name)) else {
            continue;
        };
        let ovf = Path::new(&name).with_extension("ovf");
        let is_file = |entry: Entry| entry.is_file() && entry.size() > 0;
        if !vm
            .look(ovf.as_os_str())
            .is_ok_and(|entry| entry.is_some_and(is_file))
        {
            let about = vm.name.join(ovf.file_name().unwrap_or(OsStr::new("")));
            let remedy = format!("rmdir {}", surveyor.path(&vm.name));
            let problem = "missing or empty, so that the engine cannot list what was exported";
            surveyor.finding(about, problem, remedy);
        }
    }
    surveyor.fact("VMs", count.to_string());
}
