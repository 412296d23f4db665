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

    # What libvirt says where a card is added without looking, as VDSM's own hook did.
    # with_cards NUMBER [SED COMMAND]...: a fresh document with that many.
    with_cards() {
        make_vm "$work/card.xml"
        for _ in $(seq "$1"); do
            sed -i 's|</devices>|<smartcard mode="passthrough" type="spicevmc"/>&|' "$work/card.xml"
        done
        shift
        for command; do sed -i "$command" "$work/card.xml"; done
    }
    libvirt_refuses() { ! start_vm "$work/card.xml" 2>"$work/refusal" && stop_vm; grep -e "$1" "$work/refusal"; }
    no_spice='/<graphics type="spice"/,/<\/graphics>/d; /<channel type="spicevmc"/,/<\/channel>/d'
    with_cards 1 "$no_spice"
    check "libvirt takes no card of a VM that has VNC alone" libvirt_refuses 'not supported without spice graphics'
    with_cards 1 "$no_spice" '/<graphics/,/<\/graphics>/d'
    check "nor of one without a display" libvirt_refuses 'not supported without spice graphics'
    with_cards 2
    check "nor a second one" libvirt_refuses 'lacks multiple smartcard support'
    with_cards 1
    cp "$work/card.xml" "$work/vm.xml"
    check "a VM with a card of its own starts with smartcard=true" started -p smartcard=true
    check "and keeps the one card" is "$(virsh dumpxml "$vm" | grep -c '<smartcard ')" 1
    stop_vm
    make_vm "$work/vm.xml"
else
    not_run "a card in a running VM" "this QEMU is built without SPICE"
fi
sed -i -e '/<graphics type="spice"/,/<\/graphics>/d' -e '/<channel type="spicevmc"/,/<\/channel>/d' "$work/vm.xml"
check "a VM without SPICE is refused by the hook" refused 'smartcard: .*no SPICE graphics' -p smartcard=true
sed -i '/<graphics/,/<\/graphics>/d' "$work/vm.xml"
check "and so is one without a display" refused 'smartcard: .*no SPICE graphics' -p smartcard=true
