// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain check`: judges storage domains, without writing to them.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use vdsm_hooks::host::command;
use vdsm_hooks::storage::report::Survey;
use vdsm_hooks::storage::slots::Slots;
use vdsm_hooks::{Error, Result};

use super::find::{Finder, Seen};
use super::progress::Progress;
use super::report::{self, Report};
use super::sizes;

/// Judge storage domains: the seal, the values, the files
///
/// VDSM refuses a domain whose metadata does not fit its seal (_SHA_CKSUM), and drops it from the
/// engine's list silently. This command says whether the seal fits, why it probably does not,
/// and which command mends it. It judges by the rules of VDSM 4.4 and later, and mentions where
/// VDSM 4.3 or a script that works line by line would say otherwise. It also says what is wrong
/// with the values, the files, their sizes, modes and owners, and who holds the domain's lock. Where
/// LVM was asked, what it warned about comes after the domains.
///
/// Nothing is written, and no link is followed out of a domain. Domains are read side by side;
/// storage that does not answer is given up after a while.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The domain's directory, its dom_md, its metadata file, the mount that holds it, or its id
    #[arg(required_unless_present = "all", value_name = "PATH|UUID")]
    targets: Vec<PathBuf>,
    /// Check every domain that this host has mounted, and all volume groups that are domains
    #[arg(long)]
    all: bool,
    /// Check every volume too: its metadata, its parent, and the size that qemu-img sees
    #[arg(long)]
    volumes: bool,
    /// Print one JSON array: an object for every domain, and one for what LVM warns about
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: super::Host,
}

const HELP: &str = "\
Examples:
  Every domain of this host:
    vdsm-hooks domain check --all
  One domain by its id, wherever it is, with its volumes:
    vdsm-hooks domain check --volumes 37e0e64b-5445-4bc3-8675-ceff4637e8e3
  One domain, for a script:
    vdsm-hooks domain check --json /srv/export/37e0e64b-5445-4bc3-8675-ceff4637e8e3
  A copy of a metadata file, before it goes back:
    vdsm-hooks domain check /tmp/metadata

Exit status: 0 all is well; 1 findings: no seal, or something else that is wrong; 2 broken: the seal
does not fit, the text cannot be decoded, the metadata is empty or missing, or it could not be read.
What LVM warns about counts, as a finding, for the domain whose volume group it names.";

/// What takes longer than this counts as blocked, and nobody waits for it.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What is to be checked.
enum Target {
    /// What the administrator calls it: a path, or a domain's id.
    Path(PathBuf),
    /// A mount of this host; one without a domain is nobody's fault.
    Mount(PathBuf),
    /// The volume groups of this host.
    Groups,
}

fn targets(arguments: &Arguments, finder: &Finder) -> Result<Vec<Target>> {
    let mut targets: Vec<_> = arguments
        .targets
        .iter()
        .cloned()
        .map(Target::Path)
        .collect();
    if arguments.all {
        let mounts = finder.mounts()?;
        targets.extend(mounts.into_iter().map(Target::Mount));
        // A host without LVM has no groups.
        if command::find("lvm").is_ok() {
            targets.push(Target::Groups);
        }
    }
    Ok(targets)
}

impl Target {
    fn name(&self) -> String {
        match self {
            Target::Path(path) | Target::Mount(path) => path.to_string_lossy().into_owned(),
            Target::Groups => "volume groups".to_owned(),
        }
    }
}

/// Looks at targets.
struct Checker<'c> {
    finder: Finder,
    timeout: Duration,
    /// Those of qemu-img.
    slots: Slots,
    progress: &'c Progress,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let finder = Finder::new(&arguments.host, arguments.volumes)?;
    let targets = targets(arguments, &finder)?;
    let mut status = 0;
    let mut objects = Vec::new();
    Progress::show(targets.len(), |progress| {
        let checker = Checker {
            finder,
            timeout: arguments.host.timeout(),
            slots: Slots::new(sizes::at_once(), TIMEOUT),
            progress,
        };
        let mut said = Vec::new();
        checker.all(&targets, |number, reports| {
            status = reports.iter().map(status_of).fold(status, u8::max);
            let warnings = checker.finder.warnings();
            said.extend(warnings.into_iter().filter(|warning| {
                let mut reports = reports.iter().flatten();
                reports.any(|report| report.finds(warning))
            }));
            if arguments.json {
                let name = targets[number].name();
                objects.push((number, to_json(&name, &reports)));
                return Ok(());
            }
            progress.aside(|| print(&reports))
        })?;
        let mut warnings = checker.finder.warnings();
        warnings.retain(|warning| !said.contains(warning));
        if warnings.is_empty() {
            return Ok(());
        }
        if arguments.json {
            // Behind everything else.
            objects.push((targets.len(), vec![report::warnings_to_json(&warnings)]));
            return Ok(());
        }
        progress.aside(|| report::print_warnings(&mut anstream::stdout(), &warnings))
    })?;
    if arguments.json {
        objects.sort_by_key(|(number, _)| *number);
        let objects = objects.into_iter().flat_map(|(_, objects)| objects);
        writeln!(io::stdout(), "{:#}", Value::Array(objects.collect()))?;
    }
    Ok(ExitCode::from(status))
}

