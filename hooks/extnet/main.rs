// SPDX-License-Identifier: GPL-2.0-or-later

//! Plugs a vNIC into a libvirt network of the host instead of its oVirt bridge.
//!
//! Events: `before_device_create`, `before_nic_hotplug`.
//!
//! Property: `extnet`, the name of the libvirt network. Absent: nothing happens.
//!
//! Whether the network exists and is active is not checked; libvirt says so at the start.

use std::process::ExitCode;

use vdsm_hooks::libvirt::interface;
use vdsm_hooks::vdsm::network_choice;
use vdsm_hooks::xml::{self, Document, Edits};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "extnet";

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(network) = props::text(PROPERTY)? else {
        return Ok(());
    };
    hook::edit(|document, edits| plug_into(document, edits, &network))
}

fn plug_into(document: &Document<'_>, edits: &mut Edits<'_>, network: &str) -> Result {
    let interface = document.root_element();
    if !xml::is(interface, "interface") {
        return Ok(());
    }
    let breaks = |c: char| c == '/' || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if network.is_empty() || network.contains(breaks) {
        return Err(props::wrong(
            PROPERTY,
            network,
            "not the name of a libvirt network: expected one or more characters, none of them '/' or a control character",
        ));
    }
    let kind = xml::attr(interface, "type").unwrap_or_default();
    if !["bridge", "network"].contains(&kind) {
        return Err(Error::new(format!(
            "{PROPERTY}: a vNIC of type {kind:?} cannot be moved to a libvirt network, expected bridge or network"
        )));
    }
    network_choice::check_alone(PROPERTY, interface)
        .context(interface::label(interface))
        .map_err(|error| props::wrong(PROPERTY, network, error))?;
    let sources: Vec<_> = xml::children(interface, "source").collect();
    let [source] = sources[..] else {
        return Err(Error::new(format!(
            "{PROPERTY}: the vNIC has {} <source> elements, expected one",
            sources.len()
        )));
    };
    if kind == "bridge" && xml::attr(source, "bridge").is_none() {
        return Err(Error::new(format!(
            "{PROPERTY}: the vNIC's <source> names no bridge that could be replaced"
        )));
    }
    if interface::is_isolated(interface) {
        log::warn!(
            "{PROPERTY}={network:?}: the vNIC's port is isolated, which libvirt refuses on an Open vSwitch network"
        );
    }
    edits.set_attr(interface, "type", "network");
    edits.remove_attr(source, "bridge");
    edits.set_attr(source, "network", network);
    Ok(())
}
