// SPDX-License-Identifier: GPL-2.0-or-later

//! Makes an ISO or export domain. It appears whole or not at all.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::props::{is_uuid, quoted};
use crate::storage::find::dir::Dir;
use crate::storage::format::locks;
use crate::storage::format::metadata::Metadata;
use crate::storage::format::seal::{hex, write};
use crate::storage::inspect::layout::{DIRECTORY_MODE, FILE_MODE, MAILBOX, METADATA_MODE};
use crate::storage::inspect::report::shell_path;
use crate::{Context, Error, Result};

/// Where a domain is built. Too few dashes for VDSM to take it for a domain, and the dot hides it
/// besides. It is the same for everybody, so that of two calls at the same time one fails.
const BUILT_IN: &str = ".vdsm-hooks-new";
/// The image of an ISO domain that has the files.
pub const ISO_IMAGE: &str = "11111111-1111-1111-1111-111111111111";
/// The version of all ISO and export domains.
const VERSION: &str = "0";

/// The two kinds of domains that are made by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// VMs and templates on their way from one data centre to another.
    Export,
    /// Images of CDs.
    Iso,
}

/// What a domain is to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Which kind of domain.
    pub class: Class,
    /// The domain's id.
    pub id: String,
    /// Owner and group of everything in it.
    pub owner: (u32, u32),
    metadata: Metadata,
}

impl Plan {
    /// A plan for a domain.
    ///
    /// # Errors
    /// A name or an id that VDSM or the engine would not take.
    pub fn new(
        class: Class,
        id: &str,
        name: &str,
        kind: &str,
        remote_path: &str,
        owner: (u32, u32),
    ) -> Result<Plan> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if name.is_empty() || !name.chars().all(fits) {
            return Err(Error::new(format!(
                "the name {}: expected letters from a to z, digits, '-' and '_'",
                quoted(name)
            )));
        }
        if !is_uuid(id) || id != id.to_lowercase() {
            return Err(Error::new(format!(
                "the id {}: expected a uuid in lower case, such as 37e0e64b-5445-4bc3-8675-ceff4637e8e3",
                quoted(id)
            )));
        }
        // Older readers, and the scripts, do not see blanks there.
        if remote_path.trim() != remote_path || !remote_path.is_ascii() {
            return Err(Error::new(format!(
                "the remote path {}: expected ASCII without blanks around it, such as nas.example.com:/export/vms",
                quoted(remote_path)
            )));
        }
        let class_word = match class {
            Class::Export => "Backup",
            Class::Iso => "Iso",
        };
        let mut metadata = Metadata::default();
        for (key, value) in [
            ("CLASS", class_word),
            ("DESCRIPTION", name),
            ("IOOPTIMEOUTSEC", "10"),
            ("LEASERETRIES", "3"),
            ("LEASETIMESEC", "60"),
            ("LOCKPOLICY", ""),
            ("LOCKRENEWALINTERVALSEC", "5"),
            ("MASTER_VERSION", "0"),
            ("POOL_UUID", ""),
            ("REMOTE_PATH", remote_path),
            ("ROLE", "Regular"),
            ("SDUUID", id),
            ("TYPE", kind),
            ("VERSION", VERSION),
        ] {
            metadata.set(key, value)?;
        }
        Ok(Plan {
            class,
            id: id.to_owned(),
            owner,
            metadata,
        })
    }

    /// The text of its metadata file.
    pub fn text(&self) -> String {
        write(&self.metadata)
    }

    /// The plan of this metadata.
    fn of_text(text: &str, owner: (u32, u32)) -> Result<Plan> {
        let (metadata, _) = Metadata::read(text);
        let value = |key| metadata.get(key).unwrap_or_default();
        let class = if value("CLASS") == "Iso" {
            Class::Iso
        } else {
            Class::Export
        };
        Plan::new(
            class,
            value("SDUUID"),
            value("DESCRIPTION"),
            value("TYPE"),
            value("REMOTE_PATH"),
            owner,
        )
    }
}

