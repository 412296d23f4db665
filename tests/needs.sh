#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs what the demonstration or the tests need and this machine lacks. Starts no service.
#
#     sh tests/needs.sh demo|tests
#
# Debian 12 and 13. The part for Enterprise Linux has not been run yet. Where the release's Rust is too
# old, that is said before anything is installed. What the tests can do without and the release has no
# package of is a line that begins with NOT RUN.
#
# shellcheck disable=SC2046,SC2086 # Lists of packages are split into words on purpose.
set -eu
LC_ALL=C
export LC_ALL

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

too_old() {
    if cargo=$(command -v cargo); then found="which $cargo is not"; else found="and no cargo is found"; fi
    echo "Rust 1.$rust or newer is needed, $found"
}

# no_rust [COMMAND [REMARK]]: where there is a package, the command that installs it.
no_rust() {
    curl=
    command -v curl >/dev/null || curl="$manager install curl && "
    {
        echo "needs.sh: $(too_old); nothing was installed. Type"
        [ -z "${1-}" ] || printf '    %s\n%s, or\n' "$1" "$2"
        echo "    ${curl}curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh && . \"\$HOME/.cargo/env\""
        echo "and then the same command as now."
    } >&2
    exit 1
}

# another_first COMMAND...: no package helps where a cargo that is too old and of no package, which the
# command knows, comes first.
another_first() {
    cargo=$(command -v cargo) || return 0
    ! "$@" "$cargo" >/dev/null 2>&1 && ! "$@" "$(realpath "$cargo")" >/dev/null 2>&1 || return 0
    die "Rust 1.$rust or newer is needed, and $cargo, which is found first, is older; nothing was installed." \
        "Type 'rustup update stable && rustup default stable' if it is rustup's, or take it out of PATH," \
        "and then the same command as now."
}

not_run() { echo "NOT RUN: what needs $1: this release has no package of that name"; }

installed() { dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | sed -n 's/ installed$//p'; }

# Those of the named packages that the release has.
available() {
    apt-cache policy "$@" 2>/dev/null |
        awk '/^[^ ]/ { name = $1; sub(/:$/, "", name) } $1 == "Candidate:" && $2 != "(none)" { print name }'
}

# without LIST PACKAGE...: the packages that are not in the list.
without() {
    list="$(printf ' %s' $1) "
    shift
    for package; do
        case $list in *" $package "*) ;; *) echo "$package" ;; esac
    done
}

not_installed() { without "$(installed "$@")" "$@"; }

# The minor version of Rust in this package, or 0; before 1.70 the package cargo had another number.
minor_of() {
    version=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: 1\.\([0-9]*\)\..*/\1/p')
    echo "${version:-0}"
}

apt_update() {
    [ -n "${updated-}" ] || quietly as_root apt-get update -qq
    updated=yes
}

apt_install() {
    quietly as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq --no-install-recommends "$@"
}

