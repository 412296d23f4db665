// SPDX-License-Identifier: GPL-2.0-or-later

//! The engine's lists of custom properties, as `engine-config` keeps them under three keys.
//!
//! Two of them are `name=regex;name=regex`, the one for devices is a group of those per type:
//! `{type=disk;prop={name=regex}};{type=interface;prop={name=regex;name=regex}}`. A regular
//! expression holds anything but a semicolon, braces and `=` too, so the semicolons alone tell
//! where a part ends; this is how the engine takes the lists apart as well (ovirt-engine 4.5
//! …/customprop/CustomPropertiesUtils.java and DevicePropertiesUtils.java).

use std::fmt;

use vdsm_hooks::hook::manifest::{Property, Scope};
use vdsm_hooks::{Error, Result};

/// Where `engine-config` keeps a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Vm,
    Device,
    Network,
}

impl Key {
    pub(crate) const ALL: [Key; 3] = [Key::Vm, Key::Device, Key::Network];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Key::Vm => "UserDefinedVMProperties",
            Key::Device => "CustomDeviceProperties",
            Key::Network => "UserDefinedNetworkCustomProperties",
        }
    }

    /// Whether `engine-config -m` adds to the list; it can only replace the others as a whole
    /// (ovirt-engine 3.5 and later packaging/etc/engine-config/engine-config.properties: mergable).
    pub(crate) fn can_be_added_to(self) -> bool {
        self == Key::Vm
    }
}

/// Properties that are predefined in the engine (ovirt-engine 4.5
/// packaging/dbscripts/upgrade/pre_upgrade/0000_config.sql). It would take a second definition of those of
/// VMs, and then judge values by that one alone (…/customprop/VmPropertiesUtils.java: init).
pub(crate) const PREDEFINED: [&str; 10] = [
    "sap_agent",
    "sndbuf",
    "vhost",
    "viodiskcache",
    "hugepages",
    "scsi_hostdev",
    "nvram_template",
    "extra_cpu_flags",
    "SecurityGroups",
    "bridge_opts",
];

/// A property as the engine is to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) key: Key,
    /// Of which type of device it is a property.
    pub(crate) device: Option<&'static str>,
    pub(crate) name: String,
    pub(crate) regex: String,
}

impl Definition {
    /// None for what the engine is not to define: settings of the host, its own properties, and
    /// those that it sets without asking anybody.
    pub(crate) fn from_property(property: &Property) -> Option<Definition> {
        let (key, device) = match property.scope {
            Scope::Vm => (Key::Vm, None),
            Scope::Disk => (Key::Device, Some("disk")),
            Scope::Interface => (Key::Device, Some("interface")),
            Scope::Network => (Key::Network, None),
            Scope::Engine | Scope::Host | Scope::VdsmConf => return None,
        };
        if PREDEFINED.contains(&property.name.as_str()) {
            return None;
        }
        Some(Definition {
            key,
            device,
            name: property.name.clone(),
            regex: property.regex.clone()?,
        })
    }

    /// Whether both define one property, each with a regular expression of its own perhaps.
    pub(crate) fn is_of_same_property(&self, other: &Definition) -> bool {
        (self.key, self.device, &self.name) == (other.key, other.device, &other.name)
    }
}

/// The value of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct List {
    groups: Vec<Group>,
}

/// The properties of one type of device, or all of a list without types.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    device: Option<String>,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    regex: String,
}

/// What a list had to say about a definition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was there already.
    Same,
    /// It was not there, and is now.
    Nothing,
    /// The property was defined with this regular expression.
    Other(String),
}

impl List {
    /// Reads the value of `key`.
    ///
    /// # Errors
    /// `engine-config` would not take the value.
    pub(crate) fn parse(key: Key, text: &str) -> Result<List> {
        if text.contains(char::is_control) {
            return Err(Error::new(format!("{text:?}: has a control character")));
        }
        if text.is_empty() {
            return Ok(List::default());
        }
        // A list may end with one semicolon.
        let text = text.strip_suffix(';').unwrap_or(text);
        let groups = match key {
            Key::Device => groups(text)?,
            Key::Vm | Key::Network => vec![Group {
                device: None,
                entries: text.split(';').map(entry).collect::<Result<_>>()?,
            }],
        };
        Ok(List { groups })
    }

