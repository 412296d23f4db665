// SPDX-License-Identifier: GPL-2.0-or-later

//! The metadata of a volume on file storage: its `.meta`.

use super::metadata::{integer, is_blank};
use crate::props::quoted;

/// The most that is read of a `.meta`; VDSM writes 512 bytes at most (VDSM 4.50
/// lib/vdsm/storage/constants.py: `METADATA_SIZE`).
pub const MAX_META_BYTES: u64 = 4096;
/// What the parent of a volume without a parent is called.
pub const NO_PARENT: &str = "00000000-0000-0000-0000-000000000000";
/// Keys that VDSM cannot do without (VDSM 4.50 lib/vdsm/storage/volumemetadata.py: `ATTRIBUTES`).
const NEEDED: [&str; 10] = [
    "CTIME",
    "DESCRIPTION",
    "DISKTYPE",
    "DOMAIN",
    "FORMAT",
    "IMAGE",
    "LEGALITY",
    "PUUID",
    "TYPE",
    "VOLTYPE",
];
const NUMBERS: [&str; 5] = ["CAP", "CTIME", "GEN", "SEQ", "SIZE"];
/// Keys of which the values are known, and those (of DISKTYPE VDSM 4.50
/// lib/vdsm/storage/constants.py: `VOL_DISKTYPE`, with what it reads from old engines).
const WORDS: [(&str, &[&str]); 5] = [
    (
        "DISKTYPE",
        &[
            "DATA", "ISOF", "MEMD", "MEMM", "OVFS", "HEVD", "HESD", "HEMD", "HECI", "SCRD", "1",
            "2",
        ],
    ),
    ("FORMAT", &["RAW", "COW"]),
    ("LEGALITY", &["LEGAL", "ILLEGAL", "FAKE"]),
    ("TYPE", &["SPARSE", "PREALLOCATED", "UNKNOWN"]),
    ("VOLTYPE", &["LEAF", "INTERNAL", "SHARED"]),
];

/// What a `.meta` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    values: Vec<(String, String)>,
    /// Why VDSM could not read it, or would be misled.
    pub problems: Vec<String>,
}

impl Volume {
    /// Reads the text as VDSM does: lines up to the one that begins with `EOF`, without the blanks
    /// around key and value (VDSM 4.50 lib/vdsm/storage/volumemetadata.py: `_lines_to_dict`).
    pub fn read(content: &[u8]) -> Volume {
        let mut volume = Volume::default();
        let padding = content.iter().rev().take_while(|byte| **byte == 0).count();
        let lines = content[..content.len() - padding].split(|byte| matches!(byte, b'\n' | b'\r'));
        let mut ended = false;
        for line in lines {
            if line.starts_with(b"EOF") {
                ended = true;
                break;
            }
            let Ok(line) = std::str::from_utf8(line) else {
                let line = String::from_utf8_lossy(line);
                volume
                    .problems
                    .push(format!("the line {} is not UTF-8", quoted(&line)));
                continue;
            };
            if let Some((left, right)) = line.split_once('=') {
                let [key, value] = [left, right].map(|text| text.trim_matches(is_blank).to_owned());
                volume.values.retain(|(known, _)| *known != key);
                volume.values.push((key, value));
            }
        }
        volume.judge();
        if !ended {
            volume
                .problems
                .push("there is no line EOF, so it may be cut off".to_owned());
        }
        volume
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        let member = self.values.iter().find(|(known, _)| known == key);
        member.map(|(_, value)| value.as_str())
    }

    /// The virtual size in bytes, from CAP, or from SIZE as older versions write it.
    pub fn capacity(&self) -> Option<u64> {
        let number = |key| self.get(key).and_then(integer);
        let bytes = match self.get("CAP") {
            Some(_) => number("CAP"),
            None => number("SIZE").and_then(|sectors| sectors.checked_mul(512)),
        };
        bytes.and_then(|bytes| u64::try_from(bytes).ok())
    }

    /// The parent, none if the volume has none.
    pub fn parent(&self) -> Option<&str> {
        self.get("PUUID").filter(|parent| *parent != NO_PARENT)
    }

