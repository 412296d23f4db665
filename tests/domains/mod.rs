// SPDX-License-Identifier: GPL-2.0-or-later

//! A host's storage made up in a temporary directory: mounts, links, broken files, dead storage.
#![allow(dead_code)] // Each test program uses its part.

pub(crate) mod lvm;

use std::ffi::{CString, OsStr};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, symlink,
};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vdsm_hooks::storage::locks;

/// Far longer than anything here takes, and much shorter than a time limit of 120 s.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) const EXPORT: &str = include_str!("../data/storage/export.metadata");
pub(crate) const EXPORT_ID: &str = "37e0e64b-5445-4bc3-8675-ceff4637e8e3";
pub(crate) const EXPORT_SEAL: &str = "5737f1270bf93fdd660fea819655b01a34c315b9";
pub(crate) const DATA: &str = include_str!("../data/storage/nfs-v5.metadata");
pub(crate) const DATA_ID: &str = "75f8a1bb-4504-4314-91ca-d9365a30692b";
pub(crate) const POOL: &str = "59c4c3ee-0205-0227-0229-000000000155";
pub(crate) const IMAGE: &str = "4351c1d2-0d5e-469e-ab98-a0b31d7780e4";
pub(crate) const VOLUME: &str = "aaaaaaaa-0d5e-469e-ab98-a0b31d7780e4";

/// The storage of a host.
pub(crate) struct Storage {
    root: TempDir,
}

