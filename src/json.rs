// SPDX-License-Identifier: GPL-2.0-or-later

//! JSON documents as VDSM writes them.

use std::fmt::Write as _;

use serde_json::Value;

use crate::Result;

/// `value` as pure ASCII, the way VDSM writes its data files: whatever the locale of the next
/// reader, the text means the same.
///
/// # Errors
/// None in practice; the library's signature has one.
pub fn to_ascii(value: &Value) -> Result<String> {
    let text = serde_json::to_string(value)?;
    if text.is_ascii() {
        return Ok(text);
    }
    let mut ascii = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_ascii() {
            ascii.push(c);
            continue;
        }
        // Above U+FFFF JSON needs two escapes, a surrogate pair. A character outside ASCII stands
        // inside a string, always, so an escape is right wherever it comes.
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(ascii, "\\u{unit:04x}")?;
        }
    }
    Ok(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_numbers_keep_their_spelling() {
        for text in [
            r#"{"z":1,"a":[1.50,12345678901234567890123,-0.0,1e+400],"n":null}"#,
            r#"{"name":"\u751f\ud83d\ude80","x":"a/b"}"#,
        ] {
            let value: Value = serde_json::from_str(text).unwrap_or_default();
            assert_eq!(to_ascii(&value), Ok(text.to_owned()));
        }
    }
}
