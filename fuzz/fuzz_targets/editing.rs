// SPDX-License-Identifier: GPL-2.0-or-later

//! Any text as a document, any bytes as edits: the editor never panics, its result always parses,
//! and nothing is written when nothing was asked for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vdsm_hooks::xml::{self, Edits, Element};

fuzz_target!(|input: (&str, Vec<(u8, u8)>, &str)| {
    let (text, edits_wanted, value) = input;
    let Ok(document) = xml::parse(text) else {
        return;
    };
    let root = document.root_element();
    let elements: Vec<_> = document
        .descendants()
        .filter(|node| node.is_element())
        .collect();
    let mut edits = Edits::new(&document);
    for (place, kind) in &edits_wanted {
        let node = elements[usize::from(*place) % elements.len()];
        let new = Element::new("new").attr("v", value).text(value);
        match kind % 9 {
            0 => edits.set_attr(node, "a", value),
            1 => edits.remove_attr(node, "a"),
            2 => edits.set_text(node, value),
            3 => edits.prepend(node, &new),
            4 => edits.append(node, &new),
            5 if node != root => edits.insert_before(node, &new),
            6 if node != root => edits.insert_after(node, &new),
            7 if node != root => edits.remove(node),
            _ => {
                let prefix = edits.bind(node, "q", "urn:q");
                edits.append(node, &Element::new(&format!("{prefix}:new")));
            }
        }
    }
    match edits.finish() {
        Ok(None) => {}
        Ok(Some(new)) => {
            assert!(!edits_wanted.is_empty() && new != text);
            assert!(xml::parse(&new).is_ok());
        }
        // Only a value that XML cannot carry, or an encoding that cannot hold it, is refused.
        Err(error) => assert!(
            xml::check_characters(value).is_err() || error.to_string().contains("encoding"),
            "{error}"
        ),
    }
});
