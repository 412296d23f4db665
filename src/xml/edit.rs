// SPDX-License-Identifier: GPL-2.0-or-later

//! Byte-exact editing: what should change is recorded per element, turned into splices once, and
//! every other byte of the source is copied.

use std::collections::BTreeMap;
use std::ops::Range;

use roxmltree::{Document, Node, NodeId};

use super::bounds::{self, MAX_MARKS};
use super::{Element, MAX_NODES};
use crate::{Error, Result};

/// How long an indentation may be, with its line break: that of 256 elements inside each other at
/// four blanks each.
const MAX_INDENT_BYTES: usize = 1025;

/// A text of this length has fewer nodes than a document may have, however dense it is: five bytes
/// hold two, as in `<a/>b`.
const MAX_KNOWN_BYTES: usize = MAX_NODES as usize / 2 * 5;

/// The changes that a hook wants in a document. The document itself stays as it arrived; a hook
/// does not see its own edits.
///
/// An edit inside an element that is removed, replaced or given a new text is dropped: the outer
/// edit wins, whatever the order of the calls.
///
/// ```
/// use vdsm_hooks::xml::{self, Edits, Element};
/// # fn main() -> vdsm_hooks::Result {
/// let document = xml::parse("<a><b c='1'/>  <d/></a>")?;
/// let mut edits = Edits::new(&document);
/// for node in xml::children(document.root_element(), "b") {
///     edits.set_attr(node, "c", "2");
///     edits.insert_after(node, &Element::new("e"));
/// }
/// // The blanks, the quotes and whatever else is there stay.
/// let text = edits.finish()?.unwrap_or_default();
/// assert_eq!(text, "<a><b c='2'/><e/>  <d/></a>");
/// # Ok(())
/// # }
/// ```
pub struct Edits<'a> {
    document: &'a Document<'a>,
    /// By where the element starts, which is document order.
    changes: BTreeMap<usize, Change>,
    /// Prefixes that this edit declares on the root.
    bound: Vec<(String, String)>,
    /// The `<` of all new elements.
    marks: usize,
    /// The first value that XML cannot carry; or more elements than may be.
    refused: Option<Error>,
}

/// All that happens to one element.
struct Change {
    node: NodeId,
    /// The last word on each attribute; none removes it.
    attributes: Vec<(String, Option<String>)>,
    /// The new content, escaped.
    text: Option<String>,
    before: Vec<String>,
    after: Vec<String>,
    prepended: Vec<String>,
    appended: Vec<String>,
    /// Gone, with what comes in its place.
    removed: Option<Vec<String>>,
}

/// One replacement. Of several at one place an insertion after the preceding element comes first,
/// then one at the end of the parent, then one before the following element.
struct Splice {
    range: Range<usize>,
    rank: Rank,
    text: String,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    After,
    Append,
    Before,
}

impl<'a> Edits<'a> {
    /// No edits yet.
    pub fn new(document: &'a Document<'a>) -> Self {
        Edits {
            document,
            changes: BTreeMap::new(),
            bound: Vec::new(),
            marks: 0,
            refused: None,
        }
    }

    /// Sets the attribute `name` (in no namespace). One that is there keeps its place and its
    /// quotes; a new one comes last.
    pub fn set_attr(&mut self, node: Node<'_, '_>, name: &str, value: &str) {
        self.check(value);
        self.attribute(node, name, Some(value.to_owned()));
    }

    /// Removes the attribute `name`, if it is there.
    pub fn remove_attr(&mut self, node: Node<'_, '_>, name: &str) {
        self.attribute(node, name, None);
    }

    /// Adds a first child.
    pub fn prepend(&mut self, parent: Node<'_, '_>, element: &Element) {
        if let Some(xml) = self.fragment(element) {
            self.change(parent).prepended.push(xml);
        }
    }

    /// Adds a last child; several come in the order of the calls.
    pub fn append(&mut self, parent: Node<'_, '_>, element: &Element) {
        if let Some(xml) = self.fragment(element) {
            self.change(parent).appended.push(xml);
        }
    }

    /// Puts an element before `node`.
    pub fn insert_before(&mut self, node: Node<'_, '_>, element: &Element) {
        if let Some(xml) = self.fragment(element) {
            self.change(node).before.push(xml);
        }
    }

    /// Puts an element after `node`.
    pub fn insert_after(&mut self, node: Node<'_, '_>, element: &Element) {
        if let Some(xml) = self.fragment(element) {
            self.change(node).after.push(xml);
        }
    }

