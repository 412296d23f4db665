// SPDX-License-Identifier: GPL-2.0-or-later

//! Lets a guest use the whole of a disk that was enlarged: partition, LVM and file system, offline
//! and in place.
//!
//! All of it is rehearsed first, in an appliance that cannot write to the image: what is wrong with a
//! guest shows there, and how much room the steps need. Only then a journal is written, and a second
//! appliance opens the image for writing. Whatever is refused leaves every byte, and what is cut off is
//! finished by the next one that comes by.

mod image;
mod journal;
mod look;
mod plan;
mod settings;
mod step;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use self::image::Facts;
use self::journal::{HOOK, Journal};
use self::plan::{Found, Plan};
use crate::host::state::{self, Lock};
use crate::host::{interrupt, worker};
use crate::image::appliance::{Access, Appliance, Opening};
use crate::{Context as _, Error, Result};

pub use image::{Format, Image, real_path, work};
pub use plan::{Choice, is_volume_name};
pub use settings::Settings;
pub use step::{Action, Step};

/// Does the [`work`] of a child if the program was started as one. To be called before anything else.
pub fn serve() -> Option<ExitCode> {
    worker::serve(&[work()])
}

/// What to say when an image above another one was grown.
pub const SNAPSHOT: &str =
    "grown above a snapshot: reverting to the snapshot brings the old size back";

/// How much of what guestfish says is kept of a failure.
const LAST_LINES: usize = 20;
/// The lock of a disk is somebody else's.
const BUSY: &str = "another process grows this disk";
const MIB: u64 = 1 << 20;

/// What was done, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// There is nothing to grow.
    Nothing,
    /// The steps that would be gone.
    Planned(Planned),
    /// They were gone.
    Grown(Grown),
}

/// The steps of a disk, rehearsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Of the image.
    pub format: Format,
    /// Of the disk, in bytes.
    pub size: u64,
    /// What is on it: `gpt, partition 2 ends at 0.8 GiB -> PV, LV cl/root (ext4)`.
    pub found: String,
    /// In order.
    pub steps: Vec<Step>,
    /// What they write, in bytes.
    pub writes: u64,
    /// They finish what was cut off.
    pub is_rest: bool,
}

/// What has grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// `partition 2, cl/root (ext4): 0.5 -> 1.3 GiB`.
    pub result: String,
    /// How long it took.
    pub took: Duration,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What else there is to know.
    pub warnings: Vec<&'static str>,
}

/// How growing failed.
#[derive(Debug)]
pub enum Failure {
    /// Before anything was written: the image is what it was.
    Before(Error),
    /// Afterwards, or before what was cut off is finished: the image is as the failed step left it.
    After(Error),
}

/// How far a disk is, for whoever waits at a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Another process grows this disk, or as many as may grow others.
    Waiting,
    /// The appliance starts and looks.
    Looking,
    /// So many of so many steps are rehearsed.
    Rehearsing(usize, usize),
    /// So many of so many steps are done.
    Growing(usize, usize),
}

/// A disk that is to grow.
pub struct Job<'a> {
    /// Its image.
    pub image: &'a Image,
    /// What the administrator has said of it.
    pub choice: Choice<'a>,
    /// What the administrator of the host has said.
    pub settings: &'a Settings,
    /// Whether a disk is passed over that was found grown before: at every start of a VM, and not when
    /// somebody asks at the shell.
    pub remembers: bool,
    /// Told of every stage.
    pub progress: &'a (dyn Fn(Stage) + Sync),
}

/// A plan that was rehearsed.
struct Rehearsal {
    /// What two looks tell alike; none of a disk that was cut off so that nothing can be told.
    found: Option<Found>,
    journal: Journal,
    writes: u64,
    warnings: Vec<&'static str>,
}

