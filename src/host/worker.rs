// SPDX-License-Identifier: GPL-2.0-or-later

//! Work that may block indefinitely, done by a child process.
//!
//! A read from a dead NFS server blocks in the kernel, where no signal arrives. So the program
//! runs itself again for every look at such a place, and gives up on the child when the time is
//! over. The child is asked by its arguments and answers in one short [`message`] on its standard
//! output.
//!
//! A program that uses this module calls [`Worker::serve`], or [`serve`], before anything else in
//! `main`.
//!
//! ```no_run
//! use std::path::PathBuf;
//! use std::process::ExitCode;
//! use std::time::{Duration, Instant};
//! use vdsm_hooks::host::worker::Worker;
//! use vdsm_hooks::{Error, Result};
//!
//! static IS_DIRECTORY: Worker<PathBuf, bool> = Worker::new(|path| Ok(path.is_dir()));
//!
//! fn main() -> ExitCode {
//!     // In the child.
//!     IS_DIRECTORY.serve().unwrap_or_else(|| match look() {
//!         Ok(()) => ExitCode::SUCCESS,
//!         Err(_) => ExitCode::FAILURE,
//!     })
//! }
//!
//! fn look() -> Result {
//!     let end = Instant::now() + Duration::from_secs(10);
//!     match IS_DIRECTORY.ask(&PathBuf::from("/mnt/nas"), end)? {
//!         None => Err(Error::new("/mnt/nas: its storage does not answer")),
//!         Some(found) => found.map(|is_directory| assert!(is_directory)),
//!     }
//! }
//! ```

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::process::{CommandExt as _, parent_id};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::Signal;

use self::message::{Answer, Request};
use crate::host::command::{self, Ending, Input};
use crate::{Error, Result};

pub mod message;

/// The first argument of a child.
const CHILD: &str = "__probe";

/// Work that a child does: what it is asked, what it answers, and how it finds that out.
pub struct Worker<Q, A> {
    work: fn(Q) -> Result<A>,
}

impl<Q: Request, A: Answer> Worker<Q, A> {
    /// A worker that does `work`, in the child.
    pub const fn new(work: fn(Q) -> Result<A>) -> Worker<Q, A> {
        Worker { work }
    }

    /// Has a child do the work: its answer, or the error that it met; none if it does not end until
    /// `end`.
    ///
    /// # Errors
    /// The program cannot be run again, or the child died or said more than is read of it.
    pub fn ask(&self, request: &Q, end: Instant) -> Result<Option<Result<A>>> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut arguments = vec![OsString::from(CHILD), std::process::id().to_string().into()];
        arguments.extend(request.encode());
        match command::run("/proc/self/exe", &arguments, left) {
            Ok(output) => {
                let answer = message::decode(&output.stdout);
                answer.map(Some).ok_or_else(|| no_answer(output.status))
            }
            Err(_) if Instant::now() >= end => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Does the work if the program was started for that. To be called before anything else.
    pub fn serve(&self) -> Option<ExitCode> {
        serve(&[self])
    }
}

/// A [`Worker`], whatever it is asked.
pub trait Work {
    /// Does the work, if these arguments ask for it; the message.
    fn done(&self, words: &[OsString]) -> Option<Vec<u8>>;
}

impl<Q: Request, A: Answer> Work for Worker<Q, A> {
    fn done(&self, words: &[OsString]) -> Option<Vec<u8>> {
        let request = Q::decode(words)?;
        Some(message::encode(&(self.work)(request)))
    }
}

/// [`Worker::serve`] of a program that has several.
pub fn serve(workers: &[&dyn Work]) -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != CHILD {
        return None;
    }
    if !is_child(&arguments.next()?) {
        return Some(ExitCode::from(2));
    }
    let words: Vec<OsString> = arguments.collect();
    let Some(message) = workers.iter().find_map(|worker| worker.done(&words)) else {
        return Some(ExitCode::from(2));
    };
    let written = io::stdout().write_all(&message);
    Some(ExitCode::from(u8::from(written.is_err())))
}

/// The error of an answer to something that was not asked.
pub(crate) fn unexpected() -> Error {
    Error::new("the worker process answers something else")
}

/// The error of a child that has ended and said nothing that is whole.
fn no_answer(status: ExitStatus) -> Error {
    if status.success() {
        Error::new("the worker process has more to say than is read")
    } else {
        Error::new(format!("the worker process died, {status}"))
    }
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
    // from here on by the signal (PR_SET_PDEATHSIG, see prctl(2)), and if the parent has ended before,
    // right away.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    parent == OsStr::new(&parent_id().to_string())
}
