// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain`: storage domains at the shell.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vdsm_hooks::storage::{Content, Roots, work};
use vdsm_hooks::{Context as _, Error, Result};

use crate::complain;

mod check;
mod checksum;
mod copies;
mod create;
mod find;
mod mend;
mod of;
mod progress;
mod release;
mod report;
mod seal;
mod show;
mod sizes;

/// What 'domain check' prints for scripts.
pub(crate) fn answer() -> crate::json::Kind {
    <check::Answer as crate::json::Described>::kind()
}

/// The manual of the whole: what administrators come for.
pub(crate) const STORIES: &str = include_str!("domain/stories.txt");

/// What can be done with a storage domain.
#[derive(clap::Subcommand)]
pub(crate) enum DomainCommand {
    Check(check::Arguments),
    Show(show::Arguments),
    Of(of::Arguments),
    Create(create::Arguments),
    Seal(seal::Arguments),
    Release(release::Arguments),
    Checksum(checksum::Arguments),
}

/// How long to wait for storage, and where VDSM has it.
#[derive(clap::Args)]
struct Host {
    /// How long to wait for storage
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Where VDSM keeps its links and mounts, if not in /rhev/data-center or where vdsm.conf says
    #[arg(long, value_name = "DIR")]
    repository: Option<PathBuf>,
}

impl Host {
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// When to give up what begins now.
    fn end(&self) -> Instant {
        Instant::now() + self.timeout()
    }

    fn roots(&self) -> Result<Roots> {
        match &self.repository {
            Some(repository) => Ok(Roots {
                repository: repository.clone(),
                ..Roots::default()
            }),
            None => Roots::of_host(),
        }
    }
}

/// Runs a subcommand; the status is the one that its help promises. What cannot be judged counts
/// as broken: a script that asks must not go on.
pub(crate) fn run(command: &DomainCommand) -> ExitCode {
    let done = match command {
        DomainCommand::Check(arguments) => check::run(arguments),
        DomainCommand::Show(arguments) => show::run(arguments),
        DomainCommand::Of(arguments) => of::run(arguments),
        DomainCommand::Create(arguments) => create::run(arguments),
        DomainCommand::Seal(arguments) => seal::run(arguments),
        DomainCommand::Release(arguments) => release::run(arguments),
        DomainCommand::Checksum(arguments) => checksum::run(arguments),
    };
    done.unwrap_or_else(|error| {
        complain(&error);
        ExitCode::from(2)
    })
}

/// The most metadata that is read of standard input, in bytes: what is read of a file.
const MAX_METADATA_BYTES: u64 = 8 << 20;

/// How standard input is called in messages.
const STANDARD_INPUT: &str = "standard input";

/// Whether a path means standard input.
fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}

/// What comes on standard input, if that is at most `limit` bytes.
fn standard_input(limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(limit + 1).read_to_end(&mut bytes);
    read.context(STANDARD_INPUT)?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(format!(
            "{STANDARD_INPUT}: larger than {limit} bytes"
        )));
    }
    Ok(bytes)
}

/// The metadata file that `path` means, and its content, none if it is missing.
fn read(path: &Path, end: Instant) -> Result<(PathBuf, Option<Vec<u8>>)> {
    let (file, content) = work::read(path, end)?;
    let wrong = |what: &str| Err(Error::new(format!("{}: {what}", file.display())));
    match content {
        Content::Found(content) => Ok((file, Some(content))),
        Content::Missing | Content::Absent => Ok((file, None)),
        Content::Unreadable(reason) => wrong(&reason),
        Content::Block => wrong(
            "a domain on block storage: its metadata is in the tags of its volume group, expected a domain on file storage",
        ),
    }
}