    /// Adds `wanted`. One with another regular expression stays, unless `replace`.
    pub(crate) fn define(&mut self, wanted: &Definition, replace: bool) -> Found {
        let entries = self.entries_of(wanted.device);
        // Of two the engine takes the last (…/CustomPropertiesUtils.java: parsePropertiesRegex).
        let found = entries
            .iter_mut()
            .rev()
            .find(|entry| entry.name == wanted.name);
        let Some(entry) = found else {
            entries.push(Entry {
                name: wanted.name.clone(),
                regex: wanted.regex.clone(),
            });
            return Found::Nothing;
        };
        if entry.regex == wanted.regex {
            return Found::Same;
        }
        let other = entry.regex.clone();
        if replace {
            entry.regex.clone_from(&wanted.regex);
        }
        Found::Other(other)
    }

    /// Takes `unwanted` out, whatever its regular expression is. Whether it was there.
    pub(crate) fn undefine(&mut self, unwanted: &Definition) -> bool {
        let is_its = |group: &&mut Group| group.device.as_deref() == unwanted.device;
        let Some(group) = self.groups.iter_mut().find(is_its) else {
            return false;
        };
        let before = group.entries.len();
        group.entries.retain(|entry| entry.name != unwanted.name);
        if group.entries.len() == before {
            return false;
        }
        // Of a type of device with nothing left nothing is left; others stay as they are, even if they
        // are empty.
        let is_left =
            |one: &Group| one.device.as_deref() != unwanted.device || !one.entries.is_empty();
        self.groups.retain(is_left);
        true
    }

    fn entries_of(&mut self, device: Option<&str>) -> &mut Vec<Entry> {
        let place = |group: &Group| group.device.as_deref() == device;
        let at = self.groups.iter().position(place).unwrap_or_else(|| {
            // engine-config wants the types in its own order, which begins with disk, interface
            // (ovirt-engine 4.5 …/businessentities/VmDeviceGeneralType.java).
            let first = self
                .groups
                .first()
                .and_then(|group| group.device.as_deref());
            let at = usize::from(first == Some("disk"));
            let group = Group {
                device: device.map(str::to_owned),
                entries: Vec::new(),
            };
            self.groups.insert(at, group);
            at
        });
        &mut self.groups[at].entries
    }
}

fn groups(text: &str) -> Result<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    let mut parts = text.split(';').peekable();
    while let Some(start) = parts.next() {
        let device = start.strip_prefix("{type=").filter(|name| is_name(name));
        let device = device.ok_or_else(|| expected("{type=DEVICE", start))?;
        let properties = parts.next().unwrap_or_default();
        let mut part = properties
            .strip_prefix("prop={")
            .ok_or_else(|| expected(&format!("prop={{ after {start};"), properties))?;
        let mut entries = Vec::new();
        while parts.peek().is_some_and(|next| !next.starts_with("{type=")) {
            entries.push(entry(part)?);
            part = parts.next().unwrap_or_default();
        }
        let last = part
            .strip_suffix("}}")
            .ok_or_else(|| expected(&format!("}}}} at the end of {start}"), part))?;
        // Nothing in it, or a semicolon after the last.
        if !last.is_empty() {
            entries.push(entry(last)?);
        }
        if groups
            .iter()
            .any(|group| group.device.as_deref() == Some(device))
        {
            return Err(Error::new(format!(
                "\"{start}\": a second time, the engine would forget the first"
            )));
        }
        groups.push(Group {
            device: Some(device.to_owned()),
            entries,
        });
    }
    Ok(groups)
}

fn entry(text: &str) -> Result<Entry> {
    match text.split_once('=') {
        Some((name, regex)) if is_name(name) => Ok(Entry {
            name: name.to_owned(),
            regex: regex.to_owned(),
        }),
        _ => Err(expected(
            "NAME=REGEX with a name of letters, digits and _",
            text,
        )),
    }
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(fits)
}

