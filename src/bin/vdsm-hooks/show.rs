// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks show`: a hook, by whatever somebody knows of it, and how its properties get into the
//! engine; and an event.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::slice;

use vdsm_hooks::Result;
use vdsm_hooks::hook::manifest::{Group, HostFile, Manifest, Retired, Scope};
use vdsm_hooks::host::command::shell_quoted;
use vdsm_hooks::paths::{HELPERS, HOOKS};
use vdsm_hooks::vdsm::events::{self, Data, Environment, Event, Failure};

use crate::catalog::{self, Kind};
use crate::custom_properties::Key;
use crate::engine_config::settings::{self, known_to_the_engine, settings_of_the_host};
use crate::json::{self, objects};
use crate::print;

/// Explain a hook: what it does when, its properties, and how to turn them on in the engine
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// A hook, or something that stands for one: a property, an event, a file, a package, a word
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,

    /// Print one JSON object instead of text; see vdsm-hooks-json(7)
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
A hook is found by its name, by one of its properties, by the name of its file
or its package, and by a word that is said of it, be it in its README; several
words in quotes have to be there together. Where several hooks are meant, they
are listed. An event of VDSM is explained, with the hooks of the suite that are
called there.

Example:
  vdsm-hooks show discard before_nic_hotplug";

/// Explains.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let all = catalog::all()?;
    if arguments.json {
        print(&json::text(&Answer::new(&arguments.names, &all)?)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let pages = arguments.names.iter().map(|name| answer(name, &all));
    let pages = pages.collect::<Result<Vec<_>>>()?;
    print(&pages.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn answer(name: &str, all: &[Manifest]) -> Result<String> {
    let (why, hooks) = match catalog::named(name, all) {
        Some((Kind::Event, hooks)) => {
            let event = events::find(name).ok_or_else(|| catalog::unknown(name, all))?;
            return event_page(event, &hooks);
        }
        Some((Kind::Hook, hooks)) if hooks.iter().all(|hook| hook.name == name) => {
            (String::new(), hooks)
        }
        Some((Kind::Hook, hooks)) => (format!("{name} is today"), hooks),
        Some((kind, hooks)) => (format!("{name} is {kind} of"), hooks),
        None => found(name, all),
    };
    match hooks.as_slice() {
        [] => Err(catalog::unknown(name, all)),
        [hook] if why.is_empty() => page(hook),
        [hook] => Ok(format!("{why} {}.\n\n{}", hook.name, page(hook)?)),
        hooks => {
            let mut text = format!("{why} these hooks; 'vdsm-hooks show HOOK' explains one:\n");
            let width = hooks.iter().map(|hook| hook.name.len()).max();
            let width = width.unwrap_or_default();
            for hook in hooks {
                writeln!(text, "  {:width$}  {}", hook.name, hook.summary)?;
            }
            Ok(text)
        }
    }
}

/// The hooks of which this is said, and in what way: as whole words; else, if no name is like it, as
/// parts of words, or in their READMEs.
fn found<'h>(name: &str, all: &'h [Manifest]) -> (String, Vec<&'h Manifest>) {
    let words: Vec<String> = name.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        return (String::new(), Vec::new());
    }
    let whole = catalog::about(&words, false, all);
    if !whole.is_empty() || catalog::meant(name, all).is_some() {
        return (format!("{name} is said of"), whole);
    }
    let in_part = catalog::about(&words, true, all);
    if !in_part.is_empty() {
        return (format!("{name} is part of what is said of"), in_part);
    }
    let explained = catalog::explained(&words, all);
    (format!("{name} stands in the README of"), explained)
}

objects! {
    /// What `--json` prints.
    pub(crate) struct Answer<'a> {
        /// The hooks that are meant, each once, in the order in which they were asked for.
        hooks: Vec<Explained<'a>>,
        /// The events that were asked for. Hooks that are called there are among `hooks`.
        events: Vec<ExplainedEvent<'a>>,
    }

    struct Explained<'a> {
        /// The hook.
        name: &'a str,
        /// What it does, in a line.
        summary: &'a str,
        /// `current`: today's VDSM has a hook of this name; `retired`: an older one had; `new`: none had.
        group: Group,
        /// VDSM's own package of this hook, which cannot be installed beside it.
        replaces: Option<&'a str>,
        /// What oVirt has instead; null if the hook is not `retired`.
        retired: Option<Retired>,
        /// Whether it acts on every VM, also on those that have none of its properties.
        unasked: bool,
        /// Where it is called.
        events: Vec<Place<'a>>,
        /// What it reads.
        properties: Vec<ExplainedProperty<'a>>,
        /// Packages or files that it needs besides VDSM.
        requires: &'a [String],
        /// The same, of what not every release has.
        recommends: &'a [String],
        /// Programs that it runs.
        commands: &'a [String],
        /// What it runs as root, through sudo.
        sudo: &'a [String],
        /// Programs of its own that run as root.
        helpers: Vec<String>,
        /// Programs of its own that systemd runs.
        daemons: Vec<String>,
        /// Other files that it puts on the host.
        files: Vec<&'a str>,
        /// The command that tries it; FILE and MAC are to be filled in.
        try_it: Option<String>,
    }

    struct Place<'a> {
        /// The event.
        event: &'a str,
        /// The name of the file there.
        file: String,
        /// What the hook does there.
        effect: &'a str,
        /// Whether that is more than a change of the document, so that a dry run leaves it out.
        acts: bool,
    }

    struct ExplainedProperty<'a> {
        /// The property.
        name: &'a str,
        /// Who sets it: `vm`, `interface`, `disk`, `network` (custom properties), `engine` (set
        /// unasked), `host` (/etc/sysconfig/vdsm) or `vdsm.conf`.
        scope: &'static str,
        /// What a value may be, in words.
        syntax: &'a str,
        /// The regular expression for the engine; null where none is defined.
        regex: Option<&'a str>,
        /// A value that works.
        example: &'a str,
    }

    struct ExplainedEvent<'a> {
        /// The event.
        event: &'a str,
        /// What a hook gets, in words.
        data: String,
        /// The variable that names the file with it: `_hook_domxml` or `_hook_json`.
        variable: &'static str,
        /// The user that hooks run as.
        user: &'static str,
        /// What a hook's failure does, in words.
        failure: &'static str,
        /// Whether VDSM goes on with what hooks write.
        output_used: bool,
    }
}

