// SPDX-License-Identifier: GPL-2.0-or-later

//! What hooks say, and what their READMEs say to do about it: no row of a table that nothing can say,
//! and no message of a case without a row.
//!
//! A cell of the first column is a message or a piece of one, as the program says it. Several stand
//! apart by `; `. `…` and what stands in double quotes are gaps; so may be a number and a word in
//! capitals (`N`, `PATH`). `(from libvirt)` behind it says that the words are another program's, which
//! are not looked for. The table of the top-level README goes for all hooks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use pcre2::bytes::Regex;
use serde_json::Value;
use vdsm_hooks::hook::manifest::Manifest;

use crate::rooms::{self, Module};
use crate::support;
use support::{hooks, root};

/// A row says at least so much that is its own, in letters.
const LEAST: usize = 6;

/// What the kernel and the libraries say: strerror(3), and Rust's words around that.
const OF_OTHERS: [&str; 5] = [
    "No such file or directory",
    "Permission denied",
    "Operation not permitted",
    "No space left on device",
    "(os error",
];

/// How the numbers and capitals of a row are read.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    AsTheyStand,
    AsGaps,
}

#[derive(Debug, PartialEq)]
enum Part {
    Words(String),
    Gap,
    /// A gap with its quotes.
    Quoted,
}

/// A message of a table.
#[derive(Debug)]
struct Message {
    text: String,
    /// Another program's own words.
    is_foreign: bool,
}

impl Message {
    /// The messages of a cell.
    fn of_cell(cell: &str) -> Vec<Message> {
        let cell = cell.replace(['`', '\\'], "");
        let (cell, is_foreign) = match cell.rsplit_once(" (from ") {
            Some((said, program)) if program.ends_with(')') => (said, true),
            _ => (cell.as_str(), false),
        };
        let one = |text: &str| Message {
            text: text
                .trim()
                .trim_start_matches("warning: ")
                .replace("...", "…"),
            is_foreign,
        };
        cell.split("; ").map(one).collect()
    }

    fn parts(&self, reading: Reading) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut words = String::new();
        let mut gap = |words: &mut String, gap: Part| {
            if !words.is_empty() {
                parts.push(Part::Words(std::mem::take(words)));
            }
            parts.push(gap);
        };
        let mut rest = self.text.as_str();
        while let Some(first) = rest.chars().next() {
            let is_inside = words.ends_with(char::is_alphanumeric);
            let example = rest.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit()));
            let example = example.unwrap_or(rest.len());
            let ends = !rest[example..].starts_with(char::is_alphanumeric);
            let quoted = rest.strip_prefix('"').and_then(|rest| rest.find('"'));
            if let Some(end) = quoted {
                gap(&mut words, Part::Quoted);
                rest = &rest[end + 2..];
            } else if first == '…' {
                gap(&mut words, Part::Gap);
                rest = &rest[first.len_utf8()..];
            } else if reading == Reading::AsGaps && example > 0 && ends && !is_inside {
                gap(&mut words, Part::Gap);
                rest = &rest[example..];
            } else {
                words.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        if !words.is_empty() {
            parts.push(Part::Words(words));
        }
        parts
    }

    /// The words that a program has to have: those between the gaps.
    fn words(&self, reading: Reading) -> Vec<String> {
        let mut found = Vec::new();
        for part in self.parts(reading) {
            if let Part::Words(words) = part {
                // What failed stands in front of why, and the two come from different places.
                let steps = words
                    .split(": ")
                    .map(|step| step.trim_matches([' ', ':', ',']));
                found.extend(steps.filter(|step| letters(step) > 2).map(str::to_owned));
            }
        }
        found
    }

    fn pattern(&self, reading: Reading) -> Regex {
        let parts = self.parts(reading).into_iter();
        let pattern: String = parts
            .map(|part| match part {
                Part::Words(words) => format!(r"\Q{}\E", words.trim()),
                // The blanks beside a gap are part of it: there may be nothing in it.
                Part::Gap => ".*".to_owned(),
                Part::Quoted => r#"\s*".*"\s*"#.to_owned(),
            })
            .collect();
        Regex::new(&pattern).unwrap()
    }

    /// The pattern that finds the message, read as a program can say it; none if none can.
    fn found_in(&self, recorded: &[String], literals: &BTreeSet<String>) -> Option<Regex> {
        if self.is_foreign {
            return Some(self.pattern(Reading::AsGaps));
        }
        [Reading::AsTheyStand, Reading::AsGaps]
            .into_iter()
            .find_map(|reading| {
                let pattern = self.pattern(reading);
                let is_recorded = recorded.iter().any(|line| fits(&pattern, line));
                let words = self.words(reading);
                let can_be_said = |words: &String| {
                    let mut known = literals.iter().map(String::as_str).chain(OF_OTHERS);
                    known.any(|text| text.contains(words.as_str()))
                };
                let is_sayable = !words.is_empty() && words.iter().all(can_be_said);
                (is_recorded || is_sayable).then_some(pattern)
            })
    }

    /// Whether there is enough of it to be told from others.
    fn says_something(&self) -> bool {
        letters(&self.words(Reading::AsTheyStand).concat()) >= LEAST
    }
}

