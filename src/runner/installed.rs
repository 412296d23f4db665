// SPDX-License-Identifier: GPL-2.0-or-later

//! An event's directory as VDSM sees it: which files it runs, in which order, and which not (VDSM 4.50
//! lib/vdsm/common/hooks.py: `_scriptsPerDir`).

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::host::account::{Account, EXECUTE, READ};
use crate::host::executable::{Executable, Script};
use crate::host::root::Root;
use crate::runner::mark;
use crate::vdsm::events::Event;
use crate::{Context as _, Result};

/// One name in an event's directory.
#[derive(Debug)]
pub struct Entry {
    /// Path as VDSM would call it.
    pub path: PathBuf,
    /// The file that this leads to on the host, over all links.
    pub real: PathBuf,
    /// File name, made printable.
    pub name: String,
    /// Why VDSM skips it; none if it runs it.
    pub skipped: Option<&'static str>,
}

/// Everything in the directory, in VDSM's order, for hooks that run as whoever asks. A missing
/// directory is an empty one.
///
/// # Errors
/// It cannot be read.
pub fn entries(directory: &Path) -> Result<Vec<Entry>> {
    listed(directory, Path::to_owned, |path, _| {
        access(path, AccessFlags::X_OK)
            .is_err()
            .then_some("not executable")
    })
}

/// [`entries`] for hooks that run as this user of the host, whoever asks.
///
/// # Errors
/// The directory cannot be read.
pub fn entries_of(directory: &Path, root: &Root, account: &Account) -> Result<Vec<Entry>> {
    let is_barred = |path: &Path| account.barred(root.path(), path).is_some();
    // What the pattern `*` finds there.
    let is_closed = fs::metadata(directory).is_ok_and(|found| !account.may(&found, READ))
        || is_barred(&directory.join("x"));
    // A link of a host that is mounted somewhere leads to another file of that host.
    let follow = |path: &Path| {
        let below = path.strip_prefix(root.path()).ok();
        let below = below.and_then(Path::to_str).filter(|_| path.is_symlink());
        let real = below.map(|below| root.resolve(below));
        real.map_or_else(|| path.to_owned(), Option::unwrap_or_default)
    };
    listed(directory, follow, |real, file| {
        let is_open = || !is_barred(real);
        if is_closed {
            Some("user vdsm cannot look into the directory")
        } else if file.permissions().mode() & 0o111 == 0 {
            Some("not executable")
        } else if account.may(file, EXECUTE) && is_open() {
            None
        } else {
            Some("not executable for user vdsm, as which VDSM runs it")
        }
    })
}

fn listed(
    directory: &Path,
    follow: impl Fn(&Path) -> PathBuf,
    why_not: impl Fn(&Path, &fs::Metadata) -> Option<&'static str>,
) -> Result<Vec<Entry>> {
    let listing = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.context(directory.display())?,
    };
    let mut entries = Vec::new();
    for entry in listing {
        let path = entry.context(directory.display())?.path();
        let name = path.file_name().unwrap_or_default();
        let real = follow(&path);
        let skipped = match fs::metadata(&real) {
            _ if name.as_bytes().starts_with(b".") => Some("its name begins with a dot"),
            Err(_) => Some("a link to nothing"),
            Ok(file) if !file.is_file() => Some("not a regular file"),
            Ok(file) => why_not(&real, &file),
        };
        entries.push(Entry {
            name: name.to_string_lossy().into_owned(),
            skipped,
            real,
            path,
        });
    }
    // Byte by byte, whatever the locale.
    entries.sort_by(|one, other| one.path.as_os_str().cmp(other.path.as_os_str()));
    Ok(entries)
}

/// The users that VDSM runs hooks as.
#[derive(Debug)]
pub struct Users {
    /// VDSM's own.
    pub vdsm: Account,
    root: Account,
}

impl Users {
    /// Those of a host.
    pub fn of_host(root: &Root) -> Users {
        Users {
            // User vdsm and group kvm have these numbers on every host of oVirt.
            vdsm: Account::of_host(root.path(), "vdsm", (36, 36)),
            root: Account::superuser(),
        }
    }

