// SPDX-License-Identifier: GPL-2.0-or-later

//! What a file domain has in its `dom_md`: files, sizes, modes, owners, and the state of its locks.

use std::path::{Path, PathBuf};

use super::geometry::Geometry;
use super::leases;
use super::report::{Cure, Surveyor};
use crate::props::is_uuid;
use crate::storage::find::dir::{Dir, Entry};
use crate::storage::find::metadata_file::Content;
use crate::storage::format::locks::{self, Kind, Safelease, Sanlock};
use crate::storage::format::metadata::MAX_METADATA_BYTES;
use crate::storage::format::name::looks_like_domain;
use crate::storage::format::reading::Verdict;
use crate::storage::verdict::engine;
use crate::storage::verdict::judge::judge;

/// The numbers of the user vdsm (VDSM 4.50 vdsm.spec.in) and the group kvm. File servers do not
/// know the names.
pub(super) const OWNER: (u32, u32) = (36, 36);
/// The mode of the files for locks and mails (VDSM 4.50 lib/vdsm/storage/fileSD.py:
/// `METADATA_PERMISSIONS`).
pub(in crate::storage) const FILE_MODE: u32 = 0o660;
/// The mode of the metadata.
pub(in crate::storage) const METADATA_MODE: u32 = 0o644;
/// The mode of directories; old VDSM made some 0775.
pub(in crate::storage) const DIRECTORY_MODE: u32 = 0o755;
/// The size of a mailbox in bytes (VDSM 4.50 lib/vdsm/storage/sd.py: `SPECIAL_VOLUME_SIZES_MIB`).
pub(in crate::storage) const MAILBOX: u64 = 16 << 20;
/// How many hosts a data centre can have (VDSM 4.50 lib/vdsm/storage/clusterlock.py:
/// `MAX_HOST_ID`).
const HOSTS: usize = 250;

/// Looks at the directory and at everything in `dom_md`.
pub(super) fn look(surveyor: &mut Surveyor, domain: &Dir) {
    let mut owners = Owners::default();
    match domain.itself() {
        Ok(entry) => directory(surveyor, &mut owners, Path::new(""), &entry),
        Err(error) => surveyor.trouble("", &error),
    }
    if let Some(dom_md) = surveyor.open(domain, "dom_md", engine::LOST) {
        if let Ok(entry) = dom_md.itself() {
            directory(surveyor, &mut owners, &dom_md.name, &entry);
        }
        files(surveyor, &mut owners, &dom_md);
        if matches!(dom_md.look("metadata.new"), Ok(Some(_))) {
            unfinished(surveyor, &dom_md);
        }
    }
    for name in ["images", "master", "master/vms", "master/tasks"] {
        if let Ok(Some(entry)) = domain.look(name) {
            if entry.is_dir() {
                directory(surveyor, &mut owners, Path::new(name), &entry);
            }
        }
    }
    owners.tell(surveyor);
    siblings(surveyor);
}

/// What a write that was cut off has left. It is harmless, and where the metadata is lost it may be
/// what there is of it.
fn unfinished(surveyor: &mut Surveyor, dom_md: &Dir) {
    let is_lost = match &surveyor.survey.metadata {
        Content::Missing => true,
        Content::Found(content) => judge(Some(content)).reading.verdict == Verdict::Empty,
        _ => false,
    };
    let is_whole = || {
        let content = dom_md.read("metadata.new", 0, MAX_METADATA_BYTES);
        content.is_ok_and(|content| judge(Some(&content)).reading.verdict == Verdict::Ok)
    };
    if !(is_lost && is_whole()) {
        return surveyor.fact("remnant", "dom_md/metadata.new, harmless");
    }
    let [new, old] = ["dom_md/metadata.new", "dom_md/metadata"].map(|name| surveyor.path(name));
    let cure = Cure::command(format!("mv {new} {old}"))
        .and("it is what VDSM, or 'vdsm-hooks domain', was about to write when it was cut off");
    let problem = "whole and sealed, while dom_md/metadata is lost";
    surveyor.finding("dom_md/metadata.new", problem, engine::LOST, cure);
}

fn directory(surveyor: &mut Surveyor, owners: &mut Owners, name: &Path, entry: &Entry) {
    owners.look(name, entry);
    let mode = entry.mode();
    if mode & 0o777 != DIRECTORY_MODE && mode & 0o777 != 0o775 {
        let cure = Cure::command(format!("chmod {DIRECTORY_MODE:o} {}", surveyor.path(name)));
        let problem = format!("mode {mode:04o}, expected 0755");
        surveyor.finding(name, problem, engine::PERMISSION, cure);
    }
}

