#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds the RPM packages, then proves them: tags, files, modes and owners; in an empty root, with
# stand-ins for the packages around them: installation, updates, verification, removal without a trace.
#
# Usage: packaging/rpm.sh [--keep DIR] [--programs DIR | --built DIR] [--portable]
#   --keep DIR      keep the packages and the spec in DIR
#   --programs DIR  ask the vdsm-hooks in DIR for the list of hooks, instead of building one first
#   --built DIR     package the programs that 'cargo build --release' has put into DIR; that the
#                   archive would be enough to build them is then only checked, in a fraction of the time
#   --portable      static programs, for every release of Enterprise Linux; with --built, those that
#                   packaging/static.sh has built
#
# Everything happens in a temporary directory, building without network. Needs root (for an empty
# root of its own), cargo, rpmbuild and git.

set -eu
LC_ALL=C
export LC_ALL
umask 022

# What the package vdsm itself says about hooks that it has given up: it obsoletes packages of theirs
# that are older than itself, and conflicts with one of any age.
readonly VDSM_OBSOLETES='vdsm-hook-floppy vdsm-hook-hostdev-scsi vdsm-hook-numa vdsm-hook-pincpu vdsm-hook-vmdisk'
readonly VDSM_CONFLICTS='vdsm-hook-sriov'

# Where scripts of packages tell systemd about services, and where ours is told that it was called.
readonly UPDATE_HELPER=/usr/lib/systemd/systemd-update-helper
readonly NOTED=var/tmp/noted

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

# About each hook: what VDSM's package of it was called and its last version, what it does not get
# along with, what it needs besides VDSM, what of that not every release has ('-' for none), and the
# summary.
descriptions() { grep "^[^$tab]*${tab}package$tab" "$work/hooks" | cut -f 1,3-; }

# The files of the hook $1: kind, path, mode, source.
files_of() { grep "^$1$tab" "$work/hooks" | cut -f 2- | grep -v "^package$tab"; }

# The units of systemd of the hook $1. What else lies in systemd's and udev's directories is seen to
# by the file triggers of those.
units_of() { files_of "$1" | sed -n 's/^file\t.*\/systemd\/system\/\([^/\t]*\.service\)\t.*/\1/p'; }

# As the distribution wants it: presets decide whether a service starts at boot, an update restarts
# one that runs, and one whose package goes is stopped.
scriptlets() {
    units=$(units_of "$1" | tr '\n' ' ')
    [ -n "$units" ] || return 0
    printf '\n%%post %s\n%%systemd_post %s\n' "$1" "${units% }"
    printf '\n%%preun %s\n%%systemd_preun %s\n' "$1" "${units% }"
    printf '\n%%postun %s\n%%systemd_postun_with_restart %s\n' "$1" "${units% }"
}

# Hooks of another package that the hook $1 silences: path, mode, package.
silenced_by() { files_of "$1" | sed -n "s/^silenced$tab//p"; }

# They are not executable from when the second of the two packages comes until ours goes. In a trigger,
# $1 is how many of ours there will be, $2 how many of the other's.
triggers() {
    silenced_by "$1" >"$work/silenced"
    [ -s "$work/silenced" ] || return 0
    other=$(head -n 1 "$work/silenced" | cut -f 3)
    printf '\n%%triggerin %s -- %s\n' "$1" "$other"
    while IFS=$tab read -r path _; do
        printf 'if [ -f %s ]; then chmod a-x %s; fi\n' "$path" "$path"
    done <"$work/silenced"
    printf '\n%%triggerun %s -- %s\n' "$1" "$other"
    # shellcheck disable=SC2016 # expanded when it runs
    echo 'if [ "$1" -gt 0 ] || [ "$2" -eq 0 ]; then exit 0; fi'
    while IFS=$tab read -r path mode _; do
        printf 'if [ -f %s ]; then chmod %s %s; fi\n' "$path" "$mode" "$path"
    done <"$work/silenced"
}

