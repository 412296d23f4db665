// SPDX-License-Identifier: GPL-2.0-or-later

//! The seal: SHA-1 over the metadata's lines, and the text that carries it.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha1::{Digest as _, Sha1};

use super::metadata::{CHECKSUM, Metadata};

/// The seal of `metadata`: 40 lower-case hexadecimal digits.
pub fn seal(metadata: &Metadata) -> String {
    digest(&metadata.lines().collect::<String>())
}

/// The text that VDSM would write: the lines ordered by key, the seal as the last one, each ended
/// by one line feed (VDSM 4.50 lib/vdsm/storage/persistent.py: `PersistentDict._flush`). Reading it gives
/// `metadata` back.
pub fn write(metadata: &Metadata) -> String {
    let mut text = String::new();
    for line in metadata.lines() {
        text += &line;
        text.push('\n');
    }
    let _ = writeln!(text, "{CHECKSUM}={}", seal(metadata));
    text
}

/// SHA-1 over lines that are joined with nothing between them. What is not ASCII counts as the
/// decimal reference `&#NNNN;`, although the file holds UTF-8.
pub(in crate::storage) fn digest(joined: &str) -> String {
    hex(&Sha1::digest(hashed(joined).as_bytes()))
}

/// The text that is hashed for `line`.
pub(in crate::storage) fn hashed(line: &str) -> Cow<'_, str> {
    if line.is_ascii() {
        return Cow::Borrowed(line);
    }
    let mut text = String::with_capacity(line.len() * 2);
    for c in line.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            let _ = write!(text, "&#{};", u32::from(c));
        }
    }
    Cow::Owned(text)
}

/// Bytes as lower-case hexadecimal digits.
pub(in crate::storage) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
