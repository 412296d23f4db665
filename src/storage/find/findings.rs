// SPDX-License-Identifier: GPL-2.0-or-later

//! What is to be said about checked domains before a VM may use them.

use super::check::{Checked, Outcome, Place};
use super::uses::Roots;
use crate::finding::{Finding, Severity};
use crate::props;
use crate::storage::format::reading::Verdict;
use crate::storage::verdict::judge::Judgement;

/// The rank of metadata that is another domain's, behind those of [`Outcome::rank`].
const OTHER_ID: u8 = 7;

/// What is wrong with domains after a check of `seconds` below `roots`, the worst first. It is a
/// [`Severity::Problem`] if VDSM could not load the domain.
pub fn worst_first(checked: &[Checked], roots: &Roots, seconds: u64) -> Vec<Finding> {
    let all = checked.iter().flat_map(|one| one.ranked(roots, seconds));
    let mut ranked: Vec<(u8, Finding)> = all.collect();
    // Those of one rank stay in their order.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, finding)| finding).collect()
}

impl Checked {
    /// What is wrong with the domain, after a check of `seconds` below `roots`.
    pub fn findings(&self, roots: &Roots, seconds: u64) -> Vec<Finding> {
        let ranked = self.ranked(roots, seconds).into_iter();
        ranked.map(|(_, finding)| finding).collect()
    }

    fn ranked(&self, roots: &Roots, seconds: u64) -> Vec<(u8, Finding)> {
        let mut severity = None;
        let text = match &self.outcome {
            Outcome::Judged(judgement) => {
                severity = judgement.reading.verdict.severity();
                words(judgement)
            }
            Outcome::NoGroup(why) => Some((*why).to_owned()),
            Outcome::Unreadable(reason) => Some(format!("cannot be read, {reason}")),
            Outcome::Silent => Some(format!("the storage did not answer within {seconds} s")),
            Outcome::Absent(silent) => {
                let mut text = format!("found nowhere under {}", roots.repository.display());
                if *silent > 0 {
                    text += &format!(", {silent} of its mounts did not answer within {seconds} s");
                }
                Some(text)
            }
            Outcome::Unasked(reason) => Some(format!(
                "on no mount under {}, and whether it is a volume group cannot be told, {reason}",
                roots.repository.display()
            )),
        };
        // What is not known stops nothing.
        let severity = severity.unwrap_or(Severity::Warning);
        let subject = self.to_string();
        let own = text.map(|what| Finding::new(severity, subject.clone(), what));
        let other = self.other_id();
        let other = other.map(|what| Finding::new(Severity::Warning, subject, what));
        let own = own.map(|finding| (self.outcome.rank(), finding));
        let other = other.map(|finding| (OTHER_ID, finding));
        own.into_iter().chain(other).collect()
    }

    /// That the metadata is that of another domain.
    fn other_id(&self) -> Option<String> {
        let Outcome::Judged(judgement) = &self.outcome else {
            return None;
        };
        let id = judgement.metadata.get("SDUUID")?;
        let named = match self.place {
            Some(Place::Tags) => "volume group",
            _ => "directory",
        };
        (id != self.id).then(|| {
            let id = props::quoted(id);
            format!("its SDUUID is {id}, not the name of its {named}")
        })
    }
}

impl Outcome {
    /// How bad it is, the worst first.
    fn rank(&self) -> u8 {
        match self {
            Outcome::Judged(judgement) => match judgement.reading.verdict {
                Verdict::Broken => 0,
                Verdict::NotUtf8 | Verdict::Undecodable => 1,
                Verdict::Empty => 2,
                Verdict::Missing => 3,
                Verdict::Unsealed | Verdict::Ok => 6,
            },
            Outcome::Unreadable(_) | Outcome::Silent | Outcome::Unasked(_) => 4,
            Outcome::NoGroup(_) | Outcome::Absent(_) => 5,
        }
    }
}

