// SPDX-License-Identifier: GPL-2.0-or-later

//! What two hooks know about a VM's NICs, the `<interface>` elements.

use std::net::Ipv4Addr;

use roxmltree::Node;

use crate::props::Mac;
use crate::xml::{self, Document};
use crate::{Error, Result};

/// The network filter that VDSM gives a NIC whose profile names no other (VDSM 4.50
/// lib/vdsm/tool/nwfilter.py): no MAC address but its own.
pub const VDSM_FILTER: &str = "vdsm-no-mac-spoofing";

/// The NICs of a domain; or the one that an event of a single NIC hands over. Such events come for
/// devices of other kinds too, which have none.
///
/// # Errors
/// More than one NIC in a document that is no domain.
pub fn all<'a, 'i>(document: &'a Document<'i>) -> Result<Vec<Node<'a, 'i>>> {
    let root = document.root_element();
    let is_nic = |node: &Node<'_, '_>| xml::is(*node, "interface");
    if !xml::is(root, "domain") && root.descendants().filter(is_nic).count() > 1 {
        return Err(Error::new("expected one interface"));
    }
    Ok(xml::devices(document, "interface"))
}

/// The NIC's address, if it has one that can be read.
pub fn mac(interface: Node<'_, '_>) -> Option<Mac> {
    let mac = xml::child(interface, "mac").and_then(|mac| xml::attr(mac, "address"));
    mac.and_then(Mac::parse)
}

/// The NICs of a domain that have an address, each with it.
pub fn with_macs<'a, 'i>(document: &'a Document<'i>) -> Vec<(Mac, Node<'a, 'i>)> {
    let interfaces = xml::devices(document, "interface").into_iter();
    interfaces
        .filter_map(|interface| Some((mac(interface)?, interface)))
        .collect()
}

/// What to call the NIC in a message: `NIC 52:54:00:12:34:56`.
pub fn label(interface: Node<'_, '_>) -> String {
    match mac(interface) {
        Some(mac) => format!("NIC {mac}"),
        None => "a NIC without MAC address".to_owned(),
    }
}

/// The NIC's type, for example `bridge`; empty if it has none.
pub fn kind<'a>(interface: Node<'a, '_>) -> &'a str {
    xml::attr(interface, "type").unwrap_or_default()
}

/// Whether the port is isolated from the others of its bridge, which libvirt refuses on Open vSwitch
/// (libvirt 9.0 src/conf/domain_validate.c: `virDomainNetDefValidatePortOptions`).
pub fn is_isolated(interface: Node<'_, '_>) -> bool {
    let port = xml::child(interface, "port");
    port.and_then(|port| xml::attr(port, "isolated")) == Some("yes")
}

/// Whether a bandwidth is guaranteed to the NIC, which libvirt takes on the type `network` only
/// (libvirt 9.0 src/conf/netdev_bandwidth_conf.c: `virNetDevBandwidthParse`).
pub fn has_floor(interface: Node<'_, '_>) -> bool {
    xml::children(interface, "bandwidth")
        .flat_map(|bandwidth| xml::children(bandwidth, "inbound"))
        .any(|inbound| xml::attr(inbound, "floor").is_some())
}

/// Why libvirt cannot put a network filter on the NIC, in words; none if it can.
///
/// On a virtual port it refuses the filter. With most other types it drops it silently, and
/// the NIC is open (libvirt 9.0 src/conf/domain_conf.c: `virDomainNetDefParseXML`): what protects a
/// network has to look first. A NIC of type `network` may turn out to be any of these, but then libvirt
/// refuses it.
pub fn why_not_filterable(interface: Node<'_, '_>) -> Option<String> {
    let port = xml::child(interface, "virtualport");
    if let Some(port) = port.and_then(|port| xml::attr(port, "type")) {
        return Some(format!("{port} port"));
    }
    match kind(interface) {
        "bridge" | "network" | "ethernet" => None,
        "" => Some("no type".to_owned()),
        kind => Some(format!("type {kind}")),
    }
}

/// The parameters of a `<filterref>`, name and value.
pub fn filter_parameters<'a>(filter: Node<'a, '_>) -> Vec<(&'a str, &'a str)> {
    let value = |parameter, name| xml::attr(parameter, name).unwrap_or_default();
    xml::children(filter, "parameter")
        .map(|parameter| (value(parameter, "name"), value(parameter, "value")))
        .collect()
}

/// An address that one machine can have: dotted, without leading zeros, and neither 0.0.0.0,
/// multicast nor broadcast.
pub fn unicast_ipv4(text: &str) -> Option<Ipv4Addr> {
    let address: Ipv4Addr = text.parse().ok()?;
    let one = !(address.is_unspecified() || address.is_multicast() || address.is_broadcast());
    one.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_machine() {
        for fine in [
            "192.0.2.9",
            "0.0.0.1",
            "10.0.0.0",
            "223.255.255.255",
            "240.0.0.1",
        ] {
            assert!(unicast_ipv4(fine).is_some(), "{fine}");
        }
        for wrong in [
            "",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.04",
            "1.2.3.-4",
            " 1.2.3.4",
            "1.2.3.4/24",
            "0x1.2.3.4",
            "::1",
            "0.0.0.0",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
        ] {
            assert!(unicast_ipv4(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn what_libvirt_cannot_filter() -> Result {
        for (interface, why) in [
            ("<interface type='bridge'/>", None),
            ("<interface type='network'/>", None),
            ("<interface type='bridge'><virtualport/></interface>", None),
            ("<interface type='hostdev'/>", Some("type hostdev")),
            ("<interface type='user'/>", Some("type user")),
            ("<interface/>", Some("no type")),
            (
                "<interface type='bridge'><virtualport type='openvswitch'/></interface>",
                Some("openvswitch port"),
            ),
            (
                "<interface type='direct'><virtualport type='802.1Qbh'/></interface>",
                Some("802.1Qbh port"),
            ),
        ] {
            let document = xml::parse(interface)?;
            let found = why_not_filterable(document.root_element());
            assert_eq!(found.as_deref(), why, "{interface}");
        }
        Ok(())
    }
}
