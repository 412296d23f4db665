# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# nesting MODULE: the host's KVM is MODULE, and its guests may nest.
nesting() {
    mkdir -p "$work/$1/$1/parameters"
    echo Y >"$work/$1/$1/parameters/nested"
    mount --bind "$work/$1" /sys/module
}

# An emulated CPU has AMD's virtualization.
nesting kvm_amd
check "the VM starts, on an AMD host with nesting" started
check "its CPU has svm" is "$(cpu_flag svm)" true
stop_vm
make_vm "$work/vm.xml"
check "it starts with cpuflags=-svm" started -p cpuflags=-svm
check "its CPU then lacks svm" is "$(cpu_flag svm)" false
stop_vm
umount /sys/module
make_vm "$work/vm.xml"
nesting kvm_intel
fire before_vm_start "$work/vm.xml"
check "on an Intel host with nesting vmx is required" \
    is "$(xmllint --xpath 'string(//cpu/feature[@name="vmx"]/@policy)' "$work/vm.xml")" require
check "libvirt's schema takes it" is_valid
umount /sys/module
make_vm "$work/vm.xml"
check "the VM starts, on a host without nesting" started
check "its CPU lacks svm" is "$(cpu_flag svm)" false
