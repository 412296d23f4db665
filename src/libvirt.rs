// SPDX-License-Identifier: GPL-2.0-or-later

//! libvirt's domain XML, an element a module, and what libvirt does with it: which disks and NICs a VM
//! has, what a device is called, and what libvirt and QEMU would refuse.
//!
//! Nothing here knows what VDSM or the engine mean by an element, but for what VDSM keeps in the
//! domain's metadata.

pub mod boot;
pub mod console_log;
pub mod cpu;
pub mod disk;
pub mod domain;
pub mod hostdev;
pub mod interface;
pub mod memory;
pub mod parts;
mod qemu_conf;
pub mod sriov;
pub mod unfiltered;
pub mod vmfex_pool;
