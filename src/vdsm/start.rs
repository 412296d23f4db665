// SPDX-License-Identifier: GPL-2.0-or-later

//! Which kind of start a VM is in: VDSM fires the same events for a cold start and for a resume,
//! and drops what hooks make of the document of a resume (VDSM 4.50 lib/vdsm/virt/vm.py: the result of
//! `before_vm_dehibernate` goes nowhere).

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::host::files;
use crate::host::temporary::{self, Temporary};
use crate::{Context, Error, Result, props};

/// Where VDSM keeps what is gone after a boot.
pub const RUN: &str = "/run/vdsm";
const FLAGS: &str = "launchflags";
/// Beside flags that a hook has made; older than flags that VDSM wrote later.
const MADE_BY_HOOK: &str = "launchflags_of_hook";

/// The id of the VM, as VDSM passes it.
///
/// # Errors
/// None was passed, or it is no UUID.
pub fn vm_id() -> Result<String> {
    let id = props::text("vmId")?.ok_or_else(|| Error::new("vmId is not set: VDSM passes it"))?;
    if props::is_uuid(&id) {
        return Ok(id);
    }
    Err(props::wrong("vmId", &id, "expected a UUID"))
}

/// The directory in which VDSM and hooks keep what belongs to one start of the VM.
pub fn directory(vm: &str) -> PathBuf {
    Path::new(RUN).join(vm)
}

/// The file with the flags of a start. VDSM writes it before the hooks of a cold start, and only
/// then (VDSM 4.50 lib/vdsm/virt/vm.py: `dump_vm_launch_flags_to_file`).
pub fn launch_flags(vm: &str) -> PathBuf {
    directory(vm).join(FLAGS)
}

/// Makes the flags where VDSM has written none. [`is_resume`] knows them from VDSM's own.
///
/// # Errors
/// They cannot be written; there are still none.
pub fn make_launch_flags(vm: &str, text: &str) -> Result {
    make_flags(&directory(vm), text)
}

fn make_flags(directory: &Path, text: &str) -> Result {
    fs::create_dir_all(directory).context(directory.display())?;
    let make = || -> io::Result<()> {
        let here = temporary::directory(directory)?;
        for name in [FLAGS, MADE_BY_HOOK] {
            temporary::clear(here.as_fd(), Some(name));
        }
        let write = |name, content: &str| {
            let mut new = Temporary::held(here.as_fd(), name)?;
            new.file().set_permissions(Permissions::from_mode(0o644))?;
            new.file().write_all(content.as_bytes())?;
            Ok::<_, io::Error>(new)
        };
        let flags = write(FLAGS, text)?;
        // In this order the sign is at no moment missing, and never older than the flags.
        write(MADE_BY_HOOK, "")?.replace(Path::new(MADE_BY_HOOK))?;
        flags.replace(Path::new(FLAGS))
    };
    make().context(directory.join(FLAGS).display())
}

/// Takes back what [`make_launch_flags`] made.
///
/// # Errors
/// The flags cannot be removed.
pub fn drop_launch_flags(vm: &str) -> Result {
    drop_flags(&directory(vm))
}

fn drop_flags(directory: &Path) -> Result {
    for name in [FLAGS, MADE_BY_HOOK] {
        let path = directory.join(name);
        fs::remove_file(&path).context(path.display())?;
    }
    Ok(())
}

/// Whether the VM wakes up from a saved state. Where VDSM does not run, as in a dry run, it does
/// not.
///
/// # Errors
/// A `vmId` that is no UUID.
pub fn is_resume() -> Result<bool> {
    // Where VDSM runs, at least the socket of its service for root is there.
    if files::entries(Path::new(RUN))?.is_empty() || props::text("vmId")?.is_none() {
        return Ok(false);
    }
    Ok(wakes_up(&directory(&vm_id()?)))
}

fn wakes_up(directory: &Path) -> bool {
    let changed = |name| fs::metadata(directory.join(name)).and_then(|file| file.modified());
    let Ok(flags) = changed(FLAGS) else {
        return true;
    };
    changed(MADE_BY_HOOK).is_ok_and(|by_hook| by_hook >= flags)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn flags_of_a_hook_are_not_those_of_a_cold_start() -> Result {
        let run = tempfile::tempdir()?;
        let directory = run.path().join("vm");
        assert!(wakes_up(&directory));
        make_flags(&directory, "1")?;
        assert!(wakes_up(&directory));
        drop_flags(&directory)?;
        assert_eq!(fs::read_dir(&directory)?.count(), 0);

        make_flags(&directory, "1")?;
        // The next start is a cold one.
        fs::write(directory.join(FLAGS), "0")?;
        let later = SystemTime::now() + Duration::from_secs(1);
        fs::File::options()
            .write(true)
            .open(directory.join(FLAGS))?
            .set_modified(later)?;
        assert!(!wakes_up(&directory));
        Ok(())
    }
}
