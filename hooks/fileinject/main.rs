// SPDX-License-Identifier: GPL-2.0-or-later

//! Writes one file into the guest's own file system before the VM starts.
//!
//! Event: `before_vm_start`; not when the VM wakes up from a saved state.
//!
//! Property: `fileinject=/GUEST/PATH:CONTENT`. Absent: nothing happens.
//!
//! Runs guestfish on the VM's raw disks, until one of them has an operating system. A child of this
//! program looks at a disk first, which is given up when its storage does not answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vdsm_hooks::host::worker::Worker;
use vdsm_hooks::image::appliance::{Access, Appliance, Opening};
use vdsm_hooks::image::guest;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::vdsm::start;
use vdsm_hooks::xml::{self, Document};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "fileinject";
/// For all disks together; an appliance takes seconds.
const TIMEOUT: Duration = Duration::from_secs(300);
/// How long to wait for the storage of one disk.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a disk is there.
static LOOK: Worker<PathBuf, ()> = Worker::new(|disk| {
    fs::metadata(disk)?;
    Ok(())
});

fn main() -> ExitCode {
    LOOK.serve().unwrap_or_else(|| hook::run(program!(), run))
}

fn run() -> Result {
    let Some(value) = props::text(PROPERTY)? else {
        return Ok(());
    };
    let (path, content) = parse(&value)?;
    if start::is_resume()? {
        hook::report(
            PROPERTY,
            &format!("the VM wakes up with its disks in use, {path} is not written"),
        );
        return Ok(());
    }
    hook::read(|document| {
        let disks = disks(document)?;
        inject(&disks, path, content)
    })
}

/// The path and the content. The content may be a secret, so no message has it.
fn parse(value: &str) -> Result<(&str, &str)> {
    let (path, content) = value.split_once(':').unwrap_or((value, ""));
    let wrong = |problem| Err(props::wrong(PROPERTY, path, problem));
    if !value.contains(':') {
        return wrong("no colon, expected /guest/path:content");
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    if !path.starts_with('/') || matches!(name, "" | ".") {
        return wrong("expected /guest/path:content with the absolute path of a file");
    }
    if path.split('/').any(|part| part == "..") {
        return wrong("expected /guest/path:content with a path without '..'");
    }
    Ok((path, content))
}

/// The images of the VM's raw disks that belong to this VM alone, in order.
fn disks(document: &Document<'_>) -> Result<Vec<String>> {
    domain::root(document)?;
    let mut paths = Vec::new();
    for disk in xml::devices(document, "disk") {
        let has = |name| xml::child(disk, name).is_some();
        let format = xml::child(disk, "driver").and_then(|driver| xml::attr(driver, "type"));
        if xml::attr(disk, "device") != Some("disk")
            || !matches!(format, None | Some("raw"))
            || ["readonly", "shareable", "transient"].into_iter().any(has)
        {
            continue;
        }
        let attr = |name| xml::child(disk, "source").and_then(|source| xml::attr(source, name));
        let path = attr("file").or_else(|| attr("dev")).unwrap_or_default();
        if path.starts_with('/') {
            paths.push(path.to_owned());
        }
    }
    if paths.is_empty() {
        return Err(Error::new(
            "the VM has no raw disk of its own; qcow2 is not supported",
        ));
    }
    Ok(paths)
}

/// Writes the file into the first disk that has an operating system.
fn inject(disks: &[String], path: &str, content: &str) -> Result {
    let end = Instant::now() + TIMEOUT;
    for disk in disks {
        if write(disk, path, content, end).context(format!("{disk}: {path}"))? {
            return Ok(());
        }
    }
    Err(Error::new(format!(
        "{path}: no known operating system on {}",
        disks.join(", ")
    )))
}

/// False if the disk has no operating system. Only a clean shutdown means that the file is there.
fn write(disk: &str, path: &str, content: &str, end: Instant) -> Result<bool> {
    // guestfish takes a word for a URI that looks like one, and says less when a file is missing.
    let look_end = end.min(Instant::now() + LOOK_TIMEOUT);
    let found = LOOK.ask(&PathBuf::from(disk), look_end)?;
    found.unwrap_or_else(|| {
        Err(Error::new(format!(
            "its storage does not answer within {} seconds",
            LOOK_TIMEOUT.as_secs()
        )))
    })?;
    let settings = props::text("LIBGUESTFS_BACKEND_SETTINGS")?;
    let opening = Opening {
        image: Path::new(disk),
        format: "raw",
        access: Access::ReadWrite,
        // Runs where the host's processor cannot help; the only setting that is passed on.
        settings: settings.as_deref().filter(|given| *given == "force_tcg"),
        locks: &[],
    };
    let mut appliance = Appliance::start(&opening, end)?;
    let Some(system) = guest::inspect(&mut appliance)? else {
        appliance.shut_down()?;
        return Ok(false);
    };
    let path = system.mount(&mut appliance, path)?;
    system.put(&mut appliance, &path, content)?;
    appliance.shut_down()?;
    Ok(true)
}
