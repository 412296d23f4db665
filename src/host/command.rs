// SPDX-License-Identifier: GPL-2.0-or-later

//! Host commands: fixed directories, a clean environment, a deadline for the whole process group.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write as _};
use std::mem;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::host::state::Lock;
use crate::paths::{HELPERS, HOOKS};
use crate::{Context, Error, Result};

/// Where host programs are looked for. Not `PATH`: a custom property may be called that.
pub const DIRECTORIES: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
/// What is kept of a program's output; the rest is read and dropped, so that it never blocks.
const MAX_OUTPUT_BYTES: usize = 16 << 20;
/// How long a killed program may take to vanish. One that waits for dead storage cannot die, and
/// is left behind.
const KILL_TIMEOUT: Duration = Duration::from_millis(100);
/// How long a helper that ends itself may take to say so.
const TO_SAY_WHY: Duration = Duration::from_secs(1);

/// What a program that ended in time left.
#[derive(Debug)]
pub struct Output {
    /// The program's name, for messages.
    pub program: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Turns a failure of the program into an error: program, status, last line of its stderr.
    ///
    /// # Errors
    /// The program did not end with status 0.
    pub fn checked(self) -> Result<Output> {
        if self.status.success() {
            return Ok(self);
        }
        let stderr = String::from_utf8_lossy(&self.stderr);
        let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
        let last = last
            .map(|line| format!(": {}", line.trim().trim_end_matches('.')))
            .unwrap_or_default();
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
        };
        Err(Error::new(format!("{}: {how}{last}", self.program)))
    }
}

/// Runs a host program, found by name in the system's directories, or any program by its absolute
/// path, until it ends or `deadline` has passed.
///
/// The environment is empty but for `LC_ALL=C`; standard input is at its end; arguments go as they
/// are, without a shell. The program gets a process group of its own, which is killed whole at the
/// deadline.
///
/// # Errors
/// No such program, it cannot be started, or it does not end in time. How it ended is the
/// caller's to judge, see [`Output::checked`].
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S], deadline: Duration) -> Result<Output> {
    let path = find(program)?;
    let mut command = Command::new(&path);
    command.args(arguments);
    wait(command, program, Input::Nothing, deadline)
}

/// [`run`] of a program that must have ended before the next one gets the lock, even if we die
/// first.
///
/// # Errors
/// As [`run`].
pub fn run_under<S: AsRef<OsStr>>(
    lock: &Lock,
    program: &str,
    arguments: &[S],
    deadline: Duration,
) -> Result<Output> {
    let path = find(program)?;
    let mut command = Command::new(&path);
    command.args(arguments);
    wait(command, program, Input::Open(lock.share()?), deadline)
}

/// The absolute path of a host program. One of our own helpers is that of the tree in which this
/// program lies: `/`, or wherever else the suite was laid out.
///
/// # Errors
/// None of the system's directories has it.
pub fn find(program: &str) -> Result<PathBuf> {
    if program.starts_with(HELPERS) {
        let own = env::current_exe().unwrap_or_default();
        let own = own.to_string_lossy();
        let tree = own.rsplit_once(HOOKS).map_or("", |(tree, _)| tree);
        return Ok(PathBuf::from(format!("{tree}{program}")));
    }
    if program.starts_with('/') {
        return Ok(PathBuf::from(program));
    }
    DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            Error::new(format!(
                "{program}: not found in {}",
                DIRECTORIES.join(", ")
            ))
        })
}

/// What a program finds on its standard input.
pub(crate) enum Input<'a> {
    Nothing,
    Text(&'a str),
    Open(File),
}

/// Runs it with a clean environment, until it ends or `deadline` has passed.
pub(crate) fn wait(
    mut command: Command,
    program: &str,
    input: Input<'_>,
    deadline: Duration,
) -> Result<Output> {
    // Never without any variable: of that sudo 1.9.16p2 (Debian 13) dies by SIGSEGV.
    command.env_clear().env("LC_ALL", "C").current_dir("/");
    let ending = supervise_with(command, input, deadline, |_| ()).context(program)?;
    match ending.status {
        Some(status) if ending.in_time => Ok(Output {
            program: program.to_owned(),
            status,
            stdout: ending.stdout,
            stderr: ending.stderr,
        }),
        _ => Err(gave_up(program, deadline)),
    }
}

/// The error of a program that did not end in time.
pub(crate) fn gave_up(program: &str, deadline: Duration) -> Error {
    let millis = deadline.as_secs() * 1000 + u64::from(deadline.subsec_millis());
    Error::new(format!("{program}: gave up after {millis} ms"))
}

