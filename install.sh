#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Installs vdsm-hooks without a package manager, and takes it away again.
#
# Three steps: everything is laid out in a scratch directory; every place that it would go to is
# looked at; only then is anything changed. New files are first written under names that begin
# with a dot, which VDSM does not run, and renamed when all of them are there: a full disk leaves
# things as they were, and at no moment is a hook missing or half written.

set -eu
LC_ALL=C
export LC_ALL
umask 022

# Stands in the help text of every program; added to the other files in their last line. With a
# checksum where an administrator may have changed something.
readonly MARKER='Part of vdsm-hooks'
# Below the root of the installation.
readonly HOOKS=usr/libexec/vdsm/hooks
readonly HELPERS=usr/libexec/vdsm-hooks
readonly STATE=var/lib/vdsm-hooks
readonly KEPT=$STATE/replaced
readonly DIRECTORIES=$STATE/directories
# What a run is about to make, and after a kill what may be left of it: d and a directory, or f and a
# file that is prepared, with a tab between.
readonly UNFINISHED=$STATE/unfinished
# Hook and path, with a tab between, of each file whose place does not tell that it is ours.
readonly SPREAD=$STATE/files
readonly TOOL=usr/bin/vdsm-hooks
readonly BASH_COMPLETION=usr/share/bash-completion/completions/vdsm-hooks
readonly ZSH_COMPLETION=usr/share/zsh/site-functions/_vdsm-hooks
readonly FISH_COMPLETION=usr/share/fish/vendor_completions.d/vdsm-hooks.fish
readonly MAN=usr/share/man
readonly DOC=usr/share/doc/vdsm-hooks
readonly LICENCE=usr/share/licenses/vdsm-hooks/LICENSE
readonly SUDOERS=etc/sudoers.d/50_vdsm_hooks_

usage() {
    cat <<'END'
Usage: install.sh [--destdir DIR] [--hook NAME]... [--no-build | --programs DIR] [--replace]
       install.sh --uninstall [--destdir DIR] [--hook NAME]...

Builds the hooks and the tool vdsm-hooks and installs them for VDSM, with manual pages, shell
completions, sudo rules, and what else a hook needs on the host. A second run changes nothing.

  --destdir DIR   install below DIR instead of /; needs no root
  --hook NAME     this hook only (and the tool); may be given several times
  --no-build      take the programs of an earlier 'cargo build --release --locked'
  --programs DIR  take the programs from DIR; builds nothing
  --replace       where a file that is not ours is in the way, such as VDSM's own hook of the
                  same name, keep it in /var/lib/vdsm-hooks/replaced and take its place;
                  without this nothing is installed then
  --uninstall     remove what is ours, and put back what --replace has kept; with --hook, that
                  hook only, and the tool stays
  --help          this text

Example: see what would be installed, without touching the host:
  ./install.sh --destdir /tmp/try && find /tmp/try -type f
END
}

say() {
    printf 'install.sh: %s\n' "$*"
}

die() {
    say "$@" >&2
    exit 1
}

# Runs a command. If it fails, its first line becomes ours.
attempt() {
    problem=$("$@" 2>&1) || die "$(printf '%s\n' "$problem" | head -n 1)"
}

# The directory $1, which must be there, as an absolute path.
absolute() {
    (CDPATH='' cd -- "$1" 2>/dev/null && pwd) || die "$1: no such directory"
}

# --- What is asked for ---

# Is hook $1 among those that this run is about?
selected() {
    case "$hooks" in
    '' | *" $1 "*) return 0 ;;
    esac
    return 1
}

known_hooks() {
    for known_file in "$source"/hooks/*/hook.json; do
        known=${known_file%/hook.json}
        printf '%s ' "${known##*/}"
    done
}

