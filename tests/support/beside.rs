// SPDX-License-Identifier: GPL-2.0-or-later

//! With which others a hook meets on one element of the document, and what holds then:
//! `hooks/<name>/cases/beside.json`.
//!
//! | member | meaning |
//! |---|---|
//! | `elements` | the elements that it changes, each with the rule for every other hook on it; null where each pair has a rule of its own |
//! | `with` | rules for pairs, by the other hook; one of the two has it |
//! | `examples` | values of its properties, where the examples of `hook.json` do not meet those of others |
//! | `host` | as in a case, if not `cases/host.json` |
//! | `ports` | what it makes of a NIC: whether libvirt can put a filter on that |

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;
use serde_json::Value;

use super::{hooks, root};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Beside {
    pub elements: BTreeMap<String, Option<Rule>>,
    pub with: BTreeMap<String, Rule>,
    pub examples: BTreeMap<String, String>,
    pub host: Option<Value>,
    pub ports: Vec<Port>,
}

/// What holds for two hooks.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The one that comes first refuses, and so does the other.
    Refused,
    /// The same document in both orders.
    Same(Words),
    /// No two disks have one name, and no two devices one place in the order of boot.
    Apart,
    /// By the names of their files, or by their events, this hook is first. In the document of that
    /// order are these words.
    First(Words),
    /// By the names of their files this hook is first. They act on images: there is no document to
    /// compare.
    Ahead,
    /// By the values of one property each knows whose turn it is: the other changes nothing.
    OneAtATime,
}

/// What is in a document, and what is not.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Words {
    pub there: Vec<String>,
    #[serde(default)]
    pub gone: Vec<String>,
}

/// A hook makes a port of another kind of a NIC, or plugs the NIC in elsewhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    pub events: Vec<String>,
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// As in a case, if not `cases/host.json`.
    #[serde(default)]
    pub host: Option<Value>,
    /// Whether libvirt can filter what becomes of the NIC.
    pub can_be_filtered: bool,
}

impl Beside {
    /// What the hook's folder says; nothing if the hook meets no other.
    pub fn of(hook: &str) -> Beside {
        let file = root().join("hooks").join(hook).join("cases/beside.json");
        let Ok(text) = fs::read_to_string(&file) else {
            return Beside::default();
        };
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }
}

/// Of all hooks that meet others, in the order of their names.
pub fn all() -> BTreeMap<String, Beside> {
    let hooks = hooks().into_iter();
    hooks
        .map(|hook| (hook.name.clone(), Beside::of(&hook.name)))
        .collect()
}
