// SPDX-License-Identifier: GPL-2.0-or-later

//! From a domain XML, or the bare `<disk>` of a hotplug, to the storage domains that it names.
//!
//! Nothing is looked up: the answer comes from the text alone.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::Result;
use crate::props::is_uuid;
use crate::vdsm::conf::VdsmConf;
use crate::xml::{self, Document, Node};

/// The namespace of what oVirt keeps in a domain's metadata.
const OVIRT_VM: &str = "http://ovirt.org/vm/1.0";

/// Where VDSM keeps its links and mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// The repository: links by pool, and `mnt` with the mounts.
    pub repository: PathBuf,
    /// The links of prepared images.
    pub run: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Roots {
            repository: PathBuf::from("/rhev/data-center"),
            run: PathBuf::from("/run/vdsm/storage"),
        }
    }
}

impl Roots {
    /// Those of this host: VDSM's settings can move the repository.
    ///
    /// # Errors
    /// VDSM's settings cannot be read.
    pub fn of_host() -> Result<Roots> {
        let mut roots = Roots::default();
        let repository = VdsmConf::read()?.get("irs", "repository")?;
        if let Some(path) = repository.filter(|path| !path.is_empty()) {
            roots.repository = PathBuf::from(path);
        }
        Ok(roots)
    }
}

/// What kind of storage a domain is on, as far as the XML tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    File,
    /// A volume group.
    Block,
    /// The XML has the id only, or goes through a link.
    Unknown,
}

/// A storage domain that an XML names, and where it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRef {
    /// The domain's id; none where the XML only says "the pool's master domain".
    pub id: Option<String>,
    /// File or block storage.
    pub kind: Kind,
    /// The domain's directory, as the path of a volume has it.
    pub directories: Vec<PathBuf>,
    /// VDSM's links to the domain's directory, by pool.
    pub links: Vec<PathBuf>,
    /// VDSM's links to a prepared image of the domain.
    pub images: Vec<PathBuf>,
    /// Where a Gluster volume is mounted, if the host mounts it under a name that the XML uses.
    pub guesses: Vec<PathBuf>,
}

/// Every storage domain that `document` names, in the order of their first mention.
pub fn uses(document: &Document<'_>, roots: &Roots) -> Vec<DomainRef> {
    uses_with(document, roots, |_, _, _| ())
}

/// [`uses`], which tells `note` every mention: the domain's id, the image, and what follows
/// the image or, of block storage, the group.
pub fn uses_with(
    document: &Document<'_>,
    roots: &Roots,
    note: impl FnMut(&str, Option<&str>, &[&str]),
) -> Vec<DomainRef> {
    let mut finder = Finder {
        roots,
        found: Vec::new(),
        by_id: HashMap::new(),
        masters: HashSet::new(),
        known: HashSet::new(),
        note,
    };
    for disk in xml::devices(document, "disk") {
        finder.disk(disk);
    }
    for lease in xml::devices(document, "lease") {
        finder.lease(lease);
    }
    let root = document.root_element();
    if xml::is(root, "domain") {
        for name in ["kernel", "initrd", "loader"] {
            for file in xml::children(root, "os").flat_map(|os| xml::children(os, name)) {
                finder.path(xml::text(file).trim());
            }
        }
        for metadata in xml::children(root, "metadata") {
            for vm in ovirt(metadata, "vm") {
                ovirt(vm, "device")
                    .filter(|device| xml::attr(*device, "devtype") == Some("disk"))
                    .for_each(|device| finder.device(device));
            }
        }
    }
    finder.found
}

/// The children of `node` that are elements `name` of oVirt's.
fn ovirt<'a, 'i>(
    node: Node<'a, 'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i> {
    node.children()
        .filter(move |child| child.has_tag_name((OVIRT_VM, name)))
}

/// The text of the first child `name` of oVirt's.
fn ovirt_text(node: Node<'_, '_>, name: &'static str) -> Option<String> {
    ovirt(node, name)
        .next()
        .map(|child| xml::text(child).trim().to_owned())
}

struct Finder<'r, N> {
    roots: &'r Roots,
    found: Vec<DomainRef>,
    /// Places in `found`: a document may name as many domains as it has lines.
    by_id: HashMap<String, usize>,
    masters: HashSet<PathBuf>,
    /// What is in the lists of `found`. The path of a domain has its id in it.
    known: HashSet<(List, PathBuf)>,
    note: N,
}

/// One of the lists in a [`DomainRef`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum List {
    Directories,
    Links,
    Images,
    Guesses,
}

