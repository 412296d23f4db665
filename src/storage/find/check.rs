// SPDX-License-Identifier: GPL-2.0-or-later

//! Checks the storage domains of a VM side by side, each until one deadline.

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use super::lvm::{Group, Lvm};
use super::metadata_file::Content;
use super::probe;
use super::uses::{DomainRef, Kind, Roots};
use crate::host::command;
use crate::props;
use crate::storage::format::metadata::METADATA_FILE;
use crate::storage::format::reading::Verdict;
use crate::storage::verdict::judge::{Judgement, judge};
use crate::storage::verdict::tags::judge_tags;

/// A storage domain and what came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The domain's id: the name of its directory or volume group.
    pub id: String,
    /// Where the metadata is, if that is known.
    pub place: Option<Place>,
    /// What came out.
    pub outcome: Outcome,
}

/// Why a domain on block storage cannot be checked, in most cases.
const NOT_SEEN: &str = "this host sees no volume group of this name";

/// Where a domain has its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this file.
    File(PathBuf),
    /// In the tags of the volume group that is called like the domain.
    Tags,
}

/// What came out of checking one storage domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is a verdict.
    Judged(Box<Judgement>),
    /// On block storage, and no volume group that is a storage domain; why, in words.
    NoGroup(&'static str),
    /// The metadata is there and cannot be read, and why.
    Unreadable(String),
    /// The storage did not answer in time.
    Silent,
    /// The id was found nowhere; beside it how many mounts did not answer in time.
    Absent(usize),
    /// No mount has the id, and this is why LVM does not say whether it is a volume group.
    Unasked(String),
}

/// Checks every one of `uses` until `end`. A domain is looked for where the XML has it, behind
/// VDSM's links, in every mount, and then among the volume groups; a domain is judged once.
pub fn check(uses: &[DomainRef], roots: &Roots, lvm: &Lvm, end: Instant) -> Vec<Checked> {
    let all: Vec<Vec<Checked>> = thread::scope(|scope| {
        let running: Vec<_> = uses
            .iter()
            .map(|used| {
                let work = move || check_one(used, roots, lvm, end);
                (used, thread::Builder::new().spawn_scoped(scope, work))
            })
            .collect();
        running
            .into_iter()
            .map(|(used, thread)| match thread {
                Ok(thread) => thread.join().unwrap_or_default(),
                Err(error) => {
                    let reason = probe::no_thread(&error);
                    vec![nowhere(used, Outcome::Unreadable(reason))]
                }
            })
            .collect()
    });
    // The pool's master domain is often one that the XML names by its id as well.
    let mut once: Vec<Checked> = Vec::new();
    for checked in all.into_iter().flatten() {
        let same = |other: &Checked| other.id == checked.id && other.place == checked.place;
        if !once.iter().any(same) {
            once.push(checked);
        }
    }
    once
}

fn check_one(used: &DomainRef, roots: &Roots, lvm: &Lvm, end: Instant) -> Vec<Checked> {
    if let (Kind::Block, Some(id)) = (used.kind, &used.id) {
        return vec![in_group(id, lvm)];
    }
    // Where the VM itself looks. All of them count, should there be several.
    if let Err(contents) = probe::first(&used.directories, end, |_| false) {
        let checked: Vec<_> = contents
            .into_iter()
            .filter(|(_, content)| *content != Some(Content::Absent))
            .map(|(directory, content)| at(directory, content, lvm))
            .collect();
        if !checked.is_empty() {
            return checked;
        }
    }
    vec![find(used, roots, lvm, end)]
}

