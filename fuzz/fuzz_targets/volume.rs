// SPDX-License-Identifier: GPL-2.0-or-later

//! Any bytes as the `.meta` of a volume, as a lock, and as a lockspace: read without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vdsm_hooks::storage::locks::{self, Safelease, Sanlock};
use vdsm_hooks::storage::volume::Volume;

fuzz_target!(|content: &[u8]| {
    let volume = Volume::read(content);
    volume.capacity();
    assert_ne!(
        volume.parent(),
        Some(vdsm_hooks::storage::volume::NO_PARENT)
    );
    if let Some(state) = Safelease::read(content) {
        assert!(!state.words().is_empty());
    }
    Sanlock::read(content);
    locks::xleases(content);
});
