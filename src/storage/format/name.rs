// SPDX-License-Identifier: GPL-2.0-or-later

//! The names of domains.

use crate::props::is_uuid;

/// Whether VDSM would take a directory of this name for a domain, if it has a `dom_md`.
pub(in crate::storage) fn looks_like_domain(name: &str) -> bool {
    name.matches('-').count() >= 4 || is_uuid(name)
}
