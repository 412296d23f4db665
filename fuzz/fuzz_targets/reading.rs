// SPDX-License-Identifier: GPL-2.0-or-later

//! A short recipe for a long document: whatever it is, it is read or refused in no time. Run it
//! with `-timeout=10`, see Cargo.toml: what takes longer is a finding.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vdsm_hooks::{json, xml};

/// As long as a document gets here.
const MAX_TEXT_BYTES: usize = 4 << 20;

fuzz_target!(|pieces: Vec<(&str, u16, bool)>| {
    let mut text = String::new();
    for (piece, times, numbered) in pieces {
        for number in 0..times {
            if text.len() + piece.len() > MAX_TEXT_BYTES {
                break;
            }
            match numbered {
                // A name of its own for each, where the piece has a place for it.
                true => text.push_str(&piece.replace('#', &number.to_string())),
                false => text.push_str(piece),
            }
        }
    }
    let _ = xml::parse(&text).is_ok();
    let _ = xml::parse_with_dtd(&text).is_ok();
    if let Ok(node) = json::Node::parse(&text) {
        let _ = (
            node.object().is_some(),
            node.array().is_some(),
            node.value().is_some(),
        );
    }
});
