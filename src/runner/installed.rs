// SPDX-License-Identifier: GPL-2.0-or-later

//! An event's directory as VDSM sees it: which files it runs, in which order, and which not (VDSM 4.50
//! lib/vdsm/common/hooks.py: `_scriptsPerDir`).

use std::fmt::{self, Display, Formatter};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::runner::mark;
use crate::{Context as _, Result};

/// One name in an event's directory.
#[derive(Debug)]
pub struct Entry {
    /// Path as VDSM would call it.
    pub path: PathBuf,
    /// File name, made printable.
    pub name: String,
    /// Why VDSM skips it; none if it runs it.
    pub skipped: Option<&'static str>,
}

/// Everything in the directory, in VDSM's order. A missing directory is an empty one.
///
/// # Errors
/// It cannot be read.
pub fn entries(directory: &Path) -> Result<Vec<Entry>> {
    let listing = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.context(directory.display())?,
    };
    let mut entries = Vec::new();
    for entry in listing {
        let path = entry.context(directory.display())?.path();
        let name = path.file_name().unwrap_or_default();
        entries.push(Entry {
            name: name.to_string_lossy().into_owned(),
            skipped: why_skipped(&path, name.as_bytes()),
            path,
        });
    }
    // Byte by byte, whatever the locale.
    entries.sort_by(|one, other| one.path.as_os_str().cmp(other.path.as_os_str()));
    Ok(entries)
}

fn why_skipped(path: &Path, name: &[u8]) -> Option<&'static str> {
    if name.starts_with(b".") {
        return Some("its name begins with a dot");
    }
    match fs::metadata(path) {
        Err(_) => Some("a link to nothing"),
        Ok(file) if !file.is_file() => Some("not a regular file"),
        Ok(_) if access(path, AccessFlags::X_OK).is_err() => Some("not executable"),
        Ok(_) => None,
    }
}

/// What an executable file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A program of this suite.
    Ours,
    /// A script, with the `#!` line.
    Script,
    /// Anything else.
    NotOurs,
    /// Not for us to read.
    Unreadable,
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Origin::Ours => "a program of this suite",
            Origin::Script => "a script",
            Origin::NotOurs => "not part of vdsm-hooks",
            Origin::Unreadable => "a file that cannot be read",
        })
    }
}

/// Tells the suite's programs by a sentence of their `--help`, which is in the file.
pub fn origin(path: &Path) -> Origin {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut content));
    if read.is_err() {
        return Origin::Unreadable;
    }
    if content.starts_with(b"#!") {
        Origin::Script
    } else if content.starts_with(b"\x7fELF") && mark::has_mark(&content) {
        Origin::Ours
    } else {
        Origin::NotOurs
    }
}

/// Whether a file is a program of the suite. Nothing but a file is opened.
pub fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file()) && origin(path) == Origin::Ours
}

/// Of a program, that much is looked at.
const MAX_BYTES: u64 = 64 << 20;

/// Why a file that VDSM runs was probably not meant to be run: editors and package managers leave
/// such names, and VDSM looks at the x bit only.
pub fn by_accident(name: &str) -> Option<&'static str> {
    let ending = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ending(&[
        ".rpmsave",
        ".rpmnew",
        ".rpmorig",
        ".dpkg-old",
        ".dpkg-new",
        ".dpkg-dist",
    ]) {
        Some("left by the package manager")
    } else if ending(&[
        "~",
        ".bak",
        ".old",
        ".orig",
        ".save",
        ".swp",
        ".disabled",
        ".off",
    ]) {
        Some("a backup copy")
    } else if ending(&[".md", ".txt", ".json", ".conf", ".pyc", ".log"]) {
        Some("no program by its name")
    } else {
        None
    }
}

/// Whether a file called `file` is meant by `wanted`: its whole name, or without the number.
pub fn is_called(file: &str, wanted: &str) -> bool {
    file == wanted || without_number(file) == wanted
}

/// `50_cpuflags` without its `50_`.
pub fn without_number(file: &str) -> &str {
    match file.split_once('_') {
        Some((number, name))
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            name
        }
        _ => file,
    }
}
