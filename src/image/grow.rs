// SPDX-License-Identifier: GPL-2.0-or-later

//! Lets a guest use the whole of a disk that was enlarged: partition, LVM and file system, offline
//! and in place.
//!
//! First a look, in an appliance that cannot write to the image. Only if something is to be grown,
//! and safely, a second one opens the image for writing: whatever is refused leaves every byte.

mod image;
mod look;
mod plan;

use std::process::ExitCode;
use std::time::Instant;

use crate::host::worker;
use crate::image::appliance::{Access, Appliance};
use crate::{Context, Error, Result};

pub use image::{Format, Image, work};

/// Does the [`work`] of a child if the program was started as one. To be called before anything else.
pub fn serve() -> Option<ExitCode> {
    worker::serve(&[work()])
}

/// What to say when an image above another one was grown.
pub const SNAPSHOT: &str =
    "grown above a snapshot: reverting to the snapshot brings the old size back";

/// What is to be done to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Commands of guestfish, in order; none if there is nothing to grow.
    pub steps: Vec<String>,
    /// Whether the image lies above another one, as after a snapshot.
    pub is_overlay: bool,
}

/// How growing failed.
#[derive(Debug)]
pub enum Failure {
    /// Before anything was written: the image is what it was.
    Before(Error),
    /// Afterwards: the image is as the failed step left it.
    After(Error),
}

/// Looks what is to be done. The image is only read.
///
/// # Errors
/// The image is in use or cannot be looked at until `end`; or something is to be grown, but not
/// safely.
pub fn plan(image: &Image, end: Instant) -> Result<Plan> {
    let facts = image.examine(end)?;
    let mut appliance = Appliance::start(&image.path, image.format.name(), Access::ReadOnly, end)?;
    let found = look::look(&mut appliance)?;
    log::debug!("{}: {found:?}", image.path.display());
    let steps = plan::plan(&found)?;
    if !steps.is_empty() {
        image.check_room(found.size, end)?;
    }
    Ok(Plan {
        steps,
        is_overlay: facts.is_overlay,
    })
}

/// Goes the steps of a plan.
///
/// # Errors
/// One of them failed, or was not done until `end`.
pub fn grow(image: &Image, plan: &Plan, end: Instant) -> std::result::Result<(), Failure> {
    if plan.steps.is_empty() {
        return Ok(());
    }
    let start = || {
        image.examine(end)?;
        Appliance::start(&image.path, image.format.name(), Access::ReadWrite, end)
    };
    let mut appliance = start().map_err(Failure::Before)?;
    let mut go = || -> Result {
        for step in &plan.steps {
            appliance.ask(step).context(format!("step '{step}'"))?;
        }
        Ok(())
    };
    go().map_err(Failure::After)?;
    let closed = appliance.shut_down().context("closing the image");
    closed.map_err(Failure::After)
}
