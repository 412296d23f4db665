// SPDX-License-Identifier: GPL-2.0-or-later

//! The names of domains.

use crate::props::is_uuid;

/// Whether VDSM would take a directory of this name for a domain, if it has a `dom_md` (VDSM 4.50
/// lib/vdsm/storage/constants.py: `UUID_GLOB_PATTERN`).
pub(in crate::storage) fn looks_like_domain(name: &str) -> bool {
    name.matches('-').count() >= 4 || is_uuid(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_domains() {
        for (name, expected) in [
            ("75f8a1bb-4504-4314-91ca-d9365a30692b", true),
            // VDSM's pattern is no more than four hyphens.
            ("old-75f8a1bb-4504-4314-91ca-d9365a30692b", true),
            ("a-b-c-d-e", true),
            ("a-b-c-d", false),
            ("backup", false),
            ("lost+found", false),
        ] {
            assert_eq!(looks_like_domain(name), expected, "{name}");
        }
    }
}
