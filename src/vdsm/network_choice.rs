// SPDX-License-Identifier: GPL-2.0-or-later

//! The network that a NIC is plugged into: properties of several hooks choose it, of the VM by MAC
//! address or of the vNIC. Two choices for one NIC contradict each other, whichever hook runs last.

use std::collections::BTreeSet;

use crate::libvirt::interface;
use crate::props::{Literal, Mac};
use crate::xml::Node;
use crate::{Error, Result, props};

/// Properties of a vNIC whose mere presence is a choice.
const OF_A_VNIC: [&str; 2] = ["equivnets", "extnet"];
/// Dictionaries of MAC address to network.
const OF_THE_VM: [&str; 2] = ["macbind", VMFEX];
/// Also a property of a vNIC, and then no dictionary.
const VMFEX: &str = "vmfex";
/// What the engine sets for vNICs of external providers: the property of a choice (ovirt-engine 4.5
/// …/openstack/BaseNetworkProviderProxy.java: `createPortAllocationRuntimeProperties`).
pub const PROVIDER: &str = "provider_type";
/// The providers that hooks wire the vNIC for, and the plugin where the hook wants a certain one.
const PROVIDERS: [(&str, Option<&str>); 2] = [
    ("OPENSTACK_NETWORK", None),
    ("EXTERNAL_NETWORK", Some("OVIRT_PROVIDER_OVN")),
];

/// What other properties than a hook's own choose.
pub struct Choices {
    /// Each property that chooses, and for which NICs; none for all that the hook sees.
    properties: Vec<(&'static str, Option<BTreeSet<Mac>>)>,
}

impl Choices {
    /// Reads all properties but `own`: once, for however many NICs.
    ///
    /// # Errors
    /// One of them is no text.
    pub fn beside(own: &str) -> Result<Choices> {
        let mut properties = Vec::new();
        let names = OF_A_VNIC.iter().chain(&OF_THE_VM).chain([&PROVIDER]);
        for &name in names.filter(|name| **name != own) {
            properties.extend(chosen_by(name)?.map(|nics| (name, nics)));
        }
        Ok(Choices { properties })
    }

    /// Looks whether the hook's own property is the only one that chooses for this NIC.
    ///
    /// # Errors
    /// Another one does, too.
    pub fn check_none_for(&self, interface: Node<'_, '_>) -> Result {
        let mac = interface::mac(interface);
        let is_for_it = |nics: &Option<BTreeSet<Mac>>| match nics {
            None => true,
            Some(nics) => mac.is_some_and(|mac| nics.contains(&mac)),
        };
        match self.properties.iter().find(|(_, nics)| is_for_it(nics)) {
            None => Ok(()),
            Some((name, _)) => Err(Error::new(format!(
                "{name} is set as well and chooses a network for this NIC, too: set one of them"
            ))),
        }
    }
}

/// [`Choices`] for a hook that sees one NIC.
///
/// # Errors
/// Another property than `own` chooses a network for it, too.
pub fn check_alone(own: &str, interface: Node<'_, '_>) -> Result {
    Choices::beside(own)?.check_none_for(interface)
}

/// None if the property chooses for no NIC; the NICs that it lists, or none for all.
fn chosen_by(name: &str) -> Result<Option<Option<BTreeSet<Mac>>>> {
    let all = |chooses: bool| Ok(chooses.then_some(None));
    if OF_A_VNIC.contains(&name) {
        return all(props::text(name)?.is_some());
    }
    let Some(value) = props::given(name)? else {
        return Ok(None);
    };
    if name == PROVIDER {
        let plugin = props::text("plugin_type")?;
        return all(PROVIDERS.iter().any(|(provider, wanted)| {
            value == *provider && (wanted.is_none() || plugin.as_deref() == *wanted)
        }));
    }
    if !value.trim_start().starts_with('{') {
        return all(name == VMFEX);
    }
    // What cannot be read lists nothing; its own hook refuses it.
    let literal = Literal::parse(&value).ok();
    let entries = literal.as_ref().and_then(Literal::as_dict);
    let keys = entries.into_iter().flatten();
    let listed = keys.filter_map(|(key, _)| key.as_text().and_then(Mac::parse));
    Ok(Some(Some(listed.collect())))
}
