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

# The same document with an emulated USB stick in the place of the host device, and SeaBIOS, which shows
# its menu on the debug port as well.
truncate -s 8M "$work/stick"
sed -i -e 's|<bootmenu enable="no"/>|<bootmenu enable="yes" timeout="60000"/>|' \
    -e "s|<hostdev .*\(<boot order=\"[0-9]*\"/>\)</hostdev>|<disk type=\"file\" device=\"disk\"><driver name=\"qemu\" type=\"raw\"/><source file=\"$work/stick\"/><target dev=\"sdx\" bus=\"usb\"/>\1</disk>|" \
    "$work/vm.xml"
mkdir -p "$work/menu"
check "a USB stick with the host device's order" fire before_vm_start "$work/vm.xml" --hook log_firmware \
    -p log_firmware=on -p "log_firmware_dir=$work/menu"
check "can be in a running VM" start_vm "$work/vm.xml"
virsh resume "$vm"
says() { grep -a "$1" "$work/menu/$vm-firmware.log"; }
opens_menu() { virsh send-key "$vm" KEY_ESC && says '^Select boot device'; }
check "its firmware has a boot menu" wait_for 30 opens_menu
menu() { wait_for 5 says '^4\. '; says '^[123]\. ' | sed 's/^\(.*\) PCI.*/\1/; s/ Drive.*//' | xargs; }
check "with the stick before the virtio and the SCSI disk" is "$(menu)" '1. USB MSC 2. Virtio disk 3. virtio-scsi'
stop_vm
not_run "the host device in a running QEMU" "takes a real USB, PCI or SCSI device to give away"
