# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

nets=/var/lib/vdsm/staging/netconf/nets
was_there=$(ls -d /var/lib/vdsm 2>/dev/null)
mkdir -p /var/lib/vdsm && mount -t tmpfs tmpfs /var/lib/vdsm && mkdir -p "$nets"
echo '{"nic": "em1", "custom": {"ovs": true}}' >"$nets/plain"
echo '{"nic": "em1", "vlan": 12, "custom": {"ovs": true}}' >"$nets/tagged"
echo '{"nic": "em2"}' >"$nets/vlan100"
# on BRIDGE: the VM's second vNIC is on it.
on() {
    make_vm "$work/vm.xml"
    cut_nic 2 "$work/nic.xml" && sed -i "s/<source bridge=\"[^\"]*\"/<source bridge=\"$1\"/" "$work/nic.xml"
}
fires() { fire "$1" "$work/nic.xml" --hook ovs; }
ip_has() { ip -o address show dev "$1" | grep -F " $2 "; }
bond_has() { is "$(ovs-appctl bond/show bond7 | sed -n 's/^\(member\|slave\) \([^:]*\):.*/\2/p' | sort | xargs)" "$*"; }
is_active() { ovs_vsctl get Port bond7 bond_active_slave | grep :; }

on vlan100
cp "$work/nic.xml" "$work/before.xml"
check "a vNIC on a Linux bridge is left alone" fires before_device_create
check "to the byte" cmp "$work/nic.xml" "$work/before.xml"
on plain
warns() { fires "$1" 2>&1 | grep -e 'libvirt refuses network filters on Open vSwitch'; }
check "the filter goes, with a warning" warns before_device_create
check "an untagged network is on one bridge" grep '<source bridge="ovsbr0"' "$work/nic.xml"
for property in isolatedprivatevlan=52:54:00:00:00:fe noipspoof=192.0.2.9; do
    for event in before_device_create before_nic_hotplug before_update_device; do
        on plain
        check "$event: ${property%%=*} is not undone" fails fire "$event" "$work/nic.xml" -p "$property"
    done
done
on tagged
check "before_update_device accepts a tagged one" fires before_update_device
check "it has a bridge of its own" grep '<source bridge="tagged"' "$work/nic.xml"

if [ -z "$ovs_bridge" ]; then
    not_run "ports of Open vSwitch" "needs Open vSwitch"
