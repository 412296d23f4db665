// SPDX-License-Identifier: GPL-2.0-or-later

//! Hooks of other packages that do the same as one of ours under names of their own. Their packages
//! stay, so they are not put aside but lose their x bits: VDSM passes over them, and the package manager
//! still has its files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use vdsm_hooks::Result;

use super::journal::Journal;
use super::tree::{self, Tree, below};
use super::wanted::Copied;

/// Hook of ours, mode and path, with tabs between, of each file whose x bits we have taken.
pub(super) const SILENCED: &str = "var/lib/vdsm-hooks/silenced";
const EXECUTABLE: u32 = 0o111;

/// Such a hook.
pub(super) struct Other {
    /// Ours that does the same.
    pub(super) hook: String,
    pub(super) path: String,
    /// What it had, or has, while it is executable.
    mode: u32,
    /// Ours of an earlier release was in its place, and has put it aside.
    pub(super) is_kept: bool,
}

impl Other {
    /// The one of our hook at this place, if it is there and executable.
    pub(super) fn find(tree: &Tree, hook: &str, path: &str) -> Option<Other> {
        let is_kept = !tree.exists(path) || tree.is_ours(path);
        let place = if is_kept {
            tree.at(&tree::kept(path))
        } else {
            tree.at(path)
        };
        let found = fs::symlink_metadata(place).ok()?;
        let mode = found.mode() & 0o7777;
        (found.is_file() && mode & EXECUTABLE != 0).then(|| Other {
            hook: hook.to_owned(),
            path: path.to_owned(),
            mode,
            is_kept,
        })
    }

    /// Those of a list that have no x bits any more, as we have left them, and whose hooks of ours are
    /// asked for.
    pub(super) fn silenced(tree: &Tree) -> Result<Vec<Other>> {
        let lines = lines(tree)?;
        let others = lines.iter().filter_map(|line| Other::of_line(line));
        let is_silent = |other: &Other| {
            let found = fs::symlink_metadata(tree.at(&other.path));
            found.is_ok_and(|found| found.is_file() && found.mode() & EXECUTABLE == 0)
        };
        Ok(others
            .filter(|other| tree.is_asked(&other.hook) && is_silent(other))
            .collect())
    }

    fn of_line(line: &str) -> Option<Other> {
        let mut fields = line.splitn(3, '\t');
        let (hook, mode, path) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Other {
            hook: hook.to_owned(),
            path: below(path).to_owned(),
            mode: u32::from_str_radix(mode, 8).ok()? & 0o7777,
            is_kept: false,
        })
    }

    fn line(&self) -> String {
        format!("{}\t{:04o}\t{}", self.hook, self.mode, self.path)
    }

    /// Itself without its x bits.
    pub(super) fn silent(&self, journal: &Journal) -> Copied {
        let from = if self.is_kept {
            journal.at(&tree::kept(&self.path))
        } else {
            journal.at(&self.path)
        };
        Copied::with_mode(from, self.mode & !EXECUTABLE)
    }

    /// Itself with the mode that it had.
    pub(super) fn restored(&self, journal: &Journal) -> Copied {
        Copied::with_mode(journal.at(&self.path), self.mode)
    }
}

/// The list with these as well.
pub(super) fn with(tree: &Tree, others: &[Other]) -> Result<BTreeSet<String>> {
    let mut lines = lines(tree)?;
    // The package may have come with another mode since.
    lines.retain(|line| {
        let old = Other::of_line(line);
        old.is_some_and(|old| others.iter().all(|other| other.path != old.path))
    });
    lines.extend(others.iter().map(Other::line));
    Ok(lines)
}

fn lines(tree: &Tree) -> Result<BTreeSet<String>> {
    tree::lines(&tree.at(SILENCED))
}

/// What is left of the list when the hooks that are asked for go.
pub(super) fn left(tree: &Tree) -> Result<BTreeSet<String>> {
    let mut lines = lines(tree)?;
    lines.retain(|line| {
        let other = Other::of_line(line);
        other.is_some_and(|other| !tree.is_asked(&other.hook))
    });
    Ok(lines)
}
