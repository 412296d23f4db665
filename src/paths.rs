// SPDX-License-Identifier: GPL-2.0-or-later

//! Where the suite itself is installed.

/// The directory of the programs that hooks run as root.
pub const HELPERS: &str = "/usr/libexec/vdsm-hooks";

/// The directory of the programs that systemd runs. VDSM looks for hooks in the directories of the
/// events below it only.
pub const DAEMONS: &str = "/usr/libexec/vdsm/hooks";
