// SPDX-License-Identifier: GPL-2.0-or-later

//! Which package has a program that hooks run.

/// A program and its packages.
pub(super) struct Packaged {
    pub(super) program: &'static str,
    /// On EL, for dnf. A path where the releases have it in packages of different names.
    pub(super) of_el: &'static str,
    /// On Debian, if it has one.
    pub(super) of_debian: Option<&'static str>,
}

const fn packaged(
    program: &'static str,
    of_el: &'static str,
    of_debian: Option<&'static str>,
) -> Packaged {
    Packaged {
        program,
        of_el,
        of_debian,
    }
}

/// All programs that hooks run, in the order of their names.
const PROGRAMS: [Packaged; 14] = [
    packaged("ethtool", "ethtool", Some("ethtool")),
    packaged("guestfish", "/usr/bin/guestfish", Some("guestfish")),
    packaged("ionice", "util-linux", Some("util-linux")),
    packaged("ip", "iproute", Some("iproute2")),
    packaged("lvm", "lvm2", Some("lvm2")),
    packaged("nice", "coreutils", Some("coreutils")),
    packaged(
        "ovs-vsctl",
        "/usr/bin/ovs-vsctl",
        Some("openvswitch-switch"),
    ),
    packaged("ping", "iputils", Some("iputils-ping")),
    packaged("qemu-img", "qemu-img", Some("qemu-utils")),
    packaged("setpriv", "util-linux", Some("util-linux")),
    packaged("systemctl", "systemd", Some("systemd")),
    packaged("tc", "iproute-tc", Some("iproute2")),
    packaged("vdsm-client", "vdsm-client", None),
    packaged("virsh", "libvirt-client", Some("libvirt-clients")),
];

/// The packages of a program.
pub(super) fn of(program: &str) -> Option<&'static Packaged> {
    PROGRAMS.iter().find(|one| one.program == program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    #[test]
    fn every_program_that_a_hook_runs_has_its_packages() {
        let hooks = catalog::all().unwrap();
        let mut named: Vec<&str> = hooks
            .iter()
            .flat_map(|hook| hook.commands.iter().map(String::as_str))
            .collect();
        named.sort_unstable();
        named.dedup();
        let known: Vec<&str> = PROGRAMS.iter().map(|one| one.program).collect();
        assert_eq!(known, named, "PROGRAMS and 'commands' in hook.json");
    }
}
