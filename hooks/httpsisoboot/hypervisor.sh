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
