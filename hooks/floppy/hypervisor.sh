# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

images=/var/lib/libvirt/images
mkdir -p "$images"
truncate -s 1440K "$images/drv.vfd"
chown 36:36 "$images/drv.vfd"
owner() { is "$(stat -c %u:%g "$images/drv.vfd")" "$1"; }
no_second_vm() {
    sed -e 's,<name>.*</name>,<name>other</name>,' -e '/<uuid>/d' "$work/vm.xml" >"$work/other.xml"
    ! virsh create --paused "$work/other.xml" 2>"$work/refusal" && grep 'write.*lock' "$work/refusal"
}

for machine in pc q35; do
    if [ "$machine" = pc ]; then
        # The older chipset has no PCI Express, and needs no more than a floppy here.
        sed -i -e 's/machine="q35"/machine="pc"/' -e '/pcie-root/d' "$work/vm.xml"
    fi
    check "the VM of the type $machine starts" started -p "floppy=$images/drv.vfd"
    check "libvirt lists the image ($machine)" virsh_lists "fda $images/drv.vfd"
    check "QEMU has it in its floppy drive ($machine)" hmp_says 'info block' "drv.vfd"
    check "QEMU may open it ($machine)" owner 0:0
    stop_vm
    check "the file is its owner's again ($machine)" owner 36:36
    make_vm "$work/vm.xml"
done
check "the VM starts with the image as a USB disk" started -p "floppy=$images/drv.vfd:usb"
check "QEMU has a USB disk that can be removed" hmp_says 'info qtree' 'removable = true'
stop_vm
make_vm "$work/vm.xml"
sed -i 's/machine="q35"/machine="pc-q35-rhel9.2.0"/' "$work/vm.xml"
check "a machine type without floppies is refused by the hook" \
    refused 'has no floppy controller' -p "floppy=$images/drv.vfd"
check "the source of a migration refuses it" \
    fails fire before_vm_migrate_source "$work/vm.xml" -p "floppy=$images/drv.vfd"
