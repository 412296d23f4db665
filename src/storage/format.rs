// SPDX-License-Identifier: GPL-2.0-or-later

//! What oVirt writes into a domain, as text and bytes: the metadata and its seal, in a file or in
//! tags, the metadata of volumes, locks, names. Whether it is right is not known here, nor where it
//! lies; nothing is read from a disk.

pub mod locks;
pub(super) mod metadata;
pub(super) mod name;
pub(super) mod reading;
pub(super) mod seal;
pub mod tags;
pub mod volume;
