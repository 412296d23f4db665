// SPDX-License-Identifier: GPL-2.0-or-later

//! Whether another VM of this host uses the metrics.

use std::time::Duration;

use vdsm_hooks::host::command;
use vdsm_hooks::json::Node;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::{Error, Result, props, xml};

/// Python programs, both of them, or started by one.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks VDSM for its VMs, and looks at each but `own`.
///
/// An older VDSM tells the custom properties as well. Today's tells id and status only (VDSM 4.50
/// lib/vdsm/virt/vm.py: `status`), and the domain has to be looked at.
///
/// # Errors
/// No answer, or one that cannot be understood.
pub(crate) fn any_needs_metrics(own: &str) -> Result<bool> {
    let output = command::run("vdsm-client", &["Host", "getVMFullList"], TIMEOUT)?.checked()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let unexpected = || Error::new("vdsm-client: expected a list of VMs");
    let vms = Node::parse(&text)?.array().ok_or_else(unexpected)?;
    let vms: Vec<_> = vms.into_iter().filter_map(Node::object).collect();
    let tells_properties = vms.iter().any(|vm| vm.get("custom").is_some());
    for vm in vms {
        let member = |name| vm.get(name).and_then(Node::string);
        let id = member("vmId").ok_or_else(unexpected)?;
        if id == own || member("status").as_deref() == Some("Down") {
            continue;
        }
        let needs = if tells_properties {
            let custom = vm.get("custom").and_then(Node::object);
            let value = custom.and_then(|custom| custom.get(super::PROPERTY)?.string());
            value.is_some_and(|value| props::is_true(&value))
        } else {
            domain_needs_metrics(&id)?
        };
        if needs {
            return Ok(true);
        }
    }
    Ok(false)
}

fn domain_needs_metrics(id: &str) -> Result<bool> {
    if !props::is_uuid(id) {
        return Err(Error::new(format!("vdsm-client: {id:?} is no id of a VM")));
    }
    let arguments = ["-r", "-c", "qemu:///system", "dumpxml", id];
    let output = command::run("virsh", &arguments, TIMEOUT)?.checked()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let document = xml::parse(&text)?;
    let property = domain::vdsm_metadata(&document, super::PROPERTY);
    Ok(property.is_some_and(|value| props::is_true(&value))
        || super::has_disk(&document, None)
        || super::has_channel(&document))
}
