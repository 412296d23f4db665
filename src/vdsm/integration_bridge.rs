// SPDX-License-Identifier: GPL-2.0-or-later

//! vNICs of networks that live outside of oVirt, in OVN or OpenStack: their ports on the host's
//! integration bridge, and the id by which the outside knows this host.

use std::time::Duration;

use roxmltree::Node;
use serde_json::{Value, json};

use crate::host::openvswitch::{OWN_TIMEOUT, VSCTL};
use crate::json::Edits as JsonEdits;
use crate::libvirt::interface;
use crate::xml::{self, Document, Edits, Element};
use crate::{Context as _, Error, Result, hook};

/// The bridge that OVN and Neutron's agents wire (ovn-controller(8); Neutron 21.0
/// neutron/conf/plugins/ml2/drivers/ovs_conf.py: `integration_bridge`).
pub const INTEGRATION_BRIDGE: &str = "br-int";
/// Where the engine looks for the host's ids (ovirt-engine 4.5 …/vdsbroker/VdsProperties.java:
/// `OPENSTACK_BINDING_HOST_IDS`).
const BINDINGS: &str = "openstack_binding_host_ids";
/// The longest id that the engine can store; of a report with a longer one it stores nothing
/// (ovirt-engine packaging/dbscripts: `provider_binding_host_id`, `character varying(64)`).
const MAX_HOST_ID: usize = 64;
const PORT: &str = "openvswitch";

/// The one vNIC of an event, and its source; none for devices of other kinds. `port` is what it is
/// to be, for an error: `an OVN port`.
///
/// # Errors
/// More than one of either, or no source; or a NIC of another type than `bridge`, whose source is
/// no bridge that could be replaced.
pub fn one_nic<'a, 'i>(
    document: &'a Document<'i>,
    port: &str,
) -> Result<Option<(Node<'a, 'i>, Node<'a, 'i>)>> {
    let interface = match interface::all(document)?[..] {
        [] => return Ok(None),
        [interface] => interface,
        [..] => return Err(Error::new("expected one interface")),
    };
    let kind = interface::kind(interface);
    if kind != "bridge" {
        let remedy = match kind {
            "hostdev" | "direct" => ": use a vNIC profile without passthrough",
            _ => "",
        };
        return Err(Error::new(format!(
            "a vNIC of type {kind:?} cannot be {port}, expected bridge{remedy}"
        )));
    }
    let sources: Vec<_> = xml::children(interface, "source").collect();
    let [source] = sources[..] else {
        return Err(Error::new(format!(
            "{} has {} <source> elements, expected one",
            interface::label(interface),
            sources.len()
        )));
    };
    Ok(Some((interface, source)))
}

/// Makes the vNIC a port of the integration bridge with this id, of the kind `port`. A second run
/// changes nothing.
///
/// # Errors
/// The vNIC's port is isolated, which libvirt refuses on Open vSwitch (9.0 and 11.3: "`<port
/// isolated='yes'/>` is not supported"), and nothing that comes later takes it away.
pub fn connect(
    interface: Node<'_, '_>,
    source: Node<'_, '_>,
    edits: &mut Edits<'_>,
    port: &str,
    id: &str,
) -> Result {
    if interface::is_isolated(interface) {
        return Err(Error::new(format!(
            "{}: its port is isolated, which libvirt refuses on Open vSwitch: use a vNIC profile without port isolation",
            interface::label(interface)
        )));
    }
    for filter in xml::children(interface, "filterref") {
        // No error: a hook that comes later may take it away.
        log::warn!(
            "{}: libvirt refuses the network filter {:?} on {port}: set the filter of its profile to none",
            interface::label(interface),
            xml::attr(filter, "filter").unwrap_or_default()
        );
    }
    edits.set_attr(source, "bridge", INTEGRATION_BRIDGE);
    let ports: Vec<_> = xml::children(interface, "virtualport").collect();
    if ports.len() == 1 && is_port(ports[0], id) {
        return Ok(());
    }
    for old in ports {
        edits.remove(old);
    }
    let parameters = Element::new("parameters").attr("interfaceid", id);
    let new = Element::new("virtualport").attr("type", PORT);
    edits.append(interface, &new.child(parameters));
    Ok(())
}

fn is_port(port: Node<'_, '_>, id: &str) -> bool {
    let parameters: Vec<_> = xml::children(port, "parameters").collect();
    xml::attr(port, "type") == Some(PORT)
        && parameters.len() == 1
        && parameters[0].attributes().len() == 1
        && xml::attr(parameters[0], "interfaceid") == Some(id)
}

