// SPDX-License-Identifier: GPL-2.0-or-later

//! The networks of this hook in the host's capabilities, as if they were ordinary ones.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use vdsm_hooks::host::bridge::network_device;
use vdsm_hooks::host::command;
use vdsm_hooks::host::openvswitch;
use vdsm_hooks::json::{Edits, Node};
use vdsm_hooks::{Context, Error, Result, hook};

use crate::plan::{Bond, OvsNetwork, Switch};
use crate::request::has_nic;

const TIMEOUT: Duration = Duration::from_secs(10);
/// The line that sudo allows.
const PORTS: [&str; 5] = [
    openvswitch::OWN_TIMEOUT,
    "--format=json",
    "--columns=name,bond_active_slave",
    "list",
    "Port",
];

/// Adds what is on the switch. What the capabilities have of it already is replaced.
pub(crate) fn add<'a>(switch: &Switch, document: Node<'a>, edits: &mut Edits<'a>) -> Result {
    let all = document.object();
    let all = all.ok_or_else(|| hook::unexpected_json("an object"))?;
    let mut put = |member: &str, name: &str, value: Value| -> Result {
        let object = all.get(member).and_then(Node::object);
        let object =
            object.ok_or_else(|| hook::unexpected_json(&format!("an object '{member}'")))?;
        edits.set(&object, name, &value)
    };
    for (name, network) in &switch.networks {
        let own = addresses(network.device(name))?;
        let ports: Vec<_> = network
            .southbound
            .iter()
            .map(|southbound| link(southbound, network))
            .collect();
        let with = |more: Value| merged(&own, more);
        let stp = if network.stp { "on" } else { "off" };
        let is_bridged = network.is_bridged;
        put(
            "networks",
            name,
            with(json!({
                "iface": name, "bridged": is_bridged, "ports": ports, "stp": stp,
                "switch": "legacy", "southbound": ports.first(),
            })),
        )?;
        if is_bridged {
            put(
                "bridges",
                name,
                with(json!({"ports": ports, "stp": stp, "opts": {}})),
            )?;
        }
        if let (Some(vlan), Some(southbound)) = (network.vlan, &network.southbound) {
            put(
                "vlans",
                &link(southbound, network),
                with(json!({"iface": southbound, "vlanid": vlan})),
            )?;
        }
    }
    if switch.bonds.is_empty() {
        return Ok(());
    }
    let active = active_nics()?;
    for (name, bond) in &switch.bonds {
        // Open vSwitch 3.1 makes no device for a bond. Its NICs have the MTU.
        let devices = [name].into_iter().chain(&bond.nics);
        let device = devices.into_iter().find(|device| has_nic(device));
        let own = addresses(device.unwrap_or(name))?;
        let active = active_of(&active, name, bond);
        let opts = json!({"mode": bond.mode, "lacp": bond.lacp});
        let more = json!({"slaves": bond.nics, "active_slave": active, "opts": opts});
        put("bondings", name, merged(&own, more))?;
    }
    Ok(())
}

/// What VDSM calls the device below the network.
fn link(southbound: &str, network: &OvsNetwork) -> String {
    match network.vlan {
        Some(vlan) => format!("{southbound}.{vlan}"),
        None => southbound.to_owned(),
    }
}

fn merged(own: &Value, more: Value) -> Value {
    let mut all = own.clone();
    if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}

/// MTU and addresses of a device, as the capabilities spell them.
fn addresses(device: &str) -> Result<Value> {
    let found = ask(&["-j", "address", "show", "dev", device])?;
    let found = &found[0];
    let infos = found["addr_info"].as_array().into_iter().flatten();
    let of = |family: &str| -> Vec<(String, u64)> {
        let global = infos
            .clone()
            .filter(|it| it["family"] == family && it["scope"] == "global");
        global
            .filter_map(|it| Some((it["local"].as_str()?.to_owned(), it["prefixlen"].as_u64()?)))
            .collect()
    };
    let with_prefixes = |all: &[(String, u64)]| -> Vec<String> {
        all.iter()
            .map(|(address, prefix)| format!("{address}/{prefix}"))
            .collect()
    };
    let (ipv4, ipv6) = (of("inet"), of("inet6"));
    let (address, mask) = match ipv4.first() {
        Some((address, prefix)) => (address.clone(), netmask(*prefix)),
        None => (String::new(), String::new()),
    };
    let route = ask(&["-j", "-4", "route", "show", "default", "dev", device])?;
    Ok(json!({
        "mtu": found["mtu"].to_string(),
        "addr": address,
        "netmask": mask,
        "gateway": route[0]["gateway"].as_str().unwrap_or_default(),
        "ipv4addrs": with_prefixes(&ipv4),
        "ipv6addrs": with_prefixes(&ipv6),
        "ipv6gateway": "::",
        "cfg": {},
    }))
}

fn netmask(prefix: u64) -> String {
    let ones = u32::try_from(prefix.min(32)).unwrap_or(32);
    Ipv4Addr::from(u32::MAX.checked_shl(32 - ones).unwrap_or(0)).to_string()
}

fn ask(words: &[&str]) -> Result<Value> {
    let output = command::run("ip", words, TIMEOUT)?.checked()?;
    // Of no route it says nothing.
    match output.stdout.trim_ascii() {
        [] => Ok(Value::Null),
        text => serde_json::from_slice(text).context("the answer of ip"),
    }
}

/// Names of ports, and the address of the NIC that is in use (ovs-vswitchd.conf.db(5), 3.1:
/// `bond_active_slave`).
fn active_nics() -> Result<Vec<(String, String)>> {
    let output = openvswitch::VSCTL
        .run(&PORTS, openvswitch::TIMEOUT)?
        .checked()?;
    let table: Value = serde_json::from_slice(&output.stdout).context("the answer of ovs-vsctl")?;
    let rows = table["data"].as_array();
    let rows = rows.ok_or_else(|| Error::new("the answer of ovs-vsctl has no rows"))?;
    let pair = |row: &Value| Some((row[0].as_str()?.to_owned(), row[1].as_str()?.to_owned()));
    Ok(rows.iter().filter_map(pair).collect())
}

fn active_of(active: &[(String, String)], name: &str, bond: &Bond) -> String {
    let mac = active
        .iter()
        .find(|(port, _)| port == name)
        .map(|(_, mac)| mac);
    let has = |nic: &&String| {
        let address = network_device(nic).join("address");
        let address = fs::read_to_string(address).unwrap_or_default();
        mac.is_some_and(|mac| mac == address.trim())
    };
    bond.nics.iter().find(has).cloned().unwrap_or_default()
}
