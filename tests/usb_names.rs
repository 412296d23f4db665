// SPDX-License-Identifier: GPL-2.0-or-later

//! boot_hostdev: the engine names a USB device by bus and ports, libvirt by bus and device number;
//! only sysfs knows both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use support::{Firing, is_root, not_run};

/// A sysfs where `1-1` is device 2 and `1-1.4` is device 10, in a mount namespace.
const SYSFS: &str = "mount -t tmpfs tmpfs /sys/bus
for device in 1-1:1:2 1-1.4:1:10; do
    IFS=: read -r name bus number <<EOF
$device
EOF
    mkdir -p /sys/bus/usb/devices/$name
    echo $bus > /sys/bus/usb/devices/$name/busnum
    echo $number > /sys/bus/usb/devices/$name/devnum
done
exec \"$@\"";

fn domain(device: u32) -> String {
    format!(
        "<domain><devices><hostdev type=\"usb\"><source><address bus=\"1\" device=\"{device}\"/>\
         </source></hostdev></devices></domain>"
    )
}

#[test]
fn ports_are_looked_up_in_sysfs() {
    if !is_root() {
        return not_run("ports_are_looked_up_in_sysfs", "needs root for a mount");
    }
    for (name, device, found) in [
        ("usb_1_1", 2, true),
        // Without sysfs this would be device 1.
        ("usb_1_1", 1, false),
        ("usb_1_1_4", 10, true),
        ("usb_1_1_4", 4, false),
        // Not plugged in, and two numbers: bus and device.
        ("usb_1_7", 7, true),
        ("usb_1_1_5", 5, false),
        ("usb_usb1", 1, true),
    ] {
        let firing = Firing::new("boot_hostdev", "before_vm_start", domain(device).as_bytes())
            .variable("boot_hostdev", name)
            .inside(&["unshare", "--mount", "sh", "-ec", SYSFS, "sh"]);
        let outcome = firing.run();
        assert_eq!(
            outcome.status,
            Some(if found { 0 } else { 1 }),
            "{name} {outcome:?}"
        );
        let text = String::from_utf8(outcome.data.unwrap()).unwrap();
        assert_eq!(
            text.contains("<boot order=\"1\"/></hostdev>"),
            found,
            "{name}: {text}"
        );
    }
}
