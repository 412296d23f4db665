// SPDX-License-Identifier: GPL-2.0-or-later

//! Reading and editing JSON without touching what was not meant.
//!
//! As with XML, a document is only looked at, [`Edits`] records what should change, and every other
//! byte is copied: members that nobody here knows, their order, the spelling of numbers, and
//! strings that are not valid Unicode (half of a surrogate pair, which Python writes as it is).
//!
//! ```
//! use vdsm_hooks::json::{Edits, Node};
//! # fn main() -> vdsm_hooks::Result {
//! let text = r#"{"cpuUser": 1.50, "name": "a"}"#;
//! let mut edits = Edits::new(text);
//! if let Some(object) = Node::parse(text)?.object() {
//!     edits.set(&object, "name", &"b".into())?;
//! }
//! assert_eq!(edits.finish()?.as_deref(), Some(r#"{"cpuUser": 1.50, "name": "b"}"#));
//! # Ok(())
//! # }
//! ```

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::mem;
use std::ops::Range;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{Error, Result};

/// A value at its place in the document.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a>(&'a str);

/// An object's members, in the order of the document.
#[derive(Debug)]
pub struct Object<'a> {
    text: &'a str,
    members: Vec<(Cow<'a, str>, Node<'a>)>,
}

impl<'a> Node<'a> {
    /// The document's one value.
    ///
    /// # Errors
    /// The text is not JSON; the message says where.
    pub fn parse(text: &'a str) -> Result<Node<'a>> {
        let value: &RawValue =
            serde_json::from_str(text).map_err(|error| Error::new(format!("not JSON: {error}")))?;
        Ok(Node(value.get()))
    }

    /// The value as it is written.
    pub fn source(self) -> &'a str {
        self.0
    }

    /// The members, if this is an object.
    pub fn object(self) -> Option<Object<'a>> {
        let mut deserializer = serde_json::Deserializer::from_str(self.0);
        let members = deserializer.deserialize_map(Members).ok()?;
        Some(Object {
            text: self.0,
            members,
        })
    }

    /// The items, if this is an array.
    pub fn array(self) -> Option<Vec<Node<'a>>> {
        let items: Vec<&RawValue> = serde_json::from_str(self.0).ok()?;
        Some(items.into_iter().map(|item| Node(item.get())).collect())
    }

    /// The text, if this is a string that UTF-8 can hold.
    pub fn string(self) -> Option<String> {
        serde_json::from_str(self.0).ok()
    }

    /// The text of a string, the source of anything else: `1` of both `"1"` and `1`.
    pub fn text(self) -> String {
        self.string().unwrap_or_else(|| self.0.to_owned())
    }

    /// The value itself, if UTF-8 can hold all of its strings.
    pub fn value(self) -> Option<Value> {
        serde_json::from_str(self.0).ok()
    }
}

impl<'a> Object<'a> {
    /// The value of a member. Of several with one name the last counts, as in Python.
    pub fn get(&self, name: &str) -> Option<Node<'a>> {
        let mut members = self.members.iter().rev();
        members
            .find(|(known, _)| known == name)
            .map(|(_, value)| *value)
    }

    /// Names and values, in the order of the document.
    pub fn members(&self) -> impl Iterator<Item = (&str, Node<'a>)> {
        self.members
            .iter()
            .map(|(name, value)| (name.as_ref(), *value))
    }
}

/// A member's name. Hooks look for ASCII names only, so one that is not valid Unicode is kept as written.
fn name_of(source: &str) -> Cow<'_, str> {
    match source
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(name) if !name.contains('\\') => Cow::Borrowed(name),
        _ => Cow::Owned(Node(source).text()),
    }
}

struct Members;

impl<'a> Visitor<'a> for Members {
    type Value = Vec<(Cow<'a, str>, Node<'a>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> std::result::Result<Self::Value, M::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            members.push((name_of(name.get()), Node(value.get())));
        }
        Ok(members)
    }
}

