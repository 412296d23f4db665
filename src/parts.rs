// SPDX-License-Identifier: GPL-2.0-or-later

//! The parts of a domain, each in a small domain of its own: so that what is wrong with one part
//! can be told where others are wrong as well. A validator names only the first problem that it
//! meets, and the engine's own documents have one that no schema of libvirt's takes.

use crate::Result;
use crate::xml::{self, Node};

/// What a domain needs; a part takes the place of its like.
const NEEDED: [(&str, &str); 3] = [
    ("name", "<name>x</name>"),
    ("memory", "<memory>1048576</memory>"),
    ("os", "<os><type>hvm</type></os>"),
];

/// What one document has and another one does not, or has fewer of.
pub struct Changed {
    /// Parts of the first, as domains.
    pub gone: Vec<String>,
    /// Parts of the second, as domains.
    pub come: Vec<String>,
}

/// The parts in which two documents differ to the byte: devices, and the other elements of a
/// domain. A document may be one device. Seclabels of the engine's kind that the first document
/// has are left out of both, lest new problems of a disk hide behind them.
///
/// # Errors
/// One of them is not well-formed.
pub fn changed(before: &str, after: &str) -> Result<Changed> {
    let engines = seclabels(before)?;
    let before = parts(before, &engines)?;
    let after = parts(after, &engines)?;
    Ok(Changed {
        gone: without(&before, &after),
        come: without(&after, &before),
    })
}

/// A document as a domain: a device in the smallest one there is.
///
/// # Errors
/// It is not well-formed.
pub fn as_domain(text: &str) -> Result<String> {
    let document = xml::parse(text)?;
    let root = document.root_element();
    Ok(match xml::is(root, "domain") {
        true => text.to_owned(),
        false => wrapped(root, true, &[]),
    })
}

/// The document's seclabels with a type below a source: the engine writes `type="none"` there,
/// which no schema takes.
fn seclabels(text: &str) -> Result<Vec<String>> {
    let document = xml::parse(text)?;
    let all = document
        .descendants()
        .filter(|node| is_typed_seclabel(*node));
    Ok(all.map(|node| text[node.range()].to_owned()).collect())
}

fn is_typed_seclabel(node: Node<'_, '_>) -> bool {
    xml::is(node, "seclabel")
        && node
            .parent()
            .is_some_and(|parent| xml::is(parent, "source"))
        && xml::attr(node, "type").is_some()
}

fn parts(text: &str, engines: &[String]) -> Result<Vec<String>> {
    let document = xml::parse(text)?;
    let root = document.root_element();
    if !xml::is(root, "domain") {
        return Ok(vec![wrapped(root, true, engines)]);
    }
    let mut parts = Vec::new();
    for part in root.children().filter(Node::is_element) {
        if xml::is(part, "devices") {
            let devices = part.children().filter(Node::is_element);
            parts.extend(devices.map(|device| wrapped(device, true, engines)));
        } else {
            parts.push(wrapped(part, false, engines));
        }
    }
    Ok(parts)
}

fn wrapped(part: Node<'_, '_>, is_device: bool, left_out: &[String]) -> String {
    let mut text = String::from("<domain type='kvm'");
    // A device that stands alone declares its own.
    let above = part.parent().filter(Node::is_element);
    for namespace in above.iter().flat_map(Node::namespaces) {
        if let Some(prefix) = namespace.name().filter(|prefix| *prefix != "xml") {
            text += &format!(" xmlns:{prefix}='{}'", namespace.uri());
        }
    }
    text.push('>');
    let needed = NEEDED.iter();
    let others = needed.filter(|(name, _)| is_device || !xml::is(part, name));
    text.extend(others.map(|(_, element)| *element));
    let part = source_of(part, left_out);
    text + &match is_device {
        true => format!("<devices>{part}</devices></domain>"),
        false => format!("{part}</domain>"),
    }
}

/// The element's text without those seclabels.
fn source_of(part: Node<'_, '_>, left_out: &[String]) -> String {
    let all = part.document().input_text();
    let mut text = String::new();
    let mut from = part.range().start;
    for node in part.descendants().filter(|node| is_typed_seclabel(*node)) {
        let range = node.range();
        if left_out.iter().any(|one| *one == all[range.clone()]) {
            text += &all[from..range.start];
            from = range.end;
        }
    }
    text + &all[from..part.range().end]
}

/// What is in `these` more often than in `those`.
fn without(these: &[String], those: &[String]) -> Vec<String> {
    let mut left: Vec<&String> = those.iter().collect();
    let mut more = Vec::new();
    for one in these {
        match left.iter().position(|other| *other == one) {
            Some(at) => drop(left.swap_remove(at)),
            None => more.push(one.clone()),
        }
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_differ() -> Result {
        let before = "<domain xmlns:q='urn:q'><name>a</name><q:x/><devices><disk/><disk/></devices></domain>";
        let after =
            "<domain xmlns:q='urn:q'><name>b</name><q:x/><devices><disk/><nic/></devices></domain>";
        let changed = changed(before, after)?;
        let start = "<domain type='kvm' xmlns:q='urn:q'>";
        let [name, memory, os] = NEEDED.map(|(_, element)| element);
        let device =
            |device| format!("{start}{name}{memory}{os}<devices>{device}</devices></domain>");
        let named = |name| format!("{start}{memory}{os}<name>{name}</name></domain>");
        assert_eq!(changed.gone, [named("a"), device("<disk/>")]);
        assert_eq!(changed.come, [named("b"), device("<nic/>")]);
        Ok(())
    }

    #[test]
    fn the_engines_seclabels_are_left_out() -> Result {
        let disk = |more, label| {
            format!("<disk{more}><source a=''><seclabel relabel='no'{label}/></source></disk>")
        };
        let before = disk("", " type='none'");
        for (after, seclabel) in [
            (disk(" b=''", " type='none'"), ""),
            (
                disk(" b=''", " type='x'"),
                "<seclabel relabel='no' type='x'/>",
            ),
            (disk(" b=''", ""), "<seclabel relabel='no'/>"),
        ] {
            let changed = changed(&before, &after)?;
            assert!(changed.gone[0].contains("<source a=''></source>"));
            let wanted = format!("<disk b=''><source a=''>{seclabel}</source></disk>");
            assert!(changed.come[0].contains(&wanted), "{}", changed.come[0]);
        }
        Ok(())
    }

    #[test]
    fn a_device_becomes_a_domain() -> Result {
        let text = as_domain("<?xml version='1.0'?><disk a='1'/>")?;
        assert!(
            text.ends_with("<devices><disk a='1'/></devices></domain>"),
            "{text}"
        );
        assert_eq!(as_domain("<domain/>")?, "<domain/>");
        let changed = changed("<disk a='1'/>", "<disk a='2'/>")?;
        assert_eq!((changed.gone.len(), changed.come.len()), (1, 1));
        Ok(())
    }
}
