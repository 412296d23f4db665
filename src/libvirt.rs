// SPDX-License-Identifier: GPL-2.0-or-later

//! libvirt's domain XML, an element a module, and what libvirt does with it: which disks and NICs a VM
//! has, what a device is called, and what libvirt and QEMU would refuse.
//!
//! Nothing here knows what VDSM or the engine mean by an element, but for what VDSM keeps in the
//! domain's metadata.
//!
//! ```
//! use vdsm_hooks::libvirt::interface;
//! use vdsm_hooks::xml;
//! # fn main() -> vdsm_hooks::Result {
//! let nic = "<interface type='bridge'><mac address='00:1a:4a:00:00:01'/></interface>";
//! let text = format!("<domain><devices>{nic}</devices></domain>");
//! let document = xml::parse(&text)?;
//! for nic in interface::all(&document)? {
//!     assert_eq!(interface::kind(nic), "bridge");
//!     assert_eq!(interface::label(nic), "NIC 00:1a:4a:00:00:01");
//! }
//! # Ok(())
//! # }
//! ```

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
