# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# The group's volumes are real, in LVM's metadata, on a loop device. Without device-mapper no volume
# can be activated: a second loop device is where the copy goes.
id=5f1c2a7e-9d3b-4e57-8a40-0c6f3b1d2e99
other=0d0e0c4a-3c1b-4d0f-9b53-2f1a6d3c7e11
lv=2b7f90c6-e1d5-4a38-97b2-0c4e8a5d1f69
image=81e5d3b9-60f4-4c2a-8d17-f2a9b4c6e053
helper=/usr/libexec/vdsm-hooks/localdisk-helper
size=67108864
lab=$work/localdisk
mkdir "$lab"

# LVM as on a host, but for what would need device-mapper. $lab/fail names a command that fails.
write_lvm() {
    # It goes by the name that it is called by.
    mkdir "$lab/real"
    cp "$(readlink -f "$(command -v lvm)")" "$lab/real/lvm"
    export LVM_SUPPRESS_FD_WARNINGS=1
    cat >"$lab/lvm" <<EOF
#!/bin/sh
echo "\$*" >>$lab/calls
command=\$1
shift
if [ "\$command" = "\$(cat $lab/fail 2>/dev/null)" ]; then echo "  \$command failed" >&2; exit 5; fi
case \$command in
    lvcreate)
        for word; do
            shift
            case \$word in --yes | --wipesignatures | y) ;; *) set -- "\$@" "\$word" ;; esac
        done
        case "\$*" in
            *--thinpool*)
                [ -e $lab/pool ] || exec $lab/real/lvm lvcreate --driverloaded n -an "\$@"
                # A pool needs device-mapper, so a plain volume stands for a thin one.
                for word; do
                    shift
                    case \$word in
                        --thinpool | pool0) ;;
                        --virtualsize) set -- "\$@" --size ;;
                        *) set -- "\$@" "\$word" ;;
                    esac
                done ;;
        esac
        exec $lab/real/lvm lvcreate --driverloaded n -an -Zn -Wn "\$@" ;;
    # There is nothing to activate.
    lvchange) [ "\$3" != --activate ] || exit 0 ;;
esac
exec $lab/real/lvm "\$command" --driverloaded n "\$@"
EOF
    cat >"$lab/qemu-img" <<EOF
#!/bin/sh
echo "\$*" >>$lab/copies
if [ "\$1" = "\$(cat $lab/fail 2>/dev/null)" ]; then echo "qemu-img: \$1 failed" >&2; exit 1; fi
# A copy that takes its time.
if [ "\$1" = convert ] && [ -e $lab/slow ]; then echo \$\$ >$lab/copying; exec sleep 60; fi
exec $lab/real-qemu-img "\$@"
EOF
    cp "$(command -v qemu-img)" "$lab/real-qemu-img"
    chmod 755 "$lab" "$lab/lvm" "$lab/qemu-img"
    : >"$lab/calls"
    : >"$lab/copies"
    : >"$lab/copying"
    chmod 666 "$lab/copies" "$lab/copying"
    mkdir -p /etc/lvm
    cat >/etc/lvm/lvm.conf <<EOF
devices { filter=["r|.*|"] obtain_device_list_from_udev=0 external_device_info_source="none" }
global { use_lvmpolld=0 }
activation { monitoring=0 udev_rules=0 udev_sync=0 }
backup { archive=0 backup=0 }
EOF
    mount --bind "$lab/lvm" "$(command -v lvm)" && mount --bind "$lab/qemu-img" "$(command -v qemu-img)"
}
real_lvm() {
    command=$1
    shift
    config="devices { filter=[\"a|^$group_loop\$|\",\"r|.*|\"] use_devicesfile=0 }"
    "$lab/real/lvm" "$command" --driverloaded n --config "$config" "$@" 2>>"$lab/warnings"
}
tags() { real_lvm lvs --noheadings -o lv_tags "ovirt-local/$lv" | tr -d ' '; }
tags_are() { is "$(tags)" "$1"; }
volume_size() { real_lvm lvs --noheadings --units b --nosuffix -o lv_size "ovirt-local/$lv" | tr -d ' '; }
whole=IU_$image,PU_00000000-0000-0000-0000-000000000000,VM_$id
broken_off=IU_$image,PU_00000000-0000-0000-0000-000000000000,UPDATING,VM_$id

