# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2034,SC2154 # Shared with the scripts that source it.
#
# A throw-away oVirt host: libvirt, QEMU, bridges and a storage domain in namespaces of their own.
# Sourced by hypervisor.sh and demo.sh with $root, the checkout.
#
# Everything that is started lives in one process namespace and dies with it; bridges and packet
# filters live in one network namespace; libvirt's directories are mounts that only this process
# sees. So nothing is left behind, whatever happens, and a libvirtd of the host is not disturbed.

example_vm=$root/tests/data/ovirt-vm.xml
vm=mail01
sd=3f0c1a52-8c1d-4a27-9e46-0d5b7a913c20
nic1=56:6f:3c:10:00:01
nic2=56:6f:3c:10:00:02
nic3=56:6f:3c:10:00:03

virsh() { timeout --kill-after=5 60 virsh --connect qemu:///system --quiet "$@"; }
ovs_vsctl() { timeout --kill-after=5 20 ovs-vsctl "$@"; }

# wait_for SECONDS COMMAND...: until the command succeeds. A machine that has other work gets five times
# as long.
wait_for() {
    tries=$(($1 * 5 * 5))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.2
    done
}

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# on_private_host SCRIPT ARGUMENT...: runs the script, as root, in new namespaces. All of them end
# with it, after twenty minutes at the latest.
on_private_host() {
    as_root timeout --foreground 1200 \
        unshare --mount --net --pid --fork --kill-child --mount-proc -- sh "$@"
}

# What prevents a private host here; nothing if nothing does.
why_no_private_host() {
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        echo "needs root or sudo"
    elif ! on_private_host -c 'mount -t sysfs sysfs /sys && ip link add br0 type bridge' 2>/dev/null; then
        echo "needs the right to make namespaces, mounts and bridges"
    elif [ ! -c /dev/net/tun ]; then
        echo "needs /dev/net/tun"
    fi
}

# use_directory DIRECTORY: it takes the installed tree, the storage and all files of the test.
use_directory() {
    work=$1
    tree=$work/tree
    hooks=$tree/usr/libexec/vdsm/hooks
    repository=$work/rhev/data-center
    domain=$repository/mnt/nas.example.com:_export_data1/$sd
    metadata=$domain/dom_md/metadata
    PATH=$tree/usr/bin:$PATH:/usr/sbin:/sbin
}

# make_host: inside the namespaces, makes the host: directories, bridges, libvirt with VDSM's
# filter and networks.
make_host() {
    # A sysfs of the new network namespace, and without control groups, which libvirt then leaves
    # alone.
    mount -t sysfs sysfs /sys
    mount -t tmpfs tmpfs /run
    # An emulated CPU cannot nest, whatever this machine's own can do.
    for module in /sys/module/kvm_*; do
        [ ! -d "$module/parameters" ] || mount -t tmpfs tmpfs "$module/parameters"
    done
    mount -t tmpfs tmpfs /dev/shm
    # A copy, so that a hook's settings can be put there.
    mkdir /run/etc && cp -a /etc/. /run/etc && mount --bind /run/etc /etc
    for directory in /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt; do
        mount -t tmpfs tmpfs "$directory"
    done
    mkdir -p /run/ovirt-vmconsole-console /var/lib/libvirt/qemu/channels /var/log/libvirt/qemu \
        /etc/libvirt/nwfilter
    cp /usr/share/libvirt/nwfilter/*.xml /etc/libvirt/nwfilter/

    ip link set lo up
    for bridge in ovirtmgmt vlan100 lab0 red; do
        ip link add "$bridge" type bridge
        ip link set "$bridge" up
    done
    # The displays listen on the address of this network.
    ip address add 192.0.2.1/24 dev ovirtmgmt

    cat >/etc/libvirt/libvirtd.conf <<EOF
auth_unix_ro = "none"
auth_unix_rw = "none"
EOF
    # QEMU as root: the files of the test need no other owner. No /dev of its own: this namespace is
    # private already, and where the root directory is a chroot libvirt cannot make one.
    cat >/etc/libvirt/qemu.conf <<EOF
user = "root"
group = "root"
dynamic_ownership = 1
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "logd"
EOF
    echo 'log_outputs = "3:stderr"' >/etc/libvirt/virtlogd.conf
    virtlogd >"$work/virtlogd.log" 2>&1 &
    libvirtd >"$work/libvirtd.log" 2>&1 &
    wait_for 60 virsh version || {
        cat "$work/libvirtd.log" >&2
        echo "libvirtd does not answer" >&2
        return 1
    }
    define_filter && define_network vdsm-ovirtmgmt ovirtmgmt
}

# VDSM's filter, as its nwfilter module defines it.
define_filter() {
    cat >"$work/filter.xml" <<EOF
<filter name='vdsm-no-mac-spoofing' chain='root'>
  <filterref filter='no-mac-spoofing'/>
  <filterref filter='no-arp-mac-spoofing'/>
</filter>
EOF
    virsh nwfilter-define "$work/filter.xml" >/dev/null
}

# define_network NAME BRIDGE [VIRTUALPORT]
define_network() {
    cat >"$work/network.xml" <<EOF
<network><name>$1</name><forward mode='bridge'/><bridge name='$2'/>${3-}</network>
EOF
    virsh net-define "$work/network.xml" >/dev/null && virsh net-start "$1" >/dev/null
}

# make_ovs_bridge NAME: an Open vSwitch bridge without the kernel's module.
make_ovs_bridge() {
    mkdir -p /run/openvswitch "$work/ovs"
    timeout 20 ovsdb-tool create "$work/ovs/conf.db" /usr/share/openvswitch/vswitch.ovsschema &&
        timeout 20 ovsdb-server "$work/ovs/conf.db" --remote=punix:/run/openvswitch/db.sock \
            --detach --pidfile --log-file="$work/ovs/ovsdb.log" &&
        ovs_vsctl --no-wait init &&
        timeout 20 ovs-vswitchd --detach --pidfile --log-file="$work/ovs/vswitchd.log" &&
        ovs_vsctl --timeout=15 add-br "$1" -- set bridge "$1" datapath_type=netdev
} >"$work/ovs.log" 2>&1

# use_vdsm: as on a host, hooks and helpers at their places, a user vdsm, and what sudo lets it do
# for $hook.
use_vdsm() {
    id vdsm >/dev/null 2>&1 || useradd --system --shell /bin/false vdsm
    mount -t overlay overlay -o "lowerdir=$tree/usr/libexec:/usr/libexec" /usr/libexec &&
        cp "$tree/etc/sudoers.d/50_vdsm_hooks_$hook" /etc/sudoers.d/
}

drop_vdsm() { rm "/etc/sudoers.d/50_vdsm_hooks_$hook" && umount /usr/libexec; }

# as_vdsm EVENT/PROGRAM FILE VARIABLE=VALUE...: user vdsm fires one hook on FILE.
as_vdsm() {
    fired=$2
    program=/usr/libexec/vdsm/hooks/$1
    case $fired in *.json) data=_hook_json ;; *) data=_hook_domxml ;; esac
    shift 2
    mkdir -p /run/data && cp "$fired" /run/data/data && chown -R vdsm: /run/data || return
    timeout 60 setpriv --reuid=vdsm --regid=vdsm --clear-groups env -i "$data=/run/data/data" "$@" \
        "$program" && cat /run/data/data >"$fired"
}

# make_storage: a file storage domain, sealed, with the example VM's images.
make_storage() {
    mkdir -p "$domain/dom_md" "$domain/master"
    : >"$domain/dom_md/ids"
    truncate -s 1M "$domain/dom_md/ids"
    truncate -s 2M "$domain/dom_md/leases"
    truncate -s 16M "$domain/dom_md/inbox" "$domain/dom_md/outbox"
    cat >"$work/metadata" <<EOF
ALIGNMENT=1048576
BLOCK_SIZE=512
CLASS=Data
DESCRIPTION=mail storage
IOOPTIMEOUTSEC=10
LEASERETRIES=3
LEASETIMESEC=60
LOCKPOLICY=
LOCKRENEWALINTERVALSEC=5
POOL_UUID=b7c0e6f2-15d4-4f0b-8c52-6a3e9d1f7042
REMOTE_PATH=nas.example.com:/export/data1
ROLE=Regular
SDUUID=$sd
TYPE=NFS
VERSION=5
EOF
    # The seal is over the lines in the order of their keys, without the line ends.
    seal=$(tr -d '\n' <"$work/metadata" | sha1sum | cut -d ' ' -f 1)
    { cat "$work/metadata" && echo "_SHA_CKSUM=$seal"; } >"$metadata"

    xmllint --xpath '//disk/source/@file' "$example_vm" | cut -d '"' -f 2 |
        while read -r image; do
            image=$repository/${image#/rhev/data-center/}
            mkdir -p "${image%/*}"
            truncate -s 64M "$image"
        done
    write_boot_sector "$repository/$(image_of vda)"
    timeout 20 qemu-img create -q -f qcow2 "$repository/$(image_of sdb)" 64M
}

# image_of TARGET: where the example VM has this disk, below the repository.
image_of() {
    xmllint --xpath "string(//disk[target/@dev='$1']/source/@file)" "$example_vm" |
        sed 's,^/rhev/data-center/,,'
}

# A guest of 512 bytes: it prints one line on the first serial port and halts.
#     xor ax,ax; mov ds,ax; mov si,7c22; cld
#     next: lodsb; test al,al; jz halt; mov ah,al
#     busy: mov dx,3fd; in al,dx; test al,20; jz busy+3; mov al,ah; mov dx,3f8; out dx,al; jmp next
#     halt: hlt; jmp halt
write_boot_sector() {
    printf '\061\300\216\330\276\042\174\374\254\204\300\164\022\210\304\272\375\003\354\250\040\164\373\210\340\272\370\003\356\353\351\364\353\375guest of vdsm-hooks is up\r\n\000' |
        dd of="$1" conv=notrunc status=none
    printf '\125\252' | dd of="$1" bs=1 seek=510 conv=notrunc status=none
}

# make_vm FILE: the example VM as this machine can run it: emulated, from our repository, and
# without SPICE where QEMU lacks it.
make_vm() {
    sed -e 's/<domain type="kvm"/<domain type="qemu"/' -e "s,/rhev/data-center,$repository," \
        "$example_vm" >"$1"
    if ! has_spice; then
        sed -i -e '/<graphics type="spice"/,/<\/graphics>/d' \
            -e '/<channel type="spicevmc"/,/<\/channel>/d' "$1"
    fi
}

# Enterprise Linux keeps it out of PATH.
emulator() { command -v qemu-system-x86_64 || echo /usr/libexec/qemu-kvm; }

# The exit status of this is the same with and without SPICE.
has_spice() { timeout 20 "$(emulator)" -spice help 2>&1 | grep -q image-compression; }

# start_vm FILE: defines the VM and starts it, paused.
start_vm() { virsh define "$1" >/dev/null && virsh start "$vm" --paused >/dev/null; }

# break_seal: one byte, POOL_UUID=b7... becomes POOL_UUID=c7...; the line still looks well.
break_seal() { sed -i 's/^POOL_UUID=b/POOL_UUID=c/' "$metadata"; }

stop_vm() {
    virsh destroy "$vm"
    virsh undefine "$vm" --nvram
} >/dev/null 2>&1

qemu_pid() { cat "/run/libvirt/qemu/$vm.pid"; }

# The words of the running QEMU's command line, one a line.
qemu_words() { tr '\0' '\n' <"/proc/$(qemu_pid)/cmdline"; }

# virsh_lists "TARGET SOURCE": whether the VM has this disk.
virsh_lists() { virsh domblklist "$vm" | awk '{ print $1, $2 }' | grep -Fx "$1"; }

# hmp_says COMMAND PATTERN: what the running QEMU's monitor answers; the end of that, if the pattern
# is not there.
hmp_says() {
    virsh qemu-monitor-command "$vm" --hmp "$1" >"$work/hmp" || return
    grep -e "$2" "$work/hmp" && return
    echo "'$1' says nothing like '$2'; its last lines:"
    tail -n 20 "$work/hmp"
    return 1
}

# qmp COMMAND [ARGUMENTS]: asks the running QEMU; both are JSON without the outer object.
qmp() {
    virsh qemu-monitor-command "$vm" "{\"execute\":\"$1\"${2:+,\"arguments\":$2}}"
}

# bridge_of MAC: the bridge that the running VM's vNIC is plugged into.
bridge_of() {
    tap=$(tap_of "$1") && [ -n "$tap" ] || return 1
    if [ -e "/sys/class/net/$tap/master" ]; then
        basename "$(readlink "/sys/class/net/$tap/master")"
    else
        ovs_vsctl port-to-br "$tap"
    fi
}

# tap_of MAC: the host's end of the running VM's vNIC.
tap_of() { virsh domiflist "$vm" | awk -v mac="$1" 'tolower($5) == mac && $1 != "-" { print $1 }'; }

# cpu_flag NAME: whether the running VM's CPU has it.
cpu_flag() {
    qmp qom-get "{\"path\":\"/machine/unattached/device[0]\",\"property\":\"$1\"}" | jq -r .return
}

# alias_of TARGET: QEMU's name of the disk.
alias_of() { xmllint --xpath "string(//disk[target/@dev='$1']/alias/@name)" "$example_vm"; }

# discard_of TARGET: the mode of the block node that the disk reads and writes; null is the default,
# which ignores discards.
discard_of() {
    qemu_words | grep '^{' | jq -rs --arg id "$(alias_of "$1")" '
        (.[] | select(.id == $id) | .drive) as $node
        | .[] | select(."node-name" == $node) | .discard'
}

# guest_memory_has TEXT
guest_memory_has() {
    qmp pmemsave "{\"val\":0,\"size\":134217728,\"filename\":\"$work/memory\"}" >/dev/null &&
        grep -qaF "$1" "$work/memory"
}

# make_wire: beside the VMs, two machines on the bridge red, guest and gateway. Each is one end of a
# veth in the network namespace wire; the other ends are ports of the bridge.
make_wire() {
    ip netns add wire || return 1
    for end in guest gateway; do
        ip link add "$end-port" type veth peer name "$end" netns wire &&
            ip link set "$end-port" master red up && ip -n wire link set "$end" up || return 1
    done
    wait_for 20 forwarding guest-port && wait_for 20 forwarding gateway-port
}

forwarding() { bridge link show dev "$1" | grep 'state forwarding'; }

# filter_wire FILE: puts the filter of the vNIC in FILE on the guest's port; none if it has none.
filter_wire() {
    virsh nwfilter-binding-delete guest-port >/dev/null 2>&1
    filter=$(xmllint --xpath '/interface/filterref' "$1" 2>/dev/null) || return 0
    cat >"$work/binding.xml" <<EOF
<filterbinding>
  <owner><name>guest</name><uuid>9f4d1c1e-6d0b-4c0f-8a75-2f1f3a9be6d4</uuid></owner>
  <portdev name='guest-port'/>
  <mac address='$(xmllint --xpath 'string(/interface/mac/@address)' "$1")'/>
  $filter
</filterbinding>
EOF
    virsh nwfilter-binding-create "$work/binding.xml" >/dev/null
}

# arrive FROM TO FRAME...: the names of the frames that arrive, see support/frames.py.
arrive() { timeout 40 ip netns exec wire python3 "$root/tests/support/frames.py" "$@"; }
