// SPDX-License-Identifier: GPL-2.0-or-later

//! The metadata file of a domain: which one a path means, and its content. What the content says is
//! not known here.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

use crate::host::worker::message::Answer;
use crate::storage::format::metadata::{MAX_METADATA_BYTES, METADATA_FILE};
use crate::storage::format::name::{is_uuid, looks_like_domain};
use crate::{Context, Error, Result};

/// The metadata of a domain, or of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// The whole file.
    Found(Vec<u8>),
    /// The domain is there, its metadata is not.
    Missing,
    /// There is no such domain.
    Absent,
    /// It is in the tags of a volume group.
    Block,
    /// It cannot be read, and why.
    Unreadable(String),
}

impl Answer for Content {
    fn encode(&self, message: &mut Vec<u8>) {
        match self {
            Content::Found(content) => {
                b'f'.encode(message);
                content.encode(message);
            }
            Content::Missing => b'm'.encode(message),
            Content::Absent => b'a'.encode(message),
            Content::Block => b'b'.encode(message),
            Content::Unreadable(reason) => {
                b'u'.encode(message);
                reason.encode(message);
            }
        }
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        match u8::decode(message)? {
            b'f' => Vec::decode(message).map(Content::Found),
            b'm' => Some(Content::Missing),
            b'a' => Some(Content::Absent),
            b'b' => Some(Content::Block),
            b'u' => String::decode(message).map(Content::Unreadable),
            _ => None,
        }
    }
}

/// The metadata files that an administrator means by `path`: that of a domain, or those of all
/// domains in a mount.
pub(in crate::storage) fn find_all(given: &Path) -> Result<Vec<PathBuf>> {
    // A name such as `.` says nothing about the domain.
    let real = match fs::canonicalize(given) {
        // The file may be what is missing.
        Err(error) if is_absent(&error) && given.ends_with(METADATA_FILE) => {
            let directory = given.parent().unwrap_or(given);
            fs::canonicalize(directory).map(|directory| directory.join("metadata"))
        }
        // A link of that name is not followed.
        Ok(_) if given.ends_with(METADATA_FILE) => {
            let directory = given.ancestors().nth(2).unwrap_or(given);
            fs::canonicalize(directory).map(|directory| directory.join(METADATA_FILE))
        }
        other => other,
    };
    let path = real.context(given.display())?;
    if path.ends_with(METADATA_FILE) {
        return Ok(vec![path]);
    }
    if !fs::metadata(&path).context(path.display())?.is_dir() {
        return Ok(vec![path]);
    }
    if path.ends_with("dom_md") {
        return Ok(vec![path.join("metadata")]);
    }
    if path.join("dom_md").is_dir() {
        return Ok(vec![path.join(METADATA_FILE)]);
    }
    let mut domains = entries(&path);
    domains.retain(|entry| {
        let name = entry.file_name().unwrap_or_default();
        looks_like_domain(&name.to_string_lossy()) && entry.join("dom_md").is_dir()
    });
    if domains.is_empty() && ends_in_uuid(&path) {
        domains.push(path);
    }
    Ok(domains
        .iter()
        .map(|domain| domain.join(METADATA_FILE))
        .collect())
}

/// The metadata file that an administrator means by `path`.
pub(in crate::storage) fn find_metadata(given: &Path) -> Result<PathBuf> {
    let mut files = find_all(given)?;
    match files.len() {
        0 => Err(no_domain(given)),
        1 => Ok(files.swap_remove(0)),
        several => {
            let domains = files
                .iter()
                .filter_map(|file| file.ancestors().nth(2)?.file_name());
            let names: Vec<_> = domains.map(OsStr::to_string_lossy).collect();
            Err(Error::new(format!(
                "{}: {several} storage domains, of which VDSM sees one only; name one of them: {}",
                given.display(),
                names.join(", ")
            )))
        }
    }
}

/// The error of a path at which there is no domain.
pub fn no_domain(path: &Path) -> Error {
    Error::new(format!(
        "{}: no storage domain, expected one of: its directory, its dom_md, its metadata, the mount it is in",
        path.display()
    ))
}

/// Whether this is a link to a logical volume, active or not. On block storage one has the name of
/// the metadata.
pub(in crate::storage) fn is_volume(file: &Path) -> bool {
    fs::read_link(file).is_ok_and(|target| target.starts_with("/dev"))
}

pub(in crate::storage) fn content(file: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    // A link may have been put there since.
    let no_link = OFlag::O_NOFOLLOW.bits();
    let file = File::options()
        .read(true)
        .custom_flags(no_link)
        .open(file)?;
    file.take(MAX_METADATA_BYTES + 1)
        .read_to_end(&mut content)?;
    Ok(content)
}

/// What `read` reads of a domain's metadata, tried again if the file was stale.
///
/// # Errors
/// As `read`, the second time.
pub(in crate::storage) fn again_if_stale(
    read: impl Fn() -> io::Result<Vec<u8>>,
) -> io::Result<Vec<u8>> {
    match read() {
        // The SPM has just replaced the file on an NFS server; the new one is whole.
        Err(error) if error.kind() == ErrorKind::StaleNetworkFileHandle => read(),
        other => other,
    }
}

/// Content of which at most one byte more than [`MAX_METADATA_BYTES`] was read.
///
/// # Errors
/// There is more than that.
pub(in crate::storage) fn bounded(content: Vec<u8>) -> io::Result<Vec<u8>> {
    if content.len() as u64 > MAX_METADATA_BYTES {
        return Err(io::Error::other(format!(
            "larger than {MAX_METADATA_BYTES} bytes"
        )));
    }
    Ok(content)
}

/// What is in a directory, sorted; nothing if there is none. There are few entries, and a sort of
/// its own would be 5 KB of program.
pub(super) fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let at = paths.partition_point(|other| other.as_os_str() < path.as_os_str());
        paths.insert(at, path);
    }
    paths
}

pub(super) fn ends_in_uuid(path: &Path) -> bool {
    path.file_name()
        .and_then(OsStr::to_str)
        .is_some_and(is_uuid)
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
