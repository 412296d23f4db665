// SPDX-License-Identifier: GPL-2.0-or-later

//! The scripts of both commands of the README, with stand-ins for what they call.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use support::root;

fn script(path: &Path, does: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{does}\n")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// Where this machine has a program.
fn real(program: &str) -> PathBuf {
    let places = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(program));
    let found = places.into_iter().find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{program} is not installed"))
}

/// What a machine has for needs.sh.
#[derive(Default)]
struct Machine<'a> {
    /// The version of a cargo that comes first, and whether a package has it.
    cargo: Option<(&'a str, bool)>,
    /// The release's packages of cargo, each with its version. It has all others but safelease.
    candidates: &'a [(&'a str, &'a str)],
    has_curl: bool,
    /// Enterprise Linux, or else Debian.
    has_dnf: bool,
}

const OLD: &str = "1.65.0 (4bc8f24d3 2022-10-20)";
const NEW: &str = "1.85.1 (d73d2caf9 2024-12-31)";

impl Machine<'_> {
    /// What needs.sh says on it, and what it asked the package manager to install.
    fn needs(&self) -> (Output, String) {
        let machine = TempDir::new().unwrap();
        let at = |program: &str| machine.path().join(program);
        let asked = at("asked");
        let known: String = self
            .candidates
            .iter()
            .map(|(package, version)| format!("{package}) version={version};;\n"))
            .collect();
        let policy = format!(
            "shift; for package; do version=1\ncase $package in {known} cargo* | safelease) version='(none)';; esac\n\
             printf '%s:\\n  Candidate: %s\\n' $package \"$version\"; done"
        );
        let newest = self.candidates.first().map_or("", |(_, version)| version);
        // What it installs is found after what is there.
        let installs = format!(
            "case $1$2 in -qrepoquery) echo {newest}; exit;; esac\n\
             echo \"$*\" >>{}\ncase \" $* \" in *' cargo '*) [ -e {1} ] || mv {1}.new {1};; esac",
            asked.display(),
            at("cargo").display()
        );
        let owned = self.cargo.is_some_and(|(_, owned)| owned);
        let owner = if owned { "exit 0" } else { "exit 1" };
        script(&at("cargo.new"), &format!("echo 'cargo {NEW}'"));
        if let Some((version, _)) = self.cargo {
            script(&at("cargo"), &format!("echo 'cargo {version}'"));
        }
        if self.has_curl {
            script(&at("curl"), "exit 1");
        }
        script(&at("id"), "echo 0");
        if self.has_dnf {
            script(&at("dnf"), &installs);
            script(
                &at("rpm"),
                &format!(
                    "case $1 in -qf) {owner};; esac; [ ! -e {} ] || exit 0; shift 3\n\
                     for package; do echo package $package is not installed; done",
                    asked.display()
                ),
            );
        } else {
            script(&at("apt-get"), &installs);
            script(&at("apt-cache"), &policy);
            script(&at("dpkg"), owner);
            script(&at("dpkg-query"), "exit 1");
        }
        for program in [
            "awk", "cat", "dirname", "env", "mktemp", "mv", "realpath", "rm", "sed", "sort", "tail",
        ] {
            symlink(real(program), at(program)).unwrap();
        }
        let output = Command::new("/bin/sh")
            .args(["tests/needs.sh", "tests"])
            .current_dir(root())
            .env("PATH", machine.path())
            .output()
            .unwrap();
        (output, fs::read_to_string(asked).unwrap_or_default())
    }

    /// It has refused, and installed nothing.
    fn is_refused(&self, words: &str) -> String {
        let (output, asked) = self.needs();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("Rust 1.") && said.contains(words), "{said}");
        assert!(said.contains("nothing was installed"), "{said}");
        assert!(!asked.contains("install"), "{asked}");
        said
    }
}

#[test]
fn a_release_with_an_old_rust_is_asked_for_a_new_one_first() {
    let old = ("cargo", "0.66.0+ds1-1");
    let web = ("cargo-web", "1.85.0+dfsg3-1~deb12u3");
    for (candidates, typed) in [
        (&[old, web][..], "\n    apt-get install cargo-web\n"),
        (&[old, ("cargo-web", "1.84.0-1")], "sh.rustup.rs"),
    ] {
        let mut machine = Machine {
            candidates,
            ..Machine::default()
        };
        let said = machine.is_refused(typed);
        assert!(said.contains(" needed, and no cargo is found;"), "{said}");
        assert!(said.contains("    apt-get install curl && curl "), "{said}");
        machine.has_curl = true;
        assert!(machine.is_refused(typed).contains("\n    curl "));
        machine.cargo = Some((OLD, true));
        machine.is_refused("/cargo is not;");
    }
}

