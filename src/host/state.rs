// SPDX-License-Identifier: GPL-2.0-or-later

//! What hooks keep until the next boot: one directory per hook, `/run/vdsm/hooks/<hook>`, with one
//! small text for each VM, device or whatever the hook keeps book of. What has to outlast a boot is
//! in `/var/lib/vdsm/hooks/<hook>`.
//!
//! The directories belong to VDSM's user, and root works in them too. So they are entered one by
//! one, and never through a link that somebody put there. What root goes by is in
//! `/run/vdsm-hooks/<hook>`, which is root's alone.
//!
//! Records that a process was writing when it was killed go when the next one comes here.

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, FdFlag, Flock, FlockArg, OFlag, fcntl, openat};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, close, geteuid, unlinkat};

use crate::host::files;
use crate::host::temporary::{self, Temporary};
use crate::{Context, Error, Result};

const RUN: &str = "/run";
const PERSISTENT: &str = "/var/lib";
/// The way from there to the directories of the hooks.
const SHARED: &[&str] = &["vdsm", "hooks"];
/// The same for those that root keeps to itself.
const ROOT_ONLY: &[&str] = &["vdsm-hooks"];
const LOCK: &str = "lock";
/// A record is a few lines.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// Exclusive lock, released on drop.
#[must_use]
pub struct Lock {
    held: ManuallyDrop<Flock<File>>,
}

impl Lock {
    /// The lock for a child as well: it is held until that ends too, whatever becomes of us.
    ///
    /// # Errors
    /// No more files can be opened.
    pub fn share(&self) -> Result<File> {
        Ok(self.held.try_clone()?)
    }

    /// [`Lock::share`] for a child that has its standard input for something else: every program that
    /// is started before this file is closed holds the lock.
    ///
    /// # Errors
    /// No more files can be opened.
    pub fn inheritable(&self) -> Result<File> {
        let file = self.share()?;
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(file)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Dropping what is held would unlock it for a child that shares it as well.
        let _ = close(self.held.as_raw_fd());
    }
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
    let refused = |path: &Path| {
        Error::new(format!(
            "{}: another process has held this lock for {} s",
            path.display(),
            deadline.as_secs()
        ))
    };
    lock_one(run, hook, &[LOCK], || Instant::now() < end, refused)
}

/// Waits until one of the hook's locks with these names is free, and takes it; between two looks
/// `goes_on` says whether to wait on.
///
/// # Errors
/// None became free, or a directory is a link, or cannot be made.
pub fn lock_any(hook: &str, names: &[&str], goes_on: impl Fn() -> bool) -> Result<Lock> {
    let refused = |path: &Path| {
        Error::new(format!(
            "{}: another process holds this lock",
            path.display()
        ))
    };
    lock_one(Path::new(RUN), hook, names, goes_on, refused)
}

/// Ends one of the locks of [`lock_any`] and removes its file: for names of which there is no end.
///
/// # Errors
/// The file cannot be removed.
pub fn remove_lock(hook: &str, name: &str, lock: Lock) -> Result {
    let (directory, path) = directory(Path::new(RUN), SHARED, hook, Life::Boot)?;
    let removed = unlinkat(&directory, name, UnlinkatFlags::NoRemoveDir);
    removed.context(path.join(name).display())?;
    drop(lock);
    Ok(())
}

