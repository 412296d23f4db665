// SPDX-License-Identifier: GPL-2.0-or-later

//! Custom properties: from environment variables to checked values.
//!
//! A property that is not set is an absent variable, and every function here then returns none.
//! Values come from people who may not be administrators of this host, so each function refuses
//! what it does not know, and the error names property, value, and what would be right.
//!
//! ```no_run
//! use vdsm_hooks::props;
//! # fn main() -> vdsm_hooks::Result {
//! // watchdog=reset|poweroff, and watchdog_seconds of the host
//! let Some(action) = props::choice("watchdog", &[("reset", "reset"), ("poweroff", "poweroff")])?
//! else {
//!     return Ok(());
//! };
//! let seconds: u32 = props::number("watchdog_seconds", 1..=3600)?.unwrap_or(30);
//! # Ok(())
//! # }
//! ```

mod literal;
mod mac;
mod uuid;

use std::env;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

pub use literal::Literal;
pub use mac::Mac;
pub use uuid::is_uuid;

use crate::{Error, Result};

/// How much of a value an error shows, in characters.
const MAX_SHOWN_CHARS: usize = 200;

/// A value in quotes for an error: one line, and not longer than a line should be.
pub fn quoted(value: &str) -> String {
    match value.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}...", &value[..end]),
        None => format!("{value:?}"),
    }
}

/// The error of a property: `name="value": problem`.
pub fn wrong(name: &str, value: &str, problem: impl Display) -> Error {
    Error::new(format!("{name}={}: {problem}", quoted(value)))
}

/// The value as it is.
///
/// # Errors
/// The value is not UTF-8; VDSM passes nothing else.
pub fn text(name: &str) -> Result<Option<String>> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(value)) => Err(Error::new(format!(
            "{name}={value:?}: the value is not UTF-8"
        ))),
    }
}

/// The value, if there is more to it than blanks.
///
/// # Errors
/// As [`text`].
pub fn given(name: &str) -> Result<Option<String>> {
    Ok(text(name)?.filter(|value| !value.trim().is_empty()))
}

/// A boolean by VDSM's rule (VDSM 4.50 lib/vdsm/common/conv.py: `tobool`): `true` in any case, or a
/// whole number other than 0, is true; all else is false. A text that is neither of `true`, `false` and
/// a number gets a warning.
///
/// # Errors
/// As [`text`].
pub fn flag(name: &str) -> Result<Option<bool>> {
    let Some(value) = text(name)? else {
        return Ok(None);
    };
    if python_int(&value).is_none()
        && !["true", "false"].contains(&value.to_ascii_lowercase().as_str())
    {
        log::warn!(
            "{name}={}: neither true, false nor a number, so it counts as false",
            quoted(&value)
        );
    }
    Ok(Some(is_true(&value)))
}

/// The rule of [`flag`], for a value from elsewhere.
pub fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true") || python_int(value) == Some(true)
}

/// Whether the value, read as Python's `int()` reads it, is other than 0; none if it is no number.
fn python_int(value: &str) -> Option<bool> {
    let digits = value.trim();
    let digits = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    // One underscore is allowed between two digits.
    let number = digits
        .split('_')
        .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()));
    number.then(|| digits.chars().any(|c| c != '0' && c != '_'))
}

/// A whole number within `range`, decimal, blanks around it allowed.
///
/// # Errors
/// Not a number, or outside `range`.
///
/// ```
/// use vdsm_hooks::props;
/// # fn main() -> vdsm_hooks::Result {
/// let seconds: u32 = props::number("watchdog_seconds", 1..=3600)?.unwrap_or(30);
/// assert_eq!(seconds, 30);
/// # Ok(())
/// # }
/// ```
pub fn number<N>(name: &str, range: RangeInclusive<N>) -> Result<Option<N>>
where
    N: FromStr + PartialOrd + Display,
{
    let Some(value) = text(name)? else {
        return Ok(None);
    };
    match value.trim().parse() {
        Ok(number) if range.contains(&number) => Ok(Some(number)),
        _ => {
            let (low, high) = (range.start(), range.end());
            Err(wrong(
                name,
                &value,
                format!("expected a whole number from {low} to {high}"),
            ))
        }
    }
}

