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

on vlan100
cp "$work/nic.xml" "$work/before.xml"
check "a vNIC on a Linux bridge is left alone" fires before_device_create
check "to the byte" cmp "$work/nic.xml" "$work/before.xml"
on plain
warns() { fires "$1" 2>&1 | grep -e 'libvirt refuses network filters on Open vSwitch'; }
check "the filter goes, with a warning" warns before_device_create
check "an untagged network is on one bridge" grep '<source bridge="ovsbr0"' "$work/nic.xml"
on tagged
check "before_update_device accepts a tagged one" fires before_update_device
check "it has a bridge of its own" grep '<source bridge="tagged"' "$work/nic.xml"

if [ -z "$ovs_bridge" ]; then
    not_run "ports of Open vSwitch" "needs Open vSwitch"
else
    ovs_vsctl add-br ovsbr0 -- set bridge ovsbr0 datapath_type=netdev
    ovs_vsctl add-br tagged ovsbr0 12
    # is_port BRIDGE TAG: the VM's second vNIC is a port of it.
    is_port() {
        tap=$(tap_of "$nic2") && is "$(ovs_vsctl port-to-br "$tap")" "$1" && is "$(ovs_vsctl get Port "$tap" tag)" "$2"
    }
    for bridge in plain:ovsbr0:'[]' tagged:tagged:12 "$ovs_bridge:$ovs_bridge:[]"; do
        tag=${bridge##*:} network=${bridge%%:*} bridge=${bridge%:*}
        on "$network"
        check "$network: before_device_create accepts the vNIC" fires before_device_create
        cp "$work/nic.xml" "$work/once.xml"
        check "$network: and once more" fires before_nic_hotplug
        check "$network: which changes nothing" cmp "$work/nic.xml" "$work/once.xml"
        put_nic 2 "$work/nic.xml"
        check "$network: the VM starts" start_vm "$work/vm.xml"
        check "$network: its tap is a port with the right tag" is_port "${bridge##*:}" "$tag"
        stop_vm
    done
    on "$ovs_bridge"
    put_nic 2 "$work/nic.xml"
    check "without the hook the VM does not start" fails start_vm "$work/vm.xml"
    stop_vm
    use_vdsm
    check "user vdsm may ask Open vSwitch" as_vdsm before_device_create/50_ovs "$work/nic.xml"
    check "and the vNIC gets its port" grep '<virtualport type="openvswitch"/>' "$work/nic.xml"
    vdsm_has() { timeout 20 setpriv --reuid=vdsm --regid=vdsm --clear-groups sudo -n "$@"; }
    check "nothing else is allowed" fails vdsm_has ovs-vsctl --timeout=5 list-br -- del-br ovsbr0
    check "not even looking" fails vdsm_has ovs-vsctl --timeout=5 show
    drop_vdsm
    ovs_vsctl del-br tagged -- del-br ovsbr0
fi
umount /var/lib/vdsm
[ -n "$was_there" ] || rmdir /var/lib/vdsm
