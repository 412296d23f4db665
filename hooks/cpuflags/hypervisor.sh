# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

check "the VM starts with +smap,-popcnt" started -p cpuflags=+smap,-popcnt
check "the running CPU has smap" is "$(cpu_flag smap)" true
check "the running CPU lacks popcnt" is "$(cpu_flag popcnt)" false
