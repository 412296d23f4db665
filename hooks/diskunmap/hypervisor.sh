# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# blocks_after_discard TARGET: fills 8 MiB of the disk, discards them again through the running
# QEMU, and tells how much of that is still allocated on the storage.
blocks_after_discard() {
    for action in 'write 0 8M' 'discard 0 8M'; do
        virsh qemu-monitor-command "$vm" --hmp "qemu-io -d $(alias_of "$1") \"$action\"" >/dev/null
    done
    sync "$repository/$(image_of "$1")"
    echo $(($(stat -c %b "$repository/$(image_of "$1")") / 2048)) MiB
}

check "the VM starts with diskunmap=off" started -p diskunmap=off
check "a discard leaves the blocks allocated" is "$(blocks_after_discard sda)" "8 MiB"
stop_vm
make_vm "$work/vm.xml"
check "the VM starts with diskunmap=on" started -p diskunmap=on
check "QEMU unmaps on the SCSI disk sda" is "$(discard_of sda)" unmap
check "QEMU unmaps on the SCSI disk sdb" is "$(discard_of sdb)" unmap
check "QEMU does not on the virtio disk" is "$(discard_of vda)" null
check "a discard gives the blocks back to the storage" is "$(blocks_after_discard sda)" "0 MiB"
