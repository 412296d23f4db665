// SPDX-License-Identifier: GPL-2.0-or-later

//! libvirt's settings for QEMU, `/etc/libvirt/qemu.conf`.

use std::fs::File;
use std::path::Path;

use crate::host::files;
use crate::{Context, Result};

const FILE: &str = "/etc/libvirt/qemu.conf";
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Whom QEMU runs as on a host of VDSM, which needs this user and sets no other.
const QEMU: &str = "qemu";

/// QEMU's user and group as a label of libvirt's: `qemu:qemu`, or what the host's settings say.
/// Names and numbers (`+107`) mean the same in both.
///
/// # Errors
/// The settings are there and cannot be read to their end.
pub(super) fn label() -> Result<String> {
    // On Enterprise Linux the directory is open to root alone, and hooks run as vdsm.
    let text = match File::open(FILE) {
        Ok(_) => {
            String::from_utf8(files::read_file(Path::new(FILE), MAX_FILE_BYTES)?).context(FILE)?
        }
        Err(_) => String::new(),
    };
    Ok(label_in(&text))
}

fn label_in(text: &str) -> String {
    let of = |name| setting(text, name).unwrap_or(QEMU);
    format!("{}:{}", of("user"), of("group"))
}

/// The first text with this name, as libvirt takes it (libvirt 9.0 src/util/virconf.c:
/// `virConfGetValue`); none if it is empty.
fn setting<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = lines.find(|(before, _)| before.trim() == name)?;
    let value = value.trim_start();
    let quote = value.chars().next().filter(|c| "\"'".contains(*c))?;
    let (value, _) = value[1..].split_once(quote)?;
    Some(value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_of_qemu() {
        for (text, label) in [
            ("", "qemu:qemu"),
            ("#user = \"libvirt-qemu\"\n#group = \"kvm\"\n", "qemu:qemu"),
            (
                "user = \"libvirt-qemu\"\ngroup='kvm' # all of them\n",
                "libvirt-qemu:kvm",
            ),
            ("  user=\"+107\"\nuser = \"second\"\n", "+107:qemu"),
            ("group = \"\"\nuser = 107\nnouser = \"x\"\n", "qemu:qemu"),
            ("dynamic_ownership = 1\ngroup = \"root\"", "qemu:root"),
        ] {
            assert_eq!(label_in(text), label, "{text:?}");
        }
    }
}
