// SPDX-License-Identifier: GPL-2.0-or-later

//! Looking at shared storage from a child process.
//!
//! The child answers in one short message; what it means is judged by the parent.
//!
//! A program that uses this module calls [`serve`] before anything else in `main`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::metadata_file::{self, Content, ends_in_uuid, entries};
use super::slots::Slots;
use super::uses::{DomainRef, Roots};
use crate::host::files;
use crate::host::worker::message::{self, name_of, named};
use crate::host::worker::{self, Work, Worker};
use crate::props::is_uuid;
use crate::{Context as _, Error, Result};

/// Far more than any host has of it.
const MAX_MOUNTINFO_BYTES: u64 = 16 << 20;

/// The children that look at the same time. One that is blocked must not keep others waiting.
static CHILDREN: Slots = Slots::new(32, Duration::from_millis(100));

/// What a child is asked.
#[derive(Debug, PartialEq)]
enum Request {
    /// The metadata of the domain in this directory.
    Domain(PathBuf),
    /// Where VDSM's links say that a domain is.
    Locate(Links),
    /// Where VDSM mounts storage, in this repository.
    Mounts(PathBuf),
}

/// VDSM's links to a domain.
#[derive(Debug, PartialEq)]
struct Links {
    roots: Roots,
    /// The domain's id, if it is known.
    id: Option<String>,
    /// Links to its directory.
    links: Vec<PathBuf>,
    /// Links to prepared images of it.
    images: Vec<PathBuf>,
}

/// What it answers.
#[derive(Debug, PartialEq)]
enum Answer {
    /// The metadata of the domain.
    Content(Content),
    /// Where the domain is.
    Located(Located),
    /// The places for mounts, and those of them where nothing is mounted.
    Mounts(Vec<PathBuf>, Vec<PathBuf>),
}

static WORKER: Worker<Request, Answer> = Worker::new(|request| {
    Ok(match request {
        Request::Domain(directory) => Answer::Content(metadata_file::at(&directory)),
        Request::Locate(links) => Answer::Located(follow(links)),
        Request::Mounts(repository) => {
            let (all, empty) = mounts_of(&repository)?;
            Answer::Mounts(all, empty)
        }
    })
});

/// What a child does for [`locate`] and [`first`].
pub fn work() -> &'static dyn Work {
    &WORKER
}

/// Does that if the program was started for it. To be called before anything else.
pub fn serve() -> Option<ExitCode> {
    WORKER.serve()
}

impl message::Request for Request {
    fn encode(&self) -> Vec<OsString> {
        let Links {
            roots,
            id,
            links,
            images,
        } = match self {
            Request::Domain(directory) => return named("domain", &[directory.as_ref()]),
            Request::Mounts(repository) => return named("mounts", &[repository.as_ref()]),
            Request::Locate(links) => links,
        };
        let id = id.as_deref().unwrap_or_default();
        let (repository, run) = (roots.repository.as_os_str(), roots.run.as_os_str());
        let mut words = named("locate", &[repository, run, id.as_ref()]);
        for (kind, paths) in [("link", links), ("image", images)] {
            for path in paths {
                words.extend([OsString::from(kind), path.into()]);
            }
        }
        words
    }

    fn decode(words: &[OsString]) -> Option<Self> {
        let (repository, run, id, pairs) = match name_of(words)? {
            ("domain", [directory]) => return Some(Request::Domain(directory.into())),
            ("mounts", [repository]) => return Some(Request::Mounts(repository.into())),
            ("locate", [repository, run, id, pairs @ ..]) => (repository, run, id, pairs),
            _ => return None,
        };
        let id = id.to_str()?.to_owned();
        let mut asked = Links {
            roots: Roots {
                repository: repository.into(),
                run: run.into(),
            },
            id: Some(id).filter(|id| !id.is_empty()),
            links: Vec::new(),
            images: Vec::new(),
        };
        for pair in pairs.chunks(2) {
            let [kind, path] = pair else {
                return None;
            };
            match kind.to_str()? {
                "link" => asked.links.push(path.into()),
                "image" => asked.images.push(path.into()),
                _ => return None,
            }
        }
        Some(Request::Locate(asked))
    }
}

