// SPDX-License-Identifier: GPL-2.0-or-later

//! The names of domains.

use crate::props::is_uuid;

/// Whether VDSM would take a directory of this name for a domain, if it has a `dom_md` (VDSM 4.50
/// lib/vdsm/storage/constants.py: `UUID_GLOB_PATTERN`).
pub(in crate::storage) fn looks_like_domain(name: &str) -> bool {
    name.matches('-').count() >= 4 || is_uuid(name)
}
