# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

port=0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9
other=11111111-2222-4333-8444-555555555555
# plug EVENT FILE [ID]: for a vNIC of OVN's with the port's id.
plug() { fire "$1" "$2" -p provider_type=EXTERNAL_NETWORK -p plugin_type=OVIRT_PROVIDER_OVN -p "vnic_id=${3-$port}"; }
ask_caps() {
    echo '{"vmTypes": ["kvm"]}' >"$work/caps.json"
    timeout 60 vdsm-hooks run after_get_caps --data "$work/caps.json" --hooks-dir "$hooks" \
        --hook 50_ovn --output "$work/caps.new"
}
caps_are() { is "$(jq -c . "$work/caps.new")" "$1"; }
# caps_say PATTERN: the report stays as it is, with a message.
caps_say() { ask_caps >"$work/message" 2>&1; grep -e "$1" "$work/message" && caps_are '{"vmTypes":["kvm"]}'; }
# caps_silent: the same without a word of the hook, which is called 50_ovn by the tool.
caps_silent() {
    ask_caps >"$work/message" 2>&1 && fails grep -we 'ovn:' "$work/message" && caps_are '{"vmTypes":["kvm"]}'
}
# id_arrives TEXT: Open vSwitch has this id, and the engine learns it as it is.
id_arrives() {
    # A JSON string is what ovs-vsctl takes as well.
    ovs_vsctl --no-wait set Open_vSwitch . "external_ids:system-id=$(printf %s "$1" | jq -Rs .)" && ask_caps &&
        is "$(jq -r '.openstack_binding_host_ids.OVIRT_PROVIDER_OVN' "$work/caps.new")" "$1"
}
# has_id ID: the VM's second vNIC has this one.
has_id() {
    sed "s/$port/$1/" "$work/once.xml" >"$work/nic.xml"
    put_nic 2 "$work/nic.xml"
}
does_not_start() { ! start_vm "$work/vm.xml" 2>"$work/refusal" && stop_vm; grep -e "$1" "$work/refusal"; }
external_id() { ovs_vsctl get Interface "$(tap_of "$nic2")" "external_ids:$1"; }

# The engine gives such a vNIC no filter; libvirt would refuse it.
cut_nic 2 "$work/nic.xml" && sed -i '/<filterref/d' "$work/nic.xml"
check "before_device_create accepts the vNIC" plug before_device_create "$work/nic.xml"
put_nic 2 "$work/nic.xml"
cp "$work/nic.xml" "$work/once.xml"
check "and its own result" plug before_nic_hotplug "$work/nic.xml"
check "which it does not change" cmp "$work/nic.xml" "$work/once.xml"
printf '<interface type="hostdev"><source><address type="pci" domain="0" bus="5" slot="16" function="7"/></source></interface>\n' \
    >"$work/passed.xml"
check "a vNIC with passthrough is refused" fails plug before_nic_hotplug "$work/passed.xml"
if [ -z "$ovs_bridge" ]; then
    not_run "a port of the integration bridge" "needs Open vSwitch"
