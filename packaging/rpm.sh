#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds the RPM packages, then proves them: tags, files, modes and owners, installation into an
# empty root, verification, removal without a trace.
#
# Usage: packaging/rpm.sh [--keep DIR] [--programs DIR]
#   --keep DIR      keep the packages and the spec in DIR
#   --programs DIR  ask the vdsm-hooks in DIR for the list of hooks, instead of building one first
#
# Everything happens in a temporary directory, building without network. Needs root (for an empty
# root of its own), cargo, rpmbuild and git.

set -eu
LC_ALL=C
export LC_ALL
umask 022

# The largest hook, stripped, in bytes.
readonly LARGEST_HOOK=600000

die() {
    printf 'rpm.sh: %s\n' "$*" >&2
    exit 1
}

ok() {
    printf 'ok: %s\n' "$*"
}

# Runs a command quietly; what it said is shown only if it fails.
quietly() {
    "$@" >"$work/log" 2>&1 || {
        tail -n 30 "$work/log" >&2
        die "failed: $*"
    }
}

# --- The archive and the spec ---

make_archive() {
    mkdir -p "$work/source/vdsm-hooks-$version"
    if git ls-files --cached --others --exclude-standard >"$work/files.git" 2>/dev/null; then
        # Not those that are deleted but still known to git.
        while read -r file; do [ ! -e "$file" ] || printf '%s\n' "$file"; done <"$work/files.git" >"$work/archived"
        tar -cf "$work/tree.tar" -T "$work/archived"
    else
        tar -cf "$work/tree.tar" --exclude=./target --exclude=./fuzz/target --exclude=./.git .
    fi
    tar -xf "$work/tree.tar" -C "$work/source/vdsm-hooks-$version"
    (
        cd "$work/source/vdsm-hooks-$version"
        quietly cargo vendor --quiet --locked vendor
    )
    mkdir -p "$work/rpm/SOURCES"
    tar -czf "$work/rpm/SOURCES/vdsm-hooks-$version.tar.gz" --sort=name --owner=0 --group=0 \
        -C "$work/source" "vdsm-hooks-$version"
}

# One stanza per hook: what it is and needs, for the place of @PACKAGES@.
packages() {
    last=''
    while IFS=$tab read -r hook _ replaces summary; do
        [ "$hook" != "$last" ] || continue
        last=$hook
        printf '\n%%package %s\n' "$hook"
        printf 'Summary:        %s\n' "$summary" | sed 's/%/%%/g'
        echo 'Requires:       vdsm'
        if [ -e "hooks/$hook/sudoers" ]; then echo 'Requires:       sudo'; fi
        if [ "$replaces" != - ]; then
            # It does what VDSM's own package does, at the same place.
            printf 'Provides:       %s\nConflicts:      %s\n' "$replaces" "$replaces"
        fi
        printf '\n%%description %s\n' "$hook"
        printf '%s.\n' "$summary" | sed 's/%/%%/g' | fold -s -w 79 | sed 's/ *$//'
        printf '\nA native hook for VDSM, described in vdsm-hook-%s(8).\n' "$hook"
    done <"$work/hooks"
    echo
}

# One stanza per hook: its files, for the place of @FILES@.
file_lists() {
    last=''
    while IFS=$tab read -r hook path _; do
        if [ "$hook" != "$last" ]; then
            last=$hook
            printf '\n%%files %s\n%%license LICENSE LICENSE.dependencies\n' "$hook"
            printf '%%doc hooks/%s/README.md\n' "$hook"
            printf '%%{_mandir}/man8/vdsm-hook-%s.8*\n' "$hook"
            if [ -e "hooks/$hook/sudoers" ]; then
                # What somebody changed is saved with a dot in its name, which sudo passes over.
                printf '%%config %%attr(0440, root, root) %%{_sysconfdir}/sudoers.d/50_vdsm_hooks_%s\n' "$hook"
            fi
        fi
        printf '%%{hooksdir}/%s\n' "$path"
    done <"$work/hooks"
}

make_spec() {
    packages >"$work/packages"
    file_lists >"$work/file_lists"
    sed -e "s/@VERSION@/$version/" -e "s/@RUST@/$rust/" \
        -e "/^@PACKAGES@\$/{r $work/packages
d}" -e "/^@FILES@\$/{r $work/file_lists
d}" packaging/vdsm-hooks.spec.in >"$work/vdsm-hooks.spec"
}