/// Those that belong to somebody else, told in one finding.
#[derive(Default)]
struct Owners {
    not_ours: Vec<(PathBuf, (u32, u32))>,
}

impl Owners {
    fn look(&mut self, name: &Path, entry: &Entry) {
        if entry.owner() != OWNER {
            self.not_ours.push((name.to_owned(), entry.owner()));
        }
    }

    fn tell(self, surveyor: &mut Surveyor) {
        if self.not_ours.is_empty() {
            return;
        }
        let shown = |(name, (user, group)): &(PathBuf, (u32, u32))| {
            let name = if name.as_os_str().is_empty() {
                Path::new(".")
            } else {
                name
            };
            format!("{} ({user}:{group})", name.display())
        };
        let files: Vec<_> = self.not_ours.iter().map(shown).collect();
        let paths: Vec<_> = self
            .not_ours
            .iter()
            .map(|(name, _)| surveyor.path(name))
            .collect();
        surveyor.finding(
            "owner",
            format!("expected 36:36 for {}", files.join(", ")),
            engine::PERMISSION,
            Cure::command(format!("chown 36:36 {}", paths.join(" "))),
        );
    }
}

fn files(surveyor: &mut Surveyor, owners: &mut Owners, dom_md: &Dir) {
    let geometry = Geometry::of(surveyor);
    let version = surveyor.version();
    if let Ok(Some(entry)) = dom_md.look("metadata") {
        owners.look(&dom_md.name.join("metadata"), &entry);
        mode(
            surveyor,
            &dom_md.name.join("metadata"),
            &entry,
            METADATA_MODE,
            engine::LOST,
        );
    }
    // Without a version it is not known what there has to be.
    if version.is_none() {
        surveyor.held("which lock counts is not known without a VERSION in the metadata");
    }
    let names: &[&str] = match version {
        None => &[],
        Some(4..) if geometry.sanlock => &["ids", "leases", "inbox", "outbox", "xleases"],
        Some(_) => &["ids", "leases", "inbox", "outbox"],
    };
    if !geometry.sanlock {
        others(surveyor, dom_md);
    }
    for name in names {
        file(surveyor, owners, dom_md, name, &geometry);
    }
}

/// Hosts in a lockspace of sanlock's where the metadata knows none, which may be what is wrong, or
/// the file is too short for one.
fn others(surveyor: &mut Surveyor, dom_md: &Dir) {
    let is_file = |entry: Entry| entry.is_file();
    let ids = dom_md.look("ids");
    if !ids.is_ok_and(|entry| entry.is_some_and(is_file)) {
        return;
    }
    // Sectors of 4096 bytes begin where some of 512 do.
    let most = 4096 * HOSTS as u64;
    let Ok(sectors) = dom_md.read("ids", 0, most) else {
        return;
    };
    let records = sectors.chunks(512).filter_map(Sanlock::read);
    let alive = records.filter(|record| record.kind == Kind::Host && record.timestamp != 0);
    let hosts: Vec<String> = alive
        .map(|record| record.resource.escape_debug().to_string())
        .collect();
    if !hosts.is_empty() {
        let hosts = hosts.join(", ");
        surveyor.held(format!("in use by the hosts {hosts}, as dom_md/ids says"));
    }
}

