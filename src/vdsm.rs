// SPDX-License-Identifier: GPL-2.0-or-later

//! VDSM on this host: its events, its configuration, the networks that it has set up, and how it
//! starts a VM.

pub mod conf;
pub mod events;
pub mod integration_bridge;
pub mod network_choice;
pub mod networks;
pub mod start;
