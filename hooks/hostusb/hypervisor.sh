# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# plug PORT DEVICE: the host gets a dongle.
plug() {
    mkdir -p "$work/bus/usb/devices/1-$1"
    (cd "$work/bus/usb/devices/1-$1" &&
        echo 0529 >idVendor && echo 0001 >idProduct && echo 1 >busnum && echo "$2" >devnum)
}
defined() {
    fire before_vm_start "$work/vm.xml" -p "hostusb=$1" && virsh define --validate "$work/vm.xml"
}

mkdir -p "$work/bus"
mount --bind "$work/bus" /sys/bus
plug 1 4
check "libvirt takes a VM with one device" defined 0x0529:0x0001
stop_vm
make_vm "$work/vm.xml"
check "two of them are refused by the hook" \
    refused 'only 1 of 2' -p 'hostusb=0x0529:0x0001&0x0529:0x0001'
plug 2 5
check "libvirt takes a VM with two equal devices" defined '0x0529:0x0001&0x0529:0x0001'
stop_vm
make_vm "$work/vm.xml"
sed -i 's/model="qemu-xhci" ports="8"/model="none"/' "$work/vm.xml"
check "a VM without USB is refused by the hook" refused 'USB is disabled' -p hostusb=0x0529:0x0001
check "the source of a migration refuses it" \
    fails fire before_vm_migrate_source "$work/vm.xml" -p hostusb=0x0529:0x0001
umount /sys/bus
not_run "a VM that runs with a device" "needs a USB device that can be given away"