# Is the file of the host $1 one that an administrator may change? All others are below /usr.
is_setting() {
    case "$1" in /etc/*) return 0 ;; *) return 1 ;; esac
}

# Does our package of a hook provide the name of VDSM's package $1? Not where VDSM keeps that away.
provides() {
    case " $VDSM_CONFLICTS " in
    *" $1 "*) return 1 ;;
    esac
}

# One stanza per hook: what it is and needs, for the place of @PACKAGES@.
packages() {
    descriptions | while IFS=$tab read -r hook replaces last others needs recommends summary; do
        printf '\n%%package %s\n' "$hook"
        printf 'Summary:        %s\n' "$summary" | sed 's/%/%%/g'
        echo 'Requires:       vdsm'
        if [ -e "hooks/$hook/sudoers" ]; then echo 'Requires:       sudo'; fi
        if [ "$needs" != - ]; then printf 'Requires:       %s\n' "$needs"; fi
        if [ "$recommends" != - ]; then printf 'Recommends:     %s\n' "$recommends"; fi
        if [ -n "$(units_of "$hook")" ]; then echo '%{?systemd_ordering}'; fi
        if [ "$replaces" != - ]; then
            # It does what VDSM's own package does, at the same place.
            if provides "$replaces"; then printf 'Provides:       %s\n' "$replaces"; fi
            printf 'Conflicts:      %s\n' "$replaces"
        fi
        # What was left of a hook that VDSM has given up goes with an update.
        if [ "$last" != - ]; then printf 'Obsoletes:      %s <= %s\n' "$replaces" "$last"; fi
        if [ "$others" != - ]; then printf 'Conflicts:      %s\n' "$others"; fi
        printf '\n%%description %s\n' "$hook"
        printf '%s.\n' "$summary" | sed 's/%/%%/g' | fold -s -w 79 | sed 's/ *$//'
        printf '\nA native hook for VDSM, described in vdsm-hook-%s(8).\n' "$hook"
        scriptlets "$hook"
        triggers "$hook"
    done
    echo
}

# One stanza per hook: its files, for the place of @FILES@.
file_lists() {
    descriptions | while IFS=$tab read -r hook _; do
        printf '\n%%files %s\n%%license LICENSE hooks-license/LICENSE.dependencies\n' "$hook"
        printf '%%doc hooks/%s/README.md\n' "$hook"
        printf '%%{_mandir}/man8/vdsm-hook-%s.8*\n' "$hook"
        if [ -e "hooks/$hook/sudoers" ]; then
            # What somebody changed is saved with a dot in its name, which sudo passes over.
            printf '%%config %%attr(0440, root, root) %%{_sysconfdir}/sudoers.d/50_vdsm_hooks_%s\n' "$hook"
        fi
        files_of "$hook" | while IFS=$tab read -r kind path mode _; do
            case "$kind" in
            program | link | daemon) echo "$path" ;;
            helper) printf '%%dir %s\n%s\n' "${path%/*}" "$path" ;;
            file)
                attribute=''
                if is_setting "$path"; then attribute='%config(noreplace) '; fi
                printf '%s%%attr(%s, root, root) %s\n' "$attribute" "$mode" "$path"
                ;;
            silenced) ;;
            *) die "vdsm-hooks files lists a $kind" ;;
            esac
        done
    done
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
    [ -z "$built" ] || set -- --define "built $built" "$@"
    [ -z "$portable" ] || set -- --define 'portable yes' "$@"
    # Debian's rpm does not know what EL has in systemd-rpm-macros.
    if [ "$(rpm --eval '%{?systemd_post}')" = '' ]; then set -- --load packaging/systemd.macros "$@"; fi
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

# check_tags PACKAGE FILE REPLACES LAST OTHERS NEEDS WISHES SUMMARY
check_tags() {
    same "$1: licence" "$(ask "$2" '%{LICENSE}')" GPL-2.0-or-later
    if [ "$1" = vdsm-hooks ] || [ -z "$(units_of "${1#vdsm-hooks-}")" ]; then
        [ -z "$(rpm -qp --scripts "$2" 2>/dev/null)" ] || die "$1 has scripts"
    fi
    if [ "$1" = vdsm-hooks ] || [ -z "$(silenced_by "${1#vdsm-hooks-}")" ]; then
        [ -z "$(rpm -qp --triggers "$2" 2>/dev/null)" ] || die "$1 has triggers"
    fi
    # Static programs need no library, of whatever release.
    [ -z "$portable" ] || ! ask "$2" '[%{REQUIRENAME}\n]' | grep -q '\.so\.' || die "$1 requires libraries"
    [ "$1" != vdsm-hooks ] || return 0
    same "$1: summary" "$(ask "$2" '%{SUMMARY}')" "$8"
    for needed in vdsm ${6#-}; do
        ask "$2" '[%{REQUIRENAME}\n]' | grep -qxF "$needed" || die "$1 does not require $needed"
    done
    wanted=''
    [ "$7" = - ] || wanted=$(echo "$7" | tr ' ' '\n')
    same "$1: recommends" "$(ask "$2" '[%{RECOMMENDNAME}\n]')" "$wanted"
    provided=''
    if [ "$3" != - ] && provides "$3"; then provided=$3; fi
    same "$1: provides" "$(ask "$2" '[%{PROVIDENAME}\n]' | grep '^vdsm-hook-')" "$provided"
    same "$1: conflicts" "$(ask "$2" '[%{CONFLICTNAME}\n]' | sort)" \
        "$(printf '%s\n' "$3" "$5" | grep -vx -e - | sort)"
    obsoleted=''
    [ "$4" = - ] || obsoleted="$3 <= $4"
    same "$1: obsoletes" "$(ask "$2" '[%{OBSOLETENAME} %{OBSOLETEFLAGS:depflags} %{OBSOLETEVERSION}\n]' |
        tr -s ' ')" "$obsoleted"
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
        for page in "$work"/man/*.[17]; do
            echo "-rw-r--r-- root root /usr/share/man/man${page##*.}/${page##*/}"
        done
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
    files_of "$1" | grep -v "^silenced$tab" | while IFS=$tab read -r kind path mode _; do
        [ "$kind" != helper ] || echo "drwxr-xr-x root root ${path%/*}"
        echo "$(permissions "$kind" "$mode") root root $path"
    done | sort -u
}

