// SPDX-License-Identifier: GPL-2.0-or-later

//! Settings of the host that stand in several files and change together, or not at all.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::undo::Undo;
use crate::{Context, Result, host};

/// Settings are a few lines.
const LARGEST: u64 = 1 << 20;

/// Gives each file its text, with mode 0644, or removes it where there is none. Tells whether that
/// was a change: a file that has its text already is not touched.
///
/// The new files and second names of the old ones are made first, beside them and with a dot in
/// front; renaming is all that is left then. So nobody ever reads half a file.
///
/// # Errors
/// A file cannot be read, written or removed. Then all of them are what they were.
pub fn change(files: &BTreeMap<PathBuf, Option<String>>) -> Result<bool> {
    // Dropped last: what is taken back lies there.
    let mut beside = Beside::default();
    let mut changes = Vec::new();
    for (path, text) in files {
        clear(path)?;
        let old = content(path)?;
        if old.as_deref() == text.as_deref().map(str::as_bytes) {
            continue;
        }
        let new = match text {
            Some(text) => Some(beside.write(path, text)?),
            None => None,
        };
        let old = match old {
            Some(_) => Some(beside.keep(path)?),
            None => None,
        };
        changes.push((path, new, old));
    }
    let mut undo = Undo::default();
    for (path, new, old) in &changes {
        put(new.as_deref(), path)?;
        undo.push(path.display().to_string(), || put(old.as_deref(), path));
    }
    undo.keep();
    Ok(!changes.is_empty())
}

/// Renames the file to `path`; without one nothing is to be left there.
fn put(file: Option<&Path>, path: &Path) -> Result {
    match file {
        Some(file) => fs::rename(file, path),
        None => fs::remove_file(path),
    }
    .context(path.display())
}

fn content(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        _ => host::read_file(path, LARGEST).map(Some),
    }
}

/// Removes what a process that was killed has left beside a file. Nobody else changes it now.
fn clear(path: &Path) -> Result {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_left = |entry: &str| {
        let rest = entry.strip_prefix(&*format!(".{name}."));
        let id = rest.and_then(|rest| {
            rest.strip_suffix(".new")
                .or_else(|| rest.strip_suffix(".old"))
        });
        id.is_some_and(|id| id.chars().all(|c| c.is_ascii_digit()))
    };
    for entry in host::entries(path.parent().unwrap_or(path))? {
        if is_left(&entry) {
            let left = path.with_file_name(&entry);
            fs::remove_file(&left).context(left.display())?;
        }
    }
    Ok(())
}

/// What lies beside the files while they change.
#[derive(Default)]
struct Beside(Vec<PathBuf>);

impl Beside {
    /// The name that the file at `path` has for so long. It is on the list before it is there.
    fn name(&mut self, path: &Path, what: &str) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = format!(".{name}.{}.{what}", std::process::id());
        let name = path.with_file_name(name);
        self.0.push(name.clone());
        name
    }

    fn write(&mut self, path: &Path, text: &str) -> Result<PathBuf> {
        let name = self.name(path, "new");
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&name)
            .and_then(|mut file| {
                file.set_permissions(Permissions::from_mode(0o644))?;
                file.write_all(text.as_bytes())?;
                file.sync_all()
            })
            .context(format!("cannot write {}", path.display()))?;
        Ok(name)
    }

    /// A second name of the old file: should it have to come back, then with owner and mode.
    fn keep(&mut self, path: &Path) -> Result<PathBuf> {
        let name = self.name(path, "old");
        fs::hard_link(path, &name).context(format!("cannot keep {}", path.display()))?;
        Ok(name)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        for name in &self.0 {
            match fs::remove_file(name) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    log::warn!("{} is left behind: {error}", name.display());
                }
                _ => {}
            }
        }
    }
}
