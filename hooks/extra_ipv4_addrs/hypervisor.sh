# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# set_up NETWORK ATTRIBUTES ADDRESSES: as root, as in VDSM's network set-up.
set_up() {
    printf '{"request": {"networks": {"%s": {%s, "custom": {"ipv4_addrs": "%s"}}}}}\n' "$@" >"$work/request.json"
    _hook_json=$work/request.json "$hooks/after_network_setup/40_extra_ipv4_addrs"
}
addresses_are() { is "$(ip -4 -o addr show dev "$1" | awk '{ print $4 }' | tr '\n' ' ')" "$2"; }

ip link add xred type bridge
ip link add xv0 type veth peer name xv0-far
ip link add xv0.7 type veth peer name xv7-far
check "a bridge gets both addresses" set_up xred '"bridged": true' '192.0.2.10/24, 198.51.100.3/25'
check "they are there" addresses_are xred '192.0.2.10/24 198.51.100.3/25 '
check "a second run succeeds" set_up xred '"bridged": true' '192.0.2.10/24, 198.51.100.3/25'
check "and adds nothing" addresses_are xred '192.0.2.10/24 198.51.100.3/25 '
check "a NIC with a VLAN gets its address" set_up dmz '"nic": "xv0", "vlan": 7' 192.0.2.20/24
check "on the VLAN's device" addresses_are xv0.7 '192.0.2.20/24 '
check "on Open vSwitch the network's port has it" set_up xv0 '"nic": "nic", "switch": "ovs"' 192.0.2.30/24
check "it is there" addresses_are xv0 '192.0.2.30/24 '
check "a wrong entry is refused" fails set_up xred '"bridged": true' '192.0.2.11/24,lifetime'
check "and no address is added" addresses_are xred '192.0.2.10/24 198.51.100.3/25 '
check "a device that is not there is an error" fails set_up missing '"bridged": true' 192.0.2.40/24
ip link del xred
ip link del xv0
ip link del xv0.7
