// SPDX-License-Identifier: GPL-2.0-or-later

//! What a document may hold, so that reading it takes no longer than its length tells.
//!
//! roxmltree compares each attribute of an element with all others, and for each element that
//! declares a namespace every namespace in scope with all others: 52 KB of nested `xmlns` took it
//! 7.8 s, 268 KB over two minutes. So a document is looked through once before it gets there.
//!
//! The limits are far above what there is. In the 3,562 XML documents of libvirt 9.0's own tests
//! nothing is deeper than 15 elements, has more than 15 attributes, or more than 2 namespaces in
//! scope and 9 declarations in all; the longest has 3,541 elements.

use crate::{Error, Result};

/// How deep elements may be nested: libxml2, libvirt's parser, reads no more (its
/// `xmlParserMaxDepth`).
const MAX_DEPTH: usize = 256;
/// The most attributes of one element, namespace declarations among them.
const MAX_ATTRIBUTES: usize = 256;
/// The most namespace declarations on the elements that are open at one place.
const MAX_IN_SCOPE: usize = 64;
/// The most namespace declarations. Some writers repeat theirs at each element.
const MAX_DECLARATIONS: usize = 10_000;
/// The most `<`, and the most `=`: the parser makes room for as many nodes and attributes before
/// it reads. libvirt takes no document of more than 4 MiB (libvirt 9.0
/// src/remote/remote_protocol.x: `REMOTE_STRING_MAX`), which in the
/// density of those that it writes is a quarter of that.
pub(super) const MAX_MARKS: usize = 1_000_000;

/// Refuses a document that would take long to read. One that is not well-formed is left to the
/// parser, which gets no further than this function does. `allow_dtd`: see
/// [`parse_with_dtd`](super::parse_with_dtd).
///
/// # Errors
/// More of something than any domain has: in which line, of what, and the limit.
pub(super) fn check(text: &str, allow_dtd: bool) -> Result {
    for mark in *b"<=" {
        if text.len() > MAX_MARKS && text.bytes().filter(|b| *b == mark).count() > MAX_MARKS {
            return Err(too_many(MAX_MARKS, &format!("{:?}", char::from(mark))));
        }
    }
    Scan::new(text, allow_dtd).run()
}

pub(super) fn too_many(most: usize, what: &str) -> Error {
    Error::new(format!(
        "more than {most} {what}, which is more than any such document has"
    ))
}

