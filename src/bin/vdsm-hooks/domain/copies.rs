// SPDX-License-Identifier: GPL-2.0-or-later

//! Domains that have one id: copies of each other, of which VDSM takes one.

use std::collections::BTreeMap;

use vdsm_hooks::finding::Finding;
use vdsm_hooks::storage::engine;

use super::report::Identity;

/// The ids that several of the domains have, and a finding of each. A domain that was looked at twice
/// is one. VDSM goes by the id, and takes the first of the places that answer (VDSM 4.50
/// lib/vdsm/storage/fileSD.py: `scanDomains`, whose results come in no order).
pub(super) fn find(identities: &[Identity]) -> Vec<(String, Finding)> {
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Identity { ids, place } in identities {
        for id in ids {
            let of_id = places.entry(id).or_default();
            if !of_id.contains(&place.as_str()) {
                of_id.push(place);
            }
        }
    }
    let several = places.into_iter().filter(|(_, of_id)| of_id.len() > 1);
    several
        .map(|(id, of_id)| (id.to_owned(), finding(&of_id)))
        .collect()
}

fn finding(places: &[&str]) -> Finding {
    let problem = format!(
        "{} domains have this id: {}",
        places.len(),
        places.join(", ")
    );
    Finding::warning("id", problem)
        .with_advice(
            "find out which is the one in use, such as by the times of its disks, and disconnect the others from every host: of two, VDSM takes the one that answers first, and writes to it",
        )
        .with_engine(engine::ONE_OF_SEVERAL)
}
