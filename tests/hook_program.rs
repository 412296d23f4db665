// SPDX-License-Identifier: GPL-2.0-or-later

//! What `hook` does for a program: panics, events, messages, JSON. A program of its own, which
//! runs itself as the hook; `BE_THE_HOOK` says which.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitCode};

use tempfile::TempDir;
use vdsm_hooks::hook::{self, Program};
use vdsm_hooks::{Error, Result, props};

const HOOK: Program = Program {
    name: "sample",
    version: "1",
    help: "",
    description: "",
};

fn main() -> ExitCode {
    if let Ok(kind) = env::var("BE_THE_HOOK") {
        return hook::run(HOOK, || be(&kind));
    }
    let tests: [(&str, fn()); 7] = [
        (
            "a_panic_is_one_line_and_status_2",
            a_panic_is_one_line_and_status_2,
        ),
        (
            "an_error_is_one_line_with_its_status",
            an_error_is_one_line_with_its_status,
        ),
        (
            "the_event_is_the_real_directory",
            the_event_is_the_real_directory,
        ),
        (
            "the_log_level_has_its_own_variable",
            the_log_level_has_its_own_variable,
        ),
        (
            "json_keeps_members_and_numbers",
            json_keeps_members_and_numbers,
        ),
        ("broken_json_is_refused", broken_json_is_refused),
        ("properties_are_checked", properties_are_checked),
    ];
    println!("running {} tests", tests.len());
    for (name, test) in tests {
        test();
        println!("test {name} ... ok");
    }
    println!("\ntest result: ok. {} passed; 0 failed", tests.len());
    ExitCode::SUCCESS
}

fn be(kind: &str) -> Result {
    match kind {
        "panic" => panic!("first line\nsecond line"),
        "error" => Err(Error::new("first line\nsecond \u{1b}[1mline").keep_going()),
        "event" => Err(Error::new(hook::event()?)),
        "log" => {
            log::warn!("a warning\nof two lines");
            log::debug!("a detail");
            Ok(())
        }
        "json" => hook::edit_json(|document, edits| {
            let object = document.object().ok_or_else(|| Error::new("no object"))?;
            edits.set(&object, "new", &"größe".into())
        }),
        // What each kind of property makes of the variable P.
        "number" => tell(props::number("P", -5..=1000)?),
        "size" => tell(props::size("P")?),
        "choice" => tell(props::choice("P", &[("on", 1), ("off", 0)])?),
        "list" => tell(props::list("P", ',')?),
        "mac" => tell(props::mac("P")?),
        "flag" => tell(props::flag("P")?),
        other => panic!("{other}"),
    }
}

fn tell(value: impl std::fmt::Debug) -> Result {
    Err(Error::new(format!("{value:?}")))
}

/// Status and stderr of this program as the hook `kind`.
fn run(kind: &str, program: &Path, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    let output = command
        .env("BE_THE_HOOK", kind)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn run_self(kind: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    run(kind, &env::current_exe().unwrap(), variables)
}

fn a_panic_is_one_line_and_status_2() {
    let (status, stderr) = run_self("panic", &[]);
    assert_eq!((status, stderr.lines().count()), (Some(2), 1), "{stderr}");
    let start = "sample: internal error, please report it: first line\\nsecond line at tests/";
    assert!(stderr.starts_with(start), "{stderr}");
}

fn an_error_is_one_line_with_its_status() {
    let line = "sample: first line\\nsecond \\u{1b}[1mline\n".to_owned();
    assert_eq!(run_self("error", &[]), (Some(1), line));
}

fn the_event_is_the_real_directory() {
    let directory = TempDir::new().unwrap();
    let events = directory.path().join("before_vm_start");
    fs::create_dir(&events).unwrap();
    symlink(env::current_exe().unwrap(), events.join("50_sample")).unwrap();
    symlink(&events, directory.path().join("elsewhere")).unwrap();
    for through in ["before_vm_start/50_sample", "elsewhere/50_sample"] {
        let (_, stderr) = run("event", &directory.path().join(through), &[]);
        assert_eq!(stderr, "sample: before_vm_start\n", "{through}");
    }
    let forced = [("VDSM_HOOK_EVENT", "after_vm_start")];
    let (_, stderr) = run(
        "event",
        &directory.path().join("elsewhere/50_sample"),
        &forced,
    );
    assert_eq!(stderr, "sample: after_vm_start\n");
    // Found through a relative PATH.
    let output = Command::new("sh")
        .args(["-c", "PATH=. exec 50_sample"])
        .env("BE_THE_HOOK", "event")
        .current_dir(&events)
        .output();
    let by_path = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(by_path.starts_with("sample: "), "{by_path}");
}

fn the_log_level_has_its_own_variable() {
    let warning = "sample: warning: a warning\\nof two lines\n";
    let detail = "sample: debug: a detail\n";
    assert_eq!(run_self("log", &[("RUST_LOG", "trace")]).1, warning);
    assert_eq!(
        run_self("log", &[("VDSM_HOOK_LOG", "debug")]).1,
        format!("{warning}{detail}")
    );
    assert_eq!(run_self("log", &[("VDSM_HOOK_LOG", "error")]).1, "");
}

/// Runs the JSON hook on a document; what it leaves, and what it says.
fn on_json(document: &str) -> (String, Option<i32>, String) {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("data");
    fs::write(&file, document).unwrap();
    let (status, stderr) = run_self("json", &[("_hook_json", file.to_str().unwrap())]);
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 1, "a temporary file is left");
    (fs::read_to_string(&file).unwrap(), status, stderr)
}

