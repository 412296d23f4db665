// SPDX-License-Identifier: GPL-2.0-or-later

//! The numbers of networks on Open vSwitch in the host's statistics.

use serde_json::json;
use vdsm_hooks::json::{Edits, Node, Object};
use vdsm_hooks::{Result, hook};

use crate::network::Network;

/// Adds them to the event's document.
pub(crate) fn report() -> Result {
    let networks = Network::all()?;
    hook::edit_json(|document, edits| {
        let devices = document.object().and_then(|stats| stats.get("network"));
        let devices = devices.and_then(Node::object);
        let devices = devices.ok_or_else(|| hook::unexpected_json("an object 'network'"))?;
        for network in &networks {
            add(network, &devices, edits)?;
        }
        Ok(())
    })
}

/// An untagged network has the numbers of the NIC below, a tagged one those of its bridge. What has none
/// yet gets them the next time.
fn add<'a>(network: &Network, devices: &Object<'a>, edits: &mut Edits<'a>) -> Result {
    let Some(southbound) = &network.southbound else {
        return Ok(());
    };
    let (from, to, name) = match &network.vlan {
        None => (southbound, network.name.clone(), network.name.clone()),
        Some(vlan) => {
            let name = format!("{southbound}.{vlan}");
            (&network.name, name.clone(), name)
        }
    };
    let Some(numbers) = devices.get(from) else {
        return Ok(());
    };
    let mut copy = numbers.value();
    let entry = copy.as_mut().and_then(|copy| copy.as_object_mut());
    let entry = entry.ok_or_else(|| hook::unexpected_json("objects in 'network'"))?;
    entry.insert("name".to_owned(), json!(name));
    edits.set(devices, &to, &json!(entry))?;
    match (&network.vlan, numbers.object()) {
        (Some(_), Some(own)) => edits.set(&own, "name", &json!(name)),
        _ => Ok(()),
    }
}