# disk FORMAT PATH [MEMBERS]: what VDSM hands to the hook.
disk() {
    cat >"$lab/disk.json" <<EOF
{"device": "disk", "name": "vda", "format": "$1", "diskType": "file", "imageID": "$image", "volumeID": "$lv",
 "path": "$2"${3:+, $3}}
EOF
    cp "$lab/disk.json" "$lab/before.json"
}
prepared() { as_vdsm after_disk_prepare/localdisk "$lab/disk.json" "vmId=$id" "localdisk=${1-lvm}"; }
refuses() {
    ! prepared "${2-lvm}" 2>"$lab/refusal" && cat "$lab/refusal" && grep -e "$1" "$lab/refusal" &&
        cmp "$lab/before.json" /run/data/data
}
redirected() {
    is "$(jq -r '[.path, .format, .diskType] | join(" ")' "$lab/disk.json")" "/dev/ovirt-local/$lv raw block"
}
equal() { timeout 60 "$lab/real-qemu-img" compare -f "$1" -F raw "$2" "$target"; }
wipe() { dd if=/dev/urandom of="$target" bs=1M count=64 oflag=direct conv=notrunc status=none; }
drop_volume() { real_lvm lvremove -f "ovirt-local/$lv"; }

# ask REQUEST: user vdsm asks the helper.
ask() { printf '%s\n' "$1" | timeout 60 setpriv --reuid=vdsm --regid=vdsm --clear-groups sudo -n "$helper"; }
# helper_refuses REQUEST: and LVM is not asked to change anything.
helper_refuses() {
    : >"$lab/calls"
    ! ask "$1" 2>"$lab/refusal" && cat "$lab/refusal" "$lab/calls" && ! grep -v '^lvs ' "$lab/calls"
}
# bad_words REQUEST: LVM is not even started.
bad_words() { helper_refuses "$1" && is "$(cat "$lab/calls")" ''; }

copying() { [ -s "$lab/copying" ]; }
copy_is_gone() { ! kill -0 "$(cat "$lab/copying")"; }
killed_while_copying() {
    : >"$lab/slow"
    : >"$lab/copying"
    prepared &
    wait_for 30 copying || return 1
    nice=$(ps -o ni= -p "$(cat "$lab/copying")" | tr -d ' ')
    class=$(ionice -p "$(cat "$lab/copying")")
    # The copy's parent is the hook.
    kill -KILL "$(ps -o ppid= -p "$(cat "$lab/copying")" | tr -d ' ')"
    rm "$lab/slow"
    wait_for 10 copy_is_gone
}

