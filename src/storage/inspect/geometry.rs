// SPDX-License-Identifier: GPL-2.0-or-later

//! What the metadata of a domain says of its locks: whose they are, and how large.

use super::report::{Cure, Surveyor};
use crate::props::is_uuid;

/// What is needed to look at the files of `dom_md`.
pub(super) struct Geometry {
    pub(super) version: i64,
    /// Locks are sanlock's.
    pub(super) sanlock: bool,
    /// The size of a sector in bytes.
    pub(super) sector: u64,
    /// What every lease takes, in bytes.
    pub(super) alignment: u64,
    /// Why no lock may be written after what is here, as what to do first.
    unsure: Option<&'static str>,
}

/// The combinations of sectors and leases in bytes that sanlock takes (those that `sanlock direct init`
/// 3.8.5 names when it refuses another).
const KNOWN: [(u64, u64); 5] = [
    (512, 1 << 20),
    (4096, 1 << 20),
    (4096, 2 << 20),
    (4096, 4 << 20),
    (4096, 8 << 20),
];
/// What to do where a lock cannot be made, because it has to name the domain.
const NAMELESS: &str = "put the name of the domain's directory back first: it is no UUID";

impl Geometry {
    /// As the metadata of the domain says, as far as it is sound.
    pub(super) fn of(surveyor: &Surveyor) -> Geometry {
        let number = |key, usual| {
            let value = surveyor
                .number(key)
                .and_then(|value| u64::try_from(value).ok());
            value
                .filter(|value| (512..=8 << 20).contains(value))
                .unwrap_or(usual)
        };
        let version = surveyor.version();
        let mut geometry = Geometry {
            version: version.unwrap_or_default(),
            sanlock: version.is_some_and(|version| version >= 3)
                && !surveyor.says("TYPE", "LOCALFS"),
            sector: number("BLOCK_SIZE", 512),
            alignment: number("ALIGNMENT", 1 << 20),
            unsure: None,
        };
        geometry.unsure = geometry.doubt(surveyor);
        geometry
    }

    fn doubt(&self, surveyor: &Surveyor) -> Option<&'static str> {
        let is_own = |key, own: u64| match surveyor.metadata.get(key) {
            Some(_) => surveyor
                .number(key)
                .is_some_and(|value| u64::try_from(value) == Ok(own)),
            None => true,
        };
        // An ISO or export domain has no version but 0.
        let is_right = self.version == 0
            || !["Iso", "Backup"]
                .map(|class| surveyor.says("CLASS", class))
                .contains(&true);
        let are_sound = is_right
            && [0, 3, 4, 5].contains(&self.version)
            && KNOWN.contains(&(self.sector, self.alignment))
            && is_own("BLOCK_SIZE", self.sector)
            && is_own("ALIGNMENT", self.alignment);
        let named = surveyor.metadata.get("SDUUID");
        if !surveyor.is_sealed || !are_sound {
            Some("mend the metadata first, then check again: it says what belongs into this file")
        } else if !is_uuid(&surveyor.id) && self.sanlock {
            Some(NAMELESS)
        } else if self.sanlock && named.is_some_and(|named| is_uuid(named) && named != surveyor.id)
        {
            Some("find out first which of its two ids is the domain's: the locks may be right")
        } else {
            None
        }
    }

    /// What `cure` gives, unless nothing is to be written before something else is mended.
    pub(super) fn once_sure(&self, cure: impl FnOnce() -> Cure) -> Cure {
        match self.unsure {
            Some(first) => Cure::advice(first),
            None => cure(),
        }
    }

    /// The options of sanlock that say the same.
    pub(super) fn sectors(&self) -> String {
        format!("-Z {} -A {}M", self.sector, self.alignment >> 20)
    }
}
