// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain create`: a new ISO or export domain.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vdsm_hooks::storage::create::{Class, Plan, random_id};
use vdsm_hooks::storage::work;
use vdsm_hooks::{Context as _, Error, Result};

use super::find::{Finder, Seen};
use super::report::Report;

/// Make an empty export or ISO domain
///
/// It is made beside its final place and renamed into it last, so that whatever happens there is
/// either no domain or a whole one. Then it is checked, and the engine can import it.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// What it is for
    #[arg(value_name = "export|iso", hide_possible_values = true)]
    kind: Kind,
    /// The directory that is exported or mounted; the domain becomes a directory in it
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The domain's name, which the engine offers at the import
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The domain's id, if not a random one
    #[arg(long, value_name = "UUID")]
    uuid: Option<String>,
    /// What the hosts mount, kept for people; if not this host's name and DIR
    #[arg(long, value_name = "HOST:/PATH")]
    remote_path: Option<String>,
    /// How the hosts get at it
    #[arg(long = "type", value_name = "TYPE", default_value = "nfs")]
    storage: Storage,
    /// The numbers of its owner and group, those of VDSM
    #[arg(long, value_name = "UID:GID", default_value = "36:36", value_parser = owner)]
    owner: (u32, u32),
    #[command(flatten)]
    host: super::Host,
}

const HELP: &str = "\
Examples:
  An export domain in a directory that this machine exports by NFS:
    chown 36:36 /srv/export
    vdsm-hooks domain create export /srv/export --name Export
  The same, from a host that has it mounted:
    vdsm-hooks domain create export /mnt --name Export \\
        --remote-path nas.example.com:/srv/export

Exit status: 0 it is made and sound; 1 it is made, and something is wrong
around it; 2 nothing is made.";

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    Export,
    Iso,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Storage {
    Nfs,
    Localfs,
    Posixfs,
    Glusterfs,
}

impl Storage {
    /// The value of the key TYPE.
    fn word(self) -> &'static str {
        match self {
            Storage::Nfs => "NFS",
            Storage::Localfs => "LOCALFS",
            Storage::Posixfs => "POSIXFS",
            Storage::Glusterfs => "GLUSTERFS",
        }
    }
}

fn owner(text: &str) -> std::result::Result<(u32, u32), String> {
    let numbers = text
        .split_once(':')
        .and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    numbers.ok_or_else(|| "expected two numbers, such as 36:36".to_owned())
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let class = match arguments.kind {
        Kind::Export => Class::Export,
        Kind::Iso => Class::Iso,
    };
    let id = match &arguments.uuid {
        Some(id) => id.clone(),
        None => random_id()?,
    };
    let remote_path = match &arguments.remote_path {
        Some(path) => path.clone(),
        None => here(&arguments.directory, arguments.storage)?,
    };
    let plan = Plan::new(
        class,
        &id,
        &arguments.name,
        arguments.storage.word(),
        &remote_path,
        arguments.owner,
    )?;
    let (domain, wrong) = work::create(&arguments.directory, &plan, arguments.host.end())?;
    let made = match Finder::new(&arguments.host, false)?.one(&domain)? {
        Seen::File(survey) => Report::of_survey(*survey)?,
        Seen::Group(group) => Report::of_group(&group, &[]),
    };
    made.print(&mut anstream::stdout())?;
    io::stdout().flush()?;
    let mut status = made.status();
    if let Some(wrong) = wrong {
        crate::complain(&Error::new(wrong));
        status = status.max(1);
    }
    Ok(ExitCode::from(status.min(1)))
}

/// The directory as other hosts would mount it.
fn here(directory: &Path, storage: Storage) -> Result<String> {
    let directory = std::path::absolute(directory).context(directory.display())?;
    let path = directory.to_str().ok_or_else(|| {
        Error::new(format!(
            "{}: not UTF-8, expected --remote-path",
            directory.display()
        ))
    })?;
    if storage == Storage::Localfs {
        return Ok(path.to_owned());
    }
    let name = "/proc/sys/kernel/hostname";
    let host = fs::read_to_string(name).context(name)?;
    Ok(format!("{}:{path}", host.trim()))
}
