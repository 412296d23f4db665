# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# What sysfs shows of an adapter: interfaces without an address. Those that a VM gets are veth
# devices.
adapter=$work/adapter
mkdir -p "$adapter/class/net" "$adapter/devices/pci0000:00/0000:0a:00.0/net"
add_nics() {
    for nic; do
        ip link add "$nic" type veth peer name "$nic-far"
        place=devices/pci0000:00/0000:0a:00.0/net/$nic
        mkdir "$adapter/$place"
        echo 00:00:00:00:00:00 >"$adapter/$place/address"
        ln -s ../../../0000:0a:00.0 "$adapter/$place/device"
        ln -s "../../$place" "$adapter/class/net/$nic"
    done
}

# with_adapter COMMAND...
with_adapter() {
    mount --bind "$adapter" /sys || return
    "$@"
    set -- $?
    umount /sys
    return "$1"
}

asked="vmfex={'$nic1': 'gold'}"
helper=/usr/libexec/vdsm-hooks/vmfex-pool
pool_is() { is "$(virsh net-list --all | awk '$1 == "direct-pool" { print $2, $3, $4 }')" "$1"; }
members() { virsh net-dumpxml direct-pool "$@" | grep -o "<interface dev='[^']*'" | cut -d "'" -f 2 | tr '\n' ' '; }
members_are() { is "$(members)" "$1" && is "$(members --inactive)" "$1"; }
pool_id() { virsh net-uuid direct-pool; }
fresh_vm() {
    stop_vm
    make_vm "$work/vm.xml"
}
drop_pool() {
    virsh net-destroy direct-pool
    virsh net-undefine direct-pool
} >/dev/null 2>&1
start_fails() { ! start_vm "$work/vm.xml" 2>"$work/refusal" && tail -n 1 "$work/refusal" && grep -e "$1" "$work/refusal"; }
# many COMMAND...: six at the same time.
many() {
    pids=
    for _ in 1 2 3 4 5 6; do
        "$@" &
        pids="$pids $!"
    done
    for pid in $pids; do wait "$pid" || return 1; done
}

check "without interfaces a VM is refused" with_adapter refused 'host has no VM-FEX interfaces' -p "$asked"
check "and no pool is made" pool_is ''
add_nics fex1 fex0
check "before_vm_start makes the pool" with_adapter fire before_vm_start "$work/vm.xml" -p "$asked"
check "it is active, starts with the host, and is kept" pool_is 'active yes yes'
check "it has the interfaces, sorted" members_are 'fex0 fex1 '
check "libvirt takes the NIC" virsh define --validate "$work/vm.xml"
check "libvirt prepares the NIC and sends the port profile" start_fails 'PortProfileRequest'
not_run "the 802.1Qbh handshake" "needs a Cisco adapter and its switch"
sed -i '/<virtualport type="802.1Qbh">/s,$,<filterref filter="vdsm-no-mac-spoofing"/>,' "$work/vm.xml"
check "with the filter that the hook removes libvirt would refuse it" start_fails 'filterref is not supported'

id=$(pool_id)
fresh_vm
with_adapter fire before_vm_start "$work/vm.xml" -p "$asked" >/dev/null
sed -i 's,<virtualport type="802.1Qbh">.*</virtualport>,,' "$work/vm.xml"
in_use() { virsh net-dumpxml direct-pool | grep "<interface dev='fex0' connections='1'/>"; }
waits() { with_adapter fire before_vm_start "$work/vm.xml" -p "$asked" | grep -e 'gets these NICs when no VM uses it: fex2'; }
if start_vm "$work/vm.xml" 2>"$work/refusal"; then
    check "without the port profile the VM gets a member of the pool" in_use
    # What the adapter's interface has while a VM uses it.
    echo "$nic1" >"$adapter/class/net/fex0/address"
    add_nics fex2
    check "a new interface has to wait" waits
    check "libvirt still knows what is in use" in_use
    check "the pool is as it was" members_are 'fex0 fex1 '
    stop_vm
    echo 00:00:00:00:00:00 >"$adapter/class/net/fex0/address"
    make_vm "$work/vm.xml"
    check "after the VM it joins the pool" with_adapter fire before_vm_start "$work/vm.xml" -p "$asked"
    check "all are there" members_are 'fex0 fex1 fex2 '
else
    not_run "the pool hands out its members" "$(tail -n 1 "$work/refusal")"
    add_nics fex2
fi

fresh_vm
virsh net-destroy direct-pool >/dev/null
check "before_vm_migrate_destination starts a pool that is not active" \
    with_adapter fire before_vm_migrate_destination "$work/vm.xml" -p "$asked"
