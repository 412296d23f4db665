// SPDX-License-Identifier: GPL-2.0-or-later

//! The XML editor: a table of small edits to the byte, and random edits of random documents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(missing_docs)]

use proptest::prelude::*;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};

const QEMU: &str = "http://libvirt.org/schemas/domain/qemu/1.0";

type Edit = fn(&Document<'_>, &mut Edits<'_>);

/// The first element of that name, wherever it stands.
fn at<'a, 'i>(document: &'a Document<'i>, name: &str) -> Node<'a, 'i> {
    document
        .descendants()
        .find(|node| node.is_element() && node.tag_name().name() == name)
        .unwrap()
}

fn apply(
    text: &str,
    edit: impl FnOnce(&Document<'_>, &mut Edits<'_>),
) -> Result<Option<String>, String> {
    let document = xml::parse(text).map_err(|error| error.to_string())?;
    let mut edits = Edits::new(&document);
    edit(&document, &mut edits);
    edits.finish().map_err(|error| error.to_string())
}

/// Checks a table of (what, before, edit, after); equal before and after mean that nothing is
/// written.
fn check(table: &[(&str, &str, Edit, &str)]) {
    for (what, before, edit, after) in table {
        let got = apply(before, edit).unwrap_or_else(|error| panic!("{what}: {error}"));
        let wanted = (before != after).then_some(*after);
        assert_eq!(got.as_deref(), wanted, "{what}");
    }
}

#[test]
fn attributes() {
    check(&[
        (
            "set twice: the last call wins",
            "<a x='1'/>",
            |d, e| {
                e.set_attr(at(d, "a"), "x", "2");
                e.set_attr(at(d, "a"), "x", "3");
            },
            "<a x='3'/>",
        ),
        (
            "set, then removed",
            "<a x='1' y='2'/>",
            |d, e| {
                e.set_attr(at(d, "a"), "x", "2");
                e.remove_attr(at(d, "a"), "x");
            },
            "<a y='2'/>",
        ),
        (
            "removed, then set",
            "<a x='1'/>",
            |d, e| {
                e.remove_attr(at(d, "a"), "x");
                e.set_attr(at(d, "a"), "x", "2");
            },
            "<a x='2'/>",
        ),
        (
            "the same value is no edit",
            "<a x = '1'/>",
            |d, e| e.set_attr(at(d, "a"), "x", "1"),
            "<a x = '1'/>",
        ),
        (
            "the same value, spelt with a reference",
            "<a x='&#49;'/>",
            |d, e| e.set_attr(at(d, "a"), "x", "1"),
            "<a x='&#49;'/>",
        ),
        (
            "set and set back",
            "<a x='1'/>",
            |d, e| {
                e.set_attr(at(d, "a"), "x", "2");
                e.set_attr(at(d, "a"), "x", "1");
            },
            "<a x='1'/>",
        ),
        (
            "removing what is not there",
            "<a/>",
            |d, e| e.remove_attr(at(d, "a"), "x"),
            "<a/>",
        ),
        (
            "a new one comes last, before the blank of ' />'",
            "<a x='1' />",
            |d, e| e.set_attr(at(d, "a"), "y", "2"),
            "<a x='1' y=\"2\" />",
        ),
        (
            "a new one in a tag over several lines",
            "<a\n  x='1'\n></a>",
            |d, e| e.set_attr(at(d, "a"), "y", "2"),
            "<a\n  x='1' y=\"2\"\n></a>",
        ),
        (
            "a new one without others",
            "<a/>",
            |d, e| e.set_attr(at(d, "a"), "y", "2"),
            "<a y=\"2\"/>",
        ),
        (
            "two new ones in the order of the calls",
            "<a/>",
            |d, e| {
                e.set_attr(at(d, "a"), "y", "2");
                e.set_attr(at(d, "a"), "b", "3");
            },
            "<a y=\"2\" b=\"3\"/>",
        ),
        (
            "blanks round '=' and the quote stay",
            "<a x = 'a'/>",
            |d, e| e.set_attr(at(d, "a"), "x", "it's \"b\""),
            "<a x = 'it&apos;s \"b\"'/>",
        ),
        (
            "the quote in use is escaped",
            "<a x=\"a\"/>",
            |d, e| e.set_attr(at(d, "a"), "x", "it's \"b\""),
            "<a x=\"it's &quot;b&quot;\"/>",
        ),
        (
            "markup, newline, tab, CR",
            "<a/>",
            |d, e| e.set_attr(at(d, "a"), "x", "&<>\n\t\r"),
            "<a x=\"&amp;&lt;&gt;&#10;&#9;&#13;\"/>",
        ),
        (
            "'>' inside a value does not end the tag",
            "<a x='/>' y='1'/>",
            |d, e| e.set_attr(at(d, "a"), "y", "2"),
            "<a x='/>' y='2'/>",
        ),
        (
            "an attribute of another namespace is another one",
            "<a xmlns:q='u' q:x='1'/>",
            |d, e| e.set_attr(at(d, "a"), "x", "2"),
            "<a xmlns:q='u' q:x='1' x=\"2\"/>",
        ),
        (
            "and so is one that ends alike",
            "<a xx='1' x='2'/>",
            |d, e| e.remove_attr(at(d, "a"), "x"),
            "<a xx='1'/>",
        ),
        (
            "removing the only one",
            "<a x='1'/>",
            |d, e| e.remove_attr(at(d, "a"), "x"),
            "<a/>",
        ),
        (
            "removing one before a ' />'",
            "<a x='1' />",
            |d, e| e.remove_attr(at(d, "a"), "x"),
            "<a />",
        ),
        (
            "removing the last and adding one",
            "<a x='1'/>",
            |d, e| {
                e.remove_attr(at(d, "a"), "x");
                e.set_attr(at(d, "a"), "y", "2");
            },
            "<a y=\"2\"/>",
        ),
        (
            "an empty value",
            "<a x='1'/>",
            |d, e| e.set_attr(at(d, "a"), "x", ""),
            "<a x=''/>",
        ),
        (
            "a long value",
            "<a x='1'/>",
            |d, e| e.set_attr(at(d, "a"), "x", "0123456789"),
            "<a x='0123456789'/>",
        ),
        (
            "characters of several bytes",
            "<é ü='ä'>ö</é>",
            |d, e| e.set_attr(at(d, "é"), "ü", "数😀"),
            "<é ü='数😀'>ö</é>",
        ),
    ]);
}

