// SPDX-License-Identifier: GPL-2.0-or-later

//! What two hooks know about a VM's NICs, the `<interface>` elements.

use roxmltree::Node;

use crate::props::Mac;
use crate::xml;

/// The NIC's address, if it has one that can be read.
pub fn mac(interface: Node<'_, '_>) -> Option<Mac> {
    let mac = xml::child(interface, "mac").and_then(|mac| xml::attr(mac, "address"));
    mac.and_then(Mac::parse)
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

/// Whether the port is isolated from the others of its bridge, which libvirt refuses on Open
/// vSwitch.
pub fn is_isolated(interface: Node<'_, '_>) -> bool {
    let port = xml::child(interface, "port");
    port.and_then(|port| xml::attr(port, "isolated")) == Some("yes")
}

/// Whether the NIC is a port of Open vSwitch.
pub fn is_on_ovs(interface: Node<'_, '_>) -> bool {
    xml::children(interface, "virtualport")
        .any(|port| xml::attr(port, "type") == Some("openvswitch"))
}

/// Why libvirt cannot put a network filter on the NIC, in words; none if it can. It filters with
/// ebtables on a tap device, which these do not have or do not pass.
pub fn why_not_filterable(interface: Node<'_, '_>) -> Option<String> {
    match kind(interface) {
        _ if is_on_ovs(interface) => Some("a port of Open vSwitch".to_owned()),
        "bridge" | "network" | "ethernet" => None,
        kind => Some(format!("type {kind}")),
    }
}
