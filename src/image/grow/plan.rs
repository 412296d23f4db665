// SPDX-License-Identifier: GPL-2.0-or-later

//! From what is on a disk to the steps that make it use the room behind it. A pure function: the
//! looking is done before, the writing after.

use super::step::{Action, Step};
use crate::{Error, Result};

/// Less than this is not worth a step: the ends of tables, groups and extents leave as much.
pub(super) const WORTH: u64 = 16 << 20;
const MIB: u64 = 1 << 20;
pub(super) const SECTOR: u64 = 512;
/// An MBR counts sectors in 32 bits: the last one that it can name.
const MBR_LAST_SECTOR: u32 = u32::MAX;
/// The sectors that a GPT takes at the end of a disk, and the last usable one: UEFI 2.10, 5.3.
pub(super) const GPT_MARGIN: u32 = 34;
/// The disk in the appliance.
pub(super) const DISK: &str = "/dev/sda";

/// Types of GPT's partitions that are somebody's in particular, whatever is in them, by their numbers in
/// `sfdisk --list-types --label gpt` (util-linux 2.38).
const GPT_RESERVED: [(&str, &str); 9] = [
    ("C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "EFI system"),
    ("21686148-6449-6E6F-744E-656564454649", "BIOS boot"),
    ("E3C9E316-0B5C-4DB8-817D-F92DF00215AE", "Microsoft reserved"),
    ("DE94BBA4-06D1-4D40-A16A-BFD50179D6AC", "Windows recovery"),
    (
        "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3",
        "dynamic disk's database",
    ),
    ("AF9B60A0-1431-4F62-BC68-3311714A69AD", "dynamic disk"),
    ("E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D", "Storage Spaces"),
    ("A19D880F-05FC-4D3B-A006-743F0F84911E", "RAID"),
    ("0657FD6D-A4AB-43C4-84E5-0933C84B4F4F", "swap"),
];
/// The same of an MBR, by their numbers in `sfdisk --list-types --label dos`; what stands there as SFS is
/// Windows' dynamic disk as well.
const MBR_RESERVED: [(&str, &str); 7] = [
    ("0x12", "Compaq diagnostics"),
    ("0x27", "Windows recovery"),
    ("0x42", "dynamic disk"),
    ("0x82", "swap"),
    ("0xee", "GPT"),
    ("0xef", "EFI system"),
    ("0xfd", "RAID"),
];

/// What is on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Of the disk, in bytes.
    pub(super) size: u64,
    pub(super) table: Table,
    pub(super) partitions: Vec<Partition>,
    /// Of the last partition, or of the disk if it has no table; none if the table is empty.
    pub(super) content: Option<Content>,
    /// What keeps a system that sleeps, to wake up with the old sizes in its memory: `partition 2
    /// (swsuspend)`.
    pub(super) asleep: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Table {
    None,
    Gpt {
        /// The last usable sector, counted from the end of the disk, once the table is moved there:
        /// `sgdisk -e` leaves as many sectors there as lie before the first usable one (run with 1.0.9).
        /// 34, or 2048 as fdisk makes it.
        margin: u32,
        /// Its MBR does more than protect it: it names partitions for systems that know no GPT.
        is_hybrid: bool,
    },
    Mbr,
    /// Another one, by parted's name.
    Other(String),
}

impl Table {
    /// parted's name.
    pub(super) fn name(&self) -> &str {
        match self {
            Table::None => "no partition table",
            Table::Gpt { .. } => "gpt",
            Table::Mbr => "msdos",
            Table::Other(name) => name,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) number: u32,
    /// The first byte.
    pub(super) start: u64,
    /// The byte behind the last one.
    pub(super) end: u64,
    pub(super) role: Role,
    /// Its type: a GUID on GPT, `0x83` and the like on MBR.
    pub(super) kind: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// On GPT all of them.
    Primary,
    Extended,
    Logical,
}

/// What a partition or a whole disk holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    FileSystem(FileSystem),
    Lvm(Lvm),
    /// Something that cannot be grown, by libblkid's name; empty where that has none.
    Other(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileSystem {
    pub(super) device: String,
    pub(super) kind: Kind,
    /// libblkid's name: `ext4`.
    pub(super) name: String,
    /// In bytes; 0 until it was mounted, where only that tells.
    pub(super) size: u64,
    /// The size of its device.
    pub(super) room: u64,
    /// Why it must not be touched.
    pub(super) trouble: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ext,
    Xfs,
    Btrfs,
    Ntfs,
}

impl Kind {
    /// The kind of what libblkid calls so, if it can grow.
    pub(super) fn named(name: &str) -> Option<Kind> {
        match name {
            "ext2" | "ext3" | "ext4" => Some(Kind::Ext),
            "xfs" => Some(Kind::Xfs),
            "btrfs" => Some(Kind::Btrfs),
            "ntfs" => Some(Kind::Ntfs),
            _ => None,
        }
    }
}

/// All that LVM sees on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lvm {
    /// The physical volume that lies last.
    pub(super) device: String,
    /// How many physical volumes LVM knows, those that are missing included.
    pub(super) volumes_of_disk: usize,
    /// The size of the device, in bytes.
    pub(super) room: u64,
    /// Where its first extent begins.
    pub(super) first_extent: u64,
    /// How many extents it has.
    pub(super) extents: u64,
    pub(super) groups: Vec<Group>,
    pub(super) volumes: Vec<Volume>,
    /// Of the volume that is to grow, if it can be told which.
    pub(super) system: Option<FileSystem>,
}

/// A volume group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    /// LVM's letters, `wz--n-`.
    pub(super) attributes: String,
    /// The unit in which it hands out room, in bytes.
    pub(super) extent: u64,
    /// How many of them are nobody's.
    pub(super) free: u64,
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Volume {
    /// `cl/root`.
    pub(super) name: String,
    /// LVM's letters, `-wi-a-----`.
    pub(super) attributes: String,
    /// In bytes.
    pub(super) size: u64,
    /// The name of its content.
    pub(super) content: String,
}

impl Volume {
    /// Its path in the appliance.
    pub(super) fn path(&self) -> String {
        format!("/dev/{}", self.name)
    }
}

/// What the administrator has said of a disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// The logical volume that is to grow, `root` or `cl/root`.
    pub volume: Option<&'a str>,
    /// The disk itself was named, so that a disk without anything to grow is worth a word.
    pub is_named: bool,
}

/// Whether this can name a logical volume, with its group or without, in the characters that LVM allows
/// (lvm(8), "Valid names").
pub fn is_volume_name(name: &str) -> bool {
    let is_name = |part: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
        !part.is_empty() && !part.starts_with('-') && part.bytes().all(is_plain)
    };
    match name.split_once('/') {
        Some((group, volume)) => is_name(group) && is_name(volume),
        None => is_name(name),
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// The number of the partition; none if it is the whole disk.
    pub(super) partition: Option<u32>,
    /// The name of the logical volume.
    pub(super) volume: Option<String>,
    /// The file system as it is.
    pub(super) system: FileSystem,
    /// Part of the disk stays out of reach.
    pub(super) warning: Option<&'static str>,
}

/// The partition that ends last, whatever its number. An extended one is only a container.
pub(super) fn last(partitions: &[Partition]) -> Option<&Partition> {
    let data = partitions.iter().filter(|one| one.role != Role::Extended);
    data.max_by_key(|one| one.end)
}

/// The file system that is to grow.
pub(super) fn system(found: &mut Found) -> Option<&mut FileSystem> {
    match &mut found.content {
        Some(Content::FileSystem(system)) => Some(system),
        Some(Content::Lvm(lvm)) => lvm.system.as_mut(),
        _ => None,
    }
}

impl Lvm {
    /// The logical volume that is to grow: the named one, or the only one with a file system that can.
    ///
    /// # Errors
    /// None, or several.
    pub(super) fn choose(&self, wanted: Option<&str>) -> Result<&Volume> {
        let growable = |volume: &&Volume| Kind::named(&volume.content).is_some();
        let growable: Vec<&Volume> = self.volumes.iter().filter(growable).collect();
        let is_wanted = |volume: &&&Volume| {
            let short = volume.name.rsplit('/').next();
            wanted.is_none_or(|wanted| volume.name == wanted || short == Some(wanted))
        };
        let fits: Vec<&&Volume> = growable.iter().filter(is_wanted).collect();
        match (&fits[..], &growable[..]) {
            ([one], _) => Ok(one),
            (_, []) => Err(Error::new(
                "no logical volume holds a file system that can grow",
            )),
            _ => {
                let names: Vec<&str> = growable.iter().map(|one| one.name.as_str()).collect();
                Err(Error::new(format!("name one of {}", names.join(", "))))
            }
        }
    }

    /// How many extents the physical volume would have in `room` bytes beyond those that it has.
    fn gained_extents(&self, room: u64, extent: u64) -> u64 {
        let whole = room.saturating_sub(self.first_extent) / extent.max(1);
        whole.saturating_sub(self.extents)
    }
}

/// The steps; none if there is nothing to grow.
///
/// # Errors
/// There would be something to grow, but not safely: what was found, and why.
pub(super) fn plan(found: &Found, choice: Choice<'_>) -> Result<Option<Plan>> {
    let gain = gain_of_table(found);
    match refusal(found, choice) {
        Some(_) if gain.max(gain_of_content(found, choice)) < WORTH && !is_unknown_disk(found) => {
            Ok(None)
        }
        // Nobody can tell whether it was enlarged.
        Some(_) if is_unknown_disk(found) && !choice.is_named => Ok(None),
        Some(refusal) => Err(Error::new(refusal)),
        None => steps(found, choice, gain),
    }
}

/// Nothing on the disk tells how much of it is used: what has no table, or one of which not even the
/// ends of partitions are known.
fn is_unknown_disk(found: &Found) -> bool {
    match found.table {
        Table::None => matches!(found.content, Some(Content::Other(_))),
        Table::Other(_) => found.partitions.is_empty(),
        _ => false,
    }
}

/// The byte behind the last one that a partition can have.
fn usable_end(found: &Found) -> u64 {
    match found.table {
        Table::Gpt { margin, .. } => found.size.saturating_sub(u64::from(margin) * SECTOR),
        Table::Mbr => found.size.min((u64::from(MBR_LAST_SECTOR) + 1) * SECTOR),
        _ => found.size,
    }
}

/// The bytes behind the last partition; none without a table. What lies in an extended one ends before
/// that does, which may have been enlarged already.
fn gain_of_table(found: &Found) -> u64 {
    let end = match last(&found.partitions) {
        Some(last) if last.role == Role::Logical => Some(last.end),
        _ => found.partitions.iter().map(|one| one.end).max(),
    };
    end.map_or(0, |end| usable_end(found).saturating_sub(end))
}

/// The bytes by which a physical volume or a file system is shorter than its device.
fn gain_of_content(found: &Found, choice: Choice<'_>) -> u64 {
    let short = |system: &FileSystem| match system.size {
        0 => 0,
        size => system.room.saturating_sub(size),
    };
    match &found.content {
        Some(Content::FileSystem(system)) => short(system),
        Some(Content::Lvm(lvm)) => {
            let extent = lvm.groups.first().map_or(0, |group| group.extent);
            let gained = lvm.gained_extents(lvm.room, extent) * extent;
            let system = lvm.choose(choice.volume).ok().and(lvm.system.as_ref());
            gained.max(system.map_or(0, short))
        }
        _ => 0,
    }
}

/// Why the disk is left alone: the first rule that holds.
fn refusal(found: &Found, choice: Choice<'_>) -> Option<String> {
    if let Table::Other(name) = &found.table {
        return Some(format!("partition table {name}, expected gpt or msdos"));
    }
    let is_gpt = |one: &&Partition| found.table == Table::Mbr && one.kind == "0xee";
    if let Table::Gpt {
        is_hybrid: true, ..
    } = found.table
    {
        return Some("a GPT with a hybrid MBR, which would be made a protective one".to_owned());
    }
    if let Some(place) = &found.asleep {
        return Some(format!(
            "{place} keeps a system that hibernates: start the guest and shut it down, Windows with its fast startup off"
        ));
    }
    if found.partitions.iter().any(|one| is_gpt(&one)) {
        return Some("an MBR that protects a GPT which cannot be read".to_owned());
    }
    let last = last(&found.partitions);
    let place = last.map_or("the whole disk".to_owned(), |last| {
        format!("partition {}", last.number)
    });
    let lies_last = |what: &str| match last {
        Some(_) => format!("{place} ({what}) lies last"),
        None => format!("{what} takes the whole disk"),
    };
    let extended = found
        .partitions
        .iter()
        .find(|one| one.role == Role::Extended);
    if let Some(extended) = extended {
        let is_behind =
            last.is_none_or(|last| last.role != Role::Logical && last.end < extended.end);
        if is_behind {
            let number = extended.number;
            return Some(format!("partition {number} (extended, empty) lies last"));
        }
    }
    let reserved = last.and_then(|last| {
        let mut known = GPT_RESERVED.iter().chain(&MBR_RESERVED);
        known.find(|(kind, _)| last.kind.eq_ignore_ascii_case(kind))
    });
    match &found.content {
        Some(Content::Other(what)) if what.is_empty() => Some(lies_last("something unknown")),
        Some(Content::Other(what)) => Some(lies_last(what)),
        Some(_) if reserved.is_some() => reserved.map(|(_, name)| lies_last(name)),
        Some(Content::Lvm(lvm)) => lvm_refusal(lvm, choice),
        Some(Content::FileSystem(_)) if choice.volume.is_some() => {
            let volume = choice.volume.unwrap_or_default();
            Some(format!("{place} holds no LVM, but {volume} is named"))
        }
        Some(Content::FileSystem(system)) => system.trouble.clone(),
        None => None,
    }
}

fn lvm_refusal(lvm: &Lvm, choice: Choice<'_>) -> Option<String> {
    if lvm.volumes_of_disk != 1 {
        let count = lvm.volumes_of_disk;
        return Some(match &lvm.groups[..] {
            [group] => {
                let name = &group.name;
                format!("the volume group {name} has {count} physical volumes, expected one")
            }
            _ => format!("{count} physical volumes of LVM, expected one"),
        });
    }
    let group = match &lvm.groups[..] {
        [group] => group,
        [] => return Some("the physical volume is in no volume group".to_owned()),
        several => {
            return Some(format!("{} volume groups, expected one", several.len()));
        }
    };
    if !group.attributes.starts_with("wz--n") {
        let (name, attributes) = (&group.name, &group.attributes);
        return Some(format!(
            "the volume group {name} is {attributes:?}, expected one that is whole, writable and resizeable (wz--n)"
        ));
    }
    let is_plain = |volume: &&Volume| volume.attributes.starts_with('-');
    if let Some(other) = lvm.volumes.iter().find(|volume| !is_plain(volume)) {
        let (name, kind) = (&other.name, volume_kind(&other.attributes));
        return Some(format!("the logical volume {name} is {kind}"));
    }
    match lvm.choose(choice.volume) {
        Err(error) => Some(error.to_string()),
        Ok(_) => lvm
            .system
            .as_ref()
            .and_then(|system| system.trouble.clone()),
    }
}

/// What the first letter of a logical volume's attributes stands for: lvs(8).
fn volume_kind(attributes: &str) -> String {
    let kind = match attributes.chars().next().unwrap_or_default() {
        'C' => "a cache",
        'm' | 'M' => "a mirror",
        'o' | 'O' => "the origin of a snapshot",
        'r' | 'R' => "a RAID",
        's' | 'S' => "a snapshot",
        't' => "a thin pool",
        'T' | 'D' => "part of a thin or VDO pool",
        'V' => "thin",
        'v' => "virtual",
        'd' => "a VDO pool",
        'g' => "with integrity",
        other => return format!("of the kind {other:?}"),
    };
    kind.to_owned()
}

/// The steps of a disk that may be grown.
fn steps(found: &Found, choice: Choice<'_>, gain: u64) -> Result<Option<Plan>> {
    let last = last(&found.partitions);
    let is_longer = gain >= WORTH;
    let (system, volume) = match &found.content {
        None | Some(Content::Other(_)) => return Ok(None),
        Some(Content::FileSystem(system)) => (system, None),
        Some(Content::Lvm(lvm)) => match &lvm.system {
            Some(system) => (system, Some(lvm.choose(choice.volume)?)),
            None => return Ok(None),
        },
    };
    let mut steps = Vec::new();
    let mut warning = None;
    if let Some(last) = last.filter(|_| is_longer) {
        warning = table_steps(found, last, &mut steps);
    }
    let mut is_system_longer = is_longer;
    if let (Some(Content::Lvm(lvm)), Some(volume)) = (&found.content, volume) {
        let room = match last {
            Some(last) if is_longer => usable_end(found).saturating_sub(last.start),
            _ => lvm.room,
        };
        let extent = lvm.groups.first().map_or(0, |group| group.extent);
        let gained = lvm.gained_extents(room, extent) * extent;
        is_system_longer = gained >= WORTH;
        if is_system_longer {
            steps.push(Step::new(&lvm.device, Action::ResizePv));
            let mib = (volume.size + gained) / MIB;
            steps.push(Step::new(&volume.path(), Action::ResizeLv { mib }));
        } else {
            // Not even one whole extent: a longer partition would be of no use to anybody.
            steps.clear();
            warning = None;
        }
    }
    if !is_system_longer && system.room.saturating_sub(system.size) < WORTH {
        return Ok(None);
    }
    system_steps(system, &mut steps);
    Ok(Some(Plan {
        steps,
        partition: last.map(|last| last.number),
        volume: volume.map(|volume| volume.name.clone()),
        system: system.clone(),
        warning,
    }))
}

fn table_steps(found: &Found, last: &Partition, steps: &mut Vec<Step>) -> Option<&'static str> {
    let mut resize = |number, end| {
        steps.push(Step::new(DISK, Action::ResizePartition { number, end }));
    };
    if let Table::Gpt { margin, .. } = found.table {
        steps.push(Step::new(DISK, Action::ExpandGpt));
        let end = -i64::from(margin);
        let number = last.number;
        steps.push(Step::new(DISK, Action::ResizePartition { number, end }));
        return None;
    }
    let is_out_of_reach = found.size > usable_end(found);
    let end = if is_out_of_reach {
        i64::from(MBR_LAST_SECTOR)
    } else {
        -1
    };
    let extended = found
        .partitions
        .iter()
        .find(|one| one.role == Role::Extended);
    if let Some(extended) = extended.filter(|_| last.role == Role::Logical) {
        resize(extended.number, end);
    }
    resize(last.number, end);
    is_out_of_reach
        .then_some("an MBR reaches no further than 2 TiB, the rest of the disk stays unused")
}

fn system_steps(system: &FileSystem, steps: &mut Vec<Step>) {
    let actions: &[Action] = match system.kind {
        Kind::Ext => &[Action::CheckExt, Action::ResizeExt],
        Kind::Xfs => &[Action::Mount, Action::GrowXfs, Action::Unmount],
        Kind::Btrfs => &[Action::Mount, Action::GrowBtrfs, Action::Unmount],
        Kind::Ntfs => &[Action::ResizeNtfs],
    };
    steps.extend(
        actions
            .iter()
            .map(|action| Step::new(&system.device, *action)),
    );
}
#[cfg(test)]
mod tests;