/// The groups of the programs that run.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends this process after `limit`, whatever it does then, and kills what it runs: the deadline of
/// a helper that is root's, which its caller cannot end. `last` says why; when it cannot, because
/// nobody reads what this process writes, the end comes a second later, by SIGKILL.
///
/// # Errors
/// No more threads can be made.
pub fn end_after(limit: Duration, last: impl FnOnce() + Send + 'static) -> Result {
    let end = Instant::now() + limit + TO_SAY_WHY;
    let kill = move || {
        thread::sleep(limit + TO_SAY_WHY);
        kill_all(end);
        let _ = kill(Pid::this(), Signal::SIGKILL);
    };
    let end = move || {
        thread::sleep(limit);
        kill_all(end);
        // Both need locks of the standard library that a thread in a blocked write may hold.
        last();
        #[allow(clippy::exit)] // The way out of a process whose own work does not end.
        std::process::exit(2);
    };
    thread::Builder::new().spawn(kill)?;
    thread::Builder::new().spawn(end)?;
    Ok(())
}

/// Kills all programs that run, and keeps others from being started, if the list can be had until
/// `end`: whoever starts a program that lies on dead storage holds it indefinitely.
fn kill_all(end: Instant) {
    let running = loop {
        match RUNNING.try_lock() {
            Ok(running) => break running,
            Err(TryLockError::Poisoned(running)) => break running.into_inner(),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => return,
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
        }
    };
    for group in running.iter() {
        let _ = killpg(*group, Signal::SIGKILL);
    }
    // Whoever is about to start one waits until this process ends.
    mem::forget(running);
}

/// Starts a program, and tells its group.
fn start(command: &mut Command) -> std::io::Result<(Child, Pid)> {
    let mut running = running();
    let child = command.spawn()?;
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(std::io::Error::other)?);
    running.push(group);
    Ok((child, group))
}

/// How a program that [`supervise`] ran came to its end.
#[derive(Debug)]
pub struct Ending {
    /// The program's status; none if it had to be killed, or could not even be.
    pub status: Option<ExitStatus>,
    /// The program and everybody else who held its output open ended before the deadline.
    pub in_time: bool,
    /// Standard output, as far as it came.
    pub stdout: Vec<u8>,
    /// Standard error, as far as it came.
    pub stderr: Vec<u8>,
}

/// Runs `command` with the environment that it has, until it ends or `deadline` has passed: in
/// `/`, standard input at its end, both outputs collected, in a process group of its own that is
/// killed whole at the deadline. `started` is told the id of the group.
///
/// # Errors
/// The program cannot be started.
pub fn supervise(
    mut command: Command,
    deadline: Duration,
    started: impl FnOnce(Pid),
) -> std::io::Result<Ending> {
    command.current_dir("/");
    supervise_with(command, Input::Nothing, deadline, started)
}

/// [`supervise`] in the directory that `command` has, with this on its standard input.
pub(crate) fn supervise_with(
    mut command: Command,
    input: Input<'_>,
    deadline: Duration,
    started: impl FnOnce(Pid),
) -> std::io::Result<Ending> {
    let end = Instant::now() + deadline;
    let (stdin, text) = match input {
        Input::Nothing => (Stdio::null(), None),
        Input::Text(text) => (Stdio::piped(), Some(text)),
        Input::Open(file) => (Stdio::from(file), None),
    };
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let (mut child, group) = start(&mut command)?;
    started(group);
    if let (Some(text), Some(mut pipe)) = (text, child.stdin.take()) {
        // It fits into the pipe. A program that ends without reading it says why itself.
        let _ = pipe.write_all(text.as_bytes());
    }
    let mut streams = Streams::new(&mut child);
    let mut in_time = streams.drain(end)?;
    // Once the pipes are closed the program is ending, or has closed them on purpose.
    let has_ended = ends(group, if in_time { end } else { Instant::now() })?;
    in_time &= has_ended;
    if !in_time {
        // The group may have ended by itself just now.
        let _ = killpg(group, Signal::SIGKILL);
        let killed = Instant::now() + KILL_TIMEOUT;
        streams.drain(killed)?;
        ends(group, killed)?;
    }
    let status = collect(&mut child, group)?;
    let [stdout, stderr] = streams.kept;
    Ok(Ending {
        status: status.filter(|_| has_ended),
        in_time,
        stdout,
        stderr,
    })
}

/// Both outputs of a program, and what has come out of them.
struct Streams {
    open: Vec<(usize, Box<dyn Pipe>)>,
    kept: [Vec<u8>; 2],
}

