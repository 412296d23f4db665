// SPDX-License-Identifier: GPL-2.0-or-later

//! The date of manual pages: the same for everybody who builds a release.

use std::env;

use vdsm_hooks::host::calendar::utc;

/// The date of the newest release; found when the tool is built, which does not carry the whole text.
const NEWEST: Option<[u8; 10]> = newest(include_str!("../../../../CHANGELOG.md"));
/// For a release without a date; 'SOURCE_DATE_EPOCH' has a better one
/// (https://reproducible-builds.org/specs/source-date-epoch/).
const NONE: &str = "1970-01-01";

/// `2026-11-28`: what the builder says, or the newest date of the change log.
pub(super) fn of_release() -> String {
    let epoch = env::var("SOURCE_DATE_EPOCH").ok();
    let said = epoch.and_then(|seconds| seconds.trim().parse().ok());
    match said.map(utc) {
        Some(time) => time.split(' ').next().unwrap_or(NONE).to_owned(),
        None => NEWEST.map_or(NONE.to_owned(), |date| {
            String::from_utf8_lossy(&date).into_owned()
        }),
    }
}

/// The first date in the headings of releases.
const fn newest(changes: &str) -> Option<[u8; 10]> {
    let text = changes.as_bytes();
    let (mut at, mut line) = (0, 0);
    while at + 10 <= text.len() {
        if text[at] == b'\n' {
            line = at + 1;
        }
        let is_heading =
            line + 2 < at && text[line] == b'#' && text[line + 1] == b'#' && text[line + 2] == b' ';
        if is_heading && is_date(text, at) {
            let mut date = [0; 10];
            let mut number = 0;
            while number < 10 {
                date[number] = text[at + number];
                number += 1;
            }
            return Some(date);
        }
        at += 1;
    }
    None
}

const fn is_date(text: &[u8], from: usize) -> bool {
    let mut number = 0;
    while number < 10 {
        let byte = text[from + number];
        let is_right = if number == 4 || number == 7 {
            byte == b'-'
        } else {
            byte.is_ascii_digit()
        };
        if !is_right {
            return false;
        }
        number += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_release_counts() {
        let changes = "# Changelog\n\n## 0.3.0 (unreleased)\n- since 2020-01-01\n\n## 0.2.0 (2026-11-28)\n\n## 0.1.0 - 2026-10-01\n";
        assert_eq!(newest(changes), Some(*b"2026-11-28"));
        let working = "## 0.1.0 (unreleased, 2026-11-28)\n";
        assert_eq!(newest(working), Some(*b"2026-11-28"));
        assert_eq!(newest("## 0.1.0 (unreleased)\n"), None);
    }
}
