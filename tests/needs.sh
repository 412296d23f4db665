#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs what the demonstration or the tests need and this machine lacks. Starts no service.
#
#     sh tests/needs.sh demo|tests
#
# Debian 12 and 13. The part for Enterprise Linux has not been run yet.
#
# shellcheck disable=SC2046,SC2086 # Lists of packages are split into words on purpose.
set -eu

case ${1-} in
demo | tests) purpose=$1 ;;
*)
    echo "usage: sh tests/needs.sh demo|tests" >&2
    exit 2
    ;;
esac

# The oldest Rust that the project builds with.
rust=$(sed -n 's/^rust-version = "1\.\([0-9]*\)".*/\1/p' "$(dirname "$0")/../Cargo.toml")

die() {
    echo "needs.sh: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "cannot install packages: needs root or sudo"
    fi
}

# quietly COMMAND...: shows what it says only if it fails.
quietly() {
    said=$(mktemp)
    if "$@" >"$said" 2>&1; then
        rm "$said"
    else
        cat "$said" >&2
        rm "$said"
        die "'$*' failed"
    fi
}

# The minor version of the cargo that is found first, or 0.
cargo_minor() {
    version=$(cargo --version 2>/dev/null | sed -n 's/^cargo 1\.\([0-9]*\)\..*/\1/p')
    echo "${version:-0}"
}

has_rust() { [ "$(cargo_minor)" -ge "$rust" ]; }

no_rust() {
    die "Rust 1.$rust or newer is needed, and this system's packages are older: install it with" \
        "rustup (https://rustup.rs), then run this again in a new shell"
}

installed() { dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | sed -n 's/ installed$//p'; }

# Those of the named packages that are not installed.
not_installed() {
    have=" $(installed "$@" | tr '\n' ' ')"
    for package; do
        case $have in *" $package "*) ;; *) echo "$package" ;; esac
    done
}

apt_install() {
    quietly as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq --no-install-recommends "$@"
}

debian() {
    packages='gcc libc6-dev pkg-config libpcre2-dev
        libvirt-daemon-system libvirt-clients libvirt-daemon-config-nwfilter qemu-system-x86
        qemu-utils seabios ebtables iproute2 jq libxml2-utils'
    [ "$purpose" = demo ] || packages="$packages
        e2fsprogs ethtool guestfish hyperfine iputils-ping libguestfs-xfs linux-image-cloud-amd64 lvm2 mandoc ntfs-3g openssl
        openvswitch-switch ovmf python3 qemu-block-extra rpm safelease sanlock sasl2-bin shellcheck strace
        sudo time"
    # In Debian 12 these are parts of the packages above, in Debian 13 only recommended by them.
    if [ "$(sed -n 's/^VERSION_ID="\([0-9]*\)"/\1/p' /etc/os-release)" -ge 13 ] 2>/dev/null; then
        packages="$packages libvirt-daemon-driver-network libvirt-daemon-driver-nwfilter
            libvirt-daemon-log qemu-system-modules-spice"
    fi
    missing=$(not_installed $packages)
    has_rust || missing="$missing cargo"
    [ -n "$missing" ] || return 0

    echo "needs.sh: installing" $missing
    quietly as_root apt-get update -qq
    if ! has_rust; then
        candidate=$(apt-cache policy cargo | sed -n 's/^  Candidate: .*1\.\([0-9]*\)\..*/\1/p')
        [ "${candidate:-0}" -ge "$rust" ] || no_rust
        apt_install cargo
    fi
    # First: apt removes a qemu-utils that is newer than the emulator, and the second call installs
    # the one that fits.
    [ -z "$(not_installed qemu-system-x86)" ] || apt_install qemu-system-x86
    missing=$(not_installed $packages)
    [ -z "$missing" ] || apt_install $missing
}

enterprise_linux() {
    packages='cargo gcc pkgconf-pkg-config pcre2-devel
        libvirt-daemon libvirt-daemon-config-nwfilter libvirt-daemon-driver-network
        libvirt-daemon-driver-nwfilter libvirt-daemon-driver-qemu libvirt-client
        qemu-kvm qemu-img seabios-bin iptables-nft iproute jq libxml2'
    # Some of these are in EPEL and in oVirt's repositories.
    [ "$purpose" = demo ] || packages="$packages
        cyrus-sasl e2fsprogs edk2-ovmf ethtool guestfs-tools hyperfine iputils libguestfs-xfs lvm2 mandoc openssl openvswitch
        python3 qemu-kvm-block-curl rpm-build safelease sanlock ShellCheck strace sudo time"
    ! has_rust || packages=${packages#cargo }
    missing=$(rpm -q --qf '' $packages | sed -n 's/^package \(.*\) is not installed$/\1/p')
    [ -n "$missing" ] || return 0
    echo "needs.sh: installing" $missing "(never tried on Enterprise Linux before)"
    quietly as_root dnf install -y --setopt=install_weak_deps=False $missing
    has_rust || no_rust
}

if command -v apt-get >/dev/null; then
    debian
elif command -v dnf >/dev/null; then
    enterprise_linux
else
    die "neither apt-get nor dnf: install Rust, libpcre2, libvirt and QEMU as this system does"
fi