/// The changes that a hook wants in a document. The document itself stays as it arrived; a hook
/// does not see its own edits, and says of a member once what is to become of it.
pub struct Edits<'a> {
    source: &'a str,
    splices: Vec<(Range<usize>, String)>,
    /// By where their members begin.
    objects: BTreeMap<usize, Changed>,
}

/// An object that gets or loses members.
struct Changed {
    /// Where the values are that it had.
    values: Vec<Range<usize>>,
    /// Numbers of those that go.
    removed: BTreeSet<usize>,
    /// `"name": value`
    added: Vec<String>,
}

impl<'a> Edits<'a> {
    /// No edits yet.
    pub fn new(source: &'a str) -> Self {
        Edits {
            source,
            splices: Vec::new(),
            objects: BTreeMap::new(),
        }
    }

    /// Replaces a value.
    ///
    /// # Errors
    /// None in practice; the library's signature has one.
    pub fn replace(&mut self, node: Node<'a>, value: &Value) -> Result {
        if node.value().as_ref() != Some(value) {
            let text = to_ascii(value)?;
            self.splices.push((range(self.source, node.0), text));
        }
        Ok(())
    }

    /// Sets a member: in its place if it is there, else as the last one.
    ///
    /// # Errors
    /// As [`Edits::replace`].
    pub fn set(&mut self, object: &Object<'a>, name: &str, value: &Value) -> Result {
        if let Some(node) = object.get(name) {
            return self.replace(node, value);
        }
        let name = to_ascii(&Value::from(name))?;
        let member = format!("{name}: {}", to_ascii(value)?);
        self.changed(object).added.push(member);
        Ok(())
    }

    /// Removes a member, if it is there.
    pub fn remove(&mut self, object: &Object<'a>, name: &str) {
        for (number, (known, _)) in object.members.iter().enumerate() {
            if known == name {
                self.changed(object).removed.insert(number);
            }
        }
    }

    fn changed(&mut self, object: &Object<'a>) -> &mut Changed {
        let source = self.source;
        let members = object.members.iter();
        let start = range(source, object.text).start + 1;
        self.objects.entry(start).or_insert_with(|| Changed {
            values: members.map(|(_, value)| range(source, value.0)).collect(),
            removed: BTreeSet::new(),
            added: Vec::new(),
        })
    }

    /// Turns what happens to the members of the object at `start` into splices.
    fn splice(&mut self, start: usize, object: &Changed) {
        let values = &object.values;
        let end = values.last().map_or(start, |last| last.end);
        let blanks = |at: usize| {
            let rest = &self.source[at..];
            at + rest.len() - rest.trim_start().len()
        };
        let mut gone = Vec::new();
        let first = (0..values.len()).find(|number| !object.removed.contains(number));
        match first {
            // With the comma after each, and the blanks after that.
            Some(first) if first > 0 => {
                let comma = blanks(values[first - 1].end);
                gone.push(blanks(start)..blanks(comma + 1));
            }
            None if end > start => gone.push(blanks(start)..end),
            _ => {}
        }
        // With the comma before each.
        let others = first.map_or(values.len(), |first| first + 1)..values.len();
        let others = others.filter(|number| object.removed.contains(number));
        gone.extend(others.map(|number| values[number - 1].end..values[number].end));
        let gone = gone.into_iter().map(|range| (range, String::new()));
        self.splices.extend(gone);
        for (number, member) in object.added.iter().enumerate() {
            let is_first = first.is_none() && number == 0;
            let comma = if is_first { "" } else { ", " };
            self.splices.push((end..end, format!("{comma}{member}")));
        }
    }