    fn judge(&mut self) {
        if self.get("NONE").is_some() {
            self.problems
                .push("it is cleared, as of a deleted volume".to_owned());
            return;
        }
        let mut problems = Vec::new();
        let missing: Vec<&str> = NEEDED
            .into_iter()
            .filter(|key| self.get(key).is_none())
            .chain((self.get("CAP").or(self.get("SIZE")).is_none()).then_some("CAP"))
            .collect();
        if !missing.is_empty() {
            problems.push(format!("it lacks {}", missing.join(", ")));
        }
        for key in NUMBERS {
            if let Some(text) = self.get(key).filter(|text| integer(text).is_none()) {
                problems.push(format!("{key}={} is not a whole number", quoted(text)));
            }
        }
        for (key, known) in WORDS {
            if let Some(word) = self.get(key).filter(|word| !known.contains(word)) {
                let known = known.join(", ");
                problems.push(format!("{key}={}, expected one of {known}", quoted(word)));
            }
        }
        self.problems.append(&mut problems);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V4: &str = include_str!("../../../tests/data/storage/volume-v4.meta");
    const V5: &str = include_str!("../../../tests/data/storage/volume-v5.meta");

    #[test]
    fn the_examples() {
        for text in [V4, V5] {
            assert_eq!(text.len(), 303);
            let volume = Volume::read(text.as_bytes());
            assert_eq!(volume.problems, [""; 0]);
            assert_eq!(volume.capacity(), Some(10_737_418_240));
            assert_eq!(volume.parent(), None);
            assert_eq!(volume.get("FORMAT"), Some("COW"));
        }
    }

    #[test]
    fn what_vdsm_reads() {
        let v5 = |from: &str, to: &str| V5.replace(from, to);
        let rows: Vec<(String, Vec<&str>)> = vec![
            (V5.to_owned() + "\0\0\0", vec![]),
            (v5("\n", "\r\n"), vec![]),
            (v5("FORMAT=COW", " FORMAT = COW "), vec![]),
            (v5("GEN=0\n", "").replace("SEQ=1\n", ""), vec![]),
            (v5("EOF\n", "EOF\nCAP=x\nno"), vec![]),
            (v5("EOF\n", "EOFX"), vec![]),
            (v5("GEN=0", "no key"), vec![]),
            (
                V5.replace("CAP=10737418240", "CAP=10737418240\nSIZE=1"),
                vec![],
            ),
            (
                v5("EOF\n", ""),
                vec!["there is no line EOF, so it may be cut off"],
            ),
            (v5("CAP=10737418240\n", ""), vec!["it lacks CAP"]),
            (v5("IMAGE=", "IMAG="), vec!["it lacks IMAGE"]),
            (
                v5("SEQ=1", "SEQ=x"),
                vec!["SEQ=\"x\" is not a whole number"],
            ),
            (
                v5("FORMAT=COW", "FORMAT=QCOW"),
                vec!["FORMAT=\"QCOW\", expected one of RAW, COW"],
            ),
            (
                "NONE=###\nEOF\n".to_owned(),
                vec!["it is cleared, as of a deleted volume"],
            ),
            (
                String::new(),
                vec![
                    "it lacks CTIME, DESCRIPTION, DISKTYPE, DOMAIN, FORMAT, IMAGE, LEGALITY, PUUID, TYPE, VOLTYPE, CAP",
                    "there is no line EOF, so it may be cut off",
                ],
            ),
        ];
        for (text, problems) in rows {
            assert_eq!(Volume::read(text.as_bytes()).problems, problems, "{text}");
        }
        // A line that is not UTF-8 does not keep the others from being read.
        let latin1 = [b"X=\xe9\n", V5.as_bytes()].concat();
        let volume = Volume::read(&latin1);
        assert_eq!(volume.problems, ["the line \"X=\u{fffd}\" is not UTF-8"]);
        assert_eq!(volume.capacity(), Some(10_737_418_240));
        let parent = Volume::read(v5("PUUID=0", "PUUID=1").as_bytes());
        assert_eq!(
            parent.parent(),
            Some("10000000-0000-0000-0000-000000000000")
        );
        let both = v5("CAP=10737418240", "CAP=512\nSIZE=7");
        assert_eq!(Volume::read(both.as_bytes()).capacity(), Some(512));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            Volume::read(&bytes).capacity();
        }
    }
}