debian() {
    packages='gcc libc6-dev pkg-config libpcre2-dev
        libvirt-daemon-system libvirt-clients libvirt-daemon-config-nwfilter qemu-system-x86
        qemu-utils seabios ebtables iproute2 jq libxml2-utils'
    # In Debian 12 these are parts of the packages above, in Debian 13 only recommended by them.
    if [ "$(sed -n 's/^VERSION_ID="\([0-9]*\)"/\1/p' /etc/os-release)" -ge 13 ] 2>/dev/null; then
        packages="$packages libvirt-daemon-driver-network libvirt-daemon-driver-nwfilter
            libvirt-daemon-log qemu-system-modules-spice"
    fi
    # What the tests do without, each with a line that says so.
    optional=
    [ "$purpose" = demo ] || optional='debootstrap default-jdk-headless dnsmasq-base e2fsprogs ethtool fish groff-base
        guestfish hyperfine iputils-ping libguestfs-xfs libsasl2-modules linux-image-cloud-amd64 lvm2 mandoc nodejs
        ntfs-3g openssl
        openvswitch-switch ovmf python3 qemu-block-extra rpm safelease sanlock sasl2-bin shellcheck strace
        sudo systemd time zsh'

    # First of all. Debian 12 has a newer Rust, but that takes the place of the older one: not
    # without being asked.
    if ! has_rust; then
        another_first dpkg -S
        [ -n "$(available cargo)" ] || apt_update
        if [ "$(minor_of cargo)" -ge "$rust" ]; then
            packages="$packages cargo"
        elif [ "$(minor_of cargo-web)" -ge "$rust" ]; then
            no_rust 'apt-get install cargo-web' "which takes the place of Debian's older cargo and rustc"
        else
            no_rust
        fi
    fi
    if [ "$purpose" = tests ]; then
        # Those that belong to the cargo that is used; rustup brings its own.
        case $(cargo --version >/dev/null 2>&1 && dpkg -S "$(command -v cargo)" 2>/dev/null) in
        cargo-web:*) optional="$optional rustfmt-web rust-web-clippy" ;;
        cargo:*) optional="$optional rustfmt rust-clippy" ;;
        *) has_rust || optional="$optional rustfmt rust-clippy" ;;
        esac
    fi

    missing=$(not_installed $packages $optional)
    if [ -n "$(available $missing)" ] || [ -z "$(available gcc)" ]; then apt_update; fi
    optional=$(not_installed $optional)
    lacking=$(without "$(available $optional)" $optional)
    for package in $lacking; do not_run "$package"; done
    missing=$(without "$lacking" $missing)
    [ -n "$missing" ] || return 0

    echo "needs.sh: installing" $missing
    # First: apt removes a qemu-utils that is newer than the emulator, and the second call installs
    # the one that fits.
    [ -z "$(not_installed qemu-system-x86)" ] || apt_install qemu-system-x86
    missing=$(not_installed $missing)
    [ -z "$missing" ] || apt_install $missing
}

enterprise_linux() {
    packages='cargo gcc pkgconf-pkg-config pcre2-devel
        libvirt-daemon libvirt-daemon-config-nwfilter libvirt-daemon-driver-network
        libvirt-daemon-driver-nwfilter libvirt-daemon-driver-qemu libvirt-client
        qemu-kvm qemu-img seabios-bin iptables-nft iproute jq libxml2'
    # Some of these are in EPEL and in oVirt's repositories.
    optional=
    [ "$purpose" = demo ] || optional='clippy cyrus-sasl cyrus-sasl-scram dnsmasq e2fsprogs edk2-ovmf ethtool
        fish groff-base guestfs-tools hyperfine iputils java-21-openjdk-devel libguestfs-xfs lvm2 mandoc nodejs openssl
        openvswitch python3 qemu-kvm-block-curl rpm-build rustfmt safelease sanlock ShellCheck strace sudo
        time zsh'
    # First of all, as on Debian.
    if has_rust; then
        packages=${packages#cargo }
    else
        another_first rpm -qf
        version=$(dnf -q repoquery --qf '%{version}\n' cargo 2>/dev/null |
            sed -n 's/^1\.\([0-9]*\)\..*/\1/p' | sort -n | tail -n 1)
        [ "${version:-0}" -ge "$rust" ] || no_rust
    fi
    missing=$(rpm_missing $packages $optional)
    [ -n "$missing" ] || return 0
    echo "needs.sh: installing" $missing "(never tried on Enterprise Linux before)"
    # What no repository has is left out: needed packages are looked for again.
    quietly as_root dnf install -y --setopt=install_weak_deps=False --setopt=strict=False $missing
    missing=$(rpm_missing $packages)
    [ -z "$missing" ] || die "no repository has" $missing
    for package in $(rpm_missing $optional); do not_run "$package"; done
}

rpm_missing() { rpm -q --qf '' "$@" | sed -n 's/^package \(.*\) is not installed$/\1/p'; }

if command -v apt-get >/dev/null; then
    manager=apt-get
    debian
elif command -v dnf >/dev/null; then
    manager=dnf
    enterprise_linux
else
    die "neither apt-get nor dnf: install Rust, libpcre2, libvirt and QEMU as this system does"
fi
# What was installed need not be what is found first.
has_rust || die "$(too_old)"
