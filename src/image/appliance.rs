// SPDX-License-Identifier: GPL-2.0-or-later

//! Disk images through libguestfs, by its program `guestfish`: a small machine of its own, the
//! appliance, opens the image, so that neither the host's kernel nor the hook sees what is in it.
//!
//! The program gets one command at a time on its standard input. When the hook dies, for whatever
//! reason, that input ends: guestfish brings the command under way to its end, closes the image and
//! goes, so that no appliance is left behind that holds the image's lock.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, mkdtemp};

use crate::host::state::{self, Lock};
use crate::host::{command, files, interrupt};
use crate::{Context, Error, Result};

/// For programs that libguestfs runs by name.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the appliance is kept between runs, see [`state::cache`]. Not `/var/tmp` as libguestfs would
/// have it (1.48 lib/appliance.c): there it takes any directory of the right name for its own, and
/// gives up if that is somebody else's.
const CACHE: &str = "libguestfs";
/// How the directories of running appliances begin.
const WORKSHOP: &str = "run.";
const TRIES: usize = 8;
/// How long an interrupt may go unnoticed.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// An answer is a few lines.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// How long a killed appliance may take to vanish.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// What may become of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// What the appliance writes goes to a temporary overlay; not even the header changes.
    ReadOnly,
    /// The image itself; refused while another process has it.
    ReadWrite,
}

/// How to open an image.
pub struct Opening<'a> {
    /// Where it is.
    pub image: &'a Path,
    /// Its format, by QEMU's name; it is not probed.
    pub format: &'a str,
    /// Whether it is written.
    pub access: Access,
    /// libguestfs' `LIBGUESTFS_BACKEND_SETTINGS`, such as `force_tcg`.
    pub settings: Option<&'a str>,
    /// Locks that are to be held until guestfish has ended, whatever becomes of us.
    pub locks: &'a [&'a Lock],
}

/// A running appliance with one image, its `/dev/sda`. Dropped, it is killed.
pub struct Appliance {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    errors: ChildStderr,
    /// Ends an answer. Nothing that a guest has written can hold it.
    mark: String,
    end: Instant,
    /// What guestfish has said on its standard error.
    said: String,
    /// Whether an interrupt ends the wait for an answer.
    is_interruptible: bool,
    /// Where the writes go if not to the image.
    overlay: Option<PathBuf>,
    /// The temporary files of libguestfs.
    _workshop: Workshop,
}

/// A directory that goes with its process; at the latest when the next one makes its own.
struct Workshop {
    path: PathBuf,
    /// Tells that the process lives.
    _held: Flock<File>,
}

impl Workshop {
    fn new(cache: &Path) -> Result<Workshop> {
        for name in files::entries(cache)? {
            let path = cache.join(&name);
            if name.starts_with(WORKSHOP) && hold(&path).is_ok() {
                // What stays is in nobody's way.
                let _ = fs::remove_dir_all(path);
            }
        }
        // Before it is held another process may take it for one that was left.
        for _ in 1..TRIES {
            if let Some(workshop) = Workshop::make(cache)? {
                return Ok(workshop);
            }
        }
        Err(Error::new(format!(
            "{}: no directory stays there",
            cache.display()
        )))
    }

