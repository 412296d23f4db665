// SPDX-License-Identifier: GPL-2.0-or-later

//! What two hooks know about libvirt's domain XML.

use roxmltree::Node;

use crate::xml::{self, Document, Edits, Element};
use crate::{Error, Result};

/// The namespace of QEMU's own arguments in a domain XML. A block in any other is dropped by
/// libvirt without an error.
pub const QEMU_URI: &str = "http://libvirt.org/schemas/domain/qemu/1.0";

/// The namespace of what VDSM keeps in a domain's metadata.
const OVIRT_URI: &str = "http://ovirt.org/vm/1.0";

/// The root, which must be `<domain>`.
///
/// # Errors
/// The document is something else, a device for example.
pub fn root<'a, 'i>(document: &'a Document<'i>) -> Result<Node<'a, 'i>> {
    let root = document.root_element();
    if xml::is(root, "domain") {
        return Ok(root);
    }
    let name = root.tag_name().name();
    Err(Error::new(format!(
        "the document is <{name}>, expected <domain>"
    )))
}

/// Whether QEMU emulates the VM's processor, without KVM.
pub fn is_emulated(domain: Node<'_, '_>) -> bool {
    xml::attr(domain, "type") == Some("qemu")
}

/// The domain's `<devices>`.
///
/// # Errors
/// The document is no domain, or has none.
pub fn devices<'a, 'i>(document: &'a Document<'i>) -> Result<Node<'a, 'i>> {
    xml::child(root(document)?, "devices").ok_or_else(|| Error::new("the domain has no <devices>"))
}

/// Whether the VM is to have no USB at all: a controller of the model `none`.
pub fn is_usb_off(document: &Document<'_>) -> bool {
    let mut controllers = xml::devices(document, "controller").into_iter();
    controllers.any(|controller| {
        let attr = |name| xml::attr(controller, name);
        (attr("type"), attr("model")) == (Some("usb"), Some("none"))
    })
}

/// Whether the domain is one for QEMU, as all of VDSM's are.
///
/// # Errors
/// Its type is another one.
pub fn check_is_qemus(domain: Node<'_, '_>) -> Result {
    match xml::attr(domain, "type") {
        None | Some("kvm" | "qemu") => Ok(()),
        Some(kind) => Err(Error::new(format!(
            "the domain is of type {kind:?}, expected kvm"
        ))),
    }
}

/// Whether the domain is a whole machine, with firmware: what libvirt calls `hvm`.
///
/// # Errors
/// Its OS type is another one, that of a container for example.
pub fn check_is_machine(domain: Node<'_, '_>) -> Result {
    let kind = xml::child(domain, "os").and_then(|os| xml::child(os, "type"));
    match kind.map(xml::text).filter(|kind| kind.trim() != "hvm") {
        None => Ok(()),
        Some(kind) => Err(Error::new(format!(
            "the domain is of OS type {kind:?}, expected hvm, a whole machine"
        ))),
    }
}

/// The VM's name: the text of `/domain/name`, as libvirt takes it, blanks included. Empty if there
/// is none.
pub fn vm_name(document: &Document<'_>) -> String {
    let name = xml::child(document.root_element(), "name").map(xml::text);
    name.unwrap_or_default()
}

/// What VDSM keeps of the VM under `name` in the domain's metadata; none if it keeps nothing.
pub fn vdsm_metadata(document: &Document<'_>, name: &str) -> Option<String> {
    let metadata = xml::child(document.root_element(), "metadata")?;
    let found = metadata
        .children()
        .filter(|node| node.has_tag_name((OVIRT_URI, "vm")))
        .find_map(|vm| {
            vm.descendants()
                .find(|node| node.has_tag_name((OVIRT_URI, name)))
        })?;
    Some(xml::text(found))
}

/// Whether VDSM keeps `value` under `name` in the domain's metadata, for the VM or one of its devices.
pub fn has_vdsm_metadata(document: &Document<'_>, name: &str, value: &str) -> bool {
    let Some(metadata) = xml::child(document.root_element(), "metadata") else {
        return false;
    };
    let mut named = metadata
        .descendants()
        .filter(|node| node.has_tag_name((OVIRT_URI, name)));
    named.any(|node| xml::text(node).trim() == value)
}

/// Adds arguments to QEMU's command line, behind those that are there. libvirt joins the arguments
/// of all blocks in document order (libvirt 9.0 src/qemu/qemu_domain.c:
/// `qemuDomainDefNamespaceParseCommandlineArgs`), but its schema (src/conf/schemas/domain.rng:
/// `qemucmdline`) allows one block only: there is a new one only where there is none. Several that came
/// in stay.
pub fn append_qemu_arguments<S: AsRef<str>>(
    domain: Node<'_, '_>,
    edits: &mut Edits<'_>,
    arguments: &[S],
) {
    let last = qemu_blocks(domain).last();
    let prefix = edits.bind(last.unwrap_or(domain), "qemu", QEMU_URI);
    let arguments = arguments
        .iter()
        .map(|argument| Element::new(&format!("{prefix}:arg")).attr("value", argument.as_ref()));
    match last {
        Some(block) => arguments.for_each(|argument| edits.append(block, &argument)),
        None => {
            let block = Element::new(&format!("{prefix}:commandline"));
            edits.append(domain, &arguments.fold(block, Element::child));
        }
    }
}

/// The arguments that the domain's blocks add to QEMU's command line, in order.
pub fn qemu_arguments(domain: Node<'_, '_>) -> Vec<String> {
    qemu_blocks(domain)
        .flat_map(|block| block.children())
        .filter(|node| node.has_tag_name((QEMU_URI, "arg")))
        .filter_map(|argument| xml::attr(argument, "value").map(str::to_owned))
        .collect()
}

fn qemu_blocks<'a, 'i>(domain: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    let blocks = domain.children();
    blocks.filter(|node| node.has_tag_name((QEMU_URI, "commandline")))
}
