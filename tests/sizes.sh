#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Measures programs, stripped, against the empty program that the same compiler makes with the same
# profile: how much of a program is the compiler's own differs from one release to the next. Of static
# ones most is libc's.
#
# Usage: tests/sizes.sh [--static] <LIST     one program a line: kind (program, daemon, helper), tab, file

set -eu
project=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

# The largest of each kind, in hundredths of the empty program. Hooks and daemons are paid for at each
# start of a VM, a helper only where its hook has work for it.
largest_of() {
    case ${linked-}$1 in
    static*) echo 159 ;;
    helper) echo 270 ;;
    *) echo 250 ;;
    esac
}

linked='' flags=''
case "${1-}" in
--static) linked=static flags='-C target-feature=+crt-static' ;;
'') ;;
*)
    echo "sizes.sh: unknown argument $1: expected --static" >&2
    exit 1
    ;;
esac

work=$(mktemp -d "${TMPDIR:-/tmp}/vdsm-hooks-sizes.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' HUP INT TERM
{
    printf 'bin = [{ name = "empty", path = "%s/benches/programs/empty.rs" }]\n' "$project"
    printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2024"\n'
    sed -n '/^\[profile\.release\]/,/^$/p' "$project/Cargo.toml"
} >"$work/Cargo.toml"
# With the unwinder in it, as build.rs has it for ours.
case $linked$(cc -print-file-name=libgcc_eh.a) in
/*)
    echo 'INPUT(-lgcc_eh)' >"$work/libgcc_s.so"
    flags="-L native=$work"
    ;;
esac
target=$(rustc -vV | sed -n 's/^host: //p')
(cd "$work" && RUSTFLAGS=$flags cargo build --quiet --release --target "$target" --target-dir built)
empty=$(stat -c %s "$work/built/$target/release/empty")

tab=$(printf '\t')
status=0 count=0 most=0
while IFS=$tab read -r kind program; do
    size=$(stat -Lc %s "$program")
    count=$((count + 1))
    [ "$size" -le "$most" ] || most=$size
    limit=$((empty * $(largest_of "$kind") / 100))
    if [ "$size" -gt "$limit" ]; then
        echo "${program##*/}, a $kind, has $size bytes: expected at most $limit"
        status=1
    fi
done
[ "$count" -gt 0 ] || {
    echo "sizes.sh: the list is empty" >&2
    exit 1
}
echo "$count programs, the largest has $most bytes, the empty one $empty ($(rustc --version))"
exit $status