fn file(
    surveyor: &mut Surveyor,
    owners: &mut Owners,
    dom_md: &Dir,
    name: &str,
    geometry: &Geometry,
) {
    let about = dom_md.name.join(name);
    let entry = match dom_md.look(name) {
        Ok(Some(entry)) if entry.is_file() => entry,
        Ok(Some(entry)) => {
            let problem = format!("{}, expected a file", entry.describe());
            let cure = in_its_place(surveyor, name, &about, geometry);
            return surveyor.finding(about, problem, shown(name), cure);
        }
        Ok(None) => {
            let cure = new(surveyor, name, &about, geometry);
            return surveyor.finding(about, "missing", shown(name), cure);
        }
        Err(error) => return surveyor.trouble(about, &error),
    };
    owners.look(&about, &entry);
    mode(surveyor, &about, &entry, FILE_MODE, shown(name));
    let least = match name {
        // Old versions of engine-setup left them empty, and VDSM enlarges them.
        "inbox" | "outbox" if entry.size() == 0 => 0,
        "inbox" | "outbox" => MAILBOX,
        "ids" if geometry.sanlock => geometry.alignment,
        "leases" if geometry.sanlock => 2 * geometry.alignment,
        "leases" if geometry.version < 3 => locks::RECORD as u64,
        "xleases" => geometry.alignment + leases::INDEX,
        _ => 0,
    };
    if entry.size() < least {
        if name == "ids" {
            others(surveyor, dom_md);
        }
        let problem = format!("{} bytes, expected at least {least}", entry.size());
        let cure = filled(surveyor, name, &about, geometry);
        return surveyor.finding(about, problem, shown(name), cure);
    }
    let state = match name {
        "leases" if geometry.version < 3 => safelease(surveyor, dom_md, geometry),
        "ids" if geometry.sanlock => lockspace(surveyor, dom_md, geometry),
        "leases" if geometry.sanlock => manager(surveyor, dom_md, geometry),
        "xleases" => leases::look(surveyor, dom_md, &entry, geometry),
        // A domain on this host's own disk.
        "ids" if geometry.version >= 3 => local(surveyor, &entry),
        _ => Ok(()),
    };
    if let Err(error) = state {
        surveyor.held(format!(
            "the lock cannot be read, {}: {error}",
            about.display()
        ));
        surveyor.trouble(about, &error);
    }
}

/// What the engine shows where a file of `dom_md` is of no use.
fn shown(name: &str) -> &'static str {
    match name {
        "ids" | "leases" => engine::LOCK,
        "xleases" => engine::LEASES,
        _ => engine::MAILBOX,
    }
}

pub(super) fn mode(
    surveyor: &mut Surveyor,
    about: &Path,
    entry: &Entry,
    expected: u32,
    engine: &str,
) {
    let mode = entry.mode();
    if mode != expected {
        let cure = Cure::command(format!("chmod {expected:04o} {}", surveyor.path(about)));
        let problem = format!("mode {mode:04o}, expected {expected:04o}");
        surveyor.finding(about, problem, engine, cure);
    }
}

/// The command that gives a file of `dom_md` its content; none if it has none, or if there is no
/// such command.
fn made(surveyor: &Surveyor, name: &str, about: &Path, geometry: &Geometry) -> Option<String> {
    let path = surveyor.path(about);
    let alignment = geometry.alignment;
    // sanlock takes a colon in a path for the end of it (sanlock 3.8 src/client.c:
    // sanlock_str_to_res).
    let here = format!("cd {}", surveyor.path("dom_md"));
    let sectors = geometry.sectors();
    let id = &surveyor.id;
    match name {
        "inbox" | "outbox" => Some(format!("truncate -s 16M {path}")),
        "leases" if geometry.version < 3 => Some(freed(&path)),
        // What is no id must not come into a command.
        "ids" | "leases" if geometry.sanlock && !is_uuid(id) => None,
        "ids" if geometry.sanlock => Some(format!(
            "{here} && truncate -s '>{alignment}' ids && sanlock direct init -s {id}:0:ids:0 {sectors}"
        )),
        "leases" if geometry.sanlock => Some(format!(
            "{here} && truncate -s '>{}' leases && sanlock direct init -r {id}:SDM:leases:{alignment} {sectors}",
            2 * alignment
        )),
        "xleases" => leases::index(surveyor, geometry, &[]),
        _ => None,
    }
}

/// What gives a file of `dom_md` its content.
fn filled(surveyor: &Surveyor, name: &str, about: &Path, geometry: &Geometry) -> Cure {
    careful(surveyor, name, geometry, || {
        Cure::command(made(surveyor, name, about, geometry).unwrap_or_default())
    })
}

/// What makes a missing file of `dom_md`.
fn new(surveyor: &Surveyor, name: &str, about: &Path, geometry: &Geometry) -> Cure {
    careful(surveyor, name, geometry, || {
        let empty = format!(
            "install -m 0660 -o 36 -g 36 /dev/null {}",
            surveyor.path(about)
        );
        Cure::command(match made(surveyor, name, about, geometry) {
            Some(content) => format!("{empty} && {content}"),
            // One that stays empty.
            None => empty,
        })
    })
}

