// SPDX-License-Identifier: GPL-2.0-or-later

//! Disk images: whether a path may be one, and the guest that is in it, seen through the appliance of
//! libguestfs.

pub mod appliance;
pub mod grow;
pub mod guest;
pub mod source;
