// SPDX-License-Identifier: GPL-2.0-or-later

//! Replaces a metadata file by a mended one, with a copy of the old one kept.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha1::{Digest as _, Sha1};

use super::repair::Repair;
use crate::host::calendar::utc;
use crate::storage::find::dir::Dir;
use crate::storage::format::metadata::{MAX_METADATA_BYTES, METADATA_FILE};
use crate::storage::format::seal::hex;
use crate::{Context, Error, Result};

/// Nobody takes that long to write a few lines and give them their name.
const REMNANT: Duration = Duration::from_secs(60);

/// What tells one content from another.
pub(super) fn digest(content: &[u8]) -> String {
    hex(&Sha1::digest(content))
}

/// Does the work of a child: mends `file`, whose content must have this digest. Gives the copy of
/// the old content. At any moment there is the old file or the new one, whole.
///
/// # Errors
/// It has changed, or cannot be written.
pub(super) fn serve(file: &Path, mend: Repair, expected: &str) -> Result<PathBuf> {
    let (dir, name) = open(file).context(file.display())?;
    let content = dir.read(&name, 0, MAX_METADATA_BYTES + 1);
    let content = content.context(file.display())?;
    if digest(&content) != expected {
        return Err(Error::new(format!(
            "{}: somebody has just changed it; look at it again",
            file.display()
        )));
    }
    let mended = mend.apply(&content).context(file.display())?;
    let copy = replace(&dir, &name, &content, &mended.text).context(file.display())?;
    Ok(file.with_file_name(copy))
}

/// The directory of a metadata file, and its name there. In a domain no link is followed.
fn open(file: &Path) -> io::Result<(Dir, OsString)> {
    let name = file.file_name().unwrap_or_default().to_owned();
    let directory = file.parent().unwrap_or(Path::new("/"));
    let dir = if file.ends_with(METADATA_FILE) {
        Dir::of_domain(directory.parent().unwrap_or(directory))?.dir("dom_md")?
    } else {
        Dir::of_domain(directory)?
    };
    Ok((dir, name))
}

fn replace(dir: &Dir, name: &OsStr, old: &[u8], new: &[u8]) -> io::Result<OsString> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let entry = dir.look(name)?.ok_or_else(missing)?;
    // The one name that can be foreseen, on purpose: VDSM writes under it too (VDSM 4.50
    // lib/vdsm/storage/fileSD.py: FileMetadataRW.writelines), and both it and the
    // check know one that is left over as harmless. Another name would stay after a kill, since
    // nobody could tell whose it is on storage that other hosts use. Only who can write the domain's
    // metadata itself can put anything there.
    let mut temporary = name.to_owned();
    temporary.push(".new");
    let copy = free_name(dir, name)?;
    remove_remnant(dir, &temporary)?;
    for (content, place) in [(old, copy.as_os_str()), (new, name)] {
        let written = dir
            .make_file(&temporary, content, 0, entry.mode(), entry.owner())
            .and_then(|()| dir.rename(&temporary, place));
        match written {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(in_use(&temporary));
            }
            Err(error) => {
                let _ = dir.remove(&temporary);
                return Err(error);
            }
            Ok(()) => {}
        }
    }
    Ok(copy)
}

/// Removes what is left of a writer that was killed. A file that may still be in use stays.
fn remove_remnant(dir: &Dir, name: &OsStr) -> io::Result<()> {
    let Some(entry) = dir.look(name)? else {
        return Ok(());
    };
    // By the clock of the storage, which may be ahead of ours.
    match SystemTime::now().duration_since(entry.changed()) {
        Ok(age) if age >= REMNANT => dir.remove(name),
        _ => Err(in_use(name)),
    }
}

fn in_use(name: &OsStr) -> io::Error {
    io::Error::other(format!(
        "{} is there: somebody is writing it, or was cut off just now; try again in {} seconds",
        name.to_string_lossy(),
        REMNANT.as_secs()
    ))
}

/// A name for the copy, with the time in it.
fn free_name(dir: &Dir, name: &OsStr) -> io::Result<OsString> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut time = utc(now.unwrap_or_default().as_secs());
    time.retain(|c| c.is_ascii_digit());
    for number in 0.. {
        let mut copy = name.to_owned();
        copy.push(format!(".{time}"));
        if number > 0 {
            copy.push(format!(".{number}"));
        }
        if dir.look(&copy)?.is_none() {
            return Ok(copy);
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