/// A random id, as new domains have.
///
/// # Errors
/// The kernel gives no random numbers.
pub fn random_id() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("no random id")?;
    // Version 4 of RFC 4122.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = hex(&bytes);
    for at in [8, 13, 18, 23] {
        id.insert(at, '-');
    }
    Ok(id)
}

/// Does the work of a child: makes the domain that this metadata describes in `target`. Gives its
/// directory, and what is wrong with `target` if something is.
///
/// # Errors
/// There is a domain already, or something could not be made. Then nothing of it stays.
pub(super) fn serve(
    target: &Path,
    text: &str,
    owner: (u32, u32),
) -> Result<(PathBuf, Option<String>)> {
    let plan = Plan::of_text(text, owner)?;
    let domain = create(target, &plan)?;
    Ok((domain, closed_to(target, plan.owner)?))
}

/// What keeps the owner of a domain from using the directory that the domain is in; none if
/// nothing does.
fn closed_to(target: &Path, owner: (u32, u32)) -> Result<Option<String>> {
    let found = fs::metadata(target).context(target.display())?;
    let mode = found.mode() & 0o7777;
    let has = if found.uid() == owner.0 {
        mode >> 6
    } else if found.gid() == owner.1 {
        mode >> 3
    } else {
        mode
    };
    if owner.0 == 0 || has & 7 == 7 {
        return Ok(None);
    }
    Ok(Some(format!(
        "{0} belongs to {1}:{2} with mode {mode:04o}, and VDSM, the user {3}, wants to write there: chown {3}:{4} {5}",
        target.display(),
        found.uid(),
        found.gid(),
        owner.0,
        owner.1,
        shell_path(target)
    )))
}

fn create(target: &Path, plan: &Plan) -> Result<PathBuf> {
    let target = fs::canonicalize(target).context(target.display())?;
    outside_of_domains(&target)?;
    let parent = Dir::of_domain(&target).context(target.display())?;
    let temporary = target.join(BUILT_IN);
    let at = parent.make_dir(BUILT_IN).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::new(format!(
            "{0}: another call is making a domain, or was interrupted; if it was, remove what it left: rm -r {1}",
            temporary.display(),
            shell_path(&temporary)
        )),
        _ => Error::new(format!("{}: {error}", target.display())),
    })?;
    let domain = target.join(&plan.id);
    let made = no_other(&target, &domain)
        .and_then(|()| build(&at, plan).context(domain.display()))
        .and_then(|()| {
            let renamed = parent.rename(BUILT_IN.as_ref(), OsStr::new(&plan.id));
            renamed.context(domain.display())
        });
    if let Err(error) = made {
        // It has not been renamed, or has been and is whole; then this finds nothing.
        let _ = fs::remove_dir_all(&temporary);
        return Err(error);
    }
    Ok(domain)
}

/// A domain in a domain would confuse everybody.
fn outside_of_domains(target: &Path) -> Result {
    for directory in target.ancestors() {
        if exists(&directory.join("dom_md")) {
            return Err(Error::new(format!(
                "{}: a storage domain, expected a directory that is not in one",
                directory.display()
            )));
        }
    }
    Ok(())
}