impl Job<'_> {
    /// Grows the disk, or finishes what was cut off.
    ///
    /// # Errors
    /// The disk is left alone, for the reason that is said; or a step has failed.
    pub fn grow(&self) -> std::result::Result<Outcome, Failure> {
        self.run(true)
    }

    /// What would be done. The image is only read.
    ///
    /// # Errors
    /// The disk would be left alone, for the reason that is said.
    pub fn plan(&self) -> std::result::Result<Outcome, Failure> {
        self.run(false)
    }

    fn run(&self, writes: bool) -> std::result::Result<Outcome, Failure> {
        let began = Instant::now();
        let end = began + self.settings.prepare;
        let journal = self.journal()?;
        let facts = self.image.examine(end);
        let facts = facts.map_err(|error| self.fail(journal.is_some(), error))?;
        // A copy has the journal of what it was copied from, until that is finished.
        let has_journal = journal.is_some_and(|journal| journal.is_of(&facts));
        if !has_journal && self.is_seen(writes, &facts).map_err(Failure::Before)? {
            return Ok(Outcome::Nothing);
        }
        let lock = self.lock(end);
        let lock = lock.map_err(|error| self.fail(has_journal, error))?;
        let done = self.run_alone(writes, &facts, &lock, began, end);
        // Whatever is wrong with the lock is not the disk's business any more.
        let _ = self.unlock(lock);
        done
    }

    /// The journal under the image's id.
    fn journal(&self) -> std::result::Result<Option<Journal>, Failure> {
        let said = "cannot tell whether a growth was cut off";
        let records = journal::records().context(said).map_err(|error| {
            // Where a start has to be stopped, somebody at the shell learns that nothing was done.
            if self.remembers {
                Failure::After(error)
            } else {
                Failure::Before(error)
            }
        })?;
        // One that cannot be read stops the start too, and the way out is the same.
        let journal = journal::read(&records, &self.image.id);
        journal.map_err(|error| self.fail(true, error))
    }

    /// Whether all was found grown when it was looked at last.
    fn is_seen(&self, writes: bool, facts: &Facts) -> Result<bool> {
        Ok(writes && self.remembers && journal::is_seen(self.image, facts)?)
    }

    /// Notes that all is grown.
    fn see(&self, facts: &Facts) -> Result {
        if self.remembers {
            journal::see(self.image, facts)?;
        }
        Ok(())
    }

    /// With the disk's lock held.
    fn run_alone(
        &self,
        writes: bool,
        facts: &Facts,
        lock: &Lock,
        began: Instant,
        end: Instant,
    ) -> std::result::Result<Outcome, Failure> {
        let cut_off = self.cut_off(writes, facts)?;
        let fail = |error| self.fail(cut_off.is_some(), error);
        let is_own = cut_off.as_ref().is_some_and(|cut_off| cut_off.is_of(facts));
        if !is_own && self.is_seen(writes, facts).map_err(fail)? {
            // While this one waited.
            return Ok(Outcome::Nothing);
        }
        let slot = self.slot(end).map_err(fail)?;
        let locks = [lock, &slot];
        self.image.check_unused(end).map_err(fail)?;
        let rehearsed = match &cut_off {
            Some(journal) => self.rehearse_rest(journal, facts, &locks, end).map(Some),
            None => self.rehearse(facts, &locks, end),
        };
        let Some(rehearsal) = rehearsed.map_err(fail)? else {
            if writes {
                self.see(facts).map_err(fail)?;
            }
            return Ok(Outcome::Nothing);
        };
        let room = self.image.check_room(rehearsal.writes, end);
        room.map_err(fail)?;
        if !writes {
            return Ok(Outcome::Planned(Planned {
                format: self.image.format,
                size: facts.size,
                found: rehearsal.journal.found,
                steps: rehearsal.journal.steps,
                writes: rehearsal.writes,
                is_rest: cut_off.is_some(),
            }));
        }
        interrupt::pending().map_err(|error| fail(error.into()))?;
        if cut_off.is_none() {
            if self.journal()?.is_some() {
                return Err(Failure::Before(Error::new(format!(
                    "a growth of another image under the id {} was cut off: finish that one first",
                    self.image.id
                ))));
            }
            journal::write(self.image, &rehearsal.journal).map_err(fail)?;
        }
        self.write(&rehearsal, cut_off.as_ref(), facts, &locks)?;
        let mut warnings = rehearsal.warnings;
        if facts.is_overlay {
            warnings.push(SNAPSHOT);
        }
        Ok(Outcome::Grown(Grown {
            result: rehearsal.journal.result,
            took: began.elapsed(),
            steps: rehearsal.journal.steps,
            warnings,
        }))
    }

    fn fail(&self, is_cut_off: bool, error: Error) -> Failure {
        if is_cut_off {
            unfinished(&self.image.path, &error)
        } else {
            Failure::Before(error)
        }
    }

    /// The journal of what was cut off, if it is of a disk of this size; another one goes, unless
    /// nothing is to be written.
    fn cut_off(
        &self,
        writes: bool,
        facts: &Facts,
    ) -> std::result::Result<Option<Journal>, Failure> {
        let Some(journal) = self.journal()? else {
            return Ok(None);
        };
        let is_own = journal.is_of(facts);
        if is_own && journal.format != self.image.format {
            return Err(Failure::After(Error::new(format!(
                "a growth was cut off when the image was {}, and now it is said to be {}",
                journal.format.name(),
                self.image.format.name()
            ))));
        }
        if journal.size == facts.size && journal.format == self.image.format {
            return Ok(Some(journal));
        }
        if !is_own {
            return Ok(None);
        }
        log::warn!(
            "{}: a growth to {} was cut off, and the disk has {} now: its journal is of no use any more",
            self.image.path.display(),
            gib(journal.size),
            gib(facts.size)
        );
        if writes {
            journal::remove(&self.image.id).map_err(Failure::After)?;
        }
        Ok(None)
    }

    /// The lock of this disk. Waiting counts as preparing.
    fn lock(&self, end: Instant) -> Result<Lock> {
        self.wait_for(&[&lock_name(&self.image.id)], end, BUSY)
    }

    fn unlock(&self, lock: Lock) -> Result {
        state::remove_lock(HOOK, &lock_name(&self.image.id), lock)
    }

    /// One of the places of the host for an appliance.
    fn slot(&self, end: Instant) -> Result<Lock> {
        let names: Vec<String> = (0..self.settings.parallel)
            .map(|number| format!("slot.{number}"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let count = names.len();
        let busy = format!("{count} other disks are being grown on this host");
        self.wait_for(&names, end, &busy)
    }

    fn wait_for(&self, names: &[&str], end: Instant, busy: &str) -> Result<Lock> {
        let lock = state::lock_any(HOOK, names, || {
            (self.progress)(Stage::Waiting);
            Instant::now() < end && interrupt::signal().is_none()
        });
        interrupt::pending()?;
        lock.context(busy)
    }

    fn start(&self, access: Access, locks: &[&Lock], end: Instant) -> Result<Appliance> {
        (self.progress)(Stage::Looking);
        let opening = Opening {
            image: &self.image.path,
            format: self.image.format.name(),
            access,
            settings: self.settings.backend,
            locks,
        };
        Appliance::start(&opening, end)
    }

    /// The steps, and what comes of them on a throw-away overlay; none if there is nothing to grow.
    fn rehearse(&self, facts: &Facts, locks: &[&Lock], end: Instant) -> Result<Option<Rehearsal>> {
        let mut appliance = self.start(Access::ReadOnly, locks, end)?;
        let found = look::look(&mut appliance, self.choice)?;
        let mut seen = found.clone();
        look::mount(&mut appliance, &mut seen)?;
        log::debug!("{}: {seen:?}", self.image.path.display());
        let Some(mut plan) = plan::plan(&seen, self.choice)? else {
            return Ok(None);
        };
        self.go_steps(&mut appliance, &mut plan)?;
        let after = look::grown_size(&mut appliance, &plan.system)?;
        let journal = Journal {
            identity: facts.identity.clone(),
            size: facts.size,
            format: self.image.format,
            found: describe(&seen, &plan),
            steps: plan.steps.clone(),
            result: result(&plan, after),
        };
        Ok(Some(Rehearsal {
            found: Some(found),
            journal,
            writes: appliance.overlay_size()?,
            warnings: plan.warning.into_iter().collect(),
        }))
    }

    /// Goes the steps of a plan on the overlay. What `pvresize` really adds is what the logical volume
    /// gets: extents that were free before are somebody's wish.
    fn go_steps(&self, appliance: &mut Appliance, plan: &mut Plan) -> Result {
        let count = plan.steps.len();
        let mut free = None;
        for (index, step) in plan.steps.iter_mut().enumerate() {
            match &mut step.action {
                Action::ResizePv => free = Some(look::free_extents(appliance)?),
                Action::ResizeLv { mib } => {
                    let (before, _) = free.unwrap_or_default();
                    let (now, extent) = look::free_extents(appliance)?;
                    let size = look::size_of(appliance, &step.device)?;
                    let gained = now.saturating_sub(before).saturating_mul(extent);
                    *mib = size.saturating_add(gained) / MIB;
                }
                _ => {}
            }
            (self.progress)(Stage::Rehearsing(index, count));
            let command = step.command();
            appliance
                .ask(&command)
                .context(format!("the rehearsal of '{command}' failed"))?;
        }
        Ok(())
    }

    /// What is left of the steps of a journal. The dirt on the file system is ours.
    fn rehearse_rest(
        &self,
        journal: &Journal,
        facts: &Facts,
        locks: &[&Lock],
        end: Instant,
    ) -> Result<Rehearsal> {
        let mut appliance = self.start(Access::ReadOnly, locks, end)?;
        let found = look::look(&mut appliance, self.choice).ok();
        let mut steps = Vec::new();
        for (index, step) in journal.steps.iter().enumerate() {
            let is_done = match step.action {
                // Older LVM calls a size that it has already an error (up to 2.03.16,
                // lib/metadata/lv_manip.c).
                Action::ResizeLv { mib } => {
                    look::size_of(&mut appliance, &step.device)? / MIB >= mib
                }
                // Windows is to check a volume that has grown, and until then it cannot grow again
                // (guestfish(1), "ntfsresize").
                Action::ResizeNtfs => look::fills_device(&mut appliance, &step.device)?,
                _ => false,
            };
            if is_done {
                continue;
            }
            (self.progress)(Stage::Rehearsing(index, journal.steps.len()));
            let command = step.command();
            appliance
                .ask(&command)
                .context(format!("the rehearsal of '{command}' failed"))?;
            steps.push(step.clone());
        }
        let rest = Journal {
            size: facts.size,
            steps,
            ..journal.clone()
        };
        Ok(Rehearsal {
            found,
            journal: rest,
            writes: appliance.overlay_size()?,
            warnings: vec!["finished what had been cut off"],
        })
    }

    /// Does on the image what was rehearsed. From here on an interrupt waits.
    fn write(
        &self,
        rehearsal: &Rehearsal,
        cut_off: Option<&Journal>,
        facts: &Facts,
        locks: &[&Lock],
    ) -> std::result::Result<(), Failure> {
        let end = Instant::now() + self.settings.write;
        let steps = &rehearsal.journal.steps;
        let start = || {
            let mut appliance = self.start(Access::ReadWrite, locks, end)?;
            if look::look(&mut appliance, self.choice).ok() != rehearsal.found {
                return Err(Error::new("the disk has changed since the rehearsal"));
            }
            Ok(appliance)
        };
        let mut appliance = match start() {
            Ok(appliance) => appliance,
            Err(error) if cut_off.is_none() => {
                // Nothing was written: there is nothing to finish.
                journal::remove(&self.image.id).map_err(Failure::After)?;
                return Err(Failure::Before(error));
            }
            Err(error) => return Err(Failure::After(error)),
        };
        // The steps are gone from the first on when it is finished.
        let journal = cut_off.unwrap_or(&rehearsal.journal);
        for (index, step) in steps.iter().enumerate() {
            (self.progress)(Stage::Growing(index, steps.len()));
            let command = step.command();
            if let Err(error) = appliance.step(&command) {
                let why = format!("{} ({command}) failed: {error}", index + 1);
                return Err(self.failed(journal, facts, &appliance, &why));
            }
        }
        if let Err(error) = appliance.finish() {
            let why = format!("{} (shutdown) failed: {error}", steps.len() + 1);
            return Err(self.failed(journal, facts, &appliance, &why));
        }
        let done = || {
            self.see(facts)?;
            // What another image under this id waits for stays.
            if cut_off.is_none_or(|cut_off| cut_off.is_of(facts)) {
                journal::remove(&self.image.id)?;
            }
            Ok(())
        };
        done().map_err(Failure::After)
    }

    /// The failure of a step. What guestfish has said goes into the journal.
    fn failed(
        &self,
        journal: &Journal,
        facts: &Facts,
        appliance: &Appliance,
        why: &str,
    ) -> Failure {
        if journal.is_of(facts) {
            let said = appliance.last_words(LAST_LINES);
            if let Err(lost) = journal::write_failed(self.image, journal, &said) {
                log::warn!("{lost}");
            }
        }
        Failure::After(Error::new(format!(
            "step {why}; repair or run vdsm-hooks grow-disk {}",
            self.image.path.display()
        )))
    }
}

/// A growth that was cut off must be finished before the guest starts.
fn unfinished(image: &Path, error: &Error) -> Failure {
    Failure::After(Error::new(format!(
        "what was cut off is not finished: {error}; repair or run vdsm-hooks grow-disk {}",
        image.display()
    )))
}

/// Forgets a growth that was cut off: for an image that was mended by other means. Whether there was one.
///
/// # Errors
/// Another process grows the disk, or the journal cannot be removed.
pub fn forget(id: &str) -> Result<bool> {
    let name = lock_name(id);
    let lock = state::lock_any(HOOK, &[&name], || false).context(BUSY)?;
    journal::unsee(id)?;
    let forgotten = journal::remove(id);
    state::remove_lock(HOOK, &name, lock)?;
    forgotten
}

fn lock_name(id: &str) -> String {
    format!("{id}.lock")
}

/// The failure of a volume of which nobody may even try to grow: only if a growth of it was cut off
/// is it more than a word.
pub fn left_alone(image: &Path, id: &str, error: Error) -> Failure {
    let journal = journal::records().and_then(|records| journal::read(&records, id));
    match journal {
        Ok(None) => Failure::Before(error),
        _ => unfinished(image, &error),
    }
}

/// Bytes as an administrator reads them.
pub fn gib(bytes: u64) -> String {
    format!("{} GiB", tenths(bytes))
}

fn tenths(bytes: u64) -> String {
    let tenths = (u128::from(bytes) * 10 + (1 << 29)) >> 30;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// What is on the disk, in a line.
fn describe(found: &Found, plan: &Plan) -> String {
    let mut text = found.table.name().to_owned();
    if let Some(last) = plan::last(&found.partitions) {
        let end = gib(last.end);
        text += &format!(", partition {} ends at {end}", last.number);
    }
    text += " -> ";
    if let Some(volume) = &plan.volume {
        text += &format!("PV, LV {volume} ({})", plan.system.name);
    } else {
        text += &plan.system.name;
    }
    text
}

/// What has grown from what to what.
fn result(plan: &Plan, after: u64) -> String {
    let place = match plan.partition {
        Some(number) => format!("partition {number}"),
        None => "whole disk".to_owned(),
    };
    let volume = plan.volume.as_ref();
    let volume = volume.map(|name| format!(", {name}")).unwrap_or_default();
    format!(
        "{place}{volume} ({}): {} -> {}",
        plan.system.name,
        tenths(plan.system.size),
        gib(after)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(gib(1600 << 20), "1.6 GiB");
        assert_eq!(gib(500 << 20), "0.5 GiB");
        assert_eq!(gib(0), "0.0 GiB");
        assert_eq!(gib(u64::MAX), "17179869184.0 GiB");
    }
}
