// SPDX-License-Identifier: GPL-2.0-or-later

//! What the hooks of the suite share: VDSM's hook contract, byte-exact editing of the domain XML,
//! custom properties, host commands with a deadline, and oVirt's storage domains.
//!
//! Nothing in here knows a hook by name. A hook is `hooks/<name>/main.rs`: it checks its custom
//! properties, leaves early when they are absent, and hands one function to [`hook::edit`].

mod error;
pub mod finding;
pub mod hook;
pub mod host;
pub mod image;
pub mod json;
pub mod libvirt;
pub mod paths;
pub mod props;
#[cfg(feature = "tool")]
pub mod runner;
pub mod storage;
pub mod vdsm;
pub mod xml;

pub use error::{Context, Error, Result};
/// The calling program's [`hook::Program`], made from its `hook.json` when it is built.
pub use vdsm_hooks_manifest::program;