/// A verdict for a message, with what led to it; none if nothing is wrong.
fn words(judgement: &Judgement) -> Option<String> {
    let cause = judgement.cause.as_deref().unwrap_or_default();
    let reading = &judgement.reading;
    Some(match reading.verdict {
        Verdict::Ok => return None,
        Verdict::Broken => {
            let declared = props::quoted(reading.declared.as_deref().unwrap_or_default());
            let computed = reading.computed.as_deref().unwrap_or_default();
            format!(
                "the metadata seal is broken, declared {}, computed {computed}, likely cause: {cause}",
                declared.trim_matches('"')
            )
        }
        Verdict::NotUtf8 => format!("the metadata is not UTF-8, {cause}"),
        Verdict::Undecodable => format!("the metadata cannot be decoded, {cause}"),
        Verdict::Empty => "the metadata is empty".to_owned(),
        Verdict::Missing => "the metadata file is missing".to_owned(),
        Verdict::Unsealed => "the metadata carries no seal".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::storage::verdict::judge::judge;
    use crate::storage::verdict::tags::judge_tags;

    const EXPORT: &str = include_str!("../../../tests/data/storage/export.metadata");
    const ID: &str = "37e0e64b-5445-4bc3-8675-ceff4637e8e3";

    #[test]
    fn the_worst_comes_first() {
        let judged = |content: Option<&[u8]>| Outcome::Judged(Box::new(judge(content)));
        let changed = |from: &str, to: &str| judged(Some(EXPORT.replace(from, to).as_bytes()));
        let undecodable = Outcome::Judged(Box::new(judge_tags(&["MDT_A=&55296&"])));
        // From the worst to nothing at all; whether VDSM could not load the domain.
        let rows = [
            (changed("Regular", "Master"), Some(true), "seal is broken"),
            (judged(Some(b"A=\xe9\n")), Some(true), "is not UTF-8"),
            (undecodable, Some(true), "cannot be decoded"),
            (judged(Some(b"")), Some(true), "is empty"),
            (judged(None), Some(true), "file is missing"),
            (
                Outcome::Unreadable("EIO".into()),
                Some(false),
                "cannot be read, EIO",
            ),
            (
                Outcome::Silent,
                Some(false),
                "the storage did not answer within 3 s",
            ),
            (
                Outcome::Unasked("x".into()),
                Some(false),
                "cannot be told, x",
            ),
            (Outcome::NoGroup("no group"), Some(false), "no group"),
            (
                Outcome::Absent(1),
                Some(false),
                "1 of its mounts did not answer",
            ),
            (changed("_SHA_CKSUM", "#_SHA_CKSUM"), Some(false), "no seal"),
            (judged(Some(EXPORT.as_bytes())), None, ""),
        ];
        let mut checked: Vec<Checked> = rows
            .iter()
            .map(|(outcome, _, _)| Checked {
                id: ID.to_owned(),
                place: Some(Place::File(PathBuf::from("/x"))),
                outcome: outcome.clone(),
            })
            .collect();
        // A sound one that is a copy of another domain's, behind all others.
        let mut copy = checked[rows.len() - 1].clone();
        copy.id = "other".to_owned();
        checked.insert(0, copy);
        for _ in 0..checked.len() {
            checked.rotate_left(1);
            let found = worst_first(&checked, &Roots::default(), 3);
            assert_eq!(found.len(), rows.len());
            assert!(found[rows.len() - 1].text.starts_with("its SDUUID is "));
            let mut ranks = Vec::new();
            for finding in &found[..rows.len() - 1] {
                assert!(finding.subject.starts_with(&format!("storage domain {ID}")));
                let at = rows.iter().position(|(_, severity, words)| {
                    severity.is_some() && finding.text.contains(words)
                });
                let (outcome, fatal, _) = &rows[at.unwrap()];
                assert_eq!(*fatal, Some(finding.severity == Severity::Problem));
                ranks.push(outcome.rank());
            }
            assert!(ranks.is_sorted(), "{found:#?}");
        }
    }
}
