// SPDX-License-Identifier: GPL-2.0-or-later

//! The root helper of vmfex_dev where libvirt holds it up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use support::helper_limits::Call;
use support::not_run;

/// Below sudo nobody else could end it.
#[test]
fn the_helper_ends_whatever_libvirt_does() {
    let call = Call {
        helper: "vmfex-dev-pool",
        arguments: &[],
        input: "",
        endless: &["virsh"],
        dead: &[],
        limit: 120,
    };
    if let Err(reason) = call.gives_up() {
        not_run("the_helper_ends_whatever_libvirt_does", &reason);
    }
}
