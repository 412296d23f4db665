# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# What sysfs shows of an adapter: interfaces without an address.
dev_adapter=$work/dev-adapter
mkdir -p "$dev_adapter/class/net" "$dev_adapter/devices/pci0000:00/0000:0a:00.0/net"
add_dev_nics() {
    for nic; do
        ip link add "$nic" type veth peer name "$nic-far"
        place=devices/pci0000:00/0000:0a:00.0/net/$nic
        mkdir "$dev_adapter/$place"
        echo 00:00:00:00:00:00 >"$dev_adapter/$place/address"
        ln -s ../../../0000:0a:00.0 "$dev_adapter/$place/device"
        ln -s "../../$place" "$dev_adapter/class/net/$nic"
    done
}

# with_dev_adapter COMMAND...
with_dev_adapter() {
    mount --bind "$dev_adapter" /sys || return
    "$@"
    set -- $?
    umount /sys
    return "$1"
}

make_vnic() {
    printf '<interface type="bridge"><mac address="56:6f:3c:10:00:03"/><source bridge="red"/>%s</interface>\n' \
        '<filterref filter="vdsm-no-mac-spoofing"/><model type="virtio"/>' >"$work/vnic.xml"
}
create() { with_dev_adapter fire "$1" "$work/vnic.xml" -p vmfex=gold; }
dev_pool_is() { is "$(virsh net-list --all | awk '$1 == "direct-pool" { print $2, $3, $4 }')" "$1"; }
dev_members_are() {
    is "$(virsh net-dumpxml direct-pool | grep -o "<interface dev='[^']*'" | cut -d "'" -f 2 | tr '\n' ' ')" "$1"
}
asks_for_profile() {
    ! virsh attach-device "$vm" "$work/vnic.xml" --live 2>"$work/refusal" && grep PortProfileRequest "$work/refusal"
}
# shellcheck disable=SC2016 # The inner shell expands it.
both() {
    with_dev_adapter sh -c '"$1" & first=$!; "$1" && wait "$first"' sh "$tree/usr/libexec/vdsm-hooks/vmfex-dev-pool"
}

make_vnic
check "without interfaces a vNIC is refused" fails create before_device_create
check "and no pool is made" dev_pool_is ''
add_dev_nics fdv0 fdv1
check "before_device_create makes the pool" create before_device_create
check "a VM that wants a filter is refused" fails fire before_device_create "$work/vnic.xml" \
    -p vmfex=gold -p noipspoof=192.0.2.9
check "it is active, starts with the host, and is kept" dev_pool_is 'active yes yes'
check "it has the interfaces" dev_members_are 'fdv0 fdv1 '
pool=$(virsh net-uuid direct-pool)
cp "$work/vnic.xml" "$work/once.xml"
check "a second run" create before_device_create
check "changes nothing" cmp "$work/vnic.xml" "$work/once.xml"
make_vnic
virsh net-destroy direct-pool >/dev/null
check "before_nic_hotplug starts a pool that is not active" create before_nic_hotplug
check "it is active again" dev_pool_is 'active yes yes'
check "it is still the same" is "$(virsh net-uuid direct-pool)" "$pool"
check "a VM runs" start_vm "$work/vm.xml"
check "libvirt takes the vNIC and sends the port profile" asks_for_profile
not_run "the 802.1Qbh handshake" "needs a Cisco adapter and its switch"
stop_vm
cp "$work/vnic.xml" "$work/once.xml"
add_dev_nics fdv2
check "before_device_migrate_destination adds a new interface" create before_device_migrate_destination
check "all are there" dev_members_are 'fdv0 fdv1 fdv2 '
check "and leaves the document alone" cmp "$work/vnic.xml" "$work/once.xml"
virsh net-destroy direct-pool >/dev/null
virsh net-undefine direct-pool >/dev/null
check "two helpers at the same time make one pool" both
check "it is whole" dev_members_are 'fdv0 fdv1 fdv2 '
# Every step fails in turn: a virsh that counts what the hook asks of it.
cat >"$work/virsh" <<EOF
#!/bin/sh
if [ -e "$work/fails-at" ]; then
    echo "\$*" >>"$work/steps"
    [ "\$(wc -l <"$work/steps")" -ne "\$(cat "$work/fails-at")" ] || { echo "no such luck" >&2 && exit 1; }
fi
exec "$work/real-virsh" "\$@"
EOF
chmod 755 "$work/virsh"
virsh=$(readlink -f /usr/bin/virsh)
cp "$virsh" "$work/real-virsh"
mount --bind "$work/virsh" "$virsh"
# fails_at STEP: before_device_create does not get further, and leaves the vNIC alone.
fails_at() {
    : >"$work/steps"
    echo "$1" >"$work/fails-at"
    create before_device_create >"$work/refusal" 2>&1
    set -- $?
    rm "$work/fails-at"
    [ "$1" -ne 0 ] && grep -e 'no such luck' "$work/refusal" && cmp "$work/vnic.xml" "$work/once.xml"
}
drop_dev_pool() { virsh net-destroy direct-pool >/dev/null && virsh net-undefine direct-pool >/dev/null; }
make_vnic
cp "$work/vnic.xml" "$work/once.xml"
drop_dev_pool
for step in 1 2 3 4 5; do
    check "step $step of making the pool fails" fails_at "$step"
    check "there is none" dev_pool_is ''
done
check "after the last step all is well" fails fails_at 6
check "the pool is there" dev_pool_is 'active yes yes'
make_vnic
virsh net-destroy direct-pool >/dev/null
for step in 1 2 3 4 5; do
    check "step $step of starting it fails" fails_at "$step"
    check "it is as it was" dev_pool_is 'inactive yes yes'
done
check "after the last step all is well" fails fails_at 6
check "the pool is active" dev_pool_is 'active yes yes'
make_vnic
add_dev_nics fdv3 fdv4
for step in 1 2 3 4 5; do
    check "step $step of extending it fails" fails_at "$step"
    check "it is as it was" dev_members_are 'fdv0 fdv1 fdv2 '
done
# What the pool has it keeps: a VM may use it already.
check "the second interface cannot be added" fails_at 6
check "the first one stays" dev_members_are 'fdv0 fdv1 fdv2 fdv3 '
check "the next run" create before_device_create
check "adds what is missing" dev_members_are 'fdv0 fdv1 fdv2 fdv3 fdv4 '
umount "$virsh"

hostile() { ! "$tree/usr/libexec/vdsm-hooks/vmfex-dev-pool" "$@" 2>"$work/refusal" && cat "$work/refusal"; }
check "the helper takes no arguments" hostile '; reboot'
check "the line for sudo is one that sudo takes" visudo -cqf "$tree/etc/sudoers.d/50_vdsm_hooks_vmfex_dev"
drop_dev_pool
for nic in fdv0 fdv1 fdv2 fdv3 fdv4; do ip link delete "$nic"; done
