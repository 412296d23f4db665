// SPDX-License-Identifier: GPL-2.0-or-later

//! The tests' vocabulary: run this hook at that event, with that environment and document.

#![allow(dead_code, unreachable_pub)] // Each test program uses a part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::vdsm::events::{self, Environment};

use host::{Host, Root};

pub mod appliance;
pub mod beside;
pub mod chain;
pub mod guests;
pub mod helper_limits;
pub mod host;
pub mod libvirt;
pub mod random;
pub mod steps;
pub mod tool;
pub mod values;

/// The id of the VM that the tests start.
pub const VM_ID: &str = "5f1c2a7e-9d3b-4e57-8a40-0c6f3b1d2e99";

/// The hooks of the suite, from their folders.
pub fn hooks() -> Vec<Manifest> {
    let mut hooks: Vec<Manifest> = fs::read_dir(root().join("hooks"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("hook.json"))
        .filter(|file| file.exists())
        .map(|file| {
            let text = fs::read_to_string(&file).unwrap();
            Manifest::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        })
        .collect();
    hooks.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!hooks.is_empty());
    hooks
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The built program of a hook, or the tool.
pub fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_vdsm-hooks")).with_file_name(name);
    assert!(
        path.exists(),
        "the program {name} is not built: has Cargo.toml a line for it in 'bin'?"
    );
    path
}

/// Says by name, once, what this machine could not run. Not with `println`, which is hidden where
/// the test passes.
pub fn not_run(test: &str, reason: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let line = format!("NOT RUN: {test}: {reason}\n");
    if SAID.lock().unwrap().insert(line.clone()) {
        io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

/// Whether we are root, which mounts, namespaces and other users need.
pub fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Whether this machine lets a test have a root directory of its own; else why not.
pub fn private_host() -> Result<(), &'static str> {
    static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
    let answer = ANSWER.get_or_init(|| {
        if !is_root() {
            return Err("needs root for a private root directory".to_owned());
        }
        let directory = TempDir::new().unwrap();
        let wrapper = Root::new(directory.path(), &Host::default(), "").wrapper();
        let tried = Command::new(&wrapper[0])
            .args(&wrapper[1..])
            .arg("true")
            .output()
            .unwrap();
        if tried.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&tried.stderr).trim().to_owned())
        }
    });
    answer.as_ref().copied().map_err(String::as_str)
}

/// One firing of one hook.
pub struct Firing {
    directory: TempDir,
    program: PathBuf,
    /// The data file.
    pub data: PathBuf,
    variables: BTreeMap<String, String>,
    wrapper: Vec<String>,
    hook: String,
    root: Option<Root>,
}

/// How a firing ended.
pub struct Outcome {
    /// The exit status; none after a signal.
    pub status: Option<i32>,
    /// Standard error, with `DATA` for the name of the data file.
    pub stderr: String,
    /// Standard output.
    pub stdout: String,
    /// The data file's content; none if it is gone.
    pub data: Option<Vec<u8>>,
    /// Whether the file was written or replaced.
    pub touched: bool,
    /// What stands beside the data file now and did not before.
    pub left_behind: Vec<String>,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the data: a document hides everything else.
        f.debug_struct("Outcome")
            .field("status", &self.status)
            .field("stderr", &self.stderr)
            .field("stdout", &self.stdout)
            .field("touched", &self.touched)
            .field("left_behind", &self.left_behind)
            .finish_non_exhaustive()
    }
}

/// The variable that names the data file of an event.
pub fn data_variable(event: &events::Event) -> &'static str {
    if event.data.is_json() {
        "_hook_json"
    } else {
        "_hook_domxml"
    }
}

/// The time that a fresh data file carries, so that every write shows.
fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

