// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain check`: judges storage domains, without writing to them.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::PoisonError;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use vdsm_hooks::storage::lvm::{Group, Lvm};
use vdsm_hooks::storage::survey::{Content, Survey};
use vdsm_hooks::storage::{self, Place, Roots, Use, is_uuid, probe};
use vdsm_hooks::{Error, Result, cmd};

use super::progress::Progress;
use super::report::Report;
use super::sizes::{self, Volumes};

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

/// What is to be checked.
enum Target {
    Path(PathBuf),
    Id(String),
    /// A mount of this host; one without a domain is nobody's fault.
    Mount(PathBuf),
    /// The volume groups of this host.
    Groups,
}

/// What was seen at a target.
enum Seen {
    File(Box<Survey>),
    Group(Group),
}

/// A target's name, and the report on one domain there.
type Named = (String, Result<Report>);

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let roots = arguments.host.roots()?;
    let reports = reports(arguments, &roots)?;
    let status = reports.iter().map(|(_, report)| match report {
        Ok(report) => report.status(),
        Err(_) => 2,
    });
    let status = ExitCode::from(status.max().unwrap_or_default());
    if arguments.json {
        let reports = reports.iter().map(|(target, report)| match report {
            Ok(report) => report.to_json(target),
            Err(error) => json!({"path": target, "error": error.to_string()}),
        });
        writeln!(io::stdout(), "{:#}", Value::Array(reports.collect()))?;
        return Ok(status);
    }
    let mut out = anstream::stdout();
    for (_, report) in &reports {
        match report {
            Ok(report) => report.print(&mut out)?,
            Err(error) => super::say(error),
        }
    }
    Ok(status)
}

fn reports(arguments: &Arguments, roots: &Roots) -> Result<Vec<Named>> {
    let end = arguments.host.end();
    let targets = targets(arguments, roots, end)?;
    let lvm = Lvm::new(end);
    let look = |target: &Target| look(target, arguments.volumes, roots, &lvm, end);
    let seen: Vec<Result<Vec<Seen>>> = Progress::show("places", targets.len(), |progress| {
        thread::scope(|scope| {
            let running: Vec<_> = targets
                .iter()
                .map(|target| {
                    scope.spawn(move || {
                        let seen = look(target);
                        progress.step();
                        seen
                    })
                })
                .collect();
            let died = |_| Err(Error::new("internal error, please report it"));
            let threads = running.into_iter();
            threads
                .map(|thread| thread.join().unwrap_or_else(died))
                .collect()
        })
    });
    let mut volumes = Vec::new();
    let mut reports: Vec<Named> = Vec::new();
    for (target, seen) in targets.iter().zip(seen) {
        let name = match target {
            Target::Path(path) | Target::Mount(path) => path.to_string_lossy().into_owned(),
            Target::Id(id) => id.clone(),
            Target::Groups => "volume groups".to_owned(),
        };
        let seen = match seen {
            Ok(seen) => seen,
            Err(error) => {
                reports.push((name, Err(error)));
                continue;
            }
        };
        for one in seen {
            let report = match one {
                Seen::Group(group) => Ok(Report::of_group(&group)),
                Seen::File(mut survey) => {
                    let images = std::mem::take(&mut survey.images);
                    let directory = survey.directory().map(Path::to_owned);
                    if let Some(directory) = directory.filter(|_| !images.is_empty()) {
                        volumes.push((reports.len(), Volumes::new(directory, images)));
                    }
                    Report::of_survey(*survey)
                }
            };
            reports.push((name.clone(), report));
        }
    }
    let (numbers, volumes): (Vec<usize>, Vec<Volumes>) = volumes.into_iter().unzip();
    sizes::compare(&volumes, arguments.host.timeout());
    for (number, volumes) in numbers.into_iter().zip(volumes) {
        if let Ok(report) = &mut reports[number].1 {
            let mut remarks = volumes
                .remarks
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner);
            remarks.sort_by(|one, other| one.about.cmp(&other.about));
            report.remarks.append(&mut remarks);
        }
    }
    Ok(reports)
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

fn look(
    target: &Target,
    with_volumes: bool,
    roots: &Roots,
    lvm: &Lvm,
    end: Instant,
) -> Result<Vec<Seen>> {
    match target {
        Target::Path(path) => {
            let seen = at(path, with_volumes, lvm, end)?;
            if seen.is_empty() {
                return Err(probe::no_domain(path));
            }
            Ok(seen)
        }
        Target::Mount(path) => at(path, with_volumes, lvm, end),
        Target::Groups => {
            let groups = lvm.groups().map_err(Error::clone)?;
            let domains = groups
                .iter()
                .filter(|group| group.is_domain() || group.is_unready());
            Ok(domains.cloned().map(Seen::Group).collect())
        }
        Target::Id(id) => {
            let found = storage::check(&[Use::of_id(id)], roots, lvm, end);
            let mut seen = Vec::new();
            for checked in &found {
                match &checked.place {
                    Some(Place::File(file)) => seen.extend(at(file, with_volumes, lvm, end)?),
                    Some(Place::Tags) => match lvm.group(id) {
                        Ok(Some(group)) => seen.push(Seen::Group(group.clone())),
                        Ok(None) => {}
                        Err(Some(error)) => return Err(error.clone()),
                        Err(None) => {
                            return Err(Error::new(format!("{checked}: no answer in time")));
                        }
                    },
                    None => {
                        let wait = end.saturating_duration_since(Instant::now()).as_secs();
                        let problems = checked.problems(roots, wait);
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
fn at(path: &Path, with_volumes: bool, lvm: &Lvm, end: Instant) -> Result<Vec<Seen>> {
    let mut seen = Vec::new();
    for survey in probe::survey(path, with_volumes, end)? {
        let id = survey.directory().and_then(Path::file_name);
        let id = id.map(|id| id.to_string_lossy().into_owned());
        match (&survey.metadata, id) {
            (Content::Block, Some(id)) => match lvm.group(&id) {
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