fn letters(text: &str) -> usize {
    text.chars().filter(|c| c.is_alphabetic()).count()
}

fn fits(pattern: &Regex, line: &str) -> bool {
    pattern.is_match(line.as_bytes()).unwrap()
}

/// The messages of a page's tables.
fn messages(page: &str) -> Vec<Message> {
    let mut found = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        if ["| message |", "| verdict |"]
            .iter()
            .any(|start| line.starts_with(start))
        {
            is_inside = true;
        } else if !line.starts_with('|') {
            is_inside = false;
        } else if is_inside && !line.starts_with("|---") {
            let cell = line.trim_start_matches('|').split(" |").next().unwrap();
            found.extend(Message::of_cell(cell));
        }
    }
    found
}

/// The string literals of a source file, in pieces between the places where values go.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        let raw = rest.strip_prefix('r').map(|hashes| {
            let marks = hashes.len() - hashes.trim_start_matches('#').len();
            (marks, &hashes[marks..])
        });
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some((marks, text)) = raw.filter(|(_, text)| text.starts_with('"')) {
            let end = format!("\"{}", "#".repeat(marks));
            let (text, behind) = text[1..].split_once(&end).unwrap();
            found.extend(pieces(text));
            rest = behind;
        } else if first == '"' {
            let (text, behind) = unescaped(after);
            found.extend(pieces(&text));
            rest = behind;
        } else if first == '\'' {
            // A character; or a lifetime, which has no end.
            let mut letters = after.chars();
            let one = letters.next().unwrap_or_default();
            rest = match after.strip_prefix('\\') {
                Some(escape) => escape
                    .get(1..)
                    .unwrap_or_default()
                    .trim_start_matches(|c: char| c != '\''),
                None if letters.next() == Some('\'') => &after[one.len_utf8()..],
                None => after,
            };
            rest = rest.strip_prefix('\'').unwrap_or(rest);
        } else if first.is_alphanumeric() || first == '_' {
            // A name may end in `r`, which makes no literal raw.
            rest = rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        } else {
            rest = after;
        }
    }
    found
}

/// A literal's text without escapes, and what is behind its end.
fn unescaped(literal: &str) -> (String, &str) {
    let mut text = String::new();
    let mut letters = literal.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (text, &literal[at + 1..]),
            '\\' => match letters.next().unwrap().1 {
                '\n' => {
                    while letters.as_str().starts_with(char::is_whitespace) {
                        letters.next();
                    }
                }
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'u' => drop(letters.by_ref().find(|(_, letter)| *letter == '}')),
                other => text.push(other),
            },
            _ => text.push(letter),
        }
    }
    (text, "")
}

/// A format's pieces between its `{…}`.
fn pieces(format: &str) -> Vec<String> {
    let format = format.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let mut found = Vec::new();
    for piece in format.split('{') {
        let text = piece.split_once('}').map_or(piece, |(_, text)| text);
        found.push(text.replace('\u{1}', "{").replace('\u{2}', "}"));
    }
    found
}

