// SPDX-License-Identifier: GPL-2.0-or-later

//! What is on a disk, asked in an appliance.
//!
//! Only calls that translate device names are used: the kernel of the appliance numbers the disk and
//! the appliance's own in the order in which they turn up, so that the disk may be its `sdb`
//! (guestfs(3), "Block device naming").

use std::collections::HashMap;
use std::str::FromStr;

use super::plan::{
    Choice, Content, DISK, FileSystem, Found, GPT_MARGIN, Group, Kind, Lvm, Partition, Role,
    SECTOR, Table, Volume, WORTH, last, system,
};
use crate::image::appliance::{Appliance, word};
use crate::{Context, Error, Result};

/// libblkid's name of a swap area that a suspended Linux is in.
const SUSPENDED: &str = "swsuspend";
/// What ntfs-3g.probe(8) ends with when Windows is asleep, by hibernation or by its fast startup.
const HIBERNATED: &str = "14";
const DIRTY: &str = "not unmounted cleanly: start the guest without growing and shut it down";

/// Looks at the whole disk, without a mount: what two looks at one disk tell alike.
pub(super) fn look(appliance: &mut Appliance, choice: Choice<'_>) -> Result<Found> {
    let size = number(&appliance.ask(&format!("blockdev-getsize64 {DISK}"))?)?;
    let disk = appliance.ask(&format!("blkid {DISK}"))?;
    let table = table(appliance, &disk)?;
    let mut asleep = None;
    let (partitions, content) = match table {
        Table::None => {
            let name = field(&disk, "TYPE:").unwrap_or_default();
            let room = Room { device: DISK, size };
            (Vec::new(), Some(content(appliance, room, name, choice)?))
        }
        // It is refused whatever is in its partitions, which may have no devices here. Of a GPT that is
        // damaged, or counts other sectors, parted cannot even list them.
        Table::Other(_) => (other_partitions(appliance).unwrap_or_default(), None),
        Table::Gpt { .. } | Table::Mbr => {
            let (partitions, names): (Vec<_>, Vec<_>) = partitions(appliance)?.into_iter().unzip();
            let place =
                last(&partitions).and_then(|last| partitions.iter().position(|one| one == last));
            for (index, partition) in partitions.iter().enumerate() {
                if Some(index) != place && asleep.is_none() {
                    asleep = sleeper(appliance, partition.number, &names[index])?;
                }
            }
            let content = match place {
                Some(place) => {
                    let last = &partitions[place];
                    let device = format!("{DISK}{}", last.number);
                    let room = Room {
                        device: &device,
                        size: last.end.saturating_sub(last.start),
                    };
                    Some(content(appliance, room, &names[place], choice)?)
                }
                None => None,
            };
            (partitions, content)
        }
    };
    if let Some(Content::Lvm(lvm)) = &content {
        let sleeps = |volume: &&Volume| volume.content == SUSPENDED;
        let volume = lvm.volumes.iter().find(sleeps);
        asleep = asleep.or(volume.map(|volume| format!("{} ({SUSPENDED})", volume.name)));
    }
    Ok(Found {
        size,
        table,
        partitions,
        content,
        asleep,
    })
}

/// A partition beside the one that grows in which a system sleeps: Linux in its swap, Windows in the
/// volume that it is on. An NTFS that this host cannot read keeps nobody from anything.
fn sleeper(appliance: &mut Appliance, number: u32, name: &str) -> Result<Option<String>> {
    let sleeps = match Kind::named(name) {
        Some(Kind::Ntfs) if check_support(appliance, Kind::Ntfs).is_ok() => {
            probe_ntfs(appliance, &format!("{DISK}{number}"))? == HIBERNATED
        }
        _ => name == SUSPENDED,
    };
    Ok(sleeps.then(|| format!("partition {number} ({name})")))
}

