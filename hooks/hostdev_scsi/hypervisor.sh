# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# pass_device UNIT...: the VM gets these SCSI devices of host 3, as the engine writes them.
pass_device() {
    for unit; do
        sed -i "s,</devices>,<hostdev mode=\"subsystem\" type=\"scsi\" managed=\"no\" rawio=\"yes\"><source>\
<adapter name=\"scsi_host3\"/><address bus=\"0\" target=\"2\" unit=\"$unit\"/></source></hostdev>&," "$work/vm.xml"
    done
}
controllers() { is "$(virsh dumpxml "$vm" | grep -c "<controller type='scsi'")" 1; }

pass_device 0
check "a device that is not there is refused by the hook" \
    refused 'no SCSI device 3:0:2:0' -p hostdev_scsi=scsi_hd
make_vm "$work/vm.xml"
truncate -s 16M "$work/disk"
if ! device=$(losetup --find --show "$work/disk"); then
    not_run "a VM with a disk" "no loop device to stand in for a SCSI disk"
else
    # A disk at unit 0, a tape at unit 1.
    mkdir -p "$work/scsi/devices/3:0:2:0/block/${device##*/}" "$work/scsi/devices/3:0:2:1/scsi_tape"
    mkdir -p "$work/bus/scsi" && mount --bind "$work/bus" /sys/bus && mount --bind "$work/scsi" /sys/bus/scsi
    pass_device 0
    check "the VM starts with hostdev_scsi=scsi_hd" started -p hostdev_scsi=scsi_hd
    # Newer libvirt has QEMU read a device without a layer for the format raw.
    check "QEMU has the device as a disk" hmp_says 'info block' "$device (\(raw\|host_device\))"
    check "on the controller that was there" controllers
    check "libvirt's schema takes the document" is_valid
    stop_vm
    make_vm "$work/vm.xml"
    sed -i '/<controller type="scsi"/,/<\/controller>/d' "$work/vm.xml"
    for name in sda sdb sdc; do
        sed -i "s/<target dev=\"$name\" bus=\"[a-z]*\"/<target dev=\"$name\" bus=\"sata\"/" "$work/vm.xml"
    done
    sed -i '/<address type="drive"/d' "$work/vm.xml"
    pass_device 0
    check "a VM without a controller starts" started -p hostdev_scsi=scsi_hd
    check "libvirt has made no other controllers" controllers
    stop_vm
    make_vm "$work/vm.xml"
    pass_device 0
    check "the hook takes hostdev_scsi=scsi_block" \
        fire before_vm_start "$work/vm.xml" -p hostdev_scsi=scsi_block
    check "libvirt takes the document" virsh define "$work/vm.xml"
    check "libvirt's schema takes it" is_valid
    stop_vm
    make_vm "$work/vm.xml"
    pass_device 0 0
    check "one device twice is refused by the hook" refused 'is there twice' -p hostdev_scsi=scsi_hd
    make_vm "$work/vm.xml"
    pass_device 1
    cp "$work/vm.xml" "$work/before.xml"
    check "the hook leaves a tape alone" fire before_vm_start "$work/vm.xml" -p hostdev_scsi=scsi_hd
    check "the document is byte-identical" cmp "$work/before.xml" "$work/vm.xml"
    umount /sys/bus/scsi && umount /sys/bus
    losetup --detach "$device"
fi
