// SPDX-License-Identifier: GPL-2.0-or-later

//! Disk images: whether a path may be one, and the guest that is in it, seen through the appliance of
//! libguestfs.
//!
//! Nothing here knows which VM an image belongs to.
//!
//! ```
//! use vdsm_hooks::image::appliance::word;
//! assert!(word("/dev/sda1").is_ok());
//! assert!(word("/dev/sda1; rm").is_err());
//! ```

pub mod appliance;
pub mod grow;
pub mod guest;
pub mod source;
