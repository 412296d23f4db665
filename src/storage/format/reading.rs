// SPDX-License-Identifier: GPL-2.0-or-later

//! What each reader makes of a metadata file. Why a seal does not fit is not asked here.

use std::fmt::{self, Display, Formatter};

use super::metadata::{CHECKSUM, Metadata, is_blank};
use super::seal::{digest, seal};
use crate::finding::Severity;

/// What a metadata file is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The seal is that of the keys.
    Ok,
    /// There is no seal: accepted unchecked.
    Unsealed,
    /// There are no keys: VDSM cannot load the domain. What it makes of a seal: VDSM 4.50
    /// lib/vdsm/storage/persistent.py, `PersistentDict._refresh`.
    Empty,
    /// There is no file.
    Missing,
    /// VDSM cannot decode the text.
    NotUtf8,
    /// VDSM cannot decode a tag of the volume group.
    Undecodable,
    /// The seal is not that of the keys: VDSM refuses the domain.
    Broken,
}

impl Verdict {
    /// How bad it is; none if nothing is wrong. It is a problem if VDSM cannot load the domain.
    pub fn severity(self) -> Option<Severity> {
        match self {
            Verdict::Ok => None,
            Verdict::Unsealed => Some(Severity::Warning),
            _ => Some(Severity::Problem),
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Ok => "ok",
            Verdict::Unsealed => "unsealed",
            Verdict::Empty => "empty",
            Verdict::Missing => "missing file",
            Verdict::NotUtf8 => "not UTF-8",
            Verdict::Undecodable => "undecodable tag",
            Verdict::Broken => "broken",
        })
    }
}

/// Programs that read domain metadata; their rules differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// VDSM 4.4 and later: the judge.
    Vdsm44,
    /// VDSM 4.3 and older.
    Vdsm43,
    /// The scripts that administrators pass on, which sort and hash stripped lines.
    LineScript,
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reader::Vdsm44 => "VDSM 4.4 and later",
            Reader::Vdsm43 => "VDSM 4.3 and older",
            Reader::LineScript => "a script that works line by line",
        })
    }
}

/// What one reader makes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The verdict.
    pub verdict: Verdict,
    /// The seal that the file carries, as it is written there.
    pub declared: Option<String>,
    /// The seal of what was read.
    pub computed: Option<String>,
}

impl Reading {
    pub(in crate::storage) fn without_digests(verdict: Verdict) -> Reading {
        Reading {
            verdict,
            declared: None,
            computed: None,
        }
    }

    pub(in crate::storage) fn compare(declared: Option<String>, computed: String) -> Reading {
        let verdict = match &declared {
            None => Verdict::Unsealed,
            Some(declared) if *declared == computed => Verdict::Ok,
            Some(_) => Verdict::Broken,
        };
        Reading {
            verdict,
            declared,
            computed: Some(computed),
        }
    }
}

/// Without the NULs that Gluster pads files with.
pub(in crate::storage) fn without_padding(text: &str) -> &str {
    text.trim_end_matches('\0')
}

/// VDSM 4.3 and older: lines end at LF and CR only, values are stripped and keys are not.
pub(in crate::storage) fn read_as_4_3(text: &str) -> Reading {
    lines_as_4_3(text.split(['\n', '\r']))
}

/// VDSM 4.3 and older on lines that have been split.
pub(in crate::storage) fn lines_as_4_3<'t>(lines: impl Iterator<Item = &'t str>) -> Reading {
    let ascii_blank = [' ', '\t', '\n', '\r', '\u{b}', '\u{c}'];
    let pairs = lines.filter_map(|line| line.split_once('='));
    let mut metadata =
        Metadata::from_pairs(pairs.map(|(key, value)| (key, value.trim_matches(ascii_blank))));
    let declared = metadata.take(CHECKSUM);
    if metadata.is_empty() {
        return Reading::without_digests(Verdict::Empty);
    }
    Reading::compare(declared, seal(&metadata))
}

/// A line script: stripped lines, without blank ones and those that begin with `#`, sorted whole.
pub(in crate::storage) fn read_by_line(text: &str) -> Reading {
    let mut declared = None;
    let mut lines = Vec::new();
    for line in text.split('\n').map(|line| line.trim_matches(is_blank)) {
        let checksum = line
            .strip_prefix(CHECKSUM)
            .and_then(|rest| rest.strip_prefix('='));
        if let Some(checksum) = checksum {
            declared = Some(checksum.to_owned());
        } else if !line.is_empty() && !line.starts_with('#') {
            lines.push(line);
        }
    }
    lines.sort_unstable();
    Reading::compare(declared, digest(&lines.concat()))
}
