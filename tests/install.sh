#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Tests install.sh, and the tool that it calls, in temporary roots, with programs that are already
# built. What goes wrong at any step of it is in tests/install.rs.
#
# Usage: tests/install.sh [DIR]     DIR holds the programs; target/release by default
#
# As root it also covers full and read-only file systems, and a real installation into / of a
# throw-away copy of this system's files.

set -u
LC_ALL=C
export LC_ALL
umask 022

project=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
programs=${1:-${CARGO_TARGET_DIR:-$project/target}/release}
case "$programs" in /*) ;; *) programs=$PWD/$programs ;; esac
[ -x "$programs/vdsm-hooks" ] || {
    echo "tests/install.sh: $programs/vdsm-hooks is missing: build with 'cargo build --release --locked'" >&2
    exit 1
}

work=$(mktemp -d "${TMPDIR:-/tmp}/vdsm-hooks-test.XXXXXX") || exit 1
# Others must be able to look into it: one test runs as nobody.
chmod 755 "$work"
mounted=''
clean_up() {
    [ -z "$mounted" ] || umount -- "$mounted"
    rm -rf -- "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

passed=0
failed=0

# Notes whether the rest of the command line succeeds, under the name $1.
check() {
    name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok: $name"
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
        # What the last run of install.sh said, for whoever has to find out.
        sed 's/^/    /' "$work/out" "$work/err"
    fi
}

not_run() {
    echo "NOT RUN: $1: $2"
}

not() { ! "$@"; }
exists() { [ -e "$1" ] || [ -L "$1" ]; }

# Runs install.sh for the root $1; its status, stdout and stderr are kept.
install_sh() {
    install_root=$1
    shift
    sh "$project/install.sh" --programs "$programs" --destdir "$install_root" "$@" >"$work/out" 2>"$work/err"
    status=$?
}

succeeds() {
    install_sh "$@"
    [ "$status" = 0 ] && [ ! -s "$work/err" ]
}

# Fails with lines of ours only.
fails() {
    install_sh "$@"
    [ "$status" = 1 ] && [ -s "$work/err" ] && ! grep -qv -e '^install.sh: ' -e '^vdsm-hooks: ' "$work/err"
}

says() { grep -qF -- "$1" "$work/out"; }
complains() { grep -qF -- "$1" "$work/err"; }

# Everything about a tree, inode and time of change included.
snapshot() { (cd -- "$1" && find . -printf '%y %m %U:%G %i %T@ %s %p %l\n' | sort); }
# Its names, types, modes, owners and contents: what must be back after install and uninstall.
contents() {
    (cd -- "$1" && find . -printf '%y %m %U:%G %p %l\n' | sort && find . -type f -exec cksum {} + | sort)
}
unchanged() { snapshot "$1" | cmp -s "$work/before" -; }
as_before() { contents "$1" | cmp -s "$work/before" -; }
no_hidden_files() { [ -z "$(find "$1" -name '.*' ! -name . -print)" ]; }
empty() { [ -z "$(find "$1" -mindepth 1 -print)" ]; }
mode_is() { [ "$(stat -c %a -- "$2")" = "$1" ]; }
link_is() { [ -L "$2" ] && [ "$(readlink -- "$2")" = "$1" ]; }
# Not one of our programs, which are not text.
is_script() { [ "$(head -c 2 -- "$1")" = '#!' ]; }

# A hook as VDSM's own packages install it: /1 in the root $1 as $2.
foreign_hook() {
    mkdir -p "$1/usr/libexec/vdsm/hooks/${2%/*}"
    printf '#!/usr/bin/python3\nprint("%s")\n' "$2" >"$1/usr/libexec/vdsm/hooks/$2"
    chmod 755 "$1/usr/libexec/vdsm/hooks/$2"
}

tab=$(printf '\t')
"$programs/vdsm-hooks" files >"$work/files" || exit 1
hook_count=$(cut -f 1 "$work/files" | sort -u | wc -l)

# --- A first installation, in a directory with blanks in its name ---

root="$work/a root"
hooks=$root/usr/libexec/vdsm/hooks
check 'installs into a directory that does not exist yet' succeeds "$root"
check 'says how much it did' says 'files installed, 0 updated, 0 replaced'
complete() {
    while IFS=$tab read -r hook kind path mode file; do
        case "$kind" in
        package | silenced) ;;
        program | helper | daemon) cmp -s "$root$path" "$programs/$file" && mode_is "${mode#0}" "$root$path" || return 1 ;;
        link) cmp -s "$root$path" "$programs/$hook" || return 1 ;;
        file) head -n -1 "$root$path" | cmp -s - "$project/hooks/$hook/$file" && mode_is "${mode#0}" "$root$path" || return 1 ;;
        *) return 1 ;;
        esac
    done <"$work/files"
}
check 'every hook is at each of its events, every helper and file of the host at its place' complete
one_file_each() { [ "$(find "$hooks" -mindepth 2 -type f | wc -l)" -eq "$hook_count" ]; }
check 'a hook is one file, its other events are links' one_file_each
check 'the links are relative' link_is ../before_device_create/50_extnet "$hooks/before_nic_hotplug/50_extnet"
check 'a link runs' "$hooks/before_nic_hotplug/50_extnet" --help >/dev/null
finds_helper() {
    echo '{"request": {}}' >"$work/request.json"
    ! _hook_json=$work/request.json "$hooks/after_network_setup/50_ovs" 2>"$work/refusal" &&
        grep -q 'unexpected JSON' "$work/refusal"
}
check 'a hook runs the helper of its own tree' finds_helper
check 'the tool runs' "$root/usr/bin/vdsm-hooks" --help >/dev/null
modes() {
    mode_is 755 "$hooks/before_vm_start/50_macbind" && mode_is 755 "$root/usr/bin/vdsm-hooks" &&
        mode_is 440 "$root/etc/sudoers.d/50_vdsm_hooks_macbind" &&
        mode_is 755 "$root/usr/libexec/vdsm-hooks/vmfex-pool" &&
        [ -z "$(find "$root" -type d ! -perm 755 -print)" ] &&
        [ -z "$(find "$root/usr/share" -type f ! -perm 644 -print)" ] &&
        [ -z "$(find "$root" ! -uid "$(id -u)" -print)" ]
}
check 'modes and owners are right' modes
documents() {
    for file in man/man1/vdsm-hooks.1 man/man7/vdsm-hooks-json.7 man/man8/vdsm-hook-macbind.8 doc/vdsm-hooks/README.md \
        doc/vdsm-hooks/macbind.md licenses/vdsm-hooks/LICENSE zsh/site-functions/_vdsm-hooks \
        bash-completion/completions/vdsm-hooks fish/vendor_completions.d/vdsm-hooks.fish; do
        [ -s "$root/usr/share/$file" ] || return 1
    done
    [ "$(find "$root/usr/share/man/man8" -type f | wc -l)" -eq "$hook_count" ] &&
        [ "$(head -n 1 "$root/usr/share/zsh/site-functions/_vdsm-hooks")" = '#compdef vdsm-hooks' ]
}
check 'manual pages, completions, documents and licence are there' documents
check 'no temporary file is left' no_hidden_files "$root"

# --- Names that somebody else has taken, and what a run that was killed has left ---

planted="$work/planted"
events=$planted/usr/libexec/vdsm/hooks/before_vm_start
mkdir -p "$events"
echo 'of somebody else' >"$work/victim"
# The process id stays over exec: the name that earlier versions took is certain here.
over_a_link() {
    sh -c 'ln -s "$1" "$2/.50_diskunmap.$$"; shift 2; exec sh "$@"' sh "$work/victim" "$events" \
        "$project/install.sh" --programs "$programs" --destdir "$planted" --hook diskunmap >"$work/out" 2>"$work/err" &&
        [ "$(cat "$work/victim")" = 'of somebody else' ] && [ -f "$events/50_diskunmap" ] && [ ! -L "$events/50_diskunmap" ]
}
check 'nothing is written through a link at a name that can be foreseen' over_a_link
check 'which stays' [ "$(find "$events" -type l | wc -l)" = 1 ]
find "$events" -type l -delete
killed=$(sh -c 'echo $$')
mkdir "$events/.50_diskunmap.$killed.aB3xYz" "$events/.50_diskunmap.$$.aB3xYz" "$events/.50_diskunmap.other.aB3xYz"
touch "$events/.50_diskunmap.$killed.aB3xYz/new"
# As still earlier versions called them.
touch "$events/.50_diskunmap.$killed" "$events/.50_diskunmap.$$" "$events/.50_diskunmap.other"
# And this one, with a name like it that is somebody else's.
touch "$events/.50_diskunmap.0123456789abcdef.new" "$events/.50_diskunmap.other.new"
check 'the next run' succeeds "$planted" --hook diskunmap
cleared() {
    [ "$(cd "$events" && echo .5*)" = \
        ".50_diskunmap.$$ .50_diskunmap.$$.aB3xYz .50_diskunmap.other .50_diskunmap.other.aB3xYz .50_diskunmap.other.new" ]
}
check 'removes what one that was killed has left, and nothing else' cleared

# --- A second run ---

snapshot "$root" >"$work/before"
check 'a second run succeeds' succeeds "$root"
check 'a second run says that nothing is to change' says 'nothing to change'
check 'a second run changes nothing' unchanged "$root"

chmod 700 "$hooks/before_vm_start/50_macbind"
printf x >>"$root/usr/share/man/man1/vdsm-hooks.1"
ln -s ../before_vm_start/50_macbind "$hooks/before_device_create/50_macbind"
inode=$(stat -c %i "$hooks/before_vm_start/50_cpuflags")
check 'an update succeeds' succeeds "$root"
updated() {
    says '0 files installed, 2 updated' && mode_is 755 "$hooks/before_vm_start/50_macbind" &&
        ! exists "$hooks/before_device_create/50_macbind" && [ "$(stat -c %i "$hooks/before_vm_start/50_cpuflags")" = "$inode" ]
}
check 'an update changes what differs, drops a stale place of ours, leaves the rest' updated
check 'after an update there is nothing to change' succeeds "$root"
check 'and it says so' says 'nothing to change'

# --- Uninstalling ---

foreign_hook "$root" before_vm_start/60_macbind
mkdir "$hooks/after_vm_pause"
check 'uninstalls' succeeds "$root" --uninstall
only_foreign() {
    [ "$(cd "$root" && find . ! -type d)" = ./usr/libexec/vdsm/hooks/before_vm_start/60_macbind ] &&
        [ -d "$hooks/after_vm_pause" ] && [ ! -d "$hooks/before_device_create" ] && [ ! -d "$root/usr/share" ]
}
check 'leaves what others put there, and nothing of ours' only_foreign
check 'uninstalls twice' succeeds "$root" --uninstall
check 'the second time says that nothing is to remove' says 'nothing to remove'

root=$work/vdsm
mkdir -p "$root/usr/share/vdsm" "$root/usr/libexec/vdsm/hooks/before_vm_start" "$root/usr/bin" "$root/etc/sudoers.d"
chmod 750 "$root/etc/sudoers.d"
contents "$root" >"$work/before"
check 'installs where VDSM has made its directories' succeeds "$root"
check 'uninstalls there' succeeds "$root" --uninstall
# VDSM's directories stay even if we made them: it may have come later.
rmdir "$root"/usr/libexec/vdsm/hooks/before_device_create "$root"/usr/libexec/vdsm/hooks/before_nic_hotplug
find "$root/usr/libexec/vdsm/hooks" -mindepth 1 -type d -empty ! -name before_vm_start -delete
check 'apart from event directories the tree is as before' as_before "$root"

# Without anything built, by the tool that is installed.
installed_tool() {
    succeeds "$root" --hook cpuflags && mkdir "$work/no-programs" &&
        sh "$project/install.sh" --programs "$work/no-programs" --destdir "$root" --uninstall >"$work/out" 2>"$work/err" &&
        says 'files removed' && not exists "$root/usr/bin/vdsm-hooks"
}
check 'the installed tool is enough for --uninstall' installed_tool

# --- Files that are not ours ---

root=$work/foreign
hooks=$root/usr/libexec/vdsm/hooks
foreign_hook "$root" before_vm_start/50_macbind
chmod 751 "$hooks/before_vm_start/50_macbind"
foreign_hook "$root" before_device_create/50_extnet
mkdir -p "$hooks/before_nic_hotplug" "$root/usr/bin"
ln -s ../before_device_create/50_extnet "$hooks/before_nic_hotplug/50_extnet"
printf '#!/bin/sh\n# Part of vdsm-hooks, says the script\n' >"$root/usr/bin/vdsm-hooks"
contents "$root" >"$work/contents"
snapshot "$root" >"$work/before"
check 'refuses to overwrite foreign files' fails "$root"
refused() {
    complains "$hooks/before_vm_start/50_macbind is not ours: remove the package vdsm-hook-macbind" &&
        complains "$hooks/before_device_create/50_extnet is not ours" && complains "$hooks/before_nic_hotplug/50_extnet is not ours" &&
        complains "$root/usr/bin/vdsm-hooks is not ours: move it away" && complains 'nothing was changed' &&
        [ "$(wc -l <"$work/err")" -eq 5 ]
}
check 'names each of them and what to do' refused
check 'has changed nothing' unchanged "$root"
there_and_back() { succeeds "$root" --replace && succeeds "$root" --uninstall; }
check '--replace and then --uninstall succeed' there_and_back
mv "$work/contents" "$work/before"
check 'and everything is as it was' as_before "$root"
mv "$work/before" "$work/contents"
snapshot "$root" >"$work/before"
check 'uninstalling leaves them as well' succeeds "$root" --uninstall
check 'has still changed nothing' unchanged "$root"

check '--replace installs' succeeds "$root" --replace
kept=$root/var/lib/vdsm-hooks/replaced
replaced() {
    says '4 replaced' && says "$hooks/before_vm_start/50_macbind is not ours: moved to $kept/before_vm_start/50_macbind" && cmp -s "$hooks/before_vm_start/50_macbind" "$programs/macbind" &&
        is_script "$kept/before_vm_start/50_macbind" && mode_is 751 "$kept/before_vm_start/50_macbind" &&
        link_is ../before_device_create/50_extnet "$kept/before_nic_hotplug/50_extnet" &&
        is_script "$kept/usr/bin/vdsm-hooks" && no_hidden_files "$root"
}
check '--replace keeps the foreign files, modes and links included' replaced
snapshot "$root" >"$work/before"
check 'a second run without --replace succeeds' succeeds "$root"
check 'and changes nothing' unchanged "$root"

check 'uninstalls one hook' succeeds "$root" --uninstall --hook macbind
one_put_back() {
    is_script "$hooks/before_vm_start/50_macbind" && mode_is 751 "$hooks/before_vm_start/50_macbind" &&
        cmp -s "$hooks/before_nic_hotplug/50_extnet" "$programs/extnet" && ! exists "$root/etc/sudoers.d/50_vdsm_hooks_macbind" &&
        ! exists "$root/usr/share/man/man8/vdsm-hook-macbind.8" && [ -x "$root/usr/bin/vdsm-hooks" ]
}
check 'that hook is the foreign one again, the others and the tool stay' one_put_back

succeeds "$root" --replace --hook macbind
foreign_hook "$root" before_vm_start/50_macbind
echo '# a newer one' >>"$hooks/before_vm_start/50_macbind"
snapshot "$root" >"$work/before"
check 'a second foreign file is not kept over the first' fails "$root" --replace
check 'which the message says' complains 'holds another one already'
check 'and nothing is changed' unchanged "$root"
check 'uninstalls with a foreign file back in its place' succeeds "$root" --uninstall
beside() {
    says "left $kept/before_vm_start/50_macbind where it is" && grep -q newer "$hooks/before_vm_start/50_macbind" &&
        is_script "$kept/before_vm_start/50_macbind" && is_script "$hooks/before_device_create/50_extnet"
}
check 'neither of the two foreign files is lost' beside
mv "$kept/before_vm_start/50_macbind" "$hooks/before_vm_start/50_macbind"
succeeds "$root" --uninstall
mv "$work/contents" "$work/before"
check 'in the end everything is as it was before the first run' as_before "$root"

# --- Some hooks ---

root=$work/some
hooks=$root/usr/libexec/vdsm/hooks
check 'installs two hooks' succeeds "$root" --hook extnet --hook=cpuflags --hook extnet
two_hooks() {
    [ "$(cd "$hooks" && find . ! -type d | sort | tr '\n' ' ')" = \
        './before_device_create/50_extnet ./before_nic_hotplug/50_extnet ./before_vm_start/50_cpuflags ' ] &&
        [ "$(cd "$root/usr/share/man/man8" && echo *)" = 'vdsm-hook-cpuflags.8 vdsm-hook-extnet.8' ] &&
        [ -x "$root/usr/bin/vdsm-hooks" ] && [ -s "$root/usr/share/man/man1/vdsm-hooks.1" ] && [ ! -e "$root/etc" ]
}
check 'those two and the tool, nothing else' two_hooks
snapshot "$root" >"$work/before"
check 'refuses an unknown hook' fails "$root" --hook cpuflags --hook nosuch
unknown() { complains 'unknown hook nosuch: expected one of allocate_net ' && [ "$(wc -l <"$work/err")" -eq 1 ]; }
check 'lists the known ones' unknown
check 'has changed nothing then' unchanged "$root"
check 'refuses an unknown argument' fails "$root" --frobnicate
check 'refuses an option without its value' fails "$root" --hook
check 'refuses a hook without a name, which would mean all' fails "$root" --hook ''
check 'saying so' complains '--hook needs a value'
check 'and to take all hooks away for it' fails "$root" --uninstall --hook=
check 'refuses a destination without a name, which would mean /' fails ''
check 'refuses programs of two places' fails "$root" --static
check 'saying so' complains '--static and --programs contradict each other'
check 'and has changed nothing' unchanged "$root"
check 'refuses to install programs that are not there' fails "$root" --programs "$work"
check 'naming the missing one' complains "$work/vdsm-hooks"
mkdir "$work/nothing"
check 'uninstalling an empty root succeeds' succeeds "$work/nothing" --uninstall
check 'and leaves it empty' empty "$work/nothing"

# --- Root helpers and files of the host ---

root=$work/host
helper=usr/libexec/vdsm-hooks/vmfex-pool
tmpfiles=usr/lib/tmpfiles.d/vdsm-hooks-vmfex.conf
filter=etc/libvirt/nwfilter/isolatedprivatevlan-vdsm.xml
check 'installs a hook with a helper and files' succeeds "$root" --hook vmfex
vmfex_only() {
    [ "$(cd "$root" && echo usr/libexec/vdsm-hooks/* usr/lib/tmpfiles.d/* etc/sudoers.d/*)" = \
        "$helper $tmpfiles etc/sudoers.d/50_vdsm_hooks_vmfex" ] && [ ! -e "$root/etc/libvirt" ]
}
check 'its own and nothing else' vmfex_only
helper_runs() { [ "$("$root/$helper" --version)" = "$("$programs/vmfex-pool" --version)" ]; }
check 'the helper runs' helper_runs
check 'installs a second one' succeeds "$root" --hook isolatedprivatevlan
check 'uninstalls the first' succeeds "$root" --uninstall --hook vmfex
filter_only() {
    [ ! -e "$root/usr/libexec/vdsm-hooks/vmfex-pool" ] && [ ! -e "$root/$tmpfiles" ] && [ -e "$root/$filter" ]
}
check 'the file of the second stays' filter_only
if command -v xmllint >/dev/null; then
    check 'an XML file is still XML' xmllint --noout "$root/$filter"
else
    not_run 'an XML file is still XML' 'no xmllint on this machine'
fi

# An earlier version's files, unchanged: what ends them tells.
sealed() { printf '%s\n# Part of vdsm-hooks, checksum %s\n' "$1" "$(printf '%s\n' "$1" | cksum | tr ' ' -)"; }
succeeds "$root" --hook vmfex
sealed '# of an earlier version' >"$root/$tmpfiles"
cp "$root/$helper" "$root/usr/libexec/vdsm-hooks/vmfex-older"
printf 'vmfex\tusr/libexec/vdsm-hooks/vmfex-older\n' >>"$root/var/lib/vdsm-hooks/files"
check 'updates what an earlier version has installed' succeeds "$root" --hook vmfex
newer() {
    says '0 files installed, 1 updated' && grep -q '^d /run/vdsm/hooks/vmfex ' "$root/$tmpfiles" &&
        says 'usr/libexec/vdsm-hooks/vmfex-older of an earlier version' && not exists "$root/usr/libexec/vdsm-hooks/vmfex-older"
}
check 'and removes a helper that this one does not have' newer
check 'uninstalls both hooks' succeeds "$root" --uninstall
check 'and leaves nothing' empty "$root"

# What an administrator has changed is no longer ours.
succeeds "$root" --hook vmfex
sed -i 's/0700/0750/' "$root/$tmpfiles"
cp "$root/$tmpfiles" "$work/changed"
snapshot "$root" >"$work/before"
check 'refuses to overwrite a changed file of the host' fails "$root" --hook vmfex
check 'saying so' complains "$root/$tmpfiles was changed since it was installed: move it away"
check 'nothing is changed then' unchanged "$root"
check '--replace keeps it' succeeds "$root" --replace --hook vmfex
kept_changed() { cmp -s "$root/var/lib/vdsm-hooks/replaced/$tmpfiles" "$work/changed" && grep -q 0700 "$root/$tmpfiles"; }
check 'beside the new one' kept_changed
check 'uninstalls that' succeeds "$root" --uninstall
put_back() { cmp -s "$root/$tmpfiles" "$work/changed" && [ "$(find "$root" ! -type d | wc -l)" -eq 1 ]; }
check 'the changed one is back, and nothing else' put_back
rm "$root/$tmpfiles"
succeeds "$root" --hook vmfex
echo >>"$root/$tmpfiles"
check 'uninstalls beside a changed file' succeeds "$root" --uninstall
check 'which stays' [ "$(find "$root" ! -type d)" = "$root/$tmpfiles" ]

# So are sudo rules; those of earlier versions have no checksum.
rules=$root/etc/sudoers.d/50_vdsm_hooks_vmfex
cp "$root/$tmpfiles" "$work/aside" && rm "$root/$tmpfiles"
succeeds "$root" --hook vmfex
cp "$rules" "$work/rules"
printf 'somebody ALL=(root) NOPASSWD: /bin/true\n# Part of vdsm-hooks\n' >"$rules"
check 'updates the sudo rules of an earlier version' succeeds "$root" --hook vmfex
check 'to what they are now' cmp -s "$rules" "$work/rules"
sed -i '1i # changed' "$rules"
snapshot "$root" >"$work/before"
check 'refuses to overwrite changed sudo rules' fails "$root" --hook vmfex
check 'saying so' complains "$rules was changed since it was installed: move it away"
check 'nothing is changed then' unchanged "$root"
check 'uninstalls beside them' succeeds "$root" --uninstall
check 'which stay' grep -qx '# changed' "$rules"
rm -r "${root:?}/etc"
mkdir -p "$(dirname "$root/$tmpfiles")"
mv "$work/aside" "$root/$tmpfiles"

# Foreign files in their places.
printf 'd /run/mine\n' >"$root/$tmpfiles"
mkdir -p "$root/usr/libexec/vdsm-hooks"
printf '#!/bin/sh\n# Part of vdsm-hooks, says the script\n' >"$root/$helper"
contents "$root" >"$work/before"
check 'refuses foreign files in the places of a helper and a file' fails "$root" --hook vmfex
both() { complains "$root/$helper is not ours: move it away" && complains "$root/$tmpfiles is not ours: move it away"; }
check 'naming both' both
check 'has changed nothing there' as_before "$root"
check '--replace and --uninstall succeed with them' there_and_back
check 'and they are as they were' as_before "$root"

# --- Symbolic links ---

root=$work/links
hooks=$root/usr/libexec/vdsm/hooks
mkdir -p "$hooks/before_device_create" "$work/elsewhere"
ln -s "$work/elsewhere" "$hooks/before_nic_hotplug"
check 'refuses an event directory that is a link' fails "$root"
check 'naming it' complains "$hooks/before_nic_hotplug is a symbolic link"
check 'writes nothing through it' empty "$work/elsewhere"
rm "$hooks/before_nic_hotplug"
mkdir "$hooks/before_nic_hotplug"
# A link of the administrator's to something that is not ours, and a dangling one.
ln -s ../../../../bin/something "$hooks/before_nic_hotplug/50_extnet"
ln -s nowhere "$hooks/before_device_create/50_extnet"
snapshot "$root" >"$work/before"
check 'a foreign or dangling link is not overwritten' fails "$root" --hook extnet
check 'or removed' succeeds "$root" --uninstall
check 'and is as it was' unchanged "$root"

# --- Sudo rules ---

root=$work/sudo
mkdir -p "$work/bin"
printf '#!/bin/sh\nexit 1\n' >"$work/bin/visudo"
chmod 755 "$work/bin/visudo"
with_broken_rules() { PATH=$work/bin:$PATH fails "$root" --hook macbind; }
check 'sudo rules that visudo refuses are not installed' with_broken_rules
check 'the message names them' complains 'hooks/macbind/sudoers: visudo finds an error'
check 'nothing is installed then' not exists "$root"
if [ -x /usr/sbin/visudo ]; then
    sudo_rules() { succeeds "$root" && /usr/sbin/visudo -cqf "$root/etc/sudoers.d/50_vdsm_hooks_macbind" >/dev/null; }
    check 'visudo accepts the installed sudo rules' sudo_rules
else
    not_run 'visudo accepts the installed sudo rules' 'no visudo on this machine'
fi

# --- Not root ---

# A copy, as the checkout may lie where nobody can read it.
mkdir "$work/checkout"
cp "$project/install.sh" "$project/LICENSE" "$project/README.md" "$work/checkout"
cp -R "$project/hooks" "$work/checkout/hooks"
mkdir "$work/checkout/programs" "$work/theirs"
while IFS=$tab read -r _ kind _ _ file; do
    case "$kind" in program | helper | daemon) cp "$programs/$file" "$work/checkout/programs" ;; esac
done <"$work/files"
cp "$programs/vdsm-hooks" "$work/checkout/programs"
chmod -R go+rX "$work/checkout"
as_nobody() {
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid=65534 --regid=65534 --clear-groups \
            sh "$work/checkout/install.sh" --programs "$work/checkout/programs" "$@" >"$work/out" 2>"$work/err"
    else
        sh "$work/checkout/install.sh" --programs "$work/checkout/programs" "$@" >"$work/out" 2>"$work/err"
    fi
}
[ "$(id -u)" != 0 ] || chown 65534:65534 "$work/theirs"
check 'refuses the real root without being root' not as_nobody
needs_root() { complains 'only root can change /: use sudo, or --destdir' && [ "$(wc -l <"$work/err")" -eq 1 ]; }
check 'and says why in one line' needs_root
check 'the same for --destdir /' not as_nobody --destdir / --uninstall
check 'installs below a directory without being root' as_nobody --destdir "$work/theirs/root"
as_nobody --destdir "$work/theirs/root"
check 'a second time nothing is to change' says 'nothing to change'
check 'uninstalls without being root' as_nobody --destdir "$work/theirs/root" --uninstall
check 'and leaves nothing' empty "$work/theirs/root"
check '--help needs neither root nor a destination' as_nobody --help
check 'and explains itself' says 'Usage: install.sh'

# --- Where writing fails ---

failing_root=$work/small
mkdir "$failing_root"
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=128k tmpfs "$failing_root" 2>/dev/null; then
    mounted=$failing_root
    mkdir -p "$failing_root/root"
    foreign_hook "$failing_root/root" before_vm_start/50_macbind
    contents "$failing_root/root" >"$work/before"
    check 'a full file system is an error' fails "$failing_root/root" --replace
    check 'in one line that says so' complains 'No space left on device'
    check 'and leaves everything as it was' as_before "$failing_root/root"
    check 'a new root on it is an error' fails "$failing_root/new"
    check 'and is not left behind' not exists "$failing_root/new"
    mount -o remount,ro "$failing_root"
    check 'a read-only file system is an error' fails "$failing_root/root" --replace
    check 'that says so' complains 'Read-only file system'
    check 'and leaves everything as it was there' as_before "$failing_root/root"
    umount "$failing_root"
    mounted=''
else
    not_run 'full and read-only file systems' 'needs root and the right to mount'
fi
# As nobody, a directory of root's does for a read-only one.
unwritable() { mkdir "$work/locked" && chmod 555 "$work/locked" && ! as_nobody --destdir "$work/locked"; }
check 'a directory that may not be written is an error' unwritable
check 'and stays empty' empty "$work/locked"

# --- The real root: a copy-on-write view of this system in which install.sh finds itself ---

overlay=$work/overlay
mkdir "$overlay"
# In a shell of its own: $1 the copied checkout, $2 the directory for the view.
real_root() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    unshare -m sh -c '
        mount -t tmpfs tmpfs "$2" && mkdir "$2/upper" "$2/scratch" "$2/view" &&
            mount -t overlay -o "lowerdir=/,upperdir=$2/upper,workdir=$2/scratch" overlay "$2/view" || exit 77
        mount -t proc proc "$2/view/proc" || exit 77
        mount --bind "$1" "$2/view/mnt" || exit 77
        view=$2/view
        run() { chroot "$view" sh /mnt/install.sh --programs /mnt/programs "$@"; }
        # Nothing of ours may be there from a real installation on this machine.
        run --uninstall >/dev/null || exit 77
        # A running host, whose services note what they are told.
        mkdir -p "$view/run/systemd/system"
        for program in systemctl udevadm systemd-tmpfiles; do
            printf "#!/bin/sh\necho \"%s \$*\" >>/told\n" "$program" >"$view/usr/local/bin/$program"
            chmod 755 "$view/usr/local/bin/$program"
        done
        told() { sort -u "$view/told" | grep -qxF -- "$1"; }
        run || exit 1
        told "systemctl daemon-reload" && told "systemctl try-restart vdsm-checkips.service" &&
            told "systemd-tmpfiles --create /usr/lib/tmpfiles.d/vdsm-hooks-vmfex.conf" || exit 8
        rm "$view/told"
        [ -x "$view/usr/libexec/vdsm/hooks/before_vm_start/50_macbind" ] && [ -x "$view/usr/bin/vdsm-hooks" ] || exit 2
        run | grep "nothing to change: all [0-9]* files are in place$" || exit 3
        [ ! -e "$view/told" ] || exit 8
        # A file that cannot be taken away: the service that was stopped is there again.
        rules=$view/etc/sudoers.d/50_vdsm_hooks_macbind
        mount --bind "$rules" "$rules" || exit 77
        run --uninstall && exit 12
        umount "$rules"
        for words in "is-enabled --quiet" "is-active --quiet" "disable --now" enable start; do
            told "systemctl $words vdsm-checkips.service" || exit 12
        done
        [ -x "$view/usr/libexec/vdsm/hooks/checkipsd" ] || exit 12
        rm "$view/told"
        run --uninstall || exit 4
        told "systemctl disable --now vdsm-checkips.service" && told "systemctl daemon-reload" || exit 9
        ! told "systemctl enable vdsm-checkips.service" && ! told "systemctl start vdsm-checkips.service" || exit 9
        [ ! -e "$view/usr/bin/vdsm-hooks" ] && [ ! -e "$view/usr/libexec/vdsm/hooks/before_vm_start" ] &&
            [ ! -e "$view/usr/libexec/vdsm-hooks" ] || exit 5
        # Our own packages are left alone.
        cat >"$view/usr/local/bin/rpm" <<END
#!/bin/sh
echo asked >>/asked
[ "\$1 \$2 \$3" = "-q --queryformat %{NAME}\\\\n" ] || exit 1
shift 3
status=0
for package; do
    case \$package in
    vdsm-hooks-macbind) echo "\$package" ;;
    *) echo "package \$package is not installed" && status=\$((status + 1)) ;;
    esac
done
exit \$status
END
        chmod 755 "$view/usr/local/bin/rpm"
        run --hook macbind && exit 6
        [ "$(wc -l <"$view/asked")" = 1 ] || exit 13
        run && exit 6
        [ "$(wc -l <"$view/asked")" = 2 ] || exit 13
        run --hook cpuflags || exit 7
        # What is installed is all that it takes to remove it.
        rm "$view/usr/local/bin/rpm"
        chroot "$view" /usr/bin/vdsm-hooks uninstall || exit 10
        [ ! -e "$view/usr/bin/vdsm-hooks" ] && [ ! -e "$view/usr/libexec/vdsm/hooks/before_vm_start" ] || exit 11
    ' real_root "$1" "$2" >"$work/out" 2>"$work/err"
}
if [ "$(id -u)" = 0 ]; then
    real_root "$work/checkout" "$overlay"
    status=$?
else
    status=77
fi
if [ "$status" = 77 ]; then
    not_run 'installs into /, uninstalls, and leaves packages alone' 'needs root and an overlay file system'
else
    check 'installs into / of a copy of this system, and uninstalls' [ "$status" = 0 ]
    check 'refuses to touch what is installed as a package' complains "the package vdsm-hooks-macbind is installed"
fi

echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
