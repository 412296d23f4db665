// SPDX-License-Identifier: GPL-2.0-or-later

//! Several hooks at one event: each gets the document that the one before has left.

use std::fs;

use super::host::Host;
use super::{Firing, root};

/// A hook in its turn, and the host that it finds.
#[derive(Clone)]
pub struct Turn {
    hook: String,
    host: Option<Host>,
}

impl Turn {
    /// A hook that asks its host nothing.
    pub fn of(hook: &str) -> Turn {
        Turn {
            hook: hook.to_owned(),
            host: None,
        }
    }

    /// On a host where the hook's examples work, if they need anything of it: `cases/host.json`.
    pub fn with_examples(hook: &str) -> Turn {
        let file = root().join("hooks").join(hook).join("cases/host.json");
        match fs::read_to_string(file) {
            Ok(text) => Turn::of(hook).on(&text),
            Err(_) => Turn::of(hook),
        }
    }

    /// On this host, in the form of a case.
    #[must_use]
    pub fn on(mut self, host: &str) -> Turn {
        self.host = Some(serde_json::from_str(host).unwrap());
        self
    }

    /// The hook.
    pub fn hook(&self) -> &str {
        &self.hook
    }

    /// Whether it takes a host of its own, which needs root.
    pub fn has_host(&self) -> bool {
        self.host.is_some()
    }
}

/// What VDSM gets: the last document, or the message of the hook that failed.
pub fn fire(
    turns: &[&Turn],
    event: &str,
    document: &[u8],
    variables: &[(String, String)],
) -> Result<String, String> {
    let mut document = document.to_vec();
    for turn in turns {
        let mut firing = Firing::new(&turn.hook, event, &document);
        for (name, value) in variables {
            firing = firing.variable(name, value);
        }
        if let Some(host) = &turn.host {
            firing = firing.on(host);
        }
        let outcome = firing.run();
        match outcome.status {
            Some(0) => document = outcome.data.unwrap(),
            // After 1 VDSM runs the others, and stops all the same.
            Some(1 | 2) => {
                assert!(!outcome.touched, "{}: {}", turn.hook, outcome.stderr);
                return Err(outcome.stderr);
            }
            other => panic!("{}: {other:?}: {}", turn.hook, outcome.stderr),
        }
    }
    Ok(String::from_utf8(document).unwrap())
}
