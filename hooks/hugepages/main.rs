// SPDX-License-Identifier: GPL-2.0-or-later

//! Reserves huge pages of the host for a VM, backs its memory with them, and gives them back when
//! the VM is gone.
//!
//! Events: `before_vm_start`; `before_vm_migrate_destination`, where pages are reserved for the
//! document that comes from the source; `after_vm_destroy`.
//!
//! Property: `hugepages_count`, a number of pages of the host's default size. Without it
//! `hugepages`, which is the same for engines before 4.2; later ones mean a page size by it, and
//! write `<hugepages>` themselves. Absent, blank or 0: nothing happens.

use std::process::ExitCode;

use vdsm_hooks::host::rollback::Undo;
use vdsm_hooks::libvirt::{domain, memory};
use vdsm_hooks::vdsm::start;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Error, Result, hook, program, props};

mod pool;
mod reserve;

use pool::Pool;

const PROPERTIES: [&str; 2] = ["hugepages_count", "hugepages"];

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some((property, value)) = requested()? else {
        return Ok(());
    };
    match hook::event()?.as_str() {
        "after_vm_destroy" => reserve::release(&start::vm_id()?),
        "before_vm_migrate_destination" => hook::read(|document| {
            let pages = backing(domain::root(document)?).and_then(huge_pages_of);
            let is_native = pages.is_some_and(has_page);
            let is_ours = pages.is_some() || property == PROPERTIES[0];
            if is_native || !is_ours {
                return Ok(());
            }
            let mut undo = Undo::default();
            reserve(document, property, &value, &mut undo)?;
            undo.keep();
            Ok(())
        }),
        _ => {
            // Outlives the edit: if the document cannot be written the pages go back.
            let mut undo = Undo::default();
            hook::edit(|document, edits| back(document, edits, property, &value, &mut undo))?;
            undo.keep();
            Ok(())
        }
    }
}

/// The property that says how many.
fn requested() -> Result<Option<(&'static str, String)>> {
    for property in PROPERTIES {
        let value = props::given(property)?.map(|value| value.trim().to_owned());
        if let Some(value) = value.filter(|value| value != "0") {
            return Ok(Some((property, value)));
        }
    }
    Ok(None)
}

fn back(
    document: &Document<'_>,
    edits: &mut Edits<'_>,
    property: &str,
    value: &str,
    undo: &mut Undo<'static>,
) -> Result {
    let root = domain::root(document)?;
    let present = backing(root);
    if present.and_then(huge_pages_of).is_some() {
        log::warn!("VM already uses huge pages");
        return Ok(());
    }
    reserve(document, property, value, undo)?;
    let pages = Element::new("hugepages");
    let before = xml::child(root, "currentMemory").or_else(|| xml::child(root, "memory"));
    match (present, before) {
        (Some(present), _) => edits.append(present, &pages),
        (None, Some(before)) => {
            edits.insert_after(before, &Element::new("memoryBacking").child(pages));
        }
        (None, None) => edits.append(root, &Element::new("memoryBacking").child(pages)),
    }
    Ok(())
}

fn backing<'a, 'i>(root: Node<'a, 'i>) -> Option<Node<'a, 'i>> {
    xml::child(root, "memoryBacking")
}

fn huge_pages_of<'a, 'i>(backing: Node<'a, 'i>) -> Option<Node<'a, 'i>> {
    xml::child(backing, "hugepages")
}

/// The engine names a page size (ovirt-engine 4.5 …/vminfo/LibvirtVmXmlBuilder.java:
/// `writeMemoryBacking`), this hook none.
fn has_page(pages: Node<'_, '_>) -> bool {
    xml::child(pages, "page").is_some()
}

/// Reserves the pages, unless they are reserved already.
fn reserve(
    document: &Document<'_>,
    property: &str,
    value: &str,
    undo: &mut Undo<'static>,
) -> Result {
    let vm = start::vm_id()?;
    let pool = reserve::default_pool()?;
    let wanted = parse(domain::root(document)?, pool, value)
        .map_err(|problem| props::wrong(property, value, format!("bad page count, {problem}")))?;
    if !reserve::is_mounted(pool)? {
        return Err(Error::new(format!(
            "no hugetlbfs mount with pages of {} KiB, expected one on /dev/hugepages",
            pool.kib
        )));
    }
    if reserve::reserve(&vm, pool, wanted)? {
        undo.push(format!("{wanted} huge pages of the VM"), move || {
            reserve::release(&vm)
        });
    }
    Ok(())
}

/// How many pages: enough for the VM, and not more than the host has memory for.
fn parse(root: Node<'_, '_>, pool: Pool, value: &str) -> Result<u64> {
    let is_plain = value.chars().all(|c| c.is_ascii_digit());
    let count: Option<u64> = value.parse().ok().filter(|_| is_plain);
    let needed = memory::size(root).unwrap_or_default().div_ceil(pool.kib);
    let most = pool::host_memory()? / pool.kib;
    count
        .filter(|count| (needed.max(1)..=most).contains(count))
        .ok_or_else(|| {
            Error::new(format!(
                "expected {} (the memory of the VM) to {most} (that of the host) pages of {} KiB",
                needed.max(1),
                pool.kib
            ))
        })
}
