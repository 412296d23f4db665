# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

port=0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9
set -- -p provider_type=EXTERNAL_NETWORK -p plugin_type=OVIRT_PROVIDER_OVN -p "vnic_id=$port"
ask_caps() {
    echo '{"vmTypes": ["kvm"]}' >"$work/caps.json"
    timeout 60 vdsm-hooks run after_get_caps --data "$work/caps.json" --hooks-dir "$hooks" \
        --hook ovirt_provider_ovn_hook --output "$work/caps.new"
}
caps_are() { is "$(jq -c . "$work/caps.new")" "$1"; }
# caps_warn PATTERN
caps_warn() { ask_caps >"$work/warning" 2>&1 && grep -e "$1" "$work/warning" && caps_are '{"vmTypes":["kvm"]}'; }
external_id() { ovs_vsctl get Interface "$(tap_of "$nic2")" "external_ids:$1"; }

# The engine gives such a vNIC no filter; libvirt would refuse it.
cut_nic 2 "$work/nic.xml" && sed -i '/<filterref/d' "$work/nic.xml"
check "before_device_create accepts the vNIC" fire before_device_create "$work/nic.xml" "$@"
put_nic 2 "$work/nic.xml"
printf '<interface type="hostdev"><source><address type="pci" domain="0" bus="5" slot="16" function="7"/></source></interface>\n' \
    >"$work/passed.xml"
check "a vNIC with passthrough is refused" fails fire before_nic_hotplug "$work/passed.xml" "$@"
if [ -z "$ovs_bridge" ]; then
    not_run "a port of the integration bridge" "needs Open vSwitch"
else
    ovs_vsctl --may-exist add-br br-int -- set bridge br-int datapath_type=netdev
    check "the VM starts" started
    check "its tap is on the integration bridge" is "$(bridge_of "$nic2")" br-int
    check "OVN finds the port by its id" is "$(external_id iface-id)" "\"$port\""
    check "the other vNIC stays" is "$(bridge_of "$nic1")" ovirtmgmt

    check "without an id of the host the report says so" caps_warn 'no key "\?system-id'
    ovs_vsctl --no-wait set Open_vSwitch . external_ids:system-id=6bba738b-58be-4b4b-9ee1-c822113606c9
    check "after_get_caps runs" ask_caps
    check "the engine learns the host's id" caps_are \
        '{"vmTypes":["kvm"],"openstack_binding_host_ids":{"OVIRT_PROVIDER_OVN":"6bba738b-58be-4b4b-9ee1-c822113606c9"}}'
    use_vdsm
    echo '{}' >"$work/caps.json"
    check "user vdsm may ask that through sudo" as_vdsm after_get_caps/ovirt_provider_ovn_hook "$work/caps.json"
    check "and gets the answer" grep 6bba738b "$work/caps.json"
    vdsm_asks() { setpriv --reuid=vdsm --regid=vdsm --clear-groups sudo -n /usr/bin/timeout -s KILL 8 /usr/bin/ovs-vsctl --timeout=5 "$@"; }
    check "and nothing else" fails vdsm_asks get Open_vSwitch . external_ids:hostname
    check "nor anything more" fails vdsm_asks get Open_vSwitch . external_ids:system-id -- del-br br-int
    drop_vdsm

    database=$(cat /run/openvswitch/ovsdb-server.pid)
    kill -STOP "$database"
    check "a database that hangs does not hold up the report" caps_warn 'ovs-vsctl: .*signal 14'
    use_vdsm
    echo '{}' >"$work/caps.json"
    check "nor that of user vdsm" as_vdsm after_get_caps/ovirt_provider_ovn_hook "$work/caps.json"
    drop_vdsm
    check "and root's question has ended" fails pgrep -x ovs-vsctl
    kill -CONT "$database"
    mv /run/openvswitch/db.sock /run/openvswitch/db.sock.away
    check "without Open vSwitch the report is silent" ask_caps
    check "and stays as it is" caps_are '{"vmTypes":["kvm"]}'
    mv /run/openvswitch/db.sock.away /run/openvswitch/db.sock
fi
