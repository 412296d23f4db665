// SPDX-License-Identifier: GPL-2.0-or-later

//! What Neutron's agents know a vNIC's tap by: [`START`], and the port's id, cut to
//! [`MAX_NAME_BYTES`] (Neutron 21.0 neutron/plugins/ml2/drivers/linuxbridge/agent/common/utils.py:
//! `get_tap_device_name`).

use std::time::Duration;

/// How long the helper may take to free one.
pub(crate) const HELPER_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) const START: &str = "tap";
pub(crate) const MAX_NAME_BYTES: usize = 14;
/// VDSM's bridge for vNICs that are not to be connected to anything yet (VDSM 4.50
/// lib/vdsm/network/ipwrapper.py).
pub(crate) const DUMMY_BRIDGE: &str = ";vdsmdummy;";

/// What a port's id is made of.
pub(crate) fn is_of_id(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}