    /// The new text of the document; none if nothing changes.
    ///
    /// # Errors
    /// A result that is not JSON.
    pub fn finish(mut self) -> Result<Option<String>> {
        for (start, object) in mem::take(&mut self.objects) {
            self.splice(start, &object);
        }
        if self.splices.is_empty() {
            return Ok(None);
        }
        // Stable: what is added to one object comes in the order of the calls.
        self.splices
            .sort_by_key(|(range, _)| (range.start, range.end));
        let mut new = String::with_capacity(self.source.len() + 1024);
        let mut copied = 0;
        for (range, text) in &self.splices {
            if range.start < copied {
                return Err(Error::new("internal error: edits overlap"));
            }
            new.push_str(&self.source[copied..range.start]);
            new.push_str(text);
            copied = range.end;
        }
        new.push_str(&self.source[copied..]);
        Node::parse(&new).map_err(|error| Error::new(format!("the result is {error}")))?;
        Ok(Some(new))
    }
}

/// The range of a part of the source.
fn range(source: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - source.as_ptr() as usize;
    start..start + part.len()
}

/// `value` as pure ASCII, the way VDSM writes its data files (VDSM 4.50 lib/vdsm/common/hooks.py:
/// `json.dumps`): whatever the locale of the next reader, the text means the same.
///
/// # Errors
/// None in practice; the library's signature has one.
pub fn to_ascii(value: &Value) -> Result<String> {
    let text = serde_json::to_string(value)?;
    if text.is_ascii() {
        return Ok(text);
    }
    let mut ascii = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_ascii() {
            ascii.push(c);
            continue;
        }
        // Above U+FFFF JSON needs two escapes, a surrogate pair. A character outside ASCII is
        // inside a string, always, so an escape is right wherever it comes.
        for unit in c.encode_utf16(&mut [0; 2]) {
            write!(ascii, "\\u{unit:04x}")?;
        }
    }
    Ok(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// What `change` makes of the object `text`.
    fn edited(
        text: &str,
        change: impl for<'a> FnOnce(&Object<'a>, &mut Edits<'a>) -> Result,
    ) -> Result<Option<String>> {
        let object = Node::parse(text)?.object();
        let mut edits = Edits::new(text);
        change(&object.ok_or_else(|| Error::new("no object"))?, &mut edits)?;
        edits.finish()
    }

    #[test]
    fn what_is_not_meant_stays() -> Result {
        let text = r#" {"n" : -0.0e1,  "half\ud83d": "\ud83d", "a": {"x": 1}, "z": [1.50, null]} "#;
        let new = edited(text, |object, edits| {
            edits.set(object, "new", &json!("größe"))?;
            edits.set(object, "a", &json!({"x": 2, "b": []}))?;
            edits.set(object, "last", &json!(true))
        })?;
        let expected = r#" {"n" : -0.0e1,  "half\ud83d": "\ud83d", "a": {"x":2,"b":[]}, "z": [1.50, null], "new": "gr\u00f6\u00dfe", "last": true} "#;
        assert_eq!(new.as_deref(), Some(expected));
        // What is there already is no edit, however it is written.
        let same = edited(text, |object, edits| {
            edits.set(object, "a", &json!({"x": 1}))
        })?;
        assert_eq!(same, None);
        Ok(())
    }

    #[test]
    fn members_come_and_go() -> Result {
        for (text, removed, expected) in [
            (r#"{"a": 1, "b": 2}"#, "a", r#"{"b": 2}"#),
            (r#"{"a": 1, "b": 2}"#, "b", r#"{"a": 1}"#),
            (r#"{ "a" : 1 }"#, "a", "{  }"),
            (
                r#"{"b": 1,"a": {"c": 2} , "d": 3}"#,
                "a",
                r#"{"b": 1 , "d": 3}"#,
            ),
        ] {
            let new = edited(text, |object, edits| {
                edits.remove(object, removed);
                Ok(())
            })?;
            assert_eq!(new.as_deref(), Some(expected), "{text}");
        }
        // Several at once, and others in their place.
        let abc = r#"{ "a": 1, "b": 2 ,"c": 3 }"#;
        for (removed, added, expected) in [
            (&["a", "b"][..], &[][..], r#"{ "c": 3 }"#),
            (&["a", "c"], &[], r#"{ "b": 2 }"#),
            (&["b", "c"], &["d"], r#"{ "a": 1, "d": 0 }"#),
            (&["b", "a"], &["d", "e"], r#"{ "c": 3, "d": 0, "e": 0 }"#),
            (&["a", "b", "c"], &["d", "e"], r#"{ "d": 0, "e": 0 }"#),
            (&["c", "b", "a"], &[], "{  }"),
        ] {
            let new = edited(abc, |object, edits| {
                added
                    .iter()
                    .try_for_each(|name| edits.set(object, name, &json!(0)))?;
                removed.iter().for_each(|name| edits.remove(object, name));
                Ok(())
            })?;
            assert_eq!(new.as_deref(), Some(expected), "{removed:?}");
        }
        let new = edited("{ }", |object, edits| {
            edits.set(object, "a", &json!(1))?;
            edits.set(object, "b", &json!(2))
        })?;
        assert_eq!(new.as_deref(), Some(r#"{"a": 1, "b": 2 }"#));
        Ok(())
    }

    #[test]
    fn the_last_of_two_equal_names_counts() -> Result {
        let new = edited(r#"{"a": 1, "a": 2}"#, |object, edits| {
            assert_eq!(object.get("a").map(Node::source), Some("2"));
            edits.set(object, "a", &json!(3))
        })?;
        assert_eq!(new.as_deref(), Some(r#"{"a": 1, "a": 3}"#));
        Ok(())
    }

    #[test]
    fn a_name_may_be_written_with_escapes() -> Result {
        let new = edited(r#"{"vm\u0049d": 1, "n\"": 2}"#, |object, edits| {
            assert_eq!(object.get("n\"").map(Node::source), Some("2"));
            edits.set(object, "vmId", &json!(3))
        })?;
        assert_eq!(new.as_deref(), Some(r#"{"vm\u0049d": 3, "n\"": 2}"#));
        Ok(())
    }

    #[test]
    fn kinds_are_told_apart() -> Result {
        let node = Node::parse(r#"[{"a": "x"}, "y", 1, null]"#)?;
        let items = node.array().unwrap_or_default();
        assert_eq!(items.len(), 4);
        assert!(node.object().is_none() && items[1].object().is_none());
        assert_eq!(items[1].string().as_deref(), Some("y"));
        assert_eq!((items[2].string(), items[2].source()), (None, "1"));
        assert_eq!(
            (items[1].text().as_str(), items[2].text().as_str()),
            ("y", "1")
        );
        for broken in ["", "{", "[1,]", "{} x", "nul"] {
            assert!(Node::parse(broken).is_err(), "{broken}");
        }
        Ok(())
    }

    #[test]
    fn values_are_ascii() {
        for text in [
            r#"{"z":1,"a":[1.50,12345678901234567890123,-0.0,1e+400],"n":null}"#,
            r#"{"name":"\u751f\ud83d\ude80","x":"a/b"}"#,
        ] {
            let value: Value = serde_json::from_str(text).unwrap_or_default();
            assert_eq!(to_ascii(&value), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_document_takes_the_time_that_its_length_tells() {
        let wide = (0..200_000).map(|i| format!("\"m{i}\": [{{}}, {i}], "));
        let wide = format!("{{{}\"x\": 1}}", wide.collect::<String>());
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let (done, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let new = edited(&wide, |object, edits| {
                for (name, _) in object.members().step_by(1000) {
                    edits.remove(object, name);
                }
                let members = object.members.iter().enumerate();
                let numbers = members.map(|(number, _)| number);
                edits.changed(object).removed.extend(numbers);
                edits.set(object, "new", &json!(1))
            });
            let depth = Node::parse(&deep).map(|node| node.value().is_none());
            done.send((new, depth))
        });
        // Some seconds on a slow machine.
        let outcome = wait.recv_timeout(std::time::Duration::from_secs(60));
        let expected = Ok((Ok(Some("{\"new\": 1}".to_owned())), Ok(true)));
        assert_eq!(outcome, expected);
    }
}
