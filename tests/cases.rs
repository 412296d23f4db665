// SPDX-License-Identifier: GPL-2.0-or-later

//! Runs every `hooks/*/cases/*`: a document, an environment, and what the hook makes of them.
//!
//! A case is a folder with the data file (`input.xml`), what has to change in it to the byte
//! (`expected.diff`; absent when nothing may), and `case.json`:
//!
//! | member | meaning |
//! |---|---|
//! | `event` | where the hook is called |
//! | `env` | custom properties, and other variables; null removes one that VDSM sets |
//! | `status`, `stderr` | exactly that; `DATA` stands for the name of the data file |
//! | `any_of` | words of which one replaces `ANY_OF` in `expected.diff`, and `stderr` is free: the hook picks at random |
//! | `nics` | network devices of the host and their kinds, made for real in a network namespace |
//! | `note`, `better` | what the case is about; why the hook does better than VDSM's own |
//!
//! `UPDATE=1` records what the hooks do now: review the difference like code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use similar::TextDiff;
use support::{Firing, Outcome, hooks, is_root, not_run, root};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Case {
    event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    better: Option<String>,
    #[serde(default)]
    env: serde_json::Map<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    nics: BTreeMap<String, String>,
    status: i32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stderr: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    any_of: Vec<String>,
}

#[test]
fn every_case_holds() {
    let update = std::env::var_os("UPDATE").is_some();
    let (mut held, mut failures) = (0, Vec::new());
    for hook in hooks() {
        for folder in folders(&root().join("hooks").join(&hook.name).join("cases")) {
            let name = format!(
                "{}/{}",
                hook.name,
                folder.file_name().unwrap().to_str().unwrap()
            );
            let case = fs::read_to_string(folder.join("case.json")).unwrap();
            let mut case: Case =
                serde_json::from_str(&case).unwrap_or_else(|error| panic!("{name}: {error}"));
            let Some(outcome) = run(&hook.name, &name, &case, &folder) else {
                continue;
            };
            if update {
                record(&folder, &mut case, &outcome);
                continue;
            }
            match judge(&folder, &case, &outcome) {
                Ok(()) => held += 1,
                Err(problem) => failures.push(format!("{name}: {problem}")),
            }
        }
    }
    println!("{held} cases hold");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(held > 0 || update);
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(of)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    folders
}

fn run(hook: &str, name: &str, case: &Case, folder: &Path) -> Option<Outcome> {
    let mut firing = Firing::new(
        hook,
        &case.event,
        &fs::read(folder.join("input.xml")).unwrap(),
    );
    for (variable, value) in &case.env {
        firing = match value.as_str() {
            Some(value) => firing.variable(variable, value),
            None => firing.without(variable),
        };
    }
    if case.nics.is_empty() {
        return Some(firing.run());
    }
    if !is_root() {
        not_run(name, "needs root for a network namespace");
        return None;
    }
    let script = root().join("tests/support/with-nics.sh");
    let mut wrapper = vec![
        "unshare",
        "--net",
        "--mount",
        "sh",
        script.to_str().unwrap(),
    ];
    let nics: Vec<_> = case
        .nics
        .iter()
        .map(|(nic, kind)| format!("{kind}:{nic}"))
        .collect();
    wrapper.extend(nics.iter().map(String::as_str));
    wrapper.push("--");
    let outcome = firing.inside(&wrapper).run();
    if outcome.status == Some(77) {
        not_run(name, outcome.stderr.trim());
        return None;
    }
    Some(outcome)
}

/// The difference that the hook made, as text; empty if none.
fn difference(folder: &Path, outcome: &Outcome) -> String {
    let before = fs::read(folder.join("input.xml")).unwrap();
    let after = outcome.data.clone().expect("the data file is there");
    if before == after {
        return String::new();
    }
    let before = String::from_utf8(before).unwrap();
    let after = String::from_utf8(after).unwrap();
    TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(1)
        .to_string()
}

fn judge(folder: &Path, case: &Case, outcome: &Outcome) -> Result<(), String> {
    if outcome.status != Some(case.status) {
        return Err(format!(
            "status {:?}, expected {}: {}",
            outcome.status, case.status, outcome.stderr
        ));
    }
    if case.any_of.is_empty() && outcome.stderr != case.stderr {
        return Err(format!(
            "stderr {:?}, expected {:?}",
            outcome.stderr, case.stderr
        ));
    }
    if !outcome.left_behind.is_empty() || !outcome.stdout.is_empty() {
        return Err(format!(
            "left {:?}, printed {:?}",
            outcome.left_behind, outcome.stdout
        ));
    }
    let expected = fs::read_to_string(folder.join("expected.diff")).unwrap_or_default();
    if expected.is_empty() && outcome.touched {
        return Err("the data file was written".to_owned());
    }
    let difference = difference(folder, outcome);
    let fits = |word: &String| expected.replace("ANY_OF", word) == difference;
    if difference != expected && !case.any_of.iter().any(fits) {
        return Err(format!(
            "the difference is\n{difference}\nexpected\n{expected}"
        ));
    }
    Ok(())
}

fn record(folder: &Path, case: &mut Case, outcome: &Outcome) {
    case.status = outcome.status.unwrap();
    case.stderr = if case.any_of.is_empty() {
        outcome.stderr.clone()
    } else {
        String::new()
    };
    let mut difference = difference(folder, outcome);
    for word in &case.any_of {
        difference = difference
            .replace(&format!("{word:?}"), "\"ANY_OF\"")
            .replace(&format!("'{word}'"), "'ANY_OF'");
    }
    let file = folder.join("expected.diff");
    if difference.is_empty() {
        let _ = fs::remove_file(file);
    } else {
        fs::write(file, difference).unwrap();
    }
    let text = serde_json::to_string_pretty(case).unwrap();
    fs::write(folder.join("case.json"), text + "\n").unwrap();
}
