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
