// SPDX-License-Identifier: GPL-2.0-or-later

//! Image files of the host that a custom property names: whether they lie where the administrator
//! allows it, and what they are.
//!
//! They may lie on storage that is dead, so a child process looks at them ([`crate::host::worker`]). A
//! program that uses this module calls [`serve`] before anything else in `main`.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{major, minor};

use crate::host::worker::message::{self, name_of, named};
use crate::host::worker::{self, Worker};
use crate::host::{allowlist, files};
use crate::{Error, Result};

/// The list of the directories with images.
const TOPIC: &str = "allowed-paths";
/// How long to wait for the storage of one image.
const TIMEOUT: Duration = Duration::from_secs(10);
/// So much of an image tells what it is: the fixed part of the header of qcow2's version 3 (QEMU
/// 7.2 docs/interop/qcow2.txt).
const HEADER: u64 = 104;
const QCOW2_MAGIC: &[u8] = b"QFI\xfb";
/// File systems that several hosts see at the same time, as the kernel calls them.
const SHARED: [&str; 9] = [
    "ceph",
    "cifs",
    "fuse.ceph-fuse",
    "fuse.glusterfs",
    "gfs2",
    "nfs",
    "nfs4",
    "ocfs2",
    "smb3",
];
const MAX_MOUNTINFO_BYTES: u64 = 16 << 20;

/// An image of the host.
#[derive(Debug, PartialEq, Eq)]
pub struct Image {
    /// Where it is, links resolved.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// Whether its mode lets the owner write.
    pub is_writable: bool,
    /// Whether it lies on a network or cluster file system.
    pub is_shared: bool,
}

/// What a child is asked.
#[derive(Debug, PartialEq)]
enum Request {
    /// Which image the path leads to.
    Find(PathBuf),
    /// Whether an image is of this format, and can be opened without the host's cache.
    Check { path: PathBuf, format: String },
}

/// What it answers.
#[derive(Debug, PartialEq)]
enum Answer {
    /// The image.
    Found(Image),
    /// It is of that format; whether it can be opened without the host's cache.
    Checked(bool),
}

static WORKER: Worker<Request, Answer> = Worker::new(|request| match request {
    Request::Find(path) => look(&path).map(Answer::Found),
    Request::Check { path, format } => check(&path, &format).map(Answer::Checked),
});

impl message::Request for Request {
    fn encode(&self) -> Vec<OsString> {
        match self {
            Request::Find(path) => named("find", &[path.as_ref()]),
            Request::Check { path, format } => named("check", &[path.as_ref(), format.as_ref()]),
        }
    }

    fn decode(words: &[OsString]) -> Option<Self> {
        match name_of(words)? {
            ("find", [path]) => Some(Request::Find(path.into())),
            ("check", [path, format]) => Some(Request::Check {
                path: path.into(),
                format: format.to_str()?.to_owned(),
            }),
            _ => None,
        }
    }
}

impl message::Answer for Answer {
    fn encode(&self, message: &mut Vec<u8>) {
        match self {
            Answer::Found(image) => {
                b'f'.encode(message);
                image.path.encode(message);
                image.size.encode(message);
                image.is_writable.encode(message);
                image.is_shared.encode(message);
            }
            Answer::Checked(is_direct) => {
                b'c'.encode(message);
                is_direct.encode(message);
            }
        }
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        match u8::decode(message)? {
            b'f' => Some(Answer::Found(Image {
                path: String::decode(message)?,
                size: u64::decode(message)?,
                is_writable: bool::decode(message)?,
                is_shared: bool::decode(message)?,
            })),
            b'c' => bool::decode(message).map(Answer::Checked),
            _ => None,
        }
    }
}

/// Finds the image that `path` leads to, which must be below one of the directories that the
/// administrator allows.
///
/// # Errors
/// It is not, it is no regular file, or its storage does not answer. Of what is outside the error
/// does not tell whether it is there.
pub fn find(path: &str) -> Result<Image> {
    let given = Path::new(path);
    if !given.is_absolute() || given.components().any(|part| part == Component::ParentDir) {
        return Err(Error::new(
            "not in an allowed directory, expected an absolute path without '..'",
        ));
    }
    let answer = ask(&Request::Find(given.to_owned())).map_err(|silence| {
        match allowlist::directories(TOPIC, &[allowlist::IMAGES]) {
            Ok(directories) if !is_below(given, &directories) => allowlist::outside(TOPIC, given),
            _ => silence,
        }
    })?;
    match answer? {
        Answer::Found(image) => Ok(image),
        Answer::Checked(_) => Err(worker::unexpected()),
    }
}

