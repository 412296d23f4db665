// SPDX-License-Identifier: GPL-2.0-or-later

//! Control-C and `kill`: a hook runs in a process group of its own, so the terminal does not
//! reach it, and it must not outlive who runs it. Who changes several files ([`hold`]) is to end
//! when they are whole.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::Result;

/// The process group of the hook that runs. Whoever holds the lock keeps the program where it is:
/// a hook about to start, or an interrupt.
static RUNNING: Mutex<Option<Pid>> = Mutex::new(None);

/// How long a killed hook may take to vanish.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// To be held until the group of a hook that starts is known.
pub(super) fn running() -> MutexGuard<'static, Option<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on an interrupt kills the running hook, removes the directory and ends the program with
/// the status of a shell command that was interrupted.
///
/// # Errors
/// No more threads.
pub fn clean_up_when_interrupted(directory: &Path) -> Result {
    let signals = block()?;
    let directory = directory.to_owned();
    thread::Builder::new().spawn(move || {
        let Ok(signal) = signals.wait() else {
            return;
        };
        // Never released: the main thread must not go on to judge a hook that we killed.
        let running = running();
        if let Some(group) = *running {
            let end = Instant::now() + KILL_TIMEOUT;
            while killpg(group, Signal::SIGKILL).is_ok() && Instant::now() < end {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let _ = fs::remove_dir_all(&directory);
        #[allow(clippy::exit)] // The main thread waits for the lock.
        std::process::exit(128 + signal as i32);
    })?;
    Ok(())
}

/// Keeps interrupts from this thread and those that it makes.
fn block() -> Result<SigSet> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    Ok(signals)
}

/// Where interrupts are read from since [`hold`], and the one that has come.
static HELD: Mutex<(Option<SignalFd>, Option<u8>)> = Mutex::new((None, None));

/// From now on an interrupt does nothing by itself: [`pending`] says that one has come.
///
/// # Errors
/// No more files can be opened.
pub fn hold() -> Result {
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let held = SignalFd::with_flags(&block()?, flags)?;
    HELD.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(held);
    Ok(())
}

/// The number of the signal that has come since [`hold`].
pub fn signal() -> Option<u8> {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let (reader, came) = &mut *held;
    if let Some(Ok(Some(found))) = reader.as_ref().map(SignalFd::read_signal) {
        *came = u8::try_from(found.ssi_signo).ok();
    }
    *came
}

/// For a moment at which all can still be taken back.
///
/// # Errors
/// An interrupt has come.
pub fn pending() -> io::Result<()> {
    match signal() {
        None => Ok(()),
        Some(_) => Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
    }
}
