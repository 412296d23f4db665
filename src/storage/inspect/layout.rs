// SPDX-License-Identifier: GPL-2.0-or-later

//! What a file domain has in its `dom_md`: files, sizes, modes, owners, and the state of its locks.

use std::path::{Path, PathBuf};

use super::report::Surveyor;
use crate::storage::find::dir::{Dir, Entry};
use crate::storage::format::locks::{self, Kind, Safelease, Sanlock};
use crate::storage::format::name::looks_like_domain;

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
/// What an empty `xleases` has behind its first unit (VDSM 4.50 lib/vdsm/storage/xlease.py:
/// `INDEX_SIZE`).
const XLEASES_INDEX: u64 = 62 * 4096;

/// Looks at the directory and at everything in `dom_md`.
pub(super) fn look(surveyor: &mut Surveyor, domain: &Dir) {
    let mut owners = Owners::default();
    match domain.itself() {
        Ok(entry) => directory(surveyor, &mut owners, Path::new(""), &entry),
        Err(error) => surveyor.finding("", error.to_string(), None),
    }
    if let Some(dom_md) = surveyor.open(domain, "dom_md") {
        if let Ok(entry) = dom_md.itself() {
            directory(surveyor, &mut owners, &dom_md.name, &entry);
        }
        files(surveyor, &mut owners, &dom_md);
        if matches!(dom_md.look("metadata.new"), Ok(Some(_))) {
            surveyor.fact("remnant", "dom_md/metadata.new, harmless");
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

fn directory(surveyor: &mut Surveyor, owners: &mut Owners, name: &Path, entry: &Entry) {
    owners.look(name, entry);
    let mode = entry.mode();
    if mode & 0o777 != DIRECTORY_MODE && mode & 0o777 != 0o775 {
        let remedy = format!("chmod {DIRECTORY_MODE:o} {}", surveyor.path(name));
        surveyor.finding(name, format!("mode {mode:04o}, expected 0755"), remedy);
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
            format!("chown 36:36 {}", paths.join(" ")),
        );
    }
}

/// What is needed to look at the files of `dom_md`.
struct Geometry {
    version: i64,
    /// Locks are sanlock's.
    sanlock: bool,
    sector: u64,
    alignment: u64,
}

fn geometry(surveyor: &Surveyor) -> Geometry {
    let number = |key, usual| {
        let value = surveyor
            .number(key)
            .and_then(|value| u64::try_from(value).ok());
        value
            .filter(|value| (512..=8 << 20).contains(value))
            .unwrap_or(usual)
    };
    let version = surveyor.version();
    Geometry {
        version: version.unwrap_or_default(),
        sanlock: version.is_some_and(|version| version >= 3) && !surveyor.says("TYPE", "LOCALFS"),
        sector: number("BLOCK_SIZE", 512),
        alignment: number("ALIGNMENT", 1 << 20),
    }
}

fn files(surveyor: &mut Surveyor, owners: &mut Owners, dom_md: &Dir) {
    let geometry = geometry(surveyor);
    let version = surveyor.version();
    if let Ok(Some(entry)) = dom_md.look("metadata") {
        owners.look(&dom_md.name.join("metadata"), &entry);
        mode(
            surveyor,
            &dom_md.name.join("metadata"),
            &entry,
            METADATA_MODE,
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
    for name in names {
        file(surveyor, owners, dom_md, name, &geometry);
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
            return surveyor.finding(
                about,
                format!("{}, expected a file", entry.describe()),
                None,
            );
        }
        Ok(None) => {
            let remedy = new(surveyor, name, &about, geometry);
            return surveyor.finding(about, "missing", remedy);
        }
        Err(error) => return surveyor.finding(about, error.to_string(), None),
    };
    owners.look(&about, &entry);
    mode(surveyor, &about, &entry, FILE_MODE);
    let least = match name {
        // Old versions of engine-setup left them empty, and VDSM enlarges them.
        "inbox" | "outbox" if entry.size() == 0 => 0,
        "inbox" | "outbox" => MAILBOX,
        "ids" if geometry.sanlock => geometry.alignment,
        "leases" if geometry.sanlock => 2 * geometry.alignment,
        "leases" if geometry.version < 3 => locks::RECORD as u64,
        "xleases" => geometry.alignment + XLEASES_INDEX,
        _ => 0,
    };
    if entry.size() < least {
        let problem = format!("{} bytes, expected at least {least}", entry.size());
        let remedy = made(surveyor, name, &about, geometry);
        return surveyor.finding(about, problem, remedy);
    }
    let state = match name {
        "leases" if geometry.version < 3 => safelease(surveyor, dom_md, geometry),
        "ids" if geometry.sanlock => lockspace(surveyor, dom_md, geometry),
        "leases" if geometry.sanlock => manager(surveyor, dom_md, geometry),
        "xleases" => external(surveyor, dom_md, geometry),
        // A domain on this host's own disk.
        "ids" if geometry.version >= 3 => local(surveyor, &entry),
        _ => Ok(()),
    };
    if let Err(error) = state {
        surveyor.held(format!(
            "the lock cannot be read, {}: {error}",
            about.display()
        ));
        surveyor.finding(about, error.to_string(), None);
    }
}

pub(super) fn mode(surveyor: &mut Surveyor, about: &Path, entry: &Entry, expected: u32) {
    let mode = entry.mode();
    if mode != expected {
        let remedy = format!("chmod {expected:04o} {}", surveyor.path(about));
        let problem = format!("mode {mode:04o}, expected {expected:04o}");
        surveyor.finding(about, problem, remedy);
    }
}

/// The command that gives a file of `dom_md` its content.
fn made(surveyor: &Surveyor, name: &str, about: &Path, geometry: &Geometry) -> Option<String> {
    let path = surveyor.path(about);
    let Geometry {
        sector, alignment, ..
    } = geometry;
    // sanlock takes a colon in a path for the end of it (sanlock 3.8 src/client.c:
    // sanlock_str_to_res).
    let here = format!("cd {}", surveyor.path("dom_md"));
    let sectors = format!("-Z {sector} -A {}M", alignment >> 20);
    let id = &surveyor.id;
    match name {
        "inbox" | "outbox" => Some(format!("truncate -s 16M {path}")),
        "leases" if geometry.version < 3 => Some(freed(&path)),
        "ids" if geometry.sanlock => Some(format!(
            "{here} && truncate -s {alignment} ids && sanlock direct init -s {id}:0:ids:0 {sectors}"
        )),
        "leases" if geometry.sanlock => Some(format!(
            "{here} && truncate -s {} leases && sanlock direct init -r {id}:SDM:leases:{alignment} {sectors}",
            2 * alignment
        )),
        _ => None,
    }
}

/// The command that makes a missing file of `dom_md`.
fn new(surveyor: &Surveyor, name: &str, about: &Path, geometry: &Geometry) -> String {
    let empty = format!(
        "install -m 0660 -o 36 -g 36 /dev/null {}",
        surveyor.path(about)
    );
    match made(surveyor, name, about, geometry) {
        Some(content) => format!("{empty} && {content}"),
        None => empty,
    }
}

/// The command that writes the record of a lock that nobody holds.
fn freed(path: &str) -> String {
    format!("printf %s ------FREE------0000000000000000 > {path} && truncate -s 512 {path}")
}

fn safelease(surveyor: &mut Surveyor, dom_md: &Dir, _: &Geometry) -> std::io::Result<()> {
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
            let remedy = freed(&surveyor.path(&about));
            surveyor.finding(about, "no record of safelease", remedy);
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
    for (number, sector) in sectors
        .chunks(usize::try_from(geometry.sector).unwrap_or(512))
        .enumerate()
    {
        match Sanlock::read(sector) {
            Some(record) if record.kind == Kind::Host && record.space == surveyor.id => {
                if record.timestamp != 0 {
                    hosts.push(format!(
                        "{} ({})",
                        number + 1,
                        record.resource.escape_debug()
                    ));
                }
            }
            Some(record) if record.kind == Kind::Host => {
                let space = record.space.escape_debug().to_string();
                let problem = format!(
                    "the lockspace is called {space:?}, expected {}",
                    surveyor.id
                );
                surveyor.finding(&about, problem, None);
                break;
            }
            // Only the first one has to be there to know that this is a lockspace.
            _ if number > 0 => {}
            _ => {
                let remedy = made(surveyor, "ids", &about, geometry);
                surveyor.finding(&about, "no lockspace of sanlock", remedy);
                break;
            }
        }
    }
    let hosts = if hosts.is_empty() {
        "none".to_owned()
    } else {
        let hosts = hosts.join(", ");
        surveyor.held(format!("in use by the hosts {hosts}"));
        hosts
    };
    surveyor.fact("hosts", hosts);
    Ok(())
}

/// The lock of the storage pool manager.
fn manager(surveyor: &mut Surveyor, dom_md: &Dir, geometry: &Geometry) -> std::io::Result<()> {
    let about = dom_md.name.join("leases");
    let sector = dom_md.read("leases", geometry.alignment, geometry.sector)?;
    match Sanlock::read(&sector) {
        Some(record) if record.kind == Kind::Resource => {
            resource_names(surveyor, &about, &record, "SDM");
            let words = match record.timestamp {
                0 => "free".to_owned(),
                _ => {
                    let words = format!("held by host {}", record.owner);
                    surveyor.held(format!("{words} as the storage pool manager"));
                    words
                }
            };
            surveyor.fact("SPM lock", words);
        }
        _ => {
            let remedy = made(surveyor, "leases", &about, geometry);
            surveyor.finding(&about, "no resource SDM of sanlock", remedy);
        }
    }
    Ok(())
}

/// Whether a resource of sanlock's is called as its place demands.
fn resource_names(surveyor: &mut Surveyor, about: &Path, record: &Sanlock, resource: &str) {
    let id = surveyor.id.clone();
    for (what, name, expected) in [
        ("lockspace", &record.space, id.as_str()),
        ("resource", &record.resource, resource),
    ] {
        if name != expected {
            let problem = format!("the {what} is called {name:?}, expected {expected}");
            surveyor.finding(about, problem, None);
        }
    }
}

/// The index of external leases, and those leases.
fn external(surveyor: &mut Surveyor, dom_md: &Dir, geometry: &Geometry) -> std::io::Result<()> {
    let about = dom_md.name.join("xleases");
    let index = dom_md.read("xleases", geometry.alignment, XLEASES_INDEX)?;
    match locks::xleases(&index) {
        Some(space) if space == surveyor.id => {}
        Some(space) => {
            let problem = format!(
                "the lockspace is called {space:?}, expected {}",
                surveyor.id
            );
            surveyor.finding(&about, problem, None);
            return Ok(());
        }
        None => {
            surveyor.finding(about, "no index of leases", None);
            return Ok(());
        }
    }
    let leases = locks::external(&index);
    for (number, lease) in &leases {
        let offset = (3 + *number as u64) * geometry.alignment;
        let sector = dom_md.read("xleases", offset, geometry.sector)?;
        match Sanlock::read(&sector) {
            Some(record) if record.kind == Kind::Resource => {
                resource_names(surveyor, &about, &record, lease);
            }
            _ => {
                let problem = format!("no resource of sanlock at {offset}, expected {lease:?}");
                surveyor.finding(&about, problem, None);
            }
        }
    }
    if !leases.is_empty() {
        surveyor.fact("leases", leases.len().to_string());
    }
    Ok(())
}

/// The lock of a volume, which is in a file of its own.
pub(super) fn of_volume(surveyor: &mut Surveyor, image: &Dir, volume: &str) {
    let name = format!("{volume}.lease");
    let about = image.name.join(&name);
    let Geometry {
        sanlock, sector, ..
    } = geometry(surveyor);
    // VDSM makes none where sanlock is not used (VDSM 4.50 lib/vdsm/storage/sd.py:
    // hasVolumeLeases).
    if !sanlock || !matches!(image.look(&name), Ok(Some(_))) {
        return;
    }
    match image
        .read(&name, 0, sector)
        .map(|sector| Sanlock::read(&sector))
    {
        Ok(Some(record)) if record.kind == Kind::Resource => {
            resource_names(surveyor, &about, &record, volume);
        }
        Ok(_) => surveyor.finding(about, "no resource of sanlock", None),
        Err(error) => surveyor.finding(about, error.to_string(), None),
    }
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
        surveyor.finding(".", problem, None);
    }
}
