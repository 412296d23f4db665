# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Read by the programs that stand in for those with hardware or a daemon behind them: writes down
# the call, and tells the rules that follow what the arguments are.

{ printf '%s\0' "${0##*/}" "$@"; printf '\036'; } >> /.test/calls

arguments=$(printf '%s\n' "$@")
line="$*"

# Whether all the words are among the arguments.
has() {
    for word; do
        printf '%s\n' "$arguments" | grep -qxF -e "$word" || return 1
    done
}

# Whether the arguments, joined, hold the text.
text() {
    case $line in
        *"$1"*) ;;
        *) return 1 ;;
    esac
}

# answer STATUS OUT ERR
answer() {
    printf %s "$2"
    printf %s "$3" >&2
    exit "$1"
}
