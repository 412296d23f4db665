// SPDX-License-Identifier: GPL-2.0-or-later

//! What an installation asks and tells the host: who we are, what packages there are, and services and
//! others that have to read files again.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use nix::unistd::{AccessFlags, access, geteuid};

use vdsm_hooks::host::command::{self, Output};
use vdsm_hooks::{Context as _, Error, Result};

use super::tree::Tree;

/// A service may take systemd's 90 seconds to stop (systemd-system.conf(5), 252:
/// `DefaultTimeoutStopSec`).
const TIMEOUT: Duration = Duration::from_secs(120);
const UNITS: &str = "usr/lib/systemd/system/";
const UDEV_RULES: &str = "usr/lib/udev/rules.d/";
const TMPFILES: &str = "usr/lib/tmpfiles.d/";

/// Whether the tree may be changed: `/` by root alone, and not against our own packages.
pub(super) fn check_allowed(tree: &Tree) -> Result {
    if !tree.is_real() {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err(Error::new(
            "only root can change /: use sudo, or --destdir DIR to install below a directory",
        ));
    }
    if find("rpm").is_none() {
        return Ok(());
    }
    let hooks = tree.hooks()?;
    let hooks = hooks.iter().map(|hook| format!("vdsm-hooks-{}", hook.name));
    let packages: Vec<String> = ["vdsm-hooks".to_owned()].into_iter().chain(hooks).collect();
    match installed(&packages) {
        Some(package) => Err(Error::new(format!(
            "the package {package} is installed: leave it to dnf, or remove it first with \
             'dnf remove {package}'"
        ))),
        None => Ok(()),
    }
}

/// The first of these packages that rpm has; none where it does not answer.
fn installed(packages: &[String]) -> Option<&String> {
    let names = packages.iter().map(String::as_str);
    let question = ["-q", "--queryformat", "%{NAME}\\n"];
    let words: Vec<&str> = question.into_iter().chain(names).collect();
    let answer = run("rpm", &words).ok()?;
    // Of each that it does not have it says so in words.
    let answer = String::from_utf8_lossy(&answer.stdout);
    packages
        .iter()
        .find(|package| answer.lines().any(|line| line == package.as_str()))
}

/// A syntax error in one file makes a sudo before 1.9.3 refuse everything on the host; later ones
/// drop the rest of the line (sudoers(5), 1.9.13: `error_recovery`).
pub(super) fn check_sudoers(rules: &[u8]) -> Result {
    if find("visudo").is_none() {
        return Ok(());
    }
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(rules)?;
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o440))?;
    let words = [
        OsStr::new("-c"),
        OsStr::new("-q"),
        OsStr::new("-f"),
        file.path().as_os_str(),
    ];
    if run("visudo", &words)?.status.success() {
        return Ok(());
    }
    Err(Error::new("visudo finds an error in it"))
}

/// Has these files read again by those that have read them before.
pub(super) fn tell(tree: &Tree, files: &[String]) {
    if !is_running(tree) {
        return;
    }
    if files.iter().any(|path| path.starts_with(UNITS)) {
        attempt("systemctl", &["daemon-reload"]);
    }
    if files.iter().any(|path| path.starts_with(UDEV_RULES)) {
        attempt("udevadm", &["control", "--reload"]);
    }
    for path in files
        .iter()
        .filter(|path| path.starts_with(TMPFILES) && tree.exists(path))
    {
        attempt("systemd-tmpfiles", &["--create", &tree.shown(path)]);
    }
}

/// Restarts the services among the files that run.
pub(super) fn restart(tree: &Tree, files: &[String]) {
    for unit in units(tree, files) {
        attempt("systemctl", &["try-restart", unit]);
    }
}

/// Services that do not run any more and will not at the next boot, and what they were.
pub(super) struct Stopped(Vec<Service>);

struct Service {
    unit: String,
    is_enabled: bool,
    is_active: bool,
}

/// Stops the services among the files, while systemd still knows them.
pub(super) fn stop(tree: &Tree, files: &[String]) -> Stopped {
    let stop_one = |unit: &str| {
        let is = |what: &str| {
            let answer = run("systemctl", &[what, "--quiet", unit]);
            answer.is_ok_and(|answer| answer.status.success())
        };
        let service = Service {
            unit: unit.to_owned(),
            is_enabled: is("is-enabled"),
            is_active: is("is-active"),
        };
        attempt("systemctl", &["disable", "--now", unit]);
        service
    };
    Stopped(units(tree, files).map(stop_one).collect())
}

impl Stopped {
    /// Makes them what they were.
    pub(super) fn start_again(&self) {
        for service in &self.0 {
            for (is, word) in [(service.is_enabled, "enable"), (service.is_active, "start")] {
                if is {
                    attempt("systemctl", &[word, &service.unit]);
                }
            }
        }
    }
}

/// Those that systemd is to be told of.
fn units<'f>(tree: &Tree, files: &'f [String]) -> impl Iterator<Item = &'f str> {
    let is_running = is_running(tree);
    let units = files.iter().filter_map(|path| path.strip_prefix(UNITS));
    units.filter(move |_| is_running)
}

/// Below another root there is nobody to tell.
fn is_running(tree: &Tree) -> bool {
    tree.is_real() && Path::new("/run/systemd/system").is_dir()
}

/// Runs a command that what was changed does not depend on.
fn attempt(program: &str, words: &[&str]) {
    if let Err(error) = run(program, words).and_then(Output::checked) {
        let words = words.join(" ");
        let _ = writeln!(
            io::stderr(),
            "vdsm-hooks: warning: {program} {words}: {error}"
        );
    }
}

fn run<S: AsRef<OsStr>>(program: &str, words: &[S]) -> Result<Output> {
    let path = find(program)
        .ok_or_else(|| Error::new("not found"))
        .context(program)?;
    command::run(&path.to_string_lossy(), words, TIMEOUT)
}

/// A program as the administrator's shell finds it, or in the directories that only root's has.
fn find(program: &str) -> Option<PathBuf> {
    let search = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&search).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    directories
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|path| path.is_file() && access(path, AccessFlags::X_OK).is_ok())
}