parse_arguments() {
    root='' hooks='' build=yes programs='' uninstall='' replace=''
    while [ $# -gt 0 ]; do
        case "$1" in
        --destdir=* | --hook=* | --programs=*)
            option=${1%%=*} value=${1#*=}
            shift
            set -- "$option" "$value" "$@"
            ;;
        esac
        case "$1" in
        --destdir | --hook | --programs)
            [ $# -ge 2 ] || die "$1 needs a value"
            case "$1" in
            --destdir) root=$2 ;;
            --hook) case " $hooks" in *" $2 "*) ;; *) hooks="$hooks$2 " ;; esac ;;
            --programs) programs=$2 build='' ;;
            esac
            shift
            ;;
        --no-build) build='' ;;
        --replace) replace=yes ;;
        --uninstall) uninstall=yes ;;
        --help | -h)
            usage
            exit 0
            ;;
        *) die "unknown argument $1: try --help" ;;
        esac
        shift
    done
    hooks=${hooks:+ $hooks}

    known=$(known_hooks)
    for hook in $hooks; do
        case " $known" in
        *" $hook "*) ;;
        *) die "unknown hook $hook: expected one of ${known% }" ;;
        esac
    done
    case "$root" in
    '' | /*) ;;
    *) root=$PWD/$root ;;
    esac
    while [ "${root%/}" != "$root" ]; do root=${root%/}; done
    if [ -n "$programs" ]; then
        programs=$(absolute "$programs") || exit 1
    else
        programs=${CARGO_TARGET_DIR:-$source/target}/release
        case "$programs" in /*) ;; *) programs=$source/$programs ;; esac
    fi
}

# A real installation needs root, and must not fight with our own packages.
check_real_root() {
    [ -z "$root" ] || return 0
    [ "$superuser" = yes ] ||
        die "only root can change /: use sudo, or --destdir DIR to install below a directory"
    command -v rpm >/dev/null || return 0
    packages=vdsm-hooks
    for hook in ${hooks:-$(known_hooks)}; do packages="$packages vdsm-hooks-$hook"; done
    for package in $packages; do
        if rpm -q --quiet "$package" 2>/dev/null; then
            die "the package $package is installed: leave it to dnf, or remove it first with 'dnf remove $package'"
        fi
    done
}

# --- What is there ---

is_program() {
    [ -f "$1" ] &&
        [ "$(dd if="$1" bs=4 count=1 2>/dev/null | tr -d '\0')" = "$(printf '\177ELF')" ] &&
        grep -qF "$MARKER" "$1"
}

# Is the file $1 (below the root) ours?
is_ours() {
    case "$1" in
    "$HOOKS"/*)
        if [ -L "$root/$1" ]; then
            # As we make them: to a program in another event directory.
            link=$(readlink "$root/$1")
            case "$link" in
            ../../* | ../*/*/*) return 1 ;;
            ../*/*) is_program "$root/$HOOKS/${link#../}" ;;
            *) return 1 ;;
            esac
        else
            is_program "$root/$1"
        fi
        ;;
    *)
        [ ! -L "$root/$1" ] && [ -f "$root/$1" ] || return 1
        case "$1" in
        "$TOOL" | "$HELPERS"/*) is_program "$root/$1" ;;
        "$LICENCE") cmp -s "$source/LICENSE" "$root/$1" ;;
        "$SUDOERS"* | "$MAN"/* | "$DOC"/* | "$BASH_COMPLETION" | "$ZSH_COMPLETION" | "$FISH_COMPLETION")
            grep -qF "$MARKER" "$root/$1"
            ;;
        *) is_unchanged "$root/$1" ;;
        esac
        ;;
    esac
}

# The last line of a file of the host, for its text $1: whose it is, and the checksum of what stands
# above.
seal() {
    sum=$(cksum <"$1" | tr ' ' -)
    case "$(head -c 1 "$1")" in
    '<') printf '<!-- %s, checksum %s -->\n' "$MARKER" "$sum" ;;
    *) printf '# %s, checksum %s\n' "$MARKER" "$sum" ;;
    esac
}

# Is the file of the host $1 as some version of ours has installed it?
is_unchanged() {
    sed '$d' "$1" >"$work/above"
    [ "$(tail -n 1 "$1")" = "$(seal "$work/above")" ]
}

exists() {
    [ -e "$1" ] || [ -L "$1" ]
}

# Is $1 the name of a file that VDSM would run as one of the hooks that this run is about? Most have
# a number in front.
has_name_of_hook() {
    case "$1" in
    [0-9][0-9]_*) selected "${1#[0-9][0-9]_}" ;;
    *)
        case " $known" in *" $1 "*) selected "$1" ;; *) return 1 ;; esac
        ;;
    esac
}

# Does the list of spread files have $1, which then belongs to the hook that the list says?
is_spread() {
    [ -f "$root/$SPREAD" ] && cut -f 2 "$root/$SPREAD" | grep -qxF -- "$1"
}

# Prints the files that may be ours: names of the suite below $1, with event directories in $2.
# The names are printed as seen from the root, links before the files they point to.
find_files() {
    : >"$work/not_links"
    for found in "$2"/*/*; do
        has_name_of_hook "${found##*/}" || continue
        ! is_spread "$HOOKS${found#"$2"}" || continue
        if [ -L "$found" ]; then
            printf '%s\n' "$HOOKS${found#"$2"}"
        elif [ -e "$found" ]; then
            printf '%s\n' "$HOOKS${found#"$2"}" >>"$work/not_links"
        fi
    done
    cat "$work/not_links"
    for found in "$1/$SUDOERS"* "$1/$MAN"/man8/vdsm-hook-*.8 "$1/$DOC"/*.md; do
        exists "$found" || continue
        found_hook=${found##*/}
        found_hook=${found_hook#50_vdsm_hooks_}
        found_hook=${found_hook#vdsm-hook-}
        found_hook=${found_hook%.*}
        selected "$found_hook" || continue
        printf '%s\n' "${found#"$1/"}"
    done
    [ ! -f "$root/$SPREAD" ] || while IFS=$tab read -r found_hook found; do
        selected "$found_hook" || continue
        case "$found" in
        "$HOOKS"/*) there=$2${found#"$HOOKS"} ;;
        *) there=$1/$found ;;
        esac
        if exists "$there"; then printf '%s\n' "$found"; fi
    done <"$root/$SPREAD"
    [ -z "$hooks" ] || return 0
    for found in "$1/$TOOL" "$1/$MAN"/man1/vdsm-hooks.1 "$1/$MAN"/man1/vdsm-hooks-*.1 \
        "$1/$BASH_COMPLETION" "$1/$ZSH_COMPLETION" "$1/$FISH_COMPLETION" "$1/$LICENCE"; do
        exists "$found" || continue
        printf '%s\n' "${found#"$1/"}"
    done
}

# Where the foreign file $1 is kept: event directories directly, all else by its whole path.
kept_name() {
    case "$1" in
    "$HOOKS"/*) printf '%s\n' "$KEPT/${1#"$HOOKS/"}" ;;
    *) printf '%s\n' "$KEPT/$1" ;;
    esac
}

# --- Changing things ---

# Makes the directory $1 below the root, and notes before that it had to be made.
make_directory() {
    [ ! -d "$root/$1" ] || return 0
    case "$1" in
    */*) make_directory "${1%/*}" ;;
    esac
    printf '%s\n' "$1" >>"$work/made"
    [ ! -d "$root/$STATE" ] || printf 'd\t%s\n' "$1" | note
    attempt mkdir -m 755 "$root/$1"
    # Where there was no place for a note yet.
    [ "$1" != "$STATE" ] || sed "s/^/d$tab/" "$work/made" | note
}

