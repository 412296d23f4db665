# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# The SCSI device is a loop device, with a SCSI address in a sysfs of ours.
truncate -s 16M "$work/scsi-disk"
if ! loop=$(losetup --find --show "$work/scsi-disk" 2>/dev/null); then
    not_run "a SCSI device in a running VM" "this machine has no loop devices"
    return
fi
name=${loop#/dev/}
mkdir -p "$work/bus/scsi/devices/3:0:2:0/block/$name" "$work/block/$name/holders"
mount --bind "$work/bus" /sys/bus
mount --bind "$work/block" /sys/block
hostdev='<hostdev mode="subsystem" type="scsi" managed="no" rawio="yes"><source><adapter name="scsi_host3"/><address bus="0" target="2" unit="0"/></source><alias name="ua-7d3e"/></hostdev>'
sed -i "s,</devices>,$hostdev&," "$work/vm.xml"
controllers() { virsh dumpxml "$vm" | grep -c "<controller type='scsi'"; }

check "the VM starts with hostdev_scsi=scsi_hd" started -p hostdev_scsi=scsi_hd
check "libvirt has the device as a disk" virsh_lists "sdd $loop"
check "QEMU has a SCSI disk of it" hmp_says 'info qtree' 'dev: scsi-hd, id "ua-7d3e"'
check "there is no more than the one SCSI controller" is "$(controllers)" 1
stop_vm
make_vm "$work/vm.xml"
sed -i "s,</devices>,$hostdev&," "$work/vm.xml"
fire before_vm_start "$work/vm.xml" -p hostdev_scsi=scsi_block
check "scsi_block makes a LUN of it" \
    is "$(xmllint --xpath 'string(//disk[@device="lun"]/source/@dev)' "$work/vm.xml")" "$loop"
# The schema does not know a DAC label with both relabel and type.
sed 's,<seclabel[^>]*relabel="yes"[^>]*/>,,' "$work/vm.xml" >"$work/plain.xml"
check "libvirt's schema takes the rest" virt-xml-validate "$work/plain.xml" domain
check "libvirt defines it" virsh define "$work/vm.xml"
not_run "a VM with scsi_block" "needs CAP_SYS_RAWIO and a device that takes SCSI commands"
umount /sys/block /sys/bus
losetup --detach "$loop"
