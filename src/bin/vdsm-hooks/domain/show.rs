// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain show`: what the metadata of a domain says, in words.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vdsm_hooks::storage::{Judgement, Metadata, Verdict, judge, judge_tags};
use vdsm_hooks::{Error, Result, props};

use super::find::{Finder, Seen};
use crate::{diff, print};

/// Say in words what the metadata of a storage domain says
///
/// Nothing is judged here but the seal; 'vdsm-hooks domain check' does that.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The domain's directory, its dom_md, its metadata file or a copy, the mount, or its id; - is
    /// metadata on standard input
    #[arg(value_name = "PATH|UUID")]
    target: PathBuf,
    #[command(flatten)]
    host: super::Host,
}

const HELP: &str = "\
Example:
  vdsm-hooks domain show /rhev/data-center/mnt/nas.example.com:_export

Exit status: 0 it is shown; 2 it cannot be read.";

/// Keys that are told together with others, or not at all: they say nothing any more.
const TOLD: [&str; 12] = [
    "CLASS",
    "TYPE",
    "VERSION",
    "DESCRIPTION",
    "SDUUID",
    "POOL_UUID",
    "ROLE",
    "REMOTE_PATH",
    "IOOPTIMEOUTSEC",
    "LEASETIMESEC",
    "LEASERETRIES",
    "LOCKRENEWALINTERVALSEC",
];

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (place, judgement, facts) =
        match Finder::new(&arguments.host, false)?.one(&arguments.target)? {
            Seen::Group(group) => {
                let place = format!("volume group {}", group.name);
                (place, judge_tags(&group.tags), Vec::new())
            }
            Seen::File(survey) => {
                let place = Path::new(&survey.file).display().to_string();
                let judgement = judge(survey.content()?);
                (place, judgement, survey.facts)
            }
        };
    if judgement.metadata.is_empty() {
        let verdict = judgement.reading.verdict;
        let cause = judgement.cause.map(|cause| format!(", {cause}"));
        return Err(Error::new(format!(
            "{place}: {verdict}{}",
            cause.unwrap_or_default()
        )));
    }
    print(&in_words(&place, &judgement, &facts))?;
    Ok(ExitCode::SUCCESS)
}

fn in_words(place: &str, judgement: &Judgement, facts: &[(String, String)]) -> String {
    let mut words = format!("{}\n", diff::printable(place));
    let mut line = |name: &str, text: &str| {
        let name = format!("{name}:");
        words += &format!("  {name:<13} {text}\n");
    };
    let metadata = &judgement.metadata;
    line("kind", &kind(metadata));
    for (name, key) in [("name", "DESCRIPTION"), ("id", "SDUUID")] {
        line(name, &value(metadata, key));
    }
    line("format", &format(metadata));
    line("storage", &storage(metadata));
    line("attached to", &pools(metadata));
    line("role", &role(metadata));
    line("lock", &times(metadata));
    line("seal", &seal(judgement));
    for (name, fact) in facts {
        let name = if name == "lock" { "lock state" } else { name };
        line(name, fact);
    }
    for (key, value) in metadata.iter().filter(|(key, _)| !TOLD.contains(key)) {
        let value = if value.is_empty() {
            "none".to_owned()
        } else {
            plain(value)
        };
        line(&plain(key), &format!("{value}{}", meaning(key)));
    }
    words
}

/// A value as it may be shown on a terminal, without the quotes.
fn plain(value: &str) -> String {
    let quoted = props::quoted(value);
    match quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(plain) => plain.to_owned(),
        None => quoted,
    }
}

fn value(metadata: &Metadata, key: &str) -> String {
    match metadata.get(key) {
        None => "not said".to_owned(),
        Some("") => "none".to_owned(),
        Some(value) => plain(value),
    }
}

fn kind(metadata: &Metadata) -> String {
    match metadata.get("CLASS") {
        Some("Data") => "data domain: disks of VMs".to_owned(),
        Some("Iso") => "ISO domain: images of CDs".to_owned(),
        Some("Backup") => "export domain: VMs and templates on their way".to_owned(),
        Some(other) => format!("unknown, CLASS={}", plain(other)),
        None => "not said".to_owned(),
    }
}

/// The engine counts its versions otherwise than the disk (ovirt-engine 4.5
/// …/businessentities/StorageFormatType.java).
fn format(metadata: &Metadata) -> String {
    let version = value(metadata, "VERSION");
    let engine = match version.trim() {
        "0" => "V1",
        "2" => "V2",
        "3" => "V3",
        "4" => "V4",
        "5" => "V5",
        _ => return format!("{version}, unknown"),
    };
    format!("{} on disk, {engine} in the engine", version.trim())
}

fn storage(metadata: &Metadata) -> String {
    let kind = value(metadata, "TYPE");
    match metadata.get("REMOTE_PATH").filter(|path| !path.is_empty()) {
        // The mount itself counts, so this may be out of date.
        Some(path) => format!("{kind}, made at {}", plain(path)),
        None => kind,
    }
}

fn pools(metadata: &Metadata) -> String {
    const NO_POOL: &str = "00000000-0000-0000-0000-000000000000";
    let pools = metadata.get("POOL_UUID").unwrap_or_default();
    let pools: Vec<String> = pools
        .split(',')
        .filter(|pool| !pool.is_empty() && *pool != NO_POOL)
        .map(plain)
        .collect();
    match pools.len() {
        0 => "no data centre".to_owned(),
        1 => format!("data centre {}", pools[0]),
        _ => format!("data centres {}", pools.join(", ")),
    }
}

fn role(metadata: &Metadata) -> String {
    match metadata.get("ROLE") {
        Some(role) if role.eq_ignore_ascii_case("master") => "master of its data centre".to_owned(),
        Some(_) => "regular".to_owned(),
        None => "not said".to_owned(),
    }
}

fn times(metadata: &Metadata) -> String {
    let [lease, operation, retries, renewal] = [
        "LEASETIMESEC",
        "IOOPTIMEOUTSEC",
        "LEASERETRIES",
        "LOCKRENEWALINTERVALSEC",
    ]
    .map(|key| value(metadata, key));
    format!(
        "lease {lease} s, operations {operation} s, {retries} retries, renewed every {renewal} s"
    )
}

fn seal(judgement: &Judgement) -> String {
    match judgement.reading.verdict {
        Verdict::Ok => "fits".to_owned(),
        Verdict::Unsealed => "none, VDSM takes it unchecked".to_owned(),
        Verdict::Broken => {
            "broken, VDSM refuses the domain; why: vdsm-hooks domain check".to_owned()
        }
        other => other.to_string(),
    }
}

/// What a key means that is shown as it is.
fn meaning(key: &str) -> &'static str {
    match key {
        "ALIGNMENT" => " bytes for every lease",
        "BLOCK_SIZE" => " bytes in a sector",
        "LOGBLKSIZE" => " bytes in a logical block",
        "PHYBLKSIZE" => " bytes in a physical block",
        "MASTER_VERSION" | "POOL_DESCRIPTION" | "POOL_DOMAINS" | "POOL_SPM_ID"
        | "POOL_SPM_LVER" => " (of the data centre; the engine knows better since 3.5)",
        "LOCKPOLICY" => " (VDSM ignores it)",
        _ => "",
    }
}