impl message::Answer for Answer {
    fn encode(&self, message: &mut Vec<u8>) {
        match self {
            Answer::Content(content) => {
                b'c'.encode(message);
                content.encode(message);
            }
            Answer::Located(located) => {
                b'l'.encode(message);
                located.block.encode(message);
                located.directories.encode(message);
                located.mounts.encode(message);
            }
            Answer::Mounts(all, empty) => {
                b'm'.encode(message);
                all.encode(message);
                empty.encode(message);
            }
        }
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        match u8::decode(message)? {
            b'c' => Content::decode(message).map(Answer::Content),
            b'l' => Some(Answer::Located(Located {
                block: bool::decode(message)?,
                directories: Vec::decode(message)?,
                mounts: Vec::decode(message)?,
            })),
            b'm' => Some(Answer::Mounts(Vec::decode(message)?, Vec::decode(message)?)),
            _ => None,
        }
    }
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

/// Follows VDSM's links to the domain. They are on the host's own disk, and nothing behind them is
/// touched. None if there is no answer until `end`.
///
/// # Errors
/// The program cannot be run again, or the child died.
pub fn locate(wanted: &DomainRef, roots: &Roots, end: Instant) -> Result<Option<Located>> {
    let request = Request::Locate(Links {
        roots: roots.clone(),
        id: wanted.id.clone(),
        links: wanted.links.clone(),
        images: wanted.images.clone(),
    });
    match in_turn(&WORKER, &request, end)?.transpose()? {
        Some(Answer::Located(located)) => Ok(Some(located)),
        Some(_) => Err(worker::unexpected()),
        None => Ok(None),
    }
}

/// A place where VDSM mounts storage, or links a directory of the host to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The place.
    pub path: PathBuf,
    /// It is neither a mount nor a link: storage that is not there.
    pub is_empty: bool,
}

/// Every place for a mount on the host. Nothing behind them is touched.
///
/// # Errors
/// There is no repository, or no answer until `end`.
pub fn mounts(roots: &Roots, end: Instant) -> Result<Vec<Mount>> {
    let repository = &roots.repository;
    // The child works in another directory.
    let repository = std::path::absolute(repository).context(repository.display())?;
    let request = Request::Mounts(repository.clone());
    match in_turn(&WORKER, &request, end)?.transpose()? {
        Some(Answer::Mounts(all, empty)) => Ok(all
            .into_iter()
            .map(|path| Mount {
                is_empty: empty.contains(&path),
                path,
            })
            .collect()),
        Some(_) => Err(worker::unexpected()),
        None => Err(Error::new(format!(
            "{}: no answer in time",
            repository.display()
        ))),
    }
}

/// The metadata of the domain in a directory; none if there is no answer until `end`.
fn domain(directory: PathBuf, end: Instant) -> Option<Content> {
    let answer = in_turn(&WORKER, &Request::Domain(directory), end);
    match answer.and_then(Option::transpose) {
        Ok(Some(Answer::Content(content))) => Some(content),
        Ok(None) => None,
        Ok(Some(_)) => Some(Content::Unreadable(worker::unexpected().to_string())),
        Err(error) => Some(Content::Unreadable(error.to_string())),
    }
}

/// A directory and the metadata of the domain in it; none if there was no answer in time.
pub type Looked<'d> = (&'d Path, Option<Content>);

/// Looks into several directories side by side. Gives the first domain whose metadata is `wanted`,
/// without waiting for the others; else that of all, in the order of `directories`, as far as there
/// was an answer until `end`.
pub fn first(
    directories: &[PathBuf],
    end: Instant,
    wanted: fn(&Content) -> bool,
) -> std::result::Result<(&Path, Content), Vec<Looked<'_>>> {
    let (sender, receiver) = mpsc::channel();
    let mut contents: Vec<_> = directories
        .iter()
        .map(|directory| (directory.as_path(), None))
        .collect();
    for (number, directory) in directories.iter().cloned().enumerate() {
        let answers = sender.clone();
        let spawned = thread::Builder::new().spawn(move || {
            // Nobody listens any more once a domain was found.
            let _ = answers.send((number, domain(directory, end)));
        });
        if let Err(error) = spawned {
            contents[number].1 = Some(Content::Unreadable(no_thread(&error)));
        }
    }
    // Without this one the channel ends with the last of the threads.
    drop(sender);
    for (number, content) in receiver {
        match content {
            Some(content) if wanted(&content) => return Ok((contents[number].0, content)),
            content => contents[number].1 = content,
        }
    }
    Err(contents)
}

