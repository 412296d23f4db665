#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Installs what the tests need and runs all of them, real hypervisor and RPMs included. A part that
# fails does not keep the others from running. What this machine cannot run is named in a line that
# begins with NOT RUN.
#
# Two lanes run side by side, since many parts leave a processor idle: tests of the debug build, and what
# needs the release build. What a part says appears in one piece when it ends. A lane is this script once
# more, in a process group of its own: whatever ends the first one, kill -9 aside, ends both with all
# that they have started.
#
#     sh tests/all.sh
#     sh tests/all.sh --lane debug|release DIRECTORY     how it calls itself
set -eu
cd "$(dirname "$0")/.."
# What the caller's shell has for a run of some of them would leave the others out, or change them.
unset CASES HOOKS CORPUS UPDATE

lanes=
# ended GROUP: the process group has no members any more.
ended() { ! kill -s 0 -- "-$1" 2>/dev/null; }

end_lanes() {
    for group in $lanes; do
        ! kill -s TERM -- "-$group" 2>/dev/null || wait "$group" || :
    done
    for group in $lanes; do
        # They remove what they have made.
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            ! ended "$group" || continue 2
            sleep 1
        done
        kill -s KILL -- "-$group" 2>/dev/null || :
    done
}

lane=first
if [ "${1-}" = --lane ]; then
    lane=$2
    work=$3
else
    work=$(mktemp -d)
    trap 'end_lanes; rm -rf "$work"' EXIT
    trap 'exit 130' HUP INT TERM
fi
# What took how long: seconds, a tab, and what it was; the parts as rows of a table; and what was not run.
times=$work/times
parts=$work/parts
skipped=$work/skipped
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
    keep_skipped "$said"
}

keep_skipped() { sed -n 's/.*NOT RUN: /NOT RUN: /p' "$1" >>"$skipped"; }

# wait_for LANE GROUP: one that ends early is a failure of its own.
wait_for() {
    status=0
    wait "$2" || status=$?
    [ "$status" != 0 ] || return 0
    {
        printf '\n=== FAILED: the %s lane has ended early, with status %s. Its last part had said:\n' "$1" "$status"
        tail -n 20 "$work/said.$1" 2>/dev/null || :
    } >"$work/ended.$1"
    flock "$work" cat "$work/ended.$1"
    printf '| The %s lane has ended early | | FAILED |\n' "$1" >>"$parts"
}

summary() {
    printf '\n| part | seconds | |\n|---|---|---|\n'
    cat "$parts"
}

# Each once, wherever it was said.
all_skipped() {
    [ -s "$skipped" ] || return 0
    printf '\n'
    sort -u "$skipped"
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
            $2 == "hooks/" hook "/tests.rs" || $2 == "hypervisor: " hook { sum += $1 }
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
        # The tests of hooks are modules of the suite that it cannot see.
        cargo fmt --all --check && git ls-files 'hooks/*/tests.rs' | xargs -r rustfmt --edition 2024 --check
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

# suite_of NAME: the tests of tests/NAME.rs or hooks/NAME/tests.rs, which the suite has under that name.
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
    part "Lints, and the library's API against rust-version" lints
    part "Building the tests" cargo test --locked --no-run
    part "Library, programs" units
    files=$(sed -n 's/^mod \(.*\);$/\1/p' tests/suite.rs)
    for file in $files; do
        [ ! -e "tests/$file.rs" ] || part "tests/$file.rs" suite_of "$file"
    done
    for file in hooks/*/tests.rs; do
        [ ! -e "$file" ] || part "$file" suite_of "$(basename "${file%/tests.rs}")"
    done
}

tests_of_release_build() {
    part "Release build" cargo build --locked --release
    part "Sizes of programs" sizes
    part "Static programs" sh tests/portable.sh
    part "install.sh" sh tests/install.sh
    part "RPM packages" sh packaging/rpm.sh --built "$built"
    part "Real hypervisor" hypervisor
}

case $lane in
debug | release)
    "tests_of_${lane}_build"
    exit
    ;;
esac

: >"$times"
: >"$parts"
{ sh tests/needs.sh tests || : >"$work/refused"; } | tee "$work/needs"
[ ! -e "$work/refused" ] || exit 1
keep_skipped "$work/needs"

part "Formatting" formatting
part "Shell scripts" shell_scripts
part "Licences and sources of dependencies" dependencies
setsid sh tests/all.sh --lane debug "$work" &
debug=$!
lanes=$debug
setsid sh tests/all.sh --lane release "$work" &
release=$!
lanes="$debug $release"
wait_for debug "$debug"
wait_for release "$release"

summary
slowest
over_budget
all_skipped
passed=$(grep -c '| passed |$' "$parts" || true)
failed=$(grep -c '| FAILED |$' "$parts" || true)
not_run=$(grep -c '| NOT RUN |$' "$parts" || true)
printf '\n%s passed, %s failed, %s not run\n' "$passed" "$failed" "$not_run"
[ "$failed" = 0 ]
