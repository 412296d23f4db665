// SPDX-License-Identifier: GPL-2.0-or-later

//! What VDSM would have decided, from how the hooks ended and what they left (VDSM 4.50
//! lib/vdsm/common/hooks.py: `_runHooksDir`).

use std::fmt::{self, Display, Formatter, Write as _};
use std::time::Duration;

use crate::vdsm::events::{Event, Failure};

/// How one hook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It has exited with this status.
    Status(i32),
    /// It was killed by this signal.
    Signal(i32),
    /// It did not end in time; it, or a child of it that held its output open, was killed.
    TimedOut,
    /// An earlier hook, or VDSM itself, kept it from running.
    Skipped,
    /// VDSM would run it, and whoever plays VDSM has not: it acts on more than the data.
    LeftOut,
}

impl End {
    /// For scripts.
    pub fn keyword(self) -> &'static str {
        match self {
            End::Status(0) => "ok",
            End::Status(2) => "failed-stop",
            End::Status(_) => "failed",
            End::Signal(_) => "killed",
            End::TimedOut => "timed-out",
            End::Skipped => "skipped",
            End::LeftOut => "not-run",
        }
    }

    /// Whether the hook has run at all.
    pub fn has_run(self) -> bool {
        !matches!(self, End::Skipped | End::LeftOut)
    }

    /// Whether VDSM takes it for a failure.
    pub fn failed(self) -> bool {
        matches!(self, End::Status(1..) | End::Signal(_))
    }
}

/// What a failure means for the hooks of the same event. Whether VDSM goes on with the operation is
/// another matter: see [`judge`].
const OTHERS_RUN: &str = "the hooks after it still run";

/// For people.
impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            End::Status(0) => f.write_str("ok"),
            End::Status(2) => f.write_str("failed (exit status 2); the hooks after it do not run"),
            End::Status(1) => write!(f, "failed (exit status 1); {OTHERS_RUN}"),
            End::Status(other) => {
                write!(
                    f,
                    "failed (exit status {other}, which VDSM warns of); {OTHERS_RUN}"
                )
            }
            End::Signal(number) => write!(f, "failed (killed by signal {number}); {OTHERS_RUN}"),
            End::TimedOut => f.write_str("timed out"),
            End::Skipped => f.write_str("skipped"),
            End::LeftOut => f.write_str("not run (acts on more than the document)"),
        }
    }
}

/// What became of one hook.
#[derive(Debug)]
pub struct Outcome {
    /// Its file name, made printable.
    pub name: String,
    /// Its path, as VDSM calls it.
    pub path: String,
    /// How it ended.
    pub end: End,
    /// How long it ran.
    pub time: Duration,
    /// What it said on standard error.
    pub stderr: Vec<u8>,
    /// Why VDSM could not read the data file after this hook.
    pub problem: Option<String>,
}

impl Outcome {
    /// Whether the hook has said something although it did its work.
    pub fn warned(&self) -> bool {
        self.end == End::Status(0) && !self.stderr.trim_ascii().is_empty()
    }
}

/// What VDSM does after the last hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It goes on with the operation.
    Proceeds,
    /// It goes on although a hook failed.
    ProceedsAfterFailure,
    /// It stops the operation.
    Stops,
    /// It waits for a hook that does not end.
    Hangs,
}

impl Decision {
    /// For scripts.
    pub fn keyword(self) -> &'static str {
        match self {
            Decision::Proceeds => "proceed",
            Decision::ProceedsAfterFailure => "proceed-after-failure",
            Decision::Stops => "stop",
            Decision::Hangs => "hang",
        }
    }

    /// The exit status of a program that says so: 0 to 3 in the order of the variants.
    pub fn status(self) -> u8 {
        match self {
            Decision::Proceeds => 0,
            Decision::ProceedsAfterFailure => 1,
            Decision::Stops => 2,
            Decision::Hangs => 3,
        }
    }
}

/// The decision, and in words why, where the operation does not go on.
#[derive(Debug)]
pub struct Verdict {
    /// What VDSM does.
    pub decision: Decision,
    /// Why, where the operation does not go on.
    pub message: Option<String>,
}

/// Decides as VDSM does. `vm` is the VM's name.
pub fn judge(event: &Event, outcomes: &[Outcome], vm: &str) -> Verdict {
    let verdict = |decision, message| Verdict { decision, message };
    let ran = || outcomes.iter().filter(|outcome| outcome.end.has_run());
    if event.failure == Failure::CannotStart && !outcomes.is_empty() {
        let what = "VDSM passes FROM_SNAPSHOT as a boolean at this event and cannot start any hook";
        return verdict(Decision::Stops, Some(what.to_owned()));
    }
    if let Some(hook) = ran().find(|outcome| outcome.end == End::TimedOut) {
        let what = format!("VDSM would wait for {} indefinitely", hook.name);
        return verdict(Decision::Hangs, Some(what));
    }
    let aborts = event.failure == Failure::Aborts;
    let last_failed = ran().rfind(|outcome| outcome.end.failed());
    if let Some(last_failed) = last_failed.filter(|_| aborts && !event.shows_last_failed()) {
        let shown = ran().next_back().unwrap_or(last_failed);
        return verdict(Decision::Stops, Some(hook_error(event, vm, &shown.stderr)));
    }
    // The data is read back before a failure at the VM's start counts.
    if let Some((hook, problem)) = culprit(outcomes) {
        let what = format!("VDSM cannot read the data that {hook} left: {problem}");
        return verdict(Decision::Stops, Some(what));
    }
    match last_failed {
        Some(hook) if aborts => verdict(Decision::Stops, Some(hook_error(event, vm, &hook.stderr))),
        Some(_) => verdict(Decision::ProceedsAfterFailure, None),
        None => verdict(Decision::Proceeds, None),
    }
}

