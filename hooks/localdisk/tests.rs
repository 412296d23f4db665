// SPDX-License-Identifier: GPL-2.0-or-later

//! The root helper of localdisk where LVM, or whoever asks, holds it up.

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

const LV: &str = "3b8d2f60-5c1e-4a97-8f24-d6e0917ab35c";

/// Below sudo nobody else could end it.
#[test]
fn the_helper_ends_whatever_lvm_does() {
    let call = Call {
        helper: "localdisk-helper",
        arguments: &[],
        input: &format!("list {LV}\n"),
        endless: &["lvm"],
        dead: &[],
        limit: 30 * 60,
    };
    if let Err(reason) = call.gives_up() {
        not_run("the_helper_ends_whatever_lvm_does", &reason);
    }
}
