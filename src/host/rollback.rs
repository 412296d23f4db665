// SPDX-License-Identifier: GPL-2.0-or-later

//! Taking back what a hook made, when a later step of it fails.

use crate::Result;

/// Undo steps. On drop they run in reverse; a step that fails is logged and the rest still run.
///
/// ```
/// # use vdsm_hooks::{Result, host::rollback::Undo};
/// # fn make() -> Result { Ok(()) }
/// # fn unmake() -> Result { Ok(()) }
/// # fn main() { let run = || -> Result {
/// let mut undo = Undo::default();
/// make()?;
/// undo.push("the thing", unmake);
/// make()?; // If this fails, the first one is unmade.
/// undo.keep();
/// # Ok(()) }; run().unwrap(); }
/// ```
#[derive(Default)]
#[must_use]
pub struct Undo<'a> {
    steps: Vec<(String, Step<'a>)>,
}

type Step<'a> = Box<dyn FnOnce() -> Result + 'a>;

impl<'a> Undo<'a> {
    /// Adds the step that takes back what was just made; `thing` names it in the warning.
    pub fn push(&mut self, thing: impl Into<String>, step: impl FnOnce() -> Result + 'a) {
        self.steps.push((thing.into(), Box::new(step)));
    }

    /// All went well: what was made stays.
    pub fn keep(mut self) {
        self.steps.clear();
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        for (thing, step) in self.steps.drain(..).rev() {
            if let Err(error) = step() {
                log::warn!("{thing} is left behind: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::Error;

    #[test]
    fn back_in_reverse_order_and_past_a_step_that_fails() {
        let gone = RefCell::new(Vec::new());
        let mut undo = Undo::default();
        for step in 1..=3 {
            let gone = &gone;
            undo.push(format!("thing {step}"), move || {
                gone.borrow_mut().push(step);
                match step {
                    2 => Err(Error::new("stuck")),
                    _ => Ok(()),
                }
            });
        }
        drop(undo);
        assert_eq!(*gone.borrow(), [3, 2, 1]);
    }

    #[test]
    fn what_is_kept_stays() {
        let gone = RefCell::new(0);
        let mut undo = Undo::default();
        undo.push("thing", || {
            *gone.borrow_mut() += 1;
            Ok(())
        });
        undo.keep();
        assert_eq!(*gone.borrow(), 0);
    }
}