impl<'a> Answer<'a> {
    fn new(names: &[String], all: &'a [Manifest]) -> Result<Answer<'a>> {
        let mut meant: Vec<&Manifest> = Vec::new();
        let mut events = Vec::new();
        for name in names {
            let hooks = match catalog::named(name, all) {
                Some((kind, hooks)) => {
                    let event = events::find(name).filter(|_| matches!(kind, Kind::Event));
                    events.extend(event.map(ExplainedEvent::new));
                    hooks
                }
                None => match found(name, all).1 {
                    hooks if hooks.is_empty() => return Err(catalog::unknown(name, all)),
                    hooks => hooks,
                },
            };
            for hook in hooks {
                if meant.iter().all(|other| other.name != hook.name) {
                    meant.push(hook);
                }
            }
        }
        Ok(Answer {
            hooks: meant.into_iter().map(Explained::new).collect(),
            events,
        })
    }
}

impl<'a> Explained<'a> {
    fn new(hook: &'a Manifest) -> Explained<'a> {
        let places = hook.events.iter().map(|event| Place {
            event: &event.event,
            file: hook.installed_as(event),
            effect: &event.effect,
            acts: event.acts,
        });
        let properties = hook.properties.iter().map(|property| ExplainedProperty {
            name: &property.name,
            scope: property.scope.keyword(),
            syntax: &property.syntax,
            regex: property.regex.as_deref(),
            example: &property.example,
        });
        Explained {
            name: &hook.name,
            summary: &hook.summary,
            group: hook.group(),
            replaces: hook.replaces.as_deref(),
            retired: hook.retired.clone(),
            unasked: hook.unasked,
            events: places.collect(),
            properties: properties.collect(),
            requires: &hook.requires,
            recommends: &hook.recommends,
            commands: &hook.commands,
            sudo: &hook.sudo,
            helpers: helpers(hook),
            daemons: daemons(hook),
            files: hook.files.iter().map(|file| file.path.as_str()).collect(),
            try_it: dry_run(hook),
        }
    }
}

impl<'a> ExplainedEvent<'a> {
    fn new(event: &'a Event) -> ExplainedEvent<'a> {
        ExplainedEvent {
            event: event.name,
            data: event.data.to_string(),
            variable: variable(event),
            user: user(event),
            failure: failure(event),
            output_used: event.output_used,
        }
    }
}

fn variable(event: &Event) -> &'static str {
    if event.data.is_json() {
        "_hook_json"
    } else {
        "_hook_domxml"
    }
}

fn user(event: &Event) -> &'static str {
    if event.run_by_root() { "root" } else { "vdsm" }
}

/// What a hook's failure does.
fn failure(event: &Event) -> &'static str {
    match event.failure {
        Failure::Aborts => "stops the operation",
        Failure::Logged => "is a line in VDSM's log",
        Failure::CannotStart => "cannot even be started: any hook here stops the operation",
    }
}