    fn make(cache: &Path) -> Result<Option<Workshop>> {
        let template = cache.join(format!("{WORKSHOP}XXXXXX"));
        let path = mkdtemp(&template).context(template.display())?;
        let held = hold(&path).ok();
        Ok(held
            .filter(|_| path.exists())
            .map(|held| Workshop { path, _held: held }))
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Locks a directory, if nobody else has.
fn hold(directory: &Path) -> io::Result<Flock<File>> {
    let directory = File::open(directory)?;
    Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
}

impl Appliance {
    /// Starts an appliance that opens the image. After `end` nothing more is answered.
    ///
    /// # Errors
    /// No guestfish, an image that cannot be opened or is in use, or an appliance that does not
    /// start.
    pub fn start(opening: &Opening<'_>, end: Instant) -> Result<Appliance> {
        let program = command::find("guestfish").map_err(|error| {
            Error::new(format!(
                "{error}: install libguestfs with its program guestfish"
            ))
        })?;
        let mark = getrandom::u64().context("the system's random source")?;
        let cache = state::cache(CACHE)?;
        let workshop = Workshop::new(&cache)?;
        let overlay = match opening.access {
            Access::ReadOnly => Some(make_overlay(opening, &workshop.path, end)?),
            Access::ReadWrite => None,
        };
        // Until the child has them. A file that another thread's child gets as well is a lock that is
        // held for longer, and no more.
        let held: Vec<File> = (opening.locks.iter())
            .map(|lock| lock.inheritable())
            .collect::<Result<_>>()?;
        let mut command = with_usual_priority(&program);
        command
            .env_clear()
            .envs([("PATH", PATH), ("LC_ALL", "C")])
            .env("LIBGUESTFS_BACKEND", "direct")
            .env("LIBGUESTFS_CACHEDIR", &cache)
            .env("HOME", &workshop.path)
            .env("TMPDIR", &workshop.path)
            .env("XDG_RUNTIME_DIR", &workshop.path)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(settings) = opening.settings {
            command.env("LIBGUESTFS_BACKEND_SETTINGS", settings);
        }
        let mut child = command.spawn().context("guestfish")?;
        drop(held);
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(Error::new("guestfish: no pipes"));
        };
        let mut appliance = Appliance {
            child,
            input: Some(input),
            output,
            errors,
            mark: format!("{mark:016x}\n"),
            end,
            said: String::new(),
            is_interruptible: opening.access == Access::ReadOnly,
            overlay,
            _workshop: workshop,
        };
        let drive = match &appliance.overlay {
            // What is in it goes with the appliance, whether or not it has reached the disk.
            Some(there) => format!("{} format:qcow2 cachemode:unsafe", path_word(there)),
            None => format!(
                "{} format:{}",
                path_word(opening.image),
                word(opening.format)?
            ),
        };
        appliance
            .ask(&format!("add-drive {drive}"))
            .and_then(|_| appliance.ask("run"))
            .context("the appliance does not start")?;
        Ok(appliance)
    }

    /// The answer to one command of guestfish. Words that are not the caller's own go through
    /// [`word`] or [`quoted`].
    ///
    /// # Errors
    /// libguestfs' message, or that there is no answer until the appliance's end.
    pub fn ask(&mut self, command: &str) -> Result<String> {
        let answer = self.ask_bytes(command)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// [`Appliance::ask`] of what is not text.
    ///
    /// # Errors
    /// The same.
    pub fn ask_bytes(&mut self, command: &str) -> Result<Vec<u8>> {
        // With the dash guestfish goes on after an error.
        self.tell("-", command)
    }

    /// Has guestfish do a command. After an error it does nothing more, and ends.
    ///
    /// # Errors
    /// As [`Appliance::ask`].
    pub fn step(&mut self, command: &str) -> Result {
        self.tell("", command).map(drop)
    }

    fn tell(&mut self, dash: &str, command: &str) -> Result<Vec<u8>> {
        log::debug!("guestfish: {command}");
        let name = command.split(' ').next().unwrap_or_default();
        let lines = format!("{dash}{command}\necho {}", self.mark);
        let sent = self.input.as_mut().map(|input| {
            let written = input.write_all(lines.as_bytes());
            written.and_then(|()| input.flush())
        });
        let (answer, errors, is_whole) = self.listen()?;
        self.said += &errors;
        match message(&errors) {
            Some(message) => Err(Error::new(message)),
            None if is_whole => Ok(answer),
            None => {
                sent.transpose().context("guestfish")?;
                Err(Error::new(format!("guestfish died at '{name}'")))
            }
        }
    }

    /// Unmounts and writes everything, ends the appliance and closes the image.
    ///
    /// # Errors
    /// What was written may not have reached the image.
    pub fn shut_down(mut self) -> Result {
        // `shutdown` does both, and would not tell which of them has failed.
        self.ask("umount-all")?;
        self.ask("sync")?;
        self.finish()
    }

    /// [`Appliance::shut_down`] in one step, of one that can still be asked what it has said.
    ///
    /// # Errors
    /// What was written may not have reached the image.
    pub fn finish(&mut self) -> Result {
        // It unmounts and writes everything, and fails if that does (libguestfs 1.48 lib/handle.c:
        // shutdown_backend).
        self.ask("shutdown")?;
        // At the end of its input it ends.
        self.input = None;
        self.wait_until(self.end);
        match self.child.try_wait()? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Error::new(format!("guestfish: {status}"))),
            None => Err(gave_up()),
        }
    }

