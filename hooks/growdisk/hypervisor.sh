# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# Growing itself is tested by tests/growdisk.rs; here that a running VM keeps its disks.
flags=/run/vdsm/$(virsh domuuid "$vm" 2>/dev/null || xmllint --xpath 'string(/domain/uuid)' "$work/vm.xml")
sums() { xmllint --xpath '//disk/source/@file' "$work/vm.xml" | cut -d '"' -f 2 | xargs sha256sum; }
sums >"$work/sums"

mkdir -p /run/vdsm
check "without launch flags nothing is grown, and the VM starts" started -p growdisk=auto,must
check "its disks are what they were" sha256sum --check --quiet "$work/sums"

mkdir -p "$flags"
mkdir -p /etc/vdsm
printf '[irs]\nrepository = %s\n' "$repository" >/etc/vdsm/vdsm.conf
echo 0 >"$flags/launchflags"
check "a disk of the running VM is refused" refused 'vda: the image is in use by qemu' -p growdisk=vda,must
check "its disks are still what they were" sha256sum --check --quiet "$work/sums"
rm /etc/vdsm/vdsm.conf
stop_vm
rm -r /run/vdsm
