// SPDX-License-Identifier: GPL-2.0-or-later

//! What a run is about to make, written down before it does: so the next one can clear up after one
//! that was killed. The file is there only as long as a run changes something, and who holds it is
//! alone.
//!
//! Its lines are `f` and a file that is prepared beside its place, or `d` and a directory that is made,
//! with a tab between.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::geteuid;

use vdsm_hooks::host::rollback::Undo;
use vdsm_hooks::host::{files, temporary, transaction};
use vdsm_hooks::{Context as _, Error, Result};

use super::tree::{self, DIRECTORIES, STATE, Tree, below};

const UNFINISHED: &str = "var/lib/vdsm-hooks/unfinished";

/// The run that changes something below a root. Dropped before its end, it takes back what it made.
pub(super) struct Journal {
    /// The root, over no link.
    real: PathBuf,
    file: File,
    _held: Option<Flock<File>>,
    /// Lines of runs that were killed.
    found: BTreeSet<String>,
    /// Directories that this one has made.
    made: Vec<String>,
    undo: Undo<'static>,
}

/// Whether a run is under way or was killed.
pub(super) fn is_unfinished(tree: &Tree) -> bool {
    tree.exists(UNFINISHED)
}

impl Journal {
    /// Begins to change something. The root is made if it is not there.
    pub(super) fn begin(tree: &Tree) -> Result<Journal> {
        let mut undo = Undo::default();
        for directory in missing(tree.root()) {
            fs::create_dir(&directory).context(directory.display())?;
            push_removal(&mut undo, directory);
        }
        let real = fs::canonicalize(tree.root()).context(tree.root().display())?;
        // There is no place yet to write that down.
        let made = missing_below(&real, STATE);
        make_all(&real, &made, &mut undo)?;
        // Over no link of others, also where it was there.
        transaction::make_directory(&real.join(STATE))?;
        let path = real.join(UNFINISHED);
        let (file, held, is_new) = hold(&path)?;
        if is_new {
            let path = path.clone();
            undo.push(path.display().to_string(), move || {
                Ok(fs::remove_file(path)?)
            });
        }
        let journal = Journal {
            found: tree::lines(&path)?,
            real,
            file,
            _held: held,
            made,
            undo,
        };
        let lines = journal
            .made
            .iter()
            .map(|directory| ("d", directory.as_str()));
        journal.note(lines)?;
        Ok(journal)
    }

    /// The place of a file, over no link as far as the root.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.real.join(below(path))
    }

    /// Writes down which files will be prepared.
    pub(super) fn note_files<'p>(&self, paths: impl Iterator<Item = &'p str>) -> Result {
        self.note(paths.map(|path| ("f", path)))
    }

    fn note<'p>(&self, lines: impl Iterator<Item = (&'p str, &'p str)>) -> Result {
        let lines = lines.map(|(kind, path)| format!("{kind}\t{path}\n"));
        let lines: String = lines.collect();
        (&self.file)
            .write_all(lines.as_bytes())
            .context(self.at(UNFINISHED).display())
    }

    /// Makes the directories of these files, as far as they are not there.
    pub(super) fn make_directories<'p>(&mut self, paths: impl Iterator<Item = &'p str>) -> Result {
        let directories: BTreeSet<&str> = paths.map(tree::parent).collect();
        for directory in directories {
            let missing = missing_below(&self.real, directory);
            self.note(missing.iter().map(|made| ("d", made.as_str())))?;
            make_all(&self.real, &missing, &mut self.undo)?;
            self.made.extend(missing);
        }
        Ok(())
    }

    /// The directories that installations have made below this root, this one included.
    pub(super) fn directories(&self) -> Result<BTreeSet<String>> {
        let mut all = tree::lines(&self.at(DIRECTORIES))?;
        all.extend(self.made.iter().cloned());
        all.extend(self.killed("d\t").map(str::to_owned));
        Ok(all)
    }

    /// What runs that were killed have written down of this kind.
    fn killed(&self, kind: &str) -> impl Iterator<Item = &str> {
        let lines = self.found.iter();
        lines
            .filter_map(move |line| line.strip_prefix(kind))
            .map(below)
    }

    /// Removes what runs that were killed have prepared beside these files, and where they wrote that
    /// down.
    pub(super) fn clear<'p>(&self, paths: impl Iterator<Item = &'p str>) {
        let paths: Vec<&str> = paths.collect();
        let paths = paths.into_iter().chain(self.killed("f\t"));
        for left in left_beside(&self.real, paths) {
            left.remove();
        }
    }

    /// All is done.
    pub(super) fn end(self) -> Result {
        self.undo.keep();
        let path = self.real.join(UNFINISHED);
        fs::remove_file(&path).context(path.display())
    }
}

