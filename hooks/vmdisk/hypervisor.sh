# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

images=/var/lib/libvirt/images
mkdir -p "$images"
timeout 20 qemu-img create -q -f raw "$images/scratch.raw" 16M
timeout 20 qemu-img create -q -f qcow2 "$images/scratch.qcow2" 16M
timeout 20 qemu-img create -q -f qcow2 -F raw -b /etc/shadow "$images/leak.qcow2"
ln -s /etc "$images/outside"
chown 36:36 "$images"/scratch.*

# The format that QEMU reads the file $1 with.
format_of() { qmp query-block | jq -r --arg file "$1" '.return[].inserted | select(.image.filename == $file) | .drv'; }
# Newer libvirt has QEMU read a raw file without a layer for the format.
as_it_is() { [ "$1" = raw ] || [ "$1" = file ]; }
target_of() { virsh domblklist "$vm" | awk -v file="$1" '$2 == file { print $1 }'; }

both="$images/scratch.raw:raw,$images/scratch.qcow2:qcow2"
check "the VM starts with two images" started -p "vmdisk=$both"
check "the first is vdb" is "$(target_of "$images/scratch.raw")" vdb
check "the second is vdc" is "$(target_of "$images/scratch.qcow2")" vdc
check "QEMU takes the first as it is" as_it_is "$(format_of "$images/scratch.raw")"
check "QEMU reads the second as qcow2" is "$(format_of "$images/scratch.qcow2")" qcow2
check "libvirt's schema takes the document" is_valid
check "QEMU's user has the image" is "$(stat -c %u:%g "$images/scratch.raw")" 0:0
alias=$(virsh dumpxml "$vm" | xmllint --xpath "string(//disk[target/@dev='vdb']/alias/@name)" -)
virsh qemu-monitor-command "$vm" --hmp \
    "qemu-io -d /machine/peripheral/$alias/virtio-backend \"write -P 0x5a 0 4096\"" >/dev/null
check "what the VM writes is in the image" is "$(head -c 4 "$images/scratch.raw")" ZZZZ
stop_vm
check "its owner has it back" is "$(stat -c %u:%g "$images/scratch.raw")" 36:36
make_vm "$work/vm.xml"

list=
for number in $(seq 30); do
    truncate -s 1M "$images/$number.raw"
    list="$list,$images/$number.raw:raw"
done
check "the VM starts with thirty images" started -p "vmdisk=${list#,}"
check "the names go on after vdz" is "$(target_of "$images/30.raw")" vdae
stop_vm
make_vm "$work/vm.xml"

check "an image with a backing file is refused" refused 'backing file' -p "vmdisk=$images/leak.qcow2:qcow2"
check "a link that leads out is refused" refused 'allowed directory' -p "vmdisk=$images/outside/shadow:raw"
check "a VM with a local image does not migrate" \
    fails fire before_vm_migrate_source "$work/vm.xml" -p "vmdisk=$images/scratch.raw:raw"
check "the other host takes it where the image is" \
    fire before_vm_migrate_destination "$work/vm.xml" -p "vmdisk=$images/scratch.raw:raw"
