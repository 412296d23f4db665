// SPDX-License-Identifier: GPL-2.0-or-later

//! A host for one firing: a private root directory in a mount namespace.
//!
//! `/usr` is the machine's. Of everything else that a hook may look at (`/sys`, `/etc`, `/run`,
//! `/var`, `/dev`) there is only what the test names, the users `vdsm` and `qemu`, and the few
//! files that any program needs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod};
use serde::{Deserialize, Serialize};
use vdsm_hooks::host::command::shell_quoted;
use vdsm_hooks::paths::HELPERS;

use super::{hooks, program, root};

/// What holds on the host while a hook runs.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Directories, empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dirs: Vec<String>,
    /// Regular files. Below `/proc` only those that the kernel has as well.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, File>,
    /// Symbolic links and their targets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// Block devices, their major and minor numbers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub block: BTreeMap<String, (u64, u64)>,
    /// Where file systems of huge pages of the default size are mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hugetlbfs: Vec<String>,
    /// Sections of `/etc/vdsm/vdsm.conf`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vdsm_conf: BTreeMap<String, BTreeMap<String, String>>,
    /// Programs that have hardware or a daemon behind them, by name or path, and what they answer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commands: BTreeMap<String, Vec<Rule>>,
}

/// A file: its text, or more than that.
#[derive(Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub enum File {
    /// The content.
    Text(String),
    /// The content and more.
    Facts(Facts),
}

/// What a file is like; on a host afterwards only what is named is compared.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Bytes before the text, in hexadecimal. Not compared.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hex: String,
    /// The permissions, in octal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `uid:gid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The length in bytes; the content is cut or followed by a hole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How many seconds ago the file was changed. Not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
    /// A block device with these numbers. Afterwards only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<(u64, u64)>,
    /// A symbolic link with this target. Afterwards only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// What a program answers where all of `has` are among its arguments and `text` is part of its
/// command line. The first rule that fits counts; without one the program succeeds silently.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    has: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    text: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    out: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    err: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rc: Option<u8>,
    /// Seconds before the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sleep: Option<u32>,
}

/// A private root directory that has been laid out.
pub struct Root {
    directory: PathBuf,
    /// What shows where besides; `hugetlbfs` for such a file system.
    binds: Vec<(PathBuf, String)>,
}

/// Directories of a root directory that the machine's own root has as links on some systems.
const SYSTEM: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Files of `/etc` that programs need to be found and started.
const ETC: [&str; 3] = ["ld.so.cache", "ld.so.conf", "nsswitch.conf"];
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    vdsm:x:36:36::/:/bin/false\n\
    qemu:x:107:107::/:/bin/false\n";
const GROUP: &str = "root:x:0:\nkvm:x:36:\nqemu:x:107:\n";

impl Root {
    /// Lays out `host` in `directory` for `hook`.
    pub fn new(directory: &Path, host: &Host, hook: &str) -> Root {
        let mut root = Root {
            directory: directory.to_owned(),
            binds: Vec::new(),
        };
        root.skeleton();
        for helper in hooks()
            .iter()
            .filter(|one| one.name == hook)
            .flat_map(|hook| &hook.helpers)
        {
            let at = root.make_way(&format!("{HELPERS}/{helper}"));
            symlink(program(helper), at).unwrap();
        }
        for path in &host.dirs {
            fs::create_dir_all(root.at(path)).unwrap();
        }
        for path in &host.hugetlbfs {
            fs::create_dir_all(root.at(path)).unwrap();
            root.binds.push((PathBuf::from("hugetlbfs"), path.clone()));
        }
        if !host.vdsm_conf.is_empty() {
            let text = vdsm_conf(&host.vdsm_conf);
            fs::write(root.make_way("/etc/vdsm/vdsm.conf"), text).unwrap();
        }
        for (path, file) in &host.files {
            root.file(path, &file.facts());
        }
        for (program, rules) in &host.commands {
            root.stub(program, rules);
        }
        for (path, (major, minor)) in &host.block {
            let number = makedev(*major, *minor);
            let mode = Mode::from_bits_truncate(0o660);
            mknod(&root.make_way(path), SFlag::S_IFBLK, mode, number).unwrap();
        }
        // Last, because nothing is to be laid out through them: they lead into the real host.
        for (path, target) in &host.links {
            symlink(target, root.make_way(path)).unwrap();
        }
        root
    }