# Adds its input to what is unfinished.
note() {
    attempt tee -a -- "$root/$UNFINISHED"
}

# Has all that is prepared and made from now on noted, $work/wanted before anything else.
begin() {
    make_directory "$STATE"
    {
        sed "s/^[^ ]* /f$tab/" "$work/wanted"
        sed "s/^/f$tab/" "$work/kept"
        printf "f\t%s\n" "$SPREAD" "$DIRECTORIES"
    } | note
}

# Removes what a run that was killed has prepared, the files of earlier notes.
clear_unfinished() {
    [ -f "$root/$UNFINISHED" ] || return 0
    while IFS=$tab read -r unfinished path; do
        [ "$unfinished" != f ] || clear_left "$path"
    done <"$root/$UNFINISHED"
}

# The directories of earlier notes.
made_by_killed() {
    [ ! -f "$root/$UNFINISHED" ] || sed -n "s/^d$tab//p" "$root/$UNFINISHED"
}

# Copies $1 into a hidden directory beside $2 (below the root); commit gives it its own name. Nobody
# can foresee the directory's name, and so have a link there that is written through.
prepare() {
    make_directory "${2%/*}"
    prepared=$(mktemp -d -- "$root/${2%/*}/.${2##*/}.$$.XXXXXX" 2>"$work/problem") ||
        die "$(head -n 1 "$work/problem")"
    printf '%s\t%s\n' "$prepared" "$2" >>"$work/prepared"
    attempt cp -a -- "$1" "$prepared/new"
}

