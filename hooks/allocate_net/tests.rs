// SPDX-License-Identifier: GPL-2.0-or-later

//! allocate_net: each entry of the pool is drawn as often as any other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use support::Firing;

const RUNS: usize = 400;
const NIC: &str = r#"<interface type="bridge"><source bridge="pool"/></interface>"#;

/// How often `name` is drawn out of the pool.
fn times(pool: &str, name: &str) -> usize {
    let is_drawn = || {
        let firing = Firing::new("allocate_net", "before_device_create", NIC.as_bytes());
        let outcome = firing.variable("equivnets", pool).run();
        assert_eq!(outcome.status, Some(0), "{outcome:?}");
        let text = String::from_utf8(outcome.data.unwrap()).unwrap();
        text.contains(&format!("bridge={name:?}"))
    };
    (0..RUNS).filter(|_| is_drawn()).count()
}

/// Each bound is five standard deviations off: one run in a million fails by chance.
#[test]
fn every_entry_is_equally_likely() {
    let first = times("a b", "a");
    assert!((150..=250).contains(&first), "a of a b: {first} of {RUNS}");
    let twice = times("a a b", "a");
    assert!(
        (220..=314).contains(&twice),
        "a of a a b: {twice} of {RUNS}"
    );
}
