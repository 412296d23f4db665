// SPDX-License-Identifier: GPL-2.0-or-later

//! oVirt's storage domains on the host: what their metadata says, whether its seal is whole, and
//! which domains a VM uses. Nothing in here writes to a domain but what [`work::create`] and
//! [`work::repair`] call, which only the administrator's tool does.
//!
//! Five rooms, each of which knows those before it and none behind it: `format`, what is written in
//! a domain:
//!
//! * [`Metadata`]: the keys, read from text the way VDSM reads it.
//! * [`seal`] and [`write()`]: the digest over the keys, and the text that VDSM would write.
//! * [`tags`]: the same in the tags of a volume group, where domains on block storage have it.
//! * [`volume`]: what the `.meta` of a volume says.
//! * [`locks`]: who holds a domain, as safelease and sanlock wrote it.
//!
//! `verdict`, what that is worth:
//!
//! * [`judge`]: the verdict on a metadata file, with the likely cause of a broken seal;
//!   [`judge_tags`], that on a volume group's.
//! * [`findings`]: what the values themselves say wrong.
//! * [`engine`]: what the engine shows of what is wrong.
//!
//! `find`, where the domains are:
//!
//! * [`uses`]: from a domain XML to its storage domains.
//! * [`check`]: all domains of a VM, each within a deadline; [`worst_first`], what is wrong with them.
//! * [`probe`]: looking at shared storage from a child process, within a deadline.
//! * [`slots`]: how many do that at the same time.
//! * [`lvm`]: the volume groups of the host.
//!
//! `inspect`, what can be seen of one, for the administrator:
//!
//! * [`report`]: what a domain on files has, and what of it is not as it has to be.
//! * [`group`]: what is wrong with a volume group that is a domain.
//!
//! `change`, what the administrator's tool does to one:
//!
//! * [`create`]: a new ISO or export domain.
//! * [`Repair`]: metadata with a right seal, or without an owner.
//! * [`work`]: the tool's errands in a child process, within a deadline.
//!
//! ```
//! use vdsm_hooks::storage::{self, Metadata, Verdict};
//! # fn main() -> vdsm_hooks::Result {
//! let metadata = Metadata::read("CLASS=Data\nVERSION=5\n").0;
//! let sealed = storage::write(&metadata);
//! assert_eq!(storage::judge(Some(sealed.as_bytes())).reading.verdict, Verdict::Ok);
//! let edited = sealed.replace("VERSION=5", "VERSION=4");
//! assert_eq!(storage::judge(Some(edited.as_bytes())).reading.verdict, Verdict::Broken);
//! # Ok(())
//! # }
//! ```

mod change;
mod find;
mod format;
mod inspect;
mod verdict;

pub use change::repair::{Repair, Repaired};
pub use change::{create, work};
pub use find::check::{Checked, Outcome, Place, check};
pub use find::findings::worst_first;
pub use find::metadata_file::{Content, no_domain};
pub use find::uses::{DomainRef, Kind, Roots, uses, uses_with};
pub use find::volume::volume_id;
pub use find::{lvm, probe, slots};
pub use format::metadata::{METADATA_FILE, Metadata};
pub use format::reading::{Reader, Reading, Verdict};
pub use format::seal::{seal, write};
pub use format::{locks, tags, volume};
pub use inspect::{group, report};
pub use verdict::engine;
pub use verdict::findings::{findings, is_cut};
pub use verdict::judge::{Judgement, checksum, judge};
pub use verdict::tags::judge_tags;
