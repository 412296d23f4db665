// SPDX-License-Identifier: GPL-2.0-or-later

//! What the engine shows of a domain in which something is wrong: the words that somebody has seen
//! who comes to look for the cause. Quoted texts are the engine's own, up to where they name things
//! (ovirt-engine 4.5 …/bundles/VdsmErrors.properties, AuditLogMessages.properties and
//! …/uicompat/UIConstants.properties).

use crate::storage::format::reading::Verdict;

/// Nothing of it can be seen there.
pub const NOTHING: &str = "nothing";
/// Who looks may not read it.
pub const HIDDEN: &str = "nothing, if VDSM's own user can read it";
/// VDSM cannot load the domain, and leaves it out of what it lists without a word (VDSM 4.50
/// lib/vdsm/storage/hsm.py: `getStorageDomainsList`).
pub const LOST: &str = "at an import \"There is no storage domain under the specified path\"; in use, after the next look at it, \"Storage Domain … was deactivated by system because it's not visible by any of the hosts.\"";
/// The same of a volume group.
pub const LOST_ON_BLOCK: &str = "at an import \"No storage domains to import have been found.\"; in use, after the next look at it, \"Storage Domain … was deactivated by system because it's not visible by any of the hosts.\"";
/// It takes the domain for another one.
pub const OTHER: &str = "the domain under its other id, or \"Storage domain cannot be reached.\"";
/// It refuses the version for the class or the storage.
pub const VERSION: &str =
    "an import that it refuses, since it takes this version for other domains";
/// The name is longer or otherwise than it would allow.
pub const NAME: &str = "the name; another host may show it otherwise";
/// VDSM takes what it would have written itself.
pub const USUAL: &str = "nothing: VDSM takes the usual value";
/// A data centre has the domain, whether it is alive or not.
pub const ATTACHED: &str =
    "when the domain is attached \"The Domain is already used by another Data Center.\"";
/// The domain's own lock.
pub const LOCK: &str = "when the domain is attached or activated \"Could not obtain lock\" or \"Cannot acquire host id\"";
/// The files are not VDSM's.
pub const PERMISSION: &str = "when the domain is connected or activated \"Permission settings on the specified path do not allow access to the storage.\", or \"Could not obtain lock\"";
/// The mails by which hosts ask the storage pool manager for larger volumes.
pub const MAILBOX: &str = "nothing, as long as VDSM can make the file itself";
/// The leases of VMs.
pub const LEASES: &str =
    "a VM with a lease on this domain that does not start, and no new lease is made";
/// The lock of a disk, under which it is copied or merged.
pub const VOLUME_LOCK: &str =
    "a copy, a move or a merge of this disk that fails with \"Could not obtain lock\"";
/// Disks.
pub const DISK: &str = "a VM with this disk that does not start, \"Volume does not exist\" or \"Error while processing volume meta data\"";
/// Another size than it believes.
pub const SIZE: &str = "the size that the .meta says; the VM sees the other one";
/// What is offered as a CD.
pub const ISO: &str = "a list of CDs without this file";
/// The whole directory of them.
pub const NO_ISO: &str = "an empty list of CDs";
/// What was exported.
pub const EXPORTED: &str = "no VM and no template to import, \"Missing OVF file from VM\"";
/// Deleted disks.
pub const REMNANT: &str = "less free space than its disks add up to";
/// No disks.
pub const NO_IMAGES: &str =
    "when a disk is used or listed \"Image path does not exist or cannot be accessed/created\"";
/// One of several domains.
pub const ONE_OF_SEVERAL: &str = "one of them, and not always the same";
/// Storage that fails.
pub const STORAGE: &str =
    "\"Storage domain cannot be reached.\", or hosts that become non-operational";

/// What it shows of metadata with this verdict, in a file or in tags.
pub fn of_verdict(verdict: Verdict, in_tags: bool) -> Option<&'static str> {
    match verdict {
        Verdict::Ok => None,
        Verdict::Unsealed => Some(NOTHING),
        _ if in_tags => Some(LOST_ON_BLOCK),
        _ => Some(LOST),
    }
}
