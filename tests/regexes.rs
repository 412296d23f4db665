// SPDX-License-Identifier: GPL-2.0-or-later

//! The regular expressions of the properties, as the engine's server (Java), its portal (JavaScript) and
//! PCRE read them, and as the hooks do: on the examples and wrong values of `hook.json`, and on ten
//! thousand others, drawn from the expressions and misspelt.
//!
//! `HOOKS="one other"` asks only those hooks. Where Java or Node is missing, PCRE speaks for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::contract::{self, Subject};
use crate::support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use pcre2::bytes::RegexBuilder;
use serde_json::json;
use support::host::{self, Host, Root};
use support::values::{Expression, Random, misspelt};
use support::{Firing, hooks, not_run, private_host, program, root};
use vdsm_hooks::hook::manifest::{Property, Scope};
use vdsm_hooks::host::command::shell_quoted;
use vdsm_hooks::props::Literal;

/// How many values are drawn, for all properties together.
const DRAWN: usize = 10_000;
/// What the engine keeps of all custom properties of a VM, in characters (ovirt-engine 4.5
/// packaging/dbscripts/create_tables.sql: `vm_static.userdefined_properties`).
const LIMIT: usize = 4_000;
/// How many seconds an interpreter has for all values, by far.
const LONGEST: &str = "300";
/// How many problems are shown.
const SHOWN: usize = 200;

/// A property, its expression and values for it.
struct Asked {
    hook: String,
    property: Property,
    regex: String,
    values: Vec<String>,
}

impl Asked {
    fn place(&self) -> String {
        format!("{}: {}", self.hook, self.property.name)
    }

    /// What PCRE says of a whole value, as Java does.
    fn pcre(&self) -> impl Fn(&str) -> String {
        let whole = format!(r"\A(?:{})\z", self.regex);
        // To the engine's two a carriage return ends a line, too.
        let compiled = RegexBuilder::new().utf(true).crlf(true).build(&whole);
        let compiled = compiled.unwrap_or_else(|error| panic!("{}: {error}", self.regex));
        move |value| match compiled.is_match(value.as_bytes()) {
            Ok(true) => "yes".to_owned(),
            Ok(false) => "no".to_owned(),
            Err(error) => error.to_string(),
        }
    }
}

/// All properties that an engine checks, with the values of `hook.json` and drawn ones.
fn asked() -> Vec<Asked> {
    let mut all = Vec::new();
    for hook in hooks() {
        for property in hook.properties {
            let Some(regex) = property.regex.clone() else {
                continue;
            };
            all.push(Asked {
                hook: hook.name.clone(),
                property,
                regex,
                values: Vec::new(),
            });
        }
    }
    let each = DRAWN.div_ceil(all.len());
    for asked in &mut all {
        asked.values = drawn(asked, each);
    }
    all
}

/// The values of `hook.json`, and `number` others.
fn drawn(asked: &Asked, number: usize) -> Vec<String> {
    let Property {
        example,
        wrong,
        refused,
        ..
    } = &asked.property;
    let given = [example].into_iter().chain(wrong).chain(refused);
    let mut values: Vec<String> = given.cloned().collect();
    let given = values.clone();
    let mut known: BTreeSet<String> = given.iter().cloned().collect();
    let expressions = expressions(&asked.property.name, &asked.regex);
    let mut random = Random::of(&asked.place());
    while values.len() < given.len() + number {
        let value = match random.below(4) {
            0 => misspelt(random.one(given.as_slice()).as_str(), &mut random),
            1 => misspelt(&random.one(&expressions).value(&mut random), &mut random),
            _ => random.one(&expressions).value(&mut random),
        };
        // Words are few, and each is asked once.
        let value = if known.contains(&value) {
            misspelt(&value, &mut random)
        } else {
            value
        };
        if !value.contains(';') && value.len() <= LIMIT && known.insert(value.clone()) {
            values.push(value);
        }
    }
    values
}

