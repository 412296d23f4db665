// SPDX-License-Identifier: GPL-2.0-or-later

//! A file that is made beside others, under a name that nobody can foresee, until it gets the one
//! that it is made for.
//!
//! The directory may be one where every user can write, as `/tmp` is, where VDSM's data files lie:
//! names that can be foreseen could be taken before. It is opened once, so that nobody can put
//! another one in its place meanwhile. Of what lies there only a file that this process has made is
//! ever removed, or, in directories of our own, what a process has left that was killed
//! ([`clear`]).

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, Flock, FlockArg, OFlag, RenameFlags, open, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use crate::host::files;
use crate::{Context, Result};

/// Another one with the same 64 random bits is improbable enough once.
const TRIES: usize = 8;
/// How much of the other file's name is repeated: with the rest it has to be no longer than any
/// name may be.
const MAX_NAME_CHARS: usize = 50;
const END: &str = ".new";

/// The directory, to make files there and to name them.
pub fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// What has a name of its own for now. Dropped before it got another one, it is removed.
#[must_use]
pub struct Named<'d> {
    directory: BorrowedFd<'d>,
    name: String,
    /// Device and inode: what else comes to have the name is not ours to remove.
    identity: (u64, u64),
    /// What keeps [`clear`] away. It is one with the file's own description, so it ends with that.
    _held: Option<Flock<File>>,
    is_placed: bool,
}

impl<'d> Named<'d> {
    /// What another program has made under a name that [`name()`] has made.
    pub fn made(directory: BorrowedFd<'d>, name: String) -> io::Result<Named<'d>> {
        let found = fstatat(directory, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        let found = found.inspect_err(|_| {
            let _ = unlinkat(directory, name.as_str(), UnlinkatFlags::NoRemoveDir);
        })?;
        Ok(Named {
            directory,
            name,
            identity: (found.st_dev, found.st_ino),
            _held: None,
            is_placed: false,
        })
    }

    /// A second name, in `directory`, of the file `name` in `old`, or of the link: should it have to
    /// come back, then with owner and mode.
    pub fn second(
        directory: BorrowedFd<'d>,
        old: BorrowedFd<'_>,
        name: &str,
    ) -> io::Result<Named<'d>> {
        several(|| {
            let second = self::name(name)?;
            linkat(old, name, directory, second.as_str(), AtFlags::empty())?;
            Named::made(directory, second)
        })
    }

    /// A symbolic link in the directory, to become `name`.
    pub fn link(directory: BorrowedFd<'d>, name: &str, target: &Path) -> io::Result<Named<'d>> {
        several(|| {
            let link = self::name(name)?;
            symlinkat(target, directory, link.as_str())?;
            Named::made(directory, link)
        })
    }

    /// Gives it its name, in place of what had that.
    pub fn replace(self, name: &Path) -> io::Result<()> {
        let here = self.directory;
        self.replace_in(here, name)
    }

    /// The same in another directory of the same file system.
    pub fn replace_in(mut self, directory: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
        renameat(self.directory, self.name.as_str(), directory, name)?;
        self.is_placed = true;
        Ok(())
    }
}

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if self.is_placed {
            return;
        }
        if let Err(error) = remove(self.directory, &self.name, self.identity) {
            log::warn!("{} is left behind: {error}", self.name);
        }
    }
}

/// A file under a name of its own, to be written.
#[must_use]
pub struct Temporary<'d> {
    named: Named<'d>,
    file: File,
}

