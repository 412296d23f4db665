// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks doctor`: whether a host has what its hooks need, whether VDSM can run them, and
//! nothing that runs by accident.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use vdsm_hooks::Result;
use vdsm_hooks::finding::{self, Finding, Severity};
use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::host::account::directories;
use vdsm_hooks::host::root::Root;
use vdsm_hooks::paths::HOOKS;
use vdsm_hooks::runner::installed::{Origin, Origins, Users};

use crate::diff::printable;
use crate::json::{self, objects};
use crate::{catalog, print};

mod asked;
mod events;
mod fences;
mod packages;
mod programs;
mod remedies;
mod unit;

/// Check that this host has what its hooks need, and that nothing runs by accident
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Root directory of the host to look at
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// Print one JSON object instead of text; see vdsm-hooks-json(7)
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Looks at every installed hook of the suite: its program at each of its events,
owners and modes, the programs it runs, its root helpers, sudo rules, settings,
services, SELinux labels, and what vdsmd's unit, fapolicyd and the kernel
forbid. And at everything else that VDSM would run: whether the user that VDSM
runs it as may do so, its interpreter and its line ends, who can change it and
the directories above it, backup copies, and second hooks for one job.

Users and groups are those of the host's /etc/passwd and /etc/group. Access
control lists are not looked at.

The lines below a finding are commands that mend it. They can be pasted into a
shell as they are; with --root they are for the host below that directory.

The exit status is 0 if all is well, 1 if there are warnings only, 2 if there
are problems. Run it as root: only root can ask sudo what user vdsm may do.

Example:
  vdsm-hooks doctor --root /mnt/sysimage";

#[derive(Default)]
struct Report {
    hooks: Vec<String>,
    /// Problems are hooks that do not work, and what runs that should not.
    findings: Vec<Finding>,
    /// What is worth knowing and not wrong.
    notes: Vec<Note>,
    /// What could not be looked at, and why.
    not_checked: Vec<String>,
}

/// Something worth knowing, and what one may do about it.
struct Note {
    what: String,
    commands: Option<String>,
}

/// A host, and what is found on it.
struct Host<'a> {
    root: Root,
    /// Owner and group of what belongs to nobody else: root, or whoever has installed below a directory
    /// of his own.
    owner: (u32, u32),
    users: Users,
    origins: Origins,
    /// The suite's hooks by their places, `event/file`.
    places: BTreeMap<String, &'a Manifest>,
    /// Directories on the way to what VDSM runs that were judged.
    judged: BTreeSet<PathBuf>,
    /// What whoever asks may not look at.
    hidden: BTreeSet<String>,
    report: Report,
}

/// Looks.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let hooks = catalog::all()?;
    let mut host = Host::new(Root::new(&arguments.root)?, &hooks)?;
    host.examine(&hooks)?;
    let report = host.report;
    if arguments.json {
        print(&json::text(&Answer::from(&report))?)?;
    } else {
        print(&text(&report)?)?;
    }
    let severity = finding::worst(&report.findings);
    Ok(ExitCode::from(severity.map_or(0, Severity::status)))
}

objects! {
    /// What `--json` prints.
    pub(crate) struct Answer<'a> {
        /// The hooks of the suite that are installed.
        hooks: &'a [String],
        /// What is wrong, or may be.
        findings: Vec<Found<'a>>,
        /// What is worth knowing and not wrong.
        notes: Vec<Noted<'a>>,
        /// What could not be looked at, and why.
        not_checked: &'a [String],
    }

    struct Found<'a> {
        /// Whether it is a problem (exit status 2), or a warning (1).
        problem: bool,
        /// With what: a hook, a file, an event.
        subject: &'a str,
        /// What is wrong.
        what: &'a str,
        /// Commands that mend it, one a line; null if none does.
        remedy: Option<&'a str>,
    }

    struct Noted<'a> {
        /// What is worth knowing.
        what: &'a str,
        /// Commands that change it, one a line; null if none does.
        remedy: Option<&'a str>,
    }
}

impl<'a> From<&'a Report> for Answer<'a> {
    fn from(report: &'a Report) -> Answer<'a> {
        let findings = report.findings.iter().map(|finding| Found {
            problem: finding.severity == Severity::Problem,
            subject: &finding.subject,
            what: &finding.text,
            remedy: finding.remedy.as_deref(),
        });
        let notes = report.notes.iter().map(|note| Noted {
            what: &note.what,
            remedy: note.commands.as_deref(),
        });
        Answer {
            hooks: &report.hooks,
            findings: findings.collect(),
            notes: notes.collect(),
            not_checked: &report.not_checked,
        }
    }
}

