// SPDX-License-Identifier: GPL-2.0-or-later

//! What root does for VDSM's user, through `sudo`, and how that comes to an end.
//!
//! What sudo starts is root's. Who has asked for it cannot kill it, and may be gone before it ends;
//! so a deadline of the hook alone would leave one more of root's processes behind at every call
//! that hangs. **The deadline is root's own**, part of what sudoers allow:
//!
//! * A program of the host is started by `timeout` of the coreutils, in sudoers with its seconds and
//!   all of its arguments, see [`Program::of_host`]. It kills its process group: itself, the program,
//!   and whoever that has started and has not left the group. By SIGKILL at once: after SIGTERM it
//!   would only wait for the program itself, so one of its children that ignores SIGTERM would stay.
//! * A helper of ours ends itself and what it runs, see [`crate::host::command::end_after`].
//!
//! What is blocked in the kernel, on a disk that does not answer, goes when the kernel lets it go.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use crate::host::command::{self, Input, Output};
use crate::host::state::Lock;
use crate::{Error, Result};

const TIMEOUT: &str = "/usr/bin/timeout";
/// What a shell makes of SIGKILL, by which `timeout` ends together with its group, from coreutils
/// 8.30 to 9.7 (src/timeout.c: `cleanup`); a sudo that does not end in the same way as its command
/// says so too.
const KILLED: i32 = 128 + Signal::SIGKILL as i32;
/// What fits in a pipe before a write blocks: see pipe(7).
const MAX_INPUT_BYTES: usize = 16 << 10;

/// A program that is run as root: directly by root, else through `sudo -n`, which must allow
/// exactly that command line. The hook's description lists it.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    path: &'a str,
    seconds: &'a [u64],
}

impl<'a> Program<'a> {
    /// A program of the host by its path, which root ends after the smallest of `seconds` that is
    /// no less than the caller's deadline, or else after the last one. There is a line in sudoers
    /// for each of them, `/usr/bin/timeout -s KILL SECONDS PROGRAM ARGUMENTS`.
    pub const fn of_host(path: &'a str, seconds: &'a [u64]) -> Program<'a> {
        Program { path, seconds }
    }

    /// A helper of ours by its path on the host. It has its own end.
    pub const fn helper(path: &'a str) -> Program<'a> {
        Program { path, seconds: &[] }
    }

    /// Runs it until it ends or `deadline` has passed, as [`command::run`] does.
    ///
    /// # Errors
    /// As [`command::run`].
    pub fn run<S: AsRef<OsStr>>(self, arguments: &[S], deadline: Duration) -> Result<Output> {
        self.wait(arguments, Input::Nothing, deadline)
    }

    /// [`Program::run`] of a program that must have ended before the next one gets the lock, even
    /// if we die first.
    ///
    /// # Errors
    /// As [`command::run`].
    pub fn run_under<S: AsRef<OsStr>>(
        self,
        lock: &Lock,
        arguments: &[S],
        deadline: Duration,
    ) -> Result<Output> {
        // Of the open files, sudo hands on only the first three (sudo(8), 1.9.13: -C).
        self.wait(arguments, Input::Open(lock.share()?), deadline)
    }

    /// [`Program::run`] of a program that takes no arguments, but `input` on its standard input.
    ///
    /// # Errors
    /// As [`command::run`]; or more input than a program can be given before it starts to read.
    pub fn run_with_input(self, input: &str, deadline: Duration) -> Result<Output> {
        if input.len() > MAX_INPUT_BYTES {
            return Err(Error::new(format!(
                "{}: {} bytes of input, expected at most {MAX_INPUT_BYTES}",
                self.name(),
                input.len()
            )));
        }
        self.wait::<&str>(&[], Input::Text(input), deadline)
    }

    /// For messages.
    fn name(self) -> &'a str {
        let name = Path::new(self.path).file_name();
        let name = name.filter(|_| !self.seconds.is_empty());
        name.and_then(OsStr::to_str).unwrap_or(self.path)
    }

    fn wait<S: AsRef<OsStr>>(
        self,
        arguments: &[S],
        input: Input<'_>,
        deadline: Duration,
    ) -> Result<Output> {
        // That it is missing is not for sudo to say.
        let found = command::find(self.name())?;
        if geteuid().is_root() {
            let mut command = Command::new(found);
            command.args(arguments);
            return command::wait(command, self.name(), input, deadline);
        }
        let mut command = Command::new(command::find("sudo")?);
        command.args(["-n", "--"]);
        let seconds = self.seconds_for(deadline);
        match seconds {
            // One and the same program may be found in several places; sudoers name this one.
            Some(seconds) => command.args([TIMEOUT, "-s", "KILL", &seconds.to_string(), self.path]),
            None => command.arg(found),
        };
        command.args(arguments);
        let start = Instant::now();
        let output = command::wait(command, self.name(), input, deadline)?;
        let (code, signal) = (output.status.code(), output.status.signal());
        let is_ended = code == Some(KILLED) || signal == Some(Signal::SIGKILL as i32);
        match seconds.map(Duration::from_secs) {
            Some(limit) if is_ended && start.elapsed() >= limit => {
                Err(command::gave_up(self.name(), limit))
            }
            _ => Ok(output),
        }
    }

    fn seconds_for(self, deadline: Duration) -> Option<u64> {
        let fits = |seconds: &&u64| Duration::from_secs(**seconds) >= deadline;
        let fitting = self.seconds.iter().find(fits);
        fitting.or(self.seconds.last()).copied()
    }
}