impl<'d> Temporary<'d> {
    /// A new file in the directory, mode 0600, to become `name`.
    pub fn new(directory: BorrowedFd<'d>, name: &str) -> io::Result<Temporary<'d>> {
        several(|| Temporary::at(directory, self::name(name)?))
    }

    /// The same where others [`clear`] the directory.
    pub fn held(directory: BorrowedFd<'d>, name: &str) -> io::Result<Temporary<'d>> {
        several(|| {
            let mut new = Temporary::new(directory, name)?;
            let held = Flock::lock(new.file.try_clone()?, FlockArg::LockExclusiveNonblock);
            new.named._held = match held {
                Ok(held) => Some(held),
                // Somebody has found it before it was held, and clears it.
                Err((_, Errno::EWOULDBLOCK)) => return Err(Errno::EEXIST.into()),
                // Where files cannot be held, nothing is cleared either.
                Err(_) => None,
            };
            match new.file.metadata()?.nlink() {
                0 => Err(Errno::EEXIST.into()),
                _ => Ok(new),
            }
        })
    }

    /// A new file under a name that [`name()`] has made.
    pub fn at(directory: BorrowedFd<'d>, name: String) -> io::Result<Temporary<'d>> {
        let new =
            OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(directory, name.as_str(), new, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let file = File::from(file);
        let look = || file.metadata().map(|file| (file.dev(), file.ino()));
        let found = look();
        let named = Named {
            directory,
            name,
            // Looked at once more if that failed: it is not left behind.
            identity: match &found {
                Ok(identity) => *identity,
                Err(_) => look()?,
            },
            _held: None,
            is_placed: false,
        };
        found?;
        Ok(Temporary { named, file })
    }

    /// The file, to be written.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Written: without the file, which stays held if it was.
    pub fn written(self) -> Named<'d> {
        self.named
    }

    /// Gives it its name, in place of what had that.
    pub fn replace(self, name: &Path) -> io::Result<()> {
        self.named.replace(name)
    }

    /// Gives it its name if nothing has that.
    pub fn put(self, name: &Path) -> io::Result<File> {
        let Temporary { mut named, file } = self;
        let (from, here) = (named.name.as_str(), named.directory);
        match renameat2(here, from, here, name, RenameFlags::RENAME_NOREPLACE) {
            // File systems of the network cannot do it. The first of the two names goes at the end.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                linkat(here, from, here, name, AtFlags::empty())?;
            }
            renamed => {
                renamed?;
                named.is_placed = true;
            }
        }
        Ok(file)
    }
}

fn several<T>(attempt: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let exists = |result: &io::Result<T>| {
        let error = result.as_ref().err().map(io::Error::kind);
        error == Some(io::ErrorKind::AlreadyExists)
    };
    let mut result = attempt();
    for _ in 1..TRIES {
        if !exists(&result) {
            break;
        }
        result = attempt();
    }
    result
}

/// A name that nobody can foresee, for what is to become `name`. It begins with a dot, by which most
/// programs that read a directory know what is not meant for them. Where one takes whatever it finds,
/// the file has to be made elsewhere.
pub fn name(name: &str) -> io::Result<String> {
    let random = getrandom::u64().map_err(io::Error::other)?;
    Ok(format!("{}{random:016x}{END}", start(name)))
}

/// How all names for this one begin.
fn start(name: &str) -> String {
    let name: String = name.chars().take(MAX_NAME_CHARS).collect();
    format!(".{name}.")
}

/// Whether a file of this name was to become `name`, or whatever else without one.
pub fn is_for(entry: &str, name: Option<&str>) -> bool {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let unforeseen = |rest: &str| rest.len() == 16 && rest.chars().all(hex);
    let rest = entry.strip_suffix(END);
    match name {
        Some(name) => rest
            .and_then(|rest| rest.strip_prefix(&*start(name)))
            .is_some_and(unforeseen),
        None => rest
            .filter(|rest| rest.starts_with('.'))
            .and_then(|rest| rest.rsplit_once('.'))
            .is_some_and(|(start, rest)| start.len() > 1 && unforeseen(rest)),
    }
}

/// Removes what processes that are gone have left in a directory that only we write to, of files
/// that were to become `name`, or of all. Those that somebody holds are in use.
pub fn clear(directory: BorrowedFd<'_>, name: Option<&str>) {
    // Nobody is stopped by what stays.
    for entry in entries(directory).unwrap_or_default() {
        if !is_for(&entry, name) {
            continue;
        }
        // A link that was to be a second name of another one, which nobody can hold.
        if fstatat(directory, entry.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(is_link) {
            let _ = unlinkat(directory, entry.as_str(), UnlinkatFlags::NoRemoveDir);
            continue;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(directory, entry.as_str(), flags, Mode::empty()).map(File::from);
        let held = file.map(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock));
        if let Ok(Ok(held)) = held {
            let found = held.metadata().map(|found| (found.dev(), found.ino()));
            let _ = found.and_then(|found| remove(directory, &entry, found));
        }
    }
}

fn is_link(found: FileStat) -> bool {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFLNK
}

fn entries(directory: BorrowedFd<'_>) -> crate::Result<Vec<String>> {
    files::entries(&Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()))
}

/// Removes a file from the directory, if that is what the name refers to.
fn remove(directory: BorrowedFd<'_>, name: &str, identity: (u64, u64)) -> io::Result<()> {
    let found = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(()),
        found => found?,
    };
    if (found.st_dev, found.st_ino) == identity {
        Ok(unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?)
    } else {
        Ok(())
    }
}

/// Replaces the content of an existing file: all of it or nothing.
///
/// The new content goes to a temporary file in the same directory, with the same owner, group and
/// mode, and is renamed over the old one, so that neither a full disk nor a kill leaves half a
/// file. A symbolic link stays and its target is replaced. The temporary has a name that no other
/// user can foresee, and is removed on every error.
///
/// It is not synced: what hooks rewrite does not outlive the host's next boot.
///
/// # Errors
/// The directory cannot be written, the disk is full, or the owner cannot be kept. The file is
/// then what it was.
pub fn replace_file(path: &Path, content: &[u8]) -> Result {
    let real = fs::canonicalize(path).context(path.display())?;
    let old = fs::metadata(&real).context(path.display())?;
    let replace = || {
        let directory = directory(real.parent().unwrap_or(&real))?;
        let name = real.file_name().unwrap_or_default();
        let mut new = Temporary::new(directory.as_fd(), &name.to_string_lossy())?;
        write_like(&old, new.file(), content)?;
        new.replace(Path::new(name))
    };
    replace().context(format!("cannot replace {}", path.display()))
}

fn write_like(old: &fs::Metadata, new: &mut File, content: &[u8]) -> io::Result<()> {
    let own = new.metadata()?;
    if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
        fchown(&*new, Some(old.uid()), Some(old.gid()))?;
    }
    new.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
    new.write_all(content)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::io::Write as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::Result;

