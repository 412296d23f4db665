// SPDX-License-Identifier: GPL-2.0-or-later

//! The administrator's tool, on a host of its own with hooks in shell and Python and real ones of the suite.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tempfile::TempDir;
use vdsm_hooks::vdsm::events::{self, Shape};

pub const TOOL: &str = env!("CARGO_BIN_EXE_vdsm-hooks");
pub const UUID: &str = "5f1c2a7e-9d3b-4e57-8a40-0c6f3b1d2e99";
pub const MAC: &str = "00:1a:4a:16:01:51";

pub const DOMAIN: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
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

/// A set-up of networks that asks for nothing.
pub const REQUEST: &str = r#"{"request": {"networks": {}, "bondings": {}, "options": {}}}"#;

/// A host of a test: hook directories and documents.
pub struct Host {
    pub root: TempDir,
}

impl Host {
    pub fn new() -> Host {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("hooks")).unwrap();
        let host = Host { root };
        host.file("vm.xml", DOMAIN);
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn file(&self, name: &str, content: &str) -> String {
        let _alone = alone();
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Installs a program with this text at `event/name`.
    pub fn hook(&self, place: &str, program: &str) -> &Host {
        self.file(&format!("hooks/{place}"), program);
        self.mode(place, 0o755);
        self
    }

    pub fn shell(&self, place: &str, script: &str) -> &Host {
        self.hook(place, &format!("#!/bin/sh\n{script}\n"))
    }

    pub fn mode(&self, place: &str, mode: u32) {
        let path = self.path(&format!("hooks/{place}"));
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Installs a hook of the suite.
    pub fn suite(&self, place: &str, program: &str) -> &Host {
        let _alone = alone();
        let target = self.path(&format!("hooks/{place}"));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(Path::new(TOOL).with_file_name(program), target).unwrap();
        self
    }

    pub fn tool(&self, command: &str, arguments: &[&str]) -> Ended {
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
    pub fn run(&self, event: &str, arguments: &[&str]) -> Ended {
        let all = [&[event, "--domain", "vm.xml"], arguments].concat();
        self.tool("run", &all)
    }

    /// The option and the file with what VDSM could hand over at this event.
    pub fn data(&self, event: &str) -> [String; 2] {
        let event = events::find(event).unwrap();
        let text = match event.shape() {
            None if event.data.is_json() => "{}",
            None => {
                return [
                    "--domain".to_owned(),
                    self.path("vm.xml").display().to_string(),
                ];
            }
            Some(Shape::Object) => "{}",
            Some(Shape::Request) => REQUEST,
            Some(Shape::FirstObject | Shape::Objects) => "[{}]",
        };
        ["--data".to_owned(), self.file("data.json", text)]
    }

    /// What [`Host::run`] says as JSON.
    pub fn json(&self, event: &str, arguments: &[&str]) -> Value {
        self.run(event, &[&["--json"], arguments].concat()).json()
    }
}

/// A program cannot be executed while anybody has it open for writing, not even a child of another
/// test that was forked just then: so nobody starts a program while another test writes one.
static WRITING: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn start(command: &mut Command) -> Child {
    let _alone = alone();
    command.spawn().unwrap()
}

pub fn end(command: &mut Command) -> Ended {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ended(start(command).wait_with_output().unwrap())
}

pub struct Ended(pub Output);

impl Ended {
    pub fn status(&self) -> i32 {
        self.0.status.code().unwrap()
    }

    pub fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        let answer = serde_json::from_str(&self.stdout())
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout(), self.stderr()));
        crate::json_page::explains(&answer);
        answer
    }

    #[track_caller]
    pub fn fails_with(&self, text: &str) {
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
pub fn of_hooks<'a>(summary: &'a Value, member: &str) -> Vec<&'a Value> {
    let hooks = summary["hooks"].as_array().unwrap();
    hooks.iter().map(|hook| &hook[member]).collect()
}

pub fn have(program: &str, test: &str) -> bool {
    let look = format!("command -v {program}");
    let found = end(Command::new("/bin/sh").args(["-c", &look])).status() == 0;
    if !found {
        // Past the test harness, which keeps the output of tests that pass.
        let _ = writeln!(io::stderr(), "NOT RUN: {test}: {program} is not installed");
    }
    found
}

/// The tool, wherever it is called.
pub fn tool(arguments: &[&str]) -> Ended {
    end(Command::new(TOOL).args(arguments))
}
