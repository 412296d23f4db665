// SPDX-License-Identifier: GPL-2.0-or-later

//! Numbers that a hook draws: checked, and then left out of the comparison.

use std::collections::BTreeMap;

use serde_json::json;
use vdsm_hooks::json::{self, Node};

/// Paths in a JSON document, such as `0/disks/*/readRate`, and the bounds of the numbers there.
pub type Bounds = BTreeMap<String, (i64, i64)>;

/// Checks the numbers that the hook drew, and puts a word in their place.
pub fn without(text: &str, random: &Bounds) -> Result<String, String> {
    let mut edits = json::Edits::new(text);
    for (path, bounds) in random {
        let mut nodes = vec![Node::parse(text).map_err(|error| error.to_string())?];
        for step in path.split('/') {
            nodes = nodes.iter().flat_map(|node| below(*node, step)).collect();
        }
        for node in nodes {
            let number = node.string();
            let number = number.as_deref().unwrap_or(node.source());
            let fits = |number: &f64| bounds.0 as f64 <= *number && *number <= bounds.1 as f64;
            if number.parse().ok().filter(fits).is_none() {
                return Err(format!("{path}: {number} is not in {bounds:?}"));
            }
            // Whether it is a string or a number is not random.
            let word = match node.string() {
                Some(_) => "RANDOM",
                None => "RANDOM NUMBER",
            };
            edits.replace(node, &json!(word)).unwrap();
        }
    }
    let new = edits.finish().map_err(|error| error.to_string())?;
    Ok(new.unwrap_or_else(|| text.to_owned()))
}

/// The members or items that one step of a path names.
fn below<'a>(node: Node<'a>, step: &str) -> Vec<Node<'a>> {
    let named = |name: &str| step == "*" || step == name;
    if let Some(object) = node.object() {
        let members = object.members().filter(|(name, _)| named(name));
        return members.map(|(_, node)| node).collect();
    }
    let items = node.array().unwrap_or_default().into_iter().enumerate();
    items
        .filter(|(number, _)| named(&number.to_string()))
        .map(|(_, node)| node)
        .collect()
}