/// VDSM sees one domain only in each mount (VDSM 4.50 lib/vdsm/storage/fileSD.py:
/// `scanDomains`).
fn no_other(target: &Path, domain: &Path) -> Result {
    for entry in fs::read_dir(target).context(target.display())? {
        let path = entry.context(target.display())?.path();
        if exists(&path.join("dom_md")) {
            return Err(Error::new(format!(
                "{}: a storage domain is there already, and VDSM sees one only in each mount; expected a directory without any",
                path.display()
            )));
        }
    }
    if exists(domain) {
        return Err(Error::new(format!("{}: exists already", domain.display())));
    }
    Ok(())
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn build(at: &Dir, plan: &Plan) -> Result {
    let dom_md = sub(at, "dom_md")?;
    let free = locks::free_record();
    for (name, content, size) in [
        ("ids", &[][..], 0),
        ("inbox", &[], MAILBOX),
        ("leases", &free, 0),
        ("outbox", &[], MAILBOX),
    ] {
        file(&dom_md, name, content, size, FILE_MODE, plan)?;
    }
    file(
        &dom_md,
        "metadata",
        plan.text().as_bytes(),
        0,
        METADATA_MODE,
        plan,
    )?;
    finish(&dom_md, plan)?;
    let images = sub(at, "images")?;
    match plan.class {
        Class::Iso => finish(&sub(&images, ISO_IMAGE)?, plan)?,
        Class::Export => {
            let master = sub(at, "master")?;
            for name in ["vms", "tasks"] {
                finish(&sub(&master, name)?, plan)?;
            }
            finish(&master, plan)?;
        }
    }
    finish(&images, plan)?;
    finish(at, plan)
}

fn sub(dir: &Dir, name: &str) -> Result<Dir> {
    let step = dir.name.join(name);
    dir.make_dir(name).context(step.display())
}

fn file(dir: &Dir, name: &str, content: &[u8], size: u64, mode: u32, plan: &Plan) -> Result {
    let step = dir.name.join(name);
    dir.make_file(name, content, size, mode, plan.owner)
        .context(step.display())
}

fn finish(dir: &Dir, plan: &Plan) -> Result {
    let step = dir.name.display();
    dir.finish(DIRECTORY_MODE, plan.owner).context(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "37e0e64b-5445-4bc3-8675-ceff4637e8e3";

    fn plan(id: &str, name: &str, remote_path: &str) -> Result<Plan> {
        Plan::new(Class::Export, id, name, "NFS", remote_path, (36, 36))
    }

    #[test]
    fn the_export_domain_of_old_recipes() {
        let plan = plan(ID, "Export", "192.168.1.108:/home/nfs_exports").unwrap();
        let text = include_str!("../../../tests/data/storage/export.metadata");
        assert_eq!(plan.text(), text);
        assert_eq!(Plan::of_text(text, (36, 36)), Ok(plan));
    }

    #[test]
    fn random_ids() {
        let ids = [random_id().unwrap(), random_id().unwrap()];
        assert_ne!(ids[0], ids[1]);
        for id in ids {
            let bytes = id.as_bytes();
            assert!(
                is_uuid(&id) && bytes[14] == b'4' && b"89ab".contains(&bytes[19]),
                "{id}"
            );
        }
    }

    #[test]
    fn what_the_engine_would_not_take() {
        for (id, name, remote_path, message) in [
            (
                ID,
                "",
                "",
                "the name \"\": expected letters from a to z, digits, '-' and '_'",
            ),
            (
                ID,
                "Ex port",
                "",
                "the name \"Ex port\": expected letters from a to z, digits, '-' and '_'",
            ),
            (
                ID,
                "données",
                "",
                "the name \"données\": expected letters from a to z, digits, '-' and '_'",
            ),
            (
                "x",
                "a",
                "",
                "the id \"x\": expected a uuid in lower case, such as 37e0e64b-5445-4bc3-8675-ceff4637e8e3",
            ),
            (
                "37E0e64b-5445-4bc3-8675-ceff4637e8e3",
                "a",
                "",
                "the id \"37E0e64b-5445-4bc3-8675-ceff4637e8e3\": expected a uuid in lower case, such as 37e0e64b-5445-4bc3-8675-ceff4637e8e3",
            ),
            (
                ID,
                "a",
                "nas:/x ",
                "the remote path \"nas:/x \": expected ASCII without blanks around it, such as nas.example.com:/export/vms",
            ),
            (
                ID,
                "a",
                "nas:/x\ny",
                "REMOTE_PATH=\"nas:/x\\ny\": U+000A would split the line",
            ),
        ] {
            let error = plan(id, name, remote_path).unwrap_err().to_string();
            assert_eq!(error, message);
        }
    }
}
