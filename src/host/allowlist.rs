// SPDX-License-Identifier: GPL-2.0-or-later

//! What the administrator of this host allows custom properties to name: one file per topic in
//! `/etc/vdsm-hooks`, one entry per line, `#` begins a comment. Read at every run.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::host::files;
use crate::{Context, Error, Result};

/// The administrator's settings for hooks.
pub const DIRECTORY: &str = "/etc/vdsm-hooks";
const MAX_BYTES: u64 = 1 << 20;
/// Where libvirt has the images of a host.
pub const IMAGES: &str = "/var/lib/libvirt/images";

/// The entries of a topic; none if it has no file.
///
/// # Errors
/// The file is there and cannot be read.
fn entries(topic: &str) -> Result<Option<Vec<String>>> {
    let file = Path::new(DIRECTORY).join(topic);
    match fs::symlink_metadata(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    let text = String::from_utf8(files::read_file(&file, MAX_BYTES)?).context(file.display())?;
    let lines = text.lines().map(str::trim);
    let entries = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(Some(entries.map(str::to_owned).collect()))
}

/// The directories below which files may lie: those in the topic's file, else `defaults`.
///
/// # Errors
/// The file cannot be read, or an entry is no absolute path.
pub fn directories(topic: &str, defaults: &[&str]) -> Result<Vec<PathBuf>> {
    let defaults = || defaults.iter().map(|path| (*path).to_owned()).collect();
    let entries = entries(topic)?.unwrap_or_else(defaults);
    match entries.iter().find(|entry| !entry.starts_with('/')) {
        Some(entry) => Err(Error::new(format!(
            "{DIRECTORY}/{topic}: {entry:?}: expected a directory, from / on"
        ))),
        None => Ok(entries.into_iter().map(PathBuf::from).collect()),
    }
}

/// The error of a path outside of [`directories`]: which line to add where.
pub fn outside(topic: &str, path: &Path) -> Error {
    let file = format!("{DIRECTORY}/{topic}");
    let directory = path
        .parent()
        .filter(|directory| directory.parent().is_some());
    Error::new(match directory {
        Some(directory) => format!(
            "not in an allowed directory; the administrator of this host can add the line {} to {file}",
            directory.display()
        ),
        // The line / would allow everything.
        None => format!("not in an allowed directory, expected a file below one of {file}"),
    })
}

/// Checks that `item` is in the topic's file, if there is one: without it all are allowed.
///
/// # Errors
/// It does not; the message tells which line to add where.
pub fn check(topic: &str, item: &str) -> Result {
    match entries(topic)? {
        Some(entries) if !entries.iter().any(|entry| entry == item) => Err(Error::new(format!(
            "not allowed; the administrator of this host can add the line {item} to {DIRECTORY}/{topic}"
        ))),
        _ => Ok(()),
    }
}
