// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks engine-config`: the commands that make the properties of hooks known to the engine,
//! beside those that it has already.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::process::ExitCode;

use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::{Context as _, Error, Result};

use crate::custom_properties::{Definition, Found, Key, List};
use crate::{catalog, print};

use settings::{
    LEVEL, RESTART, definitions, known_to_the_engine, list_of, setting, settings_of_the_host,
};

pub(crate) mod settings;

/// Print the engine-config commands that define the properties of hooks
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Hooks; all of the suite if none is given
    #[arg(value_name = "HOOK")]
    hooks: Vec<String>,

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
}

const HELP: &str = "\
Nothing is changed: the tool prints commands for a shell on the engine's machine. Comments among
them say what is new, and how to go back.

engine-config knows only whole lists. With --current the properties that the engine has already
stay as they are and where they are, those of the hooks are added behind them, and if nothing is
missing there is nothing to change. Give the output for every key that is needed, as it is; the
lines of other levels are passed over. A line KEY=VALUE does as well. A TEXT with neither a '='
nor a ':' in it is the name of a file.

A property that is defined with another regular expression stays as it is, and a message says so:
a stricter one makes the engine silently drop values that VMs have already. --replace puts
the suite's in its place.

Examples:
  Define the properties of all hooks:
      for key in UserDefinedVMProperties CustomDeviceProperties UserDefinedNetworkCustomProperties
      do ssh root@engine engine-config -g $key
      done | vdsm-hooks engine-config --current -
  Those of one hook, on an engine where nobody has defined any:
      vdsm-hooks engine-config cpuflags --current UserDefinedVMProperties=";

fn parse_level(text: &str) -> std::result::Result<String, &'static str> {
    if is_level(text) {
        Ok(text.to_owned())
    } else {
        Err("expected a level such as 4.7")
    }
}

fn is_level(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    text.split_once('.')
        .is_some_and(|(major, minor)| number(major) && number(minor))
}

