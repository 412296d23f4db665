// SPDX-License-Identifier: GPL-2.0-or-later

//! A VM, made for one architecture under KVM, as one that this host can emulate.

use vdsm_hooks::libvirt::{cpu, domain, memory};
use vdsm_hooks::xml::{self, Document, Edits, Node};
use vdsm_hooks::{Context, Result};

/// What a POWER host gets that poses as another one.
const MAX_MEMORY_KIB: u64 = 1 << 30;

/// What is to become of a VM.
pub(crate) struct Guest<'a> {
    /// This host's architecture, in libvirt's name.
    pub(crate) real: &'a str,
    /// The one that it poses as.
    pub(crate) effective: &'a str,
    /// The memory of every VM, in KiB.
    pub(crate) memory: Option<u64>,
    /// The machine type of VMs of another architecture.
    pub(crate) machine: Option<String>,
}

/// Turns the VM into one that runs without KVM. What a VM does not have is passed over.
pub(crate) fn emulate(document: &Document<'_>, edits: &mut Edits<'_>, guest: &Guest<'_>) -> Result {
    let domain = domain::root(document)?;
    domain::check_is_qemus(domain)?;
    edits.set_attr(domain, "type", "qemu");
    if let Some(kind) = xml::child(domain, "os").and_then(|os| xml::child(os, "type")) {
        edits.set_attr(kind, "arch", guest.real);
    }
    if let Some(cpu) = xml::child(domain, "cpu") {
        cpu::leave_open(cpu, edits);
    }
    if guest.real == "ppc64le" {
        fit_power(document, edits);
    }
    let most = memory::most(domain);
    let mut new_most = most;
    match (guest.real, guest.effective) {
        ("x86_64", "ppc64le") => power_on_x86(document, edits, guest),
        ("ppc64le", "x86_64") => {
            x86_on_power(document, edits, guest);
            new_most = most.map(|_| MAX_MEMORY_KIB);
        }
        _ => {}
    }
    if let Some(kib) = guest.memory {
        memory::set(domain, edits, kib).context("fake_kvm_memory")?;
        // QEMU wants more than what is there (hw/core/machine.c: machine_set_mem), the engine asks
        // for four times as much (ovirt-engine 4.5 …/utils/VmCommonUtils.java:
        // getMaxMemorySizeDefault).
        new_most = match new_most {
            Some(too_little) if too_little <= kib => Some(kib.saturating_mul(4)),
            enough => enough,
        };
    }
    if let Some(new_most) = new_most.filter(|_| new_most != most) {
        memory::set_most(domain, edits, new_most);
    }
    Ok(())
}

/// What QEMU has not on a POWER host.
fn fit_power(document: &Document<'_>, edits: &mut Edits<'_>) {
    let graphics = xml::devices(document, "graphics");
    if let Some((first, others)) = graphics.split_first() {
        edits.set_attr(*first, "type", "vnc");
        // libvirt 9.0 src/qemu/qemu_command.c, qemuBuildCommandLineValidate: one display of each kind.
        remove_all(others.iter().copied().filter(has("type", "vnc")), edits);
    }
    remove_all(xml::devices(document, "sound"), edits);
}

fn power_on_x86(document: &Document<'_>, edits: &mut Edits<'_>, guest: &Guest<'_>) {
    let controllers = xml::devices(document, "controller").into_iter();
    let parts = controllers.flat_map(|controller| controller.children());
    remove_all(parts.filter(has("type", "spapr-vio")), edits);
    set_machine(document, edits, guest, "pc-i440fx-rhel7.1.0");
}

fn x86_on_power(document: &Document<'_>, edits: &mut Edits<'_>, guest: &Guest<'_>) {
    let domain = document.root_element();
    let mut videos = xml::devices(document, "video").into_iter();
    if let Some(model) = videos.find_map(|video| xml::child(video, "model")) {
        edits.set_attr(model, "type", "vga");
        edits.remove_attr(model, "ram");
        edits.remove_attr(model, "vgamem");
    }
    set_machine(document, edits, guest, "pseries");
    remove_all(xml::devices(document, "smartcard"), edits);
    remove_all(xml::children(domain, "sysinfo"), edits);
    for os in xml::children(domain, "os") {
        remove_all(xml::children(os, "bios"), edits);
        remove_all(xml::children(os, "smbios"), edits);
    }
    let on_ide = |disk: &Node<'_, '_>| {
        xml::children(*disk, "target").any(|target| has("bus", "ide")(&target))
    };
    let disks = xml::devices(document, "disk").into_iter();
    remove_all(disks.filter(on_ide), edits);
    let channels = xml::devices(document, "channel").into_iter();
    remove_all(channels.filter(has("type", "spicevmc")), edits);
    if let Some(most) = xml::child(domain, "maxMemory") {
        edits.set_attr(most, "slots", "2");
    }
}

fn set_machine(document: &Document<'_>, edits: &mut Edits<'_>, guest: &Guest<'_>, default: &str) {
    let os = xml::child(document.root_element(), "os");
    if let Some(kind) = os.and_then(|os| xml::child(os, "type")) {
        let machine = guest.machine.as_deref().unwrap_or(default);
        edits.set_attr(kind, "machine", machine);
    }
}

fn has(name: &str, value: &str) -> impl Fn(&Node<'_, '_>) -> bool {
    move |node| xml::attr(*node, name) == Some(value)
}

fn remove_all<'a, 'i: 'a>(nodes: impl IntoIterator<Item = Node<'a, 'i>>, edits: &mut Edits<'_>) {
    for node in nodes {
        edits.remove(node);
    }
}
