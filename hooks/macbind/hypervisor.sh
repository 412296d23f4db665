# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

check "the VM starts with one vNIC on another Linux bridge" started -p "macbind={'$nic1': 'red'}"
check "its tap is a port of that bridge" is "$(bridge_of "$nic1")" red
check "the other vNIC stays" is "$(bridge_of "$nic2")" vlan100
stop_vm
make_vm "$work/vm.xml"
if [ -z "$ovs_bridge" ]; then
    not_run "a vNIC on an Open vSwitch bridge" "$(tail -1 "$work/ovs.log")"
    return
fi
# libvirt refuses filters on ports of Open vSwitch.
check "the VM starts with one vNIC on an Open vSwitch bridge" \
    started -p macspoof=true -p "macbind={'$nic2': '$ovs_bridge'}"
check "its tap is a port of that bridge" is "$(bridge_of "$nic2")" "$ovs_bridge"
stop_vm
make_vm "$work/vm.xml"
check "a VM whose filter Open vSwitch would take away is refused" refused 'noipspoof is set as well' \
    -p noipspoof=192.0.2.9 -p "macbind={'$nic2': '$ovs_bridge'}"
