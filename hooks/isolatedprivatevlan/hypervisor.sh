# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

gateway=52:54:00:00:00:fe
stranger=52:54:00:00:00:66
all=ff:ff:ff:ff:ff:ff

# The filter that the package brings, loaded as an administrator does after the installation.
brought=$root/hooks/isolatedprivatevlan/isolatedprivatevlan-vdsm.xml
loaded=/etc/libvirt/nwfilter/isolatedprivatevlan-vdsm.xml
install -m 0600 "$brought" "$loaded"
kill -HUP "$(cat /run/libvirtd.pid)"
check "libvirt loads the package's filter at a reload" \
    wait_for 20 virsh nwfilter-dumpxml isolatedprivatevlan-vdsm
check "it does not rewrite the file" cmp "$brought" "$loaded"

# outgoing: those frames that arrive from a guest with the address of the first vNIC.
outgoing() {
    arrive guest gateway "to-stranger=udp/$nic1/$stranger/192.0.2.9" \
        "to-stranger-ipv6=udp6/$nic1/$stranger/2001:db8::9" \
        "to-all=udp/$nic1/$all/192.0.2.9" \
        "foreign-mac=udp/$stranger/$gateway/192.0.2.9" \
        "foreign-arp=arp/$stranger/$all/192.0.2.9" \
        "other-ip=udp/$nic1/$gateway/192.0.2.10" \
        "other-ip-arp=arp/$nic1/$all/192.0.2.10" \
        "ipv6=udp6/$nic1/$gateway/2001:db8::9" \
        "arp=arp/$nic1/$all/192.0.2.9" \
        "right=udp/$nic1/$gateway/192.0.2.9"
}
everything="to-stranger to-stranger-ipv6 to-all foreign-mac foreign-arp other-ip other-ip-arp ipv6 arp right"

# incoming: those that arrive at the guest.
incoming() {
    arrive gateway guest "stranger=udp/$stranger/$nic1/192.0.2.66" "gateway=udp/$gateway/$nic1/192.0.2.1"
}

# confined VALUE: the first vNIC's filter by the hook, on the guest's port.
confined() {
    cut_nic 1 "$work/nic.xml" &&
        fire before_nic_hotplug "$work/nic.xml" -p "isolatedprivatevlan=$1" &&
        filter_wire "$work/nic.xml"
}

if [ -n "$why_no_wire" ]; then
    not_run "packets to and from others than the gateway" "$why_no_wire"
else
    echo "<interface/>" >"$work/nic.xml"
    filter_wire "$work/nic.xml"
    check "without a filter everything arrives" is "$(outgoing)" "$everything"
    check "without a filter everybody is heard" is "$(incoming)" "stranger gateway"
    check "the filter for a gateway can be put on a port" confined "$gateway"
    check "it lets the own MAC address talk to the gateway with any IP address, and to nobody else" \
        is "$(outgoing)" "other-ip other-ip-arp ipv6 arp right"
    check "it lets everybody be heard" is "$(incoming)" "stranger gateway"
    check "the filter for another gateway can be put on a port" confined "$stranger"
    check "it lets ARP pass, and nothing to this one" is "$(
        arrive guest gateway "right=udp/$nic1/$gateway/192.0.2.9" "arp=arp/$nic1/$all/192.0.2.9"
    )" arp
    check "the filter for a gateway and an address can be put on a port" confined "$gateway,192.0.2.9"
    check "it lets the own addresses talk to the gateway, and to nobody else" \
        is "$(outgoing)" "ipv6 arp right"
    check "it lets only the gateway be heard" is "$(incoming)" "gateway"
fi

check "the VM starts with a gateway for both vNICs" started -p "isolatedprivatevlan=$gateway"
check "the document is valid" virsh define --validate "$work/vm.xml"
check "the first vNIC is confined" is "$(filter_of "$nic1")" "isolatedprivatevlan-vdsm $gateway"
check "the second vNIC is confined" is "$(filter_of "$nic2")" "isolatedprivatevlan-vdsm $gateway"
# The rule is in the chain of this vNIC. ebtables puts the "!" first from iptables 1.8.11 on.
has_gateway_rule() {
    list_chains "$1" &&
        sed -n "/^Bridge chain: libvirt-I-$tap,/,/^$/p" "$work/chains" >"$work/chain" &&
        grep -i -E -e "(-d !|! -d) $gateway -j DROP" "$work/chain"
}
check "the host drops what does not go to the gateway" has_gateway_rule "$nic1"

new_nic "$work/nic.xml"
check "before_nic_hotplug confines a third vNIC" \
    fire before_nic_hotplug "$work/nic.xml" -p "isolatedprivatevlan=$gateway"
check "it can be plugged into the running VM" virsh attach-device "$vm" "$work/nic.xml" --live
check "the plugged one is confined" is "$(filter_of "$nic3")" "isolatedprivatevlan-vdsm $gateway"
new_nic "$work/nic.xml"
check "before_update_device confines it again" \
    fire before_update_device "$work/nic.xml" -p "isolatedprivatevlan=$stranger"
check "it can be changed in the running VM" virsh update-device "$vm" "$work/nic.xml" --live
check "the changed one is confined" is "$(filter_of "$nic3")" "isolatedprivatevlan-vdsm $stranger"

stop_vm
make_vm "$work/vm.xml"
check "two vNICs with one address are refused" \
    fails fire before_vm_start "$work/vm.xml" -p "isolatedprivatevlan=$gateway,192.0.2.9"
put_nic 2 /dev/null
check "a VM with one vNIC starts with an address" started -p "isolatedprivatevlan=$gateway,192.0.2.9"
check "the document is valid" virsh define --validate "$work/vm.xml"
check "the vNIC is confined" is "$(filter_of "$nic1")" "clean-traffic-gateway $gateway 192.0.2.9"
