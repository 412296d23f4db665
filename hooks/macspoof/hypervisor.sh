# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

gateway=52:54:00:00:00:fe
foreign=52:54:00:00:00:66
all=ff:ff:ff:ff:ff:ff

# frames: those that arrive from a guest with the address of the first vNIC.
frames() {
    arrive guest gateway "foreign=udp/$foreign/$gateway/192.0.2.9" \
        "foreign-arp=arp/$foreign/$all/192.0.2.9" \
        "own-arp=arp/$nic1/$all/192.0.2.9" \
        "own=udp/$nic1/$gateway/192.0.2.9"
}

if [ -n "$why_no_wire" ]; then
    not_run "packets with foreign MAC addresses" "$why_no_wire"
else
    cut_nic 1 "$work/nic.xml"
    check "VDSM's filter can be put on a port" filter_wire "$work/nic.xml"
    check "it drops frames and ARP with foreign MAC addresses" is "$(frames)" "own-arp own"
    check "before_nic_hotplug with ifacemacspoof=true" \
        fire before_nic_hotplug "$work/nic.xml" -p ifacemacspoof=true
    filter_wire "$work/nic.xml"
    check "what the hook leaves lets them pass" is "$(frames)" "foreign foreign-arp own-arp own"
fi

check "the VM starts with macspoof=true" started -p macspoof=true
check "the document is valid" virsh define --validate "$work/vm.xml"
check "the host filters no address of the first vNIC" has_no_filter "$nic1"
check "the host filters no address of the second vNIC" has_no_filter "$nic2"
stop_vm
make_vm "$work/vm.xml"
check "the VM starts with ifacemacspoof=true for one vNIC" nic_started 1 -p ifacemacspoof=true
check "the host filters no address of that one" has_no_filter "$nic1"
check "the host still filters the other one's" has_filter "$nic2"
