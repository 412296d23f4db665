// SPDX-License-Identifier: GPL-2.0-or-later

//! Grows partition, LVM and file system of a guest to its enlarged disk, before the VM starts.
//!
//! Event: `before_vm_start`. The document is never changed.
//!
//! Property: `growdisk`, target names of disks or `all`, then optionally `,must`. Absent or blank:
//! nothing happens. Without `must` what cannot be grown is a warning, and the VM starts as it is.
//! `growdisk_timeout`: seconds for each disk.
//!
//! Only a cold start has a disk that nobody uses: at a resume the guest's kernel lives on, with the
//! old sizes in its memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use roxmltree::Node;

use vdsm_hooks::image::grow::{self, Failure, Format, Image};
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::vdsm::start;
use vdsm_hooks::xml::{self, Document};
use vdsm_hooks::{Context as _, Error, Result, hook, program, props};

const PROPERTY: &str = "growdisk";
const DEFAULT_SECONDS: u64 = 120;
/// VDSM writes the launch flags just before the hooks of a start. Older ones are left from another.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

fn main() -> ExitCode {
    grow::serve().unwrap_or_else(|| hook::run(program!(), run))
}

/// The value of the property.
struct Request<'a> {
    /// Names of targets, or `all`.
    disks: BTreeSet<&'a str>,
    must: bool,
}

fn run() -> Result {
    let Some(value) = props::given(PROPERTY)? else {
        return Ok(());
    };
    let wish = parse(&value)?;
    let seconds = props::number("growdisk_timeout", 10..=3600)?.unwrap_or(DEFAULT_SECONDS);
    let limit = Duration::from_secs(seconds);
    hook::read(|document| grow_disks(document, &wish, limit))
}

fn parse(value: &str) -> Result<Request<'_>> {
    let (names, must) = match value.strip_suffix(",must") {
        Some(names) => (names, true),
        None => (value, false),
    };
    let is_name = |name: &&str| {
        (2..=4).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    let disks: BTreeSet<&str> = names.split(' ').collect();
    let has_all = disks.len() > 1 && disks.contains("all");
    match disks.iter().all(is_name) && !has_all {
        true => Ok(Request { disks, must }),
        false => Err(props::wrong(
            PROPERTY,
            value,
            "expected 'all' or names of disks such as 'vda sdb', then optionally ',must'",
        )),
    }
}

fn grow_disks(document: &Document<'_>, wish: &Request<'_>, limit: Duration) -> Result {
    if !is_start(document, wish.must)? {
        return Ok(());
    }
    let mut plans = Vec::new();
    // All are looked at before the first is written, so that 'must' leaves either all or none.
    for (name, disk) in chosen(document, wish) {
        let plan = disk.and_then(image).and_then(|image| {
            let plan = grow::plan(&image, Instant::now() + limit)?;
            Ok((image, plan))
        });
        match plan {
            Ok((image, plan)) => plans.push((name, image, plan)),
            Err(error) => refuse(&name, error, wish.must)?,
        }
    }
    for (name, image, plan) in plans {
        match grow::grow(&image, &plan, Instant::now() + limit) {
            Ok(()) if plan.is_overlay && !plan.steps.is_empty() => {
                log::warn!("disk {name}: {}", grow::SNAPSHOT);
            }
            Ok(()) => {}
            Err(Failure::Before(error)) => refuse(&name, error, wish.must)?,
            Err(Failure::After(error)) => {
                return Err(error).context(format!("disk {name}: growing failed half way"));
            }
        }
    }
    Ok(())
}

/// What cannot be grown stops the VM only if it must be.
fn refuse(disk: &str, error: Error, must: bool) -> Result {
    let refused = Err(error).context(format!("disk {disk}: not grown"));
    match refused {
        Err(error) if !must => {
            log::warn!("{error}");
            Ok(())
        }
        refused => refused,
    }
}

/// Whether this is certainly a cold start. A resume is no reason to stop a VM, whatever it must.
fn is_start(document: &Document<'_>, must: bool) -> Result<bool> {
    let flags = start::launch_flags(&start::vm_id()?);
    // A dry run has no flags either.
    if start::is_resume()? || !flags.exists() {
        log::warn!(
            "nothing is grown: VDSM has not written {}, so this is no cold start",
            flags.display()
        );
        return Ok(false);
    }
    let written = fs::metadata(&flags).and_then(|facts| facts.modified());
    let written = written.context(flags.display())?;
    let age = SystemTime::now()
        .duration_since(written)
        .unwrap_or_default();
    let doubt = if age >= MAX_AGE {
        Some(format!("{} is of another start", flags.display()))
    } else if domain::has_vdsm_metadata(document, "provider_type", "OPENSTACK_NETWORK") {
        // The hook of such a vNIC writes the flags at a resume too.
        Some("with a vNIC of OPENSTACK_NETWORK a resume cannot be told from a start".to_owned())
    } else {
        None
    };
    match doubt {
        None => Ok(true),
        Some(doubt) if must => Err(Error::new(format!("no disk is grown: {doubt}"))),
        Some(doubt) => {
            log::warn!("no disk is grown: {doubt}");
            Ok(false)
        }
    }
}

/// The chosen disks, by name. Of all devices only disks are meant.
fn chosen<'a, 'i>(
    document: &'a Document<'i>,
    wish: &Request<'_>,
) -> Vec<(String, Result<Node<'a, 'i>>)> {
    let name =
        |disk: Node<'a, '_>| xml::child(disk, "target").and_then(|target| xml::attr(target, "dev"));
    let disks = xml::devices(document, "disk");
    if wish.disks.contains("all") {
        let disks = disks.into_iter().filter(|disk| kind(*disk) == "disk");
        return disks
            .map(|disk| (name(disk).unwrap_or_default().to_owned(), Ok(disk)))
            .collect();
    }
    let find = |wanted: &&str| {
        let found = disks.iter().find(|disk| name(**disk) == Some(wanted));
        let found = found.copied();
        (
            (*wanted).to_owned(),
            found.ok_or_else(|| Error::new("the VM has no such disk")),
        )
    };
    wish.disks.iter().map(find).collect()
}

/// libvirt takes a disk that says nothing for a hard disk.
fn kind<'a>(disk: Node<'a, '_>) -> &'a str {
    xml::attr(disk, "device").unwrap_or("disk")
}

/// The image of a disk that this VM alone writes to.
fn image(disk: Node<'_, '_>) -> Result<Image> {
    if kind(disk) != "disk" {
        return Err(Error::new(format!("a {}, expected a disk", kind(disk))));
    }
    for mark in ["shareable", "readonly", "transient"] {
        if xml::child(disk, mark).is_some() {
            return Err(Error::new(format!("the disk is {mark}")));
        }
    }
    let driver = xml::child(disk, "driver").and_then(|driver| xml::attr(driver, "type"));
    let format = driver.and_then(Format::named).ok_or_else(|| {
        Error::new(format!(
            "the format is {}, expected raw or qcow2",
            driver.unwrap_or("not said")
        ))
    })?;
    let source = xml::child(disk, "source");
    let path = source.and_then(|source| xml::attr(source, "file").or(xml::attr(source, "dev")));
    match path {
        Some(path) if path.starts_with("/dev/mapper/") => Err(Error::new(format!(
            "{path} is a LUN, which other hosts and VMs may use"
        ))),
        Some(path) if path.starts_with('/') => Ok(Image {
            path: PathBuf::from(path),
            format,
        }),
        _ => Err(Error::new(
            "the disk is neither a file nor a block device of this host",
        )),
    }
}
