// SPDX-License-Identifier: GPL-2.0-or-later

//! What the engine has now, as `engine-config -g` said it.

use std::fs;
use std::io;

use vdsm_hooks::{Context as _, Error, Result};

use crate::complain;
use crate::custom_properties::Key;

/// Of a line that is passed over so much is shown.
const SHOWN_CHARACTERS: usize = 70;

/// What `engine-config -g` said.
pub(super) struct Current {
    lines: Vec<Line>,
}

struct Line {
    key: Key,
    /// None if the line is for whatever level is asked for.
    level: Option<String>,
    value: String,
}

impl Current {
    /// Reads all of them, and says what was passed over.
    pub(super) fn read(arguments: &[String]) -> Result<Current> {
        let mut current = Current { lines: Vec::new() };
        let mut passed_over = Vec::new();
        for argument in arguments {
            let (place, text) = if argument == "-" {
                ("standard input", io::read_to_string(io::stdin())?)
            } else if argument.contains(['=', ':']) {
                ("--current", argument.clone())
            } else {
                let path = argument.as_str();
                (path, fs::read_to_string(path).context(path)?)
            };
            passed_over.extend(current.add(place, &text)?);
        }
        for message in passed_over {
            complain(&message);
        }
        Ok(current)
    }

    /// Adds the lines of a text. What was passed over, in words.
    fn add(&mut self, place: &str, text: &str) -> Result<Vec<String>> {
        let before = self.lines.len();
        let mut passed_over = Vec::new();
        let mut others = 0_usize;
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let number = number + 1;
            match Line::parse(line) {
                Ok(line) => self.lines.push(line),
                Err(_) if is_of_another_key(line) => others += 1,
                Err(_) if is_said_besides(line) => {
                    let start: String = line.trim().chars().take(SHOWN_CHARACTERS).collect();
                    passed_over.push(format!("{place}: line {number} is passed over: {start:?}"));
                }
                Err(error) => return Err(error).context(format!("{place}: line {number}")),
            }
        }
        match others {
            0 => {}
            1 => passed_over.push(format!("{place}: a line of another key is passed over")),
            _ => passed_over.push(format!(
                "{place}: {others} lines of other keys are passed over"
            )),
        }
        if self.lines.len() > before {
            return Ok(passed_over);
        }
        let what = if passed_over.is_empty() {
            "empty"
        } else {
            "no list in it"
        };
        Err(Error::new(format!("{place}: {what}, {}", Line::FORM)))
    }

    /// Whether nothing at all is known.
    pub(super) fn is_unknown(&self) -> bool {
        self.lines.is_empty()
    }

    /// The value of a key; None if nothing at all is known.
    pub(super) fn value(&self, key: Key, level: &str) -> Result<Option<&str>> {
        if self.is_unknown() {
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
    const FORM: &str = "expected what 'engine-config -g KEY' prints without --cver, \
                        KEY: VALUE version: LEVEL, or KEY=VALUE";

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

/// Whether a text is a level of compatibility, such as 4.7.
pub(super) fn is_level(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    text.split_once('.')
        .is_some_and(|(major, minor)| number(major) && number(minor))
}

/// Whether a line of `engine-config -a` is about something else than properties.
fn is_of_another_key(line: &str) -> bool {
    let Some((name, value)) = line.trim_start().split_once(':') else {
        return false;
    };
    let name = name.trim_end();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let level = value
        .rsplit_once("version: ")
        .map(|(_, level)| level.trim_end());
    !name.is_empty()
        && name.chars().all(is_name)
        && Key::ALL.into_iter().all(|key| key.name() != name)
        && level.is_some_and(|level| level == "general" || is_level(level))
}

/// Whether a line is what others say on standard error or on the terminal while engine-config runs: the
/// Java machine (OpenJDK …/runtime/arguments.cpp and …/libjli/emessages.h: "Picked up" options of the
/// environment; its warnings), what logs for Java, ssh; and the command itself, with its prompt.
fn is_said_besides(line: &str) -> bool {
    const STARTS: [&str; 7] = [
        "Picked up ",
        "NOTE: Picked up ",
        "WARNING: ",
        "Warning: ",
        "OpenJDK ",
        "SLF4J: ",
        "log4j:",
    ];
    let line = line.trim_start();
    STARTS.iter().any(|start| line.starts_with(start)) || line.contains("engine-config -")
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_others_say_is_passed_over_and_named() {
        let mut current = Current { lines: Vec::new() };
        let text = "[root@engine ~]# engine-config -a\n\
            Picked up JAVA_TOOL_OPTIONS: -Dcom.redhat.fips=false\n\
            NOTE: Picked up JDK_JAVA_OPTIONS: -Xmx1g\n\
            WARNING: An illegal reflective access operation has occurred\n\
            VdcVersion: 4.5.6 version: general\n\
            UserDefinedVMProperties:  version: 4.6\n\
            UserDefinedVMProperties: a=Picked up b version: 4.7\n\
            ClusterEmulatedMachines: pc,q35 version: 4.7\n";
        let said = current.add("now", text).unwrap();
        assert_eq!(
            said,
            [
                "now: line 1 is passed over: \"[root@engine ~]# engine-config -a\"",
                "now: line 2 is passed over: \"Picked up JAVA_TOOL_OPTIONS: -Dcom.redhat.fips=false\"",
                "now: line 3 is passed over: \"NOTE: Picked up JDK_JAVA_OPTIONS: -Xmx1g\"",
                "now: line 4 is passed over: \"WARNING: An illegal reflective access operation has occurred\"",
                "now: 2 lines of other keys are passed over",
            ]
        );
        let value = current.value(Key::Vm, "4.7").unwrap();
        assert_eq!(value, Some("a=Picked up b"));
        for unknown in [
            "a=^b$",
            "Connection to the Database failed.",
            "UserDefinedVMProperties: a=b version: new",
            "Other: a=b version: new",
        ] {
            assert!(current.add("now", unknown).is_err(), "{unknown}");
        }
        let error = current
            .add("now", "Picked up _JAVA_OPTIONS: -Xmx1g")
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("now: no list in it, expected what")
        );
    }
}
