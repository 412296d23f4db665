// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks install` and `uninstall`: all of it or nothing, whatever goes wrong at whichever step.
//! tests/install.sh has what is about the files themselves, and what needs a whole machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use support::{not_run, program};
use tempfile::TempDir;

const HOOK: &str = "usr/libexec/vdsm/hooks/before_vm_start/50_macbind";
const RULES: &str = "etc/sudoers.d/50_vdsm_hooks_macbind";
const UNFINISHED: &str = "var/lib/vdsm-hooks/unfinished";

/// A directory in the place of a host's root.
struct Tree(TempDir);

impl Tree {
    /// With directories of others, and a hook of VDSM's own in the place of ours.
    fn new() -> Tree {
        let tree = Tree(TempDir::new().unwrap());
        fs::create_dir_all(tree.at("var/lib")).unwrap();
        fs::create_dir_all(tree.at(HOOK).parent().unwrap()).unwrap();
        fs::write(tree.at(HOOK), "#!/usr/bin/python3\n").unwrap();
        fs::set_permissions(tree.at(HOOK), Permissions::from_mode(0o751)).unwrap();
        tree
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn install(&self) -> Command {
        self.tool("install", &["--hook", "macbind", "--replace"])
    }

    fn uninstall(&self) -> Command {
        self.tool("uninstall", &[])
    }

    fn tool(&self, command: &str, arguments: &[&str]) -> Command {
        let mut tool = Command::new(program("vdsm-hooks"));
        tool.arg(command).arg("--destdir").arg(self.0.path());
        tool.args(arguments);
        tool
    }

    /// Type, mode, owner and content of everything, by its path.
    fn contents(&self) -> BTreeMap<PathBuf, String> {
        let mut contents = BTreeMap::new();
        let mut waiting = vec![self.0.path().to_owned()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let found = fs::symlink_metadata(&path).unwrap();
                let what = if found.is_dir() {
                    waiting.push(path.clone());
                    String::new()
                } else if found.is_symlink() {
                    format!("{:?}", fs::read_link(&path).unwrap())
                } else {
                    // Programs are told by their length.
                    let text = fs::read(&path).unwrap();
                    format!("{} {:?}", text.len(), text.get(..5000))
                };
                let what = format!("{:o} {}:{} {what}", found.mode(), found.uid(), found.gid());
                let path = path.strip_prefix(self.0.path()).unwrap();
                contents.insert(path.to_owned(), what);
            }
        }
        contents
    }

    fn hidden(&self) -> Vec<PathBuf> {
        let is_hidden =
            |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with('.');
        self.contents().into_keys().filter(is_hidden).collect()
    }
}

/// What it says when it succeeds.
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it complains about, a line of its own each.
fn fails(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.lines().all(|line| line.starts_with("vdsm-hooks: ")),
        "{text}"
    );
    text
}

/// Which of two maps has what the other one lacks, for messages.
fn differing(one: &BTreeMap<PathBuf, String>, other: &BTreeMap<PathBuf, String>) -> Vec<PathBuf> {
    let lacks = |map: &BTreeMap<PathBuf, String>, entry: &(&PathBuf, &String)| {
        map.get(entry.0) != Some(entry.1)
    };
    let more = one.iter().filter(|entry| lacks(other, entry));
    let less = other.iter().filter(|entry| lacks(one, entry));
    more.chain(less).map(|(path, _)| path.clone()).collect()
}

/// The calls by which something is changed, and which of them something happens to.
const CALLS: [&str; 7] = [
    "mkdir,mkdirat",
    "write",
    "fchmod",
    "linkat,symlinkat",
    "rename,renameat",
    "unlink,unlinkat",
    "rmdir",
];
const NUMBERS: [u32; 3] = [1, 4, 25];

