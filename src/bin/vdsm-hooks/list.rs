// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks list`: what is installed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use vdsm_hooks::hook::manifest::{Group, Manifest, Retired};
use vdsm_hooks::paths::HOOKS;
use vdsm_hooks::runner::installed::{self, Entry, Origin};
use vdsm_hooks::vdsm::events;
use vdsm_hooks::{Context as _, Error, Result};

use crate::diff::printable;
use crate::{catalog, print};

/// List the hooks of the suite, whether they are installed, and everything else that is there
#[derive(clap::Args)]
#[command(after_help = LIST_HELP)]
pub(crate) struct Arguments {
    /// Directory with the event directories
    #[arg(long, value_name = "DIR")]
    hooks_dir: Option<PathBuf>,

    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

const LIST_HELP: &str = "\
VDSM runs whatever is executable in an event's directory, whatever it is called. The list names
such files as well: VDSM's own hooks, yours, and backup copies that nobody meant to run. It also
names files that VDSM skips without a message, because they are not executable for example.

The hooks of the suite come in three groups: those that replace a hook of today's VDSM, those that
VDSM no longer has, with what it has instead, and those that it never had.

Example:
  vdsm-hooks list --hooks-dir /mnt/host/usr/libexec/vdsm/hooks";

#[derive(Serialize)]
struct Listing {
    hooks_dir: PathBuf,
    hooks: Vec<Listed>,
    others: Vec<Other>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    group: Group,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired: Option<Retired>,
    summary: String,
    files: Vec<Installed>,
}

#[derive(Serialize)]
struct Installed {
    event: String,
    file: String,
    installed: bool,
    /// Why it does not count as installed, if something is there all the same.
    remark: Option<String>,
}

/// A file that is none of the suite's, or not where the suite puts it.
#[derive(Serialize)]
struct Other {
    event: String,
    file: String,
    /// Whether VDSM runs it.
    runs: bool,
    remark: String,
}

/// Lists.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let hooks_dir = arguments.hooks_dir.as_deref();
    let hooks_dir = std::path::absolute(hooks_dir.unwrap_or(Path::new(HOOKS)))?;
    if arguments.hooks_dir.is_some() && !hooks_dir.is_dir() {
        let shown = hooks_dir.display();
        return Err(Error::new(format!("{shown}: no such directory")));
    }
    let hooks = catalog::all()?;
    let listing = Listing {
        hooks: hooks
            .iter()
            .map(|hook| listed(hook, &hooks_dir))
            .collect::<Result<_>>()?,
        others: others(&hooks, &hooks_dir)?,
        hooks_dir,
    };
    print(&if arguments.json {
        serde_json::to_string_pretty(&listing)? + "\n"
    } else {
        table(&listing)?
    })?;
    Ok(ExitCode::SUCCESS)
}

fn listed(hook: &Manifest, hooks_dir: &Path) -> Result<Listed> {
    let mut files = Vec::new();
    for event in &hook.events {
        let name = hook.installed_as(event);
        let entries = installed::entries(&hooks_dir.join(&event.event))?;
        let entry = entries.iter().find(|entry| entry.name == name);
        let remark = entry.and_then(|entry| why_not_installed(entry, hook));
        files.push(Installed {
            event: event.event.clone(),
            file: name,
            installed: entry.is_some() && remark.is_none(),
            remark,
        });
    }
    Ok(Listed {
        name: hook.name.clone(),
        group: hook.group(),
        retired: hook.retired.clone(),
        summary: hook.summary.clone(),
        files,
    })
}

fn why_not_installed(entry: &Entry, hook: &Manifest) -> Option<String> {
    if let Some(why) = entry.skipped {
        return Some(format!("there, but VDSM skips it: {why}"));
    }
    let origin = installed::origin(&entry.path);
    if origin == Origin::Ours {
        return None;
    }
    Some(match hook.replaces.as_deref() {
        Some(package) if origin == Origin::Script => {
            format!("another hook is there: {origin}, probably of {package}")
        }
        _ => format!("another hook is there: {origin}"),
    })
}

