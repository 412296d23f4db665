# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# As on a host: VDSM's user, and directories of its own. Storage of a kind of its own too, so that it
# can be full or read-only.
id vdsm >/dev/null 2>&1 || useradd --system --shell /bin/false vdsm
mount -t overlay overlay -o "lowerdir=$tree/usr/libexec:/usr/libexec" /usr/libexec
lasting=/var/lib/vdsm
made=
[ -d "$lasting" ] || { mkdir "$lasting" && made=yes; }
mount -t tmpfs -o "mode=0755,uid=$(id -u vdsm)" tmpfs "$lasting"
place=/run/scratch
mkdir "$place"
mount -t tmpfs -o "size=16M,mode=0770,uid=$(id -u vdsm)" tmpfs "$place"
mkdir -p /etc/vdsm-hooks
echo "$place" >/etc/vdsm-hooks/scratchpad-directories

vm_id=$(xmllint --xpath 'string(/domain/uuid)' "$work/vm.xml")
other_id=00000000-0000-4000-8000-000000000002
# What VDSM makes for a cold start.
for id in "$vm_id" "$other_id"; do
    mkdir -p "/run/vdsm/$id"
    echo 0 >"/run/vdsm/$id/launchflags"
done
# on EVENT VALUE [VMID]: VDSM's user fires the hook.
on() { as_vdsm "$1/50_scratchpad" "$work/vm.xml" "scratchpad=$2" "vmId=${3-$vm_id}"; }
says() { pattern=$1 && shift && ! "$@" >"$work/refusal" 2>&1 && cat "$work/refusal" && grep -e "$pattern" "$work/refusal"; }
# The same for another VM, whose document has no such disk.
second() { make_vm "$work/second.xml" && as_vdsm "$1/50_scratchpad" "$work/second.xml" "scratchpad=$2" vmId=$other_id; }
records() { find "$lasting/hooks/scratchpad" -type f; }
is_clean() { is "$(ls "$place")" "${1-}" && is "$(records)" ''; }
backing() { virsh domblklist "$vm" | awk -v target="$1" '$1 == target { print $2 }'; }
hmp_io() { virsh qemu-monitor-command "$vm" --hmp "qemu-io -d /machine/peripheral/$alias/virtio-backend \"$1\""; }

check "VDSM's user makes two disks" on before_vm_start "2M,$place/a:4096k,$place/b"
check "the first has size, mode and owner" is "$(stat -c '%s %a %U' "$place/a")" "2097152 660 vdsm"
check "the second too" is "$(stat -c '%s %a %U' "$place/b")" "4194304 660 vdsm"
check "the record is nobody else's" is "$(stat -c %a "$lasting/hooks/scratchpad")" 700
check "libvirt's schema takes the document" is_valid
check "the VM starts" start_vm "$work/vm.xml"
check "QEMU has the first" is "$(backing vdb)" "$place/a"
check "QEMU has the second" is "$(backing vdc)" "$place/b"
alias=$(virsh dumpxml "$vm" | xmllint --xpath "string(//disk[target/@dev='vdb']/alias/@name)" -)
hmp_io "write -P 0x5a 0 4096" >/dev/null
hmp_io "flush" >/dev/null
check "what the VM writes is in the file" is "$(head -c 4 "$place/a")" ZZZZ

before=$(sha256sum "$place/a")
check "a second VM with the same path is refused" says 'must not exist' second before_vm_start "1M,$place/a"
check "its destroy leaves the disk of the first" second after_vm_destroy "1M,$place/a"
check "even if its document shows that disk" on after_vm_destroy "1M,$place/a" $other_id
check "the disk is what it was" is "$(sha256sum "$place/a")" "$before"
check "the first does not migrate" says 'cannot migrate' on before_vm_migrate_source "2M,$place/a:4096k,$place/b"
check "nor is it suspended" says 'cannot be suspended' on before_vm_hibernate "2M,$place/a:4096k,$place/b"
virsh dumpxml "$vm" >"$work/vm.xml"
stop_vm
check "after the VM the disks are deleted" on after_vm_destroy "2M,$place/a:4096k,$place/b"
check "nothing is left" is_clean
make_vm "$work/vm.xml"

echo foreign >"$place/victim"
check "a file that is there is refused" says 'must not exist' on before_vm_start "1M,$place/a:1M,$place/victim"
check "and what was made for the start is gone" is_clean victim
check "destroy leaves the file" on after_vm_destroy "1M,$place/a:1M,$place/victim"
check "it has its content" is "$(cat "$place/victim")" foreign
image=$work/image
cp "$repository/$(image_of vda)" "$image"
before=$(sha256sum "$image")
check "an image elsewhere is refused" says 'allowed directory' on before_vm_start "1M,$image"
check "destroy leaves it" on after_vm_destroy "1M,$image"
check "it is what it was" is "$(sha256sum "$image")" "$before"
rm "$place/victim"

# The real qemu-img, after which the hook is killed at its call number $1.
cp /usr/bin/qemu-img /run/qemu-img
killed_at() {
    cat >/run/killer <<EOF
#!/bin/sh
echo >>/run/data/calls
[ "\$(wc -l </run/data/calls)" -ne $1 ] || kill -KILL \$PPID
exec /run/qemu-img "\$@"
EOF
    chmod 755 /run/killer
    rm -f /run/data/calls
    mount --bind /run/killer /usr/bin/qemu-img
    ! on before_vm_start "1M,$place/a:1M,$place/b:1M,$place/c" || return
    umount /usr/bin/qemu-img
    ls "$place"
}
for number in 1 2 3; do
    check "SIGKILL at disk $number" killed_at $number
    check "all three are made by then" is "$(find "$place" -type f | wc -l)" 3
    check "destroy deletes them" on after_vm_destroy "1M,$place/a:1M,$place/b:1M,$place/c"
    check "nothing is left" is_clean
done

mount -t tmpfs -o "size=4k,nr_inodes=2,mode=0770,uid=$(id -u vdsm)" tmpfs /mnt
echo /mnt >>/etc/vdsm-hooks/scratchpad-directories
check "without room for a second file the start is refused" says 'No space left\|ENOSPC' on before_vm_start "1M,/mnt/a:1M,/mnt/b"
check "nothing is left there" is "$(ls /mnt)" ''
check "nor a record" is "$(records)" ''
umount /mnt

check "a disk is made" on before_vm_start "1M,$place/a"
mount -o remount,ro "$place"
check "on a read-only file system nothing is made" says 'Read-only\|EROFS' on before_vm_start "1M,$place/b" $other_id
check "and nothing deleted, which is said" says 'cannot delete' on after_vm_destroy "1M,$place/a"
check "the record stays" is "$(records)" "$lasting/hooks/scratchpad/$vm_id"
mount -o remount,rw "$place"
check "the next destroy deletes it" on after_vm_destroy "1M,$place/a"
check "nothing is left" is_clean
make_vm "$work/vm.xml"

list=
for number in $(seq 30); do list="$list:1M,$place/$number"; done
check "thirty disks are made" on before_vm_start "${list#:}"
check "the VM starts with them" start_vm "$work/vm.xml"
check "the names go on after vdz" is "$(backing vdae)" "$place/30"
virsh dumpxml "$vm" >"$work/vm.xml"
stop_vm
check "all are deleted" on after_vm_destroy "${list#:}"
check "nothing is left" is_clean

rm -r "/run/vdsm/$vm_id" "/run/vdsm/$other_id"
umount "$place" "$lasting" /usr/libexec
[ -z "$made" ] || rmdir "$lasting"
rm /etc/vdsm-hooks/scratchpad-directories
