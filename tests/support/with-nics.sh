#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# with-nics.sh KIND:NAME... -- COMMAND...
# Runs a command where just these network devices exist. Called inside a fresh network and mount
# namespace. Exit 77: this kernel or machine has no device of such a kind.
set -eu

mount -t sysfs sysfs /sys
# A private /run, for Open vSwitch's socket.
mount -t tmpfs tmpfs /run

start_ovs() {
    [ ! -e /run/openvswitch ] || return 0
    mkdir /run/openvswitch
    command -v ovsdb-server >/dev/null || { echo "no ovsdb-server on this machine" >&2; exit 77; }
    ovsdb-tool create /run/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema
    ovsdb-server --detach --pidfile=/run/openvswitch/pid --no-chdir --log-file=/dev/null \
        --remote=punix:/run/openvswitch/db.sock /run/openvswitch/conf.db >/dev/null 2>&1
    trap 'kill "$(cat /run/openvswitch/pid)"' EXIT
}

# Without a switch, ovs-vsctl says so; whether this machine has one installed is not to matter. Its
# words are those of the real one.
no_ovs() {
    mkdir /run/no-ovs
    cat >/run/no-ovs/ovs-vsctl <<'END'
#!/bin/sh
echo 'ovs-vsctl: unix:/var/run/openvswitch/db.sock: database connection failed (No such file or directory)' >&2
exit 1
END
    chmod 755 /run/no-ovs/ovs-vsctl
    mount -t overlay -o lowerdir=/run/no-ovs:/usr/bin overlay /usr/bin || exit 77
}

case " $*" in
*" openvswitch:"*" -- "*) ;;
*) no_ovs ;;
esac

while [ "$1" != -- ]; do
    kind=${1%%:*} name=${1#*:}
    case $kind in
    bridge | veth | bond)
        if ! ip link add "$name" type "$kind" 2>/dev/null; then
            echo "this kernel cannot make a $kind" >&2
            exit 77
        fi ;;
    openvswitch)
        # The bridge's own port is a network device; without a running switch any device will do.
        start_ovs
        ovs-vsctl --no-wait --timeout=5 add-br "$name"
        ip link add "$name" type veth ;;
    *)
        echo "unknown kind $kind" >&2
        exit 1 ;;
    esac
    shift
done
shift
status=0
"$@" || status=$?
exit "$status"
