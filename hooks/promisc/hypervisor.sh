# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# Two machines talk over the bridge red; the VM's two NICs are on ovirtmgmt and vlan100, with a machine
# each.
mac() { cat "/sys/class/net/$1/address"; }
talker() {
    ip link add "$1" type veth peer name "$1-port"
    ip link set "$1-port" master "$2" up
    ip link set "$1" up
    wait_for 20 forwarding "$1-port"
}
talker alice red
talker bob red
talker carol ovirtmgmt
talker dave vlan100

# What the kernel does with the packets of a device.
traffic_of() {
    for device; do
        tc -j qdisc show dev "$device" | jq -c 'map({kind, handle, parent, options})'
        for direction in ingress egress; do tc -j filter show dev "$device" $direction; done
        ip -d -j link show "$device" | jq -c 'map({promiscuity})'
    done
} 2>/dev/null
all_traffic() { traffic_of red ovirtmgmt vlan100 "$tap1" "$tap2"; }
records() { find /run/vdsm/hooks/promisc -type f ! -name lock; }
is_clean() { all_traffic >"$work/after" && diff "$work/before" "$work/after" && is "$(records)" ''; }
says() { pattern=$1 && shift && ! "$@" >"$work/refusal" 2>&1 && grep -e "$pattern" "$work/refusal"; }
# on EVENT VALUE [VMID]: VDSM's user fires the hook.
on() {
    case $1 in before_vm_destroy) : >"$work/data.xml" ;; *) virsh dumpxml "$vm" >"$work/data.xml" ;; esac
    as_vdsm "$1/50_promisc" "$work/data.xml" "promisc=$2" "vmId=${3-$vm_id}"
}
# sees TAP NEAR MAC: which frames come to the VM's NIC of those between alice and bob; the last one is
# from a machine on the NIC's own bridge.
frames() { timeout 40 python3 "$root/tests/support/frames.py" "$@"; }
between() { echo "$1/$(mac alice)/${3-$(mac bob)}/$2"; }
sees() {
    frames bob alice "hello=udp/$(mac bob)/$(mac alice)/192.0.2.8" >/dev/null &&
        frames alice "$1" "four=$(between udp 192.0.2.7)" "six=$(between udp6 2001:db8::7)" \
            "arp=$(between arp 192.0.2.7 ff:ff:ff:ff:ff:ff)" "end=udp/$(mac "$2")/$3/192.0.2.9/$2"
}
first_sees() { is "$(sees "$tap1" carol "$nic1")" "$1"; }
second_sees() { is "$(sees "$tap2" dave "$nic2")" "$1"; }
everything='four six arp end'

vm_id=$(xmllint --xpath 'string(/domain/uuid)' "$work/vm.xml")
other_id=00000000-0000-4000-8000-000000000002
check "the VM starts" started
tap1=$(tap_of "$nic1") tap2=$(tap_of "$nic2")
mkdir -p /run/vdsm/hooks && chmod 755 /run/vdsm /run/vdsm/hooks
use_vdsm
install -d -o vdsm -g vdsm /run/vdsm/hooks/promisc
all_traffic >"$work/before"

check "at first the VM sees nothing of red" first_sees end
check "after_vm_start sets the mirror up" on after_vm_start red:mirror
check "the VM sees IPv4, IPv6 and ARP between two others" first_sees "$everything"
check "the document stays" cmp "$work/data.xml" /run/data/data
check "a second start of it is fine" on after_vm_start red:mirror
virsh dumpxml "$vm" | sed "s/$tap1/$tap2/" >"$work/second.xml"
second() { as_vdsm after_vm_start/50_promisc "$work/second.xml" promisc=red:mirror "vmId=$other_id"; }
check "a second sensor" second
check "sees all as well" second_sees "$everything"
check "the first one still does" first_sees "$everything"
check "the first one is torn down, from the record" on before_vm_destroy red:mirror
check "it sees nothing any more" first_sees end
check "the second one still does" second_sees "$everything"
check "the second one is torn down" on after_vm_migrate_source red:mirror "$other_id"
check "nothing is left" is_clean
check "a second time there is nothing to do" on before_vm_destroy red:mirror
check "the hook follows a migration" on after_vm_migrate_destination red:mirror,red:mirror
check "and sees all" first_sees "$everything"
check "it is torn down" on before_vm_destroy red:mirror
check "nothing is left" is_clean

