// SPDX-License-Identifier: GPL-2.0-or-later

//! Any text as the tags of a volume group: decoded and judged without a panic, and what is encoded
//! decodes to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vdsm_hooks::storage::{self, tags};

fuzz_target!(|all: Vec<&str>| {
    storage::judge_tags(&all);
    if let Ok(text) = tags::text(&all) {
        assert!(text.is_empty() || text.ends_with('\n'));
    }
    for line in all {
        let _ = tags::decode(line);
        assert_eq!(tags::decode(&tags::encode(line)), Ok(Some(line.to_owned())));
    }
});
