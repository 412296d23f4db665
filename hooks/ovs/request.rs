// SPDX-License-Identifier: GPL-2.0-or-later

//! A request of VDSM's network set-up, and the networks and bonds of it that are this hook's.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde_json::Value;
use vdsm_hooks::host::bridge::network_device;
use vdsm_hooks::json::{Edits, Node, Object};
use vdsm_hooks::vdsm::networks::{self, Kind};
use vdsm_hooks::{Error, Result, hook, props};

use crate::plan::{Bond, OvsNetwork, Switch};

const MODES: [&str; 3] = ["active-backup", "balance-slb", "balance-tcp"];
const LACP: [&str; 3] = ["off", "active", "passive"];
const MAX_SERVICES: u32 = 0x00ff_ffff;

/// The members of the request that are the hook's, and what becomes of the host's networks.
pub(crate) struct Request<'a> {
    document: Node<'a>,
    members: Vec<(Kind, String)>,
    /// What is set up already, and what is wanted.
    pub(crate) from: Configured,
    pub(crate) to: Configured,
    /// VDSM's running configuration of them afterwards; none for what goes.
    pub(crate) files: BTreeMap<PathBuf, Option<String>>,
}

/// Networks and bonds of the hook, as VDSM writes them and as they are on the switch.
#[derive(Clone, Default)]
pub(crate) struct Configured {
    /// An object with their attributes by [`Kind::member`] and name.
    pub(crate) attributes: Value,
    pub(crate) switch: Switch,
}

impl Configured {
    /// What the running configuration has on Open vSwitch.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn now() -> Result<Configured> {
        let mut all = Configured::default();
        // One that cannot be is VDSM's.
        for name in networks::all_configured()? {
            let value = networks::configured(&name)?.unwrap_or_default();
            all.add(Kind::Network, &name, &value).unwrap_or_default();
        }
        for name in networks::all_bonds()? {
            let value = networks::configured_bond(&name)?.unwrap_or_default();
            all.add(Kind::Bond, &name, &value).unwrap_or_default();
        }
        Ok(all)
    }

    /// The same from attributes that were kept.
    ///
    /// # Errors
    /// They are of something else.
    pub(crate) fn kept(attributes: &Value) -> Result<Configured> {
        let mut all = Configured::default();
        for kind in [Kind::Network, Kind::Bond] {
            let members = attributes[kind.member()].as_object();
            for (name, value) in members.into_iter().flatten() {
                all.add(kind, name, value)?;
            }
        }
        Ok(all)
    }

    /// Adds one, and tells whether it is the hook's.
    fn add(&mut self, kind: Kind, name: &str, value: &Value) -> Result<bool> {
        let is_ours = match kind {
            Kind::Network => match network(value)? {
                Some(network) => self
                    .switch
                    .networks
                    .insert(name.to_owned(), network)
                    .is_none(),
                None => false,
            },
            Kind::Bond => match bond(value)? {
                Some(bond) => self.switch.bonds.insert(name.to_owned(), bond).is_none(),
                None => false,
            },
        };
        if is_ours {
            self.attributes[kind.member()][name] = value.clone();
        }
        Ok(is_ours)
    }

    /// Removes one, and tells whether it was there.
    fn remove(&mut self, kind: Kind, name: &str) -> bool {
        if let Some(members) = self.attributes[kind.member()].as_object_mut() {
            members.remove(name);
        }
        match kind {
            Kind::Network => self.switch.networks.remove(name).is_some(),
            Kind::Bond => self.switch.bonds.remove(name).is_some(),
        }
    }
}

