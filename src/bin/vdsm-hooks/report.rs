// SPDX-License-Identifier: GPL-2.0-or-later

//! What a dry run shows: line by line for people, or one object for scripts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use vdsm_hooks::Result;
use vdsm_hooks::host::command::shell_quoted;
use vdsm_hooks::runner::data_file::Input;
use vdsm_hooks::runner::decision::{Decision, End, Outcome, Verdict};
use vdsm_hooks::runner::installed::Entry;
use vdsm_hooks::runner::vdsm_log;
use vdsm_hooks::vdsm::events::{Event, Failure, Start};

use crate::diff::{coloured, printable};
use crate::json::{self, Names, objects};
use crate::run::Change;
use crate::{complain, print_to};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
/// So many hooks that have nothing to show are named, and so many letters of a property are shown.
const MAX_NAMED: usize = 3;
const MAX_VALUE_CHARS: usize = 60;
/// A hook that takes longer than this is worth a word although it did nothing.
const SLOW: Duration = Duration::from_secs(1);

/// How the report is to look.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) json: bool,
    /// Whether every hook is shown.
    pub(crate) all: bool,
    /// Whether what is wrong makes a status of its own.
    pub(crate) strict: bool,
    pub(crate) color: clap::ColorChoice,
    /// Whether standard output is for the result.
    pub(crate) to_stderr: bool,
}

/// What is known before the first hook.
pub(crate) struct Head<'a> {
    pub(crate) hooks: &'a [Entry],
    pub(crate) hooks_dir: &'a Path,
    pub(crate) input: &'a Input,
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// What is played otherwise than it was asked for.
    pub(crate) remark: Option<&'a str>,
    pub(crate) log: Option<&'a vdsm_log::Start>,
}

/// What is known after the last hook.
pub(crate) struct Ending<'a> {
    pub(crate) verdict: &'a Verdict,
    pub(crate) outcomes: &'a [Outcome],
    pub(crate) changes: &'a [Change],
    /// What libvirt's schema has against the result; none if it was not asked.
    pub(crate) problems: Option<&'a [String]>,
    /// What became of `--output`.
    pub(crate) kept: Option<&'a str>,
    /// Properties that have no effect, in words.
    pub(crate) unread: Vec<String>,
    pub(crate) log: Option<&'a vdsm_log::Start>,
}

/// Where the report goes, and how.
pub(crate) struct Report<'a> {
    out: Box<dyn io::Write>,
    look: Look,
    event: &'a Event,
    start: Option<Start>,
    vm: Option<String>,
    properties: Names<String>,
    remark: Option<String>,
    /// What libvirt's schema had against the document before any hook.
    schema_before: Option<Vec<String>>,
    /// Hooks that have nothing to show, and how long they took.
    quiet: Vec<(String, Duration)>,
    skipped: Vec<String>,
    left_out: Vec<String>,
    /// Whether a hook was shown.
    has_shown: bool,
    /// Why VDSM could not read the data, the last time somebody looked.
    problem: Option<String>,
}