build() {
    set -- -bb --define "_topdir $work/rpm" "$work/vdsm-hooks.spec"
    # Debian's cargo and libraries are unknown to rpm.
    if command -v dpkg >/dev/null; then set -- --nodeps "$@"; fi
    # No network: the archive must be enough.
    quietly unshare --net rpmbuild "$@"
    mkdir "$work/built"
    mv "$work"/rpm/RPMS/*/*.rpm "$work/built"
}

# --- What the packages say ---

# The file of the package $1.
package_file() {
    set -- "$work/built/$1-$version"-*.rpm
    [ -e "$1" ] || die "$1 was not built"
    printf '%s\n' "$1"
}

# Asks the package file $1 with the query format $2.
ask() {
    rpm -qp --queryformat "$2" "$1" 2>/dev/null
}

same() {
    [ "$2" = "$3" ] || die "$1: expected $3, found $2"
}

check_tags() {
    same "$1: licence" "$(ask "$2" '%{LICENSE}')" GPL-2.0-or-later
    [ -z "$(rpm -qp --scripts "$2" 2>/dev/null)" ] || die "$1 has scripts"
    [ "$1" != vdsm-hooks ] || return 0
    same "$1: summary" "$(ask "$2" '%{SUMMARY}')" "$4"
    ask "$2" '[%{REQUIRENAME}\n]' | grep -qx vdsm || die "$1 does not require vdsm"
    if [ "$3" = - ]; then
        same "$1: conflicts" "$(ask "$2" '[%{CONFLICTNAME}\n]')" ''
    else
        same "$1: conflicts" "$(ask "$2" '[%{CONFLICTNAME}\n]')" "$3"
        ask "$2" '[%{PROVIDENAME}\n]' | grep -qx "$3" || die "$1 does not provide $3"
    fi
}

# Mode, owner and name of every file that the package of hook $1 is to have, or of the tool.
expected_files() {
    for file in LICENSE LICENSE.dependencies; do
        echo "-rw-r--r-- root root /usr/share/licenses/$package/$file"
    done
    echo "drwxr-xr-x root root /usr/share/licenses/$package"
    echo "drwxr-xr-x root root /usr/share/doc/$package"
    echo "-rw-r--r-- root root /usr/share/doc/$package/README.md"
    if [ "$package" = vdsm-hooks ]; then
        echo '-rwxr-xr-x root root /usr/bin/vdsm-hooks'
        for page in "$work"/man/*.1; do echo "-rw-r--r-- root root /usr/share/man/man1/${page##*/}"; done
        for directory in bash-completion bash-completion/completions fish fish/vendor_completions.d zsh zsh/site-functions; do
            echo "drwxr-xr-x root root /usr/share/$directory"
        done
        for file in bash-completion/completions/vdsm-hooks fish/vendor_completions.d/vdsm-hooks.fish \
            zsh/site-functions/_vdsm-hooks; do
            echo "-rw-r--r-- root root /usr/share/$file"
        done
        return
    fi
    echo "-rw-r--r-- root root /usr/share/man/man8/vdsm-hook-$1.8"
    if [ -e "hooks/$1/sudoers" ]; then echo "-r--r----- root root /etc/sudoers.d/50_vdsm_hooks_$1"; fi
    mode=-rwxr-xr-x
    while IFS=$tab read -r hook path _; do
        [ "$hook" = "$1" ] || continue
        echo "$mode root root /usr/libexec/vdsm/hooks/$path"
        # All but the first are links.
        mode=lrwxrwxrwx
    done <"$work/hooks"
}

check_files() {
    expected_files "$1" | sort >"$work/expected"
    # Whether manual pages are compressed is the distribution's choice.
    ask "$2" '[%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILENAMES}\n]' |
        sed 's/\(\/man[18]\/.*\.[18]\)\.[a-z0-9]*$/\1/' | sort >"$work/found"
    diff "$work/expected" "$work/found" >"$work/log" || {
        cat "$work/log" >&2
        die "$package: wrong files (< expected, > found)"
    }
}