/// The expression in forms that values can be drawn from: without look-ahead, and with each of the
/// quotes in place of a reference to the first.
fn expressions(property: &str, regex: &str) -> Vec<Expression> {
    let set = r"[0-9]{1,4}(-[0-9]{1,4})?(,([0-9]{1,4}(-[0-9]{1,4})?|\^[0-9]{1,4}))*";
    let string = r#""([^"\\]|\\.)*"[ \t\r\n]*"#;
    let path = "(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+";
    let texts = match property {
        "floppy" => vec![format!("{path}(:usb)?")],
        "vmdisk" => vec![format!("{path}:(raw|qcow2)(,{path}:(raw|qcow2))*")],
        "qemu_cmdline" => vec![format!(r"\[[ \t\r\n]*({string}(,[ \t\r\n]*{string})*)?\]")],
        "pincpu" => vec![set.to_owned()],
        "numa" => vec![format!("(strict|interleave|preferred|restrictive):{set}")],
        _ if regex.contains(QUOTE) => ["'", "\""].map(|quote| quoted_by(quote, regex)).to_vec(),
        _ => vec![regex.replace(r"(?=[\s\S]{0,1500}$)", "")],
    };
    texts.iter().map(|text| Expression::parse(text)).collect()
}

/// How an expression takes either quote, to be repeated by number.
const QUOTE: &str = "(['\"])";

fn quoted_by(quote: &str, regex: &str) -> String {
    let text = regex.replace(QUOTE, quote);
    // The comma may be left out before the brace.
    let text = text.replace(r"|(?=\}$)", "").replace(r"|(?=\})", "");
    (1..=9).fold(text, |text, number| {
        text.replace(&format!("\\{number}"), quote)
    })
}

/// What an interpreter says of values: for each property its answer to the expression, and to each value.
struct Engine {
    name: &'static str,
    command: &'static [&'static str],
    options: &'static [&'static str],
    program: &'static str,
}

const ENGINES: [Engine; 2] = [
    Engine {
        name: "Java",
        command: &["java"],
        // Compiled, a matcher takes less of the stack; in an engine that has just started it is not.
        options: &[
            "-XX:CompileCommand=quiet",
            "-XX:CompileCommand=exclude,java/util/regex/*.*",
        ],
        program: "Regexes.java",
    },
    Engine {
        name: "JavaScript",
        command: &["node", "nodejs"],
        options: &[],
        program: "regexes.js",
    },
];

impl Engine {
    /// The answers to the lines in this file, one a line.
    fn answers(&self, questions: &Path) -> Result<Vec<String>, String> {
        let program = root().join("tests/support").join(self.program);
        let mut missing = String::new();
        for command in self.command {
            let output = Command::new("timeout")
                .args(["-s", "KILL", LONGEST, command])
                .args(self.options)
                .arg(&program)
                .stdin(File::open(questions).unwrap())
                .output();
            match output {
                // As timeout(1) has it.
                Ok(output) if output.status.code() == Some(127) => {
                    missing = format!("{command} is not installed");
                }
                Err(error) => return Err(format!("{command}: {error}")),
                Ok(output) => {
                    let stderr = String::from_utf8_lossy(&output.stderr);
                    // The runtime alone does not compile.
                    if stderr.contains("jdk.compiler") {
                        return Err(format!("{command} has no compiler"));
                    }
                    let answers = String::from_utf8(output.stdout).unwrap();
                    assert!(
                        output.status.success(),
                        "{command}: {}: {stderr}: {} answers, the next is of {:?}",
                        output.status,
                        answers.lines().count(),
                        after(questions, answers.lines().count())
                    );
                    return Ok(answers.lines().map(str::to_owned).collect());
                }
            }
        }
        Err(missing)
    }
}

