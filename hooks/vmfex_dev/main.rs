// SPDX-License-Identifier: GPL-2.0-or-later

//! Connects a vNIC to a port profile of a Cisco VM-FEX adapter, over a libvirt network that hands
//! out the adapter's interfaces.
//!
//! Events: `before_device_create`, `before_nic_hotplug`; `before_device_migrate_destination`, where
//! only the network is seen to.
//!
//! Property, of the vNIC: `vmfex`, the name of the profile. Absent: nothing happens.

use std::process::ExitCode;

use vdsm_hooks::libvirt::unfiltered::Unfiltered;
use vdsm_hooks::libvirt::{interface, vmfex_pool};
use vdsm_hooks::vdsm::network_choice;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "vmfex";
/// libvirt's limit, in bytes (libvirt 9.0 src/util/virnetdevvportprofile.h:
/// `LIBVIRT_IFLA_VF_PORT_PROFILE_MAX`, with the closing NUL).
const MAX_PROFILE_BYTES: usize = 39;
const PORT: &str = "802.1Qbh";
const UNFILTERED: Unfiltered = Unfiltered {
    port: "VM-FEX port",
    instead: "use a vNIC profile without vmfex",
};
const HELPER: &str = "vmfex-dev-pool";

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(profile) = props::text(PROPERTY)? else {
        return Ok(());
    };
    if hook::event()? == "before_device_migrate_destination" {
        return hook::read(|document| {
            if is_nic(document) {
                check(&profile).and_then(|()| vmfex_pool::ensure(HELPER))
            } else {
                Ok(())
            }
        });
    }
    hook::edit(|document, edits| {
        if is_nic(document) {
            check(&profile)?;
            connect(document.root_element(), edits, &profile)?;
            // Only for a vNIC that can be connected.
            vmfex_pool::ensure(HELPER)?;
        }
        Ok(())
    })
}

/// Devices of other kinds see the properties of their VM, too.
fn is_nic(document: &Document<'_>) -> bool {
    xml::is(document.root_element(), "interface")
}

fn check(profile: &str) -> Result {
    let fine = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    if (1..=MAX_PROFILE_BYTES).contains(&profile.len()) && profile.chars().all(fine) {
        return Ok(());
    }
    // VDSM hands over the VM's properties in place of the vNIC's of the same name (VDSM 4.50
    // lib/vdsm/common/hooks.py: env_update).
    if profile.trim_start().starts_with('{') {
        let problem = "the VM's own vmfex, a dictionary for all of its NICs, hides that of the vNIC \
                       profile: set one of them";
        return Err(props::wrong(PROPERTY, profile, problem));
    }
    Err(props::wrong(
        PROPERTY,
        profile,
        format!(
            "expected the name of a port profile: 1 to {MAX_PROFILE_BYTES} letters, digits or any of _ . : -"
        ),
    ))
}

fn connect(interface: Node<'_, '_>, edits: &mut Edits<'_>, profile: &str) -> Result {
    let cannot = |why: &str| {
        let nic = interface::label(interface);
        Error::new(format!(
            "{PROPERTY}={profile:?}: {nic} cannot use VM-FEX: {why}, expected one on a bridge"
        ))
    };
    let kind = interface::kind(interface);
    if ["hostdev", "direct"].contains(&kind) {
        return Err(cannot(&format!("it is of type {kind}")));
    }
    let mut sources = xml::children(interface, "source");
    let (Some(source), None) = (sources.next(), sources.next()) else {
        return Err(cannot("it has no or several sources"));
    };
    let ports: Vec<_> = xml::children(interface, "virtualport").collect();
    if xml::attr(source, "bridge").is_some() {
        edits.set_attr(interface, "type", "network");
        edits.remove_attr(source, "bridge");
        edits.set_attr(source, "network", vmfex_pool::NETWORK);
        let parameters = Element::new("parameters").attr("profileid", profile);
        let port = Element::new("virtualport").attr("type", PORT);
        edits.append(interface, &port.child(parameters));
        for old in ports {
            edits.remove(old);
        }
    } else if !(xml::attr(source, "network") == Some(vmfex_pool::NETWORK)
        && ports.iter().any(|port| is_ours(*port, profile)))
    {
        return Err(cannot("it is on no bridge"));
    }
    network_choice::check_alone(PROPERTY, interface)
        .and_then(|()| UNFILTERED.strip(interface, edits))
        .context(interface::label(interface))
        .map_err(|error| props::wrong(PROPERTY, profile, error))?;
    // libvirt refuses isolation beside the port (libvirt 9.0 src/conf/domain_validate.c:
    // virDomainNetDefValidatePortOptions), and takes VLAN tags from the profile.
    for name in ["vlan", "port"] {
        for old in xml::children(interface, name) {
            edits.remove(old);
        }
    }
    Ok(())
}

/// A second run meets its own work.
fn is_ours(port: Node<'_, '_>, profile: &str) -> bool {
    let named = |parameters| xml::attr(parameters, "profileid") == Some(profile);
    xml::attr(port, "type") == Some(PORT) && xml::child(port, "parameters").is_some_and(named)
}
