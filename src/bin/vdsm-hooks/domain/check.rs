// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain check`: judges storage domains, without writing to them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use vdsm_hooks::finding::{Finding, Severity};
use vdsm_hooks::host::command;
use vdsm_hooks::storage::engine;
use vdsm_hooks::storage::probe::Mount;
use vdsm_hooks::storage::report::Survey;
use vdsm_hooks::storage::slots::Slots;
use vdsm_hooks::{Error, Result};

use super::copies;
use super::find::{Finder, Seen};
use super::progress::Progress;
use super::report::{self, Report};
use super::sizes;
use crate::json::{self, objects};

/// Judge storage domains: the seal, the values, the files
///
/// VDSM refuses a domain whose metadata does not fit its seal (_SHA_CKSUM), and drops it from the
/// engine's list silently. This command says whether the seal fits, why it probably does not,
/// and which command mends it. It judges by the rules of VDSM 4.4 and later, and mentions where
/// VDSM 4.3 or a script that works line by line would say otherwise. It also says what is wrong
/// with the values, the files, their sizes, modes and owners, and who holds the domain's lock; of
/// each, which command mends it or what you have to do yourself, and what the engine shows of it.
/// Two domains with one id are told, and what LVM warned about, where it was asked. The last line
/// counts.
///
/// Nothing is written, and no link is followed out of a domain. Domains are read side by side;
/// storage that does not answer is given up after a while.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The domain's directory, its dom_md, its metadata file, the mount that holds it, or its id; - is
    /// metadata on standard input
    #[arg(required_unless_present = "all", value_name = "PATH|UUID")]
    targets: Vec<PathBuf>,
    /// Check every domain that this host has mounted, and all volume groups that are domains; a place
    /// without one is told
    #[arg(long)]
    all: bool,
    /// Check every volume too: its metadata, its parent, and the size that qemu-img sees
    #[arg(long)]
    volumes: bool,
    /// Print one JSON object instead of text; see vdsm-hooks-json(7)
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
    vdsm-hooks domain check --json /srv/export
  A copy of a metadata file, before it goes back:
    vdsm-hooks domain check /tmp/metadata
  Metadata of another machine:
    ssh nas cat /srv/export/*/dom_md/metadata | vdsm-hooks domain check -

Exit status: 0 all is well; 1 findings: no seal, or something else that is
wrong; 2 broken: the seal does not fit, the text cannot be decoded, the
metadata is empty or missing, or it could not be read, or there is no
repository; 3 with --all, no storage domain at all, as on a host whose storage
is not mounted. A place without a domain, and an id that two domains have, are
findings. What LVM warns about counts, as a finding, for the domain whose
volume group it names.";

/// What takes longer than this counts as blocked, and nobody waits for it.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The exit status where there is no domain at all.
const NONE: u8 = 3;

/// What is to be checked.
enum Target {
    /// What the administrator calls it: a path, or a domain's id.
    Path(PathBuf),
    /// A place where this host mounts storage.
    Mount(Mount),
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
            Target::Path(path) if super::is_standard_input(path) => {
                super::STANDARD_INPUT.to_owned()
            }
            Target::Path(path) => path.to_string_lossy().into_owned(),
            Target::Mount(mount) => mount.path.to_string_lossy().into_owned(),
            Target::Groups => "volume groups".to_owned(),
        }
    }
}

/// What comes out of looking at a target.
enum Told {
    /// There is a domain.
    Domain(Box<Report>),
    /// There is none, where there should be one: the place, and what is wrong.
    Vacant(String, Finding),
    /// It could not be looked at.
    Trouble(Error),
}

impl Told {
    /// A place of the host's without a domain.
    fn vacant(mount: &Mount) -> Told {
        let place = mount.path.display().to_string();
        let problem = if mount.is_empty {
            "nothing is mounted there, and no storage domain is in it"
        } else {
            "no storage domain in it"
        };
        let finding = Finding::warning("mount", problem)
            .with_advice(
                "if a domain belongs there, activate it in the engine, which mounts it, and look at what its server exports; if not, remove the directory, or unmount it",
            )
            .with_engine(engine::LOST);
        Told::Vacant(place, finding)
    }

    /// The exit status for it.
    fn status(&self) -> u8 {
        match self {
            Told::Domain(report) => report.status(),
            Told::Vacant(_, finding) => finding.severity.status(),
            Told::Trouble(_) => 2,
        }
    }

    fn report(&self) -> Option<&Report> {
        match self {
            Told::Domain(report) => Some(report),
            Told::Vacant(..) | Told::Trouble(_) => None,
        }
    }

    fn print(&self) -> Result {
        let mut out = anstream::stdout();
        match self {
            Told::Domain(report) => report.print(&mut out),
            Told::Vacant(place, finding) => report::print_alone(&mut out, place, finding),
            Told::Trouble(error) => {
                crate::complain(error);
                Ok(())
            }
        }
    }
}

impl From<Result<Report>> for Told {
    fn from(report: Result<Report>) -> Told {
        match report {
            Ok(report) => Told::Domain(Box::new(report)),
            Err(error) => Told::Trouble(error),
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
    let repository = finder.repository();
    let mut counts = Counts::default();
    let mut for_scripts = None;
    Progress::show(targets.len(), |progress| -> Result {
        let checker = Checker {
            finder,
            timeout: arguments.host.timeout(),
            slots: Slots::new(sizes::at_once(), TIMEOUT),
            progress,
        };
        let mut said = Vec::new();
        let mut identities = Vec::new();
        let mut all = Vec::new();
        checker.all(&targets, |number, told| {
            let warnings = checker.finder.warnings();
            let reports = || told.iter().filter_map(Told::report);
            said.extend(
                warnings
                    .into_iter()
                    .filter(|warning| reports().any(|report| report.finds(warning))),
            );
            identities.extend(reports().filter_map(Report::identity).cloned());
            told.iter().for_each(|one| counts.add(one));
            if arguments.json {
                let name = targets[number].name();
                all.extend(told.into_iter().map(|one| (number, name.clone(), one)));
                return Ok(());
            }
            progress.aside(|| told.iter().try_for_each(Told::print))
        })?;
        let copies = copies::find(&identities);
        counts.copies = copies.len();
        let mut warnings = checker.finder.warnings();
        warnings.retain(|warning| !said.contains(warning));
        if arguments.json {
            let of_id = |(id, finding): &(String, Finding)| report::Alone::new(id, finding);
            for_scripts = Some(Answer {
                copies: copies.iter().map(of_id).collect(),
                warnings: warnings.iter().map(report::Warning::from).collect(),
                ..Answer::new(all)
            });
            return Ok(());
        }
        progress.aside(|| {
            let mut out = anstream::stdout();
            for (id, finding) in &copies {
                report::print_alone(&mut out, &format!("storage domain {id}"), finding)?;
            }
            if !warnings.is_empty() {
                report::print_warnings(&mut out, &warnings)?;
            }
            if arguments.all || counts.domains > 1 {
                writeln!(out, "{counts}")?;
            }
            Ok(())
        })
    })?;
    if let Some(answer) = for_scripts {
        io::stdout().write_all(json::text(&answer)?.as_bytes())?;
    }
    if arguments.all && counts.domains == 0 && counts.troubles == 0 {
        return Ok(say_none(&repository));
    }
    Ok(ExitCode::from(counts.status()))
}

fn say_none(repository: &Path) -> ExitCode {
    crate::complain(&Error::new(format!(
        "no storage domain: none is mounted in {}, and no volume group that this host sees is one; is the storage connected?",
        repository.display()
    )));
    ExitCode::from(NONE)
}

objects! {
    /// What `--json` prints. Each list is in the order of the targets.
    pub(crate) struct Answer {
        /// The domains.
        domains: Vec<report::Told>,
        /// With `--all`, places where this host mounts storage that are without a domain.
        vacant: Vec<report::Alone>,
        /// Ids that several domains have.
        copies: Vec<report::Alone>,
        /// What LVM warned about, and no domain has among its findings.
        warnings: Vec<report::Warning>,
        /// Targets that could not be looked at.
        errors: Vec<Trouble>,
    }

    struct Trouble {
        /// The target.
        path: String,
        /// Why.
        error: String,
    }
}

impl Answer {
    /// Of what came out of targets with these names, in any order.
    fn new(mut all: Vec<(usize, String, Told)>) -> Answer {
        let mut answer = Answer {
            domains: Vec::new(),
            vacant: Vec::new(),
            copies: Vec::new(),
            warnings: Vec::new(),
            errors: Vec::new(),
        };
        all.sort_by_key(|(number, ..)| *number);
        for (_, target, told) in all {
            match told {
                Told::Domain(report) => answer.domains.push(report.told(&target)),
                Told::Vacant(place, finding) => {
                    answer.vacant.push(report::Alone::new(&place, &finding));
                }
                Told::Trouble(error) => answer.errors.push(Trouble {
                    path: target,
                    error: error.to_string(),
                }),
            }
        }
        answer
    }
}

/// How much was looked at, and what came out: the last line.
#[derive(Default)]
struct Counts {
    domains: usize,
    /// Those with the status 2.
    broken: usize,
    /// Those with the status 1.
    with_findings: usize,
    vacant: usize,
    troubles: usize,
    /// Ids that several domains have.
    copies: usize,
}

impl Counts {
    fn add(&mut self, told: &Told) {
        match told {
            Told::Domain(_) => self.domains += 1,
            Told::Vacant(..) => self.vacant += 1,
            Told::Trouble(_) => self.troubles += 1,
        }
        match (told, told.status()) {
            (Told::Domain(_), 2) => self.broken += 1,
            (Told::Domain(_), 1) => self.with_findings += 1,
            _ => {}
        }
    }

    fn status(&self) -> u8 {
        if self.broken + self.troubles > 0 {
            Severity::Problem.status()
        } else if self.with_findings + self.vacant + self.copies > 0 {
            Severity::Warning.status()
        } else {
            0
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = |number: usize, one: &str| {
            let end = if number == 1 { "" } else { "s" };
            format!("{number} {one}{end}")
        };
        f.write_str(&many(self.domains, "domain"))?;
        if self.status() == 0 && self.domains > 0 {
            return f.write_str(", nothing wrong");
        }
        for (number, words) in [
            (self.broken, format!("{} broken", self.broken)),
            (
                self.with_findings,
                format!("{} with findings", self.with_findings),
            ),
            (
                self.copies,
                format!("{} in several places", many(self.copies, "id")),
            ),
            (
                self.vacant,
                format!("{} without a domain", many(self.vacant, "place")),
            ),
            (
                self.troubles,
                format!("{} that cannot be looked at", many(self.troubles, "place")),
            ),
        ] {
            if number > 0 {
                write!(f, ", {words}")?;
            }
        }
        Ok(())
    }
}

impl Checker<'_> {
    /// Gives the reports on every target to `each`, in the order of the targets; but one that takes
    /// long does not hold up those behind it.
    fn all(&self, targets: &[Target], mut each: impl FnMut(usize, Vec<Told>) -> Result) -> Result {
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
                    let _ = sender.send((number, vec![Told::Trouble(error)]));
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

    /// What there is at a target.
    fn reports(&self, target: &Target) -> Vec<Told> {
        let seen = match (self.look(target), target) {
            (Ok(seen), Target::Mount(mount)) if seen.is_empty() => {
                return vec![Told::vacant(mount)];
            }
            (Ok(seen), _) => seen,
            (Err(error), _) => return vec![Told::Trouble(error)],
        };
        let report = |one| match one {
            Seen::Group(group) => Ok(Report::of_group(&group, &self.finder.warnings())),
            Seen::File(survey) => self.report_on_files(*survey),
        };
        let mut told: Vec<Told> = seen.into_iter().map(|one| report(one).into()).collect();
        if let (Target::Groups, Some(trouble)) = (target, self.finder.trouble()) {
            told.push(Told::Trouble(Error::new(format!(
                "some volume groups: {trouble}"
            ))));
        }
        told
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
            Target::Mount(mount) => self.finder.at(&mount.path),
            Target::Groups => self.finder.groups(),
        }
    }
}
