# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

ip link add port type veth peer name port-peer
for wrong in 'lo:this is a virtual device' 'port:this is a virtual device' 'none:there is no such bridge' \
    '../red:not the name of a bridge'; do
    check "${wrong%%:*} is refused" refused "${wrong#*:}" --hook macbind -p "macbind={'$nic1': '${wrong%%:*}'}"
done
ip link delete port
# A guest that has nothing to boot from but its first vNIC sends frames.
sed -i '/<boot order="[12]"/d' "$work/vm.xml"
check "the VM starts with one vNIC on another Linux bridge" \
    started -p "macbind={'$(echo "$nic1" | tr a-f A-F)': 'red'}"
check "its tap is a port of that bridge" is "$(bridge_of "$nic1")" red
check "the other vNIC stays" is "$(bridge_of "$nic2")" vlan100
virsh resume "$vm"
has_learned() { bridge fdb show br red | grep -e "^$nic1 dev $(tap_of "$nic1") "; }
check "the bridge gets frames of the guest" wait_for 30 has_learned
stop_vm
make_vm "$work/vm.xml"
if [ -z "$ovs_bridge" ]; then
    not_run "a vNIC on an Open vSwitch bridge" "$(tail -1 "$work/ovs.log")"
    return
fi
# libvirt refuses filters on ports of Open vSwitch. This vNIC has capitals in its address.
check "the VM starts with one vNIC on an Open vSwitch bridge" \
    started -p macspoof=true -p "macbind={'$nic2': '$ovs_bridge'}"
check "its tap is a port of that bridge" is "$(bridge_of "$nic2")" "$ovs_bridge"
stop_vm
make_vm "$work/vm.xml"
check "a VM whose filter Open vSwitch would take away is refused" refused 'noipspoof is set as well' \
    -p noipspoof=192.0.2.9 -p "macbind={'$nic2': '$ovs_bridge'}"