fn status_of(report: &Result<Report>) -> u8 {
    report.as_ref().map_or(2, Report::status)
}

fn to_json(target: &str, reports: &[Result<Report>]) -> Vec<Value> {
    let object = |report: &Result<Report>| match report {
        Ok(report) => report.to_json(target),
        Err(error) => json!({"path": target, "error": error.to_string()}),
    };
    reports.iter().map(object).collect()
}

fn print(reports: &[Result<Report>]) -> Result {
    let mut out = anstream::stdout();
    for report in reports {
        match report {
            Ok(report) => report.print(&mut out)?,
            Err(error) => super::say(error),
        }
    }
    Ok(())
}

impl Checker<'_> {
    /// Gives the reports on every target to `each`, in the order of the targets; but one that takes
    /// long does not hold up those behind it.
    fn all(
        &self,
        targets: &[Target],
        mut each: impl FnMut(usize, Vec<Result<Report>>) -> Result,
    ) -> Result {
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            for (number, target) in targets.iter().enumerate() {
                let threads_sender = sender.clone();
                let work = move || {
                    let reports = self.reports(target);
                    self.progress.place();
                    // Nobody listens any more once a report cannot be written.
                    let _ = threads_sender.send((number, reports));
                };
                if let Err(error) = thread::Builder::new().spawn_scoped(scope, work) {
                    let name = target.name();
                    let error = Error::new(format!("{name}: no thread can be made: {error}"));
                    let _ = sender.send((number, vec![Err(error)]));
                }
            }
            drop(sender);
            let mut waiting = BTreeMap::new();
            let (mut next, mut in_order) = (0, true);
            loop {
                match receiver.recv_timeout(TIMEOUT) {
                    Ok((number, reports)) => drop(waiting.insert(number, reports)),
                    Err(RecvTimeoutError::Timeout) => in_order = false,
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
                while let Some(first) = waiting.first_entry() {
                    let number = *first.key();
                    if in_order && number != next {
                        break;
                    }
                    next = number + 1;
                    each(number, first.remove())?;
                }
            }
        })
    }

    /// The reports on the domains at a target.
    fn reports(&self, target: &Target) -> Vec<Result<Report>> {
        let seen = match self.look(target) {
            Ok(seen) => seen,
            Err(error) => return vec![Err(error)],
        };
        let report = |one| match one {
            Seen::Group(group) => Ok(Report::of_group(&group, &self.finder.warnings())),
            Seen::File(survey) => self.report_on_files(*survey),
        };
        let mut reports: Vec<_> = seen.into_iter().map(report).collect();
        if let (Target::Groups, Some(trouble)) = (target, self.finder.trouble()) {
            reports.push(Err(Error::new(format!("some volume groups: {trouble}"))));
        }
        reports
    }

    fn report_on_files(&self, mut survey: Survey) -> Result<Report> {
        let images = std::mem::take(&mut survey.images);
        let directory = survey.directory().map(Path::to_owned);
        let mut report = Report::of_survey(survey)?;
        if let Some(directory) = directory {
            let findings = sizes::compare(
                &directory,
                &images,
                self.timeout,
                &self.slots,
                self.progress,
            );
            report.add(findings);
        }
        Ok(report)
    }

    fn look(&self, target: &Target) -> Result<Vec<Seen>> {
        match target {
            Target::Path(path) => self.finder.meant(path),
            Target::Mount(path) => self.finder.at(path),
            Target::Groups => self.finder.groups(),
        }
    }
}
