// SPDX-License-Identifier: GPL-2.0-or-later

//! Root helper of the hook openstacknet: takes a vNIC's tap off the bridge that VDSM parks such
//! vNICs on. Its one argument is the tap.

use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use vdsm_hooks::host::bridge::network_device;
use vdsm_hooks::host::command;
use vdsm_hooks::{Error, Result, hook, program};

mod tap;

const TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    hook::run_helper(program!(), tap::HELPER_TIMEOUT, free)
}

fn free(arguments: &[String]) -> Result {
    let [tap] = arguments else {
        return Err(Error::new(format!(
            "{} arguments, expected one: the tap",
            arguments.len()
        )));
    };
    let id = tap.strip_prefix(tap::START).unwrap_or_default();
    if id.is_empty() || tap.len() > tap::MAX_NAME_BYTES || !id.chars().all(tap::is_of_id) {
        return Err(Error::new(format!(
            "{tap:?}: expected a tap's name, as in tap0a1b2c3d-4e"
        )));
    }
    let bridge = network_device(tap).join("master");
    // Neutron's agent may have wired it already, or it is none of ours.
    let is_on_dummy =
        fs::read_link(bridge).map_or(true, |bridge| bridge.ends_with(tap::DUMMY_BRIDGE));
    if !is_on_dummy {
        return Ok(());
    }
    command::run("ip", &["link", "set", tap, "nomaster"], TIMEOUT)?
        .checked()
        .map(drop)
}