    /// Who runs the hooks of an event.
    pub fn of_event(&self, event: &Event) -> &Account {
        if event.run_by_root() {
            &self.root
        } else {
            &self.vdsm
        }
    }
}

/// What an executable file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A program of this suite.
    Ours,
    /// A script, with the `#!` line.
    Script,
    /// Anything else.
    NotOurs,
    /// Not for us to read.
    Unreadable,
}

impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Origin::Ours => "a program of this suite",
            Origin::Script => "a script",
            Origin::NotOurs => "not part of vdsm-hooks",
            Origin::Unreadable => "a file that cannot be read",
        })
    }
}

/// Tells the suite's programs by a sentence of their `--help`, which is in the file.
pub fn origin(path: &Path) -> Origin {
    match Executable::open(path) {
        Err(_) => Origin::Unreadable,
        Ok(Executable::Script(_)) => Origin::Script,
        Ok(Executable::Neither | Executable::Late) => Origin::NotOurs,
        Ok(Executable::Program(program)) => match program.constants() {
            Err(_) => Origin::Unreadable,
            Ok(constants) if mark::has_mark(&constants) => Origin::Ours,
            Ok(_) => Origin::NotOurs,
        },
    }
}

/// Whether a file is a program of the suite. Nothing but a file is opened.
pub fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file()) && origin(path) == Origin::Ours
}

/// [`origin`] of many files. One at several events is looked at once.
#[derive(Debug, Default)]
pub struct Origins(BTreeMap<(u64, u64), Origin>);

impl Origins {
    /// What a file is, if it is one.
    pub fn of(&mut self, path: &Path) -> Option<Origin> {
        let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        let place = (found.dev(), found.ino());
        Some(*self.0.entry(place).or_insert_with(|| origin(path)))
    }
}

/// Where `env` looks for the interpreter of a hook: what a daemon has of systemd as its `PATH`.
const SEARCHED: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Why a file that VDSM executes does not run, or not as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// This interpreter is not there, or not executable for the user.
    Interpreter(String),
    /// What loads the program is not there.
    Loader(String),
    /// `env` does not find this interpreter; an empty name is none.
    NotFound(String),
    /// The lines end as those of Windows do, so that the interpreter has a carriage return in its name.
    CarriageReturn,
    /// A script that the user cannot read.
    Unreadable,
    /// Something invisible stands before the `#!` line.
    LateLine,
    /// No `#!` line, and no program.
    NoInterpreter,
}

impl Display for Obstacle {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Interpreter(path) => {
                write!(f, "its interpreter {path} is not on this host, or not for its user")
            }
            Obstacle::Loader(path) => write!(f, "{path}, which loads it, is not on this host"),
            Obstacle::NotFound(name) if name.is_empty() => {
                f.write_str("its interpreter env is not told what to start, and starts it again and again")
            }
            Obstacle::NotFound(name) => {
                write!(f, "its interpreter {name:?} is nowhere in PATH on this host")
            }
            Obstacle::CarriageReturn => f.write_str(
                "its lines end with a carriage return, as on Windows, so that its interpreter is not found",
            ),
            Obstacle::Unreadable => {
                f.write_str("the user that VDSM runs it as may not read it, and so its interpreter cannot")
            }
            Obstacle::LateLine => f.write_str(
                "its #! line is not the very first: blanks or a mark of Windows' editors stand before it, \
                 so that a shell runs it",
            ),
            Obstacle::NoInterpreter => {
                f.write_str("it has no #! line and is no program, so that a shell runs it")
            }
        }
    }
}

