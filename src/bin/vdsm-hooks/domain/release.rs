// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain release`: an export or ISO domain without an owner.

use std::process::ExitCode;

use vdsm_hooks::Result;
use vdsm_hooks::storage::Repair;

use super::mend::{self, Options};

/// Free an export or ISO domain from a data centre that is no more
///
/// An export domain that was attached when its engine was lost still names that data centre, and
/// no other can attach it. This takes the data centre out of the metadata (POOL_UUID, and
/// MASTER_VERSION and ROLE if they are there) and seals it. Everything else stays. A copy of the
/// old file is kept beside it.
///
/// Where the data centre still exists, detach the domain in the engine instead.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: Options,
}

const HELP: &str = "\
Example:
  vdsm-hooks domain release --dry-run /srv/export
  vdsm-hooks domain release /srv/export

Exit status: 0 nobody owns it now, or has before; 2 nothing was changed, and
why.";

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    mend::run(Repair::Release, &arguments.options)
}
