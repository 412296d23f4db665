#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# with-host.sh ROOT [SOURCE=TARGET]... -- COMMAND...
# Runs a command with ROOT as its root directory. ROOT/usr lies over the machine's /usr, and each
# SOURCE shows at TARGET; hugetlbfs means a file system of that kind. Blanks in them are written as in
# fstab(5). Called inside fresh mount and network namespaces. Exit 77: this machine refuses a mount.
set -eu

root=$1
shift
# All mounts in one go: thousands of tests call this, and a mount of its own for each of them would
# be most of what they cost. The root becomes a mount point, so that the command may make a mount
# namespace of its own. The kernel's settings belong to the whole machine.
{
    printf '%s\n' "$root $root none bind" "overlay $root/usr overlay ro,lowerdir=$root/usr:/usr" \
        "/proc $root/proc none rbind" "/proc/sys $root/proc/sys none bind,ro"
    while [ "$1" != -- ]; do
        case $1 in
        hugetlbfs=*) printf '%s\n' "hugetlbfs $root${1#*=} hugetlbfs defaults" ;;
        *) printf '%s\n' "${1%%=*} $root${1#*=} none bind" ;;
        esac
        shift
    done
} >"$root/.test/mounts"
shift
mount --all --fstab "$root/.test/mounts" || {
    echo "cannot mount a private root directory" >&2
    exit 77
}
exec chroot "$root" "$@"
