// SPDX-License-Identifier: GPL-2.0-or-later

//! Taking turns: so many may work at the same time. One that is blocked needs no CPU, and gives its
//! turn up without ending.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The turns of those who do the same work.
pub struct Slots {
    most: usize,
    patience: Duration,
    /// When each that has not ended began.
    running: Mutex<Vec<Instant>>,
    ended: Condvar,
}

/// A turn, until it is dropped.
pub struct Turn<'t> {
    turns: &'t Slots,
    began: Instant,
}

impl Slots {
    /// Slots for `most` at the same time. One that has worked for `patience` counts as blocked.
    pub const fn new(most: usize, patience: Duration) -> Slots {
        Slots {
            most,
            patience,
            running: Mutex::new(Vec::new()),
            ended: Condvar::new(),
        }
    }

    /// Waits for a turn, but not beyond `end`.
    pub fn take(&self, end: Instant) -> Turn<'_> {
        let mut running = self.running();
        loop {
            let now = Instant::now();
            let busy = |began: &&Instant| now.duration_since(**began) < self.patience;
            if now >= end || running.iter().filter(busy).count() < self.most {
                running.push(now);
                return Turn {
                    turns: self,
                    began: now,
                };
            }
            running = self
                .ended
                .wait_timeout(running, self.patience / 10)
                .map_or_else(|poisoned| poisoned.into_inner().0, |woken| woken.0);
        }
    }

    fn running(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut running = self.turns.running();
        if let Some(at) = running.iter().position(|began| *began == self.began) {
            running.swap_remove(at);
        }
        self.turns.ended.notify_one();
    }
}
