# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# Files and VDSM's configuration are real. A systemctl stands in that knows the two command lines.
lab=$work/fcoe
nets=/var/lib/vdsm/staging/netconf/nets
was_there=$(ls -d /var/lib/vdsm 2>/dev/null)
mkdir -p "$lab" /etc/fcoe /var/lib/vdsm
mount -t tmpfs tmpfs /etc/fcoe && mount -t tmpfs tmpfs /var/lib/vdsm && mkdir -p "$nets"
cat >/etc/fcoe/cfg-ethx <<EOF
# What fcoe-utils brings.
FCOE_ENABLE="yes"
DCB_REQUIRED="yes"
AUTO_VLAN="yes"
MODE="fabric"
EOF
cat >"$lab/systemctl" <<EOF
#!/bin/sh
case "\$#:\$*" in
    '2:restart lldpad' | '2:restart fcoe') echo "\$2" >>$lab/restarted ;;
    *) echo "unexpected: \$*" | tee -a $lab/restarted >&2; exit 64 ;;
esac
EOF
chmod 755 "$lab/systemctl"
systemctl=$(command -v systemctl)

# asked NETWORK ATTRIBUTES...: as root, as in VDSM's network set-up.
asked() {
    : >"$lab/restarted"
    requested=
    while [ $# -gt 0 ]; do
        requested="$requested${requested:+, }\"$1\": {$2}"
        shift 2
    done
    printf '{"request": {"networks": {%s}, "bondings": {}, "options": {}}}\n' "$requested" >"$lab/request.json"
    cp "$lab/request.json" "$lab/before.json"
    _hook_json=$lab/request.json "$hooks/before_network_setup/50_fcoe" && cmp "$lab/request.json" "$lab/before.json"
}
# refuses PATTERN NETWORK ATTRIBUTES...
refuses() {
    pattern=$1
    shift
    ! asked "$@" 2>"$lab/refusal" && grep -e "$pattern" "$lab/refusal"
}
# What VDSM does after the hook.
configured() { echo "{$2}" >"$nets/$1"; }
ports_are() { is "$(find /etc/fcoe -type f -printf '%f\n' | sort | tr '\n' ' ')" "$1"; }
restarted() { is "$(tr '\n' ' ' <"$lab/restarted")" "$1"; }
# has NIC VARIABLE VALUE: as the scripts of fcoe-utils read it.
has() { is "$(sh -c '. "$0" && eval "echo \"\$$1\""' "/etc/fcoe/cfg-$1" "$2")" "$3"; }
on() { printf '"nic": "%s", "bridged": false, "custom": {"fcoe": "%s"}' "$1" "$2"; }
state() { (cd /etc/fcoe && ls -lAi --time-style=full-iso && cat -- *) >"$lab/$1"; }

if [ -z "$systemctl" ]; then
    check "a network without the property is left alone" asked lan '"nic": "em1"'
    not_run "ports" "needs systemctl"
else
    mount --bind "$lab/systemctl" "$(readlink -f "$systemctl")"
    check "a network without the property" asked lan '"nic": "em1"'
    check "restarts nothing" restarted ''
    check "a port is made" asked san "$(on em1 'enable=yes,dcb=no')"
    check "it is the only one" ports_are 'cfg-em1 cfg-ethx '
    check "with the property's word" has em1 DCB_REQUIRED no
    check "and the default" has em1 MODE fabric
    check "everybody may read it" is "$(stat -c '%a %U' /etc/fcoe/cfg-em1)" '644 root'
    check "lldpad first, then fcoe" restarted 'lldpad fcoe '
    configured san "$(on em1 'enable=yes,dcb=no')"
    state before
    check "the same again" asked san "$(on em1 'enable=yes,dcb=no')"
    state after
    check "touches no file" cmp "$lab/before" "$lab/after"
    check "and restarts nothing" restarted ''
    check "a value is changed" asked san "$(on em1 false)"
    check "in the file" has em1 FCOE_ENABLE no
    configured san "$(on em1 false)"
    check "a second network on the NIC" asked tape "$(on em1 false), \"vlan\": 12"
    configured tape "$(on em1 false), \"vlan\": 12"
    check "one of the two is removed" asked tape '"remove": true'
    check "the NIC keeps its port" ports_are 'cfg-em1 cfg-ethx '
    rm "$nets/tape"
    check "the network moves" asked san "$(on em2 true)"
    check "to another NIC" ports_are 'cfg-em2 cfg-ethx '
    configured san "$(on em2 true)"
    check "a bond is refused" refuses 'needs a plain NIC' new "$(on em3 true)" san '"bonding": "bond0", "custom": {"fcoe": ""}'
    check "nothing is written before" ports_are 'cfg-em2 cfg-ethx '

    # Each file in turn cannot be replaced or removed: it is a mount of its own.
    asked other "$(on em4 true)" third "$(on em6 true)"
    configured other "$(on em4 true)"
    configured third "$(on em6 true)"
    state before
    for nic in em2 em4 em6; do
        cp "/etc/fcoe/cfg-$nic" "$lab/mounted"
        mount --bind "$lab/mounted" "/etc/fcoe/cfg-$nic"
        check "without cfg-$nic nothing changes" refuses "/etc/fcoe/cfg-$nic" san "$(on em5 dcb=no)" \
            other "$(on em4 dcb=no)" third '"remove": true'
        umount "/etc/fcoe/cfg-$nic"
        state after
        check "all files are what they were" cmp "$lab/before" "$lab/after"
        check "no service knows of it" restarted ''
    done
    # And with room for so many files more.
    used=$(df --output=iused /etc/fcoe | tail -n 1)
    room=0
    while [ "$room" -lt 10 ]; do
        mount -o "remount,nr_inodes=$((used + room))" /etc/fcoe
        asked san "$(on em5 dcb=no)" other "$(on em4 dcb=no)" third '"remove": true' 2>"$lab/refusal" && break
        state after
        check "room for $room files: all are what they were" cmp "$lab/before" "$lab/after"
        room=$((room + 1))
    done
    # Two new files, and the old ones of three NICs.
    check "it takes five" is "$room" 5
    check "then all have changed" ports_are 'cfg-em4 cfg-em5 cfg-ethx '
    mount -o remount,nr_inodes=100 /etc/fcoe
    rm "$nets/third"
    configured other "$(on em4 dcb=no)"
    configured san "$(on em5 dcb=no)"

    check "the property is dropped, on another NIC" asked san '"nic": "em7"'
    check "the old NIC is no port any more" ports_are 'cfg-em4 cfg-ethx '
    check "the last one is removed" asked other '"remove": true'
    check "and its port" ports_are 'cfg-ethx '
    check "with a restart" restarted 'lldpad fcoe '
    rm /etc/fcoe/cfg-ethx
    check "without the defaults it says what to install" refuses 'install fcoe-utils' san "$(on em1 true)"
    umount "$(readlink -f "$systemctl")"
    not_run "a port that logs in to a fabric" "needs lldpad, fcoe-utils and an FCoE switch"
fi
umount /etc/fcoe /var/lib/vdsm
[ -n "$was_there" ] || rmdir /var/lib/vdsm