/// The question that comes after so many.
fn after(questions: &Path, number: usize) -> String {
    let text = fs::read_to_string(questions).unwrap();
    text.lines().nth(number).unwrap_or_default().to_owned()
}

/// Every byte but letters and digits as `%XX`, which both interpreters have a function for.
fn percent_encoded(text: &str, line: &mut Vec<u8>) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            line.push(byte);
        } else {
            let digit = |number: u8| b"0123456789ABCDEF"[usize::from(number)];
            line.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    line.push(b'\n');
}

/// Writes the lines that both interpreters read.
fn write_questions(asked: &[Asked], file: &Path) -> io::Result<()> {
    let mut lines = Vec::new();
    for one in asked {
        lines.push(b'R');
        percent_encoded(&one.regex, &mut lines);
        for value in &one.values {
            lines.push(b'V');
            percent_encoded(value, &mut lines);
        }
    }
    fs::write(file, lines)
}

fn assert_none(problems: &[String]) {
    let shown: Vec<_> = problems.iter().take(SHOWN).map(String::as_str).collect();
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        shown.join("\n")
    );
}

fn shown(value: &str) -> String {
    let start: String = value.chars().take(200).collect();
    match value.chars().count() {
        ..=200 => format!("{start:?}"),
        length => format!("{start:?}... ({length} characters)"),
    }
}

#[test]
fn server_portal_and_pcre_read_expressions_alike() {
    let mut asked = asked();
    for one in &mut asked {
        let expressions = expressions(&one.property.name, &one.regex);
        let long = expressions.iter().flat_map(|one| one.long_values(LIMIT));
        // As it is, and with an end that sends the matcher all the way back.
        let long = long.flat_map(|value| [format!("{value}!"), value]);
        let long: BTreeSet<String> = long.collect();
        one.values.extend(long);
    }
    let directory = tempfile::tempdir().unwrap();
    let questions = directory.path().join("questions");
    write_questions(&asked, &questions).unwrap();
    let mut problems = Vec::new();
    for engine in ENGINES {
        let answers = match engine.answers(&questions) {
            Ok(answers) => answers,
            Err(reason) => {
                not_run(&format!("expressions in {}", engine.name), &reason);
                continue;
            }
        };
        let mut answers = answers.into_iter();
        for one in &asked {
            let place = format!("{} in {}", one.place(), engine.name);
            let pcre = one.pcre();
            let compiled = answers.next().unwrap();
            if compiled != "compiles" {
                problems.push(format!("{place}: {}: {compiled}", one.regex));
            }
            for value in &one.values {
                let (answer, pcre) = (answers.next().unwrap(), pcre(value));
                if answer != pcre {
                    let value = shown(value);
                    problems.push(format!("{place}: {value}: {answer}, in PCRE {pcre}"));
                }
            }
        }
        assert_eq!(answers.next(), None);
    }
    // What neither of the two was asked.
    for one in &asked {
        let pcre = one.pcre();
        for value in &one.values {
            let answer = pcre(value);
            if !["yes", "no"].contains(&answer.as_str()) {
                problems.push(format!("{}: {}: {answer}", one.place(), shown(value)));
            }
        }
    }
    assert_none(&problems);
}

/// What a hook did with a value.
struct Done {
    status: i32,
    /// The lines on standard error, without the hook's name.
    lines: Vec<String>,
    is_changed: bool,
}

impl Done {
    /// What the hook has against the value; nothing if it goes by it, with a remark or without.
    fn complaints(&self) -> &[String] {
        match self.status {
            0 if self.is_changed => &[],
            0 => &self.lines,
            // Warnings may be before it.
            _ => &self.lines[self.lines.len().saturating_sub(1)..],
        }
    }
}

/// One hook at one event, for all values of one property.
struct Job {
    asked: Asked,
    firing: Firing,
    event: &'static str,
    documents: Vec<Vec<u8>>,
}

