// SPDX-License-Identifier: GPL-2.0-or-later

//! oVirt's storage domains on the host: what their metadata says, whether its seal is whole, and
//! which domains a VM uses. Nothing in here writes to a domain but what [`work::create`] and
//! [`work::mend`] call, which only the administrator's tool does.
//!
//! * [`Metadata`]: the keys, read from text the way VDSM reads it.
//! * [`seal`] and [`write`]: the digest over the keys, and the text that VDSM would write.
//! * [`judge`]: the verdict on a metadata file, with the likely cause of a broken seal.
//! * [`tags`]: the same in the tags of a volume group, where domains on block storage have it, and
//!   [`judge_tags`] the verdict on that.
//! * [`lvm`]: the volume groups of the host.
//! * [`group`]: what is wrong with one that is a domain.
//! * [`findings`]: what the values themselves say wrong.
//! * [`locks`]: who holds a domain, as safelease and sanlock wrote it.
//! * [`layout`] and [`contents`]: what a file domain has to look like.
//! * [`report`]: all of that about one domain, for the administrator.
//! * [`volume`]: what the `.meta` of a volume says.
//! * [`create`]: a new ISO or export domain.
//! * [`Mend`]: metadata with a right seal, or without an owner.
//! * [`uses`]: from a domain XML to its storage domains.
//! * [`check`]: all domains of a VM, each within a deadline.
//! * [`probe`]: looking at shared storage from a child process, within a deadline.
//! * [`work`]: the same for what only the administrator's tool does.
//! * [`turns`]: how many do that at the same time.

mod cause;
mod check;
pub mod contents;
pub mod create;
mod findings;
pub mod group;
mod inside;
pub mod layout;
pub mod locks;
pub mod lvm;
mod mend;
mod metadata;
mod metadata_file;
mod name;
pub mod probe;
mod problem;
mod reading;
pub mod report;
mod rewrite;
mod seal;
mod survey;
pub mod tags;
mod tags_verdict;
pub mod turns;
mod uses;
mod verdict;
pub mod volume;
mod volumes;
pub mod work;

pub use check::{Checked, Outcome, Place, check};
pub use findings::{Finding, findings};
pub use mend::{Mend, Mended};
pub use metadata::Metadata;
pub use metadata_file::no_domain;
pub use name::is_uuid;
pub use problem::{Problem, Weight};
pub use reading::{Reader, Reading, Verdict};
pub use seal::{seal, write};
pub use tags_verdict::judge_tags;
pub use uses::{Kind, Roots, Use, uses, uses_with};
pub use verdict::{Judgement, checksum, judge};

/// The file of a domain, below its directory, that holds the metadata.
pub const METADATA_FILE: &str = "dom_md/metadata";
