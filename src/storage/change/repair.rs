// SPDX-License-Identifier: GPL-2.0-or-later

//! What metadata becomes when it is mended. Nothing is written here.

use std::collections::HashMap;

use crate::props::quoted;
use crate::storage::format::metadata::{CHECKSUM, Metadata, ends_line, is_blank};
use crate::storage::format::reading::Verdict;
use crate::storage::format::seal::write;
use crate::storage::verdict::judge::judge;
use crate::{Error, Result};

/// A way to mend the metadata of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// A right seal, over text as VDSM writes it.
    Seal,
    /// The values that the broken seal was made over, where it proves them.
    Restore,
    /// No data centre owns the domain any more.
    Release,
}

/// Metadata that has been mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The whole file.
    pub text: Vec<u8>,
    /// What is to be told about it: what cannot be known from the file, and what was left out.
    pub notes: Vec<String>,
}

impl Repair {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Repair::Seal => "seal",
            Repair::Restore => "restore",
            Repair::Release => "release",
        }
    }

    /// The way that [`Repair::word`] means.
    pub(super) fn of_word(word: &str) -> Option<Repair> {
        [Repair::Seal, Repair::Restore, Repair::Release]
            .into_iter()
            .find(|mend| mend.word() == word)
    }

    /// Mends the content of a metadata file. It stays as it is where nothing is to be done.
    ///
    /// # Errors
    /// It cannot be mended this way, and which way it can.
    pub fn apply(self, content: &[u8]) -> Result<Repaired> {
        match self {
            Repair::Seal => seal(content),
            Repair::Restore => restore(content),
            Repair::Release => release(content),
        }
    }
}

fn seal(content: &[u8]) -> Result<Repaired> {
    let judgement = judge(Some(content));
    let cause = judgement.cause.unwrap_or_default();
    let text = match judgement.reading.verdict {
        Verdict::Empty => {
            return Err(Error::new(
                "there is no key to seal; expected the metadata, from a copy",
            ));
        }
        _ => std::str::from_utf8(content).map_err(|_| {
            Error::new(format!(
                "not UTF-8, {cause}; cannot tell which character was meant: correct it by hand"
            ))
        })?,
    };
    let mut notes = Vec::new();
    let padding = text.len() - text.trim_end_matches('\0').len();
    if padding > 0 {
        notes.push(format!("{padding} NULs at its end are left out"));
    }
    let unmarked = text.strip_prefix('\u{feff}').unwrap_or(text);
    if unmarked != text {
        notes.push("the byte order mark at the start is left out".to_owned());
    }
    let lines = Lines::from_text(unmarked);
    lines.remark(&mut notes);
    let (metadata, _) = Metadata::read(unmarked.trim_end_matches('\0'));
    let mut bare = Metadata::default();
    for (key, value) in metadata.iter() {
        let trimmed = value.trim_matches(is_blank);
        if trimmed != value {
            notes.push(format!(
                "the blanks around the value of {key} are left out; VDSM 4.3 does not count them, VDSM 4.4 does"
            ));
        }
        if key.starts_with('#') {
            notes.push(format!(
                "{} is not a comment but a key, because of its '=', and stays",
                quoted(key)
            ));
        }
        bare.put(key, trimmed);
    }
    let sealed = write(&bare);
    if sealed.starts_with('\u{feff}') {
        // At the start of the file nobody could tell it from a mark of the file's.
        return Err(Error::new(
            "a key begins with a byte order mark (U+FEFF), expected it without",
        ));
    }
    let was_broken = judgement.reading.verdict == Verdict::Broken;
    let note = match judgement.proved {
        _ if !was_broken => None,
        Some(proved) if write(&proved) == sealed => Some(format!(
            "the values are those that were sealed; cause of the broken seal: {cause}"
        )),
        Some(_) => Some(format!(
            "the values are not those that were sealed, which 'vdsm-hooks domain seal --restore' puts back; cause of the broken seal: {cause}"
        )),
        None => Some(format!(
            "whether the values are as they were meant is not known; likely cause of the broken seal: {cause}"
        )),
    };
    if let Some(note) = note {
        notes.insert(0, note);
    }
    Ok(Repaired {
        text: sealed.into_bytes(),
        notes,
    })
}

