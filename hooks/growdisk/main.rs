// SPDX-License-Identifier: GPL-2.0-or-later

//! Grows partition, LVM and file system of a guest to its enlarged disk, before the VM starts.
//!
//! Event: `before_vm_start`. The document is never changed.
//!
//! Property: `growdisk=off`, `auto` or a list of disks `vda,vdb:cl/home`; the last two may end in `,must`.
//! Absent or blank: nothing happens. Without `must` what cannot be grown is a message, and the VM starts
//! as it is.
//!
//! Only a cold start has a disk that nobody uses: at a resume the guest's kernel lives on, with the
//! old sizes in its memory.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use vdsm_hooks::host::interrupt;
use vdsm_hooks::image::grow::{self, Failure, Job, Outcome, Settings};
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::storage::Roots;
use vdsm_hooks::vdsm::network_choice::PROVIDER;
use vdsm_hooks::vdsm::start;
use vdsm_hooks::xml::Document;
use vdsm_hooks::{Error, Result, hook, program, props};

use disks::{Chosen, LeftAlone};
use request::Request;

mod disks;
mod request;

const PROPERTY: &str = "growdisk";
/// VDSM writes the launch flags just before the hooks of a start. Older ones are left from another.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

fn main() -> ExitCode {
    grow::serve().unwrap_or_else(|| hook::run(program!(), run))
}

fn run() -> Result {
    let Some(value) = props::given(PROPERTY)? else {
        return Ok(());
    };
    let Some(request) = request::parse(PROPERTY, &value)? else {
        return Ok(());
    };
    hook::read(|document| grow_disks(document, &request))
}

fn grow_disks(document: &Document<'_>, request: &Request<'_>) -> Result {
    // What the host's file says wrongly is said of the disks.
    let settings = Settings::of_host();
    if settings.as_ref().is_ok_and(|settings| !settings.is_enabled) {
        return Ok(());
    }
    if !is_cold_start(document) {
        // Not even a VM that must grow is kept from waking up: that would cost the guest its memory.
        hook::report(PROPERTY, "not a cold start, disks left alone");
        return Ok(());
    }
    // An interrupt waits until a disk is whole.
    interrupt::hold()?;
    for disk in disks::chosen(document, request, &Roots::of_host()?) {
        let settings = settings
            .as_ref()
            .map_err(|error| Error::new(error.to_string()));
        grow_disk(&disk, settings, request.must)?;
    }
    Ok(())
}

fn grow_disk(disk: &Chosen<'_>, settings: Result<&Settings>, must: bool) -> Result {
    let name = &disk.name;
    let grow = || {
        let image = disk.image.as_ref().map_err(LeftAlone::failure)?;
        let settings = settings.map_err(|error| grow::left_alone(&image.path, &image.id, error));
        let job = Job {
            image,
            choice: disk.choice,
            settings: settings?,
            remembers: true,
            progress: &|_| (),
        };
        job.grow()
    };
    match grow() {
        Ok(Outcome::Grown(grown)) => {
            let seconds = grown.took.as_secs();
            hook::report(
                PROPERTY,
                &format!("{name}: {} in {seconds} s", grown.result),
            );
            for warning in grown.warnings {
                hook::report(PROPERTY, &format!("{name}: {warning}"));
            }
            Ok(())
        }
        Ok(_) => Ok(()),
        // What may not be grown was not asked for by its name.
        Err(Failure::Before(_)) if disk.image.is_err() && !disk.choice.is_named => Ok(()),
        Err(Failure::Before(error)) if must => {
            Err(Error::new(format!("{name}: {error}; not grown")))
        }
        Err(Failure::Before(error)) => {
            hook::report(PROPERTY, &format!("{name}: {error}; not grown"));
            Ok(())
        }
        Err(Failure::After(error)) => Err(Error::new(format!("{name}: {error}"))),
    }
}

/// Whether this is certainly a cold start.
fn is_cold_start(document: &Document<'_>) -> bool {
    let Ok(vm) = start::vm_id() else {
        return false;
    };
    if start::is_resume().unwrap_or(true) {
        return false;
    }
    let Ok(flags) = fs::symlink_metadata(start::launch_flags(&vm)) else {
        return false;
    };
    let written = flags.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    // What lies a second in the future is the clock's business, and more of it tells nothing.
    let now = SystemTime::now() + Duration::from_secs(1);
    let age = now.duration_since(written);
    // The hook of such a vNIC writes the flags at a resume too.
    flags.is_file()
        && age.is_ok_and(|age| age < MAX_AGE)
        && !domain::has_vdsm_metadata(document, PROVIDER, "OPENSTACK_NETWORK")
}
