// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks doctor` on a host that was really installed, and then broken in one way after the
//! other. What it says to mend that is run by a shell, and then nothing is left to say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use support::{is_root, not_run, program, root};
use tempfile::TempDir;

const HOOKS: &str = "usr/libexec/vdsm/hooks";
const START: &str = "usr/libexec/vdsm/hooks/before_vm_start";

/// Puts what a package has in its place, and keeps a list of what it was asked for.
const PACKAGE_MANAGER: &str = r#"#!/bin/sh
set -e
echo "${0##*/} $*" >>"$(dirname "$0")/asked"
case $1 in
--installroot=*) root=${1#--installroot=} ;;
*) root=$1 ;; # chroot
esac
for package; do :; done
case $package in
/*) file=$package ;;
openvswitch-switch) file=/usr/bin/ovs-vsctl ;;
*) exit ;;
esac
: >"$root$file"
chmod 0755 "$root$file"
"#;

/// A host, in a directory that a shell takes for three words.
struct Host(TempDir);

impl Host {
    /// One that has a shell and Python, and the programs that hooks run, but no hooks.
    fn new() -> Host {
        let host = Host(TempDir::new().unwrap());
        fs::create_dir_all(host.at("usr/bin")).unwrap();
        symlink("usr/bin", host.at("bin")).unwrap();
        for name in [
            "env",
            "ip",
            "ovs-vsctl",
            "python3",
            "sh",
            "vdsm-client",
            "virsh",
        ] {
            host.file(&format!("usr/bin/{name}"), "", 0o755);
        }
        for name in ["chroot", "dnf"] {
            let manager = host.0.path().join(name);
            fs::write(&manager, PACKAGE_MANAGER).unwrap();
            fs::set_permissions(manager, Permissions::from_mode(0o755)).unwrap();
        }
        host
    }

    /// One with these hooks.
    fn with(hooks: &[&str]) -> Host {
        let host = Host::new();
        let programs = program("vdsm-hooks");
        let mut command = Command::new("sh");
        command.arg(root().join("install.sh"));
        command.arg("--destdir").arg(host.root());
        command.arg("--programs").arg(programs.parent().unwrap());
        for hook in hooks {
            command.args(["--hook", hook]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        host
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("it's a host")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.at(path), Permissions::from_mode(mode)).unwrap();
    }

    fn file(&self, path: &str, text: &str, mode: u32) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
        self.mode(path, mode);
    }

    fn command(&self, words: &[&str]) -> std::process::Output {
        let mut command = Command::new(program("vdsm-hooks"));
        command.arg("doctor").args(words).arg("--root");
        command.arg(self.root()).output().unwrap()
    }

    /// Status and text.
    fn examined(&self) -> (Option<i32>, String) {
        let output = self.command(&[]);
        assert!(output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    }

    /// Nothing to say but what could not be looked at.
    #[track_caller]
    fn is_good(&self) -> String {
        let (status, text) = self.examined();
        assert_eq!(status, Some(0), "{text}");
        assert!(text.ends_with("\nNo problems found.\n"), "{text}");
        text
    }

    /// Exactly one finding, with these words; what it gives back are the commands below it.
    #[track_caller]
    fn finds(&self, status: i32, words: &[&str]) -> Vec<String> {
        let (found, text) = self.examined();
        assert_eq!(found, Some(status), "{text}");
        let findings = text.matches("\nproblem: ").count() + text.matches("\nwarning: ").count();
        assert_eq!(findings, 1, "{text}");
        for word in words {
            assert!(text.contains(word), "{word:?} in {text}");
        }
        commands(&text)
    }

    /// Exactly one finding, which its commands mend.
    #[track_caller]
    fn mends(&self, status: i32, words: &[&str]) {
        let commands = self.finds(status, words);
        assert!(!commands.is_empty(), "{words:?}: no command");
        self.types(&commands);
        self.is_good();
    }

    /// A command of the administrator's machine.
    fn stand_in(&self, name: &str, script: &str) {
        let place = self.0.path().join(name);
        fs::write(&place, format!("#!/bin/sh\nset -e\n{script}")).unwrap();
        fs::set_permissions(place, Permissions::from_mode(0o755)).unwrap();
    }

    /// The status and text that another user gets to see.
    fn examined_by(&self, user: u32) -> (Option<i32>, String) {
        // Where he finds it.
        let tool = self.0.path().join("vdsm-hooks");
        if !tool.exists() {
            fs::copy(program("vdsm-hooks"), &tool).unwrap();
        }
        fs::set_permissions(self.0.path(), Permissions::from_mode(0o755)).unwrap();
        let mut command = Command::new(&tool);
        command.uid(user).gid(user).arg("doctor").arg("--root");
        let output = command.arg(self.root()).output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    }

    /// Types commands into a shell, somewhere.
    #[track_caller]
    fn types(&self, commands: &[String]) {
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.0.path().display());
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", &commands.join("\n")]);
        let output = shell.env("PATH", path).current_dir("/").output().unwrap();
        assert!(output.status.success(), "{commands:#?}: {output:?}");
    }
}

/// The lines of a report that are to be pasted.
fn commands(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_good_host_is_good() {
    let text = Host::with(&["macbind", "macspoof", "vhostmd"]).is_good();
    assert!(text.contains("3 hooks of this suite are installed: macbind, macspoof, vhostmd"));
    // What cannot be looked at from here is named.
    assert!(
        text.contains(
            "not checked: services (systemd does not run here): vhostmd.service of vhostmd"
        ),
        "{text}"
    );
    assert!(text.contains("not checked: SELinux labels"), "{text}");
}

#[test]
fn no_host_is_no_problem() {
    let text = Host::new().is_good();
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
    let missing = format!("it's a host/{hotplug} is missing");
    let words = [missing.as_str(), "install --destdir '", "--hook macspoof\n"];
    host.mends(2, &words);
    fs::remove_file(host.at(&hotplug)).unwrap();
    host.file(&hotplug, "#!/bin/sh\n", 0o755);
    let words = ["is not the suite's: a script", "--replace --hook macspoof"];
    host.mends(2, &words);
    // Seen at each of its events, said once.
    host.mode(&format!("{START}/50_macspoof"), 0o777);
    host.mends(2, &["has the mode 0777, not 0755", "chmod 0755 '"]);
    fs::remove_dir_all(host.at(HOOKS)).unwrap();
    let words = [
        "50_macspoof are missing",
        "One hook of this suite is installed: macspoof",
    ];
    host.mends(2, &words);
}

#[test]
fn hooks_of_a_package_come_back_with_it() {
    let host = Host::new();
    let program = format!("{START}/50_cpuflags");
    host.file("usr/share/man/man8/vdsm-hook-cpuflags.8.gz", "", 0o644);
    let commands = host.finds(2, &["50_cpuflags is missing"]);
    let root = host.root().display().to_string().replace('\'', r"'\''");
    let expected = format!("dnf '--installroot={root}' reinstall vdsm-hooks-cpuflags");
    assert_eq!(commands, [expected]);
    host.file(&program, "", 0o755);
    fs::copy(support::program("cpuflags"), host.at(&program)).unwrap();
    host.is_good();
}

#[test]
fn programs_of_another_release() {
    let host = Host::with(&["macspoof"]);
    let place = host.at(&format!("{START}/50_macspoof"));
    let mut program = fs::read(&place).unwrap();
    let words = format!("\"version\": \"{}\"", env!("CARGO_PKG_VERSION"));
    let found = program
        .windows(words.len())
        .position(|window| window == words.as_bytes());
    let last = found.unwrap() + words.len() - 2;
    program[last] = b'x';
    fs::write(&place, program).unwrap();
    host.mends(
        1,
        &["warning: macspoof: its version is \"0.1.x\", that of this tool is"],
    );
    fs::copy(support::program("numa"), &place).unwrap();
    host.mends(2, &["50_macspoof is the program of numa"]);
}

#[test]
fn owners() {
    if !is_root() {
        return not_run("owners", "needs root to give files away");
    }
    let host = Host::with(&["macbind"]);
    let program = format!("{START}/50_macbind");
    chown(host.at(&program), Some(36), Some(36)).unwrap();
    host.mends(2, &["belongs to 36:36", "chown root:root '"]);
    // Of VDSM's user, who runs it; but root runs what is at the network's events.
    let site = format!("{START}/70_site");
    host.file(&site, "#!/bin/sh\n", 0o755);
    chown(host.at(&site), Some(36), Some(36)).unwrap();
    let words = ["which VDSM runs as vdsm: it belongs to 36:36 and has the mode 0755"];
    host.mends(1, &words);
    let network = format!("{HOOKS}/before_network_setup/70_site");
    host.file(&network, "#!/bin/sh\n", 0o755);
    chown(host.at(&network), Some(36), Some(36)).unwrap();
    host.mends(2, &["which VDSM runs as root: it belongs to 36:36"]);
    chown(host.at(START), Some(107), Some(0)).unwrap();
    host.mends(
        2,
        &[
            "others than root can change what is in ",
            "it belongs to 107:0",
        ],
    );
}

#[test]
fn files_that_others_can_change() {
    let host = Host::with(&["macspoof"]);
    let site = format!("{START}/70_site");
    host.file(&site, "#!/bin/sh\n", 0o757);
    host.mends(
        2,
        &[
            "problem: before_vm_start/70_site: others than root can change",
            "mode 0757",
        ],
    );
    host.mode(START, 0o777);
    host.mends(
        2,
        &["others than root can change what is in ", "chmod go-w '"],
    );
    host.mode(HOOKS, 0o777);
    host.mends(2, &["which VDSM runs as root and vdsm", "chmod go-w '"]);
    // To whose group everything belongs, that one may.
    host.mode(&site, 0o775);
    host.is_good();
}

#[test]
fn programs_that_hooks_run() {
    let host = Host::with(&["macbind", "openstacknet"]);
    fs::remove_file(host.at("usr/bin/ovs-vsctl")).unwrap();
    let words = [
        "warning: ovs-vsctl: not on this host, and macbind, openstacknet run it\n    dnf '--installroot=",
        "it'\\''s a host' install /usr/bin/ovs-vsctl\n",
    ];
    host.mends(1, &words);
    host.file("etc/debian_version", "12.1\n", 0o644);
    fs::remove_file(host.at("usr/bin/ovs-vsctl")).unwrap();
    host.mends(1, &["    chroot '", "apt-get install openvswitch-switch\n"]);
    fs::remove_file(host.at("usr/bin/vdsm-client")).unwrap();
    let words = ["openstacknet runs it; Debian has no package of it"];
    assert!(host.finds(1, &words).is_empty());
}

#[test]
fn sudo_rules() {
    let host = Host::with(&["macbind"]);
    let rules = "etc/sudoers.d/50_vdsm_hooks_macbind";
    let text = fs::read_to_string(host.at(rules)).unwrap();
    host.mode(rules, 0o640);
    host.mends(2, &["has the mode 0640, not 0440", "chmod 0440 '"]);
    host.mode(rules, 0o640);
    fs::write(host.at(rules), text.replace("list-br", "list-br *")).unwrap();
    host.mode(rules, 0o440);
    host.mends(
        2,
        &["lacks the rule for '/usr/bin/timeout -s KILL 8 /usr/bin/ovs-vsctl --timeout=5 list-br'"],
    );
    fs::remove_file(host.at(rules)).unwrap();
    host.mends(2, &["50_vdsm_hooks_macbind is missing"]);
}

#[test]
fn rules_that_a_hook_has_left() {
    let host = Host::with(&["macbind"]);
    let rules = "etc/sudoers.d/50_vdsm_hooks_macbind";
    let text = fs::read_to_string(host.at(rules)).unwrap();
    fs::write(host.at(rules), format!("# Mine.\n{text}")).unwrap();
    host.is_good();
    let mut command = Command::new(program("vdsm-hooks"));
    command.args(["uninstall", "--destdir"]).arg(host.root());
    assert!(command.output().unwrap().status.success());
    assert!(host.at(rules).is_file());
    host.mends(
        1,
        &["lets user vdsm do what only this hook needs", "    rm '"],
    );
}

#[test]
fn what_runs_by_accident() {
    let host = Host::with(&["macspoof"]);
    for (name, words) in [
        (
            "50_macspoof~",
            &["VDSM runs it", "a backup copy", "chmod a-x '"][..],
        ),
        ("50_x.rpmsave", &["left by the package manager"]),
        ("60_macspoof.py", &["two hooks for one job"]),
    ] {
        let copy = format!("{START}/{name}");
        fs::copy(host.at(&format!("{START}/50_macspoof")), host.at(&copy)).unwrap();
        host.mends(2, words);
        fs::remove_file(host.at(&copy)).unwrap();
    }
    // Put out of use in favour of ours.
    host.file(&format!("{START}/60_macspoof.py"), "#!/bin/sh\n", 0o644);
    let text = host.is_good();
    assert!(text.contains("note: ") && text.contains("the suite's macspoof is in its place"));
    for (name, text) in [("README", "text\n"), ("50_x.bak", "#!/bin/sh\n")] {
        host.file(&format!("{START}/{name}"), text, 0o644);
    }
    fs::create_dir(host.at(&format!("{START}/old"))).unwrap();
    host.is_good();

    host.file(&format!("{START}/70_site"), "#!/bin/sh\n", 0o644);
    // A hook of the site's own is its own affair.
    host.mends(1, &["VDSM skips it without a message: not executable"]);
    symlink("nothing", host.at(&format!("{START}/80_link"))).unwrap();
    host.mends(
        1,
        &["VDSM skips it without a message: a link to nothing", "rm '"],
    );
    host.file(
        &format!("{HOOKS}/before_vm_strat/50_site"),
        "#!/bin/sh\n",
        0o755,
    );
    host.mends(
        1,
        &[
            "VDSM has no such event",
            "is it for before_vm_start?",
            "mv -n '",
        ],
    );
    assert!(host.at(&format!("{START}/50_site")).is_file());
    host.file(&format!("{HOOKS}/events/50_site"), "#!/bin/sh\n", 0o755);
    assert!(host.finds(1, &["VDSM has no such event"]).is_empty());
}

#[test]
fn what_vdsms_user_may_not_do() {
    let host = Host::new();
    let site = format!("{START}/50_site");
    for mode in [0o700, 0o744] {
        host.file(&site, "#!/bin/sh\n", mode);
        let words = [
            "not executable for user vdsm, as which VDSM runs it",
            "chmod 0755 '",
        ];
        host.mends(1, &words);
    }
    host.mode(&site, 0o711);
    let words = [
        "problem: before_vm_start/50_site: the user that VDSM runs it as may not read it",
        "every call fails and stops the operation",
    ];
    host.mends(2, &words);
    // What root runs needs no more.
    host.file(
        &format!("{HOOKS}/before_network_setup/50_site"),
        "#!/bin/sh\n",
        0o700,
    );
    host.is_good();
    host.mode(START, 0o750);
    host.mends(
        2,
        &[
            "vdsm cannot look into ",
            "skips the hook there without a message",
        ],
    );
    host.mode("usr/libexec", 0o700);
    host.mends(
        2,
        &[
            "vdsm cannot go through ",
            "/usr/libexec, so that VDSM runs no hook at all",
        ],
    );
    // A link, and the way to what it leads to.
    host.file("usr/local/private/hook", "#!/bin/sh\n", 0o755);
    host.mode("usr/local/private", 0o700);
    symlink(
        "../../../../local/private/hook",
        host.at(&format!("{START}/60_link")),
    )
    .unwrap();
    host.mends(1, &["before_vm_start/60_link", "chmod a+rx '"]);

    // A group of the host counts.
    let group = fs::metadata(host.root()).unwrap().gid();
    host.mode(&site, 0o754);
    host.finds(1, &["not executable for user vdsm"]);
    host.file("etc/group", &format!("site:x:{group}:qemu,vdsm\n"), 0o644);
    host.is_good();
}

#[test]
fn interpreters_and_line_ends() {
    let host = Host::new();
    let site = format!("{START}/50_site");
    for (script, words) in [
        (
            "#!/usr/bin/python\nimport hooking\n",
            &[
                "its interpreter /usr/bin/python is not on this host",
                "sed -i '1s|/usr/bin/python|/usr/bin/python3|' '",
            ][..],
        ),
        (
            "#!/usr/local/bin/python3 -u\n",
            &["1s|/usr/local/bin/python3|/usr/bin/python3|"],
        ),
        (
            "#!/usr/bin/env python\n",
            &["\"python\" is nowhere in PATH"],
        ),
        (
            "#!/usr/bin/env python3 -u\n",
            &["\"python3 -u\" is nowhere in PATH", "env -S"],
        ),
        ("#!/usr/bin/perl -w\n", &["install /usr/bin/perl"]),
        ("#!/usr/bin/env ruby\n", &["install /usr/bin/ruby"]),
        (
            "#!/bin/sh\r\nexit 0\r\n",
            &[
                "its lines end with a carriage return",
                r"sed -i 's/\r$//' '",
            ],
        ),
        ("#!python3\n", &["1s|python3|/usr/bin/python3|"]),
    ] {
        host.file(&site, script, 0o755);
        let follows = &["every call fails and stops the operation"][..];
        host.mends(2, &[follows, words].concat());
        let mended = fs::read_to_string(host.at(&site)).unwrap();
        assert!(
            !mended.contains('\r') && mended.starts_with("#!/"),
            "{mended:?}"
        );
    }
    host.file(&site, "#!/usr/bin/python3\n", 0o755);
    host.mode("usr/bin/python3", 0o700);
    host.mends(
        2,
        &["is not on this host, or not for its user", "chmod 0755 '"],
    );
    host.mode("usr/bin", 0o700);
    host.mends(
        2,
        &[
            "/usr/bin/python3 is not on this host, or not for its user",
            "a+rx '",
        ],
    );
    host.file(&site, "#!/usr/bin/env\n", 0o755);
    let words = ["env is not told what to start, and starts it again and again"];
    assert!(host.finds(2, &words).is_empty());
    host.file(&site, "#!relative\n", 0o755);
    assert!(
        host.finds(2, &["its interpreter relative is not"])
            .is_empty()
    );
    fs::remove_file(host.at(&site)).unwrap();

    let bare = "import os\nprint(\"x\")\n";
    let what = "it has no #! line and is no program, so that a shell runs it";
    for (name, start) in [
        ("70_bare.py", "#!/usr/bin/python3\nimport os\n"),
        ("70_bare", "#!/bin/sh\nimport os\n"),
    ] {
        let path = format!("{START}/{name}");
        host.file(&path, bare, 0o755);
        host.mends(1, &[what, "sed -i '1i #!/"]);
        let mended = fs::read_to_string(host.at(&path)).unwrap();
        assert!(mended.starts_with(start), "{mended}");
    }
    for start in ["\u{feff}", "\n \r\n", "\u{feff}\n"] {
        let path = format!("{START}/70_late");
        host.file(
            &path,
            &format!("{start}#!/usr/bin/python3\nimport os\n"),
            0o755,
        );
        host.mends(1, &["its #! line is not the very first"]);
        let mended = fs::read_to_string(host.at(&path)).unwrap();
        assert_eq!(mended, "#!/usr/bin/python3\nimport os\n");
    }
    host.file(&format!("{START}/80_empty"), "", 0o755);
    host.mends(1, &[what, "rm '"]);
    // Where failures are only logged.
    host.file(
        &format!("{HOOKS}/after_vm_start/50_site"),
        "#!/none\n",
        0o755,
    );
    host.mends(2, &["every call fails, which VDSM only logs"]);
}

#[test]
fn names_that_nobody_can_type_are_no_commands() {
    let host = Host::new();
    host.file(&format!("{START}/50_a\u{1b}[2Jb~"), "#!/bin/sh\n", 0o755);
    let commands = host.finds(2, &["before_vm_start/50_a\\u{1b}[2Jb~: VDSM runs it"]);
    assert!(commands.is_empty(), "{commands:?}");
}

#[test]
fn hooks_of_vdsm_that_have_one_here() {
    let host = Host::new();
    for (place, script) in [
        ("before_vm_start/50_numa", "#!/usr/bin/python3\n"),
        ("before_vm_start/50_macspoof", "#!/usr/bin/python3\n"),
        ("before_nic_hotplug/50_macspoof", "#!/usr/bin/python3\n"),
        ("before_vm_start/50_site", "#!/bin/sh\n"),
    ] {
        host.file(&format!("{HOOKS}/{place}"), script, 0o755);
    }
    let text = host.is_good();
    let words = "note: 2 hooks of VDSM here have one in this suite: macspoof, numa\n    ";
    assert!(text.contains(words), "{text}");
    host.types(&commands(&text));
    let text = host.is_good();
    let words = "2 hooks of this suite are installed: macspoof, numa\n";
    assert!(text.starts_with(words), "{text}");
    assert!(!text.contains("note:"), "{text}");
}

#[test]
fn what_one_may_not_look_at_is_not_missing() {
    if !is_root() {
        return not_run("what one may not look at", "needs root to be somebody else");
    }
    let host = Host::with(&["macbind", "macspoof"]);
    // As EL has it.
    host.mode("etc/sudoers.d", 0o750);
    let (status, text) = host.examined_by(65534);
    assert_eq!(status, Some(0), "{text}");
    let words = "not checked: what you may not look at, but root may: ";
    assert!(
        text.contains(words) && text.contains("/etc/sudoers.d\n"),
        "{text}"
    );
    host.mode("etc/sudoers.d", 0o755);
    let (status, text) = host.examined_by(65534);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("sudoers.d/50_vdsm_hooks_macbind\n"), "{text}");
    host.mode(HOOKS, 0o700);
    let (_, text) = host.examined_by(65534);
    assert!(!text.contains("missing") && text.contains(HOOKS), "{text}");
    let (status, as_root) = host.examined();
    assert_eq!(status, Some(2), "{as_root}");
    assert!(!as_root.contains("may not look"), "{as_root}");
}

#[test]
fn hooks_of_another_package_that_do_the_same() {
    let host = Host::with(&["ovn"]);
    let theirs = [
        "before_device_create/10_ovirt_provider_ovn_hook",
        "before_nic_hotplug/10_ovirt_provider_ovn_hook",
        "after_get_caps/ovirt_provider_ovn_hook",
    ];
    for place in theirs {
        host.file(&format!("{HOOKS}/{place}"), "#!/usr/bin/python3\n", 0o555);
    }
    host.mends(
        2,
        &[
            "problem: ovn: VDSM runs hooks of ovirt-provider-ovn-driver besides it",
            "install --destdir",
            "--replace --hook ovn",
        ],
    );
    let text = host.is_good();
    let words = "'rpm -V ovirt-provider-ovn-driver' shows .M. for them";
    assert_eq!(text.matches("note: ").count(), 1, "{text}");
    assert!(text.contains(words), "{text}");
    // And they come back when ovn goes.
    let mut command = Command::new(program("vdsm-hooks"));
    command.args(["uninstall", "--hook", "ovn", "--destdir"]);
    assert!(command.arg(host.root()).output().unwrap().status.success());
    for place in theirs {
        let found = fs::metadata(host.at(&format!("{HOOKS}/{place}"))).unwrap();
        assert_eq!(found.mode() & 0o777, 0o555, "{place}");
    }
    // Neither of the two works.
    host.mode(&format!("{HOOKS}/{}", theirs[0]), 0o444);
    host.mends(1, &["VDSM skips it without a message: not executable"]);
}

#[test]
fn second_names_of_a_hook() {
    let host = Host::with(&["macspoof"]);
    let ours = format!("{START}/50_macspoof");
    for (place, words) in [
        ("before_vm_start/60_macspoof", "two hooks for one job"),
        ("before_device_create/50_macspoof.bak", "a backup copy"),
        (
            "after_vm_start/50_macspoof",
            "the suite's macspoof, which has another place",
        ),
    ] {
        let place = host.at(&format!("{HOOKS}/{place}"));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        symlink("../before_vm_start/50_macspoof", &place).unwrap();
        host.mends(2, &[words, "    rm '"]);
        fs::hard_link(host.at(&ours), &place).unwrap();
        host.mends(2, &[words, "    rm '"]);
        fs::copy(host.at(&ours), &place).unwrap();
        let command = if place.starts_with(host.at(&format!("{HOOKS}/after_vm_start"))) {
            "    rm '"
        } else {
            "    chmod a-x '"
        };
        host.mends(2, &[words, command]);
        let _ = fs::remove_file(&place);
    }
    // Of a directory with two names, nobody knows which one is meant.
    let twice = host.at(HOOKS).join("after_vm_destroy");
    symlink("before_vm_start", twice).unwrap();
    assert!(host.finds(2, &["after_vm_destroy/50_macspoof"]).is_empty());
}

#[test]
fn what_is_in_the_way_of_a_program() {
    let host = Host::with(&["macspoof"]);
    let ours = format!("{START}/50_macspoof");
    fs::remove_file(host.at(&ours)).unwrap();
    fs::create_dir(host.at(&ours)).unwrap();
    host.file(&format!("{ours}/x"), "", 0o644);
    host.mends(2, &["50_macspoof is a directory", "    mv -nT '"]);
    assert!(host.at(&format!("{ours}.old/x")).is_file());
    let away = |directory: &str| fs::remove_dir_all(host.at(directory)).unwrap();
    away(START);
    host.file(START, "", 0o644);
    host.mends(2, &["50_macspoof are missing", "    mv -nT '"]);
    away(START);
    symlink("nothing", host.at(START)).unwrap();
    host.mends(2, &["50_macspoof are missing", "before_vm_start.old.old'"]);
    away(HOOKS);
    host.file(HOOKS, "", 0o644);
    host.mends(2, &["50_macspoof are missing", "    mv -nT '"]);
    // Where somebody has a hook of the name already.
    host.file(
        &format!("{HOOKS}/before_vm_strat/50_macspoof"),
        "#!/bin/sh\n",
        0o755,
    );
    assert!(host.finds(1, &["is it for before_vm_start?"]).is_empty());
}

#[test]
fn directories_that_others_can_change() {
    let host = Host::with(&["hugepages"]);
    for directory in ["usr/libexec/vdsm", "usr/libexec/vdsm-hooks", "usr/libexec"] {
        host.mode(directory, 0o777);
        let words = format!("{directory}, which VDSM runs as root");
        host.mends(2, &["others than root can change what is in ", &words]);
    }
    // One through which a link leads.
    host.file("usr/local/site/hook", "#!/bin/sh\n", 0o755);
    symlink("/usr/local/site/hook", host.at(&format!("{START}/60_link"))).unwrap();
    host.is_good();
    host.mode("usr/local/site", 0o757);
    host.mends(
        2,
        &["/usr/local/site, which VDSM runs as vdsm", "chmod go-w '"],
    );
    // The file below this root, and not that of the machine.
    host.mode("usr/local/site/hook", 0o757);
    host.mends(2, &["60_link", "/usr/local/site/hook'"]);
    for directory in ["usr", "usr/libexec", "usr/libexec/vdsm", HOOKS] {
        host.mode(directory, 0o700);
    }
    host.mends(2, &["so that VDSM runs no hook at all"]);
}

#[test]
fn fapolicyd_trusts_what_is_in_its_lists() {
    let host = Host::with(&["hugepages", "macspoof"]);
    let unit = host.at("etc/systemd/system/multi-user.target.wants/fapolicyd.service");
    fs::create_dir_all(unit.parent().unwrap()).unwrap();
    symlink("/usr/lib/systemd/system/fapolicyd.service", unit).unwrap();
    host.stand_in(
        "chroot",
        r#"root=$1 list=$1/etc/fapolicyd/trust.d/vdsm-hooks
shift
case "$*" in
"fapolicyd-cli --file add "*" --trust-file vdsm-hooks")
    mkdir -p "${list%/*}"
    find "$root$4" -type f | while read -r file; do
        echo "${file#"$root"} $(stat -c %s "$file") sum" >>"$list"
    done ;;
"fapolicyd-cli --file delete "*) sed -i "\\|^$4|d" "$list" ;;
"fapolicyd-cli --update") ;;
*) exit 1 ;;
esac
"#,
    );
    let words = [
        "problem: fapolicyd: does not know 3 programs of hooks, and does not let that start",
        "fapolicyd-cli --file add /usr/libexec/vdsm-hooks/ --trust-file vdsm-hooks\n",
        "fapolicyd-cli --update\n",
    ];
    host.mends(2, &words);
    let list = host.at("etc/fapolicyd/trust.d/vdsm-hooks");
    let text = fs::read_to_string(&list).unwrap();
    let place = format!("/{START}/50_macspoof ");
    fs::write(&list, text.replace(&place, &format!("{place}1"))).unwrap();
    host.mends(2, &["has one program of a hook in its lists as before"]);
    // What packages have brought it knows of itself.
    fs::remove_file(list).unwrap();
    fs::remove_file(host.at("var/lib/vdsm-hooks/directories")).unwrap();
    host.is_good();
}

#[test]
fn pings_of_checkips() {
    let host = Host::with(&["checkips"]);
    let range = "proc/sys/net/ipv4/ping_group_range";
    host.file(range, "0\t2147483647\n", 0o644);
    host.file("usr/bin/ping", "", 0o755);
    host.is_good();
    host.file(range, "1\t0\n", 0o644);
    fs::create_dir_all(host.at("etc/sysctl.d")).unwrap();
    host.stand_in(
        "chroot",
        "[ \"$2 $3\" = 'sysctl -p' ]\n\
         sed 's/.*= //' \"$1$4\" >\"$1/proc/sys/net/ipv4/ping_group_range\"\n",
    );
    let words = [
        "problem: checkips: the kernel lets groups 1 to 0 send pings",
        "36",
    ];
    host.mends(2, &words);
}

#[test]
fn the_directory_of_firmware_logs() {
    if !is_root() {
        return not_run(
            "the directory of firmware logs",
            "needs root to give it away",
        );
    }
    let host = Host::with(&["log_firmware"]);
    host.mends(
        1,
        &[
            "/var/log/qemu-firmware is missing",
            "install -d -o 107 -g 107",
        ],
    );
    chown(host.at("var/log/qemu-firmware"), Some(0), Some(0)).unwrap();
    host.mends(1, &["belongs to 0:0 and not to qemu"]);
    let settings = "# log_firmware_dir=/x\nlog_firmware_dir=\"/data/logs\"\n";
    host.file("etc/sysconfig/vdsm", settings, 0o644);
    host.mends(1, &["/data/logs is missing"]);
}

#[test]
fn what_an_update_of_ovirt_node_left_out() {
    let host = Host::new();
    let kept = "var/imgbased/persisted-rpms";
    for file in [
        "vdsm-hooks-0.1.0-1.x86_64.rpm",
        "vdsm-hooks-numa-0.1.0-1.x86_64.rpm",
    ] {
        host.file(&format!("{kept}/{file}"), "", 0o644);
    }
    let tool = program("vdsm-hooks");
    let root = host.root().display().to_string().replace('\'', r"'\''");
    let install = format!(
        "{} install --replace --hook numa --destdir '{root}'\n",
        tool.display()
    );
    host.stand_in(
        "dnf",
        &format!("case $2 in install|swap) {install};; *) exit 1;; esac"),
    );
    let words = [
        "problem: numa: an update of oVirt Node has not brought it back: its package is not on",
        " install /var/imgbased/persisted-rpms/vdsm-hooks-numa-0.1.0-1.x86_64.rpm\n",
    ];
    host.mends(2, &words);
    let mut command = Command::new(&tool);
    command.args(["uninstall", "--hook", "numa", "--destdir"]);
    assert!(command.arg(host.root()).output().unwrap().status.success());
    host.file(&format!("{START}/50_numa"), "#!/usr/bin/python3\n", 0o755);
    let words = [
        "the new image has vdsm-hook-numa in its place",
        " swap vdsm-hook-numa /var",
    ];
    host.mends(2, &words);
}

#[test]
fn what_the_unit_of_vdsmd_forbids() {
    let host = Host::with(&["macbind"]);
    let unit = "usr/lib/systemd/system/vdsmd.service";
    host.file(unit, "[Service]\nUser=vdsm\nProtectSystem=no\n", 0o644);
    host.is_good();
    let drop_in = "etc/systemd/system/vdsmd.service.d/site.conf";
    host.file(drop_in, "[Service]\nNoNewPrivileges = yes\nNice=0\n", 0o644);
    let words = [
        "NoNewPrivileges=yes: sudo cannot work, and with it not macbind",
        "sed -i '",
    ];
    host.mends(2, &words);
    let left = fs::read_to_string(host.at(drop_in)).unwrap();
    assert_eq!(left, "[Service]\nNice=0\n");
    host.file(drop_in, "[Service]\nProtectSystem=strict\n", 0o644);
    host.mends(
        1,
        &[
            "warning: vdsmd.service: ",
            "ProtectSystem=strict: hooks cannot change",
        ],
    );
    // A later one takes it back, and a file of the same name in /etc takes the place of another.
    host.file(drop_in, "[Service]\nPrivateTmp=yes\n", 0o644);
    let later = "etc/systemd/system/vdsmd.service.d/zz.conf";
    host.file(later, "[Service]\nPrivateTmp=false\n", 0o644);
    let masked = "usr/lib/systemd/system/vdsmd.service.d/zz.conf";
    host.file(masked, "[Service]\nProtectHome=yes\n", 0o644);
    host.is_good();
    fs::remove_file(host.at(later)).unwrap();
    host.file(masked, "[Service]\n", 0o644);
    host.mends(1, &["PrivateTmp=yes: hooks have another /tmp"]);
}

#[test]
fn settings_that_others_can_change() {
    let host = Host::with(&["macspoof"]);
    host.file("etc/vdsm-hooks/allowed-paths", "/data\n", 0o666);
    host.mends(2, &["allowed-paths can be changed by others than root"]);
}

#[test]
fn scripts_get_json() {
    let host = Host::with(&["macspoof"]);
    fs::remove_file(host.at(HOOKS).join("before_nic_hotplug/50_macspoof")).unwrap();
    host.file(&format!("{START}/50_numa"), "#!/bin/sh\n", 0o755);
    let output = host.command(&["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    crate::json_page::explains(&report);
    assert_eq!(report["hooks"], serde_json::json!(["macspoof"]));
    assert_eq!(report["findings"][0]["problem"], true);
    assert_eq!(report["findings"][0]["subject"], "macspoof");
    let remedy = |of: &serde_json::Value| of["remedy"].as_str().unwrap().to_owned();
    let remedies = [remedy(&report["findings"][0]), remedy(&report["notes"][0])];
    host.types(&remedies);
    host.is_good();
}
