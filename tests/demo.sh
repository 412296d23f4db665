#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The README's first command: builds vdsm-hooks, shows what three hooks would do to a VM, starts
# that VM with libvirt and QEMU, and shows how a broken storage domain stops a start.
#
#     sh tests/demo.sh
#
# Installs what it needs, on Debian. Leaves nothing else behind.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/hypervisor-lib.sh source-path=SCRIPTDIR/..
. "$root/tests/hypervisor-lib.sh"

if [ -t 1 ]; then
    bold=$(printf '\033[1m')
    plain=$(printf '\033[0m')
else
    bold=
    plain=
fi

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

# dry_run ARGUMENT...: shows the command as one would type it, and runs it.
dry_run() {
    cd "$work"
    set -- before_vm_start --domain vm.xml --hooks-dir "${hooks#"$work/"}" "$@"
    printf '$ vdsm-hooks run'
    for word; do
        case $word in
        *[!a-zA-Z0-9/_.:=,+-]*) printf " '%s'" "$(printf '%s' "$word" | sed "s/'/'\\\\''/g")" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    echo
    timeout 60 vdsm-hooks run "$@"
}

show() {
    say "1. Building the hooks, a few minutes the first time, and installing them into a directory of" \
        "their own, as VDSM expects them ..."
    sh "$root/install.sh" --destdir "$tree" >"$work/install.log" 2>&1 || {
        cat "$work/install.log" >&2
        return 1
    }
    (cd "$hooks" && ls -d -- */*)

    say "2. A dry run on an oVirt VM with three custom properties. Every hook fires, in VDSM's order," \
        "on a copy; libvirt's schema has to hold before and after each of them."
    make_storage
    make_vm "$work/vm.xml"
    dry_run -p cpuflags=+smap,-popcnt -p diskunmap=on -p "smbios={'serial': 'X-4711'}" \
        --schema --output changed.xml

    reason=$(why_no_private_host)
    if [ -z "$reason" ]; then
        on_private_host "$root/tests/demo.sh" --start "$work"
    else
        echo "NOT RUN: the start of the VM: $reason"
    fi

    say "4. Somebody edits the storage domain's metadata by hand, one byte. The hook sdcheck verifies" \
        "the seal of every domain that the VM uses, and VDSM would not start the VM:"
    break_seal
    if dry_run --hook sdcheck; then
        echo "the broken seal was not noticed" >&2
        return 1
    fi

    say "That was all: the VM is stopped, its directory and its bridges are gone."
}

# In the namespaces: starts the VM that the hooks have changed, and asks the running QEMU.
start() {
    say "3. Starting that VM, emulated, with libvirt and QEMU in namespaces of their own, and asking" \
        "the running QEMU ..."
    make_host
    start_vm "$work/changed.xml"
    echo "CPU flag smap:        $(cpu_flag smap)"
    echo "CPU flag popcnt:      $(cpu_flag popcnt)"
    echo "discard, SCSI disk:   $(discard_of sda)"
    echo "discard, virtio disk: $(discard_of vda)"
    virsh resume "$vm" >/dev/null
    wait_for 20 guest_memory_has X-4711
    echo "X-4711:               found in the guest's memory"
    stop_vm
}

if [ "${1-}" = --start ]; then
    use_directory "$2"
    start
    exit
fi
sh "$root/tests/needs.sh" demo
directory=$(mktemp -d /var/tmp/vdsm-hooks.XXXXXX)
trap 'as_root rm -rf "$directory"' EXIT
trap 'exit 1' INT TERM
use_directory "$directory"
show
