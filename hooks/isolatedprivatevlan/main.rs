// SPDX-License-Identifier: GPL-2.0-or-later

//! Lets all NICs of a VM talk to one gateway only, and with an IP address from that address only.
//!
//! Events: `before_vm_start`, `before_nic_hotplug`, `before_device_create`,
//! `before_update_device`.
//!
//! Property: `isolatedprivatevlan=MAC[,IPV4]`, the gateway's and the VM's own. Absent: nothing
//! happens. Blank or wrong: an error, because what protects a network must not fail open.
//!
//! libvirt knows one filter per NIC and takes the first (libvirt 9.0 src/conf/domain_conf.c:
//! `virDomainNetDefParseXML`), so this one replaces whatever is there.

use std::process::ExitCode;

use vdsm_hooks::libvirt::interface;
use vdsm_hooks::props::Mac;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Result, hook, program, props};

const PROPERTY: &str = "isolatedprivatevlan";
const FORM: &str = "expected the gateway's MAC address, or that and the VM's IPv4 address, as in 52:54:00:aa:bb:cc,192.0.2.9";

/// What goes into `<filterref>`.
struct Filter {
    name: &'static str,
    parameters: Vec<(&'static str, String)>,
}

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::text(PROPERTY)? else {
        return Ok(());
    };
    let filter = parse(&value)?;
    // Both want the one filter of a NIC. Whichever hook ran last would decide.
    if props::text("noipspoof")?.is_some() {
        return Err(props::wrong(
            PROPERTY,
            &value,
            "noipspoof is set as well, and a NIC has one filter: set one of them, the VM's address can be given here as MAC,IPV4",
        ));
    }
    hook::edit(|document, edits| confine(document, edits, &value, &filter))
}

fn parse(value: &str) -> Result<Filter> {
    let (gateway, address) = match value.split_once(',') {
        Some((gateway, address)) => (gateway, Some(address)),
        None => (value, None),
    };
    let gateway = Mac::parse(gateway).ok_or_else(|| props::wrong(PROPERTY, value, FORM))?;
    if !gateway.is_unicast() {
        let problem = format!("{gateway} is no machine's MAC address, {FORM}");
        return Err(props::wrong(PROPERTY, value, problem));
    }
    let gateway = ("GATEWAY_MAC", gateway.to_string());
    let Some(address) = address else {
        return Ok(Filter {
            name: "isolatedprivatevlan-vdsm",
            parameters: vec![gateway],
        });
    };
    let Some(address) = interface::unicast_ipv4(address) else {
        let problem = format!("{address:?} is no machine's IPv4 address, {FORM}");
        return Err(props::wrong(PROPERTY, value, problem));
    };
    Ok(Filter {
        name: "clean-traffic-gateway",
        parameters: vec![gateway, ("IP", address.to_string())],
    })
}

fn confine(document: &Document<'_>, edits: &mut Edits<'_>, value: &str, filter: &Filter) -> Result {
    let interfaces = interface::all(document)?;
    if interfaces.is_empty() && xml::is(document.root_element(), "domain") {
        log::warn!("{PROPERTY}: the VM has no NIC to confine");
    }
    let has_address = filter.parameters.len() > 1;
    if has_address && interfaces.len() > 1 {
        let problem = format!(
            "an IP address needs a VM with exactly one NIC, this one has {}",
            interfaces.len()
        );
        return Err(props::wrong(PROPERTY, value, problem));
    }
    for interface in interfaces {
        if let Some(why) = interface::why_not_filterable(interface) {
            let problem = format!("{} cannot be filtered ({why})", interface::label(interface));
            return Err(props::wrong(PROPERTY, value, problem));
        }
        set(interface, edits, filter);
    }
    Ok(())
}

fn set(interface: Node<'_, '_>, edits: &mut Edits<'_>, filter: &Filter) {
    let present: Vec<_> = xml::children(interface, "filterref").collect();
    let wanted = filter.parameters.iter();
    let wanted: Vec<_> = wanted
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let is_set = |filterref: Node<'_, '_>| {
        xml::attr(filterref, "filter") == Some(filter.name)
            && interface::filter_parameters(filterref) == wanted
    };
    if present.len() == 1 && is_set(present[0]) {
        return;
    }
    for old in present {
        edits.remove(old);
    }
    let mut new = Element::new("filterref").attr("filter", filter.name);
    for (name, value) in wanted {
        new = new.child(
            Element::new("parameter")
                .attr("name", name)
                .attr("value", value),
        );
    }
    edits.append(interface, &new);
}
