// SPDX-License-Identifier: GPL-2.0-or-later

//! The administrator's tool, with hooks in shell and Python and real hooks of the suite.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use crate::support;

const TOOL: &str = env!("CARGO_BIN_EXE_vdsm-hooks");
const UUID: &str = "5f1c2a7e-9d3b-4e57-8a40-0c6f3b1d2e99";
const MAC: &str = "00:1a:4a:16:01:51";

const DOMAIN: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<domain type="kvm" xmlns:ovirt-vm="http://ovirt.org/vm/1.0">
  <name>node7</name>
  <uuid>5f1c2a7e-9d3b-4e57-8a40-0c6f3b1d2e99</uuid>
  <metadata>
    <ovirt-vm:vm>
      <ovirt-vm:custom>
        <ovirt-vm:color>blue</ovirt-vm:color>
        <ovirt-vm:shared>of the vm</ovirt-vm:shared>
      </ovirt-vm:custom>
      <ovirt-vm:device mac_address="00:1a:4a:16:01:51">
        <ovirt-vm:custom>
          <ovirt-vm:port>red &amp; green</ovirt-vm:port>
          <ovirt-vm:shared>of the nic</ovirt-vm:shared>
        </ovirt-vm:custom>
      </ovirt-vm:device>
    </ovirt-vm:vm>
  </metadata>
  <memory unit="KiB">1048576</memory>
  <os><type arch="x86_64">hvm</type></os>
  <cpu mode="custom" match="exact"><model>Nehalem</model></cpu>
  <devices>
    <interface type="bridge">
      <mac address="00:1a:4a:16:01:51"/>
      <source bridge="ovirtmgmt"/>
      <model type="virtio"/>
      <filterref filter="vdsm-no-mac-spoofing"/>
    </interface>
    <interface type="bridge">
      <mac address="00:1a:4a:16:01:52"/>
      <source bridge="ovirtmgmt"/>
      <model type="virtio"/>
      <filterref filter="vdsm-no-mac-spoofing"/>
    </interface>
  </devices>
</domain>
"#;

/// A host of a test: hook directories and documents.
struct Host {
    root: TempDir,
}

impl Host {
    fn new() -> Host {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("hooks")).unwrap();
        let host = Host { root };
        host.file("vm.xml", DOMAIN);
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let _alone = alone();
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Installs a program with this text at `event/name`.
    fn hook(&self, place: &str, program: &str) -> &Host {
        self.file(&format!("hooks/{place}"), program);
        self.mode(place, 0o755);
        self
    }

    fn shell(&self, place: &str, script: &str) -> &Host {
        self.hook(place, &format!("#!/bin/sh\n{script}\n"))
    }

    fn mode(&self, place: &str, mode: u32) {
        let path = self.path(&format!("hooks/{place}"));
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Installs a hook of the suite.
    fn suite(&self, place: &str, program: &str) -> &Host {
        let _alone = alone();
        let target = self.path(&format!("hooks/{place}"));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(Path::new(TOOL).with_file_name(program), target).unwrap();
        self
    }

    fn tool(&self, command: &str, arguments: &[&str]) -> Ended {
        let mut tool = Command::new(TOOL);
        tool.arg(command).arg("--hooks-dir").arg(self.path("hooks"));
        // What the administrator's shell has must not reach the hooks.
        tool.args(arguments)
            .env("RUST_LEAK", "1")
            .env("color", "of the shell");
        tool.current_dir(self.root.path());
        end(&mut tool)
    }

    /// `vdsm-hooks run EVENT --domain vm.xml`.
    fn run(&self, event: &str, arguments: &[&str]) -> Ended {
        let all = [&[event, "--domain", "vm.xml"], arguments].concat();
        self.tool("run", &all)
    }

    /// The same as JSON.
    fn json(&self, event: &str, arguments: &[&str]) -> Value {
        self.run(event, &[&["--json"], arguments].concat()).json()
    }
}

/// A program cannot be executed while anybody has it open for writing, not even a child of another
/// test that was forked just then: so nobody starts a program while another test writes one.
static WRITING: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(command: &mut Command) -> Child {
    let _alone = alone();
    command.spawn().unwrap()
}

fn end(command: &mut Command) -> Ended {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ended(start(command).wait_with_output().unwrap())
}

struct Ended(Output);

impl Ended {
    fn status(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout())
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout(), self.stderr()))
    }

    #[track_caller]
    fn fails_with(&self, text: &str) {
        assert_eq!(self.status(), 64, "{}", self.stdout());
        assert!(self.stderr().contains(text), "{}", self.stderr());
        assert_eq!(
            self.stderr().trim_end().lines().count(),
            1,
            "{}",
            self.stderr()
        );
    }
}

/// One member of every hook.
fn of_hooks<'a>(summary: &'a Value, member: &str) -> Vec<&'a Value> {
    let hooks = summary["hooks"].as_array().unwrap();
    hooks.iter().map(|hook| &hook[member]).collect()
}

fn have(program: &str, test: &str) -> bool {
    let look = format!("command -v {program}");
    let found = end(Command::new("/bin/sh").args(["-c", &look])).status() == 0;
    if !found {
        // Past the test harness, which keeps the output of tests that pass.
        let _ = writeln!(io::stderr(), "NOT RUN: {test}: {program} is not installed");
    }
    found
}

#[test]
fn hooks_run_in_byte_order_and_only_what_vdsm_would_run() {
    let host = Host::new();
    for name in ["9_x", "10_x", "b", "A", "foo~"] {
        host.shell(&format!("before_vm_start/{name}"), "exit 0");
    }
    host.shell("before_vm_start/.hidden", "exit 2");
    host.shell("before_vm_start/50_off", "exit 2")
        .mode("before_vm_start/50_off", 0o644);
    fs::create_dir(host.path("hooks/before_vm_start/50_directory")).unwrap();
    symlink("nowhere", host.path("hooks/before_vm_start/50_dangling")).unwrap();
    symlink("../elsewhere", host.path("hooks/before_vm_start/60_link")).unwrap();
    host.shell("elsewhere", "echo \"$0\" >&2");
    // Without a #! line the shell runs it.
    host.hook("before_vm_start/70_bare", "echo bare >&2\n");
    let summary = host.json("before_vm_start", &[]);
    let names = of_hooks(&summary, "name");
    assert_eq!(
        names,
        ["10_x", "60_link", "70_bare", "9_x", "A", "b", "foo~"]
    );
    let called = host.path("hooks/before_vm_start/60_link");
    assert_eq!(
        summary["hooks"][1]["stderr"],
        format!("{}\n", called.display())
    );
    assert_eq!(summary["hooks"][1]["path"], called.to_str().unwrap());
    assert_eq!(summary["hooks"][2]["stderr"], "bare\n");
}