    /// Makes a file or directory of the machine visible under its own path.
    pub fn show(&mut self, path: &Path) {
        self.show_at(path, path.to_str().unwrap());
    }

    /// The same under another path.
    pub fn show_at(&mut self, path: &Path, name: &str) {
        if path.is_dir() {
            fs::create_dir_all(self.at(name)).unwrap();
        } else {
            fs::write(self.make_way(name), "").unwrap();
        }
        self.binds.push((path.to_owned(), name.to_owned()));
    }

    /// The words in front of a command that is to run in the root directory.
    pub fn wrapper(&self) -> Vec<String> {
        let script = root().join("tests/support/with-host.sh");
        let words = ["unshare", "--mount", "--net", "sh"].map(str::to_owned);
        let binds = self.binds.iter();
        let binds = binds
            .map(|(source, target)| format!("{}={target}", source.display()).replace(' ', "\\040"));
        words
            .into_iter()
            .chain([script, self.directory.clone()].map(|path| path.to_str().unwrap().to_owned()))
            .chain(binds)
            .chain(["--".to_owned()])
            .collect()
    }

    /// Where a path of the root directory lies.
    pub fn at(&self, path: &str) -> PathBuf {
        let below = path.strip_prefix('/');
        let below = below.unwrap_or_else(|| panic!("{path} is not absolute"));
        self.directory.join(below)
    }