commit() {
    while IFS=$tab read -r prepared committed; do
        attempt mv -fT -- "$prepared/new" "$root/$committed"
        attempt rmdir -- "$prepared"
    done <"$work/prepared"
    : >"$work/prepared"
    : >"$work/made"
}

# Removes what a run that was killed has left beside $1 (below the root): a directory, or of an
# earlier version a file with the number of the process alone.
clear_left() {
    for remnant in "$root/${1%/*}/.${1##*/}".*; do
        case "${remnant#"$root/${1%/*}/.${1##*/}."}" in
        *.*.* | *[!0-9]*.*) ;;
        *.??????)
            if is_left "${remnant%.*}" "$remnant" d; then
                rm -f -- "$remnant/new"
                rmdir -- "$remnant" 2>/dev/null || :
            fi
            ;;
        *) if is_left "$remnant" "$remnant" f; then rm -f -- "$remnant"; fi ;;
        esac
    done
}

# Does $2, of type $3, belong to us and not to the process whose number $1 ends with, which is gone?
is_left() {
    killed=${1##*.}
    case "$killed" in '' | *[!0-9]*) return 1 ;; esac
    [ ! -L "$2" ] && [ ! -d "/proc/$killed" ] && find "$2" -prune -type "$3" -user "$(id -u)" 2>/dev/null | grep -q .
}

# Removes the scratch directories of runs that were killed.
clear_scratch() {
    for remnant in "${TMPDIR:-/tmp}"/vdsm-hooks.*.??????; do
        if is_left "${remnant%.*}" "$remnant" d; then rm -rf -- "$remnant"; fi
    done
}

# Removes the scratch directory and, before commit, every trace below the root.
clean_up() {
    while IFS=$tab read -r prepared _; do
        [ ! -d "$prepared" ] || { rm -f -- "$prepared/new" && rmdir -- "$prepared"; }
    done <"$work/prepared"
    # Those of a run before us are still to be remembered.
    [ -n "$was_unfinished" ] || rm -f -- "$root/$UNFINISHED"
    sort -r "$work/made" | while read -r leftover; do
        rmdir -- "$root/$leftover" 2>/dev/null || :
    done
    [ -z "$made_root" ] || rmdir -- "$root" 2>/dev/null || :
    rm -rf -- "$work"
}

# --- Services and other files that somebody has to read again ---

# On a running host only: below another root there is nobody to tell.
is_running_host() {
    [ -z "$root" ] && [ -d /run/systemd/system ]
}

