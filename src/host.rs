// SPDX-License-Identifier: GPL-2.0-or-later

//! The host: listings, bounded reads and atomic replacement of its files, and what its processor
//! is.

use std::env::consts;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use crate::{Context, Error, Result};

const CPUINFO: &str = "/proc/cpuinfo";

/// libvirt's name of the host's architecture, which is the one that the program was built for.
/// The kernel would tell another one under setarch.
pub fn architecture() -> &'static str {
    match consts::ARCH {
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        other => other,
    }
}

/// The flags of an x86 host's first processor; elsewhere there are none.
///
/// # Errors
/// The kernel's file cannot be read.
pub fn cpu_flags() -> Result<Vec<String>> {
    let file = File::open(CPUINFO).context(CPUINFO)?;
    for line in BufReader::new(file).lines() {
        let line = line.context(CPUINFO)?;
        let field = line.split_once(':');
        if let Some((_, flags)) = field.filter(|(name, _)| name.trim_end() == "flags") {
            return Ok(flags.split_whitespace().map(str::to_owned).collect());
        }
    }
    Ok(Vec::new())
}

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
/// file. A symbolic link stays and its target is replaced. The temporary is removed on every
/// error.
///
/// It is not synced: what hooks rewrite does not outlive the host's next boot.
///
/// # Errors
/// The directory cannot be written, the disk is full, or the owner cannot be kept. The file is
/// then what it was.
pub fn replace_file(path: &Path, content: &[u8]) -> Result {
    let real = fs::canonicalize(path).context(path.display())?;
    let temporary = beside(&real);
    let old = fs::metadata(&real).context(path.display())?;
    write_new(&temporary, content, &old)
        .and_then(|()| fs::rename(&temporary, &real))
        .inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
        .context(format!("cannot replace {}", path.display()))
}

/// A name in the same directory that nobody else uses. It begins with a dot, so that no program
/// that reads the directory takes it for a file of its own.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

fn write_new(path: &Path, content: &[u8], like: &fs::Metadata) -> io::Result<()> {
    // `create_new` does not follow a link that somebody else put there.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(&file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(like.mode() & 0o7777))?;
    file.write_all(content)
}