/// Everything in the event directories that [`listed`] does not speak of.
fn others(hooks: &[Manifest], hooks_dir: &Path) -> Result<Vec<Other>> {
    let mut others = Vec::new();
    let mut directories = Vec::new();
    for entry in fs::read_dir(hooks_dir).into_iter().flatten() {
        directories.push(entry.context(hooks_dir.display())?.path());
    }
    directories.retain(|path| path.is_dir());
    directories.sort();
    for path in directories {
        let event = path.file_name().unwrap_or_default().to_string_lossy();
        let known = events::find(&event).is_some();
        for entry in installed::entries(&path)? {
            let places = hooks
                .iter()
                .flat_map(|hook| hook.events.iter().map(|one| hook.place(one)));
            let place = format!("{event}/{}", entry.name);
            if places.into_iter().any(|ours| ours == place) {
                continue;
            }
            others.push(Other {
                event: event.clone().into_owned(),
                runs: known && entry.skipped.is_none(),
                remark: remark(&entry, known),
                file: entry.name,
            });
        }
    }
    Ok(others)
}

fn remark(entry: &Entry, known_event: bool) -> String {
    if let Some(why) = entry.skipped {
        return why.to_owned();
    }
    if !known_event {
        return "VDSM has no such event".to_owned();
    }
    let what = installed::origin(&entry.path);
    match installed::by_accident(&entry.name) {
        Some(why) => format!("{what}; probably not meant to run: {why}"),
        None => what.to_string(),
    }
}

fn table(listing: &Listing) -> Result<String> {
    let mut text = String::new();
    for (group, title) in [
        (Group::Current, "Hooks in place of today's VDSM's:"),
        (Group::Retired, "Hooks that VDSM no longer has:"),
        (Group::New, "Hooks that VDSM never had:"),
    ] {
        let hooks = listing.hooks.iter().filter(|hook| hook.group == group);
        let hooks: Vec<_> = hooks.collect();
        if !hooks.is_empty() {
            let gap = if text.is_empty() { "" } else { "\n" };
            write!(text, "{gap}{title}\n\n{}", of_group(&hooks)?)?;
        }
    }
    let shown = listing.hooks_dir.display();
    if !listing.hooks_dir.is_dir() {
        writeln!(
            text,
            "\n{shown} does not exist: VDSM is not installed here."
        )?;
    } else if listing.others.is_empty() {
        writeln!(text, "\nNothing else in {shown}.")?;
    } else {
        writeln!(text, "\nOther files in {shown}:\n")?;
        let mut rows = vec![[
            "EVENT/FILE".to_owned(),
            "VDSM".to_owned(),
            "WHAT".to_owned(),
        ]];
        for other in &listing.others {
            let runs = if other.runs { "runs it" } else { "skips it" };
            let file = format!("{}/{}", other.event, other.file);
            rows.push([printable(&file), runs.to_owned(), other.remark.clone()]);
        }
        text += &aligned(&rows)?;
    }
    Ok(text)
}

fn of_group(hooks: &[&Listed]) -> Result<String> {
    let mut rows = vec![[
        "HOOK".to_owned(),
        "EVENT/FILE".to_owned(),
        "INSTALLED".to_owned(),
    ]];
    for hook in hooks {
        for (number, file) in hook.files.iter().enumerate() {
            let name = if number == 0 { hook.name.as_str() } else { "" };
            let state = match (&file.remark, file.installed) {
                (_, true) => "yes".to_owned(),
                (None, false) => "no".to_owned(),
                (Some(remark), false) => format!("no, {remark}"),
            };
            rows.push([
                name.to_owned(),
                format!("{}/{}", file.event, file.file),
                state,
            ]);
        }
        if let Some(retired) = &hook.retired {
            let note = format!("  {retired}");
            rows.push([note, String::new(), String::new()]);
        }
    }
    aligned(&rows)
}

/// A row with nothing but its first cell is a line across the columns.
fn aligned(rows: &[[String; 3]]) -> Result<String> {
    let width = |column: usize| {
        let in_columns = rows.iter().filter(|row| !row[1].is_empty());
        let widths = in_columns.map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let (first, second) = (width(0), width(1));
    let mut text = String::new();
    for [one, two, three] in rows {
        if two.is_empty() {
            writeln!(text, "{one}")?;
        } else {
            writeln!(text, "{one:first$}  {two:second$}  {three}")?;
        }
    }
    Ok(text)
}