# The mode $2 as ls shows it, for a file of the kind $1.
permissions() {
    case "$1 $2" in
    'link -') echo lrwxrwxrwx ;;
    *' 0755') echo -rwxr-xr-x ;;
    *' 0644') echo -rw-r--r-- ;;
    *' 0600') echo -rw------- ;;
    *) echo "mode $2 of a $1" ;;
    esac
}

# What rpm is not to overwrite or throw away if somebody has changed it.
expected_settings() {
    if [ -e "hooks/$1/sudoers" ]; then echo "c /etc/sudoers.d/50_vdsm_hooks_$1"; fi
    files_of "$1" | while IFS=$tab read -r kind path _; do
        if [ "$kind" = file ] && is_setting "$path"; then echo "cn $path"; fi
    done
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
    same "$package: settings" "$(ask "$2" '[%{FILEFLAGS:fflags} %{FILENAMES}\n]' | grep '^c' | sort)" \
        "$(expected_settings "$1" | sort)"
}

check_packages() {
    # The names of all packages, in $names.
    names=vdsm-hooks package=vdsm-hooks
    file=$(package_file vdsm-hooks)
    check_tags vdsm-hooks "$file"
    check_files '' "$file"
    descriptions >"$work/descriptions"
    while IFS=$tab read -r hook replaces last others needs recommends summary; do
        package=vdsm-hooks-$hook names="$names vdsm-hooks-$hook"
        file=$(package_file "$package")
        check_tags "$package" "$file" "$replaces" "$last" "$others" "$needs" "$recommends" "$summary"
        check_files "$hook" "$file"
    done <"$work/descriptions"
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
    for directory in usr/bin usr/libexec usr/share/doc usr/share/licenses usr/share/man/man1 \
        usr/share/man/man7 usr/share/man/man8 etc/sudoers.d var/lib/rpm var/tmp tmp; do
        mkdir -p "$work/root/$directory"
    done
    # The helpers' directory is ours.
    while IFS=$tab read -r _ kind path _; do
        case "$kind" in program | link | file) mkdir -p "$work/root${path%/*}" ;; esac
    done <"$work/hooks"
    # For the scripts of packages: a shell, and what they call. What is called about services notes how.
    for program in /bin/sh "$(command -v chmod)"; do
        for file in "$program" $(ldd "$program" | grep -o '/[^ ]*'); do
            [ -e "$work/root$file" ] || install -D "$file" "$work/root$file"
        done
    done
    install -D -m 0755 /dev/stdin "$work/root$UPDATE_HELPER" <<END
