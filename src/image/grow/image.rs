// SPDX-License-Identifier: GPL-2.0-or-later

//! The image as `qemu-img` sees it, never probed, before an appliance opens it.
//!
//! Its storage may be dead, so a child process looks at it ([`crate::host::worker`]).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::statvfs::fstatvfs;

use crate::host::command::{self, Output};
use crate::host::files;
use crate::host::worker::message::{self, name_of, named};
use crate::host::worker::{Work, Worker};
use crate::json::Node;
use crate::{Context, Error, Result};

const QEMU_IMG: &str = "qemu-img";
/// What has to be free beside twice what the rehearsal has written.
const SPARE: u64 = 64 << 20;
/// Bytes of a file that QEMU locks: it writes, and it wants no other writer (QEMU 7.2,
/// block/file-posix.c, `RAW_LOCK_PERM_BASE` and `RAW_LOCK_SHARED_BASE` with `BLK_PERM_WRITE`).
///
/// They are asked for, and no program opens the image for writing to see whether it can: QEMU marks the
/// bitmaps of a qcow2 as in use when it does (block/qcow2-bitmap.c, `qcow2_load_dirty_bitmaps`), so
/// that an image which is then left alone would no longer be what it was.
const LOCK_BYTES: [libc::off_t; 2] = [101, 201];
/// With which `qemu-img check` ends if it has found leaked clusters and nothing else.
const LEAKS: i32 = 3;
const MAX_COMMAND_BYTES: u64 = 1 << 20;

/// An image and how it is to be read.
#[derive(Debug, Clone)]
pub struct Image {
    /// Where it is, an absolute path.
    pub path: PathBuf,
    /// What the caller says it is.
    pub format: Format,
    /// The volume's id, or another name for it that no other image has: of records and locks.
    pub id: String,
}

/// A format of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The disk itself.
    Raw,
    /// QEMU's own.
    Qcow2,
}

impl Format {
    /// By QEMU's name; none if it is another one.
    pub fn named(name: &str) -> Option<Format> {
        let formats = [Format::Raw, Format::Qcow2];
        formats.into_iter().find(|format| format.name() == name)
    }

    /// QEMU's name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
        }
    }
}

/// What `qemu-img info` tells.
pub(super) struct Facts {
    /// Of the disk, in bytes.
    pub(super) size: u64,
    pub(super) is_overlay: bool,
    /// What tells the image from every other one: see [`Image::identity`].
    pub(super) identity: String,
}

impl Image {
    /// The size of the disk in bytes, as the image has it.
    ///
    /// # Errors
    /// The image cannot be examined.
    pub fn size(&self, end: Instant) -> Result<u64> {
        self.examine(end).map(|facts| facts.size)
    }

    /// What kind of image it is, without a look inside. It has to be whole, and every image below it to
    /// say its format.
    pub(super) fn examine(&self, end: Instant) -> Result<Facts> {
        let output = self.ask(&["info", "--backing-chain"], end)?;
        if !output.status.success() && is_locked(&output) {
            return Err(self.in_use(end)?);
        }
        let text = answer(output)?;
        let chain = Node::parse(&text).context(QEMU_IMG)?.array();
        let chain: Vec<_> = chain.unwrap_or_default();
        let chain: Vec<_> = chain.iter().filter_map(|image| image.object()).collect();
        for image in &chain {
            let file = image.get("filename").map(Node::text).unwrap_or_default();
            let refused = |problem: &str| Err(Error::new(format!("{file} {problem}")));
            let is_given = |name| image.get(name).is_some();
            if is_given("backing-filename") && !is_given("backing-filename-format") {
                return refused(
                    "does not say the format of its backing file, and nothing is guessed here",
                );
            }
            let own = image.get("format-specific").and_then(Node::object);
            let own = own.and_then(|own| own.get("data").and_then(Node::object));
            let own = |member| own.as_ref().and_then(|own| own.get(member));
            if own("data-file").is_some() {
                return refused("has an external data file, expected a whole image");
            }
            if own("corrupt").is_some_and(|node| node.source() == "true") {
                return refused("is marked as corrupt: see 'qemu-img check'");
            }
        }
        let size = chain.first().and_then(|image| image.get("virtual-size"));
        let size = size.map(Node::text).unwrap_or_default();
        Ok(Facts {
            size: size.parse().context("qemu-img: virtual-size")?,
            is_overlay: chain.len() > 1,
            identity: self.identity(end)?,
        })
    }

    /// What tells the image from every other one, a copy under the same id included, whatever name it
    /// is reached by, and outlasts a boot: the number of a logical volume, or the path of a file and its
    /// inode.
    pub(super) fn identity(&self, end: Instant) -> Result<String> {
        self.look(end).map(|look| look.identity)
    }

    /// Checks that no process has the image.
    pub(super) fn check_unused(&self, end: Instant) -> Result {
        if self.look(end)?.has_writer {
            return Err(self.in_use(end)?);
        }
        Ok(())
    }

