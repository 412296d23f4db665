// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks engine-config`: the commands that make the properties of hooks known to the engine,
//! beside those that it has already.

use std::fmt::Write as _;
use std::process::ExitCode;

use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::{Context as _, Error, Result};

use crate::custom_properties::{Definition, Found, Key, List};
use crate::json::{self, objects};
use crate::{catalog, complain, print};

use current::{Current, is_level};
use settings::{
    LEVEL, RESTART, adding, definitions, known_to_the_engine, list_of, needed_by, setting,
    settings_of_the_host,
};

mod current;
pub(crate) mod settings;

/// Print the engine-config commands that define the properties of hooks, or take them out
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Hooks whose properties are to be defined; all of the suite if none is given, nor --drop
    #[arg(value_name = "HOOK")]
    hooks: Vec<String>,

    /// Take the properties of this hook out; may be repeated. Needs --current
    #[arg(long, value_name = "HOOK")]
    drop: Vec<String>,

    /// What the engine has now: the output of 'engine-config -g KEY', a file with it, or - for
    /// standard input
    #[arg(long, value_name = "TEXT")]
    current: Vec<String>,

    /// Compatibility level of the clusters
    #[arg(long, value_name = "LEVEL", default_value = LEVEL, value_parser = parse_level)]
    cver: String,

    /// Replace other regular expressions of the same properties by those of this suite
    #[arg(long)]
    replace: bool,

    /// Print one JSON object instead of a script; see vdsm-hooks-json(7)
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Nothing is changed: the tool prints commands for a shell on the engine's
machine. Comments among them say what is new, and how to go back.

With --current the properties that the engine has already stay as they are and
where they are, those of the hooks are added behind them, and if nothing is
missing there is nothing to change. Give the output for every key that is
needed, as it is. Lines of other levels are passed over; so are those of other
keys, and what Java or ssh said in between, with a message. A line KEY=VALUE
does as well. A TEXT with neither a '=' nor a ':' in it is the name of a file.

Without --current nobody knows what the engine has. To the properties of VMs
'engine-config -m' adds all the same, since ovirt-engine 3.5; the lists for
devices and for networks it cannot add to, and 'engine-config -s' replaces the
whole list.

A property that is defined with another regular expression stays as it is, and
a message says so: a stricter one makes the engine silently drop values that
VMs have already. --replace puts the suite's in its place.

--drop takes a hook's properties out of the lists, whatever their regular
expressions are. One that another hook of the suite reads too stays until that
hook is dropped as well. VMs that have such a property start without it.

Examples:
  Define the properties of all hooks:
      for key in UserDefinedVMProperties CustomDeviceProperties \\
          UserDefinedNetworkCustomProperties
      do ssh root@engine engine-config -g $key
      done | vdsm-hooks engine-config --current -
  Those of one hook, beside what the engine has:
      ssh root@engine engine-config -g UserDefinedVMProperties > now
      vdsm-hooks engine-config cpuflags --current now
  Take them out again:
      vdsm-hooks engine-config --drop cpuflags --current now";

fn parse_level(text: &str) -> std::result::Result<String, &'static str> {
    if is_level(text) {
        Ok(text.to_owned())
    } else {
        Err("expected a level such as 4.7")
    }
}

