// SPDX-License-Identifier: GPL-2.0-or-later

//! Work that may block for ever, done by a child process.
//!
//! A read from a dead NFS server blocks in the kernel, where no signal arrives. So the program
//! runs itself again for every look at such a place, and gives up on the child when the time is
//! over. The child answers in one short message on its standard output.
//!
//! A program that uses this module calls [`serve`] before anything else in `main`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::process::{CommandExt as _, parent_id};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::host::command::{self, Ending, Input};
use crate::{Error, Result};

/// The first argument of a child.
const CHILD: &str = "__probe";

/// Runs a child with these arguments: its message, or none if it does not end until `end`. The
/// message of a child that dies is empty.
///
/// # Errors
/// The program cannot be run again.
pub fn run(arguments: &[&OsStr], end: Instant) -> Result<Option<Vec<u8>>> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(None);
    }
    let parent = OsString::from(std::process::id().to_string());
    let arguments = [&[OsStr::new(CHILD), &parent], arguments].concat();
    match command::run("/proc/self/exe", &arguments, left) {
        Ok(output) => Ok(Some(output.stdout)),
        Err(_) if Instant::now() >= end => Ok(None),
        Err(error) => Err(error),
    }
}

/// [`run`] of a child whose work is [`answer`]: the answer, or the error that it met.
///
/// # Errors
/// As [`run`]; or the child died.
pub fn ask(arguments: &[&OsStr], end: Instant) -> Result<Option<Result<String>>> {
    let Some(message) = run(arguments, end)? else {
        return Ok(None);
    };
    let message = String::from_utf8_lossy(&message);
    match message.split_at_checked(1) {
        Some(("+", answer)) => Ok(Some(Ok(answer.to_owned()))),
        Some(("-", error)) => Ok(Some(Err(Error::new(error)))),
        _ => Err(died()),
    }
}

/// The message of a child for [`ask`].
pub fn answer(found: Result<String>) -> Vec<u8> {
    let message = match found {
        Ok(answer) => format!("+{answer}"),
        Err(error) => format!("-{error}"),
    };
    message.into_bytes()
}

/// The error of a child's answer that makes no sense.
pub fn died() -> Error {
    Error::new("the child that looks at it died")
}

/// The first argument of a child that does all of the program's work.
const OTHER_SELF: &str = "__apart";

/// Runs the program again, by the same name and with the same environment, until it ends or `limit`
/// has passed. It finds [`is_other_self`] true.
///
/// # Errors
/// The program cannot be run again.
pub fn other_self(limit: Duration) -> Result<Ending> {
    let mut command = Command::new("/proc/self/exe");
    // By this name the program knows the event.
    command.arg0(env::args_os().next().unwrap_or_default());
    command.args([OTHER_SELF, &std::process::id().to_string()]);
    Ok(command::supervise_with(
        command,
        Input::Nothing,
        limit,
        |_| (),
    )?)
}

/// Whether this process was started by [`other_self`]. It ends when its parent ends.
pub fn is_other_self() -> bool {
    let mut arguments = env::args_os().skip(1);
    arguments.next().is_some_and(|first| first == OTHER_SELF)
        && is_child(&arguments.next().unwrap_or_default())
}

/// Binds this process to its parent, if that has the number that it has given.
fn is_child(parent: &OsStr) -> bool {
    // When the parent ends for whatever reason, so does this process, as soon as the kernel can:
    // from here on by the signal, and if the parent has ended before, right away.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    parent == OsStr::new(&parent_id().to_string())
}

/// Does a child's work if the program was started as one. `work` is given the first argument and
/// the others, and makes the message; none for arguments that it does not know.
pub fn serve(work: impl FnOnce(&str, &[PathBuf]) -> Option<Vec<u8>>) -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != CHILD {
        return None;
    }
    if !is_child(&arguments.next()?) {
        return Some(ExitCode::from(2));
    }
    let what = arguments.next().unwrap_or_default();
    let arguments: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let Some(message) = work(what.to_str().unwrap_or_default(), &arguments) else {
        return Some(ExitCode::from(2));
    };
    let written = io::stdout().write_all(&message);
    Some(ExitCode::from(u8::from(written.is_err())))
}