# Runs a command that what we have changed does not depend on.
try() {
    "$@" >/dev/null 2>"$work/problem" || say "warning: $*: $(head -n 1 "$work/problem")" >&2
}

# Does one of the files named in the list $1 lie in the directory $2?
one_in() {
    grep -q "^$2/" "$1"
}

# Has the files of the list $1 read again by those that have read them before.
tell_host() {
    is_running_host || return 0
    if one_in "$1" usr/lib/systemd/system; then try systemctl daemon-reload; fi
    if one_in "$1" usr/lib/udev/rules.d; then try udevadm control --reload; fi
    while read -r told; do
        case "$told" in
        usr/lib/tmpfiles.d/*) [ ! -e "/$told" ] || try systemd-tmpfiles --create "/$told" ;;
        esac
    done <"$1"
}

# Runs 'systemctl $2...' for each service in the list $1.
for_units() {
    is_running_host || return 0
    units=$(sed -n 's/^usr\/lib\/systemd\/system\///p' "$1")
    shift
    for unit in $units; do try systemctl "$@" "$unit"; done
}

# --- Installing ---

build_programs() {
    command -v cargo >/dev/null ||
        die "cargo is not found: build as a user who has it ('cargo build --release --locked'), then give --no-build"
    # Not all programs where some are enough: linking takes most of the time.
    set --
    for hook in ${hooks:+vdsm-hooks $hooks}; do set -- "$@" --bin "$hook"; done
    cargo build --release --locked "$@" || die "the build failed"
}

# Lays out $2 as the file $3 with mode $1; $4 is the package to remove where a foreign one is there.
stage() {
    mkdir -p "$work/stage/${3%/*}"
    attempt cp -- "$2" "$work/stage/$3"
    attempt chmod "$1" "$work/stage/$3"
    [ "$superuser" != yes ] || attempt chown 0:0 "$work/stage/$3"
    printf '%s %s\n' "${4:--}" "$3" >>"$work/wanted"
}

# As stage, with the marker as the last line, in a comment that $5 begins and $6 ends.
stage_text() {
    [ -s "$2" ] || die "$2 is missing or empty"
    sed "\$ a\\
$5 $MARKER${6:+ $6}" "$2" >"$work/text"
    stage "$1" "$work/text" "$3"
}

need_program() {
    is_program "$programs/$1" ||
        die "$programs/$1 is missing or is not one of our programs: build with 'cargo build --release --locked'"
}

stage_program() {
    need_program "$1"
    stage 755 "$programs/$1" "$2" "${3:-}"
}

stage_hooks() {
    # shellcheck disable=SC2086 # a list of names
    "$programs/vdsm-hooks" files $hooks >"$work/files" || die "$programs/vdsm-hooks does not list its hooks"
    [ -s "$work/files" ] || die "$programs/vdsm-hooks lists no hooks"
    : >"$work/links"
    : >"$work/spread"
    while IFS=$tab read -r hook kind path mode file; do
        case "$kind" in
        package)
            package=$path
            stage_text 644 "hooks/$hook/README.md" "$DOC/$hook.md" - '<!--' '-->'
            stage_sudoers "$hook"
            ;;
        program)
            stage_program "$file" "${path#/}" "$package"
            remember_name "$hook" "$path"
            ;;
        link)
            remember_name "$hook" "$path"
            mkdir -p "$work/stage/${path%/*}"
            ln -s "$file" "$work/stage$path"
            printf '%s %s\n' "$package" "${path#/}" >>"$work/links"
            ;;
        helper | daemon)
            stage_program "$file" "${path#/}"
            printf '%s\t%s\n' "$hook" "${path#/}" >>"$work/spread"
            ;;
        file)
            stage_host_file "$mode" "hooks/$hook/$file" "${path#/}"
            printf '%s\t%s\n' "$hook" "${path#/}" >>"$work/spread"
            ;;
        *) die "$programs/vdsm-hooks is of another version: it lists a $kind" ;;
        esac
    done <"$work/files"
    # After the programs, so that no link ever points to nothing.
    cat "$work/links" >>"$work/wanted"
}

# A file $2 of the hook $1 that is not called like it is found by the list alone.
remember_name() {
    case "${2##*/}" in
    "$1" | [0-9][0-9]_"$1") ;;
    *) printf '%s\t%s\n' "$1" "${2#/}" >>"$work/spread" ;;
    esac
}