/// The programs of a hook's folder.
fn sources(hook: &str) -> Vec<String> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(root().join("hooks").join(hook)).unwrap() {
        let path = entry.unwrap().path();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if is_source && path.file_name().is_some_and(|name| name != "tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            sources.push(
                text.split("#[cfg(test)]\nmod tests {")
                    .next()
                    .unwrap()
                    .to_owned(),
            );
        }
    }
    sources
}

/// What the library's modules import, and the literals of each.
struct Library {
    imported: BTreeMap<Module, BTreeSet<Module>>,
    literals: BTreeMap<Module, Vec<String>>,
}

impl Library {
    fn read() -> Library {
        let modules = rooms::modules().into_iter();
        Library {
            imported: rooms::imported(),
            literals: modules
                .map(|(module, code)| (module, literals(&code)))
                .collect(),
        }
    }

    /// All that the programs of a hook have literals for, with the modules that they use.
    fn sayable(&self, hook: &str) -> BTreeSet<String> {
        let sources = sources(hook);
        let mut used: Vec<Module> = vec!["error".to_owned(), "hook".to_owned()];
        for source in &sources {
            let of_library = source.replace("vdsm_hooks::", "crate::");
            used.extend(rooms::imports("", &of_library));
        }
        let mut reached: BTreeSet<&Module> = BTreeSet::new();
        while let Some(path) = used.pop() {
            // A module, what is below it, and the one that an item is in.
            let is_meant = |module: &&Module| is_below(module, &path) || is_below(&path, module);
            for module in self.imported.keys().filter(is_meant) {
                if reached.insert(module) {
                    used.extend(self.imported[module].iter().cloned());
                }
            }
        }
        let of_library = reached
            .into_iter()
            .flat_map(|module| &self.literals[module]);
        let own = sources.iter().flat_map(|code| literals(code));
        own.chain(of_library.cloned()).collect()
    }
}

fn is_below(one: &str, other: &str) -> bool {
    let rest = one.strip_prefix(other.trim_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A line that a hook has said in a case.
struct Line {
    case: String,
    text: String,
    /// Whether it ends with the words of a stand-in for a program of the host.
    is_foreign: bool,
}

fn lines(hook: &str) -> Vec<Line> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("hooks").join(hook).join("cases")).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(text) = fs::read_to_string(folder.join("case.json")) else {
            continue;
        };
        let case: Value = serde_json::from_str(&text).unwrap();
        let said = case["stderr"].as_str().unwrap_or_default();
        let host = case["host"].to_string();
        for line in said.lines() {
            let (_, text) = line.split_once(": ").unwrap_or(("", line));
            let end = text.rsplit(": ").next().unwrap();
            found.push(Line {
                case: folder.file_name().unwrap().to_string_lossy().into_owned(),
                text: text.to_owned(),
                is_foreign: letters(end) >= LEAST && host.contains(end),
            });
        }
    }
    found.sort_by(|a, b| a.case.cmp(&b.case));
    found
}

/// What is wrong with a page: its rows that nobody can say; and the patterns of the others.
fn judge(
    place: &str,
    page: &[Message],
    recorded: &[String],
    literals: &BTreeSet<String>,
) -> (Vec<String>, Vec<Regex>) {
    let (mut wrong, mut patterns) = (Vec::new(), Vec::new());
    for message in page {
        let text = &message.text;
        if !message.is_foreign && !message.says_something() {
            wrong.push(format!("{place}: the row \"{text}\" says too little"));
        }
        match message.found_in(recorded, literals) {
            Some(pattern) => patterns.push(pattern),
            None => wrong.push(format!("{place}: nothing can say \"{text}\"")),
        }
    }
    (wrong, patterns)
}