#[test]
fn an_old_cargo_that_comes_first_is_named() {
    for candidates in [
        &[("cargo", "1.85.0+dfsg3-1")][..],
        &[("cargo", "0.66.0+ds1-1"), ("cargo-web", "1.85.0-1")],
    ] {
        for has_dnf in [false, true] {
            let machine = Machine {
                cargo: Some((OLD, false)),
                candidates,
                has_dnf,
                ..Machine::default()
            };
            machine.is_refused("/cargo, which is found first, is older");
        }
    }
    // Also where only the installation shows it.
    let machine = Machine {
        cargo: Some((OLD, true)),
        candidates: &[("cargo", "1.85.0+dfsg3-1")],
        ..Machine::default()
    };
    let (output, _) = machine.needs();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.ends_with("/cargo is not\n"), "{said}");
}

#[test]
fn enterprise_linux_is_asked_for_rust_before_anything_is_installed() {
    let mut machine = Machine {
        candidates: &[("cargo", "1.75.0")],
        has_dnf: true,
        has_curl: true,
        ..Machine::default()
    };
    machine.is_refused("sh.rustup.rs");
    machine.candidates = &[("cargo", "1.88.0")];
    let (output, asked) = machine.needs();
    assert!(output.status.success(), "{output:?}");
    assert!(asked.starts_with("install -y "), "{asked}");
    assert!(asked.contains(" cargo gcc "), "{asked}");
}

#[test]
fn what_a_release_lacks_is_not_run() {
    for (cargo, candidates) in [
        (Some((NEW, true)), &[][..]),
        (None, &[("cargo", "1.85.1+dfsg1-1")]),
    ] {
        let machine = Machine {
            cargo,
            candidates,
            ..Machine::default()
        };
        let (output, asked) = machine.needs();
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        let line = "NOT RUN: what needs safelease: this release has no package of that name\n";
        assert!(said.contains(line), "{said}");
        assert!(!asked.contains("safelease"), "{asked}");
        assert!(asked.contains(" libvirt-clients "), "{asked}");
        assert_eq!(asked.contains(" cargo "), !candidates.is_empty(), "{asked}");
    }
}

/// A directory with tests/all.sh and stand-ins for what it runs.
struct Checkout(TempDir);

impl Checkout {
    /// `cargo` is a script, that knows its first argument as `$1`.
    fn new(cargo: &str) -> Checkout {
        let checkout = Checkout(TempDir::new().unwrap());
        let at = |path: &str| checkout.0.path().join(path);
        script(&at("bin/cargo"), cargo);
        script(&at("bin/shellcheck"), "exit 0");
        for path in [
            "tests/sizes.sh",
            "tests/portable.sh",
            "tests/install.sh",
            "packaging/rpm.sh",
        ] {
            script(&at(path), "exit 0");
        }
        script(
            &at("tests/needs.sh"),
            "echo 'NOT RUN: what needs safelease: no such package'",
        );
        script(
            &at("tests/hypervisor.sh"),
            "echo 'test one ... NOT RUN: one: needs it'\necho 'NOT RUN: one: needs it'",
        );
        fs::write(at("tests/suite.rs"), "mod one;\n").unwrap();
        fs::write(at("tests/one.rs"), "").unwrap();
        fs::copy(root().join("tests/all.sh"), at("tests/all.sh")).unwrap();
        fs::create_dir(at("tmp")).unwrap();
        checkout
    }

    fn all(&self) -> Command {
        let path = std::env::var("PATH").unwrap();
        // A shell cannot trap what is ignored where it starts, as SIGINT is in the background of
        // another script.
        let mut all = Command::new("env");
        all.args(["--default-signal=INT", "/bin/sh", "tests/all.sh"])
            .current_dir(self.0.path())
            .env("PATH", format!("{}/bin:{path}", self.0.path().display()))
            .env("TMPDIR", self.0.path().join("tmp"))
            .env("NOTES", self.0.path().join("notes"))
            .env_remove("CARGO_TARGET_DIR")
            .stderr(Stdio::null());
        all
    }

