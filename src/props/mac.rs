// SPDX-License-Identifier: GPL-2.0-or-later

//! MAC addresses.

use std::fmt;

/// An Ethernet address. Two spellings of one address are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// Reads six pairs of hexadecimal digits with colons between them, in any case.
    pub fn parse(text: &str) -> Option<Mac> {
        let mut bytes = [0; 6];
        let mut pairs = text.split(':');
        for byte in &mut bytes {
            let pair = pairs.next().filter(|pair| pair.len() == 2)?;
            // `from_str_radix` alone would take a sign.
            pair.chars().all(|c| c.is_ascii_hexdigit()).then_some(())?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        pairs.next().is_none().then_some(Mac(bytes))
    }

    /// Whether one machine can have the address: neither a group's nor all zeros.
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_six_pairs_are_an_address() {
        let mac = Mac::parse("00:1A:4a:41:d2:5F");
        assert_eq!(
            mac.map(|mac| mac.to_string()).as_deref(),
            Some("00:1a:4a:41:d2:5f")
        );
        for wrong in [
            "",
            "00:1a:4a:41:d2",
            "00:1a:4a:41:d2:5f:00",
            "0:1a:4a:41:d2:5f",
            "+0:1a:4a:41:d2:5f",
            "00-1a-4a-41-d2-5f",
            " 00:1a:4a:41:d2:5f",
        ] {
            assert_eq!(Mac::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_group_and_nobody_are_no_machine() {
        for (text, one) in [
            ("00:1a:4a:41:d2:5f", true),
            ("fe:ff:ff:ff:ff:ff", true),
            ("00:00:00:00:00:01", true),
            ("00:00:00:00:00:00", false),
            ("01:00:5e:00:00:01", false),
            ("ff:ff:ff:ff:ff:ff", false),
        ] {
            assert_eq!(Mac::parse(text).map(Mac::is_unicast), Some(one), "{text}");
        }
    }
}
