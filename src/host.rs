// SPDX-License-Identifier: GPL-2.0-or-later

//! What the host is and has, below libvirt and VDSM: its commands, files, block devices, bridges and
//! processors; state that hooks keep on it, and steps that can be undone.
//!
//! Nothing here knows a domain's XML or VDSM's networks.
//!
//! ```no_run
//! use std::time::Duration;
//! use vdsm_hooks::host::command;
//! # fn main() -> vdsm_hooks::Result {
//! let words = ["info", "--output=json", "--", "/images/a"];
//! let output = command::run("qemu-img", &words, Duration::from_secs(10))?.checked()?;
//! println!("{} bytes", output.stdout.len());
//! # Ok(())
//! # }
//! ```

pub mod account;
pub mod allowlist;
pub mod block;
pub mod bridge;
pub mod calendar;
pub mod command;
pub mod cpu_set;
pub mod cpuinfo;
pub mod executable;
pub mod files;
pub mod interrupt;
pub mod openvswitch;
pub mod rollback;
pub mod root;
pub mod state;
pub mod sudo;
pub mod temporary;
pub mod transaction;
pub mod worker;