/// Prints the commands.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let hooks = catalog::find(&arguments.hooks)?;
    let current = Current::read(&arguments.current)?;
    let mut script = Script::default();
    for (key, wanted) in definitions(&hooks) {
        match current.value(key, &arguments.cver)? {
            Some(now) => script.add(key, now, &wanted, arguments)?,
            None => script.start_anew(key, &wanted, &arguments.cver)?,
        }
    }
    print(&script.finish(&hooks)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What is printed.
#[derive(Default)]
struct Script {
    lines: String,
    /// Whether there is anything to run.
    commands: bool,
    way_back: String,
}

impl Script {
    /// The list of `key` is `now`, and is to have what is `wanted` as well.
    fn add(&mut self, key: Key, now: &str, wanted: &[Definition], arguments: &Arguments) -> Result {
        let (name, level) = (key.name(), &arguments.cver);
        let before = List::parse(key, now).context(format!("--current: {name}, level {level}"))?;
        let mut after = before.clone();
        let mut changes = Vec::new();
        for definition in wanted {
            let property = &definition.name;
            match after.define(definition, arguments.replace) {
                Found::Same => {}
                Found::Nothing => changes.push(format!("new {property}")),
                Found::Other(regex) if arguments.replace => {
                    changes.push(format!("other {property}"));
                    say(&format!("{name}: {property}={regex} is replaced"));
                }
                Found::Other(regex) => say(&format!(
                    "{name}: {property}={regex} stays; --replace makes it {}",
                    definition.regex
                )),
            }
        }
        if after == before {
            writeln!(self.lines, "# {name}, level {level}: nothing to change")?;
            return Ok(());
        }
        self.commands = true;
        let changes = changes.join(", ");
        writeln!(self.lines, "# {name}, level {level}: {changes}")?;
        writeln!(self.lines, "{}", setting(key, &after, level))?;
        if key == Key::Network && now.is_empty() {
            self.way_back +=
                "#   not for the properties of networks: engine-config refuses the empty list\n";
        } else {
            writeln!(self.way_back, "#   {}", setting(key, now, level))?;
        }
        Ok(())
    }

    /// The list of `key` is not known, and is to be what is `wanted`.
    fn start_anew(&mut self, key: Key, wanted: &[Definition], level: &str) -> Result {
        let name = key.name();
        self.commands = true;
        writeln!(
            self.lines,
            "# {name}, level {level}: replaces the list that is there. With --current its\n\
             # properties stay; without, keep what the first command shows, to go back."
        )?;
        if key == Key::Device {
            self.lines += "# The engine's own SecurityGroups is in this list.\n";
        }
        writeln!(self.lines, "engine-config -g {name}")?;
        writeln!(self.lines, "{}", setting(key, list_of(wanted), level))?;
        Ok(())
    }

    fn finish(mut self, hooks: &[Manifest]) -> Result<String> {
        if self.commands {
            writeln!(self.lines, "{RESTART}")?;
        }
        if !self.way_back.is_empty() {
            self.lines += "\n# To go back:\n";
            self.lines += &self.way_back;
            writeln!(self.lines, "#   {RESTART}")?;
        }
        let mut beside = String::new();
        for hook in hooks {
            beside += &known_to_the_engine(hook)?;
            beside += &settings_of_the_host(hook)?;
        }
        if !beside.is_empty() {
            self.lines += "\n";
        }
        for line in beside.lines() {
            writeln!(self.lines, "# {line}")?;
        }
        Ok(self.lines)
    }
}

fn say(message: &str) {
    let _ = writeln!(io::stderr(), "vdsm-hooks: {message}");
}

/// What `engine-config -g` said.
struct Current {
    lines: Vec<Line>,
}

struct Line {
    key: Key,
    /// None if the line is for whatever level is asked for.
    level: Option<String>,
    value: String,
}

impl Current {
    fn read(arguments: &[String]) -> Result<Current> {
        let mut lines = Vec::new();
        for argument in arguments {
            let (place, text) = if argument == "-" {
                ("standard input", io::read_to_string(io::stdin())?)
            } else if argument.contains(['=', ':']) {
                ("--current", argument.clone())
            } else {
                let path = argument.as_str();
                (path, fs::read_to_string(path).context(path)?)
            };
            let before = lines.len();
            for (number, line) in text.lines().enumerate() {
                if !line.trim().is_empty() {
                    let parsed = Line::parse(line);
                    lines.push(parsed.context(format!("{place}: line {}", number + 1))?);
                }
            }
            if lines.len() == before {
                return Err(Error::new(format!("{place}: empty, {}", Line::FORM)));
            }
        }
        Ok(Current { lines })
    }

    /// The value of a key; None if nothing at all is known.
    fn value(&self, key: Key, level: &str) -> Result<Option<&str>> {
        if self.lines.is_empty() {
            return Ok(None);
        }
        let name = key.name();
        let of_key: Vec<_> = self.lines.iter().filter(|line| line.key == key).collect();
        let values = of_key.iter().filter(|line| {
            let other = |found: &String| found != level;
            !line.level.as_ref().is_some_and(other)
        });
        let mut values: Vec<_> = values.map(|line| line.value.as_str()).collect();
        values.dedup();
        match values[..] {
            [value] => Ok(Some(value)),
            [] if of_key.is_empty() => Err(Error::new(format!(
                "--current: no {name}, which the hooks need; add what 'engine-config -g {name}' prints"
            ))),
            [] => {
                let levels = of_key.iter().filter_map(|line| line.level.as_deref());
                let levels = levels.collect::<Vec<_>>().join(", ");
                Err(Error::new(format!(
                    "--current: {name} is not there for level {level}, only for {levels}; \
                     choose with --cver"
                )))
            }
            _ => Err(Error::new(format!(
                "--current: {name} has more than one value for level {level}"
            ))),
        }
    }
}

impl Line {
    const FORM: &str = "expected what 'engine-config -g KEY' prints, KEY: VALUE version: LEVEL, \
                        or KEY=VALUE";

    fn parse(text: &str) -> Result<Line> {
        let parsed = Key::ALL.into_iter().find_map(|key| {
            let rest = text.trim_start().strip_prefix(key.name())?;
            if let Some(value) = rest.strip_prefix('=') {
                return Some(Line {
                    key,
                    level: None,
                    value: value.to_owned(),
                });
            }
            // The value is copied byte for byte; nothing is between the two blanks if it is empty.
            let (value, level) = rest
                .trim_start()
                .strip_prefix(':')?
                .rsplit_once(" version: ")?;
            let level = level.trim_end();
            is_level(level).then(|| Line {
                key,
                level: Some(level.to_owned()),
                value: value.strip_prefix(' ').unwrap_or(value).to_owned(),
            })
        });
        parsed.ok_or_else(|| {
            let keys = Key::ALL.map(Key::name).join(", ");
            Error::new(format!("{text:?}: {} with KEY one of {keys}", Line::FORM))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let arguments = Arguments {
            hooks: Vec::new(),
            current: Vec::new(),
            cver: LEVEL.to_owned(),
            replace: false,
        };
        let wanted = Definition {
            key: Key::Network,
            device: None,
            name: "x".to_owned(),
            regex: "^y$".to_owned(),
        };
        let way_back = |now: &str| {
            let mut script = Script::default();
            let wanted = [wanted.clone()];
            script.add(Key::Network, now, &wanted, &arguments).unwrap();
            script.way_back
        };
        assert!(way_back("").starts_with("#   not for the properties of networks"));
        let command = "engine-config -s UserDefinedNetworkCustomProperties=a=b --cver=4.7";
        assert_eq!(way_back("a=b"), format!("#   {command}\n"));
    }

    #[test]
    fn a_line_is_what_engine_config_prints_or_an_assignment() {
        for (text, key, level, value) in [
            (
                "CustomDeviceProperties:  version: 4.7",
                Key::Device,
                Some("4.7"),
                "",
            ),
            (
                "UserDefinedVMProperties: a=^b $ version: 4.10\r",
                Key::Vm,
                Some("4.10"),
                "a=^b $",
            ),
            // As the manuals have it.
            (
                " UserDefinedVMProperties : a=^ version: 3.6$ version: 4.7  ",
                Key::Vm,
                Some("4.7"),
                "a=^ version: 3.6$",
            ),
            ("UserDefinedVMProperties=", Key::Vm, None, ""),
            (
                "UserDefinedNetworkCustomProperties=a= version: 4.7",
                Key::Network,
                None,
                "a= version: 4.7",
            ),
        ] {
            let line = Line::parse(text).unwrap();
            assert_eq!(line.key, key, "{text}");
            assert_eq!(line.level.as_deref(), level, "{text}");
            assert_eq!(line.value, value, "{text}");
        }
        for text in [
            "VdcVersion: 4.5 version: general",
            "UserDefinedVMProperties",
            "UserDefinedVMProperties: a=b",
            "UserDefinedVMProperties: a=b version: new",
            "UserDefinedVMPropertiesX=a=b",
            "a=b",
        ] {
            assert!(Line::parse(text).is_err(), "{text}");
        }
    }
}