/// A size in bytes: a whole number with the suffix `k`, `M`, `G` or `T` (powers of 1024, in any
/// case, `iB` or `B` may follow), or without one.
///
/// # Errors
/// Not a size, or more than 2^64 bytes.
pub fn size(name: &str) -> Result<Option<u64>> {
    let Some(value) = text(name)? else {
        return Ok(None);
    };
    let parsed = parse_size(value.trim());
    parsed.map(Some).ok_or_else(|| {
        wrong(
            name,
            &value,
            "expected a size: a whole number and k, M, G or T, such as 20G",
        )
    })
}

fn parse_size(value: &str) -> Option<u64> {
    let end = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (digits, suffix) = value.split_at(end);
    let suffix = suffix.trim_start().to_ascii_lowercase();
    let unit = suffix
        .strip_suffix("ib")
        .or_else(|| suffix.strip_suffix('b'))
        .unwrap_or(&suffix);
    let shift = match unit {
        "" if suffix != "ib" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// One of several words, exactly as they are written; the answer is what is paired with it.
///
/// # Errors
/// Another word; the error lists the right ones.
///
/// ```
/// use vdsm_hooks::props;
/// # fn main() -> vdsm_hooks::Result {
/// // Where `watchdog=reset` is set this is Some("reset").
/// let action = props::choice("watchdog", &[("reset", "reset"), ("off", "none")])?;
/// assert_eq!(action, None);
/// # Ok(())
/// # }
/// ```
pub fn choice<T: Copy>(name: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
    let Some(value) = text(name)? else {
        return Ok(None);
    };
    match choices.iter().find(|(word, _)| *word == value) {
        Some((_, meaning)) => Ok(Some(*meaning)),
        None => {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            Err(wrong(
                name,
                &value,
                format!("expected one of {}", words.join(", ")),
            ))
        }
    }
}

/// The entries between `separator`, without the blanks around them. A blank value has none; an
/// empty entry between two others is kept, for the hook to judge.
///
/// # Errors
/// As [`text`].
pub fn list(name: &str, separator: char) -> Result<Option<Vec<String>>> {
    let Some(value) = text(name)? else {
        return Ok(None);
    };
    if value.trim().is_empty() {
        return Ok(Some(Vec::new()));
    }
    Ok(Some(
        value
            .split(separator)
            .map(|entry| entry.trim().to_owned())
            .collect(),
    ))
}

/// A MAC address, six pairs of hexadecimal digits with colons, in any case.
///
/// # Errors
/// Anything else.
pub fn mac(name: &str) -> Result<Option<Mac>> {
    let Some(value) = text(name)? else {
        return Ok(None);
    };
    let mac = Mac::parse(&value);
    mac.map(Some).ok_or_else(|| {
        wrong(
            name,
            &value,
            "expected a MAC address such as 52:54:00:12:34:56",
        )
    })
}

/// A literal in Python's or JSON's notation. `example` is shown in errors.
///
/// # Errors
/// Not a literal; the error says at which character.
pub fn literal(name: &str, example: &str) -> Result<Option<Literal>> {
    let Some(value) = text(name)? else {
        return Ok(None);
    };
    let parsed = Literal::parse(&value);
    parsed
        .map(Some)
        .map_err(|error| wrong(name, &value, format!("{error}, as in {example}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_numbers() {
        for (value, truth) in [
            ("1", Some(true)),
            ("0", Some(false)),
            (" -2 ", Some(true)),
            ("+0", Some(false)),
            ("1_000", Some(true)),
            ("00", Some(false)),
            ("99999999999999999999", Some(true)),
            ("", None),
            ("-", None),
            ("1_", None),
            ("__1", None),
            ("0x1", None),
            ("1.0", None),
            ("yes", None),
        ] {
            assert_eq!(python_int(value), truth, "{value:?}");
        }
    }

    #[test]
    fn sizes() {
        for (value, bytes) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("4k", Some(4096)),
            ("4K", Some(4096)),
            ("20G", Some(20 << 30)),
            ("1 MiB", Some(1 << 20)),
            ("2tb", Some(2 << 40)),
            ("16777216T", None),
            ("18446744073709551616", None),
            ("", None),
            ("G", None),
            ("-1", None),
            ("1.5G", None),
            ("1X", None),
            ("1iB", None),
            ("10b", Some(10)),
        ] {
            assert_eq!(parse_size(value), bytes, "{value:?}");
        }
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(quoted("a\n\""), r#""a\n\"""#);
        assert_eq!(
            quoted(&"é".repeat(300)),
            format!("\"{}\"...", "é".repeat(200))
        );
    }
}
