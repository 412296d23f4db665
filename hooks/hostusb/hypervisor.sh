# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# Two sticks of one kind and a card reader, in a sysfs of ours.
plug_in() {
    directory=$work/usb/usb/devices/$1
    mkdir -p "$directory"
    echo "$2" >"$directory/idVendor"
    echo "$3" >"$directory/idProduct"
    echo "${1%%-*}" >"$directory/busnum"
    echo "$4" >"$directory/devnum"
}
plug_in 1-1 0529 0001 4
plug_in 1-2 0951 1666 5
plug_in 2-1 0951 1666 3
mount --bind "$work/usb" /sys/bus

# What libvirt would give to QEMU; a VM cannot start with what is not there.
usb_hosts() { virsh domxml-to-native qemu-argv --xml "$work/vm.xml" | tr "'" '\n' | grep -c '"driver":"usb-host"'; }
sources() { xmllint --xpath 'count(//hostdev[@type="usb"]/source/address)' "$work/vm.xml"; }

check "before_vm_start with one device" fire before_vm_start "$work/vm.xml" -p hostusb=0x0529:0x0001
check "libvirt's schema takes the document" is_valid
check "it names the device by vendor and product" is "$(sources)" 0
make_vm "$work/vm.xml"
check "before_vm_start with two devices of one kind" \
    fire before_vm_start "$work/vm.xml" -p 'hostusb=0x0951:0x1666&0x0951:0x1666'
check "libvirt's schema takes that document" is_valid
check "both have their address" is "$(sources)" 2
check "libvirt defines the VM" virsh define "$work/vm.xml"
check "libvirt gives QEMU both" is "$(usb_hosts)" 2
virsh undefine "$vm" --nvram >/dev/null
make_vm "$work/vm.xml"
check "more than are plugged in are refused" refused 'only 2 of 3' -p 'hostusb=0x0951:0x1666&0x0951:0x1666&0x0951:0x1666'
check "a VM with USB devices of the host does not migrate" \
    fails fire before_vm_migrate_source "$work/vm.xml" -p hostusb=0x0529:0x0001
not_run "a device in a running VM" "takes a real USB device to give away"
umount /sys/bus
