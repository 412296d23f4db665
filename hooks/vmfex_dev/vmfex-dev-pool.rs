// SPDX-License-Identifier: GPL-2.0-or-later

//! Root helper of the hook vmfex_dev: sees to it that the network `direct-pool` has the host's free
//! VM-FEX interfaces. There is nothing to tell it.

use std::process::ExitCode;

use vdsm_hooks::libvirt::vmfex_pool;
use vdsm_hooks::{Error, hook, program};

fn main() -> ExitCode {
    hook::run_helper(
        program!(),
        vmfex_pool::HELPER_TIMEOUT,
        |arguments| match arguments {
            [] => vmfex_pool::ensure("vmfex-dev-pool"),
            _ => Err(Error::new("expected no arguments")),
        },
    )
}
