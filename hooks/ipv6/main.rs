// SPDX-License-Identifier: GPL-2.0-or-later

//! Sets the IPv6 configuration of a host's networks from custom properties of the networks.
//!
//! Event: `before_network_setup`, as root.
//!
//! Properties, of a network and inside the request: `ipv6addr`, `ipv6gateway`, `ipv6autoconf`,
//! `dhcpv6`. Absent: nothing happens.
//!
//! VDSM has checked and unified the request before, and does not again what a hook makes of it. So
//! the values are set in VDSM's own form. During a rollback, when VDSM goes back to what it had,
//! nothing is set and nothing refused.

use std::net::Ipv6Addr;
use std::process::ExitCode;

use serde_json::{Value, json};
use vdsm_hooks::json::{Edits, Node, Object};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const ADDRESS: &str = "ipv6addr";
const GATEWAY: &str = "ipv6gateway";
const AUTOCONF: &str = "ipv6autoconf";
const DHCP: &str = "dhcpv6";
/// In the order in which they are set.
const PROPERTIES: [&str; 4] = [ADDRESS, GATEWAY, AUTOCONF, DHCP];

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    hook::edit_json(|document, edits| {
        let request = document.object().and_then(|whole| whole.get("request"));
        let request = request.and_then(Node::object);
        let request = request.ok_or_else(|| hook::unexpected_json("an object 'request'"))?;
        let options = request.get("options").and_then(Node::object);
        if options.is_some_and(|options| options.get("_inRollback").is_some_and(is_on)) {
            return Ok(());
        }
        let networks = request.get("networks").and_then(Node::object);
        let networks =
            networks.ok_or_else(|| hook::unexpected_json("an object 'request.networks'"))?;
        for (name, network) in networks.members() {
            set_up(name, network, edits).context(format!("network {}", props::quoted(name)))?;
        }
        Ok(())
    })
}

fn set_up<'a>(name: &str, network: Node<'a>, edits: &mut Edits<'a>) -> Result {
    let network = network
        .object()
        .ok_or_else(|| hook::unexpected_json("an object"))?;
    let custom = match network.get("custom") {
        Some(custom) if custom.source() != "null" => custom,
        _ => return Ok(()),
    };
    if network.get("remove").is_some_and(is_on) {
        return Ok(());
    }
    let custom = custom.object();
    let custom = custom.ok_or_else(|| hook::unexpected_json("'custom' to be an object"))?;
    // What the network is going to have; null is nothing.
    let mut values = PROPERTIES.map(|property| network.get(property).and_then(Node::value));
    let mut is_asked = false;
    for (property, value) in PROPERTIES.iter().zip(&mut values) {
        let wanted = custom.get(property);
        if let Some(wanted) = wanted.filter(|wanted| wanted.source() != "null") {
            let text = wanted.text();
            let new = parse(property, &text)?;
            // What VDSM makes of an address alone.
            if *property == ADDRESS && is_true(&new) && !text.contains('/') {
                log::warn!(
                    "network {name:?}: {ADDRESS}={text:?} has no prefix length, taken for {new}"
                );
            }
            warn_of_clash(name, property, value.as_ref(), &new);
            set(&network, edits, property, &new)?;
            *value = Some(new);
            is_asked = true;
        }
    }
    if is_asked {
        check(name, &values)
    } else {
        Ok(())
    }
}

/// VDSM's form of a value (VDSM 4.50 lib/vdsm/network/canonicalize.py: `_canonicalize_ipv6`); null if the
/// attribute is to go.
fn parse(property: &str, text: &str) -> Result<Value> {
    let wrong = |expected: &str| props::wrong(property, text, format!("expected {expected}"));
    match property {
        AUTOCONF | DHCP => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(json!(true)),
            "false" | "0" => Ok(json!(false)),
            _ => Err(wrong("true, false, 1 or 0")),
        },
        _ if text.trim().is_empty() => Ok(Value::Null),
        GATEWAY => match host_address(text) {
            Some(address) => Ok(json!(address.to_string())),
            None => Err(wrong("the IPv6 address of a host, such as 2001:db8::1")),
        },
        _ => match address_and_prefix(text) {
            Some(unified) => Ok(json!(unified)),
            None => Err(wrong(
                "the IPv6 address of a host and a prefix length from 0 to 128, such as 2001:db8::5/64",
            )),
        },
    }
}

fn host_address(text: &str) -> Option<Ipv6Addr> {
    let address: Ipv6Addr = text.trim().parse().ok()?;
    (!address.is_multicast() && !address.is_unspecified()).then_some(address)
}

fn address_and_prefix(text: &str) -> Option<String> {
    let (address, prefix) = match text.trim().split_once('/') {
        Some((address, prefix)) => (address, prefix),
        None => (text, "128"),
    };
    let is_number = prefix.bytes().all(|byte| byte.is_ascii_digit());
    let prefix: u8 = prefix.parse().ok().filter(|_| is_number)?;
    (prefix <= 128).then_some(format!("{}/{prefix}", host_address(address)?))
}

fn set<'a>(network: &Object<'a>, edits: &mut Edits<'a>, property: &str, value: &Value) -> Result {
    match value {
        Value::Null => edits.remove(network, property),
        _ => edits.set(network, property, value)?,
    }
    Ok(())
}

/// The property wins over the network's own attribute, which a newer engine sends.
fn warn_of_clash(network: &str, property: &str, old: Option<&Value>, new: &Value) {
    if let Some(old) = old.filter(|old| is_true(old) && *old != new) {
        log::warn!(
            "network {network:?}: the property {property} wins over the network's own {old}"
        );
    }
}

/// What the network has in the end must go together.
fn check(network: &str, values: &[Option<Value>; 4]) -> Result {
    let [address, gateway, autoconf, dhcp] = values
        .each_ref()
        .map(|value| value.as_ref().is_some_and(is_true));
    if gateway && !address && !autoconf && !dhcp {
        return Err(Error::new(format!(
            "{GATEWAY}: a gateway without an address, expected one of {ADDRESS}, {AUTOCONF} and {DHCP} beside it"
        )));
    }
    if address && (autoconf || dhcp) {
        log::warn!(
            "network {network:?}: {ADDRESS} counts, {AUTOCONF} and {DHCP} have no effect beside it"
        );
    }
    Ok(())
}

fn is_on(node: Node<'_>) -> bool {
    node.value().as_ref().is_some_and(is_true)
}

/// Whether VDSM takes it for true, as Python does.
fn is_true(value: &Value) -> bool {
    ![json!(null), json!(false), json!(0), json!("")].contains(value)
}
