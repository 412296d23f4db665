// SPDX-License-Identifier: GPL-2.0-or-later

//! The hooks of the suite: what their `hook.json` said when the tool was built, and all the names
//! that they go by.

use std::fmt::{self, Display, Formatter};

use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::paths::HOOKS;
use vdsm_hooks::runner::installed;
use vdsm_hooks::vdsm::events::EVENTS;
use vdsm_hooks::{Context as _, Error, Result};

use crate::names::{OLD_NAMES, nearest};

const DESCRIPTIONS: &[&str] = vdsm_hooks_manifest::catalog!();
/// Files of a hook's folder: name and content.
type Files = &'static [(&'static str, &'static [u8])];
/// What hooks have installed besides programs: name of the hook, and files of its folder.
const FOLDERS: &[(&str, Files)] = vdsm_hooks_manifest::folders!();
/// What a package of ours is called, before the name of its hook.
pub(crate) const PACKAGE: &str = "vdsm-hooks-";

/// All hooks, in name order.
pub(crate) fn all() -> Result<Vec<Manifest>> {
    let parsed = DESCRIPTIONS.iter().map(|text| Manifest::parse(text));
    parsed
        .collect::<std::result::Result<_, _>>()
        .context("the built-in descriptions")
}

/// What a name is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A hook.
    Hook,
    /// VDSM's package of a hook, or ours.
    Package,
    /// A file at an event.
    File,
    /// A property that hooks read.
    Property,
    /// An event of VDSM, and the hooks are those at it.
    Event,
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Hook => "a hook",
            Kind::Package => "the package",
            Kind::File => "a file",
            Kind::Property => "a property",
            Kind::Event => "an event",
        })
    }
}

/// In this order a name is looked for.
const KINDS: [Kind; 4] = [Kind::Hook, Kind::Package, Kind::File, Kind::Property];

/// The name that a hook has today.
fn todays(name: &str) -> &str {
    let plain = OLD_NAMES.iter().find(|(old, _)| *old == name);
    plain.map_or(name, |(_, today)| *today)
}

/// Whether a hook is called so by anybody.
pub(crate) fn is_called(hook: &Manifest, name: &str) -> bool {
    let name = todays(name);
    KINDS.into_iter().any(|kind| goes_by(hook, kind, name))
}

/// The hooks that a name stands for, in name order; none if it is no name at all.
pub(crate) fn named<'h>(name: &str, all: &'h [Manifest]) -> Option<(Kind, Vec<&'h Manifest>)> {
    let name = todays(name);
    for kind in KINDS {
        let hooks: Vec<&Manifest> = all
            .iter()
            .filter(|hook| goes_by(hook, kind, name))
            .collect();
        if !hooks.is_empty() {
            return Some((kind, hooks));
        }
    }
    EVENTS.iter().find(|event| event.name == name)?;
    let hooks = all.iter().filter(|hook| goes_by(hook, Kind::Event, name));
    Some((Kind::Event, hooks.collect()))
}

fn goes_by(hook: &Manifest, kind: Kind, name: &str) -> bool {
    match kind {
        Kind::Hook => hook.name == name,
        Kind::Package => {
            let silenced = hook.silences.as_ref().map(|other| other.package.as_str());
            hook.replaces.as_deref() == Some(name)
                || silenced == Some(name)
                || name.strip_prefix(PACKAGE) == Some(hook.name.as_str())
        }
        Kind::File => {
            let place = name.strip_prefix(HOOKS).unwrap_or(name);
            let place = place.trim_start_matches('/');
            hook.events.iter().any(|event| {
                let file = hook.installed_as(event);
                installed::is_called(&file, place) || hook.place(event) == place
            })
        }
        Kind::Property => hook.properties.iter().any(|property| property.name == name),
        Kind::Event => hook.events.iter().any(|event| event.event == name),
    }
}

