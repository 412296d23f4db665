# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

mkdir -p /etc/vdsm
printf '[vars]\nfake_sriov_enable = true\n' >/etc/vdsm/vdsm.conf

# report EVENT FILE: what the engine is told; FILE.new.
report() {
    timeout 60 vdsm-hooks run "$1" --data "$2" --hooks-dir "$hooks" --output "$2.new"
}

# What the engine demands of a device.
well_formed='to_entries | all(.value.params | (.capability | type == "string")
    and (.parent | type == "string")
    and (.iommu_group // "0" | test("^[0-9]+$")) and (.totalvfs // 0 | type == "number")
    and (.address // {} | all(type == "string")))'

ip -j link | jq 'map({key: .ifname, value: {hwaddr: .address, mtu: "\(.mtu)"}}) | from_entries
    | {hostdevPassthrough: "false", nics: .}' >"$work/caps.json"
check "the NICs of this machine" report after_get_caps "$work/caps.json"
check "passthrough is claimed" is "$(jq -c .hostdevPassthrough "$work/caps.json.new")" '"true"'
check "three more" is "$(jq '.nics | length' "$work/caps.json.new")" "$(jq '.nics | length + 3' "$work/caps.json")"
check "the real ones stay" is "$(jq -c '.nics.ovirtmgmt' "$work/caps.json.new")" "$(jq -c '.nics.ovirtmgmt' "$work/caps.json")"

virsh nodedev-list --cap pci | head -n 5 | jq -R '{key: ., value: {params: {capability: "pci", parent: "computer"}}}' |
    jq -s from_entries >"$work/devices.json"
check "the PCI devices of this machine" report after_hostdev_list_by_caps "$work/devices.json"
check "six more" is "$(jq length "$work/devices.json.new")" "$(jq 'length + 6' "$work/devices.json")"
check "the engine can read them" jq -e "$well_formed" "$work/devices.json.new"
# As libvirt makes names: the address in hexadecimal.
check "names of PCI devices agree with their addresses" jq -e 'to_entries
    | map(select(.key | startswith("pci_0000_16_")) | .value.params.address | [.domain, .bus, .slot, .function])
    == [["0", "22", "0", "0"], ["0", "22", "16", "0"], ["0", "22", "16", "2"]]' "$work/devices.json.new"
check "each NIC is a device with a parent among them" jq -e '[.[].params | select(.capability == "net").parent]
    - (to_entries | map(select(.value.params.capability == "pci").key)) == []' "$work/devices.json.new"

ip link add enp22s16 type bridge
ip -j link | jq 'map({key: .ifname, value: {hwaddr: .address}}) | from_entries | {nics: .}' >"$work/caps.json"
check "a host with a NIC of that name" report after_get_caps "$work/caps.json"
check "keeps it" is "$(jq -c .nics.enp22s16 "$work/caps.json.new")" "$(jq -c .nics.enp22s16 "$work/caps.json")"
ip link delete enp22s16
rm -r /etc/vdsm