impl Job {
    fn new(subject: &Subject<'_>, asked: Asked) -> Job {
        let plain = subject.plain_document();
        let firing = subject.with(&[], &plain);
        let (variable, _) = subject.variables();
        let path = |name: &str| firing.directory().join(name);
        fs::create_dir(path("documents")).unwrap();
        fs::create_dir(path("errors")).unwrap();
        let is_in_document = asked.property.scope == Scope::Network;
        let others = subject.examples().into_iter();
        let others = others.filter(|(other, _)| other.name != asked.property.name);
        let others: Vec<_> = others.collect();
        let mut script = "cd \"$1\" || exit\n".to_owned();
        let mut documents = Vec::new();
        for (number, value) in asked.values.iter().enumerate() {
            let document = path(&format!("documents/{number}"));
            if is_in_document {
                // The set-up before this one has not come to its end, and would be undone first.
                if firing.root().is_some() {
                    script += "rm -rf /run/vdsm-hooks\n";
                }
                let mut all = others.clone();
                all.push((&asked.property, value));
                let text = contract::with_custom(&plain, &all);
                fs::write(&document, &text).unwrap();
                documents.push(text);
            } else {
                // A hook puts another file in its place, so one serves all.
                fs::hard_link(&firing.data, &document).unwrap();
                documents.push(plain.clone());
                write!(script, "{}={} ", asked.property.name, shell_quoted(value)).unwrap();
            }
            let document = document.display();
            writeln!(
                script,
                "{variable}={document} \"$2\" 2>errors/{number} </dev/null; echo $?"
            )
            .unwrap();
        }
        fs::write(path("fire"), script).unwrap();
        Job {
            asked,
            event: subject.event.name,
            documents,
            firing,
        }
    }

    /// Fires the hook with every value, in its host, one process for all.
    fn run(&self) -> Vec<Done> {
        let hook = &self.asked.hook;
        let directory = self.firing.directory();
        let words = self.firing.root().into_iter().flat_map(Root::wrapper);
        let mut words = words.chain(["timeout", "300", "sh"].map(str::to_owned));
        let mut command = Command::new(words.next().unwrap());
        let variables = self.firing.command();
        let variables = variables.get_envs();
        command
            .args(words)
            .arg(directory.join("fire"))
            .arg(directory)
            .arg(directory.join(self.event).join(format!("50_{hook}")))
            .env_clear()
            .envs(variables.filter_map(|(name, value)| Some((name, value?))))
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let statuses = String::from_utf8(output.stdout).unwrap();
        let statuses: Vec<i32> = statuses.lines().map(|line| line.parse().unwrap()).collect();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let place = self.asked.place();
        assert_eq!(statuses.len(), self.documents.len(), "{place}: {stderr}");
        let done = statuses.into_iter().zip(&self.documents).enumerate();
        done.map(|(number, (status, before))| {
            let read = |folder: &str| fs::read(directory.join(folder).join(number.to_string()));
            let stderr = String::from_utf8(read("errors").unwrap()).unwrap();
            let lines = stderr.lines().map(|line| {
                let line = line.strip_prefix(&format!("{hook}: ")).unwrap_or(line);
                line.strip_prefix("warning: ").unwrap_or(line).to_owned()
            });
            Done {
                status,
                lines: lines.collect(),
                is_changed: read("documents").unwrap() != *before,
            }
        })
        .collect()
    }

