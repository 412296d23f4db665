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
        (&["install", "--help"], "the source tree is not needed"),
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
    if have("mandoc", "man_pages_are_proper (mandoc -T lint)") {
        let mut lint = Command::new("mandoc");
        lint.args(["-T", "lint", "-W", "error"]).args(&pages);
        let lint = end(&mut lint);
        assert_eq!(lint.status(), 0, "{}{}", lint.stdout(), lint.stderr());
        let mut text = Command::new("mandoc");
        text.args(["-T", "utf8"])
            .arg(man.join("vdsm-hook-cpuflags.8"));
        let text = end(&mut text);
        assert!(
            text.stdout()
                .contains("vdsm-hooks run before_vm_start --domain FILE")
        );
    }
}
