# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

fw_cfg_words() {
    qemu_words | grep -x -A1 -e -fw_cfg | grep -xF 'name=opt/org.example.text,string=a <b> & "c"'
}

check "the VM starts with arguments of its own" started -p \
    'qemu_cmdline=["-fw_cfg", "name=opt/org.example.text,string=a <b> & \"c\"", "-device", "pvpanic,id=from-hook"]'
check "QEMU has the device" peripheral from-hook
check "QEMU has the fw_cfg text, unchanged" fw_cfg_words
stop_vm

make_vm "$work/vm.xml"
# QEMU's words end in NUL, and one has a line feed.
two_lines() { tr '\n\000' '~\n' <"/proc/$(qemu_pid)/cmdline" | grep -xF 'name=opt/org.example.lines,string=one~two'; }
check "the VM starts with a text of two lines" \
    started -p 'qemu_cmdline=["-fw_cfg", "name=opt/org.example.lines,string=one\ntwo"]'
check "QEMU has the line feed" two_lines
stop_vm

make_vm "$work/vm.xml"
sed -i -e 's,<domain ,&xmlns:q="http://libvirt.org/schemas/domain/qemu/1.0" ,' \
    -e 's,</domain>,<q:commandline><q:env name="A" value="b"/><q:arg value="-no-user-config"/></q:commandline>&,' "$work/vm.xml"
both_words() { qemu_words | grep -x -A1 -e -no-user-config | grep -x -e -snapshot; }
check "a VM that has a block of arguments starts with more of them" started -p 'qemu_cmdline=["-snapshot"]'
check "QEMU has them in order" both_words
check "libvirt's schema takes the document" is_valid
