// SPDX-License-Identifier: GPL-2.0-or-later

//! The page that explains every member of what the tool prints for scripts: vdsm-hooks-json(7), and
//! docs/json.md.

use clap_mangen::roff::{bold, italic, roman};

use super::{Described as _, Kind, Member};
use crate::man::Page;
use crate::{doctor, domain, engine_config, grow_disk, list, report, show};

/// The name of the manual page.
pub(crate) const NAME: &str = "vdsm-hooks-json";
/// What it is about.
pub(crate) const SUMMARY: &str = "What the commands of vdsm-hooks print for scripts";

const RULES: [&str; 4] = [
    "With --json a command prints one JSON object on standard output; messages for people may stand \
     on standard error. Where a command cannot be carried out, such as after a wrong call, there is a \
     line on standard error, and no object. The exit status is the same as without --json.",
    "The first member is format, the number 1. It grows when a member goes or gets another meaning. \
     New members do not change it: pass over what you do not know.",
    "Every member is always there. Where there is nothing to say it is null, or an empty list or \
     object.",
    "Below, a dot leads to a member of an object, [] to each element of a list, and .NAME to the \
     members of an object whose names are not those of this page. Texts for people may be worded \
     otherwise in another release; words that scripts may compare are listed.",
];

/// What a command prints.
struct Answer {
    command: &'static str,
    /// A call, for people.
    example: &'static str,
    members: Vec<Member>,
}

fn answers() -> Vec<Answer> {
    let of = |command, example, kind| {
        let members = match kind {
            Kind::Object(members) => members,
            _ => Vec::new(),
        };
        Answer {
            command,
            example,
            members,
        }
    };
    vec![
        of(
            "run",
            "vdsm-hooks run before_vm_start --domain vm1.xml --json",
            report::Summary::kind(),
        ),
        of("list", "vdsm-hooks list --json", list::Listing::kind()),
        of(
            "show",
            "vdsm-hooks show cpuflags --json",
            show::Answer::kind(),
        ),
        of("doctor", "vdsm-hooks doctor --json", doctor::Answer::kind()),
        of(
            "engine-config",
            "vdsm-hooks engine-config cpuflags --current now --json",
            engine_config::Answer::kind(),
        ),
        of(
            "domain check",
            "vdsm-hooks domain check --all --json",
            domain::answer(),
        ),
        of(
            "grow-disk",
            "vdsm-hooks grow-disk --plan --json disk.qcow2",
            grow_disk::Answer::kind(),
        ),
    ]
}

/// A member as the page has it.
struct Row {
    /// How one gets there from the object.
    path: String,
    kind: String,
    about: String,
}

/// All members of an answer, those of an object behind it.
fn rows(members: &[Member]) -> Vec<Row> {
    let mut rows = vec![Row {
        path: "format".to_owned(),
        kind: "integer".to_owned(),
        about: format!("The number {} of this form.", super::FORMAT),
    }];
    add(members, "", &mut rows);
    rows
}

fn add(members: &[Member], before: &str, rows: &mut Vec<Row>) {
    for member in members {
        let path = format!("{before}{}", member.name);
        rows.push(Row {
            path: path.clone(),
            kind: in_words(&member.kind),
            about: member.about.trim().to_owned(),
        });
        below(&member.kind, path, rows);
    }
}

fn below(kind: &Kind, path: String, rows: &mut Vec<Row>) {
    match kind {
        Kind::Plain(_) => {}
        Kind::OrNull(kind) => below(kind, path, rows),
        Kind::List(kind) => below(kind, path + "[]", rows),
        Kind::Named(kind) => below(kind, path + ".NAME", rows),
        Kind::Object(members) => add(members, &format!("{path}."), rows),
    }
}

fn in_words(kind: &Kind) -> String {
    match kind {
        Kind::Plain(word) => (*word).to_owned(),
        Kind::OrNull(kind) => format!("{} or null", in_words(kind)),
        Kind::List(kind) => format!("list of {}s", in_words(kind)),
        Kind::Named(kind) => format!("object of {}s", in_words(kind)),
        Kind::Object(_) => "object".to_owned(),
    }
}

/// The page as a manual page has it.
pub(crate) fn manual(page: &mut Page) {
    page.section("NAME");
    page.text([roman(format!("{NAME} - {SUMMARY}"))]);
    page.section("DESCRIPTION");
    for rule in RULES {
        page.paragraph(rule);
    }
    for answer in answers() {
        page.section(&answer.command.to_uppercase());
        page.example(answer.example);
        for row in rows(&answer.members) {
            let tag = [
                bold(Page::breakable(&row.path)),
                roman("  "),
                italic(row.kind.as_str()),
            ];
            page.tagged(tag, &row.about.replace('`', ""));
        }
    }
    page.section("SEE ALSO");
    page.text([bold("vdsm-hooks"), roman("(1)")]);
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::{env, fs};

    use super::*;

    /// The page as docs/json.md has it.
    fn markdown() -> String {
        let mut text = format!("# {SUMMARY}\n");
        for rule in RULES {
            let _ = write!(text, "\n{rule}\n");
        }
        for answer in answers() {
            let (command, example) = (answer.command, answer.example);
            let _ = write!(text, "\n## {command}\n\n    {example}\n\n");
            text += "| Member | Type | What it says |\n| --- | --- | --- |\n";
            for row in rows(&answer.members) {
                let (kind, about) = (row.kind, row.about.replace('|', "\\|"));
                let _ = writeln!(text, "| `{}` | {kind} | {about} |", row.path);
            }
        }
        text
    }

    /// `UPDATE=1` writes it anew.
    #[test]
    fn the_document_is_the_page() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/json.md");
        let page = markdown();
        if env::var_os("UPDATE").is_some() {
            fs::write(file, &page).unwrap();
        }
        let there = fs::read_to_string(file).unwrap_or_default();
        assert!(
            there == page,
            "docs/json.md is not what the types say: UPDATE=1 cargo test --bin vdsm-hooks json::"
        );
    }
}