/// Puts back what the seal was made over. Only the seal says what that was, so nothing else will do.
fn restore(content: &[u8]) -> Result<Repaired> {
    let judgement = judge(Some(content));
    let verdict = judgement.reading.verdict;
    let cause = judgement.cause.unwrap_or_default();
    match (verdict, judgement.proved) {
        (Verdict::Ok, _) => Ok(Repaired {
            text: content.to_vec(),
            notes: Vec::new(),
        }),
        (Verdict::Broken, Some(proved)) => Ok(Repaired {
            text: write(&proved).into_bytes(),
            notes: vec![format!("the seal proves the values; {cause}")],
        }),
        (Verdict::Broken, None) => Err(Error::new(format!(
            "what was sealed cannot be told from the seal ({cause}); expected the metadata from a copy, or, if the values are right: vdsm-hooks domain seal"
        ))),
        (Verdict::Unsealed, _) => Err(Error::new(
            "there is no seal to tell what the values were; if they are right: vdsm-hooks domain seal",
        )),
        _ => {
            let cause = if cause.is_empty() {
                cause
            } else {
                format!(" ({cause})")
            };
            Err(Error::new(format!(
                "the metadata is {verdict}{cause}, so that no seal fits it; expected the metadata, from a copy"
            )))
        }
    }
}

/// The lines of metadata, with their numbers in an editor.
struct Lines<'t> {
    keys: Vec<(&'t str, Vec<(usize, &'t str)>)>,
    /// Where each key is in `keys`.
    places: HashMap<&'t str, usize>,
    others: Vec<(usize, &'t str)>,
}

