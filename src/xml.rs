// SPDX-License-Identifier: GPL-2.0-or-later

//! Reading and editing XML without touching what was not meant.
//!
//! Documents are parsed read-only by roxmltree; [`Edits`] records what should change and copies
//! every other byte. roxmltree's own `attribute("x")` and `has_tag_name("x")` ignore namespaces
//! (of `q:x="1" x="2"` the first is returned), so hooks read through the functions of this module.
//!
//! ```
//! use vdsm_hooks::xml::{self, Edits, Element};
//! # fn main() -> vdsm_hooks::Result {
//! let document = xml::parse("<domain><cpu mode='custom'/></domain>")?;
//! let mut edits = Edits::new(&document);
//! for cpu in xml::children(document.root_element(), "cpu") {
//!     edits.set_attr(cpu, "mode", "host-model");
//!     edits.append(cpu, &Element::new("topology").attr("sockets", "1"));
//! }
//! let new = r#"<domain><cpu mode='host-model'><topology sockets="1"/></cpu></domain>"#;
//! assert_eq!(edits.finish()?.as_deref(), Some(new));
//! # Ok(())
//! # }
//! ```

mod bounds;
mod edit;
mod fragment;

pub use edit::Edits;
pub use fragment::Element;
pub use roxmltree::{Document, Node};

use crate::{Context as _, Error, Result};

/// The most nodes a document may have; a VM with 1,000 disks has about 20,000.
const MAX_NODES: u32 = 500_000;

/// Parses a document. Any `<!DOCTYPE` is refused, and with it every way for an entity to grow.
///
/// It takes no longer than in proportion to the length of the text: what the parser would be long
/// about is refused before, see `bounds.rs`.
///
/// # Errors
/// Not well-formed, a DTD, more of something than any domain has, or an encoding other than UTF-8
/// declared for text that is not plain ASCII.
pub fn parse(text: &str) -> Result<Document<'_>> {
    parse_with_options(text, false)
}

/// [`parse`] for a file of the host's administrator, which may have a `<!DOCTYPE`. What that names
/// is not fetched, and it declares no entities.
///
/// # Errors
/// As [`parse`], but for the DTD.
pub fn parse_with_dtd(text: &str) -> Result<Document<'_>> {
    parse_with_options(text, true)
}

/// Whether the text is well-formed, with a DTD or without, whatever encoding it declares.
///
/// # Errors
/// It is not, or has more of something than any domain.
pub fn check_well_formed(text: &str) -> Result {
    read(text, true).map(drop)
}

fn parse_with_options(text: &str, allow_dtd: bool) -> Result<Document<'_>> {
    let document = read(text, allow_dtd)?;
    if let Some(encoding) = declared_encoding(text) {
        let harmless = ["utf-8", "utf8", "us-ascii", "ascii"];
        if !text.is_ascii() && !harmless.contains(&encoding.to_ascii_lowercase().as_str()) {
            return Err(Error::new(format!(
                "declares the encoding {encoding:?} but holds UTF-8 text"
            )));
        }
    }
    Ok(document)
}

fn read(text: &str, allow_dtd: bool) -> Result<Document<'_>> {
    let options = roxmltree::ParsingOptions {
        nodes_limit: MAX_NODES,
        allow_dtd,
        ..Default::default()
    };
    bounds::check(text, allow_dtd).context("cannot parse XML")?;
    Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::NodesLimitReached => Error::new(format!(
            "cannot parse XML: more than {MAX_NODES} nodes, which is more than any such document has"
        )),
        error => Error::new(format!("cannot parse XML: {error}")),
    })
}

/// The encoding that the XML declaration names, if there is one.
fn declared_encoding(text: &str) -> Option<&str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let declaration = text.strip_prefix("<?xml")?.split("?>").next()?;
    let value = declaration
        .split("encoding")
        .nth(1)?
        .trim_start()
        .strip_prefix('=')?
        .trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split(quote).next()
}

/// Whether `node` is an element `name` in no namespace: the kind libvirt's own elements are.
pub fn is(node: Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().namespace().is_none() && node.tag_name().name() == name
}

/// The value of the attribute `name` in no namespace.
pub fn attr<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes()
        .find(|attribute| attribute.namespace().is_none() && attribute.name() == name)
        .map(|attribute| attribute.value())
}

/// The children of `node` that are elements `name`.
pub fn children<'a, 'i>(
    node: Node<'a, 'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i> {
    node.children().filter(move |child| is(*child, name))
}

/// The first child of `node` that is an element `name`.
pub fn child<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> Option<Node<'a, 'i>> {
    children(node, name).next()
}

/// The decoded text directly inside `node`, all pieces of it, without that of its children.
pub fn text(node: Node<'_, '_>) -> String {
    node.children()
        .filter(Node::is_text)
        .filter_map(|piece| piece.text())
        .collect()
}

/// The devices `name` of a domain, `/domain/devices/<name>`; or the root itself in the events
/// whose document is one bare device.
pub fn devices<'a, 'i>(document: &'a Document<'i>, name: &'static str) -> Vec<Node<'a, 'i>> {
    let root = document.root_element();
    if is(root, name) {
        return vec![root];
    }
    if !is(root, "domain") {
        return Vec::new();
    }
    children(root, "devices")
        .flat_map(|devices| children(devices, name))
        .collect()
}

/// Checks that XML 1.0 can carry every character of `value` (its production `Char`, section 2.2).
///
/// # Errors
/// The first character that it cannot, and its place counted from 1.
pub fn check_characters(value: &str) -> Result {
    let fits = |c: char| !matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}');
    match value.chars().enumerate().find(|(_, c)| !fits(*c)) {
        None => Ok(()),
        Some((place, c)) => Err(Error::new(format!(
            "XML cannot carry the character U+{:04X}, at character {} of {}",
            u32::from(c),
            place + 1,
            crate::props::quoted(value)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_compare_namespaces() -> Result {
        let document = parse("<d xmlns:q='urn:q'><q:x/><x q:a='1' a='2'/>t<x>u</x>v</d>")?;
        let root = document.root_element();
        assert_eq!(children(root, "x").count(), 2);
        assert_eq!(child(root, "x").and_then(|x| attr(x, "a")), Some("2"));
        assert_eq!(text(root), "tv");
        Ok(())
    }

    #[test]
    fn a_configuration_may_name_its_dtd() {
        let text = "<!DOCTYPE d SYSTEM 'd.dtd'><d>x</d>";
        assert!(parse(text).is_err());
        assert!(parse_with_dtd(text).is_ok());
        // Entities could be made to grow: every declaration of one is refused.
        let bomb = "<!DOCTYPE d [<!ENTITY a 'x'><!ENTITY b '&a;&a;'><!ENTITY c '&c;'>]><d>&c;</d>";
        assert!(parse_with_dtd(bomb).is_err());
    }

    #[test]
    fn what_is_no_plain_utf8_xml_is_refused() {
        for (text, why) in [
            ("<!DOCTYPE d []><d/>", "DTD"),
            ("<d>&boom;</d>", "boom"),
            ("<d>", "XML"),
            ("", "XML"),
            (
                "<?xml version='1.0' encoding='ISO-8859-1'?><d>\u{e9}</d>",
                "ISO-8859-1",
            ),
        ] {
            let error = parse(text)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        for fine in [
            "<?xml version='1.0' encoding=\"utf-8\"?><d>\u{e9}</d>",
            "<?xml version='1.0' encoding='latin1'?><d>e</d>",
            "\u{feff}<d/>",
        ] {
            assert!(parse(fine).is_ok(), "{fine:?}");
        }
    }
}