/// Completes the facts about the file system that is to grow by mounting it, which may write: only for a
/// disk that is not the image itself. One that is known to be dirty is not mounted.
pub(super) fn mount(appliance: &mut Appliance, found: &mut Found) -> Result {
    let Some(system) = system(found) else {
        return Ok(());
    };
    if system.trouble.is_some() || system.kind == Kind::Ext {
        return Ok(());
    }
    let mounted = appliance.ask(&format!("mount {} /", system.device));
    if let Err(error) = mounted {
        let name = &system.name;
        system.trouble = Some(format!("the {name} cannot be mounted: {error}"));
        return Ok(());
    }
    if system.kind == Kind::Xfs {
        // The kernel says so of an XFS that was not unmounted (Linux 6.1 fs/xfs/xfs_log_recover.c).
        if appliance.ask("dmesg")?.contains("Starting recovery") {
            system.trouble = Some(DIRTY.to_owned());
        }
    } else {
        system.size = mounted_size(appliance)?;
    }
    appliance.ask("umount /")?;
    Ok(())
}

/// The kind of table, from what libblkid says of the disk.
fn table(appliance: &mut Appliance, disk: &str) -> Result<Table> {
    Ok(match field(disk, "PTTYPE:") {
        // A disk that is empty; a file system without partitions.
        Err(_) => Table::None,
        Ok("gpt") => {
            // The MBR, and the header of the GPT. libguestfs has no calls for what is asked of them.
            let begin = appliance.ask_bytes(&format!("pread-device {DISK} {} 0", 2 * SECTOR))?;
            let (mbr, header) = begin.split_at(begin.len() / 2);
            Table::Gpt {
                margin: margin(header)?,
                is_hybrid: is_hybrid(mbr),
            }
        }
        Ok("dos") => Table::Mbr,
        Ok(other) => Table::Other(other.to_owned()),
    })
}

/// What a GPT with this header leaves unused at the end: see [`Table::Gpt`].
fn margin(header: &[u8]) -> Result<u32> {
    if !header.starts_with(b"EFI PART") {
        // Damaged, so that parted has read the other one: the rehearsal will tell.
        return Ok(GPT_MARGIN);
    }
    // UEFI 2.10, table 5.5: behind the signature, at byte 40, stands the first usable sector.
    let first = header.get(40..48).and_then(|bytes| bytes.try_into().ok());
    let first = first.ok_or_else(|| Error::new("the appliance cannot read the GPT"))?;
    let first = u64::from_le_bytes(first);
    let first = u32::try_from(first)
        .map_err(|_| Error::new(format!("the GPT has its first usable sector at {first}")))?;
    Ok(first.max(GPT_MARGIN))
}

/// Whether the MBR beside a GPT has entries of its own: UEFI 2.10, 5.2.3, a protective one has a single
/// entry, of the type 0xee. `sgdisk -e` would make it one.
fn is_hybrid(mbr: &[u8]) -> bool {
    // At byte 446 four entries of 16 bytes, of which the fifth is the type (UEFI 2.10, table 5.2).
    let entries = mbr.get(446..510).unwrap_or_default();
    let mut kinds = entries.chunks(16).filter_map(|entry| entry.get(4));
    kinds.any(|kind| !matches!(kind, 0 | 0xee))
}

/// A partition, and libblkid's name of what it holds.
type Held = (Partition, String);

/// The partitions of a GPT or an MBR: those that the kernel knows, by their entries in the table. parted
/// would tell the same, but without hardware virtualization the appliance takes three to six seconds for each
/// of its answers, and half a second for one of libblkid (run with libguestfs 1.48).
fn partitions(appliance: &mut Appliance) -> Result<Vec<Held>> {
    let mut partitions = Vec::new();
    for device in appliance.ask("list-partitions")?.lines() {
        let number = device.trim().strip_prefix(DISK).map(str::parse::<u32>);
        let Some(Ok(wanted)) = number else { continue };
        let facts = appliance.ask(&format!("blkid {DISK}{wanted}"))?;
        let entry = |name| field(&facts, name);
        let kind = entry("PART_ENTRY_TYPE:")?;
        let role = match (entry("PART_ENTRY_SCHEME:")?, kind) {
            // Linux block/partitions/msdos.c: is_extended_partition.
            ("dos", "0x5" | "0xf" | "0x85") => Role::Extended,
            ("dos", _) if wanted > 4 => Role::Logical,
            ("dos" | "gpt", _) => Role::Primary,
            // Inside of a partition: the slices of a BSD.
            _ => continue,
        };
        let start = number_of_sectors(entry("PART_ENTRY_OFFSET:")?)?;
        let size = number_of_sectors(entry("PART_ENTRY_SIZE:")?)?;
        let partition = Partition {
            number: wanted,
            start,
            end: start.saturating_add(size),
            role,
            kind: kind.to_owned(),
        };
        let content = entry("TYPE:").unwrap_or_default().to_owned();
        partitions.push((partition, content));
    }
    Ok(partitions)
}

