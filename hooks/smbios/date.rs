// SPDX-License-Identifier: GPL-2.0-or-later

//! Dates as libvirt reads them.

/// What libvirt takes (libvirt 9.0 src/conf/domain_conf.c: `virSysinfoBIOSParseXML`): one or two digits
/// for month and day, two or four for the year, in range.
pub(crate) fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let number = |part: &str| {
        part.chars()
            .all(|c| c.is_ascii_digit())
            .then(|| part.parse::<u32>().ok())?
    };
    let [month, day, year] = parts[..] else {
        return false;
    };
    let year_fits = match year.len() {
        2 => number(year).is_some(),
        4 => number(year).is_some_and(|year| year >= 1900),
        _ => false,
    };
    year_fits
        && (1..=2).contains(&month.len())
        && (1..=2).contains(&day.len())
        && number(month).is_some_and(|month| (1..=12).contains(&month))
        && number(day).is_some_and(|day| (1..=31).contains(&day))
}
