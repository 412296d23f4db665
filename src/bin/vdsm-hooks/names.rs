// SPDX-License-Identifier: GPL-2.0-or-later

//! Which name somebody meant who has misspelt one.

use std::iter;

/// Names of properties that guides have taught, and what is read today.
pub(crate) const OLD_NAMES: &[(&str, &str)] = &[
    // Red Hat Virtualization 3.6 to 4.4, Administration Guide, "VDSM Hook Examples": they define it for
    // a script that reads the other.
    ("numaset", "numa"),
];

/// The one of `names` that is most like `wanted`, if one is like it: up to a third of it may be wrong,
/// as compilers and shells have it.
pub(crate) fn nearest<'n>(
    wanted: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let most = (wanted.chars().count() / 3).max(1);
    let distances = names.into_iter().map(|name| (distance(wanted, name), name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= most).then_some(name)
}

/// How many letters are wrong, missing, too many, or in the place of their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let letters = |text: &str| -> Vec<char> { text.to_lowercase().chars().collect() };
    let (one, other) = (letters(one), letters(other));
    // Of the last two lines of the usual table, where each line is for one letter more of `one`.
    let mut before: Vec<usize> = Vec::new();
    let mut line: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut next: Vec<usize> = iter::once(row + 1).collect();
        for (column, theirs) in other.iter().enumerate() {
            let changed = line[column] + usize::from(letter != theirs);
            let mut least = changed.min(line[column + 1] + 1).min(next[column] + 1);
            let is_swapped =
                row > 0 && column > 0 && *letter == other[column - 1] && one[row - 1] == *theirs;
            if is_swapped {
                least = least.min(before[column - 1] + 1);
            }
            next.push(least);
        }
        before = line;
        line = next;
    }
    line.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        let names = ["diskunmap", "macspoof", "numa", "ovs", "ovn", "qemucmdline"];
        for (wanted, expected) in [
            ("diskunma", Some("diskunmap")),
            ("diskunmapp", Some("diskunmap")),
            ("dsikunmap", Some("diskunmap")),
            ("macspof", Some("macspoof")),
            ("MacSpoof", Some("macspoof")),
            ("qemu_cmdline", Some("qemucmdline")),
            ("nmua", Some("numa")),
            ("ov", Some("ovs")),
            ("nonsense", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(wanted, names), expected, "{wanted}");
        }
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn letters_count() {
        for (one, other, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "acb", 1),
            ("abcd", "badc", 2),
            ("kitten", "sitting", 3),
            ("\u{e4}b", "ab", 1),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }
}
