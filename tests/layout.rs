// SPDX-License-Identifier: GPL-2.0-or-later

//! A hook is a folder and one line in `Cargo.toml`; this says what is missing, word for word.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

mod tables;

use crate::support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{hooks, root};
use vdsm_hooks::hook::manifest::{HostFile, Manifest, Scope};
use vdsm_hooks::host::sudo::in_sudoers;
use vdsm_hooks::paths::{HELPERS, HOOKS};
use vdsm_hooks::vdsm::events::{self, Event};

/// Lines of code; beyond this something belongs in the library. Comments and blank lines do not
/// count.
const MAX_HOOK_LINES: usize = 180;

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file of the hook's folder.
fn read_of(hook: &Manifest, file: &str) -> String {
    read(Path::new("hooks").join(&hook.name).join(file))
}

/// What lies in the hook's folder, sorted.
fn names_in(hook: &Manifest) -> Vec<String> {
    let folder = root().join("hooks").join(&hook.name);
    assert!(
        folder.is_dir(),
        "hook.json calls its hook {:?}, not its folder's name",
        hook.name
    );
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The programs of the folder besides the hook itself.
fn programs(hook: &Manifest) -> impl Iterator<Item = &String> {
    hook.helpers.iter().chain(&hook.daemons)
}

#[test]
fn every_folder_is_a_whole_hook() {
    for hook in hooks() {
        let name = &hook.name;
        let readme = read_of(&hook, "README.md");
        let properties = hook.properties.iter().map(|property| &property.name);
        let events = hook.events.iter().map(|event| &event.event);
        for word in properties.chain(events).chain(&hook.looks_at) {
            assert!(
                readme.contains(word),
                "hooks/{name}/README.md does not name {word}"
            );
        }
        let has_cases = names_in(&hook).iter().any(|name| name == "cases");
        assert!(has_cases, "hooks/{name}: no cases");
        let checks = read_of(&hook, "hypervisor.sh");
        assert!(
            checks
                .lines()
                .any(|line| line.trim_start().starts_with("check \"")),
            "hooks/{name}/hypervisor.sh checks nothing"
        );
        let has_purpose = |file: &str| {
            [
                "README.md",
                "bench.json",
                "bench.py",
                "cases",
                "hook.json",
                "hypervisor.sh",
                "main.rs",
            ]
            .contains(&file)
                || (file == "sudoers" && !hook.sudo.is_empty())
                || file.ends_with(".rs")
                || hook.files.iter().any(|one| one.source == file)
        };
        for file in names_in(&hook) {
            assert!(
                has_purpose(&file),
                "hooks/{name}/{file}: hook.json says nothing of it"
            );
        }
    }
    let folders = fs::read_dir(root().join("hooks")).unwrap().count();
    assert_eq!(
        folders,
        hooks().len(),
        "a folder in hooks/ has no hook.json"
    );
}

#[test]
fn a_hook_is_a_page() {
    for hook in hooks() {
        let page = read_of(&hook, "main.rs");
        let lines = page.lines().map(str::trim);
        let is_code = |line: &&str| !line.is_empty() && !line.starts_with("//");
        let code = lines.filter(is_code).count();
        assert!(
            code <= MAX_HOOK_LINES,
            "{}: {code} lines of code in main.rs: what of it belongs in a module beside it, or in src/?",
            hook.name
        );
    }
}

#[test]
fn a_hook_looks_at_properties_of_others() {
    let all = hooks();
    for hook in &all {
        for name in &hook.looks_at {
            let has = |one: &Manifest| one.properties.iter().any(|own| own.name == *name);
            assert!(!has(hook), "hooks/{}: {name} is its own", hook.name);
            assert!(
                all.iter().any(has),
                "hooks/{}: no hook has a property {name}",
                hook.name
            );
        }
    }
}

#[test]
fn what_runs_as_root_is_written_down_twice() {
    for hook in hooks() {
        let name = &hook.name;
        let sudoers = if hook.sudo.is_empty() {
            String::new()
        } else {
            read_of(&hook, "sudoers")
        };
        let allowed: Vec<_> = sudoers
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .collect();
        let described = hook.sudo.iter();
        let described: Vec<_> = described
            .map(|command| format!("vdsm ALL=(root) NOPASSWD: {}", in_sudoers(command)))
            .collect();
        assert_eq!(allowed, described, "hooks/{name}/sudoers and hook.json");
        // What is root's can only be ended by root: by `timeout`, or by itself as our helpers do.
        for command in &hook.sudo {
            let is_helper = command.starts_with(&format!("{HELPERS}/"));
            let seconds = command.strip_prefix("/usr/bin/timeout -s KILL ");
            let seconds = seconds.and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
            let is_ended = seconds.is_some_and(|seconds| seconds > 0);
            assert!(is_helper || is_ended, "hooks/{name}/hook.json: {command}");
        }
        // A hook that VDSM starts as root starts its helper without asking.
        let mut fired = hook.events.iter().filter_map(|on| events::find(&on.event));
        let is_root = fired.any(Event::run_by_root);
        for helper in hook.helpers.iter().filter(|_| !is_root) {
            let program = format!("{HELPERS}/{helper}");
            let runs = |command: &String| command.split(' ').next() == Some(&program);
            assert!(
                hook.sudo.iter().any(runs),
                "hooks/{name}/hook.json: 'sudo' has no line with {program}"
            );
        }
    }
}

#[test]
fn a_daemon_has_a_unit_that_starts_it() {
    for hook in hooks() {
        for daemon in &hook.daemons {
            let start = format!("ExecStart={HOOKS}/{daemon}");
            let starts = |unit: &HostFile| {
                read_of(&hook, &unit.source)
                    .lines()
                    .any(|line| line == start)
            };
            assert!(
                hook.files.iter().any(starts),
                "hooks/{}: no file has the line {start}",
                hook.name
            );
        }
    }
}

#[test]
fn files_of_the_host_are_there_and_have_a_place() {
    for hook in hooks() {
        for file in &hook.files {
            let place = format!("hooks/{}/hook.json: {}", hook.name, file.source);
            assert!(
                names_in(&hook).contains(&file.source),
                "{place}: no such file"
            );
            let path = Path::new(&file.path);
            let plain = path.components().all(|part| part.as_os_str() != "..");
            assert!(path.is_absolute() && plain, "{place}: {}", file.path);
            let octal = |c: char| ('0'..='7').contains(&c);
            assert!(
                file.mode.len() == 4 && file.mode.starts_with('0') && file.mode.chars().all(octal),
                "{place}: mode {}, expected octal as in 0644",
                file.mode
            );
        }
    }
}

#[test]
fn a_retired_hook_replaces_a_package() {
    for hook in hooks().into_iter().filter(|hook| hook.retired.is_some()) {
        assert!(
            hook.replaces.is_some(),
            "hooks/{}/hook.json: 'retired' without 'replaces', VDSM's package",
            hook.name
        );
    }
}

#[test]
fn the_list_of_programs_is_complete_and_sorted() {
    let manifest = read("Cargo.toml");
    let mut expected: Vec<String> = Vec::new();
    for hook in hooks() {
        let others = programs(&hook).map(|program| (program, program.as_str()));
        for (program, file) in [(&hook.name, "main")].into_iter().chain(others) {
            let folder = &hook.name;
            // To build a program a second time for its tests costs a second where it has any.
            let untested = if has_tests(&hook, &format!("{file}.rs")) {
                ""
            } else {
                ", test = false"
            };
            expected.push(format!(
                "    {{ name = \"{program}\", path = \"hooks/{folder}/{file}.rs\"{untested} }},"
            ));
        }
    }
    expected.sort();
    for line in &expected {
        assert!(
            manifest.contains(line),
            "Cargo.toml lacks in 'bin' the line\n{line}"
        );
    }
    let lines: Vec<_> = manifest
        .lines()
        .filter(|line| line.contains("path = \"hooks/"))
        .collect();
    assert_eq!(lines, expected, "sort the lines of 'bin' in Cargo.toml");
}

/// Whether the program in this file of the hook's folder has unit tests, in a module of its own or in
/// itself.
fn has_tests(hook: &Manifest, file: &str) -> bool {
    let text = read_of(hook, file);
    let modules = text.lines().filter_map(|line| {
        let module = line.trim_start_matches("pub ").strip_prefix("mod ")?;
        Some(format!("{}.rs", module.strip_suffix(';')?))
    });
    text.contains("#[test]") || modules.into_iter().any(|module| has_tests(hook, &module))
}

#[test]
fn every_file_with_tests_is_part_of_the_suite() {
    let suite = read("tests/suite.rs");
    for entry in fs::read_dir(root().join("tests")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(file) = name.strip_suffix(".rs") else {
            continue;
        };
        let line = format!("mod {file};");
        let other_program = ["suite", "hook_program"].contains(&file);
        assert!(
            other_program || suite.lines().any(|one| one == line),
            "tests/suite.rs lacks the line\n{line}"
        );
    }
}

#[test]
fn values_match_their_regular_expressions_or_not() {
    for hook in hooks() {
        for property in &hook.properties {
            let place = format!("hooks/{}/hook.json: {}", hook.name, property.name);
            let of_host = matches!(
                property.scope,
                Scope::Engine | Scope::Host | Scope::VdsmConf
            );
            let Some(regex) = &property.regex else {
                assert!(of_host, "{place} needs a regex");
                assert!(
                    property.wrong.is_empty(),
                    "{place}: 'wrong' without a regex"
                );
                continue;
            };
            assert!(!of_host, "{place}: no engine looks at this regex");
            assert!(
                !regex.contains(';'),
                "{place}: the engine takes no semicolon: {regex}"
            );
            assert!(
                regex.starts_with('^') && regex.ends_with('$'),
                "{place}: {regex}"
            );
            let compiled = pcre2::bytes::RegexBuilder::new().utf(true).build(regex);
            let compiled = compiled.unwrap();
            let matches = |value: &String| compiled.is_match(value.as_bytes()).unwrap();
            assert!(
                !property.wrong.is_empty(),
                "{place} needs values in 'wrong'"
            );
            for value in &property.wrong {
                assert!(!matches(value), "{place}: {value:?} matches {regex}");
            }
            for value in [&property.example].into_iter().chain(&property.refused) {
                assert!(matches(value), "{place}: {value:?} does not match {regex}");
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

/// What the build script says in a directory as cargo makes them, with these variables.
fn build_script_says(profile: &str, copied: bool, variables: &[(&str, &str)]) -> String {
    let builds = tempfile::TempDir::new().unwrap();
    let out = builds.path().join("vdsm-hooks-1/out");
    fs::create_dir_all(&out).unwrap();
    if copied {
        fs::create_dir_all(builds.path().join("pcre2-sys-1/out")).unwrap();
        fs::write(builds.path().join("pcre2-sys-1/out/libpcre2.a"), "").unwrap();
    }
    let output = Command::new(env!("BUILD_SCRIPT"))
        .current_dir(root())
        .env_remove("PCRE2_SYS_STATIC")
        .env("OUT_DIR", out)
        .env("PROFILE", profile)
        .env("HOST", "x86_64-unknown-linux-gnu")
        .env("TARGET", "x86_64-unknown-linux-gnu")
        .env("CARGO_CFG_TARGET_ENV", "gnu")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn pcre2_is_never_bundled_unnoticed() {
    let missing = [("PKG_CONFIG", "false")];
    for (profile, copied, variables, words) in [
        (
            "release",
            false,
            &missing[..],
            "cargo::error=the system's PCRE2 is not found: install libpcre2-dev and pkg-config (Debian) or pcre2-devel",
        ),
        (
            "debug",
            false,
            &missing[..],
            "cargo::warning=the system's PCRE2 is not found: install libpcre2-dev",
        ),
        (
            "release",
            true,
            &[][..],
            "holds a copy of PCRE2 from before the system's was there: 'cargo clean --release --package pcre2-sys'",
        ),
        (
            "release",
            false,
            &[("PCRE2_SYS_STATIC", "1")][..],
            "cargo::error=PCRE2 would be built into the programs: PCRE2_SYS_STATIC is \"1\"",
        ),
        (
            "release",
            false,
            &[("TARGET", "x86_64-unknown-linux-musl")][..],
            "cargo::error=PCRE2 would be built into the programs",
        ),
    ] {
        let said = build_script_says(profile, copied, variables);
        assert!(
            said.contains(words),
            "{profile} {copied} {variables:?}: {said}"
        );
    }
    let said = build_script_says("release", false, &[]);
    assert!(
        !said.contains("cargo::error") && !said.contains("cargo::warning"),
        "{said}"
    );
    // And this very build used the system's.
    assert!(loads("log_console", "libpcre2-8.so."));
}

/// Whether the program names this library.
fn loads(program: &str, library: &str) -> bool {
    let program = fs::read(support::program(program)).unwrap();
    let mut windows = program.windows(library.len());
    windows.any(|window| window == library.as_bytes())
}

#[test]
fn static_programs_have_a_pcre2_of_their_own() {
    let is_static = ("CARGO_CFG_TARGET_FEATURE", "fxsr,sse,crt-static");
    let said = build_script_says("release", false, &[is_static]);
    let words = "cargo::error=static programs need a PCRE2 of their own: PCRE2_SYS_STATIC is \"\"";
    assert!(said.contains(words), "{said}");
    let said = build_script_says("release", false, &[is_static, ("PCRE2_SYS_STATIC", "1")]);
    assert!(
        !said.contains("cargo::error") && !said.contains("rustc-link-search"),
        "{said}"
    );
}

#[test]
fn no_program_loads_the_unwinder() {
    for hook in hooks() {
        let name = &hook.name;
        assert!(!loads(name, "libgcc_s.so"), "{name} loads libgcc_s.so.1");
        assert!(loads(name, "libc.so."), "{name} loads no libc");
    }
}
