// SPDX-License-Identifier: GPL-2.0-or-later

//! Runs the hooks of an event one after the other, as VDSM does, and reads what each has left.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::decision::{End, Outcome};
use super::installed::Entry;
use super::{data_file, interrupt};
use crate::Result;
use crate::host::{command, files};
use crate::vdsm::events::{Event, Start};

/// Far above any document; a hook that writes more has gone mad.
const MAX_BYTES: u64 = 256 << 20;

/// An event that is being fired.
pub struct Firing<'a> {
    /// Which one.
    pub event: &'a Event,
    /// In what way a VM starts there, if one does.
    pub start: Option<Start>,
    /// What the hooks find in their environment, and nothing else.
    pub environment: BTreeMap<String, String>,
    /// How long each may take. VDSM waits indefinitely.
    pub timeout: Duration,
    /// The file that they change, one after the other.
    pub data_file: PathBuf,
    /// What is in it, before the first hook and after each; none if it is gone.
    pub data: Option<Vec<u8>>,
}

impl Firing<'_> {
    /// Runs one hook, or passes it over where it is known how it ends.
    ///
    /// # Errors
    /// What the hook has left cannot be read.
    pub fn fire(&mut self, hook: &Entry, known: Option<End>) -> Result<Outcome> {
        let mut outcome = Outcome {
            name: hook.name.clone(),
            path: hook.path.display().to_string(),
            end: known.unwrap_or(End::Skipped),
            time: Duration::ZERO,
            stderr: Vec::new(),
            problem: None,
        };
        if known.is_some() {
            return Ok(outcome);
        }
        let start = Instant::now();
        let (end, stderr) = self.execute(&hook.path)?;
        outcome.end = end;
        outcome.stderr = stderr;
        outcome.time = start.elapsed();
        self.data = match self.data_file.symlink_metadata() {
            // A pipe, for example, could not be read to its end.
            Ok(_) if self.data_file.is_file() => {
                Some(files::read_file(&self.data_file, MAX_BYTES)?)
            }
            _ => None,
        };
        outcome.problem = data_file::problem(self.event, self.start, self.data.as_deref());
        Ok(outcome)
    }

    fn execute(&self, path: &Path) -> Result<(End, Vec<u8>)> {
        let mut ending = self.supervise(Command::new(path));
        if let Err(error) = &ending {
            // VDSM starts hooks through taskset (VDSM 4.50 lib/vdsm/common/cmdutils.py: wrap_command),
            // which hands a file without a #! line to the shell.
            if error.raw_os_error() == Some(ENOEXEC) {
                let mut shell = Command::new("/bin/sh");
                shell.arg(path);
                ending = self.supervise(shell);
            }
        }
        let ending = match ending {
            Ok(ending) => ending,
            Err(error) => {
                let status = if error.kind() == io::ErrorKind::NotFound {
                    127
                } else {
                    126
                };
                let hint = if status == 127 {
                    " (the interpreter of its #! line?)"
                } else {
                    ""
                };
                let text = format!("failed to execute {}: {error}{hint}\n", path.display());
                return Ok((End::Status(status), text.into_bytes()));
            }
        };
        let end = match ending.status {
            Some(status) if ending.in_time => match status.signal() {
                Some(signal) => End::Signal(signal),
                None => End::Status(status.code().unwrap_or_default()),
            },
            _ => End::TimedOut,
        };
        Ok((end, ending.stderr))
    }

    fn supervise(&self, mut command: Command) -> io::Result<command::Ending> {
        command.env_clear().envs(&self.environment);
        let mut running = interrupt::running();
        let ending = command::supervise(command, self.timeout, |group| {
            *running = Some(group);
            drop(running);
        });
        *interrupt::running() = None;
        ending
    }
}

/// Error number of a file that the kernel cannot execute.
const ENOEXEC: i32 = nix::errno::Errno::ENOEXEC as i32;
