// SPDX-License-Identifier: GPL-2.0-or-later

//! What hooks keep until the next boot: one directory per hook, `/run/vdsm/hooks/<hook>`.
//!
//! The directories belong to VDSM's user, and root works in them too. So they are entered one by
//! one, and never through a link that somebody put there.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::geteuid;

use crate::{Context, Error, Result};

const RUN: &str = "/run";
/// The way from there to the directories of the hooks.
const WAY: [&str; 2] = ["vdsm", "hooks"];
const LOCK: &str = "lock";

/// Keeps others out as long as it lives.
#[must_use]
pub struct Lock {
    _held: Flock<File>,
}

/// Waits until no other process has the hook's lock, and takes it. Directories that are missing
/// are made.
///
/// # Errors
/// Somebody else holds the lock for the whole of `deadline`, or a directory is a link, or cannot be
/// made.
pub fn lock(hook: &str, deadline: Duration) -> Result<Lock> {
    lock_below(Path::new(RUN), hook, deadline)
}

fn lock_below(run: &Path, hook: &str, deadline: Duration) -> Result<Lock> {
    let end = Instant::now() + deadline;
    let directory = directory(run, hook)?;
    let path = run.join(WAY.join("/")).join(hook).join(LOCK);
    let mut file = open_lock(&directory).context(path.display())?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Ok(Lock { _held: held }),
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() >= end => {
                return Err(Error::new(format!(
                    "{}: another process has held this lock for {} s",
                    path.display(),
                    deadline.as_secs()
                )));
            }
            Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) => file = back,
            Err((_, error)) => return Err(error).context(path.display()),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The hook's directory below `run`; what is missing is made.
fn directory(run: &Path, hook: &str) -> Result<File> {
    let mut path = run.to_owned();
    let mut directory = File::open(run).context(run.display())?;
    let parents = WAY.iter().map(|name| (*name, 0o755));
    for (name, mode) in parents.chain([(hook, 0o700)]) {
        path.push(name);
        directory = enter(&directory, name, mode).context(path.display())?;
    }
    Ok(directory)
}

fn enter(parent: &File, name: &str, mode: u32) -> io::Result<File> {
    let made = match mkdirat(parent, name, Mode::S_IRWXU) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = File::from(openat(parent, name, flags, Mode::empty())?);
    if made {
        give(&directory, parent)?;
        directory.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(directory)
}

fn open_lock(directory: &File) -> io::Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let new = flags | OFlag::O_CREAT | OFlag::O_EXCL;
    match openat(directory, LOCK, new, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(file) => {
            let file = File::from(file);
            give(&file, directory)?;
            Ok(file)
        }
        Err(Errno::EEXIST) => Ok(openat(directory, LOCK, flags, Mode::empty())?.into()),
        Err(error) => Err(error.into()),
    }
}

/// What root makes in a directory of VDSM's is VDSM's as well. It has to be new: who else had a
/// hand in it could have made it a name of something else.
fn give(new: &File, parent: &File) -> io::Result<()> {
    if geteuid().is_root() {
        let owner = parent.metadata()?;
        fchown(new, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;
    const LONG: Duration = Duration::from_secs(60);

    fn error(result: Result<Lock>) -> String {
        result
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn one_at_a_time() -> Result {
        let run = tempfile::tempdir()?;
        let held = lock_below(run.path(), "one", LONG)?;
        let refused = error(lock_below(run.path(), "one", AT_ONCE));
        assert!(
            refused.ends_with("/vdsm/hooks/one/lock: another process has held this lock for 0 s"),
            "{refused}"
        );
        lock_below(run.path(), "other", AT_ONCE).map(drop)?;
        let waits = thread::scope(|scope| {
            let waiting = scope.spawn(|| lock_below(run.path(), "one", LONG).map(drop));
            drop(held);
            waiting.join()
        });
        assert_eq!(waits.ok(), Some(Ok(())));
        Ok(())
    }

    #[test]
    fn new_directories_are_closed_to_others_and_belong_to_the_parents_owner() -> Result {
        let run = tempfile::tempdir()?;
        let vdsm = run.path().join("vdsm");
        fs::create_dir(&vdsm)?;
        if geteuid().is_root() {
            chown(&vdsm, Some(36), Some(36))?;
        }
        let owner = fs::metadata(&vdsm)?;
        lock_below(run.path(), "one", AT_ONCE).map(drop)?;
        for (path, mode) in [
            ("hooks", 0o755),
            ("hooks/one", 0o700),
            ("hooks/one/lock", 0o600),
        ] {
            let found = fs::metadata(vdsm.join(path))?;
            assert_eq!(found.mode() & 0o7777, mode, "{path}");
            assert_eq!(
                (found.uid(), found.gid()),
                (owner.uid(), owner.gid()),
                "{path}"
            );
        }
        Ok(())
    }

    #[test]
    fn planted_links_are_not_followed() -> Result {
        for planted in [
            "vdsm",
            "vdsm/hooks",
            "vdsm/hooks/one",
            "vdsm/hooks/one/lock",
        ] {
            let run = tempfile::tempdir()?;
            let elsewhere = tempfile::tempdir()?;
            let link = run.path().join(planted);
            fs::create_dir_all(link.parent().unwrap_or(run.path()))?;
            let target = match planted.ends_with("lock") {
                true => elsewhere.path().join("file"),
                false => elsewhere.path().to_owned(),
            };
            symlink(&target, &link)?;
            let refused = error(lock_below(run.path(), "one", AT_ONCE));
            assert!(
                refused.starts_with(&link.display().to_string()),
                "{refused}"
            );
            assert_eq!(fs::read_dir(elsewhere.path())?.count(), 0, "{planted}");
        }
        Ok(())
    }
}
