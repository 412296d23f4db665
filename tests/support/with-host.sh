#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# with-host.sh ROOT [SOURCE=TARGET]... -- COMMAND...
# Runs a command with ROOT as its root directory. ROOT/usr lies over the machine's /usr, and each
# SOURCE shows at TARGET; hugetlbfs means a file system of that kind. Called inside fresh mount and
# network namespaces. Exit 77: this machine refuses a mount.
set -eu

refused() {
    echo "cannot mount $1 for a private root directory" >&2
    exit 77
}

root=$1
shift
# A mount point, so that the command may make a mount namespace of its own.
mount --bind "$root" "$root" || refused the root
mount -t overlay -o "lowerdir=$root/usr:/usr" overlay "$root/usr" || refused an overlay
mount --rbind /proc "$root/proc" || refused /proc
# The kernel's settings belong to the whole machine.
mount --bind "$root/proc/sys" "$root/proc/sys" || refused /proc/sys
mount -o remount,bind,ro "$root/proc/sys" || refused /proc/sys
while [ "$1" != -- ]; do
    case $1 in
    hugetlbfs=*) mount -t hugetlbfs hugetlbfs "$root${1#*=}" || refused "${1#*=}" ;;
    *) mount --bind "${1%%=*}" "$root${1#*=}" || refused "${1#*=}" ;;
    esac
    shift
done
shift
exec chroot "$root" "$@"