else
    ovs_vsctl add-br ovsbr0 -- set bridge ovsbr0 datapath_type=netdev
    ovs_vsctl add-br tagged ovsbr0 12
    # each FUNCTION: number, MAC, network, and what becomes of it, of three vNICs.
    each() {
        "$1" 1 "$nic1" plain ovsbr0 '[]' && "$1" 2 "$nic2" tagged tagged 12 &&
            "$1" 3 "$nic3" "$ovs_bridge" "$ovs_bridge" '[]'
    }
    put_on() {
        cut_nic "$1" "$work/nic.xml" && sed -i "s/<source bridge=\"[^\"]*\"/<source bridge=\"$3\"/" "$work/nic.xml" &&
            put_nic "$1" "$work/nic.xml"
    }
    # A fresh VM with all three.
    on_each() {
        make_vm "$work/vm.xml"
        new_nic "$work/nic.xml"
        sed -i "/<memballoon/e cat '$work/nic.xml'" "$work/vm.xml"
        each put_on
    }
    is_created() {
        cut_nic "$1" "$work/nic.xml"
        check "$3: before_device_create accepts the vNIC" fires before_device_create
        cp "$work/nic.xml" "$work/once.xml"
        check "$3: and once more" fires before_nic_hotplug
        check "$3: which changes nothing" cmp "$work/nic.xml" "$work/once.xml"
        put_nic "$1" "$work/nic.xml"
    }
    has_port() { tap=$(tap_of "$1") && is "$(ovs_vsctl port-to-br "$tap")" "$2" && is "$(ovs_vsctl get Port "$tap" tag)" "$3"; }
    is_port() { check "$3: its tap is a port with the right tag" has_port "$2" "$4" "$5"; }
    on_each
    each is_created
    check "the VM starts" start_vm "$work/vm.xml"
    each is_port
    stop_vm
    on "$ovs_bridge"
    put_nic 2 "$work/nic.xml"
    check "without the hook the VM does not start" fails start_vm "$work/vm.xml"
    stop_vm
    # A vNIC without properties never meets before_device_create.
    on_each
    check "the VM starts by before_vm_start alone" started
    each is_port
    stop_vm
    use_vdsm
    check "user vdsm may ask Open vSwitch" as_vdsm before_device_create/50_ovs "$work/nic.xml"
    check "and the vNIC gets its port" grep '<virtualport type="openvswitch"/>' "$work/nic.xml"
    vdsm_has() { timeout 20 setpriv --reuid=vdsm --regid=vdsm --clear-groups sudo -n "$@"; }
    check "nothing else is allowed" fails vdsm_has /usr/bin/timeout -s KILL 8 /usr/bin/ovs-vsctl --timeout=5 list-br -- del-br ovsbr0
    check "not even looking" fails vdsm_has /usr/bin/timeout -s KILL 8 /usr/bin/ovs-vsctl --timeout=5 show
    drop_vdsm
    ovs_vsctl del-br tagged -- del-br ovsbr0

    # Networks, built as root. A process in user space forwards, since the kernel may lack the
    # module: an ovs-vsctl in front of the real one says so of the new bridge. It also kills the
    # hook when it is told to.
    lab=$work/ovs-lab
    mkdir -p "$lab" && rm -f "$nets"/* && mkdir -p /var/lib/vdsm/staging/netconf/bonds
    cp "$(command -v ovs-vsctl)" "$lab/real"
    cat >"$lab/ovs-vsctl" <<EOF
#!/bin/sh
[ ! -e "$lab/kill-before" ] || { rm "$lab/kill-before" && kill -9 \$PPID && exit 1; }
case " \$* " in
    *' add-br ovsbr0 -- '*) "$lab/real" "\$@" -- set Bridge ovsbr0 datapath_type=netdev ;;
    *) "$lab/real" "\$@" ;;
esac
status=\$?
[ ! -e "$lab/kill-after" ] || { rm "$lab/kill-after" && kill -9 \$PPID; }
exit \$status
EOF
    chmod 755 "$lab/ovs-vsctl" && mount --bind "$lab/ovs-vsctl" /usr/bin/ovs-vsctl
    for nic in em1 em2 em3; do
        ip link add "$nic" type veth peer name "$nic-peer" && ip link set "$nic-peer" up
    done
    use_vdsm
    # The event as root, as in VDSM's network set-up.
    sets() { _hook_json=$lab/request.json "$hooks/$1/50_ovs"; }
    # asked NETWORKS BONDS
    asked() {
        echo "{\"request\": {\"networks\": {$1}, \"bondings\": {$2}, \"options\": {}}}" >"$lab/request.json"
        sets before_network_setup
    }
    set_up() { asked "$@" && sets after_network_setup; }
    left_is() { is "$(jq -c '[.request.networks, .request.bondings | keys]' "$lab/request.json")" "$1"; }
    # What the switch, the kernel and VDSM's configuration have, without what changes by itself.
    state() {
        for bridge in $(ovs_vsctl list-br); do
            echo "$bridge:" && ovs_vsctl list-ports "$bridge" && ovs_vsctl list-ifaces "$bridge"
        done
        ovs_vsctl --format=csv --columns=name,tag,bond_mode,lacp,fake_bridge list Port | sort
        ip -o address show scope global | sed 's/^[0-9]*: //'
        ip route
        (cd /sys/class/net && grep . ./*/flags ./*/mtu)
        cd /var/lib/vdsm/staging/netconf && grep -r '' . | sort
        find /run -path "/run/vdsm/*" -o -path "/run/vdsm-hooks/ovs/*"
    }
    keep() { (state) >"$lab/before" 2>&1; }
    as_before() { (state) >"$lab/after" 2>&1 && diff "$lab/before" "$lab/after"; }
    refuses() {
        pattern=$1
        shift
        ! asked "$@" 2>"$lab/refusal" && grep -e "$pattern" "$lab/refusal"
    }
    red='"red": {"nic": "em2", "vlan": 12, "bridged": true, "stp": false, "mtu": 1600, "ipaddr": "198.51.100.7", "netmask": "255.255.255.0", "custom": {"ovs": "true"}}'
    other='"other": {"nic": "em1", "bridged": true}'
    blue='"blue": {"bonding": "bond7", "bridged": true, "stp": true, "mtu": 1600, "custom": {"ovs": "true"}}'
    bond='"bond7": {"nics": ["em1", "em3"], "options": "mode=1 custom=ovs:True,ovs_mode:balance-slb"}'
    fewer='"bond7": {"nics": ["em1", "em2"], "options": "mode=1 custom=ovs:True,ovs_mode:balance-slb"}'

    keep
    check "a request without the property is left alone" asked "$other" ''
    check "with the host" as_before
    check "a network is set up" set_up "$red, $other" ''
    check "VDSM sets up the rest" left_is '[["other"],[]]'
    check "its bridge has the tag" is "$(ovs_vsctl br-to-parent red) $(ovs_vsctl br-to-vlan red)" "ovsbr0 12"
    check "its NIC is a port" is "$(ovs_vsctl port-to-br em2)" ovsbr0
    check "its address is there" ip_has red 198.51.100.7/24
    keep
    check "and once more" set_up "$red" ''
    check "which changes nothing" as_before
    check "a set-up that fails" refuses 'ip: exit status 2' '"red": {"nic": "em3", "vlan": 14, "mtu": 9000, "ipaddr": "198.51.100.8", "prefix": 24, "defaultRoute": true, "gateway": "203.0.113.1", "custom": {"ovs": "true"}}' ''
    check "leaves the network as it was" as_before
    check "one that VDSM fails" asked "$blue, \"red\": {\"remove\": true}" "$bond"
    check "is another one" fails as_before
    check "until VDSM says so" sets after_network_setup_fail
    check "then the network is as it was" as_before
    check "a bond and an untagged network" set_up "$blue" "$bond"
    check "the bond has its mode" is "$(ovs_vsctl get Port bond7 bond_mode)" balance-slb
    check "and its NICs" bond_has em1 em3
    check "which have the network's MTU" is "$(cat /sys/class/net/em1/mtu /sys/class/net/em3/mtu | xargs)" '1600 1600'
    check "the bridge has the spanning tree" is "$(ovs_vsctl get Bridge ovsbr0 stp_enable)" true
    wait_for 20 is_active
    echo '{"networks": {}, "bridges": {}, "vlans": {}, "bondings": {}, "nics": {}}' >"$lab/caps.json"
    check "user vdsm reports them" as_vdsm after_get_caps/50_ovs "$lab/caps.json"
    check "with address and MTU" is "$(jq -c '.networks.red | [.addr, .netmask, .mtu, .ports]' "$lab/caps.json")" \
        '["198.51.100.7","255.255.255.0","1600",["em2.12"]]'
    check "and the NIC that the bond uses" is "$(jq -r '.bondings.bond7 | .active_slave == "em1" or .active_slave == "em3"' "$lab/caps.json")" true
    keep
    for moment in before after; do
        for change in "$blue, \"red\": {\"remove\": true}:$fewer" '"red": {"remove": true}, "blue": {"remove": true}:"bond7": {"remove": true}'; do
            networks=${change%\}:*}\} bonds=${change##*\}:}
            : >"$lab/kill-$moment"
            check "a hook killed $moment the transaction" fails asked "$networks" "$bonds"
            check "is undone by the next" asked "$other" ''
            check "the network is as it was" as_before
        done
    done
    helper=/usr/libexec/vdsm-hooks/ovs-setup
    echo "{\"request\": {\"networks\": {$red}, \"bondings\": {}, \"options\": {}}}" >"$lab/request.json"
    keep
    helper_refuses() { ! _hook_json=$lab/request.json "$helper" "$@" 2>"$lab/refusal" && cat "$lab/refusal"; }
    for argument in '' before_vm_start ../before_network_setup 'before_network_setup;reboot' 'before_network_setup
x' --event=before_network_setup; do
        check "the helper refuses '$argument'" helper_refuses "$argument"
    done
    check "and two arguments" helper_refuses before_network_setup red
    check "and none" helper_refuses
    check "user vdsm may not run it as root" fails vdsm_has "$helper" before_network_setup
    check "all that changed nothing" as_before
    check "another NIC for the bond" set_up "\"red\": {\"remove\": true}" "$fewer"
    check "is one of its NICs" bond_has em1 em2
    check "all networks go" set_up '"blue": {"remove": true}' '"bond7": {"remove": true}'
    check "and the bridge with them" fails ovs_vsctl br-exists ovsbr0
    check "VDSM has none of them" is "$(find /var/lib/vdsm/staging/netconf -type f)" ''
    check "nothing is left to undo" is "$(ls -A /run/vdsm/hooks/ovs) $(ls -A /run/vdsm-hooks/ovs)" 'lock '
    check "how to go back is root's alone" is "$(stat -c '%U %a' /run/vdsm-hooks/ovs)" 'root 700'
    drop_vdsm
    umount /usr/bin/ovs-vsctl
    for nic in em1 em2 em3; do ip link delete "$nic"; done
fi
umount /var/lib/vdsm
[ -n "$was_there" ] || rmdir /var/lib/vdsm