/// Opens the file, or makes it, and keeps others from doing so.
fn hold(path: &Path) -> Result<(File, Option<Flock<File>>, bool)> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .append(true)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits());
    loop {
        let (file, is_new) = match options.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                match options.clone().create_new(true).open(path) {
                    Err(other) if other.kind() == ErrorKind::AlreadyExists => continue,
                    file => (file.context(path.display())?, true),
                }
            }
            file => (file.context(path.display())?, false),
        };
        let held = match Flock::lock(file.try_clone()?, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Some(held),
            Err((_, Errno::EWOULDBLOCK)) => {
                return Err(Error::new(format!(
                    "another install or uninstall is running: it holds {}",
                    path.display()
                )));
            }
            // File systems of the network may have no locks.
            Err(_) => None,
        };
        // Its holder may have ended just now.
        if file.metadata()?.nlink() > 0 {
            return Ok((file, held, is_new));
        }
    }
}

/// The directories that are not there on the way to this one, from above.
fn missing(directory: &Path) -> Vec<PathBuf> {
    let is_missing = |path: &&Path| {
        fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
    };
    let missing = directory.ancestors().take_while(is_missing);
    let mut missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    missing.reverse();
    missing
}

fn missing_below(root: &Path, directory: &str) -> Vec<String> {
    let missing = missing(&root.join(directory));
    let names = missing
        .iter()
        .filter_map(|path| path.strip_prefix(root).ok()?.to_str());
    names.map(str::to_owned).collect()
}

fn make_all(root: &Path, directories: &[String], undo: &mut Undo<'static>) -> Result {
    for directory in directories {
        let path = root.join(directory);
        transaction::make_directory(&path)?;
        push_removal(undo, path);
    }
    Ok(())
}

fn push_removal(undo: &mut Undo<'static>, directory: PathBuf) {
    let name = directory.display().to_string();
    undo.push(name, move || Ok(fs::remove_dir(directory)?));
}

/// What a run that was killed has left beside a file.
pub(super) struct Left {
    directory: Rc<OwnedFd>,
    kind: Kind,
}

enum Kind {
    /// What was to become this file, or a second name of it: as `temporary` calls it.
    Named(String),
    /// Of earlier releases: a file, or a directory with a file in it.
    File(PathBuf),
    Directory(PathBuf),
}

impl Left {
    /// Nobody is stopped by what stays.
    fn remove(&self) {
        match &self.kind {
            Kind::Named(name) => temporary::clear(self.directory.as_fd(), Some(name)),
            Kind::File(path) => drop(fs::remove_file(path)),
            Kind::Directory(path) => {
                let _ = fs::remove_file(path.join("new"));
                let _ = fs::remove_dir(path);
            }
        }
    }
}

/// What is left beside these files. The root is named over no link.
pub(super) fn left_beside<'p>(root: &Path, paths: impl Iterator<Item = &'p str>) -> Vec<Left> {
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for path in paths {
        names
            .entry(tree::parent(path))
            .or_default()
            .insert(tree::name(path));
    }
    let mut left = Vec::new();
    for (path, names_there) in names {
        let Ok(Some(opened)) = transaction::directory(&root.join(path)) else {
            continue;
        };
        let directory = Rc::new(opened);
        let place = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
        for entry in files::entries(&place).unwrap_or_default() {
            if !entry.starts_with('.') {
                continue;
            }
            let kinds = names_there
                .iter()
                .filter_map(|name| left_of(&place, &entry, name));
            left.extend(kinds.map(|kind| Left {
                directory: directory.clone(),
                kind,
            }));
        }
    }
    left
}

fn left_of(directory: &Path, entry: &str, name: &str) -> Option<Kind> {
    if temporary::is_for(entry, Some(name)) {
        return Some(Kind::Named(name.to_owned()));
    }
    // Earlier releases had the number of their process in the name, and six letters.
    let rest = entry.strip_prefix('.')?.strip_prefix(name)?;
    let rest = rest.strip_prefix('.')?;
    let (process, letters) = match rest.split_once('.') {
        Some((process, letters)) => (process, Some(letters)),
        None => (rest, None),
    };
    let path = directory.join(entry);
    let found = fs::symlink_metadata(&path).ok()?;
    if !is_gone(process).ok()? || found.uid() != geteuid().as_raw() {
        return None;
    }
    match letters {
        None if found.is_file() => Some(Kind::File(path)),
        Some(letters) if found.is_dir() && letters.len() == 6 && !letters.contains('.') => {
            Some(Kind::Directory(path))
        }
        _ => None,
    }
}

/// Whether the process of this number has ended.
fn is_gone(process: &str) -> io::Result<bool> {
    let is_number = !process.is_empty() && process.bytes().all(|byte| byte.is_ascii_digit());
    Ok(is_number && !Path::new("/proc").join(process).try_exists()?)
}
