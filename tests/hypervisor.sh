#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The hooks on a real hypervisor: fires each hook through an installed tree on an oVirt-shaped VM,
# starts the VM with libvirt and QEMU, and looks for the effect in the running QEMU.
#
#     sh tests/hypervisor.sh [HOOK]...
#
# Needs root or sudo. Works in namespaces of its own and leaves nothing behind.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/hypervisor-lib.sh source-path=SCRIPTDIR/..
. "$root/tests/hypervisor-lib.sh"

summary() { echo "$passed passed, $failed failed, $skipped skipped"; }

not_run() {
    echo "NOT RUN: $hook: $1: $2"
    skipped=$((skipped + 1))
}

# check WHAT COMMAND...: one line for the result; what the command said only if it fails.
check() {
    what=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        echo "ok $hook: $what"
        passed=$((passed + 1))
    else
        echo "FAIL $hook: $what"
        sed 's/^/    /' "$work/said"
        failed=$((failed + 1))
    fi
}

is() { [ "$1" = "$2" ] || { echo "found '$1', expected '$2'" && false; }; }
fails() { ! "$@"; }

# fire EVENT FILE ARGUMENT...: what VDSM does at an event, all installed hooks, on FILE.
fire() {
    fired=$2
    event=$1
    shift 2
    timeout --kill-after=5 60 vdsm-hooks run "$event" --domain "$fired" --hooks-dir "$hooks" \
        --output "$fired.new" \
        -p "sdcheck_repository=$repository" "$@" && mv "$fired.new" "$fired"
}

# begin HOOK: a fresh VM for the checks of this hook; false if others were asked for.
begin() {
    hook=$1
    tested="$tested $1 "
    case " $wanted " in "  " | *" $1 "*) ;; *) return 1 ;; esac
    stop_vm
    make_vm "$work/vm.xml"
}

# shellcheck disable=SC2120 # The arguments come by way of check.
# started -p PROPERTY...: fires before_vm_start and starts the VM, paused, unless a hook refuses.
started() { fire before_vm_start "$work/vm.xml" "$@" && start_vm "$work/vm.xml"; }

cut_nic() { xmllint --xpath "//interface[$1]" "$work/vm.xml" >"$2"; }

# put_nic NUMBER FILE: FILE takes the place of the VM's vNIC.
put_nic() {
    awk -v number="$1" -v file="$2" '
        /<interface /   { if (++seen == number) { inside = 1; while ((getline line < file) > 0) if (line !~ /^<\?xml/) print line } }
        !inside         { print }
        /<\/interface>/ { inside = 0 }' "$work/vm.xml" >"$work/vm.put" && mv "$work/vm.put" "$work/vm.xml"
}

# nic_started NUMBER -p PROPERTY...: as VDSM does, fires before_device_create for one vNIC first;
# a vNIC's properties are not there at before_vm_start.
# shellcheck disable=SC2119
nic_started() {
    number=$1
    shift
    cut_nic "$number" "$work/nic.xml" && fire before_device_create "$work/nic.xml" "$@" &&
        put_nic "$number" "$work/nic.xml" && started
}

test_nothing_asked() {
    cp "$work/vm.xml" "$work/before.xml"
    check "the VM starts with every hook installed and no property set" started
    check "the document is byte-identical" cmp "$work/before.xml" "$work/vm.xml"
    # What the other checks find must come from the hooks.
    check "QEMU has none of the effects" no_effects
}

no_effects() {
    is "$(cpu_flag smap)" false && is "$(cpu_flag popcnt)" true &&
        is "$(discard_of sda)" null && is "$(bridge_of "$nic1")" ovirtmgmt &&
        is "$(bridge_of "$nic2")" vlan100 && has_filter "$nic1" && has_filter "$nic2" &&
        fails grep -q 'X-4711' "$work/vm.xml" && fails word 'isa-debugcon' &&
        fails peripheral from-hook
}

word() { qemu_words | grep -e "$1"; }

test_cpuflags() {
    check "the VM starts with +smap,-popcnt" started -p cpuflags=+smap,-popcnt
    check "the running CPU has smap" is "$(cpu_flag smap)" true
    check "the running CPU lacks popcnt" is "$(cpu_flag popcnt)" false
}

