# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

one_of() {
    one=$1
    shift
    for candidate; do [ "$one" != "$candidate" ] || return 0; done
    echo "found '$one', expected one of $*" && false
}

check "the VM starts with a vNIC out of the pool red, lab0" nic_started 1 -p "equivnets=red lab0"
drawn=$(bridge_of "$nic1")
check "its tap is on one of the two bridges" one_of "$drawn" red lab0
check "the other vNIC stays" is "$(bridge_of "$nic2")" vlan100