/// What hinders a file that VDSM executes as this user, if anything does.
pub fn obstacle(root: &Root, path: &Path, account: &Account) -> Option<Obstacle> {
    let is_executable = |wanted: &str| {
        let place = root.resolve(wanted);
        place.is_some_and(|place| {
            let found = fs::metadata(&place);
            found.is_ok_and(|found| found.is_file() && account.may(&found, EXECUTE))
                && account.barred(root.path(), &place).is_none()
        })
    };
    match Executable::open(path).ok()? {
        Executable::Neither => Some(Obstacle::NoInterpreter),
        Executable::Late => Some(Obstacle::LateLine),
        Executable::Program(program) => {
            let loader = program.interpreter()?;
            (!is_executable(&loader)).then_some(Obstacle::Loader(loader))
        }
        Executable::Script(script) => {
            let cannot_read = fs::metadata(path).is_ok_and(|found| !account.may(&found, READ));
            hindered(&script, is_executable).or(cannot_read.then_some(Obstacle::Unreadable))
        }
    }
}

fn hindered(script: &Script, is_executable: impl Fn(&str) -> bool) -> Option<Obstacle> {
    if script.has_carriage_return() {
        return Some(Obstacle::CarriageReturn);
    }
    if !is_executable(&script.interpreter) {
        return Some(Obstacle::Interpreter(script.interpreter.clone()));
    }
    let name = script.looked_for()?;
    let is_found = if name.contains('/') {
        is_executable(name)
    } else {
        SEARCHED
            .iter()
            .any(|directory| is_executable(&format!("{directory}/{name}")))
    };
    (!is_found).then(|| Obstacle::NotFound(name.to_owned()))
}

/// Why a file that VDSM runs was probably not meant to be run: editors and package managers leave
/// such names, and VDSM looks at the x bit only.
pub fn by_accident(name: &str) -> Option<&'static str> {
    let ending = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ending(&[
        ".rpmsave",
        ".rpmnew",
        ".rpmorig",
        ".dpkg-old",
        ".dpkg-new",
        ".dpkg-dist",
    ]) {
        Some("left by the package manager")
    } else if ending(&[
        "~",
        ".bak",
        ".old",
        ".orig",
        ".save",
        ".swp",
        ".disabled",
        ".off",
    ]) {
        Some("a backup copy")
    } else if ending(&[".md", ".txt", ".json", ".conf", ".pyc", ".log"]) {
        Some("no program by its name")
    } else {
        None
    }
}

/// Whether a file that VDSM skips looks as if it should not: no text beside the hooks, and no copy that
/// somebody has put out of use.
pub fn is_meant_to_run(entry: &Entry) -> bool {
    if entry.name.starts_with('.') || by_accident(&entry.name).is_some() {
        return false;
    }
    let has_number = without_number(&entry.name) != entry.name;
    let is_file = fs::metadata(&entry.real).is_ok_and(|found| found.is_file());
    let is_text = || matches!(Executable::open(&entry.real), Ok(Executable::Neither));
    is_file && (has_number || !is_text())
}

/// Whether a file called `file` is meant by `wanted`: its whole name, or without the number.
pub fn is_called(file: &str, wanted: &str) -> bool {
    file == wanted || without_number(file) == wanted
}

