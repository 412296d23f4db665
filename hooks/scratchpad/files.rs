// SPDX-License-Identifier: GPL-2.0-or-later

//! The files of scratch disks: made where nothing is, and deleted only if they are those.
//!
//! They may lie on storage that is dead, so a child process looks there first ([`vdsm_hooks::host::worker`]). A
//! program that uses this module calls [`serve`] before anything else in `main`.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, fstatat};
use nix::sys::statfs::statfs;
use nix::unistd::{UnlinkatFlags, unlinkat};

use vdsm_hooks::host::rollback::Undo;
use vdsm_hooks::host::state::Records;
use vdsm_hooks::host::temporary::{self, Temporary};
use vdsm_hooks::host::worker::Worker;
use vdsm_hooks::host::{allowlist, command};
use vdsm_hooks::{Context, Error, Result};

const HOOK: &str = "scratchpad";
/// The list of the directories where scratch disks may lie.
const TOPIC: &str = "scratchpad-directories";
/// Where they may lie without such a list: the first is there only if somebody has made it.
const DIRECTORIES: [&str; 2] = ["/var/lib/scratch", allowlist::IMAGES];
/// How long to wait for the storage of one directory, and for qemu-img.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAKE_TIMEOUT: Duration = Duration::from_secs(60);
const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

/// What `20G` means in bytes: 1024-based, no more than a file can have.
pub(crate) fn bytes(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &size[digits.len()..] {
        "" | "b" => 0,
        "k" | "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    let is_plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_plain)?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| i64::try_from(*bytes).is_ok())
}

/// Finds out whether the storage of a directory answers at all. What is wrong with the directory
/// shows when it is used.
static LOOK: Worker<PathBuf, ()> = Worker::new(|directory| {
    let _ = statfs(&directory);
    Ok(())
});

/// Does a child's work if the program was started as one. To be called before anything else.
pub(crate) fn serve() -> Option<ExitCode> {
    LOOK.serve()
}

/// Which directories have answered. Each is asked once.
#[derive(Default)]
pub(crate) struct Storage(HashMap<PathBuf, bool>);

impl Storage {
    /// Checks that the storage of a file answers, since nobody can be called back from one that
    /// does not.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn check(&mut self, path: &Path) -> Result {
        let directory = parent(path);
        let answers = match self.0.get(directory) {
            Some(answers) => *answers,
            None => {
                let found = LOOK.ask(&directory.to_owned(), Instant::now() + TIMEOUT)?;
                let answers = found.is_some();
                self.0.insert(directory.to_owned(), answers);
                answers
            }
        };
        if answers {
            Ok(())
        } else {
            Err(Error::new(format!(
                "its storage does not answer within {} seconds",
                TIMEOUT.as_secs()
            )))
        }
    }
}

/// A file, whatever becomes of its name.
#[derive(Clone)]
struct Identity {
    path: String,
    device: u64,
    inode: u64,
    /// When it was made, in nanoseconds: inode numbers are used again. 0 where the file system does
    /// not tell.
    created: u128,
}

impl Identity {
    fn from_metadata(path: &str, file: &Metadata) -> Identity {
        let created = file.created().ok();
        let created = created.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Identity {
            path: path.to_owned(),
            device: file.dev(),
            inode: file.ino(),
            created: created.unwrap_or_default().as_nanos(),
        }
    }

    /// Whether it is certainly no longer at its path.
    fn is_gone(&self) -> bool {
        match fs::symlink_metadata(&self.path) {
            Ok(file) => self.is(&file) == Some(false),
            Err(error) => is_missing(&error),
        }
    }

    /// Whether it is only known by a name that nobody else can have given a file.
    fn is_planned(&self) -> bool {
        (self.device, self.inode, self.created) == (0, 0, 0)
    }