#!/bin/sh
echo "\$*" >>/$NOTED
END
    quietly rpm_there --initdb
}

# noted ACTION: systemd was told so for the services of all packages, and nothing else.
noted() {
    touch "$work/root/$NOTED"
    descriptions | while IFS=$tab read -r hook _; do
        units=$(units_of "$hook" | tr '\n' ' ')
        [ -z "$units" ] || echo "$1 ${units% }"
    done | sort >"$work/expected"
    same "calls of $UPDATE_HELPER" "$(sort "$work/root/$NOTED")" "$(cat "$work/expected")"
    rm "$work/root/$NOTED"
}

# make_package NAME VERSION: builds a package that stands in for another; standard input has its
# relations, what it does in %install, and its files.
make_package() {
    {
        printf 'Name: %s\nVersion: %s\nRelease: 1\nSummary: Stands in\nLicense: none\nBuildArch: noarch\n' "$1" "$2"
        cat
    } >"$work/$1.spec"
    quietly rpmbuild -bb --define "_topdir $work/others" "$work/$1.spec"
}

# The file of that package.
other_package() { echo "$work/others/RPMS/noarch/$1"-[0-9]*.noarch.rpm; }

no_files() { printf '%%description\nx\n%%files\n'; }

snapshot() {
    (cd "$work/root" && find . -path ./var/lib/rpm -prune -o -printf '%y %m %u:%g %p %l\n' | sort)
}

