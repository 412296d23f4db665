# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# What sysfs shows of a virtual function; its interface is a veth device.
card=$work/card
function=devices/pci0000:00/0000:05:02.2
mkdir -p "$card/class/net" "$card/$function/physfn" "$card/$function/net/vf2" "$card/kernel/iommu_groups/7"
echo d6:5e:33:01:02:03 >"$card/$function/net/vf2/address"
ln -s ../../../0000:05:02.2 "$card/$function/net/vf2/device"
ln -s "../../$function/net/vf2" "$card/class/net/vf2"
ip link add vf2 type veth peer name vf2-far
mkdir -p /run/vdsm

# with_card COMMAND...
with_card() {
    mount --bind "$card" /sys || return
    "$@"
    set -- $?
    umount /sys
    return "$1"
}
record=/run/vdsm/hooks/sriov/0000:05:02.2
asked=sriov=vf2@52:54:00:11:22:33
id=6d2c5e0b-4f37-4b0e-9a41-8f1e2d7c3b55
# as_vm ID EVENT FILE
as_vm() { env -i _hook_domxml="$3" sriov=vf2@52:54:00:11:22:33 "vmId=$1" "$hooks/$2/50_sriov"; }
reserved_for() { is "$(cat "$record" 2>/dev/null)" "$1"; }

ip address add 198.51.100.7/24 dev vf2
check "an interface with an address is refused" with_card refused 'vf2 is in use on the host' -p "$asked"
check "and not reserved" fails test -e "$record"
ip address flush dev vf2
check "before_vm_start adds the NIC" with_card fire before_vm_start "$work/vm.xml" -p "$asked"
check "the function is reserved for the VM" reserved_for "$id"
check "libvirt's schema takes the document" virsh define --validate "$work/vm.xml"
virsh undefine --nvram "$vm" >/dev/null 2>&1
not_run "a VM with a virtual function" "needs a card with SR-IOV and an IOMMU"
check "it cannot migrate" fails fire before_vm_migrate_source "$work/vm.xml" -p "$asked"
other=11111111-2222-4333-8444-555555555555
make_vm "$work/vm.xml"
check "another VM does not get it" fails with_card as_vm "$other" before_vm_start "$work/vm.xml"
check "the end of that VM" as_vm "$other" after_vm_destroy "$work/vm.xml"
check "frees nothing" reserved_for "$id"
check "the end of the VM" as_vm "$id" after_vm_destroy "$work/vm.xml"
check "frees it" fails test -e "$record"

# Twenty VMs that start at the same time want it.
race() {
    mkdir -p "$work/race"
    pids=
    for number in $(seq 10 29); do
        cp "$work/vm.xml" "$work/race/$number.xml"
        as_vm "$number${other#??}" before_vm_start "$work/race/$number.xml" 2>/dev/null &
        pids="$pids $!"
    done
    won=0
    for pid in $pids; do if wait "$pid"; then won=$((won + 1)); fi; done
    is "$won" 1
}
check "of twenty VMs one gets it" with_card race
winner() { is "$(grep -l 52:54:00:11:22:33 "$work"/race/*.xml | sed 's:.*/::')" "$(cut -c 1-2 "$record").xml"; }
check "the one that it is reserved for" winner
rm -r /run/vdsm
ip link delete vf2