/// The hook since which the data is of no use, if it still is at the end.
fn culprit(outcomes: &[Outcome]) -> Option<(&str, &str)> {
    let ran = outcomes.iter().rev().filter(|one| one.end.has_run());
    let broken =
        ran.map_while(|outcome| Some((outcome.name.as_str(), outcome.problem.as_deref()?)));
    broken.last()
}

/// The error as the administrator reads it in the engine.
fn hook_error(event: &Event, vm: &str, stderr: &[u8]) -> String {
    let error = format!("Hook Error: ({},)", python_bytes(stderr));
    if event.starts_vm() {
        format!("VM {vm} is down with error. Exit message: {error}")
    } else {
        error
    }
}

/// `bytes` as Python shows them.
fn python_bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        '"'
    } else {
        '\''
    };
    let mut text = format!("b{quote}");
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\'' if quote == '\'' => text.push_str("\\'"),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push(quote);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vdsm::events;

    fn outcome(name: &str, end: End, problem: Option<&str>) -> Outcome {
        Outcome {
            name: name.to_owned(),
            path: String::new(),
            end,
            time: Duration::ZERO,
            stderr: name.as_bytes().to_vec(),
            problem: problem.map(str::to_owned),
        }
    }

    const OK: End = End::Status(0);
    const FAIL: End = End::Status(1);
    const STOP: End = End::Status(2);

    /// An event, how its hooks ended and what is wrong with the data that they left, and what VDSM
    /// makes of it.
    type Rule = (
        &'static str,
        &'static [(&'static str, End, Option<&'static str>)],
        Decision,
        Option<&'static str>,
    );

    const RULES: &[Rule] = &[
        (
            "before_vm_start",
            &[("a", OK, None)],
            Decision::Proceeds,
            None,
        ),
        // The last that failed.
        (
            "before_vm_start",
            &[("a", FAIL, None), ("b", OK, None)],
            Decision::Stops,
            Some("VM x is down with error. Exit message: Hook Error: (b'a',)"),
        ),
        // The last that ran.
        (
            "before_vm_pause",
            &[("a", FAIL, None), ("b", OK, None)],
            Decision::Stops,
            Some("Hook Error: (b'b',)"),
        ),
        (
            "before_nic_hotplug",
            &[("a", STOP, None), ("b", End::Skipped, None)],
            Decision::Stops,
            Some("Hook Error: (b'a',)"),
        ),
        (
            "before_nic_hotplug",
            &[("a", End::Signal(9), None)],
            Decision::Stops,
            Some("Hook Error: (b'a',)"),
        ),
        (
            "after_vm_start",
            &[("a", STOP, None)],
            Decision::ProceedsAfterFailure,
            None,
        ),
        (
            "after_vm_start",
            &[("a", End::Status(200), None)],
            Decision::ProceedsAfterFailure,
            None,
        ),
        // What has not run has neither failed nor broken anything.
        (
            "before_nic_hotplug",
            &[("a", FAIL, None), ("b", End::LeftOut, None)],
            Decision::Stops,
            Some("Hook Error: (b'a',)"),
        ),
        (
            "before_vm_start",
            &[("a", End::LeftOut, Some("p")), ("b", OK, None)],
            Decision::Proceeds,
            None,
        ),
        // Data that cannot be read breaks even these; a later hook may mend it.
        (
            "after_get_caps",
            &[("a", OK, Some("p")), ("b", OK, Some("p"))],
            Decision::Stops,
            Some("VDSM cannot read the data that a left: p"),
        ),
        (
            "after_get_caps",
            &[("a", OK, Some("p")), ("b", OK, None)],
            Decision::Proceeds,
            None,
        ),
        // Failures are raised before the data is read, but not at the VM's start.
        (
            "before_get_caps",
            &[("a", FAIL, Some("p"))],
            Decision::Stops,
            Some("Hook Error: (b'a',)"),
        ),
        (
            "before_vm_start",
            &[("a", FAIL, Some("p"))],
            Decision::Stops,
            Some("VDSM cannot read the data that a left: p"),
        ),
        (
            "after_vm_start",
            &[("a", End::TimedOut, None), ("b", End::Skipped, None)],
            Decision::Hangs,
            Some("VDSM would wait for a indefinitely"),
        ),
        ("after_vm_start", &[], Decision::Proceeds, None),
        ("after_vm_dehibernate", &[], Decision::Proceeds, None),
        (
            "after_vm_dehibernate",
            &[("a", End::Skipped, None)],
            Decision::Stops,
            Some("VDSM passes FROM_SNAPSHOT as a boolean at this event and cannot start any hook"),
        ),
    ];

    #[test]
    fn vdsms_rules() {
        for (event, hooks, decision, message) in RULES {
            let outcomes: Vec<_> = hooks
                .iter()
                .map(|(name, end, problem)| outcome(name, *end, *problem))
                .collect();
            let event = events::find(event).unwrap();
            let verdict = judge(event, &outcomes, "x");
            assert_eq!(verdict.decision, *decision, "{} {hooks:?}", event.name);
            assert_eq!(
                verdict.message.as_deref(),
                *message,
                "{} {hooks:?}",
                event.name
            );
        }
    }

    #[test]
    fn bytes_look_as_in_python() {
        for (bytes, shown) in [
            (&b"plain\n"[..], r"b'plain\n'"),
            (b"it's", r#"b"it's""#),
            (b"'\"", r#"b'\'"'"#),
            (b"\xc3\xa9\\\t\x00", r"b'\xc3\xa9\\\t\x00'"),
        ] {
            assert_eq!(python_bytes(bytes), shown);
        }
    }
}
