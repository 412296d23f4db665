#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# with-lvm.sh [--lvm-of ROOT] [LOOP=NAME]... -- COMMAND...
# Runs a command on a host like VDSM's: every block device LOOP is /dev/mapper/NAME and there is no
# other, LVM's own settings hide them, and sudo lets the user vdsm do what sdcheck's rules say.
# The LVM is this machine's, or that of the Debian system in ROOT (debian.sh).
# Called inside a fresh mount namespace. Exit 77: this machine refuses a mount.
set -eu

refused() {
    echo "cannot mount $1 for a private LVM" >&2
    exit 77
}

lvm_of=
if [ "$1" = --lvm-of ]; then
    lvm_of=$2
    shift 2
fi
devices=
while [ "$1" != -- ]; do
    devices="$devices ${1#*=}:$(stat -c '%Hr:%Lr' "${1%%=*}")"
    shift
done
shift

mount -t tmpfs dev /dev || refused /dev
for device in null:c:1:3 zero:c:1:5 full:c:1:7 random:c:1:8 urandom:c:1:9 tty:c:5:0; do
    IFS=: read -r name kind major minor <<END
$device
END
    mknod -m 666 "/dev/$name" "$kind" "$major" "$minor"
done
mkdir /dev/mapper /dev/shm
for device in $devices; do
    IFS=: read -r name major minor <<END
$device
END
    mknod "/dev/mapper/$name" b "$major" "$minor"
done

mount -t tmpfs run /run || refused /run
mkdir /run/lock
mount -t tmpfs etc /etc/lvm || refused /etc/lvm
cat >/etc/lvm/lvm.conf <<'END'
devices { filter=["r|.*|"] obtain_device_list_from_udev=0 external_device_info_source="none" }
global { activation=0 use_lvmpolld=0 }
activation { monitoring=0 udev_rules=0 udev_sync=0 }
backup { archive=0 backup=0 }
END

accounts=$(mktemp -d /run/XXXXXX)
cp /etc/passwd /etc/group "$accounts"
grep -q '^vdsm:' "$accounts/passwd" || echo "vdsm:*:36:36::/:/bin/sh" >>"$accounts/passwd"
for file in passwd group; do
    mount --bind "$accounts/$file" "/etc/$file" || refused "/etc/$file"
done
mount -t tmpfs -o mode=755 sudoers /etc/sudoers.d || refused /etc/sudoers.d
cp "$(dirname "$0")/../../hooks/sdcheck/sudoers" /etc/sudoers.d/50_vdsm_hooks_sdcheck
chmod 440 /etc/sudoers.d/50_vdsm_hooks_sdcheck

if [ -n "$lvm_of" ]; then
    # With the libraries that it was built with.
    for loader in "$lvm_of"/usr/lib/*/ld-linux*.so.*; do
        printf '#!/bin/sh\nexec %s --library-path %s %s/usr/sbin/lvm "$@"\n' \
            "$loader" "${loader%/*}" "$lvm_of" >/run/lvm.sh
    done
    chmod 755 /run/lvm.sh
    mount --bind /run/lvm.sh /usr/sbin/lvm || refused /usr/sbin/lvm
fi

exec "$@"
