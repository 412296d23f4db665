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
    places: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    places: usize,
    volumes: usize,
    /// The line is on the terminal.
    shown: bool,
    over: bool,
}

impl Progress {
    /// Does `work` on so many places; the line goes to standard error, if that is a terminal.
    pub(super) fn show<T>(places: usize, work: impl FnOnce(&Progress) -> T) -> T {
        let progress = Progress {
            places,
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        if !io::stderr().is_terminal() {
            return work(&progress);
        }
        thread::scope(|scope| {
            // Without a thread there is no line.
            let _ = thread::Builder::new().spawn_scoped(scope, || progress.write());
            let done = work(&progress);
            progress.state().over = true;
            progress.changed.notify_one();
            done
        })
    }

    /// One more place is done.
    pub(super) fn place(&self) {
        self.state().places += 1;
    }

    /// One more volume is done.
    pub(super) fn volume(&self) {
        self.state().volumes += 1;
    }

    /// Writes something else, without the line in its way.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        let mut state = self.state();
        state.clear();
        write()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) {
        let begin = Instant::now();
        let mut state = self.state();
        while !state.over {
            if begin.elapsed() >= SHORT {
                let mut line = format!("\r\x1b[K{} of {} places", state.places, self.places);
                if state.volumes > 0 {
                    line += &format!(", {} volumes", state.volumes);
                }
                let mut stderr = io::stderr();
                let _ = stderr.write_all(line.as_bytes());
                let _ = stderr.flush();
                state.shown = true;
            }
            let woken = self.changed.wait_timeout(state, TICK);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.clear();
    }
}

impl State {
    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}
