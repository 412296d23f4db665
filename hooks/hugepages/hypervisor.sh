# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

size=$(sed -n 's/^Hugepagesize: *\([0-9]*\) kB/\1/p' /proc/meminfo)
pool=/sys/kernel/mm/hugepages/hugepages-${size}kB/nr_hugepages
memory=$(xmllint --xpath 'number(/domain/memory)' "$work/vm.xml")
count=$((${memory%.*} / ${size:-1} + 8))
vm_id=$(xmllint --xpath 'string(/domain/uuid)' "$work/vm.xml")
records=/run/vdsm/hooks/hugepages
pages() { cat "$pool"; }
free() { sed -n 's/^HugePages_Free: *//p' /proc/meminfo; }
use_vdsm
install -d -o vdsm -g vdsm -m 0755 /run/vdsm /run/vdsm/hooks
# on EVENT [NAME=VALUE]...: VDSM's user fires the hook.
on() {
    event=$1
    shift
    as_vdsm "$event/50_hugepages" "$work/vm.xml" "vmId=$vm_id" "$@"
}
says() { pattern=$1 && shift && ! "$@" >"$work/refusal" 2>&1 && cat "$work/refusal" && grep -e "$pattern" "$work/refusal"; }
# What the kernel has of the whole machine is put back, whatever happens.
before=$(pages)
give_back() { echo "$before" >"$pool"; }

can_set() { echo $((before + 1)) >"$pool" && is "$(pages)" $((before + 1)) && give_back; }
if [ -z "$size" ] || ! can_set >/dev/null 2>&1; then
    not_run "pages of the real pool" "this kernel's number of huge pages cannot be set"
else
    check "without hugetlbfs the start is refused" says 'no hugetlbfs mount' on before_vm_start "hugepages_count=$count"
    check "and no page reserved" is "$(pages)" "$before"
    mkdir -p /dev/hugepages
    mount -t hugetlbfs hugetlbfs /dev/hugepages
    # libvirt looks at the mounts when it starts.
    pkill -x libvirtd
    wait_for 20 fails pgrep -x libvirtd
    libvirtd >"$work/libvirtd.log" 2>&1 &
    check "libvirt is there again" wait_for 60 virsh version
    check "VDSM's user reserves pages through the helper" on before_vm_start "hugepages_count=$count"
    check "the pool has that many more" is "$(pages)" $((before + count))
    check "the record is nobody else's" is "$(stat -c '%a %U' "$records/$vm_id")" "600 vdsm"
    check "libvirt's schema takes the document" is_valid
    check "a second run reserves nothing more" on before_vm_start "hugepages_count=$count"
    check "so the pool is the same" is "$(pages)" $((before + count))
    check "the VM starts" start_vm "$work/vm.xml"
    check "QEMU has its memory in them" grep -q '^[0-9a-f].* /dev/hugepages/' "/proc/$(qemu_pid)/maps"
    check "as many as it needs are taken" is "$(free)" $((before + 8))
    stop_vm
    back() { is "$(free)" $((before + count)); }
    check "which are free again after it" wait_for 20 back
    check "the end of another VM" as_vdsm after_vm_destroy/50_hugepages "$work/vm.xml" \
        vmId=11111111-2222-4333-8444-555555555555 "hugepages_count=$count"
    check "gives nothing back" is "$(pages)" $((before + count))
    check "the end of the VM" on after_vm_destroy "hugepages_count=$count"
    check "gives back what it had" is "$(pages)" "$before"
    check "a second time" on after_vm_destroy "hugepages_count=$count"
    check "nothing is given back" is "$(pages)" "$before"
    make_vm "$work/vm.xml"

    # Ten VMs that start at the same time.
    race() {
        pids=
        for number in $(seq 10 19); do
            cp "$work/vm.xml" "$work/$number.xml"
            env -i _hook_domxml="$work/$number.xml" "vmId=$number${vm_id#??}" "hugepages_count=$count" \
                /usr/libexec/vdsm/hooks/before_vm_start/50_hugepages &
            pids="$pids $!"
        done
        for pid in $pids; do wait "$pid" || return; done
        is "$(pages)" $((before + 10 * count))
    }
    check "ten VMs at once get all of their pages" race
    over() {
        for number in $(seq 10 19); do
            env -i _hook_domxml="$work/vm.xml" "vmId=$number${vm_id#??}" "hugepages_count=$count" \
                /usr/libexec/vdsm/hooks/after_vm_destroy/50_hugepages || return
        done
        is "$(pages)" "$before"
    }
    check "and give them back" over

    umount /dev/hugepages
    give_back
    # Of pages of a GiB, as with default_hugepagesz=1G, the kernel finds few, and knows that within a
    # second. All memory in small ones would take it a minute, and others on this machine theirs.
    giant=1048576
    pool=/sys/kernel/mm/hugepages/hugepages-${giant}kB/nr_hugepages
    if [ -e "$pool" ]; then
        before=$(pages)
        sed "s/^Hugepagesize:.*/Hugepagesize: $giant kB/" /proc/meminfo >"$work/meminfo"
        most=$(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / giant))
        mount -t hugetlbfs -o pagesize=1G hugetlbfs /dev/hugepages
        mount --bind "$work/meminfo" /proc/meminfo
        check "more pages than there is room for are refused" \
            says "only [0-9]* of $most pages available" on before_vm_start "hugepages_count=$most"
        umount /proc/meminfo /dev/hugepages
        check "and the old number is there again" is "$(pages)" "$before"
        check "without a record" fails test -e "$records/$vm_id"
        give_back
    else
        not_run "more pages than there is room for" "this kernel has no pages of 1 GiB"
    fi
fi
check "sudo takes no path for a size" fails setpriv --reuid=vdsm --regid=vdsm --clear-groups \
    sudo -n /usr/libexec/vdsm-hooks/hugepages-set ../x 5
drop_vdsm
rm -r "$records"
