// SPDX-License-Identifier: GPL-2.0-or-later

//! Gives a VM disks that are made empty when it starts and deleted when it is gone.
//!
//! Events: `before_vm_start` makes the files and adds the disks, `after_vm_destroy` deletes them;
//! `before_vm_migrate_source` and `before_vm_hibernate` refuse, as the data would stay behind.
//!
//! Property: `scratchpad=SIZE,PATH`, several joined by `:`. Absent: nothing happens.
//!
//! A child of this program does the work, which is given up when the storage does not answer.

use std::process::ExitCode;
use std::time::Duration;

use vdsm_hooks::host::rollback::Undo;
use vdsm_hooks::libvirt::disk::Targets;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::vdsm::start;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

mod files;

use files::{ScratchFiles, Storage};

const PROPERTY: &str = "scratchpad";
const FORM: &str = "expected SIZE,PATH, as in 20G,/var/lib/libvirt/images/scratch1";

/// For all disks together. Of storage that does not answer the child tells within ten seconds; this
/// is for one that dies while the child works.
const TIMEOUT: Duration = Duration::from_secs(300);

struct Entry<'a> {
    bytes: u64,
    path: &'a str,
}

fn main() -> ExitCode {
    let is_asked = || Ok(props::text(PROPERTY)?.is_some());
    files::serve().unwrap_or_else(|| hook::run_apart(program!(), TIMEOUT, is_asked, run))
}

fn run() -> Result {
    let Some(value) = props::text(PROPERTY)? else {
        return Ok(());
    };
    let refuse = |what| Err(props::wrong(PROPERTY, &value, what));
    match hook::event()?.as_str() {
        "before_vm_migrate_source" => refuse("a VM with scratch disks cannot migrate"),
        "before_vm_hibernate" => refuse(
            "a VM with scratch disks cannot be suspended, since they are deleted: shut it down instead",
        ),
        "after_vm_destroy" => destroy(&value).map_err(Error::keep_going),
        _ => start(&value),
    }
}

fn start(value: &str) -> Result {
    if start::is_resume()? {
        log::warn!("the VM wakes up from a saved state, its scratch disks are not made again");
        return Ok(());
    }
    let entries = entries(value)?;
    // Outlives the edit: if the document cannot be written the files go again.
    let mut undo = Undo::default();
    hook::edit(|document, edits| add(document, edits, &entries, &mut undo))?;
    undo.keep();
    Ok(())
}

fn add(
    document: &Document<'_>,
    edits: &mut Edits<'_>,
    entries: &[Entry<'_>],
    undo: &mut Undo<'_>,
) -> Result {
    let devices = domain::devices(document)?;
    let vm = start::vm_id()?;
    let mut storage = Storage::default();
    let is_ours = |entry: &Entry<'_>| disk_on(document, entry.path).map(is_scratch);
    if entries.iter().all(|entry| is_ours(entry) == Some(true)) {
        // A second run meets the work of the first.
        return Ok(());
    }
    if let Some(entry) = entries.iter().find(|entry| is_ours(entry).is_some()) {
        return Err(Error::new(format!(
            "{PROPERTY}: {} is a disk of this VM already",
            entry.path
        )));
    }
    // The host went down with the VM: nobody has told us that it is gone.
    ScratchFiles::for_vm(&vm)?.delete(&mut storage)?;
    let mut scratch = ScratchFiles::for_vm(&vm)?;
    scratch.undo_in(undo);
    let paths: Vec<_> = entries.iter().map(|entry| entry.path).collect();
    let files = scratch.make(&paths, &mut storage, undo).context(PROPERTY)?;
    let mut targets = Targets::from_document(document);
    for (entry, file) in entries.iter().zip(files) {
        let grown = file.grow(entry.bytes).context(entry.path);
        grown.context(PROPERTY)?;
        edits.append(devices, &disk(entry.path, &targets.take_next("vd")));
    }
    Ok(())
}

fn disk(path: &str, target: &str) -> Element {
    Element::new("disk")
        .attr("device", "disk")
        .attr("type", "file")
        .attr("snapshot", "no")
        .child(Element::new("source").attr("file", path))
        .child(
            Element::new("target")
                .attr("bus", "virtio")
                .attr("dev", target),
        )
        .child(
            Element::new("driver")
                .attr("cache", "writeback")
                .attr("error_policy", "stop")
                .attr("type", "raw"),
        )
}

/// The VM's disk on this file.
fn disk_on<'a>(document: &'a Document<'_>, path: &str) -> Option<Node<'a, 'a>> {
    xml::devices(document, "disk").into_iter().find(|disk| {
        let source = xml::child(*disk, "source").and_then(|source| xml::attr(source, "file"));
        source == Some(path)
    })
}

