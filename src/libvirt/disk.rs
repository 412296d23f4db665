// SPDX-License-Identifier: GPL-2.0-or-later

//! Disks that a hook adds to a VM: a free name, and a source that QEMU can open.

use std::collections::HashSet;

use crate::libvirt::{domain, qemu_conf};
use crate::xml::{self, Document, Element, Node};
use crate::{Error, Result};

/// The names that a VM's disks have, `<target dev="..."/>`.
pub struct Targets(HashSet<String>);

impl Targets {
    /// Those of the document's disks.
    pub fn from_document(document: &Document<'_>) -> Targets {
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
        self.take_next_with(prefix, |_| true)
    }

    /// The same of the names whose number, from 0, fits.
    pub fn take_next_with(&mut self, prefix: &str, fits: impl Fn(u32) -> bool) -> String {
        let mut number = 0;
        loop {
            let name = format!("{prefix}{}", letters(number));
            if fits(number) && self.take(&name) {
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
/// VDSM marks every other disk as not to be handed over. And it has to be said to whom: libvirt
/// refuses `relabel="yes"` without a label (tried with libvirt 11.3; 9.0 takes it).
///
/// # Errors
/// The domain keeps libvirt from handing anything over, or the host's settings cannot be read.
pub fn source(document: &Document<'_>, attribute: &str, path: &str) -> Result<Element> {
    if xml::children(domain::root(document)?, "seclabel").any(forbids) {
        return Err(Error::new(
            "the domain's <seclabel model=\"dac\"> keeps libvirt from handing disks over, \
             expected one with relabel=\"yes\" or none",
        ));
    }
    let label = Element::new("label").text(&qemu_conf::label()?);
    let seclabel = Element::new("seclabel")
        .attr("model", "dac")
        .attr("relabel", "yes")
        .child(label);
    Ok(Element::new("source").attr(attribute, path).child(seclabel))
}

/// Whether a domain's seclabel makes libvirt refuse labels of single disks (libvirt 9.0
/// src/conf/domain_validate.c: `virSecurityDeviceLabelDefValidate`). Without `relabel` that is up to its
/// type.
fn forbids(seclabel: Node<'_, '_>) -> bool {
    let kind = xml::attr(seclabel, "type");
    let relabel = xml::attr(seclabel, "relabel");
    let relabel = relabel.map_or(matches!(kind, None | Some("dynamic")), |word| word == "yes");
    xml::attr(seclabel, "model") == Some("dac") && !relabel
}

/// Whether the VM has disks with all of these sources, as a run before this one made them, be it
/// that of an earlier version, which wrote no label. False if it has none.
///
/// # Errors
/// One is a disk of the VM that somebody else has made, or only some are there.
pub fn are_there(document: &Document<'_>, attribute: &str, paths: &[&str]) -> Result<bool> {
    let disks = xml::devices(document, "disk").into_iter();
    let sources = disks.filter_map(|disk| xml::child(disk, "source"));
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for source in sources {
        let path = xml::attr(source, attribute).filter(|path| paths.contains(path));
        let Some(path) = path else { continue };
        let label = xml::child(source, "seclabel");
        match label.and_then(|label| xml::attr(label, "relabel")) {
            Some("yes") => own.push(path),
            _ => others.push(path),
        }
    }
    let all = paths.iter().all(|path| own.contains(path));
    match others.first().or(own.first()) {
        Some(path) if !others.is_empty() || !all => {
            Err(Error::new(format!("{path} is a disk of this VM already")))
        }
        first => Ok(first.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut targets = Targets::from_document(&document);
        assert_eq!(targets.take_next("vd"), "vdb");
        assert_eq!(targets.take_next("vd"), "vdd");
        assert_eq!(targets.take_next("sd"), "sda");
        assert!(targets.take("fda") && !targets.take("fda"));
        assert_eq!(targets.take_next_with("sd", |number| number > 2), "sdd");
        Ok(())
    }

    #[test]
    fn a_domain_may_keep_libvirt_from_handing_over() -> Result {
        for (seclabels, is_taken) in [
            ("", true),
            ("<seclabel type='none'/>", true),
            (
                "<seclabel type='static' model='selinux' relabel='no'/>",
                true,
            ),
            ("<seclabel type='dynamic' model='dac' relabel='yes'/>", true),
            ("<seclabel model='dac'/>", true),
            ("<seclabel type='static' model='dac' relabel='yes'/>", true),
            ("<seclabel type='static' model='dac'/>", false),
            ("<seclabel type='none' model='dac'/>", false),
            (
                "<seclabel type='none'/><seclabel type='static' model='dac' relabel='no'/>",
                false,
            ),
        ] {
            let text = format!("<domain>{seclabels}<devices/></domain>");
            let source = source(&xml::parse(&text)?, "file", "/a");
            assert_eq!(source.is_ok(), is_taken, "{seclabels}");
        }
        Ok(())
    }

    #[test]
    fn own_disks_are_told_from_others() -> Result {
        let text = "<domain><devices><disk/>\
            <disk><source file='/a'><seclabel relabel='yes'/></source></disk>\
            <disk><source file='/b'><seclabel relabel='yes'><label>qemu:qemu</label></seclabel></source></disk>\
            <disk><source file='/c'><seclabel relabel='no'/></source></disk>\
            <disk><source file='/d'/></disk><disk><source dev='/e'/></disk></devices></domain>";
        let document = xml::parse(text)?;
        for (paths, answer) in [
            (&["/a", "/b"][..], Ok(true)),
            (&["/b"], Ok(true)),
            (&["/e", "/f"], Ok(false)),
            (&["/a", "/f"], Err("/a")),
            (&["/c"], Err("/c")),
            (&["/a", "/d"], Err("/d")),
        ] {
            let refusal = |path| format!("{path} is a disk of this VM already");
            let found = are_there(&document, "file", paths);
            let found = found.map_err(|error| error.to_string());
            assert_eq!(found, answer.map_err(refusal), "{paths:?}");
        }
        Ok(())
    }
}