    /// Where the hook and the expression disagree.
    fn problems(&self) -> Vec<String> {
        let asked = &self.asked;
        let pcre = asked.pcre();
        let matches = |value: &str| pcre(value) == "yes";
        let done = self.run();
        let done: Vec<_> = asked.values.iter().zip(&done).collect();
        let is_known = |line: &str, value: &str, of: &dyn Fn(&String) -> bool| {
            let known = done.iter().filter(|(known, _)| of(known));
            known.into_iter().any(|(known, done)| {
                let mut lines = done.complaints().iter();
                lines.any(|other| says_the_same((line, value), (other, known)))
            })
        };
        let is_example = |value: &String| *value == asked.property.example;
        let is_given = |value: &String| is_example(value) || asked.property.refused.contains(value);
        // One of each kind.
        let mut told = Vec::new();
        let mut problems = Vec::new();
        for (value, done) in &done {
            let complaints = done.complaints();
            let mut problem = |what: String| {
                let place = asked.place();
                problems.push(format!("{place}={}: {what}", shown(value)));
            };
            if !(0..=2).contains(&done.status) {
                problem(format!("status {}: {:?}", done.status, done.lines));
            } else if matches(value) {
                for line in complaints {
                    let line = (line.as_str(), value.as_str());
                    let is_told = told.iter().any(|other| says_the_same(line, *other));
                    if !is_told && !is_known(line.0, value, &is_given) {
                        told.push(line);
                        problem(format!(
                            "matches, and no value in 'refused' has the same against it: {}",
                            line.0
                        ));
                    }
                }
            } else {
                let is_refused = complaints
                    .iter()
                    .any(|line| !is_known(line, value, &is_example));
                let plain = plainly(asked, value);
                if !is_refused && !plain.trim().is_empty() && !matches(&plain) {
                    problem("does not match, and the hook goes by it".to_owned());
                }
            }
        }
        problems
    }
}

/// Whether two messages are the same apart from the values, what is in quotes, and numbers.
fn says_the_same(one: (&str, &str), other: (&str, &str)) -> bool {
    let values = [one.1, other.1].map(str::to_lowercase);
    let words = |line: &str| -> Vec<String> {
        let words = without_escapes(&without_quoted(line)).to_lowercase();
        let words = words.split(|c: char| !c.is_alphanumeric());
        let is_of_values = |word: &str| {
            let is_number = word.contains(|c: char| c.is_ascii_digit());
            // Parts of addresses, in whatever form.
            let is_hex = word.len() <= 4 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_number || is_hex || values.iter().any(|value| value.contains(word))
        };
        words
            .filter(|word| !is_of_values(word))
            .map(str::to_owned)
            .collect()
    };
    words(one.0) == words(other.0)
}

/// The line without characters that are written as their number: `\u{a0}`.
fn without_escapes(line: &str) -> String {
    let mut pieces = line.split("\\u{");
    let mut kept = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        kept.push_str(piece.split_once('}').map_or(piece, |(_, rest)| rest));
    }
    kept
}

/// The line without what stands between double quotes; one alone is part of a value.
fn without_quoted(line: &str) -> String {
    let mut kept = String::new();
    let mut rest = line;
    while let Some((before, quoted)) = rest.split_once('"') {
        kept.push_str(before);
        let mut is_escaped = false;
        let end = quoted.find(|c| {
            let ends = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            ends
        });
        rest = end.map_or(quoted, |end| &quoted[end + 1..]);
    }
    kept + rest
}

