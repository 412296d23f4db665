// SPDX-License-Identifier: GPL-2.0-or-later

//! The metadata file of a domain: which one a path means, and its content. What the content says is
//! not known here.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::dir::Dir;
use crate::host::worker::message::Answer;
use crate::props::is_uuid;
use crate::storage::format::metadata::{MAX_METADATA_BYTES, METADATA_FILE};
use crate::storage::format::name::looks_like_domain;
use crate::{Context, Error, Result};

/// The metadata of a domain, or of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Content {
    /// The whole file.
    Found(Vec<u8>),
    /// The domain is there, its metadata is not.
    #[default]
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
                // Padding may be longer than any text.
                let padding = content.iter().rev().take_while(|byte| **byte == 0).count();
                content[..content.len() - padding].to_vec().encode(message);
                (padding as u64).encode(message);
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
            b'f' => {
                let mut content: Vec<u8> = Vec::decode(message)?;
                let padding = u64::decode(message)?;
                let padding = usize::try_from(padding.min(MAX_METADATA_BYTES)).ok()?;
                content.resize(content.len() + padding, 0);
                Some(Content::Found(content))
            }
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

/// The metadata in `file`: that of a domain, or a copy somewhere else.
pub(in crate::storage) fn read(file: &Path) -> Content {
    match domain_of(file) {
        Some(directory) => at(directory),
        None => again_if_stale(|| {
            let around = Dir::of_domain(file.parent().unwrap_or(file))?;
            in_dir(&around, file.file_name().unwrap_or_default())
        }),
    }
}

/// The directory of the domain that has its metadata in `file`; none for a copy.
pub(in crate::storage) fn domain_of(file: &Path) -> Option<&Path> {
    let inside = file.ends_with(METADATA_FILE);
    inside.then(|| file.ancestors().nth(2)).flatten()
}

/// The metadata of the domain in `directory`.
pub(super) fn at(directory: &Path) -> Content {
    match open(directory) {
        Ok(domain) => read_domain(&domain),
        Err(content) => content,
    }
}

/// Opens the domain in `directory`.
///
/// # Errors
/// What is to be said of the metadata of a domain that cannot be opened.
pub(in crate::storage) fn open(directory: &Path) -> std::result::Result<Dir, Content> {
    Dir::of_domain(directory).map_err(|error| {
        if !is_absent(&error) {
            Content::Unreadable(error.to_string())
        } else if directory.exists() {
            // A file has the name of the domain.
            Content::Missing
        } else {
            Content::Absent
        }
    })
}

/// The metadata of a domain. No link in it is followed: it could lead to any file of this host.
pub(in crate::storage) fn read_domain(domain: &Dir) -> Content {
    let (dom_md, name) = METADATA_FILE.split_once('/').unwrap_or_default();
    again_if_stale(|| {
        if domain.look(dom_md)?.is_some_and(|entry| entry.is_link()) {
            let reason = format!("{dom_md} is a symbolic link, expected a directory");
            return Ok(Content::Unreadable(reason));
        }
        in_dir(&domain.dir(dom_md)?, name.as_ref())
    })
}

/// What `read` reads, which is tried again if the file was stale.
fn again_if_stale(read: impl Fn() -> io::Result<Content>) -> Content {
    let content = match read() {
        // The SPM has just replaced the file on an NFS server; the new one is whole.
        Err(error) if error.kind() == ErrorKind::StaleNetworkFileHandle => read(),
        other => other,
    };
    match content {
        Ok(content) => content,
        Err(error) if is_absent(&error) => Content::Missing,
        Err(error) => Content::Unreadable(error.to_string()),
    }
}

/// The metadata under this name.
fn in_dir(dir: &Dir, name: &OsStr) -> io::Result<Content> {
    let Some(entry) = dir.look(name)? else {
        return Ok(Content::Missing);
    };
    // On block storage a logical volume has the name of the metadata; a link leads to it, also while
    // it is not active.
    if entry.is_block_device() || entry.is_link() && dir.target(name)?.starts_with("/dev") {
        return Ok(Content::Block);
    }
    if !entry.is_file() {
        let reason = format!("{}, expected a file", entry.describe());
        return Ok(Content::Unreadable(reason));
    }
    let content = dir.read(name, 0, MAX_METADATA_BYTES + 1)?;
    if content.len() as u64 > MAX_METADATA_BYTES {
        let reason = format!("larger than {MAX_METADATA_BYTES} bytes");
        return Ok(Content::Unreadable(reason));
    }
    Ok(Content::Found(content))
}

/// What is in a directory, sorted; nothing if there is none.
pub(super) fn entries(directory: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
    paths.sort_by(|one, other| one.as_os_str().cmp(other.as_os_str()));
    paths
}

pub(super) fn ends_in_uuid(path: &Path) -> bool {
    path.file_name()
        .and_then(OsStr::to_str)
        .is_some_and(is_uuid)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
