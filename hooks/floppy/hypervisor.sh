# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

images=/var/lib/libvirt/images
mkdir -p "$images"
truncate -s 1440K "$images/drv.vfd"
printf 'driver diskette' | dd of="$images/drv.vfd" conv=notrunc status=none
chown 36:36 "$images/drv.vfd"

floppies() { virsh domblklist "$vm" | awk '$1 ~ /^fd/ { print $1, $2 }'; }

for machine in q35 pc; do
    sed -i "s/machine=\"q35\"/machine=\"$machine\"/" "$work/vm.xml"
    [ "$machine" != pc ] || sed -i -e '/<disk .*device="cdrom"/,/<\/disk>/d' "$work/vm.xml"
    check "a $machine VM starts with a floppy" started -p "floppy=$images/drv.vfd"
    check "libvirt has it in drive A" is "$(floppies)" "fda $images/drv.vfd"
    check "QEMU's $machine has a drive with the image" hmp_says 'info block' "$images/drv.vfd"
    check "libvirt's schema takes the $machine document" is_valid
    check "QEMU's user has the image" is "$(stat -c %u:%g "$images/drv.vfd")" 0:0
    stop_vm
    check "its owner has it back" is "$(stat -c %u:%g "$images/drv.vfd")" 36:36
    make_vm "$work/vm.xml"
done
# A second VM on this host, without a disk of its own.
cat >"$work/second.xml" <<EOF
<domain type="qemu"><name>legacy2</name><uuid>1b6f6e0e-6f43-4b7b-9d0c-2f1f0c8f4a12</uuid><memory>65536</memory>
<os><type arch="x86_64" machine="pc">hvm</type></os><devices/></domain>
EOF
check "a VM starts with a writable floppy" started -p "floppy=$images/drv.vfd"
check "the hook gives the image to a second one too" fire before_vm_start "$work/second.xml" -p "floppy=$images/drv.vfd"
# What QEMU says reaches its log, but not always libvirt in time.
second_fails() { ! virsh create --paused "$work/second.xml" && wait_for 5 grep -e "$1" /var/log/libvirt/qemu/legacy2.log; }
check "which QEMU's lock keeps from starting" second_fails 'Failed to get "write" lock'
stop_vm
check "without the first it starts" virsh create --paused "$work/second.xml"
virsh destroy legacy2
make_vm "$work/vm.xml"
check "an image that is not there is refused by the hook" refused 'no such image: nothing is there' -p "floppy=$images/none.vfd"
truncate -s 1440K "$images/payload.vfd"
sed -i "s,<devices>,&<disk type='file' device='floppy'><source file='$images/payload.vfd'/><target dev='fda'/></disk>," "$work/vm.xml"
sed "s,<devices>,&<disk type='file' device='floppy'><source file='$images/drv.vfd'/><target dev='fda'/></disk>," \
    "$work/vm.xml" >"$work/twice.xml"
twice_fails() { ! virsh define "$work/twice.xml" 2>"$work/refusal" && grep -e "target 'fda' duplicated" "$work/refusal"; }
check "libvirt takes no second floppy in the same drive" twice_fails
check "the VM starts with a floppy beside the engine's" started -p "floppy=$images/drv.vfd"
check "it is in drive B" is "$(floppies | tail -n 1)" "fdb $images/drv.vfd"
stop_vm
make_vm "$work/vm.xml"
check "the VM starts with the image on a USB stick" started -p "floppy=$images/drv.vfd:usb"
check "libvirt's schema takes the document" is_valid
check "QEMU has a removable USB disk" hmp_says 'info qtree' 'removable = true'
stop_vm
make_vm "$work/vm.xml"
sed -i 's/machine="q35"/machine="pc-q35-rhel9.2.0"/' "$work/vm.xml"
check "a machine of EL9 without floppies is refused by the hook" refused ':usb' -p "floppy=$images/drv.vfd"
make_vm "$work/vm.xml"
check "a VM with a floppy does not migrate" \
    fails fire before_vm_migrate_source "$work/vm.xml" -p "floppy=$images/drv.vfd"