    /// Puts an element in the place of `node`.
    pub fn replace(&mut self, node: Node<'_, '_>, element: &Element) {
        if let Some(xml) = self.fragment(element) {
            self.change(node).removed = Some(vec![xml]);
        }
    }

    /// Removes an element; with its line, if it is alone on it.
    pub fn remove(&mut self, node: Node<'_, '_>) {
        self.change(node).removed.get_or_insert_default();
    }

    /// Replaces everything between the tags of `node` by `text`.
    pub fn set_text(&mut self, node: Node<'_, '_>, text: &str) {
        self.check(text);
        let unchanged = node.children().all(|child| child.is_text()) && super::text(node) == text;
        self.change(node).text = (!unchanged).then(|| escape(text, None));
    }

    /// The prefix to use for elements of the namespace `uri` that are going to be inside
    /// `parent`: the one that is in scope there, else `prefix`, which is then declared on the
    /// root. A prefix that means something else is never bound anew: the next of `prefix1`,
    /// `prefix2`, ... is taken.
    pub fn bind(&mut self, parent: Node<'_, '_>, prefix: &str, uri: &str) -> String {
        let in_scope = parent
            .namespaces()
            .find(|n| n.uri() == uri && n.name().is_some());
        if let Some(name) = in_scope.and_then(roxmltree::Namespace::name) {
            return name.to_owned();
        }
        let root = self.document.root_element();
        let taken = |name: &str| {
            let here = parent.namespaces().chain(root.namespaces());
            here.into_iter()
                .any(|namespace| namespace.name() == Some(name))
        };
        for candidate in
            std::iter::once(prefix.to_owned()).chain((1u32..).map(|n| format!("{prefix}{n}")))
        {
            match self.bound.iter().find(|(name, _)| *name == candidate) {
                Some((_, bound)) if bound == uri => return candidate,
                Some(_) => {}
                None if taken(&candidate) => {}
                None => {
                    self.attribute(root, &format!("xmlns:{candidate}"), Some(uri.to_owned()));
                    self.bound.push((candidate.clone(), uri.to_owned()));
                    return candidate;
                }
            }
        }
        unreachable!("some number is free")
    }

    /// The new text of the document; none if nothing changes.
    ///
    /// # Errors
    /// A value with a character that XML 1.0 cannot carry, or a result that does not parse.
    pub fn finish(mut self) -> Result<Option<String>> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        let source = self.document.input_text();
        let mut splices = self.splices();
        if splices.is_empty() {
            return Ok(None);
        }
        splices.sort_by(|a, b| {
            (a.range.start, a.range.end, &a.rank).cmp(&(b.range.start, b.range.end, &b.rank))
        });
        let mut new = String::with_capacity(source.len() + 1024);
        let mut copied = 0;
        for splice in &splices {
            if splice.range.start < copied {
                return Err(Error::new("internal error: edits overlap"));
            }
            new.push_str(&source[copied..splice.range.start]);
            new.push_str(&splice.text);
            copied = splice.range.end;
        }
        new.push_str(&source[copied..]);
        if new == source {
            return Ok(None);
        }
        self.check_result(&new, &splices)
            .map_err(|error| Error::new(format!("the result is not XML: {error}")))?;
        Ok(Some(new))
    }

    /// Whether the result can be read. An element with nothing new inside has been read before, and
    /// is in the same elements as then, so that the rest tells, at a fraction of the cost.
    fn check_result(&self, new: &str, splices: &[Splice]) -> Result {
        if self.reaches_what_is_known(new) {
            return super::parse(new).map(drop);
        }
        bounds::check(new, false)?;
        super::parse(&self.what_is_new(splices))?;
        if cfg!(debug_assertions) {
            super::parse(new)?;
        }
        Ok(())
    }

    /// Whether what is new may have a meaning for what is not: a namespace was declared or taken away,
    /// or there may be more nodes in all than a document may have.
    fn reaches_what_is_known(&self, new: &str) -> bool {
        let mut attributes = self.changes.values().flat_map(|change| &change.attributes);
        attributes.any(|(name, _)| name.starts_with("xmlns")) || new.len() > MAX_KNOWN_BYTES
    }

    /// The result with a blank in place of each element that has nothing new inside.
    fn what_is_new(&self, splices: &[Splice]) -> String {
        let source = self.document.input_text();
        let mut known = Vec::new();
        find_known(self.document.root_element(), splices, &mut known);
        let mut known = known.into_iter().peekable();
        let mut what_is_new = String::new();
        let mut at = 0;
        let end = source.len()..source.len();
        for (next, text) in splices
            .iter()
            .map(|splice| (&splice.range, splice.text.as_str()))
            .chain([(&end, "")])
        {
            while let Some(element) = known.next_if(|element| element.end <= next.start) {
                what_is_new.push_str(&source[at..element.start]);
                // Not that a text before it and one behind it become one.
                what_is_new.push(' ');
                at = element.end;
            }
            what_is_new.push_str(&source[at..next.start]);
            what_is_new.push_str(text);
            at = next.end;
        }
        what_is_new
    }

    fn change(&mut self, node: Node<'_, '_>) -> &mut Change {
        self.changes
            .entry(node.range().start)
            .or_insert_with(|| Change {
                node: node.id(),
                attributes: Vec::new(),
                text: None,
                before: Vec::new(),
                after: Vec::new(),
                prepended: Vec::new(),
                appended: Vec::new(),
                removed: None,
            })
    }

    fn attribute(&mut self, node: Node<'_, '_>, name: &str, value: Option<String>) {
        let attributes = &mut self.change(node).attributes;
        match attributes.iter_mut().find(|(known, _)| known == name) {
            Some((_, last)) => *last = value,
            None => attributes.push((name.to_owned(), value)),
        }
    }

    /// None once something is refused: of that no more need be made, nor kept. One value may ask for
    /// hundreds of elements in each of very many devices.
    fn fragment(&mut self, element: &Element) -> Option<String> {
        if self.refused.is_some() {
            return None;
        }
        let xml = element.to_xml();
        self.check(&xml);
        self.marks += xml.matches('<').count();
        if self.marks > MAX_MARKS {
            let problem = bounds::too_many(MAX_MARKS, "new '<'");
            self.refused = Some(problem);
        }
        Some(xml)
    }

    fn check(&mut self, value: &str) {
        if let (None, Err(error)) = (&self.refused, super::check_characters(value)) {
            self.refused = Some(error);
        }
    }

    fn splices(&self) -> Vec<Splice> {
        let mut splices = Vec::new();
        let mut dropped_until = 0;
        for (&start, change) in &self.changes {
            if start < dropped_until {
                continue;
            }
            let Some(node) = self.document.get_node(change.node) else {
                continue;
            };
            let element = Layout::new(self.document.input_text(), node);
            if change.removed.is_some() || change.text.is_some() {
                dropped_until = element.range.end;
            }
            change.splice(&element, &mut splices);
        }
        splices
    }
}

