// SPDX-License-Identifier: GPL-2.0-or-later

//! The parts of a domain, each in a small domain of its own: so that what is wrong with one part
//! can be told where others are wrong as well. A validator names only the first problem that it
//! meets, and the engine's own documents have one that no schema of libvirt's takes.

use std::collections::BTreeMap;

use crate::Result;
use crate::xml::{self, Node};

/// What a domain needs; a part takes the place of its like.
const NEEDED: [(&str, &str); 3] = [
    ("name", "<name>x</name>"),
    ("memory", "<memory>1048576</memory>"),
    ("os", "<os><type>hvm</type></os>"),
];

/// A document before and after an edit, as domains that a validator can be asked about.
pub struct Comparison {
    /// The document before.
    pub before: String,
    /// The document after.
    pub after: String,
    /// Both without the seclabels of the engine that the first one has, if it has any.
    pub without_labels: Option<(String, String)>,
    gone: Vec<Part>,
    come: Vec<Part>,
}

/// A part of a domain, as a domain.
#[derive(Clone, PartialEq)]
struct Part {
    /// Which parts it is compared with.
    kind: String,
    domain: String,
}

impl Comparison {
    /// Compares two documents, each a domain or one device.
    ///
    /// # Errors
    /// One of them is not well-formed.
    pub fn new(before: &str, after: &str) -> Result<Comparison> {
        let mut comparison = Comparison {
            before: as_domain(before)?,
            after: as_domain(after)?,
            without_labels: None,
            gone: Vec::new(),
            come: Vec::new(),
        };
        let labels = labels(&comparison.before)?;
        let mut texts = (comparison.before.as_str(), comparison.after.as_str());
        if !labels.is_empty() {
            let without = comparison.without_labels.insert((
                without_labels(texts.0, &labels)?,
                without_labels(texts.1, &labels)?,
            ));
            texts = (&without.0, &without.1);
        }
        let (old, new) = (parts(texts.0)?, parts(texts.1)?);
        comparison.gone = without(&old, &new);
        comparison.come = without(&new, &old);
        Ok(comparison)
    }

    /// All domains that the other functions may ask about.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        let whole = [&self.before, &self.after].into_iter();
        let labels = self.without_labels.iter();
        let parts = self.gone.iter().chain(&self.come);
        whole
            .chain(labels.flat_map(|(before, after)| [before, after]))
            .chain(parts.map(|part| &part.domain))
            .map(String::as_str)
    }

    /// What is wrong with the second document and was not with the first; `judge` says what is
    /// wrong with a domain.
    ///
    /// # Errors
    /// Those of `judge`.
    pub fn new_problems(
        &self,
        mut judge: impl FnMut(&str) -> Result<Vec<String>>,
    ) -> Result<Vec<String>> {
        let now = judge(&self.after)?;
        if now.is_empty() || judge(&self.before)?.is_empty() {
            return Ok(now);
        }
        self.new_among_others(judge)
    }

    /// [`Comparison::new_problems`] where both documents are known to be wrong.
    ///
    /// # Errors
    /// Those of `judge`.
    pub fn new_among_others(
        &self,
        mut judge: impl FnMut(&str) -> Result<Vec<String>>,
    ) -> Result<Vec<String>> {
        if let Some((before, after)) = &self.without_labels {
            let now = judge(after)?;
            if now.is_empty() || judge(before)?.is_empty() {
                return Ok(now);
            }
        }
        let mut wrong = |parts: &[Part]| -> Result<Vec<(String, Vec<String>)>> {
            let mut wrong = Vec::new();
            for part in parts {
                let lines = judge(&part.domain)?;
                if !lines.is_empty() {
                    wrong.push((part.kind.clone(), lines));
                }
            }
            Ok(wrong)
        };
        let come = wrong(&self.come)?;
        if come.is_empty() {
            return Ok(Vec::new());
        }
        // A part that was wrong and still is may say so in other words.
        let mut gone = wrong(&self.gone)?;
        let mut new: Vec<String> = Vec::new();
        for (kind, lines) in come {
            if let Some(at) = gone.iter().position(|(other, _)| *other == kind) {
                gone.swap_remove(at);
                continue;
            }
            for line in lines {
                if !new.contains(&line) {
                    new.push(line);
                }
            }
        }
        Ok(new)
    }
}