fn lock_one(
    run: &Path,
    hook: &str,
    names: &[&str],
    goes_on: impl Fn() -> bool,
    refused: impl Fn(&Path) -> Error,
) -> Result<Lock> {
    let (directory, path) = directory(run, SHARED, hook, Life::Boot)?;
    loop {
        let mut last = path.clone();
        for name in names {
            last = path.join(name);
            let file = open_lock(&directory, name).context(last.display())?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) if is_at(&held, &directory, name).context(last.display())? => {
                    return Ok(Lock {
                        held: ManuallyDrop::new(held),
                    });
                }
                // Who had it has removed it: the next one is another file.
                Ok(_) | Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => {}
                Err((_, error)) => return Err(error).context(last.display()),
            }
        }
        if !goes_on() {
            return Err(refused(&last));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A directory for what another program keeps between runs, in which nobody else can put anything:
/// only VDSM's user, or only root, whoever we are. It outlasts a boot.
///
/// # Errors
/// A directory on the way is a link, or cannot be made.
pub fn cache(program: &str) -> Result<PathBuf> {
    let way = if geteuid().is_root() {
        ROOT_ONLY
    } else {
        SHARED
    };
    let (_, path) = directory(Path::new(PERSISTENT), way, program, Life::Boot)?;
    Ok(path)
}

/// The texts that a hook keeps, by name: a vmId, a PCI address, an interface. Who changes what
/// another start may change too takes the [`lock`] first.
pub struct Records {
    directory: File,
    path: PathBuf,
    life: Life,
}

/// What records outlast.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Only the process.
    Boot,
    /// A loss of power as well: names are on the disk when a call returns.
    Persistent,
}

impl Life {
    fn keep(self, directory: &File) -> io::Result<()> {
        match self {
            Life::Boot => Ok(()),
            Life::Persistent => directory.sync_all(),
        }
    }
}

impl Records {
    /// The records of a hook. Directories that are missing are made.
    ///
    /// # Errors
    /// As [`lock`].
    pub fn for_hook(hook: &str) -> Result<Records> {
        Records::below(Path::new(RUN), SHARED, hook, Life::Boot)
    }

    /// Those of its records that outlast a boot.
    ///
    /// # Errors
    /// As [`lock`].
    pub fn persistent(hook: &str) -> Result<Records> {
        Records::below(Path::new(PERSISTENT), SHARED, hook, Life::Persistent)
    }

    /// Those that root writes and reads, and nobody else can: whoever owns a directory can take
    /// root's own files out of it, and put them back when they are no longer true.
    ///
    /// # Errors
    /// As [`lock`]; or we are not root.
    pub fn root_only(hook: &str) -> Result<Records> {
        Records::below(Path::new(RUN), ROOT_ONLY, hook, Life::Boot)
    }

    fn below(run: &Path, way: &[&str], hook: &str, life: Life) -> Result<Records> {
        let (directory, path) = directory(run, way, hook, life)?;
        Ok(Records {
            directory,
            path,
            life,
        })
    }

    /// The text kept under `name`; none if there is none.
    ///
    /// # Errors
    /// It cannot be read, is a link, not UTF-8, or larger than any record.
    pub fn read(&self, name: &str) -> Result<Option<String>> {
        let path = self.path(name)?;
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error).context(path.display()),
        };
        let mut text = String::new();
        let read = file.take(MAX_RECORD_BYTES + 1).read_to_string(&mut text);
        let read = read.context(path.display())?;
        if read as u64 > MAX_RECORD_BYTES {
            return Err(Error::new(format!(
                "{}: larger than any record",
                path.display()
            )));
        }
        Ok(Some(text))
    }

    /// Keeps `text` under `name`, in place of what was there. A crash leaves the old text or the
    /// new one.
    ///
    /// # Errors
    /// It cannot be written; the old text is still there, or the new one, whole.
    pub fn write(&self, name: &str, text: &str) -> Result {
        let path = self.path(name)?;
        self.with_file(name, text, |new| new.replace(Path::new(name)))
            .context(path.display())
    }

    /// Keeps `text` under `name` if nothing is kept there; tells whether it did. A crash leaves
    /// nothing or the whole text.
    ///
    /// # Errors
    /// It cannot be written; nothing is left, or the whole text.
    pub fn create(&self, name: &str, text: &str) -> Result<bool> {
        let path = self.path(name)?;
        let put = self.with_file(name, text, |new| new.put(Path::new(name)).map(drop));
        match put {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error).context(path.display()),
        }
    }

    /// Forgets what is kept under `name`; it is no error if nothing is.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, name: &str) -> Result {
        let path = self.path(name)?;
        match self.unlink(name) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error).context(path.display()),
        }
    }

    /// The names under which something is kept, sorted.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let kept = |name: &String| name != LOCK && !name.starts_with('.');
        let entries = Path::new("/proc/self/fd").join(self.directory.as_raw_fd().to_string());
        Ok(files::entries(&entries)?.into_iter().filter(kept).collect())
    }

    /// A name comes from a document or the environment: it stays in this directory, and is neither
    /// the lock nor hidden.
    fn path(&self, name: &str) -> Result<PathBuf> {
        if name.is_empty() || name == LOCK || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(Error::new(format!("{name:?} cannot name a record")));
        }
        Ok(self.path.join(name))
    }

    /// Writes a file for `name` and has it put into its place. Until then its name is hidden.
    fn with_file(
        &self,
        name: &str,
        text: &str,
        put: impl FnOnce(Temporary<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut new = Temporary::held(self.directory.as_fd(), name)?;
        give(new.file(), &self.directory)?;
        new.file().write_all(text.as_bytes())?;
        new.file().sync_all()?;
        put(new)?;
        self.life.keep(&self.directory)
    }

    fn unlink(&self, name: &str) -> nix::Result<()> {
        unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir)
    }
}

