# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# The CPUs that each of QEMU's threads may run on.
cpus_of_threads() {
    sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' "/proc/$(qemu_pid)"/task/*/status | sort -u | tr '\n' ' '
}

if [ "$(nproc)" -ge 2 ]; then
    check "the VM starts with pincpu=0-1,^0" started -p 'pincpu=0-1,^0'
    check "libvirt knows the set" is "$(virsh vcpupin "$vm" 0 | awk '$1 == 0 { print $2 }')" 1
    check "no thread of QEMU runs elsewhere" is "$(cpus_of_threads)" '1 '
    # What VDSM does to VMs without a pinning of their own.
    virsh vcpupin "$vm" 0 0 --live
    check "pinning it anew, as VDSM does, ends that" is "$(cpus_of_threads)" '0 1 '
    stop_vm
    make_vm "$work/vm.xml"
    sed -i 's,</vcpu>,&<cputune><vcpupin vcpu="0" cpuset="0"/></cputune>,' "$work/vm.xml"
    check "the VM starts with an entry of <vcpupin>" started -p pincpu=1
    check "the entry wins for its virtual CPU" is "$(cpus_of_threads)" '0 1 '
    stop_vm
    make_vm "$work/vm.xml"
else
    not_run "threads of QEMU on one of two CPUs" "this machine has one"
fi
check "a CPU that is not there is refused by the hook" refused 'none of these CPUs is online' -p pincpu=8191
check "the destination of a migration refuses it as well" \
    fails fire before_vm_migrate_destination "$work/vm.xml" -p pincpu=8191