/// A document as a domain: a device in the smallest one there is.
///
/// # Errors
/// It is not well-formed.
pub fn as_domain(text: &str) -> Result<String> {
    let document = xml::parse(text)?;
    let root = document.root_element();
    Ok(if xml::is(root, "domain") {
        text.to_owned()
    } else {
        wrapped(&[root], true)
    })
}

/// What an engine's seclabel says, however it is written.
type Label = Vec<(String, String)>;

/// The engine writes a seclabel with `type="none"` below a disk's source (ovirt-engine 4.5
/// …/vminfo/LibvirtVmXmlBuilder.java: `writeSeclabel`), which no schema takes.
fn engines_label(node: Node<'_, '_>) -> Option<Label> {
    let is_below = |name| node.ancestors().skip(1).any(|above| xml::is(above, name));
    let is_label = xml::is(node, "seclabel")
        && xml::attr(node, "type") == Some("none")
        && !node.has_children()
        && node.parent().is_some_and(|above| xml::is(above, "source"))
        && is_below("disk");
    is_label.then(|| {
        let pairs = node.attributes();
        let mut pairs: Label = pairs
            .map(|pair| (pair.name().to_owned(), pair.value().to_owned()))
            .collect();
        pairs.sort();
        pairs
    })
}

fn labels(text: &str) -> Result<Vec<Label>> {
    let document = xml::parse(text)?;
    Ok(document.descendants().filter_map(engines_label).collect())
}

/// The text without these seclabels, each as often as it is among them: one more is new.
fn without_labels(text: &str, labels: &[Label]) -> Result<String> {
    let document = xml::parse(text)?;
    let mut left = labels.to_vec();
    let (mut kept, mut from) = (String::new(), 0);
    for node in document.descendants() {
        let known = engines_label(node).and_then(|label| left.iter().position(|one| *one == label));
        if let Some(at) = known {
            left.swap_remove(at);
            kept += &text[from..node.range().start];
            from = node.range().end;
        }
    }
    Ok(kept + &text[from..])
}

/// A domain's parts: each element in it and each device; all of one name together, since many may
/// be there only once; and what is left without them.
fn parts(text: &str) -> Result<Vec<Part>> {
    let document = xml::parse(text)?;
    let root = document.root_element();
    let mut parts = vec![Part {
        kind: "domain".to_owned(),
        domain: frame(root),
    }];
    let (devices, others): (Vec<_>, Vec<_>) = root
        .children()
        .filter(Node::is_element)
        .partition(|node| xml::is(*node, "devices"));
    let devices: Vec<_> = devices
        .into_iter()
        .flat_map(|node| node.children().filter(Node::is_element))
        .collect();
    for (all, are_devices) in [(others, false), (devices, true)] {
        let mut by_name: BTreeMap<String, Vec<Node<'_, '_>>> = BTreeMap::new();
        for node in all {
            let name = format!("{:?}", node.tag_name());
            by_name.entry(name).or_default().push(node);
        }
        for (name, nodes) in by_name {
            parts.push(Part {
                kind: format!("all {name}, {are_devices}"),
                domain: wrapped(&nodes, are_devices),
            });
            parts.extend(nodes.iter().map(|node| Part {
                kind: format!("one {name}, {are_devices}"),
                domain: wrapped(&[*node], are_devices),
            }));
        }
    }
    Ok(parts)
}

/// A domain with no more than it needs, if it has that: its attributes, those of its `<devices>`,
/// and text in them.
fn frame(domain: Node<'_, '_>) -> String {
    let inside = |node| -> String {
        match node {
            node if Node::is_text(&node) => source(node).to_owned(),
            node if xml::is(node, "devices") => {
                let text = node.children().filter(Node::is_text).map(source);
                emptied(node, &text.collect::<String>())
            }
            _ => String::new(),
        }
    };
    let needed = NEEDED.iter();
    let needed = needed.filter(|(name, _)| xml::child(domain, name).is_some());
    let mut content: String = needed.map(|(_, element)| *element).collect();
    content.extend(domain.children().map(inside));
    emptied(domain, &content)
}

/// The element's own tags with other content.
fn emptied(node: Node<'_, '_>, content: &str) -> String {
    let (Some(first), Some(last)) = (node.first_child(), node.last_child()) else {
        return source(node).to_owned();
    };
    let all = node.document().input_text();
    let start = &all[node.range().start..first.range().start];
    let end = &all[last.range().end..node.range().end];
    format!("{start}{content}{end}")
}

