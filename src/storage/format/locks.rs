// SPDX-License-Identifier: GPL-2.0-or-later

//! The locks of a domain as safelease and sanlock wrote them. Nothing is locked here.

use std::fmt::{self, Display, Formatter};

use crate::host::calendar::utc;
use crate::props::quoted;

/// Size of safelease's record in bytes; it is read with O_DIRECT (safelease 1.0 src/safelease.c:
/// `readtag`).
pub const RECORD: usize = 512;
/// What begins the record of a lock that nobody holds (`freetag` there).
const FREE: &[u8; 32] = b"------FREE------0000000000000000";

/// safelease's record of a lock that nobody holds, as it lies in the file `leases`.
pub fn free_record() -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..FREE.len()].copy_from_slice(FREE);
    record
}

/// What safelease's record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Safelease {
    /// Nobody holds the lock.
    Free,
    /// Somebody does, or did when his host died.
    Held {
        /// The host's id.
        by: String,
        /// When it was last renewed: microseconds since 1970.
        since: u64,
    },
    /// NULs only: never used. safelease takes such a lock, after a long wait (`acquire` there).
    Blank,
    /// Neither of these.
    Unknown,
}

impl Safelease {
    /// What the first bytes of the file `leases` say; none if they are too few.
    pub fn read(record: &[u8]) -> Option<Safelease> {
        let record = record.get(..RECORD)?;
        let (id, stamp) = record[..FREE.len()].split_at(16);
        if record.starts_with(FREE) {
            return Some(Safelease::Free);
        }
        if record.iter().all(|byte| *byte == 0) {
            return Some(Safelease::Blank);
        }
        let by = std::str::from_utf8(id).ok().map(str::trim_end);
        let since = std::str::from_utf8(stamp)
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|text| u64::from_str_radix(text, 16).ok());
        Some(match (by, since) {
            (Some(by), Some(since)) if !by.is_empty() => Safelease::Held {
                by: by.to_owned(),
                since,
            },
            _ => Safelease::Unknown,
        })
    }
}

impl Display for Safelease {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Safelease::Free => f.write_str("free"),
            Safelease::Held { by, since } => {
                let by = quoted(by);
                let by = by.trim_matches('"');
                write!(f, "held by host {by} since {}", utc(since / 1_000_000))
            }
            Safelease::Blank => f.write_str("never used"),
            Safelease::Unknown => f.write_str("unknown, not a record of safelease"),
        }
    }
}

/// What sanlock wrote into the first sector of a lock (sanlock 3.8 src/leader.h: `leader_record`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sanlock {
    /// What kind of record it is.
    pub kind: Kind,
    /// The lockspace: the domain's id.
    pub space: String,
    /// The resource; for a host of the lockspace its own name.
    pub resource: String,
    /// The host that holds it.
    pub owner: u64,
    /// Not 0 while it is held (`LEASE_FREE` there). Seconds of the owner's own clock, which begins
    /// at its boot (sanlock 3.8 src/monotime.c).
    pub timestamp: u64,
}

/// The two kinds of sanlock's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A host's place in a lockspace (sanlock 3.8 src/delta_lease.c).
    Host,
    /// A resource.
    Resource,
}

const HOST_MAGIC: u32 = 0x1221_2010;
const RESOURCE_MAGIC: u32 = 0x0615_2010;

impl Sanlock {
    /// The record at the start of `sector`; none if there is none.
    pub fn read(sector: &[u8]) -> Option<Sanlock> {
        let kind = match u32::from_le_bytes(sector.get(..4)?.try_into().ok()?) {
            HOST_MAGIC => Kind::Host,
            RESOURCE_MAGIC => Kind::Resource,
            _ => return None,
        };
        Some(Sanlock {
            kind,
            space: name(sector.get(0x38..0x68)?),
            resource: name(sector.get(0x68..0x98)?),
            owner: u64::from_le_bytes(sector.get(0x20..0x28)?.try_into().ok()?),
            timestamp: u64::from_le_bytes(sector.get(0x98..0xa0)?.try_into().ok()?),
        })
    }

    /// How it is called, if that is not as its place demands.
    pub fn misnamed(&self, space: &str, resource: &str) -> Option<String> {
        let names = [
            ("lockspace", &self.space, space),
            ("resource", &self.resource, resource),
        ];
        let wrong: Vec<String> = names
            .iter()
            .filter(|(_, name, expected)| name.as_str() != *expected)
            .map(|(what, name, expected)| {
                format!("the {what} is called {name:?}, expected {expected}")
            })
            .collect();
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

/// The lockspace in the index of `xleases` (VDSM 4.50 lib/vdsm/storage/xlease.py: `META_STRUCT`);
/// none if it is no index.
pub fn xleases(header: &[u8]) -> Option<String> {
    let header = header.get(..512)?;
    let sound = header.starts_with(b"\x12\x15\x20\x16\x000001\0") && header[511] == b'\n';
    sound.then(|| name(&header[10..58]))
}

/// Whether the index of `xleases` is marked as being changed (VDSM 4.50 lib/vdsm/storage/xlease.py:
/// `FLAG_UPDATING`).
pub fn is_changing(header: &[u8]) -> bool {
    header.get(70) == Some(&b'u')
}

/// The leases in the index of `xleases` (VDSM 4.50 lib/vdsm/storage/xlease.py: `RECORD_STRUCT`),
/// each with its number, but for those that are being made.
pub fn external(index: &[u8]) -> Vec<(usize, String)> {
    let records = index.get(512..).unwrap_or_default().chunks_exact(64);
    let made = |record: &&[u8]| record[0] != 0 && record[61] != b'u';
    let numbered = records.enumerate().filter(|(_, record)| made(record));
    numbered
        .map(|(number, record)| (number, name(&record[..48])))
        .collect()
}

/// The process that has locked a file with flock(2), as the kernel's table of locks says (/proc/locks,
/// see proc(5)).
pub(in crate::storage) fn flock(table: &str, device: (u64, u64), inode: u64) -> Option<&str> {
    let (major, minor) = device;
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    table.lines().find_map(|line| {
        // 1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, _, process, of, ..] if of == file => Some(process),
            _ => None,
        }
    })
}

/// A name that is padded with NULs.
fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}

