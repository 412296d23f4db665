// SPDX-License-Identifier: GPL-2.0-or-later

//! Makes the NICs below networks FCoE ports when the networks are set up, and ends that when they
//! go.
//!
//! Event: `before_network_setup`, as root. The request itself is never changed.
//!
//! Property of the network: `fcoe`, settings of the port. Neither a network of the request nor one
//! that is set up already has it: nothing happens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use vdsm_hooks::host::state::Records;
use vdsm_hooks::host::transaction::{self, Files};
use vdsm_hooks::host::{bridge, command, files};
use vdsm_hooks::json::Node;
use vdsm_hooks::vdsm::networks::{self, Network};
use vdsm_hooks::{Context, Error, Result, hook, program};

const PROPERTY: &str = "fcoe";
const DIRECTORY: &str = "/etc/fcoe";
const TEMPLATE: &str = "/etc/fcoe/cfg-ethx";
const MAX_BYTES: u64 = 1 << 20;
const HEADER: &str =
    "# Written by the hook fcoe of vdsm-hooks: change the property of the network.\n";
/// Keys of the property, and variables of the file (fcoemon(8)).
const KEYS: [(&str, &str); 3] = [
    ("enable", "FCOE_ENABLE"),
    ("dcb", "DCB_REQUIRED"),
    ("auto_vlan", "AUTO_VLAN"),
];
/// In the order in which they have to come up (fcoe-utils QUICKSTART, "Example Configuration").
const SERVICES: [&str; 2] = ["lldpad", "fcoe"];
/// The record that they are to be restarted, kept from before the files change.
const RESTART: &str = "restart";
/// Where that is.
const RESTART_FILE: &str = "/run/vdsm-hooks/fcoe/restart";
const TIMEOUT: Duration = Duration::from_secs(60);

/// Variables and their values, in order.
type Settings = Vec<(String, String)>;

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let mut files = Files::new();
    hook::read_json(|document| {
        files = wanted(document)?;
        Ok(())
    })?;
    let is_restart_due = Path::new(RESTART_FILE).exists();
    let is_change = transaction::is_change(&files)?;
    if !is_restart_due && !is_change {
        return Ok(());
    }
    let records = Records::root_only(PROPERTY)?;
    // Before the files: the next run finds them as they have to be, and sees no change.
    records.write(RESTART, "")?;
    let changed = transaction::change(&files, None);
    if changed.is_err() && !is_restart_due {
        forget(&records);
    }
    changed?;
    for service in SERVICES {
        let ended = command::run("systemctl", &["restart", service], TIMEOUT);
        // The network itself can be set up.
        if let Err(error) = ended.and_then(command::Output::checked) {
            log::warn!("{service} does not restart: {error}");
        }
    }
    forget(&records);
    Ok(())
}

fn forget(records: &Records) {
    if let Err(error) = records.remove(RESTART) {
        log::warn!("the services will be restarted once more: {error}");
    }
}

/// The files of all ports that the request has to do with; none for those that end.
fn wanted(document: Node<'_>) -> Result<Files> {
    let names = networks::names(document)?;
    if names.is_empty() {
        return Ok(Files::new());
    }
    let mut ports = BTreeMap::new();
    for network in networks::with_property(document, PROPERTY)? {
        let settings = parse(&network)?;
        let nic = network.nic()?.ok_or_else(|| {
            network.wrong(PROPERTY, "FCoE needs a plain NIC, and the network has none")
        })?;
        // Its file would be the defaults themselves.
        if file_of(&nic) == Path::new(TEMPLATE) {
            let problem = format!("a NIC called {nic:?} would take the place of {TEMPLATE}");
            return Err(network.wrong(PROPERTY, problem));
        }
        ports.insert(nic, settings);
    }
    // Of a NIC that no network of the request wants: a port of another network stays as it is.
    let (of_request, others): (Vec<_>, _) = configured()?
        .into_iter()
        .partition(|(name, _)| names.contains(name));
    let is_used = |nic: &str| others.iter().any(|(_, other)| other == nic);
    let ended = of_request.into_iter().map(|(_, nic)| nic);
    let ended = ended.filter(|nic| !ports.contains_key(nic) && !is_used(nic));
    let mut files: Files = ended.map(|nic| (file_of(&nic), None)).collect();
    if !ports.is_empty() {
        let defaults = template()?;
        for (nic, settings) in ports {
            files.insert(file_of(&nic), Some(text(&defaults, &settings)));
        }
    }
    Ok(files)
}

fn file_of(nic: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("cfg-{nic}"))
}

/// The FCoE networks that are set up already, and their NICs.
fn configured() -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for name in networks::all_configured()? {
        let attributes = networks::configured(&name)?.unwrap_or_default();
        let nic = attributes["nic"]
            .as_str()
            .filter(|nic| bridge::is_name(nic) && file_of(nic) != Path::new(TEMPLATE));
        if let (Some(_), Some(nic)) = (attributes["custom"].get(PROPERTY), nic) {
            found.push((name, nic.to_owned()));
        }
    }
    Ok(found)
}

fn parse(network: &Network<'_>) -> Result<Settings> {
    let value = match network.value.trim() {
        "true" => "",
        "false" => "enable=no",
        other => other,
    };
    let parts = value.split(',').map(str::trim);
    let setting = |part: &str| {
        let (key, word) = part.split_once('=')?;
        let (_, variable) = KEYS.iter().find(|(known, _)| *known == key.trim())?;
        let word = word.trim();
        ["yes", "no"]
            .contains(&word)
            .then(|| ((*variable).to_owned(), word.to_owned()))
    };
    parts
        .filter(|part| !part.is_empty())
        .map(|part| {
            let problem = format!("{part:?}: expected enable, dcb or auto_vlan, then =yes or =no");
            setting(part).ok_or_else(|| network.wrong(PROPERTY, problem))
        })
        .collect()
}

/// The assignments of the file that comes with the FCoE services (fcoe-utils etc/cfg-ethx).
fn template() -> Result<Settings> {
    let text = files::read_file(Path::new(TEMPLATE), MAX_BYTES)
        .context("install fcoe-utils, which brings the defaults of FCoE ports")?;
    let text = String::from_utf8(text).context(TEMPLATE)?;
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once('=').ok_or_else(|| {
                Error::new(format!("{TEMPLATE}: {line:?}: expected NAME=\"VALUE\""))
            })?;
            Ok((name.to_owned(), unquoted(value).to_owned()))
        })
        .collect()
}

/// The value without quotes and without a comment behind it.
fn unquoted(value: &str) -> &str {
    let quoted = value.chars().next().filter(|c| "\"'".contains(*c));
    let end = |c: char| quoted.map_or(c.is_whitespace(), |quote| c == quote);
    let value = &value[quoted.map_or(0, char::len_utf8)..];
    value.split(end).next().unwrap_or_default()
}

/// The defaults with these settings in their places, those without a place at the end.
fn text(defaults: &Settings, settings: &Settings) -> String {
    let mut all = defaults.clone();
    for (name, value) in settings {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.clone_from(value),
            None => all.push((name.clone(), value.clone())),
        }
    }
    let lines = all
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\"\n"));
    HEADER.to_owned() + &lines.collect::<String>()
}
