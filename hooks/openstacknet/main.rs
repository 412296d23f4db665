// SPDX-License-Identifier: GPL-2.0-or-later

//! Connects vNICs of OpenStack networks so that Neutron's agent on this host knows their ports, and
//! tells the engine under which name Neutron knows the host.
//!
//! Events: `before_device_create`, `before_nic_hotplug`, which prepare the vNIC;
//! `after_device_create`, `after_nic_hotplug`, `after_device_migrate_destination`, which free the
//! tap; `after_vm_start`, which resumes the VM; `after_get_caps`.
//!
//! The engine sets `provider_type`, `plugin_type` and `vnic_id`. Those of other providers: nothing
//! happens.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vdsm_hooks::host::command;
use vdsm_hooks::host::openvswitch;
use vdsm_hooks::host::sudo::Program;
use vdsm_hooks::libvirt::interface;
use vdsm_hooks::libvirt::unfiltered::Unfiltered;
use vdsm_hooks::vdsm::integration_bridge::{self, Stored};
use vdsm_hooks::vdsm::network_choice::{self, PROVIDER};
use vdsm_hooks::xml::{self, Document, Edits, Element};
use vdsm_hooks::{Context, Error, Result, helper, hook, program, props};

mod paused_start;
mod tap;

const PLUGIN: &str = "plugin_type";
const PORT_ID: &str = "vnic_id";
const MAX_ID_BYTES: usize = 64;
const UNFILTERED: Unfiltered = Unfiltered {
    port: "Open vSwitch port",
    instead: "take the vNIC off OpenStack's networks",
};
const LINUX_BRIDGE: &str = "LINUX_BRIDGE";
/// The plugins whose ports are on Open vSwitch.
const ON_OVS: [&str; 2] = ["OPEN_VSWITCH", "OPENSTACK_OVN"];

const HELPER: Program<'_> = Program::helper(helper!("openstacknet-tap"));
const OVS_CTL: &str = "/usr/share/openvswitch/scripts/ovs-ctl";
const OPTIONS: [&str; 2] = ["--no-wait", "--verbose=db_ctl_base:syslog:off"];
/// Where Open vSwitch has the host's name, the first one that is there.
const KEYS: [&str; 2] = ["odl_os_hostconfig_hostid", "hostname"];
const TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let event = hook::event()?;
    match event.as_str() {
        "after_get_caps" => return report_host(),
        "after_vm_start" => return paused_start::end(),
        _ => {}
    }
    if props::text(PROVIDER)?.as_deref() != Some("OPENSTACK_NETWORK") {
        return Ok(());
    }
    match event.as_str() {
        "before_device_create" => prepare(true),
        "before_nic_hotplug" => prepare(false),
        _ => free_tap(),
    }
}

/// Checks everything, then asks for the paused start, then replaces the document.
fn prepare(starts: bool) -> Result {
    let on_ovs = on_ovs()?;
    let id = port_id()?;
    let mut paused = None;
    let done = hook::edit(|document, edits| {
        connect(document, edits, &id, on_ovs)?;
        if starts {
            paused = paused_start::ask()?;
        }
        Ok(())
    });
    if let (Err(_), Some(paused)) = (&done, paused) {
        paused.take_back();
    }
    done
}

fn connect(document: &Document<'_>, edits: &mut Edits<'_>, id: &str, on_ovs: bool) -> Result {
    let nic = integration_bridge::one_nic(document, "a port of OpenStack's")?;
    let (interface, source) = nic.ok_or_else(|| {
        let name = document.root_element().tag_name().name();
        Error::new(format!("the document is <{name}>, expected <interface>"))
    })?;
    network_choice::check_alone(PROVIDER, interface)
        .and_then(|()| {
            if on_ovs {
                UNFILTERED.check_properties()
            } else {
                // A tap on a bridge of Linux keeps its filter.
                Ok(())
            }
        })
        .context(format!("{PROVIDER}: {}", interface::label(interface)))?;
    match xml::child(interface, "target") {
        Some(target) => edits.set_attr(target, "dev", &tap_of(id)),
        None => edits.append(interface, &Element::new("target").attr("dev", &tap_of(id))),
    }
    if on_ovs {
        integration_bridge::connect(interface, source, edits, "an Open vSwitch port", id)?;
    } else {
        edits.set_attr(source, "bridge", tap::DUMMY_BRIDGE);
        // libvirt would look for Open vSwitch's bridge of that name.
        for port in xml::children(interface, "virtualport") {
            edits.remove(port);
        }
    }
    Ok(())
}

/// The agent connects the tap; it must not be on VDSM's bridge then.
fn free_tap() -> Result {
    if on_ovs()? {
        return Ok(());
    }
    let name = tap_of(&port_id()?);
    let freed = HELPER.run(&[&name], tap::HELPER_TIMEOUT)?;
    freed.checked().map(drop)
}

fn report_host() -> Result {
    if !Path::new(OVS_CTL).exists() {
        return Ok(());
    }
    match name_of_host() {
        Ok(Some((key, name))) => integration_bridge::bind_host(&ON_OVS, key, &name),
        Ok(None) => Ok(()),
        Err(error) => {
            log::warn!(
                "the engine does not learn under which name Neutron knows this host: {error}"
            );
            Ok(())
        }
    }
}

/// And the key that has it. None if Open vSwitch does not run.
fn name_of_host() -> Result<Option<(&'static str, String)>> {
    if !command::run(OVS_CTL, &["status"], TIMEOUT)?
        .status
        .success()
    {
        return Ok(None);
    }
    // For both.
    let end = Instant::now() + openvswitch::TIMEOUT;
    match name_at(KEYS[0], openvswitch::TIMEOUT) {
        Err(_) if Instant::now() < end => {
            name_at(KEYS[1], end.saturating_duration_since(Instant::now()))
        }
        first => first,
    }
}

fn name_at(key: &'static str, deadline: Duration) -> Result<Option<(&'static str, String)>> {
    match integration_bridge::external_id(&OPTIONS, key, deadline)? {
        Stored::Text(name) => Ok(Some((key, name))),
        Stored::Nothing => Err(Error::new(format!(
            "ovs-vsctl: external_ids:{key} is empty"
        ))),
        Stored::Stopped => Ok(None),
    }
}

fn on_ovs() -> Result<bool> {
    let plugins = [(LINUX_BRIDGE, false), (ON_OVS[0], true), (ON_OVS[1], true)];
    props::choice(PLUGIN, &plugins)?.ok_or_else(|| missing(PLUGIN, "the name of Neutron's plugin"))
}

fn port_id() -> Result<String> {
    let id = props::text(PORT_ID)?.ok_or_else(|| missing(PORT_ID, "the id of a port"))?;
    if (1..=MAX_ID_BYTES).contains(&id.len()) && id.chars().all(tap::is_of_id) {
        return Ok(id);
    }
    let problem =
        format!("expected a port's id, at most {MAX_ID_BYTES} letters, digits, '-', '_' and '.'");
    Err(props::wrong(PORT_ID, &id, problem))
}

fn missing(property: &str, expected: &str) -> Error {
    Error::new(format!("{property} is not set, expected {expected}"))
}

/// The name by which Neutron's agents know the port's tap.
fn tap_of(id: &str) -> String {
    let start = tap::START.chars();
    start.chain(id.chars()).take(tap::MAX_NAME_BYTES).collect()
}
