# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

mkdir -p "$work/firmware"
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
# words_are WORD...: of these the running QEMU has all, in this order.
port=isa-debugcon,iobase=0x402,chardev=firmware
words_are() { is "$(qemu_words | grep -x -e -snapshot -e "$port" | xargs)" "$*"; }
check "QEMU has those of both" words_are "$port" -snapshot
stop_vm

# In the other order, on the other machine, and by a name that QEMU would take apart.
make_vm "$work/vm.xml"
plain_name=$vm
vm='mail 01, the spare'
sed -i -e "s/<name>.*</<name>$vm</" -e 's/machine="q35"/machine="pc"/' \
    -e '/<disk .*device="cdrom"/,/<\/disk>/d' "$work/vm.xml"
check "qemucmdline before it" fire before_vm_start "$work/vm.xml" --hook qemucmdline -p 'qemu_cmdline=["-snapshot"]'
check "log_firmware behind that" fire before_vm_start "$work/vm.xml" --hook log_firmware -p log_firmware=on \
    -p "log_firmware_dir=$work/firmware"
check "a pc VM whose name has blanks and a comma starts" start_vm "$work/vm.xml"
check "its QEMU has the words of both" words_are -snapshot "$port"
virsh resume "$vm"
check "what SeaBIOS says on it is in the log" wait_for 30 grep -qa '^SeaBIOS' "$work/firmware/$vm-firmware.log"
stop_vm
vm=$plain_name

ovmf=
for code in /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_CODE.fd /usr/share/edk2/ovmf/OVMF_CODE.fd; do
    [ -n "$ovmf" ] || [ ! -f "$code" ] || ovmf=$code
done
if [ -z "$ovmf" ]; then
    not_run "a VM with OVMF" "there is no OVMF here"
    return
fi
make_vm "$work/vm.xml"
rm "$log"
sed -i "s|<bootmenu|<loader readonly=\"yes\" type=\"pflash\">$ovmf</loader><nvram template=\"$(echo "$ovmf" | sed s/_CODE/_VARS/)\">$work/nvram.fd</nvram>&|" "$work/vm.xml"
check "a VM with OVMF starts" started -p log_firmware=on -p "log_firmware_dir=$work/firmware"
check "its QEMU has the log open" sh -c "ls -l /proc/$(qemu_pid)/fd | grep -F '$log'"
# The first message of a debug build (edk2 OvmfPkg/Sec/SecMain.c), which others do not even have.
first=SecCoreStartupWithStack
if grep -qa "$first" "$ovmf"; then
    virsh resume "$vm"
    check "what OVMF says is in the log" wait_for 30 grep -qa "$first" "$log"
else
    not_run "what OVMF says" "this OVMF was built without debug messages"
fi
stop_vm
