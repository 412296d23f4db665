# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# What is written into guests is checked by tests/fileinject.rs.
cp "$work/vm.xml" "$work/before.xml"
# What VDSM writes before a cold start; without it the VM would wake up.
flags=/run/vdsm/$(xmllint --xpath 'string(/domain/uuid)' "$work/vm.xml")
mkdir -p "$flags"
echo 0 >"$flags/launchflags"
check "a value without a colon is refused" refused 'no colon' -p fileinject=/etc/motd
sed -i 's/type="raw"/type="qcow2"/' "$work/vm.xml"
check "a VM without raw disks is refused" refused 'no raw disk' -p fileinject=/etc/motd:hello
cp "$work/before.xml" "$work/vm.xml"
check "without the property the VM starts" started
check "its document is byte-identical" cmp "$work/before.xml" "$work/vm.xml"
rm -r "$flags"
