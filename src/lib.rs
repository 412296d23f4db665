// SPDX-License-Identifier: GPL-2.0-or-later

//! What the hooks of the suite share: VDSM's hook contract, byte-exact editing of the domain XML,
//! custom properties, host commands with a deadline, and oVirt's storage domains.
//!
//! Nothing in here knows a hook by name. A hook is `hooks/<name>/main.rs`: it checks its custom
//! properties, leaves early when they are absent, and hands one function to [`hook::edit`].

pub mod boot;
pub mod cpu;
pub mod describe;
pub mod disk;
pub mod domain;
mod error;
pub mod events;
pub mod grow;
pub mod guest;
pub mod guest_log;
pub mod guestfish;
pub mod hook;
pub mod host;
pub mod hostdev;
pub mod huge_pages;
pub mod image;
pub mod json;
pub mod memory;
pub mod network_choice;
pub mod network_setup;
pub mod nic;
pub mod ovs;
pub mod parts;
pub mod paths;
pub mod paused_start;
pub mod phase;
pub mod props;
pub mod qemu_conf;
pub mod scratch;
pub mod scsi_bus;
pub mod storage;
pub mod unfiltered;
pub mod vdsm_conf;
pub mod vf;
pub mod vmfex_pool;
pub mod xml;

pub use error::{Context, Error, Result};
