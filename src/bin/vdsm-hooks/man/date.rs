// SPDX-License-Identifier: GPL-2.0-or-later

//! The date of manual pages: the same for everybody who builds a release.

use std::env;

/// The date of the newest release; found when the tool is built, which does not carry the whole text.
const NEWEST: Option<[u8; 10]> = newest(include_str!("../../../../CHANGELOG.md"));
/// For a release without a date; 'SOURCE_DATE_EPOCH' has a better one
/// (https://reproducible-builds.org/specs/source-date-epoch/).
const NONE: &str = "1970-01-01";
const SECONDS_OF_A_DAY: i64 = 86_400;

/// `2026-11-28`: what the builder says, or the newest date of the change log.
pub(super) fn of_release() -> String {
    let epoch = env::var("SOURCE_DATE_EPOCH").ok();
    match epoch.and_then(|seconds| seconds.trim().parse::<i64>().ok()) {
        Some(seconds) => day_of(seconds),
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

/// The day of a time in seconds since the beginning of 1970, in the proleptic Gregorian calendar.
fn day_of(seconds: i64) -> String {
    // Years begin in March: the day that is not always there is their last one. 400 of them have
    // 146,097 days; the first of March of the year 0 is 719,468 days before 1970.
    let days = seconds.div_euclid(SECONDS_OF_A_DAY) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (4_107_542_400, "2100-03-01"),
            (1_795_881_599, "2026-11-28"),
        ] {
            assert_eq!(day_of(seconds), day, "{seconds}");
        }
    }

    #[test]
    fn the_newest_release_counts() {
        let changes = "# Changelog\n\n## 0.3.0 (unreleased)\n- since 2020-01-01\n\n## 0.2.0 (2026-11-28)\n\n## 0.1.0 - 2026-10-01\n";
        assert_eq!(newest(changes), Some(*b"2026-11-28"));
        let working = "## 0.1.0 (unreleased, 2026-11-28)\n";
        assert_eq!(newest(working), Some(*b"2026-11-28"));
        assert_eq!(newest("## 0.1.0 (unreleased)\n"), None);
    }
}
