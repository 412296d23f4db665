// SPDX-License-Identifier: GPL-2.0-or-later

//! Help and manual pages of the tool.

use std::fs;
use std::process::Command;

use crate::support;
use support::tool::*;

#[test]
fn help_and_version_answer() {
    for (call, part) in [
        (&["--help"][..], "Examples:"),
        (&["run", "--help"], "Exit status"),
        (&["run", "-h"], "Exit status"),
        (&["list", "--help"], "Example:"),
        (&["show", "--help"], "Example:"),
        (&["engine-config", "--help"], "Examples:"),
        (&["files", "--help"], "Example:"),
        (&["install", "--help"], "is in this tool: the source"),
        (&["uninstall", "--help"], "Example:"),
        (
            &["--version"],
            concat!("vdsm-hooks ", env!("CARGO_PKG_VERSION")),
        ),
    ] {
        let ended = tool(call);
        assert_eq!(ended.status(), 0, "{call:?}");
        assert!(
            ended.stdout().contains(part),
            "{call:?}: {}",
            ended.stdout()
        );
    }
    assert_eq!(tool(&[]).status(), 64);
    assert_eq!(tool(&["bogus"]).status(), 64);
}

#[test]
fn man_pages_are_proper() {
    let directory = tempfile::tempdir().unwrap();
    let man = directory.path().join("man");
    assert_eq!(tool(&["man", man.to_str().unwrap()]).status(), 0);
    let mut pages: Vec<_> = fs::read_dir(&man)
        .unwrap()
        .map(|page| page.unwrap().path())
        .collect();
    pages.sort();
    for name in [
        "vdsm-hooks.1",
        "vdsm-hooks-run.1",
        "vdsm-hooks-completion.1",
        "vdsm-hooks-engine-config.1",
        "vdsm-hooks-install.1",
        "vdsm-hooks-uninstall.1",
        "vdsm-hook-cpuflags.8",
    ] {
        assert!(pages.contains(&man.join(name)), "{name} in {pages:?}");
    }
    let page = fs::read_to_string(man.join("vdsm-hook-cpuflags.8")).unwrap();
    for section in [
        "NAME",
        "SYNOPSIS",
        "EVENTS",
        "PROPERTIES",
        "EXAMPLE",
        "\"EXIT STATUS\"",
        "\"SEE ALSO\"",
    ] {
        assert!(
            page.contains(&format!(".SH {section}\n")),
            "{section} in {page}"
        );
    }
    let page = fs::read_to_string(man.join("vdsm-hook-macspoof.8")).unwrap();
    assert!(
        page.contains("Not in VDSM after 4.30.53; instead: "),
        "{page}"
    );
    let page = fs::read_to_string(man.join("vdsm-hooks-list.1")).unwrap();
    let (name, description) = page.split_once(".SH DESCRIPTION\n").unwrap();
    let summary = name.rsplit_once(" \\- ").unwrap().1.lines().next().unwrap();
    assert!(
        !description.contains(summary),
        "{summary:?} again in {page}"
    );
    if have("mandoc", "man_pages_are_proper (mandoc)") {
        let mut lint = Command::new("mandoc");
        lint.args(["-T", "lint", "-W", "warning"]).args(&pages);
        let lint = end(&mut lint);
        assert_eq!(lint.status(), 0, "{}{}", lint.stdout(), lint.stderr());
        let mut text = Command::new("mandoc");
        text.args(["-T", "utf8", "-O", "width=80"]).args(&pages);
        let text = shown(&end(&mut text));
        fits(&text, "mandoc");
        assert!(text.contains("vdsm-hooks run before_vm_start --domain FILE"));
    }
    if have("groff", "man_pages_are_proper (groff)") {
        let mut text = Command::new("groff");
        text.args(["-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=80n"])
            .args(&pages);
        let text = end(&mut text);
        assert_eq!((text.status(), text.stderr().as_str()), (0, ""));
        fits(&shown(&text), "groff");
    }
}

/// What was printed, without letters that are printed twice.
fn shown(ended: &Ended) -> String {
    let mut text = String::new();
    for c in ended.stdout().chars() {
        if c == '\u{8}' {
            text.pop();
        } else {
            text.push(c);
        }
    }
    text
}

/// No line is longer than a terminal; but a word that cannot be broken may stand alone, or behind its
/// option.
fn fits(text: &str, what: &str) {
    for line in text.lines() {
        let words = line.trim().trim_end_matches(" \\");
        let is_word = !words.contains(' ') || words.starts_with("-p ");
        assert!(line.chars().count() <= 80 || is_word, "{what}: {line:?}");
    }
}

