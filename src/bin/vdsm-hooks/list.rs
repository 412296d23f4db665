// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks list`: what is on this host, and what could be.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vdsm_hooks::hook::manifest::{Group, Manifest, Retired};
use vdsm_hooks::host::root::Root;
use vdsm_hooks::paths::HOOKS;
use vdsm_hooks::runner::installed::{self, Entry, Obstacle, Origin, Origins, Users};
use vdsm_hooks::vdsm::events::{self, Event};
use vdsm_hooks::{Context as _, Error, Result};

use crate::diff::printable;
use crate::json::{self, objects};
use crate::names::nearest;
use crate::{catalog, print};

/// List what VDSM runs on this host, and which hooks of the suite there are
#[derive(clap::Args)]
#[command(after_help = LIST_HELP)]
pub(crate) struct Arguments {
    /// Only hooks and files that have all of these words in what is said of them
    #[arg(value_name = "WORD")]
    words: Vec<String>,

    /// Only what is here: files that are not of the suite, and its hooks that are installed
    #[arg(long, conflicts_with = "missing")]
    installed: bool,

    /// Only hooks of the suite that are not installed here
    #[arg(long)]
    missing: bool,

    /// Directory with the event directories
    #[arg(long, value_name = "DIR")]
    hooks_dir: Option<PathBuf>,

    /// Print one JSON object instead of tables; see vdsm-hooks-json(7)
    #[arg(long)]
    json: bool,
}

const LIST_HELP: &str = "\
VDSM runs whatever is executable in an event's directory, whatever it is
called. First come the files there that are not of the suite: backup copies
that nobody meant to run and files that VDSM skips without a message before
VDSM's own hooks and yours. Whether VDSM runs a file is judged for the user
that it runs hooks as, not for whoever asks.

Then come the hooks of the suite that are installed, and those that are not,
in three groups: those that replace a hook of today's VDSM, those that VDSM no
longer has, with what it has instead, and those that it never had. The last
line counts.

A word may be a part of a name, of a property, an event, a file or a package,
or a word of what the hook does.

Example:
  vdsm-hooks list discard";

objects! {
    /// What `--json` prints.
    pub(crate) struct Listing {
        /// The directory with the event directories.
        hooks_dir: PathBuf,
        /// The hooks of the suite, by name.
        hooks: Vec<Listed>,
        /// Other files that are there, those first that are to be looked at.
        others: Vec<Other>,
    }

    struct Listed {
        /// The hook.
        name: String,
        /// `current`: today's VDSM has a hook of this name; `retired`: an older one had; `new`: none had.
        group: Group,
        /// What oVirt has instead; null if the hook is not `retired`.
        retired: Option<Retired>,
        /// What it does, in a line.
        summary: String,
        /// Its places.
        files: Vec<Installed>,
    }

    struct Installed {
        /// The event.
        event: String,
        /// The name of the file there.
        file: String,
        /// Whether the suite's file is there and VDSM runs it.
        installed: bool,
        /// Why it does not count as installed, if something is there all the same.
        remark: Option<String>,
        /// Whether what is there is not of the suite; then it is one of `others`.
        taken: bool,
    }

    struct Other {
        /// The directory, which need not be that of an event.
        event: String,
        /// The name of the file.
        file: String,
        /// Whether VDSM runs it.
        runs: bool,
        /// Whether it runs, and was probably not meant to, or does not, and probably was.
        accident: bool,
        /// What it is, in words.
        remark: String,
    }
}