# Everything that ours need of other packages.
make_system() {
    {
        for file in "$work"/built/*.rpm; do ask "$file" '[%{REQUIRENAME}\n]'; done |
            grep -v '^rpmlib(' | sort -u | sed 's/^/Provides: /'
        no_files
    } | make_package system 1
    quietly rpm_there -i "$(other_package system)"
}

# A package that provides all that VDSM's own packages do must be refused beside ours.
check_conflicts() {
    {
        cut -f 2,4 "$work/descriptions" | tr -s '[:blank:]' '\n' | grep -vx -e - | sort -u | sed 's/^/Provides: /'
        no_files
    } | make_package theirs 1
    quietly rpm_there -i --test "$work"/built/*.rpm
    ! rpm_there -i --test "$work"/built/*.rpm "$(other_package theirs)" >"$work/log" 2>&1 ||
        die "our packages can be installed beside VDSM's own"
    while IFS=$tab read -r hook replaces _ others _; do
        for other in $replaces $others; do
            [ "$other" != - ] || continue
            grep -q "$other conflicts with .*vdsm-hooks-$hook-$version" "$work/log" ||
                die "vdsm-hooks-$hook does not conflict with $other"
        done
    done <"$work/descriptions"
}

# check_silenced: a package whose hooks one of ours silences, and one that requires it as ovirt-host
# does, go beside ours, in every order; and what was taken is given back.
check_silenced() {
    grep "^[^$tab]*${tab}silenced$tab" "$work/hooks" >"$work/silenced" || die 'no hook silences another'
    hook=$(head -n 1 "$work/silenced" | cut -f 1) other=$(head -n 1 "$work/silenced" | cut -f 5)
    for number in 1 2; do
        {
            printf '%%description\nx\n%%install\n'
            while IFS=$tab read -r _ _ path mode _; do
                printf 'mkdir -p %%{buildroot}%s\n' "${path%/*}"
                # Another text in each version.
                printf 'echo "# %s" >%%{buildroot}%s\nchmod %s %%{buildroot}%s\n' "$number" "$path" "$mode" "$path"
            done <"$work/silenced"
            echo '%files'
            cut -f 3 "$work/silenced"
        } | make_package "$other" "$number"
    done
    { echo "Requires: $other" && no_files; } | make_package needs-the-other 1
    # shellcheck disable=SC2034 # used by name, below
    first=$work/others/RPMS/noarch/$other-1-1.noarch.rpm second=$work/others/RPMS/noarch/$other-2-1.noarch.rpm
    # shellcheck disable=SC2034 # the same
    ours=$(package_file "vdsm-hooks-$hook")
    while read -r state command; do
        eval "quietly rpm_there $command" </dev/null
        check_state "$state" "$command"
    done <<'END'
on -i $first
off -i $ours
off -U $second
off -U --replacepkgs $ours
on -e vdsm-hooks-$hook
off -i $ours
gone -e $other
off -i $first
gone -e $other vdsm-hooks-$hook
off -i $ours $second $(other_package needs-the-other)
on -e vdsm-hooks-$hook
gone -e $other needs-the-other
END
}

# check_state STATE COMMAND: whether the other package's hooks are executable then, and rpm sees only
# that of it.
check_state() {
    while IFS=$tab read -r _ _ path mode _; do
        case $1 in
        on) expected=$mode ;;
        off) expected=0444 ;;
        gone) expected='' ;;
        esac
        same "mode of $path after rpm $2" "$(stat -c 0%a "$work/root$path" 2>/dev/null)" "$expected"
    done <"$work/silenced"
    [ "$1" != gone ] || return 0
    rpm_there -V "$other" >"$work/log" 2>&1 || :
    expected=''
    [ "$1" = on ] || expected=$(cut -f 3 "$work/silenced" | sed 's/^/.M....... /' | sort)
    same "rpm -V $other after rpm $2" "$(tr -s ' ' <"$work/log" | sort)" "$expected"
}

# Exactly ours and the named packages are installed, and ours are as they were built.
check_installed() {
    # shellcheck disable=SC2086 # a list of names
    same 'packages in the database' "$(rpm_there -qa --queryformat '%{NAME}\n' | sort)" \
        "$(printf '%s\n' $names "$@" | sort)"
    # shellcheck disable=SC2086 # a list of names
    rpm_there -V $names >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        die 'rpm -V finds differences'
    }
}

# What is left of hooks that VDSM has given up is replaced by ours, and its sudo rules go with it.
check_update() {
    leftovers=''
    while IFS=$tab read -r hook replaces last _; do
        [ "$last" != - ] || continue
        program=$(files_of "$hook" | grep "^program$tab" | cut -f 2)
        rule=/etc/sudoers.d/50_vdsm_hook_$hook
        make_package "$replaces" "$last" <<END
%description
x
%install
install -D -m 0755 /dev/null %{buildroot}$program
install -D -m 0440 /dev/null %{buildroot}$rule
%files
$program
$rule
END
        leftovers="$leftovers $(other_package "$replaces")"
    done <"$work/descriptions"
    [ -n "$leftovers" ] || die 'VDSM has given up none of the hooks'
    # shellcheck disable=SC2086 # a list of names
    quietly rpm_there -i $leftovers
    quietly rpm_there -U "$work"/built/*.rpm
    noted install-system-units
    check_installed system
    ! find "$work/root/etc/sudoers.d" -name '50_vdsm_hook_*' | grep . || die 'an old sudo rule is left'
}

# Today's VDSM can be installed beside ours, and ours beside VDSM.
check_vdsm() {
    {
        for name in $VDSM_OBSOLETES; do echo "Obsoletes: $name < 4.50.5"; done
        for name in $VDSM_CONFLICTS; do echo "Conflicts: $name"; done
        no_files
    } | make_package vdsm 4.50.5
    quietly rpm_there -U "$(other_package vdsm)"
    check_installed system vdsm
    # shellcheck disable=SC2086 # a list of names
    quietly rpm_there -e $names
    noted remove-system-units
    quietly rpm_there -U "$work"/built/*.rpm
    noted install-system-units
    quietly rpm_there -U --replacepkgs "$work"/built/*.rpm
    noted mark-restart-system-units
    check_installed system vdsm
}

# What an administrator has changed stays when a package goes, under another name.
check_changed_files() {
    grep "^[^$tab]*${tab}file$tab/etc/" "$work/hooks" | cut -f 3 >"$work/changed"
    while read -r path; do echo '# changed' >>"$work/root$path"; done <"$work/changed"
    # shellcheck disable=SC2086 # a list of names
    quietly rpm_there -e $names
    rm -f "$work/root/$NOTED"
    while read -r path; do
        tail -n 1 "$work/root$path.rpmsave" | grep -qx '# changed' || die "the changed $path is lost"
        rm "$work/root$path.rpmsave"
    done <"$work/changed"
}

# What is linked in and no crate is named, and nothing else.
check_licences() {
    for package in $names; do
        file=$work/root/usr/share/licenses/$package/LICENSE.dependencies
        for library in "Rust's standard library" libgcc; do
            grep -q ": $library [0-9]" "$file" || die "$package: LICENSE.dependencies lacks $library"
        done
        for library in glibc PCRE2; do
            if grep -q ": $library [0-9]" "$file"; then
                [ -n "$portable" ] || die "$package: LICENSE.dependencies has $library, which is the system's"
            else
                [ -z "$portable" ] || die "$package: LICENSE.dependencies lacks $library"
            fi
        done
    done
}

check_programs() {
    : >"$work/programs"
    while IFS=$tab read -r hook kind path _ name; do
        case "$kind" in
        program | helper | daemon) ;;
        link) name=$hook ;;
        *) continue ;;
        esac
        program=$work/root$path
        "$program" --version >"$work/log" || die "$path does not run"
        same "$path --version" "$(cat "$work/log")" "$name $version"
        [ "$kind" = link ] || printf '%s\t%s\n' "$kind" "$program" >>"$work/programs"
        # "no symbols" is on stderr.
        [ -z "$(nm "$program" 2>/dev/null)" ] || die "$name is not stripped"
    done <"$work/hooks"
    sh tests/sizes.sh ${portable:+--static} <"$work/programs" >"$work/log" || die "programs are too large: $(cat "$work/log")"
    ok "every hook, helper and daemon runs, is stripped, and no larger than it may be: $(cat "$work/log")"
    if [ -z "$portable" ]; then
        # What binds PCRE2 would bundle it without a word if it were not found.
        for hook in log_console log_firmware; do
            ask "$(package_file "vdsm-hooks-$hook")" '[%{REQUIRENAME}\n]' | grep -q '^libpcre2-8\.so\.' ||
                die "vdsm-hooks-$hook does not use the system's PCRE2"
        done
        ok "the hooks that need PCRE2 use the system's"
    fi
    check_licences
    ok 'the licences of what is linked in are named'
    "$work/root/usr/bin/vdsm-hooks" files >"$work/log" || die 'the tool does not run'
    cmp -s "$work/log" "$work/hooks" || die 'the packaged tool lists other hooks than the one that the packages were made with'
}

# --- ---

keep='' programs='' built='' portable=''
while [ $# -gt 0 ]; do
    case "$1" in
    --keep | --programs | --built)
        [ $# -ge 2 ] || die "$1 needs a value"
        case "$2" in /*) value=$2 ;; *) value=$PWD/$2 ;; esac
        case "$1" in
        --keep) keep=$value ;;
        --programs) programs=$value ;;
        --built)
            # rpmbuild works elsewhere.
            built=$(CDPATH='' cd -- "$value" && pwd) || die "$value: no such directory"
            programs=$built
            ;;
        esac
        shift
        ;;
    --portable) portable=yes ;;
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
if [ -z "$built" ]; then ok 'built without network'; else ok "packaged from $built; the archive compiles without network"; fi
check_packages
ok "$total packages: tags, files, modes, owners, manual pages and licences are right"

make_root
snapshot >"$work/before"
make_system
check_conflicts
ok "each hook's package conflicts with VDSM's own, and with none of ours"
check_silenced
ok "hooks that one of ours silences are not executable while it is there, and are again when it goes"
check_update
ok 'packages of hooks that VDSM has given up are replaced; rpm -V finds no difference'
check_vdsm
ok "today's VDSM goes beside ours, and ours beside VDSM"
check_programs
check_changed_files
ok 'what an administrator has changed is kept when a package goes'
quietly rpm_there -e system vdsm
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