localdisk_checks() {
    write_lvm || return
    use_vdsm || return
    chmod 755 "$work"
    "$lab/real/lvm" pvcreate --driverloaded n -q --config "devices { filter=[\"a|.*|\"] use_devicesfile=0 }" "$group_loop" >/dev/null 2>&1
    real_lvm vgcreate -q ovirt-local "$group_loop" >/dev/null || return
    mkdir -p /dev/ovirt-local && mount -t tmpfs tmpfs /dev/ovirt-local && chmod 755 /dev/ovirt-local
    ln -s "$target" "/dev/ovirt-local/$lv"
    chown vdsm "$target"

    # A template with data, and the disk above it with more.
    timeout 20 "$lab/real-qemu-img" create -q -f qcow2 "$lab/base" $size
    timeout 20 qemu-io -f qcow2 -c 'write -P 0x11 0 8M' "$lab/base" >/dev/null
    timeout 20 "$lab/real-qemu-img" create -q -f qcow2 -b "$lab/base" -F qcow2 "$lab/cow"
    timeout 20 qemu-io -f qcow2 -c 'write -P 0x22 4M 8M' -c 'write -P 0x33 60M 1M' "$lab/cow" >/dev/null
    chmod 644 "$lab/base" "$lab/cow"
    cp "$lab/cow" "$lab/cow.before"

    wipe
    disk cow "$lab/cow"
    check "user vdsm gets a copy of a qcow2 image and its template" prepared
    check "the disk is redirected" redirected
    check "the copy equals the image" equal qcow2 "$lab/cow"
    check "the image is as it was" cmp "$lab/cow" "$lab/cow.before"
    check "the volume is tagged, and whole" tags_are "$whole"
    check "and as large as the disk" is "$(volume_size)" $size
    : >"$lab/copies"
    disk cow "$lab/cow"
    timeout 20 qemu-io -f raw -c 'write -P 0x44 1M 1M' "$target" >/dev/null
    sha256sum "$target" >"$lab/sum"
    check "the next start takes the copy" prepared
    check "redirected again" redirected
    check "what the guest wrote is still there" sha256sum --quiet -c "$lab/sum"
    check "nothing was copied" is "$(cat "$lab/copies")" ''
    check "the volume was activated" grep -e "lvchange.*--activate y ovirt-local/$lv" "$lab/calls"

    disk cow "$lab/cow"
    check "the helper does not remove a whole copy" helper_refuses "remove $lv $id"
    check "nor calls it whole again" helper_refuses "finish $lv $id"
    check "nor activates it for another VM" helper_refuses "activate $lv $other"
    check "nor makes it anew" helper_refuses "create lvm $lv $id $image"
    for name in ../x -f a/b "ovirt-local/$lv" '' "$lv\" || lv_name=\"x" "$lv-"; do
        for request in "list $name" "activate $name $id" "finish $name $id" "remove $name $id" "create lvm $name $id $image 4096"; do
            check "the helper refuses '$request'" bad_words "$request"
        done
    done
    for request in "create lvm $lv UPDATING $image 4096" "create lvm $lv $id x,y 4096" "create lvm $lv $id $image 0" \
        "create lvm $lv $id $image -1" "create lvm $lv $id $image +9" "create lvm $lv $id $image 4096b" \
        "create zfs $lv $id $image 4096" "create lvm $lv $id $image 4096 --addtag x" "change --addtag x $lv" \
        "remove -f $lv" "lvs" "" "list $lv
remove $lv $id"; do
        check "the helper refuses '$request'" bad_words "$request"
    done
    check "sudo lets nobody give it arguments" fails timeout 20 setpriv --reuid=vdsm --regid=vdsm --clear-groups sudo -n "$helper" list
    check "sudo takes the file" visudo -cf "$tree/etc/sudoers.d/50_vdsm_hooks_localdisk"
    real_lvm lvchange -q --deltag "VM_$id" --addtag "VM_$other" "ovirt-local/$lv" >/dev/null
    check "a copy of another VM is refused" refuses "expected VM_$id"
    real_lvm lvchange -q --addtag UPDATING "ovirt-local/$lv" >/dev/null
    check "also a broken-off one" refuses "expected VM_$id"
    drop_volume >/dev/null

    check "a copy is killed with the hook" killed_while_copying
    check "it ran at nice 19" is "$nice" 19
    check "and idle I/O" is "$class" idle
    check "the volume is marked" tags_are "$broken_off"
    wipe
    disk cow "$lab/cow"
    check "the next start copies again" prepared
    check "over the whole disk" equal qcow2 "$lab/cow"
    check "and the volume is whole" tags_are "$whole"
    drop_volume >/dev/null

    # Every step in turn.
    for step in lvs lvcreate lvchange info convert; do
        disk cow "$lab/cow"
        echo "$step" >"$lab/fail"
        check "when $step fails the VM does not start" refuses "$step failed"
        rm "$lab/fail"
        case $step in
            lvchange | convert) check "the volume stays marked" tags_are "$broken_off" ;;
            *) check "there is no volume" tags_are '' ;;
        esac
    done
    disk cow "$lab/cow"
    echo lvremove >"$lab/fail"
    check "when lvremove fails the VM does not start" refuses 'lvremove failed'
    rm "$lab/fail"
    check "the volume is as it was" tags_are "$broken_off"
    mv "/dev/ovirt-local/$lv" /dev/ovirt-local/away
    check "without the device nothing is copied" refuses 'qemu-img'
    mv /dev/ovirt-local/away "/dev/ovirt-local/$lv"
    check "and the volume stays marked" tags_are "$broken_off"
    disk cow "$lab/cow"
    check "afterwards all is well" prepared
    check "equal" equal qcow2 "$lab/cow"
    echo lvchange >"$lab/fail"
    disk cow "$lab/cow"
    check "when the volume cannot be activated the VM does not start" refuses 'lvchange failed'
    rm "$lab/fail"
    check "it stays whole" tags_are "$whole"
    drop_volume >/dev/null

    # What the guest writes is no image of ours.
    timeout 20 "$lab/real-qemu-img" create -q -f qcow2 "$lab/raw" 900G
    truncate -s $size "$lab/raw"
    chmod 644 "$lab/raw"
    wipe
    disk raw "$lab/raw"
    check "a raw image with a qcow2 header inside is copied" prepared
    check "its size is the file's" is "$(volume_size)" $size
    check "the copy equals the bytes" equal raw "$lab/raw"
    drop_volume >/dev/null

    disk cow "$lab/cow"
    check "without the pool lvmthin is refused" refuses 'pool0' lvmthin
    check "there is no volume" tags_are ''
    : >"$lab/pool"
    dd if=/dev/zero of="$target" bs=1M count=64 oflag=direct conv=notrunc status=none
    disk cow "$lab/cow"
    check "a copy to a fresh thin volume leaves out what is zero" prepared lvmthin
    check "as qemu-img was told" grep -e '-n --target-is-zero' "$lab/copies"
    check "the copy equals the image" equal qcow2 "$lab/cow"
    drop_volume >/dev/null
    disk cow "$lab/cow" '"shared": "shared"'
    check "a shareable disk is refused" refuses 'is shared'
    check "there is none either" tags_are ''

    # A file of the group's own devices wins over all others.
    mkdir -p /etc/lvm/devices
    printf 'VERSION=1.1.1\n' >/etc/lvm/devices/ovirt-local.devices
    disk cow "$lab/cow"
    check "a devices file without the group's disk hides it" refuses 'ovirt-local'
    rm /etc/lvm/devices/ovirt-local.devices
    real_lvm vgrename -q ovirt-local elsewhere >/dev/null
    check "without the group the VM does not start" refuses 'ovirt-local'

    migrates() { as_vdsm before_vm_migrate_source/localdisk "$lab/vm.xml" "$@"; }
    echo '<domain/>' >"$lab/vm.xml"
    check "the VM does not migrate" fails migrates localdisk=lvm
    check "others do" migrates x=y
    not_run "thin volumes, activation, and the rule for udev" "needs device-mapper"
    drop_vdsm
    umount /dev/ovirt-local && rmdir /dev/ovirt-local
    umount "$(command -v lvm)" "$(command -v qemu-img)"
}

truncate -s 256M "$lab/group"
truncate -s 64M "$lab/target"
if ! command -v lvm >/dev/null || ! command -v qemu-io >/dev/null; then
    not_run "copies of disks" "needs lvm2 and qemu-io"
elif ! group_loop=$(losetup --find --show "$lab/group" 2>/dev/null); then
    not_run "copies of disks" "needs loop devices"
elif ! target=$(losetup --find --show "$lab/target" 2>/dev/null); then
    losetup --detach "$group_loop"
    not_run "copies of disks" "needs two loop devices"
else
    localdisk_checks || check "the host can be laid out" false
    losetup --detach "$group_loop"
    losetup --detach "$target"
fi