fn json_keeps_members_and_numbers() {
    let before = r#"{"z": 1.50, "a": [12345678901234567890123, null], "é": "\u751f"}"#;
    let after = r#"{"z": 1.50, "a": [12345678901234567890123, null], "é": "\u751f", "new": "gr\u00f6\u00dfe"}"#;
    assert_eq!(on_json(before), (after.to_owned(), Some(0), String::new()));
    // Nothing to change: not even the blanks.
    let same = r#"{ "new" : "größe" }"#;
    assert_eq!(on_json(same), (same.to_owned(), Some(0), String::new()));
    assert_eq!(on_json(""), (String::new(), Some(0), String::new()));
}

fn broken_json_is_refused() {
    for broken in ["{", "<domain/>", "{\"a\": NaN}"] {
        let (left, status, stderr) = on_json(broken);
        assert_eq!((left.as_str(), status), (broken, Some(2)), "{stderr}");
        assert!(
            stderr.contains("not JSON") && stderr.lines().count() == 1,
            "{stderr}"
        );
    }
    let (status, stderr) = run_self("json", &[("_hook_domxml", "/x")]);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("hands over _hook_domxml"), "{stderr}");
}

fn properties_are_checked() {
    for (kind, value, told) in [
        ("number", " 1000 ", "Some(1000)"),
        ("number", "-5", "Some(-5)"),
        (
            "number",
            "1001",
            "P=\"1001\": expected a whole number from -5 to 1000",
        ),
        (
            "number",
            "x\ny",
            "P=\"x\\ny\": expected a whole number from -5 to 1000",
        ),
        ("size", "20G", "Some(21474836480)"),
        (
            "size",
            "20 G B",
            "P=\"20 G B\": expected a size: a whole number and k, M, G or T, such as 20G",
        ),
        ("choice", "on", "Some(1)"),
        ("choice", "ON", "P=\"ON\": expected one of on, off"),
        ("list", " a ,, b", "Some([\"a\", \"\", \"b\"])"),
        ("list", "  ", "Some([])"),
        (
            "mac",
            "52:54:00:AB:cd:01",
            "Some(Mac([82, 84, 0, 171, 205, 1]))",
        ),
        (
            "mac",
            "52:54",
            "P=\"52:54\": expected a MAC address such as 52:54:00:12:34:56",
        ),
        ("flag", "TRUE", "Some(true)"),
        ("flag", " -1 ", "Some(true)"),
        ("flag", "0", "Some(false)"),
    ] {
        let (status, stderr) = run_self(kind, &[("P", value)]);
        assert_eq!(
            (status, stderr),
            (Some(2), format!("sample: {told}\n")),
            "{kind} {value:?}"
        );
        assert_eq!(run_self(kind, &[]).1, "sample: None\n", "{kind}");
    }
}