impl Storage {
    pub(crate) fn new() -> Storage {
        let storage = Storage {
            root: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(storage.repository().join("mnt/blockSD")).unwrap();
        fs::create_dir_all(storage.run()).unwrap();
        storage
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.path().join("dc")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.path().join("run")
    }

    pub(crate) fn mount(&self, name: &str) -> PathBuf {
        self.repository().join("mnt").join(name)
    }

    /// Makes a domain without metadata; its directory.
    pub(crate) fn bare(&self, mount: &str, id: &str) -> PathBuf {
        let domain = self.mount(mount).join(id);
        fs::create_dir_all(domain.join("dom_md")).unwrap();
        fs::create_dir_all(domain.join("images").join(IMAGE)).unwrap();
        domain
    }

    /// Makes a domain with this metadata; its directory.
    pub(crate) fn domain(&self, mount: &str, id: &str, metadata: impl AsRef<[u8]>) -> PathBuf {
        let domain = self.bare(mount, id);
        fs::write(domain.join("dom_md/metadata"), metadata).unwrap();
        domain
    }

    /// Makes a domain as VDSM does, with all files and their owners; its directory. Needs root.
    pub(crate) fn whole(&self, mount: &str, id: &str, metadata: &str) -> PathBuf {
        let domain = self.domain(mount, id, metadata);
        complete(&domain, id, metadata);
        domain
    }

    /// Makes a domain with a FIFO in the place of its metadata, which would block whoever opens it;
    /// its directory.
    pub(crate) fn fifo(&self, mount: &str, id: &str) -> PathBuf {
        let domain = self.bare(mount, id);
        make_fifo(&domain.join("dom_md/metadata"));
        domain
    }

    /// Links a domain into a pool, as VDSM does when it connects the pool.
    pub(crate) fn link_into_pool(&self, domain: &Path, name: &str) {
        let pool = self.repository().join(POOL);
        fs::create_dir_all(&pool).unwrap();
        symlink(domain, pool.join(name)).unwrap();
    }

    /// Every file with its times and content, to compare before and after.
    pub(crate) fn snapshot(&self) -> Vec<String> {
        let mut lines = Vec::new();
        list(self.path(), &mut lines);
        lines.sort();
        lines
    }
}

/// What the tool did.
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `vdsm-hooks domain`.
pub(crate) fn tool(arguments: &[&str]) -> Done {
    run_tool(Command::new(env!("CARGO_BIN_EXE_vdsm-hooks")), arguments)
}

/// Runs `vdsm-hooks domain` by this command.
pub(crate) fn run_tool(mut command: Command, arguments: &[&str]) -> Done {
    let output = command
        .arg("domain")
        .args(arguments)
        .current_dir("/")
        .env_remove("CLICOLOR_FORCE")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done {
        status: output.status.code().expect("killed by a signal"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Kills `vdsm-hooks domain`, or its child, at the first, second, third of each of these system
/// calls and so on, until it is through. `attempt` gets a number, and what runs the tool with some
/// arguments and says whether it was killed; that is what it gives back. Fails where nothing can
/// be killed this way.
pub(crate) fn kill_at_every_step(
    calls: &[&str],
    mut attempt: impl FnMut(usize, &dyn Fn(&[&str]) -> bool) -> bool,
) -> Result<(), String> {
    let strace = |rest: &[&str]| Command::new("strace").args(rest).output();
    match strace(&["-f", "-o", "/dev/null", "true"]) {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => return Err(format!("strace: {error}")),
    }
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let log = log.to_str().unwrap();
    let mut number = 0;
    for call in calls {
        for step in 1.. {
            number += 1;
            let trace = format!("trace={call}");
            let inject = format!("inject={call}:signal=KILL:when={step}");
            let run = |arguments: &[&str]| {
                let tool = [env!("CARGO_BIN_EXE_vdsm-hooks"), "domain"];
                let options = ["-f", "-o", log, "-e", &trace, "-e", &inject];
                strace(&[&options[..], &tool, arguments].concat()).unwrap();
                fs::read_to_string(log).unwrap().contains("SIGKILL")
            };
            if !attempt(number, &run) {
                break;
            }
            assert!(step < 1000, "{call} has no end");
        }
    }
    Ok(())
}

/// Whether files can be given to VDSM's user.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Gives a domain the files that its metadata demands.
pub(crate) fn complete(domain: &Path, id: &str, metadata: &str) {
    let dom_md = domain.join("dom_md");
    let local = metadata.contains("TYPE=LOCALFS");
    let sanlock = !metadata.contains("VERSION=0") && !local;
    let unit = if metadata.contains("ALIGNMENT=2097152") {
        2 << 20
    } else {
        1 << 20
    };
    let mut ids = Vec::new();
    let mut leases = locks::free_record().to_vec();
    if sanlock {
        ids = record(0x1221_2010, id, "");
        ids.resize(unit, 0);
        leases = vec![0; 2 * unit];
        leases[unit..unit + 512].copy_from_slice(&record(0x0615_2010, id, "SDM"));
        let mut xleases = vec![0; unit + 62 * 4096];
        xleases[unit..unit + 10].copy_from_slice(b"\x12\x15\x20\x16\x000001\0");
        xleases[unit + 10..unit + 46].copy_from_slice(id.as_bytes());
        xleases[unit + 511] = b'\n';
        fs::write(dom_md.join("xleases"), xleases).unwrap();
    }
    fs::write(dom_md.join("ids"), ids).unwrap();
    fs::write(dom_md.join("leases"), leases).unwrap();
    for name in ["inbox", "outbox"] {
        let file = File::create(dom_md.join(name)).unwrap();
        file.set_len(16 << 20).unwrap();
    }
    if metadata.contains("CLASS=Iso") {
        fs::create_dir_all(domain.join("images/11111111-1111-1111-1111-111111111111")).unwrap();
    }
    hand_over(domain);
}

/// The start of a record of sanlock's.
fn record(magic: u32, space: &str, resource: &str) -> Vec<u8> {
    let mut record = vec![0; 512];
    record[..4].copy_from_slice(&magic.to_le_bytes());
    record[0x38..0x38 + space.len()].copy_from_slice(space.as_bytes());
    record[0x68..0x68 + resource.len()].copy_from_slice(resource.as_bytes());
    record
}

/// Gives everything below `path` the owner and the mode that VDSM gives it.
pub(crate) fn hand_over(path: &Path) {
    let found = fs::symlink_metadata(path).unwrap();
    if found.is_symlink() {
        return;
    }
    chown(path, Some(36), Some(36)).unwrap();
    let text = ["metadata", "ovf", "meta", "iso"].map(Some);
    let is_text =
        path.ends_with("metadata") || text.contains(&path.extension().and_then(OsStr::to_str));
    let mode = if found.is_dir() {
        0o755
    } else if is_text {
        0o644
    } else {
        0o660
    };
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            hand_over(&entry.unwrap().path());
        }
    }
}

fn list(path: &Path, lines: &mut Vec<String>) {
    let found = fs::symlink_metadata(path).unwrap();
    let times = (
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
    );
    let content = if found.is_file() {
        fs::read(path).unwrap()
    } else {
        Vec::new()
    };
    lines.push(format!("{path:?} {times:?} {} {content:?}", found.mode()));
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            list(&entry.unwrap().path(), lines);
        }
    }
}