/// Checks a domain whose directory the XML does not say.
fn find(used: &DomainRef, roots: &Roots, lvm: &Lvm, end: Instant) -> Checked {
    let located = match probe::locate(used, roots, end) {
        Ok(Some(located)) => located,
        Ok(None) => return nowhere(used, Outcome::Silent),
        Err(error) => return nowhere(used, Outcome::Unreadable(error.to_string())),
    };
    let directories = [&located.directories[..], &used.guesses[..]].concat();
    match probe::first(&directories, end, is_there) {
        Ok((directory, content)) => return at(directory, Some(content), lvm),
        Err(contents) => {
            let trouble = contents
                .into_iter()
                .find(|(_, content)| *content != Some(Content::Absent));
            if let Some((directory, content)) = trouble {
                return at(directory, content, lvm);
            }
        }
    }
    let Some(id) = &used.id else {
        return nowhere(used, Outcome::Absent(0));
    };
    if located.block {
        return in_group(id, lvm);
    }
    let in_mounts: Vec<PathBuf> = located.mounts.iter().map(|mount| mount.join(id)).collect();
    let contents = match probe::first(&in_mounts, end, is_there) {
        Ok((directory, content)) => return at(directory, Some(content), lvm),
        Err(contents) => contents,
    };
    let silent = contents
        .iter()
        .filter(|(_, content)| content.is_none())
        .count();
    // That LVM does not know it either is not worth a word.
    let group = in_group(id, lvm);
    match group.outcome {
        Outcome::Judged(_) => group,
        Outcome::NoGroup(why) if why != NOT_SEEN => group,
        // A host without LVM has no groups.
        Outcome::Unreadable(reason) if command::find("lvm").is_ok() => {
            nowhere(used, Outcome::Unasked(reason))
        }
        // Nor has LVM had its time where the mounts took it.
        Outcome::Silent if silent == 0 => {
            nowhere(used, Outcome::Unasked("lvm: no answer in time".to_owned()))
        }
        _ => nowhere(used, Outcome::Absent(silent)),
    }
}

fn is_there(content: &Content) -> bool {
    matches!(
        content,
        Content::Found(_) | Content::Missing | Content::Block
    )
}

fn at(directory: &Path, content: Option<Content>, lvm: &Lvm) -> Checked {
    let name = directory.file_name().unwrap_or_default();
    let id = name.to_string_lossy().into_owned();
    if content == Some(Content::Block) {
        return in_group(&id, lvm);
    }
    Checked {
        id,
        place: Some(Place::File(directory.join(METADATA_FILE))),
        outcome: outcome_of(content),
    }
}

/// Checks a domain on block storage. Of several groups with its name nobody knows which one VDSM
/// would take: the one whose metadata is wrong counts.
fn in_group(id: &str, lvm: &Lvm) -> Checked {
    let outcome = match lvm.groups(id) {
        Err(None) => Outcome::Silent,
        Err(Some(reason)) => Outcome::Unreadable(reason.to_string()),
        Ok(groups) => {
            let mut outcomes: Vec<_> = groups.into_iter().map(of_group).collect();
            let wrong = outcomes.iter().position(|outcome| !is_right(outcome));
            if outcomes.is_empty() {
                Outcome::NoGroup(NOT_SEEN)
            } else {
                outcomes.swap_remove(wrong.unwrap_or(0))
            }
        }
    };
    Checked {
        id: id.to_owned(),
        place: (!matches!(outcome, Outcome::NoGroup(_))).then_some(Place::Tags),
        outcome,
    }
}

fn of_group(group: &Group) -> Outcome {
    if group.is_domain() {
        Outcome::Judged(Box::new(judge_tags(&group.tags)))
    } else if group.is_unready() {
        Outcome::NoGroup("its volume group is a domain that VDSM has not finished making")
    } else {
        Outcome::NoGroup("its volume group has no tag RHAT_storage_domain")
    }
}

fn is_right(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Judged(judgement) if judgement.reading.verdict == Verdict::Ok)
}

/// What comes out of metadata in a file; of none if there was no answer.
fn outcome_of(content: Option<Content>) -> Outcome {
    match content {
        Some(Content::Found(content)) => Outcome::Judged(Box::new(judge(Some(&content)))),
        Some(Content::Missing) => Outcome::Judged(Box::new(judge(None))),
        Some(Content::Unreadable(reason)) => Outcome::Unreadable(reason),
        Some(Content::Absent | Content::Block) => Outcome::Absent(0),
        None => Outcome::Silent,
    }
}

/// A domain of which it is not known where it is.
fn nowhere(used: &DomainRef, outcome: Outcome) -> Checked {
    let id = match (&used.id, used.links.first()) {
        (Some(id), _) => id.clone(),
        (None, link) => link
            .map(|link| link.display().to_string())
            .unwrap_or_default(),
    };
    Checked {
        id,
        place: None,
        outcome,
    }
}

impl fmt::Display for Checked {
    /// The domain for a message: id, name and place, as far as they are known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "storage domain {}", self.id)?;
        if let Outcome::Judged(judgement) = &self.outcome {
            if let Some(description) = judgement.metadata.get("DESCRIPTION") {
                write!(f, " {}", props::quoted(description))?;
            }
        }
        match &self.place {
            Some(Place::File(file)) => write!(f, " in {}", file.display()),
            Some(Place::Tags) => f.write_str(" in the tags of its volume group"),
            None => Ok(()),
        }
    }
}