check_packages() {
    # The names of all packages, in $names.
    names=vdsm-hooks package=vdsm-hooks
    file=$(package_file vdsm-hooks)
    check_tags vdsm-hooks "$file"
    check_files '' "$file"
    last=''
    while IFS=$tab read -r hook _ replaces summary; do
        [ "$hook" != "$last" ] || continue
        last=$hook package=vdsm-hooks-$hook names="$names vdsm-hooks-$hook"
        file=$(package_file "$package")
        check_tags "$package" "$file" "$replaces" "$summary"
        check_files "$hook" "$file"
    done <"$work/hooks"
    # shellcheck disable=SC2086 # a list of names
    set -- $names
    total=$#
    set -- "$work"/built/*.rpm
    same 'number of packages' "$#" "$total"
}

# --- Installing them ---

# rpm in the empty root. Which database is used would otherwise depend on the host.
rpm_there() {
    rpm --root "$work/root" --dbpath /var/lib/rpm "$@"
}

# The directories that belong to other packages, VDSM first of all, and an empty database.
make_root() {
    mkdir -p "$work/root"
    for directory in usr/bin usr/share/doc usr/share/licenses usr/share/man/man1 usr/share/man/man8 \
        etc/sudoers.d var/lib/rpm var/tmp tmp; do
        mkdir -p "$work/root/$directory"
    done
    while IFS=$tab read -r _ path _; do
        mkdir -p "$work/root/usr/libexec/vdsm/hooks/${path%/*}"
    done <"$work/hooks"
    quietly rpm_there --initdb
}

snapshot() {
    (cd "$work/root" && find . -path ./var/lib/rpm -prune -o -printf '%y %m %u:%g %p %l\n' | sort)
}

# A package that provides all that VDSM's own packages do must be refused beside ours.
check_conflicts() {
    {
        printf 'Name: theirs\nVersion: 1\nRelease: 1\nSummary: VDSM hooks\nLicense: none\nBuildArch: noarch\n'
        cut -f 3 "$work/hooks" | grep -vx -e - | sort -u | sed 's/^/Provides: /'
        printf '%%description\nx\n%%files\n'
    } >"$work/theirs.spec"
    quietly rpmbuild -bb --define "_topdir $work/theirs" "$work/theirs.spec"
    # Fails in any case, as nothing that the packages require is in the empty root.
    rpm_there -i --test "$work"/built/*.rpm >"$work/log" 2>&1 || :
    ! grep 'conflicts with' "$work/log" >&2 || die 'our packages conflict with each other'
    rpm_there -i --test "$work"/built/*.rpm "$work"/theirs/RPMS/noarch/*.rpm >"$work/log" 2>&1 || :
    cut -f 1,3 "$work/hooks" | sort -u | while IFS=$tab read -r hook replaces; do
        [ "$replaces" != - ] || continue
        grep -q "$replaces conflicts with .*vdsm-hooks-$hook-$version" "$work/log" ||
            die "vdsm-hooks-$hook does not conflict with $replaces"
    done
}

check_programs() {
    largest=0
    cut -f 1,2 "$work/hooks" | {
        while IFS=$tab read -r hook path; do
            program=$work/root/usr/libexec/vdsm/hooks/$path
            "$program" --version >"$work/log" || die "$path does not run"
            same "$path --version" "$(cat "$work/log")" "$hook $version"
            size=$(stat -Lc %s "$program")
            [ "$size" -le "$LARGEST_HOOK" ] || die "$hook has $size bytes stripped: expected at most $LARGEST_HOOK"
            [ "$size" -le "$largest" ] || largest=$size
            # "no symbols" is on stderr.
            [ -z "$(nm "$program" 2>/dev/null)" ] || die "$hook is not stripped"
        done
        ok "every hook runs, is stripped, and has at most $LARGEST_HOOK bytes (the largest: $largest)"
    }
    "$work/root/usr/bin/vdsm-hooks" files >"$work/log" || die 'the tool does not run'
    cmp -s "$work/log" "$work/hooks" || die 'the packaged tool lists other hooks than the one that the packages were made with'
}

# --- ---

keep='' programs=''
while [ $# -gt 0 ]; do
    case "$1" in
    --keep | --programs)
        [ $# -ge 2 ] || die "$1 needs a value"
        case "$2" in /*) value=$2 ;; *) value=$PWD/$2 ;; esac
        case "$1" in
        --keep) keep=$value ;;
        --programs) programs=$value ;;
        esac
        shift
        ;;
    --help | -h)
        sed -n '/^# Usage/,/^$/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) die "unknown argument $1: try --help" ;;
    esac
    shift
done
cd "$(dirname -- "$0")/.."
[ "$(id -u)" = 0 ] || die 'needs root: rpm changes its root directory'
for command in cargo rpm rpmbuild unshare; do
    command -v "$command" >/dev/null || die "$command is not found"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/vdsm-hooks-rpm.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' HUP INT TERM
tab=$(printf '\t')
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
rust=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)

if [ -z "$programs" ]; then
    quietly cargo build --locked --bin vdsm-hooks
    programs=${CARGO_TARGET_DIR:-$PWD/target}/debug
fi
# What is packaged is built from the archive, and nowhere else.
unset CARGO_TARGET_DIR
"$programs/vdsm-hooks" files >"$work/hooks" || die "$programs/vdsm-hooks does not list its hooks"
[ -s "$work/hooks" ] || die "$programs/vdsm-hooks lists no hooks"
mkdir "$work/man"
"$programs/vdsm-hooks" man "$work/man" || die "$programs/vdsm-hooks does not write its manual pages"

make_archive
make_spec
ok "archive with all crates made"
build
ok 'built without network'
check_packages
ok "$total packages: tags, files, modes, owners, manual pages and licences are right"

make_root
snapshot >"$work/before"
check_conflicts
ok "each hook's package conflicts with VDSM's own, and with none of ours"
# Nothing they require is in the empty root: not vdsm, not the C library.
quietly rpm_there -i --nodeps "$work"/built/*.rpm
rpm_there -Va --nodeps >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    die 'rpm -V finds differences'
}
same 'packages in the database' "$(rpm_there -qa | wc -l)" "$total"
ok 'installed into an empty root, rpm -V finds no difference'
check_programs
# shellcheck disable=SC2086 # a list of names
quietly rpm_there -e $names
snapshot >"$work/after"
diff "$work/before" "$work/after" >"$work/log" || {
    cat "$work/log" >&2
    die 'removing the packages leaves a trace (< before, > after)'
}
ok 'removed again without a trace'

if [ -n "$keep" ]; then
    mkdir -p "$keep"
    cp "$work"/built/*.rpm "$work/vdsm-hooks.spec" "$keep"
fi
echo "rpm.sh: $total packages built, checked, installed, verified and removed${keep:+, kept in $keep}"