#[test]
fn a_table_has_what_its_hook_says_and_nothing_else() {
    let hooks = hooks();
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let texts = |lines: Vec<Line>| lines.into_iter().map(|line| line.text);
    let everything: Vec<String> = hooks
        .iter()
        .flat_map(|hook| texts(lines(&hook.name)))
        .collect();
    let library = Library::read();
    let of_all = hooks
        .iter()
        .flat_map(|hook| library.sayable(&hook.name))
        .collect();
    let common = messages(&read("README.md"));
    assert!(!common.is_empty(), "README.md has no table of messages");
    let (mut wrong, common) = judge("README.md", &common, &everything, &of_all);
    let covers = |patterns: &[Regex], line: &str| patterns.iter().any(|one| fits(one, line));

    for hook in &hooks {
        wrong.extend(judge_hook(hook, &library, |line| covers(&common, line)));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What is wrong with the page of a hook, where the messages that `is_common` stand elsewhere.
fn judge_hook(hook: &Manifest, library: &Library, is_common: impl Fn(&str) -> bool) -> Vec<String> {
    let place = format!("hooks/{}/README.md", hook.name);
    let page = fs::read_to_string(root().join(Path::new(&place))).unwrap();
    let rows = messages(&page);
    let lines = lines(&hook.name);
    if rows.is_empty() {
        return vec![format!("{place} has no table of messages")];
    }
    let recorded: Vec<String> = lines.iter().map(|line| line.text.clone()).collect();
    let (mut wrong, own) = judge(&place, &rows, &recorded, &library.sayable(&hook.name));
    for line in lines {
        let is_covered = own.iter().any(|pattern| fits(pattern, &line.text));
        if !is_covered && !line.is_foreign && !is_common(&line.text) {
            wrong.push(format!(
                "{place} has no row for what the case {} has: {}",
                line.case, line.text
            ));
        }
    }
    wrong
}

#[test]
fn cells_are_read_as_their_page_says() {
    let cell = "warning: no `<os>` in PATH, 3 of …; its \"name\" is there (from libvirt)";
    let read = Message::of_cell(cell);
    assert_eq!(read.len(), 2);
    assert!(read.iter().all(|message| message.is_foreign));
    let words = |text: &str| Part::Words(text.to_owned());
    assert_eq!(
        read[0].parts(Reading::AsTheyStand),
        [words("no <os> in PATH, 3 of "), Part::Gap]
    );
    assert_eq!(
        read[0].parts(Reading::AsGaps),
        [
            words("no <os> in "),
            Part::Gap,
            words(", "),
            Part::Gap,
            words(" of "),
            Part::Gap
        ]
    );
    assert_eq!(
        read[1].parts(Reading::AsGaps),
        [words("its "), Part::Quoted, words(" is there")]
    );
    let pattern = read[0].pattern(Reading::AsGaps);
    assert!(fits(&pattern, "no <os> in /a/b, 17 of 18"));
    assert!(!fits(&pattern, "no <vm> in /a/b, 17 of 18"));
    // IPv4 is no gap, nor is UTF-8 as it stands.
    let message = &Message::of_cell("no IPv4 address of 10")[0];
    assert_eq!(
        message.parts(Reading::AsGaps),
        [words("no IPv4 address of "), Part::Gap]
    );
}

#[test]
fn a_row_that_nothing_says_is_found() {
    let literals: BTreeSet<String> = literals(
        "// \"a comment\"\nconst C: char = '\"'; fn f<'a>() { new(\"no {kind} on \\\n    this {{host}}\", r#\"a \"raw\" one\"#); }",
    )
    .into_iter()
    .collect();
    let expected = ["no ", " on this {host}", "a \"raw\" one"];
    assert_eq!(literals, expected.map(str::to_owned).into());
    let recorded = ["disk vda: it is a cdrom".to_owned()];
    for (cell, is_sayable) in [
        ("no … on this {host}", true),
        ("on this {host}", true),
        ("on that {host}", false),
        ("disk VDA: it is a …", true),
        ("disk … it is a floppy", false),
        ("it is a floppy (from libvirt)", true),
        ("…: No such file or directory", true),
        ("…", false),
    ] {
        let message = &Message::of_cell(cell)[0];
        let found = message.found_in(&recorded, &literals).is_some();
        assert_eq!(found || cell == "…", is_sayable || cell == "…", "{cell}");
        assert_eq!(message.says_something(), cell != "…", "{cell}");
    }
}
