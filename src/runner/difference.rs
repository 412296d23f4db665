// SPDX-License-Identifier: GPL-2.0-or-later

//! What a hook changed, in a form that a person can read where a whole document is one line.

/// The longest line that is compared as it is, its line feed included.
const MAX_LINE_BYTES: usize = 400;

/// `text` with its long lines cut, for the comparison with another one: XML before each `<`, JSON
/// behind each `,`. A backslash and a line feed stand for each cut, so that the text can be had back
/// where no line of it ends with a backslash.
///
/// ```
/// use vdsm_hooks::runner::difference;
/// let devices = "<disk/>".repeat(100);
/// assert!(difference::cut_long_lines(&devices).starts_with("<disk/>\\\n<disk/>\\\n"));
/// assert_eq!(difference::cut_long_lines("<disk/><disk/>\n"), "<disk/><disk/>\n");
/// ```
pub fn cut_long_lines(text: &str) -> String {
    let is_json = text.trim_start().starts_with(['{', '[']);
    let mut cut = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if line.len() <= MAX_LINE_BYTES {
            cut += line;
            continue;
        }
        for (at, c) in line.char_indices() {
            let before = &line[..at];
            let is_cut = if is_json {
                before.ends_with(',') && c != '\n'
            } else {
                c == '<' && !before.trim_start().is_empty()
            };
            if is_cut {
                cut += "\\\n";
            }
            cut.push(c);
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_and_can_be_joined() {
        let long = |unit: &str| unit.repeat(MAX_LINE_BYTES / unit.len() + 1);
        for (text, cuts) in [
            (String::new(), 0),
            ("<a/>".repeat(99) + "abc\n", 0),
            ("<a/>".repeat(100) + "b\n<c/><d/>", 99),
            ("\n<a>\n  ".to_owned() + &"<b/>".repeat(101), 100),
            (long("a"), 0),
            (long("é<b>"), 81),
            ("{".to_owned() + &"\"<é>\": 1,".repeat(50) + "}\n", 50),
            ("[\n".to_owned() + &"1,".repeat(250) + "\n2]\n", 249),
            ("[1, 2]\n".to_owned(), 0),
        ] {
            let cut = cut_long_lines(&text);
            assert_eq!(cut.matches("\\\n").count(), cuts, "{cut}");
            assert_eq!(cut.replace("\\\n", ""), text);
        }
    }
}