/// What is said in the place of a child's answer where a host is at its limits: a doubt about the
/// domain, and no more.
pub(super) fn no_thread(error: &io::Error) -> String {
    format!("no thread can be made: {error}")
}

/// [`Worker::ask`] as soon as there are not too many children.
pub(in crate::storage) fn in_turn<Q: message::Request, A: message::Answer>(
    worker: &Worker<Q, A>,
    request: &Q,
    end: Instant,
) -> Result<Option<Result<A>>> {
    let _turn = CHILDREN.take(end);
    worker.ask(request, end)
}

/// Follows VDSM's links to a domain: those that the XML names, those of every pool, those of
/// prepared images.
fn follow(asked: Links) -> Located {
    let Links {
        roots: Roots { repository, run },
        id,
        mut links,
        mut images,
    } = asked;
    if let Some(id) = id.filter(|id| is_uuid(id)) {
        let pools = entries(&repository);
        let pools = pools.iter().filter(|pool| ends_in_uuid(pool));
        links.extend(pools.map(|pool| pool.join(&id)));
        links.push(repository.join("mnt/blockSD").join(&id));
        images.extend(
            entries(&run.join(&id))
                .into_iter()
                .filter(|image| ends_in_uuid(image)),
        );
    }
    let mut located = Located::default();
    for target in links.iter().filter_map(|link| end_of_link(link)) {
        match target.parent().and_then(Path::file_name) {
            Some(name) if name == "blockSD" => located.block = true,
            _ => located.add(&target),
        }
    }
    for image in &images {
        match fs::symlink_metadata(image) {
            // …/<domain>/images/<image>
            Ok(found) if found.is_symlink() => {
                let target = end_of_link(image);
                let domain = target.as_deref().and_then(|path| path.ancestors().nth(2));
                if let Some(domain) = domain {
                    located.add(domain);
                }
            }
            // Links to logical volumes are in a directory of their own.
            Ok(_) => located.block = true,
            Err(_) => {}
        }
    }
    located.mounts = places(&repository);
    located
}

/// The places for mounts in a repository.
fn places(repository: &Path) -> Vec<PathBuf> {
    let mut places = entries(&repository.join("mnt"));
    places.retain(|place| !place.ends_with("blockSD") && !place.ends_with("glusterSD"));
    places.extend(entries(&repository.join("mnt/glusterSD")));
    places
}

/// The places for mounts in a repository, and those of them where nothing is mounted.
fn mounts_of(repository: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let expected = || {
        format!(
            "{}, expected VDSM's repository, which --repository names",
            repository.display()
        )
    };
    let found = fs::metadata(repository).context(expected())?;
    if !found.is_dir() {
        return Err(Error::new(format!("{}: no directory", expected())));
    }
    let mountinfo = files::read_file(Path::new("/proc/self/mountinfo"), MAX_MOUNTINFO_BYTES)?;
    let points = mount_points(&String::from_utf8_lossy(&mountinfo));
    // The kernel names mounts by where they are in truth.
    let real = fs::canonicalize(repository).context(repository.display())?;
    let all = places(repository);
    let links = links(&repository.join("mnt"));
    let is_empty = |place: &&PathBuf| {
        let below = place.strip_prefix(repository).unwrap_or(place);
        !links.contains(place) && !points.contains(&real.join(below))
    };
    let empty = all.iter().filter(is_empty).cloned().collect();
    Ok((all, empty))
}

/// The links in a directory, as it has them itself: to look at what is mounted there may block.
fn links(directory: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(directory).into_iter().flatten().flatten();
    found
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
        .map(|entry| entry.path())
        .collect()
}

/// Where something is mounted, as the kernel tells it (proc(5), "mountinfo").
fn mount_points(mountinfo: &str) -> Vec<PathBuf> {
    let fields = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    // The kernel writes what would end a field in octal digits (Linux 6.1 fs/proc_namespace.c:
    // `mangle`).
    let plain = |field: &str| {
        let ends = [
            ("\\040", " "),
            ("\\011", "\t"),
            ("\\012", "\n"),
            ("\\134", "\\"),
        ];
        let text = ends
            .iter()
            .fold(field.to_owned(), |text, (octal, c)| text.replace(octal, c));
        PathBuf::from(text)
    };
    fields.map(plain).collect()
}

