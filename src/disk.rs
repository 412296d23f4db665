// SPDX-License-Identifier: GPL-2.0-or-later

//! Disks that a hook adds to a VM: a free name, and a source that QEMU can open.

use std::collections::HashSet;

use crate::xml::{self, Document, El};

/// The names that a VM's disks have, `<target dev="..."/>`.
pub struct Targets(HashSet<String>);

impl Targets {
    /// Those of the document's disks.
    pub fn of(document: &Document<'_>) -> Targets {
        let disks = xml::devices(document, "disk").into_iter();
        let targets = disks.filter_map(|disk| xml::child(disk, "target"));
        let names = targets.filter_map(|target| xml::attr(target, "dev"));
        Targets(names.map(str::to_owned).collect())
    }

    /// Takes the name, if no disk has it.
    pub fn take(&mut self, name: &str) -> bool {
        self.0.insert(name.to_owned())
    }

    /// Takes the first free name that begins with `prefix`: `vda` to `vdz`, then `vdaa`, `vdab`.
    pub fn take_next(&mut self, prefix: &str) -> String {
        let mut number = 0;
        loop {
            let name = format!("{prefix}{}", letters(number));
            if self.take(&name) {
                return name;
            }
            number += 1;
        }
    }
}

/// 0 is `a`, 25 is `z`, 26 is `aa`.
fn letters(number: u32) -> String {
    let before = match number / 26 {
        0 => String::new(),
        more => letters(more - 1),
    };
    let last = char::from_u32(u32::from('a') + number % 26);
    before + last.map(String::from).unwrap_or_default().as_str()
}

/// The `<source>` of a file (`attribute` is `file`) or a device (`dev`) of the host, which libvirt
/// hands to QEMU's user while the VM runs. It has to be said explicitly: on the way to another host
/// VDSM marks every other disk as not to be handed over.
pub fn source(attribute: &str, path: &str) -> El {
    El::new("source").attr(attribute, path).child(
        El::new("seclabel")
            .attr("model", "dac")
            .attr("relabel", "yes")
            .attr("type", "none"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Result;

    #[test]
    fn names_go_on_after_z() {
        for (number, name) in [(0, "a"), (25, "z"), (26, "aa"), (701, "zz"), (702, "aaa")] {
            assert_eq!(letters(number), name);
        }
    }

    #[test]
    fn names_that_are_taken_are_passed_over() -> Result {
        let text = "<domain><devices><disk/><disk><target dev='vda'/></disk>\
            <disk><target dev='vdc'/></disk></devices></domain>";
        let document = xml::parse(text)?;
        let mut targets = Targets::of(&document);
        assert_eq!(targets.take_next("vd"), "vdb");
        assert_eq!(targets.take_next("vd"), "vdd");
        assert_eq!(targets.take_next("sd"), "sda");
        assert!(targets.take("fda") && !targets.take("fda"));
        Ok(())
    }
}
