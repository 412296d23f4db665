# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

if has_spice; then
    check "the VM starts with smartcard=true" started -p smartcard=true
    check "libvirt added a CCID controller" \
        is "$(virsh dumpxml "$vm" | grep -c '<controller type=.ccid.')" 1
    check "QEMU has the card of the client" hmp_says 'info qtree' 'dev: ccid-card-passthru'
    stop_vm
    make_vm "$work/vm.xml"
    check "the VM starts with smartcard=false" started -p smartcard=false
    check "QEMU has no card" fails hmp_says 'info qtree' 'ccid-card'
    stop_vm
    make_vm "$work/vm.xml"
else
    not_run "a card in a running VM" "this QEMU is built without SPICE"
fi
sed -i -e '/<graphics type="spice"/,/<\/graphics>/d' -e '/<channel type="spicevmc"/,/<\/channel>/d' "$work/vm.xml"
check "a VM without SPICE is refused by the hook" refused 'smartcard: .*no SPICE graphics' -p smartcard=true
