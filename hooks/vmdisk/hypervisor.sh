# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

images=$work/images
mkdir -p "$images" /etc/vdsm-hooks
echo "$images" >/etc/vdsm-hooks/allowed-paths
make_image() { timeout 20 qemu-img create -q "$@"; }
make_image -f raw "$images/a.raw" 1M
make_image -f qcow2 "$images/b.qcow2" 1M
make_image -f qcow2 -b "$images/b.qcow2" -F qcow2 "$images/overlay.qcow2"
chown 36:36 "$images"/*
ln -s /etc/passwd "$images/link.raw"
owner() { is "$(stat -c %u:%g "$images/a.raw")" "$1"; }
both="vmdisk=$images/a.raw:raw,$images/b.qcow2:qcow2"
# Thirty images, one after the other.
many() {
    list=
    for number in $(seq 30); do
        truncate -s 1M "$images/$number.raw"
        list=$list,$images/$number.raw:raw
    done
    echo "vmdisk=${list#,}"
}
write_through_qemu() {
    virsh qemu-monitor-command "$vm" --hmp "qemu-io -d $(drive_of "$images/a.raw") \"write -P 0x5a 0 512\"" &&
        sync "$images/a.raw" && is "$(head -c 4 "$images/a.raw")" ZZZZ
}
drive_of() {
    qmp query-block | jq -r --arg file "$1" '.return[] | select(.inserted.image.filename == $file) | .qdev'
}

check "the VM starts with a raw and a qcow2 image" started -p "$both"
check "libvirt lists the raw one" virsh_lists "vdb $images/a.raw"
check "libvirt lists the other" virsh_lists "vdc $images/b.qcow2"
check "QEMU reads the other as qcow2" hmp_says 'info block' 'b.qcow2 (qcow2)'
check "what is written to the disk is in the file" write_through_qemu
check "QEMU may open the file" owner 0:0
stop_vm
check "the file is its owner's again" owner 36:36
make_vm "$work/vm.xml"
check "the VM starts with thirty images" started -p "$(many)"
check "the names go on after vdz" virsh_lists "vdae $images/30.raw"
stop_vm
make_vm "$work/vm.xml"
check "an image with a backing file is refused by the hook" \
    refused 'it has a backing file' -p "vmdisk=$images/overlay.qcow2:qcow2"
check "a link out of the directory is refused by the hook" \
    refused 'not in an allowed directory' -p "vmdisk=$images/link.raw:raw"
check "the source of a migration refuses local images" \
    fails fire before_vm_migrate_source "$work/vm.xml" -p "$both"
check "the destination takes images that are there" \
    fire before_vm_migrate_destination "$work/vm.xml" -p "$both"
rm -r /etc/vdsm-hooks