objects! {
    /// What `--json` prints.
    pub(crate) struct Summary<'a> {
        /// The event.
        event: &'a str,
        /// In what way the VM starts: `cold`, `resume` or `migration`; null where none does.
        start: Option<&'a str>,
        /// What was played otherwise, in words.
        start_remark: Option<&'a str>,
        /// The name of the VM; null where the document does not say it.
        vm: Option<&'a str>,
        /// The custom properties of the VM and of the device as the hooks were given them.
        properties: &'a Names<String>,
        /// What VDSM does: `proceed`, `proceed-after-failure` (a hook failed, which is only logged),
        /// `stop` or `hang` (a hook did not end). The exit status 0 to 3 without `--strict`.
        decision: &'a str,
        /// What VDSM says when it stops.
        message: Option<&'a str>,
        /// Whether VDSM goes on with what the hooks made of the data.
        output_used: bool,
        /// What `--strict` counts, in words.
        findings: Vec<String>,
        /// What libvirt's schema had against the document before any hook; null if it was not asked.
        schema_before: Option<&'a [String]>,
        /// What it has against the result; null if it was not asked.
        schema_after: Option<&'a [String]>,
        /// The hooks, in the order of VDSM.
        hooks: Vec<HookSummary<'a>>,
        /// What VDSM's log says of the start; null without `--log`.
        log: Option<LogSummary<'a>>,
    }

    struct HookSummary<'a> {
        /// The name of its file.
        name: &'a str,
        /// The file.
        path: &'a str,
        /// How it ended: `ok`, `failed`, `failed-stop` (the hooks after it do not run), `killed` (by
        /// a signal), `timed-out`, `skipped` (a hook before it has ended the event) or `not-run` (it
        /// acts on more than the document, and `--act` was not given).
        status: &'a str,
        /// Its exit status; null if it did not exit.
        exit_status: Option<i32>,
        /// The number of the signal that killed it.
        signal: Option<i32>,
        /// How long it took.
        seconds: f64,
        /// What it said on standard error.
        stderr: String,
        /// What it changed, as a unified diff; empty if nothing.
        diff: &'a str,
        /// Why VDSM could not read the data after this hook.
        problem: Option<&'a str>,
        /// What this hook broke, by libvirt's schema; null if that was not asked.
        schema: Option<&'a [String]>,
    }

    struct LogSummary<'a> {
        /// When the start was.
        time: &'a str,
        /// The id of the VM.
        vm_id: &'a str,
        /// The ids of other VMs of the same name that were started before.
        namesakes: &'a [String],
        /// How many starts behind it cannot be read.
        unread: usize,
        /// The hooks that ran then, at all events of the start.
        hooks: Vec<LoggedHook<'a>>,
    }

    struct LoggedHook<'a> {
        /// The file.
        path: &'a str,
        /// Its exit status; negative, the number of a signal.
        rc: i32,
        /// What it said on standard error.
        stderr: &'a str,
    }
}