    /// Lines that the stand-ins have noted.
    fn notes(&self) -> Vec<String> {
        let notes = fs::read_to_string(self.0.path().join("notes")).unwrap_or_default();
        notes.lines().map(str::to_owned).collect()
    }

    fn nothing_is_left(&self) {
        let left = fs::read_dir(self.0.path().join("tmp")).unwrap().count();
        assert_eq!(left, 0, "a temporary directory is left");
    }
}

/// Gone, or dead at least.
fn has_ended(process: &str) -> bool {
    let words = fs::read(Path::new("/proc").join(process).join("cmdline"));
    words.unwrap_or_default().is_empty()
}

fn soon(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn whatever_ends_the_run_ends_both_lanes() {
    // One of them notes that it is told to end, as what has to clean up does.
    let cargo = "case $*$1 in *--version* | *fmt) exit 0;; esac\n\
                 [ $1 != build ] || trap 'echo told >>$NOTES; exit 1' TERM\n\
                 echo $$ >>$NOTES\nsleep 100 & echo $! >>$NOTES; wait";
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let checkout = Checkout::new(cargo);
        let mut run = checkout.all().stdout(Stdio::null()).spawn().unwrap();
        soon("the lanes do not begin", || checkout.notes().len() == 4);
        let started = checkout.notes();
        kill(Pid::from_raw(run.id().try_into().unwrap()), signal).unwrap();
        let status = run.wait().unwrap();
        assert_eq!(status.code(), Some(130));
        for process in &started {
            soon("what a lane has started goes on", || has_ended(process));
        }
        assert!(checkout.notes().contains(&"told".to_owned()));
        checkout.nothing_is_left();
    }
}

#[test]
fn a_lane_that_ends_early_is_a_failure() {
    let checkout = Checkout::new(
        "case $*$1 in *--version* | *fmt) exit 0;; clippy*) echo 'before the end'; kill -KILL $PPID;; esac",
    );
    let output = checkout.all().output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in [
        "=== FAILED: the debug lane has ended early, with status 137. Its last part had said:\nbefore the end\n",
        "| The debug lane has ended early | | FAILED |\n",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert!(!said.trim_end().ends_with(" 0 failed, 1 not run"), "{said}");
    checkout.nothing_is_left();
}

#[test]
fn what_was_not_run_stands_once_before_the_last_line() {
    let cargo = "case $*$1 in *--list*) echo one::test: test;; esac\n\
                 echo ${CASES-}${HOOKS-}${CORPUS-}${UPDATE-} >>$NOTES";
    let checkout = Checkout::new(cargo);
    let variables = ["CASES", "HOOKS", "CORPUS", "UPDATE"].map(|name| (name, "caller's"));
    let output = checkout.all().envs(variables).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let (_, end) = said.split_once("\nThe slowest").unwrap_or_default();
    let (_, end) = end.split_once("\n\n").unwrap_or_default();
    let mut lines = end.lines();
    for line in [
        "NOT RUN: cargo deny: cargo-deny 0.18 or newer is not installed",
        "NOT RUN: one: needs it",
        "NOT RUN: what needs safelease: no such package",
        "",
    ] {
        assert_eq!(lines.next(), Some(line), "{said}");
    }
    assert!(lines.next().is_some_and(|line| line.contains(" passed, ")));
    // And the caller's choice of tests is not everybody's.
    assert!(checkout.notes().iter().all(String::is_empty));
    checkout.nothing_is_left();
}

#[test]
fn without_the_tools_of_developers_everything_else_is_tested() {
    let cargo = "case $*$1 in *--version*) exit 1;; *--list*) echo one::test: test;; esac";
    let checkout = Checkout::new(cargo);
    let output = checkout.all().output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    for tool in ["fmt", "clippy"] {
        let line = format!(": cargo {tool} is not installed\n");
        assert!(said.contains(&line), "{said}");
    }
    for part in ["tests/one.rs", "Real hypervisor", "RPM packages"] {
        assert!(said.contains(&format!("\n| {part} | ")), "{said}");
    }
    assert!(said.contains(" 0 failed, 3 not run\n"), "{said}");
}