    /// None where nobody can tell. The numbers of devices are given out anew at each boot, for
    /// network storage, btrfs, overlays (Linux 6.1 fs/super.c: `get_anon_bdev`) and logical volumes
    /// in the order in which they are mounted. So they say no more than that a file is the same
    /// while they are.
    fn is(&self, file: &Metadata) -> Option<bool> {
        if self.is_planned() {
            return Some(file.is_file());
        }
        let found = Identity::from_metadata(&self.path, file);
        let is_same_inode = found.inode == self.inode;
        match (self.created, found.created) {
            (0, _) => (is_same_inode && found.device == self.device).then_some(true),
            (_, 0) => None,
            (created, found) => Some(is_same_inode && found == created),
        }
    }

    /// Deletes it, if it is still what lies there.
    fn delete(&self) -> Result {
        let path = Path::new(&self.path);
        // A link on the way can only lead to the file that we know.
        if self.is_planned() && self.is_gone() {
            return Ok(());
        }
        let directory = match open(parent(path), DIRECTORY, Mode::empty()) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return gone(path),
            directory => directory?,
        };
        let why_kept = "another file is there now, so it is left";
        delete_if(&directory, path, why_kept, |file| self.is(file))
    }
}

/// Whether there is nothing. Other errors do not tell, as those of storage that is disturbed.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn gone(path: &Path) -> Result {
    log::warn!("{}: the scratch disk is gone already", path.display());
    Ok(())
}

fn delete_if(
    directory: &OwnedFd,
    path: &Path,
    why_kept: &str,
    fits: impl Fn(&Metadata) -> Option<bool>,
) -> Result {
    let name = path.file_name().unwrap_or_default();
    let here = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
    match fs::symlink_metadata(here.join(name)) {
        Err(error) if is_missing(&error) => gone(path),
        Err(error) => Err(error.into()),
        Ok(file) => match fits(&file) {
            Some(true) => Ok(unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?),
            Some(false) => {
                log::warn!("{}: {why_kept}", path.display());
                Ok(())
            }
            None => Err(Error::new(
                "a file is there, and its storage does not tell when it was made: if it is the scratch disk from before the host's last boot, delete it, else move it away",
            )),
        },
    }
}

/// Deletes the regular file that VDSM's own hook has made at `path`. What we have made for some
/// other VM is none.
///
/// # Errors
/// It cannot be deleted, or lies outside of the allowed directories.
pub(crate) fn delete_found(path: &str, storage: &mut Storage) -> Result {
    for vm in Records::persistent(HOOK)?.names()? {
        if ScratchFiles::for_vm(&vm)?
            .files
            .iter()
            .any(|file| file.path == path)
        {
            log::warn!("{path}: made for the VM {vm}, so it is left");
            return Ok(());
        }
    }
    let path = Path::new(path);
    let why_kept = "no regular file, so it is left";
    match directory_of(path, storage)? {
        Some(directory) => delete_if(&directory, path, why_kept, |file| Some(file.is_file())),
        None => gone(path),
    }
}

/// The directory of a file below one of those that the administrator allows, without a link on the
/// way from there; none if it is not there.
fn directory_of(path: &Path, storage: &mut Storage) -> Result<Option<OwnedFd>> {
    for allowed in allowlist::directories(TOPIC, &DIRECTORIES)? {
        let Ok(below) = parent(path).strip_prefix(&allowed) else {
            continue;
        };
        storage.check(path)?;
        let below = if below.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            below.to_owned()
        };
        let strict = OpenHow::new()
            .flags(DIRECTORY)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let root = open(&allowed, DIRECTORY, Mode::empty());
        return match root.and_then(|root| openat2(root, &below, strict)) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::ENOENT) => Ok(None),
            Err(Errno::ELOOP) => Err(Error::new(
                "a symbolic link is on the way, expected directories",
            )),
            Err(error) => Err(error.into()),
        };
    }
    Err(allowlist::outside(TOPIC, path))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// A file that was just made.
pub(crate) struct File(fs::File);