impl Image {
    /// Checks that the content is of this format, `raw` or `qcow2`, and that it leads to no other
    /// file. Whether it can be opened without the host's cache.
    ///
    /// # Errors
    /// It is of another format, it leads elsewhere, or it cannot be read.
    pub fn check(&self, format: &str) -> Result<bool> {
        let request = Request::Check {
            path: PathBuf::from(&self.path),
            format: format.to_owned(),
        };
        match ask(&request)?? {
            Answer::Checked(is_direct) => Ok(is_direct),
            Answer::Found(_) => Err(worker::unexpected()),
        }
    }
}

/// Does a child's work if the program was started as one. To be called before anything else.
pub fn serve() -> Option<ExitCode> {
    WORKER.serve()
}

/// What a child answers; an error outside of that if it does not.
fn ask(request: &Request) -> Result<Result<Answer>> {
    let answer = WORKER.ask(request, Instant::now() + TIMEOUT)?;
    answer.ok_or_else(|| {
        Error::new(format!(
            "its storage does not answer within {} seconds",
            TIMEOUT.as_secs()
        ))
    })
}

/// The child's part of [`find`].
fn look(path: &Path) -> Result<Image> {
    let directories = allowlist::directories(TOPIC, &[allowlist::IMAGES])?;
    let (real, found) = resolve(path);
    if !is_allowed(&real, &directories) {
        // The line that helps is that of the place where an allowed link leads to.
        let named = if is_below(path, &directories) {
            &real
        } else {
            path
        };
        return Err(allowlist::outside(TOPIC, named));
    }
    let missing = |why: &str| Error::new(format!("no such image: {why}, expected a regular file"));
    if let Err(error) = found {
        return Err(match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => missing("nothing is there"),
            _ => Error::new(format!("VDSM cannot look at it: {error}")),
        });
    }
    let facts = fs::metadata(&real)?;
    if !facts.is_file() {
        return Err(missing("it is something else"));
    }
    let real = real.to_str().ok_or_else(|| Error::new("not UTF-8"))?;
    let is_writable = facts.mode() & 0o200 != 0;
    let size = facts.len();
    let mounts = files::read_file(Path::new("/proc/self/mountinfo"), MAX_MOUNTINFO_BYTES)?;
    let mounts = String::from_utf8_lossy(&mounts);
    let file_system = file_system(&mounts, facts.dev()).unwrap_or_default();
    let is_shared = SHARED.contains(&file_system);
    Ok(Image {
        path: real.to_owned(),
        size,
        is_writable,
        is_shared,
    })
}

/// The path with its links resolved. Where it leads to nothing that can be seen, as much of it as
/// there is, the rest as it was, and why.
fn resolve(path: &Path) -> (PathBuf, io::Result<()>) {
    let mut found = Ok(());
    for ancestor in path.ancestors() {
        match fs::canonicalize(ancestor) {
            Ok(real) => {
                let rest = path.strip_prefix(ancestor).unwrap_or(path);
                // Joining an empty rest would add a slash.
                let real = if found.is_ok() { real } else { real.join(rest) };
                return (real, found);
            }
            Err(error) => found = found.and(Err(error)),
        }
    }
    (path.to_owned(), found)
}

/// `real` has its links resolved, the allowed directories may be links themselves.
fn is_allowed(real: &Path, directories: &[PathBuf]) -> bool {
    let resolved = |directory: &PathBuf| fs::canonicalize(directory).ok();
    is_below(real, directories)
        || directories
            .iter()
            .filter_map(resolved)
            .any(|directory| is_below(real, &[directory]))
}

fn is_below(path: &Path, directories: &[PathBuf]) -> bool {
    directories
        .iter()
        .any(|directory| path.starts_with(directory))
}

/// What the file system of this device number is called.
fn file_system(mountinfo: &str, device: u64) -> Option<&str> {
    let device = format!("{}:{}", major(device), minor(device));
    let line = mountinfo
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(&device))?;
    // A mount has any number of optional fields, and a dash after them (proc(5), "mountinfo").
    line.split_once(" - ")?.1.split(' ').next()
}

