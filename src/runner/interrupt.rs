// SPDX-License-Identifier: GPL-2.0-or-later

//! Control-C and `kill` while a hook runs: it is in a process group of its own, so the terminal does
//! not reach it, and it must not outlive who runs it.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::Result;
use crate::host::interrupt;

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
    let signals = interrupt::block()?;
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