/// The elements below `parent` with no splice inside, the outermost of each, in document order. What a
/// splice takes away is none of them.
fn find_known(parent: Node<'_, '_>, splices: &[Splice], known: &mut Vec<Range<usize>>) {
    for element in parent.children().filter(Node::is_element) {
        let range = element.range();
        // They do not overlap, and are in order.
        let first = splices.partition_point(|splice| splice.range.end <= range.start);
        match splices.get(first) {
            Some(splice) if splice.range.start < range.end => find_known(element, splices, known),
            _ => known.push(range),
        }
    }
}

impl Change {
    fn splice(&self, element: &Layout<'_>, splices: &mut Vec<Splice>) {
        let mut add =
            |range: Range<usize>, rank, text: String| splices.push(Splice { range, rank, text });
        let indent = element.indent();
        let Range { start, end } = element.range;
        if let Some(instead) = &self.removed {
            let pieces: Vec<&str> = self
                .before
                .iter()
                .chain(instead)
                .chain(&self.after)
                .map(String::as_str)
                .collect();
            if pieces.is_empty() {
                add(element.line(), Rank::Before, String::new());
            } else {
                add(start..end, Rank::Before, pieces.join(indent));
            }
            return;
        }
        for xml in &self.before {
            add(start..start, Rank::Before, format!("{xml}{indent}"));
        }
        for xml in &self.after {
            add(end..end, Rank::After, format!("{indent}{xml}"));
        }
        for (name, value) in &self.attributes {
            if let Some((range, text)) = element.attribute(name, value.as_deref()) {
                add(range, Rank::After, text);
            }
        }
        let content = |text: &str| self.prepended.concat() + text + &self.appended.concat();
        let changes_content =
            self.text.is_some() || !self.prepended.is_empty() || !self.appended.is_empty();
        match &element.body {
            _ if !changes_content => {}
            // `<a/>` becomes `<a>...</a>`.
            None => {
                let content = content(self.text.as_deref().unwrap_or_default());
                let text = format!(">{content}</{}>", element.name);
                add(element.open_end..end, Rank::Append, text);
            }
            Some(body) => match &self.text {
                Some(text) => add(body.clone(), Rank::Append, content(text)),
                None => {
                    let (first, last) = element.child_indents();
                    for xml in &self.prepended {
                        add(body.start..body.start, Rank::After, format!("{first}{xml}"));
                    }
                    let at = if last.is_empty() {
                        body.end
                    } else {
                        element.content_end()
                    };
                    for xml in &self.appended {
                        add(at..at, Rank::Append, format!("{last}{xml}"));
                    }
                }
            },
        }
    }
}

