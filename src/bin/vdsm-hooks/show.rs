// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks show`: one hook, and how its properties get into the engine.

use std::fmt::Write as _;
use std::process::ExitCode;

use vdsm_hooks::Result;
use vdsm_hooks::describe::{Hook, Property, Scope, shell_quoted};
use vdsm_hooks::events::{self, Data, Environment};

use crate::{catalog, print};

/// Explain a hook: what it does when, its properties, and how to turn them on in the engine
#[derive(clap::Args)]
#[command(after_help = "Example:\n  vdsm-hooks show macspoof")]
pub(crate) struct Arguments {
    /// Name of a hook of this suite, see 'vdsm-hooks list'
    #[arg(value_name = "HOOK", required = true)]
    hooks: Vec<String>,
}

/// Explains.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let hooks = catalog::named(&arguments.hooks)?;
    let pages = hooks.iter().map(page).collect::<Result<Vec<_>>>()?;
    print(&pages.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn page(hook: &Hook) -> Result<String> {
    let mut text = format!("{}: {}\n", hook.name, hook.summary);
    if let Some(package) = &hook.replaces {
        writeln!(
            text,
            "Replaces VDSM's own {package}; only one of the two can be installed."
        )?;
    }
    text += "\nEvents\n";
    for event in &hook.events {
        writeln!(text, "  {}/{}", event.event, hook.installed_as(event))?;
        writeln!(text, "      {}", event.effect)?;
    }
    text += "\nProperties\n";
    for property in &hook.properties {
        writeln!(text, "  {} ({})", property.name, property.scope.words())?;
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
    for (title, lines) in [
        ("Runs", &hook.commands),
        ("Runs as root, through sudo", &hook.sudo),
    ] {
        if !lines.is_empty() {
            writeln!(text, "\n{title}")?;
            for line in lines {
                writeln!(text, "  {line}")?;
            }
        }
    }
    if let Some(try_out) = dry_run(hook) {
        writeln!(text, "\nTry it on a domain XML, without VDSM\n  {try_out}")?;
    }
    text += &turn_on(hook)?;
    Ok(text)
}

/// The command line of a dry run at the hook's first event.
pub(crate) fn dry_run(hook: &Hook) -> Option<String> {
    let event = events::find(&hook.events.first()?.event)?;
    let file = match event.data {
        Data::Device => "--domain FILE --device MAC",
        data if data.is_json() => "--data FILE",
        _ => "--domain FILE",
    };
    let setting = hook.properties.first().and_then(|property| {
        let of_device = matches!(property.scope, Scope::Interface | Scope::Disk);
        let option = match event.environment {
            Environment::VmAndParameters if of_device => "-d",
            Environment::Vm | Environment::VmAndParameters => "-p",
            // VDSM passes none; a property of a network stands in the data.
            Environment::Bare => return None,
        };
        let value = format!("{}={}", property.name, property.example);
        Some(format!(" {option} {}", shell_quoted(&value)))
    });
    Some(format!(
        "vdsm-hooks run {} {file}{} --hook {}",
        event.name,
        setting.unwrap_or_default(),
        hook.name
    ))
}

/// Properties that the engine has of itself, and refuses to have defined a second time.
const PREDEFINED: [&str; 10] = [
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

/// How the properties get to the host, by scope.
pub(crate) fn turn_on(hook: &Hook) -> Result<String> {
    let mut text = String::new();
    let of = |scope: Scope| {
        hook.properties
            .iter()
            .filter(move |property| property.scope == scope)
    };
    let definitions = |scope: Scope| {
        let names = of(scope).filter(|property| !PREDEFINED.contains(&property.name.as_str()));
        let defined: Vec<_> = names.filter_map(definition).collect();
        defined.join(";")
    };
    let mut options = Vec::new();
    for (scope, option) in [
        (Scope::Vm, "UserDefinedVMProperties"),
        (Scope::Network, "UserDefinedNetworkCustomProperties"),
    ] {
        let definitions = definitions(scope);
        if !definitions.is_empty() {
            options.push((option, definitions));
        }
    }
    let mut devices = Vec::new();
    for (scope, kind) in [(Scope::Disk, "disk"), (Scope::Interface, "interface")] {
        let definitions = definitions(scope);
        if !definitions.is_empty() {
            devices.push(format!("{{type={kind};prop={{{definitions}}}}}"));
        }
    }
    if !devices.is_empty() {
        options.push(("CustomDeviceProperties", devices.join(";")));
    }
    if !options.is_empty() {
        text += "\nDefine the properties in the engine\n";
        for (option, value) in &options {
            let setting = shell_quoted(&format!("{option}={value}"));
            writeln!(text, "  engine-config -g {option}")?;
            writeln!(text, "  engine-config -s {setting} --cver=4.7")?;
        }
        text += "  systemctl restart ovirt-engine\n\
                 The second command replaces the whole list: put what the first one shows in front,\n\
                 with a ';' between, or the other properties are gone. Use your cluster's level.\n";
    }
    for property in &hook.properties {
        if PREDEFINED.contains(&property.name.as_str()) {
            writeln!(text, "\nThe engine knows {} of itself.", property.name)?;
        }
    }
    let host: Vec<_> = of(Scope::Host).collect();
    if !host.is_empty() {
        text += "\nSet a default for the whole host, in /etc/sysconfig/vdsm\n";
        for property in host {
            writeln!(
                text,
                "  {}=\"{}\"",
                property.name,
                property.example.replace('\\', "\\\\").replace('"', "\\\"")
            )?;
        }
        text += "  systemctl restart vdsmd\n";
    }
    Ok(text)
}

/// `name=regex`, for the engine's lists.
fn definition(property: &Property) -> Option<String> {
    let regex = property.regex.as_deref()?;
    Some(format!("{}={regex}", property.name))
}
