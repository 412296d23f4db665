#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs what the tests need and runs all of them, real hypervisor and RPMs included. A part that
# fails does not keep the others from running. What this machine cannot run is named in a line that
# begins with NOT RUN.
#
# Two lanes run side by side, since many parts leave a processor idle: tests of the debug build, and what
# needs the release build. What a part says appears in one piece when it ends.
set -eu
cd "$(dirname "$0")/.."

sh tests/needs.sh tests

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' HUP INT TERM
# What took how long: seconds, a tab, and what it was; and the parts as rows of a table.
times=$work/times
parts=$work/parts
: >"$times"
: >"$parts"
# The directory of the release build.
built=${CARGO_TARGET_DIR:-target}/release
# The seconds that a hook may take with the tests and checks of its own: CONTRIBUTING.md.
readonly BUDGET=30

# part TITLE COMMAND...
part() {
    title=$1
    shift
    said=$work/said.$lane
    began=$(date +%s)
    result=passed
    "$@" >"$said" 2>&1 </dev/null || result=FAILED
    took=$(($(date +%s) - began))
    {
        printf '\n=== %s\n' "$title"
        cat "$said"
        [ "$result" != FAILED ] || printf '=== FAILED: %s\n' "$title"
        printf '=== %s s: %s\n' "$took" "$title"
    } >"$said.whole"
    # The lanes do not interrupt each other.
    flock "$work" cat "$said.whole"
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

# Hooks whose own tests and checks together take longer than they may.
over_budget() {
    for folder in hooks/*/; do
        hook=$(basename "$folder")
        awk -F '\t' -v hook="$hook" -v budget="$BUDGET" '
            $2 == "tests/" hook ".rs" || $2 == "hypervisor: " hook { sum += $1 }
            END { if (sum > budget) print hook ": " sum " s of its own, expected at most " budget " s" }' "$times"
    done
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

# The library, programs with unit tests, and what runs itself as a hook.
units() {
    status=0
    cargo test --locked --no-fail-fast --lib --bins --test hook_program || status=1
    cargo test --locked --doc || status=1
    return $status
}

# suite_of FILE: the tests of tests/FILE.rs, which the suite has under that name.
suite_of() {
    cargo test --locked --test suite -- --list --format terse >"$work/tests"
    names=$(sed -n "s/^\($1::.*\): test\$/\1/p" "$work/tests")
    # shellcheck disable=SC2086 # names of functions
    [ -n "$names" ] && cargo test --locked --test suite -- --exact $names
}

hypervisor() {
    status=0
    PROGRAMS=$built sh tests/hypervisor.sh || status=1
    # It tells what each hook took.
    sed -n 's/^\([0-9]*\) s: \(.*\)/\1\thypervisor: \2/p' "$said" >>"$times"
    return $status
}

tests_of_debug_build() {
    lane=debug
    part "Lints, and the library's API against rust-version" lints
    part "Building the tests" cargo test --locked --no-run
    part "Library, programs" units
    files=$(sed -n 's/^mod \(.*\);$/\1/p' tests/suite.rs)
    for file in $files; do
        [ ! -e "tests/$file.rs" ] || part "tests/$file.rs" suite_of "$file"
    done
}

tests_of_release_build() {
    lane=release
    part "Release build" cargo build --locked --release
    part "Sizes of programs" sizes
    part "install.sh" sh tests/install.sh
    part "RPM packages" sh packaging/rpm.sh --built "$built"
    part "Real hypervisor" hypervisor
}

lane=first
part "Formatting" formatting
part "Shell scripts" shell_scripts
part "Licences and sources of dependencies" dependencies
tests_of_debug_build &
debug=$!
tests_of_release_build &
release=$!
# A lane that ends early is a failure of its own.
lost=0
wait "$debug" || lost=1
wait "$release" || lost=1

summary
slowest
over_budget
passed=$(grep -c '| passed |$' "$parts" || true)
failed=$(grep -c '| FAILED |$' "$parts" || true)
skipped=$(grep -c '| NOT RUN |$' "$parts" || true)
printf '\n%s passed, %s failed, %s not run\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ] && [ "$lost" = 0 ]