# blocks_after_discard TARGET: fills 8 MiB of the disk, discards them again through the running
# QEMU, and tells how much of that is still allocated on the storage.
blocks_after_discard() {
    for action in 'write 0 8M' 'discard 0 8M'; do
        virsh qemu-monitor-command "$vm" --hmp "qemu-io -d $(alias_of "$1") \"$action\"" >/dev/null
    done
    sync "$repository/$(image_of "$1")"
    echo $(($(stat -c %b "$repository/$(image_of "$1")") / 2048)) MiB
}

test_diskunmap() {
    check "the VM starts with diskunmap=off" started -p diskunmap=off
    check "a discard leaves the blocks allocated" is "$(blocks_after_discard sda)" "8 MiB"
    stop_vm
    make_vm "$work/vm.xml"
    check "the VM starts with diskunmap=on" started -p diskunmap=on
    check "QEMU unmaps on the SCSI disk sda" is "$(discard_of sda)" unmap
    check "QEMU unmaps on the SCSI disk sdb" is "$(discard_of sdb)" unmap
    check "QEMU does not on the virtio disk" is "$(discard_of vda)" null
    check "a discard gives the blocks back to the storage" is "$(blocks_after_discard sda)" "0 MiB"
}

test_smbios() {
    check "the VM starts with a serial number and a vendor" \
        started -p "smbios={'serial': 'X-4711, é'}^{'vendor': 'Acme'}"
    check "QEMU is told the serial number" word '^type=1,.*serial=X-4711,, é'
    check "QEMU is told the vendor" word '^type=0,vendor=Acme'
    virsh resume "$vm"
    check "the firmware put it into the guest's memory" wait_for 20 guest_memory_has "X-4711, é"
}

peripheral() { qmp qom-list '{"path":"/machine/peripheral"}' | grep "\"$1\""; }

fw_cfg_words() {
    qemu_words | grep -x -A1 -e -fw_cfg | grep -xF 'name=opt/org.example.text,string=a <b> & "c"'
}

test_qemucmdline() {
    check "the VM starts with arguments of its own" started -p \
        'qemu_cmdline=["-fw_cfg", "name=opt/org.example.text,string=a <b> & \"c\"", "-device", "pvpanic,id=from-hook"]'
    check "QEMU has the device" peripheral from-hook
    check "QEMU has the fw_cfg text, unchanged" fw_cfg_words
}

lines_of_guest() { grep -ac 'guest of vdsm-hooks is up' "$1"; }
guest_wrote() { is "$(lines_of_guest "$1")" "$2"; }

test_log_console() {
    log=/var/log/libvirt/qemu/$vm-console.log
    check "the VM starts with log_console=on" started -p log_console=on
    virsh resume "$vm"
    check "what the guest prints on its serial port is in the log" wait_for 30 guest_wrote "$log" 1
    virsh destroy "$vm" && virsh start "$vm"
    check "the next start adds to the log" wait_for 30 guest_wrote "$log" 2
    stop_vm
    rm "$log"
    make_vm "$work/vm.xml"
    check "the VM starts with the host's pattern ^web" started -p log_console_vm_regexp=^web
    check "QEMU does not log another VM" fails word "logfile=\|$log\|/dev/fdset"
}

test_log_firmware() {
    mkdir "$work/firmware"
    log=$work/firmware/$vm-firmware.log
    check "the VM starts with the host's pattern mail" \
        started -p log_firmware_vm_regexp=mail -p "log_firmware_dir=$work/firmware"
    virsh resume "$vm"
    check "what SeaBIOS says is in the log" wait_for 30 grep -qa '^SeaBIOS' "$log"
}

test_macbind() {
    check "the VM starts with one vNIC on another Linux bridge" started -p "macbind={'$nic1': 'red'}"
    check "its tap is a port of that bridge" is "$(bridge_of "$nic1")" red
    check "the other vNIC stays" is "$(bridge_of "$nic2")" vlan100
    stop_vm
    make_vm "$work/vm.xml"
    if [ -z "$ovs_bridge" ]; then
        not_run "a vNIC on an Open vSwitch bridge" "$(tail -1 "$work/ovs.log")"
        return
    fi
    # libvirt refuses filters on ports of Open vSwitch.
    check "the VM starts with one vNIC on an Open vSwitch bridge" \
        started -p macspoof=true -p "macbind={'$nic2': '$ovs_bridge'}"
    check "its tap is a port of that bridge" is "$(bridge_of "$nic2")" "$ovs_bridge"
}

