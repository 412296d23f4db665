# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

port=0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9
port_tap=tap0a1b2c3d-4e
vm_id=$(xmllint --xpath 'string(/domain/uuid)' "$work/vm.xml")
start=/run/vdsm/$vm_id
mkdir -p "$start"
# use_plugin NAME: for this plugin a fresh VM, its second vNIC, and the flags that VDSM writes before
# a start. The engine gives such a vNIC no filter; libvirt would refuse it.
use_plugin() {
    stop_vm
    make_vm "$work/vm.xml"
    cut_nic 2 "$work/nic.xml" && sed -i '/<filterref/d' "$work/nic.xml"
    plugin=$1
    printf 0 >"$start/launchflags"
}
# fires EVENT FILE
fires() {
    fire "$1" "$2" --vm-id "$vm_id" -p provider_type=OPENSTACK_NETWORK -p "plugin_type=$plugin" -p "vnic_id=$port"
}
vm_starts() { put_nic 2 "$work/nic.xml" && start_vm "$work/vm.xml"; }
flags_are() { is "$(cat "$start/launchflags")" "$1"; }
mark=$start/marked_for_unpause
state_is() { is "$(virsh domstate "$vm")" "$1"; }
master_of() { basename "$(readlink "/sys/class/net/$1/master")"; }
helper=openstacknet-tap
parked=';vdsmdummy;'

# In place of VDSM's client: it takes one call, and does what VDSM does then.
mkdir -p "$work/clients"
cat >"$work/clients/vdsm-client" <<EOF
#!/bin/sh
echo "\$*" >>"$work/client-calls"
[ "\$*" = "VM cont vmID=$vm_id" ] && virsh --connect qemu:///system resume $vm
EOF
chmod 755 "$work/clients/vdsm-client"
mount -t overlay overlay -o "lowerdir=$work/clients:/usr/bin" /usr/bin

# Of another VM, while the first one is tried: the hook waits a quarter of a minute for the agent.
silent=11111111-2222-4333-8444-555555555555
mkdir -p "/run/vdsm/$silent"
printf 1 >"/run/vdsm/$silent/launchflags"
printf true >"/run/vdsm/$silent/marked_for_unpause"
cp "$work/vm.xml" "$work/silent.xml"
fire after_vm_start "$work/silent.xml" --vm-id "$silent" >"$work/silent" 2>&1 &
no_answer=$!

use_vdsm
ip link add name "$parked" type bridge
use_plugin LINUX_BRIDGE
check "Linux bridge: before_device_create accepts the vNIC" fires before_device_create "$work/nic.xml"
check "it asks for a paused start" flags_are 1
check "and marks it" is "$(cat "$mark")" true
check "the VM starts" vm_starts
check "its tap has the port's name" is "$(tap_of "$nic2")" "$port_tap"
check "it is parked" is "$(master_of "$port_tap")" "$parked"
check "after_device_create runs" fires after_device_create "$work/nic.xml"
check "the tap is free for the agent" fails test -e "/sys/class/net/$port_tap/master"
check "the other vNIC stays" is "$(master_of "$(tap_of "$nic1")")" ovirtmgmt
ip link set "$port_tap" master red
check "a second call finds it wired" fires after_device_create "$work/nic.xml"
check "and leaves it there" is "$(master_of "$port_tap")" red

check "the VM is paused" state_is paused
check "after_vm_start resumes it" fire after_vm_start "$work/vm.xml"
check "it runs" state_is running
check "the mark is gone" fails test -e "$mark"
stays_paused() { ! wait "$no_answer" && cat "$work/silent" && grep -e 'the VM stays paused until' "$work/silent"; }
check "where VDSM resumes no VM after_vm_start says so" stays_paused
check "it has asked for it" grep -x "VM cont vmID=$silent" "$work/client-calls"
check "the VM stays marked" test -e "/run/vdsm/$silent/marked_for_unpause"
rm "$work/client-calls"
printf 1 >"$start/launchflags"
check "a VM that the user starts paused is left alone" fire after_vm_start "$work/vm.xml"
check "VDSM is not called" fails test -e "$work/client-calls"

# What was made is taken back if the document cannot be written in the end.
use_plugin LINUX_BRIDGE
mkdir -p "$work/fixed" && cp "$work/nic.xml" "$work/fixed/"
mount --bind "$work/fixed" "$work/fixed" && mount -o remount,bind,ro "$work/fixed"
cannot_write() {
    ! env -i "_hook_domxml=$work/fixed/nic.xml" "vmId=$vm_id" provider_type=OPENSTACK_NETWORK plugin_type=LINUX_BRIDGE \
        "vnic_id=$port" "$hooks/before_device_create/50_openstacknet" 2>"$work/refusal" && grep -e 'cannot replace' "$work/refusal"
}
check "a document that cannot be written is an error" cannot_write
check "the flags are back" flags_are 0
check "there is no mark" fails test -e "$mark"
rm "$start/launchflags"
check "without flags the same" cannot_write
check "there is nothing" is "$(ls "$start")" ''
umount "$work/fixed"

if [ -z "$ovs_bridge" ]; then
    not_run "a port of the integration bridge" "needs Open vSwitch"
