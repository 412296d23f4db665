// SPDX-License-Identifier: GPL-2.0-or-later

//! What an administrator sets for the properties of hooks, in the engine and on the host. Who prints
//! it, and beside what, is not known here.

use std::fmt::Write as _;

use vdsm_hooks::Result;
use vdsm_hooks::hook::manifest::{Manifest, Scope};
use vdsm_hooks::host::command::shell_quoted;

use crate::custom_properties::{Definition, Key, List};

/// The level of today's clusters.
pub(crate) const LEVEL: &str = "4.7";

/// The engine reads its lists when it starts (ovirt-engine 4.5
/// …/bll/InitBackendServicesOnStartupBean.java).
pub(crate) const RESTART: &str = "systemctl restart ovirt-engine";

/// What the hooks need defined, by key. Each property once, although hooks share some.
pub(crate) fn definitions(hooks: &[Manifest]) -> Vec<(Key, Vec<Definition>)> {
    let mut all: Vec<Definition> = Vec::new();
    for property in hooks.iter().flat_map(|hook| &hook.properties) {
        all.extend(
            Definition::from_property(property).filter(|definition| !all.contains(definition)),
        );
    }
    let by_key = Key::ALL.into_iter().map(|key| {
        let of_key = all.iter().filter(|definition| definition.key == key);
        (key, of_key.cloned().collect::<Vec<_>>())
    });
    by_key.filter(|(_, found)| !found.is_empty()).collect()
}

/// The first of `hooks` that needs the same property.
pub(crate) fn needed_by<'a>(
    definition: &Definition,
    hooks: &'a [Manifest],
) -> Option<&'a Manifest> {
    hooks.iter().find(|hook| {
        let mut of_hook = hook.properties.iter().filter_map(Definition::from_property);
        of_hook.any(|one| one.is_of_same_property(definition))
    })
}

/// A list of nothing but `definitions`.
pub(crate) fn list_of(definitions: &[Definition]) -> List {
    let mut list = List::default();
    for definition in definitions {
        list.define(definition, false);
    }
    list
}

/// The command that makes `value` the list of `key`.
pub(crate) fn setting(key: Key, value: impl std::fmt::Display, level: &str) -> String {
    command("-s", key, value, level)
}

fn command(action: &str, key: Key, value: impl std::fmt::Display, level: &str) -> String {
    let setting = shell_quoted(&format!("{}={value}", key.name()));
    format!("engine-config {action} {setting} --cver={level}")
}

/// The command that adds `list` to that of `key`, or replaces it where engine-config can do no more.
pub(crate) fn adding(key: Key, list: impl std::fmt::Display, level: &str) -> String {
    let action = if key.can_be_added_to() { "-m" } else { "-s" };
    command(action, key, list, level)
}

/// Properties that nobody has to define.
pub(crate) fn known_to_the_engine(hook: &Manifest) -> Result<String> {
    let mut text = String::new();
    for property in &hook.properties {
        let of_the_host = matches!(property.scope, Scope::Host | Scope::VdsmConf);
        if !of_the_host && Definition::from_property(property).is_none() {
            writeln!(text, "{} is predefined in the engine.", property.name)?;
        }
    }
    Ok(text)
}

/// What to put where on the host.
pub(crate) fn settings_of_the_host(hook: &Manifest) -> Result<String> {
    let of = |scope: Scope| {
        let properties = hook.properties.iter();
        properties.filter(move |property| property.scope == scope)
    };
    let mut text = String::new();
    if of(Scope::Host).next().is_some() {
        text += "Set a default for the whole host, in /etc/sysconfig/vdsm\n";
        for property in of(Scope::Host) {
            let value = property.example.replace('\\', "\\\\").replace('"', "\\\"");
            writeln!(text, "  {}=\"{value}\"", property.name)?;
        }
        text += "  systemctl restart vdsmd\n";
    }
    if of(Scope::VdsmConf).next().is_some() {
        let name = &hook.name;
        writeln!(
            text,
            "Set it for the whole host, in /etc/vdsm/vdsm.conf.d/50_{name}.conf\n  [vars]"
        )?;
        for property in of(Scope::VdsmConf) {
            // A single one begins a reference.
            let value = property.example.replace('%', "%%");
            writeln!(text, "  {} = {value}", property.name)?;
        }
        text += "Hooks read it at every run; nothing has to be restarted.\n";
    }
    Ok(text)
}
