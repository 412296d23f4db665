// SPDX-License-Identifier: GPL-2.0-or-later

//! What there is to do: every place is looked at before anything is changed.

use std::fs;

use vdsm_hooks::paths::HOOKS;
use vdsm_hooks::runner::mark;
use vdsm_hooks::{Error, Result};

use super::silence::Other;
use super::tree::{self, Side, Tree, below};
use super::wanted::{List, Wanted};

/// What an installation will change.
pub(super) struct Plan<'l> {
    /// Where nothing is.
    pub(super) new: Vec<&'l Wanted>,
    /// Where another release of ours is, or something of ours that was changed.
    pub(super) changed: Vec<&'l Wanted>,
    /// Where something is that is not ours, to be put aside.
    pub(super) replaced: Vec<&'l Wanted>,
    /// Ours, in places that this release does not have: a hook would run twice.
    pub(super) stale: Vec<String>,
    /// Other packages' hooks that do the same, to lose their x bits.
    pub(super) silenced: Vec<Other>,
    /// Those that keep them.
    pub(super) beside: Vec<Other>,
    /// In their places already.
    pub(super) current: usize,
}

impl<'l> Plan<'l> {
    /// Refuses what must not be, all of it at once.
    pub(super) fn new(tree: &Tree, list: &'l List, replace: bool) -> Result<Plan<'l>> {
        let mut plan = Plan {
            new: Vec::new(),
            changed: Vec::new(),
            replaced: Vec::new(),
            stale: Vec::new(),
            silenced: Vec::new(),
            beside: Vec::new(),
            current: 0,
        };
        let mut refused = Vec::new();
        for wanted in &list.files {
            let path = wanted.path.as_str();
            let directory = tree::parent(path);
            if path.starts_with(below(HOOKS)) && tree.is_link(directory) {
                // A relative link in it would lead elsewhere, and an absolute one out of the root.
                let line = format!(
                    "{} is a symbolic link: an event must be a directory",
                    tree.shown(directory)
                );
                if !refused.contains(&line) {
                    refused.push(line);
                }
            }
            if wanted.is_current(tree)? {
                plan.current += 1;
            } else if !tree.exists(path) {
                plan.new.push(wanted);
            } else if tree.is_ours(path) {
                plan.changed.push(wanted);
            } else if let Some(why) = why_not_replaced(tree, wanted, replace) {
                refused.push(why);
            } else {
                plan.replaced.push(wanted);
            }
        }
        if !refused.is_empty() {
            for line in refused {
                crate::complain(&line);
            }
            return Err(Error::new("nothing was changed"));
        }
        let is_wanted = |path: &String| list.files.iter().any(|wanted| wanted.path == *path);
        plan.stale = tree.found(Side::Installed)?;
        plan.stale
            .retain(|path| !is_wanted(path) && tree.is_ours(path));
        let others = list.others.iter();
        let others = others.filter_map(|(hook, path)| Other::find(tree, hook, path));
        // One that an earlier release has put aside was replaced already.
        (plan.silenced, plan.beside) = others.partition(|other| replace || other.is_kept);
        let goes_back = |path: &String| plan.silenced.iter().any(|other| other.path == *path);
        plan.stale.retain(|path| !goes_back(path));
        Ok(plan)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.new.is_empty()
            && self.changed.is_empty()
            && self.replaced.is_empty()
            && self.stale.is_empty()
            && self.silenced.is_empty()
    }

    /// Whether the file is one of those that are put in their places.
    pub(super) fn has(&self, wanted: &Wanted) -> bool {
        let all = self.new.iter().chain(&self.changed).chain(&self.replaced);
        all.into_iter().any(|one| one.path == wanted.path)
    }
}

/// Why something that is not ours stays where it is.
fn why_not_replaced(tree: &Tree, wanted: &Wanted, replace: bool) -> Option<String> {
    let path = wanted.path.as_str();
    let place = tree.shown(path);
    let kept = tree::kept(path);
    let keep = format!("or give --replace to keep it as {}", tree.shown(&kept));
    if fs::symlink_metadata(tree.at(path)).is_ok_and(|found| found.is_dir()) {
        Some(format!("{place} is a directory: move it away"))
    } else if replace {
        let is_taken = tree.exists(&kept) && !tree.are_alike(path, &kept);
        is_taken.then(|| {
            format!(
                "{place} is not ours, and {} holds another one already: move one of them away",
                tree.shown(&kept)
            )
        })
    } else if tree.text(path).is_some_and(|text| mark::was_sealed(&text)) {
        Some(format!(
            "{place} was changed since it was installed: move it away, {keep}"
        ))
    } else if let Some(package) = &wanted.package {
        Some(format!(
            "{place} is not ours: remove the package {package} or the file, {keep}"
        ))
    } else {
        Some(format!("{place} is not ours: move it away, {keep}"))
    }
}