test_extnet() {
    define_network lab lab0
    check "the VM starts with a vNIC in libvirt's network lab" nic_started 2 -p extnet=lab
    check "its tap is on the network's bridge" is "$(bridge_of "$nic2")" lab0
    check "the other vNIC stays" is "$(bridge_of "$nic1")" ovirtmgmt
    cat >"$work/nic.xml" <<EOF
<interface type="bridge">
  <mac address="56:6f:3c:10:00:03"/>
  <source bridge="red"/>
  <model type="virtio"/>
</interface>
EOF
    check "before_nic_hotplug accepts a third vNIC" fire before_nic_hotplug "$work/nic.xml" -p extnet=lab
    check "it can be plugged into the running VM" virsh attach-device "$vm" "$work/nic.xml" --live
    check "the plugged one is on the network's bridge" is "$(bridge_of 56:6f:3c:10:00:03)" lab0
}

test_allocate_net() {
    check "the VM starts with a vNIC out of the pool red, lab0" nic_started 1 -p "equivnets=red lab0"
    drawn=$(bridge_of "$nic1")
    check "its tap is on one of the two bridges" one_of "$drawn" red lab0
    check "the other vNIC stays" is "$(bridge_of "$nic2")" vlan100
}

one_of() {
    one=$1
    shift
    for candidate; do [ "$one" != "$candidate" ] || return 0; done
    echo "found '$one', expected one of $*" && false
}

# has_filter MAC: packets of this vNIC pass chains that look at addresses.
has_filter() {
    list_chains "$1" && grep "^Bridge chain: I-$tap-mac," "$work/chains" &&
        grep "^Bridge chain: I-$tap-arp-mac," "$work/chains"
}

has_no_filter() { list_chains "$1" && ! grep -e "-$tap" "$work/chains"; }

list_chains() {
    tap=$(tap_of "$1") && [ -n "$tap" ] && timeout 20 ebtables -t nat -L >"$work/chains"
}

test_macspoof() {
    check "the VM starts with macspoof=true" started -p macspoof=true
    check "the host filters no address of the first vNIC" has_no_filter "$nic1"
    check "the host filters no address of the second vNIC" has_no_filter "$nic2"
    stop_vm
    make_vm "$work/vm.xml"
    check "the VM starts with ifacemacspoof=true for one vNIC" nic_started 1 -p ifacemacspoof=true
    check "the host filters no address of that one" has_no_filter "$nic1"
    check "the host still filters the other one's" has_filter "$nic2"
}

test_spiceoptions() {
    if ! has_spice; then
        not_run "options of the display" "this QEMU is built without SPICE"
        return
    fi
    check "the VM starts with options of its display" started -p \
        "spiceoptions={'image': {'compression': 'glz'}, 'jpeg': {'compression': 'never'}, 'streaming': {'mode': 'filter'}}"
    check "QEMU compresses images with glz" word 'image-compression=glz'
    check "QEMU does not use JPEG" word 'jpeg-wan-compression=never'
    check "QEMU streams filtered" word 'streaming-video=filter'
    check "its SPICE server is up" is "$(qmp query-spice | jq -r .return.enabled)" true
}

# The index in QEMU's boot order, by a part of the device's description.
boot_index() {
    virsh domxml-to-native qemu-argv --xml "$work/vm.xml" | tr "'" '\n' | grep '^{' |
        jq -r "select($1) | .bootindex"
}

test_boot_hostdev() {
    sed -i 's,<controller type="virtio-serial",<hostdev mode="subsystem" type="usb"><source><address bus="1" device="2"/></source></hostdev>&,' \
        "$work/vm.xml"
    # Port 1 of bus 1 holds device number 2: the kernel says so in sysfs, which is made here.
    mkdir -p "$work/usb/usb/devices/1-1"
    echo 1 >"$work/usb/usb/devices/1-1/busnum"
    echo 2 >"$work/usb/usb/devices/1-1/devnum"
    mount --bind "$work/usb" /sys/bus
    check "the hook finds the USB device behind port 1" \
        fire before_vm_start "$work/vm.xml" -p boot_hostdev=usb_1_1
    umount /sys/bus
    check "libvirt gives QEMU the host device as the first to boot" \
        is "$(boot_index '.driver == "usb-host"')" 1
    check "the virtio disk is the second" is "$(boot_index ".id == \"$(alias_of vda)\"")" 2
    check "the SCSI disk is the third" is "$(boot_index ".id == \"$(alias_of sda)\"")" 3
    not_run "the host device in a running QEMU" "takes a real USB, PCI or SCSI device to give away"
}

