// SPDX-License-Identifier: GPL-2.0-or-later

//! Runs every `hooks/*/cases/*`: a document, an environment, and what the hook makes of them.
//!
//! A case is a folder with the data file (`input.xml` or `input.json`), what has to change in it
//! to the byte (`expected.diff`; absent when nothing may), and `case.json`. A line of more than 400
//! bytes is compared in pieces, XML cut before each `<` and JSON behind each `,`; in `expected.diff` a
//! backslash at the end of a piece says that its line goes on.
//!
//! | member | meaning |
//! |---|---|
//! | `event` | where the hook is called |
//! | `env` | custom properties, and other variables; null removes one that VDSM sets |
//! | `status`, `stderr` | exactly that; `DATA` stands for the name of the data file |
//! | `any_of` | words of which one replaces `ANY_OF` in `expected.diff`, and `stderr` is free: the hook picks at random |
//! | `random` | for JSON: paths (`0/disks/*/readRate`) of numbers that the hook draws, and their bounds; `RANDOM` in `expected.diff` |
//! | `nics` | network devices of the host and their kinds, made for real in a network namespace |
//! | `host` | what else the host is like, see `tests/support/host.rs`; nothing but that is there, without it nothing at all |
//! | `effects` | the command lines of `host`'s programs that were run, all of them, in order |
//! | `after` | files of the host afterwards: their text, or an object as in `host`; null for none |
//! | `not_valid` | why libvirt refuses the result, where it did not refuse the input; `tests/documents.rs` looks |
//! | `note`, `better` | what the case is about; why the hook does better than VDSM's own |
//!
//! `UPDATE=1` records what the hooks do now: review the difference like code. `after` is yours to
//! write. `CASES=word` runs only the cases with that word in `hook/case`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use similar::TextDiff;
use support::host::{File, Host, Root};
use support::random::{self, Bounds};
use support::{Firing, Outcome, hooks, is_root, not_run, private_host, root};
use vdsm_hooks::runner::difference::cut_long_lines;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Case {
    event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    better: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_valid: Option<String>,
    #[serde(default)]
    env: serde_json::Map<String, Value>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    nics: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<Host>,
    status: i32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stderr: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    any_of: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    random: Bounds,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    effects: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    after: BTreeMap<String, Option<File>>,
}

/// What one case is given, and what came of it.
struct Run {
    folder: PathBuf,
    /// The data file's content before.
    input: Vec<u8>,
    firing: Firing,
    outcome: Outcome,
}

#[test]
fn every_case_holds() {
    let only = std::env::var("CASES").unwrap_or_default();
    let mut cases = Vec::new();
    for hook in hooks() {
        for folder in folders(&root().join("hooks").join(&hook.name).join("cases")) {
            let case = folder.file_name().unwrap().to_str().unwrap();
            let name = format!("{}/{case}", hook.name);
            if name.contains(&only) {
                cases.push((hook.name.clone(), name, folder));
            }
        }
    }
    let (held, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((hook, name, folder)) = cases.get(next.fetch_add(1, Relaxed)) {
            match hold(hook, name, folder) {
                Some(Ok(())) => drop(held.fetch_add(1, Relaxed)),
                Some(Err(problem)) => failures.lock().unwrap().push(format!("{name}: {problem}")),
                None => {}
            }
        }
    };
    // A case mostly waits for the kernel.
    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    let (held, mut failures) = (held.into_inner(), failures.into_inner().unwrap());
    failures.sort();
    println!("{held} cases hold");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(!cases.is_empty(), "no case is called {only:?}");
}

/// Runs one case, and judges it or records it; none if it cannot run here.
fn hold(hook: &str, name: &str, folder: &Path) -> Option<Result<(), String>> {
    let text = fs::read_to_string(folder.join("case.json")).unwrap();
    let case: serde_json::Result<Case> = serde_json::from_str(&text);
    let mut case = match case {
        Ok(case) => case,
        Err(error) => return Some(Err(error.to_string())),
    };
    let run = run(hook, name, &case, folder.to_owned())?;
    Some(match std::env::var_os("UPDATE") {
        Some(_) => record(&mut case, &run),
        None => judge(&case, &run),
    })
}