struct Scan<'a> {
    bytes: &'a [u8],
    allow_dtd: bool,
    /// How many namespaces each of the open elements declares.
    open: Vec<usize>,
    /// The sum of those.
    in_scope: usize,
    declarations: usize,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str, allow_dtd: bool) -> Self {
        Scan {
            bytes: text.as_bytes(),
            allow_dtd,
            open: Vec::new(),
            in_scope: 0,
            declarations: 0,
        }
    }

    fn run(&mut self) -> Result {
        let mut at = 0;
        while let Some(start) = self.find(at, |byte| byte == b'<') {
            let end = self.markup(start).map_err(|problem| {
                let before = self.bytes[..start].iter();
                let line = before.filter(|byte| **byte == b'\n').count() + 1;
                Error::new(format!("line {line}: {problem}"))
            })?;
            match end {
                Some(end) => at = end,
                None => break,
            }
        }
        Ok(())
    }

    /// The first byte from `at` on that is wanted.
    #[inline(always)]
    fn find(&self, at: usize, wanted: impl Fn(u8) -> bool) -> Option<usize> {
        let rest = self.bytes.get(at..)?;
        Some(at + rest.iter().position(|byte| wanted(*byte))?)
    }

    /// Where the first `end` from `at` on is over.
    fn until(&self, mut at: usize, end: &[u8]) -> Option<usize> {
        loop {
            at = self.find(at, |byte| byte == end[0])?;
            if self.bytes[at..].starts_with(end) {
                return Some(at + end.len());
            }
            at += 1;
        }
    }

    /// Where the markup that begins at `start` ends; none if the parser gets no further.
    fn markup(&mut self, start: usize) -> Result<Option<usize>> {
        let rest = &self.bytes[start..];
        let is = |words: &[&[u8]]| words.iter().any(|word| rest.starts_with(word));
        Ok(match rest.get(1) {
            None => None,
            Some(b'/') => {
                self.in_scope -= self.open.pop().unwrap_or_default();
                self.until(start + 2, b">")
            }
            Some(b'?') => self.until(start + 2, b"?>"),
            Some(b'!') if is(&[b"<!--"]) => self.until(start + 4, b"-->"),
            Some(b'!') if is(&[b"<![CDATA["]) => self.until(start + 9, b"]]>"),
            Some(b'!') if !self.allow_dtd => None,
            Some(b'!') if is(&[b"<!DOCTYPE"]) => self.doctype(start),
            Some(b'!') if is(&[b"<!ELEMENT", b"<!ATTLIST", b"<!NOTATION"]) => {
                self.until(start + 2, b">")
            }
            // A short text can grow without end by them.
            Some(b'!') if is(&[b"<!ENTITY"]) => {
                return Err(Error::new("declares an entity, expected none"));
            }
            Some(b'!') => None,
            Some(_) => return self.start_tag(start),
        })
    }

    /// Where the internal subset begins, or the declaration ends.
    fn doctype(&self, start: usize) -> Option<usize> {
        let mut at = start;
        loop {
            at = self.find(at, |byte| matches!(byte, b'"' | b'\'' | b'[' | b'>'))?;
            match self.bytes[at] {
                b'[' | b'>' => return Some(at + 1),
                quote => at = self.find(at + 1, |byte| byte == quote)? + 1,
            }
        }
    }

    fn start_tag(&mut self, start: usize) -> Result<Option<usize>> {
        let (mut attributes, mut declarations) = (0, 0);
        let mut at = start + 1;
        loop {
            let next = self.find(at, |byte| matches!(byte, b'"' | b'\'' | b'>' | b'<'));
            let Some(next) = next else { return Ok(None) };
            let before = &self.bytes[at..next];
            let quote = match self.bytes[next] {
                b'<' => return Ok(None),
                b'>' if before.ends_with(b"/") => return Ok(Some(next + 1)),
                b'>' => {
                    self.open.push(declarations);
                    self.in_scope += declarations;
                    if self.open.len() > MAX_DEPTH {
                        return Err(too_many(MAX_DEPTH, "elements inside each other"));
                    }
                    return Ok(Some(next + 1));
                }
                quote => quote,
            };
            attributes += 1;
            if attributes > MAX_ATTRIBUTES {
                return Err(too_many(MAX_ATTRIBUTES, "attributes in one element"));
            }
            // The parser takes any `p:xmlns` for a declaration too.
            if before.windows(5).any(|part| part == b"xmlns") {
                declarations += 1;
                self.declarations += 1;
                if self.in_scope + declarations > MAX_IN_SCOPE {
                    return Err(too_many(MAX_IN_SCOPE, "namespaces in scope"));
                }
                if self.declarations > MAX_DECLARATIONS {
                    return Err(too_many(MAX_DECLARATIONS, "namespace declarations"));
                }
            }
            match self.find(next + 1, |byte| byte == quote) {
                Some(end) => at = end + 1,
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::super::{Document, parse, parse_with_dtd};
    use super::*;

    /// `count` elements, each inside the one before.
    fn nested(count: usize, start: impl Fn(usize) -> String) -> String {
        (0..count).map(start).collect::<String>() + &"</a>".repeat(count)
    }

    fn element(count: usize, attribute: impl Fn(usize) -> String) -> String {
        format!("<a {}/>", (0..count).map(attribute).collect::<String>())
    }

    /// What `parse` says of `text`; empty if it reads it.
    fn refusal(text: &str) -> String {
        parse(text)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    const MIB: usize = 1 << 20;

    fn many_prefixes() -> String {
        (0..63).map(|i| format!("xmlns:b{i}='u' ")).collect()
    }

    /// Large documents: attributes, declarations, elements.
    fn with_many_attributes() -> Vec<(&'static str, String)> {
        let deep = |i| format!("<a xmlns:b{i}='u'>");
        let prefixes = many_prefixes();
        vec![
            ("attributes", element(MIB / 10, |i| format!("a{i}='' "))),
            (
                "declarations",
                element(MIB / 17, |i| format!("xmlns:a{i}='u' ")),
            ),
            (
                "default declarations",
                element(MIB / 10, |_| "xmlns='u' ".into()),
            ),
            (
                "odd declarations",
                element(MIB / 10, |_| "p:xmlns='u' ".into()),
            ),
            ("nested declarations", nested(MIB / 25, deep)),
            ("nested declarations, short", nested(52_000 / 22, deep)),
            ("nesting", nested(MIB / 7, |_| "<a>".into())),
            (
                "declarations below many",
                format!("<d {prefixes}>{}</d>", "<a xmlns:b='u'/>".repeat(MIB / 16)),
            ),
            (
                "declarations below many more",
                format!(
                    "<d {}>{}</d>",
                    (0..2000)
                        .map(|i| format!("xmlns:b{i}='u' "))
                        .collect::<String>(),
                    "<a xmlns:b='u'/>".repeat(MIB / 16)
                ),
            ),
            (
                "as many attributes as can be",
                format!(
                    "<d>{}</d>",
                    element(250, |i| format!("a{i}='' ")).repeat(200)
                ),
            ),
        ]
    }

    /// Large documents: names, entities, text.
    fn with_much_text() -> Vec<(&'static str, String)> {
        let prefixes = many_prefixes();
        let entities: String = (0..MIB / 50)
            .map(|i| format!("<!ENTITY a{i} 'x'>"))
            .collect();
        vec![
            (
                "prefixes",
                format!("<d {prefixes}>{}</d>", "<b62:a/>".repeat(MIB / 8)),
            ),
            (
                "entities",
                format!("<!DOCTYPE d [{entities}]><d>{}</d>", "&a9;".repeat(MIB / 4)),
            ),
            (
                "a long entity",
                format!(
                    "<!DOCTYPE d [<!ENTITY a '{}'>]><d>{}</d>",
                    "x".repeat(MIB / 2),
                    "&a;".repeat(MIB / 6)
                ),
            ),
            ("siblings", format!("<d>{}</d>", "<a/> ".repeat(MIB / 5))),
            ("comments", format!("<d>{}</d>", "<!---->".repeat(MIB / 7))),
            (
                "a long comment",
                format!("<d><!--{}--></d>", "- ".repeat(MIB / 2)),
            ),
            (
                "CDATA",
                format!("<d>{}</d>", "x<![CDATA[]]>".repeat(MIB / 13)),
            ),
            (
                "brackets",
                format!("<d><![CDATA[{}]]></d>", "]]".repeat(MIB / 2)),
            ),
            (
                "instructions",
                format!("<d>{}</d>", "<?a?>".repeat(MIB / 5)),
            ),
            (
                "references",
                format!("<d a='{0}'>{0}</d>", "&#65;".repeat(MIB / 10)),
            ),
            (
                "a long reference",
                format!("<d>&#{}65;</d>", "0".repeat(MIB)),
            ),
            (
                "line ends",
                format!("<d a='{0}'>{0}</d>", "\r".repeat(MIB / 2)),
            ),
            ("a long name", format!("<{0}></{0}>", "x".repeat(MIB / 2))),
            ("never closed", "<d a='".repeat(MIB / 6)),
            ("never ended", "<!--".repeat(MIB / 4)),
        ]
    }

    #[test]
    fn a_document_is_read_in_the_time_that_its_length_tells() {
        for (family, text) in with_many_attributes().into_iter().chain(with_much_text()) {
            // None takes two seconds on a slow machine; before there were bounds, some took
            // hours.
            let (done, wait) = mpsc::channel();
            thread::spawn(move || {
                let _ = (parse(&text).is_ok(), parse_with_dtd(&text).is_ok());
                done.send(())
            });
            let outcome = wait.recv_timeout(Duration::from_secs(60));
            assert!(outcome.is_ok(), "{family}: a MiB takes more than a minute");
        }
    }

    #[test]
    fn limits_are_where_they_are_said_to_be() {
        let attributes = |count| element(count, |i| format!("a{i}='' "));
        let prefixes = |count| element(count, |i| format!("xmlns:a{i}='u' "));
        let odd = |count| {
            format!(
                "<d xmlns:p='u'>\n{}</d>",
                element(count, |_| "p:xmlns='u' ".into())
            )
        };
        let depth = |count| nested(count, |_| "<a>".into());
        let scopes = |count| nested(count, |i| format!("<a xmlns:b{i}='u'>\n"));
        let repeated = |count| format!("<d>{}</d>", "<a xmlns='u'/>\n".repeat(count));
        let nodes = |count| format!("<d>{}</d>", "<a/>".repeat(count));
        for (most, what, document) in [
            (
                256,
                "line 1: more than 256 attributes in one element",
                &attributes as &dyn Fn(usize) -> String,
            ),
            (64, "line 1: more than 64 namespaces in scope", &prefixes),
            (63, "line 2: more than 64 namespaces in scope", &odd),
            (64, "line 65: more than 64 namespaces in scope", &scopes),
            (
                256,
                "line 1: more than 256 elements inside each other",
                &depth,
            ),
            (
                10_000,
                "line 10001: more than 10000 namespace declarations",
                &repeated,
            ),
            // With the document itself and its root.
            (499_998, "more than 500000 nodes", &nodes),
        ] {
            assert_eq!(refusal(&document(most)), "", "{what}");
            let message = refusal(&document(most + 1));
            let expected =
                format!("cannot parse XML: {what}, which is more than any such document has");
            assert_eq!(message, expected);
        }
        for mark in ["<", "="] {
            let text = |count| format!("<d><!-- {} --></d>", mark.repeat(count));
            // Three are the document's own.
            assert_eq!(refusal(&text(MAX_MARKS - 3)), "");
            assert!(refusal(&text(MAX_MARKS + 1)).contains("more than 1000000 '"));
        }
        let dtd =
            "<!DOCTYPE d SYSTEM '[\">' [\n<!ELEMENT d ANY><!-- <!ENTITY --> <?p <!ENTITY?>]><d/>";
        assert!(parse_with_dtd(dtd).is_ok());
        let entity = dtd.replace("]>", "<!ENTITY e 'x'>]>");
        let error = parse_with_dtd(&entity).err().map(|error| error.to_string());
        let expected = "cannot parse XML: line 2: declares an entity, expected none";
        assert_eq!(error.as_deref(), Some(expected));
        // Behind other declarations, and only what is one.
        let several = "<!DOCTYPE d [<!ELEMENT d ANY><!ELEMENT e ANY>";
        for (rest, is_said) in [
            ("<!ENTITY e 'x'>]><d/>", true),
            ("<!FOO e 'x'>]><d/>", false),
        ] {
            let refused = parse_with_dtd(&format!("{several}{rest}")).err();
            let says = |why: Error| why.to_string().contains("declares an entity");
            assert_eq!(refused.map(says), Some(is_said), "{rest}");
        }
        // Where no DTD may be, what is in it is not looked at.
        assert!(!refusal(&entity).contains("entity"));
    }

    /// Whether the scan came to the end of what it takes for a well-formed document.
    fn balanced(text: &str) -> bool {
        let mut scan = Scan::new(text, false);
        scan.run().is_ok() && scan.open.is_empty() && scan.in_scope == 0
    }

    #[test]
    fn what_the_parser_reads_is_seen_as_the_parser_sees_it() {
        let text = "\u{feff}<?xml version='1.0' encoding=\"UTF-8\"?>\n<!-- <a b='\" -->\
            <d xmlns = 'u' a='>\"/>' b=\"'<!-- \">\n<?p <a '?><a/><b\tc='&gt;]]'\n/>\
            <![CDATA[</d><a b=\"]]><p:e xmlns:p='u>' p:xmlns='v'>é - ]] > ' \" = </p:e ></d><!-- ' -->";
        assert_eq!(refusal(&text.replace("'<!-- ", "'")), "");
        let text = text.replace("'<!-- ", "'");
        let mut read = 0;
        for (at, old) in text.char_indices() {
            for new in [
                "", "<", ">", "\"", "'", "/", "=", "!", "?", "-", "[", "]", " ", "&", "x",
            ] {
                let changed = format!("{}{new}{}", &text[..at], &text[at + old.len_utf8()..]);
                if parse(&changed).is_ok() {
                    assert!(balanced(&changed), "{changed}");
                    read += 1;
                }
            }
        }
        assert!(read > 300, "{read}");
        let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks");
        let hooks = fs::read_dir(hooks).into_iter().flatten().flatten();
        let cases = hooks.flat_map(|hook| fs::read_dir(hook.path().join("cases")));
        let inputs = cases.flatten().flatten();
        let mut count = 0;
        for case in inputs {
            let Ok(input) = fs::read_to_string(case.path().join("input.xml")) else {
                continue;
            };
            if Document::parse(&input).is_ok() {
                assert_eq!(refusal(&input), "", "{}", case.path().display());
                assert!(balanced(&input), "{}", case.path().display());
                count += 1;
            }
        }
        assert!(count > 400, "{count}");
    }
}
