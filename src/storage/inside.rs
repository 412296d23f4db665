// SPDX-License-Identifier: GPL-2.0-or-later

//! A directory of a domain, from which no link leads out: whoever can write to the storage must
//! not choose what is read on this host.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};

/// The most entries that are read of one directory.
pub(super) const MOST_ENTRIES: usize = 100_000;

/// An open directory.
pub(super) struct Dir {
    fd: OwnedFd,
    /// Its name below the domain, for messages; the domain's own is empty.
    pub(super) name: PathBuf,
}

/// What a directory has under one name.
pub(super) struct Entry {
    found: FileStat,
}

impl Dir {
    /// The directory of a domain, which may be reached through links.
    pub(super) fn of_domain(path: &Path) -> io::Result<Dir> {
        let fd = openat(
            AT_FDCWD,
            path,
            OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Dir {
            fd,
            name: PathBuf::new(),
        })
    }

    /// A directory in this one, no link to one.
    pub(super) fn dir(&self, name: impl AsRef<OsStr>) -> io::Result<Dir> {
        let name = Path::new(name.as_ref());
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Dir {
            fd: openat(&self.fd, name, flags, Mode::empty())?,
            name: self.name.join(name),
        })
    }

    /// What is under `name`, none if nothing is. A link is not followed.
    pub(super) fn look(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Entry>> {
        let name = Path::new(name.as_ref());
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(Entry { found })),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// At most `most` bytes of a regular file, from `offset` on.
    pub(super) fn read(
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
    pub(super) fn names(&self) -> io::Result<(Vec<OsString>, bool)> {
        let mut entries = fs::read_dir(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))?;
        let mut names = Vec::new();
        for entry in entries.by_ref().take(MOST_ENTRIES) {
            names.push(entry?.file_name());
        }
        names.sort();
        Ok((names, entries.next().is_some()))
    }

    /// The directory itself.
    pub(super) fn itself(&self) -> io::Result<Entry> {
        let found = fstatat(&self.fd, ".", AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok(Entry { found })
    }
}

impl Entry {
    pub(super) fn is_file(&self) -> bool {
        self.kind() == SFlag::S_IFREG
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind() == SFlag::S_IFDIR
    }

    /// The kind in words.
    pub(super) fn words(&self) -> &'static str {
        match self.kind() {
            SFlag::S_IFREG => "a file",
            SFlag::S_IFDIR => "a directory",
            SFlag::S_IFLNK => "a symbolic link",
            SFlag::S_IFIFO => "a FIFO",
            SFlag::S_IFSOCK => "a socket",
            _ => "a device",
        }
    }

    pub(super) fn size(&self) -> u64 {
        u64::try_from(self.found.st_size).unwrap_or_default()
    }

    /// The permissions.
    pub(super) fn mode(&self) -> u32 {
        self.found.st_mode & 0o7777
    }

    pub(super) fn owner(&self) -> (u32, u32) {
        (self.found.st_uid, self.found.st_gid)
    }

    fn kind(&self) -> SFlag {
        SFlag::from_bits_truncate(self.found.st_mode) & SFlag::S_IFMT
    }
}
