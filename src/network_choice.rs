// SPDX-License-Identifier: GPL-2.0-or-later

//! The network that a NIC is plugged into: properties of several hooks choose it, of the VM by MAC
//! address or of the vNIC. Two choices for one NIC contradict each other, whichever hook runs last.

use crate::props::{Literal, Mac};
use crate::xml::Node;
use crate::{Error, Result, nic, props};

/// Properties of a vNIC whose mere presence is a choice.
const OF_A_VNIC: [&str; 2] = ["equivnets", "extnet"];
/// Dictionaries of MAC address to network.
const OF_THE_VM: [&str; 2] = ["macbind", VMFEX];
/// Also a property of a vNIC, and then no dictionary.
const VMFEX: &str = "vmfex";
/// What the engine sets for vNICs of external providers: the property of a choice.
pub const PROVIDER: &str = "provider_type";
/// The providers that hooks wire the vNIC for, and the plugin where the hook wants a certain one.
const PROVIDERS: [(&str, Option<&str>); 2] = [
    ("OPENSTACK_NETWORK", None),
    ("EXTERNAL_NETWORK", Some("OVIRT_PROVIDER_OVN")),
];

/// Looks whether `own` is the only property that chooses a network for this NIC.
///
/// # Errors
/// Another one does, too.
pub fn check_alone(own: &str, interface: Node<'_, '_>) -> Result {
    let mac = nic::mac(interface);
    let names = OF_A_VNIC.iter().chain(&OF_THE_VM).chain([&PROVIDER]);
    for &name in names.filter(|name| **name != own) {
        if chooses(name, mac)? {
            return Err(Error::new(format!(
                "{name} is set as well and chooses a network for this NIC, too: set one of them"
            )));
        }
    }
    Ok(())
}

fn chooses(name: &str, mac: Option<Mac>) -> Result<bool> {
    if OF_A_VNIC.contains(&name) {
        return Ok(props::text(name)?.is_some());
    }
    let Some(value) = props::given(name)? else {
        return Ok(false);
    };
    if name == PROVIDER {
        let plugin = props::text("plugin_type")?;
        return Ok(PROVIDERS.iter().any(|(provider, wanted)| {
            value == *provider && (wanted.is_none() || plugin.as_deref() == *wanted)
        }));
    }
    if !value.trim_start().starts_with('{') {
        return Ok(name == VMFEX);
    }
    // What cannot be read lists nothing; its own hook refuses it.
    let literal = Literal::parse(&value).ok();
    let entries = literal.as_ref().and_then(Literal::as_dict);
    let keys = entries.into_iter().flatten();
    let mut listed = keys.filter_map(|(key, _)| key.as_text().and_then(Mac::parse));
    Ok(mac.is_some() && listed.any(|listed| Some(listed) == mac))
}
