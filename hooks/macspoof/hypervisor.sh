# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

check "the VM starts with macspoof=true" started -p macspoof=true
check "the host filters no address of the first vNIC" has_no_filter "$nic1"
check "the host filters no address of the second vNIC" has_no_filter "$nic2"
stop_vm
make_vm "$work/vm.xml"
check "the VM starts with ifacemacspoof=true for one vNIC" nic_started 1 -p ifacemacspoof=true
check "the host filters no address of that one" has_no_filter "$nic1"
check "the host still filters the other one's" has_filter "$nic2"