/// The spelling of a value that the expression has to take if the hook takes the value; empty if it
/// counts as absent. Hooks also take what VMs had before there were expressions, and what VDSM takes
/// elsewhere.
fn plainly(asked: &Asked, value: &str) -> String {
    let property = asked.property.name.as_str();
    match (asked.hook.as_str(), property) {
        // VDSM's booleans.
        _ if asked.regex == "^(true|false)$" => boolean(value),
        (_, "equivnets" | "cpuflags" | "ethtool_opts" | "ipv4_addrs") => with_blanks(value),
        (_, "ipv6autoconf" | "dhcpv6") => value.to_ascii_lowercase(),
        (_, "ipv6addr" | "ipv6gateway" | "qemu_cmdline") => value.trim().to_owned(),
        (_, "hugepages" | "hugepages_count") => value.trim().trim_start_matches('0').to_owned(),
        (_, "sdcheck_timeout" | "ovs_aa_sid") => {
            let digits = value.trim().trim_start_matches('+');
            digits.trim_start_matches('0').to_owned()
        }
        // Numbers of any length.
        (_, "boot_hostdev") if value.starts_with("pci_") => {
            let numbers = value.split('_').skip(1).zip([4, 2, 2, 1]);
            let numbers = numbers.map(|(number, digits)| {
                let number = number.trim_start_matches('0');
                format!("{number:0>digits$}")
            });
            format!("pci_{}", numbers.collect::<Vec<_>>().join("_"))
        }
        // Empty parts, and blanks.
        (_, "fcoe") => {
            let is_empty = |c: char| c == ',' || c.is_whitespace();
            with_blanks(value.trim_matches(is_empty))
        }
        // Slashes and dots that lead nowhere.
        (_, "vmdisk" | "floppy") => value
            .split('/')
            .fold(String::new(), |path, part| match part {
                "" | "." => path,
                part => format!("{path}/{part}"),
            }),
        // libvirt sets no bounds to names, the expression does.
        (_, "extnet") => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_. -".contains(c);
            let name = value.chars().map(|c| if plain(c) { c } else { 'x' });
            let name: String = name.take(50).collect();
            name.replacen([' ', '-'], "x", 1)
        }
        // The whole notation of Python and JSON, which no expression can take.
        ("macbind" | "spiceoptions", _) => literal(value, ", ", is_plain, is_plain),
        ("smbios", _) => {
            let is_letter = |c: char| c.is_ascii_alphabetic();
            let parts = value.split('^');
            let parts = parts.map(|part| literal(part, "}^{", is_letter, is_plain));
            parts.collect::<Vec<_>>().join("^")
        }
        // The rest is vmfex_dev's.
        ("vmfex", _) if !value.trim_start().starts_with('{') => String::new(),
        ("vmfex", _) => {
            let is_of_profiles = |c: char| c.is_ascii_alphanumeric() || " _.-".contains(c);
            literal(value, ", ", is_plain, is_of_profiles)
        }
        _ => value.to_owned(),
    }
}

/// A blank for every kind of white space.
fn with_blanks(value: &str) -> String {
    let plain = |c: char| if c.is_whitespace() { ' ' } else { c };
    value.chars().map(plain).collect()
}

/// Nothing that means something to the expressions of dictionaries.
fn is_plain(c: char) -> bool {
    (' '..='~').contains(&c) && !"'\"^{}\\".contains(c)
}

fn boolean(value: &str) -> String {
    let digits = value.trim();
    let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if digits.split('_').all(is_number) {
        return "true".to_owned();
    }
    value.to_ascii_lowercase()
}

/// A dictionary in the form that the expressions take: texts in single quotes, and of these only what
/// stands in names and values by the rule of each.
fn literal(
    text: &str,
    between: &str,
    in_name: fn(char) -> bool,
    in_value: fn(char) -> bool,
) -> String {
    let Ok(Literal::Dict(entries)) = Literal::parse(text) else {
        return text.to_owned();
    };
    let quoted = |literal: &Literal, fits: fn(char) -> bool| match literal {
        Literal::Text(text) | Literal::Integer(text) => {
            let text = text.chars().map(|c| if fits(c) { c } else { 'x' });
            format!("'{}'", text.collect::<String>())
        }
        _ => "no text".to_owned(),
    };
    let entry = |(name, value): &(Literal, Literal)| {
        let value = match value {
            Literal::Dict(entries) => {
                let entry = |(name, value): &(Literal, Literal)| {
                    format!("{}: {}", quoted(name, in_name), quoted(value, in_value))
                };
                let entries: Vec<_> = entries.iter().map(entry).collect();
                format!("{{{}}}", entries.join(", "))
            }
            value => quoted(value, in_value),
        };
        format!("{}: {value}", quoted(name, in_name))
    };
    let entries: Vec<_> = entries.iter().map(entry).collect();
    if entries.is_empty() {
        return String::new();
    }
    format!("{{{}}}", entries.join(between))
}

