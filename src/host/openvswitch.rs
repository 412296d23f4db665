// SPDX-License-Identifier: GPL-2.0-or-later

//! Open vSwitch on this host: how it is asked.

use std::time::Duration;

use super::sudo::Program;

/// ovs-vsctl, which VDSM's user may only run as root.
pub const VSCTL: Program<'_> = Program::of_host("/usr/bin/ovs-vsctl", &[TIMEOUT.as_secs()]);
/// After five seconds ovs-vsctl ends by itself (ovs-vsctl(8), 3.1).
pub const OWN_TIMEOUT: &str = "--timeout=5";
/// More than that, should it not even do so. In sudoers too.
pub const TIMEOUT: Duration = Duration::from_secs(8);
