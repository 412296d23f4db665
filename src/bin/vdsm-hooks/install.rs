// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks install` and `vdsm-hooks uninstall`: without a package manager.
//!
//! Every place is looked at; only then is anything changed. New files are first made under names that
//! begin with a dot, which VDSM does not run, and renamed when all of them are there: a full disk leaves
//! things as they were, and at no moment is a hook missing or half written.

use std::collections::BTreeSet;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::stat::{Mode, umask};

use vdsm_hooks::host::interrupt;
use vdsm_hooks::host::transaction::{self, Step};
use vdsm_hooks::{Context as _, Error, Result};

use crate::{complain, print};

mod host;
mod journal;
mod plan;
mod silence;
mod tree;
mod wanted;

use journal::Journal;
use plan::Plan;
use silence::{Other, SILENCED};
use tree::{DIRECTORIES, SPREAD, STATE, Side, Tree};
use wanted::{Copied, List};

/// Install hooks and this tool for VDSM, without a package manager
#[derive(clap::Args)]
#[command(after_help = INSTALL_HELP)]
pub(crate) struct InstallArguments {
    /// Install below this directory instead of /; needs no root
    #[arg(long, value_name = "DIR")]
    destdir: Option<PathBuf>,

    /// This hook only, and the tool; may be given several times
    #[arg(long = "hook", value_name = "NAME")]
    hooks: Vec<String>,

    /// Directory of the built programs [default: that of this program]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,

    /// Where a file that is not ours is in the way, such as VDSM's own hook of the same name, keep it
    /// in /var/lib/vdsm-hooks/replaced and take its place; without this nothing is installed then.
    /// Hooks of other packages that do the same under names of their own are not executable any more
    #[arg(long)]
    replace: bool,
}

const INSTALL_HELP: &str = "\
Installs the programs of a build, with manual pages, shell completions, sudo
rules, and what else a hook needs on the host, all of it or nothing. A second
run changes nothing. Everything but the programs is in this tool: the source
tree is not needed. './install.sh' there builds the programs, then calls this.

What is not ours, or was changed by an administrator, stays as it is unless
--replace is given. 'vdsm-hooks uninstall' takes everything away again.

The exit status is 0 if all is in place; 64 if not, and nothing was changed.

Examples:
  Two hooks:
      target/release/vdsm-hooks install --hook cpuflags --hook sdcheck
  See what would be installed, without touching the host:
      target/release/vdsm-hooks install --destdir /tmp/try &&
          find /tmp/try -type f";

/// Remove what 'install' has installed, and put back what it has kept
#[derive(clap::Args)]
#[command(after_help = UNINSTALL_HELP)]
pub(crate) struct UninstallArguments {
    /// Remove below this directory instead of /; needs no root
    #[arg(long, value_name = "DIR")]
    destdir: Option<PathBuf>,

    /// This hook only, the tool stays; may be given several times
    #[arg(long = "hook", value_name = "NAME")]
    hooks: Vec<String>,
}

const UNINSTALL_HELP: &str = "\
Removes hooks, helpers, sudo rules and the rest, of other releases too, this
tool included, and puts back what 'vdsm-hooks install --replace' has kept: all
of it or nothing. Services are stopped before. They are started again if the
files have to stay. What is not ours, or was changed by an administrator,
stays. Beside packages of ours nothing is removed: they are left to the
package manager. Neither the source tree nor built programs are needed.

The exit status is 0 if nothing of ours is left; 64 if not, and nothing was changed.

Example:
  vdsm-hooks uninstall --hook cpuflags";

/// Installs.
pub(crate) fn install(arguments: &InstallArguments, tool: &clap::Command) -> Result<ExitCode> {
    let tree = Tree::new(arguments.destdir.as_deref(), &arguments.hooks)?;
    host::check_allowed(&tree)?;
    ended(install_into(&tree, arguments, tool))
}

/// Uninstalls.
pub(crate) fn uninstall(arguments: &UninstallArguments) -> Result<ExitCode> {
    let tree = Tree::new(arguments.destdir.as_deref(), &arguments.hooks)?;
    host::check_allowed(&tree)?;
    ended(uninstall_from(&tree))
}