#[test]
fn manual_pages_have_the_date_of_their_release() {
    let directory = tempfile::tempdir().unwrap();
    let title = |name: &str, epoch: Option<&str>| {
        let man = directory.path().join(epoch.unwrap_or("none"));
        let mut make = Command::new(TOOL);
        make.arg("man").arg(&man).env_remove("SOURCE_DATE_EPOCH");
        make.envs(epoch.map(|epoch| ("SOURCE_DATE_EPOCH", epoch)));
        assert_eq!(end(&mut make).status(), 0);
        let page = fs::read_to_string(man.join(name)).unwrap();
        page.lines().next().unwrap().to_owned()
    };
    let told = title("vdsm-hook-cpuflags.8", Some("1795824000"));
    assert!(told.contains(" 8 \"2026-11-28\" "), "{told}");
    let told = title("vdsm-hooks-json.7", Some("951868799"));
    assert!(told.contains(" 7 \"2000-02-29\" "), "{told}");
    let (one, other) = (title("vdsm-hooks.1", None), title("vdsm-hooks.1", None));
    assert_eq!(one, other);
    assert!(!one.contains("\"\""), "{one}");
}

#[test]
fn the_page_of_a_hook_says_when_it_acts() {
    let directory = tempfile::tempdir().unwrap();
    let man = directory.path().to_str().unwrap();
    assert_eq!(tool(&["man", man]).status(), 0);
    for hook in support::hooks() {
        let file = directory.path().join(format!("vdsm-hook-{}.8", hook.name));
        let page = fs::read_to_string(file).unwrap();
        let says = |words: &str| page.contains(&format!("\n{words}\n"));
        assert_eq!(
            says("It has no property, and acts unasked.")
                || says("It acts unasked, also where none of its properties is set."),
            hook.unasked,
            "{page}"
        );
        let does_nothing = page.contains(" it does nothing.\n");
        assert_eq!(does_nothing, !hook.unasked, "{page}");
        let has_section = page.contains("\n.SH PROPERTIES\n");
        assert_eq!(has_section, !hook.properties.is_empty(), "{page}");
    }
}

/// Adds the commands below this one, as its help names them.
fn add_commands(before: &[String], found: &mut Vec<Vec<String>>) {
    let call: Vec<&str> = before.iter().map(String::as_str).collect();
    let help = tool(&[&call[..], &["-h"]].concat()).stdout();
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in lines.take_while(|line| !line.is_empty()) {
        let is_name = line.starts_with("  ") && !line.starts_with("   ");
        let name = line.split_whitespace().next().filter(|_| is_name);
        if let Some(name) = name.filter(|name| *name != "help") {
            let command = [before, &[name.to_owned()]].concat();
            add_commands(&command, found);
            found.push(command);
        }
    }
}

#[test]
fn the_help_of_every_command_fits_into_80_columns() {
    let mut commands = vec![Vec::new()];
    add_commands(&[], &mut commands);
    for name in ["run", "domain check", "engine-config", "grow-disk"] {
        let name: Vec<String> = name.split(' ').map(str::to_owned).collect();
        assert!(commands.contains(&name), "{name:?} in {commands:?}");
    }
    for command in commands {
        for option in ["-h", "--help"] {
            for columns in [None, Some("80"), Some("200")] {
                let mut help = Command::new(TOOL);
                help.args(&command).arg(option).env_remove("COLUMNS");
                help.envs(columns.map(|columns| ("COLUMNS", columns)));
                let help = end(&mut help);
                assert_eq!(help.status(), 0, "{command:?}");
                fits(&help.stdout(), &format!("{command:?} {option} {columns:?}"));
            }
        }
    }
}

#[test]
fn the_help_of_every_hook_fits_into_80_columns() {
    for hook in support::hooks() {
        let others = hook.helpers.iter().chain(&hook.daemons);
        for name in others.chain([&hook.name]) {
            let help = end(Command::new(support::program(name)).arg("--help")).stdout();
            // An example is typed as it is.
            let is_typed = |line: &str| {
                let mut properties = hook.properties.iter();
                properties.any(|property| property.example == line.trim())
            };
            let lines: Vec<&str> = help.lines().filter(|line| !is_typed(line)).collect();
            fits(&lines.join("\n"), name);
            if *name == hook.name {
                for property in &hook.properties {
                    assert!(help.contains(&property.example), "{help}");
                }
            }
        }
    }
}
