# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

vm_is_off() { fails virsh domid "$vm"; }

cp "$metadata" "$work/sealed"
check "the VM starts from a domain with an intact seal" started
stop_vm
break_seal
make_vm "$work/vm.xml"
# shellcheck disable=SC2119
started >"$work/refusal" 2>&1
status=$?
check "one changed byte in the metadata stops the start with status 2" is "$status" 2
check "the message names the storage domain" grep "$sd" "$work/refusal"
check "the VM does not run" vm_is_off
make_vm "$work/vm.xml"
check "the VM starts all the same with sdcheck=warn" started -p sdcheck=warn
stop_vm
cat "$work/sealed" >"$metadata"
make_vm "$work/vm.xml"
check "the VM starts again from the repaired domain" started
