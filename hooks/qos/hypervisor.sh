# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

limits="$nic1=in{'average':'1000','peak':'2000','burst':'512'}^out{'average':'500'}&$nic2=in{'average':'100'}"
first="inbound.average=1000 inbound.peak=2000 inbound.burst=512 outbound.average=500"

# tuned MAC --config|--live: the limits that libvirt has read.
tuned() {
    virsh domiftune "$vm" "$1" "$2" | sed -n 's/^\([a-z.]*\) *: \([1-9][0-9]*\)$/\1=\2/p' | xargs
}

# Why this kernel cannot do what libvirt has tc do for a limit; nothing if it can.
why_no_limits() {
    ip link add limited type bridge
    while read -r step; do
        # shellcheck disable=SC2086 # Words of a command.
        tc $step >"$work/said" 2>&1 || {
            echo "this kernel refuses 'tc $step': $(head -n 1 "$work/said")"
            break
        }
    done <<EOF
qdisc add dev limited root handle 1: htb default 1
class add dev limited parent 1: classid 1:1 htb rate 1000kbps
qdisc add dev limited parent 1:1 handle 2: sfq perturb 10
filter add dev limited parent 1:0 protocol all prio 1 handle 1 fw flowid 1
qdisc add dev limited ingress
filter add dev limited parent ffff: protocol all u32 match u32 0 0 police rate 500kbps burst 500kb mtu 64kb drop flowid :1
EOF
    ip link delete limited
}

# with_bandwidths ELEMENTS: a fresh VM whose first vNIC has these.
with_bandwidths() {
    make_vm "$work/vm.xml"
    cut_nic 1 "$work/nic.xml"
    sed -i "s,</interface>,$1&," "$work/nic.xml"
    put_nic 1 "$work/nic.xml"
}

profile='<bandwidth><inbound average="50"/><outbound average="60"/></bandwidth>'
with_bandwidths "$profile<bandwidth><inbound average=\"900\"/></bandwidth>"
virsh define "$work/vm.xml" >/dev/null
check "of two elements libvirt reads the first" \
    is "$(tuned "$nic1" --config)" "inbound.average=50 outbound.average=60"
check "before_vm_start with two elements" \
    fire before_vm_start "$work/vm.xml" -p "qos=$nic1=in{'average':'900'}"
check "the document is valid" virsh define --validate "$work/vm.xml"
check "libvirt reads the limit, and that of the direction that is not named" \
    is "$(tuned "$nic1" --config)" "inbound.average=900 outbound.average=60"
with_bandwidths '<bandwidth/>'
check "before_vm_start with the empty element of the engine" \
    fire before_vm_start "$work/vm.xml" -p "qos=$nic1=in{'average':'900'}"
check "the document is valid" virsh define --validate "$work/vm.xml"
check "libvirt reads the limit" is "$(tuned "$nic1" --config)" "inbound.average=900"

make_vm "$work/vm.xml"
new_nic "$work/nic.xml"
third="$limits&$nic3=out{'average':'300','burst':'64'}"
reason=$(why_no_limits)
if [ -n "$reason" ]; then
    not_run "limits of a running VM" "$reason"
    check "before_vm_start with limits for two vNICs" fire before_vm_start "$work/vm.xml" -p "qos=$limits"
    check "the document is valid" virsh define --validate "$work/vm.xml"
    check "before_nic_hotplug with a limit for a third vNIC" \
        fire before_nic_hotplug "$work/nic.xml" -p "qos=$third"
    check "it can be added to the VM" virsh attach-device "$vm" "$work/nic.xml" --config
    where=--config
else
    check "the VM starts with limits for two vNICs" started -p "qos=$limits"
    check "the document is valid" virsh define --validate "$work/vm.xml"
    check "the kernel limits the first vNIC" \
        sh -c "tc class show dev $(tap_of "$nic1") | grep 'htb .*rate 8Mbit ceil 16Mbit'"
    check "before_nic_hotplug with a limit for a third vNIC" \
        fire before_nic_hotplug "$work/nic.xml" -p "qos=$third"
    check "it can be plugged into the running VM" virsh attach-device "$vm" "$work/nic.xml" --live
    where=--live
fi
check "libvirt has the limits of the first vNIC" is "$(tuned "$nic1" $where)" "$first"
check "libvirt has the limit of the second vNIC" is "$(tuned "$nic2" $where)" "inbound.average=100"
check "libvirt has the limit of the third vNIC" \
    is "$(tuned "$nic3" $where)" "outbound.average=300 outbound.burst=64"

# The update of a plugged vNIC whose profile has another limit now.
make_vm "$work/fresh.xml"
xmllint --xpath '//interface[1]' "$work/fresh.xml" >"$work/nic.xml"
sed -i "s,</interface>,$profile&," "$work/nic.xml"
check "before_update_device with another limit" fire before_update_device "$work/nic.xml" -p "qos=$nic1=in{'average':'700'}"
check "the first vNIC can be changed" virsh update-device "$vm" "$work/nic.xml" $where
check "libvirt has the new limit, and the profile's of the direction that is not named" \
    is "$(tuned "$nic1" $where)" "inbound.average=700 outbound.average=60"
