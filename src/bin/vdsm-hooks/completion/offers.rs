// SPDX-License-Identifier: GPL-2.0-or-later

//! What may come next on a line.

use std::path::Path;

use clap::{Arg, ArgAction, ValueHint};

use vdsm_hooks::Result;
use vdsm_hooks::hook::manifest::{Manifest, Property, Scope};
use vdsm_hooks::host::files;
use vdsm_hooks::image::grow::Format;
use vdsm_hooks::paths::HOOKS;
use vdsm_hooks::runner::data_file;
use vdsm_hooks::vdsm::events;
use vdsm_hooks::xml::{self, Node};

use super::typed::{Next, Typed};
use crate::catalog;

/// Far above any domain XML; nobody waits for a key.
const MAX_DOCUMENT_BYTES: u64 = 16 << 20;

/// What is offered.
pub(super) enum Offers {
    Words(Vec<Offer>),
    Files,
    Directories,
}

/// A word, and what it means, in one line.
pub(super) struct Offer {
    pub(super) word: String,
    pub(super) means: String,
}

impl Offer {
    fn new(word: impl Into<String>, means: &str) -> Offer {
        Offer {
            word: word.into(),
            means: means.lines().next().unwrap_or_default().replace('\t', " "),
        }
    }
}

/// What the value of an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Event,
    /// A hook of the suite.
    Hook,
    /// A hook, or something that stands for one.
    Name,
    /// A hook that is installed at the event.
    Installed,
    PropertyOfVm,
    PropertyOfDevice,
    Device,
    /// Of an image.
    Format,
    Choice,
    File,
    Directory,
    /// Nobody but the administrator knows.
    Nothing,
}

impl Kind {
    pub(super) fn of(argument: &Arg) -> Kind {
        let named = |name: &str| {
            let names = argument.get_value_names().unwrap_or_default();
            names.iter().any(|one| one.as_str() == name)
        };
        match argument.get_id().as_str() {
            "event" => Kind::Event,
            "hook" => Kind::Installed,
            "property" => Kind::PropertyOfVm,
            "device_property" => Kind::PropertyOfDevice,
            "device" => Kind::Device,
            "hooks" | "drop" => Kind::Hook,
            "names" | "words" => Kind::Name,
            _ if named("HOOK") => Kind::Hook,
            _ if !argument.get_possible_values().is_empty() => Kind::Choice,
            "format" => Kind::Format,
            _ if named("DIR") => Kind::Directory,
            _ if named("FILE") || named("TEXT") => Kind::File,
            _ if argument.get_value_hint() == ValueHint::AnyPath => Kind::File,
            _ => Kind::Nothing,
        }
    }
}

/// What can come next.
pub(super) fn next(typed: &Typed<'_>) -> Result<Offers> {
    let argument = match typed.next {
        Next::Value(argument) => argument,
        Next::Option => return Ok(Offers::Words(options(typed))),
        Next::Subcommand => return Ok(Offers::Words(subcommands(typed))),
        Next::Nothing => return Ok(Offers::Words(Vec::new())),
    };
    let offers: Vec<Offer> = match Kind::of(argument) {
        Kind::File => return Ok(Offers::Files),
        Kind::Directory => return Ok(Offers::Directories),
        Kind::Event => of_events(),
        Kind::Hook => new_ones(argument, typed, of_hooks(&catalog::all()?)),
        Kind::Name => new_ones(argument, typed, names(typed)?),
        Kind::Installed => new_ones(argument, typed, installed(typed)?),
        Kind::PropertyOfVm => properties(typed, &[Scope::Vm, Scope::Engine])?,
        Kind::PropertyOfDevice => {
            properties(typed, &[Scope::Interface, Scope::Disk, Scope::Engine])?
        }
        Kind::Device => devices(typed),
        Kind::Format => [Format::Raw, Format::Qcow2]
            .map(|format| Offer::new(format.name(), ""))
            .into(),
        Kind::Choice => choices(argument),
        Kind::Nothing => Vec::new(),
    };
    Ok(Offers::Words(offers))
}

fn subcommands(typed: &Typed<'_>) -> Vec<Offer> {
    let shown = typed.command.get_subcommands();
    let shown = shown.filter(|command| !command.is_hide_set());
    let offers = shown.map(|command| {
        let about = command.get_about().map(ToString::to_string);
        Offer::new(command.get_name(), &about.unwrap_or_default())
    });
    offers.collect()
}

/// Options that are not there yet, or may be repeated.
fn options(typed: &Typed<'_>) -> Vec<Offer> {
    let is_given = |argument: &Arg| {
        let mut given = typed.given.iter();
        given.any(|(one, _)| one.get_id() == argument.get_id())
    };
    let fits = |argument: &&Arg| {
        let again = matches!(argument.get_action(), ArgAction::Append | ArgAction::Count);
        !argument.is_hide_set() && (again || !is_given(argument))
    };
    let offers = typed.command.get_arguments().filter(fits);
    let offers = offers.filter_map(|argument| {
        let help = argument.get_help().map(ToString::to_string);
        let word = format!("--{}", argument.get_long()?);
        Some(Offer::new(word, &help.unwrap_or_default()))
    });
    offers.collect()
}

fn choices(argument: &Arg) -> Vec<Offer> {
    let values = argument.get_possible_values();
    let shown = values.iter().filter(|value| !value.is_hide_set());
    let offers = shown.map(|value| {
        let help = value.get_help().map(ToString::to_string);
        Offer::new(value.get_name(), &help.unwrap_or_default())
    });
    offers.collect()
}

