// SPDX-License-Identifier: GPL-2.0-or-later

//! One line on a terminal that says how far a long check is.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What is over before this time says nothing.
const SHORT: Duration = Duration::from_millis(500);
/// How often the line is written anew.
const TICK: Duration = Duration::from_millis(200);

/// How much of the work is done.
pub(super) struct Progress {
    what: &'static str,
    all: usize,
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Progress {
    /// Does `work` on `all` of `what`, which calls [`Progress::step`] for each; the line goes to
    /// standard error, if that is a terminal.
    pub(super) fn show<T>(what: &'static str, all: usize, work: impl FnOnce(&Progress) -> T) -> T {
        let progress = Progress {
            what,
            all,
            state: Mutex::new((0, false)),
            changed: Condvar::new(),
        };
        if !io::stderr().is_terminal() {
            return work(&progress);
        }
        thread::scope(|scope| {
            scope.spawn(|| progress.write());
            let done = work(&progress);
            progress.state().1 = true;
            progress.changed.notify_one();
            done
        })
    }

    /// One more is done.
    pub(super) fn step(&self) {
        self.state().0 += 1;
    }

    fn state(&self) -> MutexGuard<'_, (usize, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) {
        let begin = Instant::now();
        let mut shown = false;
        let mut state = self.state();
        while !state.1 {
            if begin.elapsed() >= SHORT {
                let mut stderr = io::stderr();
                let _ = write!(stderr, "\r\x1b[K{} of {} {}", state.0, self.all, self.what);
                let _ = stderr.flush();
                shown = true;
            }
            let woken = self.changed.wait_timeout(state, TICK);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        if shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