#[test]
fn children() {
    check(&[
        (
            "an empty tag gains a child",
            "<a/>",
            |d, e| e.append(at(d, "a"), &Element::new("b")),
            "<a><b/></a>",
        ),
        (
            "its blank goes with the slash",
            "<a />",
            |d, e| e.append(at(d, "a"), &Element::new("b")),
            "<a><b/></a>",
        ),
        (
            "its prefix is kept, attribute edits apply",
            "<q:a xmlns:q='u' x='1'/>",
            |d, e| {
                e.append(at(d, "a"), &Element::new("b"));
                e.set_attr(at(d, "a"), "x", "2");
                e.set_attr(at(d, "a"), "y", "3");
            },
            "<q:a xmlns:q='u' x='2' y=\"3\"><b/></q:a>",
        ),
        (
            "a pair of tags gains a child",
            "<a></a>",
            |d, e| e.append(at(d, "a"), &Element::new("b")),
            "<a><b/></a>",
        ),
        (
            "blank content stays",
            "<a>\n</a>",
            |d, e| e.append(at(d, "a"), &Element::new("b")),
            "<a>\n<b/></a>",
        ),
        (
            "several in the order of the calls",
            "<a><c/></a>",
            |d, e| {
                e.append(at(d, "a"), &Element::new("b1"));
                e.append(at(d, "a"), &Element::new("b2"));
            },
            "<a><c/><b1/><b2/></a>",
        ),
        (
            "appended after what is inserted behind the last child",
            "<a><c/></a>",
            |d, e| {
                e.append(at(d, "a"), &Element::new("b1"));
                e.insert_after(at(d, "c"), &Element::new("b2"));
            },
            "<a><c/><b2/><b1/></a>",
        ),
        (
            "indentation is copied",
            "<a>\n  <c/>\n</a>",
            |d, e| {
                e.append(at(d, "a"), &Element::new("b1"));
                e.append(at(d, "a"), &Element::new("b2"));
            },
            "<a>\n  <c/>\n  <b1/>\n  <b2/>\n</a>",
        ),
        (
            "that of the last child, after a comment",
            "<a>\n  <c/>\n\t<d/><!-- x -->\n</a>",
            |d, e| e.append(at(d, "a"), &Element::new("b")),
            "<a>\n  <c/>\n\t<d/><!-- x -->\n\t<b/>\n</a>",
        ),
        (
            "CR LF is copied",
            "<a>\r\n  <c/>\r\n</a>\r\n",
            |d, e| e.append(at(d, "a"), &Element::new("b")),
            "<a>\r\n  <c/>\r\n  <b/>\r\n</a>\r\n",
        ),
        (
            "a first child",
            "<a>\n  <c/>\n</a>",
            |d, e| {
                e.prepend(at(d, "a"), &Element::new("b1"));
                e.prepend(at(d, "a"), &Element::new("b2"));
            },
            "<a>\n  <b1/>\n  <b2/>\n  <c/>\n</a>",
        ),
        (
            "a first child of none",
            "<a/>",
            |d, e| {
                e.append(at(d, "a"), &Element::new("b2"));
                e.prepend(at(d, "a"), &Element::new("b1"));
            },
            "<a><b1/><b2/></a>",
        ),
        (
            "before and after an element on its line",
            "<a>\n  <c/>\n</a>",
            |d, e| {
                e.insert_before(at(d, "c"), &Element::new("b1"));
                e.insert_after(at(d, "c"), &Element::new("b2"));
            },
            "<a>\n  <b1/>\n  <c/>\n  <b2/>\n</a>",
        ),
        (
            "before and after in one line",
            "<a><c/><d/></a>",
            |d, e| {
                e.insert_before(at(d, "d"), &Element::new("b1"));
                e.insert_after(at(d, "c"), &Element::new("b2"));
            },
            "<a><c/><b2/><b1/><d/></a>",
        ),
        (
            "mixed content",
            "<a>text</a>",
            |d, e| e.append(at(d, "a"), &Element::new("b")),
            "<a>text<b/></a>",
        ),
        (
            "an end tag with a blank",
            "<a></a >",
            |d, e| e.append(at(d, "a"), &Element::new("b")),
            "<a><b/></a >",
        ),
        (
            "'</' inside CDATA and comments",
            "<a><![CDATA[</a>]]><!-- </a> --></a>",
            |d, e| e.append(at(d, "a"), &Element::new("b")),
            "<a><![CDATA[</a>]]><!-- </a> --><b/></a>",
        ),
    ]);
}

