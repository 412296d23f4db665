// SPDX-License-Identifier: GPL-2.0-or-later

//! Puts more IPv4 addresses on the device of a network when it is set up.
//!
//! Event: `after_network_setup`, as root.
//!
//! Property of the network: `ipv4_addrs`, `ADDRESS/PREFIX` separated by commas. Absent or empty:
//! nothing happens to that network.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use vdsm_hooks::host::command;
use vdsm_hooks::json::Node;
use vdsm_hooks::vdsm::networks::{self, Network};
use vdsm_hooks::{Error, Result, hook, program};

const PROPERTY: &str = "ipv4_addrs";
const TIMEOUT: Duration = Duration::from_secs(20);
/// What ip says of an address that is there already. The second is newer kernels' own text (Linux
/// net/ipv4/devinet.c: `inet_rtm_newaddr`).
const IS_THERE: [&str; 2] = ["File exists", "Address already assigned"];

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    hook::read_json(add_all)
}

fn add_all(document: Node<'_>) -> Result {
    let mut addresses = Vec::new();
    for network in networks::with_property(document, PROPERTY)? {
        if network.value.trim().is_empty() {
            continue;
        }
        let device = network.device()?;
        for entry in network.value.split(',') {
            addresses.push((device.clone(), check(&network, entry.trim())?));
        }
    }
    let mut failures = Vec::new();
    for (device, address) in addresses {
        if let Err(error) = add(&device, &address) {
            failures.push(error.to_string());
        }
    }
    match failures[..] {
        [] => Ok(()),
        _ => Err(Error::new(failures.join("; ")).keep_going()),
    }
}

fn check(network: &Network<'_>, entry: &str) -> Result<String> {
    let parts = entry.split_once('/').and_then(|(address, prefix)| {
        let is_short = prefix.len() < 3 && prefix.chars().all(|c| c.is_ascii_digit());
        let prefix: u8 = prefix.parse().ok().filter(|_| is_short)?;
        Some((address.parse::<Ipv4Addr>().ok()?, prefix))
    });
    match parts {
        Some((address, prefix @ 1..=32)) => Ok(format!("{address}/{prefix}")),
        _ => Err(network.wrong(
            PROPERTY,
            format!("{entry:?}: expected a.b.c.d/n, n from 1 to 32"),
        )),
    }
}

fn add(device: &str, address: &str) -> Result {
    let words = ["-4", "addr", "add", "dev", device, address];
    let line = || format!("ip {}", words.join(" "));
    let output = command::run("ip", &words, TIMEOUT)
        .map_err(|error| Error::new(format!("{}: {error}", line())))?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(2) && IS_THERE.iter().any(|known| stderr.contains(known)) {
        return Ok(());
    }
    let failed = |error: Error| Error::new(format!("{}: {error}", line()));
    output.checked().map(drop).map_err(failed)
}
