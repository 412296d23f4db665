# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

mkdir "$work/firmware"
log=$work/firmware/$vm-firmware.log
check "the VM starts with the host's pattern mail" \
    started -p log_firmware_vm_regexp=mail -p "log_firmware_dir=$work/firmware"
virsh resume "$vm"
check "what SeaBIOS says is in the log" wait_for 30 grep -qa '^SeaBIOS' "$log"
stop_vm

make_vm "$work/vm.xml"
check "the VM starts with arguments of the hook qemucmdline as well" started -p log_firmware=on \
    -p "log_firmware_dir=$work/firmware" -p 'qemu_cmdline=["-snapshot"]'
check "libvirt's schema takes the document" is_valid
