# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

lines_of_guest() { grep -ac 'guest of vdsm-hooks is up' "$1"; }
guest_wrote() { is "$(lines_of_guest "$1")" "$2"; }

log=/var/log/libvirt/qemu/$vm-console.log
check "the VM starts with log_console=on" started -p log_console=on
virsh resume "$vm"
check "what the guest prints on its serial port is in the log" wait_for 30 guest_wrote "$log" 1
virsh destroy "$vm" && virsh start "$vm"
check "the next start adds to the log" wait_for 30 guest_wrote "$log" 2
stop_vm
rm "$log"
make_vm "$work/vm.xml"
other=/var/log/libvirt/qemu/another.log
sed -i "/<serial /,/<\\/serial>/s,<target,<log file=\"$other\" append=\"off\"/>&," "$work/vm.xml"
check "a VM that has a log starts with log_console=on" started -p log_console=on
virsh resume "$vm"
check "what the guest prints is in the usual log" wait_for 30 guest_wrote "$log" 1
check "and not in the other one" fails test -e "$other"
stop_vm
make_vm "$work/vm.xml"
check "the VM starts with the host's pattern ^web" started -p log_console_vm_regexp=^web
check "QEMU does not log another VM" fails word "logfile=\|$log\|/dev/fdset"