fn of_hooks(hooks: &[Manifest]) -> Vec<Offer> {
    let offers = hooks.iter();
    offers
        .map(|hook| Offer::new(&hook.name, &hook.summary))
        .collect()
}

fn of_events() -> Vec<Offer> {
    let offers = events::EVENTS.iter();
    offers
        .map(|event| Offer::new(event.name, &event.data.to_string()))
        .collect()
}

/// Hooks; if none begins so, events and properties.
fn names(typed: &Typed<'_>) -> Result<Vec<Offer>> {
    let all = catalog::all()?;
    let hooks = of_hooks(&all);
    if hooks.iter().any(|hook| hook.word.starts_with(typed.begun)) {
        return Ok(hooks);
    }
    let mut offers = of_events();
    for property in all.iter().flat_map(|hook| &hook.properties) {
        if offers.iter().all(|offer| offer.word != property.name) {
            offers.push(Offer::new(&property.name, &property.syntax));
        }
    }
    Ok(offers)
}

/// Those that are not on the line yet.
fn new_ones(argument: &Arg, typed: &Typed<'_>, mut offers: Vec<Offer>) -> Vec<Offer> {
    let name = argument.get_id().as_str();
    offers.retain(|offer| typed.values(name).all(|value| value != offer.word));
    offers
}

/// What is installed at the event of the line, those of the suite by their names. Where nothing is,
/// hooks of the suite.
fn installed(typed: &Typed<'_>) -> Result<Vec<Offer>> {
    let all = catalog::all()?;
    let Some(event) = typed.values("event").next() else {
        return Ok(of_hooks(&all));
    };
    let directory = typed.values("hooks_dir").next().unwrap_or(HOOKS);
    // A directory that cannot be read is no reason to say anything while somebody types.
    let mut files = files::entries(&Path::new(directory).join(event)).unwrap_or_default();
    files.retain(|file| !file.starts_with('.'));
    let of_event = |hook: &&Manifest| hook.events.iter().any(|one| one.event == event);
    if files.is_empty() {
        let hooks: Vec<_> = all.iter().filter(of_event).cloned().collect();
        return Ok(of_hooks(&hooks));
    }
    let offers = files.into_iter().map(|file| {
        let ours = all.iter().find(|hook| {
            let mut at_event = hook.events.iter().filter(|one| one.event == event);
            at_event.any(|one| hook.installed_as(one) == file)
        });
        match ours {
            Some(hook) => Offer::new(&hook.name, &hook.summary),
            None => Offer::new(file, ""),
        }
    });
    Ok(offers.collect())
}

/// Properties of the hooks that the line is about, or values of the one that is begun.
fn properties(typed: &Typed<'_>, scopes: &[Scope]) -> Result<Vec<Offer>> {
    let all = catalog::all()?;
    let event = typed.values("event").next();
    let names: Vec<_> = typed.values("hook").collect();
    let is_meant = |hook: &Manifest| {
        let mut places = hook.events.iter();
        let at_event = event.is_none_or(|event| places.any(|one| one.event == event));
        let called = |name: &&str| {
            let mut files = hook.events.iter().map(|one| hook.installed_as(one));
            hook.name == *name || files.any(|file| file == *name)
        };
        at_event && (names.is_empty() || names.iter().any(called))
    };
    let begun = typed.begun.split_once('=').map(|(name, _)| name);
    let mut offers: Vec<Offer> = Vec::new();
    let hooks = all.iter().filter(|hook| begun.is_some() || is_meant(hook));
    for property in hooks.flat_map(|hook| &hook.properties) {
        let values = match begun {
            _ if !scopes.contains(&property.scope) => continue,
            Some(name) if name != property.name => continue,
            Some(_) => values(property),
            None => vec![""],
        };
        let words = values
            .iter()
            .map(|value| format!("{}={value}", property.name));
        for word in words {
            if offers.iter().all(|offer| offer.word != word) {
                offers.push(Offer::new(word, &property.syntax));
            }
        }
    }
    Ok(offers)
}

/// The example, and, where the regular expression is nothing but words to choose from, those.
fn values(property: &Property) -> Vec<&str> {
    let regex = property.regex.as_deref().unwrap_or_default();
    let inside = regex
        .strip_prefix("^(")
        .and_then(|rest| rest.strip_suffix(")$"));
    let is_word = |word: &&str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        !word.is_empty() && word.chars().all(fits)
    };
    let words: Vec<_> = inside.unwrap_or_default().split('|').collect();
    if words.iter().all(is_word) {
        words
    } else {
        vec![property.example.as_str()]
    }
}

/// The names of the devices of the domain XML that the line names.
fn devices(typed: &Typed<'_>) -> Vec<Offer> {
    let Some(file) = typed.values("domain").next() else {
        return Vec::new();
    };
    let path = Path::new(file);
    // Reading a pipe would wait, and take from it.
    if !path.is_file() {
        return Vec::new();
    }
    let text = files::read_file(path, MAX_DOCUMENT_BYTES).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let Ok(document) = xml::parse(&text) else {
        return Vec::new();
    };
    let devices = xml::children(document.root_element(), "devices");
    let devices = devices.flat_map(|devices| devices.children());
    let offers = devices.filter(Node::is_element).flat_map(|node| {
        let names = data_file::names(node).into_iter().flatten();
        names.map(move |name| Offer::new(name, node.tag_name().name()))
    });
    offers.collect()
}