/// Where the parts of an element are in the source. roxmltree does not tell; the source has
/// been parsed, so a plain scan is sound.
struct Layout<'a> {
    source: &'a str,
    node: Node<'a, 'a>,
    range: Range<usize>,
    name: &'a str,
    name_end: usize,
    attributes: Vec<Attribute<'a>>,
    /// Where the `>` or `/>` of the start tag begins, blanks before a `/>` included.
    open_end: usize,
    /// What is between the tags; none for `<a/>`.
    body: Option<Range<usize>>,
}

struct Attribute<'a> {
    name: &'a str,
    /// With the blanks before it.
    range: Range<usize>,
    /// Without the quotes.
    value: Range<usize>,
    quote: char,
}

impl<'a> Layout<'a> {
    fn new(source: &'a str, node: Node<'a, 'a>) -> Self {
        let range = node.range();
        let bytes = source.as_bytes();
        let blank = |at: usize| matches!(bytes[at], b' ' | b'\t' | b'\r' | b'\n');
        let word_end = |mut at: usize| {
            while !blank(at) && !matches!(bytes[at], b'/' | b'>' | b'=') {
                at += 1;
            }
            at
        };
        let name_end = word_end(range.start + 1);
        let name = &source[range.start + 1..name_end];
        let mut attributes = Vec::new();
        let mut at = name_end;
        let (mut open_end, empty, tag_end) = loop {
            let blanks = at;
            while blank(at) {
                at += 1;
            }
            match bytes[at] {
                b'>' => break (at, false, at + 1),
                b'/' => break (blanks, true, at + 2),
                _ => {}
            }
            let attribute = at..word_end(at);
            at = attribute.end;
            while !matches!(bytes[at], b'"' | b'\'') {
                at += 1;
            }
            let quote = char::from(bytes[at]);
            let value = at + 1..at + 1 + source[at + 1..].find(quote).unwrap_or_default();
            at = value.end + 1;
            attributes.push(Attribute {
                name: &source[attribute],
                range: blanks..at,
                value,
                quote,
            });
        };
        let body = (!empty).then(|| {
            let close = source[range.clone()].rfind("</").unwrap_or_default();
            tag_end..range.start + close
        });
        if body.is_some() {
            open_end = tag_end;
        }
        Layout {
            source,
            node,
            range,
            name,
            name_end,
            attributes,
            open_end,
            body,
        }
    }

    /// The splice that sets or removes an attribute; none where there is nothing to do.
    fn attribute(&self, name: &str, value: Option<&str>) -> Option<(Range<usize>, String)> {
        let present = self
            .attributes
            .iter()
            .find(|attribute| attribute.name == name);
        match (present, value) {
            (None, None) => None,
            (Some(present), None) => Some((present.range.clone(), String::new())),
            (Some(_), Some(value)) if super::attr(self.node, name) == Some(value) => None,
            (Some(present), Some(value)) => {
                Some((present.value.clone(), escape(value, Some(present.quote))))
            }
            (None, Some(value)) => {
                let at = self
                    .attributes
                    .last()
                    .map_or(self.name_end, |last| last.range.end);
                Some((at..at, format!(" {name}=\"{}\"", escape(value, Some('"')))))
            }
        }
    }

    /// The line break and blanks before the element, empty if it does not begin its line.
    fn indent(&self) -> &'a str {
        indent_at(self.source, self.range.start)
    }

    /// The element, with its line break and indentation if it is alone on its line.
    fn line(&self) -> Range<usize> {
        let rest = self.source[self.range.end..].trim_start_matches([' ', '\t']);
        if self.indent().is_empty() || !rest.starts_with(['\n', '\r']) {
            return self.range.clone();
        }
        self.range.start - self.indent().len()..self.range.end
    }

    /// What to put before a new first and a new last child: copied from the present ones.
    fn child_indents(&self) -> (&'a str, &'a str) {
        let mut elements = self.node.children().filter(Node::is_element);
        let first = elements.next();
        let last = elements.next_back().or(first);
        let indent = |child: Option<Node<'_, '_>>| {
            child.map_or("", |child| indent_at(self.source, child.range().start))
        };
        (indent(first), indent(last))
    }

    /// Where the content ends, without the white space before the end tag.
    fn content_end(&self) -> usize {
        let body = self.body.clone().unwrap_or_default();
        body.start
            + self.source[body]
                .trim_end_matches([' ', '\t', '\r', '\n'])
                .len()
    }
}

