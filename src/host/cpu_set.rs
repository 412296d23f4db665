// SPDX-License-Identifier: GPL-2.0-or-later

//! Sets of host CPUs and NUMA nodes, in libvirt's and the kernel's notation: `0-3,8,^2`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use crate::host::files;
use crate::{Context, Error, Result};

/// The highest number: no host has as many CPUs, and a range must not fill the memory.
const HIGHEST: u32 = 9999;

/// Numbers of CPUs or nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdSet(BTreeSet<u32>);

impl IdSet {
    /// Reads `N`, `N-M` and `^N` with commas between them, from left to right, as libvirt does
    /// (9.0 src/util/virbitmap.c: `virBitmapParse`): an exclusion takes out what an earlier entry put in.
    ///
    /// # Errors
    /// Another notation, a range that runs backwards, an exclusion of a number that is not in the
    /// set (yet), and a set that is empty in the end.
    pub fn parse(text: &str) -> Result<IdSet> {
        let mut ids = BTreeSet::new();
        for entry in text.split(',') {
            if let Some(excluded) = entry.strip_prefix('^') {
                if !ids.remove(&number(excluded)?) {
                    return Err(Error::new(format!(
                        "{entry} takes out what no earlier entry put in"
                    )));
                }
                continue;
            }
            let (first, last) = match entry.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(entry)?, number(entry)?),
            };
            if first > last {
                return Err(Error::new(format!(
                    "the range {entry} runs backwards, expected {last}-{first}"
                )));
            }
            ids.extend(first..=last);
        }
        if ids.is_empty() {
            return Err(Error::new("nothing is left of the set"));
        }
        Ok(IdSet(ids))
    }

    /// [`IdSet::parse`] of what somebody wrote for a host that has `there`. Texts about VDSM's hooks
    /// offer `^3` for all but 3, which libvirt does not take: the message says what to write instead.
    ///
    /// # Errors
    /// As [`IdSet::parse`].
    pub fn parse_on(text: &str, there: impl FnOnce() -> Result<IdSet>) -> Result<IdSet> {
        IdSet::parse(text).map_err(|error| {
            let first = text.split(',').next().unwrap_or_default();
            let is_excluded = first.strip_prefix('^').map(number);
            let (Some(Ok(_)), Ok(there)) = (is_excluded, there()) else {
                return error;
            };
            let whole = format!("{there},{first}");
            let example = match IdSet::parse(&whole) {
                Ok(_) => whole,
                Err(_) => there.to_string(),
            };
            Error::new(format!(
                "{error}, expected what to keep first, as in {example}"
            ))
        })
    }

    /// The set that a file of sysfs lists, for example `/sys/devices/system/cpu/online`.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn of_file(path: &str) -> Result<IdSet> {
        let bytes = files::read_file(Path::new(path), 64 << 10)?;
        IdSet::parse(String::from_utf8_lossy(&bytes).trim()).context(path)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that `other` lacks.
    pub fn without(&self, other: &IdSet) -> IdSet {
        IdSet(self.0.difference(&other.0).copied().collect())
    }
}

/// The kernel's notation, the "List Format" of cpuset(7): ranges where there are any.
impl fmt::Display for IdSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while rest.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            write!(f, "{comma}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

fn number(text: &str) -> Result<u32> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| *number <= HIGHEST);
    number.filter(|_| plain).ok_or_else(|| {
        Error::new(format!(
            "{text:?} is no number from 0 to {HIGHEST}, expected entries such as 4, 0-3 or ^2"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_short() {
        for (text, shown) in [("3,0-1,2,5", "0-3,5"), ("4", "4"), ("0,2-3,^2", "0,3")] {
            let set = IdSet::parse(text).map(|set| set.to_string());
            assert_eq!(set, Ok(shown.to_owned()));
        }
    }

    #[test]
    fn who_takes_out_of_nothing_is_told_what_to_write() {
        let said = |text, there: &str| {
            let set = IdSet::parse_on(text, || IdSet::parse(there));
            set.map_or_else(|error| error.to_string(), |set| set.to_string())
        };
        for (text, there, says) in [
            ("0-3,^1", "0-7", "0,2-3"),
            (
                "^3",
                "0-7",
                "^3 takes out what no earlier entry put in, expected what to keep first, as in 0-7,^3",
            ),
            (
                "^1,0-3",
                "0-7",
                "^1 takes out what no earlier entry put in, expected what to keep first, as in 0-7,^1",
            ),
            // Neither of the two would help.
            (
                "^3",
                "0-1",
                "^3 takes out what no earlier entry put in, expected what to keep first, as in 0-1",
            ),
            (
                "^0",
                "0",
                "^0 takes out what no earlier entry put in, expected what to keep first, as in 0",
            ),
            ("^3", "", "^3 takes out what no earlier entry put in"),
            (
                "^",
                "0-7",
                "\"\" is no number from 0 to 9999, expected entries such as 4, 0-3 or ^2",
            ),
            ("0,^1", "0-7", "^1 takes out what no earlier entry put in"),
        ] {
            assert_eq!(said(text, there), says, "{text} on {there}");
        }
    }

    #[test]
    fn what_another_lacks() {
        let without = |text, other_text| {
            let other = IdSet::parse(other_text)?;
            IdSet::parse(text).map(|set| set.without(&other).to_string())
        };
        assert_eq!(without("0-9,12", "2-3").as_deref(), Ok("0-1,4-9,12"));
        assert_eq!(without("0-3", "0-7").as_deref(), Ok(""));
    }

    #[test]
    fn notation() {
        let read = |text| {
            IdSet::parse(text)
                .map(|set| set.0.into_iter().collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        for (text, ids) in [
            ("0", &[0][..]),
            ("0-3,^1", &[0, 2, 3]),
            ("3,1,1-2", &[1, 2, 3]),
            ("0-1,^1,1", &[0, 1]),
            ("007", &[7]),
        ] {
            assert_eq!(read(text).as_deref(), Ok(ids), "{text}");
        }
        for (text, problem) in [
            ("^1,0-1", "takes out"),
            ("0-3,^1-2", "no number"),
            ("3-1", "backwards, expected 1-3"),
            ("0,^0", "nothing is left"),
            ("", "no number"),
            ("0,,1", "no number"),
            ("0-", "no number"),
            ("-1", "no number"),
            ("+1", "no number"),
            ("10000", "no number"),
            ("1 ", "no number"),
        ] {
            let error = read(text).err().unwrap_or_default();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