/// The bytes of so many sectors of a disk, of 512 bytes each as everywhere here.
fn number_of_sectors(text: &str) -> Result<u64> {
    let sectors: u64 = number(text)?;
    Ok(sectors.saturating_mul(SECTOR))
}

/// The partitions of another table, of which only the ends are of interest.
fn other_partitions(appliance: &mut Appliance) -> Result<Vec<Partition>> {
    let listing = appliance.ask(&format!("part-list {DISK}"))?;
    structures(&listing)
        .map(|part| {
            Ok(Partition {
                number: part.number("part_num")?,
                start: part.number("part_start")?,
                end: part.number::<u64>("part_end")?.saturating_add(1),
                role: Role::Primary,
                kind: String::new(),
            })
        })
        .collect()
}

/// The device that something lies on. Its size is known by then: half a second of the appliance less,
/// where it has no help of the processor.
#[derive(Clone, Copy)]
struct Room<'a> {
    device: &'a str,
    /// In bytes.
    size: u64,
}

/// What lies on the disk or on a partition.
fn content(
    appliance: &mut Appliance,
    room: Room<'_>,
    name: &str,
    choice: Choice<'_>,
) -> Result<Content> {
    if name == "LVM2_member" {
        return Ok(Content::Lvm(lvm(appliance, room, choice)?));
    }
    Ok(match Kind::named(name) {
        Some(kind) => Content::FileSystem(file_system(appliance, room, kind, name.to_owned())?),
        None => Content::Other(name.to_owned()),
    })
}

/// libblkid's name of a content; empty if it has none.
fn type_of(appliance: &mut Appliance, device: &str) -> Result<String> {
    let name = appliance.ask(&format!("vfs-type {}", word(device)?))?;
    Ok(name.trim().to_owned())
}

fn file_system(
    appliance: &mut Appliance,
    room: Room<'_>,
    kind: Kind,
    name: String,
) -> Result<FileSystem> {
    check_support(appliance, kind)?;
    let device = room.device;
    let (size, trouble) = match kind {
        Kind::Ext => ext(appliance, device)?,
        Kind::Xfs => (xfs(appliance, device)?, None),
        Kind::Btrfs => (0, btrfs(appliance, device)?),
        Kind::Ntfs => (0, ntfs(appliance, device)?),
    };
    Ok(FileSystem {
        device: device.to_owned(),
        kind,
        name,
        size,
        room: room.size,
        trouble,
    })
}

/// Whether the appliance of this host has what the file system needs.
fn check_support(appliance: &mut Appliance, kind: Kind) -> Result {
    let (groups, package) = match kind {
        Kind::Ext => return Ok(()),
        Kind::Xfs => ("xfs", "libguestfs-xfs"),
        Kind::Btrfs => ("btrfs", "btrfs-progs"),
        Kind::Ntfs => ("\"ntfs3g ntfsprogs\"", "libguestfs-winsupport or ntfs-3g"),
    };
    match appliance.ask(&format!("available {groups}")) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(format!(
            "libguestfs on this host has no support for {kind:?}: install {package}"
        ))),
    }
}

/// The size of a file system, and why it must be left alone.
fn ext(appliance: &mut Appliance, device: &str) -> Result<(u64, Option<String>)> {
    let facts = appliance.ask(&format!("tune2fs-l {device}"))?;
    let blocks: u64 = number(field(&facts, "Block count:")?)?;
    let block: u64 = number(field(&facts, "Block size:")?)?;
    let mut features = field(&facts, "Filesystem features:")?.split(' ');
    let state = field(&facts, "Filesystem state:")?;
    let is_clean = state == "clean" && !features.any(|feature| feature == "needs_recovery");
    let trouble = (!is_clean).then(|| DIRTY.to_owned());
    Ok((blocks.saturating_mul(block), trouble))
}

