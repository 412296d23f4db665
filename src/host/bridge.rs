// SPDX-License-Identifier: GPL-2.0-or-later

//! The host's bridges, Linux's own and Open vSwitch's.

use std::path::{Path, PathBuf};

use super::openvswitch::{OWN_TIMEOUT, TIMEOUT, VSCTL};
use crate::{Error, Result};

/// The kernel's directory of network devices (sysfs(5)).
pub const NET_DEVICES: &str = "/sys/class/net";
/// The longest name of a network device: the kernel's IFNAMSIZ without the closing NUL (Linux 6.1
/// include/uapi/linux/if.h).
pub const MAX_IFNAME_BYTES: usize = 15;

/// What a bridge is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BridgeKind {
    /// The kernel's own bridge.
    Linux,
    /// A bridge of Open vSwitch, whatever datapath it uses.
    OpenVSwitch,
}

/// The kernel's directory of the network device `name`.
pub fn network_device(name: &str) -> PathBuf {
    Path::new(NET_DEVICES).join(name)
}

/// Whether the kernel would take `name` for a network device (Linux net/core/dev.c: `dev_valid_name`).
pub fn is_name(name: &str) -> bool {
    let fits = |c: char| !matches!(c, '/' | ':') && !c.is_whitespace() && !c.is_control();
    (1..=MAX_IFNAME_BYTES).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.chars().all(fits)
}

/// The bridges of this host. Open vSwitch is asked once, and only when a device is no bridge of
/// Linux.
#[derive(Default)]
pub struct Bridges {
    ovs: Option<Result<Vec<String>>>,
}

impl Bridges {
    /// The kind of the bridge `name`, which must have passed [`is_name`].
    ///
    /// # Errors
    /// There is no such device, or it is no bridge; then the message says what it is.
    pub fn kind(&mut self, name: &str) -> Result<BridgeKind> {
        let device = network_device(name);
        if device.join("bridge").exists() {
            return Ok(BridgeKind::Linux);
        }
        if !device.exists() {
            return Err(Error::new("there is no such bridge on this host"));
        }
        let is = what_else(&device);
        match self.ovs.get_or_insert_with(list_ovs) {
            Ok(bridges) if bridges.iter().any(|bridge| bridge == name) => {
                Ok(BridgeKind::OpenVSwitch)
            }
            Ok(_) => Err(Error::new(format!(
                "{is}, expected a Linux or Open vSwitch bridge"
            ))),
            Err(error) => Err(Error::new(format!(
                "{is}, and not known to Open vSwitch: {error}"
            ))),
        }
    }

    /// Whether there is an Open vSwitch bridge `name`; any text will do. Open vSwitch is asked only
    /// about a device that is no bridge of Linux.
    ///
    /// # Errors
    /// Open vSwitch does not answer.
    pub fn is_ovs(&mut self, name: &str) -> Result<bool> {
        let device = network_device(name);
        if !is_name(name) || device.join("bridge").exists() || !device.exists() {
            return Ok(false);
        }
        let bridges = self.ovs.get_or_insert_with(list_ovs);
        let bridges = bridges.as_ref().map_err(Clone::clone)?;
        Ok(bridges.iter().any(|bridge| bridge == name))
    }
}

/// Only Open vSwitch itself knows its bridges: with the userspace datapath they look like any tap
/// device (Open vSwitch 3.1 Documentation/intro/install/userspace.rst). The command is fixed to the
/// word, so that sudoers can be.
fn list_ovs() -> Result<Vec<String>> {
    let output = VSCTL.run(&[OWN_TIMEOUT, "list-br"], TIMEOUT)?.checked()?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// What a network device is, if it is no Linux bridge.
fn what_else(device: &Path) -> &'static str {
    if device.join("bonding").exists() {
        "this is a bond"
    } else if device.join("device").exists() {
        "this is a network card"
    } else {
        "this is a virtual device"
    }
}
