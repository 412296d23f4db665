# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

check "the VM starts with a serial number and a vendor" \
    started -p "smbios={'serial': 'X-4711, é'}^{'vendor': 'Acme'}"
check "QEMU is told the serial number" word '^type=1,.*serial=X-4711,, é'
check "QEMU is told the vendor" word '^type=0,vendor=Acme'
virsh resume "$vm"
check "the firmware put it into the guest's memory" wait_for 20 guest_memory_has "X-4711, é"