impl File {
    /// Makes it a raw image of this size. qemu-img opens it through us: whatever lies at its path
    /// meanwhile is not touched.
    ///
    /// # Errors
    /// qemu-img fails.
    pub(crate) fn grow(&self, bytes: u64) -> Result {
        let us = std::process::id();
        let image = format!("/proc/{us}/fd/{}", self.0.as_raw_fd());
        let words = ["create", "-f", "raw", &image, &bytes.to_string()];
        command::run("qemu-img", &words, MAKE_TIMEOUT)?.checked()?;
        let ours = fs::Permissions::from_mode(0o660);
        Ok(self.0.set_permissions(ours)?)
    }
}

/// Where a file is to be made.
struct Place<'a> {
    path: &'a str,
    directory: OwnedFd,
    /// What it is called until it gets its name.
    before: String,
}

impl<'a> Place<'a> {
    fn find(path: &'a str, storage: &mut Storage) -> Result<Place<'a>> {
        let place = Path::new(path);
        let directory = directory_of(place, storage)?
            .ok_or_else(|| Error::new("its directory is not there, expected one"))?;
        let name = place.file_name().unwrap_or_default();
        if fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok() {
            return Err(Error::new("something is there already, it must not exist"));
        }
        Ok(Place {
            path,
            directory,
            before: temporary::name(&name.to_string_lossy())?,
        })
    }

    /// What is written down before there is a file.
    fn planned(&self) -> Identity {
        let path = parent(Path::new(self.path)).join(&self.before);
        Identity {
            path: path.to_string_lossy().into_owned(),
            device: 0,
            inode: 0,
            created: 0,
        }
    }

    fn make(&self) -> Result<(Temporary<'_>, Identity)> {
        let mut file = Temporary::at(self.directory.as_fd(), self.before.clone())?;
        let identity = Identity::from_metadata(self.path, &file.file().metadata()?);
        Ok((file, identity))
    }
}

/// What this hook has made for one VM: a line for each file, device, inode number and time of creation
/// before the path. It says so before there is anything at the path: until then the file has a name of
/// its own, which is written down before there is such a file, with 0 for all three.
pub(crate) struct ScratchFiles {
    records: Records,
    vm: String,
    files: Vec<Identity>,
}

impl ScratchFiles {
    /// What it has made for the VM with this id.
    ///
    /// # Errors
    /// The record is broken or cannot be read.
    pub(crate) fn for_vm(vm: &str) -> Result<ScratchFiles> {
        let records = Records::persistent(HOOK)?;
        let text = records.read(vm)?.unwrap_or_default();
        let files: Option<Vec<_>> = text.lines().map(parse).collect();
        let files = files
            .ok_or_else(|| Error::new("broken record"))
            .context(vm)?;
        Ok(ScratchFiles {
            records,
            vm: vm.to_owned(),
            files,
        })
    }

    fn write(&self) -> Result {
        let line = |file: &Identity| {
            let Identity {
                path,
                device,
                inode,
                created,
            } = file;
            format!("{device} {inode} {created} {path}\n")
        };
        let text: String = self.files.iter().map(line).collect();
        self.records.write(&self.vm, &text)
    }

    /// Where they are.
    pub(crate) fn paths(&self) -> Vec<String> {
        let existing = self.files.iter().filter(|file| !file.is_planned());
        existing.map(|file| file.path.clone()).collect()
    }

    /// Makes empty files where nothing is; `undo` deletes them. A kill at any moment leaves nothing
    /// that [`ScratchFiles::delete`] does not find.
    ///
    /// # Errors
    /// Something is there, the place is not allowed, or one cannot be made; and which one.
    pub(crate) fn make(
        &mut self,
        paths: &[&str],
        storage: &mut Storage,
        undo: &mut Undo<'_>,
    ) -> Result<Vec<File>> {
        let mut places = Vec::new();
        for path in paths {
            places.push(Place::find(path, storage).context(path)?);
        }
        self.files.extend(places.iter().map(Place::planned));
        self.write()?;
        let mut new = Vec::new();
        for place in &places {
            let new_file = place.make().context(place.path)?;
            self.files.push(new_file.1.clone());
            new.push(new_file);
        }
        self.write()?;
        let mut files = Vec::new();
        for (place, (file, identity)) in places.iter().zip(new) {
            let name = place.path.rsplit('/').next().unwrap_or_default();
            let file = file
                .put(Path::new(name))
                .map_err(|error| match error.kind() {
                    ErrorKind::AlreadyExists => {
                        Error::new("something is there already, it must not exist")
                    }
                    _ => error.into(),
                });
            files.push(File(file.context(place.path)?));
            undo.push(place.path, move || identity.delete());
        }
        Ok(files)
    }