check "it is active again" pool_is 'active yes yes'
check "it has every interface" members_are 'fex0 fex1 fex2 '
check "it is still the same" is "$(pool_id)" "$id"
rm "$adapter/class/net/fex2"
strangers() { with_adapter fire before_vm_start "$work/vm.xml" -p "$asked" | grep -e 'no free VM-FEX interfaces of this host: fex2'; }
check "an interface that has left the host stays, with a warning" strangers
check "nothing was taken away" members_are 'fex0 fex1 fex2 '

drop_pool
check "six helpers at the same time make one pool" with_adapter many "$tree$helper"
check "it is whole" members_are 'fex0 fex1 '
virsh net-destroy direct-pool >/dev/null
check "and start it at the same time" with_adapter many "$tree$helper"
check "it runs" pool_is 'active yes yes'

# As on a host: VDSM's user, sudo, and the helper at its place.
as_vdsm() {
    mkdir -p /run/data && cp "$work/vm.xml" /run/data/vm.xml && chown -R vdsm:vdsm /run/data &&
        timeout 60 setpriv --reuid=vdsm --regid=vdsm --clear-groups env -i _hook_domxml=/run/data/vm.xml \
            "$asked" /usr/libexec/vdsm/hooks/before_vm_start/50_vmfex
}
vdsm_is_refused() { ! as_vdsm 2>"$work/refusal" && cat "$work/refusal" && grep -e "$1" "$work/refusal"; }
nobody_tells_it() {
    ! timeout 20 setpriv --reuid=vdsm --regid=vdsm --clear-groups sudo -n "$helper" --help >"$work/refusal" 2>&1 &&
        grep -e 'password is required' "$work/refusal"
}
useradd --system --shell /bin/false vdsm
mount -t overlay overlay -o "lowerdir=$tree/usr/libexec:/usr/libexec" /usr/libexec
drop_pool
check "VDSM's user cannot make the pool without its line for sudo" \
    with_adapter vdsm_is_refused 'cannot set up network direct-pool: .*sudo: '
check "there is no pool" pool_is ''
cp "$tree/etc/sudoers.d/50_vdsm_hooks_vmfex" /etc/sudoers.d
fresh_vm
check "with it the helper makes the pool" with_adapter as_vdsm
check "the pool is there" members_are 'fex0 fex1 '
check "the NIC is connected" grep '<source network="direct-pool"/>' /run/data/vm.xml
check "sudo lets nobody give the helper arguments" nobody_tells_it

# As VDSM sets libvirt up: who wants to change something has to log in.
has_scram() { find /usr/lib* -path '*/sasl2/libscram.so*' 2>/dev/null | grep -q .; }
if ! command -v saslpasswd2 >/dev/null; then
    not_run "VDSM's login to libvirt" "needs saslpasswd2"
elif ! has_scram; then
    not_run "VDSM's login to libvirt" "needs SASL's plugin for SCRAM, libsasl2-modules or cyrus-sasl-scram"
else
    restart_libvirt() {
        kill "$(cat /run/libvirtd.pid)"
        wait_for 20 fails test -e /run/libvirtd.pid
        libvirtd >>"$work/libvirtd.log" 2>&1 &
        wait_for 60 virsh --readonly version
    }
    # What VDSM makes has no such characters; they are the ones that a key file has escapes for.
    password=' pa\ss word'
    mkdir -p /etc/pki/vdsm/keys /etc/sasl2
    printf 'mech_list: scram-sha-256\nsasldb_path: /etc/libvirt/passwd.db\n' >/etc/sasl2/libvirt.conf
    printf '%s' "$password" | saslpasswd2 -p -a libvirt -f /etc/libvirt/passwd.db vdsm@ovirt
    cp /etc/libvirt/libvirtd.conf "$work/libvirtd.conf"
    sed -i 's/^auth_unix_rw.*/auth_unix_rw = "sasl"/' /etc/libvirt/libvirtd.conf
    drop_pool
    restart_libvirt
    # First the login that works: where none does, the refusals after it prove nothing.
    printf '%s\n' "$password" >/etc/pki/vdsm/keys/libvirt_password
    chmod 600 /etc/pki/vdsm/keys/libvirt_password
    before=$failed
    check "the helper logs in with VDSM's password" with_adapter as_vdsm
    if [ "$failed" = "$before" ]; then
        add_nics fex3
        rm /etc/pki/vdsm/keys/libvirt_password
        check "libvirt wants a login" with_adapter vdsm_is_refused 'authentication failed'
        echo wrong >/etc/pki/vdsm/keys/libvirt_password
        check "a wrong password is told" with_adapter vdsm_is_refused 'authentication failed'
        check "the password is not" fails grep -e wrong "$work/refusal"
    fi
    rm -r /etc/pki/vdsm
    cp "$work/libvirtd.conf" /etc/libvirt/libvirtd.conf
    restart_libvirt
    check "the pool was made" members_are 'fex0 fex1 '
fi
drop_pool
rm /etc/sudoers.d/50_vdsm_hooks_vmfex
umount /usr/libexec
