// SPDX-License-Identifier: GPL-2.0-or-later

//! What a dry run shows: line by line for people, or one object for scripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use vdsm_hooks::Result;
use vdsm_hooks::host::command::shell_quoted;
use vdsm_hooks::runner::data_file::Input;
use vdsm_hooks::runner::decision::{Decision, End, Outcome, Verdict};
use vdsm_hooks::runner::installed::Entry;
use vdsm_hooks::vdsm::events::Event;

use crate::diff::{coloured, printable};
use crate::print_to;
use crate::run::Change;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Where the report goes, and how.
pub(crate) struct Report<'a> {
    out: AutoStream<io::Stdout>,
    json: bool,
    event: &'a Event,
    /// What libvirt's schema had against the document before any hook.
    schema_before: Option<Vec<String>>,
}

/// The object for scripts.
#[derive(Serialize)]
struct Summary<'a> {
    event: &'a str,
    decision: &'a str,
    message: Option<&'a str>,
    /// Whether VDSM goes on with what the hooks made of the data.
    output_used: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_before: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_after: Option<&'a [String]>,
    hooks: Vec<HookSummary<'a>>,
}

#[derive(Serialize)]
struct HookSummary<'a> {
    name: &'a str,
    path: &'a str,
    status: &'a str,
    exit_status: Option<i32>,
    signal: Option<i32>,
    seconds: f64,
    stderr: String,
    diff: &'a str,
    /// Why VDSM could not read the data after this hook.
    problem: Option<&'a str>,
    /// What this hook broke; null when nobody asked.
    schema: Option<&'a [String]>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(json: bool, color: clap::ColorChoice, event: &'a Event) -> Report<'a> {
        let choice = match color {
            clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
            clap::ColorChoice::Always => anstream::ColorChoice::Always,
            clap::ColorChoice::Never => anstream::ColorChoice::Never,
        };
        Report {
            out: AutoStream::new(io::stdout(), choice),
            json,
            event,
            schema_before: None,
        }
    }

    /// For people, as it happens.
    fn say(&mut self, text: &str) -> Result {
        if self.json {
            return Ok(());
        }
        print_to(&mut self.out, text)
    }

    pub(crate) fn start(
        &mut self,
        hooks: &[Entry],
        hooks_dir: &Path,
        input: &Input,
        environment: &BTreeMap<String, String>,
    ) -> Result {
        let directory = hooks_dir.join(self.event.name);
        let count = match hooks {
            [] => "no hook to run".to_owned(),
            [_] => "1 hook".to_owned(),
            hooks => format!("{} hooks", hooks.len()),
        };
        let event = self.event.name;
        let mut text = format!(
            "{BOLD}{event}{BOLD:#}: {count} in {}\n",
            directory.display()
        );
        if let Some(vm) = &input.vm_name {
            let _ = writeln!(text, "{DIM}VM {}{DIM:#}", printable(vm));
        }
        // What tells this call from any other; the rest is the same for every hook.
        let names = input.parameters.iter().chain(&input.properties);
        let mut names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
        names.push("vmId");
        names.sort_unstable();
        names.dedup();
        for name in names {
            if let Some(value) = environment.get(name) {
                let setting = format!("{name}={}", shell_quoted(value));
                let _ = writeln!(text, "{DIM}  {}{DIM:#}", printable(&setting));
            }
        }
        text.push('\n');
        self.say(&text)
    }

    pub(crate) fn schema_before(&mut self, problems: &[String]) -> Result {
        self.schema_before = Some(problems.to_vec());
        if problems.is_empty() {
            return Ok(());
        }
        let yellow = AnsiColor::Yellow.on_default();
        let mut text = format!(
            "{yellow}schema: not valid before any hook{yellow:#} (judged is what hooks change)\n"
        );
        for problem in problems {
            let _ = writeln!(text, "  {}", printable(problem));
        }
        text.push('\n');
        self.say(&text)
    }

    pub(crate) fn hook(&mut self, outcome: &Outcome, change: &Change) -> Result {
        let colour = match outcome.end {
            End::Status(0) => AnsiColor::Green,
            End::Skipped => AnsiColor::Yellow,
            _ => AnsiColor::Red,
        };
        let style = colour.on_default();
        let name = printable(&outcome.name);
        let mut text = format!("{BOLD}{name}{BOLD:#}  {style}{}{style:#}", outcome.end);
        if outcome.end != End::Skipped {
            let _ = write!(text, "  {:.1} ms", outcome.time.as_secs_f64() * 1000.0);
            if change.diff.is_empty() && outcome.problem.is_none() {
                let _ = write!(text, "  {DIM}no change{DIM:#}");
            }
        }
        text.push('\n');
        for line in String::from_utf8_lossy(&outcome.stderr).lines() {
            let _ = writeln!(text, "  stderr: {}", printable(line));
        }
        if String::from_utf8_lossy(&outcome.stderr).contains("No module named 'hooking'") {
            text += "  (the module comes with VDSM; elsewhere, --hooking names its directory)\n";
        }
        let red = AnsiColor::Red.on_default();
        if let Some(problem) = &outcome.problem {
            let _ = writeln!(text, "  {red}data: {}{red:#}", printable(problem));
        }
        for problem in change.schema.iter().flatten() {
            let _ = writeln!(text, "  {red}schema: {}{red:#}", printable(problem));
        }
        text += &coloured(&change.diff);
        text.push('\n');
        self.say(&text)
    }

    /// `schema` is what libvirt's schema has against the result, `kept` what became of `--output`.
    pub(crate) fn end(
        &mut self,
        verdict: &Verdict,
        outcomes: &[Outcome],
        changes: &[Change],
        schema: Option<&[String]>,
        kept: Option<&str>,
    ) -> Result {
        if self.json {
            return self.summary(verdict, outcomes, changes, schema);
        }
        let (colour, words) = match verdict.decision {
            Decision::Proceeds => (AnsiColor::Green, "VDSM goes on"),
            Decision::ProceedsAfterFailure => (
                AnsiColor::Yellow,
                "VDSM goes on: a failure at this event is only logged",
            ),
            Decision::Stops => (AnsiColor::Red, "VDSM stops the operation"),
            Decision::Hangs => (AnsiColor::Red, "VDSM hangs"),
        };
        let style = colour.on_default();
        let mut text = format!("{style}{words}{style:#}");
        let changed = changes.iter().any(|change| !change.diff.is_empty());
        match verdict.decision {
            Decision::Proceeds | Decision::ProceedsAfterFailure if changed => {
                text += if self.event.output_used {
                    ", with what the hooks left"
                } else {
                    ", and ignores what hooks write at this event"
                };
            }
            _ => {}
        }
        text.push('\n');
        if let Some(message) = &verdict.message {
            let _ = writeln!(text, "  {}", printable(message));
        }
        if let Some(problems) = schema {
            let culprits = outcomes.iter().zip(changes).filter(|(_, change)| {
                let new = change.schema.as_ref();
                new.is_some_and(|new| !new.is_empty())
            });
            let culprits: Vec<_> = culprits.map(|(outcome, _)| outcome.name.as_str()).collect();
            let validity = match (problems.is_empty(), culprits.as_slice()) {
                (true, []) => "valid".to_owned(),
                (true, names) => format!(
                    "valid at the end, broken for a time by {}",
                    names.join(", ")
                ),
                (false, []) => "not valid, as before; nothing wrong is new".to_owned(),
                (false, names) => match &self.schema_before {
                    Some(before) if !before.is_empty() => {
                        format!("not valid, as before; made worse by {}", names.join(", "))
                    }
                    _ => format!("not valid, broken by {}", names.join(", ")),
                },
            };
            let _ = writeln!(text, "schema: {}", printable(&validity));
        }
        if let Some(kept) = kept {
            let _ = writeln!(text, "{}", printable(kept));
        }
        self.say(&text)
    }

    fn summary(
        &mut self,
        verdict: &Verdict,
        outcomes: &[Outcome],
        changes: &[Change],
        schema: Option<&[String]>,
    ) -> Result {
        let hooks = outcomes
            .iter()
            .zip(changes)
            .map(|(outcome, change)| HookSummary {
                name: &outcome.name,
                path: &outcome.path,
                status: outcome.end.keyword(),
                exit_status: match outcome.end {
                    End::Status(status) => Some(status),
                    _ => None,
                },
                signal: match outcome.end {
                    End::Signal(signal) => Some(signal),
                    _ => None,
                },
                seconds: outcome.time.as_secs_f64(),
                stderr: String::from_utf8_lossy(&outcome.stderr).into_owned(),
                diff: &change.diff,
                problem: outcome.problem.as_deref(),
                schema: change.schema.as_deref(),
            });
        let summary = Summary {
            event: self.event.name,
            decision: verdict.decision.keyword(),
            message: verdict.message.as_deref(),
            output_used: self.event.output_used,
            schema_before: self.schema_before.as_deref(),
            schema_after: schema,
            hooks: hooks.collect(),
        };
        let text = serde_json::to_string_pretty(&summary)? + "\n";
        print_to(&mut self.out, &text)
    }
}
