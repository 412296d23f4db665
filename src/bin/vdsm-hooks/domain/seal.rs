// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain seal`: metadata with a right seal.

use std::process::ExitCode;

use vdsm_hooks::Result;
use vdsm_hooks::storage::Repair;

use super::mend::{self, Options};

/// Give a domain's metadata a right seal
///
/// The metadata is written anew as VDSM writes it: sorted, without what VDSM does not read, with
/// the seal that belongs to it. The values stay; whether they are the right ones only you can know,
/// so read the difference that is shown. A copy of the old file is kept beside it.
///
/// With --restore the values change and the seal stays: they become again those that were sealed.
/// The seal is the proof, so nothing is done where it does not fit what one edit has changed: a value
/// that is usual, a character, a line more or less. 'vdsm-hooks domain check' says where it does.
///
/// The metadata of a domain on block storage is in the tags of its volume group. For these the
/// command that does it is shown, not run.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Put back the values that were sealed, where the seal proves them
    #[arg(long)]
    restore: bool,
    #[command(flatten)]
    options: Options,
}

const HELP: &str = "\
Examples:
  What would change?
    vdsm-hooks domain seal --dry-run /srv/export
  Do it, with the domain in maintenance:
    vdsm-hooks domain seal /srv/export
  Undo an edit instead, where the seal tells what was there:
    vdsm-hooks domain seal --restore /srv/export

Exit status: 0 the seal fits, or has before; 2 nothing was changed, and why.";

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let repair = if arguments.restore {
        Repair::Restore
    } else {
        Repair::Seal
    };
    mend::run(repair, &arguments.options)
}