# What belongs to others stays.
if tc qdisc add dev red root tbf rate 100mbit burst 32k latency 50ms 2>/dev/null; then
    all_traffic >"$work/before"
    check "with a limit of bandwidth" on after_vm_start red:mirror
    check "the mirror works" first_sees "$everything"
    check "the limit is there" sh -c 'tc qdisc show dev red | grep tbf'
    check "it is torn down" on before_vm_destroy red:mirror
    check "the limit survives" is_clean
    tc qdisc del dev red root
else
    not_run "a limit of bandwidth survives" "this kernel has no tbf"
fi
ip link add aside type veth peer name aside-far
ip link set aside up
tc qdisc add dev red clsact
tc filter add dev red ingress pref 49200 protocol all u32 match u8 0 0 action mirred egress mirror dev aside continue
ip link set red promisc on
all_traffic >"$work/before"
check "with filters of somebody else" on after_vm_start red:mirror
check "the mirror works" first_sees "$everything"
check "it is torn down" on before_vm_destroy red:mirror
check "what was there is there" is_clean
tc qdisc del dev red clsact
ip link set red promisc off
tc qdisc add dev red ingress
all_traffic >"$work/before"
check "VDSM's own port mirroring is not disturbed" says 'red has an ingress qdisc' on after_vm_start red:mirror
check "nothing changed" is_clean
tc qdisc del dev red ingress
all_traffic >"$work/before"

# The taps of another VM, and of one more.
python3 -c 'import fcntl, os, struct, sys
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH", sys.argv[1].encode(), 0x1002))
while True: os.read(tun, 65536)' spy0 &
spy=$!
wait_for 20 test -e /sys/class/net/spy0
ip link set spy0 up
arrives_at() { is "$(frames carol "$1" "one=udp/$(mac carol)/$nic1/192.0.2.9")" one; }
check "without the hook a frame comes to the VM" arrives_at "$tap1"
check "after_vm_start diverts the VM's traffic" on after_vm_start spy0:redirect
check "the frame comes to the inspecting VM" arrives_at spy0
check "of both NICs" is "$(tc -j filter show dev "$tap2" egress | jq -r '.[].options.actions[]?.to_dev' | sort -u)" spy0
check "no device of the VM is promiscuous for that" fails grep -q promisc /run/vdsm/hooks/promisc/device:"$tap1"
check "it is torn down" on before_vm_destroy spy0:redirect
check "a frame comes to the VM again" arrives_at "$tap1"
check "nothing is left" is_clean

# What is refused, and by whom.
check "a bridge cannot inspect" says 'redirect needs a tap, red is a bridge' on after_vm_start red:redirect
check "nor can the VM itself" says "no such device $tap1" on after_vm_start "$tap1:redirect"
check "nor its other NIC" says "no such device $tap2" on after_vm_start "$tap2:redirect"
check "nor a network card" says 'bob is not a tap' on after_vm_start bob:redirect
check "only bridges are mirrored" says 'alice may not be mirrored' on after_vm_start alice:mirror
check "that are there" says 'no such device blue' on after_vm_start red:mirror,blue:mirror
mkdir -p /etc/vdsm-hooks
echo vlan100 >/etc/vdsm-hooks/promisc-networks
check "and on the administrator's list" says 'red may not be mirrored: not allowed' on after_vm_start red:mirror
check "one that is on the list" on after_vm_start vlan100:mirror
check "it is torn down" on before_vm_destroy vlan100:mirror
asks() { printf '%b' "$1" | timeout 20 setpriv --reuid=vdsm --regid=vdsm --clear-groups sudo -n /usr/libexec/vdsm-hooks/promisc-tc; }
check "the helper looks at the list itself" says 'red may not be mirrored' asks "start $vm_id\nred $tap1 mirror\n"
rm -r /etc/vdsm-hooks
for request in '' 'start' "start $vm_id" "start ../../etc\nred $tap1 mirror" "begin $vm_id\nred $tap1 mirror" \
    "start $vm_id\nred $tap1" "start $vm_id\nred $tap1 drop" "start $vm_id\nred $tap1 mirror egress" \
    "start $vm_id\nred alice mirror" "start $vm_id\nalice $tap1 mirror" "start $vm_id\nalice $tap1 redirect" \
    "start $vm_id\n$tap1 red redirect" "start $vm_id\n$tap1 $tap1 redirect" "start $vm_id\nred ../net/$tap1 mirror" \
    "start $vm_id\nred -$tap1 mirror" "start $vm_id\nred $tap1 mirror\n\n" "stop $vm_id\nred $tap1 mirror" \
    "stop $vm_id extra" "stop lock" "stop device:red" "start $vm_id\nlo $tap1 mirror" "start $vm_id\nred\t$tap1 mirror"; do
    check "the helper refuses '$(printf %b "$request" | tr '\n' '|')'" says '^promisc-tc: ' asks "$request"
