// SPDX-License-Identifier: GPL-2.0-or-later

//! What stands behind the options in a command's help, taken apart for its manual page: there words
//! flow into lines of any length, and only commands stay as they are.

/// The first words of lines that are typed.
const COMMANDS: [&str; 13] = [
    "$",
    "chown",
    "engine-config",
    "for",
    "man",
    "mkdir",
    "source",
    "ssh",
    "target/release/vdsm-hooks",
    "vdsm-hooks",
    "virsh",
    "xmllint",
    "xz",
];

/// A part of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// What the parts behind it are about.
    Head(String),
    /// Words.
    Text(String),
    /// A word, and what it means.
    Tagged(String, String),
    /// Lines that stay as they are.
    Lines(String),
}

impl Note {
    pub(super) fn is_head(&self) -> bool {
        matches!(self, Note::Head(_))
    }
}

/// Whether a part has its own section.
pub(super) fn is_section(head: &str) -> bool {
    head.starts_with("Example") || head.starts_with("Exit status")
}

/// Takes a text apart.
pub(super) fn parse(text: &str) -> Vec<Note> {
    let mut notes = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    // How far the line before is set in; none behind an empty line.
    let mut before = None;
    for (number, line) in lines.iter().enumerate() {
        let words = line.trim();
        if words.is_empty() {
            before = None;
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let next = lines.get(number + 1).map_or("", |next| *next);
        let last = notes.last_mut().filter(|_| before.is_some());
        match last {
            Some(Note::Lines(typed)) if Some(indent) >= before => {
                typed.push('\n');
                typed.push_str(&" ".repeat(indent.saturating_sub(before.unwrap_or_default())));
                typed.push_str(words);
                continue;
            }
            Some(Note::Tagged(_, meaning)) if Some(indent) > before => {
                meaning.push(' ');
                meaning.push_str(words);
                continue;
            }
            Some(Note::Text(begun)) if Some(indent) == before && !is_typed(words) => {
                begun.push(' ');
                begun.push_str(words);
                continue;
            }
            _ => {}
        }
        before = Some(indent);
        if let Some(rest) = words.strip_prefix("Exit status: ").filter(|_| indent == 0) {
            notes.push(Note::Head("Exit status".to_owned()));
            notes.push(Note::Text(rest.to_owned()));
        } else if indent == 0 && next.starts_with(' ') {
            notes.push(Note::Head(words.trim_end_matches(':').to_owned()));
        } else if is_typed(words) {
            notes.push(Note::Lines(words.to_owned()));
        } else if let Some((tag, meaning)) = words.split_once("  ").filter(|_| indent > 0) {
            notes.push(Note::Tagged(tag.to_owned(), meaning.trim().to_owned()));
        } else {
            notes.push(Note::Text(words.to_owned()));
        }
    }
    notes
}

fn is_typed(words: &str) -> bool {
    let first = words.split(' ').next().unwrap_or_default();
    COMMANDS.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_help_is_taken_apart() {
        let help = "\
Says what it is,
in lines.

Files:
  one  what is
       in it
  two  the other

The end
  It is over:
    vdsm-hooks run \\
        --domain x
  And again:
    virsh list

Exit status: 0 it is;
1 it is not.";
        let head = |text: &str| Note::Head(text.to_owned());
        let words = |text: &str| Note::Text(text.to_owned());
        let tagged = |tag: &str, text: &str| Note::Tagged(tag.to_owned(), text.to_owned());
        let typed = |text: &str| Note::Lines(text.to_owned());
        assert_eq!(
            parse(help),
            [
                words("Says what it is, in lines."),
                head("Files"),
                tagged("one", "what is in it"),
                tagged("two", "the other"),
                head("The end"),
                words("It is over:"),
                typed("vdsm-hooks run \\\n    --domain x"),
                words("And again:"),
                typed("virsh list"),
                head("Exit status"),
                words("0 it is; 1 it is not."),
            ]
        );
    }
}
