// SPDX-License-Identifier: GPL-2.0-or-later

//! What the kernel knows of the networks: links that are up, MTUs, addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use vdsm_hooks::Result;
use vdsm_hooks::host::bridge::network_device;
use vdsm_hooks::host::command;
use vdsm_hooks::host::state::Lock;

use crate::plan::{OvsNetwork, Switch};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Links as they are before a set-up. It brings them up and raises MTUs; no other network loses
/// anything by that.
pub(crate) struct Links(BTreeMap<String, Link>);

struct Link {
    is_up: bool,
    mtu: Option<u32>,
}

impl Links {
    /// Those of the switch that are there: the NICs below it, bonds, and the devices of networks.
    pub(crate) fn from_switch(switch: &Switch) -> Links {
        let devices = switch.networks.iter();
        let devices = devices.map(|(name, network)| network.device(name));
        let bonds = switch.bonds.keys().map(String::as_str);
        let links = nics(switch).into_iter().chain(bonds).chain(devices);
        let links = links.filter(|link| is_there(link)).map(|link| {
            let is_up = number(link, "flags").is_some_and(|flags| flags & 1 == 1);
            let mtu = number(link, "mtu");
            (link.to_owned(), Link { is_up, mtu })
        });
        Links(links.collect())
    }

    /// By name: whether it is up, and its MTU.
    pub(crate) fn value(&self) -> Value {
        let links = self.0.iter();
        links
            .map(|(name, link)| (name.clone(), json!([link.is_up, link.mtu])))
            .collect()
    }

    /// What [`Links::value`] has written.
    pub(crate) fn kept(value: &Value) -> Links {
        let links = value.as_object().into_iter().flatten();
        let links = links.map(|(name, link)| {
            let is_up = link[0] == true;
            let mtu = link[1].as_u64().and_then(|mtu| mtu.try_into().ok());
            (name.clone(), Link { is_up, mtu })
        });
        Links(links.collect())
    }

    /// Makes them what they were.
    ///
    /// # Errors
    /// `ip` fails.
    pub(crate) fn restore(&self, lock: &Lock) -> Result {
        for (name, link) in self.0.iter().filter(|(name, _)| is_there(name)) {
            if let Some(mtu) = link.mtu.filter(|mtu| number(name, "mtu") != Some(*mtu)) {
                ip(lock, &["link", "set", "dev", name, "mtu", &mtu.to_string()])?;
            }
            if !link.is_up {
                ip(lock, &["link", "set", "dev", name, "down"])?;
            }
        }
        Ok(())
    }
}

fn nics(switch: &Switch) -> BTreeSet<&str> {
    let members = switch.bonds.values().flat_map(|bond| &bond.nics);
    let southbound = switch
        .networks
        .values()
        .filter_map(|network| network.southbound.as_ref());
    let southbound = southbound.filter(|southbound| !switch.bonds.contains_key(*southbound));
    members.chain(southbound).map(String::as_str).collect()
}

/// Brings up the links of what is in `to` and is another one in `from`, with MTU and addresses.
///
/// # Errors
/// `ip` fails.
pub(crate) fn apply(lock: &Lock, from: &Switch, to: &Switch) -> Result {
    let old_devices = from.networks.iter().map(|(name, old)| old.device(name));
    for device in old_devices.filter(|device| to.has_device(device)) {
        if from.addresses_of(device) != to.addresses_of(device) {
            ip(
                lock,
                &["address", "flush", "dev", device, "scope", "global"],
            )?;
            ip(
                lock,
                &["-4", "route", "flush", "exact", "default", "dev", device],
            )?;
        }
    }
    for nic in nics(to).difference(&nics(from)) {
        up(lock, nic)?;
    }
    for (name, network) in &to.networks {
        let is_same = from.networks.get(name) == Some(network);
        if is_same && is_bond_same(from, to, network) {
            continue;
        }
        let device = network.device(name);
        if let Some(mtu) = network.mtu {
            for link in links_below(to, network).into_iter().chain([device]) {
                if number(link, "mtu").is_none_or(|now| now < mtu) {
                    ip(lock, &["link", "set", "dev", link, "mtu", &mtu.to_string()])?;
                }
            }
        }
        if is_same {
            continue;
        }
        up(lock, device)?;
        for address in &network.addresses {
            ip(lock, &["address", "replace", address, "dev", device])?;
        }
        if let Some(gateway) = &network.gateway {
            ip(
                lock,
                &["route", "replace", "default", "via", gateway, "dev", device],
            )?;
        }
    }
    Ok(())
}

/// What is below a network, and has to take frames as large as its own: its NIC; or the NICs of its
/// bond, then the bond, where Open vSwitch makes a device of that (3.1 makes none).
fn links_below<'a>(switch: &'a Switch, network: &'a OvsNetwork) -> Vec<&'a str> {
    let Some(southbound) = network.southbound.as_deref() else {
        return Vec::new();
    };
    let Some(bond) = switch.bonds.get(southbound) else {
        return vec![southbound];
    };
    let device = Some(southbound).filter(|name| is_there(name));
    bond.nics.iter().map(String::as_str).chain(device).collect()
}

/// Whether the bond below a network, if it has one, has been the same before.
fn is_bond_same(from: &Switch, to: &Switch, network: &OvsNetwork) -> bool {
    let bond = network.southbound.as_ref();
    bond.is_none_or(|bond| from.bonds.get(bond) == to.bonds.get(bond))
}

fn up(lock: &Lock, link: &str) -> Result {
    ip(lock, &["link", "set", "dev", link, "up"])
}

fn is_there(link: &str) -> bool {
    network_device(link).exists()
}

/// A number that sysfs has for a link; flags are in hexadecimal (Linux 6.1
/// Documentation/ABI/testing/sysfs-class-net).
fn number(link: &str, name: &str) -> Option<u32> {
    let text = fs::read_to_string(network_device(link).join(name)).ok()?;
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn ip(lock: &Lock, words: &[&str]) -> Result {
    command::run_under(lock, "ip", words, TIMEOUT)?
        .checked()
        .map(drop)
}
