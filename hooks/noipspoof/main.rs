// SPDX-License-Identifier: GPL-2.0-or-later

//! Turns VDSM's filter against other MAC addresses into one that also keeps a VM to its own
//! IPv4 addresses.
//!
//! Events: `before_vm_start`, `before_device_create`, `before_nic_hotplug`,
//! `before_update_device`.
//!
//! Property: `noipspoof`, a comma list of IPv4 addresses. Absent: nothing happens. Blank or
//! wrong: an error, because what protects a network must not fail open.
//!
//! NICs without filter, or with another one, are left alone, and each gets a line in the log.

use std::process::ExitCode;

use vdsm_hooks::libvirt::interface;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Result, hook, program, props};

const PROPERTY: &str = "noipspoof";
const EXAMPLE: &str = "192.0.2.9,192.0.2.10";
/// libvirt's own (src/nwfilter/xml/clean-traffic.xml): one MAC address, the IPv4 addresses of its
/// parameters, ARP, and nothing else.
const FILTER: &str = "clean-traffic";
const ADDRESS: &str = "IP";
/// More than one machine needs. Every NIC gets them all, and libvirt a rule of each.
const MAX_ADDRESSES: usize = 256;

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::text(PROPERTY)? else {
        return Ok(());
    };
    let addresses = parse(&value)?;
    // The one takes away what the other needs. Whichever hook ran first would decide.
    for other in ["macspoof", "ifacemacspoof"] {
        if props::flag(other)? == Some(true) {
            let problem = format!(
                "{other} is true as well, which takes the filter away that this needs: set one of them"
            );
            return Err(props::wrong(PROPERTY, &value, problem));
        }
    }
    hook::edit(|document, edits| tighten(document, edits, &value, &addresses))
}

/// The addresses as they are written, each once.
fn parse(value: &str) -> Result<Vec<&str>> {
    let mut addresses = Vec::new();
    for item in value.split(',') {
        if interface::unicast_ipv4(item).is_none() {
            let problem =
                format!("{item:?} is no machine's IPv4 address, expected a list such as {EXAMPLE}");
            return Err(props::wrong(PROPERTY, value, problem));
        }
        if addresses.contains(&item) {
            log::warn!("{PROPERTY}: {item} is there twice");
        } else {
            addresses.push(item);
        }
        if addresses.len() > MAX_ADDRESSES {
            let problem = format!("more than {MAX_ADDRESSES} addresses, expected those of one VM");
            return Err(props::wrong(PROPERTY, value, problem));
        }
    }
    Ok(addresses)
}

fn tighten(
    document: &Document<'_>,
    edits: &mut Edits<'_>,
    value: &str,
    addresses: &[&str],
) -> Result {
    // Made once, for however many NICs.
    let parameter = |address: &&str| {
        let parameter = Element::new("parameter").attr("name", ADDRESS);
        parameter.attr("value", address)
    };
    let parameters: Vec<Element> = addresses.iter().map(parameter).collect();
    for interface in interface::all(document)? {
        // libvirt 9.0 src/conf/domain_conf.c, virDomainNetDefParseXML: it takes the first of several.
        let filter = xml::child(interface, "filterref");
        let is_done = filter.is_some_and(|filter| is_done(filter, addresses));
        let name = filter.and_then(|filter| xml::attr(filter, "filter"));
        if !is_done && name != Some(interface::VDSM_FILTER) {
            log::warn!(
                "{PROPERTY}: {} has no {} filter, left alone",
                interface::label(interface),
                interface::VDSM_FILTER
            );
            continue;
        }
        if let Some(why) = interface::why_not_filterable(interface) {
            let problem = format!("{} cannot be filtered ({why})", interface::label(interface));
            return Err(props::wrong(PROPERTY, value, problem));
        }
        if is_done {
            continue;
        }
        for filterref in xml::children(interface, "filterref") {
            if xml::attr(filterref, "filter") == Some(interface::VDSM_FILTER) {
                replace(filterref, edits, &parameters);
            }
        }
    }
    Ok(())
}

/// Whether an earlier event has brought the NIC here with this filter.
fn is_done(filter: Node<'_, '_>, addresses: &[&str]) -> bool {
    let parameters = interface::filter_parameters(filter);
    let present = parameters.iter().filter(|(name, _)| *name == ADDRESS);
    xml::attr(filter, "filter") == Some(FILTER) && present.map(|(_, value)| value).eq(addresses)
}

fn replace(filter: Node<'_, '_>, edits: &mut Edits<'_>, parameters: &[Element]) {
    edits.set_attr(filter, "filter", FILTER);
    for parameter in xml::children(filter, "parameter") {
        if xml::attr(parameter, "name") == Some(ADDRESS) {
            edits.remove(parameter);
        }
    }
    for parameter in parameters {
        edits.append(filter, parameter);
    }
}
