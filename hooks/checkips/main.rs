// SPDX-License-Identifier: GPL-2.0-or-later

//! Reports a host network as down when an address behind it no longer answers.
//!
//! Event: `after_get_stats`, every few seconds. The daemon `checkipsd` asks the addresses; here
//! only its stamps are looked at.
//!
//! Properties, of a network and in VDSM's network configuration: `checkipv4`, `checkipv6`. No
//! network has one: nothing happens.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use vdsm_hooks::json::{Edits, Node, Object};
use vdsm_hooks::vdsm::start;
use vdsm_hooks::{Error, Result, hook, program};

mod networks;

/// How long an answer counts.
const MAX_AGE: Duration = Duration::from_secs(60);

/// A watched network.
struct Network {
    name: String,
    /// The interface below it, whose state the engine looks at (ovirt-engine 4.5
    /// …/monitoring/NetworkMonitoringHelper.java: `isBaseInterfaceDown`).
    device: Option<String>,
}

fn main() -> ExitCode {
    hook::run(program!(), || run().map_err(Error::keep_going))
}

fn run() -> Result {
    let mut networks = networks::watched(|name, network, _| Network::from_json(name, network));
    networks.retain(|network| !is_reachable(&network.name));
    if networks.is_empty() {
        return Ok(());
    }
    hook::edit_json(|document, edits| lower(document, edits, &networks))
}

fn lower<'a>(document: Node<'a>, edits: &mut Edits<'a>, networks: &[Network]) -> Result {
    let interfaces = document.object().and_then(|stats| stats.get("network"));
    let interfaces = interfaces.and_then(Node::object);
    let interfaces = interfaces.ok_or_else(|| hook::unexpected_json("an object 'network'"))?;
    // Several networks may lie on one interface.
    let mut devices = BTreeSet::new();
    for Network { name, device, .. } in networks {
        match device {
            Some(device) => drop(devices.insert((device, name))),
            None => log::warn!("network {name:?} does not answer, but has neither NIC nor bond"),
        }
    }
    let mut done = BTreeSet::new();
    for (device, name) in devices {
        match interfaces.get(device).and_then(Node::object) {
            Some(interface) if done.insert(device) => {
                edits.set(&interface, "state", &Value::from("down"))?;
            }
            Some(_) => {}
            None => {
                log::warn!("network {name:?}: the statistics have no interface {device:?}");
            }
        }
    }
    Ok(())
}

impl Network {
    fn from_json(name: &str, network: &Object<'_>) -> Network {
        let text = |key| network.get(key).and_then(Node::string);
        Network {
            name: name.to_owned(),
            device: text("nic").or_else(|| text("bonding")),
        }
    }
}

/// Whether an address of the network has answered a short while ago. A stamp from the future is
/// one from before the clock was set back.
fn is_reachable(network: &str) -> bool {
    let stamp = |directory| {
        let found = fs::symlink_metadata(Path::new(directory).join(network)).ok()?;
        found.modified().ok().filter(|_| found.is_file())
    };
    // VDSM's own daemon keeps its stamps among the rest of what VDSM has there.
    let Some(answer) = stamp(networks::STAMPS).or_else(|| stamp(start::RUN)) else {
        return false;
    };
    let age = SystemTime::now().duration_since(answer);
    age.map_or(true, |age| age <= MAX_AGE)
}