impl<'a> Report<'a> {
    pub(crate) fn new(look: Look, event: &'a Event, start: Option<Start>) -> Report<'a> {
        let choice = match look.color {
            clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
            clap::ColorChoice::Always => anstream::ColorChoice::Always,
            clap::ColorChoice::Never => anstream::ColorChoice::Never,
        };
        let out: Box<dyn io::Write> = if look.to_stderr {
            Box::new(AutoStream::new(io::stderr(), choice))
        } else {
            Box::new(AutoStream::new(io::stdout(), choice))
        };
        Report {
            out,
            look,
            event,
            start,
            vm: None,
            properties: Names(Vec::new()),
            remark: None,
            schema_before: None,
            quiet: Vec::new(),
            skipped: Vec::new(),
            left_out: Vec::new(),
            has_shown: false,
            problem: None,
        }
    }

    /// For people, as it happens.
    fn say(&mut self, text: &str) -> Result {
        if self.look.json {
            return Ok(());
        }
        print_to(&mut self.out, text)
    }

    pub(crate) fn start(&mut self, head: &Head<'_>) -> Result {
        self.remark = head.remark.map(str::to_owned);
        self.vm.clone_from(&head.input.vm_name);
        self.properties = Names(properties(head));
        let directory = head.hooks_dir.join(self.event.name);
        let count = match head.hooks {
            [] => "no hook to run".to_owned(),
            [_] => "1 hook".to_owned(),
            hooks => format!("{} hooks", hooks.len()),
        };
        let event = self.event.name;
        let start = self.start.map(|start| format!(", {start}"));
        let mut text = format!(
            "{BOLD}{event}{BOLD:#}: {count} in {}{}\n",
            directory.display(),
            start.unwrap_or_default()
        );
        text += &self.subject(head);
        if let Some(log) = head.log {
            let _ = writeln!(
                text,
                "{DIM}as the engine sent it, {}{DIM:#}",
                printable(&log.time)
            );
            let yellow = AnsiColor::Yellow.on_default();
            if log.unread > 0 {
                let _ = writeln!(
                    text,
                    "{yellow}starts behind it that cannot be read, of this VM perhaps: {}{yellow:#}",
                    log.unread
                );
            }
            for id in &log.namesakes {
                let id = shell_quoted(id);
                let _ = writeln!(
                    text,
                    "{yellow}another VM had this name before: --vm {} chooses it{yellow:#}",
                    printable(&id)
                );
            }
        }
        if let Some(remark) = head.remark {
            let yellow = AnsiColor::Yellow.on_default();
            let _ = writeln!(text, "{yellow}{}{yellow:#}", printable(remark));
        }
        self.say(&text)
    }

    /// The VM and its properties: what tells this call from any other; the rest is the same for every
    /// hook.
    fn subject(&self, head: &Head<'_>) -> String {
        let values = self.properties.0.iter().map(|(name, value)| {
            let setting = match value.char_indices().nth(MAX_VALUE_CHARS) {
                Some((end, _)) if !self.look.all => {
                    format!("{name}={}...", shell_quoted(&value[..end]))
                }
                _ => format!("{name}={}", shell_quoted(value)),
            };
            printable(&setting)
        });
        let vm = head
            .input
            .vm_name
            .as_ref()
            .map(|vm| format!("VM {}", printable(vm)));
        let parts: Vec<String> = vm.into_iter().chain(values).collect();
        if parts.is_empty() {
            return String::new();
        }
        let between = if self.look.all { "\n  " } else { "  " };
        format!("{DIM}{}{DIM:#}\n", parts.join(between))
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
        self.say(&text)
    }

    pub(crate) fn hook(&mut self, outcome: &Outcome, change: &Change) -> Result {
        let is_old = outcome.problem == self.problem;
        self.problem.clone_from(&outcome.problem);
        let name = printable(&outcome.name);
        if !self.look.all {
            let is_silent = outcome.stderr.is_empty()
                && change.diff.is_empty()
                && change.schema.iter().flatten().next().is_none()
                && (outcome.problem.is_none() || is_old);
            match outcome.end {
                End::Status(0) if is_silent => {
                    self.quiet.push((name, outcome.time));
                    return Ok(());
                }
                End::Skipped => {
                    self.skipped.push(name);
                    return Ok(());
                }
                _ => {}
            }
        }
        // Said at the end, with the way to have it run.
        if outcome.end == End::LeftOut {
            self.left_out.push(name);
            return Ok(());
        }
        self.has_shown = true;
        self.say(&shown(&name, outcome, change))
    }

    /// Says whether something is wrong that VDSM would not notice.
    pub(crate) fn end(&mut self, ending: &Ending<'_>) -> Result<bool> {
        let findings = findings(ending);
        let is_wrong = !findings.is_empty();
        if self.look.json {
            self.summary(ending, findings)?;
            return Ok(is_wrong);
        }
        let mut text = String::new();
        if self.has_shown {
            text.push('\n');
        }
        text += &self.folded();
        text += &self.decision(ending);
        if let Some(log) = ending.log {
            text += &logged(log, self.event.name, ending.outcomes);
        }
        if let Some(problems) = ending.problems {
            let validity = self.validity(problems, &culprits(ending));
            let _ = writeln!(text, "schema: {}", printable(&validity));
        }
        if let Some(kept) = ending.kept {
            let _ = writeln!(text, "{}", printable(kept));
        }
        if self.look.strict && is_wrong {
            let _ = writeln!(text, "strict: {}", printable(&findings.join("; ")));
        }
        text += &self.tally(ending);
        self.say(&text)?;
        for line in &ending.unread {
            // Nobody may be there to read it.
            complain(line);
        }
        Ok(is_wrong)
    }

    /// The hooks that were not shown.
    fn folded(&self) -> String {
        let mut text = String::new();
        if !self.quiet.is_empty() {
            let names = self.quiet.iter().map(|(name, _)| name.as_str());
            let _ = write!(text, "{}: {DIM}no change{DIM:#}", some(names));
            let slowest = self.quiet.iter().max_by_key(|(_, time)| *time);
            if let Some((name, time)) = slowest.filter(|(_, time)| *time > SLOW) {
                let _ = write!(text, "; {name} took {:.1} s", time.as_secs_f64());
            }
            text.push('\n');
        }
        if !self.skipped.is_empty() {
            let yellow = AnsiColor::Yellow.on_default();
            let names = some(self.skipped.iter().map(String::as_str));
            let _ = writeln!(text, "{names}: {yellow}{}{yellow:#}", End::Skipped);
        }
        if !self.left_out.is_empty() {
            let yellow = AnsiColor::Yellow.on_default();
            let names = self.left_out.join(", ");
            let _ = writeln!(
                text,
                "{names}: {yellow}{}; --act runs such hooks{yellow:#}",
                End::LeftOut
            );
        }
        text
    }

    /// What VDSM does.
    fn decision(&self, ending: &Ending<'_>) -> String {
        let verdict = ending.verdict;
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
        let changed = ending.changes.iter().any(|change| !change.diff.is_empty());
        match verdict.decision {
            Decision::Proceeds | Decision::ProceedsAfterFailure if changed => {
                text += if self.event.output_used_at(self.start) {
                    ", with what the hooks left"
                } else if self.event.output_used {
                    ", and drops what the hooks left: the VM has the document with which it was saved"
                } else {
                    ", and ignores what hooks write at this event"
                };
            }
            _ => {}
        }
        let goes_on = matches!(
            verdict.decision,
            Decision::Proceeds | Decision::ProceedsAfterFailure
        );
        if goes_on && self.event.failure == Failure::Aborts && !self.left_out.is_empty() {
            let _ = write!(text, ", unless {} fails", self.left_out.join(" or "));
        }
        text.push('\n');
        if let Some(message) = &verdict.message {
            let _ = writeln!(text, "  {}", printable(message));
        }
        text
    }

    fn validity(&self, problems: &[String], culprits: &[&str]) -> String {
        let names = culprits.join(", ");
        match (problems.is_empty(), culprits.is_empty()) {
            (true, true) => "valid".to_owned(),
            (true, false) => format!("valid at the end, broken for a time by {names}"),
            (false, true) => "not valid, as before; nothing wrong is new".to_owned(),
            (false, false) => match &self.schema_before {
                Some(before) if !before.is_empty() => {
                    format!("not valid, as before; made worse by {names}")
                }
                _ => format!("not valid, broken by {names}"),
            },
        }
    }

    /// The last line: who changed the document, who warned, who failed.
    fn tally(&self, ending: &Ending<'_>) -> String {
        let both = || ending.outcomes.iter().zip(ending.changes);
        let names = |wanted: &dyn Fn(&Outcome, &Change) -> bool| -> Vec<String> {
            let found = both().filter(|(outcome, change)| wanted(outcome, change));
            found.map(|(outcome, _)| printable(&outcome.name)).collect()
        };
        let total = ending.outcomes.len();
        if total == 0 {
            return "no hook ran\n".to_owned();
        }
        let changed = names(&|_, change| !change.diff.is_empty());
        let what = if self.event.data.is_json() {
            "data"
        } else {
            "document"
        };
        let of = if total == 1 { "hook" } else { "hooks" };
        let mut text = format!("{} of {total} {of} changed the {what}", changed.len());
        if !changed.is_empty() {
            let _ = write!(text, ": {}", changed.join(", "));
        }
        for (who, did) in [
            (names(&|outcome, _| outcome.warned()), "warned"),
            (names(&|outcome, _| outcome.end.failed()), "failed"),
            (
                names(&|outcome, _| outcome.end == End::TimedOut),
                "did not end",
            ),
            (names(&|outcome, _| outcome.end == End::LeftOut), "not run"),
        ] {
            if !who.is_empty() {
                let _ = write!(text, "; {} {did}: {}", who.len(), who.join(", "));
            }
        }
        text.push('\n');
        text
    }

    fn summary(&mut self, ending: &Ending<'_>, findings: Vec<String>) -> Result {
        let hooks = ending
            .outcomes
            .iter()
            .zip(ending.changes)
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
            start: self.start.map(Start::keyword),
            start_remark: self.remark.as_deref(),
            vm: self.vm.as_deref(),
            properties: &self.properties,
            decision: ending.verdict.decision.keyword(),
            message: ending.verdict.message.as_deref(),
            output_used: self.event.output_used_at(self.start),
            findings,
            schema_before: self.schema_before.as_deref(),
            schema_after: ending.problems,
            hooks: hooks.collect(),
            log: ending.log.map(|log| LogSummary {
                time: &log.time,
                vm_id: &log.vm_id,
                namesakes: &log.namesakes,
                unread: log.unread,
                hooks: log.hooks.iter().map(logged_hook).collect(),
            }),
        };
        print_to(&mut self.out, &json::text(&summary)?)
    }
}

