#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Both of the README's commands on fresh machines: installs a minimal Debian with nothing but
# ca-certificates and git into a directory, clones this checkout's last commit there, runs
# tests/demo.sh and tests/all.sh, and deletes everything. Takes an hour or more for each; not part
# of CI.
#
#     sh tests/fresh.sh [--record] [bookworm|trixie]...
#
# Both without a name. What was said is in target/fresh/NAME.log, the seconds of each part and what
# did not run in target/fresh/NAME.md; --record writes the latter to docs/fresh-NAME.md, too.
#
# Needs root, debootstrap and a network. The fresh machine has this one's kernel, devices, network
# and certificates, and processes and mounts of its own: all of them end with this script, however
# it ends. Only kill -9 leaves its directory, /var/tmp/vdsm-hooks-fresh.*.
#
# shellcheck disable=SC2317 # Functions are called by way of timed.
set -eu
LC_ALL=C.UTF-8
export LC_ALL
project=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

die() {
    echo "fresh.sh: $*" >&2
    exit 1
}

# --- On the fresh machine's mounts and processes, before its root ---

# enter DIRECTORY COMMAND...: in the root below it.
enter() {
    root=$1/root
    shift
    chroot "$root" env -i HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
        sh -c 'cd /root/vdsm-hooks 2>/dev/null; exec "$@"' sh "$@"
}

# timed NAME COMMAND...: one row of the table; its status is the command's.
timed() {
    row=$1
    shift
    printf '\n##### %s\n' "$row"
    before=$(date +%s)
    status=0
    "$@" || status=$?
    result=passed
    [ "$status" = 0 ] || result="FAILED ($status)"
    printf '| **%s** | %s | %s |\n' "$row" "$(($(date +%s) - before))" "$result" >>"$work/rows"
    return "$status"
}

# bootstrap RELEASE: and what makes a root directory a machine.
bootstrap() {
    debootstrap --variant=minbase --include=ca-certificates,git "$1" "$work/root" >"$work/debootstrap.log" 2>&1 || {
        tail -n 20 "$work/debootstrap.log"
        return 1
    }
    # Its root is a mount: without that no process there gets mounts of its own.
    mount --bind "$work/root" "$work/root" &&
        mount -t proc proc "$work/root/proc" &&
        mount --rbind /sys "$work/root/sys" &&
        mount --rbind /dev "$work/root/dev" &&
        mount -t tmpfs tmpfs "$work/root/dev/shm" &&
        mount -t tmpfs tmpfs "$work/root/run" &&
        cp /etc/resolv.conf "$work/root/etc/resolv.conf" || return
    # What was added to this machine's, for a network that needs it.
    mkdir -p "$work/root/usr/local/share/ca-certificates" &&
        { [ ! -d /usr/local/share/ca-certificates ] ||
            find /usr/local/share/ca-certificates -name '*.crt' \
                -exec cp -t "$work/root/usr/local/share/ca-certificates" {} +; } &&
        chroot "$work/root" update-ca-certificates >/dev/null 2>&1
}

clone() {
    git clone --quiet --no-hardlinks "$project" "$work/root/root/vdsm-hooks" &&
        git -C "$work/root/root/vdsm-hooks" checkout --quiet --detach "$commit"
}

packages() { enter "$work" dpkg-query -W; }

# Where the release's Rust is too old, the first command says so before it does anything, and what to
# type. That is then typed.
missing_rust() {
    packages >"$work/packages"
    if enter "$work" sh tests/demo.sh >"$work/said" 2>&1; then
        echo "tests/demo.sh succeeded without Rust"
        return 1
    fi
    cat "$work/said"
    if [ -e "$work/root/root/vdsm-hooks/target" ] || ! packages | cmp - "$work/packages"; then
        echo "tests/demo.sh did something without Rust"
        return 1
    fi
    typed=$(sed -n 's/^ *\(apt-get install [a-z-]*\)$/\1/p' "$work/said")
    [ -n "$typed" ] || {
        echo "tests/demo.sh did not say which package to install"
        return 1
    }
    # The answer to its question, in a machine without anybody to give it.
    enter "$work" env DEBIAN_FRONTEND=noninteractive apt-get -y -qq install "${typed##* }" >"$work/said" 2>&1 || {
        cat "$work/said"
        return 1
    }
    echo "$typed: done"
}

versions() {
    enter "$work" sh -c 'rustc --version; libvirtd --version; qemu-system-x86_64 --version | head -n 1; lvm version 2>/dev/null | head -n 1' |
        sed -e 's/ *LVM version: */LVM /' -e 's/ (Debian[^)]*)//g' | paste -sd ';' | sed 's/;/; /g'
}

