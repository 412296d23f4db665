# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# This kernel has no device mapper, so that the map is a loop device with a map's entry in sysfs.
truncate -s 16M "$work/lun"
if ! loop=$(losetup --find --show "$work/lun" 2>/dev/null); then
    not_run "a LUN in a running VM" "this machine has no loop devices"
    return
fi
minor=$((0x$(stat -c %T "$loop")))
mkdir -p "$work/block/dm-$minor/dm" "$work/block/dm-$minor/holders" /dev/mapper
echo "7:$minor" >"$work/block/dm-$minor/dev"
echo mpath-360014050f00d >"$work/block/dm-$minor/dm/uuid"
mount -t tmpfs tmpfs /dev/mapper
mknod /dev/mapper/360014050f00d b 7 "$minor"
chown 36:36 /dev/mapper/360014050f00d
mount --bind "$work/block" /sys/block

check "the VM starts with the LUN" started -p directlun=360014050f00d
check "libvirt has it as vdb" virsh_lists "vdb /dev/mapper/360014050f00d"
check "QEMU has it, writable" is "$(qmp query-block |
    jq '.return[].inserted | select(.image.filename == "/dev/mapper/360014050f00d") | .ro')" false
check "libvirt's schema takes the document" is_valid
check "QEMU's user has the node" is "$(stat -c %u:%g /dev/mapper/360014050f00d)" 0:0
stop_vm
check "its owner has it back" is "$(stat -c %u:%g /dev/mapper/360014050f00d)" 36:36
make_vm "$work/vm.xml"
check "the VM starts with the LUN read-only" started -p directlun=360014050f00d:readonly
check "QEMU has it read-only" is "$(qmp query-block |
    jq '.return[].inserted | select(.image.filename == "/dev/mapper/360014050f00d") | .ro')" true
stop_vm
make_vm "$work/vm.xml"
mkdir "$work/block/dm-$minor/holders/dm-200"
check "a LUN that the host uses is refused" refused 'in use' -p directlun=360014050f00d
rmdir "$work/block/dm-$minor/holders/dm-200"
echo LVM-abc >"$work/block/dm-$minor/dm/uuid"
check "a logical volume of the host is refused" refused 'multipath' -p directlun=360014050f00d
umount /sys/block /dev/mapper
losetup --detach "$loop"
