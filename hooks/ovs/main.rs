// SPDX-License-Identifier: GPL-2.0-or-later

//! Plugs vNICs into Open vSwitch bridges of the host. What whole networks need is the helper's, which
//! runs only where there are such networks, or a request may be about one.
//!
//! Events: `before_vm_start`, `before_device_create`, `before_nic_hotplug`, `before_update_device`; the
//! others go to the helper. At a start VDSM fires `before_device_create` for the vNICs only that have
//! custom properties.
//!
//! Property: `ovs` of a network, which VDSM keeps in its running configuration. A vNIC on any other
//! bridge of Open vSwitch gets its port as well. Networks whose switch type is OVS are VDSM's own
//! business.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use vdsm_hooks::host::bridge::Bridges;
use vdsm_hooks::host::command;
use vdsm_hooks::libvirt::interface;
use vdsm_hooks::libvirt::unfiltered::Unfiltered;
use vdsm_hooks::vdsm::networks;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Context, Error, Result, helper, hook, program};

#[expect(dead_code, reason = "the helper needs all of it")]
mod network;

use network::Network;

/// The bridge on which untagged networks are.
const BRIDGE: &str = "ovsbr0";
const PORT: &str = "openvswitch";
const UNFILTERED: Unfiltered = Unfiltered {
    port: "Open vSwitch port",
    instead: "plug the NIC into a network without the property ovs",
};
const SETUP: &str = helper!("ovs-setup");

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    match hook::event()?.as_str() {
        event @ ("before_network_setup" | "after_network_setup" | "after_network_setup_fail") => {
            if is_asked()? {
                Err(become_setup(event))
            } else {
                Ok(())
            }
        }
        event @ ("after_get_caps" | "after_get_stats") => {
            match Network::all().map_err(Error::keep_going)?[..] {
                [] => Ok(()),
                [..] => Err(become_setup(event)),
            }
        }
        "before_vm_start" => hook::edit(plug_all),
        _ => hook::edit(plug_one),
    }
}

/// Whether a request may be about Open vSwitch, or a set-up was cut off. Nearly none is.
fn is_asked() -> Result<bool> {
    let mut is_asked = Path::new(network::CUT_OFF).exists();
    hook::read_json(|document| {
        is_asked |= networks::mentions(document, "ovs")?;
        Ok(())
    })?;
    Ok(is_asked)
}

/// Goes on as the program for whole networks. Returns only what prevents that.
fn become_setup(event: &str) -> Error {
    match command::find(SETUP) {
        Ok(setup) => {
            let error = Command::new(&setup).arg(event).exec();
            Error::new(format!("{}: {error}", setup.display()))
        }
        Err(error) => error,
    }
}

fn plug_all(document: &Document<'_>, edits: &mut Edits<'_>) -> Result {
    let mut bridges = Bridges::default();
    for interface in interface::all(document)? {
        plug(interface, edits, &mut bridges)?;
    }
    Ok(())
}

fn plug_one(document: &Document<'_>, edits: &mut Edits<'_>) -> Result {
    match interface::all(document)?[..] {
        [] => Ok(()),
        [interface] => plug(interface, edits, &mut Bridges::default()),
        [..] => Err(Error::new("expected one interface")),
    }
}

fn plug(interface: Node<'_, '_>, edits: &mut Edits<'_>, bridges: &mut Bridges) -> Result {
    let source = xml::child(interface, "source").filter(|_| interface::kind(interface) == "bridge");
    let Some((source, bridge)) = source.and_then(|node| Some((node, xml::attr(node, "bridge")?)))
    else {
        return Ok(());
    };
    let ports: Vec<_> = xml::children(interface, "virtualport").collect();
    if ports
        .iter()
        .any(|port| xml::attr(*port, "type") != Some(PORT))
    {
        return Ok(());
    }
    let filters: Vec<_> = xml::children(interface, "filterref").collect();
    let new = match Network::find(bridge)? {
        Some(network) if !network.is_ovs => return Ok(()),
        Some(network) if network.vlan.is_none() => BRIDGE,
        Some(_) => bridge,
        // Not worth a question.
        None if !ports.is_empty() && filters.is_empty() => return Ok(()),
        None if bridges.is_ovs(bridge)? => bridge,
        None => return Ok(()),
    };
    edits.set_attr(source, "bridge", new);
    let label = interface::label(interface);
    let is_stripped = UNFILTERED.strip(interface, edits).context(format!(
        "{label} is on {bridge:?}, a bridge of Open vSwitch"
    ))?;
    if is_stripped {
        log::warn!(
            "{label}: libvirt refuses network filters on Open vSwitch: without {}",
            interface::VDSM_FILTER
        );
    }
    if ports.is_empty() {
        edits.append(interface, &Element::new("virtualport").attr("type", PORT));
    }
    Ok(())
}