/// Prints the commands.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let dropped = match &arguments.drop[..] {
        [] => Vec::new(),
        names => catalog::find(names)?,
    };
    let hooks = match &arguments.hooks[..] {
        [] if !dropped.is_empty() => Vec::new(),
        names => catalog::find(names)?,
    };
    let is_dropped = |hook: &Manifest| dropped.iter().any(|one| one.name == hook.name);
    if let Some(both) = hooks.iter().find(|hook| is_dropped(hook)) {
        return Err(Error::new(format!(
            "{}: to be defined and dropped, expected one of the two",
            both.name
        )));
    }
    let current = Current::read(&arguments.current)?;
    if current.is_unknown() && !dropped.is_empty() {
        return Err(Error::new(
            "--drop: what the engine has is not known, expected what 'engine-config -g KEY' prints, \
             with --current",
        ));
    }
    let mut others = catalog::all()?;
    others.retain(|hook| !is_dropped(hook));
    let wanted = definitions(&hooks);
    let unwanted = unwanted(&dropped, &others);
    for message in &unwanted.stay {
        complain(&message);
    }
    let mut script = Script::default();
    for key in Key::ALL {
        let (wanted, unwanted) = (of(key, &wanted), of(key, &unwanted.go));
        if wanted.is_empty() && unwanted.is_empty() {
            continue;
        }
        match current.value(key, &arguments.cver)? {
            Some(now) => script.change(key, now, wanted, unwanted, arguments)?,
            None => script.start_anew(key, wanted, &arguments.cver)?,
        }
    }
    if arguments.json {
        print(&json::text(&script.answer(&arguments.cver))?)?;
    } else {
        print(&script.finish(&hooks, &dropped)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Those of a key.
fn of(key: Key, all: &[(Key, Vec<Definition>)]) -> &[Definition] {
    let found = all.iter().find(|(one, _)| *one == key);
    found.map_or(&[], |(_, definitions)| definitions)
}

/// What becomes of the properties of hooks that are dropped.
struct Unwanted {
    go: Vec<(Key, Vec<Definition>)>,
    /// Why others stay.
    stay: Vec<String>,
}

/// Properties of `dropped`; those that `others` read too stay.
fn unwanted(dropped: &[Manifest], others: &[Manifest]) -> Unwanted {
    let mut stay = Vec::new();
    let mut go = definitions(dropped);
    for (key, definitions) in &mut go {
        definitions.retain(|definition| {
            let Some(other) = needed_by(definition, others) else {
                return true;
            };
            stay.push(format!(
                "{}: {} stays, {other} reads it too; --drop {other} takes it out as well",
                key.name(),
                definition.name,
                other = other.name
            ));
            false
        });
    }
    Unwanted { go, stay }
}

objects! {
    /// What `--json` prints.
    pub(crate) struct Answer {
        /// The compatibility level of the clusters.
        level: String,
        /// The lists of properties that the hooks need, or leave.
        lists: Vec<Change>,
        /// What has to be run after the commands; null if there are none.
        restart: Option<&'static str>,
        /// Whether VMs that have a property lose it.
        vms_lose: bool,
    }

    struct Change {
        /// The key of engine-config.
        key: &'static str,
        /// The list as it is; null if that was not told.
        before: Option<String>,
        /// The list as it is to be; null where nobody knows what is in it besides.
        after: Option<String>,
        /// What changes, in words; empty if nothing does, or if the list was not told.
        changes: Vec<String>,
        /// The command; null if there is nothing to change.
        command: Option<String>,
        /// The command that undoes it; null if there is none.
        way_back: Option<String>,
    }
}

/// What is printed.
#[derive(Default)]
struct Script {
    lists: Vec<Change>,
    lines: String,
    /// Whether there is anything to run.
    commands: bool,
    /// Whether VMs lose properties.
    vms_lose: bool,
    way_back: String,
}

impl Script {
    /// The list of `key` is `now`, and is to have what is `wanted`, and not to have what is
    /// `unwanted`.
    fn change(
        &mut self,
        key: Key,
        now: &str,
        wanted: &[Definition],
        unwanted: &[Definition],
        arguments: &Arguments,
    ) -> Result {
        let (name, level) = (key.name(), &arguments.cver);
        let before = List::parse(key, now).context(format!("--current: {name}, level {level}"))?;
        let mut after = before.clone();
        let mut changes = Vec::new();
        for definition in unwanted {
            if after.undefine(definition) {
                changes.push(format!("without {}", definition.name));
                self.vms_lose |= key == Key::Vm;
            }
        }
        for definition in wanted {
            let property = &definition.name;
            match after.define(definition, arguments.replace) {
                Found::Same => {}
                Found::Nothing => changes.push(format!("new {property}")),
                Found::Other(regex) if arguments.replace => {
                    changes.push(format!("other {property}"));
                    complain(&format!("{name}: {property}={regex} is replaced"));
                }
                Found::Other(regex) => complain(&format!(
                    "{name}: {property}={regex} stays; --replace makes it {}",
                    definition.regex
                )),
            }
        }
        self.lists.push(Change {
            key: name,
            before: Some(now.to_owned()),
            after: Some(now.to_owned()),
            changes: Vec::new(),
            command: None,
            way_back: None,
        });
        if after == before {
            writeln!(self.lines, "# {name}, level {level}: nothing to change")?;
            return Ok(());
        }
        if key == Key::Network && after == List::default() {
            writeln!(
                self.lines,
                "# {name}, level {level}: stays, engine-config refuses the empty list"
            )?;
            return Ok(());
        }
        self.commands = true;
        writeln!(
            self.lines,
            "# {name}, level {level}: {}",
            changes.join(", ")
        )?;
        writeln!(self.lines, "{}", setting(key, &after, level))?;
        let can_go_back = key != Key::Network || !now.is_empty();
        if let Some(told) = self.lists.last_mut() {
            told.after = Some(after.to_string());
            told.changes = changes;
            told.command = Some(setting(key, &after, level));
            told.way_back = can_go_back.then(|| setting(key, now, level));
        }
        if !can_go_back {
            self.way_back +=
                "#   not for the properties of networks: engine-config refuses the empty list\n";
        } else {
            writeln!(self.way_back, "#   {}", setting(key, now, level))?;
        }
        Ok(())
    }

    /// The list of `key` is not known, and is to have what is `wanted`.
    fn start_anew(&mut self, key: Key, wanted: &[Definition], level: &str) -> Result {
        let name = key.name();
        self.commands = true;
        if key.can_be_added_to() {
            // Of two the engine takes the last, see List::define.
            writeln!(
                self.lines,
                "# {name}, level {level}: -m adds to the list that is there. Where that has one\n\
                 # of these properties with another regular expression, both are in it then, and\n\
                 # the engine takes the new one. With --current that is seen before; without, keep\n\
                 # what the first command shows, to go back."
            )?;
        } else {
            writeln!(
                self.lines,
                "# {name}, level {level}: replaces the list that is there. With --current its\n\
                 # properties stay; without, keep what the first command shows, to go back."
            )?;
        }
        if key == Key::Device {
            self.lines += "# The engine's own SecurityGroups is in this list.\n";
        }
        writeln!(self.lines, "engine-config -g {name}")?;
        let command = adding(key, list_of(wanted), level);
        writeln!(self.lines, "{command}")?;
        self.lists.push(Change {
            key: name,
            before: None,
            after: None,
            changes: Vec::new(),
            command: Some(command),
            way_back: None,
        });
        Ok(())
    }

    /// The same for scripts.
    fn answer(self, level: &str) -> Answer {
        Answer {
            level: level.to_owned(),
            lists: self.lists,
            restart: self.commands.then_some(RESTART),
            vms_lose: self.vms_lose,
        }
    }

    fn finish(mut self, hooks: &[Manifest], dropped: &[Manifest]) -> Result<String> {
        if self.vms_lose {
            // ovirt-engine 4.5 …/customprop/CustomPropertiesUtils.java: convertProperties.
            self.lines += "# VMs that have such a property start without it, and the engine does \
                           not say so.\n";
        }
        if self.commands {
            writeln!(self.lines, "{RESTART}")?;
        }
        if !self.way_back.is_empty() {
            self.lines += "\n# To go back:\n";
            self.lines += &self.way_back;
            writeln!(self.lines, "#   {RESTART}")?;
        }
        // Hooks share some.
        let mut beside: Vec<String> = Vec::new();
        for hook in hooks.iter().chain(dropped) {
            let text = known_to_the_engine(hook)?;
            let new = text
                .lines()
                .filter(|line| !beside.iter().any(|one| one == line));
            let new: Vec<_> = new.map(str::to_owned).collect();
            beside.extend(new);
        }
        for hook in hooks {
            beside.extend(settings_of_the_host(hook)?.lines().map(str::to_owned));
        }
        if beside.is_empty() && self.lines.is_empty() {
            beside.push("These hooks have no property that anybody defines.".to_owned());
        }
        if !beside.is_empty() && !self.lines.is_empty() {
            self.lines += "\n";
        }
        for line in beside {
            writeln!(self.lines, "# {line}")?;
        }
        Ok(self.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> Arguments {
        Arguments {
            hooks: Vec::new(),
            drop: Vec::new(),
            current: Vec::new(),
            cver: LEVEL.to_owned(),
            replace: false,
            json: false,
        }
    }

    fn of_networks(name: &str) -> Definition {
        Definition {
            key: Key::Network,
            device: None,
            name: name.to_owned(),
            regex: "^y$".to_owned(),
        }
    }

    #[test]
    fn hooks_that_share_a_property_agree_on_it() {
        for (_, definitions) in definitions(&catalog::all().unwrap()) {
            let mut list = List::default();
            for definition in &definitions {
                let found = list.define(definition, false);
                assert_eq!(found, Found::Nothing, "{definition:?}");
            }
        }
    }

    #[test]
    fn an_empty_list_of_networks_has_no_way_back() {
        let arguments = arguments();
        let wanted = of_networks("x");
        let way_back = |now: &str| {
            let mut script = Script::default();
            let wanted = [wanted.clone()];
            script
                .change(Key::Network, now, &wanted, &[], &arguments)
                .unwrap();
            script.way_back
        };
        assert!(way_back("").starts_with("#   not for the properties of networks"));
        let command = "engine-config -s UserDefinedNetworkCustomProperties=a=b --cver=4.7";
        assert_eq!(way_back("a=b"), format!("#   {command}\n"));
    }

    #[test]
    fn the_last_property_of_networks_stays() {
        let arguments = arguments();
        let change = |now: &str| {
            let mut script = Script::default();
            let unwanted = [of_networks("x")];
            script
                .change(Key::Network, now, &[], &unwanted, &arguments)
                .unwrap();
            script.finish(&[], &[]).unwrap()
        };
        let name = Key::Network.name();
        let stays = "stays, engine-config refuses the empty list";
        assert_eq!(change("x=^y$"), format!("# {name}, level 4.7: {stays}\n"));
        assert_eq!(
            change("x=^y$;a=b;x=z"),
            format!(
                "# {name}, level 4.7: without x\n\
                 engine-config -s {name}=a=b --cver=4.7\n{RESTART}\n\n\
                 # To go back:\n\
                 #   engine-config -s '{name}=x=^y$;a=b;x=z' --cver=4.7\n#   {RESTART}\n"
            )
        );
    }

    #[test]
    fn what_another_hook_reads_too_is_not_dropped() {
        let hook = |name: &str, properties: &str| {
            let text = format!(
                r#"{{ "name": "{name}", "summary": "Does it", "events": [], "properties": [{properties}] }}"#
            );
            Manifest::parse(&text).unwrap()
        };
        let property = |name: &str, scope: &str| {
            format!(
                r#"{{ "name": "{name}", "scope": "{scope}", "syntax": "any", "regex": "^.*$", "example": "a" }}"#
            )
        };
        let shared = property("shared", "vm");
        let one = hook("one", &[shared.clone(), property("own", "vm")].join(","));
        let two = hook("two", &[shared, property("own", "interface")].join(","));
        let gone = |dropped: &[Manifest], others: &[Manifest]| {
            let unwanted = unwanted(dropped, others);
            let names = of(Key::Vm, &unwanted.go).iter();
            let names: Vec<_> = names.map(|definition| definition.name.clone()).collect();
            (names, unwanted.stay)
        };
        let both = [one, two];
        let expected = "UserDefinedVMProperties: shared stays, two reads it too; --drop two takes it out as well";
        let own = vec!["own".to_owned()];
        assert_eq!(
            gone(&both[..1], &both[1..]),
            (own, vec![expected.to_owned()])
        );
        let all = vec!["shared".to_owned(), "own".to_owned()];
        assert_eq!(gone(&both, &[]), (all, Vec::new()));
    }
}