fn xfs(appliance: &mut Appliance, device: &str) -> Result<u64> {
    let facts = appliance.ask(&format!("xfs-info {device}"))?;
    let blocks: u64 = number(field(&facts, "xfs_datablocks:")?)?;
    let block: u64 = number(field(&facts, "xfs_blocksize:")?)?;
    Ok(blocks.saturating_mul(block))
}

/// It can be spread over several devices, of which only the first would grow.
fn btrfs(appliance: &mut Appliance, device: &str) -> Result<Option<String>> {
    let devices = appliance.ask(&format!("btrfs-filesystem-show {device}"))?;
    let count = devices
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    Ok((count != 1).then(|| format!("btrfs on {count} devices, expected one")))
}

/// What ntfs-3g.probe(8) says of a volume that is to be mounted for writing.
fn probe_ntfs(appliance: &mut Appliance, device: &str) -> Result<String> {
    let probed = appliance.ask(&format!("ntfs-3g-probe true {device}"))?;
    Ok(probed.trim().to_owned())
}

fn ntfs(appliance: &mut Appliance, device: &str) -> Result<Option<String>> {
    Ok(match &*probe_ntfs(appliance, device)? {
        "0" => None,
        HIBERNATED => Some(
            "not unmounted cleanly, Windows hibernates in it: shut Windows down, with its fast startup off"
                .to_owned(),
        ),
        _ => Some("not unmounted cleanly: start Windows, which checks it, and shut it down".to_owned()),
    })
}

fn lvm(appliance: &mut Appliance, room: Room<'_>, choice: Choice<'_>) -> Result<Lvm> {
    let listing = appliance.ask("pvs-full")?;
    let known: Vec<Structure<'_>> = structures(&listing).collect();
    // The name in that report is the kernel's: of one the order tells nothing wrong, of several it
    // does not matter.
    let own = known.first();
    let own = own.ok_or_else(|| Error::new("LVM does not know the physical volume"))?;
    let mut lvm = Lvm {
        device: room.device.to_owned(),
        volumes_of_disk: known.len(),
        room: room.size,
        first_extent: own.number("pe_start")?,
        extents: own.number("pv_pe_count")?,
        groups: groups(appliance)?,
        volumes: Vec::new(),
        system: None,
    };
    let [group] = &lvm.groups[..] else {
        return Ok(lvm);
    };
    let of_group = group.name.clone();
    for volume in structures(&appliance.ask("lvs-full")?) {
        let name = format!("{of_group}/{}", volume.text("lv_name")?);
        let attributes = volume.text("lv_attr")?.to_owned();
        // What is not plain or not active has no device of its own.
        let is_there = attributes.starts_with('-') && attributes.chars().nth(4) == Some('a');
        let content = if is_there {
            type_of(appliance, &format!("/dev/{name}"))?
        } else {
            String::new()
        };
        lvm.volumes.push(Volume {
            name,
            attributes,
            size: volume.number("lv_size")?,
            content,
        });
    }
    if let Ok(volume) = lvm.choose(choice.volume) {
        let (path, name) = (volume.path(), volume.content.clone());
        let of_volume = Room {
            device: &path,
            size: volume.size,
        };
        if let Some(kind) = Kind::named(&name) {
            lvm.system = Some(file_system(appliance, of_volume, kind, name)?);
        }
    }
    Ok(lvm)
}

fn groups(appliance: &mut Appliance) -> Result<Vec<Group>> {
    let listing = appliance.ask("vgs-full")?;
    let group = |facts: Structure<'_>| {
        Ok(Group {
            name: facts.text("vg_name")?.to_owned(),
            attributes: facts.text("vg_attr")?.to_owned(),
            extent: facts.number("vg_extent_size")?,
            free: facts.number("vg_free_count")?,
        })
    };
    structures(&listing).map(group).collect()
}

