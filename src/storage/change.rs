// SPDX-License-Identifier: GPL-2.0-or-later

//! What the administrator's tool changes: new domains, metadata with a right seal or without an
//! owner, and the work of a child that does it. No hook comes here, and LVM is never told to write.

pub mod create;
pub(super) mod repair;
mod rewrite;
pub mod work;
