// SPDX-License-Identifier: GPL-2.0-or-later

//! Names that nobody knows: properties that no hook reads, which is why a hook does nothing, values
//! that the engine would not take, hooks that are not there; and the names that were meant.

use std::collections::BTreeMap;

use vdsm_hooks::Error;
use vdsm_hooks::hook::manifest::{Installation, Manifest, Property, Scope};
use vdsm_hooks::props;
use vdsm_hooks::runner::environment::Variables;
use vdsm_hooks::runner::installed::{self, Entry, Origin};
use vdsm_hooks::vdsm::events::{Data, Event};

use crate::catalog;
use crate::diff::printable;
use crate::names::{OLD_NAMES, nearest};

/// Properties that the engine has by itself and VDSM or the engine reads (ovirt-engine
/// packaging/dbscripts/upgrade/pre_upgrade/0000_config.sql: `PredefinedVMProperties`,
/// `CustomDeviceProperties`).
const OF_THE_ENGINE: [&str; 8] = [
    "SecurityGroups",
    "extra_cpu_flags",
    "hugepages",
    "nvram_template",
    "scsi_hostdev",
    "sndbuf",
    "vhost",
    "viodiskcache",
];
/// What VDSM sets itself, whatever properties there are.
const OF_VDSM: [(&str, &str); 3] = [
    ("vmId", "the id of the VM; see --vm-id"),
    ("_hook_domxml", "the file with the data"),
    ("_hook_json", "the file with the data"),
];
/// So many files of an event are named where one is not found.
const MAX_NAMED: usize = 8;

/// An event, and who could read what is set there.
pub(super) struct Readers<'a> {
    pub(super) event: &'a Event,
    /// The hooks that run.
    pub(super) fired: &'a [Entry],
    /// The names of all that VDSM would run.
    pub(super) there: &'a [String],
    /// The hooks of the suite.
    pub(super) catalog: &'a [Manifest],
    /// What the hooks find.
    pub(super) environment: &'a BTreeMap<String, String>,
}

