# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# A systemd that writes down what it is told: it would want a whole host around it.
mkdir "$work/bin" /etc/vhostmd
cat >"$work/bin/systemctl" <<EOF
#!/bin/sh
echo "\$*" >>"$work/services"
EOF
chmod +x "$work"/bin/*
mount -t overlay overlay -o "lowerdir=$work/bin:/usr/bin" /usr/bin
cat >/etc/vhostmd/vhostmd.conf <<'EOF'
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE vhostmd SYSTEM "vhostmd.dtd">
<vhostmd><globals><transport>vbd</transport><transport>virtio</transport></globals></vhostmd>
EOF
echo "metrics of this host" >/dev/shm/vhostmd0
truncate -s 256K /dev/shm/vhostmd0

services() { is "$(tail -n 1 "$work/services")" "$1"; }
drive_is_read_only() {
    is "$(qmp query-block | jq '.return[].inserted | select(.image.filename == "/dev/shm/vhostmd0") | .ro')" true
}
# What the other VM on the host has of the property.
start_other_vm() {
    printf '<domain type="qemu"><name>sap2</name><uuid>%s</uuid><metadata>%s</metadata><memory>65536</memory>
        <os><type>hvm</type></os></domain>' 1b6f6e0e-6f43-4b7b-9d0c-2f1f0c8f4a11 \
        "<o:vm xmlns:o='http://ovirt.org/vm/1.0'><o:custom><o:sap_agent>$1</o:sap_agent></o:custom></o:vm>" \
        >"$work/other.xml"
    virsh create --paused "$work/other.xml"
}

# cpuflags would ask for an invariant TSC, which not every machine has.
check "the VM starts with sap_agent=true" started -p sap_agent=true -p cpuflags=
check "the service was started" services 'start vhostmd.service'
check "libvirt's schema takes the document" is_valid
check "QEMU has the metrics as a read-only disk" drive_is_read_only
check "QEMU has the channel" hmp_says 'info qtree' 'name = "org.github.vhostmd.1"'
check "another VM with the property starts" start_other_vm true
check "after the first VM the service stays" fire after_vm_destroy "$work/vm.xml" -p sap_agent=true
check "it was not stopped" services 'start vhostmd.service'
virsh destroy sap2
check "another VM without the property starts" start_other_vm false
check "after the last VM with the property" fire after_vm_destroy "$work/vm.xml" -p sap_agent=true
check "the service was stopped" services 'stop vhostmd.service'
virsh destroy sap2
stop_vm
make_vm "$work/vm.xml"
echo '<vhostmd>' >/etc/vhostmd/vhostmd.conf
cp "$work/vm.xml" "$work/before.xml"
check "with a broken configuration a VM without the property starts" started
check "its document is byte-identical" cmp "$work/before.xml" "$work/vm.xml"
stop_vm
rm -r /etc/vhostmd
umount --lazy /usr/bin