#[cfg(test)]
mod tests {
    use sha1::{Digest as _, Sha1};

    use super::*;
    use crate::storage::format::seal::hex;

    fn record(start: &[u8]) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        record[..start.len()].copy_from_slice(start);
        record
    }

    #[test]
    fn the_free_record() {
        let digest = hex(&Sha1::digest(free_record()));
        assert_eq!(digest, "b2fd05542d3d41a535e580de579d96692fccc14a");
    }

    #[test]
    fn records_of_safelease() {
        for (start, words) in [
            (&b"------FREE------0000000000000000"[..], "free"),
            (
                b"1               0004f9451493a840",
                "held by host 1 since 2014-05-13 09:56:40 UTC",
            ),
            (
                b"0123456789abcdef0000000000000001",
                "held by host 0123456789abcdef since 1970-01-01 00:00:00 UTC",
            ),
            (b"", "never used"),
            (
                b"                0004f9451493a840",
                "unknown, not a record of safelease",
            ),
            (
                b"1               0004f9451493a84g",
                "unknown, not a record of safelease",
            ),
            (b"x", "unknown, not a record of safelease"),
            (
                b"\xff               0004f9451493a840",
                "unknown, not a record of safelease",
            ),
        ] {
            let state = Safelease::read(&record(start)).map(|state| state.to_string());
            assert_eq!(state.as_deref(), Some(words), "{start:?}");
        }
        assert_eq!(Safelease::read(&[0; 511]), None);
        assert_eq!(Safelease::read(b""), None);
    }

    #[test]
    fn records_of_sanlock() {
        let id = "75f8a1bb-4504-4314-91ca-d9365a30692b";
        let mut sector = record(&HOST_MAGIC.to_le_bytes());
        sector[0x20] = 7;
        sector[0x38..0x38 + 36].copy_from_slice(id.as_bytes());
        sector[0x68..0x6c].copy_from_slice(b"host");
        sector[0x98] = 1;
        let host = Sanlock {
            kind: Kind::Host,
            space: id.to_owned(),
            resource: "host".to_owned(),
            owner: 7,
            timestamp: 1,
        };
        assert_eq!(host.misnamed(id, "host"), None);
        assert_eq!(
            host.misnamed("x", "y").as_deref(),
            Some(format!("the lockspace is called \"{id}\", expected x; the resource is called \"host\", expected y").as_str())
        );
        assert_eq!(Sanlock::read(&sector), Some(host));
        sector[..4].copy_from_slice(&RESOURCE_MAGIC.to_le_bytes());
        let kind = Sanlock::read(&sector).map(|leader| leader.kind);
        assert_eq!(kind, Some(Kind::Resource));
        assert_eq!(Sanlock::read(&sector[..0x9f]), None);
        assert_eq!(Sanlock::read(&[0; 512]), None);
    }

    #[test]
    fn the_index_of_external_leases() {
        let mut header = record(b"\x12\x15\x20\x16\x000001\0space");
        assert_eq!(xleases(&header), None);
        header[511] = b'\n';
        assert_eq!(xleases(&header).as_deref(), Some("space"));
        assert!(!is_changing(&header) && !is_changing(b""));
        header[70] = b'u';
        assert!(is_changing(&header));
        header[3] = 0;
        assert_eq!(xleases(&header), None);
        let mut index = header.to_vec();
        index.resize(512 + 3 * 64 + 10, 0);
        index[512 + 64..512 + 64 + 4].copy_from_slice(b"vm-1");
        assert_eq!(external(&index), [(1, "vm-1".to_owned())]);
        index[512 + 64 + 61] = b'u';
        assert_eq!(external(&index), []);
        assert_eq!(external(&header), []);
        assert_eq!(external(b""), []);
    }

    #[test]
    fn the_lock_of_a_local_domain() {
        let table = "1: POSIX  ADVISORY  WRITE 1 fe:0a:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 4711 fe:0a:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 4712 fe:0a:77 0 EOF\n";
        assert_eq!(flock(table, (254, 10), 77), Some("4711"));
        assert_eq!(flock(table, (254, 10), 7), None);
        assert_eq!(flock(table, (254, 1), 77), None);
        assert_eq!(flock("", (254, 10), 77), None);
    }
}
