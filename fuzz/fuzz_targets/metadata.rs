// SPDX-License-Identifier: GPL-2.0-or-later

//! Any bytes as a metadata file: judged and mended without a panic; what is sealed is whole for
//! every reader, stays as it is, and loses no key.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vdsm_hooks::storage::{self, Metadata, Reader, Repair, Verdict};

fuzz_target!(|content: &[u8]| {
    let judgement = storage::judge(Some(content));
    storage::findings(&judgement.metadata, None);
    if let Ok(text) = std::str::from_utf8(content) {
        for reader in [Reader::Vdsm44, Reader::Vdsm43, Reader::LineScript] {
            assert_eq!(storage::checksum(text, reader).len(), 40);
        }
    }
    if !judgement.metadata.is_empty() {
        let text = storage::write(&judgement.metadata);
        let (read, seal) = Metadata::read(&text);
        assert_eq!(read, judgement.metadata);
        assert_eq!(seal, Some(storage::seal(&read)));
    }
    if let Ok(sealed) = Repair::Seal.apply(content) {
        let again = storage::judge(Some(&sealed.text));
        assert_eq!(again.reading.verdict, Verdict::Ok);
        assert_eq!(
            Repair::Seal.apply(&sealed.text).map(|mended| mended.text),
            Ok(sealed.text)
        );
    }
    if let Ok(released) = Repair::Release.apply(content) {
        let pools = storage::judge(Some(&released.text)).metadata;
        assert!(pools.get("POOL_UUID").unwrap_or_default().is_empty());
    }
});
