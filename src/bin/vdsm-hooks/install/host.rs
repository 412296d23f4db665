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
    for package in ["vdsm-hooks".to_owned()].into_iter().chain(hooks) {
        let asked = run("rpm", &["-q", "--quiet", &package]);
        if asked.is_ok_and(|answer| answer.status.success()) {
            return Err(Error::new(format!(
                "the package {package} is installed: leave it to dnf, or remove it first with \
                 'dnf remove {package}'"
            )));
        }
    }
    Ok(())
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

/// Runs `systemctl` with these words for each service among the files.
pub(super) fn for_units(tree: &Tree, files: &[String], words: &[&str]) {
    if !is_running(tree) {
        return;
    }
    for unit in files.iter().filter_map(|path| path.strip_prefix(UNITS)) {
        attempt("systemctl", &[words, &[unit]].concat());
    }
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