/// What hooks are given at an event, what becomes of their result, and the suite's hooks there.
fn event_page(event: &Event, hooks: &[&Manifest]) -> Result<String> {
    let properties = match event.environment {
        Environment::Bare => "none",
        Environment::Vm => "those of the VM",
        Environment::VmAndParameters => "those of the VM, and of the device or the event",
    };
    let output = if event.output_used {
        "is what VDSM goes on with"
    } else {
        "is dropped"
    };
    let (variable, user, failure) = (variable(event), user(event), failure(event));
    let mut text = format!(
        "{}: an event of VDSM\n\n\
         A hook gets        {}, in the file that {variable} names\n\
         Custom properties  {properties}\n\
         A hook runs as     {user}\n\
         Its failure        {failure}\n\
         What it writes     {output}\n",
        event.name, event.data
    );
    let mut rows: Vec<(String, String)> = Vec::new();
    for hook in hooks {
        let here = hook.events.iter().filter(|one| one.event == event.name);
        rows.extend(here.map(|one| {
            // What is said behind the hook's first event may lean on that.
            let leans = ["the same", "does it", "sets them", "takes them"];
            let effect = if leans.iter().any(|start| one.effect.starts_with(start)) {
                format!("{}: {}", hook.summary, one.effect)
            } else {
                one.effect.clone()
            };
            (hook.installed_as(one), effect)
        }));
    }
    rows.sort();
    if rows.is_empty() {
        text += "\nNo hook of this suite is called there.\n";
        return Ok(text);
    }
    text += "\nHooks of this suite there, in the order of VDSM\n";
    let width = rows.iter().map(|(file, _)| file.len()).max();
    let width = width.unwrap_or_default();
    for (file, effect) in &rows {
        writeln!(text, "  {file:width$}  {effect}")?;
    }
    Ok(text)
}

fn page(hook: &Manifest) -> Result<String> {
    let mut text = format!("{}: {}\n", hook.name, hook.summary);
    if let Some(package) = &hook.replaces {
        writeln!(
            text,
            "Replaces VDSM's own {package}; only one of the two can be installed."
        )?;
    }
    if let Some(retired) = &hook.retired {
        writeln!(text, "{retired}.")?;
    }
    text += "\nEvents\n";
    for event in &hook.events {
        writeln!(text, "  {}/{}", event.event, hook.installed_as(event))?;
        writeln!(text, "      {}", event.effect)?;
    }
    text += "\nProperties\n";
    if hook.properties.is_empty() {
        text += "  None: it acts on every VM of the host\n";
    }
    for property in &hook.properties {
        writeln!(text, "  {} ({})", property.name, property.scope)?;
        writeln!(text, "      value:   {}", property.syntax)?;
        if let Some(regex) = &property.regex {
            writeln!(text, "      regex:   {regex}")?;
        }
        writeln!(
            text,
            "      example: {}={}",
            property.name, property.example
        )?;
    }
    let (helpers, daemons) = (helpers(hook), daemons(hook));
    let files = hook.files.iter().map(host_file).collect();
    for (title, lines) in [
        ("Needs besides VDSM", &hook.requires),
        ("Needs what not every release has", &hook.recommends),
        ("Runs", &hook.commands),
        ("Runs as root, through sudo", &hook.sudo),
        ("Helpers, programs that run as root", &helpers),
        ("Daemons, programs that systemd runs", &daemons),
        ("Files that it puts on the host", &files),
    ] {
        if !lines.is_empty() {
            writeln!(text, "\n{title}")?;
            for line in lines {
                writeln!(text, "  {line}")?;
            }
        }
    }
    if let Some(try_out) = dry_run(hook) {
        let what = if hook.events.first().is_some_and(|first| first.acts) {
            "it does its work on this host; without --act it is not run"
        } else {
            "without VDSM"
        };
        writeln!(text, "\nTry it on a domain XML, {what}\n  {try_out}")?;
    }
    text += &turn_on(hook)?;
    Ok(text)
}

/// Where the hook's helpers are installed.
pub(crate) fn helpers(hook: &Manifest) -> Vec<String> {
    let names = hook.helpers.iter();
    names.map(|name| format!("{HELPERS}/{name}")).collect()
}

