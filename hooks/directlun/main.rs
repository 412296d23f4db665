// SPDX-License-Identifier: GPL-2.0-or-later

//! Plugs multipath LUNs of the host into a VM as virtio disks.
//!
//! Events: `before_vm_start` adds the disks; `before_vm_migrate_destination` only checks the LUNs.
//!
//! Property: `directlun`, a list of `NAME[:readonly]`, names of nodes in `/dev/mapper`. Absent or
//! blank: nothing happens.
//!
//! Reads `/sys/block` and the host's mounts, and `/etc/vdsm-hooks/allowed-luns` if there is one.

use std::path::Path;
use std::process::ExitCode;

use vdsm_hooks::host::allowlist;
use vdsm_hooks::host::block::Device;
use vdsm_hooks::libvirt::disk::{self, Targets};
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::xml::{Document, Edits, Element};
use vdsm_hooks::{Error, Result, hook, program, props};

const PROPERTY: &str = "directlun";
const ALLOWED: &str = "allowed-luns";

struct Lun {
    name: String,
    is_readonly: bool,
}

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::given(PROPERTY)? else {
        return Ok(());
    };
    let luns = parse(&value)?;
    for lun in &luns {
        check(&lun.name).map_err(|problem| props::wrong(PROPERTY, &lun.name, problem))?;
    }
    if hook::event()? == "before_vm_migrate_destination" {
        return Ok(());
    }
    hook::edit(|document, edits| {
        add_disks(document, edits, &luns).map_err(|problem| props::wrong(PROPERTY, &value, problem))
    })
}

fn add_disks(document: &Document<'_>, edits: &mut Edits<'_>, luns: &[Lun]) -> Result {
    let devices = domain::devices(document)?;
    let paths: Vec<String> = luns.iter().map(Lun::path).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    if disk::are_there(document, "dev", &paths)? {
        return Ok(());
    }
    let mut targets = Targets::from_document(document);
    for lun in luns {
        let driver = Element::new("driver")
            .attr("cache", "none")
            .attr("error_policy", "stop")
            .attr("io", "native")
            .attr("name", "qemu")
            .attr("type", "raw");
        let target = Element::new("target")
            .attr("bus", "virtio")
            .attr("dev", &targets.take_next("vd"));
        let mut disk = Element::new("disk")
            .attr("device", "disk")
            .attr("snapshot", "no")
            .attr("type", "block")
            .child(driver)
            .child(disk::source(document, "dev", &lun.path())?)
            .child(target);
        if lun.is_readonly {
            disk = disk.child(Element::new("readonly"));
        }
        edits.append(devices, &disk);
    }
    Ok(())
}

impl Lun {
    fn path(&self) -> String {
        format!("/dev/mapper/{}", self.name)
    }
}

fn parse(value: &str) -> Result<Vec<Lun>> {
    let mut luns: Vec<Lun> = Vec::new();
    for item in value.split(',') {
        let bad = |problem: &str| {
            let item = props::quoted(item);
            props::wrong(PROPERTY, value, format!("bad item {item}, {problem}"))
        };
        let (name, is_readonly) = match item.split_once(':') {
            None => (item, false),
            Some((name, "readonly")) => (name, true),
            Some(_) => return Err(bad("the only option is :readonly")),
        };
        if !is_name(name) {
            return Err(bad("expected the name of a multipath device"));
        }
        if luns.iter().any(|lun| lun.name == name) {
            return Err(bad("the device is listed twice"));
        }
        luns.push(Lun {
            name: name.to_owned(),
            is_readonly,
        });
    }
    Ok(luns)
}

/// A name that leads nowhere but to a node of this name.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
}

/// Checks that a LUN may be handed to a VM: the host's own disks are maps in `/dev/mapper` as well.
fn check(name: &str) -> Result {
    allowlist::check(ALLOWED, name)?;
    let node = Path::new("/dev/mapper").join(name);
    let device = Device::of_map(&node)?
        .ok_or_else(|| Error::new("no such multipath device on this host"))?;
    if !device.is_multipath() {
        return Err(Error::new(
            "not a multipath device, expected a LUN that 'multipath -ll' lists",
        ));
    }
    let users = device.users()?;
    if !users.is_empty() {
        let users = users.join(", ");
        return Err(Error::new(format!("in use on this host by {users}")));
    }
    Ok(())
}
