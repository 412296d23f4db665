// SPDX-License-Identifier: GPL-2.0-or-later

//! Listings, bounded reads and atomic replacement of files.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use crate::host::temporary::{self, Temporary};
use crate::{Context, Error, Result};

/// The whole file, if it has at most `limit` bytes.
///
/// # Errors
/// The file cannot be read, or is larger.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .context(path.display())?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(format!(
            "{}: larger than {limit} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

/// The names in a directory, sorted; none if it is not there.
///
/// # Errors
/// It cannot be read.
pub fn entries(directory: &Path) -> Result<Vec<String>> {
    let listing = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.context(directory.display())?,
    };
    let name =
        |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let names: io::Result<Vec<String>> = listing.map(name).collect();
    let mut names = names.context(directory.display())?;
    names.sort();
    Ok(names)
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
        let directory = temporary::directory(real.parent().unwrap_or(&real))?;
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
