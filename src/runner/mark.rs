// SPDX-License-Identifier: GPL-2.0-or-later

//! How the suite's own files are told from all others on a host: programs have a sentence in their
//! help, texts have it as their last line. Where an administrator may change something, a checksum
//! is beside it: a file that was changed is his.
//!
//! Files that earlier releases have installed are told in the same way.

/// In the help of every program, and in the last line of every other file.
pub const MARK: &str = "Part of vdsm-hooks";

/// What is before and after a comment.
#[derive(Debug, Clone, Copy)]
pub struct Comment(pub &'static str, pub &'static str);

impl Comment {
    /// Of shells, sudoers and settings.
    pub const HASH: Comment = Comment("# ", "");
    /// Of XML and Markdown.
    pub const ANGLE: Comment = Comment("<!-- ", " -->");
    /// Of manual pages.
    pub const ROFF: Comment = Comment(".\\\" ", "");

    fn line(self, words: &str) -> String {
        format!("{}{words}{}\n", self.0, self.1)
    }
}

/// The text, with the mark in a last line.
pub fn marked(text: &[u8], comment: Comment) -> Vec<u8> {
    [text, comment.line(MARK).as_bytes()].concat()
}

/// The text, with the mark and a checksum in a last line.
pub fn sealed(text: &[u8]) -> Vec<u8> {
    [text, seal(text).as_bytes()].concat()
}

/// The last line of a text with these lines above.
fn seal(above: &[u8]) -> String {
    let comment = match above.first() {
        Some(b'<') => Comment::ANGLE,
        _ => Comment::HASH,
    };
    comment.line(&format!("{MARK}, checksum {}", checksum(above)))
}

/// Whether a text has the mark.
pub fn has_mark(text: &[u8]) -> bool {
    contains(text, MARK.as_bytes())
}

/// Whether a text was once [`sealed`], whatever has become of it.
pub fn was_sealed(text: &[u8]) -> bool {
    contains(text, format!("{MARK}, checksum").as_bytes())
}

/// Whether a text is as some release has [`sealed`] it.
pub fn is_unchanged(text: &[u8]) -> bool {
    let lines = text.strip_suffix(b"\n").unwrap_or(text);
    let above = match lines.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => &text[..=end],
        None => &[],
    };
    text[above.len()..] == *seal(above).as_bytes()
}

fn contains(text: &[u8], words: &[u8]) -> bool {
    find(text, words).is_some()
}

/// Where words begin in a text: after Horspool, which looks at one byte in as many as the words have.
pub fn find(text: &[u8], words: &[u8]) -> Option<usize> {
    let last = words.len().checked_sub(1)?;
    let mut steps = [words.len(); 256];
    for (at, byte) in words[..last].iter().enumerate() {
        steps[usize::from(*byte)] = last - at;
    }
    let mut at = 0;
    while let Some(window) = text.get(at..at + words.len()) {
        if window == words {
            return Some(at);
        }
        at += steps[usize::from(window[last])];
    }
    None
}

/// POSIX cksum, with a dash between the sum and the length, as installers written in shell made it.
fn checksum(text: &[u8]) -> String {
    let length = text.len().to_le_bytes();
    let used = length.iter().rposition(|byte| *byte != 0);
    let length = &length[..used.map_or(0, |last| last + 1)];
    let mut sum = 0_u32;
    for byte in text.iter().chain(length) {
        sum ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            let carry = sum & 0x8000_0000 != 0;
            sum <<= 1;
            if carry {
                sum ^= 0x04c1_1db7;
            }
        }
    }
    format!("{}-{}", !sum, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_cksum() {
        // What 'cksum | tr " " -' says of them, GNU coreutils 9.1.
        assert_eq!(checksum(b""), "4294967295-0");
        assert_eq!(checksum(b"123456789"), "930766865-9");
        assert_eq!(checksum(&[b'x'; 70_000]), "4215398528-70000");
    }

    #[test]
    fn words_are_found_where_they_begin() {
        let text = b"Part of vdsm-hookPart of vdsm-hooksPart of vdsm-hooks";
        assert_eq!(find(text, MARK.as_bytes()), Some(17));
        for (words, place) in [
            (&b"P"[..], Some(0)),
            (b"s", Some(10)),
            (b"kP", Some(16)),
            (b"hookss", None),
            (text, Some(0)),
            (b"", None),
        ] {
            assert_eq!(find(text, words), place, "{words:?}");
        }
        // Wherever the words are, and whatever is around them.
        for start in 0..64 {
            for end in 0..20 {
                let mut around = vec![b's'; start];
                around.extend_from_slice(MARK.as_bytes());
                around.resize(around.len() + end, b'o');
                assert_eq!(find(&around, MARK.as_bytes()), Some(start));
                assert_eq!(
                    find(&around[..start + MARK.len() - 1], MARK.as_bytes()),
                    None
                );
            }
        }
        assert_eq!(find(b"", b"x"), None);
    }

    #[test]
    fn a_sealed_text_is_known_until_it_is_changed() {
        for text in ["d /run/vdsm\n", "<filter/>\n", "", "\n"] {
            let whole = sealed(text.as_bytes());
            assert!(is_unchanged(&whole) && was_sealed(&whole), "{text:?}");
            for changed in [
                &[&whole[..], b"\n"].concat()[..],
                &[b"x", &whole[..]].concat(),
                &whole[..whole.len() - 1],
                &whole[1..],
            ] {
                assert!(!is_unchanged(changed), "{text:?}");
            }
        }
        assert_eq!(
            sealed(b"<a/>\n"),
            b"<a/>\n<!-- Part of vdsm-hooks, checksum 3335112273-5 -->\n"
        );
        assert!(!is_unchanged(b"") && !was_sealed(&marked(b"text\n", Comment::HASH)));
    }

    #[test]
    fn marks_are_comments() {
        let line = |comment| String::from_utf8(marked(b"", comment)).unwrap_or_default();
        assert_eq!(line(Comment::HASH), "# Part of vdsm-hooks\n");
        assert_eq!(line(Comment::ANGLE), "<!-- Part of vdsm-hooks -->\n");
        assert_eq!(line(Comment::ROFF), ".\\\" Part of vdsm-hooks\n");
    }
}