/// What makes a file of `dom_md` where something else lies in its place, which is kept.
fn in_its_place(surveyor: &Surveyor, name: &str, about: &Path, geometry: &Geometry) -> Cure {
    let path = surveyor.path(about);
    let aside = surveyor.path(about.with_extension("aside"));
    let cure = new(surveyor, name, about, geometry);
    cure.after(&format!(
        "mv --backup=numbered --no-target-directory {path} {aside}"
    ))
}

/// `cure` with what is to be known before a lock is made anew. Where that would take the lock away
/// from somebody, or make another than the domain's, there is no command.
fn careful(
    surveyor: &Surveyor,
    name: &str,
    geometry: &Geometry,
    cure: impl FnOnce() -> Cure,
) -> Cure {
    match name {
        "ids" | "leases" => {
            let cure = geometry.once_sure(cure);
            match surveyor.survey.holders.as_slice() {
                [] => cure.and_if_command("only while no host uses the domain: its locks are in there"),
                holders => cure.only(&format!(
                    "put the domain into maintenance, then check again: {}; only if no such host is alive",
                    holders.join("; ")
                )),
            }
        }
        "xleases" => geometry.once_sure(cure).and_if_command(leases::LOST),
        _ => cure(),
    }
}

/// The command that writes the record of a lock that nobody holds.
fn freed(path: &str) -> String {
    format!("printf %s ------FREE------0000000000000000 > {path} && truncate -s 512 {path}")
}

fn safelease(surveyor: &mut Surveyor, dom_md: &Dir, geometry: &Geometry) -> std::io::Result<()> {
    let record = dom_md.read("leases", 0, locks::RECORD as u64)?;
    let Some(state) = Safelease::read(&record) else {
        return Ok(());
    };
    let mut words = state.to_string();
    match state {
        Safelease::Held { .. } => surveyor.held(words.clone()),
        Safelease::Unknown => {
            // Whoever wrote it may hold the domain.
            surveyor.held("dom_md/leases is not a record of safelease");
            let about = dom_md.name.join("leases");
            let cure = geometry.once_sure(|| {
                Cure::command(freed(&surveyor.path(&about)))
                    .and("only while no host uses the domain: its locks are in there")
            });
            surveyor.finding(about, "no record of safelease", engine::LOCK, cure);
        }
        Safelease::Blank => {
            let operation = surveyor.number("IOOPTIMEOUTSEC").unwrap_or(10);
            let lease = surveyor.number("LEASETIMESEC").unwrap_or(60);
            let wait = operation.saturating_mul(8).saturating_add(lease);
            words += &format!(", the first host to attach the domain waits {wait} s");
        }
        Safelease::Free => {}
    }
    surveyor.fact("lock", words);
    Ok(())
}

/// The lock of a local domain, which a process of this host holds (VDSM 4.50
/// lib/vdsm/storage/clusterlock.py: `LocalLock`).
fn local(surveyor: &mut Surveyor, ids: &Entry) -> std::io::Result<()> {
    let table = std::fs::read_to_string("/proc/locks")?;
    let words = match locks::flock(&table, ids.device(), ids.inode()) {
        Some(process) => {
            let words = format!("held by process {process} of this host");
            surveyor.held(words.clone());
            words
        }
        None => "free".to_owned(),
    };
    surveyor.fact("lock", words);
    Ok(())
}

/// The hosts in the lockspace.
fn lockspace(surveyor: &mut Surveyor, dom_md: &Dir, geometry: &Geometry) -> std::io::Result<()> {
    let about = dom_md.name.join("ids");
    let sectors = dom_md.read("ids", 0, geometry.sector * HOSTS as u64)?;
    let mut hosts = Vec::new();
    let mut problem = None;
    for (number, sector) in sectors
        .chunks(usize::try_from(geometry.sector).unwrap_or(512))
        .enumerate()
    {
        match Sanlock::read(sector) {
            // A host in a lockspace of another name holds a domain all the same.
            Some(record) if record.kind == Kind::Host => {
                if record.timestamp != 0 {
                    hosts.push(format!(
                        "{} ({})",
                        number + 1,
                        record.resource.escape_debug()
                    ));
                }
                if record.space != surveyor.id {
                    let space = record.space.escape_debug().to_string();
                    problem.get_or_insert(format!(
                        "the lockspace is called {space:?}, expected {}",
                        surveyor.id
                    ));
                }
            }
            // Only the first one has to be there to know that this is a lockspace.
            _ if number > 0 => {}
            _ => problem = Some("no lockspace of sanlock".to_owned()),
        }
    }
    let hosts = if hosts.is_empty() {
        "none".to_owned()
    } else {
        let hosts = hosts.join(", ");
        surveyor.held(format!("in use by the hosts {hosts}"));
        hosts
    };
    if let Some(problem) = problem {
        let cure = filled(surveyor, "ids", &about, geometry);
        surveyor.finding(&about, problem, engine::LOCK, cure);
    }
    surveyor.fact("hosts", hosts);
    Ok(())
}

