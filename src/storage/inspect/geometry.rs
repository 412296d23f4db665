// SPDX-License-Identifier: GPL-2.0-or-later

//! What the metadata of a domain says of its locks: whose they are, and how large.

use super::report::Surveyor;

/// What is needed to look at the files of `dom_md`.
pub(super) struct Geometry {
    pub(super) version: i64,
    /// Locks are sanlock's.
    pub(super) sanlock: bool,
    /// The size of a sector in bytes.
    pub(super) sector: u64,
    /// What every lease takes, in bytes.
    pub(super) alignment: u64,
}

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
        Geometry {
            version: version.unwrap_or_default(),
            sanlock: version.is_some_and(|version| version >= 3)
                && !surveyor.says("TYPE", "LOCALFS"),
            sector: number("BLOCK_SIZE", 512),
            alignment: number("ALIGNMENT", 1 << 20),
        }
    }

    /// The options of sanlock that say the same.
    pub(super) fn sectors(&self) -> String {
        format!("-Z {} -A {}M", self.sector, self.alignment >> 20)
    }
}
