// SPDX-License-Identifier: GPL-2.0-or-later

//! Everything that can be seen of one domain, for the administrator: its directories and volumes,
//! or its volume group, and a report of them. Nothing is changed here; a finding may carry the
//! command that would.

mod geometry;
pub mod group;
mod images;
pub(super) mod layout;
mod leases;
pub mod report;
pub(super) mod survey;
mod volumes;
