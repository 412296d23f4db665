# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

addresses=192.0.2.9,192.0.2.10
gateway=52:54:00:00:00:fe
all=ff:ff:ff:ff:ff:ff

# frames: those that arrive from a guest with the address of the first vNIC.
frames() {
    arrive guest gateway "third=udp/$nic1/$gateway/192.0.2.11" \
        "third-arp=arp/$nic1/$all/192.0.2.11" \
        "foreign-mac=udp/52:54:00:00:00:66/$gateway/192.0.2.9" \
        "ipv6=udp6/$nic1/$gateway/2001:db8::9" \
        "second=udp/$nic1/$gateway/192.0.2.10" \
        "second-arp=arp/$nic1/$all/192.0.2.10" \
        "to-all=udp/$nic1/$all/192.0.2.9" \
        "first=udp/$nic1/$gateway/192.0.2.9"
}

if [ -n "$why_no_wire" ]; then
    not_run "packets with other IP addresses" "$why_no_wire"
else
    cut_nic 1 "$work/nic.xml"
    check "VDSM's filter can be put on a port" filter_wire "$work/nic.xml"
    check "it lets all IP addresses pass" is "$(frames)" \
        "third third-arp ipv6 second second-arp to-all first"
    check "before_nic_hotplug with two addresses" \
        fire before_nic_hotplug "$work/nic.xml" -p "noipspoof=$addresses"
    check "the hook's filter can be put on a port" filter_wire "$work/nic.xml"
    check "it lets both addresses pass, and no other" is "$(frames)" "second second-arp to-all first"
fi

check "the VM starts with two addresses" started -p "noipspoof=$addresses"
check "the document is valid" virsh define --validate "$work/vm.xml"
check "the first vNIC has the filter" is "$(filter_of "$nic1")" "clean-traffic 192.0.2.9 192.0.2.10"
check "the second vNIC has the filter" is "$(filter_of "$nic2")" "clean-traffic 192.0.2.9 192.0.2.10"
returns() {
    list_chains "$1" && sed -n "/^Bridge chain: I-$tap-ipv4-ip,/,/^$/p" "$work/chains" |
        grep -e "--ip-src $2 -j RETURN"
}
check "the host lets the first address pass" returns "$nic1" 192.0.2.9
check "the host lets the second address pass" returns "$nic1" 192.0.2.10

new_nic "$work/nic.xml"
check "before_nic_hotplug filters a third vNIC" \
    fire before_nic_hotplug "$work/nic.xml" -p "noipspoof=$addresses"
check "it can be plugged into the running VM" virsh attach-device "$vm" "$work/nic.xml" --live
check "the plugged one has the filter" is "$(filter_of "$nic3")" "clean-traffic 192.0.2.9 192.0.2.10"
new_nic "$work/nic.xml"
check "before_update_device filters it again" \
    fire before_update_device "$work/nic.xml" -p noipspoof=192.0.2.12
check "it can be changed in the running VM" virsh update-device "$vm" "$work/nic.xml" --live
check "the changed one has the filter" is "$(filter_of "$nic3")" "clean-traffic 192.0.2.12"
