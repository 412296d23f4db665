# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

fw_cfg_words() {
    qemu_words | grep -x -A1 -e -fw_cfg | grep -xF 'name=opt/org.example.text,string=a <b> & "c"'
}

check "the VM starts with arguments of its own" started -p \
    'qemu_cmdline=["-fw_cfg", "name=opt/org.example.text,string=a <b> & \"c\"", "-device", "pvpanic,id=from-hook"]'
check "QEMU has the device" peripheral from-hook
check "QEMU has the fw_cfg text, unchanged" fw_cfg_words