/// Runs what `command` makes with `what` done to some of [`CALLS`], each time on a fresh tree.
/// How often that was.
fn at_steps(
    what: &str,
    tree: impl Fn() -> Tree,
    command: impl Fn(&Tree) -> Command,
    judge: impl Fn(&str, &Tree, &Output),
) -> usize {
    let log = TempDir::new().unwrap();
    let log = log.path().join("log");
    let mut count = 0;
    for calls in CALLS {
        for number in NUMBERS {
            let tree = tree();
            let command = command(&tree);
            let mut strace = Command::new("strace");
            strace.arg("-o").arg(&log);
            strace.args(["-e", &format!("trace={calls}")]);
            strace.args(["-e", &format!("inject={calls}:{what}:when={number}")]);
            strace.arg(command.get_program()).args(command.get_args());
            let output = strace.output().unwrap();
            let said = fs::read_to_string(&log).unwrap();
            if !said.contains("(INJECTED)") && !said.contains("killed by SIGKILL") {
                assert!(output.status.success(), "{calls}: {output:?}");
                break;
            }
            count += 1;
            let line = said.lines().find(|line| line.contains("(INJECTED)"));
            let step = format!("{calls}, number {number}, {line:?}: {output:?}");
            judge(&step, &tree, &output);
        }
    }
    count
}

fn why_no_strace() -> Option<&'static str> {
    let strace = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    let works = strace.is_ok_and(|output| output.status.success());
    (!works).then_some("strace does not work here")
}

#[test]
fn a_killed_installation_is_completed_or_taken_back() {
    let test = "a_killed_installation_is_completed_or_taken_back";
    if let Some(reason) = why_no_strace() {
        return not_run(test, reason);
    }
    let before = Tree::new().contents();
    let count = at_steps("signal=KILL", Tree::new, Tree::install, |step, tree, _| {
        // At no moment is a hook missing.
        assert!(fs::metadata(tree.at(HOOK)).unwrap().len() > 0, "{step}");
        let other = Tree(TempDir::new().unwrap());
        copy(tree.0.path(), other.0.path());
        succeeds(&mut tree.uninstall());
        let after = tree.contents();
        assert_eq!(after, before, "{step}: {:?}", differing(&after, &before));

        succeeds(&mut other.install());
        assert!(other.hidden().is_empty(), "{step}: {:?}", other.hidden());
        assert!(!other.at(UNFINISHED).exists(), "{step}");
        succeeds(&mut other.uninstall());
        let after = other.contents();
        assert_eq!(after, before, "{step}: {:?}", differing(&after, &before));
    });
    assert!(count >= 12, "only {count} steps");
}

/// Copies what is in a directory as it is.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .arg("-a")
        .arg("-T")
        .arg(from)
        .arg(to)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_killed_removal_is_completed_by_the_next() {
    if let Some(reason) = why_no_strace() {
        return not_run("a_killed_removal_is_completed_by_the_next", reason);
    }
    let before = Tree::new().contents();
    let count = at_steps(
        "signal=KILL",
        installed,
        Tree::uninstall,
        |step, tree, _| {
            assert!(fs::metadata(tree.at(HOOK)).unwrap().len() > 0, "{step}");
            succeeds(&mut tree.uninstall());
            let after = tree.contents();
            assert_eq!(after, before, "{step}: {:?}", differing(&after, &before));
        },
    );
    assert!(count >= 8, "only {count} steps");
}

fn installed() -> Tree {
    let tree = Tree::new();
    succeeds(&mut tree.install());
    tree
}

/// Another package's hooks that do the same as ours: the first one is at a link's event.
const OTHERS: [&str; 3] = [
    "usr/libexec/vdsm/hooks/before_device_create/10_ovirt_provider_ovn_hook",
    "usr/libexec/vdsm/hooks/before_nic_hotplug/10_ovirt_provider_ovn_hook",
    "usr/libexec/vdsm/hooks/after_get_caps/ovirt_provider_ovn_hook",
];

/// With these, as their package has them.
fn with_others() -> Tree {
    let tree = Tree(TempDir::new().unwrap());
    fs::create_dir_all(tree.at("var/lib")).unwrap();
    for other in OTHERS {
        fs::create_dir_all(tree.at(other).parent().unwrap()).unwrap();
        put_other(&tree, other, "#!/usr/bin/python3\n");
    }
    tree
}