/// `50_cpuflags` without its `50_`.
pub fn without_number(file: &str) -> &str {
    match file.split_once('_') {
        Some((number, name))
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            name
        }
        _ => file,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(root: &Root, path: &str, text: &str, mode: u32) -> Result<PathBuf> {
        let file = root.at(path);
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode))?;
        Ok(file)
    }

    /// Who is in none of a file's classes but the last.
    fn stranger(root: &Root) -> Result<Account> {
        let owner = fs::metadata(root.path())?.uid();
        let nobody = Root::new(&root.at("empty"))?;
        let numbers = (owner + 1, fs::metadata(root.path())?.gid() + 1);
        Ok(Account::of_host(nobody.path(), "vdsm", numbers))
    }

    #[test]
    fn what_vdsm_skips_depends_on_who_runs_it() -> Result {
        let directory = tempfile::tempdir()?;
        let root = Root::new(directory.path())?;
        fs::create_dir(root.at("empty"))?;
        let vdsm = stranger(&root)?;
        for (name, mode) in [("10_all", 0o755), ("20_owner", 0o744), ("30_none", 0o644)] {
            put(&root, &format!("hooks/event/{name}"), "#!/bin/sh\n", mode)?;
        }
        put(&root, "private/40_link", "#!/bin/sh\n", 0o755)?;
        symlink("../../private/40_link", root.at("hooks/event/40_link"))?;
        // Below this root, wherever that is.
        symlink("/private/40_link", root.at("hooks/event/50_absolute"))?;
        let skipped = |account: &Account| -> Result<Vec<Option<&'static str>>> {
            let entries = entries_of(&root.at("hooks/event"), &root, account)?;
            Ok(entries.iter().map(|entry| entry.skipped).collect())
        };
        let not_his = Some("not executable for user vdsm, as which VDSM runs it");
        let nobodys = Some("not executable");
        assert_eq!(skipped(&vdsm)?, [None, not_his, nobodys, None, None]);
        let superuser = Account::superuser();
        assert_eq!(skipped(&superuser)?, [None, None, nobodys, None, None]);
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(root.at("private"), private.clone())?;
        assert_eq!(skipped(&vdsm)?[3..], [not_his; 2]);
        fs::set_permissions(root.at("hooks"), private)?;
        let closed = Some("user vdsm cannot look into the directory");
        assert_eq!(skipped(&vdsm)?[..2], [closed; 2]);
        assert_eq!(skipped(&superuser)?[0], None);
        Ok(())
    }

    #[test]
    fn what_hinders_a_file() -> Result {
        let directory = tempfile::tempdir()?;
        let root = Root::new(directory.path())?;
        fs::create_dir(root.at("empty"))?;
        let vdsm = stranger(&root)?;
        put(&root, "usr/bin/python3.11", "", 0o755)?;
        symlink("/usr/bin/python3.11", root.at("usr/bin/python3"))?;
        symlink("usr/bin", root.at("bin"))?;
        put(&root, "usr/bin/env", "", 0o755)?;
        put(&root, "usr/local/bin/mine", "", 0o700)?;
        let missing = |path: &str| Some(Obstacle::Interpreter(path.to_owned()));
        let not_found = |name: &str| Some(Obstacle::NotFound(name.to_owned()));
        for (text, expected) in [
            ("#!/usr/bin/python3\n", None),
            ("#! /bin/python3 -u\nx", None),
            ("#!/usr/bin/python\n", missing("/usr/bin/python")),
            ("#!/usr/local/bin/mine\n", missing("/usr/local/bin/mine")),
            ("#!/usr/bin\n", missing("/usr/bin")),
            ("#!/usr/bin/env python3\n", None),
            ("#!/usr/bin/env -S python3 -u\n", None),
            ("#!/usr/bin/env python3 -u\n", not_found("python3 -u")),
            ("#!/usr/bin/env python\n", not_found("python")),
            ("#!/usr/bin/env mine\n", not_found("mine")),
            (
                "#!/usr/bin/python3\r\nx\r\n",
                Some(Obstacle::CarriageReturn),
            ),
            ("import os\n", Some(Obstacle::NoInterpreter)),
            ("", Some(Obstacle::NoInterpreter)),
            ("\u{feff}#!/usr/bin/python3\n", Some(Obstacle::LateLine)),
            ("\n#!/usr/bin/python3\n", Some(Obstacle::LateLine)),
            ("#!/usr/bin/env\n", not_found("")),
        ] {
            let file = put(&root, "50_x", text, 0o755)?;
            assert_eq!(obstacle(&root, &file, &vdsm), expected, "{text:?}");
        }
        let file = put(&root, "50_x", "#!/usr/bin/python3\n", 0o711)?;
        assert_eq!(obstacle(&root, &file, &vdsm), Some(Obstacle::Unreadable));
        assert_eq!(obstacle(&root, &file, &Account::superuser()), None);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        fs::set_permissions(root.at("usr/bin"), fs::Permissions::from_mode(0o700))?;
        let closed = missing("/usr/bin/python3");
        assert_eq!(obstacle(&root, &file, &vdsm), closed);
        Ok(())
    }
}