/// What Open vSwitch has under a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored {
    /// This text.
    Text(String),
    /// Nothing, or an empty text.
    Nothing,
    /// It does not run.
    Stopped,
}

/// The value of one of Open vSwitch's own `external_ids`. The command line is `--timeout=5`,
/// `options`, then `get Open_vSwitch . external_ids:KEY`, fixed to the word, so that sudoers can be.
///
/// # Errors
/// Open vSwitch does not answer in time, or sudo refuses; or it has no such key and `options` do not
/// say that it need not.
pub fn external_id(options: &[&str], key: &str, deadline: Duration) -> Result<Stored> {
    let column = format!("external_ids:{key}");
    let words = [
        &[OWN_TIMEOUT],
        options,
        &["get", "Open_vSwitch", ".", &column],
    ]
    .concat();
    let output = VSCTL.run(&words, deadline)?;
    // The socket of one that was killed stays (Open vSwitch utilities/ovs-vsctl.c).
    let is_stopped =
        |said: &[u8]| String::from_utf8_lossy(said).contains("database connection failed");
    if !output.status.success() && is_stopped(&output.stderr) {
        return Ok(Stored::Stopped);
    }
    let output = output.checked()?;
    let text = decoded(&String::from_utf8_lossy(&output.stdout));
    let text = text.context(format!("ovs-vsctl: {column}"))?;
    Ok(match text.trim() {
        "" => Stored::Nothing,
        _ => Stored::Text(text),
    })
}

/// A text as ovs-vsctl prints it: bare if it looks like a word, else as a JSON string (Open vSwitch
/// lib/ovsdb-data.c: `string_needs_quotes`).
fn decoded(printed: &str) -> Result<String> {
    let printed = printed.trim();
    if printed.starts_with('"') {
        return Ok(serde_json::from_str(printed)?);
    }
    Ok(printed.to_owned())
}

/// Tells the engine, in the host's capabilities, by which id the plugins know this host. `key` is
/// where Open vSwitch has it, for a warning: of an id that is too long nothing is told.
///
/// # Errors
/// No capabilities, or they cannot be written. Other hooks may still have something to tell.
pub fn bind_host(plugins: &[&str], key: &str, id: &str) -> Result {
    let length = id.chars().count();
    if length > MAX_HOST_ID {
        log::warn!(
            "{key} is longer than the engine can store: {length} characters, expected at most {MAX_HOST_ID}"
        );
        return Ok(());
    }
    let done = hook::edit_json(|document, edits: &mut JsonEdits<'_>| {
        let capabilities = document.object();
        let capabilities =
            capabilities.ok_or_else(|| Error::new("the capabilities are no JSON object"))?;
        let Some(bindings) = capabilities.get(BINDINGS) else {
            let all = plugins
                .iter()
                .map(|plugin| ((*plugin).to_owned(), json!(id)));
            return edits.set(&capabilities, BINDINGS, &Value::Object(all.collect()));
        };
        let bindings = bindings.object();
        let bindings =
            bindings.ok_or_else(|| Error::new(format!("{BINDINGS} is no JSON object")))?;
        for plugin in plugins {
            edits.set(&bindings, plugin, &json!(id))?;
        }
        Ok(())
    });
    done.map_err(Error::keep_going)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_told_from_how_it_is_printed() {
        // As ovs-vsctl 3.1 prints them.
        for (printed, stored) in [
            ("host7.example\n", "host7.example"),
            ("host_7\n", "host_7"),
            ("\"7host.example\"\n", "7host.example"),
            ("\"10.0.0.1\"\n", "10.0.0.1"),
            ("\"true\"\n", "true"),
            (r#""a \"b\" \\ c""#, r#"a "b" \ c"#),
            ("\"\"\n", ""),
            ("\n", ""),
        ] {
            assert_eq!(decoded(printed), Ok(stored.to_owned()), "{printed:?}");
        }
        assert!(decoded("\"a\n").is_err());
    }

    #[test]
    fn a_port_is_one_of_this_id_and_no_more() -> Result {
        let port = |kind: &str, inside: &str| format!("<virtualport{kind}>{inside}</virtualport>");
        let (kind, id) = (" type='openvswitch'", "<parameters interfaceid='a'/>");
        for (text, expected) in [
            (port(kind, id), true),
            (port("", id), false),
            (port(" type='midonet'", id), false),
            (port(kind, ""), false),
            (port(kind, &id.repeat(2)), false),
            (port(kind, &id.replace("/>", " profileid='b'/>")), false),
            (port(kind, &id.replace("'a'", "'b'")), false),
        ] {
            let document = xml::parse(&text)?;
            assert_eq!(is_port(document.root_element(), "a"), expected, "{text}");
        }
        Ok(())
    }
}