impl Located {
    /// One more directory, if it is not known yet.
    fn add(&mut self, directory: &Path) {
        if !self.directories.iter().any(|known| known == directory) {
            self.directories.push(directory.to_owned());
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::worker::message::{assert_goes_over, assert_is_understood, latin1};

    #[test]
    fn requests() {
        let mut roots = Roots::default();
        let links = |of: &Roots, id: Option<&str>, links: &[PathBuf], images: &[PathBuf]| {
            Request::Locate(Links {
                roots: of.clone(),
                id: id.map(str::to_owned),
                links: links.to_vec(),
                images: images.to_vec(),
            })
        };
        let mut requests = vec![
            Request::Domain("/mnt/a".into()),
            Request::Domain(latin1()),
            Request::Mounts(latin1()),
            links(&roots, Some("a"), &["/l".into(), latin1()], &["/i".into()]),
            links(&roots, Some("a"), &[], &["/i".into(), "link".into()]),
        ];
        roots.repository = latin1();
        requests.push(links(&roots, None, &["/l".into()], &[]));
        assert_is_understood(&requests);
        let locate = |rest: &[&str]| {
            let words: Vec<OsString> = ["locate", "/dc", "/run"]
                .iter()
                .chain(rest)
                .map(OsString::from)
                .collect();
            <Request as message::Request>::decode(&words)
        };
        assert!(locate(&["", "image", "/i"]).is_some());
        for rest in [&[][..], &["", "link"], &["", "file", "/f"]] {
            assert_eq!(locate(rest), None, "{rest:?}");
        }
        // An id that is no UTF-8 is no id.
        let words = named("locate", &["/".as_ref(), "/".as_ref(), latin1().as_ref()]);
        assert_eq!(<Request as message::Request>::decode(&words), None);
    }

    #[test]
    fn answers() {
        let located = |block, directories: &[PathBuf], mounts: &[PathBuf]| {
            Answer::Located(Located {
                block,
                directories: directories.to_vec(),
                mounts: mounts.to_vec(),
            })
        };
        assert_goes_over(&[
            Answer::Content(Content::Found(Vec::new())),
            Answer::Content(Content::Found(b"A=1\n\0\xff".to_vec())),
            Answer::Content(Content::Missing),
            Answer::Content(Content::Absent),
            Answer::Content(Content::Block),
            Answer::Content(Content::Unreadable("no\nsuch".to_owned())),
            located(false, &[], &[]),
            located(true, &[latin1(), "/".into()], &["/mnt/a".into()]),
            Answer::Mounts(Vec::new(), Vec::new()),
            Answer::Mounts(vec!["/a".into(), latin1()], vec![latin1()]),
        ]);
        for message in [&b""[..], b"x", b"c", b"cx", b"f", b"l\x02"] {
            assert_eq!(message::decode::<Answer>(message), None, "{message:?}");
        }
    }

    #[test]
    fn mounts_are_told_from_directories() {
        let told = "36 35 0:39 / /rhev/data-center/mnt/nas:_a\\040b rw shared:1 - nfs4 nas:/a rw\n\
                    37 35 0:40 / /a\\134040 rw - tmpfs x rw\n\n38\n";
        let points = [r"/rhev/data-center/mnt/nas:_a b", r"/a\040"].map(PathBuf::from);
        assert_eq!(mount_points(told), points);
        let directory = tempfile::tempdir().unwrap();
        let repository = directory.path();
        for name in ["mnt/nas:_a", "mnt/glusterSD/g:_v", "mnt/blockSD"] {
            fs::create_dir_all(repository.join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/", repository.join("mnt/_")).unwrap();
        let names = ["mnt/_", "mnt/nas:_a", "mnt/glusterSD/g:_v"];
        let all = names.map(|name| repository.join(name));
        let empty = all[1..].to_vec();
        assert_eq!(mounts_of(repository), Ok((all.to_vec(), empty)));
        let mistyped = repository.join("mmt");
        let error = mounts_of(&mistyped).unwrap_err().to_string();
        let said = format!(
            "{}, expected VDSM's repository, which --repository names: No such file or directory (os error 2)",
            mistyped.display()
        );
        assert_eq!(error, said);
    }
}