fn source<'i>(node: Node<'_, 'i>) -> &'i str {
    &node.document().input_text()[node.range()]
}

/// Elements of one name in the smallest domain. Its attributes are no others than needed: they are
/// judged once, in the [`frame`].
fn wrapped(nodes: &[Node<'_, '_>], are_devices: bool) -> String {
    let mut text = String::from("<domain type='kvm'");
    // A device on its own declares them itself.
    let above = nodes.iter().filter_map(Node::parent).find(Node::is_element);
    for namespace in above.iter().flat_map(Node::namespaces) {
        if let Some(prefix) = namespace.name().filter(|prefix| *prefix != "xml") {
            let uri = namespace.uri().replace('&', "&amp;").replace('<', "&lt;");
            text += &format!(" xmlns:{prefix}='{}'", uri.replace('\'', "&apos;"));
        }
    }
    text.push('>');
    let is_there = |name| !are_devices && nodes.iter().any(|node| xml::is(*node, name));
    let needed = NEEDED.iter().filter(|(name, _)| !is_there(name));
    text.extend(needed.map(|(_, element)| *element));
    let parts: String = nodes.iter().map(|node| source(*node)).collect();
    if are_devices {
        text + "<devices>" + &parts + "</devices></domain>"
    } else {
        text + &parts + "</domain>"
    }
}