/// The lock of the storage pool manager.
fn manager(surveyor: &mut Surveyor, dom_md: &Dir, geometry: &Geometry) -> std::io::Result<()> {
    let about = dom_md.name.join("leases");
    let sector = dom_md.read("leases", geometry.alignment, geometry.sector)?;
    match Sanlock::read(&sector) {
        Some(record) if record.kind == Kind::Resource => {
            let misnamed = record.misnamed(&surveyor.id, "SDM");
            let words = match record.timestamp {
                0 => "free".to_owned(),
                _ => {
                    let words = format!("held by host {}", record.owner);
                    surveyor.held(format!("{words} as the storage pool manager"));
                    words
                }
            };
            if let Some(problem) = misnamed {
                let cure = filled(surveyor, "leases", &about, geometry);
                surveyor.finding(&about, problem, engine::LOCK, cure);
            }
            surveyor.fact("SPM lock", words);
        }
        _ => {
            let cure = filled(surveyor, "leases", &about, geometry);
            surveyor.finding(&about, "no resource SDM of sanlock", engine::LOCK, cure);
        }
    }
    Ok(())
}

/// The lock of a volume, which is in a file of its own.
pub(super) fn of_volume(surveyor: &mut Surveyor, image: &Dir, volume: &str) {
    let name = format!("{volume}.lease");
    let about = image.name.join(&name);
    let geometry = Geometry::of(surveyor);
    // VDSM makes none where sanlock is not used (VDSM 4.50 lib/vdsm/storage/sd.py:
    // hasVolumeLeases).
    if !geometry.sanlock || !matches!(image.look(&name), Ok(Some(_))) {
        return;
    }
    let record = image.read(&name, 0, geometry.sector);
    let (problem, is_held) = match record.map(|sector| Sanlock::read(&sector)) {
        Ok(Some(record)) if record.kind == Kind::Resource => {
            match record.misnamed(&surveyor.id, volume) {
                Some(problem) => (problem, record.timestamp != 0),
                None => return,
            }
        }
        Ok(_) => ("no resource of sanlock".to_owned(), false),
        Err(error) => return surveyor.trouble(about, &error),
    };
    let cure = geometry.once_sure(|| {
        let line = format!(
            "cd {} && sanlock direct init -r {}:{volume}:{name}:0 {}",
            surveyor.path(&image.name),
            surveyor.id,
            geometry.sectors()
        );
        let cure = Cure::command(line);
        if is_held {
            cure.only(
                "a host holds it under that name; only if none is alive that works on this disk",
            )
        } else {
            cure.and("only while no host works on this disk")
        }
    });
    surveyor.finding(about, problem, engine::VOLUME_LOCK, cure);
}

/// Other domains beside this one: VDSM sees one only in each mount (VDSM 4.50
/// lib/vdsm/storage/fileSD.py: `scanDomains`).
fn siblings(surveyor: &mut Surveyor) {
    let Some(mount) = surveyor.directory.parent() else {
        return;
    };
    let Ok(names) = Dir::of_domain(mount).and_then(|mount| mount.names()) else {
        return;
    };
    let names = names
        .0
        .into_iter()
        .map(|name| name.to_string_lossy().into_owned());
    let others: Vec<String> = names
        .filter(|name| *name != surveyor.id && looks_like_domain(name))
        .filter(|name| mount.join(name).join("dom_md").is_dir())
        .take(10)
        .collect();
    if !others.is_empty() {
        let problem = format!(
            "VDSM sees one domain only in a mount, and there are others beside it: {}",
            others.join(", ")
        );
        let cure = Cure::advice(
            "move those that do not belong here into exports of their own: which they are only you know",
        );
        surveyor.finding(".", problem, engine::ONE_OF_SEVERAL, cure);
    }
}
