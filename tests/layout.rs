// SPDX-License-Identifier: GPL-2.0-or-later

//! A hook is a folder and one line in `Cargo.toml`; this says what is missing, word for word.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{hooks, root};
use vdsm_hooks::describe::Scope;

/// Lines of code; beyond this something belongs in the library. Comments and blank lines do not
/// count.
const LONGEST_HOOK: usize = 180;

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_folder_is_a_whole_hook() {
    let manifest = read("Cargo.toml");
    let overview = read("README.md");
    for hook in hooks() {
        let link = format!("| [{0}](hooks/{0}/README.md) |", hook.name);
        assert!(
            overview.contains(&link),
            "README.md lacks a line that begins with\n{link}"
        );
        let folder = Path::new("hooks").join(&hook.name);
        assert!(
            root().join(&folder).is_dir(),
            "hook.json calls its hook {:?}, not its folder's name",
            hook.name
        );
        let line = format!(
            "    {{ name = \"{0}\", path = \"hooks/{0}/main.rs\" }},",
            hook.name
        );
        assert!(
            manifest.contains(&line),
            "Cargo.toml lacks in 'bin' the line\n{line}"
        );
        let program = read(folder.join("main.rs"));
        let code = program
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.trim().starts_with("//"));
        let code = code.count();
        assert!(
            code <= LONGEST_HOOK,
            "{}: {code} lines of code: what of it belongs in src/?",
            hook.name
        );
        let readme = read(folder.join("README.md"));
        for property in &hook.properties {
            assert!(
                readme.contains(&property.name),
                "{}/README.md does not name {}",
                folder.display(),
                property.name
            );
        }
        for event in &hook.events {
            assert!(
                readme.contains(&event.event),
                "{}/README.md does not name {}",
                folder.display(),
                event.event
            );
        }
        assert!(
            root().join(&folder).join("cases").is_dir(),
            "{}: no cases",
            folder.display()
        );
        let checks = read(folder.join("hypervisor.sh"));
        assert!(
            checks.contains("\ncheck \""),
            "{}/hypervisor.sh checks nothing",
            folder.display()
        );
        let sudoers = fs::read_to_string(root().join(&folder).join("sudoers")).unwrap_or_default();
        for command in &hook.sudo {
            let line = format!("vdsm ALL=(root) NOPASSWD: {command}\n");
            assert!(
                sudoers.contains(&line),
                "{}/sudoers lacks the line\n{line}",
                folder.display()
            );
        }
        let lines = sudoers
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        assert_eq!(
            lines.count(),
            hook.sudo.len(),
            "{}/sudoers allows more than hook.json says",
            folder.display()
        );
    }
    let folders = fs::read_dir(root().join("hooks")).unwrap().count();
    assert_eq!(
        folders,
        hooks().len(),
        "a folder in hooks/ has no hook.json"
    );
}

#[test]
fn the_list_of_programs_is_sorted() {
    let manifest = read("Cargo.toml");
    let names: Vec<_> = manifest
        .lines()
        .filter(|line| line.contains("path = \"hooks/"))
        .collect();
    assert!(names.is_sorted(), "sort the lines of 'bin' in Cargo.toml");
    assert_eq!(names.len(), hooks().len());
}

#[test]
fn examples_match_their_regular_expressions() {
    for hook in hooks() {
        for property in &hook.properties {
            let Some(regex) = &property.regex else {
                assert_eq!(
                    property.scope,
                    Scope::Host,
                    "{}: {} needs a regex",
                    hook.name,
                    property.name
                );
                continue;
            };
            assert!(
                !regex.contains(';'),
                "the engine takes no semicolon: {regex}"
            );
            assert!(regex.starts_with('^') && regex.ends_with('$'), "{regex}");
            let compiled = pcre2::bytes::Regex::new(regex).unwrap();
            let example = property.example.as_bytes();
            assert!(
                compiled.is_match(example).unwrap(),
                "{} does not match {regex}",
                property.example
            );
            {
                let wrong = "<x/>";
                assert!(
                    !compiled.is_match(wrong.as_bytes()).unwrap(),
                    "{wrong:?} matches {regex}"
                );
            }
        }
    }
}

#[test]
fn every_source_file_names_its_licence() {
    let output = Command::new("git")
        .args(["ls-files"])
        .current_dir(root())
        .output()
        .unwrap();
    let files = String::from_utf8(output.stdout).unwrap();
    let is_source = |file: &&str| {
        [".rs", ".sh", ".py", ".toml", ".in"]
            .iter()
            .any(|end| file.ends_with(end))
    };
    let sources: Vec<_> = files.lines().filter(is_source).collect();
    assert!(sources.len() > 20, "{files}");
    for file in sources {
        let start: String = read(file).lines().take(2).collect();
        assert!(
            start.contains("SPDX-License-Identifier: GPL-2.0-or-later"),
            "{file}"
        );
    }
}
