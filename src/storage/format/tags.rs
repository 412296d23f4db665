// SPDX-License-Identifier: GPL-2.0-or-later

//! The metadata of a domain on block storage: each line is a tag of its volume group.

use std::fmt::Write as _;

use super::metadata::{CHECKSUM, Metadata, ends_line};
use super::seal::seal;
use crate::{Error, Result, props};

/// The tag that makes a volume group a storage domain (VDSM 4.50 lib/vdsm/storage/blockSD.py:
/// `STORAGE_DOMAIN_TAG`).
pub const DOMAIN: &str = "RHAT_storage_domain";
/// The tag of a domain that VDSM has not finished making (VDSM 4.50 lib/vdsm/storage/blockSD.py:
/// `STORAGE_UNREADY_DOMAIN_TAG`).
pub const UNREADY: &str = "RHAT_storage_domain_UNREADY";
/// What the tag of a metadata line begins with (`METADATA_TAG_PREFIX` there).
const LINE: &str = "MDT_";

/// The tag for a line of the metadata. What LVM does not allow in a tag is written as `&NNNN&`
/// (VDSM 4.50 lib/vdsm/storage/blockSD.py: `lvmTagEncode`).
pub fn encode(line: &str) -> String {
    let mut tag = LINE.to_owned();
    for c in line.chars() {
        if c.is_ascii_alphanumeric() || "_+.-/=!:#".contains(c) {
            tag.push(c);
        } else {
            let _ = write!(tag, "&{}&", u32::from(c));
        }
    }
    tag
}

/// The line of the metadata that is in `tag`; none if this is another tag.
///
/// # Errors
/// A number that is no character.
pub fn decode(tag: &str) -> Result<Option<String>> {
    let Some(mut rest) = tag.strip_prefix(LINE) else {
        return Ok(None);
    };
    let mut line = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once('&') {
        line += before;
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after_number) = after.split_at(digits);
        rest = match after_number.strip_prefix('&') {
            Some(behind) if !number.is_empty() => {
                let c = number.parse().ok().and_then(char::from_u32);
                line.push(c.ok_or_else(|| {
                    let tag = props::quoted(tag);
                    Error::new(format!(
                        "the tag {tag} has &{number}&, which is not a character"
                    ))
                })?);
                behind
            }
            _ => {
                line.push('&');
                after
            }
        };
    }
    line += rest;
    Ok(Some(line))
}

/// The lines of the metadata in the tags of a volume group, as a file would have them.
///
/// # Errors
/// A tag that cannot be decoded, or that no file could have as one line.
pub fn text<S: AsRef<str>>(tags: &[S]) -> Result<String> {
    let mut text = String::new();
    for tag in tags {
        let Some(line) = decode(tag.as_ref())? else {
            continue;
        };
        if line.contains(ends_line) {
            let tag = props::quoted(tag.as_ref());
            return Err(Error::new(format!(
                "the tag {tag} has the end of a line in it, expected none"
            )));
        }
        text += &line;
        text.push('\n');
    }
    Ok(text)
}

/// The arguments for `vgchange` that give a volume group with `tags` the metadata `metadata` and
/// its seal; none if that is what it has. VDSM too deletes and adds in one go.
pub fn change<S: AsRef<str>>(tags: &[S], metadata: &Metadata) -> Vec<String> {
    let seal = format!("{CHECKSUM}={}", seal(metadata));
    let right: Vec<String> = metadata
        .lines()
        .chain([seal])
        .map(|line| encode(&line))
        .collect();
    let old = tags
        .iter()
        .map(AsRef::as_ref)
        .filter(|tag| tag.starts_with(LINE));
    let mut arguments = Vec::new();
    for tag in old
        .clone()
        .filter(|tag| !right.iter().any(|line| line == tag))
    {
        arguments.extend(["--deltag".to_owned(), tag.to_owned()]);
    }
    for tag in right {
        if !old.clone().any(|known| known == tag) {
            arguments.extend(["--addtag".to_owned(), tag]);
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::storage::judge_tags;

    const BLOCK_V5: &str = include_str!("../../../tests/data/storage/block-v5.metadata");
    const BLOCK_V5_TAGS: &str = include_str!("../../../tests/data/storage/block-v5.tags");

    fn tags() -> Vec<String> {
        BLOCK_V5_TAGS.lines().map(str::to_owned).collect()
    }

    fn decoded(tag: &str) -> String {
        match decode(tag) {
            Ok(Some(line)) => line,
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn single_tags() {
        for (tag, line) in [
            ("MDT_A=&32&", "A= "),
            ("MDT_A=&38&32&", "A=&32&"),
            ("MDT_A=&38&&32&", "A=& "),
            ("MDT_A=&&225&&&", "A=&á&&"),
            ("MDT_A=&12", "A=&12"),
            ("MDT_A=&x&44&", "A=&x,"),
            ("MDT_A=&128512&", "A=😀"),
            ("MDT_A=&0032&", "A= "),
            ("MDT__SHA_CKSUM=1", "_SHA_CKSUM=1"),
            ("MDT_", ""),
            ("RHAT_storage_domain", "none"),
            ("XMDT_A=1", "none"),
            (
                "MDT_A=&1114112&",
                "the tag \"MDT_A=&1114112&\" has &1114112&, which is not a character",
            ),
            (
                "MDT_A=&55296&",
                "the tag \"MDT_A=&55296&\" has &55296&, which is not a character",
            ),
            (
                "MDT_A=&99999999999999999999&",
                "the tag \"MDT_A=&99999999999999999999&\" has &99999999999999999999&, which is not a character",
            ),
        ] {
            assert_eq!(decoded(tag), line, "{tag}");
        }
        assert_eq!(
            encode("DESCRIPTION=a, b & c"),
            "MDT_DESCRIPTION=a&44&&32&b&32&&38&&32&c"
        );
    }

    #[test]
    fn version_4_of_the_example() {
        let mut version_4 = Metadata::read(BLOCK_V5).0;
        for (key, value) in [
            ("ALIGNMENT", None),
            ("BLOCK_SIZE", None),
            ("LOGBLKSIZE", Some("512")),
            ("PHYBLKSIZE", Some("512")),
            ("VERSION", Some("4")),
        ] {
            version_4 = version_4.with(key, value.map(str::to_owned));
        }
        let seal = "0812638dc0e1ecd02fba6047423c4b6922b51f12";
        let arguments = change(&tags(), &version_4);
        assert_eq!(
            arguments.join(" "),
            format!(
                "--deltag MDT_ALIGNMENT=1048576 --deltag MDT_BLOCK_SIZE=512 --deltag MDT_VERSION=5 \
                 --deltag MDT__SHA_CKSUM=7f8ac41fc2f2a83bf9f459eb2034f34169644cf4 \
                 --addtag MDT_LOGBLKSIZE=512 --addtag MDT_PHYBLKSIZE=512 --addtag MDT_VERSION=4 \
                 --addtag MDT__SHA_CKSUM={seal}"
            )
        );
        assert_eq!(change(&tags(), &judge_tags(&tags()).metadata), [""; 0]);
    }

    proptest! {
        #[test]
        fn a_line_comes_back(line in "\\PC{0,40}") {
            let tag = encode(&line);
            let allowed = |c: char| c.is_ascii_alphanumeric() || "_+.-/=!:&#".contains(c);
            prop_assert!(tag.chars().all(allowed), "{tag}");
            prop_assert_eq!(decode(&tag), Ok(Some(line)));
        }

        #[test]
        fn any_line_comes_back(line in any::<String>()) {
            prop_assert_eq!(decode(&encode(&line)), Ok(Some(line)));
        }

    }
}
