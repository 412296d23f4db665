# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# What VDSM knows of the running VM, and of one that is down.
statistics() {
    virsh domstats --raw "$vm" | jq -R 'split("=") | select(length == 2) | {key: (.[0] | ltrimstr(" ") | gsub(" "; "")), value: .[1]}' |
        jq -s --arg id "$(virsh domuuid "$vm")" 'from_entries as $s | [
            {vmId: $id, status: "Up", cpuUser: "0.00", cpuSys: "0.00", network: {($s["net.0.name"]): {rxErrors: "0"}},
             disks: {($s["block.0.name"]): {readRate: "0"}}, memoryStats: {mem_total: $s["balloon.maximum"], swap_in: 0}},
            {vmId: "0f0e0d0c-0b0a-4908-8706-050403020100", status: "Down"}]' >"$work/stats.json"
}

report() {
    timeout 60 vdsm-hooks run after_get_all_vm_stats --data "$work/stats.json" --hooks-dir "$hooks" \
        --output "$work/stats.new"
}
of_vm() { jq -c ".[0].$1" "$work/stats.new"; }

check "a VM starts" started
check "its statistics" statistics
mkdir -p /etc/vdsm/vdsm.conf.d
printf '[vars]\nfake_vmstats_enable = true\n' >/etc/vdsm/vdsm.conf
printf '[vars]\nfake_vmstats_enable = false\n' >/etc/vdsm/vdsm.conf.d/50.conf
check "switched off by a drop-in" report
check "they stay what they are" is "$(jq -c . "$work/stats.new")" "$(jq -c . "$work/stats.json")"
rm /etc/vdsm/vdsm.conf.d/50.conf
check "switched on" report
check "the VM's NIC and disk have drawn numbers" jq -e '.[0] | (.network[].txDropped | tonumber) <= 62
    and (.disks[].writeLatency | tonumber) <= 1000000000' "$work/stats.new"
check "its memory is the real one" is "$(of_vm memoryStats.mem_total)" "$(jq -c '.[0].memoryStats.mem_total' "$work/stats.json")"
check "a number stays a number" is "$(of_vm 'memoryStats.swap_in | type')" '"number"'
check "the VM that is down is as before" is "$(jq -c '.[1]' "$work/stats.new")" "$(jq -c '.[1]' "$work/stats.json")"
nics=$(of_vm netIfaces)
check "again" report
check "its guest has the same NICs" is "$(of_vm netIfaces)" "$nics"
rm -r /etc/vdsm
