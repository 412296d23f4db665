// SPDX-License-Identifier: GPL-2.0-or-later

//! Binds single vNICs, chosen by MAC address, to other bridges of the host, Linux or Open vSwitch.
//!
//! Event: `before_vm_start`.
//!
//! Property: `macbind`, a dictionary of MAC address to bridge. Absent or empty: nothing happens.
//!
//! A bridge that is no Linux bridge is looked for with `ovs-vsctl list-br`, as root: only Open
//! vSwitch itself knows its bridges, whatever datapath they use.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use vdsm_hooks::props::{Literal, Mac};
use vdsm_hooks::xml::{self, Document, Edits, El, Node};
use vdsm_hooks::{Context, Error, Result, cmd, hook, program, props};

const PROPERTY: &str = "macbind";
const EXAMPLE: &str = "{'00:1a:4a:aa:bb:01': 'br0'}";
const NET_DEVICES: &str = "/sys/class/net";
/// A little more than the limit that ovs-vsctl gets itself.
const PATIENCE: Duration = Duration::from_secs(7);

struct Binding {
    mac: Mac,
    bridge: String,
    is_ovs: bool,
}

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(literal) = props::literal(PROPERTY, EXAMPLE)? else {
        return Ok(());
    };
    let mut bindings = parse(&literal)?;
    if bindings.is_empty() {
        return Ok(());
    }
    tell_kinds(&mut bindings)?;
    hook::edit(|document, edits| bind(document, edits, &bindings))
}

fn bind(document: &Document<'_>, edits: &mut Edits<'_>, bindings: &[Binding]) -> Result {
    let interfaces = xml::devices(document, "interface");
    for binding in bindings {
        let has_mac = |interface: &&Node<'_, '_>| {
            let mac = xml::child(**interface, "mac").and_then(|mac| xml::attr(mac, "address"));
            mac.and_then(Mac::parse) == Some(binding.mac)
        };
        let mut found = interfaces.iter().filter(has_mac).peekable();
        if found.peek().is_none() {
            log::warn!(
                "{PROPERTY}: the VM has no vNIC with the MAC address {}",
                binding.mac
            );
        }
        for interface in found {
            bind_one(*interface, edits, binding).context(format!("{PROPERTY}: {}", binding.mac))?;
        }
    }
    Ok(())
}

fn bind_one(interface: Node<'_, '_>, edits: &mut Edits<'_>, binding: &Binding) -> Result {
    match xml::attr(interface, "type").unwrap_or_default() {
        "bridge" => {}
        "network" => edits.set_attr(interface, "type", "bridge"),
        kind => {
            return Err(Error::new(format!(
                "a vNIC of type {kind:?} cannot be bound to a bridge"
            )));
        }
    }
    let port = xml::child(interface, "port").and_then(|port| xml::attr(port, "isolated"));
    if binding.is_ovs && port == Some("yes") {
        return Err(Error::new(format!(
            "the vNIC's port is isolated, which libvirt refuses on an Open vSwitch bridge such as {:?}",
            binding.bridge
        )));
    }
    let bound = |source: &Node<'_, '_>| {
        source.attributes().len() == 1 && xml::attr(*source, "bridge") == Some(&binding.bridge)
    };
    if !xml::child(interface, "source").as_ref().is_some_and(bound) {
        for source in xml::children(interface, "source") {
            edits.remove(source);
        }
        edits.append(
            interface,
            &El::new("source").attr("bridge", &binding.bridge),
        );
    }
    let is_ovs_port = |port: &Node<'_, '_>| xml::attr(*port, "type") == Some("openvswitch");
    // libvirt keeps one <virtualport>, and refuses that of another kind of bridge.
    let mut has_ovs_port = false;
    for port in xml::children(interface, "virtualport") {
        if binding.is_ovs && is_ovs_port(&port) && !has_ovs_port {
            has_ovs_port = true;
        } else if binding.is_ovs || is_ovs_port(&port) {
            edits.remove(port);
        }
    }
    if binding.is_ovs && !has_ovs_port {
        edits.append(
            interface,
            &El::new("virtualport").attr("type", "openvswitch"),
        );
    }
    Ok(())
}

fn parse(literal: &Literal) -> Result<Vec<Binding>> {
    let form = || {
        Error::new(format!(
            "{PROPERTY}: expected a dictionary of MAC address to bridge, as in {EXAMPLE}"
        ))
    };
    let mut bindings: Vec<Binding> = Vec::new();
    for (key, value) in literal.as_dict().ok_or_else(form)? {
        let (Some(key), Some(bridge)) = (key.as_text(), value.as_text()) else {
            return Err(form());
        };
        let Some(mac) = Mac::parse(key) else {
            return Err(props::wrong(
                PROPERTY,
                key,
                format!("not a MAC address, expected a key as in {EXAMPLE}"),
            ));
        };
        if !is_device_name(bridge) {
            return Err(props::wrong(
                PROPERTY,
                bridge,
                "not the name of a bridge: expected 1 to 15 bytes without '/' and white space",
            ));
        }
        // One address in two spellings is one key: the last counts.
        bindings.retain(|binding| binding.mac != mac);
        bindings.push(Binding {
            mac,
            bridge: bridge.to_owned(),
            is_ovs: false,
        });
    }
    Ok(bindings)
}

/// What the kernel takes for the name of a network device.
fn is_device_name(name: &str) -> bool {
    let fits = |c: char| c != '/' && !c.is_whitespace() && !c.is_control();
    (1..=15).contains(&name.len()) && !matches!(name, "." | "..") && name.chars().all(fits)
}

/// Finds out which bridges are Open vSwitch's; every one must be a bridge of one kind.
fn tell_kinds(bindings: &mut [Binding]) -> Result {
    let mut ovs_bridges: Option<Result<Vec<String>>> = None;
    for binding in bindings {
        let device = Path::new(NET_DEVICES).join(&binding.bridge);
        if device.join("bridge").exists() {
            continue;
        }
        let refused = |problem: String| props::wrong(PROPERTY, &binding.bridge, problem);
        if !device.exists() {
            return Err(refused("there is no such bridge on this host".to_owned()));
        }
        match ovs_bridges.get_or_insert_with(list_ovs_bridges) {
            Ok(bridges) if bridges.contains(&binding.bridge) => binding.is_ovs = true,
            Ok(_) => {
                let kind = kind(&device);
                return Err(refused(format!(
                    "{kind}, expected a Linux or Open vSwitch bridge"
                )));
            }
            Err(error) => {
                let kind = kind(&device);
                return Err(refused(format!(
                    "{kind}, and not known to Open vSwitch: {error}"
                )));
            }
        }
    }
    Ok(())
}

fn list_ovs_bridges() -> Result<Vec<String>> {
    let output = cmd::run_as_root("ovs-vsctl", &["--timeout=5", "list-br"], PATIENCE)?.success()?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// What a network device is, if it is no Linux bridge, for the error.
fn kind(device: &Path) -> &'static str {
    if device.join("bonding").exists() {
        "this is a bond"
    } else if device.join("device").exists() {
        "this is a network card"
    } else {
        "this is a virtual device"
    }
}
