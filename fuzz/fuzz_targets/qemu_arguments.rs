// SPDX-License-Identifier: GPL-2.0-or-later

//! Any arguments for QEMU in any document: what was there stays, in its order, and what is new stands
//! behind it, to the letter; or nothing is written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::xml::{self, Edits};

fuzz_target!(|input: (&str, Vec<String>)| {
    let (text, arguments) = input;
    let Ok(document) = xml::parse(text) else {
        return;
    };
    let root = document.root_element();
    let mut wanted = domain::qemu_arguments(root);
    let mut edits = Edits::new(&document);
    if !arguments.is_empty() {
        domain::append_qemu_arguments(root, &mut edits, &arguments);
    }
    wanted.extend_from_slice(&arguments);
    match edits.finish() {
        Ok(None) => assert!(arguments.is_empty()),
        Ok(Some(new)) => {
            let new = xml::parse(&new).expect("a document");
            assert_eq!(domain::qemu_arguments(new.root_element()), wanted);
        }
        // Only a value that XML cannot carry, or an encoding that cannot hold it, is refused.
        Err(error) => assert!(
            arguments
                .iter()
                .any(|one| xml::check_characters(one).is_err())
                || error.to_string().contains("encoding"),
            "{error}"
        ),
    }
});