#[test]
fn removing_and_replacing() {
    check(&[
        (
            "with its line",
            "<a>\n  <b/>\n  <c/>\n</a>",
            |d, e| e.remove(at(d, "b")),
            "<a>\n  <c/>\n</a>",
        ),
        (
            "with its line and all it holds",
            "<a>\n  <b>\n    <x/>\n  </b>\n</a>",
            |d, e| e.remove(at(d, "b")),
            "<a>\n</a>",
        ),
        (
            "only the element, in one line",
            "<a><b/> <c/></a>",
            |d, e| e.remove(at(d, "b")),
            "<a> <c/></a>",
        ),
        (
            "only the element, beside a comment",
            "<a>\n  <b/><!-- x -->\n</a>",
            |d, e| e.remove(at(d, "b")),
            "<a>\n  <!-- x -->\n</a>",
        ),
        (
            "two lines",
            "<a>\n  <b/>\n  <c/>\n</a>",
            |d, e| {
                e.remove(at(d, "b"));
                e.remove(at(d, "c"));
            },
            "<a>\n</a>",
        ),
        (
            "with a CR LF",
            "<a>\r\n  <b/>\r\n</a>",
            |d, e| e.remove(at(d, "b")),
            "<a>\r\n</a>",
        ),
        (
            "trailing blanks stay",
            "<a>\n  <b/>  \n</a>",
            |d, e| e.remove(at(d, "b")),
            "<a>  \n</a>",
        ),
        (
            "the last child, and append",
            "<a>\n  <b/>\n</a>",
            |d, e| {
                e.remove(at(d, "b"));
                e.append(at(d, "a"), &Element::new("n"));
            },
            "<a>\n  <n/>\n</a>",
        ),
        (
            "twice is once",
            "<a><b/></a>",
            |d, e| {
                e.remove(at(d, "b"));
                e.remove(at(d, "b"));
            },
            "<a></a>",
        ),
        (
            "edits inside a removed element are dropped",
            "<a><b><c/></b></a>",
            |d, e| {
                e.set_attr(at(d, "c"), "x", "1");
                e.append(at(d, "b"), &Element::new("n"));
                e.remove(at(d, "b"));
            },
            "<a></a>",
        ),
        (
            "edits inside a replaced element too",
            "<a><b><c/></b></a>",
            |d, e| {
                e.replace(at(d, "b"), &Element::new("n"));
                e.remove(at(d, "c"));
            },
            "<a><n/></a>",
        ),
        (
            "removed keeps a replacement",
            "<a><b/></a>",
            |d, e| {
                e.replace(at(d, "b"), &Element::new("n"));
                e.remove(at(d, "b"));
            },
            "<a><n/></a>",
        ),
        (
            "beside a removed element, in its place",
            "<a>\n  <b/>\n</a>",
            |d, e| {
                e.insert_before(at(d, "b"), &Element::new("n1"));
                e.insert_after(at(d, "b"), &Element::new("n2"));
                e.remove(at(d, "b"));
            },
            "<a>\n  <n1/>\n  <n2/>\n</a>",
        ),
        (
            "beside a replaced element",
            "<a><b/></a>",
            |d, e| {
                e.insert_after(at(d, "b"), &Element::new("n2"));
                e.replace(at(d, "b"), &Element::new("n1"));
            },
            "<a><n1/><n2/></a>",
        ),
        (
            "the root can be replaced",
            "<a>x</a>\n",
            |d, e| e.replace(at(d, "a"), &Element::new("b")),
            "<b/>\n",
        ),
    ]);
}

