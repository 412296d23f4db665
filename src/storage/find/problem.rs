// SPDX-License-Identifier: GPL-2.0-or-later

//! What is to be said about a checked domain before a VM may use it.

use super::check::{Checked, Outcome, Place};
use super::uses::Roots;
use crate::props;
use crate::storage::format::reading::Verdict;
use crate::storage::verdict::judge::Judgement;

/// How bad it is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The seal does not fit.
    Broken,
    /// The text cannot be decoded.
    NotUtf8,
    /// There are no keys.
    Empty,
    /// There is no file.
    Missing,
    /// It was not read, in time or at all.
    Unread,
    /// There is no such domain.
    Absent,
    /// There is no seal.
    Unsealed,
    /// The metadata is that of another domain.
    OtherId,
}

impl Weight {
    /// Whether VDSM could not load a domain in this state.
    pub fn is_fatal(self) -> bool {
        self <= Weight::Missing
    }
}

/// One thing that is wrong with a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub weight: Weight,
    /// What is wrong, with the domain's name in front, in one line.
    pub text: String,
}

impl Checked {
    /// What is wrong with the domain, after a check of `seconds` below `roots`.
    pub fn problems(&self, roots: &Roots, seconds: u64) -> Vec<Problem> {
        let problem = |weight, text: &str| Problem {
            weight,
            text: format!("{self}: {text}"),
        };
        match &self.outcome {
            Outcome::Judged(judgement) => {
                let verdict = of_verdict(judgement).map(|(weight, text)| problem(weight, &text));
                let id = judgement.metadata.get("SDUUID");
                let other = id.filter(|id| *id != self.id).map(|id| {
                    let id = props::quoted(id);
                    let named = match self.place {
                        Some(Place::Tags) => "volume group",
                        _ => "directory",
                    };
                    problem(
                        Weight::OtherId,
                        &format!("its SDUUID is {id}, not the name of its {named}"),
                    )
                });
                verdict.into_iter().chain(other).collect()
            }
            Outcome::NoGroup(why) => vec![problem(Weight::Absent, why)],
            Outcome::Unreadable(reason) => {
                vec![problem(
                    Weight::Unread,
                    &format!("cannot be read, {reason}"),
                )]
            }
            Outcome::Silent => {
                let text = format!("the storage did not answer within {seconds} s");
                vec![problem(Weight::Unread, &text)]
            }
            Outcome::Absent(silent) => {
                let mut text = format!("found nowhere under {}", roots.repository.display());
                if *silent > 0 {
                    text += &format!(", {silent} of its mounts did not answer within {seconds} s");
                }
                vec![problem(Weight::Absent, &text)]
            }
            Outcome::Unasked(reason) => {
                let text = format!(
                    "on no mount under {}, and whether it is a volume group cannot be told, {reason}",
                    roots.repository.display()
                );
                vec![problem(Weight::Unread, &text)]
            }
        }
    }
}

fn of_verdict(judgement: &Judgement) -> Option<(Weight, String)> {
    let cause = judgement.cause.as_deref().unwrap_or_default();
    let reading = &judgement.reading;
    Some(match reading.verdict {
        Verdict::Ok => return None,
        Verdict::Broken => {
            let declared = props::quoted(reading.declared.as_deref().unwrap_or_default());
            let computed = reading.computed.as_deref().unwrap_or_default();
            let text = format!(
                "the metadata seal is broken, declared {}, computed {computed}, likely cause: {cause}",
                declared.trim_matches('"')
            );
            (Weight::Broken, text)
        }
        Verdict::NotUtf8 => (
            Weight::NotUtf8,
            format!("the metadata is not UTF-8, {cause}"),
        ),
        Verdict::Undecodable => (
            Weight::NotUtf8,
            format!("the metadata cannot be decoded, {cause}"),
        ),
        Verdict::Empty => (Weight::Empty, "the metadata is empty".to_owned()),
        Verdict::Missing => (Weight::Missing, "the metadata file is missing".to_owned()),
        Verdict::Unsealed => (Weight::Unsealed, "the metadata carries no seal".to_owned()),
    })
}
