// SPDX-License-Identifier: GPL-2.0-or-later

//! Adds image files of the host to a VM as virtio disks.
//!
//! Events: `before_vm_start` adds the disks; `before_vm_migrate_source` refuses to migrate a VM with
//! an image on local storage; `before_vm_migrate_destination` only looks whether the images exist.
//!
//! Property: `vmdisk`, a list of `PATH:raw` and `PATH:qcow2`. Absent or blank: nothing happens.
//!
//! The images must lie below the directories in `/etc/vdsm-hooks/allowed-paths`. A child of this
//! program looks at them, which is given up when their storage does not answer.

use std::process::ExitCode;

use vdsm_hooks::image::source::{self, Image};
use vdsm_hooks::libvirt::disk::{self, Targets};
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::xml::{Document, Edits, Element};
use vdsm_hooks::{Error, Result, hook, program, props};

const PROPERTY: &str = "vmdisk";

/// One item of the property.
struct Item<'a> {
    path: &'a str,
    format: &'static str,
    image: Image,
}

fn main() -> ExitCode {
    if let Some(status) = source::serve() {
        return status;
    }
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::given(PROPERTY)? else {
        return Ok(());
    };
    let items = find(parse(&value)?)?;
    match hook::event()?.as_str() {
        "before_vm_migrate_source" => check_shared(&items),
        // The VM still runs on the other host, and QEMU may be the only one with access.
        "before_vm_migrate_destination" => Ok(()),
        _ => {
            let caches: Result<Vec<&str>> = items.iter().map(cache).collect();
            let caches = caches?;
            hook::edit(|document, edits| {
                add_disks(document, edits, &items, &caches)
                    .map_err(|problem| props::wrong(PROPERTY, &value, problem))
            })
        }
    }
}

fn add_disks(
    document: &Document<'_>,
    edits: &mut Edits<'_>,
    items: &[Item<'_>],
    caches: &[&str],
) -> Result {
    let devices = domain::devices(document)?;
    let paths: Vec<&str> = items.iter().map(|item| item.image.path.as_str()).collect();
    if disk::are_there(document, "file", &paths)? {
        return Ok(());
    }
    let mut targets = Targets::from_document(document);
    for (item, cache) in items.iter().zip(caches) {
        let driver = Element::new("driver")
            .attr("cache", cache)
            .attr("error_policy", "stop")
            .attr("name", "qemu")
            .attr("type", item.format);
        let target = Element::new("target")
            .attr("bus", "virtio")
            .attr("dev", &targets.take_next("vd"));
        let disk = Element::new("disk")
            .attr("device", "disk")
            .attr("snapshot", "no")
            .attr("type", "file")
            .child(driver)
            .child(disk::source(document, "file", &item.image.path)?)
            .child(target);
        edits.append(devices, &disk);
    }
    Ok(())
}

/// Paths and formats, in order.
fn parse(value: &str) -> Result<Vec<(&str, &'static str)>> {
    let items = value.split(',').map(|item| {
        let parsed = item.split_once(':').and_then(|(path, format)| {
            let format = ["raw", "qcow2"].into_iter().find(|known| *known == format);
            format
                .filter(|_| path.starts_with('/'))
                .map(|format| (path, format))
        });
        parsed.ok_or_else(|| {
            let item = props::quoted(item);
            let problem = format!("bad item {item}, expected /path:raw or /path:qcow2");
            props::wrong(PROPERTY, value, problem)
        })
    });
    items.collect()
}

fn find<'a>(parsed: Vec<(&'a str, &'static str)>) -> Result<Vec<Item<'a>>> {
    let mut items: Vec<Item<'_>> = Vec::new();
    for (path, format) in parsed {
        let wrong = |problem| props::wrong(PROPERTY, path, problem);
        let image = source::find(path).map_err(wrong)?;
        if items.iter().any(|item| item.image.path == image.path) {
            return Err(wrong(Error::new("listed twice, expected each image once")));
        }
        items.push(Item {
            path,
            format,
            image,
        });
    }
    Ok(items)
}

fn check_shared(items: &[Item<'_>]) -> Result {
    match items.iter().find(|item| !item.image.is_shared) {
        None => Ok(()),
        Some(item) => Err(props::wrong(
            PROPERTY,
            item.path,
            "the image is local, cannot migrate: expected one on a network file system",
        )),
    }
}

/// The mode of QEMU's cache: none, where the file system lets QEMU do without the host's.
fn cache(item: &Item<'_>) -> Result<&'static str> {
    let is_direct = item.image.check(item.format);
    if is_direct.map_err(|problem| props::wrong(PROPERTY, item.path, problem))? {
        return Ok("none");
    }
    log::warn!(
        "{PROPERTY}: {} cannot be opened without the host's cache, its disk gets cache=writethrough",
        item.path
    );
    Ok("writethrough")
}