#[test]
fn texts() {
    check(&[
        (
            "text, CDATA and references are one body",
            "<a>x<![CDATA[<y>]]>&amp;</a>",
            |d, e| e.set_text(at(d, "a"), "1 < 2 & ]]>\r"),
            "<a>1 &lt; 2 &amp; ]]&gt;&#13;</a>",
        ),
        (
            "of an empty tag",
            "<a x='1' />",
            |d, e| e.set_text(at(d, "a"), "t"),
            "<a x='1'>t</a>",
        ),
        (
            "the same text is no edit",
            "<a><![CDATA[x]]></a>",
            |d, e| e.set_text(at(d, "a"), "x"),
            "<a><![CDATA[x]]></a>",
        ),
        (
            "children go, and edits of them",
            "<a>x<b/>y</a>",
            |d, e| {
                e.set_attr(at(d, "b"), "x", "1");
                e.set_text(at(d, "a"), "z");
            },
            "<a>z</a>",
        ),
        (
            "text and an appended child",
            "<a>x</a>",
            |d, e| {
                e.append(at(d, "a"), &Element::new("b"));
                e.set_text(at(d, "a"), "z");
            },
            "<a>z<b/></a>",
        ),
        (
            "line breaks and tabs are plain in text",
            "<a/>",
            |d, e| e.set_text(at(d, "a"), "1\n\t2"),
            "<a>1\n\t2</a>",
        ),
        (
            "empty",
            "<a>x</a>",
            |d, e| e.set_text(at(d, "a"), ""),
            "<a></a>",
        ),
    ]);
}

