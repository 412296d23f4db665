// SPDX-License-Identifier: GPL-2.0-or-later

//! Volume groups made by real LVM on loop devices, for commands that run in a mount namespace.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

pub(crate) const BLOCK: &str = include_str!("../data/storage/block-v5.metadata");
pub(crate) const BLOCK_TAGS: &str = include_str!("../data/storage/block-v5.tags");
pub(crate) const BLOCK_ID: &str = "6f4f5a2b-9a58-4c9e-8e7f-6f1d5e0c3a11";
/// Shows LVM what its own settings hide, as VDSM does.
const SHOW: [&str; 2] = ["--config", "devices { filter=[\"a|^/dev/mapper/|\"] }"];

/// The releases of Debian whose LVM hosts are tried with: before 2.03.26 and after.
pub(crate) const RELEASES: [&str; 2] = ["bookworm", "trixie"];
/// Where the text of a group's metadata begins on its devices when it is new.
const METADATA: u64 = 4608;

/// The volume groups of a private host.
pub(crate) struct Groups {
    directory: TempDir,
    loops: Vec<Loop>,
    /// The Debian whose LVM the host has; the machine's own if none.
    lvm_of: Option<PathBuf>,
}

/// A device of the host.
struct Loop {
    device: String,
    image: PathBuf,
    shown: bool,
}

impl Groups {
    /// A host without groups, or why there can be none here.
    pub(crate) fn new() -> Result<Groups, String> {
        let groups = Groups {
            directory: tempfile::tempdir().unwrap(),
            loops: Vec::new(),
            lvm_of: None,
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

    /// A host without groups and with the LVM of a release of Debian, or why there can be none.
    pub(crate) fn with_lvm_of(release: &str) -> Result<Groups, String> {
        let mut groups = Groups::new()?;
        let own = fs::read_to_string("/etc/os-release").unwrap_or_default();
        if own.contains(&format!("VERSION_CODENAME={release}\n")) {
            return Ok(groups);
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/debian.sh");
        let made = Command::new("sh")
            .arg(script)
            .args([release, "lvm2"])
            .output()
            .unwrap();
        if !made.status.success() {
            let stderr = String::from_utf8_lossy(&made.stderr);
            return Err(stderr.lines().last().unwrap_or_default().to_owned());
        }
        let root = String::from_utf8(made.stdout).unwrap();
        groups.lvm_of = Some(PathBuf::from(root.trim()));
        Ok(groups)
    }

    /// Makes a group on a device of its own, tagged by a `vgchange` of its own.
    pub(crate) fn make(&mut self, name: &str, tags: &[&str]) -> Result<(), String> {
        self.make_on(1, name, tags)?;
        Ok(())
    }

    /// [`Groups::make`] on several devices; their numbers.
    pub(crate) fn make_on(
        &mut self,
        count: usize,
        name: &str,
        tags: &[&str],
    ) -> Result<Vec<usize>, String> {
        let mut numbers = Vec::new();
        for number in 0..count {
            let image = self.directory.path().join(format!("{name}.{number}"));
            // Room for a few extents; it stays sparse.
            File::create(&image).unwrap().set_len(2 << 30).unwrap();
            numbers.push(self.attach(image)?);
        }
        let devices: Vec<String> = numbers.iter().map(|number| self.path_of(*number)).collect();
        let create = ["vgcreate", "--physicalextentsize", "128m", name];
        let devices = devices.iter().map(String::as_str);
        self.lvm(&create.into_iter().chain(devices).collect::<Vec<_>>());
        for tag in tags {
            self.lvm(&["vgchange", "--addtag", tag, name]);
        }
        Ok(numbers)
    }

    /// Shows the host a copy of a device, as an array's snapshot is one; its number.
    pub(crate) fn copy(&mut self, number: usize) -> Result<usize, String> {
        let image = self.directory.path().join(format!("copy.{number}"));
        let copied = Command::new("cp")
            .args(["--sparse=always"])
            .args([&self.loops[number].image, &image])
            .status();
        assert!(copied.unwrap().success());
        self.attach(image)
    }

    /// Whether the host sees a device.
    pub(crate) fn show(&mut self, number: usize, shown: bool) {
        self.loops[number].shown = shown;
    }

    /// Exchanges the beginning of a new group's metadata on a device with `bytes`, and `bytes` with
    /// what was there.
    pub(crate) fn exchange(&self, number: usize, bytes: &mut [u8; 8]) {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.loops[number].device)
            .unwrap();
        let new = *bytes;
        device.read_exact_at(bytes, METADATA).unwrap();
        device.write_all_at(&new, METADATA).unwrap();
        device.sync_all().unwrap();
    }

    fn attach(&mut self, image: PathBuf) -> Result<usize, String> {
        let attached = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&image)
            .output()
            .unwrap();
        if !attached.status.success() {
            return Err(String::from_utf8_lossy(&attached.stderr).trim().to_owned());
        }
        let device = String::from_utf8(attached.stdout).unwrap();
        self.loops.push(Loop {
            device: device.trim().to_owned(),
            image,
            shown: true,
        });
        Ok(self.loops.len() - 1)
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
        if let Some(root) = &self.lvm_of {
            command.arg("--lvm-of").arg(root);
        }
        for (number, one) in self.loops.iter().enumerate() {
            if one.shown {
                command.arg(format!("{}={}", one.device, self.name_of(number)));
            }
        }
        command.arg("--").arg(program);
        command
    }

    fn name_of(&self, number: usize) -> String {
        format!("36001405a1b2c3d4e5f60718293a4b{number:03x}")
    }

    /// What the host calls a device.
    pub(crate) fn path_of(&self, number: usize) -> String {
        format!("/dev/mapper/{}", self.name_of(number))
    }

    /// A file in the host's own directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for one in &self.loops {
            let _ = Command::new("losetup")
                .args(["--detach", &one.device])
                .status();
        }
    }
}
