#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What is worth a run after each change: formatting, lints, the library, the layout and its rooms, and the cases and the
# contract of the hooks that are named, of all without a name. No appliance, hypervisor or release build.
#
#     sh tests/quick.sh [HOOK]...
set -eu
cd "$(dirname "$0")/.."

for hook; do
    [ -e "hooks/$hook/hook.json" ] || {
        echo "quick.sh: hooks/$hook: no such hook" >&2
        exit 1
    }
done

step() {
    printf '\n=== %s\n' "$1"
    shift
    began=$(date +%s)
    "$@"
    printf '=== %s s\n' "$(($(date +%s) - began))"
}

suite() { cargo test --locked --quiet --test suite -- "$1::"; }

cases() {
    [ $# -gt 0 ] || set -- ''
    for hook; do CASES=${hook:+$hook/} suite cases; done
}

formatting() { cargo fmt --all --check && git ls-files 'hooks/*/tests.rs' | xargs -r rustfmt --edition 2024 --check; }
step "Formatting" formatting
step "Lints" cargo clippy --locked --quiet --all-targets -- -D warnings
step "Library" cargo test --locked --quiet --lib
step "Layout" suite layout
step "Rooms" suite rooms
step "Cases" cases "$@"
HOOKS=$*
export HOOKS
step "Contract" suite contract
