// SPDX-License-Identifier: GPL-2.0-or-later

//! Connects chosen NICs of a VM to port profiles of a Cisco VM-FEX adapter, over a libvirt network
//! that hands out the adapter's interfaces.
//!
//! Events: `before_vm_start`; `before_vm_migrate_destination`, where only the network is seen to.
//!
//! Property: `vmfex`, a dictionary of MAC address to port profile. Absent or empty: nothing happens.
//! Nor with a value that is no dictionary: the hook for single vNICs has a property of this name.

use std::process::ExitCode;

use vdsm_hooks::libvirt::{domain, interface, unfiltered, vmfex_pool};
use vdsm_hooks::props::{Literal, Mac};
use vdsm_hooks::vdsm::network_choice::Choices;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "vmfex";
const EXAMPLE: &str = "{'00:1a:4a:aa:bb:01': 'gold'}";
/// libvirt's limit, in bytes (libvirt 9.0 src/util/virnetdevvportprofile.h:
/// `LIBVIRT_IFLA_VF_PORT_PROFILE_MAX`, with the closing NUL).
const MAX_PROFILE_BYTES: usize = 39;
const PORT: &str = "802.1Qbh";
const UNFILTERED: unfiltered::Unfiltered = unfiltered::Unfiltered {
    port: "VM-FEX port",
    instead: "leave the NIC out of vmfex",
};

struct Entry {
    mac: Mac,
    profile: String,
}

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let is_ours = |value: &String| value.trim_start().starts_with('{');
    let Some(value) = props::given(PROPERTY)?.filter(is_ours) else {
        return Ok(());
    };
    let entries = parse(&value)?;
    if entries.is_empty() {
        return Ok(());
    }
    if hook::event()? == "before_vm_migrate_destination" {
        return hook::read(|document| make_ready_for(&chosen(document, &entries)?));
    }
    hook::edit(|document, edits| {
        let chosen = chosen(document, &entries)?;
        let choices = Choices::beside(PROPERTY)?;
        for (interface, entry) in &chosen {
            check(*interface, &entry.profile)
                .and_then(|()| choices.check_none_for(*interface))
                .and_then(|()| connect(*interface, edits, &entry.profile))
                .context(interface::label(*interface))
                .map_err(|error| props::wrong(PROPERTY, &value, error))?;
        }
        make_ready_for(&chosen)
    })
}

/// Sees to the pool if any NIC is to use it.
fn make_ready_for(chosen: &[(Node<'_, '_>, &Entry)]) -> Result {
    match chosen {
        [] => Ok(()),
        [..] => vmfex_pool::ensure("vmfex-pool"),
    }
}

/// The NICs that are listed.
fn chosen<'a, 'i, 'e>(
    document: &'a Document<'i>,
    entries: &'e [Entry],
) -> Result<Vec<(Node<'a, 'i>, &'e Entry)>> {
    domain::root(document)?;
    let nics = interface::with_macs(document);
    let mut chosen = Vec::new();
    for entry in entries {
        let before = chosen.len();
        let found = nics.iter().filter(|(mac, _)| *mac == entry.mac);
        chosen.extend(found.map(|(_, nic)| (*nic, entry)));
        if chosen.len() == before {
            log::warn!("the VM has no NIC with the MAC address {}", entry.mac);
        }
    }
    Ok(chosen)
}

/// Whether the NIC is one that can be given the profile.
fn check(interface: Node<'_, '_>, profile: &str) -> Result {
    let kind = interface::kind(interface);
    if !["bridge", "network"].contains(&kind) {
        return Err(Error::new(format!(
            "a NIC of type {kind:?} cannot use VM-FEX, expected bridge or network"
        )));
    }
    let ports = xml::children(interface, "virtualport");
    let parameters = ports.flat_map(|port| xml::children(port, "parameters"));
    let mut profiles = parameters.filter_map(|parameters| xml::attr(parameters, "profileid"));
    let in_pool = |source| xml::attr(source, "network") == Some(vmfex_pool::NETWORK);
    match profiles.find(|other| *other != profile) {
        // The hook for single vNICs has been here before.
        Some(other) if xml::children(interface, "source").any(in_pool) => Err(Error::new(format!(
            "its vNIC profile has connected it to the port profile {}: give one profile only, here or there",
            props::quoted(other)
        ))),
        _ => Ok(()),
    }
}