impl Listed {
    /// Whether VDSM runs it at one event at least.
    fn is_installed(&self) -> bool {
        self.files.iter().any(|file| file.installed)
    }
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
    let mut listing = Host::new(&hooks_dir)?.listing(&hooks)?;
    if !arguments.words.is_empty() {
        choose(&mut listing, &arguments.words, &hooks)?;
    }
    if arguments.installed {
        listing.hooks.retain(Listed::is_installed);
    }
    if arguments.missing {
        listing.hooks.retain(|hook| !hook.is_installed());
        listing.others.clear();
    }
    print(&if arguments.json {
        json::text(&listing)?
    } else {
        tables(&listing, arguments)?
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Keeps what has these words; if nothing has, the hooks that are explained with them.
fn choose(listing: &mut Listing, words: &[String], hooks: &[Manifest]) -> Result {
    listing.others.retain(|other| {
        let text = format!("{}/{}\n{}", other.event, other.file, other.remark).to_lowercase();
        words.iter().all(|word| text.contains(&word.to_lowercase()))
    });
    let mut said = catalog::about(words, true, hooks);
    if said.is_empty() && listing.others.is_empty() {
        said = catalog::explained(words, hooks);
    }
    listing
        .hooks
        .retain(|hook| said.iter().any(|one| one.name == hook.name));
    if !listing.hooks.is_empty() || !listing.others.is_empty() {
        return Ok(());
    }
    let properties = hooks.iter().flat_map(|hook| &hook.properties);
    let properties = properties.map(|property| property.name.as_str());
    let names = hooks.iter().map(|hook| hook.name.as_str());
    let meant = words.iter().find_map(|word| {
        let names = names.clone().chain(properties.clone());
        nearest(word, names.chain(events::EVENTS.map(|event| event.name)))
    });
    let hint = meant.map_or(String::new(), |name| format!(": did you mean {name}?"));
    Err(Error::new(format!(
        "nothing here and no hook of this suite has {}{hint}",
        words.join(" ")
    )))
}

/// The directories that VDSM runs hooks of, and what is in them.
struct Host {
    hooks_dir: PathBuf,
    root: Root,
    users: Users,
    origins: Origins,
    /// What is in the directory of each event, whether VDSM has such an event or not.
    events: BTreeMap<String, Vec<Entry>>,
}

impl Host {
    fn new(hooks_dir: &Path) -> Result<Host> {
        // If it is that of a host: else programs are looked for on this machine, and the way above it
        // is nobody's.
        let real = fs::canonicalize(hooks_dir).unwrap_or_else(|_| hooks_dir.to_owned());
        let above = real.to_string_lossy();
        let (way, root) = match above.strip_suffix(HOOKS) {
            Some("") => (Path::new("/").to_owned(), Path::new("/").to_owned()),
            Some(root) => (PathBuf::from(root), PathBuf::from(root)),
            None => (real.clone(), PathBuf::from("/")),
        };
        let root = Root::new(&root)?;
        let users = Users::of_host(&root);
        let mut events = BTreeMap::new();
        // Where nothing is judged before the directory itself, it has to be there.
        let way = if real.is_dir() {
            Root::new(&way)?
        } else {
            root.clone()
        };
        for entry in fs::read_dir(&real).into_iter().flatten() {
            let path = entry.context(hooks_dir.display())?.path();
            if !path.is_dir() {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let entries = match events::find(&name) {
                Some(event) => installed::entries_of(&path, &way, users.of_event(event))?,
                None => installed::entries(&path)?,
            };
            events.insert(name.into_owned(), entries);
        }
        Ok(Host {
            hooks_dir: hooks_dir.to_owned(),
            root,
            users,
            origins: Origins::default(),
            events,
        })
    }

    fn listing(mut self, hooks: &[Manifest]) -> Result<Listing> {
        let events = std::mem::take(&mut self.events);
        let hooks_listed = hooks
            .iter()
            .map(|hook| self.listed(hook, &events))
            .collect();
        let places: BTreeMap<String, &Manifest> = hooks
            .iter()
            .flat_map(|hook| {
                hook.events
                    .iter()
                    .map(move |event| (hook.place(event), hook))
            })
            .collect();
        let mut others = Vec::new();
        for (event, entries) in &events {
            for entry in entries {
                let hook = places.get(&format!("{event}/{}", entry.name));
                if hook.is_none() || self.origins.of(&entry.path) != Some(Origin::Ours) {
                    others.push(self.other(event, entry, hook.copied()));
                }
            }
        }
        // What nobody has meant comes first.
        others.sort_by_key(|other| !other.accident);
        Ok(Listing {
            hooks_dir: self.hooks_dir,
            hooks: hooks_listed,
            others,
        })
    }

    fn listed(&mut self, hook: &Manifest, events: &BTreeMap<String, Vec<Entry>>) -> Listed {
        let mut files = Vec::new();
        for event in &hook.events {
            let name = hook.installed_as(event);
            let entries = events.get(&event.event);
            let entry = entries.and_then(|entries| entries.iter().find(|one| one.name == name));
            let remark = entry.and_then(|entry| self.why_not_installed(entry, hook));
            let origin = entry.and_then(|entry| self.origins.of(&entry.path));
            files.push(Installed {
                taken: entry.is_some() && origin != Some(Origin::Ours),
                event: event.event.clone(),
                file: name,
                installed: entry.is_some() && remark.is_none(),
                remark,
            });
        }
        Listed {
            name: hook.name.clone(),
            group: hook.group(),
            retired: hook.retired.clone(),
            summary: hook.summary.clone(),
            files,
        }
    }

    fn why_not_installed(&mut self, entry: &Entry, hook: &Manifest) -> Option<String> {
        if let Some(why) = entry.skipped {
            return Some(format!("there, but VDSM skips it: {why}"));
        }
        let origin = self.origins.of(&entry.path)?;
        let what = of_package(origin, hook);
        (origin != Origin::Ours).then(|| format!("another hook is there: {what}"))
    }

    /// `hook` is that of the suite whose place it has.
    fn other(&mut self, event: &str, entry: &Entry, hook: Option<&Manifest>) -> Other {
        let known = events::find(event);
        let runs = known.is_some() && entry.skipped.is_none();
        let by_accident = installed::by_accident(&entry.name);
        let obstacle = known
            .filter(|_| runs)
            .and_then(|known| self.obstacle(known, entry));
        let accident = if runs {
            by_accident.is_some() || obstacle.is_some()
        } else {
            installed::is_meant_to_run(entry)
        };
        Other {
            event: event.to_owned(),
            file: entry.name.clone(),
            runs,
            accident,
            remark: match (entry.skipped, known) {
                (Some(why), _) => why.to_owned(),
                (None, None) => "VDSM has no such event".to_owned(),
                (None, Some(_)) => {
                    let origin = self.origins.of(&entry.path);
                    let origin = origin.unwrap_or(Origin::Unreadable);
                    let what = match hook {
                        Some(hook) => {
                            let what = of_package(origin, hook);
                            format!("{what}; the suite's {} goes there", hook.name)
                        }
                        None => origin.to_string(),
                    };
                    let by_accident =
                        by_accident.map(|why| format!("probably not meant to run: {why}"));
                    let obstacle = obstacle.map(|why| why.to_string());
                    let parts = [Some(what), by_accident, obstacle];
                    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
                }
            },
        }
    }

    fn obstacle(&self, event: &Event, entry: &Entry) -> Option<Obstacle> {
        installed::obstacle(&self.root, &entry.path, self.users.of_event(event))
    }
}

/// What a file is that has the place of a hook.
fn of_package(origin: Origin, hook: &Manifest) -> String {
    match hook.replaces.as_deref() {
        Some(package) if origin == Origin::Script => format!("{origin}, probably of {package}"),
        _ => origin.to_string(),
    }
}

fn tables(listing: &Listing, arguments: &Arguments) -> Result<String> {
    let shown = listing.hooks_dir.display();
    if !listing.hooks_dir.is_dir() {
        let text = missing(listing)?;
        return Ok(format!(
            "{text}\n{shown} does not exist: VDSM is not installed here.\n"
        ));
    }
    let mut parts = Vec::new();
    if !listing.others.is_empty() {
        let title = format!("In {shown}, not of this suite:");
        parts.push(format!("{title}\n\n{}", of_others(&listing.others)?));
    }
    let here: Vec<&Listed> = listing
        .hooks
        .iter()
        .filter(|one| one.is_installed())
        .collect();
    if !here.is_empty() {
        parts.push(format!(
            "Hooks of this suite on this host:\n\n{}",
            of_here(&here)?
        ));
    }
    let missing = missing(listing)?;
    if !missing.is_empty() {
        parts.push(missing);
    }
    parts.push(totals(listing, arguments));
    Ok(parts.join("\n"))
}

fn of_others(others: &[Other]) -> Result<String> {
    let mut rows = vec![[
        "EVENT/FILE".to_owned(),
        "VDSM".to_owned(),
        "WHAT".to_owned(),
    ]];
    for other in others {
        let runs = if other.runs { "runs it" } else { "skips it" };
        let file = format!("{}/{}", other.event, other.file);
        rows.push([printable(&file), runs.to_owned(), printable(&other.remark)]);
    }
    aligned(&rows)
}

fn of_here(hooks: &[&Listed]) -> Result<String> {
    let mut text = String::new();
    let places = hooks.iter().flat_map(|hook| &hook.files);
    let widths = places.map(|file| file.event.len() + 1 + file.file.len());
    let width = widths.max().unwrap_or_default();
    for hook in hooks {
        writeln!(text, "{}  {}", hook.name, hook.summary)?;
        for file in &hook.files {
            let place = format!("{}/{}", file.event, file.file);
            match (&file.remark, file.installed) {
                (_, true) => writeln!(text, "    {place}")?,
                (None, _) => writeln!(text, "    {place:width$}  is missing")?,
                (Some(remark), _) => writeln!(text, "    {place:width$}  {remark}")?,
            }
        }
    }
    Ok(text)
}

/// The hooks that are not here, in their groups.
fn missing(listing: &Listing) -> Result<String> {
    let mut parts = Vec::new();
    for (group, title) in [
        (Group::Current, "Not here, in place of today's VDSM's:"),
        (Group::Retired, "Not here, and VDSM no longer has them:"),
        (Group::New, "Not here, and VDSM never had them:"),
    ] {
        let hooks = listing.hooks.iter().filter(|hook| hook.group == group);
        let hooks: Vec<&Listed> = hooks.filter(|hook| !hook.is_installed()).collect();
        if !hooks.is_empty() {
            parts.push(format!("{title}\n\n{}", of_missing(&hooks)?));
        }
    }
    Ok(parts.join("\n"))
}

fn of_missing(hooks: &[&Listed]) -> Result<String> {
    let mut text = String::new();
    let width = hooks.iter().map(|hook| hook.name.len()).max();
    let width = width.unwrap_or_default();
    for hook in hooks {
        writeln!(text, "{:width$}  {}", hook.name, hook.summary)?;
        if let Some(retired) = &hook.retired {
            writeln!(text, "{:width$}  {retired}", "")?;
        }
        for file in hook.files.iter().filter(|file| !file.taken) {
            if let Some(remark) = &file.remark {
                writeln!(
                    text,
                    "{:width$}  {}/{}: {remark}",
                    "", file.event, file.file
                )?;
            }
        }
    }
    Ok(text)
}

/// One line.
fn totals(listing: &Listing, arguments: &Arguments) -> String {
    let here = listing
        .hooks
        .iter()
        .filter(|hook| hook.is_installed())
        .count();
    let mut parts = Vec::new();
    if !arguments.missing {
        parts.push(format!("{here} of this suite here"));
    }
    if !arguments.installed {
        parts.push(format!("{} not here", listing.hooks.len() - here));
    }
    let mut text = format!("Hooks: {}", parts.join(", "));
    if !arguments.missing {
        let others = listing.others.iter();
        let runs = others.clone().filter(|other| other.runs).count();
        let accidents = others.filter(|other| other.accident).count();
        text += &match (listing.others.len(), accidents) {
            (0, _) => "; no other files".to_owned(),
            (1, 0) if runs == 1 => "; 1 other file, which VDSM runs".to_owned(),
            (count, 0) => format!("; {count} other files, of which VDSM runs {runs}"),
            (count, accidents) => format!(
                "; {count} other files, of which VDSM runs {runs}, {accidents} to be looked at: \
                 see 'vdsm-hooks doctor'"
            ),
        };
    }
    text + ".\n"
}

/// The rows in columns.
fn aligned(rows: &[[String; 3]]) -> Result<String> {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let (first, second) = (width(0), width(1));
    let mut text = String::new();
    for [one, two, three] in rows {
        writeln!(text, "{one:first$}  {two:second$}  {three}")?;
    }
    Ok(text)
}