impl<N: FnMut(&str, Option<&str>, &[&str])> Finder<'_, N> {
    /// The entry of a domain id.
    fn domain(&mut self, id: &str) -> &mut DomainRef {
        let next = self.found.len();
        let at = *self.by_id.entry(id.to_owned()).or_insert(next);
        if at == next {
            self.found.push(DomainRef::of_id(id));
        }
        &mut self.found[at]
    }

    /// The master domain of a pool, by its link.
    fn master(&mut self, link: PathBuf) {
        if self.masters.insert(link.clone()) {
            self.found.push(DomainRef {
                id: None,
                links: vec![link],
                ..DomainRef::of_id("")
            });
        }
    }

    /// Where the domain `id` may be.
    fn add(&mut self, id: &str, list: List, path: PathBuf) {
        if !self.known.insert((list, path.clone())) {
            return;
        }
        let domain = self.domain(id);
        match list {
            List::Directories => domain.directories.push(path),
            List::Links => domain.links.push(path),
            List::Images => domain.images.push(path),
            List::Guesses => domain.guesses.push(path),
        }
    }

    /// A disk with all its sources: its own, those of its backing chain and of a mirror.
    fn disk(&mut self, disk: Node<'_, '_>) {
        for node in disk.descendants() {
            if xml::is(node, "source") {
                for attribute in ["file", "dev", "dir"] {
                    xml::attr(node, attribute)
                        .into_iter()
                        .for_each(|path| self.path(path));
                }
                if xml::attr(node, "protocol") == Some("gluster") {
                    self.gluster(node);
                }
            } else if xml::is(node, "mirror") {
                // How libvirt before 1.2.6 wrote it.
                xml::attr(node, "file")
                    .into_iter()
                    .for_each(|path| self.path(path));
            }
        }
    }

    fn lease(&mut self, lease: Node<'_, '_>) {
        if let Some(space) = xml::child(lease, "lockspace").map(xml::text) {
            if is_uuid(space.trim()) {
                self.domain(space.trim());
                (self.note)(space.trim(), None, &[]);
            }
        }
        for target in xml::children(lease, "target") {
            xml::attr(target, "path")
                .into_iter()
                .for_each(|path| self.path(path));
        }
    }

    /// A disk in oVirt's own part of the XML.
    fn device(&mut self, device: Node<'_, '_>) {
        if let Some(id) = ovirt_text(device, "domainID").filter(|id| is_uuid(id)) {
            let uuid = |name| ovirt_text(device, name).filter(|text| is_uuid(text));
            let roots = self.roots;
            self.domain(&id);
            if let Some(pool) = uuid("poolID") {
                self.add(&id, List::Links, roots.repository.join(pool).join(&id));
            }
            let image = uuid("imageID");
            if let Some(image) = &image {
                self.add(&id, List::Images, roots.run.join(&id).join(image));
            }
            let volume = uuid("volumeID");
            (self.note)(&id, image.as_deref(), volume.as_deref().as_slice());
        }
        let chains = ovirt(device, "volumeChain");
        for node in chains.flat_map(|chain| ovirt(chain, "volumeChainNode")) {
            if let Some(id) = ovirt_text(node, "domainID").filter(|id| is_uuid(id)) {
                self.domain(&id);
            }
            for path in ["path", "leasePath"] {
                if let Some(path) = ovirt_text(node, path) {
                    self.path(&path);
                }
            }
        }
    }

    /// Gluster through libgfapi: the volume's name takes the place of the mount.
    fn gluster(&mut self, source: Node<'_, '_>) {
        let name = xml::attr(source, "name").unwrap_or_default();
        let parts = split(name);
        let Some((at, id)) = before_images(&parts) else {
            return;
        };
        (self.note)(id, Some(parts[at + 2]), &parts[at + 3..]);
        let volume = parts[..at].join("/").replace('_', "__").replace('/', "_");
        let mounts = self.roots.repository.join("mnt").join("glusterSD");
        self.domain(id).is(Kind::File);
        for host in xml::children(source, "host").filter_map(|host| xml::attr(host, "name")) {
            let host = host.replace('_', "__");
            let mount = mounts.join(format!("{host}:_{volume}"));
            self.add(id, List::Guesses, mount.join(id));
        }
    }

    /// A path, matched from its right end.
    fn path(&mut self, path: &str) {
        let parts = split(path);
        if let Some((volume, id)) = unresolved_lease(path) {
            self.domain(id);
            (self.note)(id, None, &[volume]);
            return;
        }
        if !path.starts_with('/') {
            return;
        }
        match parts[..] {
            ["dev", "mapper", name] => {
                if let Some((group, volume)) = mapped_group(name) {
                    self.domain(&group).is(Kind::Block);
                    (self.note)(&group, None, &[volume]);
                }
                return;
            }
            ["dev", group, volume] if is_uuid(group) => {
                self.domain(group).is(Kind::Block);
                (self.note)(group, None, &[volume]);
                return;
            }
            _ => {}
        }
        if let Some((at, id)) = before_images(&parts) {
            (self.note)(id, Some(parts[at + 2]), &parts[at + 3..]);
            self.directory(&parts[..at], id);
            return;
        }
        if let Some((at, id)) = before_dom_md(&parts) {
            self.directory(&parts[..at], id);
            return;
        }
        if let Some(link) = master(&parts) {
            self.master(link);
            return;
        }
        if let Some((id, image)) = self.prepared(path) {
            (self.note)(&id, Some(&image), parts.last().copied().as_slice());
            let link = self.roots.run.join(&id).join(image);
            self.add(&id, List::Images, link);
            return;
        }
        if let Some((id, volume)) = parts.last().and_then(|name| transient(name)) {
            self.domain(id);
            (self.note)(id, None, &[volume]);
        }
    }

    /// The directory `id` in `left`: in a mount, in VDSM's directory of block domains, or a link.
    fn directory(&mut self, left: &[&str], id: &str) {
        let directory = absolute(left).join(id);
        let domain = self.domain(id);
        match left.last() {
            Some(&"blockSD") => domain.is(Kind::Block),
            Some(pool) if is_uuid(pool) => self.add(id, List::Links, directory),
            _ => {
                domain.is(Kind::File);
                self.add(id, List::Directories, directory);
            }
        }
    }

    /// Domain and image of a path through the links of prepared images.
    fn prepared(&self, path: &str) -> Option<(String, String)> {
        let known = ["/run/vdsm/storage", "/var/run/vdsm/storage"].map(Path::new);
        let rest = known
            .into_iter()
            .chain([self.roots.run.as_path()])
            .find_map(|root| Path::new(path).strip_prefix(root).ok())?;
        let mut parts = rest.iter().filter_map(|part| part.to_str());
        let (id, image) = (parts.next()?, parts.next()?);
        (is_uuid(id) && is_uuid(image)).then(|| (id.to_owned(), image.to_owned()))
    }
}

