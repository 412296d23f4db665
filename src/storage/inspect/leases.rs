// SPDX-License-Identifier: GPL-2.0-or-later

//! The leases of VMs in a domain's `xleases`, its index, and the command that writes the index anew.
//!
//! The index is what counts: VDSM does not look for leases that it does not name, and
//! `Lease.rebuild_leases` clears those (VDSM 4.50 lib/vdsm/storage/xlease.py: `rebuild_index`, which
//! cannot mend an index without a sound first block either). So whatever leases there are go into an
//! index that is written anew.

use std::io;

use super::geometry::Geometry;
use super::report::{Cure, Surveyor};
use crate::props::is_uuid;
use crate::storage::find::dir::{Dir, Entry};
use crate::storage::format::locks::{self, Kind, Sanlock};
use crate::storage::verdict::engine;

/// The size of the index in bytes, behind the first unit of the file (`INDEX_SIZE` there).
pub(super) const INDEX: u64 = 62 * 4096;
/// The sizes of its first block and of a record (`METADATA_SIZE`, `RECORD_SIZE` there).
const HEADER: u64 = 512;
const RECORD: u64 = 64;
/// In which unit the first lease is (`USER_RESOURCE_BASE` there).
const FIRST_UNIT: u64 = 3;
/// So many leases can a command name.
const MAX_NAMED: usize = 100;
/// What an empty index means for the VMs.
pub(super) const LOST: &str = "a VM that had a lease here gets a new one when the engine takes the lease off it and gives it back (Edit, High Availability)";

/// Looks at the index, and at the leases that it names.
pub(super) fn look(
    surveyor: &mut Surveyor,
    dom_md: &Dir,
    entry: &Entry,
    geometry: &Geometry,
) -> io::Result<()> {
    let about = dom_md.name.join("xleases");
    let index = dom_md.read("xleases", geometry.alignment, INDEX)?;
    let lockspace = match locks::xleases(&index) {
        Some(space) if space == surveyor.id => None,
        Some(space) => Some(format!(
            "the lockspace is called {space:?}, expected {}",
            surveyor.id
        )),
        None => Some("no index of leases".to_owned()),
    };
    if let Some(problem) = lockspace {
        let kept = there(surveyor, dom_md, entry, geometry)?;
        let cure = written(surveyor, geometry, &kept);
        surveyor.finding(&about, problem, engine::LEASES, cure);
        return Ok(());
    }
    if locks::is_changing(&index) {
        let cure = Cure::advice(format!(
            "look again: VDSM may be at it; if it stays so, and the domain is active, on the host that is the storage pool manager: vdsm-client Lease rebuild_leases sd_id={}",
            surveyor.id
        ));
        let changing = "the index is marked as being changed";
        surveyor.finding(&about, changing, engine::LEASES, cure);
    }
    let leases = locks::external(&index);
    for (number, lease) in &leases {
        let offset = (FIRST_UNIT + *number as u64) * geometry.alignment;
        let sector = dom_md.read("xleases", offset, geometry.sector)?;
        let record = Sanlock::read(&sector).filter(|record| record.kind == Kind::Resource);
        let misnamed = match &record {
            Some(record) => record.misnamed(&surveyor.id, lease),
            None => Some(format!(
                "no resource of sanlock at {offset}, expected {lease:?}"
            )),
        };
        let Some(problem) = misnamed else {
            continue;
        };
        let held = record.is_some_and(|record| record.timestamp != 0);
        let cure = if held {
            Cure::advice("a host holds it under that name: stop the VM first, then check again")
        } else if is_plain(lease) {
            // VDSM too takes the index's word for it.
            geometry.once_sure(|| {
                Cure::command(format!(
                    "cd {} && sanlock direct init -r {}:{lease}:xleases:{offset} {}",
                    surveyor.path(&dom_md.name),
                    surveyor.id,
                    geometry.sectors()
                ))
            })
        } else {
            Cure::advice(
                "take the lease off the VM in the engine (Edit, High Availability), and give it back",
            )
        };
        surveyor.finding(&about, problem, engine::LEASES, cure);
    }
    if !leases.is_empty() {
        surveyor.fact("leases", leases.len().to_string());
    }
    Ok(())
}

/// Whether a name may stand in a command as it is.
fn is_plain(lease: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !lease.is_empty() && lease.len() < 48 && lease.bytes().all(plain)
}

/// The leases of this domain that are in the file, whatever its index says: the number of each, and
/// its name.
fn there(
    surveyor: &Surveyor,
    dom_md: &Dir,
    entry: &Entry,
    geometry: &Geometry,
) -> io::Result<Vec<(u64, String)>> {
    let units = entry.size() / geometry.alignment;
    let last = units.min(FIRST_UNIT + (INDEX - HEADER) / RECORD);
    let mut found = Vec::new();
    for unit in FIRST_UNIT..last {
        let sector = dom_md.read("xleases", unit * geometry.alignment, geometry.sector)?;
        match Sanlock::read(&sector) {
            Some(record) if record.kind == Kind::Resource && record.space == surveyor.id => {
                found.push((unit - FIRST_UNIT, record.resource));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// What to do where the index is of no use.
fn written(surveyor: &Surveyor, geometry: &Geometry, kept: &[(u64, String)]) -> Cure {
    let words = match kept.len() {
        0 => LOST.to_owned(),
        1 => "the lease that is in the file is kept".to_owned(),
        several => format!("the {several} leases that are in the file are kept"),
    };
    geometry.once_sure(|| match index(surveyor, geometry, kept) {
        Some(command) => Cure::command(command).and(words),
        None => Cure::advice(
            "put back what the index named before, from a backup of the file: it has too many leases, or names that no VM has",
        ),
    })
}

/// The command that writes an index with these leases, and makes the file as large as that needs
/// (`META_STRUCT`, `RECORD_STRUCT`, `format_index` there); none for what cannot stand in a command.
pub(super) fn index(
    surveyor: &Surveyor,
    geometry: &Geometry,
    kept: &[(u64, String)],
) -> Option<String> {
    let are_plain = kept.iter().all(|(_, lease)| is_plain(lease));
    if !is_uuid(&surveyor.id) || !are_plain || kept.len() > MAX_NAMED {
        return None;
    }
    let alignment = geometry.alignment;
    let mut edits = String::new();
    for (number, lease) in kept {
        let offset = (FIRST_UNIT + number) * alignment;
        edits += &format!(" -e '{}s/.*/{lease:<49}{offset:011}@--/'", number + 1);
    }
    let edited = if edits.is_empty() {
        edits
    } else {
        format!(" | sed{edits}")
    };
    // A blank and an @ stand for NULs, which no argument can have, and ~ for the blank in the magic.
    Some(format!(
        "cd {} && truncate -s '>{}' xleases && {{ printf '\\022\\025~\\026@0001@%-48s@%010d@-%440s\\n' {} 0 ''; \
         yes \"$(printf '%49s%011d@--' '' 0)\" | head -n {}{edited}; }} | tr ' @~' '\\000\\000 ' | \
         dd of=xleases bs={alignment} seek=1 conv=notrunc,fsync status=none",
        surveyor.path("dom_md"),
        alignment + INDEX,
        surveyor.id,
        (INDEX - HEADER) / RECORD,
    ))
}
