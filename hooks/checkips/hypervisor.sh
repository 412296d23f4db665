# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# A neighbour behind em2, with the addresses that are watched.
unshare --net sleep 900 &
neighbour=$!
wait_for 10 test "$(readlink /proc/$neighbour/ns/net)" != "$(readlink /proc/self/ns/net)"
ip link add em2 type veth peer name far netns "$neighbour"
there() { nsenter --target "$neighbour" --net "$@"; }
there ip link set lo up
there ip link set far up
there ip address add 198.51.100.1/24 dev far
ip link set em2 up
ip address add 198.51.100.2/24 dev em2
if [ -e /proc/sys/net/ipv6 ]; then
    there ip -6 address add 2001:db8:5::1/64 dev far nodad
    ip -6 address add 2001:db8:5::2/64 dev em2 nodad
    ipv6=2001:db8:5::1
else
    not_run "an IPv6 address" "this kernel has no IPv6"
    ipv6=198.51.100.1
fi

mkdir -p /run/var/persistence/netconf/nets /run/vdsm /var/lib/vdsm
mount --bind /run/var /var/lib/vdsm
mount -t overlay overlay -o "lowerdir=$tree/usr/libexec:/usr/libexec" /usr/libexec
nets=/var/lib/vdsm/persistence/netconf/nets
network() { printf '{"nic": "%s", "custom": {"%s": "%s"}}\n' "$2" "$3" "$4" >"$nets/$1"; }
network red em2 checkipv4 198.51.100.1
network blue em1 checkipv6 "$ipv6"
network green em1 checkipv4 198.51.100.9
network option em1 checkipv4 -I
echo 'no JSON' >"$nets/garbage"
mkfifo "$nets/pipe"
ln -s / "$nets/link"

