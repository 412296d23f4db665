// SPDX-License-Identifier: GPL-2.0-or-later

//! From what is on a disk to the steps that make it use the room behind it. A pure function: the
//! looking is done before, the writing after.

use crate::{Error, Result};

/// Less than this is not worth a step: the ends of tables, groups and extents leave as much.
const SLACK: u64 = 16 << 20;
/// Where an MBR cannot reach: sectors are counted in 32 bits.
const MBR_END: u64 = (1 << 32) * 512;
/// The disk in the appliance.
pub(super) const DISK: &str = "/dev/sda";
/// Types of partitions that belong to the firmware or to a system's recovery, on GPT and MBR.
const RECOVERY: [&str; 2] = ["DE94BBA4-06D1-4D40-A16A-BFD50179D6AC", "0x27"];
const PROTECTIVE: &str = "0xee";

/// What is on a disk.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Of the disk, in bytes.
    pub(super) size: u64,
    pub(super) table: Table,
    pub(super) partitions: Vec<Partition>,
    /// Of the last partition, or of the disk if it has no table; none if the table is empty.
    pub(super) content: Option<Content>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Table {
    None,
    Gpt,
    Mbr,
    /// Another one, by parted's name.
    Other(String),
}

#[derive(Debug, Clone)]
pub(super) struct Partition {
    pub(super) number: u32,
    /// The last byte.
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

/// What a partition, a logical volume or a whole disk holds.
#[derive(Debug, Clone)]
pub(super) enum Content {
    FileSystem(FileSystem),
    Pv(Pv),
    /// Something that cannot be grown, in words.
    Other(String),
}

#[derive(Debug, Clone)]
pub(super) struct FileSystem {
    pub(super) device: String,
    pub(super) kind: Kind,
    /// In bytes.
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

/// A physical volume of LVM.
#[derive(Debug, Clone)]
pub(super) struct Pv {
    pub(super) device: String,
    /// What LVM knows of, in bytes.
    pub(super) size: u64,
    /// The size of its device.
    pub(super) room: u64,
    /// The unit in which LVM hands out room.
    pub(super) extent: u64,
    /// Why it must not be touched.
    pub(super) trouble: Option<String>,
    pub(super) volumes: Vec<Volume>,
    /// The device of `/`, where that could be told.
    pub(super) root: Option<String>,
    /// Of the volume that is to grow, if there is one.
    pub(super) content: Option<Box<Content>>,
}

/// A logical volume.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    pub(super) path: String,
    /// How its data is laid out, in LVM's word.
    pub(super) segments: String,
}

/// The partition that ends last, whatever its number. An extended one is only a container.
pub(super) fn last(partitions: &[Partition]) -> Option<&Partition> {
    let data = partitions.iter().filter(|one| one.role != Role::Extended);
    data.max_by_key(|one| one.end)
}

impl Pv {
    /// The logical volume that is to grow.
    ///
    /// # Errors
    /// None, or several and it cannot be told which.
    pub(super) fn chosen(&self) -> Result<&Volume> {
        let root = self.root.as_ref();
        match &self.volumes[..] {
            [] => Err(Error::new("a volume group without logical volumes")),
            [only] => Ok(only),
            several => {
                let is_root = |volume: &&Volume| Some(&volume.path) == root;
                several.iter().find(is_root).ok_or_else(|| {
                    Error::new("several logical volumes, of which none is known to be /")
                })
            }
        }
    }

    fn is_short(&self) -> bool {
        self.room.saturating_sub(self.size) > self.slack()
    }

