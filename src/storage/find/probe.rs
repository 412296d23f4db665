// SPDX-License-Identifier: GPL-2.0-or-later

//! Looking at shared storage from a child process.
//!
//! The child answers in one short message; what it means is judged by the parent.
//!
//! A program that uses this module calls [`serve`] before anything else in `main`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::metadata_file::{
    again_if_stale, bounded, content, ends_in_uuid, entries, is_absent, is_volume,
};
use super::slots::Slots;
use super::uses::{DomainRef, Roots};
use crate::host::worker;
use crate::storage::format::metadata::METADATA_FILE;
use crate::storage::format::name::is_uuid;
use crate::{Error, Result};

/// The children that look at the same time. One that is blocked must not keep others waiting.
static CHILDREN: Slots = Slots::new(32, Duration::from_millis(100));

/// What was found where a domain should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The content of the metadata.
    Found(Vec<u8>),
    /// The domain is there, its metadata is not.
    Missing,
    /// There is no such domain.
    Absent,
    /// The domain is on block storage.
    Block,
    /// It cannot be read, and why.
    Unreadable(String),
    /// No answer in time.
    Silent,
}

/// Where VDSM's links say that a domain is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Located {
    /// One of the links leads to block storage.
    pub block: bool,
    /// The directories of the domain, in the order in which to believe them.
    pub directories: Vec<PathBuf>,
    /// Every mount, where the domain may be if no link says more.
    pub mounts: Vec<PathBuf>,
}

impl Answer {
    /// What a child's message means.
    pub(in crate::storage) fn of(message: &[u8]) -> Answer {
        match message.split_first() {
            Some((b'f', content)) => Answer::Found(content.to_vec()),
            Some((b'n', _)) => Answer::Missing,
            Some((b'a', _)) => Answer::Absent,
            Some((b'b', _)) => Answer::Block,
            Some((b's', _)) => Answer::Silent,
            Some((b'u', reason)) => {
                Answer::Unreadable(String::from_utf8_lossy(reason).into_owned())
            }
            _ => Answer::Unreadable("the child that reads it died".to_owned()),
        }
    }
}

/// Follows VDSM's links to the domain. They are on the host's own disk, and nothing behind them is
/// touched.
///
/// # Errors
/// No links but an answer: silence until `end`, or the program cannot be run again.
pub fn locate(
    wanted: &DomainRef,
    roots: &Roots,
    end: Instant,
) -> std::result::Result<Located, Answer> {
    let mut arguments: Vec<&OsStr> = vec!["locate".as_ref()];
    arguments.extend([roots.repository.as_os_str(), roots.run.as_os_str()]);
    arguments.push(wanted.id.as_deref().unwrap_or_default().as_ref());
    for link in &wanted.links {
        arguments.extend([OsStr::new("link"), link.as_os_str()]);
    }
    for image in &wanted.images {
        arguments.extend([OsStr::new("image"), image.as_os_str()]);
    }
    let message = run(&arguments, end);
    let Some(entries) = message.strip_prefix(b"l") else {
        return Err(Answer::of(&message));
    };
    let mut located = Located::default();
    for entry in entries.split(|byte| *byte == 0) {
        match entry.split_first() {
            Some((b'b', _)) => located.block = true,
            Some((b'd', path)) => located.directories.push(path_of(path)),
            Some((b'm', path)) => located.mounts.push(path_of(path)),
            _ => {}
        }
    }
    Ok(located)
}

/// Every mount of the host.
///
/// # Errors
/// No answer until `end`.
pub fn mounts(roots: &Roots, end: Instant) -> Result<Vec<PathBuf>> {
    let nothing = DomainRef {
        id: None,
        ..DomainRef::of_id("")
    };
    match locate(&nothing, roots, end) {
        Ok(located) => Ok(located.mounts),
        Err(Answer::Unreadable(reason)) => Err(Error::new(reason)),
        Err(_) => {
            let repository = roots.repository.display();
            Err(Error::new(format!("{repository}: no answer in time")))
        }
    }
}

/// Looks into several directories side by side. Gives the first domain whose answer is `wanted`,
/// without waiting for the others; else all answers, in the order of `directories`.
pub fn first(
    directories: &[PathBuf],
    end: Instant,
    wanted: fn(&Answer) -> bool,
) -> std::result::Result<(&Path, Answer), Vec<(&Path, Answer)>> {
    // The standard library's channels are 6 KB of program.
    let messages = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
    let mut answers: Vec<_> = directories
        .iter()
        .map(|directory| (directory.as_path(), Answer::Silent))
        .collect();
    let mut running = 0;
    for (number, directory) in directories.iter().cloned().enumerate() {
        let shared = Arc::clone(&messages);
        let spawned = thread::Builder::new().spawn(move || {
            let message = run(&["domain".as_ref(), directory.as_os_str()], end);
            let (messages, came) = &*shared;
            lock(messages).push((number, message));
            came.notify_one();
        });
        if let Err(error) = spawned {
            answers[number].1 = no_thread(&error);
        } else {
            running += 1;
        }
    }
    let (messages, came) = &*messages;
    for _ in 0..running {
        let waiting = came.wait_while(lock(messages), |messages| messages.is_empty());
        let next = waiting.unwrap_or_else(PoisonError::into_inner).pop();
        let Some((number, message)) = next else {
            continue;
        };
        let answer = Answer::of(&message);
        if wanted(&answer) {
            return Ok((answers[number].0, answer));
        }
        answers[number].1 = answer;
    }
    Err(answers)
}

/// The answer in the place of a child's where a host is at its limits: a doubt about the domain, and
/// no more.
pub(super) fn no_thread(error: &io::Error) -> Answer {
    Answer::Unreadable(format!("no thread can be made: {error}"))
}

