# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# A web server for one image, with a certificate of its own that this host trusts.
serve_iso() {
    mkdir "$work/web" && cd "$work/web" &&
        python3 "$root/tests/support/bootable-iso.py" boot.iso &&
        openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 \
            -subj /CN=mirror -addext subjectAltName=IP:192.0.2.1 2>/dev/null &&
        cat cert.pem /etc/ssl/certs/ca-certificates.crt >bundle.pem &&
        mount --bind bundle.pem /etc/ssl/certs/ca-certificates.crt || return 1
    python3 "$root/tests/support/https-server.py" 192.0.2.1 8443 cert.pem key.pem boot.iso requests &
    server=$!
    cd / && wait_for 20 test -e "$work/web/requests"
}

guest_is_up() { grep -qa 'guest of vdsm-hooks is up' "/var/log/libvirt/qemu/$vm-console.log"; }
starts_from_net() {
    # The disk must not be what boots.
    dd if=/dev/zero of="$repository/$(image_of vda)" bs=512 count=1 conv=notrunc status=none
    rm -f "/var/log/libvirt/qemu/$vm-console.log"
    started -p log_console=on -p "httpsisoboot=$url"
}

# What libvirt makes of other forms, on a VM whose disks are the first and the second to boot.
# boots_from URL: QEMU gets exactly this one, first.
boots_from() {
    virsh domxml-to-native qemu-argv --xml "$work/vm.xml" | tr "'" '\n' | grep '^{' >"$work/native"
    node=$(jq -r --arg url "$1" 'select(.driver == "https" and .url == $url) | ."node-name"' "$work/native")
    # The disk's node may lie on that of the file.
    format=$(jq -r --arg node "$node" 'select(.file == $node) | ."node-name"' "$work/native")
    [ -n "$node" ] || { grep https "$work/native" && false; }
    is "$(jq -r --arg node "$node" --arg format "$format" 'select(.drive == $node or .drive == $format) | .bootindex' "$work/native") $(orders)" '1 2 3'
}
orders() {
    for disk in vda sda; do jq -r --arg id "$(alias_of $disk)" 'select(.id == $id) | .bootindex' "$work/native"; done | xargs
}
while read -r given url; do
    make_vm "$work/vm.xml"
    check "$given" fire before_vm_start "$work/vm.xml" --hook httpsisoboot -p "httpsisoboot=$given"
    check "is $url for QEMU, the disks are next" boots_from "$url"
done <<EOF
https://mirror.example/boot.iso https://mirror.example:443/boot.iso
https://[2001:db8::1]/my%20discs/boot.iso?token=a%26b https://[2001:db8::1]:443/my%20discs/boot.iso?token=a%26b
HTTPS://[2001:db8::1]:8443/boot.iso https://[2001:db8::1]:8443/boot.iso
EOF
make_vm "$work/vm.xml"

url='https://192.0.2.1:8443/my%20discs/boot.iso?token=a%26b'
if ! qemu-img --help | grep -q '^Supported formats:.*https' && ! find /usr/lib -name 'block-curl.so' | grep -q .; then
    not_run "a VM that boots from an image on the net" "this QEMU has no curl driver"
    return
fi
server=
check "an https server has an image with a boot loader" serve_iso
for machine in q35 pc; do
    sed -i "s/machine=\"q35\"/machine=\"$machine\"/" "$work/vm.xml"
    if [ "$machine" = pc ]; then
        # What only Q35 has.
        sed -i -e '/<disk .*device="cdrom"/,/<\/disk>/d' "$work/vm.xml"
    fi
    check "a $machine VM starts with the image as its first boot device" starts_from_net
    check "libvirt's schema takes the document" is_valid
    virsh resume "$vm"
    check "what the boot loader of the image prints comes on the $machine VM's serial port" wait_for 60 guest_is_up
    stop_vm
    make_vm "$work/vm.xml"
done
check "path, escapes and query arrive as they were given" \
    is "$(sort -u "$work/web/requests")" '/my%20discs/boot.iso?token=a%26b'
[ -z "$server" ] || kill "$server"
umount /etc/ssl/certs/ca-certificates.crt
write_boot_sector "$repository/$(image_of vda)"