/// Whether it is like the disks of this hook and of VDSM's own: the engine's have a serial number
/// (ovirt-engine 4.5 …/vminfo/LibvirtVmXmlBuilder.java: `writeDisk`), those of other hooks
/// another cache.
fn is_scratch(disk: Node<'_, '_>) -> bool {
    let driver = |name| xml::child(disk, "driver").and_then(|driver| xml::attr(driver, name));
    xml::attr(disk, "type") == Some("file")
        && xml::child(disk, "serial").is_none()
        && driver("cache") == Some("writeback")
        && driver("error_policy") == Some("stop")
}

fn destroy(value: &str) -> Result {
    let mut storage = Storage::default();
    let scratch = ScratchFiles::for_vm(&start::vm_id()?)?;
    let recorded = scratch.paths();
    let mut failures = scratch
        .delete(&mut storage)
        .err()
        .map(|error| error.to_string());
    for text in value.split(':') {
        match entry(text) {
            Ok(entry) if recorded.iter().any(|path| path == entry.path) => {}
            Ok(entry) => {
                if let Err(error) = without_record(entry.path, &mut storage) {
                    let error = format!("{}: {error}", entry.path);
                    failures =
                        Some(failures.map_or(error.clone(), |all| format!("{all}; {error}")));
                }
            }
            Err(_) => log::warn!("{}: {FORM}; nothing is deleted for it", props::quoted(text)),
        }
    }
    match failures {
        None => Ok(()),
        Some(failures) => Err(Error::new(format!("cannot delete {failures}"))),
    }
}

/// Without our record, that of a VM which VDSM's own hook started, the VM's last document has to
/// show the disk.
fn without_record(path: &str, storage: &mut Storage) -> Result {
    let mut was_disk = None;
    hook::read(|document| {
        was_disk = Some(disk_on(document, path).is_some_and(is_scratch));
        Ok(())
    })?;
    match was_disk {
        Some(true) => return files::delete_found(path, storage),
        Some(false) => log::warn!("{path}: not made for this VM, so it is left as it is"),
        // There has been no VM.
        None => {}
    }
    Ok(())
}

fn entries(value: &str) -> Result<Vec<Entry<'_>>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for text in value.split(':') {
        let entry = entry(text)
            .context(format!("entry {}", props::quoted(text)))
            .map_err(|error| props::wrong(PROPERTY, value, error))?;
        if entries.iter().any(|other| other.path == entry.path) {
            let twice = format!(
                "{} is named twice, expected a file for each disk",
                entry.path
            );
            return Err(props::wrong(PROPERTY, value, twice));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(text: &str) -> Result<Entry<'_>> {
    let parts = text.split_once(',').and_then(|(size, path)| {
        let is_good = path.starts_with('/')
            && !path.ends_with('/')
            && !path.contains([',', '\0'])
            && !path.contains(char::is_control)
            && path.split('/').all(|part| part != ".." && part != ".");
        Some((files::bytes(size)?, path)).filter(|_| is_good)
    });
    let (bytes, path) = parts.ok_or_else(|| Error::new(FORM))?;
    Ok(Entry { bytes, path })
}
