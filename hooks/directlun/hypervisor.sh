# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

lun=36001405a1b2c3d4
owner() { is "$(stat -c %u:%g "/dev/mapper/$lun")" "$1"; }

check "a LUN that is not there is refused by the hook" \
    refused 'no such multipath device' -p "directlun=$lun"
truncate -s 16M "$work/disk"
if ! device=$(losetup --find --show "$work/disk"); then
    not_run "a VM with a LUN" "no loop device to stand in for a LUN"
else
    # A map of the device mapper, as far as one can see it.
    number=${device##*[!0-9]}
    mkdir -p "$work/dev" "$work/devwork" "$work/block/dm-$number/dm" "$work/block/dm-$number/holders"
    mount -t overlay overlay -o "lowerdir=/dev,upperdir=$work/dev,workdir=$work/devwork" /dev
    mkdir -p /dev/mapper
    mknod "/dev/mapper/$lun" b 7 "$number"
    chown 0:6 "/dev/mapper/$lun"
    echo "7:$number" >"$work/block/dm-$number/dev"
    echo "mpath-$lun" >"$work/block/dm-$number/dm/uuid"
    mount --bind "$work/block" /sys/block

    check "the VM starts with directlun=NAME" started -p "directlun=$lun"
    check "libvirt lists the LUN" virsh_lists "vdb /dev/mapper/$lun"
    check "QEMU has it as a disk" hmp_says 'info block' "/dev/mapper/$lun (raw)"
    check "QEMU may open it" owner 0:0
    stop_vm
    check "the node is its owner's again" owner 0:6
    make_vm "$work/vm.xml"
    check "the VM starts with directlun=NAME:readonly" started -p "directlun=$lun:readonly"
    check "QEMU has it read-only" hmp_says 'info block' "/dev/mapper/$lun (raw, read-only)"
    stop_vm
    make_vm "$work/vm.xml"
    check "the destination of a migration takes it" \
        fire before_vm_migrate_destination "$work/vm.xml" -p "directlun=$lun"
    mkdir "$work/block/dm-$number/holders/md127"
    check "a LUN that the host uses is refused by the hook" \
        refused 'in use on this host by md127' -p "directlun=$lun"
    umount /sys/block && umount --lazy /dev
    losetup --detach "$device"
fi