    /// The length of the overlay in which the writes to a read-only image are, in bytes; what is still
    /// in the appliance's memory is written first.
    ///
    /// # Errors
    /// The image itself is written.
    pub fn overlay_size(&mut self) -> Result<u64> {
        self.ask("umount-all")?;
        self.ask("sync")?;
        let overlay = self.overlay.as_ref();
        let overlay =
            overlay.ok_or_else(|| Error::new("the appliance writes to the image itself"))?;
        Ok(fs::metadata(overlay).context(overlay.display())?.len())
    }

    /// The last lines that guestfish has said on its standard error.
    pub fn last_words(&self, lines: usize) -> Vec<&str> {
        let all: Vec<&str> = self.said.lines().collect();
        all[all.len().saturating_sub(lines)..].to_vec()
    }

    /// Reads until the mark, or until guestfish closes its output: the answer, what was said on
    /// standard error meanwhile, and whether the mark came.
    fn listen(&mut self) -> Result<(Vec<u8>, String, bool)> {
        let mut kept = [Vec::new(), Vec::new()];
        let mut open = [true, true];
        let is_whole = |streams: &[Vec<u8>; 2]| streams[0].ends_with(self.mark.as_bytes());
        // Without a stream nothing would end the wait but the deadline.
        while open != [false, false] {
            let left = self.end.saturating_duration_since(Instant::now());
            let is_answered = is_whole(&kept);
            if !is_answered && left.is_zero() {
                return Err(gave_up());
            }
            if self.is_interruptible {
                interrupt::pending()?;
            }
            // An error is said before the mark, so it is in the pipe already.
            let left = if is_answered {
                Duration::ZERO
            } else {
                left.min(BETWEEN_LOOKS)
            };
            let pipes = [self.output.as_fd(), self.errors.as_fd()];
            let streams: Vec<usize> = (0..2).filter(|&stream| open[stream]).collect();
            let polled = |&stream: &usize| PollFd::new(pipes[stream], PollFlags::POLLIN);
            let mut polled: Vec<_> = streams.iter().map(polled).collect();
            match poll(
                &mut polled,
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
            ) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let pairs = streams.into_iter().zip(&polled);
            let ready = pairs.filter(|(_, fd)| fd.any() == Some(true));
            let ready: Vec<usize> = ready.map(|(stream, _)| stream).collect();
            if is_answered && ready.is_empty() {
                break;
            }
            let mut piece = [0; 8192];
            for stream in ready {
                let count = match stream {
                    0 => self.output.read(&mut piece)?,
                    _ => self.errors.read(&mut piece)?,
                };
                open[stream] = count > 0;
                kept[stream].extend_from_slice(&piece[..count]);
                if kept[stream].len() > MAX_ANSWER_BYTES {
                    return Err(Error::new("guestfish: an answer without end"));
                }
            }
        }
        let is_whole = is_whole(&kept);
        let [mut answer, errors] = kept;
        if is_whole {
            answer.truncate(answer.len() - self.mark.len());
        }
        let errors = String::from_utf8_lossy(&errors).into_owned();
        Ok((answer, errors, is_whole))
    }

    fn wait_until(&mut self, end: Instant) {
        while !matches!(self.child.try_wait(), Ok(Some(_))) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            // The group may have ended by itself.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        self.wait_until(Instant::now() + KILL_TIMEOUT);
    }
}

/// Makes the overlay for an image that is only to be read. libguestfs' own (`readonly:true`) does not do:
/// QEMU is not told the format of the image below it (1.48 lib/launch-direct.c), so that a guest that
/// writes the header of another format to its disk decides what is opened, and even written, instead.
fn make_overlay(opening: &Opening<'_>, directory: &Path, end: Instant) -> Result<PathBuf> {
    let overlay = directory.join("overlay.qcow2");
    let arguments: [&OsStr; 8] = [
        "create".as_ref(),
        "-q".as_ref(),
        "-f".as_ref(),
        "qcow2".as_ref(),
        "-F".as_ref(),
        opening.format.as_ref(),
        "-b".as_ref(),
        opening.image.as_ref(),
    ];
    let arguments = [&arguments[..], &[overlay.as_os_str()]].concat();
    let left = end.saturating_duration_since(Instant::now());
    command::run("qemu-img", &arguments, left.max(Duration::from_millis(1)))?.checked()?;
    Ok(overlay)
}

fn path_word(path: &Path) -> String {
    quoted(path.as_os_str().as_bytes())
}

fn gave_up() -> Error {
    Error::new("the appliance was given up at the deadline")
}