# Lays out the file of the host $2 as $3 with mode $1.
stage_host_file() {
    [ -s "$2" ] || die "$2 is missing or empty"
    { cat "$2" && seal "$2"; } >"$work/text"
    stage "$1" "$work/text" "$3"
}

stage_sudoers() {
    [ -e "hooks/$1/sudoers" ] || return 0
    stage_text 440 "hooks/$1/sudoers" "$SUDOERS$1" - '#'
    # A syntax error in one file makes sudo refuse everything on the host.
    if visudo=$(PATH=$PATH:/usr/sbin:/sbin command -v visudo); then
        "$visudo" -cqf "$work/stage/$SUDOERS$1" >/dev/null 2>&1 || die "hooks/$1/sudoers: visudo finds an error in it"
    fi
}

stage_tool() {
    stage_program vdsm-hooks "$TOOL"
    mkdir "$work/man"
    "$programs/vdsm-hooks" man "$work/man" || die "$programs/vdsm-hooks does not write its manual pages"
    for page in "$work"/man/*.[18]; do
        case "${page##*/}" in
        vdsm-hook-*.8)
            hook=${page##*/vdsm-hook-}
            selected "${hook%.8}" || continue
            ;;
        esac
        stage_text 644 "$page" "$MAN/man${page##*.}/${page##*/}" - '.\\"'
    done
    for shell in bash zsh fish; do
        case "$shell" in
        bash) path=$BASH_COMPLETION ;;
        zsh) path=$ZSH_COMPLETION ;;
        fish) path=$FISH_COMPLETION ;;
        esac
        "$programs/vdsm-hooks" completion "$shell" >"$work/completion" ||
            die "$programs/vdsm-hooks does not print its completion for $shell"
        stage_text 644 "$work/completion" "$path" - '#'
    done
    stage_text 644 README.md "$DOC/README.md" - '<!--' '-->'
    stage 644 LICENSE "$LICENCE"
}

# Is the file $1 below the root as it was laid out?
is_current() {
    if [ -L "$work/stage/$1" ]; then
        [ -L "$root/$1" ] && [ "$(readlink "$root/$1")" = "$(readlink "$work/stage/$1")" ] || return 1
        # A foreign hook may link its events in the same way, and wants its link back some day.
        [ ! -e "$root/$1" ] || is_ours "$1"
        return
    fi
    [ ! -L "$root/$1" ] && cmp -s "$work/stage/$1" "$root/$1" || return 1
    # Mode and owner; who is not root cannot give files away.
    form=%a
    [ "$superuser" != yes ] || form=%a:%u:%g
    [ "$(stat -c "$form" "$work/stage/$1")" = "$(stat -c "$form" "$root/$1")" ]
}

