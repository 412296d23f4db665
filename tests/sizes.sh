#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Measures programs, stripped, against the empty program that the same compiler makes with the same
# profile: how much of a program is the compiler's own differs from one release to the next.
#
# Usage: tests/sizes.sh <LIST     one program a line: kind (program, daemon, helper), tab, file

set -eu
project=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

# The largest of each kind, in hundredths of the empty program. Hooks and daemons are paid for at each
# start of a VM, a helper only where its hook has work for it.
largest_of() { case $1 in helper) echo 270 ;; *) echo 250 ;; esac }

work=$(mktemp -d "${TMPDIR:-/tmp}/vdsm-hooks-sizes.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' HUP INT TERM
{
    printf 'bin = [{ name = "empty", path = "%s/benches/programs/empty.rs" }]\n' "$project"
    printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2024"\n'
    sed -n '/^\[profile\.release\]/,/^$/p' "$project/Cargo.toml"
} >"$work/Cargo.toml"
# With the unwinder in it, as build.rs has it for ours.
unwinder=
case $(cc -print-file-name=libgcc_eh.a) in
/*)
    echo 'INPUT(-lgcc_eh)' >"$work/libgcc_s.so"
    unwinder="-L native=$work"
    ;;
esac
(cd "$work" && RUSTFLAGS=$unwinder cargo build --quiet --release --target-dir built)
empty=$(stat -c %s "$work/built/release/empty")

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
