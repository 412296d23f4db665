// SPDX-License-Identifier: GPL-2.0-or-later

//! VDSM on this host: its events, its configuration, the networks that it has set up, and how it
//! starts a VM.
//!
//! Nothing here knows how a domain is edited, or what is on a storage domain.
//!
//! ```
//! use vdsm_hooks::vdsm::events;
//! assert!(events::find("before_vm_start").is_some_and(|event| event.starts_vm()));
//! ```

pub mod conf;
pub mod events;
pub mod integration_bridge;
pub mod network_choice;
pub mod networks;
pub mod start;
