#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds vdsm-hooks, and has the tool that was built install it, or take it away again.

set -eu

usage() {
    cat <<'END'
Usage: install.sh [--destdir DIR] [--hook NAME]... [--static] [--no-build | --programs DIR] [--replace]
       install.sh --uninstall [--destdir DIR] [--hook NAME]...

Builds the hooks and the tool vdsm-hooks and installs them for VDSM. --no-build takes the programs
of an earlier 'cargo build --release --locked', --programs those in DIR. --static builds programs that
load no libraries, and start faster; see packaging/static.sh. The other options are those
of 'vdsm-hooks install' and 'vdsm-hooks uninstall', which do the work and whose --help says more.

Example: see what would be installed, without touching the host:
  ./install.sh --destdir /tmp/try && find /tmp/try -type f
END
}

die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

build() {
    (
        cd -- "$source"
        if [ -n "$static" ]; then sh packaging/static.sh "$@"; else cargo build --release --locked "$@"; fi
    ) || die 'the build failed'
}

source=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$source/target}
case $target in /*) ;; *) target=$source/$target ;; esac
programs=$target/release
command=install build=yes destdir='' hooks='' replace='' static='' given=''
while [ $# -gt 0 ]; do
    case $1 in
    --destdir=* | --hook=* | --programs=*)
        option=${1%%=*} value=${1#*=}
        shift
        set -- "$option" "$value" "$@"
        ;;
    esac
    case $1 in
    # An empty one would mean /, or all hooks.
    --destdir | --hook | --programs) [ -n "${2-}" ] || die "$1 needs a value" ;;
    esac
    case $1 in
    --destdir) destdir=$2 && shift ;;
    --hook) hooks="$hooks $2" && shift ;;
    --programs)
        programs=$(CDPATH='' cd -- "$2" 2>/dev/null && pwd) || die "$2: no such directory"
        given=--programs build='' && shift
        ;;
    --no-build) build='' ;;
    --static) static=yes ;;
    --replace) replace=yes ;;
    --uninstall) command=uninstall ;;
    --help | -h) usage && exit ;;
    *) die "unknown argument $1: try --help" ;;
    esac
    shift
done
[ -z "$static" ] || [ -z "$given" ] || die "--static and $given contradict each other"
[ -z "$static" ] || programs=$target/static
for hook in $hooks; do
    [ -e "$source/hooks/$hook/hook.json" ] ||
        die "unknown hook $hook: expected one of $(cd -- "$source/hooks" && echo *)"
    set -- "$@" --hook "$hook"
done
case $destdir in
*[!/]*) set -- "$@" --destdir "$destdir" ;;
*) [ "$(id -u)" = 0 ] || die 'only root can change /: use sudo, or --destdir DIR to install below a directory' ;;
esac
tool=$programs/vdsm-hooks
if [ "$command" = install ]; then
    if [ -n "$build" ]; then
        command -v cargo >/dev/null ||
            die "cargo is not found: build as a user who has it ('cargo build --release --locked'), then give --no-build"
        # Not all programs where some are enough: linking takes most of the time.
        [ -z "$hooks" ] || build --bin vdsm-hooks
        # shellcheck disable=SC2046,SC2086 # lists of names
        build ${hooks:+$("$tool" files $hooks | awk '$2 ~ /^(program|helper|daemon)$/ { print "--bin", $5 }')}
    fi
    set -- "$@" --programs "$programs" ${replace:+--replace}
elif [ ! -x "$tool" ]; then
    # What is installed can do it as well.
    tool=$destdir/usr/bin/vdsm-hooks
fi
[ -x "$tool" ] || die "$programs/vdsm-hooks is missing: build with 'cargo build --release --locked'"
status=0
"$tool" "$command" "$@" || status=$?
[ "$status" -gt 128 ] || [ "$status" = 0 ] || status=1
exit "$status"
