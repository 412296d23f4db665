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
skipped=0
# What took how long: seconds, a tab, and what it was; and the parts as rows of a table.
times=$(mktemp)
parts=$(mktemp)
trap 'rm -f "$times" "$parts"' EXIT

part() {
    title=$1
    shift
    printf '\n=== %s\n' "$title"
    began=$(date +%s)
    result=passed
    if ! "$@"; then
        result=FAILED
        printf '=== FAILED: %s\n' "$title"
    fi
    case $result in
    passed) passed=$((passed + 1)) ;;
    FAILED) failed=$((failed + 1)) ;;
    *) skipped=$((skipped + 1)) ;;
    esac
    took=$(($(date +%s) - began))
    printf '=== %s s: %s\n' "$took" "$title"
    printf '%s\t%s\n' "$took" "$title" >>"$times"
    printf '| %s | %s | %s |\n' "$title" "$took" "$result" >>"$parts"
}

summary() {
    printf '\n| part | seconds | |\n|---|---|---|\n'
    cat "$parts"
}

slowest() {
    printf '\nThe slowest, in seconds:\n'
    sort -rn "$times" | head -n 10
}

# Of the whole part that runs: it is neither passed nor failed.
not_run() {
    printf 'NOT RUN: %s: %s\n' "$1" "$2"
    result='NOT RUN'
}

# Tools for developers. Without them everything else is tested.
formatting() {
    if cargo fmt --version >/dev/null 2>&1; then
        cargo fmt --check
    else
        not_run "Formatting" "cargo fmt is not installed"
    fi
}

lints() {
    if cargo clippy --version >/dev/null 2>&1; then
        cargo clippy --locked --all-targets -- -D warnings
    else
        not_run "Lints" "cargo clippy is not installed"
    fi
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

sizes() {
    built=${CARGO_TARGET_DIR:-target}/release
    "$built/vdsm-hooks" files |
        awk -F '\t' -v built="$built" '$2 ~ /^(program|daemon|helper)$/ { print $2 "\t" built "/" $5 }' |
        sh tests/sizes.sh
}

shell_scripts() {
    if ! command -v shellcheck >/dev/null; then
        not_run "Shell scripts" "shellcheck is not installed"
        return 0
    fi
    # shellcheck disable=SC2046  # file names of ours, without blanks
    shellcheck -x $(git ls-files '*.sh' .ci/run)
}

part "Formatting" formatting
part "Lints, and the library's API against rust-version" lints
part "Shell scripts" shell_scripts
part "Licences and sources of dependencies" dependencies
part "Library, hooks, tool" cargo test --locked --no-fail-fast
part "Release build" cargo build --locked --release
part "Sizes of programs" sizes
part "install.sh" sh tests/install.sh
part "RPM packages" sh packaging/rpm.sh
part "Real hypervisor" sh tests/hypervisor.sh

summary
slowest
printf '\n%s passed, %s failed, %s not run\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
