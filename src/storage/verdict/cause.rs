// SPDX-License-Identifier: GPL-2.0-or-later

//! Why a seal does not fit: found by trying what the seal would fit, not by guessing.

use sha1::{Digest as _, Sha1};

use super::findings::USUAL;
use crate::props;
use crate::storage::format::metadata::{
    CHECKSUM, Metadata, code_point, ends_line, is_blank, splits_line,
};
use crate::storage::format::reading::{Verdict, read_as_4_3, read_by_line, without_padding};
use crate::storage::format::seal::{digest, hashed, hex, seal, write};

/// Metadata has about 500 bytes. Trying takes time that grows with the square of the size.
const MAX_TRIED_BYTES: usize = 8 << 10;
/// The same for every other character in every place, which is a hundred times as many: a broken
/// seal is told within the hook's deadline.
const MAX_TRIED_BY_CHARACTER_BYTES: usize = 1 << 10;

/// Why a seal does not fit.
#[derive(Debug)]
pub(super) struct Reason {
    /// The likely cause in words.
    pub(super) words: String,
    /// The keys that the seal was made over, where trying has found them: the seal is the proof. None
    /// too if VDSM would not read them back as they are.
    pub(super) proved: Option<Metadata>,
}

impl Reason {
    /// One that says nothing about what was sealed.
    fn known(words: impl Into<String>) -> Reason {
        Reason {
            words: words.into(),
            proved: None,
        }
    }

    /// One that was found because the seal fits these keys.
    fn proved(words: impl Into<String>, metadata: Metadata) -> Reason {
        let read_back = Metadata::read(&write(&metadata)).0;
        Reason {
            words: words.into(),
            proved: (read_back == metadata).then_some(metadata),
        }
    }
}

/// The likely cause. `text` is the whole file and `metadata` what was read from it.
pub(super) fn of_broken(text: &str, metadata: &Metadata, declared: &str, computed: &str) -> Reason {
    let trimmed = declared.trim_matches(is_blank);
    if trimmed == computed {
        return Reason::proved("a stray blank beside the digest", metadata.clone());
    }
    if trimmed.eq_ignore_ascii_case(computed) {
        return Reason::proved("the digest is written in upper case", metadata.clone());
    }
    if trimmed.len() != 40 || !trimmed.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Reason::known(format!(
            "{CHECKSUM}={} is not a digest of 40 hexadecimal digits",
            props::quoted(declared)
        ));
    }
    let splitting = splitting(text);
    if text.len() > MAX_TRIED_BYTES {
        return splitting.map_or_else(unknown, |(words, _)| Reason::known(words));
    }
    let sealed = Sealed {
        text: without_padding(text),
        metadata,
        digest: &trimmed.to_ascii_lowercase(),
    };
    sealed
        .byte_order_mark()
        .or_else(|| {
            let (words, without) = splitting.as_ref()?;
            let joined = Metadata::read(without).0;
            if sealed.over(&joined) {
                return Some(Reason::proved(words, joined));
            }
            sealed.over_other_lines().then(|| Reason::known(words))
        })
        .or_else(|| sealed.blanks())
        .or_else(|| sealed.added_line())
        .or_else(|| sealed.repeated_key())
        .or_else(|| sealed.other_rules())
        .or_else(|| sealed.usual_value())
        .or_else(|| match text.len() {
            0..=MAX_TRIED_BY_CHARACTER_BYTES => sealed.one_character(),
            _ => None,
        })
        .or_else(|| {
            // A file may well end its lines with CR alone, and one with the others by accident.
            let (words, _) = splitting.filter(|_| text.contains(splits_line))?;
            Some(Reason::known(format!("{words}, or an edited line")))
        })
        .unwrap_or_else(unknown)
}

fn unknown() -> Reason {
    Reason::known("a line was edited, or the file damaged, after it was sealed")
}