impl Readers<'_> {
    /// What is to be said of properties that were given by hand, and of those that the VM has.
    pub(super) fn remarks(&self, given: &[&[(String, String)]], of_vm: &Variables) -> Vec<String> {
        let all = || given.iter().flat_map(|list| list.iter());
        let mut remarks: Vec<String> = all().filter_map(|(name, _)| self.unread(name)).collect();
        for (name, _) in of_vm {
            let is_given = all().any(|(other, _)| other == name);
            // A VM has properties for all its events, and for hooks of other people.
            let is_known = self.catalog.iter().any(|hook| reads(hook, name));
            if !is_given && !is_known && !is_of_the_engine(name) && self.all_are_ours() {
                remarks.extend(self.unread(name));
            }
        }
        remarks.extend(all().filter_map(|(name, value)| self.refused(name, value)));
        remarks
    }

    /// Why this property has no effect.
    fn unread(&self, name: &str) -> Option<String> {
        if let Some((_, what)) = OF_VDSM.iter().find(|(own, _)| *own == name) {
            return Some(format!("{name}: VDSM sets it itself, to {what}"));
        }
        let fired = |hook: &Manifest| self.files(hook).any(|file| self.has_fired(&file));
        let mut readers = self.catalog.iter().filter(|hook| reads(hook, name));
        if is_of_the_engine(name) || readers.any(fired) {
            return None;
        }
        let event = self.event.name;
        let own = || {
            self.catalog
                .iter()
                .filter(|hook| property(hook, name).is_some())
        };
        let left_out = own().flat_map(|hook| self.files(hook));
        let left_out: Vec<_> = left_out.filter(|file| self.there.contains(file)).collect();
        if !left_out.is_empty() {
            let files = left_out.join(" and ");
            return Some(format!(
                "{name}: {files} would read it, and is not among those that ran"
            ));
        }
        let missing: Vec<_> = own()
            .filter(|hook| self.files(hook).next().is_some())
            .collect();
        if let [hook, ..] = missing.as_slice() {
            let hook = &hook.name;
            return Some(format!(
                "{name}: {hook} reads it at {event}, and is not installed here"
            ));
        }
        let who = if self.all_are_ours() {
            "no hook"
        } else {
            "no hook of the suite"
        };
        let nobody = format!("{name}: {who} at {event} reads it");
        if let Some(hook) = own().next() {
            let events: Vec<_> = hook.events.iter().map(|one| one.event.as_str()).collect();
            let hook = &hook.name;
            return Some(format!("{nobody}; {hook} does at {}", events.join(", ")));
        }
        let old = OLD_NAMES.iter().find(|(old, _)| *old == name);
        let of_papers = old.map(|(_, new)| format!("; what RHV's guides call {name} is {new}"));
        let meant = of_papers.or_else(|| Some(format!("; {}?", self.nearest_property(name)?)));
        Some(nobody + &meant.unwrap_or_default())
    }

    /// Why the engine would not take this value.
    fn refused(&self, name: &str, value: &str) -> Option<String> {
        let properties = self.catalog.iter().filter_map(|hook| property(hook, name));
        let known: Vec<_> = properties.filter(|known| known.regex.is_some()).collect();
        let first = known.first()?;
        if value.contains(';') {
            let value = props::quoted(value);
            return Some(format!(
                "{name}={value}: the engine would not take it, expected no semicolon: it ends a value"
            ));
        }
        if known.iter().any(|property| takes(property, value)) {
            return None;
        }
        let (value, syntax) = (props::quoted(value), &first.syntax);
        Some(format!(
            "{name}={value}: the engine would not take it, expected {syntax}"
        ))
    }

    /// Whether a property of the hook is set.
    pub(super) fn is_asked(&self, hook: &Manifest) -> bool {
        let mut properties = hook.properties.iter();
        properties.any(|property| self.environment.contains_key(&property.name))
    }

    /// Whether a hook of this name has run.
    pub(super) fn has_fired(&self, file: &str) -> bool {
        self.fired.iter().any(|entry| entry.name == file)
    }

    /// The hook's files at the event.
    pub(super) fn files(&self, hook: &Manifest) -> std::vec::IntoIter<String> {
        let here = |one: &&Installation| one.event == self.event.name;
        let files = hook
            .events
            .iter()
            .filter(here)
            .map(|one| hook.installed_as(one));
        files.collect::<Vec<_>>().into_iter()
    }

    /// Whether it is known of all hooks what they read.
    fn all_are_ours(&self) -> bool {
        self.fired.iter().all(|entry| {
            let mut catalog = self.catalog.iter();
            catalog.any(|hook| self.files(hook).any(|file| file == entry.name))
                && installed::origin(&entry.path) == Origin::Ours
        })
    }

    /// The name of a property that looks like this one: of a hook of the event, if there is one.
    fn nearest_property(&self, name: &str) -> Option<&str> {
        let (here, elsewhere): (Vec<_>, Vec<_>) = self
            .catalog
            .iter()
            .partition(|hook| self.files(hook).next().is_some());
        [here, elsewhere].into_iter().find_map(|hooks| {
            let properties = hooks.into_iter().flat_map(|hook| hook.properties.iter());
            let properties = properties.filter(|one| is_variable(one));
            nearest(name, properties.map(|one| one.name.as_str()))
        })
    }

    /// The files of the event that `wanted` means: a file's name, with or without its number; or what
    /// its hook is called elsewhere, its files at other events, its properties and its packages
    /// included.
    ///
    /// # Errors
    /// There is none, or VDSM would not run it. `entries` is all that lies there.
    pub(super) fn meant(&self, entries: &[Entry], wanted: &str) -> Result<Vec<String>, Error> {
        let named = |is_it: &dyn Fn(&Entry) -> bool| -> Vec<String> {
            let found = entries.iter().filter(|entry| is_it(entry));
            found.map(|entry| entry.name.clone()).collect()
        };
        let mut found = named(&|entry| installed::is_called(&entry.name, wanted));
        let hooks = || {
            self.catalog
                .iter()
                .filter(|hook| catalog::is_called(hook, wanted))
        };
        if found.is_empty() {
            found =
                named(&|entry| hooks().any(|hook| self.files(hook).any(|file| file == entry.name)));
        }
        if found.is_empty() {
            return Err(self.unknown(wanted, hooks().next()));
        }
        for entry in entries.iter().filter(|entry| found.contains(&entry.name)) {
            if let Some(why) = entry.skipped {
                let path = entry.path.display().to_string();
                let path = printable(&path);
                return Err(Error::new(format!("VDSM would not run {path}: {why}")));
            }
        }
        Ok(found)
    }

    /// The error of a hook that is not at the event. `hook` is what goes by that name.
    fn unknown(&self, wanted: &str, hook: Option<&Manifest>) -> Error {
        let event = self.event.name;
        let files = || self.there.iter().map(String::as_str);
        let of_other_events = hook.filter(|known| self.files(known).next().is_none());
        let names = files().chain(files().map(installed::without_number));
        let names = names.chain(self.catalog.iter().filter_map(|one| {
            let is_there = self.files(one).any(|file| self.there.contains(&file));
            is_there.then_some(one.name.as_str())
        }));
        let why = if let Some(other) = of_other_events {
            let events: Vec<_> = other.events.iter().map(|one| one.event.as_str()).collect();
            format!("{} is for {}", other.name, events.join(", "))
        } else if let Some(near) = nearest(wanted, names) {
            format!("{near}?")
        } else {
            match self.there.len() {
                0 => "there is no hook at all".to_owned(),
                number if number > MAX_NAMED => {
                    format!("there are {number} others, which 'vdsm-hooks list' names")
                }
                _ => format!("there are {}", files().collect::<Vec<_>>().join(", ")),
            }
        };
        let why = printable(&why);
        Error::new(format!("no hook {wanted:?} at {event}: {why}"))
    }
}

