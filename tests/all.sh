#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs what the tests need and runs all of them, real hypervisor and RPMs included. A part that
# fails does not keep the others from running. What this machine cannot run is named in a line that
# begins with NOT RUN.
set -eu
cd "$(dirname "$0")/.."

sh tests/needs.sh tests

passed=0
failed=0
# What took how long: seconds, a tab, and what it was.
times=$(mktemp)
trap 'rm -f "$times"' EXIT

part() {
    title=$1
    shift
    printf '\n=== %s\n' "$title"
    began=$(date +%s)
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '=== FAILED: %s\n' "$title"
    fi
    took=$(($(date +%s) - began))
    printf '=== %s s: %s\n' "$took" "$title"
    printf '%s\t%s\n' "$took" "$title" >>"$times"
}

slowest() {
    printf '\nThe slowest, in seconds:\n'
    sort -rn "$times" | head -n 10
}

not_run() {
    printf 'NOT RUN: %s: %s\n' "$1" "$2"
}

dependencies() {
    # Older ones do not know all licences, nor this file.
    version=$(cargo deny --version 2>/dev/null | sed -n 's/^cargo-deny 0\.\([0-9]*\)\..*/\1/p')
    if [ "${version:-0}" -lt 18 ]; then
        not_run "cargo deny" "cargo-deny 0.18 or newer is not installed"
        return 0
    fi
    # The list of advisories is on a server that a test machine may not reach.
    cargo deny --offline check licenses bans sources
}

# Every program is paid for at each start of a VM; a helper only where its hook has work for it.
sizes() {
    wrong=0
    built=${CARGO_TARGET_DIR:-target}/release
    for what in program:600 daemon:600 helper:720; do
        for name in $("$built/vdsm-hooks" files | awk -F '\t' -v what="${what%:*}" '$2 == what { print $5 }'); do
            size=$(stat -c %s "$built/$name")
            if [ "$size" -gt $((${what#*:} * 1024)) ]; then
                printf '%s has %s bytes, expected at most %s KiB\n' "$name" "$size" "${what#*:}"
                wrong=1
            fi
        done
    done
    return $wrong
}

shell_scripts() {
    # shellcheck disable=SC2046  # file names of ours, without blanks
    shellcheck -x $(git ls-files '*.sh' .ci/run)
}

part "Formatting" cargo fmt --check
part "Lints, and the library's API against rust-version" cargo clippy --locked --all-targets -- -D warnings
part "Shell scripts" shell_scripts
part "Licences and sources of dependencies" dependencies
part "Library, hooks, tool" cargo test --locked --no-fail-fast
part "Release build" cargo build --locked --release
part "Sizes of programs" sizes
part "install.sh" sh tests/install.sh
part "RPM packages" sh packaging/rpm.sh
part "Real hypervisor" sh tests/hypervisor.sh

slowest
printf '\n%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