vm_is_off() { fails virsh domid "$vm"; }

test_sdcheck() {
    cp "$metadata" "$work/sealed"
    check "the VM starts from a domain with an intact seal" started
    stop_vm
    break_seal
    make_vm "$work/vm.xml"
    # shellcheck disable=SC2119
    started >"$work/refusal" 2>&1
    status=$?
    check "one changed byte in the metadata stops the start with status 2" is "$status" 2
    check "the message names the storage domain" grep "$sd" "$work/refusal"
    check "the VM does not run" vm_is_off
    make_vm "$work/vm.xml"
    check "the VM starts all the same with sdcheck=warn" started -p sdcheck=warn
    stop_vm
    cat "$work/sealed" >"$metadata"
    make_vm "$work/vm.xml"
    check "the VM starts again from the repaired domain" started
}

test_all_together() {
    cut_nic 2 "$work/nic.xml"
    check "before_device_create with all hooks" fire before_device_create "$work/nic.xml" \
        -p "equivnets=lab0" -p ifacemacspoof=true
    put_nic 2 "$work/nic.xml"
    mkdir -p "$work/firmware"
    check "the VM starts with the properties of all hooks" started \
        -p cpuflags=+smap -p diskunmap=on -p "smbios={'serial': 'X-4711'}" -p log_console=on \
        -p log_firmware=on -p "log_firmware_dir=$work/firmware" -p "macbind={'$nic1': 'red'}" \
        -p 'qemu_cmdline=["-device", "pvpanic,id=from-hook"]' \
        -p "spiceoptions={'streaming': {'mode': 'off'}}" -p sdcheck=strict
    check "smap" is "$(cpu_flag smap)" true
    check "discard" is "$(discard_of sda)" unmap
    check "serial number" word '^type=1,.*serial=X-4711'
    check "firmware's log" word 'isa-debugcon'
    check "extra device" peripheral from-hook
    check "first vNIC" is "$(bridge_of "$nic1")" red
    check "second vNIC" is "$(bridge_of "$nic2")" lab0
    check "filters" has_no_filter "$nic2"
}

run_checks() {
    make_host || exit 1
    make_storage
    ovs_bridge=
    ! make_ovs_bridge ovs0 || ovs_bridge=ovs0

    hook=hypervisor
    begin nothing_asked && test_nothing_asked
    begin allocate_net && test_allocate_net
    begin boot_hostdev && test_boot_hostdev
    begin cpuflags && test_cpuflags
    begin diskunmap && test_diskunmap
    begin extnet && test_extnet
    begin log_console && test_log_console
    begin log_firmware && test_log_firmware
    begin macbind && test_macbind
    begin macspoof && test_macspoof
    begin qemucmdline && test_qemucmdline
    begin sdcheck && test_sdcheck
    begin smbios && test_smbios
    begin spiceoptions && test_spiceoptions
    begin all_together && test_all_together

    hook=hypervisor
    check "every hook has a test here" every_hook_tested
    summary
    [ "$failed" -eq 0 ]
}

every_hook_tested() {
    for folder in "$root"/hooks/*/; do
        name=$(basename "$folder")
        case $tested in *" $name "*) ;; *) echo "no test of $name in tests/hypervisor.sh" && return 1 ;; esac
    done
}

passed=0 failed=0 skipped=0 tested=
if [ "${1-}" = --inside ]; then
    use_directory "$2"
    shift 2
    wanted=$*
    run_checks
    exit
fi
hook=hypervisor
reason=$(why_no_private_host)
if [ -n "$reason" ]; then
    not_run "all checks" "$reason"
    summary
    exit
fi
work=$(mktemp -d /var/tmp/vdsm-hooks.XXXXXX) || exit 1
trap 'as_root rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
sh "$root/install.sh" --destdir "$work/tree" >"$work/install.log" 2>&1 || {
    cat "$work/install.log" >&2
    exit 1
}
on_private_host "$root/tests/hypervisor.sh" --inside "$work" "$@"
