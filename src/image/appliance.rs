// SPDX-License-Identifier: GPL-2.0-or-later

//! Disk images through libguestfs, by its program `guestfish`: a small machine of its own, the
//! appliance, opens the image, so that neither the host's kernel nor the hook sees what is in it.
//!
//! The program gets one command at a time on its standard input. When the hook dies, for whatever
//! reason, that input ends: guestfish brings the command under way to its end, closes the image and
//! goes, so that no appliance is left behind that holds the image's lock.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd as _;
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

use crate::host::{command, files, state};
use crate::{Context, Error, Result};

/// For programs that libguestfs runs by name.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the appliance is kept between runs, see [`state::cache`]. Not `/var/tmp` as libguestfs would
/// have it (1.48 lib/appliance.c): there it takes any directory of the right name for its own, and
/// gives up if that is somebody else's.
const CACHE: &str = "libguestfs";
/// Runs where the host's processor cannot help; the only setting that is passed on.
const SETTINGS: (&str, &str) = ("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg");
/// How the directories of running appliances begin.
const WORKSHOP: &str = "run.";
const TRIES: usize = 8;
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

/// A running appliance with one image, its `/dev/sda`. Dropped, it is killed.
pub struct Appliance {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    errors: ChildStderr,
    /// Ends an answer. Nothing that a guest has written can hold it.
    mark: String,
    end: Instant,
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
    /// Starts an appliance that opens the image as `format`. After `end` nothing more is answered.
    ///
    /// # Errors
    /// No guestfish, an image that cannot be opened or is in use, or an appliance that does not
    /// start.
    pub fn start(image: &Path, format: &str, access: Access, end: Instant) -> Result<Appliance> {
        let program = command::find("guestfish").map_err(|error| {
            Error::new(format!(
                "{error}: install libguestfs with its program guestfish"
            ))
        })?;
        let mark = getrandom::u64().context("the system's random source")?;
        let cache = state::cache(CACHE)?;
        let workshop = Workshop::new(&cache)?;
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs([("PATH", PATH), ("LC_ALL", "C")])
            .env("LIBGUESTFS_BACKEND", "direct")
            .env("LIBGUESTFS_CACHEDIR", &cache)
            .env("TMPDIR", &workshop.path)
            .env("XDG_RUNTIME_DIR", &workshop.path)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let (name, value) = SETTINGS;
        if env::var_os(name).is_some_and(|given| given == value) {
            command.env(name, value);
        }
        if access == Access::ReadOnly {
            command.arg("--ro");
        }
        command.arg(format!("--format={format}"));
        command.args([OsStr::new("-a"), image.as_os_str()]);
        let mut child = command.spawn().context("guestfish")?;
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
            _workshop: workshop,
        };
        appliance
            .ask("run")
            .context("the appliance does not start")?;
        Ok(appliance)
    }

    /// The answer to one command of guestfish. Words that are not the caller's own go through
    /// [`word`].
    ///
    /// # Errors
    /// libguestfs' message, or that there is no answer until the appliance's end.
    pub fn ask(&mut self, command: &str) -> Result<String> {
        log::debug!("guestfish: {command}");
        let name = command.split(' ').next().unwrap_or_default();
        // With the dash guestfish goes on after an error.
        let lines = format!("-{command}\necho {}", self.mark);
        let sent = self.input.as_mut().map(|input| {
            let written = input.write_all(lines.as_bytes());
            written.and_then(|()| input.flush())
        });
        let (answer, errors, is_whole) = self.listen()?;
        match message(&errors) {
            Some(message) => Err(Error::new(message)),
            None if is_whole => Ok(answer),
            None => {
                sent.transpose().context("guestfish")?;
                Err(Error::new(format!("guestfish died at '{name}'")))
            }
        }
    }

    /// Ends the appliance and closes the image.
    ///
    /// # Errors
    /// What was written may not have reached the image.
    pub fn shut_down(mut self) -> Result {
        self.ask("umount-all")?;
        self.ask("sync")?;
        self.ask("shutdown")?;
        self.input = None;
        // All is on disk; who lingers now is killed.
        self.wait_until(self.end.min(Instant::now() + KILL_TIMEOUT));
        Ok(())
    }

    /// Reads until the mark, or until guestfish closes its output: the answer, what was said on
    /// standard error meanwhile, and whether the mark came.
    fn listen(&mut self) -> Result<(String, String, bool)> {
        let mut kept = [Vec::new(), Vec::new()];
        let mut open = [true, true];
        let is_whole = |streams: &[Vec<u8>; 2]| streams[0].ends_with(self.mark.as_bytes());
        // Without a stream nothing would end the wait but the deadline.
        while open != [false, false] {
            let left = self.end.saturating_duration_since(Instant::now());
            let is_answered = is_whole(&kept);
            if !is_answered && left.is_zero() {
                return Err(Error::new("the appliance was given up at the deadline"));
            }
            // An error is said before the mark, so it is in the pipe already.
            let left = if is_answered { Duration::ZERO } else { left };
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
        let [answer, errors] = kept.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let answer = answer.strip_suffix(&self.mark).unwrap_or(&answer);
        Ok((answer.to_owned(), errors, is_whole))
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
    Some(message.trim().to_owned())
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
                Some("crashed."),
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