else
    # Another hook's checks may have made it.
    ovs_vsctl --if-exists del-br br-int
    warns() { plug before_nic_hotplug "$work/nic.xml" 2>&1 | grep -e 'no bridge br-int on this host'; }
    check "without the bridge there is a warning" warns
    check "libvirt speaks of something else then" does_not_start "Cannot get interface MTU on 'br-int'"
    ovs_vsctl add-br br-int -- set bridge br-int datapath_type=netdev
    # What becomes of ids that the hook does not take.
    has_id 7
    check "libvirt does not take the id 7" does_not_start 'cannot parse interfaceid'
    capitals=$(echo $port | tr a-f A-F)
    has_id "$capitals"
    check "libvirt takes an id in capitals" started
    check "and writes one that OVN does not know" is "$(external_id iface-id)" "\"$port\""
    stop_vm
    for wrong in 7 "$capitals"; do
        check "the hook refuses the id $wrong" fails plug before_nic_hotplug "$work/nic.xml" "$wrong"
    done
    sed "s|</interface>|<virtualport type='openvswitch'><parameters interfaceid='$other'/></virtualport>&|" \
        "$work/once.xml" >"$work/nic.xml"
    check "two virtual ports are accepted" plug before_nic_hotplug "$work/nic.xml"
    check "one of them is left" is "$(grep -o '<virtualport' "$work/nic.xml" | wc -l)" 1
    cp "$work/once.xml" "$work/nic.xml"
    put_nic 2 "$work/nic.xml"

    check "the VM starts" started
    check "its tap is on the integration bridge" is "$(bridge_of "$nic2")" br-int
    check "OVN finds the port by its id" is "$(external_id iface-id)" "\"$port\""
    check "the other vNIC stays" is "$(bridge_of "$nic1")" ovirtmgmt

    new_nic "$work/plugged.xml" && sed -i '/<filterref/d' "$work/plugged.xml"
    check "before_nic_hotplug accepts a third vNIC" plug before_nic_hotplug "$work/plugged.xml" "$other"
    check "it can be plugged in" virsh attach-device "$vm" "$work/plugged.xml" --live
    check "and is on the integration bridge" is "$(bridge_of "$nic3")" br-int
    check "OVN finds it as well" is "$(ovs_vsctl get Interface "$(tap_of "$nic3")" external_ids:iface-id)" "\"$other\""

    ovs_vsctl --no-wait remove Open_vSwitch . external_ids system-id
    check "without an id of the host the report is silent" caps_silent
    for id in host7.example host_7 7host.example 10.0.0.1 true 6bba738b-58be-4b4b-9ee1-c822113606c9 'a "b" \ c' \
        "$(printf %064d 7)"; do
        check "the engine learns the id $id" id_arrives "$id"
    done
    ovs_vsctl --no-wait set Open_vSwitch . 'external_ids:system-id=""'
    check "an empty id is none" caps_silent
    ovs_vsctl --no-wait set Open_vSwitch . "external_ids:system-id=h$(printf %064d 7)"
    check "one that is too long is not reported" caps_say 'system-id is longer than the engine can store: 65'
    ovs_vsctl --no-wait set Open_vSwitch . external_ids:system-id=6bba738b-58be-4b4b-9ee1-c822113606c9
    check "after_get_caps runs" ask_caps
    check "the engine learns the host's id" caps_are \
        '{"vmTypes":["kvm"],"openstack_binding_host_ids":{"OVIRT_PROVIDER_OVN":"6bba738b-58be-4b4b-9ee1-c822113606c9"}}'
    use_vdsm
    echo '{}' >"$work/caps.json"
    check "user vdsm may ask that through sudo" as_vdsm after_get_caps/50_ovn "$work/caps.json"
    check "and gets the answer" grep 6bba738b "$work/caps.json"
    vdsm_asks() { setpriv --reuid=vdsm --regid=vdsm --clear-groups sudo -n /usr/bin/timeout -s KILL 8 /usr/bin/ovs-vsctl --timeout=5 --if-exists "$@"; }
    check "and nothing else" fails vdsm_asks get Open_vSwitch . external_ids:hostname
    check "nor anything more" fails vdsm_asks get Open_vSwitch . external_ids:system-id -- del-br br-int
    drop_vdsm
    vdsm_says() {
        ! as_vdsm after_get_caps/50_ovn "$work/vdsm.json" >"$work/vdsm-says" 2>&1 && grep -e "$1" "$work/vdsm-says"
    }

    database=$(cat /run/openvswitch/ovsdb-server.pid)
    kill -STOP "$database"
    # Both wait until they give up, side by side.
    use_vdsm
    echo '{}' >"$work/vdsm.json"
    vdsm_says 'ovs-vsctl: .*signal 14' >"$work/said-to-vdsm" &
    question=$!
    check "a database that hangs does not hold up the report" caps_say 'ovs-vsctl: .*signal 14'
    check "nor that of user vdsm" wait "$question"
    drop_vdsm
    check "and root's question has ended" fails pgrep -x ovs-vsctl
    kill -CONT "$database"
    mv /run/openvswitch/db.sock /run/openvswitch/db.sock.away
    check "without Open vSwitch the report is silent" ask_caps
    check "and stays as it is" caps_are '{"vmTypes":["kvm"]}'
    mv /run/openvswitch/db.sock.away /run/openvswitch/db.sock
    kill -9 "$database"
    check "the socket of a database that was killed stays" test -S /run/openvswitch/db.sock
    check "of that the report is silent too" caps_silent
    timeout 20 ovsdb-server "$work/ovs/conf.db" --remote=punix:/run/openvswitch/db.sock --detach --pidfile \
        --log-file="$work/ovs/ovsdb.log" >>"$work/ovs.log" 2>&1
    ovs_vsctl --no-wait remove Open_vSwitch . external_ids system-id
fi