fn put_other(tree: &Tree, other: &str, text: &str) {
    let _ = fs::remove_file(tree.at(other));
    fs::write(tree.at(other), text).unwrap();
    set_mode(tree, other, 0o555);
}

fn set_mode(tree: &Tree, path: &str, mode: u32) {
    fs::set_permissions(tree.at(path), Permissions::from_mode(mode)).unwrap();
}

fn install_ovn(tree: &Tree) -> Command {
    tree.tool("install", &["--hook", "ovn", "--replace"])
}

fn with_silent_others() -> Tree {
    let tree = with_others();
    succeeds(&mut install_ovn(&tree));
    tree
}

fn assert_modes(tree: &Tree, mode: u32) {
    for other in OTHERS {
        let found = fs::metadata(tree.at(other)).unwrap().mode() & 0o7777;
        assert_eq!(found, mode, "{other}: {found:o}");
    }
}

#[test]
fn hooks_of_another_package_that_do_the_same_lose_their_x_bits_and_get_them_back() {
    let tree = with_others();
    let before = tree.contents();
    let shown = |other: &str| tree.at(other).display().to_string();
    // Without --replace they only cost time, and a line says so.
    let beside = OTHERS.map(|other| {
        format!(
            "{} does the same as ovn and still runs: --replace takes its x bits",
            shown(other)
        )
    });
    for _ in 0..2 {
        let said = succeeds(&mut tree.tool("install", &["--hook", "ovn"]));
        assert!(beside.iter().all(|line| said.contains(line)), "{said}");
        assert_modes(&tree, 0o555);
    }
    let said = succeeds(&mut install_ovn(&tree));
    for other in OTHERS {
        let line = format!(
            "{} does the same as ovn: not executable any more\n",
            shown(other)
        );
        assert!(said.contains(&line), "{said}");
    }
    assert_modes(&tree, 0o444);
    let said = succeeds(&mut install_ovn(&tree));
    assert!(said.starts_with("nothing to change: all "), "{said}");
    // Their package is updated, and has another mode for one of them.
    put_other(&tree, OTHERS[0], "#!/usr/bin/python3\n# newer\n");
    set_mode(&tree, OTHERS[0], 0o554);
    succeeds(&mut install_ovn(&tree));
    assert_modes(&tree, 0o444);
    // Of another hook nothing changes.
    succeeds(&mut tree.tool("install", &["--hook", "macbind"]));
    succeeds(&mut tree.tool("uninstall", &["--hook", "macbind"]));
    assert_modes(&tree, 0o444);
    let said = succeeds(&mut tree.tool("uninstall", &["--hook", "ovn"]));
    for other in OTHERS {
        let line = format!("{} is executable again\n", shown(other));
        assert!(said.contains(&line), "{said}");
    }
    let mode = fs::metadata(tree.at(OTHERS[0])).unwrap().mode() & 0o7777;
    assert_eq!(mode, 0o554);
    let text = fs::read_to_string(tree.at(OTHERS[0])).unwrap();
    assert_eq!(text, "#!/usr/bin/python3\n# newer\n");
    put_other(&tree, OTHERS[0], "#!/usr/bin/python3\n");
    succeeds(&mut tree.uninstall());
    let after = tree.contents();
    assert_eq!(after, before, "{:?}", differing(&after, &before));
}

#[test]
fn x_bits_that_somebody_else_has_taken_stay_away() {
    let tree = with_others();
    set_mode(&tree, OTHERS[1], 0o444);
    let before = tree.contents();
    succeeds(&mut install_ovn(&tree));
    assert_modes(&tree, 0o444);
    // Nor does anybody get back what was given back by its package.
    put_other(&tree, OTHERS[2], "#!/usr/bin/python3\n");
    fs::remove_file(tree.at(OTHERS[0])).unwrap();
    let said = succeeds(&mut tree.uninstall());
    assert!(!said.contains("is executable again"), "{said}");
    put_other(&tree, OTHERS[0], "#!/usr/bin/python3\n");
    let after = tree.contents();
    assert_eq!(after, before, "{:?}", differing(&after, &before));
}