impl<'t> Lines<'t> {
    fn from_text(text: &'t str) -> Lines<'t> {
        let mut lines = Lines {
            keys: Vec::new(),
            places: HashMap::new(),
            others: Vec::new(),
        };
        for (number, line) in (1..).zip(text.trim_end_matches('\0').split('\n')) {
            for part in line.split(ends_line) {
                lines.add(number, part);
            }
        }
        lines
    }

    fn add(&mut self, number: usize, line: &'t str) {
        let Some((key, value)) = line.split_once('=') else {
            if !line.trim_matches(is_blank).is_empty() {
                self.others.push((number, line));
            }
            return;
        };
        let key = key.trim_matches(is_blank);
        let place = *self.places.entry(key).or_insert(self.keys.len());
        match self.keys.get_mut(place) {
            Some((_, values)) => values.push((number, value)),
            None => self.keys.push((key, vec![(number, value)])),
        }
    }

    fn remark(&self, notes: &mut Vec<String>) {
        for (number, line) in &self.others {
            notes.push(format!(
                "line {number}, {}, has no '=' and is left out",
                quoted(line)
            ));
        }
        for (key, values) in &self.keys {
            let differ = values.iter().any(|(_, value)| *value != values[0].1);
            if *key == CHECKSUM || !differ {
                continue;
            }
            let places = values.iter();
            let places = places.map(|(number, value)| format!("line {number} {}", quoted(value)));
            notes.push(format!(
                "which {key} was meant is not known: {}; the last one stays, as VDSM reads it",
                places.collect::<Vec<_>>().join(", ")
            ));
        }
    }
}

fn release(content: &[u8]) -> Result<Repaired> {
    let judgement = judge(Some(content));
    let verdict = judgement.reading.verdict;
    if !matches!(verdict, Verdict::Ok | Verdict::Unsealed) {
        let cause = judgement.cause.map(|cause| format!(" ({cause})"));
        let first = match (verdict, judgement.proved) {
            (Verdict::Broken, Some(_)) => "first: vdsm-hooks domain seal --restore",
            (Verdict::Broken, None) => "first: vdsm-hooks domain seal",
            _ => "as from a copy",
        };
        return Err(Error::new(format!(
            "the metadata is {verdict}{}, expected it sound; {first}",
            cause.unwrap_or_default()
        )));
    }
    let mut metadata = judgement.metadata;
    match metadata.get("CLASS") {
        Some("Backup" | "Iso") => {}
        Some("Data") => {
            return Err(Error::new(
                "a data domain, expected an export or ISO domain; the engine itself releases a data domain when it imports it",
            ));
        }
        class => {
            return Err(Error::new(format!(
                "CLASS is {}, expected Backup or Iso",
                quoted(class.unwrap_or_default())
            )));
        }
    }
    let mut notes = Vec::new();
    let pools = metadata.get("POOL_UUID").unwrap_or_default();
    if let several @ 2.. = pools.split(',').count() {
        notes.push(format!(
            "{several} data centres lose the domain, not only one"
        ));
    }
    let mut changed = false;
    for (key, value) in [
        ("POOL_UUID", ""),
        ("MASTER_VERSION", "0"),
        ("ROLE", "Regular"),
    ] {
        if metadata.get(key).is_some_and(|old| old != value) {
            metadata.put(key, value);
            changed = true;
        }
    }
    let text = if changed {
        write(&metadata).into_bytes()
    } else {
        content.to_vec()
    };
    Ok(Repaired { text, notes })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXPORT: &str = include_str!("../../../tests/data/storage/export.metadata");
    const ISO: &str = include_str!("../../../tests/data/storage/iso.metadata");
    const DATA: &str = include_str!("../../../tests/data/storage/nfs-v5.metadata");
    const EXPORT_SEAL: &str = "5737f1270bf93fdd660fea819655b01a34c315b9";
    const POOL: &str = "59c4c3ee-0205-0227-0229-000000000155";

    /// The text and the notes.
    fn mend(mend: Repair, text: &str) -> std::result::Result<(String, Vec<String>), String> {
        let mended = mend.apply(text.as_bytes());
        let mended = mended.map_err(|error| error.to_string())?;
        Ok((String::from_utf8(mended.text).unwrap(), mended.notes))
    }

    #[test]
    fn what_is_whole_stays() {
        for text in [EXPORT, ISO, DATA] {
            assert_eq!(mend(Repair::Seal, text), Ok((text.to_owned(), vec![])));
        }
        for text in [EXPORT, ISO] {
            assert_eq!(mend(Repair::Release, text), Ok((text.to_owned(), vec![])));
        }
    }

    #[test]
    fn sealing() {
        let broken = "the values are those that were sealed; cause of the broken seal: ";
        let cases: Vec<(String, &str, Vec<String>)> = vec![
            (
                EXPORT.replace('\n', "\r\n") + "\0\0",
                EXPORT,
                vec!["2 NULs at its end are left out".to_owned()],
            ),
            (
                EXPORT.replace("ROLE=", " ROLE ="),
                EXPORT,
                vec![],
            ),
            (
                EXPORT.replace("=Export\n", "=Export \n"),
                EXPORT,
                vec![
                    format!("{broken}a stray U+0020 (blank) at the end of the value of DESCRIPTION"),
                    "the blanks around the value of DESCRIPTION are left out; VDSM 4.3 does not count them, VDSM 4.4 does".to_owned(),
                ],
            ),
            (
                format!("\u{feff}{EXPORT}"),
                EXPORT,
                vec![
                    format!("{broken}a byte order mark (U+FEFF) at the start of the file"),
                    "the byte order mark at the start is left out".to_owned(),
                ],
            ),
            (
                EXPORT.replace("ROLE=", "ROLE=Master\nNOTE hello\nROLE="),
                EXPORT,
                vec![
                    "line 12, \"NOTE hello\", has no '=' and is left out".to_owned(),
                    "which ROLE was meant is not known: line 11 \"Master\", line 13 \"Regular\"; the last one stays, as VDSM reads it".to_owned(),
                ],
            ),
            (EXPORT.replace("ROLE=", "VERSION=0\nROLE="), EXPORT, vec![]),
        ];
        for (text, expected, notes) in cases {
            let (sealed, said) = mend(Repair::Seal, &text).unwrap();
            assert_eq!((sealed.as_str(), said), (expected, notes), "{text:?}");
        }
        // A commented line with a '=' is a key for VDSM.
        let (sealed, notes) = mend(Repair::Seal, &EXPORT.replace("_SHA", "#_SHA")).unwrap();
        assert!(
            sealed.ends_with("\n_SHA_CKSUM=7697118614bc404984f602d193fa5fbc90250d23\n"),
            "{sealed}"
        );
        assert_eq!(
            notes,
            ["\"#_SHA_CKSUM\" is not a comment but a key, because of its '=', and stays"]
        );
    }

    /// What is proved comes back to the byte; sealing instead says that it is not that.
    #[test]
    fn restoring() {
        let pool = format!("POOL_UUID={POOL}\n");
        for (edited, cause) in [
            (
                EXPORT.replace("POOL_UUID=\n", &pool),
                format!(
                    "the line of POOL_UUID was edited: it says \"{POOL}\", the seal is that of \"\""
                ),
            ),
            (EXPORT.replace("=Export\n", "=Import\n"), String::new()),
            (
                EXPORT.replace("ROLE=", "OWNER=me\nROLE="),
                "the line \"OWNER=me\" was added after sealing".to_owned(),
            ),
            (
                EXPORT.replace("MASTER_VERSION=0\n", ""),
                "the line MASTER_VERSION=0 has been lost".to_owned(),
            ),
            (
                EXPORT.replace("=Export\n", "=Export \n"),
                "a stray U+0020 (blank) at the end of the value of DESCRIPTION".to_owned(),
            ),
        ] {
            let restored = mend(Repair::Restore, &edited);
            if cause.is_empty() {
                // Two characters at once are more than is tried.
                let error = restored.unwrap_err();
                assert!(
                    error.starts_with(
                        "what was sealed cannot be told from the seal (a line was edited,"
                    ),
                    "{error}"
                );
                continue;
            }
            let note = format!("the seal proves the values; {cause}");
            assert_eq!(restored, Ok((EXPORT.to_owned(), vec![note])));
            let (sealed, notes) = mend(Repair::Seal, &edited).unwrap();
            let proved = if sealed == EXPORT {
                "are those"
            } else {
                "are not those"
            };
            assert!(
                notes[0].starts_with(&format!("the values {proved} that were sealed")),
                "{notes:?}"
            );
        }
        // There is nothing left to do for either.
        for again in [Repair::Restore, Repair::Seal] {
            assert_eq!(mend(again, EXPORT), Ok((EXPORT.to_owned(), vec![])));
        }
    }

    #[test]
    fn what_cannot_be_restored() {
        for (text, said) in [
            (
                EXPORT.replace("_SHA", "#_SHA"),
                "there is no seal to tell what the values were",
            ),
            (
                String::new(),
                "the metadata is empty, so that no seal fits it",
            ),
            (
                EXPORT.replace(EXPORT_SEAL, "x"),
                "what was sealed cannot be told from the seal (_SHA_CKSUM=\"x\" is not a digest",
            ),
        ] {
            let error = mend(Repair::Restore, &text).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
        let error = Repair::Restore.apply(b"A=\xe9").unwrap_err().to_string();
        assert_eq!(
            error,
            "the metadata is not UTF-8 (byte 2, in line 1, is 0xe9), so that no seal fits it; expected the metadata, from a copy"
        );
    }

    #[test]
    fn what_cannot_be_sealed() {
        assert_eq!(
            mend(Repair::Seal, "\n_SHA_CKSUM=x\n"),
            Err("there is no key to seal; expected the metadata, from a copy".to_owned())
        );
        // The mark in the second line would become the start of the file.
        assert_eq!(
            mend(Repair::Seal, "x\n\u{feff}A=1\n"),
            Err("a key begins with a byte order mark (U+FEFF), expected it without".to_owned())
        );
        let error = Repair::Seal.apply(b"A=\xe9").unwrap_err().to_string();
        assert_eq!(
            error,
            "not UTF-8, byte 2, in line 1, is 0xe9; cannot tell which character was meant: correct it by hand"
        );
    }

    #[test]
    fn releasing() {
        let orphan = |text: &str, pools: &str, seal: &str| {
            let (old, _) = text.trim_end().rsplit_once('=').unwrap();
            let attached = old.replace("POOL_UUID=", &format!("POOL_UUID={pools}"));
            format!("{attached}={seal}\n")
        };
        let attached = orphan(EXPORT, POOL, "6e39683f46182b2520a541086f822f0ee0169154");
        assert_eq!(
            mend(Repair::Release, &attached),
            Ok((EXPORT.to_owned(), vec![]))
        );
        let two = format!("{POOL},84fab540-fbf2-11ea-a568-5254002fb5cc");
        let attached_twice = orphan(ISO, &two, "4894731394af5da41be4b7c30fb77efc16d3d4c2");
        assert_eq!(
            mend(Repair::Release, &attached_twice),
            Ok((
                ISO.to_owned(),
                vec!["2 data centres lose the domain, not only one".to_owned()]
            ))
        );
        // Without a seal; and a key that is not there does not appear.
        let (keys, _) = EXPORT.split_once("_SHA_CKSUM").unwrap();
        let bare = keys
            .replace("ROLE=Regular", "ROLE=Master")
            .replace("MASTER_VERSION=0\n", "");
        let (released, _) = mend(Repair::Release, &bare).unwrap();
        assert!(
            released.contains("\nROLE=Regular\n") && !released.contains("MASTER_VERSION"),
            "{released}"
        );
        assert!(
            released.ends_with("=cd5051bb4d79fe9d5fe6772335acf2f388fe09b5\n"),
            "{released}"
        );
    }

    #[test]
    fn what_cannot_be_released() {
        for (text, message) in [
            (
                DATA.to_owned(),
                "a data domain, expected an export or ISO domain; the engine itself releases a data domain when it imports it",
            ),
            (
                "CLASS=data\n".to_owned(),
                "CLASS is \"data\", expected Backup or Iso",
            ),
            ("A=\n".to_owned(), "CLASS is \"\", expected Backup or Iso"),
            (
                EXPORT.replace("ROLE=Regular", "ROLE=Master"),
                "the metadata is broken (the line of ROLE was edited: it says \"Master\", the seal is that of \"Regular\"), expected it sound; first: vdsm-hooks domain seal --restore",
            ),
            (
                EXPORT.replace("nfs_exports", "nothing"),
                "the metadata is broken (a line was edited, or the file damaged, after it was sealed), expected it sound; first: vdsm-hooks domain seal",
            ),
            (
                String::new(),
                "the metadata is empty, expected it sound; as from a copy",
            ),
        ] {
            assert_eq!(mend(Repair::Release, &text), Err(message.to_owned()));
        }
    }

    proptest! {
        /// Whatever is sealed is whole then, for every version of VDSM, and stays as it is.
        #[test]
        fn sealed_text_is_sound(text in "([ #A-C\u{a0}]{0,2}=[ a\u{b}\u{2028}\u{1f}é\0]{0,3}[\r\n]{0,2}){0,6}") {
            if let Ok(mended) = Repair::Seal.apply(text.as_bytes()) {
                let judgement = judge(Some(&mended.text));
                prop_assert_eq!(judgement.reading.verdict, Verdict::Ok);
                let again = Repair::Seal.apply(&mended.text).unwrap();
                prop_assert_eq!(again.text, mended.text);
            }
        }
    }
}
