// SPDX-License-Identifier: GPL-2.0-or-later

//! A directory of a domain, from which no link leads out: whoever can write to the storage must
//! not choose what is read or written on this host.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, major, minor, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// The most entries that are read of one directory.
pub(in crate::storage) const MAX_ENTRIES: usize = 100_000;

/// An open directory.
pub(in crate::storage) struct Dir {
    /// A place to start from: what is in it may be read by who may not list it.
    fd: OwnedFd,
    /// Its name below the domain, for messages; the domain's own is empty.
    pub(in crate::storage) name: PathBuf,
}

/// What a directory has under one name.
pub(in crate::storage) struct Entry {
    found: FileStat,
}

impl Dir {
    /// The directory of a domain, which may be reached through links.
    pub(in crate::storage) fn of_domain(path: &Path) -> io::Result<Dir> {
        let fd = openat(
            AT_FDCWD,
            path,
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Dir {
            fd,
            name: PathBuf::new(),
        })
    }

    /// A directory in this one, no link to one.
    pub(in crate::storage) fn dir(&self, name: impl AsRef<OsStr>) -> io::Result<Dir> {
        let name = Path::new(name.as_ref());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Dir {
            fd: openat(&self.fd, name, flags, Mode::empty())?,
            name: self.name.join(name),
        })
    }

    /// What is under `name`, none if nothing is. A link is not followed.
    pub(in crate::storage) fn look(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Entry>> {
        let name = Path::new(name.as_ref());
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(Entry { found })),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Where a link leads to.
    pub(super) fn target(&self, name: impl AsRef<OsStr>) -> io::Result<PathBuf> {
        Ok(readlinkat(&self.fd, name.as_ref())?.into())
    }

    /// At most `most` bytes of a regular file, from `offset` on.
    pub(in crate::storage) fn read(
        &self,
        name: impl AsRef<OsStr>,
        offset: u64,
        most: u64,
    ) -> io::Result<Vec<u8>> {
        let name = Path::new(name.as_ref());
        // Without blocking: what is no file may have been put there since it was looked at.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.fd, name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        file.seek(SeekFrom::Start(offset))?;
        let mut content = Vec::new();
        file.take(most).read_to_end(&mut content)?;
        Ok(content)
    }

    /// The names in this directory, sorted, and whether there are more than are read.
    pub(in crate::storage) fn names(&self) -> io::Result<(Vec<OsString>, bool)> {
        let mut entries = fs::read_dir(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))?;
        let mut names = Vec::new();
        for entry in entries.by_ref().take(MAX_ENTRIES) {
            names.push(entry?.file_name());
        }
        names.sort();
        Ok((names, entries.next().is_some()))
    }

    /// The directory itself.
    pub(in crate::storage) fn itself(&self) -> io::Result<Entry> {
        let found = fstatat(&self.fd, ".", AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok(Entry { found })
    }
}

/// Making things. They appear with the wanted mode and owner, and are on the disk when a call
/// returns.
impl Dir {
    /// Makes a directory that nobody else can use before [`Dir::finish`].
    pub(in crate::storage) fn make_dir(&self, name: &str) -> io::Result<Dir> {
        mkdirat(&self.fd, name, Mode::S_IRWXU)?;
        self.dir(name)
    }

    /// Gives the directory its mode and owner, and has its entries on the disk.
    pub(in crate::storage) fn finish(&self, mode: u32, owner: (u32, u32)) -> io::Result<()> {
        settle(&self.file()?, mode, owner)
    }

    /// The directory as a file, of which more can be asked than of a place.
    fn file(&self) -> io::Result<File> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.fd, ".", flags, Mode::empty())?))
    }

    /// Makes a file that was not there: `content`, and a hole up to `size` if that is more.
    pub(in crate::storage) fn make_file(
        &self,
        name: impl AsRef<OsStr>,
        content: &[u8],
        size: u64,
        mode: u32,
        owner: (u32, u32),
    ) -> io::Result<()> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        let mut file = File::from(openat(&self.fd, name.as_ref(), flags, private)?);
        file.write_all(content)?;
        if size > content.len() as u64 {
            file.set_len(size)?;
        }
        settle(&file, mode, owner)
    }

    /// Gives an entry another name; what had that name is gone.
    pub(in crate::storage) fn rename(&self, old: &OsStr, new: &OsStr) -> io::Result<()> {
        renameat(&self.fd, old, &self.fd, new)?;
        sync(&self.file()?)
    }

    /// Removes a file, if it is there.
    pub(in crate::storage) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            other => Ok(other?),
        }
    }
}

/// The last steps for a new file or directory.
fn settle(file: &File, mode: u32, owner: (u32, u32)) -> io::Result<()> {
    let (user, group) = owner;
    let owner_now = || file.metadata().map(|found| (found.uid(), found.gid()));
    if owner_now()? != owner {
        fchown(file, Some(user), Some(group)).map_err(|error| {
            io::Error::other(format!(
                "cannot be given to {user}:{group}, {error}; run this as root, or as that user and group: setpriv --reuid {user} --regid {group} --clear-groups vdsm-hooks ..."
            ))
        })?;
    }
    // Servers that map all users to one take the call and give the file to that one.
    let (now_user, now_group) = owner_now()?;
    if (now_user, now_group) != owner {
        return Err(io::Error::other(format!(
            "the server gave it to {now_user}:{now_group}, expected {user}:{group}; export it with anonuid={user},anongid={group} or with no_root_squash"
        )));
    }
    // After the owner, which takes bits away.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    sync(file)
}

/// Has a file or directory on the disk. Some file systems cannot do that for directories.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

impl Entry {
    pub(in crate::storage) fn is_file(&self) -> bool {
        self.kind() == SFlag::S_IFREG
    }

    pub(in crate::storage) fn is_dir(&self) -> bool {
        self.kind() == SFlag::S_IFDIR
    }

    pub(super) fn is_link(&self) -> bool {
        self.kind() == SFlag::S_IFLNK
    }

    pub(super) fn is_block_device(&self) -> bool {
        self.kind() == SFlag::S_IFBLK
    }

    /// What kind of entry it is, for a message.
    pub(in crate::storage) fn describe(&self) -> &'static str {
        match self.kind() {
            SFlag::S_IFREG => "a file",
            SFlag::S_IFDIR => "a directory",
            SFlag::S_IFLNK => "a symbolic link",
            SFlag::S_IFIFO => "a FIFO",
            SFlag::S_IFSOCK => "a socket",
            _ => "a device",
        }
    }

    pub(in crate::storage) fn size(&self) -> u64 {
        u64::try_from(self.found.st_size).unwrap_or_default()
    }

    /// The permissions.
    pub(in crate::storage) fn mode(&self) -> u32 {
        self.found.st_mode & 0o7777
    }

    pub(in crate::storage) fn owner(&self) -> (u32, u32) {
        (self.found.st_uid, self.found.st_gid)
    }

    /// The numbers of the file system.
    pub(in crate::storage) fn device(&self) -> (u64, u64) {
        (major(self.found.st_dev), minor(self.found.st_dev))
    }

    /// When its content last changed.
    pub(in crate::storage) fn changed(&self) -> SystemTime {
        let seconds = u64::try_from(self.found.st_mtime).unwrap_or_default();
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    pub(in crate::storage) fn inode(&self) -> u64 {
        self.found.st_ino
    }

    fn kind(&self) -> SFlag {
        SFlag::from_bits_truncate(self.found.st_mode) & SFlag::S_IFMT
    }
}
