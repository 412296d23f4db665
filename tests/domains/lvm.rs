// SPDX-License-Identifier: GPL-2.0-or-later

//! Volume groups made by real LVM on loop devices, for commands that run in a mount namespace.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub(crate) const BLOCK: &str = include_str!("../data/storage/block-v5.metadata");
pub(crate) const BLOCK_TAGS: &str = include_str!("../data/storage/block-v5.tags");
pub(crate) const BLOCK_ID: &str = "6f4f5a2b-9a58-4c9e-8e7f-6f1d5e0c3a11";
/// Shows LVM what its own settings hide, as VDSM does.
const SHOW: [&str; 2] = ["--config", "devices { filter=[\"a|^/dev/mapper/|\"] }"];

/// The volume groups of a private host.
pub(crate) struct Groups {
    directory: TempDir,
    loops: Vec<String>,
}

impl Groups {
    /// A host without groups, or why there can be none here.
    pub(crate) fn new() -> Result<Groups, String> {
        let groups = Groups {
            directory: tempfile::tempdir().unwrap(),
            loops: Vec::new(),
        };
        if !Path::new("/usr/sbin/lvm").exists() {
            return Err("lvm2 is not installed".to_owned());
        }
        let tried = groups.on(Path::new("true")).output().unwrap();
        if !tried.status.success() {
            return Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned());
        }
        Ok(groups)
    }

    /// Makes a group on a device of its own, tagged by a `vgchange` of its own.
    pub(crate) fn make(&mut self, name: &str, tags: &[&str]) -> Result<(), String> {
        let image = self.directory.path().join(name);
        // Room for a few extents; it stays sparse.
        File::create(&image).unwrap().set_len(2 << 30).unwrap();
        let attached = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&image)
            .output()
            .unwrap();
        if !attached.status.success() {
            return Err(String::from_utf8_lossy(&attached.stderr).trim().to_owned());
        }
        let device = String::from_utf8(attached.stdout).unwrap();
        self.loops.push(device.trim().to_owned());
        let device = format!("/dev/mapper/{}", self.name_of(self.loops.len() - 1));
        self.lvm(&["vgcreate", "--physicalextentsize", "128m", name, &device]);
        for tag in tags {
            self.lvm(&["vgchange", "--addtag", tag, name]);
        }
        Ok(())
    }

    /// Runs LVM on the host; its output.
    pub(crate) fn lvm(&self, arguments: &[&str]) -> String {
        let mut command = self.on(Path::new("lvm"));
        command.arg(arguments[0]).args(SHOW).args(&arguments[1..]);
        self.succeeds(command.output().unwrap(), arguments)
    }

    /// Runs a shell's command line on the host; its output.
    pub(crate) fn shell(&self, line: &str) -> String {
        let output = self.on(Path::new("sh")).args(["-euc", line]).output();
        self.succeeds(output.unwrap(), &[line])
    }

    fn succeeds(&self, output: Output, what: &[&str]) -> String {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{what:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A command that runs on the host.
    pub(crate) fn on(&self, program: &Path) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/with-lvm.sh");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh"]).arg(script);
        for (number, device) in self.loops.iter().enumerate() {
            command.arg(format!("{device}={}", self.name_of(number)));
        }
        command.arg("--").arg(program);
        command
    }

    fn name_of(&self, number: usize) -> String {
        format!("36001405a1b2c3d4e5f60718293a4b{number:03x}")
    }

    /// A file in the host's own directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for device in &self.loops {
            let _ = Command::new("losetup").args(["--detach", device]).status();
        }
    }
}