/// What tells this call from any other, with the id of the VM.
fn properties(head: &Head<'_>) -> Vec<(String, String)> {
    let names = head.input.parameters.iter().chain(&head.input.properties);
    let mut names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
    names.push("vmId");
    names.sort_unstable();
    names.dedup();
    let value = |name: &str| Some((name.to_owned(), head.environment.get(name)?.clone()));
    names.into_iter().filter_map(value).collect()
}

fn logged_hook(hook: &vdsm_log::Ran) -> LoggedHook<'_> {
    LoggedHook {
        path: &hook.path,
        rc: hook.status,
        stderr: &hook.stderr,
    }
}

/// What a hook did, a blank line in front.
fn shown(name: &str, outcome: &Outcome, change: &Change) -> String {
    let colour = match outcome.end {
        End::Status(0) => AnsiColor::Green,
        End::Skipped | End::LeftOut => AnsiColor::Yellow,
        _ => AnsiColor::Red,
    };
    let style = colour.on_default();
    let mut text = format!("\n{BOLD}{name}{BOLD:#}  {style}{}{style:#}", outcome.end);
    if outcome.end.has_run() {
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
    text + &coloured(&change.diff)
}

/// The names, or how many there are.
fn some<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    if names.len() > MAX_NAMED {
        format!("{} hooks", names.len())
    } else {
        names.collect::<Vec<_>>().join(", ")
    }
}

