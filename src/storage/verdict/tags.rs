// SPDX-License-Identifier: GPL-2.0-or-later

//! The verdict on the metadata of a domain on block storage, in the tags of its volume group.

use super::judge::{Judgement, judged};
use crate::storage::format::metadata::{Metadata, ends_line};
use crate::storage::format::reading::{Reader, Reading, Verdict, lines_as_4_3};
use crate::storage::format::tags::decode;

/// Judges the metadata in the tags of a volume group. Lines are not split and not padded there,
/// and scripts for files do not read them.
pub fn judge_tags<S: AsRef<str>>(tags: &[S]) -> Judgement {
    let mut lines = Vec::new();
    let mut undecodable = None;
    for tag in tags {
        match decode(tag.as_ref()) {
            Ok(line) => lines.extend(line),
            Err(error) => undecodable = undecodable.or(Some(error.to_string())),
        }
    }
    let (metadata, declared) = Metadata::from_lines(lines.iter().map(String::as_str));
    if undecodable.is_some() {
        return Judgement {
            reading: Reading::without_digests(Verdict::Undecodable),
            metadata,
            cause: undecodable,
            proved: None,
            others: Vec::new(),
        };
    }
    // As a file would have it; nothing in a tag ends a line.
    let mut text = String::new();
    for line in &lines {
        text.extend(
            line.chars()
                .map(|c| if ends_line(c) { '\u{fffd}' } else { c }),
        );
        text.push('\n');
    }
    judged(&text, metadata, declared, || {
        vec![(
            Reader::Vdsm43,
            lines_as_4_3(lines.iter().map(String::as_str)),
        )]
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::findings;
    use crate::storage::format::metadata::CHECKSUM;
    use crate::storage::format::tags::{DOMAIN, encode};

    const BLOCK_V5: &str = include_str!("../../../tests/data/storage/block-v5.metadata");
    const BLOCK_V5_TAGS: &str = include_str!("../../../tests/data/storage/block-v5.tags");
    const ID: &str = "6f4f5a2b-9a58-4c9e-8e7f-6f1d5e0c3a11";

    fn tags() -> Vec<String> {
        BLOCK_V5_TAGS.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_example_in_both_directions() {
        let of_lines: Vec<String> = BLOCK_V5.lines().map(encode).collect();
        let mut with_mark = of_lines.clone();
        with_mark.push(DOMAIN.to_owned());
        assert_eq!(with_mark, tags());
        let judgement = judge_tags(&tags());
        assert_eq!(judgement.reading.verdict, Verdict::Ok);
        assert_eq!(judgement.others, []);
        assert_eq!(judgement.metadata, Metadata::read(BLOCK_V5).0);
        assert_eq!(findings(&judgement.metadata, Some(ID)), []);
        // In whatever order.
        let backwards: Vec<String> = tags().into_iter().rev().collect();
        assert_eq!(judge_tags(&backwards), judgement);
        let seal = "7f8ac41fc2f2a83bf9f459eb2034f34169644cf4";
        assert_eq!(judgement.reading.computed.as_deref(), Some(seal));
    }

    /// The tags of the example after `change`, which replaces a text everywhere.
    fn changed(from: &str, to: &str) -> Judgement {
        let tags: Vec<String> = tags().iter().map(|tag| tag.replace(from, to)).collect();
        judge_tags(&tags)
    }

    #[test]
    fn verdicts() {
        let without_seal: Vec<_> = tags()
            .into_iter()
            .filter(|tag| !tag.contains(CHECKSUM))
            .collect();
        assert_eq!(judge_tags(&without_seal).reading.verdict, Verdict::Unsealed);
        assert_eq!(judge_tags(&[DOMAIN]).reading.verdict, Verdict::Empty);
        assert_eq!(
            judge_tags(&[DOMAIN, "MDT__SHA_CKSUM=1"]).reading.verdict,
            Verdict::Empty
        );
        assert_eq!(judge_tags::<&str>(&[]).reading.verdict, Verdict::Empty);
        let undecodable = changed("&225&", "&55296&");
        assert_eq!(undecodable.reading.verdict, Verdict::Undecodable);
        assert_eq!(undecodable.metadata.get("SDUUID"), Some(ID));
        // The digest is that of the line, not of the tag.
        let line = judge_tags(&["MDT_DESCRIPTION=m&225&s"]).reading.computed;
        assert_eq!(
            line,
            judge_tags(&["MDT_DESCRIPTION=m&225&s", "other"])
                .reading
                .computed
        );
        assert_ne!(line, judge_tags(&["MDT_DESCRIPTION=mas"]).reading.computed);
    }

    #[test]
    fn causes_and_other_readers() {
        for (from, to, cause) in [
            (
                "_SHA_CKSUM=7f8ac",
                "_SHA_CKSUM=7F8AC",
                "the digest is written in upper case",
            ),
            (
                "&32&m&225&s",
                "&32&m&225&s&32&",
                "a stray U+0020 (blank) at the end of the value of DESCRIPTION",
            ),
            (
                "ROLE=Regular",
                "ROLE=Master",
                "the line of ROLE was edited: it says \"Master\", the seal is that of \"Regular\"",
            ),
            // Nothing splits a line here.
            (
                "fc&32&data",
                "fc&32&da&8232&ta",
                "the line of DESCRIPTION was edited: it says \"fc da\\u{2028}ta & más\", the seal is that of \"fc data & más\"",
            ),
        ] {
            let judgement = changed(from, to);
            assert_eq!(judgement.reading.verdict, Verdict::Broken, "{to}");
            assert_eq!(judgement.cause.as_deref(), Some(cause), "{to}");
        }
        // VDSM 4.3 strips values and sees no seal behind a blank.
        let padded = judge_tags(&["MDT_A=1&32&"]);
        assert_eq!(padded.others.len(), 1);
        let spaced = judge_tags(&[
            "MDT_A=1",
            "MDT_&32&_SHA_CKSUM=dd4eaa2b3bbf9e4d1b8ad0bb4b7b3d7b3ba0a30b",
        ]);
        assert_eq!(spaced.reading.verdict, Verdict::Broken);
        assert_eq!(spaced.others[0].1.verdict, Verdict::Unsealed);
    }

    proptest! {
        #[test]
        fn any_tags_are_judged(tags in prop::collection::vec("(MDT_)?[A-C=&0-9_]{0,20}", 0..8)) {
            judge_tags(&tags);
        }
    }
}
