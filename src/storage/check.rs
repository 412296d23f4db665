// SPDX-License-Identifier: GPL-2.0-or-later

//! Checks the storage domains of a VM side by side, each until one deadline.

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use super::probe::{self, Answer};
use super::{Judgement, Kind, METADATA_FILE, Roots, Use, judge};
use crate::props;

/// A storage domain and what came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The domain's id: the name of its directory.
    pub id: String,
    /// The metadata file, if it is known where that is.
    pub file: Option<PathBuf>,
    /// What came out.
    pub outcome: Outcome,
}

/// What came out of checking one storage domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is a verdict.
    Judged(Box<Judgement>),
    /// Block storage, whose metadata is in LVM's tags.
    Block,
    /// The metadata is there and cannot be read, and why.
    Unreadable(String),
    /// The storage did not answer in time.
    Silent,
    /// The id was found nowhere; beside it how many mounts did not answer in time.
    Absent(usize),
}

/// Checks every one of `uses` until `end`. A domain is looked for where the XML has it, behind
/// VDSM's links, and then in every mount; the file of one domain is judged once.
pub fn check(uses: &[Use], roots: &Roots, end: Instant) -> Vec<Checked> {
    let mut all: Vec<Checked> = thread::scope(|scope| {
        let running: Vec<_> = uses
            .iter()
            .map(|used| scope.spawn(move || check_one(used, roots, end)))
            .collect();
        running
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_default())
            .collect()
    });
    // The pool's master domain is often one that the XML names by its id as well.
    let mut files: Vec<PathBuf> = Vec::new();
    all.retain(|checked| match &checked.file {
        Some(file) if files.contains(file) => false,
        Some(file) => {
            files.push(file.clone());
            true
        }
        None => true,
    });
    all
}

fn check_one(used: &Use, roots: &Roots, end: Instant) -> Vec<Checked> {
    if used.kind == Kind::Block {
        return vec![without_file(used, Outcome::Block)];
    }
    // Where the VM itself looks. All of them count, should there be several.
    if let Err(answers) = probe::first(&used.directories, end, |_| false) {
        let checked: Vec<_> = answers
            .into_iter()
            .filter(|(_, answer)| *answer != Answer::Absent)
            .map(|(directory, answer)| at(directory, answer))
            .collect();
        if !checked.is_empty() {
            return checked;
        }
    }
    vec![find(used, roots, end)]
}

/// Checks a domain whose directory the XML does not say.
fn find(used: &Use, roots: &Roots, end: Instant) -> Checked {
    let located = match probe::locate(used, roots, end) {
        Ok(located) => located,
        Err(answer) => return without_file(used, outcome_of(answer)),
    };
    let directories = [&located.directories[..], &used.guesses[..]].concat();
    match probe::first(&directories, end, is_there) {
        Ok((directory, answer)) => return at(directory, answer),
        Err(answers) => {
            let trouble = answers
                .into_iter()
                .find(|(_, answer)| *answer != Answer::Absent);
            if let Some((directory, answer)) = trouble {
                return at(directory, answer);
            }
        }
    }
    if located.block {
        return without_file(used, Outcome::Block);
    }
    let Some(id) = &used.id else {
        return without_file(used, Outcome::Absent(0));
    };
    let directories: Vec<PathBuf> = located.mounts.iter().map(|mount| mount.join(id)).collect();
    match probe::first(&directories, end, is_there) {
        Ok((directory, answer)) => at(directory, answer),
        Err(answers) => {
            let silent = answers
                .iter()
                .filter(|(_, answer)| *answer == Answer::Silent)
                .count();
            without_file(used, Outcome::Absent(silent))
        }
    }
}

fn is_there(answer: &Answer) -> bool {
    matches!(answer, Answer::Found(_) | Answer::Missing | Answer::Block)
}

fn at(directory: &Path, answer: Answer) -> Checked {
    let name = directory.file_name().unwrap_or_default();
    Checked {
        id: name.to_string_lossy().into_owned(),
        file: Some(directory.join(METADATA_FILE)),
        outcome: outcome_of(answer),
    }
}

fn outcome_of(answer: Answer) -> Outcome {
    match answer {
        Answer::Found(content) => Outcome::Judged(Box::new(judge(Some(&content)))),
        Answer::Missing => Outcome::Judged(Box::new(judge(None))),
        Answer::Block => Outcome::Block,
        Answer::Unreadable(reason) => Outcome::Unreadable(reason),
        Answer::Silent => Outcome::Silent,
        Answer::Absent => Outcome::Absent(0),
    }
}

fn without_file(used: &Use, outcome: Outcome) -> Checked {
    let id = match (&used.id, used.links.first()) {
        (Some(id), _) => id.clone(),
        (None, link) => link
            .map(|link| link.display().to_string())
            .unwrap_or_default(),
    };
    Checked {
        id,
        file: None,
        outcome,
    }
}

impl fmt::Display for Checked {
    /// The domain for a message: id, name and file, as far as they are known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "storage domain {}", self.id)?;
        if let Outcome::Judged(judgement) = &self.outcome {
            if let Some(description) = judgement.metadata.get("DESCRIPTION") {
                write!(f, " {}", props::quoted(description))?;
            }
        }
        match &self.file {
            Some(file) => write!(f, " in {}", file.display()),
            None => Ok(()),
        }
    }
}
