// SPDX-License-Identifier: GPL-2.0-or-later

//! What `vdsm-hooks domain seal` and `vdsm-hooks domain release` share: what would change, whether
//! somebody holds the domain, the change, and the copy.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str;

use vdsm_hooks::storage::lvm::Group;
use vdsm_hooks::storage::report::{Survey, shell_path};
use vdsm_hooks::storage::{Metadata, Repair, Repaired, group, tags, work};
use vdsm_hooks::{Context as _, Error, Result};

use super::find::{Finder, Seen};
use super::{STANDARD_INPUT, is_standard_input};
use crate::diff;

#[derive(clap::Args)]
pub(super) struct Options {
    /// The domain's directory, its dom_md, its metadata file or a copy, the mount, or its id
    #[arg(value_name = "PATH|UUID")]
    target: PathBuf,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Even if a host holds the domain's lock
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    host: super::Host,
}

pub(super) fn run(mend: Repair, options: &Options) -> Result<ExitCode> {
    let mut out = anstream::stdout();
    if is_standard_input(&options.target) {
        return Err(Error::new(format!(
            "{STANDARD_INPUT}: expected the file itself, since it is replaced"
        )));
    }
    match Finder::new(&options.host, false)?.one(&options.target)? {
        Seen::File(survey) => file(&mut out, mend, &survey, options)?,
        Seen::Group(group) => volume_group(&mut out, mend, &group)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn file(out: &mut impl Write, mend: Repair, survey: &Survey, options: &Options) -> Result {
    let file = Path::new(&survey.file);
    let place = diff::printable(&file.display().to_string());
    let content = survey.content()?.ok_or_else(|| {
        Error::new(format!(
            "{place}: there is no such file, expected the metadata; is there a copy? ls {0}*",
            shell_path(file)
        ))
    })?;
    let mended = mend.apply(content).context(&place)?;
    if mended.text == content {
        writeln!(out, "{place}: nothing to do")?;
        return Ok(());
    }
    let held = survey.holders.join("; ");
    // Before the difference is shown: who reads that takes it for done.
    if !held.is_empty() && !options.dry_run && !options.force {
        return Err(Error::new(format!(
            "{place}: {held}; expected a domain that nobody holds: put it into maintenance, or --force if you know that no host uses it"
        )));
    }
    write!(
        out,
        "{}",
        diff::coloured(&difference(content, &mended.text, &place))
    )?;
    for note in &mended.notes {
        writeln!(out, "note: {}", diff::printable(note))?;
    }
    if !held.is_empty() {
        writeln!(out, "note: {}", diff::printable(&held))?;
    }
    if options.dry_run {
        return Ok(());
    }
    let copy = work::repair(file, mend, content, options.host.end())?;
    let copy = diff::printable(&copy.display().to_string());
    writeln!(out, "written: {place}\nold file: {copy}")?;
    Ok(())
}

/// The difference in text, lines of which are as VDSM's. That there was padding is a note.
fn difference(old: &[u8], new: &[u8], name: &str) -> String {
    let [old, new] = [old, new].map(String::from_utf8_lossy);
    diff::of_lines(old.trim_end_matches('\0'), &new, [name, name])
}

/// What the tags of a volume group become: the text that is in them now, the new one, and the
/// command, none if there is nothing to do.
pub(super) fn of_group(mend: Repair, group: &Group) -> Result<(String, Repaired, Option<String>)> {
    let about = || format!("volume group {}", group.name);
    let text = tags::text(&group.tags).context(about())?;
    let mended = mend.apply(text.as_bytes()).context(about())?;
    let (metadata, _) = Metadata::read(str::from_utf8(&mended.text).context(about())?);
    let command = group::command(group, &metadata);
    Ok((text, mended, command))
}

/// Shows the command; the locks of block storage are not looked at here.
fn volume_group(out: &mut impl Write, mend: Repair, group: &Group) -> Result {
    let (text, mended, command) = of_group(mend, group)?;
    let about = format!("volume group {}", group.name);
    let Some(command) = command else {
        writeln!(out, "{about}: nothing to do")?;
        return Ok(());
    };
    write!(
        out,
        "{}",
        diff::coloured(&difference(text.as_bytes(), &mended.text, &about))
    )?;
    for note in &mended.notes {
        writeln!(out, "note: {}", diff::printable(note))?;
    }
    writeln!(
        out,
        "To be run as root, on one host, while no host uses the domain:\n  {command}"
    )?;
    Ok(())
}