/// The hooks called `names`, by whichever name stands for one of them; all if there are no names.
pub(crate) fn find(names: &[String]) -> Result<Vec<Manifest>> {
    let all = all()?;
    if names.is_empty() {
        return Ok(all);
    }
    let one = |name: &String| match named(name, &all) {
        Some((kind, hooks)) if kind != Kind::Event => match hooks.as_slice() {
            [hook] => Ok((*hook).clone()),
            hooks => {
                let owners: Vec<&str> = hooks.iter().map(|hook| hook.name.as_str()).collect();
                let owners = owners.join(" and ");
                Err(Error::new(format!(
                    "{name:?} is {kind} of {owners}: name the hook that is meant"
                )))
            }
        },
        _ => Err(unknown(name, &all)),
    };
    names.iter().map(one).collect()
}

/// The name that was probably meant by one that stands for no hook.
pub(crate) fn meant(name: &str, all: &[Manifest]) -> Option<String> {
    let hooks: Vec<&str> = all.iter().map(|hook| hook.name.as_str()).collect();
    let mut others: Vec<String> = Vec::new();
    for hook in all {
        others.extend(hook.properties.iter().map(|property| property.name.clone()));
        others.extend(hook.events.iter().map(|event| hook.installed_as(event)));
        others.extend(hook.replaces.clone());
    }
    others.extend(EVENTS.iter().map(|event| event.name.to_owned()));
    others.extend(OLD_NAMES.iter().map(|(old, _)| (*old).to_owned()));
    let meant = nearest(name, hooks).or_else(|| nearest(name, others.iter().map(String::as_str)));
    meant.map(str::to_owned)
}

/// The error of a name that stands for no hook: with the one that was probably meant.
pub(crate) fn unknown(name: &str, all: &[Manifest]) -> Error {
    if EVENTS.iter().any(|event| event.name == name) {
        return Error::new(format!(
            "{name:?} is not a hook of this suite but an event: 'vdsm-hooks show {name}' names its hooks"
        ));
    }
    let hint = match meant(name, all) {
        Some(meant) => format!("did you mean {meant}?"),
        None => "'vdsm-hooks list' names them".to_owned(),
    };
    Error::new(format!("{name:?} is not a hook of this suite: {hint}"))
}

/// The hooks that have all of these words somewhere in what is said of them, as whole words or, if
/// `in_part`, as a part of one.
pub(crate) fn about<'h>(words: &[String], in_part: bool, all: &'h [Manifest]) -> Vec<&'h Manifest> {
    let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let speaks = |hook: &&Manifest| {
        let text = said_of(hook);
        words.iter().all(|word| {
            if in_part {
                text.contains(word)
            } else {
                has_word(&text, word)
            }
        })
    };
    all.iter().filter(speaks).collect()
}

/// The hooks whose README has all of these words: people call a thing by more names than there is room
/// for in a description.
pub(crate) fn explained<'h>(words: &[String], all: &'h [Manifest]) -> Vec<&'h Manifest> {
    let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    let speaks = |hook: &&Manifest| {
        let text = file(&hook.name, "README.md").unwrap_or_default();
        let text = String::from_utf8_lossy(text).to_lowercase();
        !words.is_empty() && words.iter().all(|word| has_word(&text, word))
    };
    all.iter().filter(speaks).collect()
}

fn has_word(text: &str, word: &str) -> bool {
    let is_apart = |c: char| !(c.is_alphanumeric() || c == '_' || c == '-');
    text.split(is_apart).any(|part| part == word)
}

/// Everything that somebody may remember of a hook, in small letters.
fn said_of(hook: &Manifest) -> String {
    let mut parts = vec![hook.name.clone(), hook.summary.clone()];
    parts.extend(hook.replaces.clone());
    parts.extend(
        hook.retired
            .as_ref()
            .map(|retired| retired.superseded_by.clone()),
    );
    for event in &hook.events {
        parts.extend([hook.place(event), event.effect.clone()]);
    }
    for property in &hook.properties {
        parts.extend([property.name.clone(), property.syntax.clone()]);
        let old = OLD_NAMES
            .iter()
            .filter(|(_, today)| *today == property.name);
        parts.extend(old.map(|(old, _)| (*old).to_owned()));
    }
    parts.join("\n").to_lowercase()
}

