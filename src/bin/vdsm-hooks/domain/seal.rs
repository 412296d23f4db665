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
/// The metadata of a domain on block storage is in the tags of its volume group. For these the
/// command that does it is shown, not run.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: Options,
}

const HELP: &str = "\
Examples:
  What would change?
    vdsm-hooks domain seal --dry-run /srv/export/37e0e64b-5445-4bc3-8675-ceff4637e8e3
  Do it, with the domain in maintenance:
    vdsm-hooks domain seal /srv/export/37e0e64b-5445-4bc3-8675-ceff4637e8e3

Exit status: 0 it is sealed, or has been before; 2 nothing was changed, and why.";

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    mend::run(Repair::Seal, &arguments.options)
}