# Sorts what is wanted into new, changed, foreign and current, and refuses what must not be.
examine() {
    for list in new changed foreign stale; do : >"$work/$list"; done
    current=0 refused=''
    while read -r package path; do
        directory=$root/${path%/*}
        case "$path" in
        "$HOOKS"/*)
            # A relative link in it would lead elsewhere, and an absolute one out of the root.
            [ ! -L "$directory" ] || refuse "$directory is a symbolic link: an event must be a directory"
            ;;
        esac
        if is_current "$path"; then
            current=$((current + 1))
        elif ! exists "$root/$path"; then
            printf '%s\n' "$path" >>"$work/new"
        elif is_ours "$path"; then
            printf '%s\n' "$path" >>"$work/changed"
        else
            examine_foreign "$path" "$package"
        fi
    done <"$work/wanted"
    [ -z "$refused" ] || die "nothing was changed"

    # What this version does not have at that place: a hook would run twice.
    find_files "$root" "$root/$HOOKS" >"$work/found"
    while read -r path; do
        if ! exists "$work/stage/$path" && is_ours "$path"; then
            printf '%s\n' "$path" >>"$work/stale"
        fi
    done <"$work/found"
}

refuse() {
    say "$@" >&2
    refused=yes
}

examine_foreign() {
    kept=$(kept_name "$1")
    if [ -d "$root/$1" ] && [ ! -L "$root/$1" ]; then
        refuse "$root/$1 is a directory: move it away"
    elif [ -z "$replace" ] && grep -qF "$MARKER, checksum" "$root/$1" 2>/dev/null; then
        refuse "$root/$1 was changed since it was installed: move it away, or give --replace to keep it as $root/$kept"
    elif [ -z "$replace" ] && [ "$2" = - ]; then
        refuse "$root/$1 is not ours: move it away, or give --replace to keep it as $root/$kept"
    elif [ -z "$replace" ]; then
        refuse "$root/$1 is not ours: remove the package $2 or the file, or give --replace to keep it as $root/$kept"
    elif exists "$root/$kept" && ! cmp -s "$root/$kept" "$root/$1"; then
        refuse "$root/$1 is not ours, and $root/$kept holds another one already: move one of them away"
    else
        printf '%s\n' "$1" >>"$work/foreign"
    fi
}

count() {
    wc -l <"$1" | tr -d ' '
}

install_all() {
    [ -z "$build" ] || build_programs
    need_program vdsm-hooks
    : >"$work/wanted"
    stage_hooks
    stage_tool
    clear_unfinished
    while read -r _ path; do clear_left "$path"; done <"$work/wanted"
    examine
    if ! cat "$work/new" "$work/changed" "$work/foreign" "$work/stale" | grep -q .; then
        say "nothing to change: all $current files are in place${root:+ below $root}"
        return
    fi

    if [ -n "$root" ] && [ ! -d "$root" ]; then
        attempt mkdir -p -- "$root"
        made_root=yes
    fi
    while read -r path; do kept_name "$path"; done <"$work/foreign" >"$work/kept"
    begin
    while read -r path; do
        prepare "$root/$path" "$(kept_name "$path")"
    done <"$work/foreign"
    # In the order laid out: programs before the links to them.
    while read -r _ path; do
        is_current "$path" || prepare "$work/stage/$path" "$path"
    done <"$work/wanted"
    remember_spread
    remember_directories
    commit
    attempt rm -f -- "$root/$UNFINISHED"
    was_unfinished=''
    while read -r path; do
        attempt rm -f -- "$root/$path"
        say "removed $root/$path of an earlier version"
    done <"$work/stale"
    while read -r _ path; do printf '%s\n' "$path"; done <"$work/wanted" >"$work/installed"
    cat "$work/stale" >>"$work/installed"
    tell_host "$work/installed"
    for_units "$work/installed" try-restart

    while read -r path; do
        say "kept the foreign $root/$path as $root/$(kept_name "$path")"
    done <"$work/foreign"
    say "$(count "$work/new") files installed, $(count "$work/changed") updated," \
        "$(count "$work/foreign") replaced, $current as they were${root:+, below $root}"
}

# Adds the files whose place does not tell that they are ours to those of other hooks and earlier
# versions.
remember_spread() {
    [ -s "$work/spread" ] || return 0
    cp -- "$work/spread" "$work/all_spread"
    [ ! -f "$root/$SPREAD" ] || cat "$root/$SPREAD" >>"$work/all_spread"
    attempt sort -u -o "$work/all_spread" "$work/all_spread"
    cmp -s "$work/all_spread" "$root/$SPREAD" || prepare "$work/all_spread" "$SPREAD"
}

# Keeps the list of the directories that we made, for --uninstall: all others belong to somebody.
remember_directories() {
    made_by_killed >"$work/directories"
    cat "$work/made" >>"$work/directories"
    [ -s "$work/directories" ] || return 0
    [ ! -f "$root/$DIRECTORIES" ] || cat "$root/$DIRECTORIES" >>"$work/directories"
    attempt sort -u -o "$work/directories" "$work/directories"
    prepare "$work/directories" "$DIRECTORIES"
}

# --- Uninstalling ---

uninstall_all() {
    : >"$work/ours"
    : >"$work/restore"
    left=''
    find_files "$root" "$root/$HOOKS" >"$work/found"
    while read -r path; do
        if is_ours "$path"; then printf '%s\n' "$path" >>"$work/ours"; fi
    done <"$work/found"
    find_files "$root/$KEPT" "$root/$KEPT" >"$work/found"
    while read -r path; do
        if ! exists "$root/$path" || is_ours "$path"; then
            printf '%s\n' "$path" >>"$work/restore"
        else
            say "left $root/$(kept_name "$path") where it is: $root/$path is not ours"
            left=yes
        fi
    done <"$work/found"

    for_units "$work/ours" disable --now
    clear_unfinished
    while read -r path; do clear_left "$path"; done <"$work/ours"
    while read -r path; do
        prepare "$root/$(kept_name "$path")" "$path"
    done <"$work/restore"
    commit
    while read -r path; do
        attempt rm -f -- "$root/$(kept_name "$path")"
        say "put back $root/$path"
    done <"$work/restore"
    while read -r path; do
        grep -qxF -- "$path" "$work/restore" || attempt rm -f -- "$root/$path"
    done <"$work/ours"
    if [ -z "$hooks" ]; then
        # Needed again when what is left has been put back.
        [ -n "$left" ] || attempt rm -f -- "$root/$SPREAD"
        remove_directories
    fi

    tell_host "$work/ours"
    if [ -s "$work/ours" ]; then
        say "$(count "$work/ours") files removed${root:+ below $root}"
    else
        say "nothing to remove${root:+ below $root}"
    fi
}

# Removes the directories that we made and nobody else uses.
remove_directories() {
    made_by_killed >"$work/directories"
    [ ! -f "$root/$DIRECTORIES" ] || cat "$root/$DIRECTORIES" >>"$work/directories"
    attempt sort -ru -o "$work/directories" "$work/directories"
    if [ -z "$left" ]; then
        attempt rm -f -- "$root/$DIRECTORIES" "$root/$UNFINISHED"
        was_unfinished=''
    fi
    while read -r directory; do
        case "$directory" in
        usr/libexec/vdsm | usr/libexec/vdsm/*)
            # If VDSM came after us, they have become its own.
            [ ! -d "$root/usr/share/vdsm" ] || continue
            ;;
        esac
        rmdir -- "$root/$directory" 2>/dev/null || :
    done <"$work/directories"
    # A run that was killed before its first note has made no other one of ours.
    rmdir -- "$root/$STATE" 2>/dev/null || :
}

# --- ---

tab=$(printf '\t')
source=$(absolute "$(dirname -- "$0")")
superuser=no
[ "$(id -u)" != 0 ] || superuser=yes
parse_arguments "$@"
check_real_root
CDPATH='' cd -- "$source"

work=$(mktemp -d "${TMPDIR:-/tmp}/vdsm-hooks.$$.XXXXXX") || die "cannot make a scratch directory in ${TMPDIR:-/tmp}"
made_root='' was_unfinished=''
[ ! -f "$root/$UNFINISHED" ] || was_unfinished=yes
: >"$work/prepared"
: >"$work/made"
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
clear_scratch

if [ -n "$uninstall" ]; then uninstall_all; else install_all; fi
