# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

if ! has_spice; then
    not_run "options of the display" "this QEMU is built without SPICE"
    return
fi
check "the VM starts with options of its display" started -p \
    "spiceoptions={'image': {'compression': 'glz'}, 'jpeg': {'compression': 'never'}, 'streaming': {'mode': 'filter'}}"
check "QEMU compresses images with glz" word 'image-compression=glz'
check "QEMU does not use JPEG" word 'jpeg-wan-compression=never'
check "QEMU streams filtered" word 'streaming-video=filter'
check "its SPICE server is up" is "$(qmp query-spice | jq -r .return.enabled)" true