fn qemu_block(d: &Document<'_>, e: &mut Edits<'_>) {
    let prefix = e.bind(d.root_element(), "qemu", QEMU);
    e.append(d.root_element(), &Element::new(&format!("{prefix}:c")));
}

#[test]
fn namespaces() {
    check(&[
        (
            "declared on the root",
            "<d a='1'><x/></d>",
            qemu_block,
            "<d a='1' xmlns:qemu=\"http://libvirt.org/schemas/domain/qemu/1.0\"><x/><qemu:c/></d>",
        ),
        (
            "once, however often it is asked for",
            "<d/>",
            |d, e| {
                qemu_block(d, e);
                qemu_block(d, e);
            },
            "<d xmlns:qemu=\"http://libvirt.org/schemas/domain/qemu/1.0\"><qemu:c/><qemu:c/></d>",
        ),
        (
            "another prefix of that URI is used",
            "<d xmlns:ns2='http://libvirt.org/schemas/domain/qemu/1.0'/>",
            qemu_block,
            "<d xmlns:ns2='http://libvirt.org/schemas/domain/qemu/1.0'><ns2:c/></d>",
        ),
        (
            "a prefix that means something else is left alone",
            "<d xmlns:qemu='urn:x' xmlns:qemu1='urn:y'/>",
            qemu_block,
            "<d xmlns:qemu='urn:x' xmlns:qemu1='urn:y' xmlns:qemu2=\"http://libvirt.org/schemas/domain/qemu/1.0\"><qemu2:c/></d>",
        ),
        (
            "looked up from the future parent",
            "<d><p xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'/></d>",
            |d, e| {
                let q = e.bind(at(d, "p"), "qemu", QEMU);
                e.append(at(d, "p"), &Element::new(&format!("{q}:c")));
            },
            "<d><p xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:c/></p></d>",
        ),
        (
            "where the parent hides the root's prefix",
            "<d><p xmlns:qemu='urn:x'/></d>",
            |d, e| {
                let q = e.bind(at(d, "p"), "qemu", QEMU);
                e.append(at(d, "p"), &Element::new(&format!("{q}:c")));
            },
            "<d xmlns:qemu1=\"http://libvirt.org/schemas/domain/qemu/1.0\"><p xmlns:qemu='urn:x'><qemu1:c/></p></d>",
        ),
        (
            "a default namespace gives no prefix",
            "<d><p xmlns='http://libvirt.org/schemas/domain/qemu/1.0'/></d>",
            |d, e| {
                let q = e.bind(at(d, "p"), "qemu", QEMU);
                e.append(at(d, "p"), &Element::new(&format!("{q}:c")));
            },
            "<d xmlns:qemu=\"http://libvirt.org/schemas/domain/qemu/1.0\"><p xmlns='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:c/></p></d>",
        ),
    ]);
}

#[test]
fn what_is_around_the_root_stays() {
    check(&[
        (
            "byte-order mark",
            "\u{feff}<a x='1'/>",
            |d, e| e.set_attr(at(d, "a"), "x", "2"),
            "\u{feff}<a x='2'/>",
        ),
        (
            "declaration, comments, instructions",
            "<?xml version='1.0'  encoding=\"utf-8\"?>\n<!-- <a> -->\n<?p <a>?>\n<a/>\n<!-- end -->\n\n",
            |d, e| e.set_attr(at(d, "a"), "x", "2"),
            "<?xml version='1.0'  encoding=\"utf-8\"?>\n<!-- <a> -->\n<?p <a>?>\n<a x=\"2\"/>\n<!-- end -->\n\n",
        ),
        (
            "no last newline",
            "<a>\n<b/></a>",
            |d, e| e.set_attr(at(d, "b"), "x", "2"),
            "<a>\n<b x=\"2\"/></a>",
        ),
        (
            "entities in untouched values",
            "<a x='&quot;&#9;&lt;'><b/></a>",
            |d, e| e.remove(at(d, "b")),
            "<a x='&quot;&#9;&lt;'></a>",
        ),
    ]);
}

