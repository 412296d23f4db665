# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# set_up CUSTOM: VDSM asks for a network with these properties.
set_up() {
    echo "{\"request\": {\"networks\": {\"blue\": {\"nic\": \"em2\", \"bridged\": true, \"dhcpv6\": false,
        \"ipv6autoconf\": false, \"custom\": $1}}, \"bondings\": {}, \"options\": {}}}" >"$work/request.json"
    timeout 60 vdsm-hooks run before_network_setup --data "$work/request.json" --hooks-dir "$hooks" \
        --output "$work/network.json"
}

attribute() { jq -c ".request.networks.blue.$1" "$work/network.json"; }
text() { jq -r ".request.networks.blue.$1" "$work/network.json"; }

# A bridge, a neighbour on it with the gateway's address, and what only the gateway can reach.
ip link add blue type bridge && ip link set blue up
unshare --net sleep 600 &
neighbour=$!
wait_for 10 test "$(readlink /proc/$neighbour/ns/net)" != "$(readlink /proc/self/ns/net)"
ip link add em2 type veth peer name far netns "$neighbour"
ip link set em2 master blue up
there() { nsenter --target "$neighbour" --net "$@"; }
there ip link set lo up
there ip link set far up
there ip -6 address add 2001:db8:0:1::1/64 dev far nodad
there ip -6 address add 2001:db8:ffff::1/128 dev lo nodad

reaches() { ping -6 -c 1 -W 5 "$1"; }

if [ -e /proc/sys/net/ipv6 ]; then
    check "a network with properties" set_up '{"ipv6addr": "2001:DB8:0:1:0::0005/64",
        "ipv6gateway": "2001:0db8:0:1::1", "dhcpv6": "false"}'
    check "the kernel takes the address" ip -6 address add "$(text ipv6addr)" dev blue nodad
    check "and spells it like that" is "$(ip -6 -o address show dev blue scope global | awk '{ print $4 }')" "$(text ipv6addr)"
    check "the kernel takes the gateway" ip -6 route add default via "$(text ipv6gateway)" dev blue
    check "the gateway answers" wait_for 10 reaches "$(text ipv6gateway)"
    check "and what is behind it" reaches 2001:db8:ffff::1
    check "an address without a prefix length" set_up '{"ipv6addr": "2001:db8:0:1::6"}'
    check "the kernel takes that as well" ip -6 address add "$(text ipv6addr)" dev blue nodad
else
    not_run "addresses in the kernel" "this kernel has no IPv6"
fi
check "texts" set_up '{"dhcpv6": "TRUE", "ipv6autoconf": "0"}'
check "become booleans" is "$(attribute dhcpv6) $(attribute ipv6autoconf)" 'true false'
check "an IPv4 address is refused" fails set_up '{"ipv6addr": "192.0.2.5/24"}'
kill "$neighbour"
ip link delete blue