/// The folders of a hook's cases. That there are some, the layout test sees to.
fn folders(of: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(of)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

fn run(hook: &str, name: &str, case: &Case, folder: PathBuf) -> Option<Run> {
    let json = fs::read(folder.join("input.json"));
    let is_json = json.is_ok();
    let input = json.unwrap_or_else(|_| fs::read(folder.join("input.xml")).unwrap());
    let variable = if is_json {
        "_hook_json"
    } else {
        "_hook_domxml"
    };
    let mut firing = Firing::new(hook, &case.event, &input).data_named_in(variable);
    for (variable, value) in &case.env {
        firing = match value.as_str() {
            Some(value) => firing.variable(variable, value),
            None => firing.without(variable),
        };
    }
    match (private_host(), &case.host) {
        (Err(reason), Some(_)) => {
            not_run(name, reason);
            return None;
        }
        // Not this machine's host either where the case says nothing about its own: what happens to
        // be there would change what some hooks do.
        (Ok(()), host) if case.nics.is_empty() => {
            firing = firing.on(&host.clone().unwrap_or_default());
        }
        _ => {}
    }
    if !case.nics.is_empty() {
        if !is_root() {
            not_run(name, "needs root for a network namespace");
            return None;
        }
        firing = with_nics(firing, &case.nics);
    }
    let outcome = firing.run();
    if outcome.status == Some(77) {
        not_run(name, outcome.stderr.trim());
        return None;
    }
    Some(Run {
        folder,
        input,
        firing,
        outcome,
    })
}

fn with_nics(firing: Firing, nics: &BTreeMap<String, String>) -> Firing {
    let script = root().join("tests/support/with-nics.sh");
    let mut wrapper = vec![
        "unshare",
        "--net",
        "--mount",
        "sh",
        script.to_str().unwrap(),
    ];
    let nics: Vec<_> = nics
        .iter()
        .map(|(nic, kind)| format!("{kind}:{nic}"))
        .collect();
    wrapper.extend(nics.iter().map(String::as_str));
    wrapper.push("--");
    firing.inside(&wrapper)
}

/// The difference that the hook made, as text; empty if none.
fn difference(case: &Case, run: &Run) -> Result<String, String> {
    let after = run.outcome.data.as_ref().expect("the data file is there");
    if run.input == *after {
        return Ok(String::new());
    }
    let before = String::from_utf8(run.input.clone()).unwrap();
    let mut after = String::from_utf8(after.clone()).unwrap();
    if !case.random.is_empty() {
        after = random::without(&after, &case.random)?;
    }
    if before.contains("\\\n") || after.contains("\\\n") {
        return Err("a line ends with a backslash, which would be taken for a cut".to_owned());
    }
    let (before, after) = (cut_long_lines(&before), cut_long_lines(&after));
    Ok(TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(1)
        .to_string())
}

fn judge(case: &Case, run: &Run) -> Result<(), String> {
    let outcome = &run.outcome;
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
    let expected = fs::read_to_string(run.folder.join("expected.diff")).unwrap_or_default();
    if expected.is_empty() && outcome.touched {
        return Err("the data file was written".to_owned());
    }
    let difference = difference(case, run)?;
    let fits = |word: &String| expected.replace("ANY_OF", word) == difference;
    if difference != expected && !case.any_of.iter().any(fits) {
        return Err(format!(
            "the difference is\n{difference}\nexpected\n{expected}"
        ));
    }
    let effects = effects(run);
    if effects != case.effects {
        return Err(format!("it ran {effects:?}, expected {:?}", case.effects));
    }
    judge_rest(case, run)
}

/// What cannot be recorded.
fn judge_rest(case: &Case, run: &Run) -> Result<(), String> {
    let outcome = &run.outcome;
    if !outcome.left_behind.is_empty() || !outcome.stdout.is_empty() {
        return Err(format!(
            "left {:?}, printed {:?}",
            outcome.left_behind, outcome.stdout
        ));
    }
    let Some(host) = run.firing.root() else {
        assert!(case.after.is_empty(), "'after' needs a 'host'");
        return Ok(());
    };
    let mut files = case.after.iter();
    match files.find_map(|(path, wanted)| host.differs(path, wanted.as_ref())) {
        Some(difference) => Err(difference),
        None => Ok(()),
    }
}

fn effects(run: &Run) -> Vec<String> {
    let name = run.firing.data.to_str().unwrap();
    let calls = run.firing.root().map(Root::calls);
    let calls = calls.unwrap_or_default().into_iter();
    calls
        .map(|call| {
            let call = without_descriptors(&call.replace(name, "DATA"));
            without_drawn_name(&call)
        })
        .collect()
}

/// The numbers of open files depend on who started the test.
fn without_descriptors(call: &str) -> String {
    let mut pieces = call.split("/proc/self/fd/");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text += "/proc/self/fd/N";
        text += piece.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    text
}

/// The directory that an appliance works in has a name that nobody can foresee.
fn without_drawn_name(call: &str) -> String {
    let drawn = call.split_once("/libguestfs/run.");
    match drawn.and_then(|(before, after)| Some((before, after.split_once('/')?))) {
        Some((before, (_, file))) => format!("{before}/libguestfs/run.DRAWN/{file}"),
        None => call.to_owned(),
    }
}

fn record(case: &mut Case, run: &Run) -> Result<(), String> {
    let outcome = &run.outcome;
    case.status = outcome.status.ok_or("killed by a signal")?;
    case.stderr = if case.any_of.is_empty() {
        outcome.stderr.clone()
    } else {
        String::new()
    };
    case.effects = effects(run);
    let mut difference = difference(case, run)?;
    for word in &case.any_of {
        difference = difference
            .replace(&format!("{word:?}"), "\"ANY_OF\"")
            .replace(&format!("'{word}'"), "'ANY_OF'");
    }
    let file = run.folder.join("expected.diff");
    if difference.is_empty() {
        let _ = fs::remove_file(file);
    } else {
        fs::write(file, difference).unwrap();
    }
    let text = serde_json::to_string_pretty(case).unwrap();
    fs::write(run.folder.join("case.json"), text + "\n").unwrap();
    judge_rest(case, run)
}