/// Prints what was done. After an interrupt the status is that of a shell command.
fn ended(done: Result<String>) -> Result<ExitCode> {
    match (done, interrupt::signal()) {
        (Ok(text), _) => print(&text).map(|()| ExitCode::SUCCESS),
        (Err(error), None) => Err(error),
        (Err(error), Some(signal)) => {
            complain(&error);
            Ok(ExitCode::from(128_u8.saturating_add(signal)))
        }
    }
}

/// Directories and files are readable for all, and an interrupt waits for the next moment at which
/// nothing is half done.
fn prepare() -> Result {
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    interrupt::hold()
}

fn install_into(tree: &Tree, arguments: &InstallArguments, tool: &clap::Command) -> Result<String> {
    prepare()?;
    let programs = programs(arguments.programs.as_deref())?;
    let list = wanted::list(tree, &programs, tool)?;
    let mut plan = Plan::new(tree, &list, arguments.replace)?;
    let is_idle = plan.is_empty() && !journal::is_unfinished(tree);
    let paths = || list.files.iter().map(|wanted| wanted.path.as_str());
    let others = || list.others.iter().map(|(_, path)| path.as_str());
    let real = fs::canonicalize(tree.root()).unwrap_or_else(|_| tree.root().to_owned());
    if is_idle && journal::left_beside(&real, paths().chain(others())).is_empty() {
        return Ok(nothing_to_change(tree, &plan));
    }
    let mut journal = Journal::begin(tree)?;
    // Now nobody else changes anything.
    plan = Plan::new(tree, &list, arguments.replace)?;
    journal.clear(paths().chain(others()));
    put(tree, &mut journal, &list, &plan)?;
    // The next run removes what stays of it.
    let _ = journal.end();
    if plan.is_empty() {
        return Ok(nothing_to_change(tree, &plan));
    }
    let stale = plan.stale.iter().map(String::as_str);
    let installed: Vec<String> = paths().chain(stale).map(str::to_owned).collect();
    host::tell(tree, &installed);
    host::restart(tree, &installed);
    summary(tree, &plan)
}

/// The directory of the programs, which has to be that of this one: what is not a program comes from
/// here.
fn programs(given: Option<&Path>) -> Result<PathBuf> {
    let own = env::current_exe().context("this program is not found")?;
    let Some(given) = given else {
        return Ok(own.parent().unwrap_or(&own).to_owned());
    };
    let directory = fs::canonicalize(given).context(given.display())?;
    let other = directory.join("vdsm-hooks");
    if fs::canonicalize(&other).is_ok_and(|other| other == own) {
        return Ok(directory);
    }
    let is_same = fs::read(&other).context(other.display())? == fs::read("/proc/self/exe")?;
    if is_same {
        return Ok(directory);
    }
    Err(Error::new(format!(
        "{other} is of another build than this program: run '{other} install'",
        other = other.display()
    )))
}

fn nothing_to_change(tree: &Tree, plan: &Plan<'_>) -> String {
    format!(
        "{}nothing to change: all {} files are in place{}\n",
        beside(tree, plan),
        plan.current,
        tree.below()
    )
}

/// Who else does the same at the same events.
fn beside(tree: &Tree, plan: &Plan<'_>) -> String {
    let lines = plan.beside.iter().map(|other| {
        let (place, hook) = (tree.shown(&other.path), &other.hook);
        format!("{place} does the same as {hook} and still runs: --replace takes its x bits\n")
    });
    lines.collect()
}

