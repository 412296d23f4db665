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

use vdsm_hooks::xml::{Document, Edits};
use vdsm_hooks::{Error, Result, hook, ovs, program, props};

const PLUGIN: &str = "OVIRT_PROVIDER_OVN";
const PORT_ID: &str = "vnic_id";
/// Open vSwitch's socket: there while it runs.
const SOCKET: &str = "/run/openvswitch/db.sock";

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    if hook::event()? == "after_get_caps" {
        return report_host();
    }
    let is = |name, value| Ok::<_, Error>(props::text(name)?.as_deref() == Some(value));
    if !is("provider_type", "EXTERNAL_NETWORK")? || !is("plugin_type", PLUGIN)? {
        return Ok(());
    }
    let id = props::text(PORT_ID)?;
    let id = id.ok_or_else(|| Error::new(format!("{PORT_ID} is not set, expected a port's id")))?;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if id.is_empty() || !id.chars().all(fits) {
        return Err(props::wrong(
            PORT_ID,
            &id,
            "expected a port's id, letters, digits and '-'",
        ));
    }
    hook::edit(|document, edits| connect(document, edits, &id))
}

fn connect(document: &Document<'_>, edits: &mut Edits<'_>, id: &str) -> Result {
    if let Some((interface, source)) = ovs::one_nic(document)? {
        ovs::connect(interface, source, edits, id);
    }
    Ok(())
}

fn report_host() -> Result {
    if !Path::new(SOCKET).exists() {
        return Ok(());
    }
    match ovs::external_id(&[], "system-id", ovs::PATIENCE) {
        Ok(id) => ovs::bind_host(&[PLUGIN], &id),
        Err(error) => {
            log::warn!("the engine does not learn by which id OVN knows this host: {error}");
            Ok(())
        }
    }
}