/// The three members that every request has.
pub(crate) fn options(document: Node<'_>) -> Result<Object<'_>> {
    let options = request(document)?.get("options").and_then(Node::object);
    options.ok_or_else(|| hook::unexpected_json("an object request.options"))
}

pub(crate) fn request(document: Node<'_>) -> Result<Object<'_>> {
    let request = document
        .object()
        .and_then(|all| all.get("request")?.object());
    request.ok_or_else(|| hook::unexpected_json("an object with request, an object"))
}

impl<'a> Request<'a> {
    /// Reads the request, and VDSM's running configuration.
    ///
    /// # Errors
    /// It is no request, or a network or bond of the hook's cannot be what it says.
    pub(crate) fn read(document: Node<'a>) -> Result<Request<'a>> {
        let from = Configured::now()?;
        let mut read = Request {
            document,
            members: Vec::new(),
            to: from.clone(),
            from,
            files: BTreeMap::new(),
        };
        let request = request(document)?;
        for kind in [Kind::Bond, Kind::Network] {
            let member = request.get(kind.member()).and_then(Node::object);
            let member = member.ok_or_else(|| {
                hook::unexpected_json(&format!("an object request.{}", kind.member()))
            })?;
            for (name, node) in member.members() {
                let value = node.value().unwrap_or_default();
                if read.add(kind, name, &value)? {
                    read.members.push((kind, name.to_owned()));
                }
            }
        }
        Ok(read)
    }

    /// Whether nothing of the request is the hook's.
    pub(crate) fn is_other(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether the host has to change for it.
    pub(crate) fn is_change(&self) -> bool {
        self.from.switch != self.to.switch
    }

    /// Takes one member of the request up, and tells whether it is the hook's alone.
    fn add(&mut self, kind: Kind, name: &str, value: &Value) -> Result<bool> {
        let wrong = |error: Error| Error::new(format!("{} {name}: {error}", kind.word()));
        let goes = value["remove"] == true;
        let property = value["custom"]["ovs"].as_str().unwrap_or("true");
        if kind == Kind::Network && !goes && !is_yes_text(property) && !is_no_text(property) {
            log::warn!(
                "network {name}: ovs={property:?}: expected true or false, it is left to VDSM"
            );
        }
        let was = self.to.remove(kind, name);
        let is = !goes && self.to.add(kind, name, value).map_err(wrong)?;
        if was || is {
            let path = networks::configuration(kind, name)?;
            self.files.insert(path, is.then(|| value.to_string()));
        }
        // One that leaves Open vSwitch is VDSM's from now on.
        Ok(is || was && goes)
    }

    /// Leaves VDSM the rest.
    ///
    /// # Errors
    /// None: what was read is there.
    pub(crate) fn cut(&self, edits: &mut Edits<'a>) -> Result {
        let request = request(self.document)?;
        for kind in [Kind::Bond, Kind::Network] {
            let Some(object) = request.get(kind.member()).and_then(Node::object) else {
                continue;
            };
            for (_, name) in self.members.iter().filter(|(other, _)| *other == kind) {
                edits.remove(&object, name);
            }
        }
        Ok(())
    }
}

/// The network of these attributes; none if it is not on Open vSwitch, or VDSM's business.
fn network(attributes: &Value) -> Result<Option<OvsNetwork>> {
    if !is_yes(&attributes["custom"]["ovs"]) || attributes["switch"] == "ovs" {
        return Ok(None);
    }
    if attributes["bootproto"] == "dhcp" || is_yes(&attributes["dhcpv6"]) {
        return Err(Error::new(
            "expected addresses that are given: this hook asks no DHCP server",
        ));
    }
    let southbound = text(&attributes["nic"]).or_else(|| text(&attributes["bonding"]));
    let vlan = text(&attributes["vlan"]).map(|vlan| match vlan.parse() {
        Ok(vlan @ 1..=4094) => Ok(vlan),
        _ => Err(Error::new(format!("vlan {vlan:?}: expected 1 to 4094"))),
    });
    let service = text(&attributes["custom"]["ovs_aa_sid"]).map(|id| match id.parse() {
        Ok(id @ 0..=MAX_SERVICES) => Ok(id),
        _ => Err(props::wrong(
            "ovs_aa_sid",
            &id,
            format!("expected 0 to {MAX_SERVICES}"),
        )),
    });
    let mtu = text(&attributes["mtu"]).map(|mtu| match mtu.parse() {
        Ok(mtu @ 68..=65_535) => Ok(mtu),
        _ => Err(Error::new(format!("mtu {mtu:?}: expected 68 to 65535"))),
    });
    let gateway = text(&attributes["gateway"]).filter(|_| is_yes(&attributes["defaultRoute"]));
    let gateway = gateway.map(|it| ipv4(&it).map(|it| it.to_string()));
    let addresses = [ipv4_of(attributes)?, ipv6_of(attributes)?];
    Ok(Some(OvsNetwork {
        southbound,
        vlan: vlan.transpose()?,
        is_bridged: attributes["bridged"] != false,
        stp: is_yes(&attributes["stp"]),
        service: service.transpose()?,
        mtu: mtu.transpose()?,
        addresses: addresses.into_iter().flatten().collect(),
        gateway: gateway.transpose()?,
    }))
}

fn ipv4_of(attributes: &Value) -> Result<Option<String>> {
    let Some(address) = text(&attributes["ipaddr"]) else {
        return Ok(None);
    };
    let address = ipv4(&address)?;
    let prefix = match (text(&attributes["prefix"]), text(&attributes["netmask"])) {
        (Some(prefix), _) => prefix.parse().ok().filter(|prefix| *prefix <= 32),
        (None, Some(mask)) => {
            let mask = u32::from(ipv4(&mask)?);
            Some(mask.leading_ones()).filter(|ones| mask.count_ones() == *ones)
        }
        (None, None) => Some(32),
    };
    let prefix = prefix.ok_or_else(|| {
        Error::new(format!(
            "ipaddr {address}: expected a prefix of 0 to 32 or a netmask"
        ))
    })?;
    Ok(Some(format!("{address}/{prefix}")))
}

fn ipv6_of(attributes: &Value) -> Result<Option<String>> {
    let Some(given) = text(&attributes["ipv6addr"]) else {
        return Ok(None);
    };
    let (address, prefix) = given.split_once('/').unwrap_or((&given, "128"));
    let address: Option<Ipv6Addr> = address.parse().ok();
    let prefix: Option<u8> = prefix.parse().ok().filter(|prefix| *prefix <= 128);
    match (address, prefix) {
        (Some(address), Some(prefix)) => Ok(Some(format!("{address}/{prefix}"))),
        _ => Err(Error::new(format!(
            "ipv6addr {given:?}: expected ADDRESS/PREFIX"
        ))),
    }
}

fn ipv4(text: &str) -> Result<Ipv4Addr> {
    let address = text.parse();
    address.map_err(|_| Error::new(format!("{text:?}: expected an IPv4 address")))
}

/// The bond of these attributes; none if it is not on Open vSwitch.
fn bond(attributes: &Value) -> Result<Option<Bond>> {
    let options = attributes["options"].as_str().unwrap_or_default();
    let custom = options.split(' ').find_map(|it| it.strip_prefix("custom="));
    let custom = custom.unwrap_or_default().split(',');
    let pairs: BTreeMap<_, _> = custom.filter_map(|pair| pair.split_once(':')).collect();
    if !pairs.get("ovs").is_some_and(|value| is_yes_text(value)) || attributes["switch"] == "ovs" {
        return Ok(None);
    }
    let choice = |key: &str, choices: [&str; 3]| {
        let value = pairs.get(key).copied().unwrap_or(choices[0]);
        if choices.contains(&value) {
            Ok(value.to_owned())
        } else {
            Err(props::wrong(
                key,
                value,
                format!("expected {}", choices.join(", ")),
            ))
        }
    };
    let nics = attributes["nics"].as_array().into_iter().flatten();
    Ok(Some(Bond {
        nics: nics.filter_map(Value::as_str).map(str::to_owned).collect(),
        mode: choice("ovs_mode", MODES)?,
        lacp: choice("ovs_lacp", LACP)?,
    }))
}

fn is_yes(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::String(text) => is_yes_text(text),
        _ => false,
    }
}

fn is_yes_text(text: &str) -> bool {
    props::is_true(text) || ["Yes", "yes", "on"].contains(&text)
}

fn is_no_text(text: &str) -> bool {
    ["false", "False", "0", "No", "no", "off", ""].contains(&text)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A device of the host, by its name in the kernel.
pub(crate) fn has_nic(name: &str) -> bool {
    networks::is_interface(name) && network_device(name).exists()
}