/// A command line of `sudo` of a `hook.json` as sudoers wants it: there these characters mean
/// something else (sudoers(5), 1.9.13).
pub fn in_sudoers(command: &str) -> String {
    let mut text = String::with_capacity(command.len());
    for c in command.chars() {
        if matches!(c, ',' | ':' | '=') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// A command line that `command`, one of `sudo` of a `hook.json`, allows.
pub fn allowed_by(command: &str) -> String {
    let fixed = command.strip_suffix(" \"\"").unwrap_or(command);
    let chosen = |part: &str| part.replace("[0-9]*", "1").replace('*', "1");
    let parts: Vec<_> = fixed.split(r"\*").map(chosen).collect();
    parts.join("*").replace('\\', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_input_is_refused() {
        let cat = Program::helper("/bin/cat");
        let error = cat.run_with_input(&"x".repeat(MAX_INPUT_BYTES + 1), Duration::from_secs(60));
        assert!(error.is_err_and(|error| error.to_string().contains("at most 16384")));
    }

    #[test]
    fn root_ends_it_no_earlier_than_we_give_up() {
        let program = Program::of_host("/usr/sbin/lvm", &[10, 120]);
        for (millis, seconds) in [(1, 10), (10_000, 10), (10_001, 120), (200_000, 120)] {
            let deadline = Duration::from_millis(millis);
            assert_eq!(program.seconds_for(deadline), Some(seconds));
        }
        assert_eq!(Program::helper("/x").seconds_for(Duration::ZERO), None);
        assert_eq!(
            (program.name(), Program::helper("/x").name()),
            ("lvm", "/x")
        );
    }

    #[test]
    fn what_sudoers_allow() {
        for (command, example) in [
            (
                "/x/ovs-vsctl --timeout=5 list-br",
                "/x/ovs-vsctl --timeout=5 list-br",
            ),
            ("/x/promisc-tc \"\"", "/x/promisc-tc"),
            ("/x/hugepages-set [0-9]* [0-9]*", "/x/hugepages-set 1 1"),
            ("/x/openstacknet-tap tap*", "/x/openstacknet-tap tap1"),
            (
                r#"/x/lvm filter=\["r|.\*|"\]"#,
                r#"/x/lvm filter=["r|.*|"]"#,
            ),
        ] {
            assert_eq!(allowed_by(command), example);
        }
        assert_eq!(in_sudoers(r"a=b,c:\["), r"a\=b\,c\:\[");
    }
}
