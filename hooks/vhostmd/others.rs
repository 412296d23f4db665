// SPDX-License-Identifier: GPL-2.0-or-later

//! Whether another VM of this host uses the metrics.

use std::time::Duration;

use vdsm_hooks::host::command;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::{Error, Result, props, xml};

const TIMEOUT: Duration = Duration::from_secs(10);
/// All that are there in some way: of "others" are those that sleep, and those that are going down
/// (virsh(1), 9.0).
const RUNNING: [&str; 5] = [
    "list",
    "--uuid",
    "--state-running",
    "--state-paused",
    "--state-other",
];

/// Asks libvirt for the VMs, and looks at each but `own`. VDSM is not asked: it tells of its VMs
/// neither their properties nor their devices (VDSM 4.50 lib/vdsm/virt/vm.py: `status`), and at a VM's
/// end it may be going down itself.
///
/// # Errors
/// No answer, or one that cannot be understood.
pub(crate) fn any_needs_metrics(own: &str) -> Result<bool> {
    for line in ask(&RUNNING)?.lines() {
        let id = line.trim();
        if id.is_empty() || id == own {
            continue;
        }
        if !props::is_uuid(id) {
            return Err(Error::new(format!("virsh: {id:?} is no id of a VM")));
        }
        if needs_metrics(id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn needs_metrics(id: &str) -> Result<bool> {
    let text = ask(&["dumpxml", id])?;
    let document = xml::parse(&text)?;
    let property = domain::vdsm_metadata(&document, super::PROPERTY);
    Ok(property.is_some_and(|value| props::is_true(&value))
        || super::has_disk(&document, None)
        || super::has_channel(&document))
}

/// Read-only, which user vdsm may without a password.
fn ask(words: &[&str]) -> Result<String> {
    let words = [&["-r", "-c", "qemu:///system"], words].concat();
    let output = command::run("virsh", &words, TIMEOUT)?.checked()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