#[test]
fn a_hook_finds_vdsms_surroundings() {
    let host = Host::new();
    host.shell(
        "before_vm_start/50_look",
        "{ pwd; echo $#; cat; ls -l \"$_hook_domxml\" | cut -c1-10; } >&2; echo dropped; \
         env >&2; echo \"cmp: $(cmp \"$_hook_domxml\" \"$original\" && echo same)\" >&2",
    );
    let original = format!("original={}", host.path("vm.xml").display());
    let empty = host.file("empty", "");
    let ended = host.run(
        "before_vm_start",
        &["--json", "-p", &original, "--sysconfig", &empty],
    );
    let text = ended.json()["hooks"][0]["stderr"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(text.starts_with("/\n0\n-rw-------\n"), "{text}");
    let expected = [
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "USER",
        "_hook_domxml",
        "color",
        "original",
        "shared",
        "vmId",
    ];
    // What a shell sets of itself, and what depends on this machine.
    let unsure = ["OLDPWD", "PWD", "PYTHONPATH", "SHLVL", "_"];
    let names = text.lines().filter_map(|line| line.split_once('='));
    let mut names: Vec<_> = names.map(|(name, _)| name).collect();
    names.retain(|name| !name.starts_with("LC_") && !unsure.contains(name));
    names.sort_unstable();
    assert_eq!(names, expected, "{text}");
    for line in [
        format!("vmId={UUID}"),
        "cmp: same".into(),
        "color=blue".into(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(!ended.stdout().contains("dropped"));
    // The data file and its directory are gone.
    let data = text
        .lines()
        .find_map(|line| line.strip_prefix("_hook_domxml="))
        .unwrap();
    assert!(!Path::new(data).parent().unwrap().exists(), "{data}");
}

#[test]
fn a_later_layer_of_the_environment_wins() {
    let host = Host::new();
    let sysconfig = host.file(
        "vdsm",
        "# defaults\ncolor=default\nonly=\"of the host\"\nport=default\nvmId=no\nPYTHONPATH=/a\n",
    );
    let show = "for name in color only port shared vmId PYTHONPATH; do \
                eval echo \"$name=\\$$name\"; done >&2";
    host.shell("before_device_create/50_show", show);
    host.shell("before_get_caps/50_show", show);
    host.file("python/hooking.py", "");
    let python = host.path("python").display().to_string();
    let usual = ["--sysconfig", &sysconfig, "--hooking", &python, "--json"];
    let shown = |event: &str, arguments: &[&str]| {
        let all = [&[event], arguments, &usual].concat();
        let summary = host.tool("run", &all).json();
        summary["hooks"][0]["stderr"].as_str().unwrap().to_owned()
    };
    let nic = ["--domain", "vm.xml", "--device", MAC];
    assert_eq!(
        shown("before_device_create", &nic),
        format!(
            "color=blue\nonly=of the host\nport=red & green\nshared=of the vm\nvmId={UUID}\nPYTHONPATH=/a:{python}\n"
        )
    );
    let set = [
        "-p",
        "color=a=b;\u{e9}",
        "-d",
        "port=",
        "-d",
        "shared=x",
        "-p",
        "vmId=y",
        "--vm-id",
        "z",
    ];
    assert_eq!(
        shown("before_device_create", &[&nic[..], &set].concat()),
        format!(
            "color=a=b;\u{e9}\nonly=of the host\nport=\nshared=of the vm\nvmId=z\nPYTHONPATH=/a:{python}\n"
        )
    );
    // An event of the host has none of it.
    let bare = shown("before_get_caps", &[]);
    assert!(
        bare.starts_with("color=default\nonly=of the host\nport=default\nshared=\nvmId=no\n"),
        "{bare}"
    );
    host.tool("run", &["before_get_caps", "-p", "a=b"])
        .fails_with("VDSM passes no properties");
}

#[test]
fn each_hook_sees_what_the_one_before_left() {
    let host = Host::new();
    host.shell(
        "before_vm_start/10_a",
        "sed -i s/Nehalem/Westmere/ \"$_hook_domxml\"",
    );
    host.shell(
        "before_vm_start/20_b",
        "grep -q Westmere \"$_hook_domxml\" || exit 2",
    );
    // Replaced by a rename, with other line ends.
    host.shell(
        "before_vm_start/30_c",
        "sed 's/node7/node8/; s/$/\\r/' \"$_hook_domxml\" > \"$_hook_domxml.new\"; \
         mv \"$_hook_domxml.new\" \"$_hook_domxml\"",
    );
    let ended = host.run("before_vm_start", &["--output", "new.xml"]);
    assert_eq!(ended.status(), 0, "{}", ended.stdout());
    let expected = DOMAIN
        .replace("Nehalem", "Westmere")
        .replace("node7", "node8");
    assert_eq!(fs::read_to_string(host.path("new.xml")).unwrap(), expected);
    assert_eq!(fs::read_to_string(host.path("vm.xml")).unwrap(), DOMAIN);
    let text = ended.stdout();
    for line in [
        "--- before 10_a",
        "+++ after 10_a",
        "-  <cpu mode=\"custom\" match=\"exact\"><model>Nehalem</model></cpu>",
        "+  <cpu mode=\"custom\" match=\"exact\"><model>Westmere</model></cpu>",
        "+  <name>node8</name>\\r",
        "VDSM goes on, with what the hooks left",
        "the result is in new.xml",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.contains("20_b  ok"), "{text}");
    // An old file keeps its mode.
    fs::set_permissions(host.path("new.xml"), Permissions::from_mode(0o640)).unwrap();
    assert_eq!(
        host.run("before_vm_start", &["--hook", "a", "--output", "new.xml"])
            .status(),
        0
    );
    let kept = fs::metadata(host.path("new.xml"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(kept & 0o777, 0o640);
    let text = fs::read_to_string(host.path("new.xml")).unwrap();
    assert_eq!(text, DOMAIN.replace("Nehalem", "Westmere"));
}

#[test]
fn statuses_are_judged_as_vdsm_judges_them() {
    let host = Host::new();
    for event in ["before_vm_start", "before_vm_pause", "after_vm_start"] {
        host.shell(&format!("{event}/10_one"), "echo \"it's one\" >&2; exit 1");
        host.shell(&format!("{event}/20_odd"), "echo odd >&2; exit 3");
        host.shell(&format!("{event}/30_killed"), "kill -9 $$");
        host.shell(&format!("{event}/40_fine"), "echo fine >&2");
        host.shell(&format!("{event}/50_stop"), "echo stop >&2; exit 2");
        host.shell(&format!("{event}/60_never"), "touch \"$never\"");
    }
    let never = format!("never={}", host.path("never").display());
    let all = host.run("before_vm_start", &["--json", "-p", &never]);
    let summary = all.json();
    assert_eq!(all.status(), 2);
    let statuses = ["failed", "failed", "killed", "ok", "failed-stop", "skipped"];
    assert_eq!(of_hooks(&summary, "status"), statuses);
    assert_eq!(summary["hooks"][1]["exit_status"], 3);
    assert_eq!(summary["hooks"][2]["signal"], 9);
    assert!(!host.path("never").exists());
    let down = "VM node7 is down with error. Exit message: Hook Error: ";
    assert_eq!(summary["decision"], "stop");
    assert_eq!(summary["message"], format!("{down}(b'stop\\n',)"));

    // At the start the last that failed is shown, elsewhere the last that ran.
    let two = ["--hook", "one", "--hook", "40_fine"];
    let start = host.json("before_vm_start", &two);
    assert_eq!(start["message"], format!("{down}(b\"it's one\\n\",)"));
    let pause = host.json("before_vm_pause", &two);
    assert_eq!(pause["message"], "Hook Error: (b'fine\\n',)");
    // After the fact nothing can be stopped.
    let after = host.run("after_vm_start", &["--json"]);
    assert_eq!(after.status(), 1);
    let summary = after.json();
    assert_eq!(
        (&summary["decision"], &summary["message"]),
        (&"proceed-after-failure".into(), &Value::Null)
    );
    assert_eq!(of_hooks(&summary, "status")[5], "skipped");
    assert_eq!(host.run("before_vm_start", &["--hook", "fine"]).status(), 0);

    let text = host.run("before_vm_start", &[]).stdout();
    for part in [
        "10_one  failed, go on  ",
        "  stderr: it's one\n",
        "(VDSM warns of the unexpected return code 3)",
        "(killed by signal 9)",
        "50_stop  failed, stop  ",
        "60_never  skipped\n",
        "VDSM stops the operation\n  VM node7 is down",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_program_that_cannot_be_started_has_failed() {
    let host = Host::new();
    host.hook("after_vm_start/50_gone", "#!/no/such/interpreter\n");
    let summary = host.json("after_vm_start", &[]);
    assert_eq!(summary["hooks"][0]["exit_status"], 127);
    let stderr = summary["hooks"][0]["stderr"].as_str().unwrap();
    assert!(
        stderr.contains("failed to execute") && stderr.contains("50_gone"),
        "{stderr}"
    );
    assert_eq!(summary["decision"], "proceed-after-failure");
}

#[test]
fn data_that_vdsm_cannot_read_stops_every_operation() {
    for (event, script, problem) in [
        (
            "after_vm_start",
            "printf '<d>\\377</d>' > \"$_hook_domxml\"",
            "not UTF-8 at byte 3",
        ),
        (
            "after_vm_start",
            "rm \"$_hook_domxml\"",
            "the data file is gone",
        ),
        (
            "before_vm_start",
            "echo '<a><b></a>' > \"$_hook_domxml\"",
            "cannot parse XML: ",
        ),
        (
            "before_vm_start",
            ": > \"$_hook_domxml\"",
            "cannot parse XML: ",
        ),
        ("after_network_setup", ": > \"$_hook_json\"", "not JSON"),
        ("before_get_caps", "echo '{' > \"$_hook_json\"", "not JSON"),
    ] {
        let host = Host::new();
        let data = host.file("data.json", "{}");
        host.shell(&format!("{event}/10_fine"), "exit 0");
        host.shell(&format!("{event}/20_bad"), script);
        host.shell(&format!("{event}/30_fine"), "exit 0");
        let file = match event {
            "before_get_caps" => vec![],
            "after_network_setup" => vec!["--data", &data],
            _ => vec!["--domain", "vm.xml"],
        };
        let call = [&[event, "--json", "--output", "out"], &file[..]].concat();
        let ended = host.tool("run", &call);
        assert_eq!(ended.status(), 2, "{script}: {}", ended.stdout());
        let summary = ended.json();
        let message = summary["message"].as_str().unwrap();
        let expected = format!("VDSM cannot read the data that 20_bad left: {problem}");
        assert!(message.starts_with(&expected), "{script}: {message}");
        assert_eq!(of_hooks(&summary, "status"), ["ok"; 3], "{script}");
        assert_eq!(summary["hooks"][0]["problem"], Value::Null);
        assert!(!host.path("out").exists(), "{script}");
    }
    // VDSM does not look at XML that it will not use.
    let host = Host::new();
    host.shell(
        "after_vm_start/50_mess",
        "echo '<a><b></a>' > \"$_hook_domxml\"",
    );
    let ended = host.run("after_vm_start", &[]);
    assert_eq!(ended.status(), 0, "{}", ended.stdout());
    assert!(
        ended.stdout().contains("ignores what hooks write"),
        "{}",
        ended.stdout()
    );
}

#[test]
fn json_events_get_ascii_and_show_readable_diffs() {
    if !have("python3", "json_events_get_ascii_and_show_readable_diffs") {
        return;
    }
    let host = Host::new();
    let data = host.file("data.json", "{\"name\": \"Z\u{fc}rich\", \"load\": 1.50}");
    host.hook(
        "after_get_stats/50_python",
        "#!/usr/bin/env python3\nimport json, os, hooking\npath = os.environ['_hook_json']\n\
         text = open(path, 'rb').read()\nassert max(text) < 128, text\nstats = json.loads(text)\n\
         assert stats['name'] == 'Z\\u00fcrich'\nstats['users'] = hooking.users()\n\
         open(path, 'w').write(json.dumps(stats))\n",
    );
    host.file("python/hooking.py", "def users():\n    return 3\n");
    let python = host.path("python").display().to_string();
    let call = [
        "after_get_stats",
        "--data",
        &data,
        "--hooking",
        &python,
        "--json",
        "--output",
        "out.json",
    ];
    let ended = host.tool("run", &call);
    let summary = ended.json();
    assert_eq!(ended.status(), 0, "{summary:#}");
    let diff = summary["hooks"][0]["diff"].as_str().unwrap();
    assert!(
        diff.contains("+  \"users\": 3\n") && diff.contains(" {\n"),
        "{diff}"
    );
    let out: Value = serde_json::from_slice(&fs::read(host.path("out.json")).unwrap()).unwrap();
    assert_eq!(out["users"], 3);

    host.tool("run", &["after_get_stats", "--domain", "vm.xml"])
        .fails_with("use --data");
    host.tool("run", &["after_get_stats"])
        .fails_with("name a file with --data");
    host.run("after_get_stats", &["--schema"])
        .fails_with("use --data");
    host.tool("run", &["after_get_stats", "--data", "vm.xml"])
        .fails_with("not JSON");
    host.tool("run", &["before_vm_start", "--data", &data])
        .fails_with("use --domain");
}

#[test]
fn a_hook_that_hangs_is_killed_with_its_children() {
    let host = Host::new();
    host.shell(
        "after_vm_start/10_hangs",
        "echo before >&2; sleep 300 & echo $! > \"$marker\"; wait",
    );
    host.shell("after_vm_start/20_next", "exit 0");
    let marker = host.path("marker");
    let setting = format!("marker={}", marker.display());
    let call = [
        "-p",
        &setting,
        "--timeout",
        "1",
        "--json",
        "--output",
        "out.xml",
    ];
    let ended = host.run("after_vm_start", &call);
    assert_eq!(ended.status(), 3, "{}", ended.stdout());
    let summary = ended.json();
    assert_eq!(of_hooks(&summary, "status"), ["timed-out", "skipped"]);
    assert_eq!(summary["hooks"][0]["stderr"], "before\n");
    assert_eq!(summary["decision"], "hang");
    assert_eq!(
        summary["message"],
        "VDSM would wait for 10_hangs indefinitely"
    );
    assert!(!host.path("out.xml").exists());
    let child = fs::read_to_string(&marker).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
}

#[test]
fn an_interrupted_dry_run_leaves_no_hook_behind() {
    let host = Host::new();
    host.shell(
        "after_vm_start/10_hangs",
        "echo \"$$ $_hook_domxml\" > \"$marker.new\"; mv \"$marker.new\" \"$marker\"; sleep 300",
    );
    let marker = host.path("marker");
    let mut tool = start(
        Command::new(TOOL)
            .args(["run", "after_vm_start", "--domain"])
            .arg(host.path("vm.xml"))
            .arg("--hooks-dir")
            .arg(host.path("hooks"))
            .args(["-p", &format!("marker={}", marker.display())])
            .stdout(Stdio::null()),
    );
    while !marker.exists() {
        assert!(tool.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(tool.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(tool.wait().unwrap().code(), Some(128 + 15));
    let text = fs::read_to_string(&marker).unwrap();
    let (hook, data) = text.trim().split_once(' ').unwrap();
    let stat = fs::read_to_string(format!("/proc/{hook}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    assert!(!Path::new(data).parent().unwrap().exists(), "{data}");
}

#[test]
fn device_events_get_one_device() {
    let host = Host::new();
    host.shell(
        "before_nic_hotplug/50_count",
        "grep -c '<mac ' \"$_hook_domxml\" >&2; cat \"$_hook_domxml\" >&2",
    );
    let summary = host.json("before_nic_hotplug", &["--device", "00:1A:4A:16:01:52"]);
    let stderr = summary["hooks"][0]["stderr"].as_str().unwrap();
    assert!(
        stderr.starts_with("1\n<interface type=\"bridge\">\n"),
        "{stderr}"
    );
    assert!(
        stderr.contains("01:52") && stderr.ends_with("</interface>\n"),
        "{stderr}"
    );

    let choices = format!("choose one with --device: {MAC}, 00:1a:4a:16:01:52");
    host.run("before_nic_hotplug", &[]).fails_with(&choices);
    host.run("before_nic_hotplug", &["--device", "vda"])
        .fails_with("no device is called \"vda\"");
    host.run("before_vm_start", &["--device", MAC])
        .fails_with("not an event of a device");
    let nic = host.file("nic.xml", "<interface><mac address='a'/></interface>");
    let ended = host.tool("run", &["before_nic_hotplug", "--domain", &nic, "--json"]);
    assert_eq!(
        ended.json()["hooks"][0]["stderr"],
        format!("1\n{}", fs::read_to_string(&nic).unwrap())
    );
    host.tool("run", &["before_vm_start", "--domain", &nic])
        .fails_with("and this is <interface>");

    // Empty where VDSM has nothing, whatever the administrator's file holds.
    for event in [
        "after_device_create",
        "before_vm_destroy",
        "before_set_num_of_cpus",
    ] {
        host.shell(
            &format!("{event}/50_size"),
            "wc -c < \"$_hook_domxml\" >&2; echo \"$vmId\" >&2",
        );
        let id = if event == "before_set_num_of_cpus" {
            ""
        } else {
            UUID
        };
        let summary = host.json(event, &[]);
        assert_eq!(
            summary["hooks"][0]["stderr"],
            format!("0\n{id}\n"),
            "{event}"
        );
    }
}

#[test]
fn nothing_installed_means_nothing_happens() {
    let host = Host::new();
    let ended = host.run("before_vm_start", &["--output", "out.xml"]);
    assert_eq!(ended.status(), 0);
    assert!(
        ended.stdout().contains("no hook to run"),
        "{}",
        ended.stdout()
    );
    assert_eq!(fs::read_to_string(host.path("out.xml")).unwrap(), DOMAIN);
    let ended = host.run("after_vm_dehibernate", &[]);
    assert_eq!(ended.status(), 0);
    // Any hook breaks this one.
    host.shell("after_vm_dehibernate/50_any", "exit 0");
    let ended = host.run("after_vm_dehibernate", &[]);
    assert_eq!(ended.status(), 2);
    assert!(
        ended.stdout().contains("50_any  skipped"),
        "{}",
        ended.stdout()
    );
}

#[test]
fn wrong_calls_say_what_would_be_right() {
    let host = Host::new();
    host.shell("before_vm_start/50_here", "exit 0");
    host.shell("before_vm_start/60_off", "exit 0")
        .mode("before_vm_start/60_off", 0o644);
    host.run("before_vm_start", &["--hook", "cpuflags"])
        .fails_with("no hook \"cpuflags\" at before_vm_start: there are 50_here");
    host.run("before_vm_start", &["--hook", "off"])
        .fails_with("60_off: not executable");
    host.run("after_vm_start", &["--hook", "x"])
        .fails_with("there is no hook at all");
    host.tool("run", &["before_vm_start"])
        .fails_with("name a file with --domain");
    host.tool("run", &["before_vm_start", "--domain", "none.xml"])
        .fails_with("none.xml: No such file");
    host.run("before_vm_start", &["-d", "a=b"])
        .fails_with("no device properties");
    host.file("bad.xml", "<domain>");
    host.tool("run", &["before_vm_start", "--domain", "bad.xml"])
        .fails_with("cannot parse XML");
    for call in [
        &["-p", "x"][..],
        &["-p", "=x"],
        &["--timeout", "0"],
        &["--bogus"],
    ] {
        let ended = host.run("before_vm_start", call);
        assert_eq!(ended.status(), 64, "{call:?}");
        assert!(!ended.stderr().is_empty(), "{call:?}");
    }
    let ended = host.run("before_vm_strat", &[]);
    assert_eq!(ended.status(), 64);
    assert!(
        ended.stderr().contains("before_vm_start"),
        "{}",
        ended.stderr()
    );
    let vm = host.path("vm.xml").display().to_string();
    let call = ["run", "before_vm_start", "--domain", &vm];
    tool(&[&call[..], &["--hooks-dir", "/no/such"]].concat())
        .fails_with("/no/such: no such directory");
}

#[test]
fn colours_come_when_wanted_and_hooks_cannot_forge_them() {
    let host = Host::new();
    host.shell(
        "before_vm_start/50_forge",
        "printf 'a\\033[31mb\\n' >&2; sed -i 's/node7/\u{9b}31m/' \"$_hook_domxml\"",
    );
    let plain = host.run("before_vm_start", &[]).stdout();
    assert!(
        !plain.contains('\x1b') && !plain.contains('\u{9b}'),
        "{plain:?}"
    );
    assert!(plain.contains("stderr: a\\u{1b}[31mb"), "{plain}");
    let coloured = host.run("before_vm_start", &["--color", "always"]).stdout();
    assert!(
        coloured.contains("\x1b[32m+  <name>\\u{9b}31m</name>\x1b[0m"),
        "{coloured:?}"
    );
    assert!(
        coloured.contains("\x1b[31m-  <name>node7</name>\x1b[0m"),
        "{coloured:?}"
    );
}

#[test]
fn the_schema_names_the_hook_that_broke_it() {
    if !have(
        "virt-xml-validate",
        "the_schema_names_the_hook_that_broke_it",
    ) {
        return;
    }
    let host = Host::new();
    host.shell(
        "before_vm_start/10_good",
        "sed -i s/Nehalem/Westmere/ \"$_hook_domxml\"",
    );
    host.shell(
        "before_vm_start/20_bad",
        "sed -i 's/<os>/<bogus\\/><os>/' \"$_hook_domxml\"",
    );
    host.shell("before_vm_start/30_same", "exit 0");
    let summary = host.json("before_vm_start", &["--schema"]);
    assert_eq!(
        summary["schema_before"],
        Value::Array(Vec::new()),
        "{summary:#}"
    );
    let schema = of_hooks(&summary, "schema");
    assert_eq!(
        (schema[0], schema[2]),
        (&Value::Array(Vec::new()), &Value::Array(Vec::new()))
    );
    assert!(schema[1].to_string().contains("bogus"), "{summary:#}");
    assert_eq!(summary["decision"], "proceed");
    let text = host.run("before_vm_start", &["--schema"]).stdout();
    assert!(
        text.contains("schema: not valid, broken by 20_bad"),
        "{text}"
    );
    let text = host
        .run("before_vm_start", &["--schema", "--hook", "good"])
        .stdout();
    assert!(text.ends_with("schema: valid\n"), "{text}");

    // What was wrong before is nobody's fault.
    host.file("vm.xml", &DOMAIN.replace("<devices>", "<wrong/><devices>"));
    let text = host
        .run("before_vm_start", &["--schema", "--hook", "good"])
        .stdout();
    assert!(text.contains("schema: not valid before any hook"), "{text}");
    assert!(
        text.ends_with("schema: not valid, as before; nothing wrong is new\n"),
        "{text}"
    );
    let text = host.run("before_vm_start", &["--schema"]).stdout();
    assert!(
        text.ends_with("schema: not valid, as before; made worse by 20_bad\n"),
        "{text}"
    );

    // A device is validated as part of the smallest domain.
    host.file("vm.xml", DOMAIN);
    host.shell(
        "before_nic_hotplug/50_bad",
        "sed -i 's/virtio/virtio\"  bogus=\"1/' \"$_hook_domxml\"",
    );
    let summary = host.json("before_nic_hotplug", &["--schema", "--device", MAC]);
    assert_eq!(
        summary["schema_before"],
        Value::Array(Vec::new()),
        "{summary:#}"
    );
    assert_ne!(
        summary["hooks"][0]["schema"],
        Value::Array(Vec::new()),
        "{summary:#}"
    );
}

#[test]
fn what_the_engine_wrote_wrong_is_no_hooks_fault() {
    let test = "what_the_engine_wrote_wrong_is_no_hooks_fault";
    if !have("virt-xml-validate", test) {
        return;
    }
    let host = Host::new();
    let disk = "<disk type='block' device='disk' snapshot='no'>\
        <source dev='/dev/a'><seclabel model='dac' type='none' relabel='yes'/></source>\
        <target dev='sda' bus='scsi'/></disk>";
    let with_disk = DOMAIN.replace("<devices>", &format!("<devices>{disk}"));
    host.file("vm.xml", &with_disk);
    // Each changes the disk whose seclabel is wrong, or what stands beside it.
    for (name, change) in [
        ("10_cpu", "s/Nehalem/Westmere/"),
        ("20_disk", "s/snapshot=.no./snapshot=\"internal\"/"),
        (
            "30_sibling",
            "s/<target /<driver name='qemu' type='raw'\\/>&/",
        ),
        ("40_bad", "s/<target /<bogus\\/>&/"),
        ("50_bad_beside", "s/<devices>/&<bogus\\/>/"),
    ] {
        let script = format!(
            "sed -i \"{}\" \"$_hook_domxml\"",
            change.replace('"', "\\\"")
        );
        host.shell(&format!("before_vm_start/{name}"), &script);
    }
    let summary = host.json("before_vm_start", &["--schema"]);
    assert_ne!(summary["schema_before"], Value::Array(Vec::new()));
    let blamed = of_hooks(&summary, "schema").into_iter();
    let blamed: Vec<bool> = blamed.map(|new| *new != Value::Array(Vec::new())).collect();
    assert_eq!(blamed, [false, false, false, true, true], "{summary:#}");
    let text = host.run("before_vm_start", &["--schema"]).stdout();
    let end = "schema: not valid, as before; made worse by 40_bad, 50_bad_beside\n";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn damage_to_more_than_one_part_is_found_among_the_engines() {
    let test = "damage_to_more_than_one_part_is_found_among_the_engines";
    if !have("virt-xml-validate", test) {
        return;
    }
    let host = Host::new();
    let disk = "<disk type='block' device='disk'>\
        <source dev='/dev/a'><seclabel model='dac' type='none' relabel='yes'/></source>\
        <target dev='sda' bus='scsi'/></disk>";
    let namespace = "xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0' \
        xmlns:m='http://x/?a=1&amp;b=2'";
    let with_disk = DOMAIN
        .replace("<devices>", &format!("<vcpu>1</vcpu><devices>{disk}"))
        .replace("</domain>", "<q:commandline/></domain>")
        .replace("<domain ", &format!("<domain {namespace} "));
    // With no more than the engine's seclabel, and with something else that is wrong.
    let with_console = with_disk.replace("<devices>", "<devices><console type='foo'/>");
    let console = "s/<console[^>]*>//";
    for (change, is_wrong) in [
        ("s/<q:commandline.>/&&/", true),
        ("s/<vcpu>/<vcpu>2<\\/vcpu>&/", true),
        ("s/type=.kvm./type='nonsense'/", true),
        ("s/<devices>/<devices a='b'>/", true),
        ("s/<model type=\\(.*\\)>/<model a='b' type=\\1>/", true),
        (
            "s/<devices>/&<rng model='virtio'><backend model='random'>\\/dev\\/random<\\/backend><\\/rng>/",
            false,
        ),
    ] {
        for document in [&with_disk, &with_console] {
            host.file("vm.xml", document);
            let script = format!("sed -i \"{change};{console}\" \"$_hook_domxml\"");
            host.shell("before_vm_start/50_x", &script);
            let text = host.run("before_vm_start", &["--schema"]).stdout();
            let end = if is_wrong {
                "made worse by 50_x"
            } else {
                "nothing wrong is new"
            };
            let end = format!("schema: not valid, as before; {end}\n");
            assert!(text.ends_with(&end), "{change}: {text}");
        }
    }
}

#[test]
fn real_hooks_of_the_suite_run_and_are_recognised() {
    let host = Host::new();
    host.suite("before_vm_start/50_cpuflags", "cpuflags");
    host.suite("before_vm_start/50_macspoof", "macspoof");
    fs::create_dir(host.path("hooks/before_nic_hotplug")).unwrap();
    symlink(
        "../before_vm_start/50_macspoof",
        host.path("hooks/before_nic_hotplug/50_macspoof"),
    )
    .unwrap();
    let ended = host.run(
        "before_vm_start",
        &["-p", "cpuflags=+pcid", "--output", "out.xml"],
    );
    assert_eq!(ended.status(), 0, "{}", ended.stdout());
    let out = fs::read_to_string(host.path("out.xml")).unwrap();
    assert!(out.contains("pcid") && out.contains("filterref"), "{out}");
    let nic = [
        "--device",
        MAC,
        "-d",
        "ifacemacspoof=true",
        "--output",
        "nic.xml",
    ];
    assert_eq!(host.run("before_nic_hotplug", &nic).status(), 0);
    assert!(
        !fs::read_to_string(host.path("nic.xml"))
            .unwrap()
            .contains("filterref")
    );
    let wrong = host.json("before_vm_start", &["-p", "cpuflags=pcid"]);
    assert_eq!(wrong["decision"], "stop");
    assert!(
        wrong["message"].as_str().unwrap().contains("cpuflags"),
        "{wrong:#}"
    );

    // Others: a script in the place of ours, a backup copy, and what VDSM skips.
    host.shell("before_vm_start/50_macbind", "exit 0");
    host.shell("before_vm_start/50_mine", "exit 0");
    host.shell("before_vm_start/50_mine~", "exit 0");
    host.shell("before_vm_start/50_mine.rpmsave", "exit 0");
    host.shell("before_vm_start/README", "text")
        .mode("before_vm_start/README", 0o644);
    host.suite("after_vm_start/60_other", "cpuflags");
    host.shell("before_vm_strat/50_lost", "exit 0");
    let list = host.tool("list", &["--json"]).json();
    let state = |hook: &str, number: usize| {
        let hooks = list["hooks"].as_array().unwrap();
        let hook = hooks.iter().find(|entry| entry["name"] == hook).unwrap();
        hook["files"][number].clone()
    };
    assert_eq!(state("cpuflags", 0)["installed"], true);
    assert_eq!(state("diskunmap", 0)["installed"], false);
    let linked = list["hooks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|hook| hook["name"] == "macspoof")
        .unwrap();
    let installed: Vec<_> = linked["files"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|file| file["installed"] == true)
        .map(|file| file["event"].as_str().unwrap())
        .collect();
    assert_eq!(installed, ["before_vm_start", "before_nic_hotplug"]);
    let foreign = state("macbind", 0);
    assert_eq!(foreign["installed"], false);
    assert!(
        foreign["remark"]
            .as_str()
            .unwrap()
            .contains("a script, probably of vdsm-hook-macbind")
    );
    let text = host.tool("list", &[]).stdout();
    for line in [
        "before_vm_start/50_mine          runs it   a script",
        "before_vm_start/50_mine.rpmsave  runs it   a script; probably not meant to run: left by the package manager",
        "before_vm_start/50_mine~         runs it   a script; probably not meant to run: a backup copy",
        "before_vm_start/README           skips it  not executable",
        "after_vm_start/60_other          runs it   a program of this suite",
        "before_vm_strat/50_lost          skips it  VDSM has no such event",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}

fn tool(arguments: &[&str]) -> Ended {
    end(Command::new(TOOL).args(arguments))
}

#[test]
fn files_has_one_line_per_package_and_installed_file() {
    let all = tool(&["files"]).stdout();
    // Every folder with a description is in the catalog, and all that it describes in the list.
    let mut count = 0;
    for hook in support::hooks() {
        let start = format!("{}\t", hook.name);
        let found = all.lines().filter(|line| line.starts_with(&start)).count();
        let files = hook.events.len() + hook.helpers.len() + hook.daemons.len() + hook.files.len();
        assert_eq!(found, 1 + files, "{}", hook.name);
        count += found;
    }
    assert_eq!(all.lines().count(), count, "{all}");
    assert_eq!(
        tool(&["files", "vmfex"]).stdout(),
        "vmfex\tpackage\tvdsm-hook-vmfex\t4.20.17\t-\t-\t-\tConnects chosen NICs of a VM to port profiles of a Cisco VM-FEX adapter\n\
         vmfex\tprogram\t/usr/libexec/vdsm/hooks/before_vm_start/50_vmfex\t0755\tvmfex\n\
         vmfex\tlink\t/usr/libexec/vdsm/hooks/before_vm_migrate_destination/50_vmfex\t-\t../before_vm_start/50_vmfex\n\
         vmfex\thelper\t/usr/libexec/vdsm-hooks/vmfex-pool\t0755\tvmfex-pool\n\
         vmfex\tfile\t/usr/lib/tmpfiles.d/vdsm-hooks-vmfex.conf\t0644\tvmfex.tmpfiles\n"
    );
    let replaces_nothing = tool(&["files", "sdcheck"]).stdout();
    assert!(replaces_nothing.starts_with("sdcheck\tpackage\t-\t-\t-\t-\t"));
    tool(&["files", "nonsense"]).fails_with("\"nonsense\" is not a hook of this suite");
}

#[test]
fn show_gives_the_engines_command_lines() {
    let text = tool(&["show", "macspoof"]).stdout();
    for line in [
        "  engine-config -s 'UserDefinedVMProperties=macspoof=^(true|false)$' --cver=4.7",
        "  engine-config -s 'CustomDeviceProperties={type=interface;prop={ifacemacspoof=^(true|false)$}}' --cver=4.7",
        "  vdsm-hooks run before_vm_start --domain FILE -p macspoof=true --hook macspoof",
        "what the -g commands print to 'vdsm-hooks engine-config macspoof --current -', and run",
        "Not in VDSM after 4.30.53; instead: a vNIC profile without a network filter, oVirt 4.0.",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    // The engine refuses to define what it knows already.
    let text = tool(&["show", "cpuflags"]).stdout();
    assert!(
        text.contains("sap_agent is predefined in the engine."),
        "{text}"
    );
    assert!(!text.contains("sap_agent=^"), "{text}");
    tool(&["show", "nonsense"]).fails_with("is not a hook of this suite");
}

const VM_KEY: &str = "UserDefinedVMProperties";
const DEVICE_KEY: &str = "CustomDeviceProperties";
const NETWORK_KEY: &str = "UserDefinedNetworkCustomProperties";

/// The engine's own value, braces and all.
const SECURITY_GROUPS: &str = "{type=interface;prop={SecurityGroups=^(?:(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}, *)*[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|)$}}";

fn engine_config(arguments: &[&str]) -> Ended {
    tool(&[&["engine-config"], arguments].concat())
}

/// An engine's machine, whose `engine-config` and `systemctl` write down how they are called.
struct Engine(Host);

impl Engine {
    fn new() -> Engine {
        let host = Host::new();
        for program in ["engine-config", "systemctl"] {
            let write = format!("printf '%s\\n' {program} \"$@\" . >> \"$calls\"");
            let path = host.file(&format!("bin/{program}"), &format!("#!/bin/sh\n{write}\n"));
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        Engine(host)
    }

    /// What is called when somebody pastes the text.
    fn paste(&self, text: &str) -> Vec<Vec<String>> {
        let calls = self.0.path("calls");
        fs::write(&calls, "").unwrap();
        let path = format!("{}:/usr/bin:/bin", self.0.path("bin").display());
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-euc", text])
            .env("calls", &calls)
            .env("PATH", path);
        let ended = end(&mut shell);
        assert_eq!(ended.status(), 0, "{text}\n{}", ended.stderr());
        let calls = fs::read_to_string(&calls).unwrap();
        let calls = calls.split_terminator("\n.\n");
        calls
            .map(|call| call.split('\n').map(str::to_owned).collect())
            .collect()
    }

    /// The lists that the text sets, and nothing else but a restart after them.
    fn lists(&self, text: &str) -> Vec<(String, String)> {
        let mut calls = self.paste(text);
        calls.retain(|call| call[1] != "-g");
        assert_eq!(
            calls.pop().unwrap(),
            ["systemctl", "restart", "ovirt-engine"],
            "{text}"
        );
        let settings = calls.iter().map(|call| {
            assert_eq!(call[..2], ["engine-config", "-s"], "{text}");
            assert_eq!(call[3..], ["--cver=4.7"], "{text}");
            let (key, value) = call[2].split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        });
        settings.collect()
    }
}

/// The commands that put the old lists back.
fn way_back(text: &str) -> String {
    let (_, after) = text.split_once("\n# To go back:\n").unwrap();
    let lines = after.lines().map_while(|line| line.strip_prefix("#   "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn engine_config_adds_to_what_is_there() {
    let engine = Engine::new();
    // All levels, as engine-config shows them.
    let devices =
        format!("{DEVICE_KEY}:  version: 4.6\n{DEVICE_KEY}: {SECURITY_GROUPS} version: 4.7\n");
    let vm = format!("{VM_KEY}: memory=^[0-9]+$;quote='\"; version: 4.7");
    let vm_before = "memory=^[0-9]+$;quote='\";";
    let call = [
        "macspoof",
        "extnet",
        "--current",
        &devices,
        "--current",
        &vm,
    ];
    let ended = engine_config(&call);
    assert_eq!((ended.status(), ended.stderr()), (0, String::new()));
    let text = ended.stdout();
    let inside = SECURITY_GROUPS.strip_suffix("}}").unwrap();
    let expected = [
        (VM_KEY, format!("{vm_before}macspoof=^(true|false)$")),
        (
            DEVICE_KEY,
            format!("{inside};ifacemacspoof=^(true|false)$;extnet=^[A-Za-z0-9_.][A-Za-z0-9_. -]{{0,49}}$}}}}"),
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value));
    assert_eq!(engine.lists(&text), expected);
    for line in [
        "# UserDefinedVMProperties, level 4.7: new macspoof",
        "# CustomDeviceProperties, level 4.7: new ifacemacspoof, new extnet",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    // Back to the last byte.
    let old = [(VM_KEY, vm_before), (DEVICE_KEY, SECURITY_GROUPS)];
    let old = old.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(engine.lists(&way_back(&text)), old);

    // Of a level that is not there nothing is known.
    let call = [&call[..], &["--cver", "4.6"]].concat();
    engine_config(&call)
        .fails_with("UserDefinedVMProperties is not there for level 4.6, only for 4.7");
}

#[test]
fn what_engine_config_prints_leaves_nothing_to_do() {
    let engine = Engine::new();
    // All hooks, to lists that are not known and to empty ones.
    let empty = [VM_KEY, DEVICE_KEY, NETWORK_KEY].map(|key| format!("{key}:  version: 4.7"));
    let anew = engine_config(&[]).stdout();
    let added = engine_config(&["--current", &empty.join("\n")]).stdout();
    let lists = engine.lists(&anew);
    assert_eq!(lists, engine.lists(&added));
    let looked = engine
        .paste(&anew)
        .into_iter()
        .filter(|call| call[1] == "-g");
    let looked: Vec<_> = looked.map(|call| call[2].clone()).collect();
    let keys: Vec<_> = lists.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(looked, keys);
    assert!(keys.len() >= 2, "{keys:?}");

    // From a file, and through a pipe.
    let now = lists
        .iter()
        .map(|(key, value)| format!("{key}: {value} version: 4.7\n"));
    let now: String = now.collect();
    let file = engine.0.file("now", &now);
    let ended = engine_config(&["--current", &file]);
    let mut pipe = Command::new("/bin/sh");
    pipe.args([
        "-c",
        "\"$1\" engine-config --current - < \"$2\"",
        "sh",
        TOOL,
        &file,
    ]);
    assert_eq!(end(&mut pipe).stdout(), ended.stdout());
    let text = ended.stdout();
    let lines = text
        .lines()
        .filter(|line| line.ends_with(": nothing to change"));
    assert_eq!(lines.count(), keys.len(), "{text}");
    assert_eq!(engine.paste(&text), Vec::<Vec<String>>::new());
    assert!(!text.contains("To go back"), "{text}");

    // What is predefined in the engine is not defined, and the host's settings are named.
    assert!(!added.contains("sap_agent="), "{added}");
    for line in [
        "# sap_agent is predefined in the engine.",
        "# Set a default for the whole host, in /etc/sysconfig/vdsm",
        "#   sdcheck_repository=\"/rhev/data-center\"",
    ] {
        assert!(
            added.lines().any(|found| found == line),
            "{line} in\n{added}"
        );
    }
}

#[test]
fn another_regular_expression_stays_unless_it_is_to_go() {
    let engine = Engine::new();
    let current = format!("{VM_KEY}=a=b;diskunmap=^.*$;c=d");
    let stays = engine_config(&["diskunmap", "--current", &current]);
    assert_eq!(
        stays.stdout(),
        "# UserDefinedVMProperties, level 4.7: nothing to change\n"
    );
    assert_eq!(
        stays.stderr(),
        "vdsm-hooks: UserDefinedVMProperties: diskunmap=^.*$ stays; --replace makes it ^(off|on)$\n"
    );
    let goes = engine_config(&["diskunmap", "--replace", "--current", &current]);
    let expected = (VM_KEY.to_owned(), "a=b;diskunmap=^(off|on)$;c=d".to_owned());
    assert_eq!(engine.lists(&goes.stdout()), [expected]);
    assert_eq!(
        goes.stderr(),
        "vdsm-hooks: UserDefinedVMProperties: diskunmap=^.*$ is replaced\n"
    );
}

#[test]
fn what_is_no_list_is_refused_with_its_place() {
    let host = Host::new();
    let vm = |value: &str| format!("{VM_KEY}={value}");
    for (current, message) in [
        (
            vm("a=b;c"),
            "--current: UserDefinedVMProperties, level 4.7: \"c\": expected NAME=REGEX",
        ),
        (
            vm("a=b") + "\n\nfoo",
            "--current: line 3: \"foo\": expected what 'engine-config -g KEY'",
        ),
        (
            vm("a=b") + "\n" + &vm("c=d"),
            "UserDefinedVMProperties has more than one value",
        ),
        (
            format!("{DEVICE_KEY}="),
            "--current: no UserDefinedVMProperties, which the hooks need",
        ),
        (host.file("empty", "\n"), "empty: empty, expected what"),
        ("-".to_owned(), "standard input: empty, expected what"),
        ("/no/such/file".to_owned(), "/no/such/file: No such file"),
    ] {
        engine_config(&["cpuflags", "--current", &current]).fails_with(message);
    }
    engine_config(&["nonsense"]).fails_with("is not a hook of this suite");
    assert_eq!(engine_config(&["--cver", "new"]).status(), 64);
    // The same twice is no contradiction.
    let same = vm("a=b") + "\n" + &vm("a=b");
    assert_eq!(engine_config(&["cpuflags", "--current", &same]).status(), 0);
}

proptest! {
    // Each case is four processes.
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn commands_survive_the_shell(foreign in "[^;\\pC]{0,30}", other in "[$`\\\\!'\"*~&|{}= ]{0,9}") {
        let engine = Engine::new();
        let vm = format!("zz={foreign};yy={other}");
        let devices = format!("{{type=disk;prop={{zz={foreign};yy={other}}}}}");
        let current = format!("{VM_KEY}: {vm} version: 4.7\n{DEVICE_KEY}: {devices} version: 4.7");
        let text = engine_config(&["macspoof", "--current", &current]).stdout();
        let interface = "{type=interface;prop={ifacemacspoof=^(true|false)$}}";
        let expected = [
            (VM_KEY.to_owned(), format!("{vm};macspoof=^(true|false)$")),
            (DEVICE_KEY.to_owned(), format!("{devices};{interface}")),
        ];
        prop_assert_eq!(engine.lists(&text), expected);
        let old = [(VM_KEY.to_owned(), vm), (DEVICE_KEY.to_owned(), devices)];
        prop_assert_eq!(engine.lists(&way_back(&text)), old);
    }
}

#[test]
fn the_list_has_groups_and_says_what_came_instead() {
    let host = Host::new();
    let text = host.tool("list", &[]).stdout();
    let line = |wanted: &str| {
        let found = text.lines().position(|line| line.starts_with(wanted));
        found.unwrap_or_else(|| panic!("{wanted} in\n{text}"))
    };
    let lines = [
        "Hooks in place of today's VDSM's:",
        "cpuflags ",
        "Hooks that VDSM no longer has:",
        "macspoof ",
        "  Not in VDSM after 4.30.53; instead: a vNIC profile without",
        "Hooks that VDSM never had:",
        "sdcheck ",
    ];
    assert!(lines.map(line).is_sorted(), "{text}");

    let list = host.tool("list", &["--json"]).json();
    for hook in list["hooks"].as_array().unwrap() {
        let file = format!("hooks/{}/hook.json", hook["name"].as_str().unwrap());
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let described: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert_eq!(hook["retired"], described["retired"]);
        let group = match (&described["retired"], &described["replaces"]) {
            (Value::Null, Value::Null) => "new",
            (Value::Null, _) => "current",
            _ => "retired",
        };
        assert_eq!(hook["group"], group, "{hook}");
    }
}

#[test]
fn every_dry_run_that_show_prints_can_be_typed() {
    let host = Host::new();
    for hook in support::hooks() {
        host.shell(&hook.place(&hook.events[0]), "exit 0");
        let text = tool(&["show", &hook.name]).stdout();
        let line = text
            .lines()
            .find(|line| line.starts_with("  vdsm-hooks run "))
            .unwrap();
        let data = host.file("data.json", "{}");
        let command = line
            .replace("vdsm-hooks run", &format!("{TOOL} run --hooks-dir hooks"))
            .replace("--domain FILE", "--domain vm.xml")
            .replace("--data FILE", &format!("--data {data}"))
            .replace("MAC", MAC);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &command]).current_dir(host.root.path());
        let ended = end(&mut shell);
        assert_eq!(
            ended.status(),
            0,
            "{command}: {}{}",
            ended.stdout(),
            ended.stderr()
        );
    }
}

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

#[test]
fn completion_scripts_are_sound() {
    for shell in ["bash", "zsh", "fish"] {
        let script = tool(&["completion", shell]).stdout();
        assert!(
            ["hooks-dir", "completion", "engine-config", "cver"]
                .iter()
                .all(|word| script.contains(word)),
            "{shell}"
        );
        if have(shell, "completion_scripts_are_sound") {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("script");
            fs::write(&file, &script).unwrap();
            let check = end(Command::new(shell).arg("-n").arg(&file));
            assert_eq!(check.status(), 0, "{shell}: {}", check.stderr());
        }
    }
    assert_eq!(tool(&["completion", "tcsh"]).status(), 64);
}
