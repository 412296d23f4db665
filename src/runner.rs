// SPDX-License-Identifier: GPL-2.0-or-later

//! Does for a hook what VDSM does: the environment, the data file, the files of an event in their order,
//! each run and its result read back, and what VDSM would have decided. For whatever stands in VDSM's
//! place: the dry run, and other callers of the same hooks.
//!
//! Nothing here is linked into a hook, and nothing here knows which hooks there are.
//!
//! ```no_run
//! use std::path::Path;
//! use vdsm_hooks::runner::installed;
//! # fn main() -> vdsm_hooks::Result {
//! for entry in installed::entries(Path::new("/usr/libexec/vdsm/hooks/before_vm_start"))? {
//!     println!("{}: {}", entry.name, entry.skipped.unwrap_or("runs"));
//! }
//! # Ok(())
//! # }
//! ```

pub mod data_file;
pub mod decision;
pub mod difference;
pub mod environment;
mod fire;
pub mod installed;
pub mod interrupt;
pub mod mark;
pub mod vdsm_log;

pub use fire::Firing;