#[test]
fn what_xml_cannot_carry_is_refused() {
    let edits: [(&str, Edit); 5] = [
        ("an attribute", |d, e| e.set_attr(at(d, "a"), "x", "a\u{1}")),
        ("a text", |d, e| e.set_text(at(d, "a"), "\u{fffe}")),
        ("a fragment's attribute", |d, e| {
            e.append(at(d, "a"), &Element::new("b").attr("x", "\0"));
        }),
        ("a fragment's text", |d, e| {
            e.insert_after(at(d, "b"), &Element::new("b").text("\u{b}"));
        }),
        ("a fragment's name", |d, e| {
            e.append(at(d, "a"), &Element::new("b c='1'><x"));
        }),
    ];
    for (what, edit) in edits {
        assert!(apply("<a><b/></a>", edit).is_err(), "{what}");
    }
    // Two roots.
    assert!(
        apply("<a/>", |d, e| e
            .insert_after(at(d, "a"), &Element::new("b")))
        .is_err()
    );
    // A declared encoding that could not hold the new character.
    let latin1 = "<?xml version='1.0' encoding='ISO-8859-1'?><a/>";
    assert!(apply(latin1, |d, e| e.set_attr(at(d, "a"), "x", "é")).is_err());
    assert!(apply(latin1, |d, e| e.set_attr(at(d, "a"), "x", "e")).is_ok());
}

#[test]
fn size_and_depth_are_no_problem() {
    // libvirt's parser reads no deeper.
    let deep = format!("{}{}", "<a>".repeat(256), "</a>".repeat(256));
    assert!(
        apply(&deep, |d, e| e.set_attr(d.root_element(), "x", "1"))
            .unwrap()
            .is_some()
    );
    let wide = format!("<a>{}</a>", "<b x='1'/>".repeat(50_000));
    let edited = apply(&wide, |d, e| {
        d.root_element()
            .children()
            .for_each(|b| e.set_attr(b, "x", "2"));
    });
    assert_eq!(edited.unwrap().unwrap(), wide.replace("'1'", "'2'"));
}

#[test]
fn an_endless_indentation_is_not_repeated() {
    let blanks = " ".repeat(100_000);
    let text = format!("<a>\n{blanks}<b/>\n{blanks}<c/>\n</a>");
    let edited = apply(&text, |d, e| {
        for _ in 0..1000 {
            e.append(d.root_element(), &Element::new("d"));
            e.insert_after(at(d, "b"), &Element::new("d"));
        }
        e.remove(at(d, "c"));
    });
    let edited = edited.unwrap().unwrap();
    assert_eq!(edited.matches("<d/>").count(), 2000);
    assert!(edited.len() < text.len() + 20_000, "{}", edited.len());
}

#[test]
fn many_edits_take_the_time_that_their_number_tells() {
    use std::sync::mpsc;
    use std::time::Duration;

    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let prefixes: String = (0..60).map(|i| format!(" xmlns:q{i}='u:{i}'")).collect();
        let wide = format!("<a{prefixes}>{}</a>", "\n  <b x='1'> </b>".repeat(50_000));
        let edited = apply(&wide, |d, e| {
            for b in d.root_element().children().filter(Node::is_element) {
                let prefix = e.bind(b, "q", "urn:new");
                e.set_attr(b, "x", "2");
                e.set_attr(b, "y", "2");
                e.append(b, &Element::new(&format!("{prefix}:c")));
                e.insert_after(b, &Element::new("d"));
                e.append(d.root_element(), &Element::new("e"));
            }
        });
        done.send(edited.map(|edited| edited.unwrap().len()))
    });
    // A second or two on a slow machine.
    let length = wait.recv_timeout(Duration::from_secs(60));
    let length = length.expect("50,000 elements take more than a minute");
    assert!(length.unwrap() > 1_000_000);
}