/// An earlier release had the names of the other package, and put its hooks aside.
#[test]
fn hooks_that_an_earlier_release_has_put_aside_are_back_and_silent() {
    let tree = with_others();
    let before = tree.contents();
    let kept = |other: &str| {
        let place = other.strip_prefix("usr/libexec/vdsm/hooks/").unwrap();
        tree.at("var/lib/vdsm-hooks/replaced").join(place)
    };
    for other in OTHERS {
        fs::create_dir_all(kept(other).parent().unwrap()).unwrap();
        fs::rename(tree.at(other), kept(other)).unwrap();
    }
    fs::copy(program("ovn"), tree.at(OTHERS[0])).unwrap();
    for other in &OTHERS[1..] {
        symlink(
            "../before_device_create/10_ovirt_provider_ovn_hook",
            tree.at(other),
        )
        .unwrap();
    }
    let state = tree.at("var/lib/vdsm-hooks");
    let list = OTHERS.map(|other| format!("ovn\t{other}\n")).concat();
    fs::write(state.join("files"), list).unwrap();
    let made = "var/lib/vdsm-hooks\nvar/lib/vdsm-hooks/replaced\n".to_owned();
    let made = OTHERS.iter().fold(made, |made, other| {
        let event = kept(other);
        let event = event.parent().unwrap().strip_prefix(tree.0.path());
        format!("{made}{}\n", event.unwrap().display())
    });
    fs::write(state.join("directories"), made).unwrap();

    succeeds(&mut tree.tool("install", &["--hook", "ovn"]));
    assert_modes(&tree, 0o444);
    for (other, name) in OTHERS.iter().zip(["10_ovn", "10_ovn", "50_ovn"]) {
        assert!(!kept(other).exists(), "{other}");
        assert!(tree.at(other).with_file_name(name).exists(), "{other}");
        let text = fs::read_to_string(tree.at(other)).unwrap();
        assert_eq!(text, "#!/usr/bin/python3\n", "{other}");
    }
    succeeds(&mut tree.uninstall());
    let after = tree.contents();
    assert_eq!(after, before, "{:?}", differing(&after, &before));
}

/// Installed by another release: one file has another text, and one is at another event.
fn outdated() -> Tree {
    let tree = installed();
    fs::write(
        tree.at("usr/share/man/man1/vdsm-hooks.1"),
        "Part of vdsm-hooks\n",
    )
    .unwrap();
    let stale = tree.at("usr/libexec/vdsm/hooks/before_vm_migrate_source/50_macbind");
    fs::create_dir(stale.parent().unwrap()).unwrap();
    symlink("../before_vm_start/50_macbind", stale).unwrap();
    fs::remove_file(tree.at(RULES)).unwrap();
    fs::write(tree.at("usr/bin/vdsm-hooks"), "#!/bin/sh\n").unwrap();
    tree
}

