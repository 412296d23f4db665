# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# Memory that was allocated under a policy shows it in numa_maps.
bound_to() { grep -q " $1:$2 " "/proc/$(qemu_pid)/numa_maps"; }

for mode in strict interleave preferred restrictive; do
    check "the VM starts with numa=$mode:0" started -p "numa=$mode:0"
    check "libvirt knows mode and nodes" is "$(virsh numatune "$vm" | tr -s ' \n' ' ')" \
        "numa_mode : $mode numa_nodeset : 0 "
    [ "$mode" != strict ] || check "QEMU's memory is bound to the node" bound_to bind 0
    stop_vm
    make_vm "$work/vm.xml"
done
check "a node that is not there is refused by the hook" refused 'no NUMA node 4095' -p numa=strict:4095
check "the destination of a migration refuses it as well" \
    fails fire before_vm_migrate_destination "$work/vm.xml" -p numa=strict:4095
check "the destination takes a node that is there" \
    fire before_vm_migrate_destination "$work/vm.xml" -p numa=strict:0