impl Streams {
    fn new(child: &mut Child) -> Streams {
        let mut open: Vec<(usize, Box<dyn Pipe>)> = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            open.push((0, Box::new(pipe)));
        }
        if let Some(pipe) = child.stderr.take() {
            open.push((1, Box::new(pipe)));
        }
        Streams {
            open,
            kept: [Vec::new(), Vec::new()],
        }
    }

    /// Reads both pipes to their end, side by side, so that neither fills up and blocks the
    /// program. False if one is still open at `end`.
    fn drain(&mut self, end: Instant) -> std::io::Result<bool> {
        while !self.open.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            // Also for a program that never stops talking.
            if left.is_zero() {
                return Ok(false);
            }
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut polled: Vec<_> = self
                .open
                .iter()
                .map(|(_, pipe)| PollFd::new(pipe.as_fd(), PollFlags::POLLIN))
                .collect();
            match poll(&mut polled, left) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<bool> = polled.iter().map(|pipe| pipe.any() == Some(true)).collect();
            for ((stream, mut pipe), is_ready) in mem::take(&mut self.open).into_iter().zip(ready) {
                if !is_ready || self.keep(stream, pipe.as_mut()) {
                    self.open.push((stream, pipe));
                }
            }
        }
        Ok(true)
    }

    /// Keeps what a pipe has now. False at its end; one that cannot be read has no more to say either.
    fn keep(&mut self, stream: usize, pipe: &mut dyn Pipe) -> bool {
        let mut piece = [0; 8192];
        let Ok(count @ 1..) = pipe.read(&mut piece) else {
            return false;
        };
        let kept = &mut self.kept[stream];
        let room = MAX_OUTPUT_BYTES.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..count.min(room)]);
        true
    }
}

/// One end of a pipe.
trait Pipe: Read + AsFd {}
impl<P: Read + AsFd> Pipe for P {}