/// A document, as text: elements with attributes in both quotes, text, CDATA, comments, blanks,
/// prefixes, empty tags of both kinds.
fn documents() -> impl Strategy<Value = String> {
    let value = "[ a-z&&[^\"'<&]]{0,6}|&amp;|é数|&#10;";
    let attributes =
        prop::collection::btree_map("[a-d]|p:[a-c]", (value, prop::bool::ANY, " ?", " ?"), 0..4)
            .prop_map(|all| {
                let one = |(name, (value, single, before, after)): (
                    String,
                    (String, bool, String, String),
                )| {
                    let quote = if single { '\'' } else { '"' };
                    format!(" {name}{before}={after}{quote}{value}{quote}")
                };
                all.into_iter().map(one).collect::<String>()
            });
    let leaf = prop_oneof![
        (attributes.clone(), "[e-h]|p:[e-g]", " ?").prop_map(|(a, n, b)| format!("<{n}{a}{b}/>")),
        "[a-z é]{0,8}",
        Just("\n    ".to_owned()),
        Just("\r\n\t".to_owned()),
        Just("<![CDATA[</e> <f/> ]]>".to_owned()),
        Just("<!-- <e x='1'> -->".to_owned()),
        Just("<?e <f/>?>".to_owned()),
        Just("&lt;&#x41;".to_owned()),
    ];
    let node = leaf.prop_recursive(4, 40, 6, move |inner| {
        (
            attributes.clone(),
            "[e-h]|p:[e-g]",
            prop::collection::vec(inner, 0..6),
            " ?",
        )
            .prop_map(|(a, n, c, b)| format!("<{n}{a}{b}>{}</{n}{b}>", c.concat()))
    });
    (
        prop::collection::vec(node, 0..6),
        "(\n|<!-- x -->)?",
        "(\u{feff})?",
        prop::bool::ANY,
    )
        .prop_map(|(c, end, bom, declared)| {
            let declaration = if declared {
                "<?xml version=\"1.0\"?>\n"
            } else {
                ""
            };
            format!(
                "{bom}{declaration}<root xmlns:p='urn:p'>{}</root>{end}",
                c.concat()
            )
        })
}

#[derive(Debug, Clone)]
enum Random {
    Set(String, String),
    Unset(String),
    Text(String),
    Prepend,
    Append(String),
    Before,
    After,
    Replace,
    Remove,
    Bind,
}

fn random_edits() -> impl Strategy<Value = Vec<(usize, Random)>> {
    let value = "[a-z \"'<>&\n\r\té😀]{0,6}";
    let edit = prop_oneof![
        ("[a-d]", value).prop_map(|(name, value)| Random::Set(name, value)),
        "[a-d]".prop_map(Random::Unset),
        value.prop_map(Random::Text),
        Just(Random::Prepend),
        value.prop_map(Random::Append),
        Just(Random::Before),
        Just(Random::After),
        Just(Random::Replace),
        Just(Random::Remove),
        Just(Random::Bind),
    ];
    prop::collection::vec((any::<usize>(), edit), 0..8)
}

/// A marker that no generated document has, so that what was inserted can be told from the rest.
fn new() -> Element {
    Element::new("NEW")
}