/// Names the first character that splits a line for the judge alone, and gives the text without
/// any of them.
fn splitting(text: &str) -> Option<(String, String)> {
    let lone = |at: usize| !text[at + 1..].starts_with('\n');
    let (at, c) = text
        .char_indices()
        .find(|(at, c)| splits_line(*c) || (*c == '\r' && lone(*at)))?;
    let line = text[..at].rsplit(['\n', '\r']).next().unwrap_or_default();
    let place = match line.split_once('=') {
        Some((key, _)) => props::quoted(key.trim_matches(is_blank)),
        None => format!("line {}", 1 + text[..at].matches('\n').count()),
    };
    let words = format!(
        "{} in {} splits the line{}",
        code_point(c),
        place.trim_matches('"'),
        if c == '\r' {
            ""
        } else {
            " for VDSM 4.4 and later"
        }
    );
    Some((words, text.replace(splits_line, "")))
}

/// A file, and the digest that it should fit.
struct Sealed<'t> {
    text: &'t str,
    metadata: &'t Metadata,
    digest: &'t str,
}

impl Sealed<'_> {
    fn over(&self, metadata: &Metadata) -> bool {
        seal(metadata) == self.digest
    }

    /// The cause in words, if the seal is that of `metadata`.
    fn proves(&self, metadata: Metadata, words: impl FnOnce() -> String) -> Option<Reason> {
        self.over(&metadata)
            .then(|| Reason::proved(words(), metadata))
    }

    fn byte_order_mark(&self) -> Option<Reason> {
        let rest = self.text.strip_prefix('\u{feff}')?;
        self.proves(Metadata::read(rest).0, || {
            "a byte order mark (U+FEFF) at the start of the file".to_owned()
        })
    }

    /// Sealed over lines that end at LF (and CR) only.
    fn over_other_lines(&self) -> bool {
        let ends: [&[char]; 2] = [&['\n', '\r'], &['\n']];
        ends.iter()
            .any(|ends| self.over(&Metadata::from_lines(self.text.split(*ends)).0))
    }

    /// Sealed over values without the blanks around them, or over one with a blank at its end.
    fn blanks(&self) -> Option<Reason> {
        let padded: Vec<(&str, &str)> = self
            .metadata
            .iter()
            .filter(|(_, value)| value.trim_matches(is_blank) != *value)
            .collect();
        let bare = |value: &str| Some(value.trim_matches(is_blank).to_owned());
        let stripped = padded
            .iter()
            .fold(self.metadata.clone(), |metadata, (key, value)| {
                metadata.with(key, bare(value))
            });
        let places = || {
            let places = padded.iter().map(|(key, value)| place(key, value));
            places.collect::<Vec<_>>().join(" and ")
        };
        let all = (!padded.is_empty()).then(|| self.proves(stripped, places));
        all.flatten()
            .or_else(|| {
                padded.iter().find_map(|(key, value)| {
                    self.proves(self.metadata.with(key, bare(value)), || place(key, value))
                })
            })
            .or_else(|| {
                self.metadata.iter().find_map(|(key, value)| {
                    self.proves(self.metadata.with(key, Some(format!("{value} "))), || {
                        format!("the value of {key} has lost the blank at its end")
                    })
                })
            })
    }

    /// Sealed without one of the lines, or without those that look like comments.
    fn added_line(&self) -> Option<Reason> {
        let is_comment = |key: &str| key.starts_with(['#', ';']);
        let comments: Vec<_> = self
            .metadata
            .iter()
            .filter(|(key, _)| is_comment(key))
            .collect();
        let bare = comments
            .iter()
            .fold(self.metadata.clone(), |metadata, (key, _)| {
                metadata.with(key, None)
            });
        let line = |key: &str, value: &str| props::quoted(&format!("{key}={value}"));
        let comment = comments.first().and_then(|(key, value)| {
            self.proves(bare, || {
                format!(
                    "the line {} is not a comment for VDSM: a line with '=' counts",
                    line(key, value)
                )
            })
        });
        comment.or_else(|| {
            self.metadata.iter().find_map(|(key, value)| {
                self.proves(self.metadata.with(key, None), || {
                    format!("the line {} was added after sealing", line(key, value))
                })
            })
        })
    }

    /// Sealed over an earlier one of several lines with the same key.
    fn repeated_key(&self) -> Option<Reason> {
        let mut seen = Metadata::default();
        for line in self.text.split(ends_line) {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let key = key.trim_matches(is_blank);
            let Some(earlier) = seen.put(key, value) else {
                continue;
            };
            if key == CHECKSUM {
                continue;
            }
            let cause = self.proves(self.metadata.with(key, Some(earlier)), || {
                format!("{key} stands there twice, and the later line counts")
            });
            if cause.is_some() {
                return cause;
            }
        }
        None
    }

    /// Sealed over the right lines in a wrong way.
    fn other_rules(&self) -> Option<Reason> {
        let lines: Vec<String> = self.metadata.lines().collect();
        let mut whole: Vec<&str> = lines.iter().map(String::as_str).collect();
        whole.sort_unstable();
        let in_file: Vec<&str> = self
            .text
            .split(ends_line)
            .filter(|line| line.contains('=') && !line.starts_with(CHECKSUM))
            .collect();
        let fits = |digest: String| digest == self.digest;
        let with_ends = lines.join("\n") + "\n";
        let file_with_ends = in_file.join("\n") + "\n";
        let older = read_as_4_3(self.text).verdict == Verdict::Ok;
        let script = read_by_line(self.text).verdict == Verdict::Ok;
        let made = if fits(digest(&whole.concat())) {
            "over lines sorted as a whole, not by their key"
        } else if fits(digest(&with_ends)) || fits(digest(&file_with_ends)) {
            "over the line ends too"
        } else if fits(digest(&in_file.concat())) {
            "over the lines in the order of the file, not sorted"
        } else if fits(hex(&Sha1::digest(lines.concat().as_bytes()))) {
            "over UTF-8 and not over character references"
        } else if older {
            "by the rules of VDSM 4.3 and older"
        } else if script {
            "by a script that works line by line"
        } else {
            return None;
        };
        Some(Reason::known(format!("the digest was made {made}")))
    }

    /// Sealed while one key had another of its usual values.
    fn usual_value(&self) -> Option<Reason> {
        let candidates = USUAL
            .iter()
            .flat_map(|(key, values)| values.iter().map(move |value| (*key, *value)));
        candidates.into_iter().find_map(|(key, value)| {
            let then = self.metadata.with(key, Some(value.to_owned()));
            self.proves(then, || match self.metadata.get(key) {
                None => format!("the line {key}={value} has been lost"),
                Some(now) => edited(key, now, value),
            })
        })
    }

    /// Sealed while one value had one character more, less, or another one.
    fn one_character(&self) -> Option<Reason> {
        let lines: Vec<String> = self.metadata.lines().collect();
        let mut before = Sha1::new();
        for (number, (key, value)) in self.metadata.iter().enumerate() {
            let after = lines[number + 1..].concat();
            let fits = |candidate: &str| {
                let mut sha = before.clone();
                sha.update(hashed(&format!("{key}={candidate}")).as_bytes());
                sha.update(hashed(&after).as_bytes());
                hex(&sha.finalize()) == self.digest
            };
            if let Some(then) = neighbours(value).find(|candidate| fits(candidate)) {
                let words = edited(key, value, &then);
                return Some(Reason::proved(words, self.metadata.with(key, Some(then))));
            }
            before.update(hashed(&lines[number]).as_bytes());
        }
        None
    }
}