done
long() { echo "start $vm_id" && yes "red $tap1 mirror" | head -n "$1"; }
check "and too many pairs" says 'start with 1 to 32' asks "$(long 33)"
check "and more than that" says 'longer than 16384 bytes' asks "$(long 2000)"
check "sudo lets nobody give it arguments" says 'password is required' \
    setpriv --reuid=vdsm --regid=vdsm --clear-groups sudo -n /usr/libexec/vdsm-hooks/promisc-tc start
check "nor run tc" says 'password is required' setpriv --reuid=vdsm --regid=vdsm --clear-groups sudo -n tc qdisc show
echo "$tap1 red redirect 1" >"/run/vdsm/hooks/promisc/$vm_id"
check "a record with a filter of others is refused" says 'is no line of a record' asks "stop $vm_id"
for record in "alice $tap1 mirror 49200" "alice $tap1 redirect 49200" "$tap1 alice mirror 49200" "red $tap1 redirect 49200"; do
    echo "$record" >"/run/vdsm/hooks/promisc/$vm_id"
    check "and one that says '$record'" says 'promisc-tc: the record: ' asks "stop $vm_id"
done
rm "/run/vdsm/hooks/promisc/$vm_id"
check "all that changed nothing" is_clean

# Every step fails in turn: a tc and an ip that count what changes something.
mkdir -p "$work/tools"
for tool in tc ip; do
    cat >"$work/tools/$tool" <<EOF
#!/bin/sh
case " \$* " in *" add "* | *" promisc "*)
    echo "\$*" >>"$work/steps"
    [ ! -e "$work/fails-at" ] || [ "\$(wc -l <"$work/steps")" -ne "\$(cat "$work/fails-at")" ] || { echo "no such luck" >&2 && exit 2; }
esac
exec "$work/real-$tool" "\$@"
EOF
    chmod 755 "$work/tools/$tool"
    cp "$(readlink -f "$(command -v "$tool")")" "$work/real-$tool"
done
sbin=$(readlink -f /usr/sbin)
bin=$(readlink -f /usr/bin)
mount -t overlay overlay -o "lowerdir=$work/tools:$sbin" "$sbin"
mount -t overlay overlay -o "lowerdir=$work/tools:$bin" "$bin"
: >"$work/steps"
check "all of it goes well" on after_vm_start "red:mirror,spy0:redirect,ovirtmgmt:mirror"
steps=$(wc -l <"$work/steps")
check "in many steps" test "$steps" -ge 9
check "it is torn down" on before_vm_destroy red:mirror
check "nothing is left" is_clean
step=0
while [ "$step" -lt "$steps" ]; do
    step=$((step + 1))
    : >"$work/steps"
    echo "$step" >"$work/fails-at"
    check "step $step fails" says 'failed: .*no such luck' on after_vm_start "red:mirror,spy0:redirect,ovirtmgmt:mirror"
    rm "$work/fails-at"
    check "all is taken back" is_clean
done
umount --lazy "$sbin"
umount --lazy "$bin"

# A crash leaves the record: the next start, or the end of the VM, cleans up.
check "the hook is killed in between" on after_vm_start red:mirror
tc filter del dev red egress pref 49200
check "what is half there is taken down" on before_vm_destroy red:mirror
check "nothing is left" is_clean
check "while a VM watches" on after_vm_start spy0:redirect
stop_vm
check "it ends by itself" fails test -e "/sys/class/net/$tap1"
check "its record goes when the engine removes it" on before_vm_destroy spy0:redirect
check "nothing is kept" is "$(records)" ''
kill "$spy"
drop_vdsm
for talker in alice bob carol dave aside; do ip link del "$talker"; done