/// The line break and blanks right before `at`; empty if anything else does, or more
/// than is repeated for every new element.
fn indent_at(source: &str, at: usize) -> &str {
    let line = source[..at].trim_end_matches([' ', '\t']);
    let start = match line.strip_suffix('\n') {
        Some(rest) if at - rest.len() <= MAX_INDENT_BYTES => {
            rest.strip_suffix('\r').unwrap_or(rest).len()
        }
        _ => at,
    };
    &source[start..at]
}

/// Escapes an attribute's value for its `quote`, or a text.
fn escape(value: &str, quote: Option<char>) -> String {
    let mut escaped = String::with_capacity(value.len() + 8);
    for c in value.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' if quote == Some('"') => escaped.push_str("&quot;"),
            '\'' if quote == Some('\'') => escaped.push_str("&apos;"),
            // A parser would turn these into blanks, and CR LF into LF.
            '\r' => escaped.push_str("&#13;"),
            '\n' if quote.is_some() => escaped.push_str("&#10;"),
            '\t' if quote.is_some() => escaped.push_str("&#9;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_result_only_what_is_new_is_read_again() -> Result {
        let text = "<a><b><c x='1'/><d><e/></d></b>]]<f><g/></f>><h/></a>";
        let document = crate::xml::parse(text)?;
        let node = |name: &str| {
            let mut all = document.descendants();
            all.find(|node| node.has_tag_name(name))
                .ok_or_else(|| Error::new(name))
        };
        let mut edits = Edits::new(&document);
        edits.set_attr(node("c")?, "x", "2");
        edits.append(node("b")?, &Element::new("n"));
        edits.remove(node("h")?);
        let mut splices = edits.splices();
        splices.sort_by_key(|splice| splice.range.start);
        let new = "<a><b><c x=\"2\"/> <n/></b>]] ></a>".replace('"', "'");
        assert_eq!(edits.what_is_new(&splices), new);
        let whole = "<a><b><c x='2'/><d><e/></d><n/></b>]]<f><g/></f>></a>";
        assert_eq!(edits.finish()?.as_deref(), Some(whole));
        Ok(())
    }

    #[test]
    fn a_result_with_more_nodes_than_may_be_is_refused() -> Result {
        // Two nodes in five bytes, all of them as they were.
        let text = format!("<a><b>{}</b></a>", "<c/>d".repeat(249_990));
        let document = crate::xml::parse(&text)?;
        let mut edits = Edits::new(&document);
        for _ in 0..20 {
            edits.append(document.root_element(), &Element::new("e"));
        }
        let mut splices = edits.splices();
        splices.sort_by_key(|splice| splice.range.start);
        let new = text.replace("</a>", &("<e/>".repeat(20) + "</a>"));
        assert!(crate::xml::parse(&new).is_err());
        // What is new would pass for all of it.
        assert!(crate::xml::parse(&edits.what_is_new(&splices)).is_ok());
        assert!(edits.reaches_what_is_known(&new));
        assert!(!edits.reaches_what_is_known(&new[..MAX_KNOWN_BYTES]));
        assert!(edits.finish().is_err());
        Ok(())
    }

    #[test]
    fn more_new_elements_than_may_be_are_not_even_made() -> Result {
        let document = crate::xml::parse("<a/>")?;
        let mut edits = Edits::new(&document);
        // As if a property had asked for that many, in each of very many devices.
        edits.marks = MAX_MARKS - 1;
        let root = document.root_element();
        let new = Element::new("b");
        for _ in 0..1000 {
            edits.append(root, &new);
            edits.prepend(root, &new);
            edits.insert_before(root, &new);
            edits.insert_after(root, &new);
            edits.replace(root, &new);
        }
        let made: Vec<_> = edits.changes.values().collect();
        assert_eq!(made.len(), 1);
        assert_eq!(
            (&made[0].appended[..], &made[0].prepended[..]),
            (&["<b/>".to_owned()][..], &["<b/>".to_owned()][..])
        );
        assert!(made[0].before.is_empty() && made[0].after.is_empty() && made[0].removed.is_none());
        let refused = edits.finish().err().map(|error| error.to_string());
        assert!(refused.is_some_and(|words| words.starts_with("more than 1000000 new '<'")));
        Ok(())
    }
}
