# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

define_network lab lab0
check "the VM starts with a vNIC in libvirt's network lab" nic_started 2 -p extnet=lab
check "its tap is on the network's bridge" is "$(bridge_of "$nic2")" lab0
check "the other vNIC stays" is "$(bridge_of "$nic1")" ovirtmgmt
cat >"$work/nic.xml" <<EOF
<interface type="bridge">
  <mac address="56:6f:3c:10:00:03"/>
  <source bridge="red"/>
  <model type="virtio"/>
</interface>
EOF
check "before_nic_hotplug accepts a third vNIC" fire before_nic_hotplug "$work/nic.xml" -p extnet=lab
check "it can be plugged into the running VM" virsh attach-device "$vm" "$work/nic.xml" --live
check "the plugged one is on the network's bridge" is "$(bridge_of 56:6f:3c:10:00:03)" lab0
stop_vm

if [ -z "$ovs_bridge" ]; then
    not_run "a network over Open vSwitch" "$(tail -1 "$work/ovs.log")"
else
    make_vm "$work/vm.xml"
    define_network switch "$ovs_bridge" '<virtualport type="openvswitch"/>'
    # libvirt refuses filters on ports of Open vSwitch.
    check "the VM starts with a vNIC in a network over Open vSwitch" nic_started 2 -p extnet=switch -p macspoof=true
    check "its tap is a port of that switch" is "$(ovs_vsctl port-to-br "$(tap_of "$nic2")")" "$ovs_bridge"
    stop_vm
fi

# A guest that is nothing but the iPXE of its virtio NIC asks for an address.
make_vm "$work/vm.xml"
cat >"$work/network.xml" <<EOF
<network><name>default</name><forward mode="nat"/><bridge name="virbr0"/>
<ip address="198.51.100.17" prefix="28"><dhcp><range start="198.51.100.18" end="198.51.100.30"/></dhcp></ip></network>
EOF
if ! virsh net-define "$work/network.xml" >/dev/null || ! virsh net-start default >"$work/said" 2>&1; then
    not_run "an address of libvirt's NAT network" "libvirt cannot start one here: $(head -n 1 "$work/said")"
    return
fi
sed -i '/<boot order=/d' "$work/vm.xml"
cut_nic 2 "$work/nic.xml" && sed -i 's,</interface>,<boot order="1"/>&,' "$work/nic.xml" && put_nic 2 "$work/nic.xml"
has_lease() { virsh net-dhcp-leases default --mac "$nic2" | grep -F '198.51.100.'; }
check "the VM starts with a vNIC in libvirt's NAT network" nic_started 2 -p extnet=default
virsh resume "$vm"
check "the guest obtains a lease" wait_for 30 has_lease
stop_vm
virsh net-destroy default
