// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks doctor` on a host that was really installed, and then broken in one way after the
//! other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{is_root, not_run, program, root};
use tempfile::TempDir;

const HOOKS: &str = "usr/libexec/vdsm/hooks";

/// A host with these hooks, and the programs that they run.
struct Host(TempDir);

impl Host {
    fn with(hooks: &[&str]) -> Host {
        let directory = TempDir::new().unwrap();
        let programs = program("vdsm-hooks");
        let mut command = Command::new("sh");
        command.arg(root().join("install.sh"));
        command.arg("--destdir").arg(directory.path());
        command.arg("--programs").arg(programs.parent().unwrap());
        for hook in hooks {
            command.args(["--hook", hook]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let host = Host(directory);
        fs::create_dir_all(host.at("usr/bin")).unwrap();
        for name in ["ovs-vsctl", "vdsm-client", "virsh"] {
            fs::write(host.at("usr/bin").join(name), "").unwrap();
        }
        host
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Status and text.
    fn examined(&self) -> (Option<i32>, String) {
        let mut command = Command::new(program("vdsm-hooks"));
        let output = command
            .arg("doctor")
            .arg("--root")
            .arg(self.0.path())
            .output();
        let output = output.unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    /// Exactly one finding, with these words.
    fn finds(&self, status: i32, words: &[&str]) {
        let (found, text) = self.examined();
        assert_eq!(found, Some(status), "{text}");
        let findings = text.matches("\nproblem: ").count() + text.matches("\nwarning: ").count();
        assert_eq!(findings, 1, "{text}");
        for word in words {
            assert!(text.contains(word), "{word:?} in {text}");
        }
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.at(path), Permissions::from_mode(mode)).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

#[test]
fn a_good_host_is_good() {
    let (status, text) = Host::with(&["macbind", "macspoof", "vhostmd"]).examined();
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("3 hooks of this suite are installed: macbind, macspoof, vhostmd"));
    assert!(text.contains("No problems found."));
    // What cannot be looked at from here is named.
    assert!(
        text.contains("not checked: vhostmd: vhostmd.service"),
        "{text}"
    );
    assert!(text.contains("not checked: SELinux labels"), "{text}");
}

#[test]
fn no_host_is_no_problem() {
    let empty = Host(TempDir::new().unwrap());
    let (status, text) = empty.examined();
    assert_eq!(status, Some(0));
    assert!(
        text.starts_with("No hook of this suite is installed."),
        "{text}"
    );
}

#[test]
fn programs_at_their_events() {
    let host = Host::with(&["macspoof"]);
    let hotplug = format!("{HOOKS}/before_nic_hotplug/50_macspoof");
    fs::remove_file(host.at(&hotplug)).unwrap();
    host.finds(
        2,
        &[
            &format!("/{hotplug} is missing"),
            "package vdsm-hooks-macspoof",
        ],
    );
    fs::write(host.at(&hotplug), "#!/bin/sh\n").unwrap();
    host.mode(&hotplug, 0o755);
    host.finds(2, &["is not the suite's", "move it away"]);
    fs::remove_file(host.at(&hotplug)).unwrap();
    symlink("../before_vm_start/50_macspoof", host.at(&hotplug)).unwrap();
    let program = format!("{HOOKS}/before_vm_start/50_macspoof");
    host.mode(&program, 0o777);
    // Seen at each of the four events.
    let (status, text) = host.examined();
    assert_eq!(status, Some(2));
    assert_eq!(
        text.matches("has the mode 0777\n    chmod 0755").count(),
        4,
        "{text}"
    );
}

#[test]
fn owners() {
    if !is_root() {
        return not_run("owners", "needs root to give files away");
    }
    let host = Host::with(&["macbind"]);
    let program = format!("{HOOKS}/before_vm_start/50_macbind");
    chown(host.at(&program), Some(36), Some(36)).unwrap();
    host.finds(2, &["belongs to 36:36", "chown root:root"]);
}

#[test]
fn programs_that_a_hook_runs() {
    let host = Host::with(&["macbind"]);
    fs::remove_file(host.at("usr/bin/ovs-vsctl")).unwrap();
    host.finds(
        1,
        &["warning: macbind: the program ovs-vsctl is not on this host"],
    );
}

#[test]
fn sudo_rules() {
    let host = Host::with(&["macbind"]);
    let rules = "etc/sudoers.d/50_vdsm_hooks_macbind";
    let text = fs::read_to_string(host.at(rules)).unwrap();
    host.mode(rules, 0o640);
    host.finds(2, &["has the mode 0640", "chmod 0440"]);
    fs::write(host.at(rules), text.replace("list-br", "list-br *")).unwrap();
    host.mode(rules, 0o440);
    host.finds(
        2,
        &["lacks the rule for '/usr/bin/timeout -s KILL 8 /usr/bin/ovs-vsctl --timeout=5 list-br'"],
    );
    fs::remove_file(host.at(rules)).unwrap();
    host.finds(2, &["50_vdsm_hooks_macbind is missing"]);
}

#[test]
fn what_runs_by_accident() {
    let host = Host::with(&["macspoof"]);
    let event = host.at(HOOKS).join("before_vm_start");
    let own = event.join("50_macspoof");
    for (name, words) in [
        (
            "50_macspoof~",
            &["VDSM runs it", "a backup copy", "rm /usr/libexec"][..],
        ),
        ("50_x.rpmsave", &["left by the package manager"]),
        (
            "60_macspoof.py",
            &["two hooks for one job", "vdsm-hook-macspoof"],
        ),
    ] {
        copy(&own, &event.join(name));
        host.finds(2, words);
        fs::remove_file(event.join(name)).unwrap();
    }
    fs::write(event.join("70_site"), "#!/bin/sh\n").unwrap();
    host.finds(1, &["VDSM skips it without a message: not executable"]);
    host.mode(&format!("{HOOKS}/before_vm_start/70_site"), 0o755);
    assert_eq!(
        host.examined().0,
        Some(0),
        "a hook of the site's own is its own affair"
    );
    let nowhere = host.at(HOOKS).join("before_vm_strat");
    fs::create_dir(&nowhere).unwrap();
    copy(&own, &nowhere.join("50_site"));
    host.finds(1, &["VDSM has no such event"]);
}

#[test]
fn settings_that_others_can_change() {
    let host = Host::with(&["macspoof"]);
    fs::create_dir_all(host.at("etc/vdsm-hooks")).unwrap();
    fs::write(host.at("etc/vdsm-hooks/allowed-paths"), "/data\n").unwrap();
    host.mode("etc/vdsm-hooks/allowed-paths", 0o666);
    host.finds(2, &["allowed-paths can be changed by others than root"]);
}

#[test]
fn scripts_get_json() {
    let host = Host::with(&["macspoof"]);
    fs::remove_file(host.at(HOOKS).join("before_nic_hotplug/50_macspoof")).unwrap();
    let mut command = Command::new(program("vdsm-hooks"));
    let output = command
        .args(["doctor", "--json", "--root"])
        .arg(host.0.path())
        .output();
    let report: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    assert_eq!(report["hooks"], serde_json::json!(["macspoof"]));
    assert_eq!(report["findings"][0]["problem"], true);
    assert_eq!(report["findings"][0]["subject"], "macspoof");
}