/// Puts everything in its place.
fn put(tree: &Tree, journal: &mut Journal, list: &List, plan: &Plan<'_>) -> Result {
    let files: Vec<&wanted::Wanted> = list
        .files
        .iter()
        .filter(|wanted| plan.has(wanted))
        .collect();
    let kept: Vec<String> = plan
        .replaced
        .iter()
        .map(|wanted| tree::kept(&wanted.path))
        .collect();
    let paths = || {
        let files = files.iter().map(|wanted| wanted.path.as_str());
        let others = plan.silenced.iter().map(|other| other.path.as_str());
        let kept = kept.iter().map(String::as_str);
        let lists = [SPREAD, DIRECTORIES, SILENCED];
        kept.chain(lists).chain(files).chain(others)
    };
    let stale = plan.stale.iter().map(String::as_str);
    journal.note_files(paths().chain(stale))?;
    journal.make_directories(paths())?;

    let mut steps: Vec<Step<'_>> = Vec::new();
    for (wanted, aside) in plan.replaced.iter().zip(&kept) {
        steps.push(Step {
            path: journal.at(aside),
            content: Some(Box::new(Copied::of(journal.at(&wanted.path)))),
        });
    }
    // Before what they tell of: at no moment is anything in its place that an uninstallation would
    // not find.
    let mut spread = tree::lines(&journal.at(SPREAD))?;
    spread.extend(list.spread.iter().cloned());
    let silenced = silence::with(tree, &plan.silenced)?;
    for (path, lines) in [
        (SPREAD, spread),
        (DIRECTORIES, journal.directories()?),
        (SILENCED, silenced),
    ] {
        push_list(&mut steps, journal, path, &lines)?;
    }
    for wanted in &files {
        steps.push(Step {
            path: journal.at(&wanted.path),
            content: Some(Box::new(&wanted.content)),
        });
    }
    steps.extend(plan.stale.iter().map(|path| removal(journal, path)));
    // After ours: at no moment does nobody do it.
    for other in &plan.silenced {
        steps.push(Step {
            path: journal.at(&other.path),
            content: Some(Box::new(other.silent(journal))),
        });
        if other.is_kept {
            steps.push(removal(journal, &tree::kept(&other.path)));
        }
    }
    transaction::apply(&steps)
}

/// One of our lists, if it is to be another one.
fn push_list(
    steps: &mut Vec<Step<'_>>,
    journal: &Journal,
    path: &str,
    lines: &BTreeSet<String>,
) -> Result {
    let path = journal.at(path);
    if *lines != tree::lines(&path)? {
        steps.push(Step {
            path,
            content: Some(Box::new(wanted::list_of(lines))),
        });
    }
    Ok(())
}

fn removal(journal: &Journal, path: &str) -> Step<'static> {
    Step {
        path: journal.at(path),
        content: None,
    }
}

fn summary(tree: &Tree, plan: &Plan<'_>) -> Result<String> {
    let mut text = String::new();
    for path in &plan.stale {
        writeln!(text, "removed {} of an earlier version", tree.shown(path))?;
    }
    for wanted in &plan.replaced {
        let kept = tree::kept(&wanted.path);
        let (place, kept) = (tree.shown(&wanted.path), tree.shown(&kept));
        writeln!(text, "{place} is not ours: moved to {kept}")?;
    }
    for other in &plan.silenced {
        let (place, hook) = (tree.shown(&other.path), &other.hook);
        writeln!(
            text,
            "{place} does the same as {hook}: not executable any more"
        )?;
    }
    text += &beside(tree, plan);
    let below = match tree.below() {
        below if below.is_empty() => below,
        below => format!(",{below}"),
    };
    writeln!(
        text,
        "{} files installed, {} updated, {} replaced, {} as they were{below}",
        plan.new.len(),
        plan.changed.len(),
        plan.replaced.len(),
        plan.current
    )?;
    Ok(text)
}

/// What is there to be removed and put back.
struct Installed {
    /// Links before the files that they point to.
    ours: Vec<String>,
    /// What is kept and goes back to its place.
    restored: Vec<String>,
    /// What is kept though it is in its place: a run was killed before it put ours there.
    doubled: Vec<String>,
    /// What is kept and stays so: something that is not ours is in its place.
    beside: Vec<String>,
    /// Hooks of other packages that get their x bits back.
    silenced: Vec<Other>,
}

impl Installed {
    fn new(tree: &Tree) -> Result<Installed> {
        let mut ours = tree.found(Side::Installed)?;
        ours.retain(|path| tree.is_ours(path));
        let kept = tree.found(Side::Kept)?.into_iter();
        let (restored, others): (Vec<_>, Vec<_>) =
            kept.partition(|path| !tree.exists(path) || tree.is_ours(path));
        let is_same = |path: &String| tree.are_same(path, &tree::kept(path));
        let (doubled, beside) = others.into_iter().partition(is_same);
        Ok(Installed {
            ours,
            restored,
            doubled,
            beside,
            silenced: Other::silenced(tree)?,
        })
    }

    fn is_empty(&self) -> bool {
        self.ours.is_empty()
            && self.restored.is_empty()
            && self.doubled.is_empty()
            && self.silenced.is_empty()
    }
}

