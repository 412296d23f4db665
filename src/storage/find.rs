// SPDX-License-Identifier: GPL-2.0-or-later

//! Where the domains are that a VM uses or a path means, and what is to be said of each before the
//! VM may start: all that sdcheck needs. What a domain holds beside its metadata is not known here.

pub(super) mod check;
pub(super) mod dir;
pub(super) mod findings;
pub mod lvm;
pub(super) mod metadata_file;
pub mod probe;
pub mod slots;
pub(super) mod uses;
pub(super) mod volume;
