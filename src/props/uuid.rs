// SPDX-License-Identifier: GPL-2.0-or-later

//! The ids of VMs, domains, pools, images, volumes and ports.

/// Whether `text` is five groups of 8, 4, 4, 4 and 12 hexadecimal digits. Any version nibble: the
/// ids that engines make for pools are no RFC 4122 uuids.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids() {
        for (text, is) in [
            ("59c4c3ee-0205-0227-0229-000000000155", true),
            ("11111111-1111-1111-1111-111111111111", true),
            ("37E0E64B-5445-4BC3-8675-CEFF4637E8E3", true),
            ("37e0e64b-5445-4bc3-8675-ceff4637e8e", false),
            ("37e0e64b-5445-4bc3-8675-ceff4637e8e34", false),
            ("37e0e64b-5445-4bc3-8675+ceff4637e8e3", false),
            ("37e0e64g-5445-4bc3-8675-ceff4637e8e3", false),
            ("", false),
        ] {
            assert_eq!(is_uuid(text), is, "{text:?}");
        }
    }
}