/// Where the hook's daemons are installed.
pub(crate) fn daemons(hook: &Manifest) -> Vec<String> {
    let names = hook.daemons.iter();
    names.map(|name| format!("{HOOKS}/{name}")).collect()
}

/// A file of the host in one line.
pub(crate) fn host_file(file: &HostFile) -> String {
    format!("{} (mode {})", file.path, file.mode)
}

/// The command line of a dry run at the hook's first event.
pub(crate) fn dry_run(hook: &Manifest) -> Option<String> {
    let first = hook.events.first()?;
    let event = events::find(&first.event)?;
    let file = match event.data {
        Data::Device => "--domain FILE --device MAC",
        data if data.is_json() => "--data FILE",
        _ => "--domain FILE",
    };
    let setting = hook.properties.first().and_then(|property| {
        let of_device = matches!(
            property.scope,
            Scope::Interface | Scope::Disk | Scope::Engine
        );
        let option = match event.environment {
            Environment::VmAndParameters if of_device => "-d",
            Environment::Vm | Environment::VmAndParameters => "-p",
            // VDSM passes none; a property of a network is in the data.
            Environment::Bare => return None,
        };
        let value = format!("{}={}", property.name, property.example);
        Some(format!(" {option} {}", shell_quoted(&value)))
    });
    Some(format!(
        "vdsm-hooks run {} {file}{} --hook {}{}",
        event.name,
        setting.unwrap_or_default(),
        first.file.as_ref().unwrap_or(&hook.name),
        if first.acts { " --act" } else { "" }
    ))
}

/// How the properties get to the host, by scope.
fn turn_on(hook: &Manifest) -> Result<String> {
    let mut text = String::new();
    let definitions = settings::definitions(slice::from_ref(hook));
    if !definitions.is_empty() {
        text += "\nDefine the properties in the engine\n";
        for (key, of_key) in &definitions {
            let list = settings::list_of(of_key);
            writeln!(text, "  engine-config -g {}", key.name())?;
            writeln!(text, "  {}", settings::adding(*key, list, settings::LEVEL))?;
        }
        writeln!(text, "  {}", settings::RESTART)?;
        let is_added = |(key, _): &(Key, _)| key.can_be_added_to();
        text += match (
            definitions.iter().any(is_added),
            definitions.iter().all(is_added),
        ) {
            (_, true) => {
                "-m adds to the list, where a property of this name with another regular\n\
                 expression stays in front of it.\n"
            }
            (true, false) => {
                "-m adds to its list, but -s replaces a whole one, and the other properties in\n\
                 that are gone.\n"
            }
            (false, false) => "-s replaces the whole list, and the other properties are gone.\n",
        };
        writeln!(
            text,
            "Give what -g prints to 'vdsm-hooks engine-config {} --current -': what\n\
             that prints leaves everything else as it is, and names the way back. Use your\n\
             cluster's level.",
            hook.name
        )?;
    }
    for part in [known_to_the_engine(hook)?, settings_of_the_host(hook)?] {
        if !part.is_empty() {
            write!(text, "\n{part}")?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_what_a_hook_brings_and_what_replaced_it() {
        let hook = r#"{
            "name": "x", "summary": "Does it", "replaces": "vdsm-hook-x",
            "retired": { "last": "4.30.53", "superseded_by": "a setting, oVirt 4.4" },
            "events": [{ "event": "before_vm_start", "order": 50, "effect": "does it" }],
            "properties": [
                { "name": "x_set", "scope": "interface", "syntax": "any", "example": "1" },
                { "name": "x_a", "scope": "vdsm.conf", "syntax": "any", "example": "50%" },
                { "name": "x_b", "scope": "host", "syntax": "any", "example": "\"\\" }
            ],
            "helpers": ["x-helper"],
            "files": [{ "source": "x.conf", "path": "/etc/x.conf", "mode": "0644" }]
        }"#;
        let text = page(&Manifest::parse(hook).unwrap()).unwrap();
        for part in [
            "\nNot in VDSM after 4.30.53; instead: a setting, oVirt 4.4.\n",
            "\nHelpers, programs that run as root\n  /usr/libexec/vdsm-hooks/x-helper\n",
            "\nFiles that it puts on the host\n  /etc/x.conf (mode 0644)\n",
            "\nx_set is predefined in the engine.\n",
            "in /etc/vdsm/vdsm.conf.d/50_x.conf\n  [vars]\n  x_a = 50%%\nHooks read it at every run",
            "in /etc/sysconfig/vdsm\n  x_b=\"\\\"\\\\\"\n  systemctl restart vdsmd\n",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("engine-config"), "{text}");
    }
}