/// The extents of the only volume group that are nobody's, and the size of one in bytes.
pub(super) fn free_extents(appliance: &mut Appliance) -> Result<(u64, u64)> {
    match &groups(appliance)?[..] {
        [group] => Ok((group.free, group.extent)),
        groups => Err(Error::new(format!(
            "{} volume groups, expected one",
            groups.len()
        ))),
    }
}

/// The size of a logical volume, in bytes.
pub(super) fn size_of(appliance: &mut Appliance, device: &str) -> Result<u64> {
    number(&appliance.ask(&format!("blockdev-getsize64 {}", word(device)?))?)
}

/// The size of a file system that has grown, in bytes.
pub(super) fn grown_size(appliance: &mut Appliance, system: &FileSystem) -> Result<u64> {
    let device = &system.device;
    match system.kind {
        Kind::Ext => ext(appliance, device).map(|(size, _)| size),
        Kind::Xfs => xfs(appliance, device),
        Kind::Btrfs | Kind::Ntfs => size_by_mount(appliance, device),
    }
}

/// Whether the NTFS on a device fills it, but for what is not worth a step.
pub(super) fn fills_device(appliance: &mut Appliance, device: &str) -> Result<bool> {
    let room = size_of(appliance, device)?;
    let size = size_by_mount(appliance, device)?;
    Ok(room.saturating_sub(size) < WORTH)
}

/// For those that only tell it so. A mount for reading takes no notice of what Windows is to check.
fn size_by_mount(appliance: &mut Appliance, device: &str) -> Result<u64> {
    appliance.ask(&format!("mount-ro {device} /"))?;
    let size = mounted_size(appliance)?;
    appliance.ask("umount /")?;
    Ok(size)
}

/// The size of the file system that is mounted, in bytes.
fn mounted_size(appliance: &mut Appliance) -> Result<u64> {
    let facts = appliance.ask("statvfs /")?;
    let blocks: u64 = number(field(&facts, "blocks:")?)?;
    let block: u64 = number(field(&facts, "frsize:")?)?;
    Ok(blocks.saturating_mul(block))
}

/// One of guestfish's structures: `[0] = {`, a line `name: value` for each field, `}`.
struct Structure<'a>(HashMap<&'a str, &'a str>);

impl<'a> Structure<'a> {
    fn text(&self, name: &str) -> Result<&'a str> {
        let found = self.0.get(name).copied();
        found.ok_or_else(|| Error::new(format!("{name:?} is not in the appliance's answer")))
    }

    fn number<N: FromStr<Err: std::error::Error>>(&self, name: &str) -> Result<N> {
        number(self.text(name)?)
    }
}

fn structures(listing: &str) -> impl Iterator<Item = Structure<'_>> {
    // The first piece is what stands before the first one.
    listing.split("] = {").skip(1).map(|text| {
        let fields = text.lines().filter_map(|line| line.trim().split_once(':'));
        Structure(fields.map(|(name, value)| (name, value.trim())).collect())
    })
}

/// What stands behind `name` in one of the lines.
fn field<'a>(text: &'a str, name: &str) -> Result<&'a str> {
    let mut lines = text.lines();
    let found = lines.find_map(|line| line.trim_start().strip_prefix(name));
    let found = found.map(str::trim);
    found.ok_or_else(|| Error::new(format!("{name:?} is not in the appliance's answer")))
}

fn number<N: FromStr<Err: std::error::Error>>(text: &str) -> Result<N> {
    let text = text.trim();
    text.parse()
        .context(format!("the appliance's answer {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_of_guestfish() -> Result {
        let listing = "[0] = {\n  part_num: 1\n  part_start: 1048576\n  name: a: b\n}\n[1] = {\n  part_num: 12\n  tags: \n}\n";
        let found: Vec<_> = structures(listing).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].number::<u64>("part_start")?, 1_048_576);
        assert_eq!(found[0].text("name")?, "a: b");
        assert_eq!(found[1].number::<u32>("part_num")?, 12);
        assert_eq!(found[1].text("tags")?, "");
        assert!(found[1].text("part_start").is_err());
        assert_eq!(structures("").count(), 0);
        Ok(())
    }
}
