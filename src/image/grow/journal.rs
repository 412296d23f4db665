// SPDX-License-Identifier: GPL-2.0-or-later

//! What is known of a volume from one start to the next: the size up to which all is grown, and the
//! journal of a growth that has begun, so that one that was cut off is finished.

use serde_json::{Value, json};

use super::image::{Facts, Format, Image};
use super::step::Step;
use crate::host::state::Records;
use crate::json::Node;
use crate::{Context as _, Error, Result};

/// Whose locks and records they are.
pub(super) const HOOK: &str = "growdisk";
const SEEN: &str = "growdisk/seen";

/// The journal of a growth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Journal {
    /// Of the image that it was written for: see [`Image::identity`]. Empty in one of before 2026-12.
    pub(super) identity: String,
    /// The virtual size of the disk, in bytes.
    pub(super) size: u64,
    pub(super) format: Format,
    /// What was on the disk, for whoever has to mend it by hand.
    pub(super) found: String,
    pub(super) steps: Vec<Step>,
    /// What to say when it is done: the place, and the sizes before and after.
    pub(super) result: String,
}

impl Journal {
    /// Whether it is this very image's, and not that of another one under the same id: a copy.
    pub(super) fn is_of(&self, facts: &Facts) -> bool {
        self.identity.is_empty() || self.identity == facts.identity
    }
}

/// The journals of this host.
pub(super) fn records() -> Result<Records> {
    Records::persistent(HOOK)
}

/// The journal of a volume; none if none has begun.
pub(super) fn read(records: &Records, id: &str) -> Result<Option<Journal>> {
    let name = name(id);
    let Some(text) = records.read(&name)? else {
        return Ok(None);
    };
    let read = parse(&text).context(format!("/var/lib/vdsm/hooks/{HOOK}/{name}"));
    read.map(Some)
}

fn name(id: &str) -> String {
    format!("{id}.json")
}

fn parse(journal: &str) -> Result<Journal> {
    let object = Node::parse(journal)?.object();
    let object = object.ok_or_else(|| Error::new("no journal: no object"))?;
    let text = |name| object.get(name).map(Node::text).unwrap_or_default();
    let missing = |what: &str| Error::new(format!("no journal: no {what}"));
    let mut steps = Vec::new();
    for step in object
        .get("steps")
        .and_then(Node::array)
        .unwrap_or_default()
    {
        let step = step.object().ok_or_else(|| missing("steps"))?;
        steps.push(Step::from_json(&step)?);
    }
    if steps.is_empty() {
        return Err(missing("steps"));
    }
    Ok(Journal {
        identity: text("identity"),
        size: text("size").parse().map_err(|_| missing("size"))?,
        format: Format::named(&text("format")).ok_or_else(|| missing("format"))?,
        found: text("found"),
        steps,
        result: text("result"),
    })
}

/// Writes the journal, before the first step; it is on the disk when this returns.
pub(super) fn write(image: &Image, journal: &Journal) -> Result {
    save(image, journal, &[])
}

/// Writes it with what guestfish has said, after a step has failed.
pub(super) fn write_failed(image: &Image, journal: &Journal, said: &[&str]) -> Result {
    save(image, journal, said)
}

fn save(image: &Image, journal: &Journal, said: &[&str]) -> Result {
    let steps: Vec<Value> = journal.steps.iter().map(Step::to_json).collect();
    let value = json!({
        "path": image.path.to_string_lossy(),
        "identity": journal.identity,
        "format": journal.format.name(),
        "size": journal.size,
        "found": journal.found,
        "result": journal.result,
        "steps": steps,
        "guestfish": said,
    });
    records()?.write(&name(&image.id), &format!("{value:#}\n"))
}

/// Removes the journal; whether there was one.
pub(super) fn remove(id: &str) -> Result<bool> {
    let (records, name) = (records()?, name(id));
    let was_there = records.read(&name).map_or(true, |text| text.is_some());
    records.remove(&name)?;
    Ok(was_there)
}

/// Whether an image of this size needs no look: it is what the last one found grown.
pub(super) fn is_seen(image: &Image, facts: &Facts) -> Result<bool> {
    let Some(text) = Records::for_hook(SEEN)?.read(&image.id)? else {
        return Ok(false);
    };
    let (size, identity) = text.split_once('\n').unwrap_or((&text, ""));
    // A record of before 2026-12 does not say of which image.
    let identity = identity.trim_end();
    let is_it = identity.is_empty() || identity == facts.identity;
    Ok(is_it && size == facts.size.to_string())
}

/// Notes that up to this size all is grown.
pub(super) fn see(image: &Image, facts: &Facts) -> Result {
    Records::for_hook(SEEN)?.write(&image.id, &seen(facts))
}

fn seen(facts: &Facts) -> String {
    format!("{}\n{}\n", facts.size, facts.identity)
}

/// Forgets it.
pub(super) fn unsee(id: &str) -> Result {
    Records::for_hook(SEEN)?.remove(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_journal() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"size":1,"format":"raw","steps":[]}"#,
            r#"{"size":1,"format":"raw","steps":[{"op":"rm-rf","device":"/"}]}"#,
            r#"{"size":1,"format":"vdi","steps":[{"op":"pvresize","device":"/dev/sda"}]}"#,
            r#"{"size":"x","format":"raw","steps":[{"op":"pvresize","device":"/dev/sda"}]}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let text = r#"{"size":1,"format":"raw","steps":[{"op":"pvresize","device":"/dev/sda"}]}"#;
        assert!(parse(text).is_ok());
    }
}
