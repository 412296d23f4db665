// SPDX-License-Identifier: GPL-2.0-or-later

//! Connects vNICs of OVN networks to the host's integration bridge, and tells the engine by which id
//! OVN knows the host.
//!
//! Events: `before_device_create`, `before_nic_hotplug`; `after_get_caps`.
//!
//! The engine sets `provider_type`, `plugin_type` and `vnic_id`. Those of other providers: nothing
//! happens.

use std::path::Path;
use std::process::ExitCode;

use vdsm_hooks::host::bridge::network_device;
use vdsm_hooks::host::openvswitch;
use vdsm_hooks::libvirt::interface;
use vdsm_hooks::libvirt::unfiltered::Unfiltered;
use vdsm_hooks::vdsm::integration_bridge::{self, INTEGRATION_BRIDGE, Stored};
use vdsm_hooks::vdsm::network_choice::{self, PROVIDER};
use vdsm_hooks::xml::{Document, Edits};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PLUGIN: &str = "OVIRT_PROVIDER_OVN";
/// What the vNIC becomes.
const PORT: &str = "an OVN port";
const PORT_ID: &str = "vnic_id";
const UNFILTERED: Unfiltered = Unfiltered {
    port: "OVN port",
    instead: "take the vNIC off OVN's networks",
};
/// Open vSwitch's socket: without it nothing has to be asked (ovs-ctl(8), 3.1).
const SOCKET: &str = "/run/openvswitch/db.sock";
/// Where OVN's set-up keeps the host's id. Hosts that have Open vSwitch and no OVN have none.
const HOST_ID: &str = "system-id";
const OPTIONS: [&str; 1] = ["--if-exists"];

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    if hook::event()? == "after_get_caps" {
        return report_host();
    }
    let is = |name, value| Ok::<_, Error>(props::text(name)?.as_deref() == Some(value));
    if !is(PROVIDER, "EXTERNAL_NETWORK")? || !is("plugin_type", PLUGIN)? {
        return Ok(());
    }
    let id = props::text(PORT_ID)?;
    let id = id.ok_or_else(|| Error::new(format!("{PORT_ID} is not set, expected a port's id")))?;
    // libvirt writes every spelling of a uuid in lower case, and takes nothing else (libvirt 9.0
    // src/conf/netdev_vport_profile_conf.c: virNetDevVPortProfileFormat); OVN compares the ids byte by
    // byte.
    let is_small = !id.contains(|c: char| c.is_ascii_uppercase());
    if !(props::is_uuid(&id) && is_small) {
        let problem = "expected the port's id, a UUID in lower case";
        return Err(props::wrong(PORT_ID, &id, problem));
    }
    hook::edit(|document, edits| connect(document, edits, &id))
}

fn connect(document: &Document<'_>, edits: &mut Edits<'_>, id: &str) -> Result {
    if let Some((interface, source)) = integration_bridge::one_nic(document, PORT)? {
        network_choice::check_alone(PROVIDER, interface)
            .and_then(|()| UNFILTERED.check_properties())
            .context(format!("{PROVIDER}: {}", interface::label(interface)))?;
        integration_bridge::connect(interface, source, edits, PORT, id)?;
        if !network_device(INTEGRATION_BRIDGE).exists() {
            // libvirt refuses the vNIC then, and speaks of an MTU.
            log::warn!("no bridge {INTEGRATION_BRIDGE} on this host; is ovn-controller running?");
        }
    }
    Ok(())
}

fn report_host() -> Result {
    if !Path::new(SOCKET).exists() {
        return Ok(());
    }
    let stored = integration_bridge::external_id(&OPTIONS, HOST_ID, openvswitch::TIMEOUT)
        .context("the engine does not learn by which id OVN knows this host")
        .map_err(Error::keep_going)?;
    match stored {
        Stored::Text(id) => integration_bridge::bind_host(&[PLUGIN], HOST_ID, &id),
        Stored::Nothing | Stored::Stopped => Ok(()),
    }
}
