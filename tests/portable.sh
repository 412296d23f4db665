#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Proves that programs as they are released (packaging/static.sh) run where they were not built: they
# load nothing, and do in a Debian 11 what they do here. Needs root, for that Debian.
#
#     sh tests/portable.sh [--all]
#
# Three programs stand for all, which have all libraries between them; --all takes every one.
set -eu
cd "$(dirname -- "$0")/.."
# The oldest glibc of a supported host is 2.28, Enterprise Linux 8; a program with these symbols alone
# would run there as well, but static ones have none.
failed=0
problem() {
    echo "FAIL: $*" >&2
    failed=1
}

case "${1-}" in
--all) set -- ;;
'') set -- --no-default-features --bin cpuflags --bin log_console --bin sdcheck ;;
*)
    echo "portable.sh: unknown argument $1: expected --all" >&2
    exit 1
    ;;
esac
sh packaging/static.sh --quiet "$@"
built=${CARGO_TARGET_DIR:-target}/static
programs=$(find "$built/" -maxdepth 1 -type f -perm /100 -printf '%f\n' | sort)
# shellcheck disable=SC2086 # names of programs
set -- $programs
[ $# -ge 3 ] || problem "only $# programs were built"

for program; do
    file=$built/$program
    said=$(readelf --wide --program-headers --dynamic --version-info "$file")
    case $said in
    *'Type:'*DYN* | *'type is DYN'*) ;;
    *) problem "$program is not position independent" ;;
    esac
    case $said in *'(NEEDED)'* | *INTERP*) problem "$program loads libraries" ;; esac
    case $said in *GLIBC_*) problem "$program wants symbols of a glibc" ;; esac
done
for program; do
    [ "$program" = vdsm-hooks ] || printf 'program\t%s\n' "$built/$program"
done | sh tests/sizes.sh --static || problem "too large"

status=0
root=$(sh tests/support/debian.sh bullseye 2>"$built/said") || status=$?
if [ "$status" = 77 ]; then
    echo "NOT RUN: programs in a Debian 11: $(tail -n 1 "$built/said")"
    [ "$failed" = 0 ]
    exit
fi
[ "$status" = 0 ] || {
    cat "$built/said" >&2
    exit 1
}
there=$(mktemp -d "$root/tmp/vdsm-hooks.XXXXXX")
trap 'rm -rf -- "$there"' EXIT
trap 'exit 130' HUP INT TERM
inside=${there#"$root"}

for program; do
    cp "$built/$program" "$there"
    said=$(chroot "$root" "$inside/$program" --version 2>&1) || :
    case $said in "$program "[0-9]*) ;; *) problem "$program does not run in Debian 11: $said" ;; esac
done
# The same document as from a program that was built for this machine.
for place in here there; do cp tests/data/domain.xml "$there/$place.xml"; done
env -i cpuflags=+pcid "_hook_domxml=$there/here.xml" "$built/cpuflags"
chroot "$root" /usr/bin/env -i cpuflags=+pcid "_hook_domxml=$inside/there.xml" "$inside/cpuflags"
cmp "$there/here.xml" "$there/there.xml" || problem "cpuflags does not do there what it does here"
! cmp --quiet tests/data/domain.xml "$there/there.xml" || problem "cpuflags did nothing in Debian 11"
[ "$failed" = 0 ] || exit 1
echo "$# programs load nothing, and run in $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' "$root/etc/os-release")"