fn expected(what: &str, found: &str) -> Error {
    Error::new(format!("\"{found}\": expected {what}"))
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, group) in self.groups.iter().enumerate() {
            let between = if number == 0 { "" } else { ";" };
            let entries: Vec<_> = group.entries.iter().map(Entry::to_string).collect();
            let entries = entries.join(";");
            match &group.device {
                Some(device) => write!(f, "{between}{{type={device};prop={{{entries}}}}}")?,
                None => write!(f, "{between}{entries}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.regex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the engine has by itself since oVirt 4.0.
    const SECURITY_GROUPS: &str = "{type=interface;prop={SecurityGroups=^(?:(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}, *)*[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|)$}}";

    const PROPERTIES: &str = r"(?:[A-Za-z0-9_]+=[^;]*(?:;[A-Za-z0-9_]+=[^;]*)*;?)?";

    /// The types in the order in which engine-config accepts them.
    const DEVICES: [&str; 4] = ["disk", "interface", "video", "hostdev"];

    fn matches(pattern: &str, text: &str) -> bool {
        let pattern = pcre2::bytes::Regex::new(&format!("\\A(?:{pattern})\\z")).unwrap();
        pattern.is_match(text.as_bytes()).unwrap()
    }

    /// Whether engine-config takes the value.
    fn accepted(key: Key, text: &str) -> bool {
        let group = |device: &str| format!(r"(?:\{{type={device};prop=\{{{PROPERTIES}\}}\}};?)?");
        match key {
            Key::Device => matches(&DEVICES.map(group).concat(), text),
            Key::Vm | Key::Network => matches(PROPERTIES, text),
        }
    }

    /// What the engine finds in the value, written after its own way: a pattern for the groups, and
    /// whatever is between two semicolons.
    fn engine_reads(key: Key, text: &str) -> Vec<(String, String, String)> {
        let split = |device: &str, properties: &str| {
            let parts = properties.split(';').filter(|part| !part.is_empty());
            let entries = parts.map(|part| {
                let (name, regex) = part.split_once('=').unwrap();
                (device.to_owned(), name.to_owned(), regex.to_owned())
            });
            entries.collect::<Vec<_>>()
        };
        if key != Key::Device {
            return split("", text);
        }
        let groups = format!(r"\{{type=([a-z]+);prop=\{{({PROPERTIES})\}}\}};?");
        let groups = pcre2::bytes::Regex::new(&groups).unwrap();
        let found = groups.captures_iter(text.as_bytes()).flat_map(|found| {
            let found = found.unwrap();
            let part = |number: usize| String::from_utf8(found[number].to_vec()).unwrap();
            split(&part(1), &part(2))
        });
        found.collect()
    }

    fn flat(list: &List) -> Vec<(String, String, String)> {
        let entries = list.groups.iter().flat_map(|group| {
            let device = group.device.clone().unwrap_or_default();
            let entries = group.entries.iter();
            entries.map(move |entry| (device.clone(), entry.name.clone(), entry.regex.clone()))
        });
        entries.collect()
    }

    /// Regular expressions that look like the syntax around them.
    fn regexes() -> impl Strategy<Value = String> {
        let fragment = prop_oneof![
            Just("^".to_owned()),
            Just("$".to_owned()),
            Just("{4}".to_owned()),
            Just("}}".to_owned()),
            Just("{type=disk".to_owned()),
            Just("prop={".to_owned()),
            Just("a=b".to_owned()),
            Just("['\"]".to_owned()),
            Just(" version: 4.7".to_owned()),
            "[^;\\pC]{0,6}",
        ];
        prop::collection::vec(fragment, 0..5).prop_map(|fragments| fragments.concat())
    }

    fn entries(least: usize) -> impl Strategy<Value = Vec<Entry>> {
        // Few names, so that some are ours and some come twice.
        let entry = ("[a-d]{1,2}|[A-Z0-9_]{1,4}", regexes());
        let entry = entry.prop_map(|(name, regex)| Entry { name, regex });
        prop::collection::vec(entry, least..5)
    }

    fn lists() -> impl Strategy<Value = (Key, List)> {
        let flat = entries(1).prop_map(|entries| Group {
            device: None,
            entries,
        });
        let flat = prop::collection::vec(flat, 0..2).prop_map(|groups| List { groups });
        let devices = prop::sample::subsequence(DEVICES.to_vec(), 0..=DEVICES.len());
        let devices = devices.prop_flat_map(|devices| {
            let entries: Vec<_> = devices.iter().map(|_| entries(0)).collect();
            (Just(devices), entries).prop_map(|(devices, of_each)| {
                let groups = devices.into_iter().zip(of_each);
                let groups = groups.map(|(device, of_device)| Group {
                    device: Some(device.to_owned()),
                    entries: of_device,
                });
                List {
                    groups: groups.collect(),
                }
            })
        });
        prop_oneof![
            flat.prop_map(|list| (Key::Vm, list)),
            devices.prop_map(|list| (Key::Device, list)),
        ]
    }

    fn wanted() -> impl Strategy<Value = Vec<(String, String, bool)>> {
        prop::collection::btree_map(("[a-d]{1,2}", any::<bool>()), regexes(), 0..4).prop_map(
            |wanted| {
                let wanted = wanted.into_iter();
                wanted
                    .map(|((name, on_disk), regex)| (name, regex, on_disk))
                    .collect()
            },
        )
    }

    fn definitions(key: Key, mut wanted: Vec<(String, String, bool)>) -> Vec<Definition> {
        let device = |on_disk| if on_disk { "disk" } else { "interface" };
        wanted.retain(|(_, _, on_disk)| key == Key::Device || !on_disk);
        let definitions = wanted.into_iter().map(|(name, regex, on_disk)| Definition {
            key,
            device: (key == Key::Device).then(|| device(on_disk)),
            name,
            regex,
        });
        definitions.collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_list_is_read_as_it_was_written_and_as_the_engine_reads_it((key, list) in lists()) {
            let text = list.to_string();
            prop_assert!(accepted(key, &text), "{text}");
            prop_assert_eq!(engine_reads(key, &text), flat(&list), "{}", &text);
            let read = List::parse(key, &text);
            prop_assert_eq!(read.as_ref(), Ok(&list), "{}", &text);
            // One semicolon may be at the end.
            if !text.is_empty() {
                prop_assert_eq!(List::parse(key, &format!("{text};")), read);
            }
        }

        #[test]
        fn whatever_is_read_the_engine_reads_alike(one in regexes(), more in regexes()) {
            for (key, text) in [
                (Key::Vm, format!("{one};{more}")),
                (Key::Device, format!("{{type=disk;prop={{{one};a={more}}}}}")),
                (Key::Device, format!("{{type=disk;prop={{a={one}}}}};{{type=video;{more}")),
            ] {
                if let Ok(list) = List::parse(key, &text) {
                    prop_assert!(accepted(key, &text), "{text}");
                    prop_assert_eq!(engine_reads(key, &text), flat(&list), "{}", &text);
                } else {
                    prop_assert!(!accepted(key, &text), "{text}");
                }
            }
        }

        #[test]
        fn nothing_is_lost_and_nothing_doubled(
            (key, before) in lists(),
            wanted in wanted(),
            replace in any::<bool>(),
        ) {
            let wanted = definitions(key, wanted);
            let mut after = before.clone();
            let mut replaced = Vec::new();
            for definition in &wanted {
                let found = after.define(definition, replace);
                if replace && matches!(found, Found::Other(_)) {
                    replaced.push((definition.device.unwrap_or_default(), &definition.name));
                }
            }
            let text = after.to_string();
            prop_assert!(accepted(key, &text), "{text}");

            // What is new is behind what was there, of each type of device.
            let (old, new) = (engine_reads(key, &before.to_string()), engine_reads(key, &text));
            let of = |all: &[(String, String, String)], device: &str| {
                let of_device = all.iter().filter(|entry| entry.0 == device);
                of_device.map(|(_, name, regex)| (name.clone(), regex.clone())).collect::<Vec<_>>()
            };
            for device in DEVICES.into_iter().chain([""]) {
                let (old, new) = (of(&old, device), of(&new, device));
                for ((name, regex), (new_name, new_regex)) in old.iter().zip(&new) {
                    prop_assert_eq!(name, new_name);
                    prop_assert!(regex == new_regex || replaced.contains(&(device, name)));
                }
                let added = new.get(old.len()..);
                prop_assert!(added.is_some(), "{text}");
                let ours = wanted.iter().filter(|definition| {
                    definition.device.unwrap_or_default() == device
                        && old.iter().all(|(name, _)| *name != definition.name)
                });
                let ours: Vec<_> = ours.map(|ours| (ours.name.clone(), ours.regex.clone())).collect();
                prop_assert_eq!(added.unwrap(), ours);
            }

            // A second time changes nothing.
            let mut again = List::parse(key, &text).unwrap();
            for definition in &wanted {
                let found = again.define(definition, replace);
                prop_assert!(found != Found::Nothing);
                prop_assert!(!replace || found == Found::Same);
            }
            prop_assert_eq!(again, after);
        }

        #[test]
        fn what_is_dropped_is_gone_and_all_else_stays(
            (key, before) in lists(),
            unwanted in wanted(),
        ) {
            let unwanted = definitions(key, unwanted);
            let is_one = |(device, name, _): &(String, String, String)| {
                unwanted.iter().any(|one| one.device.unwrap_or_default() == device && one.name == *name)
            };
            let mut after = before.clone();
            for definition in &unwanted {
                let found = flat(&after).iter().any(|(device, name, _)| {
                    definition.device.unwrap_or_default() == device && definition.name == *name
                });
                prop_assert_eq!(after.undefine(definition), found);
                prop_assert!(!after.undefine(definition));
            }
            let text = after.to_string();
            prop_assert!(accepted(key, &text), "{text}");
            let mut expected = flat(&before);
            expected.retain(|entry| !is_one(entry));
            prop_assert_eq!(engine_reads(key, &text), expected, "{}", &text);
            prop_assert_eq!(&List::parse(key, &text), &Ok(after.clone()), "{}", &text);
            if flat(&before).iter().all(|entry| !is_one(entry)) {
                prop_assert_eq!(text, before.to_string());
            }
        }

        #[test]
        fn what_was_added_is_dropped_to_the_byte(
            (key, before) in lists(),
            wanted in wanted(),
        ) {
            let mut wanted = definitions(key, wanted);
            let old = flat(&before);
            wanted.retain(|one| old.iter().all(|(_, name, _)| one.name != *name));
            // A type of device that is there with nothing in it goes with the last that was added.
            prop_assume!(before.groups.iter().all(|group| !group.entries.is_empty()));
            let mut after = before.clone();
            for definition in &wanted {
                after.define(definition, false);
            }
            for definition in &wanted {
                prop_assert!(after.undefine(definition));
            }
            prop_assert_eq!(after.to_string(), before.to_string());
        }
    }

    #[test]
    fn the_engines_own_value_keeps_its_braces() {
        let mut list = List::parse(Key::Device, SECURITY_GROUPS).unwrap();
        assert_eq!(list.to_string(), SECURITY_GROUPS);
        let wanted = |device: &'static str| Definition {
            key: Key::Device,
            device: Some(device),
            name: "x".into(),
            regex: "^a{2}".into(),
        };
        list.define(&wanted("interface"), false);
        list.define(&wanted("disk"), false);
        let inside = SECURITY_GROUPS.strip_suffix("}}").unwrap();
        let expected = format!("{{type=disk;prop={{x=^a{{2}}}}}};{inside};x=^a{{2}}}}}}");
        assert_eq!(list.to_string(), expected);
    }

    #[test]
    fn groups_without_a_semicolon_between_are_one() {
        let text = "{type=disk;prop={a=x}}{type=video;prop={b=y}}";
        assert!(accepted(Key::Device, text));
        let list = List::parse(Key::Device, text).unwrap();
        assert_eq!(flat(&list), engine_reads(Key::Device, text));
        assert_eq!(list.to_string(), text);
    }

    #[test]
    fn what_engine_config_refuses_is_no_list() {
        for (key, text, message) in [
            (Key::Vm, "a", "\"a\": expected NAME=REGEX"),
            (Key::Vm, "a=b;;c=d", "\"\": expected NAME=REGEX"),
            (Key::Vm, ";", "\"\": expected NAME=REGEX"),
            (Key::Device, ";", "\"\": expected {type=DEVICE"),
            (Key::Vm, "a b=c", "\"a b=c\": expected NAME=REGEX"),
            (Key::Vm, "a=\u{1b}[31m", "has a control character"),
            (Key::Device, "a=b", "\"a=b\": expected {type=DEVICE"),
            (Key::Device, "{type=disk}", "expected {type=DEVICE"),
            (
                Key::Device,
                "{type=disk;a=b}}",
                "\"a=b}}\": expected prop={ after {type=disk;",
            ),
            (
                Key::Device,
                "{type=disk",
                "\"\": expected prop={ after {type=disk;",
            ),
            (
                Key::Device,
                "{type=disk;prop={a=b}",
                "\"a=b}\": expected }} at the end of {type=disk",
            ),
            (
                Key::Device,
                "{type=disk;prop={a=b;{type=video;prop={a=b}}",
                "\"a=b\": expected }} at the end of {type=disk",
            ),
            (
                Key::Device,
                "{type=disk;prop={a=b}};{type=disk;prop={c=d}}",
                "\"{type=disk\": a second time",
            ),
        ] {
            let error = List::parse(key, text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
            assert!(!accepted(key, text) || text.contains('\u{1b}'), "{text}");
        }
    }
}