    fn names(directory: &Path) -> Result<Vec<String>> {
        files::entries(directory)
    }

    #[test]
    fn it_gets_its_name_or_goes() -> Result {
        let place = tempfile::tempdir()?;
        let here = directory(place.path())?;
        let mut new = Temporary::new(here.as_fd(), "data")?;
        new.file().write_all(b"new")?;
        assert!(is_for(&names(place.path())?[0], Some("data")));
        drop(new);
        assert!(names(place.path())?.is_empty());

        fs::write(place.path().join("data"), "old")?;
        let refused = Temporary::new(here.as_fd(), "data")?.put(Path::new("data"));
        assert_eq!(
            refused.err().map(|error| error.kind()),
            Some(io::ErrorKind::AlreadyExists)
        );
        Temporary::new(here.as_fd(), "data")?.replace(Path::new("data"))?;
        assert_eq!(names(place.path())?, ["data"]);
        assert_eq!(fs::read(place.path().join("data"))?, b"");
        Ok(())
    }

    #[test]
    fn no_two_have_the_same_name_however_long_the_other_one_is() -> Result {
        let place = tempfile::tempdir()?;
        let here = directory(place.path())?;
        let long = "\u{fffd}".repeat(80);
        let names: io::Result<BTreeSet<String>> = (0..1000).map(|_| name(&long)).collect();
        let names = names?;
        assert_eq!(names.len(), 1000);
        for name in names.iter().take(2) {
            assert!(is_for(name, Some(&long)) && is_for(name, None), "{name}");
        }
        Temporary::new(here.as_fd(), &long).map(drop)?;
        Ok(())
    }

    #[test]
    fn what_somebody_has_put_in_its_place_stays() -> Result {
        let place = tempfile::tempdir()?;
        let here = directory(place.path())?;
        let new = Temporary::new(here.as_fd(), "data")?;
        let path = place.path().join(&new.named.name);
        fs::remove_file(&path)?;
        fs::write(&path, "a stranger's")?;
        drop(new);
        assert_eq!(fs::read(&path)?, b"a stranger's");
        // And what is there already is neither written nor followed nor removed.
        symlink("/etc/passwd", place.path().join("taken"))?;
        let refused = Temporary::at(here.as_fd(), "taken".to_owned());
        assert!(refused.is_err());
        assert!(place.path().join("taken").is_symlink());
        Ok(())
    }

    const OTHER: &str = ".other.0000000000000077.new";
    const DIRECTORY: &str = ".vm.0000000000000005.new";

    #[test]
    fn what_is_left_is_cleared_and_what_is_in_use_or_of_others_is_not() -> Result {
        let place = tempfile::tempdir()?;
        let here = directory(place.path())?;
        let held = Temporary::held(here.as_fd(), "vm")?;
        let kept = [
            held.named.name.clone(),
            ".hidden".to_owned(),
            ".new".to_owned(),
            ".vm.new".to_owned(),
            ".vm.stranger.new".to_owned(),
            "vm.00112233aabbccdd.new".to_owned(),
            // What an administrator may have called a copy.
            ".vm.1.new".to_owned(),
            ".vm.20261101.old".to_owned(),
            ".vm.00112233AABBCCDD.new".to_owned(),
        ];
        for name in &kept[1..] {
            fs::write(place.path().join(name), "")?;
        }
        fs::write(place.path().join(".vm.00112233aabbccdd.new"), "")?;
        symlink("/etc/passwd", place.path().join(".vm.00112233aabbccde.new"))?;
        fs::write(place.path().join(OTHER), "")?;
        fs::create_dir(place.path().join(DIRECTORY))?;
        clear(here.as_fd(), Some("vm"));
        let is = |more: &[&str]| -> Result {
            let mut wanted: Vec<&str> = kept.iter().map(String::as_str).collect();
            wanted.extend(more);
            wanted.sort_unstable();
            assert_eq!(names(place.path())?, wanted);
            Ok(())
        };
        is(&[OTHER, DIRECTORY])?;
        clear(here.as_fd(), None);
        is(&[DIRECTORY])?;
        held.replace(Path::new("vm"))?;
        assert!(place.path().join("vm").exists());
        Ok(())
    }
}