/// Every text that differs from `value` by one character that a keyboard has.
fn neighbours(value: &str) -> impl Iterator<Item = String> {
    let ends = value
        .char_indices()
        .map(|(at, c)| (at, at + c.len_utf8()))
        .chain([(value.len(), value.len())]);
    ends.flat_map(move |(start, end)| {
        let (before, c, after) = (&value[..start], &value[start..end], &value[end..]);
        let without = [format!("{before}{after}")];
        without
            .into_iter()
            .chain((' '..='~').flat_map(move |other| {
                [
                    format!("{before}{other}{after}"),
                    format!("{before}{other}{c}{after}"),
                ]
            }))
    })
}

fn place(key: &str, value: &str) -> String {
    let first = value.chars().next().filter(|c| is_blank(*c));
    let last = value.chars().next_back().filter(|c| is_blank(*c));
    match (first, last) {
        (Some(c), _) => format!("a stray {} after {key}=", code_point(c)),
        (None, last) => format!(
            "a stray {} at the end of the value of {key}",
            code_point(last.unwrap_or(' '))
        ),
    }
}

fn edited(key: &str, now: &str, then: &str) -> String {
    format!(
        "the line of {key} was edited: it says {}, the seal is that of {}",
        props::quoted(now),
        props::quoted(then)
    )
}
