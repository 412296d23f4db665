# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# The index in QEMU's boot order, by a part of the device's description.
boot_index() {
    virsh domxml-to-native qemu-argv --xml "$work/vm.xml" | tr "'" '\n' | grep '^{' |
        jq -r "select($1) | .bootindex"
}

sed -i 's,<controller type="virtio-serial",<hostdev mode="subsystem" type="usb"><source><address bus="1" device="2"/></source></hostdev>&,' \
    "$work/vm.xml"
# Port 1 of bus 1 holds device number 2: the kernel says so in sysfs, which is made here.
mkdir -p "$work/usb/usb/devices/1-1"
echo 1 >"$work/usb/usb/devices/1-1/busnum"
echo 2 >"$work/usb/usb/devices/1-1/devnum"
mount --bind "$work/usb" /sys/bus
check "the hook finds the USB device behind port 1" \
    fire before_vm_start "$work/vm.xml" -p boot_hostdev=usb_1_1
check "an image that wants to be the first as well is refused" \
    refused 'httpsisoboot is set as well' -p boot_hostdev=usb_1_1 -p httpsisoboot=https://mirror.example/rescue.iso
umount /sys/bus
check "libvirt gives QEMU the host device as the first to boot" \
    is "$(boot_index '.driver == "usb-host"')" 1
check "the virtio disk is the second" is "$(boot_index ".id == \"$(alias_of vda)\"")" 2
check "the SCSI disk is the third" is "$(boot_index ".id == \"$(alias_of sda)\"")" 3
not_run "the host device in a running QEMU" "takes a real USB, PCI or SCSI device to give away"
