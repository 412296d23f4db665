# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh disable=SC2154 # Sourced by tests/hypervisor.sh.

# settings LINE...: what vdsm.conf says.
settings() {
    mkdir -p /etc/vdsm
    { echo '[vars]' && printf '%s\n' "$@"; } >/etc/vdsm/vdsm.conf
}

# kvm_vm CPU: a VM as the engine makes it for a host with hardware virtualization.
kvm_vm() {
    make_vm "$work/vm.xml"
    sed -i -e 's/<domain type="qemu"/<domain type="kvm"/' "$work/vm.xml"
    awk -v cpu="$1" '/<cpu[ >]/ { print cpu; inside = 1 } !inside { print } /<\/cpu>/ { inside = 0 }' \
        "$work/vm.xml" >"$work/vm.cpu" && mv "$work/vm.cpu" "$work/vm.xml"
}

memory_of_nodes() { qmp query-memdev | jq -r '[.return[].size] | sort | map(tostring) | join(" ")'; }

topology='<topology sockets="4" cores="1" threads="1"/>'
passthrough="<cpu mode='host-passthrough' check='none' migratable='on'><cache mode='passthrough'/>
    <feature name='vmx' policy='require'/>$topology</cpu>"
numa="<cpu match='exact'><model>Nehalem</model><vendor>Intel</vendor><feature name='pcid' policy='require'/>$topology
    <numa><cell id='0' cpus='0-1' memory='3145728'/><cell id='1' cpus='2-3' memory='1048576'/></numa></cpu>"

settings 'fake_kvm_support = false'
kvm_vm "$passthrough"
cp "$work/vm.xml" "$work/before.xml"
check "switched off" fire before_vm_start "$work/vm.xml"
check "the document is byte-identical" cmp "$work/before.xml" "$work/vm.xml"

settings 'fake_kvm_support = true'
check "a VM of type kvm with host-passthrough starts" started
check "libvirt's schema takes the document" is_valid
check "QEMU does without KVM" hmp_says 'info kvm' disabled
stop_vm

for asking in cpuflags=+pcid sap_agent=true; do
    kvm_vm "$passthrough"
    check "one with $asking is fired" fire before_vm_start "$work/vm.xml" -p "$asking" --hook faqemu --hook cpuflags
    check "and starts" start_vm "$work/vm.xml"
    stop_vm
done

kvm_vm "<cpu mode='host-model' match='exact'>$topology</cpu>"
check "one with host-model starts" started
stop_vm

settings 'fake_kvm_support = yes' 'fake_kvm_memory = 262144'
kvm_vm "$numa"
check "one with a model, features, NUMA cells and another memory starts" started
check "libvirt's schema takes this document" is_valid
check "the cells have their shares of the memory" is "$(memory_of_nodes)" '67108864 201326592'
stop_vm

kvm_vm "<cpu>$topology</cpu>"
sed -i 's,<maxMemory [^<]*<,<maxMemory slots="16">131072<,' "$work/vm.xml"
check "one whose memory could not have grown so far starts" started
stop_vm

machine=$("$(emulator)" -machine help | sed -n 's/^\(pc-i440fx-[^ ]*\).*/\1/p' | head -n 1)
if [ -n "$machine" ]; then
    settings 'fake_kvm_support = on' 'fake_kvm_architecture = ppc64le' "fake_kvm_machine = $machine"
    cat >"$work/power.xml" <<X
<domain type="kvm"><name>$vm</name><memory>65536</memory>
  <os><type arch="ppc64le" machine="pseries-rhel7.6.0">hvm</type></os><cpu><model>power8</model></cpu>
  <devices>
    <controller type="scsi" index="0" model="virtio-scsi"><address type="spapr-vio" reg="0x2000"/></controller>
  </devices></domain>
X
    check "a POWER VM is fired" fire before_vm_start "$work/power.xml"
    check "it starts as an emulated PC" virsh create --paused "$work/power.xml"
    check "of the machine type that was set" word "^$machine"
    virsh destroy "$vm"
else
    not_run "a POWER VM on a PC" "this QEMU has no machine type of the right kind"
fi

# machines_of FILE: what the engine is told.
machines_of() { jq -r '.emulatedMachines[]' "$1"; }
settings 'fake_kvm_support = true'
virsh capabilities | xmllint --xpath '//guest[arch/@name="x86_64"]//machine/text()' - |
    jq -R . | jq -s '{kvmEnabled: "false", cpuModel: "", cpuFlags: "", emulatedMachines: (. | unique)}' >"$work/caps.json"
check "the capabilities of this machine" timeout 60 vdsm-hooks run after_get_caps --data "$work/caps.json" \
    --hooks-dir "$hooks" --output "$work/fake.json"
check "KVM is there, a boolean" is "$(jq -c .kvmEnabled "$work/fake.json")" true
machines_of "$work/fake.json" >"$work/machines"
machines_of "$work/caps.json" >"$work/real-machines"
check "so are machine types of the list" grep -qx pc-i440fx-rhel7.1.0 "$work/machines"
check "and all that this QEMU has" fails grep -vxFf "$work/machines" "$work/real-machines"
check "the flags are those of this processor and of a fake one" jq -e \
    '.cpuFlags | split(",") | contains(["vmx", "nx", "model_Nehalem", "fpu"]) and (length == (unique | length))' "$work/fake.json"
rm -r /etc/vdsm