pub(in crate::storage) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

/// Runs a child; its message, or one in its place if it does not end until `end`.
pub(in crate::storage) fn run(arguments: &[&OsStr], end: Instant) -> Vec<u8> {
    let _turn = CHILDREN.take(end);
    match worker::run(arguments, end) {
        Ok(Some(message)) => message,
        Ok(None) => message(b's', b""),
        Err(error) => message(b'u', error.to_string().as_bytes()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does a child's work for [`locate`] and [`first`] if the program was started as one. To be called
/// before anything else.
pub fn serve() -> Option<ExitCode> {
    serve_also(|_, _| None)
}

/// [`serve`], and what `also` does besides.
pub(in crate::storage) fn serve_also(
    also: impl FnOnce(&str, &[PathBuf]) -> Option<Vec<u8>>,
) -> Option<ExitCode> {
    worker::serve(|what, arguments| match (what, arguments) {
        ("domain", [directory]) => Some(look(directory)),
        ("locate", [repository, run, id, hints @ ..]) => {
            Some(follow(repository, run, &id.to_string_lossy(), hints))
        }
        (what, arguments) => also(what, arguments),
    })
}

pub(in crate::storage) fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend_from_slice(content);
    message
}

fn unreadable(error: &io::Error) -> Vec<u8> {
    message(b'u', error.to_string().as_bytes())
}

/// The domain in `directory`.
fn look(directory: &Path) -> Vec<u8> {
    match fs::metadata(directory) {
        Err(error) if is_absent(&error) => message(b'a', b""),
        Err(error) => unreadable(&error),
        Ok(_) => read(&directory.join(METADATA_FILE)),
    }
}

/// The metadata in `file`.
pub(in crate::storage) fn read(file: &Path) -> Vec<u8> {
    if is_volume(file) {
        return message(b'b', b"");
    }
    // A link could lead to any file of this host.
    let dom_md = file.parent().filter(|_| file.ends_with(METADATA_FILE));
    for (path, expected) in [(dom_md, "directory"), (Some(file), "file")] {
        if path.is_some_and(Path::is_symlink) {
            let name = path.and_then(Path::file_name).unwrap_or_default();
            let name = name.to_string_lossy();
            let reason = format!("{name} is a symbolic link, expected a {expected}");
            return message(b'u', reason.as_bytes());
        }
    }
    match fs::metadata(file) {
        Ok(found) if found.file_type().is_block_device() => return message(b'b', b""),
        _ => {}
    }
    match again_if_stale(|| content(file)).and_then(bounded) {
        Ok(content) => message(b'f', &content),
        Err(error) if is_absent(&error) => message(b'n', b""),
        Err(error) => unreadable(&error),
    }
}

/// Follows VDSM's links to a domain: those that the XML names, those of every pool, those of
/// prepared images. The entries of the message are ended by NUL.
fn follow(repository: &Path, run: &Path, id: &str, hints: &[PathBuf]) -> Vec<u8> {
    let mut links = Vec::new();
    let mut images = Vec::new();
    for pair in hints.chunks_exact(2) {
        let list = if pair[0] == Path::new("link") {
            &mut links
        } else {
            &mut images
        };
        list.push(pair[1].clone());
    }
    if is_uuid(id) {
        let pools = entries(repository);
        let pools = pools.iter().filter(|pool| ends_in_uuid(pool));
        links.extend(pools.map(|pool| pool.join(id)));
        links.push(repository.join("mnt/blockSD").join(id));
        images.extend(
            entries(&run.join(id))
                .into_iter()
                .filter(|image| ends_in_uuid(image)),
        );
    }
    let mut block = false;
    let mut directories = Vec::new();
    for target in links.iter().filter_map(|link| end_of_link(link)) {
        match target.parent().and_then(Path::file_name) {
            Some(name) if name == "blockSD" => block = true,
            _ => directories.push(target),
        }
    }
    for image in &images {
        match fs::symlink_metadata(image) {
            // …/<domain>/images/<image>
            Ok(found) if found.is_symlink() => {
                let target = end_of_link(image);
                let domain = target
                    .as_deref()
                    .and_then(|target| target.ancestors().nth(2));
                directories.extend(domain.map(Path::to_owned));
            }
            // Links to logical volumes are in a directory of their own.
            Ok(_) => block = true,
            Err(_) => {}
        }
    }
    let mounts = entries(&repository.join("mnt"));
    let gluster = entries(&repository.join("mnt/glusterSD"));
    let mounts = mounts
        .into_iter()
        .filter(|mount| !mount.ends_with("blockSD") && !mount.ends_with("glusterSD"));
    let mut answer = vec![b'l'];
    let mut add = |kind: u8, path: &Path| {
        answer.push(kind);
        answer.extend_from_slice(path.as_os_str().as_bytes());
        answer.push(0);
    };
    if block {
        add(b'b', Path::new(""));
    }
    let mut named: Vec<PathBuf> = Vec::new();
    for directory in directories {
        if !named.contains(&directory) {
            add(b'd', &directory);
            named.push(directory);
        }
    }
    for mount in mounts.chain(gluster) {
        add(b'm', &mount);
    }
    answer
}

/// Where a link leads, without touching what is there. A path that exists and is no link leads to
/// itself.
fn end_of_link(link: &Path) -> Option<PathBuf> {
    let found = fs::symlink_metadata(link).ok()?;
    if !found.is_symlink() {
        return Some(link.to_owned());
    }
    let target = fs::read_link(link).ok()?;
    Some(link.parent()?.join(target))
}