/// The hook's directory below `run`, and its path; what is missing is made.
fn directory(run: &Path, way: &[&str], hook: &str, life: Life) -> Result<(File, PathBuf)> {
    let mut path = run.to_owned();
    let mut directory = File::open(run).context(run.display())?;
    let parents = way.iter().map(|name| (*name, 0o755));
    // A hook may have parts of its own: `growdisk/seen`.
    let own = hook.split('/').map(|name| (name, 0o700));
    for (name, mode) in parents.chain(own) {
        path.push(name);
        directory = enter(&directory, name, mode, life).context(path.display())?;
    }
    temporary::clear(directory.as_fd(), None);
    Ok((directory, path))
}

fn enter(parent: &File, name: &str, mode: u32, life: Life) -> io::Result<File> {
    let is_new = match mkdirat(parent, name, Mode::S_IRWXU) {
        Ok(()) => true,
        Err(Errno::EEXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = File::from(openat(parent, name, flags, Mode::empty())?);
    if is_new {
        give(&directory, parent)?;
        directory.set_permissions(Permissions::from_mode(mode))?;
        life.keep(parent)?;
    }
    Ok(directory)
}

/// Whether this is still the file of that name.
fn is_at(file: &File, directory: &File, name: &str) -> io::Result<bool> {
    let own = file.metadata()?;
    match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(found.st_ino == own.ino() && found.st_dev == own.dev()),
        Err(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

const FLAGS: OFlag = OFlag::O_RDWR
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

fn open_lock(directory: &File, name: &str) -> io::Result<File> {
    loop {
        match openat(directory, name, FLAGS, Mode::empty()) {
            Err(Errno::ENOENT) => {}
            found => return Ok(found?.into()),
        }
        // It gets its name as one that whoever is to use it can open.
        let mut new = Temporary::held(directory.as_fd(), name)?;
        give(new.file(), directory)?;
        match new.put(Path::new(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
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
    use std::process::Command;

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
    fn a_child_that_shares_the_lock_holds_it_to_its_end() -> Result {
        let run = tempfile::tempdir()?;
        let held = lock_below(run.path(), "one", LONG)?;
        let mut child = Command::new("/bin/sleep")
            .arg("60")
            .stdin(held.share()?)
            .spawn()?;
        drop(held);
        let refused = error(lock_below(run.path(), "one", AT_ONCE));
        child.kill()?;
        child.wait()?;
        assert!(refused.contains("another process"), "{refused}");
        lock_below(run.path(), "one", AT_ONCE).map(drop)
    }

    #[test]
    fn texts_are_kept_by_name() -> Result {
        let run = tempfile::tempdir()?;
        let records = Records::below(run.path(), SHARED, "one", Life::Boot)?;
        assert_eq!(records.read("vm")?, None);
        assert!(records.create("vm", "first")?);
        assert!(!records.create("vm", "second")?);
        assert_eq!(records.read("vm")?.as_deref(), Some("first"));
        records.write("vm", "third\n")?;
        records.write("other", "")?;
        assert_eq!(records.read("vm")?.as_deref(), Some("third\n"));
        lock_below(run.path(), "one", AT_ONCE).map(drop)?;
        assert_eq!(records.names()?, ["other", "vm"]);
        records.remove("vm")?;
        records.remove("vm")?;
        assert_eq!(records.names()?, ["other"]);
        let mode = fs::metadata(run.path().join("vdsm/hooks/one/other"))?.mode();
        assert_eq!(mode & 0o7777, 0o600);
        Ok(())
    }

    #[test]
    fn own_records_are_in_a_directory_of_our_own() -> Result {
        let run = tempfile::tempdir()?;
        let records = Records::below(run.path(), ROOT_ONLY, "one", Life::Boot)?;
        records.write("state", "ours")?;
        assert_eq!(records.read("state")?.as_deref(), Some("ours"));
        for (path, mode) in [("vdsm-hooks", 0o755), ("vdsm-hooks/one", 0o700)] {
            let found = fs::metadata(run.path().join(path))?;
            assert_eq!(found.mode() & 0o7777, mode, "{path}");
            assert_eq!(found.uid(), geteuid().as_raw(), "{path}");
        }
        Ok(())
    }

    #[test]
    fn what_was_being_written_at_a_kill_goes_with_the_next_one() -> Result {
        let run = tempfile::tempdir()?;
        Records::below(run.path(), SHARED, "one", Life::Boot)?.write("vm", "")?;
        let here = run.path().join("vdsm/hooks/one");
        let left =
            [".vm.0123456789abcdef.new", ".other.0123456789abcdef.new"].map(|name| here.join(name));
        for open in [
            || -> fn(&Path) -> Result {
                |base| Records::below(base, SHARED, "one", Life::Boot).map(drop)
            },
            || -> fn(&Path) -> Result { |base| lock_below(base, "one", AT_ONCE).map(drop) },
        ] {
            for path in &left {
                fs::write(path, "half")?;
            }
            open()(run.path())?;
            assert!(!left.iter().any(|path| path.exists()));
            assert!(here.join("vm").exists());
        }
        Ok(())
    }

    #[test]
    fn names_stay_in_the_directory_and_links_are_not_read() -> Result {
        let run = tempfile::tempdir()?;
        let records = Records::below(run.path(), SHARED, "one", Life::Boot)?;
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "/etc/passwd",
            ".hidden",
            "lock",
            "a\0",
        ] {
            assert!(records.read(name).is_err(), "{name:?}");
            assert!(records.write(name, "").is_err(), "{name:?}");
            assert!(records.create(name, "").is_err(), "{name:?}");
            assert!(records.remove(name).is_err(), "{name:?}");
        }
        symlink("/etc/passwd", run.path().join("vdsm/hooks/one/vm"))?;
        assert!(records.read("vm").is_err());
        records.write("vm", "mine")?;
        assert_eq!(records.read("vm")?.as_deref(), Some("mine"));
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
            let target = if planted.ends_with("lock") {
                elsewhere.path().join("file")
            } else {
                elsewhere.path().to_owned()
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

    #[test]
    fn a_cache_is_nobody_elses() -> Result {
        let lasting = tempfile::tempdir()?;
        for way in [SHARED, ROOT_ONLY] {
            let (_, path) = directory(lasting.path(), way, "program", Life::Boot)?;
            let found = fs::metadata(path)?;
            assert_eq!(found.mode() & 0o7777, 0o700);
        }
        Ok(())
    }
}