pub(crate) fn make_fifo(path: &Path) {
    let status = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(status.success());
    assert!(fs::metadata(path).unwrap().file_type().is_fifo());
}

/// The processes that have `text` in their command line, as (number, state).
pub(crate) fn processes(text: &Path) -> Vec<(String, char)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let line = String::from_utf8_lossy(&line).into_owned();
        if !line.contains(&*text.to_string_lossy()) {
            continue;
        }
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        found.push((
            entry.file_name().to_string_lossy().into_owned(),
            state.unwrap_or('?'),
        ));
    }
    found
}

/// Asserts that no process works on `path` any more. A killed one takes a moment to vanish.
pub(crate) fn assert_nobody_works_on(path: &Path) {
    let begin = Instant::now();
    loop {
        // A process that has ended has an empty command line.
        let left = processes(path);
        if left.is_empty() {
            return;
        }
        assert!(begin.elapsed() < TIMEOUT, "left behind: {left:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A mounted file system whose server has stopped to answer: whoever touches it blocks in the
/// kernel and cannot be killed, as on dead NFS.
pub(crate) struct DeadMount {
    directory: PathBuf,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

const FUSE_INIT: u32 = 26;

impl DeadMount {
    /// Mounts it on `directory`, or says why that is not possible here.
    pub(crate) fn on(directory: &Path) -> Result<DeadMount, String> {
        DeadMount::mount(directory, true)
    }

    /// The same, but whoever waits there can be killed: the server does not even take what it is
    /// asked.
    pub(crate) fn killable(directory: &Path) -> Result<DeadMount, String> {
        DeadMount::mount(directory, false)
    }

    fn mount(directory: &Path, takes: bool) -> Result<DeadMount, String> {
        fs::create_dir_all(directory).unwrap();
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
            .open("/dev/fuse")
            .map_err(|error| format!("/dev/fuse: {error}"))?;
        let mounted = Command::new("mount")
            .args([
                "-i",
                "-t",
                "fuse",
                "-o",
                "fd=0,rootmode=40000,user_id=0,group_id=0",
                "dead",
            ])
            .arg(directory)
            .stdin(Stdio::from(device.try_clone().unwrap()))
            .output()
            .map_err(|error| format!("mount: {error}"))?;
        if !mounted.status.success() {
            return Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned());
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let server = thread::spawn(move || serve(device, &stopped, takes));
        Ok(DeadMount {
            directory: directory.to_owned(),
            stop,
            server: Some(server),
        })
    }
}

/// Greets the kernel, takes its requests if it is to, and answers none of them.
fn serve(mut device: File, stop: &AtomicBool, takes: bool) {
    let mut request = vec![0; 1 << 18];
    let mut greeted = false;
    while !stop.load(Ordering::SeqCst) {
        let read = if greeted && !takes {
            Ok(0)
        } else {
            device.read(&mut request)
        };
        let Ok(count @ 1..) = read else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        let number = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        if count >= 48 && number(4) == FUSE_INIT {
            let mut reply = Vec::new();
            reply.extend(80u32.to_ne_bytes());
            reply.extend(0i32.to_ne_bytes());
            reply.extend_from_slice(&request[8..16]);
            // The version that the kernel speaks, and a largest write; nothing else matters.
            reply.extend(7u32.to_ne_bytes());
            reply.extend(number(44).to_ne_bytes());
            reply.resize(16 + 20, 0);
            reply.extend(4096u32.to_ne_bytes());
            reply.resize(80, 0);
            device.write_all(&reply).unwrap();
            greeted = true;
        }
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // The server's end is closed with it, which lets everybody go who waits.
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
        let path = CString::new(self.directory.to_string_lossy().as_bytes()).unwrap();
        let _ = Command::new("umount")
            .arg("-l")
            .arg(path.to_str().unwrap())
            .status();
    }
}
