// SPDX-License-Identifier: GPL-2.0-or-later

//! The host's networks, as VDSM's running configuration has them: a file each.

use serde_json::Value;
use vdsm_hooks::host::bridge;
use vdsm_hooks::vdsm::networks;
use vdsm_hooks::{Result, props};

/// How to go back, while a set-up is under way; there afterwards if it was cut off.
pub(crate) const CUT_OFF: &str = "/run/vdsm-hooks/ovs/setup";

pub(crate) struct Network {
    pub(crate) name: String,
    /// On Open vSwitch by the custom property, and not VDSM's own business.
    pub(crate) is_ovs: bool,
    /// The tag, if it has one.
    pub(crate) vlan: Option<String>,
    /// The NIC or bond below it.
    pub(crate) southbound: Option<String>,
}

impl Network {
    /// The network called `name`; none if the host has none.
    pub(crate) fn find(name: &str) -> Result<Option<Network>> {
        if !bridge::is_name(name) {
            return Ok(None);
        }
        let Some(attributes) = networks::configured(name)? else {
            return Ok(None);
        };
        let text = |attribute| match &attributes[attribute] {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let is_requested = match &attributes["custom"]["ovs"] {
            Value::Bool(value) => *value,
            Value::String(value) => {
                props::is_true(value) || ["Yes", "yes", "on"].contains(&value.as_str())
            }
            _ => false,
        };
        Ok(Some(Network {
            name: name.to_owned(),
            is_ovs: is_requested && attributes["switch"] != "ovs",
            vlan: text("vlan"),
            southbound: text("nic").or_else(|| text("bonding")),
        }))
    }

    /// All that are on Open vSwitch, by name.
    pub(crate) fn all() -> Result<Vec<Network>> {
        let names = networks::all_configured()?;
        let networks = names.iter().map(|name| Network::find(name));
        let networks: Result<Vec<Network>> = networks.filter_map(Result::transpose).collect();
        let mut networks = networks?;
        networks.retain(|network| network.is_ovs);
        Ok(networks)
    }
}
