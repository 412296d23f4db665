// SPDX-License-Identifier: GPL-2.0-or-later

//! The launch flags, by which hooks tell a cold start from other ways in which a VM comes to run: VDSM
//! writes them before the hooks of a cold start, and then only. A dry run has flags of its own, in a
//! mount namespace of its own, so that neither VDSM nor a VM of the host ever sees them.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown, lchown};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

use vdsm_hooks::host::files;
use vdsm_hooks::vdsm::events::Start;
use vdsm_hooks::vdsm::start::{RUN, directory, launch_flags};
use vdsm_hooks::{Context as _, Error, Result, props};

use super::unread::Readers;

/// The hooks that do something else at a cold start, and whether they do it only where the flags are:
/// the others take a host without VDSM for one where VMs start cold.
const MIND: [(&str, bool); 4] = [
    ("fileinject", false),
    ("growdisk", true),
    ("openstacknet", false),
    ("scratchpad", false),
];

/// Nothing: for calls with a pointer that may be missing.
const NOTHING: Option<&str> = None;

/// Has everything that this thread starts from now on find below VDSM's directory what a start of this
/// kind has there. Says what was played instead where that cannot be done and a hook minds, of those
/// that are not left out.
pub(super) fn play(
    start: Start,
    is_paused: bool,
    readers: &Readers<'_>,
    left_out: &[String],
) -> Option<String> {
    let vm_id = readers.environment.get("vmId")?;
    let flags = match (start, is_paused) {
        (Start::Cold, false) => Some("0"),
        // VIR_DOMAIN_START_PAUSED, of libvirt's virDomainCreateFlags.
        (Start::Cold, true) => Some("1"),
        _ => None,
    };
    let error = lay_out(vm_id, flags).err()?;
    // What they find as it is.
    let (found, is_enough) = match (has_vdsm(), launch_flags(vm_id).exists()) {
        (false, _) => (Start::Cold, false),
        (true, true) => (Start::Cold, true),
        (true, false) => (Start::Resume, true),
    };
    let is_cold = start == Start::Cold;
    let wrong = MIND.iter().filter(|(_, needs_flags)| {
        is_cold != (found == Start::Cold) || (is_cold && *needs_flags && !is_enough)
    });
    let names: Vec<_> = wrong
        .filter_map(|(name, _)| readers.catalog.iter().find(|hook| hook.name == *name))
        .filter(|hook| readers.is_asked(hook))
        .flat_map(|hook| readers.files(hook))
        .filter(|file| readers.has_fired(file) && !left_out.contains(file))
        .collect();
    if names.is_empty() {
        return None;
    }
    let found = if is_enough {
        found.to_string()
    } else {
        format!("{found} without launch flags")
    };
    Some(format!(
        "played as {found}, which matters to {}: {error}",
        names.join(", ")
    ))
}

/// Whether VDSM has its directory, and something in it.
fn has_vdsm() -> bool {
    files::entries(Path::new(RUN)).is_ok_and(|names| !names.is_empty())
}

fn lay_out(vm_id: &str, flags: Option<&str>) -> Result {
    if !props::is_uuid(vm_id) {
        return Err(Error::new("the id of the VM is no UUID"));
    }
    if !has_vdsm() {
        return Err(Error::new(format!(
            "VDSM does not run here, {RUN} is empty"
        )));
    }
    // As it should be: the VM is just starting here, or it is not and none are wanted.
    if launch_flags(vm_id).exists() == flags.is_some() {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(Error::new(
            "only root can give hooks launch flags that the host does not see",
        ));
    }
    let owner = fs::metadata(RUN).context(RUN)?;
    let owner = (owner.uid(), owner.gid());
    let own = directory(vm_id);
    if !own.exists() {
        // It stays, as VDSM leaves it after each start: who removes it may do so under VDSM's hands.
        fs::create_dir(&own).context(own.display())?;
        lchown(&own, Some(owner.0), Some(owner.1)).context(own.display())?;
    }
    unshare(CloneFlags::CLONE_NEWNS).context("no namespace for mounts")?;
    keep_mounts_in(&own)?;
    let options = format!("mode=755,uid={},gid={}", owner.0, owner.1);
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("vdsm-hooks"),
        &own,
        Some("tmpfs"),
        safe,
        Some(options.as_str()),
    )
    .context(own.display())?;
    match flags {
        Some(text) => {
            let file = launch_flags(vm_id);
            write(&file, text, owner).context(file.display())
        }
        None => Ok(()),
    }
}

/// Writes the flags into the directory that was mounted, and nowhere else: the one above belongs to
/// VDSM's user, who could put a link in its place.
fn write(flags: &Path, text: &str, owner: (u32, u32)) -> Result {
    let (Some(own), Some(name)) = (flags.parent(), flags.file_name()) else {
        return Err(Error::new("no place for launch flags"));
    };
    let mut options = OpenOptions::new();
    options.read(true);
    options.custom_flags((OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY).bits());
    let mounted = options.open(own)?;
    if mounted.metadata()?.dev() == fs::symlink_metadata(RUN)?.dev() {
        return Err(Error::new("somebody has moved what was mounted"));
    }
    let there = format!("/proc/self/fd/{}", mounted.as_raw_fd());
    let mut file = File::create_new(Path::new(&there).join(name))?;
    file.write_all(text.as_bytes())?;
    fchown(&file, Some(owner.0), Some(owner.1))?;
    Ok(())
}

/// Keeps mounts at or below `place` from the other namespaces, and no others: what a hook mounts
/// elsewhere it mounts for the host.
fn keep_mounts_in(place: &Path) -> Result {
    let mut result = Ok(());
    for above in place.ancestors() {
        // Fails where nothing is mounted.
        result = mount(NOTHING, above, NOTHING, MsFlags::MS_PRIVATE, NOTHING);
        if result.is_ok() {
            break;
        }
    }
    result.context("the mounts of the host")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a file of the folder tells a cold start from others.
    fn asks(folder: &Path) -> bool {
        let mut files = fs::read_dir(folder)
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        files.any(|path| {
            let is_code = path.extension().is_some_and(|extension| extension == "rs");
            let text = if is_code {
                fs::read_to_string(&path).unwrap()
            } else {
                String::new()
            };
            ["is_resume", "launch_flags"]
                .iter()
                .any(|word| text.contains(word))
        })
    }

    #[test]
    fn the_hooks_that_look_at_launch_flags_are_known() {
        let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks");
        let mut found: Vec<_> = fs::read_dir(hooks)
            .unwrap()
            .flatten()
            .filter(|folder| asks(&folder.path()))
            .map(|folder| folder.file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, MIND.map(|(name, _)| name));
    }
}