fn uninstall_from(tree: &Tree) -> Result<String> {
    prepare()?;
    let mut installed = Installed::new(tree)?;
    let lists = [SPREAD, DIRECTORIES, SILENCED];
    let has_lists = tree.is_whole() && lists.iter().any(|list| tree.exists(list));
    if !installed.is_empty() || has_lists || journal::is_unfinished(tree) {
        let mut journal = Journal::begin(tree)?;
        // Now nobody else changes anything.
        installed = Installed::new(tree)?;
        let stopped = host::stop(tree, &installed.ours);
        // What they are started from is there again then.
        take(tree, &mut journal, &installed).inspect_err(|_| stopped.start_again())?;
        if tree.is_whole() {
            finish(tree, journal, &installed)?;
        } else {
            journal.end()?;
        }
    }
    if tree.is_whole() {
        // A run that was killed before its first note has made no other one of ours.
        let _ = fs::remove_dir(tree.at(STATE));
    }
    host::tell(tree, &installed.ours);
    let mut text = String::new();
    for path in &installed.beside {
        let (place, kept) = (tree.shown(path), tree.shown(&tree::kept(path)));
        writeln!(text, "left {kept} where it is: {place} is not ours")?;
    }
    for path in &installed.restored {
        writeln!(text, "put back {}", tree.shown(path))?;
    }
    for other in &installed.silenced {
        writeln!(text, "{} is executable again", tree.shown(&other.path))?;
    }
    match installed.ours.len() {
        0 => writeln!(text, "nothing to remove{}", tree.below())?,
        count => writeln!(text, "{count} files removed{}", tree.below())?,
    }
    Ok(text)
}

/// Takes everything away, and puts back what is kept.
fn take(tree: &Tree, journal: &mut Journal, installed: &Installed) -> Result {
    let restored = || installed.restored.iter().map(String::as_str);
    let doubled = installed.doubled.iter().map(String::as_str);
    let kept: Vec<String> = restored().chain(doubled).map(tree::kept).collect();
    let ours = installed.ours.iter().map(String::as_str);
    let lists = [SPREAD, DIRECTORIES, SILENCED];
    let paths = || {
        ours.clone()
            .chain(restored())
            .chain(kept.iter().map(String::as_str))
            .chain(installed.silenced.iter().map(|other| other.path.as_str()))
            .chain(lists)
    };
    journal.clear(paths());
    journal.note_files(paths())?;
    journal.make_directories(restored())?;

    let mut steps: Vec<Step<'_>> = Vec::new();
    for (path, aside) in restored().zip(&kept) {
        steps.push(Step {
            path: journal.at(path),
            content: Some(Box::new(Copied::of(journal.at(aside)))),
        });
    }
    // Before ours goes: at no moment does nobody do it.
    for other in &installed.silenced {
        steps.push(Step {
            path: journal.at(&other.path),
            content: Some(Box::new(other.restored(journal))),
        });
    }
    let removed = ours.filter(|path| !restored().any(|other| other == *path));
    steps.extend(removed.map(|path| removal(journal, path)));
    steps.extend(kept.iter().map(|path| removal(journal, path)));
    if tree.is_whole() && installed.beside.is_empty() {
        steps.push(removal(journal, SPREAD));
    } else {
        // What is left has still to be found, whoever made its directories.
        push_list(&mut steps, journal, DIRECTORIES, &journal.directories()?)?;
    }
    match silence::left(tree)? {
        left if left.is_empty() => steps.push(removal(journal, SILENCED)),
        left => push_list(&mut steps, journal, SILENCED, &left)?,
    }
    transaction::apply(&steps)
}

/// Removes the directories that we made and nobody else uses, and what we kept book of.
fn finish(tree: &Tree, journal: Journal, installed: &Installed) -> Result {
    let directories = journal.directories()?;
    let places: Vec<PathBuf> = directories
        .iter()
        .rev()
        // If VDSM came after us, they have become its own.
        .filter(|path| !(is_of_vdsm(path) && tree.at("usr/share/vdsm").is_dir()))
        .map(|path| journal.at(path))
        .collect();
    let remove_empty = || {
        for place in &places {
            let _ = fs::remove_dir(place);
        }
    };
    remove_empty();
    let list = journal.at(DIRECTORIES);
    if installed.beside.is_empty() && fs::symlink_metadata(&list).is_ok() {
        fs::remove_file(&list).context(list.display())?;
    }
    journal.end()?;
    // Those of the lists themselves.
    remove_empty();
    Ok(())
}

fn is_of_vdsm(path: &str) -> bool {
    path == "usr/libexec/vdsm" || path.starts_with("usr/libexec/vdsm/")
}
