// SPDX-License-Identifier: GPL-2.0-or-later

//! What two hooks know about the virtual CPU, the element `<cpu>`.

use roxmltree::Node;

use crate::xml::{self, Edits, Element};

/// Whether libvirt takes features for this CPU: only beside a model or with a mode that brings one
/// (libvirt 9.0 src/conf/cpu_conf.c: `virCPUDefParseXML`).
pub fn takes_features(cpu: Node<'_, '_>) -> bool {
    xml::child(cpu, "model").is_some() || !matches!(xml::attr(cpu, "mode"), None | Some("custom"))
}

/// The CPU's feature `name`, if the document speaks of it. A second one of the same name is an
/// error in libvirt (libvirt 9.0 src/conf/cpu_conf.c: `virCPUDefParseXML`).
pub fn feature<'a, 'i>(cpu: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    xml::children(cpu, "feature").find(|feature| xml::attr(*feature, "name") == Some(name))
}

/// A new feature; `policy` is libvirt's, for example `require`.
pub fn new_feature(name: &str, policy: &str) -> Element {
    Element::new("feature")
        .attr("name", name)
        .attr("policy", policy)
}

/// Leaves the choice of the CPU to QEMU; topology and NUMA cells stay. Without a model or a mode
/// libvirt refuses whatever refines one.
pub fn leave_open(cpu: Node<'_, '_>, edits: &mut Edits<'_>) {
    for name in ["mode", "match", "check", "migratable"] {
        edits.remove_attr(cpu, name);
    }
    let of_model = ["model", "vendor", "feature"];
    let of_host =
        |child| xml::is(child, "cache") && xml::attr(child, "mode") == Some("passthrough");
    for child in cpu.children() {
        if of_model.iter().any(|name| xml::is(child, name)) || of_host(child) {
            edits.remove(child);
        }
    }
}