fn text(report: &Report) -> Result<String> {
    let mut text = match report.hooks.len() {
        0 => "No hook of this suite is installed.\n".to_owned(),
        1 => format!("One hook of this suite is installed: {}\n", report.hooks[0]),
        count => {
            let names = report.hooks.join(", ");
            format!("{count} hooks of this suite are installed: {names}\n")
        }
    };
    for finding in &report.findings {
        // First lines of others' files are in such texts.
        let shown = printable(&finding.to_string());
        write!(text, "\n{}: {shown}\n", finding.severity)?;
        for line in finding.remedy.iter().flat_map(|remedy| remedy.lines()) {
            writeln!(text, "    {line}")?;
        }
    }
    for note in &report.notes {
        write!(text, "\nnote: {}\n", note.what)?;
        for line in note.commands.iter().flat_map(|commands| commands.lines()) {
            writeln!(text, "    {line}")?;
        }
    }
    for what in &report.not_checked {
        write!(text, "\nnot checked: {what}\n")?;
    }
    if report.findings.is_empty() {
        text += "\nNo problems found.\n";
    }
    Ok(text)
}

impl<'a> Host<'a> {
    fn new(root: Root, hooks: &'a [Manifest]) -> Result<Host<'a>> {
        let directory = fs::metadata(root.path())?;
        let places = hooks.iter().flat_map(|hook| {
            hook.events
                .iter()
                .map(move |event| (hook.place(event), hook))
        });
        Ok(Host {
            owner: (directory.uid(), directory.gid()),
            users: Users::of_host(&root),
            origins: Origins::default(),
            places: places.collect(),
            judged: BTreeSet::new(),
            hidden: BTreeSet::new(),
            report: Report::default(),
            root,
        })
    }

    fn examine(&mut self, hooks: &'a [Manifest]) -> Result {
        let mut installed: Vec<&'a Manifest> = Vec::new();
        for hook in hooks {
            if self.has(hook) {
                installed.push(hook);
            } else {
                self.left(hook);
            }
        }
        self.report.hooks = installed.iter().map(|hook| hook.name.clone()).collect();
        for hook in &installed {
            self.programs(hook);
            self.helpers(hook);
            self.rules(hook);
            self.files(hook);
        }
        self.versions(&installed);
        self.commands(&installed);
        self.sudo(&installed);
        self.services(&installed);
        self.labels(&installed);
        self.unit_forbids(&installed);
        self.settings();
        self.fences(&installed);
        self.persisted(hooks, &installed);
        self.events(&installed)?;
        if !self.hidden.is_empty() {
            let hidden: Vec<&str> = self.hidden.iter().map(String::as_str).collect();
            let what = format!(
                "what you may not look at, but root may: {}",
                hidden.join(", ")
            );
            self.report.not_checked.push(what);
        }
        Ok(())
    }

    /// Whether a path is where whoever asks may not look: then nobody knows whether something is there.
    fn is_hidden(&mut self, path: &str) -> bool {
        let place = self.root.at(path);
        let is_closed = |at: &Path, wanted| access(at, wanted) == Err(Errno::EACCES);
        let look = AccessFlags::R_OK | AccessFlags::X_OK;
        let wanted = if place.is_dir() {
            look
        } else {
            AccessFlags::R_OK
        };
        let is_hidden = is_closed(&place, wanted);
        if is_hidden {
            let mut way = directories(self.root.path(), &place).into_iter();
            let closed = way.find(|at| is_closed(at, AccessFlags::X_OK));
            let shown = closed.unwrap_or(place);
            self.hidden.insert(printable(&shown.to_string_lossy()));
        }
        is_hidden
    }

    /// The hook's file at each event.
    fn places_of<'h>(hook: &'h Manifest) -> impl Iterator<Item = String> + use<'h> {
        let places = hook.events.iter().map(|event| hook.place(event));
        places.map(|place| format!("{HOOKS}/{place}"))
    }

    fn is_ours(&mut self, path: &str) -> bool {
        self.origins.of(&self.root.at(path)) == Some(Origin::Ours)
    }

    /// A path as it is on this machine, for messages.
    fn named(&self, path: &str) -> String {
        printable(&self.root.at(path).to_string_lossy())
    }

    /// A hook does not work, or something runs that should not.
    fn problem(&mut self, subject: &str, what: String, remedy: Vec<String>) {
        self.add(Severity::Problem, subject, what, remedy);
    }

    /// What may be meant as it is.
    fn warning(&mut self, subject: &str, what: String, remedy: Vec<String>) {
        self.add(Severity::Warning, subject, what, remedy);
    }

    fn add(&mut self, severity: Severity, subject: &str, what: String, remedy: Vec<String>) {
        let finding = Finding::new(severity, printable(subject), what);
        self.report
            .findings
            .push(finding.with_remedy(remedies::pasteable(remedy)));
    }

    fn note(&mut self, what: String, commands: &[String]) {
        let commands = remedies::pasteable(commands.to_vec());
        self.report.notes.push(Note { what, commands });
    }
}