    /// `undo` drops the record, as far as the files are gone.
    pub(crate) fn undo_in(&self, undo: &mut Undo<'_>) {
        let vm = self.vm.clone();
        undo.push("the record", move || {
            let mut files = ScratchFiles::for_vm(&vm)?;
            files.files.retain(|file| !file.is_gone());
            files.keep()
        });
    }

    /// Writes the record, or drops it if nothing is left.
    fn keep(&self) -> Result {
        match self.files[..] {
            [] => self.records.remove(&self.vm),
            _ => self.write(),
        }
    }

    /// Deletes the files and drops the record; of files that cannot be deleted it stays.
    ///
    /// # Errors
    /// Those that cannot be deleted.
    pub(crate) fn delete(mut self, storage: &mut Storage) -> Result {
        let mut failures = Vec::new();
        self.files.retain(|file| {
            let answers = storage.check(Path::new(&file.path));
            match answers.and_then(|()| file.delete()) {
                Ok(()) => false,
                Err(error) => {
                    failures.push(format!("{}: {error}", file.path));
                    true
                }
            }
        });
        self.keep()?;
        match failures[..] {
            [] => Ok(()),
            _ => Err(Error::new(failures.join("; "))),
        }
    }
}

fn parse(line: &str) -> Option<Identity> {
    let mut parts = line.splitn(4, ' ');
    Some(Identity {
        device: parts.next()?.parse().ok()?,
        inode: parts.next()?.parse().ok()?,
        created: parts.next()?.parse().ok()?,
        path: parts.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_the_same_after_a_boot_and_in_doubt_it_is_not_gone() -> Result {
        let place = tempfile::tempdir()?;
        let path = place.path().join("disk");
        fs::write(&path, "")?;
        let path = path.to_string_lossy();
        let facts = fs::symlink_metadata(&*path)?;
        let file_with = |device, inode, created| Identity {
            path: path.clone().into_owned(),
            device,
            inode,
            created,
        };
        let now = Identity::from_metadata(&path, &facts);
        let (device, inode) = (now.device, now.inode);
        // As on a file system that tells when a file was made, and on one that does not.
        let mut rows = vec![
            (file_with(device, inode, 0), Some(true)),
            (file_with(device + 1, inode, 0), None),
            (file_with(device, inode + 1, 0), None),
        ];
        if now.created != 0 {
            rows.extend([
                (file_with(device, inode, now.created), Some(true)),
                (file_with(device + 1, inode, now.created), Some(true)),
                (file_with(device, inode + 1, now.created), Some(false)),
                (file_with(device, inode, now.created + 1), Some(false)),
            ]);
        }
        for (identity, expected) in rows {
            let known = (identity.device, identity.inode, identity.created);
            assert_eq!(identity.is(&facts), expected, "{known:?}");
            assert_eq!(identity.is_gone(), expected == Some(false), "{known:?}");
        }
        Ok(())
    }

    #[test]
    fn a_file_that_cannot_be_looked_at_is_not_gone() -> Result {
        let place = tempfile::tempdir()?;
        fs::write(place.path().join("file"), "")?;
        // The one error that root gets without a disk that is broken.
        symlink("loop", place.path().join("loop"))?;
        for (path, is_gone) in [("none", true), ("file/disk", true), ("loop/disk", false)] {
            let path = place.path().join(path).to_string_lossy().into_owned();
            let (device, inode, created) = (1, 2, 3);
            let identity = Identity {
                path,
                device,
                inode,
                created,
            };
            assert_eq!(identity.is_gone(), is_gone, "{}", identity.path);
            assert_eq!(identity.delete().is_ok(), is_gone, "{}", identity.path);
        }
        Ok(())
    }
}