    fn in_use(&self, end: Instant) -> Result<Error> {
        let users = users(&self.path, &self.look(end)?.real)?;
        Ok(Error::new(format!("the image is in use by {users}")))
    }

    /// Checks that there is room for twice what the rehearsal has written: on the file system of a
    /// file, and on the device behind a qcow2 on block storage, which VDSM enlarges only while QEMU
    /// runs. Without room the appliance would not fail but stand still.
    pub(super) fn check_room(&self, written: u64, end: Instant) -> Result {
        let look = self.look(end)?;
        let wanted = written.saturating_mul(2).saturating_add(SPARE);
        let (free, place) = if !look.is_block {
            (look.free, "on the file system of the image")
        } else if self.format == Format::Qcow2 {
            let output = self.ask(&["check"], end)?;
            // Clusters that are nobody's, as a crash leaves them, are no damage: qemu-img(1), "check".
            let text = if output.status.code() == Some(LEAKS) {
                String::from_utf8_lossy(&output.stdout).into_owned()
            } else {
                answer(output)?
            };
            let facts = Node::parse(&text).context(QEMU_IMG)?.object();
            let used = facts.and_then(|facts| facts.get("image-end-offset").map(Node::text));
            let used: u64 = used
                .unwrap_or_default()
                .parse()
                .context("qemu-img: image-end-offset")?;
            let free = look.size.saturating_sub(used);
            (free, "behind the qcow2 image on its block device")
        } else {
            return Ok(());
        };
        if free < wanted {
            return Err(Error::new(format!(
                "{} MiB are free {place}, expected {} MiB",
                free >> 20,
                wanted.div_ceil(1 << 20)
            )));
        }
        Ok(())
    }

    fn look(&self, end: Instant) -> Result<Look> {
        look(&self.path, end)
    }

    fn ask(&self, command: &[&str], end: Instant) -> Result<Output> {
        let mut arguments: Vec<&std::ffi::OsStr> = command.iter().map(AsRef::as_ref).collect();
        arguments.extend(
            ["--output=json", "-f", self.format.name()].map(AsRef::<std::ffi::OsStr>::as_ref),
        );
        arguments.push(self.path.as_os_str());
        let left = end.saturating_duration_since(Instant::now());
        command::run(QEMU_IMG, &arguments, left.max(Duration::from_millis(1)))
    }
}

fn look(path: &Path, end: Instant) -> Result<Look> {
    let answer = WORKER.ask(&Request::Look(path.to_owned()), end)?;
    answer.ok_or_else(|| Error::new("its storage did not answer before the deadline"))?
}

/// An image's path without links; its last name is that of the volume, where the kernel calls a logical
/// one `dm-3` as well.
///
/// # Errors
/// The image is not there, or its storage does not answer.
pub fn real_path(path: &Path, end: Instant) -> Result<PathBuf> {
    let look = look(path, end)?;
    Ok(match look.volume {
        Some(name) => look.real.with_file_name(name),
        None => look.real,
    })
}

/// What a child is asked.
#[derive(Debug, PartialEq)]
enum Request {
    /// What there is to know of an image without reading it.
    Look(PathBuf),
}

static WORKER: Worker<Request, Look> = Worker::new(|request| match request {
    Request::Look(path) => Look::at(&path),
});

/// What a child does for growing: it looks at an image.
pub fn work() -> &'static dyn Work {
    &WORKER
}

impl message::Request for Request {
    fn encode(&self) -> Vec<OsString> {
        match self {
            Request::Look(path) => named("image", &[path.as_ref()]),
        }
    }

    fn decode(words: &[OsString]) -> Option<Self> {
        match name_of(words)? {
            ("image", [path]) => Some(Request::Look(path.into())),
            _ => None,
        }
    }
}

/// What the file system and the kernel know of an image.
#[derive(Debug, PartialEq)]
struct Look {
    is_block: bool,
    /// In bytes; of a block device, those of the device.
    size: u64,
    has_writer: bool,
    /// What the file system around it has for us, in bytes.
    free: u64,
    /// The image's path without links.
    real: PathBuf,
    /// The name of the logical volume that it is.
    volume: Option<String>,
    /// See [`Image::identity`].
    identity: String,
}

impl message::Answer for Look {
    fn encode(&self, message: &mut Vec<u8>) {
        self.is_block.encode(message);
        self.size.encode(message);
        self.has_writer.encode(message);
        self.free.encode(message);
        self.real.encode(message);
        self.volume.encode(message);
        self.identity.encode(message);
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        Some(Look {
            is_block: bool::decode(message)?,
            size: u64::decode(message)?,
            has_writer: bool::decode(message)?,
            free: u64::decode(message)?,
            real: PathBuf::decode(message)?,
            volume: Option::decode(message)?,
            identity: String::decode(message)?,
        })
    }
}