impl DomainRef {
    /// A domain of which nothing but the id is known.
    pub fn of_id(id: &str) -> DomainRef {
        DomainRef {
            id: Some(id.to_owned()),
            kind: Kind::Unknown,
            directories: Vec::new(),
            links: Vec::new(),
            images: Vec::new(),
            guesses: Vec::new(),
        }
    }

    /// Settles the kind. A directory that the XML names can be checked, so it wins.
    fn is(&mut self, kind: Kind) {
        if self.kind != Kind::File {
            self.kind = kind;
        }
    }
}

fn split(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

fn absolute(parts: &[&str]) -> PathBuf {
    Path::new("/").join(parts.join("/"))
}

/// In `…/<domain>/images/<image>/<rest>`: where the domain is, and its id.
fn before_images<'p>(parts: &[&'p str]) -> Option<(usize, &'p str)> {
    let at = parts.windows(3).rposition(
        |three| matches!(three, [id, "images", image] if is_uuid(id) && is_uuid(image)),
    )?;
    Some((at, parts[at]))
}

/// In `…/<domain>/dom_md/<file>`: where the domain is, and its id.
fn before_dom_md<'p>(parts: &[&'p str]) -> Option<(usize, &'p str)> {
    match parts {
        [.., id, "dom_md", _] if is_uuid(id) => Some((parts.len() - 3, id)),
        _ => None,
    }
}

/// In `…/<pool>/mastersd/…`: the link.
fn master(parts: &[&str]) -> Option<PathBuf> {
    let at = parts
        .windows(2)
        .rposition(|two| matches!(two, [pool, "mastersd"] if is_uuid(pool)))?;
    Some(absolute(&parts[..at + 2]))
}

/// In `LEASE-PATH:<volume>:<domain>`, which VDSM replaces by a path before hooks run: volume and
/// domain.
fn unresolved_lease(text: &str) -> Option<(&str, &str)> {
    let (volume, id) = text.strip_prefix("LEASE-PATH:")?.split_once(':')?;
    is_uuid(id).then_some((volume, id))
}

/// In `<domain>-<volume>.<random>`, the file of a transient disk: domain and volume.
fn transient(name: &str) -> Option<(&str, &str)> {
    let (id, rest) = name.split_at_checked(36)?;
    let volume = rest.strip_prefix('-')?.get(..36)?;
    (is_uuid(id) && is_uuid(volume)).then_some((id, volume))
}

/// In a device mapper name of LVM's, where `-` is between group and volume and `--` for a `-`
/// in either (LVM 2.03.16 libdm/libdm-string.c: `dm_build_dm_name`): the group, if it is a domain, and the
/// volume as it is written.
fn mapped_group(name: &str) -> Option<(String, &str)> {
    let mut group = String::new();
    let mut rest = name;
    loop {
        let (piece, after) = rest.split_once('-')?;
        group += piece;
        match after.strip_prefix('-') {
            Some(after) => {
                group.push('-');
                rest = after;
            }
            None => return is_uuid(&group).then_some((group, after)),
        }
    }
}

#[cfg(test)]
mod tests;