fn edit_at_random(d: &Document<'_>, e: &mut Edits<'_>, wanted: &[(usize, Random)]) {
    let elements: Vec<_> = d.descendants().filter(Node::is_element).collect();
    for (place, edit) in wanted {
        let node = elements[place % elements.len()];
        let inner = node != d.root_element();
        match edit {
            Random::Set(name, value) => e.set_attr(node, name, value),
            Random::Unset(name) => e.remove_attr(node, name),
            Random::Text(text) => e.set_text(node, text),
            Random::Prepend => e.prepend(node, &new()),
            Random::Append(value) => e.append(node, &new().attr("v", value).text(value)),
            Random::Before if inner => e.insert_before(node, &new()),
            Random::After if inner => e.insert_after(node, &new()),
            Random::Replace if inner => e.replace(node, &new()),
            Random::Remove if inner => e.remove(node),
            Random::Bind => {
                let prefix = e.bind(node, "p", "urn:new");
                e.append(node, &Element::new(&format!("{prefix}:NEW")));
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_edits_give_a_document(text in documents(), wanted in random_edits()) {
        // `finish` parses its result, so it is enough that it does not fail.
        let first = apply(&text, |d, e| edit_at_random(d, e, &wanted));
        prop_assert!(first.is_ok(), "{first:?}");
        let again = apply(&text, |d, e| edit_at_random(d, e, &wanted));
        prop_assert_eq!(first, again);
    }

    #[test]
    fn no_edit_is_no_write(text in documents()) {
        prop_assert_eq!(apply(&text, |_, _| {}), Ok(None));
    }

    /// What was only added can be cut out again, and the document is what it was.
    #[test]
    fn nothing_outside_an_insertion_changes(text in documents(), places in prop::collection::vec((any::<usize>(), 0..3), 1..6)) {
        let edited = apply(&text, |d, e| {
            let inner: Vec<_> = d.descendants().filter(Node::is_element).collect();
            for (place, kind) in &places {
                let node = inner[place % inner.len()];
                match kind {
                    0 => e.append(node, &new()),
                    1 if node != d.root_element() => e.insert_before(node, &new()),
                    _ if node != d.root_element() => e.insert_after(node, &new()),
                    _ => e.prepend(node, &new()),
                }
            }
        }).unwrap().unwrap();
        let edited_document = xml::parse(&edited).unwrap();
        // The untouched tree: same elements, attributes and texts without the new elements.
        let shape = |d: &Document<'_>| -> Vec<String> {
            d.descendants().filter(|n| !n.is_element() || n.tag_name().name() != "NEW").map(|n| {
                let attributes: Vec<_> = n.attributes().map(|a| (a.name(), a.namespace(), a.value())).collect();
                let blank = n.is_text() && n.text().unwrap().trim().is_empty();
                if blank { String::new() } else if n.is_text() { n.text().unwrap().trim().to_owned() } else { format!("{:?}{attributes:?}{:?}", n.tag_name(), n.pi()) }
            }).filter(|line| !line.is_empty()).collect()
        };
        let before = shape(&xml::parse(&text).unwrap()).concat();
        prop_assert_eq!(before, shape(&edited_document).concat());
        // To the byte: without the markers (and the line breaks that came with them) nothing else
        // was added, taken or moved.
        let squeeze = |text: &str| -> String {
            text.replace("<NEW/>", "").split_whitespace().collect()
        };
        // `<e/>` with a new child is `<e></e>` without it, so end tags do not count here.
        let opened = |text: &str| {
            let mut all = squeeze(text).replace("/>", ">");
            for name in ["e", "f", "g", "h", "p:e", "p:f", "p:g"] {
                all = all.replace(&format!("</{name}>"), "");
            }
            all
        };
        prop_assert_eq!(opened(&text), opened(&edited));
    }

    /// Setting an attribute changes that value and not one byte else.
    #[test]
    fn an_attribute_is_one_splice(text in documents(), place in any::<usize>(), value in "[a-z<&\"'\n]{0,6}") {
        let mut facts = None;
        let edited = apply(&text, |d, e| {
            let inner: Vec<_> = d.descendants().filter(Node::is_element).collect();
            let node = inner[place % inner.len()];
            facts = Some((node.range().start, xml::attr(node, "a").map(str::to_owned)));
            e.set_attr(node, "a", &value);
        }).unwrap();
        let (start, old) = facts.unwrap();
        prop_assert_eq!(edited.is_none(), old.as_deref() == Some(&value));
        let Some(edited) = edited else { return Ok(()) };
        let same_start = text.bytes().zip(edited.bytes()).take_while(|(a, b)| a == b).count();
        let same_end = text.bytes().rev().zip(edited.bytes().rev()).take_while(|(a, b)| a == b).count();
        // What differs lies within the start tag.
        let end = start + text[start..].find('>').unwrap_or_default();
        prop_assert!(same_start > start && text.len() - same_end <= end + 1, "{text}\n{edited}");
        let document = xml::parse(&edited).unwrap();
        let node = document.descendants().find(|node| node.is_element() && node.range().start == start).unwrap();
        prop_assert_eq!(xml::attr(node, "a"), Some(value.as_str()));
    }
}