/// The child's part of [`Image::check`].
fn check(path: &Path, format: &str) -> Result<bool> {
    let mut header = Vec::new();
    File::open(path)
        .and_then(|file| file.take(HEADER).read_to_end(&mut header))
        .map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => {
                Error::new("VDSM cannot read it, expected read access for the group kvm")
            }
            _ => Error::from(error),
        })?;
    match format {
        "qcow2" => check_qcow2(&header)?,
        _ if header.starts_with(QCOW2_MAGIC) => {
            return Err(Error::new(
                "not a raw image, what it holds is qcow2: expected :qcow2, or an image without that header",
            ));
        }
        _ => {}
    }
    let direct = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_DIRECT.bits())
        .open(path);
    match direct {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// An image that names another file would hand that to the guest as well.
fn check_qcow2(header: &[u8]) -> Result {
    const DATA_FILE: u8 = 1 << 2;
    let bytes = |at: usize, count: usize| header.get(at..at + count).unwrap_or_default();
    let has_data_file = match (header.starts_with(QCOW2_MAGIC), bytes(4, 4), header.len()) {
        (true, [0, 0, 0, 2], 72..) => false,
        // The last byte of the features that a program must know.
        (true, [0, 0, 0, 3], 104..) => header[79] & DATA_FILE != 0,
        _ => {
            return Err(Error::new(
                "not a qcow2 image, expected a header of its version 2 or 3",
            ));
        }
    };
    if bytes(8, 8).iter().any(|byte| *byte != 0) {
        return Err(Error::new("it has a backing file, expected a whole image"));
    }
    if has_data_file {
        return Err(Error::new(
            "it has an external data file, expected a whole image",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;
    use crate::host::worker::message::{assert_goes_over, assert_is_understood};
    use nix::sys::stat::makedev;

    #[test]
    fn messages() {
        assert_is_understood(&[
            Request::Find("/images/a".into()),
            Request::Find(OsString::from_vec(b"/images/caf\xe9".to_vec()).into()),
            Request::Check {
                path: "/images/a".into(),
                format: "qcow2".to_owned(),
            },
        ]);
        let no_format = OsString::from_vec(b"\xff".to_vec());
        let words = named("check", &["/images/a".as_ref(), &no_format]);
        assert_eq!(<Request as message::Request>::decode(&words), None);
        let image = Image {
            path: "/images/é".to_owned(),
            size: 1 << 40,
            is_writable: true,
            is_shared: false,
        };
        assert_goes_over(&[
            Answer::Found(image),
            Answer::Checked(true),
            Answer::Checked(false),
        ]);
        assert_eq!(message::decode::<Answer>(b"x"), None);
    }

    #[test]
    fn headers() {
        let problem = |length: usize, bytes: &[(usize, u8)]| {
            let mut header = vec![0; length];
            header[..4].copy_from_slice(QCOW2_MAGIC);
            for (at, byte) in bytes {
                header[*at] = *byte;
            }
            check_qcow2(&header).err().map(|error| error.to_string())
        };
        let says = |found: Option<String>, word: &str| {
            let text = found.unwrap_or_default();
            assert!(text.contains(word), "{text:?}: {word:?}");
        };
        assert_eq!(problem(104, &[(7, 3)]), None);
        assert_eq!(problem(72, &[(7, 2)]), None);
        // Lazy reference counts, and every other feature that is none of ours.
        assert_eq!(problem(104, &[(7, 3), (87, 1), (79, 0xfb)]), None);
        says(problem(104, &[(7, 1)]), "version 2 or 3");
        says(problem(103, &[(7, 3)]), "version 2 or 3");
        says(problem(71, &[(7, 2)]), "version 2 or 3");
        says(problem(104, &[(7, 3), (0, b'K')]), "not a qcow2 image");
        for byte in 8..16 {
            says(problem(104, &[(7, 3), (byte, 1)]), "backing file");
            says(problem(72, &[(7, 2), (byte, 0x80)]), "backing file");
        }
        says(problem(104, &[(7, 3), (79, 4)]), "data file");
    }

    #[test]
    fn file_systems() {
        let mounts = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            35 22 0:50 / /a\\040-\\040b rw master:2 propagate_from:3 - nfs4 nas:/x rw\n\
            36 22 0:5 / /g rw - fuse.glusterfs g1:v rw\n";
        let name = |major, minor| file_system(mounts, makedev(major, minor));
        assert_eq!(name(254, 0), Some("ext4"));
        assert_eq!(name(0, 50), Some("nfs4"));
        assert_eq!(name(0, 5), Some("fuse.glusterfs"));
        assert_eq!(name(0, 51), None);
    }
}
