// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain check`: judges storage domains, without writing to them.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vdsm_hooks::storage::lvm::{Group, Lvm};
use vdsm_hooks::storage::survey::{Content, Survey};
use vdsm_hooks::storage::turns::Turns;
use vdsm_hooks::storage::{self, Place, Roots, Use, is_uuid, probe};
use vdsm_hooks::{Error, Result, cmd};

use super::progress::Progress;
use super::report::Report;
use super::sizes;

/// Judge storage domains: the seal, the values, the files
///
/// VDSM refuses a domain whose metadata does not fit its seal (_SHA_CKSUM), and drops it from the
/// engine's list without a word. This command says whether the seal fits, why it probably does not,
/// and which command mends it. It judges by the rules of VDSM 4.4 and later, and mentions where
/// VDSM 4.3 or a script that works line by line would say otherwise. It also says what is wrong
/// with the values, the files, their sizes, modes and owners, and who holds the domain's lock.
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
    /// Print one JSON array with an object for every domain
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
does not fit, the text cannot be decoded, the metadata is empty or missing, or it could not be read.";

/// What takes longer than this counts as blocked, and nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is to be checked.
enum Target {
    Path(PathBuf),
    Id(String),
    /// A mount of this host; one without a domain is nobody's fault.
    Mount(PathBuf),
    /// The volume groups of this host.
    Groups,
}

fn targets(arguments: &Arguments, roots: &Roots, end: Instant) -> Result<Vec<Target>> {
    let mut targets: Vec<Target> = arguments
        .targets
        .iter()
        .map(|target| match target.to_str() {
            Some(id) if is_uuid(id) && !target.exists() => Target::Id(id.to_owned()),
            _ => Target::Path(target.clone()),
        })
        .collect();
    if arguments.all {
        let mounts = probe::mounts(roots, end)?;
        targets.extend(mounts.into_iter().map(Target::Mount));
        // A host without LVM has no groups.
        if cmd::find("lvm").is_ok() {
            targets.push(Target::Groups);
        }
    }
    Ok(targets)
}

impl Target {
    fn name(&self) -> String {
        match self {
            Target::Path(path) | Target::Mount(path) => path.to_string_lossy().into_owned(),
            Target::Id(id) => id.clone(),
            Target::Groups => "volume groups".to_owned(),
        }
    }
}

/// What was seen at a target.
enum Seen {
    File(Box<Survey>),
    Group(Group),
}

/// Looks at targets.
struct Checker<'c> {
    with_volumes: bool,
    timeout: Duration,
    roots: &'c Roots,
    lvm: Lvm,
    end: Instant,
    /// Those of qemu-img.
    turns: Turns,
    progress: &'c Progress,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let roots = arguments.host.roots()?;
    let end = arguments.host.end();
    let targets = targets(arguments, &roots, end)?;
    let mut status = 0;
    let mut objects = Vec::new();
    Progress::show(targets.len(), |progress| {
        let checker = Checker {
            with_volumes: arguments.volumes,
            timeout: arguments.host.timeout(),
            roots: &roots,
            lvm: Lvm::new(end),
            end,
            turns: Turns::new(sizes::at_once(), PATIENCE),
            progress,
        };
        checker.all(&targets, |number, reports| {
            status = reports.iter().map(status_of).fold(status, u8::max);
            if arguments.json {
                let name = targets[number].name();
                objects.push((number, to_json(&name, &reports)));
                return Ok(());
            }
            progress.aside(|| print(&reports))
        })
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
                let sender = sender.clone();
                scope.spawn(move || {
                    let reports = self.reports(target);
                    self.progress.place();
                    // Nobody listens any more once a report cannot be written.
                    let _ = sender.send((number, reports));
                });
            }
            drop(sender);
            let mut waiting = BTreeMap::new();
            let (mut next, mut in_order) = (0, true);
            loop {
                match receiver.recv_timeout(PATIENCE) {
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
            Seen::Group(group) => Ok(Report::of_group(&group)),
            Seen::File(survey) => self.report_on_files(*survey),
        };
        seen.into_iter().map(report).collect()
    }

    fn report_on_files(&self, mut survey: Survey) -> Result<Report> {
        let images = std::mem::take(&mut survey.images);
        let directory = survey.directory().map(Path::to_owned);
        let mut report = Report::of_survey(survey)?;
        if let Some(directory) = directory {
            let remarks = sizes::compare(
                &directory,
                &images,
                self.timeout,
                &self.turns,
                self.progress,
            );
            report.add(remarks);
        }
        Ok(report)
    }

    fn look(&self, target: &Target) -> Result<Vec<Seen>> {
        match target {
            Target::Path(path) => {
                let seen = self.at(path)?;
                if seen.is_empty() {
                    return Err(probe::no_domain(path));
                }
                Ok(seen)
            }
            Target::Mount(path) => self.at(path),
            Target::Groups => {
                let groups = self.lvm.groups().map_err(Error::clone)?;
                let domains = groups
                    .iter()
                    .filter(|group| group.is_domain() || group.is_unready());
                Ok(domains.cloned().map(Seen::Group).collect())
            }
            Target::Id(id) => {
                let found = storage::check(&[Use::of_id(id)], self.roots, &self.lvm, self.end);
                let mut seen = Vec::new();
                for checked in &found {
                    match &checked.place {
                        Some(Place::File(file)) => seen.extend(self.at(file)?),
                        Some(Place::Tags) => match self.lvm.group(id) {
                            Ok(Some(group)) => seen.push(Seen::Group(group.clone())),
                            Ok(None) => {}
                            Err(Some(error)) => return Err(error.clone()),
                            Err(None) => {
                                return Err(Error::new(format!("{checked}: no answer in time")));
                            }
                        },
                        None => {
                            let problems = checked.problems(self.roots, self.timeout.as_secs());
                            let texts: Vec<String> =
                                problems.into_iter().map(|problem| problem.text).collect();
                            return Err(Error::new(texts.join("; ")));
                        }
                    }
                }
                Ok(seen)
            }
        }
    }

    /// What is at a path. Of a domain on block storage there are only links.
    fn at(&self, path: &Path) -> Result<Vec<Seen>> {
        let mut seen = Vec::new();
        for survey in probe::survey(path, self.with_volumes, self.end)? {
            let id = survey.directory().and_then(Path::file_name);
            let id = id.map(|id| id.to_string_lossy().into_owned());
            match (&survey.metadata, id) {
                (Content::Block, Some(id)) => match self.lvm.group(&id) {
                    Ok(Some(group)) => seen.push(Seen::Group(group.clone())),
                    Ok(None) => {
                        return Err(Error::new(format!(
                            "{}: a domain on block storage, and this host sees no volume group {id}",
                            path.display()
                        )));
                    }
                    Err(Some(error)) => return Err(error.clone()),
                    Err(None) => return Err(Error::new("lvm: no answer in time")),
                },
                _ => seen.push(Seen::File(Box::new(survey))),
            }
        }
        Ok(seen)
    }
}