/// The program at the priority of everybody else: VDSM, and so its hooks, run at -20 (vdsm's
/// static/usr/lib/systemd/system/vdsmd.service.in: `Nice=-20`).
fn with_usual_priority(program: &Path) -> Command {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // proc(5): the 19th field, of which the second is a name in brackets that may hold blanks.
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let nice = behind_name.split_whitespace().nth(16);
    let nice: i32 = nice.and_then(|nice| nice.parse().ok()).unwrap_or(0);
    match command::find("nice") {
        Ok(path) if nice < 0 => {
            let mut command = Command::new(path);
            command.arg("-n").arg((-nice).to_string()).arg(program);
            command
        }
        _ => Command::new(program),
    }
}

/// Any bytes as one word of a command.
pub fn quoted(text: &[u8]) -> String {
    let mut word = String::from("\"");
    for byte in text {
        match byte {
            b'"' | b'\\' => word.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => word.push(char::from(*byte)),
            _ => word += &format!("\\x{byte:02x}"),
        }
    }
    word + "\""
}

/// `text` as one word of a command, if it is a plain name or path, such as those of devices.
///
/// # Errors
/// It has other characters.
pub fn word(text: &str) -> Result<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/_.+-".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        Ok(text)
    } else {
        Err(Error::new(format!("the name {text:?} is not a plain one")))
    }
}

/// What went wrong: the first error, without the place in guestfish's input and without the advice
/// that follows. None if there was none.
fn message(errors: &str) -> Option<String> {
    let mut of_library = errors
        .lines()
        .filter_map(|line| line.split_once("libguestfs: error: "));
    let of_program = || {
        let mut lines = errors.lines().map(str::trim);
        lines.find(|line| line.starts_with("guestfish: ") || line.starts_with("error: "))
    };
    let of_library = of_library.next().map(|(_, message)| message);
    let message = of_library.or_else(of_program)?;
    Some(with_own_names(message.trim().trim_end_matches('.')))
}

/// A message of a program in the appliance, whose kernel numbers the disk and the appliance's own in the
/// order in which they turn up. There is only one disk that it can be about.
fn with_own_names(message: &str) -> String {
    let mut pieces = message.split("/dev/sd");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_lowercase());
        text += "/dev/sda";
        text += rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_told_from_the_advice() {
        for (errors, text) in [
            ("", None),
            ("libguestfs: warning: not now\n", None),
            (
                "*stdin*:22: libguestfs: error: mkfs: too small\nUsage: mkfs.xfs\n",
                Some("mkfs: too small"),
            ),
            (
                "*stdin*:1: libguestfs: error: crashed.\nDo:\n  export LIBGUESTFS_DEBUG=1\n\
                 *stdin*:1: libguestfs: error: guestfs_launch failed.\n",
                Some("crashed"),
            ),
            (
                "libguestfs: error: part_resize: parted: /dev/sdb: Error: /dev/sdb12 and /dev/sdab\n",
                Some("part_resize: parted: /dev/sda: Error: /dev/sda12 and /dev/sda"),
            ),
            (
                "guestfish: command arguments not separated by whitespace\n",
                Some("guestfish: command arguments not separated by whitespace"),
            ),
        ] {
            assert_eq!(message(errors).as_deref(), text);
        }
    }

    #[test]
    fn any_word_can_be_quoted() {
        for (text, word) in [
            (&b"/a b"[..], r#""/a b""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"a\nb\xe9", r#""a\x0ab\xe9""#),
            ("é".as_bytes(), r#""\xc3\xa9""#),
        ] {
            assert_eq!(quoted(text), word);
        }
    }

    #[test]
    fn names_that_are_more_than_a_word() {
        assert_eq!(
            word("/dev/vg-1/root_2.a+b").ok(),
            Some("/dev/vg-1/root_2.a+b")
        );
        for text in [
            "", "-x", "a b", "a;b", "a\"b", "a\nb", "$a", "'", "a\\", "ä",
        ] {
            assert!(word(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_workshop_goes_with_its_process_or_with_the_next_one() -> Result {
        let cache = tempfile::tempdir()?;
        let names = || files::entries(cache.path());
        fs::create_dir(cache.path().join(".guestfs-36"))?;
        fs::create_dir_all(cache.path().join("run.killed/libguestfs1"))?;
        let first = Workshop::new(cache.path())?;
        let second = Workshop::new(cache.path())?;
        assert_eq!(names()?.len(), 3, "{:?}", names()?);
        assert!(first.path.exists() && second.path.exists());
        drop((first, second));
        assert_eq!(names()?, [".guestfs-36"]);
        Ok(())
    }
}