/// Whether a program ends before `end`; the standard library cannot wait with a limit. It is not
/// collected yet, so that its number stays its own.
fn ends(program: Pid, end: Instant) -> std::io::Result<bool> {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let mut pause = Duration::from_micros(50);
    loop {
        if waitid(Id::Pid(program), look)? != WaitStatus::StillAlive {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// The status of a program, if it has ended.
fn collect(child: &mut Child, group: Pid) -> std::io::Result<Option<ExitStatus>> {
    let mut running = running();
    let status = child.try_wait()?;
    if status.is_some() {
        // From now on the number may be somebody else's.
        running.retain(|running| *running != group);
    }
    Ok(status)
}

/// `word` as a shell reads it back, quoted only where needed.
pub fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-_.,:=/@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    const SOON: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_beyond_a_pipe_does_not_block() -> Result {
        let script = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; exit 3";
        let output = run("sh", &["-c", script], LONG)?;
        assert_eq!(
            (output.stdout.len(), output.stderr.len()),
            (300_000, 300_000)
        );
        assert_eq!(output.status.code(), Some(3));
        Ok(())
    }

    #[test]
    fn input_arrives() -> Result {
        let cat = find("cat")?;
        let cat = cat.to_str().unwrap_or_default();
        let command = Command::new(cat);
        let output = wait(command, "cat", Input::Text(&"x".repeat(16 << 10)), LONG)?;
        assert_eq!(output.stdout.len(), 16 << 10);
        // Nobody reads it.
        let unread = wait(Command::new("/bin/true"), "true", Input::Text("x"), LONG)?;
        assert!(unread.status.success());
        Ok(())
    }

    #[test]
    fn the_whole_group_dies_at_the_deadline() -> Result {
        // The grandchild holds the pipes open and would go on for a minute.
        let marker = tempfile::NamedTempFile::new()?;
        let script = format!("sleep 60 & echo $! > {}; wait", marker.path().display());
        let error = run("sh", &["-c", &script], SOON)
            .err()
            .map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("sh: gave up after 300 ms"));
        let grandchild = std::fs::read_to_string(marker.path())?;
        assert_gone(&grandchild);
        Ok(())
    }

    /// Says in `/proc` that it is there no longer, or as a zombie that nobody has collected yet;
    /// the kernel may take a moment.
    fn assert_gone(process: &str) {
        let stat = format!("/proc/{}/stat", process.trim());
        let gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        let end = Instant::now() + LONG;
        while !gone() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(gone(), "{process} outlives the deadline");
    }

    /// The process that the next test starts, and that does not come to the end of this one.
    #[test]
    fn is_ended() -> Result {
        let Ok(marker) = env::var("MARKER") else {
            return Ok(());
        };
        let script = "trap '' TERM; trap '' TERM && sleep 60 & echo $$ $! > $MARKER; wait; wait";
        end_after(SOON, || {
            std::io::stderr().write_all(b"over\n").unwrap_or_default();
        })?;
        run("sh", &["-c", &script.replace("$MARKER", &marker)], LONG).map(drop)
    }

    #[test]
    fn a_helper_ends_itself_and_what_it_runs() -> Result {
        let marker = tempfile::NamedTempFile::new()?;
        let test = concat!(module_path!(), "::is_ended");
        let test = test.split_once("::").map_or(test, |(_, test)| test);
        let mut command = Command::new(env::current_exe()?);
        command.args(["--exact", test, "--nocapture"]);
        command.env("MARKER", marker.path());
        let ending = supervise(command, LONG, |_| ())?;
        assert_eq!(ending.status.and_then(|status| status.code()), Some(2));
        assert!(ending.in_time && ending.stderr.ends_with(b"over\n"));
        let left = std::fs::read_to_string(marker.path())?;
        assert_eq!(left.split(' ').count(), 2, "{left}");
        left.split(' ').for_each(assert_gone);
        Ok(())
    }

    /// The process that the next test starts, with nobody who reads what it writes.
    #[test]
    fn is_not_heard() -> Result {
        let Ok(marker) = env::var("UNHEARD") else {
            return Ok(());
        };
        let script = format!("sleep 60 & echo $$ $! > {marker}; wait");
        let say = || std::io::stderr().write_all(b"over\n").unwrap_or_default();
        thread::spawn(say);
        thread::spawn(move || {
            while !std::fs::read(&marker).is_ok_and(|text| text.ends_with(b"\n")) {
                thread::sleep(Duration::from_millis(5));
            }
            end_after(SOON, say)
        });
        run("sh", &["-c", &script], LONG).map(drop)
    }

    #[test]
    fn a_helper_ends_though_nobody_hears_why() -> Result {
        let marker = tempfile::NamedTempFile::new()?;
        let test = concat!(module_path!(), "::is_not_heard");
        let test = test.split_once("::").map_or(test, |(_, test)| test);
        let (_unread, mut full) = UnixStream::pair()?;
        full.set_nonblocking(true)?;
        while full.write(&[b'x'; 8192]).is_ok() {}
        full.set_nonblocking(false)?;
        let mut child = Command::new(env::current_exe()?)
            .args(["--exact", test, "--nocapture"])
            .env("UNHEARD", marker.path())
            .stderr(OwnedFd::from(full))
            .stdout(Stdio::null())
            .spawn()?;
        let id = Pid::from_raw(i32::try_from(child.id()).map_err(std::io::Error::other)?);
        let has_ended = ends(id, Instant::now() + LONG)?;
        child.kill()?;
        assert_eq!(child.wait()?.signal(), Some(Signal::SIGKILL as i32));
        assert!(has_ended, "it waits for somebody to read");
        let left = std::fs::read_to_string(marker.path())?;
        assert_eq!(left.split(' ').count(), 2, "{left}");
        left.split(' ').for_each(assert_gone);
        Ok(())
    }

    #[test]
    fn what_was_said_before_the_deadline_is_kept() -> Result {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo late >&2; while :; do echo more; done"]);
        let ending = supervise(command, SOON, |_| ())?;
        assert_eq!((ending.status, ending.in_time), (None, false));
        assert_eq!(ending.stderr, b"late\n");
        // The program itself has ended, but somebody holds its output open.
        let mut parent = Command::new("/bin/sh");
        parent.args(["-c", "sleep 60 & exit 3"]);
        let held_open = supervise(parent, SOON, |_| ())?;
        let status = held_open.status.and_then(|status| status.code());
        assert_eq!((status, held_open.in_time), (Some(3), false));
        Ok(())
    }

    #[test]
    fn a_failure_says_command_status_and_last_line() -> Result {
        let failed = |script| -> Result<Option<String>> {
            let output = run("sh", &["-c", script], LONG)?;
            Ok(output.checked().err().map(|error| error.to_string()))
        };
        let ends = failed("echo first >&2; echo last >&2; exit 4")?;
        assert_eq!(ends.as_deref(), Some("sh: exit status 4: last"));
        assert_eq!(
            failed("kill -9 $$")?.as_deref(),
            Some("sh: killed by signal 9")
        );
        assert_eq!(failed("true")?, None);
        Ok(())
    }

    #[test]
    fn the_environment_is_clean_and_input_empty() -> Result {
        let output = run("sh", &["-c", "/usr/bin/env; cat"], LONG)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("LC_ALL=C\n"), "{text}");
        assert!(!text.contains("CARGO"), "{text}");
        Ok(())
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run::<&str>("no-such-program", &[], SOON)
            .err()
            .map(|error| error.to_string());
        let text = error.unwrap_or_default();
        assert!(
            text.starts_with("no-such-program: not found in /usr/bin"),
            "{text}"
        );
    }
}