    fn slack(&self) -> u64 {
        SLACK.max(2 * self.extent)
    }
}

impl Content {
    /// Whether it fills less than its device.
    fn is_short(&self) -> bool {
        match self {
            Content::FileSystem(system) => system.room.saturating_sub(system.size) > SLACK,
            Content::Pv(pv) => {
                pv.is_short() || pv.content.as_ref().is_some_and(|inner| inner.is_short())
            }
            Content::Other(_) => false,
        }
    }
}

/// The steps, as commands of guestfish; none if there is nothing to grow.
///
/// # Errors
/// There would be something to grow, but not safely: what was found, and why.
pub(super) fn plan(found: &Found) -> Result<Vec<String>> {
    let Some(content) = &found.content else {
        return Ok(Vec::new());
    };
    let slack = match content {
        Content::Pv(pv) => pv.slack(),
        _ => SLACK,
    };
    let end = last(&found.partitions).map(|last| last.end + 1);
    let behind = end.map_or(0, |end| found.size.saturating_sub(end));
    let is_behind = behind > slack;
    // Of a whole disk only its own content can tell whether it has been enlarged.
    let is_unknown = found.table == Table::None && matches!(content, Content::Other(_));
    if !is_behind && !is_unknown && !content.is_short() {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    if is_behind {
        partition_steps(found, &mut steps)?;
    }
    content_steps(content, is_behind, &mut steps)?;
    Ok(steps)
}

fn partition_steps(found: &Found, steps: &mut Vec<String>) -> Result {
    let Some(last) = last(&found.partitions) else {
        return Ok(());
    };
    let number = last.number;
    let refused = |why: &str| Err(Error::new(format!("partition {number} is the last: {why}")));
    if RECOVERY.contains(&last.kind.as_str()) {
        return refused("it is for recovery");
    }
    let end = match &found.table {
        Table::None => return Ok(()),
        Table::Other(name) => {
            return Err(Error::new(format!(
                "a partition table of the kind {name}, expected GPT or MBR"
            )));
        }
        Table::Gpt => {
            steps.push(format!("part-expand-gpt {DISK}"));
            -34
        }
        Table::Mbr => {
            let is_gpt = |one: &Partition| one.kind == PROTECTIVE;
            if found.partitions.iter().any(is_gpt) {
                return Err(Error::new(
                    "an MBR that protects a GPT which cannot be read",
                ));
            }
            if found.size > MBR_END {
                return Err(Error::new(
                    "an MBR on a disk of more than 2 TiB, which it cannot reach",
                ));
            }
            let is_extended = |one: &&Partition| one.role == Role::Extended;
            let extended = found.partitions.iter().find(is_extended);
            match extended {
                Some(extended) if last.role == Role::Logical => {
                    steps.push(format!("part-resize {DISK} {} -1", extended.number));
                }
                Some(extended) if extended.end > last.end => {
                    return refused("an extended one without logical ones lies behind it");
                }
                _ => {}
            }
            -1
        }
    };
    steps.push(format!("part-resize {DISK} {number} {end}"));
    Ok(())
}

/// `is_enlarged`: the device of the content has got more room by a step before.
fn content_steps(content: &Content, is_enlarged: bool, steps: &mut Vec<String>) -> Result {
    match content {
        Content::Other(what) => Err(Error::new(format!(
            "{what} lies last, which cannot be grown"
        ))),
        Content::FileSystem(system) => file_system_steps(system, steps),
        Content::Pv(pv) => {
            if let Some(trouble) = &pv.trouble {
                return Err(Error::new(trouble));
            }
            let mut volumes = pv.volumes.iter();
            if let Some(other) = volumes.find(|one| one.segments != "linear") {
                return Err(Error::new(format!(
                    "a logical volume is {}, expected linear ones only",
                    other.segments
                )));
            }
            let volume = pv.chosen()?;
            if is_enlarged || pv.is_short() {
                steps.push(format!("pvresize {}", pv.device));
                steps.push(format!("lvresize-free {} 100", volume.path));
            }
            match pv.content.as_deref() {
                Some(Content::FileSystem(system)) => file_system_steps(system, steps),
                Some(Content::Other(what)) => Err(Error::new(format!(
                    "{what} is in the logical volume {}, which cannot be grown",
                    volume.path
                ))),
                Some(Content::Pv(_)) | None => Err(Error::new(format!(
                    "the logical volume {} holds no file system",
                    volume.path
                ))),
            }
        }
    }
}

fn file_system_steps(system: &FileSystem, steps: &mut Vec<String>) -> Result {
    if let Some(trouble) = &system.trouble {
        return Err(Error::new(trouble));
    }
    let device = &system.device;
    let mut mounted = |step: &str| {
        let all = [&format!("mount {device} /"), step, "umount /"];
        steps.extend(all.map(str::to_owned));
    };
    match system.kind {
        Kind::Xfs => mounted("xfs-growfs /"),
        Kind::Btrfs => mounted("btrfs-filesystem-resize /"),
        Kind::Ntfs => steps.push(format!("ntfsresize {device}")),
        Kind::Ext => {
            steps.push(format!("e2fsck {device} correct:true"));
            steps.push(format!("resize2fs {device}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn partition(number: u32, end: u64, role: Role, kind: &str) -> Partition {
        Partition {
            number,
            end: end * MIB - 1,
            role,
            kind: kind.to_owned(),
        }
    }

    fn primary(number: u32, end: u64) -> Partition {
        partition(number, end, Role::Primary, "0x83")
    }

    /// A file system that fills `size` of `room` MiB.
    fn system(kind: Kind, device: &str, size: u64, room: u64) -> Content {
        Content::FileSystem(FileSystem {
            device: device.to_owned(),
            kind,
            size: size * MIB,
            room: room * MIB,
            trouble: None,
        })
    }

    fn ext(device: &str) -> Content {
        system(Kind::Ext, device, 90, 90)
    }

    fn dirty() -> Content {
        match ext("/dev/sda1") {
            Content::FileSystem(system) => Content::FileSystem(FileSystem {
                trouble: Some("dirty".to_owned()),
                ..system
            }),
            other => other,
        }
    }

    fn pv(volumes: &[(&str, &str)], root: Option<&str>, content: Content) -> Pv {
        let volume = |(path, segments): &(&str, &str)| Volume {
            path: (*path).to_owned(),
            segments: (*segments).to_owned(),
        };
        Pv {
            device: "/dev/sda2".to_owned(),
            size: 88 * MIB,
            room: 90 * MIB,
            extent: 4 * MIB,
            trouble: None,
            volumes: volumes.iter().map(volume).collect(),
            root: root.map(str::to_owned),
            content: Some(Box::new(content)),
        }
    }

    fn disk(size: u64, table: Table, partitions: &[Partition], content: Content) -> Found {
        Found {
            size: size * MIB,
            table,
            partitions: partitions.to_vec(),
            content: Some(content),
        }
    }

    #[test]
    fn what_is_grown() {
        let two = [primary(1, 10), primary(2, 100)];
        let one = pv(&[("/dev/vg/root", "linear")], None, ext("/dev/vg/root"));
        let several = [("/dev/vg/home", "linear"), ("/dev/vg/root", "linear")];
        let several = pv(&several, Some("/dev/vg/root"), ext("/dev/vg/root"));
        let short = Pv {
            size: 40 * MIB,
            ..one.clone()
        };
        let inner = pv(
            &[("/dev/vg/root", "linear")],
            None,
            system(Kind::Ext, "/dev/vg/root", 40, 90),
        );
        let logical = [
            primary(1, 10),
            partition(2, 100, Role::Extended, "0x05"),
            partition(5, 50, Role::Logical, "0x83"),
            partition(6, 100, Role::Logical, "0x83"),
        ];
        let whole = |content| disk(200, Table::None, &[], content);
        for (found, steps) in [
            (
                disk(200, Table::Gpt, &two, ext("/dev/sda2")),
                "part-expand-gpt /dev/sda; part-resize /dev/sda 2 -34; \
                 e2fsck /dev/sda2 correct:true; resize2fs /dev/sda2",
            ),
            (
                disk(
                    200,
                    Table::Mbr,
                    &two,
                    system(Kind::Xfs, "/dev/sda2", 90, 90),
                ),
                "part-resize /dev/sda 2 -1; mount /dev/sda2 /; xfs-growfs /; umount /",
            ),
            (
                disk(
                    200,
                    Table::Mbr,
                    &logical,
                    system(Kind::Ntfs, "/dev/sda6", 50, 50),
                ),
                "part-resize /dev/sda 2 -1; part-resize /dev/sda 6 -1; ntfsresize /dev/sda6",
            ),
            // The last one is that which ends last.
            (
                disk(
                    200,
                    Table::Mbr,
                    &[primary(1, 100), primary(2, 10)],
                    ext("/dev/sda1"),
                ),
                "part-resize /dev/sda 1 -1; e2fsck /dev/sda1 correct:true; resize2fs /dev/sda1",
            ),
            (
                disk(200, Table::Mbr, &two, Content::Pv(one.clone())),
                "part-resize /dev/sda 2 -1; pvresize /dev/sda2; lvresize-free /dev/vg/root 100; \
                 e2fsck /dev/vg/root correct:true; resize2fs /dev/vg/root",
            ),
            (
                disk(200, Table::Mbr, &two, Content::Pv(several)),
                "part-resize /dev/sda 2 -1; pvresize /dev/sda2; lvresize-free /dev/vg/root 100; \
                 e2fsck /dev/vg/root correct:true; resize2fs /dev/vg/root",
            ),
            (
                whole(system(Kind::Btrfs, "/dev/sda", 100, 200)),
                "mount /dev/sda /; btrfs-filesystem-resize /; umount /",
            ),
            (
                whole(Content::Pv(short)),
                "pvresize /dev/sda2; lvresize-free /dev/vg/root 100; \
                 e2fsck /dev/vg/root correct:true; resize2fs /dev/vg/root",
            ),
            // A run before this one was cut short.
            (
                disk(
                    100,
                    Table::Mbr,
                    &two,
                    system(Kind::Ext, "/dev/sda2", 50, 90),
                ),
                "e2fsck /dev/sda2 correct:true; resize2fs /dev/sda2",
            ),
            (
                disk(100, Table::Mbr, &two, Content::Pv(inner)),
                "e2fsck /dev/vg/root correct:true; resize2fs /dev/vg/root",
            ),
        ] {
            let planned = plan(&found).map(|steps| steps.join("; "));
            assert_eq!(planned, Ok(steps.to_owned()), "{found:?}");
        }
    }

    #[test]
    fn nothing_to_grow() {
        let one = [primary(1, 100)];
        let at_rest = pv(
            &[("/dev/vg/a", "thin")],
            None,
            Content::Other("swap".into()),
        );
        for found in [
            disk(100, Table::Gpt, &one, ext("/dev/sda1")),
            disk(116, Table::Gpt, &one, ext("/dev/sda1")),
            // What lies last does not matter then.
            disk(100, Table::Gpt, &one, Content::Other("swap".to_owned())),
            disk(100, Table::Other("bsd".to_owned()), &one, ext("/dev/sda1")),
            disk(100, Table::Gpt, &one, dirty()),
            disk(100, Table::Mbr, &one, Content::Pv(at_rest)),
            disk(100, Table::None, &[], ext("/dev/sda")),
            Found {
                content: None,
                ..disk(100, Table::Gpt, &[], dirty())
            },
        ] {
            assert_eq!(plan(&found), Ok(Vec::new()), "{found:?}");
        }
    }

    #[test]
    fn what_is_refused() {
        let one = [primary(1, 100)];
        let typed = |kind| [partition(1, 100, Role::Primary, kind)];
        let empty_extended = [primary(1, 100), partition(2, 150, Role::Extended, "0x05")];
        let other = |what: &str| Content::Other(what.to_owned());
        let linear = [("/dev/vg/a", "linear"), ("/dev/vg/b", "linear")];
        let group = |volumes: &[_], content| Content::Pv(pv(volumes, None, content));
        let partial = Pv {
            trouble: Some("the volume group vg is partial".to_owned()),
            ..pv(&linear[..1], None, ext("/dev/vg/a"))
        };
        let mbr = |partitions: &[Partition], content| disk(200, Table::Mbr, partitions, content);
        for (found, why) in [
            (mbr(&one, other("swap")), "swap lies last"),
            (mbr(&one, other("crypto_LUKS")), "crypto_LUKS lies last"),
            (
                mbr(&one, other("linux_raid_member")),
                "linux_raid_member lies last",
            ),
            (mbr(&one, other("bcache")), "bcache lies last"),
            (mbr(&one, other("something unknown")), "unknown lies last"),
            (mbr(&one, dirty()), "dirty"),
            (
                mbr(&typed("0x27"), system(Kind::Ntfs, "/dev/sda1", 90, 90)),
                "recovery",
            ),
            (mbr(&typed("0xee"), ext("/dev/sda1")), "protects a GPT"),
            (
                disk(
                    200,
                    Table::Gpt,
                    &typed(RECOVERY[0]),
                    system(Kind::Ntfs, "/dev/sda1", 9, 9),
                ),
                "recovery",
            ),
            (disk(3 << 20, Table::Mbr, &one, ext("/dev/sda1")), "2 TiB"),
            (mbr(&empty_extended, ext("/dev/sda1")), "extended"),
            (
                disk(200, Table::Other("bsd".to_owned()), &one, ext("/dev/sda1")),
                "kind bsd",
            ),
            (
                disk(200, Table::None, &[], other("crypto_LUKS")),
                "crypto_LUKS",
            ),
            (mbr(&one, Content::Pv(partial)), "partial"),
            (
                mbr(&one, group(&[], ext("/dev/vg/a"))),
                "without logical volumes",
            ),
            (
                mbr(&one, group(&linear, ext("/dev/vg/a"))),
                "none is known to be /",
            ),
            (
                mbr(&one, group(&[("/dev/vg/a", "thin")], ext("/dev/vg/a"))),
                "thin",
            ),
            (
                mbr(&one, group(&linear[..1], other("swap"))),
                "swap is in the logical volume",
            ),
        ] {
            let message = plan(&found).err().map(|error| error.to_string());
            let message = message.unwrap_or_default();
            assert!(message.contains(why), "{message:?}: {why}: {found:?}");
        }
    }
}