/// What was in this file of the hook's folder: `README.md`, `sudoers` and the files that `hook.json` names.
pub(crate) fn file(hook: &str, name: &str) -> Option<&'static [u8]> {
    let (_, files) = FOLDERS.iter().find(|(folder, _)| *folder == hook)?;
    let (_, content) = files.iter().find(|(file, _)| *file == name)?;
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: Option<(Kind, Vec<&Manifest>)>) -> Option<(Kind, String)> {
        let (kind, hooks) = found?;
        let names: Vec<&str> = hooks.iter().map(|hook| hook.name.as_str()).collect();
        Some((kind, names.join(" ")))
    }

    #[test]
    fn a_hook_has_many_names() -> Result {
        let all = all()?;
        for (name, kind, hooks) in [
            ("macspoof", Kind::Hook, "macspoof"),
            ("ifacemacspoof", Kind::Property, "macspoof"),
            ("vmfex", Kind::Hook, "vmfex"),
            ("qemu_cmdline", Kind::Property, "qemucmdline"),
            ("numaset", Kind::Hook, "numa"),
            ("sap_agent", Kind::Property, "cpuflags vhostmd"),
            ("50_macspoof", Kind::File, "macspoof"),
            ("50_vmfex", Kind::File, "vmfex vmfex_dev"),
            ("before_vm_start/50_vmfex", Kind::File, "vmfex"),
            (
                "/usr/libexec/vdsm/hooks/before_vm_start/50_vmfex",
                Kind::File,
                "vmfex",
            ),
            (
                "vdsm-hook-extra-ipv4-addrs",
                Kind::Package,
                "extra_ipv4_addrs",
            ),
            ("vdsm-hooks-vmfex_dev", Kind::Package, "vmfex_dev"),
            ("ovirt-provider-ovn-driver", Kind::Package, "ovn"),
            ("after_disk_prepare", Kind::Event, "localdisk"),
            ("after_vm_pause", Kind::Event, ""),
        ] {
            let found = names(named(name, &all));
            assert_eq!(found, Some((kind, hooks.to_owned())), "{name}");
        }
        assert!(named("nonsense", &all).is_none());
        Ok(())
    }

    #[test]
    fn errors_name_what_was_meant() -> Result {
        for (name, expected) in [
            (
                "diskunma",
                "\"diskunma\" is not a hook of this suite: did you mean diskunmap?",
            ),
            (
                "qemu_cmdlin",
                "\"qemu_cmdlin\" is not a hook of this suite: did you mean qemucmdline?",
            ),
            (
                "hugepages_cout",
                "\"hugepages_cout\" is not a hook of this suite: did you mean hugepages_count?",
            ),
            (
                "nonsense",
                "\"nonsense\" is not a hook of this suite: 'vdsm-hooks list' names them",
            ),
            (
                "after_vm_pause",
                "\"after_vm_pause\" is not a hook of this suite but an event: 'vdsm-hooks show after_vm_pause' names its hooks",
            ),
            (
                "sap_agent",
                "\"sap_agent\" is a property of cpuflags and vhostmd: name the hook that is meant",
            ),
        ] {
            let error = find(&[name.to_owned()]).err();
            assert_eq!(
                error.map(|error| error.to_string()).as_deref(),
                Some(expected)
            );
        }
        for name in ["50_macspoof", "ifacemacspoof", "vdsm-hook-macspoof"] {
            let found = find(&[name.to_owned()])?;
            assert_eq!(found[0].name, "macspoof", "{name}");
        }
        Ok(())
    }

    #[test]
    fn words_are_looked_for_everywhere() -> Result {
        let all = all()?;
        let found = |words: &[&str], in_part| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let hooks = about(&words, in_part, &all);
            let names: Vec<String> = hooks.iter().map(|hook| hook.name.clone()).collect();
            names.join(" ")
        };
        assert_eq!(found(&["Discard"], false), "diskunmap");
        assert_eq!(found(&["diskunma"], false), "");
        assert_eq!(found(&["diskunma"], true), "diskunmap");
        assert_eq!(found(&["ANTI-spoof", "hotplug"], true), "macspoof");
        assert_eq!(found(&["numaset"], false), "numa");
        let explained = |word: &str| {
            let hooks = explained(&[word.to_owned()], &all);
            hooks.iter().any(|hook| hook.name == "diskunmap")
        };
        assert!(explained("TRIM"));
        assert!(!explained("tri"));
        Ok(())
    }
}