impl Look {
    fn at(path: &Path) -> Result<Look> {
        let look = || -> Result<Look> {
            let mut file = File::open(path)?;
            let real = fs::canonicalize(path)?;
            let facts = file.metadata()?;
            let is_block = facts.file_type().is_block_device();
            let mapped = |what| {
                let number = facts.rdev();
                let (major, minor) = (libc::major(number), libc::minor(number));
                let fact = format!("/sys/dev/block/{major}:{minor}/dm/{what}");
                let text = fs::read_to_string(fact).ok().filter(|_| is_block);
                text.map(|text| text.trim().to_owned())
                    .filter(|text| !text.is_empty())
            };
            let volume = mapped("name").as_deref().and_then(volume_of);
            let identity = mapped("uuid").unwrap_or_else(|| {
                if is_block {
                    real.display().to_string()
                } else {
                    format!("{} (inode {})", real.display(), facts.ino())
                }
            });
            let size = file.seek(SeekFrom::End(0))?;
            let has_writer = has_writer(&file)?;
            let around = fstatvfs(&file)?;
            Ok(Look {
                is_block,
                size,
                has_writer,
                free: around
                    .blocks_available()
                    .saturating_mul(around.fragment_size()),
                real,
                volume,
                identity,
            })
        };
        look().context(path.display())
    }
}

/// The logical volume of a name that LVM gave to the device-mapper: `GROUP-VOLUME`, with the hyphens in
/// both doubled (lvm2, libdm/libdm-string.c: dm_build_dm_name).
fn volume_of(mapped: &str) -> Option<String> {
    let mut singles = mapped.match_indices('-').filter(|(at, _)| {
        let before = mapped[..*at].bytes().rev().take_while(|byte| *byte == b'-');
        let behind = mapped[*at..].bytes().take_while(|byte| *byte == b'-');
        before.count() == 0 && behind.count() % 2 == 1
    });
    let (at, _) = singles.next()?;
    Some(mapped[at + 1..].replace("--", "-"))
}

fn answer(output: Output) -> Result<String> {
    let output = output.checked()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// QEMU and its tools lock an image that they write (block/file-posix.c: `raw_handle_perm_lock`).
fn is_locked(output: &Output) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    said.contains("lock") && said.contains("Is another process using the image")
}

/// Whether a QEMU writes the image, or wants nobody to. Of a raw image, `qemu-img info` does not
/// ask.
fn has_writer(file: &File) -> Result<bool> {
    for byte in LOCK_BYTES {
        let mut lock = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: byte,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
        if lock.l_type != libc::F_UNLCK as libc::c_short {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The processes that name the image on their command line or, as far as we may look, have it
/// open. The lock itself does not tell its owner.
fn users(path: &Path, real: &Path) -> Result<String> {
    let names = [path, real].map(|path| path.as_os_str().as_bytes().to_vec());
    let mut users = Vec::new();
    for entry in files::entries(Path::new("/proc"))? {
        let Ok(id) = entry.parse::<u32>() else {
            continue;
        };
        let process = Path::new("/proc").join(&entry);
        // A process may end meanwhile.
        let command =
            files::read_file(&process.join("cmdline"), MAX_COMMAND_BYTES).unwrap_or_default();
        let named = |name: &Vec<u8>| command.windows(name.len()).any(|part| part == name);
        if id != std::process::id() && (names.iter().any(named) || has_open(&process, real)) {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            users.push(format!("{} (process {id})", name.trim()));
        }
    }
    if users.is_empty() {
        return Ok("a process on another host or of another user".to_owned());
    }
    Ok(users.join(", "))
}

fn has_open(process: &Path, path: &Path) -> bool {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten();
    descriptors
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .any(|target| target == path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::worker::message::{assert_goes_over, assert_is_understood, latin1};

    #[test]
    fn messages() {
        assert_is_understood(&[Request::Look("/images/a".into()), Request::Look(latin1())]);
        assert_goes_over(&[
            Look {
                is_block: true,
                size: 1 << 40,
                has_writer: false,
                free: 1 << 50,
                real: "/dev/dm-3".into(),
                volume: Some("root".to_owned()),
                identity: "LVM-a".to_owned(),
            },
            Look {
                is_block: false,
                size: 0,
                has_writer: true,
                free: 0,
                real: latin1(),
                volume: None,
                identity: String::new(),
            },
        ]);
    }

    #[test]
    fn names_of_the_device_mapper() {
        for (mapped, volume) in [
            ("cl-root", Some("root")),
            ("a--b-c--d", Some("c-d")),
            (
                "0d9f2c4e--6b1a--4f37--9c58--7e3a1b5d8f60-8a5d3f17--9c2e--4b60--8f4d--1e7a6c9b2d05",
                Some("8a5d3f17-9c2e-4b60-8f4d-1e7a6c9b2d05"),
            ),
            ("mpatha", None),
            ("a--b", None),
            ("", None),
        ] {
            assert_eq!(volume_of(mapped).as_deref(), volume, "{mapped}");
        }
    }
}
