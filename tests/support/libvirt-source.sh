#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# libvirt-source.sh RELEASE
# Prints the path of libvirt's source as Debian's release has it, bookworm or trixie: for the test
# documents in it, which are not ours to keep a copy of. It is fetched once, with apt and from the
# mirror that this machine's apt uses, below /var/cache/vdsm-hooks-tests ($VDSM_HOOKS_CACHE), and
# kept. Nothing of it runs. Exit 77: it cannot be had here; the reason is the last line on standard
# error.
set -eu

cannot() {
    echo "no source of libvirt of $release: $1" >&2
    exit 77
}

release=$1
case $release in bookworm | trixie) ;; *) cannot "expected bookworm or trixie" ;; esac
cache=${VDSM_HOOKS_CACHE:-/var/cache/vdsm-hooks-tests}
kept=$cache/libvirt-$release
if [ -d "$kept" ]; then
    echo "$kept"
    exit
fi

for program in apt-get flock tar xz; do
    command -v "$program" >/dev/null || cannot "$program is not installed"
done
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || cannot "$keyring is not there"
mkdir -p "$cache" 2>/dev/null || cannot "$cache cannot be made"
[ -w "$cache" ] || cannot "$cache cannot be written to"
exec 9>"$kept.lock"
flock --wait 900 9 || cannot "somebody else has been fetching it for a quarter of an hour"
if [ ! -d "$kept" ]; then
    work=$(mktemp -d "$cache/libvirt.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' HUP INT TERM
    # shellcheck disable=SC2016 # apt expands it.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null | head -n 1) || mirror=
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/source"
    echo "deb-src [signed-by=$keyring] ${mirror:-http://deb.debian.org/debian} $release main" \
        >"$work/sources.list"
    # apt without the machine's own lists, and without a trace in them.
    apt() {
        (cd "$work/source" && timeout --kill-after=10 600 apt-get -qq \
            -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
            -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" \
            -o APT::Sandbox::User=root "$@") >"$work/log" 2>&1 </dev/null ||
            cannot "apt-get $1 failed: $(tail -n 1 "$work/log")"
    }
    apt update
    apt source --download-only --tar-only --only-source libvirt
    set -- "$work"/source/libvirt_*.orig.tar.xz
    [ -f "$1" ] || cannot "no archive has come"
    mkdir "$work/tree"
    tar -C "$work/tree" --strip-components=1 --no-same-owner -xf "$1" --wildcards '*/tests' ||
        cannot "tar failed"
    mv "$work/tree" "$kept"
fi
echo "$kept"