else
    ovs_vsctl --may-exist add-br br-int -- set bridge br-int datapath_type=netdev
    use_plugin OPEN_VSWITCH
    check "Open vSwitch: before_device_create accepts the vNIC" fires before_device_create "$work/nic.xml"
    check "the VM starts" vm_starts
    check "its tap is on the integration bridge" is "$(ovs_vsctl port-to-br "$port_tap")" br-int
    check "Neutron finds the port by its id" is "$(ovs_vsctl get Interface "$port_tap" external_ids:iface-id)" "\"$port\""
    check "after_device_create leaves it" fires after_device_create "$work/nic.xml"
    check "it is still there" is "$(ovs_vsctl port-to-br "$port_tap")" br-int

    caps=$work/caps.json
    ask_caps() {
        echo '{"vmTypes": ["kvm"]}' >"$caps"
        timeout 60 vdsm-hooks run after_get_caps --data "$caps" --hooks-dir "$hooks" --hook 50_openstacknet \
            --output "$caps.new"
    }
    caps_are() { is "$(jq -c . "$caps.new")" "$1"; }
    no_name() { ask_caps >"$work/warning" 2>&1 && grep -e 'no key' "$work/warning" && caps_are '{"vmTypes":["kvm"]}'; }
    both() { echo "{\"vmTypes\":[\"kvm\"],\"openstack_binding_host_ids\":{\"OPEN_VSWITCH\":\"$1\",\"OPENSTACK_OVN\":\"$1\"}}"; }
    ids() { ovs_vsctl --no-wait "$@"; }
    ids remove Open_vSwitch . external_ids hostname
    check "without a name of the host the report says so" no_name
    ids set Open_vSwitch . external_ids:hostname=host7.example
    check "after_get_caps runs" ask_caps
    check "the engine learns the host's name" caps_are "$(both host7.example)"
    ids set Open_vSwitch . external_ids:odl_os_hostconfig_hostid=odl-7
    check "after_get_caps runs with OpenDaylight" ask_caps
    check "its name wins" caps_are "$(both odl-7)"
    echo '{}' >"$caps"
    check "user vdsm may ask that through sudo" as_vdsm after_get_caps/50_openstacknet "$caps"
    check "and gets the answer" grep odl-7 "$caps"
    mv /run/openvswitch/ovsdb-server.pid /run/openvswitch/ovsdb-server.away
    check "without Open vSwitch the report is silent" ask_caps
    check "and stays as it is" caps_are '{"vmTypes":["kvm"]}'
    mv /run/openvswitch/ovsdb-server.away /run/openvswitch/ovsdb-server.pid
    odd='a "b" \ c'
    ids set Open_vSwitch . "external_ids:odl_os_hostconfig_hostid=$(printf %s "$odd" | jq -Rs .)"
    check "after_get_caps runs with a name that wants quotes" ask_caps
    check "which arrives as it is" is "$(jq -r .openstack_binding_host_ids.OPEN_VSWITCH "$caps.new")" "$odd"
    database=$(cat /run/openvswitch/ovsdb-server.pid)
    kill -STOP "$database"
    warns() { ask_caps >"$work/warning" 2>&1 && grep -e "$1" "$work/warning" && caps_are '{"vmTypes":["kvm"]}'; }
    check "a database that hangs does not hold up the report" warns 'ovs-vsctl: .*\(signal 14\|gave up\)'
    check "and nobody still asks it" fails pgrep -x ovs-vsctl
    kill -CONT "$database"
    ids remove Open_vSwitch . external_ids odl_os_hostconfig_hostid
fi
stop_vm
printf '<interface type="hostdev"><source><address type="pci" domain="0" bus="5" slot="16" function="7"/></source></interface>\n' \
    >"$work/passed.xml"
check "a vNIC with passthrough is refused" fails fires before_nic_hotplug "$work/passed.xml"

# What the helper does for whom.
ip link add taptest type veth peer name taptest-far
ip link set taptest master "$parked"
ip link set taptest-far master "$parked"
vdsm_has() { timeout 20 setpriv --reuid=vdsm --regid=vdsm --clear-groups sudo -n "$@"; }
for argument in '' red ovirtmgmt eth0 taptest-far-off1 'tap a' 'tap/..' '../tap' 'tapé' tap 'taptest nomaster' 'taptest
x' -tap --help; do
    # Both what sudo keeps out and what the helper does.
    check "user vdsm cannot hand over '$argument'" fails vdsm_has "/usr/libexec/vdsm-hooks/$helper" "$argument"
done
for argument in '' red taptest-far-off1 'tap a' 'tap/..' 'tapé' tap 'taptest nomaster' 'taptest
x'; do
    check "root's helper refuses '$argument'" fails "$tree/usr/libexec/vdsm-hooks/$helper" "$argument"
done
check "nor more than one" fails vdsm_has "/usr/libexec/vdsm-hooks/$helper" taptest up
check "nor none" fails vdsm_has "/usr/libexec/vdsm-hooks/$helper"
check "nor ip itself" fails vdsm_has ip link set taptest nomaster
check "nor other questions" fails vdsm_has /usr/bin/timeout -s KILL 8 /usr/bin/ovs-vsctl --timeout=5 --no-wait --verbose=db_ctl_base:syslog:off get Open_vSwitch . external_ids:system-id
check "nor changes" fails vdsm_has /usr/bin/timeout -s KILL 8 /usr/bin/ovs-vsctl --timeout=5 --no-wait --verbose=db_ctl_base:syslog:off get Open_vSwitch . external_ids:hostname -- del-br br-int
check "all that changed nothing" is "$(master_of taptest)" "$parked"
ip link set taptest master red
check "a tap on another bridge is no error" vdsm_has "/usr/libexec/vdsm-hooks/$helper" taptest
check "it stays there" is "$(master_of taptest)" red
ip link set taptest master "$parked"
check "a parked one" vdsm_has "/usr/libexec/vdsm-hooks/$helper" taptest
check "is freed" fails test -e /sys/class/net/taptest/master
drop_vdsm
ip link del taptest
ip link del "$parked"
# Programs of it may still run.
umount --lazy /usr/bin