/// The hooks since which the schema has something new against the document.
fn culprits<'e>(ending: &Ending<'e>) -> Vec<&'e str> {
    let both = ending.outcomes.iter().zip(ending.changes);
    let broke = both.filter(|(_, change)| {
        let new = change.schema.as_ref();
        new.is_some_and(|new| !new.is_empty())
    });
    broke.map(|(outcome, _)| outcome.name.as_str()).collect()
}

/// What is wrong although VDSM would go on.
fn findings(ending: &Ending<'_>) -> Vec<String> {
    let warned = ending.outcomes.iter().filter(|outcome| outcome.warned());
    let mut findings: Vec<_> = warned
        .map(|outcome| format!("{} warned", outcome.name))
        .collect();
    let left_out = ending.outcomes.iter();
    let left_out = left_out.filter(|outcome| outcome.end == End::LeftOut);
    findings.extend(left_out.map(|outcome| format!("{} was not run", outcome.name)));
    let culprits = culprits(ending);
    let is_valid = ending.problems.is_none_or(<[String]>::is_empty);
    if !is_valid && !culprits.is_empty() {
        findings.push(format!("the schema is broken by {}", culprits.join(", ")));
    }
    findings.extend(ending.unread.iter().cloned());
    findings
}

/// What the log says of the event's hooks, beside what they did now.
fn logged(log: &vdsm_log::Start, event: &str, outcomes: &[Outcome]) -> String {
    let of_event: Vec<_> = log.hooks.iter().filter(|hook| hook.is_of(event)).collect();
    let is_worth_a_line = |hook: &&&vdsm_log::Ran| hook.status != 0 || !hook.stderr.is_empty();
    let told: Vec<_> = of_event.iter().filter(is_worth_a_line).collect();
    if of_event.is_empty() {
        return format!("in the log: no hook ran at {event}\n");
    }
    let mut text = format!(
        "in the log: {} of {} hooks at {event} failed or said something\n",
        told.len(),
        of_event.len()
    );
    for hook in told {
        let name = Path::new(&hook.path).file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        let now = outcomes.iter().find(|outcome| outcome.name == name);
        let now = now.map_or("not run", |outcome| outcome.end.keyword());
        let name = printable(&name);
        let _ = writeln!(text, "  {name}  rc={}, here {now}", hook.status);
        for line in hook.stderr.lines() {
            let _ = writeln!(text, "    stderr: {}", printable(line));
        }
    }
    text
}
