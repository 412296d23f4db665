// SPDX-License-Identifier: GPL-2.0-or-later

//! The verdict on a metadata file: VDSM 4.4 and later decide, and where older readers would say
//! otherwise that is worth knowing.

use super::cause;
use crate::storage::format::metadata::Metadata;
use crate::storage::format::reading::{
    Reader, Reading, Verdict, read_as_4_3, read_by_line, without_padding,
};
use crate::storage::format::seal::seal;

/// The verdict on a file and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What VDSM 4.4 and later make of the file.
    pub reading: Reading,
    /// The keys, as far as they can be read.
    pub metadata: Metadata,
    /// Why the seal does not fit, or which byte is not UTF-8, in words.
    pub cause: Option<String>,
    /// The keys that a broken seal was made over, where it proves them.
    pub proved: Option<Metadata>,
    /// What other readers make of the file, where they differ.
    pub others: Vec<(Reader, Reading)>,
}

/// Judges the content of a metadata file; none means that there is no file.
pub fn judge(content: Option<&[u8]>) -> Judgement {
    let Some(content) = content else {
        return Judgement {
            reading: Reading::without_digests(Verdict::Missing),
            metadata: Metadata::default(),
            cause: None,
            proved: None,
            others: Vec::new(),
        };
    };
    let Ok(text) = std::str::from_utf8(content) else {
        return not_utf8(content);
    };
    let (metadata, declared) = Metadata::read(without_padding(text));
    judged(text, metadata, declared, || {
        vec![
            (Reader::Vdsm43, read_as_4_3(text)),
            (Reader::LineScript, read_by_line(text)),
        ]
    })
}

/// The verdict on what was read from `text`, and from whatever `others` read.
pub(super) fn judged(
    text: &str,
    metadata: Metadata,
    declared: Option<String>,
    others: impl FnOnce() -> Vec<(Reader, Reading)>,
) -> Judgement {
    let mut others = others();
    if metadata.is_empty() {
        // Whether what is no metadata should have a seal is nobody's care; that a seal is there and
        // called wrong is worth knowing.
        others.retain(|(_, other)| other.verdict == Verdict::Broken);
        return Judgement {
            reading: Reading::without_digests(Verdict::Empty),
            metadata,
            cause: None,
            proved: None,
            others,
        };
    }
    let reading = Reading::compare(declared, seal(&metadata));
    let cause = match (&reading.declared, &reading.computed) {
        (Some(seal), Some(computed)) if reading.verdict == Verdict::Broken => {
            Some(cause::of_broken(text, &metadata, seal, computed))
        }
        _ => None,
    };
    others.retain(|(_, other)| {
        other.verdict != reading.verdict || other.computed != reading.computed
    });
    let (cause, proved) = cause.map(|cause| (cause.words, cause.proved)).unzip();
    Judgement {
        reading,
        metadata,
        cause,
        proved: proved.flatten(),
        others,
    }
}

/// The seal that `reader` computes for the text of a metadata file.
pub fn checksum(text: &str, reader: Reader) -> String {
    let computed = match reader {
        Reader::Vdsm44 => None,
        Reader::Vdsm43 => read_as_4_3(text).computed,
        Reader::LineScript => read_by_line(text).computed,
    };
    // The old reader too takes a text without keys for the map that it is.
    computed.unwrap_or_else(|| seal(&Metadata::read(without_padding(text)).0))
}

fn not_utf8(content: &[u8]) -> Judgement {
    // Good enough to name the domain.
    let readable = String::from_utf8_lossy(content);
    let at = std::str::from_utf8(content)
        .err()
        .map_or(0, |error| error.valid_up_to());
    let line = 1 + content[..at].iter().filter(|byte| **byte == b'\n').count();
    Judgement {
        reading: Reading::without_digests(Verdict::NotUtf8),
        metadata: Metadata::read(&readable).0,
        cause: Some(format!(
            "byte {at}, in line {line}, is 0x{:02x}",
            content[at]
        )),
        proved: None,
        others: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
