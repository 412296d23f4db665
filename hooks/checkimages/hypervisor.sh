# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

image=$(xmllint --xpath "string(//disk[@device='disk' and driver/@type='qcow2']/source/@file)" "$work/vm.xml")
cp "$image" "$work/whole.qcow2"
vm_is_off() { fails virsh domid "$vm"; }

check "the VM starts with a whole image" started -p checkimages=true
stop_vm
make_vm "$work/vm.xml"
# The refcounts of the first clusters, the header's among them, are gone.
table=$(od -An -j 48 -N 8 -t u8 --endian=big "$image" | tr -d ' ')
block=$(od -An -j "$table" -N 8 -t u8 --endian=big "$image" | tr -d ' ')
dd if=/dev/zero of="$image" bs=1 seek="$block" count=6 conv=notrunc status=none
check "the image is corrupt" is "$(timeout 20 qemu-img check -q -f qcow2 "$image" >/dev/null 2>&1; echo $?)" 2
check "without the property the VM starts on it" started
stop_vm
make_vm "$work/vm.xml"
check "with the property it does not" refused 'the image is corrupted' -p checkimages=true
check "the VM does not run" vm_is_off
cp "$work/whole.qcow2" "$image"