/// The properties of a command line that hooks read as custom properties: the other parameters of an
/// event are nobody's.
pub(super) fn are_properties(event: &Event) -> bool {
    matches!(event.data, Data::Device | Data::DeviceOrNothing)
}

/// What the engine, VDSM or every hook reads.
fn is_of_the_engine(name: &str) -> bool {
    OF_THE_ENGINE.contains(&name) || name.starts_with("VDSM_HOOK_")
}

/// Whether hooks find it in their environment.
fn is_variable(property: &Property) -> bool {
    !matches!(property.scope, Scope::Network | Scope::VdsmConf)
}

/// The hook's own property of this name.
fn property<'a>(hook: &'a Manifest, name: &str) -> Option<&'a Property> {
    let mut properties = hook.properties.iter();
    properties.find(|property| property.name == name && is_variable(property))
}

fn reads(hook: &Manifest, name: &str) -> bool {
    property(hook, name).is_some() || hook.looks_at.iter().any(|other| other == name)
}

/// Whether the whole value fits the property's regular expression, as the engine wants it.
fn takes(property: &Property, value: &str) -> bool {
    let Some(regex) = &property.regex else {
        return true;
    };
    let whole = format!("\\A(?:{regex})\\z");
    let compiled = pcre2::bytes::RegexBuilder::new().utf(true).build(&whole);
    // What PCRE2 does not make out is not judged.
    compiled.map_or(true, |compiled| {
        compiled.is_match(value.as_bytes()).unwrap_or(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guides_names_lead_to_properties() {
        let catalog = crate::catalog::all().unwrap();
        for (old, new) in OLD_NAMES {
            assert!(
                catalog.iter().any(|hook| property(hook, new).is_some()),
                "{new}"
            );
            assert!(
                catalog.iter().all(|hook| property(hook, old).is_none()),
                "{old}"
            );
        }
    }
}