/// Where the daemon of checkips and the expressions disagree: no event has their values, it reads them
/// in VDSM's configuration of the networks.
fn problems_of_daemon(asked: &[Asked]) -> Vec<String> {
    let values = asked.iter().enumerate().flat_map(|(at, one)| {
        let values = one.values.iter().enumerate();
        values.map(move |(number, value)| (format!("net{at}-{number}"), one, value))
    });
    let values: Vec<_> = values.collect();
    let nets = "/var/lib/vdsm/persistence/netconf/nets";
    let stamps = "/run/vdsm/checkips";
    let files = values.iter().map(|(network, one, value)| {
        let network_file = json!({"custom": {one.property.name.as_str(): value}});
        let text = host::File::Text(network_file.to_string());
        (format!("{nets}/{network}"), text)
    });
    let host = Host {
        files: files.collect(),
        dirs: vec![stamps.to_owned()],
        commands: [("ping".to_owned(), Vec::new())].into(),
        ..Host::default()
    };
    let firing = Firing::new("checkips", "after_get_stats", b"{}").on(&host);
    let root = firing.root().unwrap();
    let said = firing.directory().join("said");
    let words = root.wrapper();
    let mut daemon = Command::new(&words[0])
        .args(&words[1..])
        .arg(program("checkipsd"))
        .stdin(Stdio::null())
        .stderr(File::create(&said).unwrap())
        .spawn()
        .unwrap();
    // Of each network there is a stamp or a line.
    let end = Instant::now() + Duration::from_secs(30);
    let (mut refused, mut taken) = (BTreeSet::new(), BTreeSet::new());
    while refused.len() + taken.len() < values.len() && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
        let said = fs::read_to_string(&said).unwrap();
        let lines = said.lines().filter(|line| line.contains(": expected an "));
        let networks = lines.filter_map(|line| line.split('"').nth(1));
        refused = networks.map(str::to_owned).collect();
        let names = fs::read_dir(root.at(stamps)).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        taken = names.collect();
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let is_right = |(network, one, value): &&(String, &Asked, &String)| {
        let matches = one.pcre()(value) == "yes";
        taken.contains(network) == matches && refused.contains(network) != matches
    };
    let wrong = values.iter().filter(|value| !is_right(value));
    wrong
        .map(|(_, one, value)| format!("{}={}: checkipsd disagrees", one.place(), shown(value)))
        .collect()
}

#[test]
fn hooks_take_what_their_expressions_take() {
    let asked = Mutex::new(asked());
    let jobs = Mutex::new(Vec::new());
    contract::for_all(|subject| {
        for property in &subject.hook.properties {
            if !subject.sees(property) {
                continue;
            }
            // At the first event where the hook sees it.
            let mut asked = asked.lock().unwrap();
            let is_this =
                |one: &Asked| one.hook == subject.hook.name && one.property.name == property.name;
            if let Some(at) = asked.iter().position(is_this) {
                let one = asked.swap_remove(at);
                jobs.lock().unwrap().push(Job::new(subject, one));
            }
        }
    });
    let jobs = jobs.into_inner().unwrap();
    let (next, problems) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Relaxed)) {
            let found = job.problems();
            problems.lock().unwrap().extend(found);
        }
    };
    thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    let mut problems = problems.into_inner().unwrap();
    let asked = asked.into_inner().unwrap();
    let (of_daemon, left): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|one| one.hook == "checkips");
    let is_part = std::env::var("HOOKS").is_ok() || private_host().is_err();
    let left: Vec<_> = left.iter().map(Asked::place).collect();
    assert!(is_part || left.is_empty(), "no event for {left:?}");
    if !is_part {
        problems.extend(problems_of_daemon(&of_daemon));
    }
    problems.sort();
    assert_none(&problems);
}
