// SPDX-License-Identifier: GPL-2.0-or-later

//! One line on a terminal that says how far a disk is.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vdsm_hooks::image::grow::Stage;

const WIDTH: usize = 24;
/// How often a line whose words stay the same is written anew.
const TICK: Duration = Duration::from_millis(500);

/// The line; where standard error is no terminal there is none.
pub(super) struct Bar {
    is_shown: bool,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Option<(Stage, Instant)>,
    is_rehearsed: bool,
}

impl Bar {
    pub(super) fn new() -> Bar {
        Bar {
            is_shown: io::stderr().is_terminal(),
            began: Instant::now(),
            state: Mutex::default(),
        }
    }

    /// Shows the stage.
    pub(super) fn show(&self, stage: Stage) {
        if !self.is_shown {
            return;
        }
        let mut state = self.state();
        let is_new = |(last, shown): (Stage, Instant)| last != stage || shown.elapsed() >= TICK;
        if !state.last.is_none_or(is_new) {
            return;
        }
        state.last = Some((stage, Instant::now()));
        state.is_rehearsed |= matches!(stage, Stage::Rehearsing(..));
        let line = format!(
            "\r\x1b[K[{}] {} ({} s)",
            bar(part(stage, state.is_rehearsed)),
            words(stage),
            self.began.elapsed().as_secs()
        );
        write(&line);
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        if self.state().last.take().is_some() {
            write("\r\x1b[K");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(text: &str) {
    let mut stderr = io::stderr();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

/// How much is done, in hundredths. An appliance takes as long to start as its steps.
fn part(stage: Stage, is_rehearsed: bool) -> usize {
    let of = |done: usize, count: usize| 25 * done / count.max(1);
    match stage {
        Stage::Waiting => 0,
        Stage::Looking if is_rehearsed => 50,
        Stage::Looking => 0,
        Stage::Rehearsing(done, count) => 25 + of(done, count),
        Stage::Growing(done, count) => 75 + of(done, count),
    }
}

fn bar(hundredths: usize) -> String {
    let full = WIDTH * hundredths / 100;
    "#".repeat(full) + &"-".repeat(WIDTH - full)
}

fn words(stage: Stage) -> String {
    match stage {
        Stage::Waiting => "waiting for other disks".to_owned(),
        Stage::Looking => "the appliance starts".to_owned(),
        Stage::Rehearsing(done, count) => format!("rehearsing step {} of {count}", done + 1),
        Stage::Growing(done, count) => format!("step {} of {count}", done + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_one_way() {
        let stages = [
            (Stage::Waiting, false),
            (Stage::Looking, false),
            (Stage::Rehearsing(0, 4), false),
            (Stage::Rehearsing(3, 4), true),
            (Stage::Looking, true),
            (Stage::Growing(0, 4), true),
            (Stage::Growing(3, 4), true),
        ];
        let parts: Vec<usize> = stages.iter().map(|(stage, is)| part(*stage, *is)).collect();
        assert!(parts.is_sorted(), "{parts:?}");
        assert!(parts.iter().all(|part| *part < 100));
        assert_eq!(bar(50), "############------------");
    }
}
