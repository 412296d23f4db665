#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The hooks on a real hypervisor: fires each hook through an installed tree on an oVirt-shaped VM,
# starts the VM with libvirt and QEMU, and looks for the effect in the running QEMU. The checks of a
# hook are in its folder, hooks/<hook>/hypervisor.sh, and use the functions of this file and of
# hypervisor-lib.sh.
#
#     sh tests/hypervisor.sh [HOOK]...
#
# Needs root or sudo. Works in namespaces of its own and leaves nothing behind. PROGRAMS=DIR takes
# the programs that were built there before, for example target/debug.
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
        --output "$fired.new" --act \
        -p "sdcheck_repository=$repository" "$@" && mv "$fired.new" "$fired"
}

# begin HOOK: a fresh VM for the checks of this hook; false if others were asked for.
begin() {
    end
    hook=$1
    case " $wanted " in "  " | *" $1 "*) ;; *) return 1 ;; esac
    began=$(date +%s)
    stop_vm
    make_vm "$work/vm.xml"
}

# end: what the checks before took.
end() {
    [ -z "$began" ] || echo "$(($(date +%s) - began)) s: $hook"
    began=
}

# shellcheck disable=SC2120 # The arguments come by way of check.
# started -p PROPERTY...: fires before_vm_start and starts the VM, paused, unless a hook refuses.
started() { fire before_vm_start "$work/vm.xml" "$@" && start_vm "$work/vm.xml"; }

# refused PATTERN -p PROPERTY...: before_vm_start does not let the VM start, and says why.
refused() {
    pattern=$1
    shift
    ! fire before_vm_start "$work/vm.xml" "$@" >"$work/refusal" 2>&1 && grep -e "$pattern" "$work/refusal"
}

# Whether libvirt's schema takes the running VM's document as the hooks left it.
is_valid() { virt-xml-validate "$work/vm.xml" domain; }

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

peripheral() { qmp qom-list '{"path":"/machine/peripheral"}' | grep "\"$1\""; }

# has_filter MAC: packets of this vNIC pass chains that look at addresses.
has_filter() {
    list_chains "$1" && grep "^Bridge chain: I-$tap-mac," "$work/chains" &&
        grep "^Bridge chain: I-$tap-arp-mac," "$work/chains"
}

has_no_filter() { list_chains "$1" && ! grep -e "-$tap" "$work/chains"; }

list_chains() {
    tap=$(tap_of "$1") && [ -n "$tap" ] && timeout 20 ebtables -t nat -L >"$work/chains"
}

# new_nic FILE: a third vNIC, as VDSM hands it to the hooks when it is plugged in or changed.
new_nic() {
    cat >"$1" <<EOF
<interface type="bridge">
  <mac address="$nic3"/>
  <source bridge="red"/>
  <model type="virtio"/>
  <filterref filter="vdsm-no-mac-spoofing"/>
  <bandwidth/>
</interface>
EOF
}

# filter_of MAC: the filter that libvirt has put on the running VM's vNIC, with the parameters that
# the document gave it.
filter_of() {
    virsh nwfilter-binding-dumpxml "$(tap_of "$1")" >"$work/binding.xml" || return 1
    xmllint --xpath '//filterref/@filter | //parameter[@name != "MAC"]/@value' "$work/binding.xml" |
        cut -d '"' -f 2 | xargs
}

test_all_together() {
    cut_nic 2 "$work/nic.xml"
    check "before_device_create with all hooks" fire before_device_create "$work/nic.xml" \
        -p "equivnets=lab0" -p ifacemacspoof=true
    put_nic 2 "$work/nic.xml"
    mkdir -p "$work/firmware" /var/lib/libvirt/images
    truncate -s 16M /var/lib/libvirt/images/scratch.raw
    check "the VM starts with the properties of all hooks" started \
        -p cpuflags=+smap -p diskunmap=on -p "smbios={'serial': 'X-4711'}" -p log_console=on \
        -p log_firmware=on -p "log_firmware_dir=$work/firmware" -p "macbind={'$nic1': 'red'}" \
        -p 'qemu_cmdline=["-device", "pvpanic,id=from-hook"]' \
        -p "spiceoptions={'streaming': {'mode': 'off'}}" -p sdcheck=strict \
        -p numa=strict:0 -p pincpu=0 -p vmdisk=/var/lib/libvirt/images/scratch.raw:raw
    check "smap" is "$(cpu_flag smap)" true
    check "discard" is "$(discard_of sda)" unmap
    check "serial number" word '^type=1,.*serial=X-4711'
    check "firmware's log" word 'isa-debugcon'
    check "extra device" peripheral from-hook
    check "first vNIC" is "$(bridge_of "$nic1")" red
    check "second vNIC" is "$(bridge_of "$nic2")" lab0
    check "filters" has_no_filter "$nic2"
    check "memory's node" is "$(virsh numatune "$vm" | tr -s ' \n' ' ')" 'numa_mode : strict numa_nodeset : 0 '
    check "CPU" is "$(virsh vcpupin "$vm" 0 | awk '$1 == 0 { print $2 }')" 0
    check "image of the host" is "$(virsh domblklist "$vm" | awk '/scratch.raw/ { print $1 }')" vdb
}

run_checks() {
    make_host || exit 1
    make_storage
    ovs_bridge=
    # shellcheck disable=SC2034 # For the checks of the hooks.
    ! make_ovs_bridge ovs0 || ovs_bridge=ovs0

    why_no_wire=
    # shellcheck disable=SC2034 # For the checks of the hooks.
    make_wire || why_no_wire="needs veth devices and network namespaces"

    begin nothing_asked && test_nothing_asked
    for checks in "$root"/hooks/*/hypervisor.sh; do
        folder=${checks%/*}
        # shellcheck source=/dev/null
        begin "${folder##*/}" && . "$checks"
    done
    begin all_together && test_all_together
    end

    summary
    [ "$failed" -eq 0 ]
}

passed=0 failed=0 skipped=0 began=
if [ "${1-}" = --inside ]; then
    use_directory "$2"
    shift 2
    wanted=$*
    run_checks
    exit
fi
for name; do
    case $name in
    nothing_asked | all_together) ;;
    '' | */* | .*) false ;;
    *) [ -f "$root/hooks/$name/hypervisor.sh" ] ;;
    esac || {
        echo "hypervisor.sh: '$name' has no checks: expected nothing_asked, all_together or a folder of hooks" \
            "with a file hypervisor.sh" >&2
        exit 2
    }
done
hook=hypervisor
reason=$(why_no_private_host)
if [ -n "$reason" ]; then
    not_run "all checks" "$reason"
    summary
    exit
fi
work=$(mktemp -d /var/tmp/vdsm-hooks.XXXXXX) || exit 1
# The control groups of the checks that have some, which bear its name, would outlast its namespaces.
clean_up() {
    as_root rm -rf "$work"
    as_root find /sys/fs/cgroup -depth -type d -path "*/${work##*/}*" -exec rmdir {} + 2>/dev/null
}
trap clean_up EXIT
trap 'exit 1' INT TERM
sh "$root/install.sh" --destdir "$work/tree" ${PROGRAMS:+--programs "$PROGRAMS"} >"$work/install.log" 2>&1 || {
    cat "$work/install.log" >&2
    exit 1
}
on_private_host "$root/tests/hypervisor.sh" --inside "$work" "$@"