# on_fresh_machine RELEASE: everything between debootstrap and deletion.
on_fresh_machine() {
    failed=0
    timed "debootstrap" bootstrap "$1" && timed "clone" clone || return 1
    if [ "$1" = bookworm ]; then timed "no Rust: says so, and carries on with it" missing_rust || failed=1; fi
    timed "sh tests/demo.sh" enter "$work" sh tests/demo.sh || failed=1
    timed "sh tests/all.sh" enter "$work" sh tests/all.sh || failed=1
    versions >"$work/versions" 2>/dev/null || :
    return "$failed"
}

if [ "${1-}" = --inside ]; then
    work=$2 commit=$3
    on_fresh_machine "$4"
    exit
fi

# --- Outside ---

# report RELEASE LOG: what is worth keeping of a run, in Markdown.
report() {
    echo "# The last run of tests/fresh.sh $1"
    echo
    echo "$(date -u +%F), commit $(git -C "$project" rev-parse --short "$commit"), Linux $(uname -r), $(nproc) processors: $verdict."
    echo "$(cat "$work/versions" 2>/dev/null)." | sed 's/^\.$//'
    echo
    echo '| part | seconds | |'
    echo '|---|---|---|'
    cat "$work/rows"
    # The parts of tests/all.sh, as it prints them.
    awk '/^\| part \| seconds/ { inside = 1; next }
        !/^\|/               { inside = 0 }
        inside && !/^\|---/' "$2"
    grep -E '^FAIL|^test .* FAILED$|NOT RUN: ' "$2" | sed 's/.*NOT RUN: /NOT RUN: /' | sort -u >"$work/lines"
    if [ -s "$work/lines" ]; then printf '\nWhat failed or did not run:\n\n' && sed 's/^/    /' "$work/lines"; fi
}

# Loop devices that a killed test has left: the kernel's, not the namespace's. What it calls the file
# behind one is the path that the fresh machine had for it, so that only the inode tells.
free_loops() {
    disk=$(stat -c %d "$work")
    disk=$((disk >> 8 & 0xfff)):$((disk & 0xff | disk >> 12 & 0xfff00))
    losetup --noheadings --list --output NAME,BACK-MAJ:MIN,BACK-INO 2>/dev/null | while read -r device of inode; do
        [ "$of" = "$disk" ] || continue
        [ -z "$(find "$work" -xdev -inum "$inode" -print -quit)" ] || losetup --detach "$device"
    done
}

clean_up() {
    [ -z "${child-}" ] || kill -KILL "$child" 2>/dev/null || :
    [ -n "${work-}" ] || return 0
    free_loops
    # Its last processes may still be ending.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        rm -rf --one-file-system "$work" 2>/dev/null && break
        sleep 1
    done
    [ ! -e "$work" ] || echo "fresh.sh: $work is left" >&2
    work=
}

record=
releases=
for argument; do
    case $argument in
    --record) record=yes ;;
    bookworm | trixie) releases="$releases $argument" ;;
    *) die "unknown argument $argument: expected --record, bookworm or trixie" ;;
    esac
done
[ "$(id -u)" = 0 ] || die "needs root"
for command in debootstrap git losetup setpriv unshare; do
    command -v "$command" >/dev/null || die "$command is not found: apt-get install $command"
done
commit=$(git -C "$project" rev-parse HEAD)
[ -z "$(git -C "$project" status --porcelain)" ] || echo "fresh.sh: what is not committed is not tested" >&2

work=
child=
trap clean_up EXIT
trap 'exit 130' HUP INT TERM
logs=$project/target/fresh
mkdir -p "$logs"
outcome=0
for release in ${releases:-bookworm trixie}; do
    work=$(mktemp -d /var/tmp/vdsm-hooks-fresh.XXXXXX)
    log=$logs/$release.log
    : >"$log"
    # In the background, so that a signal to this script is not kept waiting.
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child sh "$project/tests/fresh.sh" --inside "$work" "$commit" "$release" \
        >"$log" 2>&1 </dev/null &
    child=$!
    tail -n +1 -f --pid="$child" "$log" &
    verdict="everything passed"
    wait "$child" || verdict="FAILED" outcome=1
    child=
    wait
    report "$release" "$log" >"$logs/$release.md"
    printf '\n'
    cat "$logs/$release.md"
    [ -z "$record" ] || cp "$logs/$release.md" "$project/docs/fresh-$release.md"
    clean_up
done
exit "$outcome"