#[test]
fn what_fails_changes_nothing() {
    if let Some(reason) = why_no_strace() {
        return not_run("what_fails_changes_nothing", reason);
    }
    type Case = (&'static str, fn() -> Tree, fn(&Tree) -> Command);
    let cases: [Case; 5] = [
        ("install", Tree::new, Tree::install),
        ("update", outdated, Tree::install),
        ("uninstall", installed, Tree::uninstall),
        ("silence", with_others, install_ovn),
        ("give back", with_silent_others, Tree::uninstall),
    ];
    for (name, tree, command) in cases {
        let fresh = tree();
        let before = fresh.contents();
        succeeds(&mut command(&fresh));
        let done = fresh.contents();
        let count = at_steps("error=ENOSPC", tree, command, |step, tree, output| {
            let mut after = tree.contents();
            // What cannot be removed is no reason to stop, and the next run's to do.
            if step.contains("unlink") || step.contains("rmdir") || step.contains("write(1, ") {
                let said = format!("{:?}", differing(&after, &done));
                succeeds(&mut command(tree));
                after = tree.contents();
                assert_eq!(after, done, "{name}, {step}: {said}");
                return;
            }
            assert_eq!(output.status.code(), Some(64), "{name}, {step}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                said.starts_with("vdsm-hooks: ") && said.contains("No space left"),
                "{said}"
            );
            assert_eq!(
                after,
                before,
                "{name}, {step}: {:?}",
                differing(&after, &before)
            );
        });
        assert!(count >= 8, "{name}: only {count} steps");
    }
}

/// Starts it inside of strace, which stops it for three seconds at this call.
fn start_slowly(command: &Command, call: &str, number: u32) -> Child {
    let inject = format!("inject={call}:delay_enter=3s:when={number}");
    let mut strace = Command::new("strace");
    strace.args([
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={call}"),
        "-e",
        &inject,
    ]);
    // The process says who it is.
    strace.args(["sh", "-c", "echo $$; exec \"$@\"", "sh"]);
    strace.arg(command.get_program()).args(command.get_args());
    strace
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn an_interrupt_takes_all_back_or_comes_too_late() {
    let test = "an_interrupt_takes_all_back_or_comes_too_late";
    if let Some(reason) = why_no_strace() {
        return not_run(test, reason);
    }
    let before = Tree::new().contents();
    for (call, number, status) in [("linkat", 1, 143), ("renameat", 5, 0)] {
        let tree = Tree::new();
        let mut child = start_slowly(&tree.install(), call, number);
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        let kept = tree.at("var/lib/vdsm-hooks/replaced/before_vm_start");
        // What is put aside is made first, and placed first.
        let is_there = || match call {
            "linkat" => fs::read_dir(&kept).is_ok_and(|entries| entries.count() > 0),
            _ => kept.join("50_macbind").exists(),
        };
        while !is_there() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        kill(Pid::from_raw(line.trim().parse().unwrap()), Signal::SIGTERM).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{call}: {output:?}");
        let after = tree.contents();
        if status == 0 {
            assert!(tree.hidden().is_empty() && tree.at(RULES).exists());
            succeeds(&mut tree.uninstall());
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.ends_with(": interrupted\n"), "{said}");
            assert_eq!(after, before, "{:?}", differing(&after, &before));
        }
        assert_eq!(tree.contents(), before);
    }
}

#[test]
fn one_at_a_time() {
    let tree = installed();
    // As one that runs holds it.
    let journal = File::create(tree.at(UNFINISHED)).unwrap();
    let journal = Flock::lock(journal, FlockArg::LockExclusive).unwrap();
    let before = tree.contents();
    for mut command in [
        tree.tool("install", &["--hook", "cpuflags"]),
        tree.uninstall(),
    ] {
        let said = fails(&mut command);
        assert!(
            said.contains("another install or uninstall is running: it holds "),
            "{said}"
        );
        assert_eq!(tree.contents(), before);
    }
    drop(journal);
    succeeds(&mut tree.install());
    assert!(!tree.at(UNFINISHED).exists());
}

#[test]
fn built_programs_are_all_it_takes_to_install_and_nothing_to_remove() {
    let tree = Tree::new();
    let before = tree.contents();
    let place = TempDir::new().unwrap();
    for name in ["vdsm-hooks", "macbind"] {
        fs::copy(program(name), place.path().join(name)).unwrap();
    }
    let arguments = ["--hook", "macbind", "--replace"];
    let tool = |command: &str, arguments: &[&str], program: PathBuf| {
        let mut tool = Command::new(program);
        tool.current_dir("/").env_clear().arg(command);
        tool.arg("--destdir").arg(tree.0.path()).args(arguments);
        tool
    };
    let own = place.path().join("vdsm-hooks");
    let said = succeeds(&mut tool("install", &arguments, own.clone()));
    let line = format!("{} is not ours: moved to ", tree.at(HOOK).display());
    assert!(
        said.contains(&line) && said.contains(" 1 replaced"),
        "{said}"
    );
    assert!(
        fs::read_to_string(tree.at(RULES))
            .unwrap()
            .contains("vdsm ALL=(root)")
    );
    // From the same build, and from another one.
    let given = place.path().to_str().unwrap();
    let arguments = [&arguments[..], &["--programs", given]].concat();
    let installed = tree.at("usr/bin/vdsm-hooks");
    let said = succeeds(&mut tool("install", &arguments, installed.clone()));
    assert!(said.starts_with("nothing to change: all "), "{said}");
    OpenOptions::new()
        .append(true)
        .open(&own)
        .unwrap()
        .write_all(b"x")
        .unwrap();
    let said = fails(&mut tool("install", &arguments, installed.clone()));
    let own = own.display();
    assert!(
        said.contains(&format!(
            "{own} is of another build than this program: run '{own} install'"
        )),
        "{said}"
    );
    // No hooks are beside it.
    let said = fails(&mut tool(
        "install",
        &["--hook", "cpuflags"],
        installed.clone(),
    ));
    assert!(
        said.contains("/usr/bin/cpuflags is missing or not part of vdsm-hooks: build"),
        "{said}"
    );

    let said = succeeds(&mut tool("uninstall", &[], installed));
    assert!(
        said.starts_with(&format!("put back {}\n", tree.at(HOOK).display())),
        "{said}"
    );
    assert_eq!(tree.contents(), before);
}

#[test]
fn links_of_others_are_not_followed() {
    let outside = TempDir::new().unwrap();
    let tree = Tree::new();
    // Others can write to this directory, and may have put the link there.
    fs::set_permissions(tree.at("var"), Permissions::from_mode(0o777)).unwrap();
    fs::remove_dir(tree.at("var/lib")).unwrap();
    symlink(outside.path(), tree.at("var/lib")).unwrap();
    let before = tree.contents();
    let said = fails(&mut tree.install());
    assert!(
        said.contains("a symbolic link of another user is on the way"),
        "{said}"
    );
    assert_eq!(tree.contents(), before);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    // Nor where all directories are there.
    let state = outside.path().join("vdsm-hooks");
    fs::create_dir(&state).unwrap();
    let touched = fs::metadata(&state).unwrap().modified().unwrap();
    fails(&mut tree.install());
    assert_eq!(tree.contents(), before);
    assert_eq!(fs::metadata(&state).unwrap().modified().unwrap(), touched);
    // Those of the administrator are.
    fs::set_permissions(tree.at("var"), Permissions::from_mode(0o755)).unwrap();
    succeeds(&mut tree.install());
    assert!(outside.path().join("vdsm-hooks/directories").exists());
}

#[test]
fn what_is_no_list_of_ours_is_an_error_and_keeps_nobody_waiting() {
    for list in ["files", "directories", "silenced", "unfinished"] {
        let tree = Tree::new();
        let path = tree.at("var/lib/vdsm-hooks").join(list);
        fs::create_dir(path.parent().unwrap()).unwrap();
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let names = |tree: &Tree| {
            let names = fs::read_dir(tree.at("var/lib/vdsm-hooks")).unwrap();
            names.map(|name| name.unwrap().path()).collect::<Vec<_>>()
        };
        for mut command in [tree.install(), tree.uninstall()] {
            let mut tool = command.stderr(Stdio::piped()).spawn().unwrap();
            let end = Instant::now() + Duration::from_secs(30);
            while tool.try_wait().unwrap().is_none() {
                if Instant::now() > end {
                    tool.kill().unwrap();
                    panic!("{list}: it waits");
                }
                thread::sleep(Duration::from_millis(10));
            }
            let output = tool.wait_with_output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            let expected = format!("{}: not a regular file, expected one", path.display());
            assert!(said.contains(&expected), "{list}: {said}");
            assert_eq!(names(&tree), std::slice::from_ref(&path));
            assert!(tree.at(HOOK).exists() && !tree.at("usr/bin").exists());
        }
    }
}
