// SPDX-License-Identifier: GPL-2.0-or-later

//! Applies ethtool settings to the NICs below a network when it is set up.
//!
//! Event: `after_network_setup`, as root.
//!
//! Property of the network: `ethtool_opts`, command lines of ethtool one after another. Absent or
//! empty: nothing happens to that network.

use std::process::ExitCode;
use std::time::Duration;

use vdsm_hooks::host::command;
use vdsm_hooks::json::Node;
use vdsm_hooks::vdsm::networks::{self, Network};
use vdsm_hooks::{Error, Result, hook, program};

const PROPERTY: &str = "ethtool_opts";
const TIMEOUT: Duration = Duration::from_secs(20);

/// Options that set how packets go. All others are refused: some write firmware (ethtool(8): `-E`),
/// some take the NIC down (`-t`) or never end.
const ALLOWED: [&str; 25] = [
    "-A",
    "--pause",
    "-C",
    "--coalesce",
    "-G",
    "--set-ring",
    "-K",
    "--offload",
    "--features",
    "-L",
    "--set-channels",
    "-N",
    "-U",
    "--config-nfc",
    "--config-ntuple",
    "-X",
    "--set-rxfh-indir",
    "--rxfh",
    "-s",
    "--change",
    "--set-priv-flags",
    "--set-eee",
    "--set-fec",
    "--set-phy-tunable",
    "--set-tunable",
];

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    hook::read_json(apply)
}

fn apply(document: Node<'_>) -> Result {
    let mut commands = Vec::new();
    for network in networks::with_property(document, PROPERTY)? {
        commands.append(&mut parse(&network)?);
    }
    if commands.is_empty() {
        return Ok(());
    }
    command::find("ethtool").map_err(Error::keep_going)?;
    let mut failures = Vec::new();
    for words in commands {
        let result = command::run("ethtool", &words, TIMEOUT).and_then(command::Output::checked);
        if let Err(error) = result {
            failures.push(format!("ethtool {}: {error}", words.join(" ")));
        }
    }
    match failures[..] {
        [] => Ok(()),
        _ => Err(Error::new(failures.join("; ")).keep_going()),
    }
}

/// The arguments of each call of ethtool, all checked.
fn parse(network: &Network<'_>) -> Result<Vec<Vec<String>>> {
    let wrong = |problem: String| Err(network.wrong(PROPERTY, problem));
    let mut commands: Vec<Vec<&str>> = Vec::new();
    for word in network.value.split_whitespace() {
        match commands.last_mut() {
            _ if word.starts_with('-') => commands.push(vec![word]),
            Some(command) => command.push(word),
            None => {
                return wrong(format!(
                    "{word:?} is no option, expected OPTION DEVICE SETTINGS"
                ));
            }
        }
    }
    if commands.is_empty() {
        return Ok(Vec::new());
    }
    let nics = network.nics()?;
    let mut calls = Vec::new();
    for command in commands {
        let option = command[0];
        if option.starts_with("-") && option[1..].starts_with(|c: char| c.is_ascii_digit()) {
            return wrong(format!(
                "{option}: a negative number cannot be written, since '-' begins the next command: expected OPTION DEVICE SETTINGS"
            ));
        }
        if !ALLOWED.contains(&option) {
            return wrong(format!(
                "option {option:?} is not allowed, expected one of {}",
                ALLOWED.join(", ")
            ));
        }
        let Some(&device) = command.get(1) else {
            return wrong(format!(
                "{option} has no device, expected OPTION DEVICE SETTINGS"
            ));
        };
        let rest = &command[2..];
        if let Some(word) = rest.iter().find(|word| !is_plain(word)) {
            return wrong(format!(
                "word {word:?}: expected letters, digits and _.:,/=+%-"
            ));
        }
        let on = |nic: &str| {
            let words = [option, nic].into_iter().chain(rest.iter().copied());
            words.map(str::to_owned).collect()
        };
        if device == "*" {
            calls.extend(nics.iter().map(|nic| on(nic)));
        } else if nics.iter().any(|nic| nic == device) {
            calls.push(on(device));
        } else {
            return wrong(format!(
                "device {device:?} is no NIC of this network, expected * or one of [{}]",
                nics.join(", ")
            ));
        }
    }
    Ok(calls)
}

fn is_plain(word: &str) -> bool {
    word.chars()
        .all(|c| c.is_ascii_alphanumeric() || "_.:,/=+%-".contains(c))
}