    /// The command lines of the stand-ins that were run, in order.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.at("/.test/calls")).unwrap();
        text.split_terminator('\x1e')
            .map(|call| {
                let words: Vec<_> = call.split_terminator('\0').map(shell_quoted).collect();
                words.join(" ")
            })
            .collect()
    }

    /// What is wrong with a file, compared to what it has to be; none means that there is none.
    pub fn differs(&self, path: &str, wanted: Option<&File>) -> Option<String> {
        let at = self.at(path);
        let (found, wanted) = match (fs::symlink_metadata(&at), wanted) {
            (Err(_), None) => return None,
            (Ok(_), None) => return Some(format!("{path} is there")),
            (Err(_), Some(_)) => return Some(format!("{path} is not there")),
            (Ok(found), Some(wanted)) => (found, wanted.facts()),
        };
        let text = || String::from_utf8_lossy(&fs::read(&at).unwrap_or_default()).into_owned();
        let link = || fs::read_link(&at).unwrap_or_default().display().to_string();
        let device = |(major, minor): (u64, u64)| format!("{major}:{minor}");
        let number = (major(found.rdev()), minor(found.rdev()));
        let facts = [
            (
                "mode",
                wanted.mode,
                format!("{:04o}", found.mode() & 0o7777),
            ),
            (
                "owner",
                wanted.owner,
                format!("{}:{}", found.uid(), found.gid()),
            ),
            (
                "size",
                wanted.size.map(|size| size.to_string()),
                found.len().to_string(),
            ),
            ("device", wanted.block.map(device), device(number)),
            ("target", wanted.link, link()),
        ];
        // An image may be larger than the memory: only a content that is named is read.
        let content = wanted.text.map(|wanted| ("text", Some(wanted), text()));
        facts
            .into_iter()
            .chain(content)
            .find_map(|(what, wanted, found)| {
                let wanted = wanted.filter(|wanted| *wanted != found)?;
                Some(format!("{path}: {what} {found:?}, expected {wanted:?}"))
            })
    }

    /// What every root directory has.
    fn skeleton(&mut self) {
        for directory in [
            "usr", "proc", "sys", "run", "var/lib", "var/tmp", "tmp", "dev/shm", "etc",
        ] {
            fs::create_dir_all(self.directory.join(directory)).unwrap();
        }
        for directory in ["tmp", "var/tmp", "dev/shm"] {
            let open_to_all = fs::Permissions::from_mode(0o1777);
            fs::set_permissions(self.directory.join(directory), open_to_all).unwrap();
        }
        symlink("../run", self.at("/var/run")).unwrap();
        for name in SYSTEM {
            let real = Path::new("/").join(name);
            match fs::read_link(&real) {
                Ok(target) => symlink(target, self.directory.join(name)).unwrap(),
                Err(_) if real.is_dir() => self.show(&real),
                Err(_) => {}
            }
        }
        for device in ["null", "zero", "full", "random", "urandom"] {
            self.show(&Path::new("/dev").join(device));
        }
        for name in ETC {
            let real = Path::new("/etc").join(name);
            if real.exists() {
                fs::copy(&real, self.directory.join("etc").join(name)).unwrap();
            }
        }
        fs::write(self.at("/etc/passwd"), PASSWD).unwrap();
        fs::write(self.at("/etc/group"), GROUP).unwrap();
        let calls = self.make_way("/.test/calls");
        fs::write(calls, "").unwrap();
        let stub = root().join("tests/support/stub.sh");
        fs::copy(stub, self.at("/.test/stub.sh")).unwrap();
    }

    /// [`Root::at`], with the directories that lead there.
    fn make_way(&self, path: &str) -> PathBuf {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        at
    }

    fn file(&mut self, path: &str, facts: &Facts) {
        let digits = facts.hex.as_bytes().chunks(2);
        let mut content: Vec<u8> = digits
            .map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).unwrap())
            .collect();
        content.extend_from_slice(facts.text.as_deref().unwrap_or_default().as_bytes());
        // The kernel's own files can only be covered.
        let at = if path.starts_with("/proc/") {
            let at = self.make_way(&format!("/.test{path}"));
            self.binds.push((at.clone(), path.to_owned()));
            at
        } else {
            self.make_way(path)
        };
        fs::write(&at, content).unwrap();
        let file = fs::File::options().write(true).open(&at).unwrap();
        if let Some(size) = facts.size {
            file.set_len(size).unwrap();
        }
        let mode = facts.mode.as_deref().unwrap_or("0644");
        let mode = u32::from_str_radix(mode, 8).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
        if let Some(owner) = &facts.owner {
            let (user, group) = owner.split_once(':').unwrap();
            chown(&at, user.parse().ok(), group.parse().ok()).unwrap();
        }
        if let Some(age) = facts.age {
            let then = SystemTime::now() - Duration::from_secs(age);
            file.set_modified(then).unwrap();
        }
    }

    fn stub(&self, program: &str, rules: &[Rule]) {
        let rules: String = rules.iter().map(Rule::script).collect();
        let script = format!("#!/bin/sh\n. /.test/stub.sh\n{rules}");
        let places = if program.starts_with('/') {
            vec![program.to_owned()]
        } else {
            ["bin", "sbin"]
                .map(|directory| format!("/usr/{directory}/{program}"))
                .to_vec()
        };
        for place in places {
            let at = self.make_way(&place);
            fs::write(&at, &script).unwrap();
            fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

impl Rule {
    fn script(&self) -> String {
        let quoted = |words: &[String]| -> String {
            words
                .iter()
                .map(|word| format!(" {}", shell_quoted(word)))
                .collect()
        };
        let pause = self.sleep.map(|seconds| format!("sleep {seconds}; "));
        format!(
            "if has{} && text {}; then {}answer {} {} {}; fi\n",
            quoted(&self.has),
            shell_quoted(&self.text),
            pause.unwrap_or_default(),
            self.rc.unwrap_or_default(),
            shell_quoted(&self.out),
            shell_quoted(&self.err),
        )
    }
}

impl File {
    fn facts(&self) -> Facts {
        match self {
            File::Text(text) => Facts {
                text: Some(text.clone()),
                ..Facts::default()
            },
            File::Facts(facts) => facts.clone(),
        }
    }
}

fn vdsm_conf(sections: &BTreeMap<String, BTreeMap<String, String>>) -> String {
    let mut text = String::new();
    for (section, options) in sections {
        text += &format!("[{section}]\n");
        for (option, value) in options {
            text += &format!("{option} = {value}\n");
        }
    }
    text
}