fn connect(interface: Node<'_, '_>, edits: &mut Edits<'_>, profile: &str) -> Result {
    UNFILTERED.strip(interface, edits)?;
    edits.set_attr(interface, "type", "network");
    // libvirt refuses isolation here (libvirt 9.0 src/conf/domain_validate.c:
    // virDomainNetDefValidatePortOptions), and takes VLAN tags from the profile.
    for gone in ["vlan", "port"] {
        for element in xml::children(interface, gone) {
            edits.remove(element);
        }
    }
    let bandwidths = xml::children(interface, "bandwidth");
    for empty in bandwidths.filter(|one| !one.has_children()) {
        edits.remove(empty);
    }
    // A second run meets its own work.
    if !is_connected(interface, profile) {
        place(interface, edits, profile);
    }
    Ok(())
}

/// Puts `<source>` and `<virtualport>` in, one behind the other.
fn place(interface: Node<'_, '_>, edits: &mut Edits<'_>, profile: &str) {
    let source = Element::new("source").attr("network", vmfex_pool::NETWORK);
    let parameters = Element::new("parameters").attr("profileid", profile);
    let port = Element::new("virtualport").attr("type", PORT);
    let port = port.child(parameters);
    for old in xml::children(interface, "virtualport") {
        edits.remove(old);
    }
    let mut sources = xml::children(interface, "source");
    match (sources.next(), xml::child(interface, "mac")) {
        (Some(old), _) => {
            edits.replace(old, &source);
            edits.insert_after(old, &port);
        }
        (None, Some(mac)) => {
            edits.insert_after(mac, &source);
            edits.insert_after(mac, &port);
        }
        // It was found by its MAC address.
        (None, None) => {}
    }
    for second in sources {
        edits.remove(second);
    }
}

fn is_connected(interface: Node<'_, '_>, profile: &str) -> bool {
    let only = |name| {
        let mut found = xml::children(interface, name);
        found.next().filter(|_| found.next().is_none())
    };
    let (Some(source), Some(port)) = (only("source"), only("virtualport")) else {
        return false;
    };
    let is_profile = |parameters| xml::attr(parameters, "profileid") == Some(profile);
    source.attributes().len() == 1
        && xml::attr(source, "network") == Some(vmfex_pool::NETWORK)
        && xml::attr(port, "type") == Some(PORT)
        && xml::child(port, "parameters").is_some_and(is_profile)
}

fn parse(value: &str) -> Result<Vec<Entry>> {
    let wrong = |problem: String| props::wrong(PROPERTY, value, problem);
    let literal = Literal::parse(value).map_err(|error| wrong(format!("{error}, as in {EXAMPLE}")));
    let Literal::Dict(pairs) = literal? else {
        return Err(wrong(format!("expected a dictionary, as in {EXAMPLE}")));
    };
    let mut entries: Vec<Entry> = Vec::new();
    for (key, profile) in pairs {
        let (Some(key), Some(profile)) = (key.as_text(), profile.as_text()) else {
            return Err(wrong(format!(
                "expected MAC addresses and names of profiles, as in {EXAMPLE}"
            )));
        };
        let mac = Mac::parse(key);
        let mac = mac.ok_or_else(|| {
            wrong(format!(
                "{key:?} is no MAC address, expected a key as in {EXAMPLE}"
            ))
        })?;
        if !(1..=MAX_PROFILE_BYTES).contains(&profile.len()) {
            return Err(wrong(format!(
                "{mac}: expected the name of a port profile, 1 to {MAX_PROFILE_BYTES} characters"
            )));
        }
        xml::check_characters(profile).map_err(|error| wrong(format!("{mac}: {error}")))?;
        if entries.iter().any(|entry| entry.mac == mac) {
            return Err(wrong(format!(
                "{mac} is there twice, expected one profile for each NIC"
            )));
        }
        entries.push(Entry {
            mac,
            profile: profile.to_owned(),
        });
    }
    Ok(entries)
}
