// SPDX-License-Identifier: GPL-2.0-or-later

//! Binds single vNICs, chosen by MAC address, to other bridges of the host, Linux or Open vSwitch.
//!
//! Event: `before_vm_start`.
//!
//! Property: `macbind`, a dictionary of MAC address to bridge. Absent or empty: nothing happens.
//!
//! A bridge that is no Linux bridge is looked for with `ovs-vsctl list-br`, as root: only Open
//! vSwitch itself knows its bridges, whatever datapath they use.

use std::process::ExitCode;

use vdsm_hooks::host::bridge::{self, BridgeKind, Bridges};
use vdsm_hooks::libvirt::interface;
use vdsm_hooks::libvirt::unfiltered::Unfiltered;
use vdsm_hooks::props::{Literal, Mac};
use vdsm_hooks::vdsm::network_choice::Choices;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "macbind";
const EXAMPLE: &str = "{'00:1a:4a:aa:bb:01': 'br0'}";
const NO_FLOOR: &str = "the vNIC's bandwidth has a floor, which libvirt refuses on a bridge";
const UNFILTERED: Unfiltered = Unfiltered {
    port: "Open vSwitch port",
    instead: "bind the NIC to a bridge of Linux",
};

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
    let value = props::text(PROPERTY)?.unwrap_or_default();
    let mut bindings = parse(&value, &literal)?;
    if bindings.is_empty() {
        return Ok(());
    }
    tell_kinds(&mut bindings)?;
    hook::edit(|document, edits| bind(document, edits, &bindings))
}

fn bind(document: &Document<'_>, edits: &mut Edits<'_>, bindings: &[Binding]) -> Result {
    let choices = Choices::beside(PROPERTY)?;
    let nics = interface::with_macs(document);
    for binding in bindings {
        let mut found = nics
            .iter()
            .filter(|(mac, _)| *mac == binding.mac)
            .peekable();
        if found.peek().is_none() {
            log::warn!(
                "{PROPERTY}: the VM has no vNIC with the MAC address {}",
                binding.mac
            );
        }
        for (mac, interface) in found {
            bind_one(*interface, edits, binding, &choices).context(format!("{PROPERTY}: {mac}"))?;
        }
    }
    Ok(())
}

fn bind_one(
    interface: Node<'_, '_>,
    edits: &mut Edits<'_>,
    binding: &Binding,
    choices: &Choices,
) -> Result {
    match interface::kind(interface) {
        "bridge" => {}
        "network" if interface::has_floor(interface) => return Err(Error::new(NO_FLOOR)),
        "network" => edits.set_attr(interface, "type", "bridge"),
        kind => {
            return Err(Error::new(format!(
                "a vNIC of type {kind:?} cannot be bound to a bridge"
            )));
        }
    }
    choices.check_none_for(interface)?;
    if binding.is_ovs {
        UNFILTERED.check_properties()?;
    }
    if binding.is_ovs && interface::is_isolated(interface) {
        return Err(Error::new(format!(
            "the vNIC's port is isolated, which libvirt refuses on an Open vSwitch bridge such as {:?}",
            binding.bridge
        )));
    }
    if binding.is_ovs && xml::child(interface, "filterref").is_some() {
        log::warn!(
            "{PROPERTY}: {}: the vNIC has a network filter, which libvirt refuses on an Open vSwitch bridge such as {:?}; macspoof takes VDSM's own away",
            binding.mac,
            binding.bridge
        );
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
            &Element::new("source").attr("bridge", &binding.bridge),
        );
    }
    let is_ovs_port = |port: &Node<'_, '_>| xml::attr(*port, "type") == Some("openvswitch");
    // libvirt keeps one <virtualport> (libvirt 9.0 src/conf/domain_conf.c: virDomainNetDefParseXML), and
    // refuses that of another kind of bridge.
    let mut has_ovs_port = false;
    for port in xml::children(interface, "virtualport") {
        if binding.is_ovs && is_ovs_port(&port) && !has_ovs_port {
            has_ovs_port = true;
        } else if binding.is_ovs || is_ovs_port(&port) {
            edits.remove(port);
        }
    }
    if !binding.is_ovs
        && xml::children(interface, "virtualport").any(|port| is_ovs_port(&port))
        && xml::child(interface, "filterref").is_none()
    {
        log::warn!(
            "{PROPERTY}: {}: the vNIC comes from Open vSwitch and has no network filter, so on {:?} nothing keeps the VM from using other addresses",
            binding.mac,
            binding.bridge
        );
    }
    if binding.is_ovs && !has_ovs_port {
        edits.append(
            interface,
            &Element::new("virtualport").attr("type", "openvswitch"),
        );
    }
    Ok(())
}

fn parse(value: &str, literal: &Literal) -> Result<Vec<Binding>> {
    let form = || {
        let problem = format!("expected a dictionary of MAC address to bridge, as in {EXAMPLE}");
        props::wrong(PROPERTY, value, problem)
    };
    let mut bindings: Vec<Binding> = Vec::new();
    for (key, name) in literal.as_dict().ok_or_else(form)? {
        let (Some(key), Some(name)) = (key.as_text(), name.as_text()) else {
            return Err(form());
        };
        let Some(mac) = Mac::parse(key) else {
            let problem = format!("not a MAC address, expected a key as in {EXAMPLE}");
            return Err(props::wrong(PROPERTY, key, problem));
        };
        if !bridge::is_name(name) {
            return Err(props::wrong(
                PROPERTY,
                name,
                "not the name of a bridge: expected 1 to 15 bytes without '/' and white space",
            ));
        }
        // One address in two spellings is one key: the last counts.
        bindings.retain(|binding| binding.mac != mac);
        bindings.push(Binding {
            mac,
            bridge: name.to_owned(),
            is_ovs: false,
        });
    }
    Ok(bindings)
}

/// Finds out which bridges are Open vSwitch's; every one must be a bridge of one kind.
fn tell_kinds(bindings: &mut [Binding]) -> Result {
    let mut bridges = Bridges::default();
    for binding in bindings {
        let kind = bridges.kind(&binding.bridge);
        let kind = kind.map_err(|error| props::wrong(PROPERTY, &binding.bridge, error))?;
        binding.is_ovs = kind == BridgeKind::OpenVSwitch;
    }
    Ok(())
}
