// SPDX-License-Identifier: GPL-2.0-or-later

//! Finds the storage domains that the administrator means.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vdsm_hooks::finding::Finding;
use vdsm_hooks::props::is_uuid;
use vdsm_hooks::storage::lvm::{Answer, Group, Lvm};
use vdsm_hooks::storage::probe::Mount;
use vdsm_hooks::storage::report::Survey;
use vdsm_hooks::storage::{self, Content, DomainRef, METADATA_FILE, Place, Roots, probe, work};
use vdsm_hooks::{Error, Result};

use super::Host;

/// So long other mounts are waited for, where a domain may be once more.
const SOON: Duration = Duration::from_secs(1);

/// A domain that was found.
pub(super) enum Seen {
    /// On files.
    File(Box<Survey>),
    /// On block storage.
    Group(Group),
}

impl Seen {
    fn is_of(&self, file: &Path) -> bool {
        matches!(self, Seen::File(survey) if Path::new(&survey.file) == file)
    }

    fn place(&self) -> String {
        match self {
            Seen::File(survey) => Path::new(&survey.file).display().to_string(),
            Seen::Group(group) => format!("volume group {} ({})", group.name, group.uuid),
        }
    }
}

/// Looks until one deadline.
pub(super) struct Finder {
    roots: Roots,
    with_volumes: bool,
    timeout: Duration,
    lvm: Lvm,
    end: Instant,
}

impl Finder {
    /// Nothing is looked at yet.
    pub(super) fn new(host: &Host, with_volumes: bool) -> Result<Finder> {
        let end = host.end();
        Ok(Finder {
            roots: host.roots()?,
            with_volumes,
            timeout: host.timeout(),
            lvm: Lvm::new(end),
            end,
        })
    }

    /// The places where the host mounts storage.
    pub(super) fn mounts(&self) -> Result<Vec<Mount>> {
        probe::mounts(&self.roots, self.end)
    }

    /// Where those places are.
    pub(super) fn repository(&self) -> PathBuf {
        self.roots.repository.join("mnt")
    }

    /// The domains that a path or an id means; at least one.
    pub(super) fn meant(&self, target: &Path) -> Result<Vec<Seen>> {
        if super::is_standard_input(target) {
            let content = super::standard_input(super::MAX_METADATA_BYTES)?;
            let survey = Survey::of_copy(super::STANDARD_INPUT, content);
            return Ok(vec![Seen::File(Box::new(survey))]);
        }
        match target.to_str() {
            Some(id) if is_uuid(id) && !target.exists() => self.of_id(id),
            _ => {
                let seen = self.at(target)?;
                if seen.is_empty() {
                    return Err(storage::no_domain(target));
                }
                Ok(seen)
            }
        }
    }

    /// The one domain that a path or an id means.
    pub(super) fn one(&self, target: &Path) -> Result<Seen> {
        let mut seen = self.meant(target)?;
        match (seen.pop(), seen.len()) {
            (Some(only), 0) => Ok(only),
            (last, others) => {
                let mut places: Vec<String> = seen.iter().chain(&last).map(Seen::place).collect();
                places.sort();
                Err(Error::new(format!(
                    "{}: {} storage domains, expected the path or the id of one: {}",
                    target.display(),
                    others + 1,
                    places.join(", ")
                )))
            }
        }
    }

    fn of_id(&self, id: &str) -> Result<Vec<Seen>> {
        let found = storage::check(&[DomainRef::of_id(id)], &self.roots, &self.lvm, self.end);
        let mut seen = Vec::new();
        for checked in &found {
            match &checked.place {
                Some(Place::File(file)) => seen.extend(self.at(file)?),
                Some(Place::Tags) => match self.lvm.group(id) {
                    Ok(Some(group)) => seen.push(Seen::Group(group.clone())),
                    Ok(None) => {}
                    Err(Some(error)) => return Err(error.clone()),
                    Err(None) => {
                        return Err(Error::new(format!("{checked}: no answer in time")));
                    }
                },
                None => {
                    let findings = checked.findings(&self.roots, self.timeout.as_secs());
                    let texts: Vec<String> = findings.iter().map(Finding::to_string).collect();
                    return Err(Error::new(texts.join("; ")));
                }
            }
        }
        self.once_more(id, &mut seen)?;
        Ok(seen)
    }

    /// Adds copies of a domain in other mounts, as far as these answer soon: which of them is meant
    /// only a person knows.
    fn once_more(&self, id: &str, seen: &mut Vec<Seen>) -> Result {
        let end = self.end.min(Instant::now() + SOON);
        let Ok(mounts) = probe::mounts(&self.roots, end) else {
            return Ok(());
        };
        let directories: Vec<PathBuf> = mounts.iter().map(|mount| mount.path.join(id)).collect();
        let Err(looked) = probe::first(&directories, end, |_| false) else {
            return Ok(());
        };
        for (directory, content) in looked {
            let is_there = matches!(content, Some(Content::Found(_) | Content::Missing));
            let file = directory.join(METADATA_FILE);
            if !is_there || seen.iter().any(|one| one.is_of(&file)) {
                continue;
            }
            for one in self.at(directory)? {
                // A mount may be a link to another.
                let is_known = |known: &Seen| known.place() == one.place();
                if !seen.iter().any(is_known) {
                    seen.push(one);
                }
            }
        }
        Ok(())
    }

    /// What is at a path. Of a domain on block storage there are only links.
    pub(super) fn at(&self, path: &Path) -> Result<Vec<Seen>> {
        let mut seen = Vec::new();
        for survey in work::survey(path, self.with_volumes, self.end)? {
            let id = survey.directory().and_then(Path::file_name);
            let id = id.map(|id| id.to_string_lossy().into_owned());
            match (&survey.metadata, id) {
                (Content::Block, Some(id)) => match self.lvm.group(&id) {
                    Ok(Some(group)) => seen.push(Seen::Group(group.clone())),
                    Ok(None) => {
                        return Err(Error::new(format!(
                            "{}: a domain on block storage, and this host sees no volume group {id}",
                            path.display()
                        )));
                    }
                    Err(Some(error)) => return Err(error.clone()),
                    Err(None) => return Err(Error::new("lvm: no answer in time")),
                },
                _ => seen.push(Seen::File(Box::new(survey))),
            }
        }
        Ok(seen)
    }

    /// All volume groups of the host that are domains.
    pub(super) fn groups(&self) -> Result<Vec<Seen>> {
        let groups = &self.lvm.answer().map_err(Error::clone)?.groups;
        let domains = groups
            .iter()
            .filter(|group| group.is_domain() || group.is_unready());
        Ok(domains.cloned().map(Seen::Group).collect())
    }

    /// Why LVM may have more groups than those that it reported.
    pub(super) fn trouble(&self) -> Option<Error> {
        self.lvm.answered()?.trouble.clone()
    }

    /// What LVM has warned about, if it was asked.
    pub(super) fn warnings(&self) -> Vec<Finding> {
        self.lvm
            .answered()
            .map(Answer::warnings)
            .unwrap_or_default()
    }
}
