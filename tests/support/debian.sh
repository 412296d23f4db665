#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# debian.sh RELEASE PACKAGE...
# Prints the path of a Debian system, bullseye to trixie, that has these packages: for the tests
# that need another version of a program than this machine's, or files of it, or another libc.
# Nothing of it runs but the installation, and what a test puts there. It is made once, with
# debootstrap and from the mirror that this machine's apt uses, below /var/cache/vdsm-hooks-tests
# ($VDSM_HOOKS_CACHE), kept, and extended where it lacks a package. Whoever comes second waits.
# Exit 77: it cannot be made here; the reason is the last line on standard error.
set -eu

cannot() {
    echo "no Debian $release: $1" >&2
    exit 77
}

release=$1
shift
case $release in bullseye | bookworm | trixie) ;; *) cannot "expected bullseye, bookworm or trixie" ;; esac
cache=${VDSM_HOOKS_CACHE:-/var/cache/vdsm-hooks-tests}
root=$cache/$release

# Those of the named packages that the system lacks.
lacks() {
    for package; do
        status=$(dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${db:Status-Status}' "$package" \
            2>/dev/null) || status=
        [ "$status" = installed ] || echo "$package"
    done
}

# quietly WHAT COMMAND...: shows what the command says only if it fails.
quietly() {
    what=$1
    shift
    timeout --kill-after=10 1200 "$@" >"$cache/$release.log" 2>&1 </dev/null || {
        tail -n 20 "$cache/$release.log" >&2
        cannot "$what failed"
    }
}

# apart WHAT COMMAND...: in namespaces that end with it, so that nothing stays mounted or running.
apart() {
    what=$1
    shift
    quietly "$what" unshare --mount --pid --fork --kill-child -- "$@"
}

in_system() {
    # shellcheck disable=SC2016 # The inner shell expands it.
    apart "$1" sh -euc '
        mount -t proc proc "$0/proc"
        exec chroot "$0" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
            DEBIAN_FRONTEND=noninteractive "$@"
    ' "$root" "$@"
}

for program in dpkg-query flock; do
    command -v "$program" >/dev/null || cannot "$program is not installed"
done
if [ "$(id -u)" -ne 0 ]; then
    # What is there already needs no root.
    # shellcheck disable=SC2046 # Names of packages, one a word.
    set -- $(lacks "$@")
    [ $# -eq 0 ] || cannot "needs root"
    echo "$root"
    exit
fi
mkdir -p "$cache"
exec 9>"$cache/$release.lock"
flock --wait 1800 9 || cannot "somebody else has been making it for half an hour"

if [ ! -d "$root" ]; then
    command -v debootstrap >/dev/null || cannot "debootstrap is not installed"
    # shellcheck disable=SC2016 # apt-get expands it.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null | head -n 1) || mirror=
    # Not what earlier versions of this script have left mounted there.
    rm -rf --one-file-system "$root.new" || cannot "$root.new cannot be removed"
    # Without a mirror debootstrap takes its own.
    apart debootstrap debootstrap --variant=minbase "$release" "$root.new" ${mirror:+"$mirror"}
    # No package may start a service.
    printf '#!/bin/sh\nexit 101\n' >"$root.new/usr/sbin/policy-rc.d"
    chmod 755 "$root.new/usr/sbin/policy-rc.d"
    mv "$root.new" "$root"
fi
# shellcheck disable=SC2046 # As above.
set -- $(lacks "$@")
if [ $# -gt 0 ]; then
    # Where an earlier run was killed.
    in_system dpkg --configure -a
    in_system apt-get update -qq
    in_system apt-get install -qq --no-install-recommends "$@"
fi
echo "$root"