unit=$tree/usr/lib/systemd/system/vdsm-checkips.service
if command -v systemd-analyze >/dev/null; then
    mkdir -p "$work/units/usr/lib/systemd/system" "$work/units/usr/libexec"
    cp -r "$tree/usr/libexec/vdsm" "$work/units/usr/libexec"
    cp "$unit" /usr/lib/systemd/system/*.target "$work/units/usr/lib/systemd/system"
    check "systemd takes the unit" systemd-analyze --root="$work/units" --man=no verify vdsm-checkips.service
    check "and finds it shut in (exposure of at most 2.0 of 10)" \
        systemd-analyze security --offline=true --threshold=20 "$unit"
else
    not_run "what systemd says of the unit" "needs systemd-analyze"
fi

# A systemd that has the unit and nothing else to do is the first process of namespaces of its own, whose
# root directory has this machine's programs, users, VDSM's files, and the network of here.
host=$work/host
cgroups=$work/cgroups
group=$cgroups/${work##*/}
log=$host/run/checkipsd.log
stamps=/run/vdsm/checkips
lay_out_host() {
    mkdir -p "$host" "$cgroups" && mount -t tmpfs -o mode=755 tmpfs "$host" || return
    (
        cd "$host" && mkdir -p usr etc/units/vdsm-checkips.service.d var/lib/vdsm run proc sys dev tmp old || exit
        for directory in /bin /sbin /lib*; do [ ! -L "$directory" ] || cp -a "$directory" .; done
        mount --rbind /usr usr && mount -t tmpfs -o mode=755 tmpfs run && mkdir run/vdsm &&
            mount --bind /run/vdsm run/vdsm && mount --bind /var/lib/vdsm var/lib/vdsm &&
            mount -t sysfs sysfs sys && cp /etc/ld.so.cache /etc/nsswitch.conf etc || exit
        for device in null:3 zero:5 full:7 random:8 urandom:9; do
            mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}" || exit
        done
        printf '%s\n' root:x:0:0::/root:/bin/sh vdsm:x:36:36::/:/bin/false >etc/passwd
        printf '%s\n' root:x:0: kvm:x:36: >etc/group
        : >etc/machine-id
        cp /usr/lib/systemd/system/*.target "$unit" etc/units
        printf '[Service]\nStandardError=append:/run/checkipsd.log\n' >etc/units/vdsm-checkips.service.d/log.conf
        printf '[Unit]\nWants=up.service vdsm-checkips.service\n' >etc/units/here.target
        printf '[Service]\nType=oneshot\nExecStart=/bin/touch /run/up\n' >etc/units/up.service
    ) && mount -t cgroup2 cgroup2 "$cgroups" && mkdir "$group"
}
first_process() {
    sh -c 'echo $$ >"$0/cgroup.procs" && shift && exec "$@"' "$group" - \
        unshare --mount --pid --cgroup --fork --kill-child sh -c '
            cd "$0" && mount -t proc proc proc && mount -t cgroup2 cgroup2 sys/fs/cgroup && pivot_root . old &&
                umount -l /old && exec env -i container=other PATH=/usr/sbin:/usr/bin SYSTEMD_UNIT_PATH=/etc/units \
                /usr/lib/systemd/systemd --system --unit=here.target --log-target=console --show-status=no' "$host"
}
sysctl -qw net.ipv4.ping_group_range='0 2147483647'
systemd=
if [ ! -x /usr/lib/systemd/systemd ]; then
    not_run "the daemon as systemd starts it" "systemd is not installed"
elif ! lay_out_host 2>"$work/systemd.log"; then
    not_run "the daemon as systemd starts it" "no place for a systemd: $(tail -n 1 "$work/systemd.log")"
else
    first_process >>"$work/systemd.log" 2>&1 &
    systemd=$!
    if ! wait_for 10 test -e "$host/run/up"; then
        not_run "the daemon as systemd starts it" "systemd does not start here: $(tail -n 1 "$work/systemd.log")"
        kill -KILL "$systemd"
        systemd=
    fi
fi
if [ -n "$systemd" ]; then
    check "systemd starts the unit" wait_for 20 pgrep -x checkipsd
    daemon=$(pgrep -x checkipsd)
    # of_daemon FIELD: what the kernel says of the daemon.
    of_daemon() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$daemon/status"; }
    check "as VDSM's user" is "$(of_daemon Uid | cut -f 1-3)" "$(printf '36\t36\t36')"
    check "which has no rights of root's and gets none" \
        is "$(of_daemon CapBnd) $(of_daemon NoNewPrivs)" '0000000000000000 1'
    check "nor all calls of the kernel" is "$(of_daemon Seccomp)" 2
    writes() { nsenter --target "$daemon" --mount touch "$1/written" 2>&1 | sed 's/.*: //'; }
    check "nor a configuration that it could write to" is "$(writes /var/lib/vdsm)" 'Read-only file system'
    check "though its stamps" is "$(writes "$stamps" && rm "$stamps/written")" ''
else
    # By hand, as the unit does.
    log=$work/checkipsd.log
    install -d -m 0755 -o 36 -g 36 "$stamps"
    setpriv --reuid=36 --regid=36 --clear-groups --no-new-privs env -i \
        "$(sed -n 's/^ExecStart=//p' "$unit")" 2>"$log" &
    daemon=$!
fi
is_fresh() { [ -n "$(find "$stamps/$1" -newermt '-30 seconds' 2>/dev/null)" ]; }
says() { grep -e "$1" "$log"; }
check "the daemon asks at once, as VDSM's user" wait_for 10 is_fresh red
check "and IPv6" wait_for 10 is_fresh blue
check "it writes down who does not answer" wait_for 30 says 'network "green": "198.51.100.9" does not answer'
check "no address becomes an option of ping" says 'network "option": "-I": expected an address'
check "it survives a configuration that is no JSON" says 'nets/garbage: not JSON'
check "and one that is a pipe" says 'nets/pipe: not a file'
check "others have no stamp" is "$(find "$stamps" -type f -printf '%f\n' | sort | tr '\n' ' ')" 'blue red '

# state INTERFACE: what the engine is told.
state() {
    timeout 60 vdsm-hooks run after_get_stats --data "$root/tests/data/host-stats.json" --hooks-dir "$hooks" \
        --output "$work/stats.json" >/dev/null && jq -r ".network.$1.state" "$work/stats.json"
}
state_is() { is "$(state "$1")" "$2"; }
rm "$nets/garbage" "$nets/pipe" "$nets/link" "$nets/option"
check "the interface with an address that answers is up" state_is em2 up
check "the one with an address that does not is down" state_is em1 down
rm "$nets/green"
check "without that network it is up" state_is em1 up

there ip link set far down
# As if a minute had passed; the daemon would make the stamp young again.
touch -d '-65 seconds' "$stamps/red"
: >"$log"
check "the neighbour falls silent" wait_for 60 says 'network "red"'
check "the interface is reported as down" state_is em2 down
there ip link set far up
check "it answers again" wait_for 60 is_fresh red
check "the interface is up again" state_is em2 up
touch -d '+1 hour' "$stamps/red"
check "a stamp from before the clock was set back counts" state_is em2 up
check "the daemon still runs" kill -0 "$daemon"
check "and has used next to no time" test "$(awk '{ print $14 + $15 }' "/proc/$daemon/stat")" -lt 100
# unshare, which has a systemd along with it, takes no other signal.
kill -KILL "${systemd:-$daemon}" "$neighbour"
if [ -d "$cgroups" ]; then
    umount --lazy "$cgroups"
    umount --recursive --lazy "$host"
fi
umount --lazy /usr/libexec /var/lib/vdsm
