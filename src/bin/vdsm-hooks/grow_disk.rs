// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks grow-disk`: what the hook growdisk does at the start of a VM, at the shell.

use std::io::{self, Write as _};
use std::path::{self, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vdsm_hooks::image::grow::{self, Failure, Format, Image};
use vdsm_hooks::{Context as _, Result};

use crate::print;

/// Grow what is in a disk image to the image's size
///
/// Grows the last partition of an enlarged image, LVM in it and the file system, in place, with
/// libguestfs. No machine may run on the image. It is looked at first in a way that cannot write to
/// it; what cannot be grown safely is refused, and every byte stays.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The image, or the block device; of a chain of images the topmost
    image: PathBuf,

    /// Format of the image: raw or qcow2; it is never guessed
    #[arg(long, value_name = "FORMAT", default_value = "raw", value_parser = format)]
    format: Format,

    /// Only print the steps; the image is only read
    #[arg(long)]
    plan: bool,

    /// How long it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86400))]
    timeout: u64,
}

const HELP: &str = "\
Examples:
  What would be done?
    qemu-img resize -f qcow2 disk.qcow2 +20G
    vdsm-hooks grow-disk --format qcow2 --plan disk.qcow2
  Do it:
    vdsm-hooks grow-disk --format qcow2 disk.qcow2

The steps are printed as commands of guestfish(1); nothing is printed if there is nothing to grow.

Exit status: 0 grown, or nothing to grow; 1 refused, the image is what it was; 2 a step failed, and
the image is as that step left it.";

fn format(name: &str) -> std::result::Result<Format, String> {
    Format::named(name).ok_or_else(|| "expected raw or qcow2".to_owned())
}

/// Grows, and prints the steps.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let given = &arguments.image;
    let image = Image {
        path: path::absolute(given).context(given.display())?,
        format: arguments.format,
    };
    let end = Instant::now() + Duration::from_secs(arguments.timeout);
    let refused = |what, error| {
        let _ = writeln!(
            io::stderr(),
            "vdsm-hooks: {}: {what}: {error}",
            given.display()
        );
    };
    let plan = match grow::plan(&image, end) {
        Ok(plan) => plan,
        Err(error) => {
            refused("not grown", error);
            return Ok(ExitCode::from(1));
        }
    };
    for step in &plan.steps {
        print(&format!("{step}\n"))?;
    }
    if arguments.plan {
        return Ok(ExitCode::SUCCESS);
    }
    match grow::grow(&image, &plan, end) {
        Ok(()) => {}
        Err(Failure::Before(error)) => {
            refused("not grown", error);
            return Ok(ExitCode::from(1));
        }
        Err(Failure::After(error)) => {
            refused("growing failed half way", error);
            return Ok(ExitCode::from(2));
        }
    }
    if plan.is_overlay && !plan.steps.is_empty() {
        let _ = writeln!(
            io::stderr(),
            "vdsm-hooks: {}: {}",
            given.display(),
            grow::SNAPSHOT
        );
    }
    Ok(ExitCode::SUCCESS)
}