impl Firing {
    /// `hook` at `event` on a document, called the way VDSM does: through the event's directory,
    /// with nothing in the environment but what VDSM puts there.
    pub fn new(hook: &str, event: &str, document: &[u8]) -> Firing {
        let directory = TempDir::new().unwrap();
        let hooks = directory.path().join(event);
        fs::create_dir(&hooks).unwrap();
        let link = hooks.join(format!("50_{hook}"));
        symlink(program(hook), &link).unwrap();
        let data = directory.path().join("data/tmp7k2f0q9c");
        fs::create_dir(data.parent().unwrap()).unwrap();
        fs::write(&data, document).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o600)).unwrap();
        File::options()
            .write(true)
            .open(&data)
            .unwrap()
            .set_modified(long_ago())
            .unwrap();
        let firing = Firing {
            directory,
            program: link,
            data,
            variables: BTreeMap::new(),
            wrapper: Vec::new(),
            hook: hook.to_owned(),
            root: None,
        };
        let event = events::find(event).unwrap_or_else(|| panic!("VDSM has no event {event}"));
        let firing = firing
            .variable("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .variable("LANG", "C.UTF-8")
            .data_named_in(data_variable(event));
        if event.environment == Environment::Bare {
            return firing;
        }
        firing.variable("vmId", VM_ID)
    }

    /// Names the data file in this variable and in no other.
    pub fn data_named_in(self, variable: &str) -> Firing {
        let path = self.data.to_str().unwrap().to_owned();
        self.without("_hook_domxml")
            .without("_hook_json")
            .variable(variable, &path)
    }

    /// Runs the hook where the facts of `host` hold. Needs root.
    pub fn on(mut self, host: &Host) -> Firing {
        let directory = self.directory.path().join("root");
        fs::create_dir(&directory).unwrap();
        let mut root = Root::new(&directory, host, &self.hook);
        root.show(self.directory.path());
        root.show(program(&self.hook).parent().unwrap());
        self.root = Some(root);
        self
    }

    /// Shows a directory of the machine on the host of [`Firing::on`].
    pub fn showing(mut self, source: &Path, target: &str) -> Firing {
        self.root.as_mut().unwrap().show_at(source, target);
        self
    }

    /// The host of [`Firing::on`].
    pub fn root(&self) -> Option<&Root> {
        self.root.as_ref()
    }

    /// Sets an environment variable, a custom property for example.
    pub fn variable(mut self, name: &str, value: &str) -> Firing {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Removes an environment variable.
    pub fn without(mut self, name: &str) -> Firing {
        self.variables.remove(name);
        self
    }

    /// Calls the hook's program through this path.
    pub fn through(mut self, program: &Path) -> Firing {
        self.program = program.to_owned();
        self
    }

    /// Runs the hook inside another command, such as one that enters a namespace.
    pub fn inside(mut self, wrapper: &[&str]) -> Firing {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// The directory of everything that belongs to this firing.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The command that [`Firing::run`] runs.
    pub fn command(&self) -> Command {
        let root = self.root.iter().flat_map(Root::wrapper);
        let mut words = root
            .chain(self.wrapper.iter().cloned())
            .map(PathBuf::from)
            .chain([self.program.clone()]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .env_clear()
            .envs(&self.variables)
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// Runs the hook and looks at what it did.
    pub fn run(&self) -> Outcome {
        let before = self.beside();
        let inode = fs::metadata(&self.data).map(|data| data.ino()).ok();
        let output = self.command().output().unwrap();
        let left_behind = self
            .beside()
            .into_iter()
            .filter(|name| !before.contains(name));
        let left_behind = left_behind.collect();
        let now = fs::metadata(&self.data).ok();
        let untouched = now
            .as_ref()
            .is_some_and(|now| now.modified().unwrap() == long_ago() && Some(now.ino()) == inode);
        let name = self.data.to_str().unwrap();
        Outcome {
            status: output.status.code(),
            stderr: String::from_utf8(output.stderr)
                .unwrap()
                .replace(name, "DATA"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            data: fs::read(&self.data).ok(),
            touched: !untouched,
            left_behind,
        }
    }

    /// Whether the hook comes to a good end at another event on the same host and document, outside
    /// of what it was run inside of.
    pub fn succeeds_at(&self, event: &str) -> bool {
        let directory = self.directory().join(event);
        let link = directory.join(format!("50_{}", self.hook));
        if !link.exists() {
            fs::create_dir_all(directory).unwrap();
            symlink(program(&self.hook), &link).unwrap();
        }
        let mut words = self.root.iter().flat_map(Root::wrapper);
        let mut command = match words.next() {
            Some(first) => Command::new(first),
            None => Command::new("/usr/bin/env"),
        };
        command.args(words).arg(link).env_clear();
        command.envs(&self.variables).status().unwrap().success()
    }

    fn beside(&self) -> Vec<String> {
        let entries = fs::read_dir(self.data.parent().unwrap()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

/// Fires the jobs in `file` on a host of their own, see `in-namespace.py`, which also says what the
/// answer is; `more` are further namespaces. Or why this machine cannot.
pub fn in_namespace(file: &Path, more: &[&str]) -> Result<serde_json::Value, String> {
    let output = Command::new("unshare")
        .args(more)
        .args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg("python3")
        .arg(root().join("tests/support/in-namespace.py"))
        .arg(file)
        .output()
        .map_err(|error| format!("unshare: {error}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        Some(77) => Err(stderr.trim().to_owned()),
        _ => panic!("{stderr}"),
    }
}