/// What is in `these` more often than in `those`.
fn without(these: &[Part], those: &[Part]) -> Vec<Part> {
    let mut left: Vec<&Part> = those.iter().collect();
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

    /// A validator to which an element `wrong` or an attribute of that value is wrong, and a second
    /// `once` and a second memory.
    fn judge(text: &str) -> Result<Vec<String>> {
        let document = xml::parse(text)?;
        let all = || document.descendants();
        let mut problems = Vec::new();
        if all().any(|node| xml::is(node, "wrong")) {
            problems.push("an element".to_owned());
        }
        if all().any(|node| node.attributes().any(|one| one.value() == "wrong")) {
            problems.push("an attribute".to_owned());
        }
        if all().any(|node| engines_label(node).is_some()) {
            problems.push("a label".to_owned());
        }
        let mut texts = document
            .root_element()
            .children()
            .filter_map(|node| node.text());
        if texts.any(|found| found.contains("wrong")) {
            problems.push("a text".to_owned());
        }
        for name in ["once", "memory"] {
            if all().filter(|node| xml::is(*node, name)).count() > 1 {
                problems.push(format!("two {name}"));
            }
        }
        for name in ["name", "memory", "os"] {
            if xml::child(document.root_element(), name).is_none() {
                problems.push(format!("no {name}"));
            }
        }
        Ok(problems)
    }

    fn new(before: &str, after: &str) -> Result<Vec<String>> {
        Comparison::new(before, after)?.new_problems(judge)
    }

    const LABEL: &str = "<seclabel model='dac' type='none'/>";

    fn domain(inside: &str, devices: &str) -> String {
        format!(
            "<domain xmlns:m='http://x/?a=1&amp;b=2' type='kvm'><name>a</name><memory>1</memory>\
             <os/>{inside}<devices>{devices}</devices></domain>"
        )
    }

    #[test]
    fn what_is_more_than_one_part_is_found_among_others() -> Result {
        let labelled = format!("<disk><source>{LABEL}</source></disk><nic/>");
        for (inside, devices) in [("", labelled.as_str()), ("<other a='wrong'/>", "<nic/>")] {
            let before = domain(&format!("<once/>{inside}"), devices);
            for (old, edited, problem) in [
                ("<once/>", "<once/><once/>", "two once"),
                ("<memory>1", "<memory>1</memory><memory>2", "two memory"),
                ("<name>a</name>", "", "no name"),
                ("<name>a</name>", "wrong<name>a</name>", "a text"),
                ("type='kvm'", "type='wrong'", "an attribute"),
                ("<devices>", "<devices a='wrong'>", "an attribute"),
                (
                    "</devices>",
                    "</devices><devices><wrong/></devices>",
                    "an element",
                ),
                ("<nic/>", "<nic/><nic><wrong/></nic>", "an element"),
                ("<nic/>", "<nic><once/></nic><nic><once/></nic>", "two once"),
            ] {
                let after = before.replacen(old, edited, 1);
                let found = new(&before, &after)?;
                assert_eq!(found, [problem], "{before}: {edited}");
            }
            for (old, edited) in [("<nic/>", "<nic/><rng/>"), ("<nic/>", "<nic m:a='b'/>")] {
                let after = before.replacen(old, edited, 1);
                assert_eq!(new(&before, &after)?, [""; 0], "{before}: {edited}");
            }
        }
        Ok(())
    }

    #[test]
    fn what_is_wrong_only_as_a_whole_is_found() -> Result {
        let judge = |text: &str| -> Result<Vec<String>> {
            let document = xml::parse(text)?;
            let has = |name| document.descendants().any(|node| xml::is(node, name));
            let mut problems = Vec::new();
            if has("nic") && has("rng") {
                problems.push("both".to_owned());
            }
            if has("seclabel") {
                problems.push("a label".to_owned());
            }
            Ok(problems)
        };
        for label in ["", LABEL] {
            let disk = format!("<disk><source>{label}</source></disk>");
            let before = domain("", &format!("{disk}<nic/>"));
            let after = domain("", &format!("{disk}<nic/><rng/>"));
            let found = Comparison::new(&before, &after)?.new_problems(judge)?;
            assert_eq!(found, ["both"], "{label}");
        }
        Ok(())
    }

    #[test]
    fn what_was_missing_is_no_problem_once_it_is_there() -> Result {
        let after = domain("<other a='wrong'/>", "");
        let before = after.replace("<memory>1</memory>", "");
        assert_eq!(new(&before, &after)?, [""; 0]);
        Ok(())
    }

    #[test]
    fn other_seclabels_are_not_the_engines() -> Result {
        let is_known = |devices: &str| labels(&domain("", devices)).map(|all| !all.is_empty());
        assert_eq!(
            is_known(&format!("<disk><source>{LABEL}</source></disk>")),
            Ok(true)
        );
        for other in [
            "<disk><source><seclabel type='static'/></source></disk>",
            "<disk><source><label type='none'/></source></disk>",
            "<disk><source><seclabel type='none'><label/></seclabel></source></disk>",
            "<disk><seclabel type='none'/></disk>",
            "<hostdev><source><seclabel type='none'/></source></hostdev>",
        ] {
            assert_eq!(is_known(other), Ok(false), "{other}");
        }
        Ok(())
    }

    #[test]
    fn what_was_wrong_and_goes_makes_no_room_for_something_else() -> Result {
        let before = domain("", "<console a='wrong'/><disk a='wrong'/><nic/>");
        let after = before.replace("<console a='wrong'/>", "");
        assert_eq!(new(&before, &after)?, [""; 0]);
        let wrong_nic = after.replace("<nic/>", "<nic><wrong/></nic>");
        assert_eq!(new(&before, &wrong_nic)?, ["an element"]);
        // What is edited may be wrong in other words.
        let edited = before.replace("<disk a='wrong'/>", "<disk b='wrong'/>");
        assert_eq!(new(&before, &edited)?, [""; 0]);
        Ok(())
    }

    #[test]
    fn the_engines_labels_are_left_out_as_often_as_they_were_there() -> Result {
        let disk =
            |more: &str, label: &str| format!("<disk{more}><source a=''>{label}</source></disk>");
        for other in ["", "<other a='wrong'/>"] {
            let before = domain(other, &disk("", LABEL));
            for label in [LABEL, "<seclabel  type=\"none\" model='dac' />", ""] {
                let after = domain(other, &disk(" b=''", label));
                assert_eq!(new(&before, &after)?, [""; 0], "{label}");
            }
            let another = LABEL.replace("dac", "selinux");
            for devices in [
                disk("", LABEL) + &disk("", LABEL),
                disk("", &another),
                disk("", &another) + &disk("", LABEL),
            ] {
                let after = domain(other, &devices);
                assert_eq!(new(&before, &after)?, ["a label"], "{devices}");
            }
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
        assert_eq!(new("<disk a='1'/>", "<disk a='wrong'/>")?, ["an attribute"]);
        assert_eq!(new("<disk a='wrong'/>", "<disk b='wrong'/>")?, [""; 0]);
        assert_eq!(new("<disk a='wrong'/>", "<wrong/>")?, ["an element"]);
        Ok(())
    }
}
