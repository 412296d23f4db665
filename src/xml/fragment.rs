// SPDX-License-Identifier: GPL-2.0-or-later

//! New elements, to be put into a document by [`Edits`](super::Edits).

use xmltree::{EmitterConfig, XMLNode};

/// An element under construction.
///
/// ```
/// use vdsm_hooks::xml::{self, Edits, Element};
/// # fn main() -> vdsm_hooks::Result {
/// let document = xml::parse("<disk/>")?;
/// let mut edits = Edits::new(&document);
/// let driver = Element::new("driver").attr("name", "qemu");
/// edits.append(document.root_element(), &driver.child(Element::new("metadata_cache")));
/// assert_eq!(
///     edits.finish()?.as_deref(),
///     Some(r#"<disk><driver name="qemu"><metadata_cache/></driver></disk>"#)
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Element(xmltree::Element);

impl Element {
    /// An empty element. `name` may carry a prefix, as [`Edits::bind`](super::Edits::bind) gives
    /// it: `qemu:arg`.
    pub fn new(name: &str) -> Self {
        Element(xmltree::Element::new(name))
    }

    /// Adds an attribute, after those there are.
    #[must_use]
    pub fn attr(mut self, name: &str, value: &str) -> Self {
        self.0.attributes.insert(name.into(), value.to_owned());
        self
    }

    /// Adds a child element, after what there is.
    #[must_use]
    pub fn child(mut self, child: Element) -> Self {
        self.0.children.push(XMLNode::Element(child.0));
        self
    }

    /// Adds text, after what there is.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.0.children.push(XMLNode::Text(text.to_owned()));
        self
    }

    /// The element as XML text, on one line.
    pub(super) fn to_xml(&self) -> String {
        let config = EmitterConfig::new()
            .write_document_declaration(false)
            .perform_indent(false)
            .pad_self_closing(false);
        let mut bytes = Vec::new();
        // Writing to memory cannot fail, and names come from hooks; what is malformed all the
        // same is caught when the result is parsed.
        let _ = self.0.write_with_config(&mut bytes, config);
        let text = String::from_utf8(bytes).unwrap_or_default();
        // The writer leaves tab and CR as they are, and a parser would read a blank for the one
        // and LF for the other. There is no white space here that does not come from a value.
        text.replace('\t', "&#9;").replace('\r', "&#13;")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_as_they_were() {
        let value = "a&b<c>\"d'\n\te\r\u{85}\u{2028}é😀";
        let xml = Element::new("a")
            .attr("v", value)
            .child(Element::new("b").text(value))
            .to_xml();
        let document = roxmltree::Document::parse(&xml).map_err(|error| error.to_string());
        let document = document.as_ref().map(roxmltree::Document::root_element);
        assert_eq!(document.map(|a| a.attribute("v")), Ok(Some(value)), "{xml}");
        assert_eq!(
            document.map(|a| a.first_child().and_then(|b| b.text())),
            Ok(Some(value)),
            "{xml}"
        );
    }

    #[test]
    fn elements_are_written_tight() {
        let element =
            Element::new("qemu:commandline").child(Element::new("qemu:arg").attr("value", "-S"));
        assert_eq!(
            element.to_xml(),
            "<qemu:commandline><qemu:arg value=\"-S\"/></qemu:commandline>"
        );
    }
}
