# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# set_up OPTIONS: as root, as in VDSM's network set-up.
set_up() {
    printf '{"request": {"networks": {"net": {"nic": "xe0", "custom": {"ethtool_opts": "%s"}}}}}\n' "$1" >"$work/request.json"
    _hook_json=$work/request.json "$hooks/after_network_setup/30_ethtool_options"
}
tso_is() { ethtool -k xe0 | grep -e "^tcp-segmentation-offload: $1"; }

if ! command -v ethtool >/dev/null; then
    check "without ethtool it says so" fails set_up '--offload * tso off'
    not_run "settings of a real NIC" "needs ethtool"
else
    ip link add xe0 type veth peer name xe0-far
    check "an offload is switched off" set_up '--offload * tso off'
    check "the NIC has it off" tso_is off
    check "what the NIC cannot do is an error" fails set_up '--set-ring xe0 rx 1000000 --offload xe0 tso on'
    check "the next command still ran" tso_is on
    check "a wrong word is refused" fails set_up '--offload xe0 tso off --flash xe0 firmware'
    check "before any command runs" tso_is on
    ip link del xe0
fi
