// SPDX-License-Identifier: GPL-2.0-or-later

//! A domain's metadata as keys and values, read by VDSM's rules (VDSM 4.50
//! lib/vdsm/storage/persistent.py: `_parse_lines`).

use crate::{Error, Result, props};

/// The file of a domain, below its directory, that holds the metadata.
pub const METADATA_FILE: &str = "dom_md/metadata";
/// The key of the line that carries the seal. It is none of the metadata's keys.
pub(in crate::storage) const CHECKSUM: &str = "_SHA_CKSUM";
/// The most that is read of a metadata file. VDSM reads all of it (VDSM 4.50
/// lib/vdsm/storage/fileSD.py: `FileMetadataRW.readlines`); a domain has about 500 bytes, and what
/// Gluster or a bad copy has padded with NULs is its text all the same. Of more nobody has heard, and
/// it would not fit into a child's answer.
pub(in crate::storage) const MAX_METADATA_BYTES: u64 = 8 << 20;

/// Keys and values, ordered by key as the seal wants them (code points; the same as UTF-8 bytes).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    values: Vec<(String, String)>,
}

impl Metadata {
    /// Reads `text` as VDSM 4.4 and later do. Beside the keys it returns the declared seal, if a line
    /// carries one.
    pub fn read(text: &str) -> (Metadata, Option<String>) {
        Metadata::from_lines(text.split(ends_line))
    }

    /// Reads lines that somebody else has split: a line without `=` is dropped, blanks around the
    /// key too, the value stays as it is, and of two lines with one key the later one counts.
    pub fn from_lines<'t>(lines: impl IntoIterator<Item = &'t str>) -> (Metadata, Option<String>) {
        let pairs = lines.into_iter().filter_map(|line| line.split_once('='));
        let mut metadata =
            Metadata::from_pairs(pairs.map(|(key, value)| (key.trim_matches(is_blank), value)));
        let declared = metadata.take(CHECKSUM);
        (metadata, declared)
    }

    /// Keys and values in the order in which they stand: of two with one key the later one counts.
    /// A file of whatever may have very many.
    pub(super) fn from_pairs<'t>(pairs: impl Iterator<Item = (&'t str, &'t str)>) -> Metadata {
        let mut pairs: Vec<(&str, &str)> = pairs.collect();
        // Those with one key stay in their order.
        pairs.sort_by_key(|(key, _)| *key);
        let mut values: Vec<(String, String)> = Vec::with_capacity(pairs.len());
        for (number, (key, value)) in pairs.iter().enumerate() {
            let next = pairs.get(number + 1).map(|(next, _)| next);
            if next != Some(key) {
                values.push(((*key).to_owned(), (*value).to_owned()));
            }
        }
        Metadata { values }
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.find(key).ok()?;
        Some(self.values[at].1.as_str())
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// VDSM would not read the line back as it was written: a character that ends a line, a `=` or
    /// an outer blank in the key, or the key of the seal.
    pub fn set(&mut self, key: &str, value: &str) -> Result {
        if key == CHECKSUM {
            return Err(Error::new(format!(
                "{CHECKSUM} is the seal's own line, not a key"
            )));
        }
        if key.contains('=') || key.trim_matches(is_blank) != key {
            return Err(Error::new(format!(
                "the key {}: expected one without '=' and without blanks around it",
                props::quoted(key)
            )));
        }
        if let Some(c) = key.chars().chain(value.chars()).find(|c| ends_line(*c)) {
            return Err(props::wrong(
                key,
                value,
                format!("{} would split the line", code_point(c)),
            ));
        }
        self.put(key, value);
        Ok(())
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The lines that the seal is made over.
    pub(in crate::storage) fn lines(&self) -> impl Iterator<Item = String> {
        self.iter().map(|(key, value)| format!("{key}={value}"))
    }

    /// The same with `key` as `value`, or without `key`. For trying what the seal was made over,
    /// so nothing is checked.
    pub(in crate::storage) fn with(&self, key: &str, value: Option<String>) -> Metadata {
        let mut other = self.clone();
        match value {
            Some(value) => other.put(key, &value),
            None => other.take(key),
        };
        other
    }

    /// Where `key` is, or would be.
    fn find(&self, key: &str) -> std::result::Result<usize, usize> {
        self.values
            .binary_search_by(|(other, _)| other.as_str().cmp(key))
    }

    /// Sets `key` without a check; gives the value that it had.
    pub(in crate::storage) fn put(&mut self, key: &str, value: &str) -> Option<String> {
        match self.find(key) {
            Ok(at) => Some(std::mem::replace(&mut self.values[at].1, value.to_owned())),
            Err(at) => {
                self.values.insert(at, (key.to_owned(), value.to_owned()));
                None
            }
        }
    }

    /// Removes `key`; gives the value that it had.
    pub(super) fn take(&mut self, key: &str) -> Option<String> {
        let at = self.find(key).ok()?;
        Some(self.values.remove(at).1)
    }
}

/// Where VDSM 4.4 and later end a line: Python's `str.splitlines` (VDSM 4.50
/// lib/vdsm/storage/fileSD.py: `FileMetadataRW.readlines`). CR LF ends two, the second of
/// which is empty and dropped.
pub(in crate::storage) fn ends_line(c: char) -> bool {
    c == '\n' || c == '\r' || splits_line(c)
}

/// What ends a line for VDSM 4.4 and later, and for nobody else.
pub(in crate::storage) fn splits_line(c: char) -> bool {
    matches!(
        c,
        '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

/// What Python's `str.strip` takes for a blank: Unicode's white space and four separators.
pub(in crate::storage) fn is_blank(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// A character by its number, for messages: it is one that cannot be seen.
pub(in crate::storage) fn code_point(c: char) -> String {
    let name = match c {
        ' ' => " (blank)",
        '\t' => " (tab)",
        '\u{b}' => " (vertical tab)",
        '\u{c}' => " (form feed)",
        '\r' => " (carriage return)",
        '\u{85}' => " (next line)",
        '\u{a0}' => " (no-break space)",
        '\u{2028}' => " (line separator)",
        '\u{2029}' => " (paragraph separator)",
        _ => "",
    };
    format!("U+{:04X}{name}", u32::from(c))
}

/// A decimal number as Python's `int()` reads it: a sign and blanks around it are allowed.
pub(in crate::storage) fn integer(text: &str) -> Option<i64> {
    text.trim_matches(is_blank).parse().ok()
}
