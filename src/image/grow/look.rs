// SPDX-License-Identifier: GPL-2.0-or-later

//! What is on a disk, asked in an appliance that cannot write to it.

use std::str::FromStr;

use super::plan::{
    Content, DISK, FileSystem, Found, Kind, Partition, Pv, Role, Table, Volume, last,
};
use crate::image::appliance::{Appliance, word};
use crate::{Context, Error, Result};

/// Between the fields of LVM's answers: no name of it can hold this.
const SEPARATOR: char = '!';

/// The disk by its place in the appliance: it is the first, whatever the kernel calls it.
const BY_PATH: &str = "/dev/disk/by-path/*-scsi-0:0:0:0";

/// What libguestfs and parted say of a disk without partitions.
const NO_TABLE: [&str; 2] = ["unrecognised disk label", "not a partitioned device"];

/// Looks at the whole disk.
pub(super) fn look(appliance: &mut Appliance) -> Result<Found> {
    let size = number(&appliance.ask(&format!("blockdev-getsize64 {DISK}"))?)?;
    let table = table(appliance)?;
    let partitions = partitions(appliance, &table)?;
    let content = match (&table, last(&partitions)) {
        (Table::None, _) => Some(content(appliance, DISK)?),
        (_, Some(last)) => Some(content(appliance, &format!("{DISK}{}", last.number))?),
        (_, None) => None,
    };
    Ok(Found {
        size,
        table,
        partitions,
        content,
    })
}

fn table(appliance: &mut Appliance) -> Result<Table> {
    let kind = match appliance.ask(&format!("part-get-parttype {DISK}")) {
        // A disk that is empty; a file system without partitions.
        Err(error) if NO_TABLE.iter().any(|text| error.to_string().contains(text)) => {
            return Ok(Table::None);
        }
        kind => kind?,
    };
    Ok(match kind.trim() {
        "gpt" => Table::Gpt,
        "msdos" => Table::Mbr,
        other => Table::Other(other.to_owned()),
    })
}

fn partitions(appliance: &mut Appliance, table: &Table) -> Result<Vec<Partition>> {
    if *table == Table::None {
        return Ok(Vec::new());
    }
    let listing = appliance.ask(&format!("part-list {DISK}"))?;
    let mut partitions = Vec::new();
    // A structure begins with its number, and every field has a line.
    for part in listing.split("part_num:").skip(1) {
        let wanted: u32 = number(part.lines().next().unwrap_or_default())?;
        let end = number(field(part, "part_end:")?)?;
        let mut ask = |what: &str| appliance.ask(&format!("{what} {DISK} {wanted}"));
        let (role, kind) = match table {
            Table::Gpt => (Role::Primary, ask("part-get-gpt-type")?),
            Table::Mbr => {
                let role = match ask("part-get-mbr-part-type")?.trim() {
                    "extended" => Role::Extended,
                    "logical" => Role::Logical,
                    _ => Role::Primary,
                };
                (role, ask("part-get-mbr-id")?)
            }
            _ => (Role::Primary, String::new()),
        };
        partitions.push(Partition {
            number: wanted,
            end,
            role,
            kind: kind.trim().to_owned(),
        });
    }
    Ok(partitions)
}

/// What lies on a device: the disk, a partition or a logical volume.
fn content(appliance: &mut Appliance, device: &str) -> Result<Content> {
    let found = appliance.ask(&format!("vfs-type {}", word(device)?))?;
    let system = |appliance: &mut Appliance, group: &str, package: &str, kind| {
        appliance.ask(&format!("available {group}")).map_err(|_| {
            Error::new(format!(
                "libguestfs on this host knows no {kind:?}: install {package}"
            ))
        })?;
        Ok(Content::FileSystem(file_system(appliance, device, kind)?))
    };
    match found.trim() {
        "ext2" | "ext3" | "ext4" => {
            let system = file_system(appliance, device, Kind::Ext)?;
            Ok(Content::FileSystem(system))
        }
        "xfs" => system(appliance, "xfs", "libguestfs-xfs", Kind::Xfs),
        "btrfs" => system(appliance, "btrfs", "btrfs-progs", Kind::Btrfs),
        "ntfs" => system(appliance, "ntfsprogs", "ntfsprogs", Kind::Ntfs),
        "LVM2_member" => Ok(Content::Pv(pv(appliance, device)?)),
        "" => Ok(Content::Other("something unknown".to_owned())),
        other => Ok(Content::Other(other.to_owned())),
    }
}

fn file_system(appliance: &mut Appliance, device: &str, kind: Kind) -> Result<FileSystem> {
    let room = number(&appliance.ask(&format!("blockdev-getsize64 {device}"))?)?;
    let (size, trouble) = match kind {
        Kind::Ext => ext(appliance, device)?,
        Kind::Xfs => xfs(appliance, device)?,
        Kind::Btrfs => btrfs(appliance, device)?,
        Kind::Ntfs => ntfs(appliance, device)?,
    };
    Ok(FileSystem {
        device: device.to_owned(),
        kind,
        size,
        room,
        trouble: trouble.map(|trouble| format!("the file system on {device}: {trouble}")),
    })
}

/// The size of a file system, and why it must be left alone.
type Health = (u64, Option<String>);

fn ext(appliance: &mut Appliance, device: &str) -> Result<Health> {
    let facts = appliance.ask(&format!("tune2fs-l {device}"))?;
    let blocks: u64 = number(field(&facts, "Block count:")?)?;
    let block: u64 = number(field(&facts, "Block size:")?)?;
    let features = field(&facts, "Filesystem features:")?;
    let state = field(&facts, "Filesystem state:")?;
    let trouble = if features
        .split(' ')
        .any(|feature| feature == "needs_recovery")
    {
        Some("dirty, its journal has to be replayed: start the guest and shut it down".to_owned())
    } else if state != "clean" {
        Some(format!(
            "dirty, its state is {state:?}: run fsck in the guest"
        ))
    } else {
        None
    };
    Ok((blocks.saturating_mul(block), trouble))
}

fn xfs(appliance: &mut Appliance, device: &str) -> Result<Health> {
    let facts = appliance.ask(&format!("xfs-info {device}"))?;
    let blocks: u64 = number(field(&facts, "xfs_datablocks:")?)?;
    let block: u64 = number(field(&facts, "xfs_blocksize:")?)?;
    let log = run_on(appliance, "xfs_logprint -t", device)?;
    let trouble = match log.contains("<CLEAN>") {
        true => None,
        false => {
            Some("dirty, its log has to be replayed: start the guest and shut it down".to_owned())
        }
    };
    Ok((blocks.saturating_mul(block), trouble))
}

fn btrfs(appliance: &mut Appliance, device: &str) -> Result<Health> {
    let facts = run_on(appliance, "btrfs inspect-internal dump-super", device)?;
    let size = number(field(&facts, "dev_item.total_bytes")?)?;
    let devices = field(&facts, "num_devices")?;
    let trouble = if devices != "1" {
        Some(format!("btrfs on {devices} devices"))
    } else if field(&facts, "log_root\t")? != "0" {
        Some("dirty, its log has to be replayed: start the guest and shut it down".to_owned())
    } else {
        None
    };
    Ok((size, trouble))
}

fn ntfs(appliance: &mut Appliance, device: &str) -> Result<Health> {
    // From the boot sector, since ntfsresize does not tell for a volume that is dirty.
    let sector = run_on(appliance, "od -An -tu2 -j11 -N2", device)?;
    let sectors = run_on(appliance, "od -An -tu8 -j40 -N8", device)?;
    let size = number::<u64>(&sectors)?.saturating_mul(number(&sector)?);
    let trouble = match appliance
        .ask(&format!("ntfs-3g-probe true {device}"))?
        .trim()
    {
        "0" => {
            let checked = run_on(appliance, "ntfsresize --info --no-progress-bar", device);
            checked.err().map(|_| {
                "dirty or damaged: start Windows, which checks it, and shut it down".to_owned()
            })
        }
        "14" => {
            Some("Windows hibernates in it: shut Windows down, without its fast startup".to_owned())
        }
        "13" | "15" => Some("dirty: start Windows and shut it down".to_owned()),
        status => Some(format!("it cannot be mounted (ntfs-3g.probe: {status})")),
    };
    Ok((size, trouble))
}

fn pv(appliance: &mut Appliance, device: &str) -> Result<Pv> {
    let columns = "vg_name,pv_size,dev_size,vg_extent_size,vg_missing_pv_count,pv_count";
    let rows = rows(&run_on(appliance, &lvm("pvs", columns), device)?, columns);
    let [row] = &rows[..] else {
        return Err(Error::new(format!("LVM does not know {device}")));
    };
    let [group, size, room, extent, missing, count] = &row[..] else {
        return Err(Error::new(format!("LVM does not know {device}")));
    };
    let room = number(room)?;
    let mut pv = Pv {
        device: device.to_owned(),
        size: room,
        room,
        extent: 0,
        trouble: None,
        volumes: Vec::new(),
        root: None,
        content: None,
    };
    if group.is_empty() {
        pv.trouble = Some(format!("the LVM volume on {device} is in no group"));
        return Ok(pv);
    }
    pv.size = number(size)?;
    pv.extent = number(extent)?;
    if missing != "0" {
        pv.trouble = Some(format!(
            "the volume group {group} is partial: {missing} of its {count} physical volumes are on other disks"
        ));
    } else if count != "1" {
        pv.trouble = Some(format!(
            "the volume group {group} has {count} physical volumes"
        ));
    }
    let columns = "lv_path,vg_name,segtype";
    let volumes = appliance.ask(&format!("debug sh \"{}\"", lvm("lvs", columns)))?;
    for row in self::rows(&volumes, columns) {
        let [path, of, segments] = &row[..] else {
            continue;
        };
        // One of several pieces has a line for each.
        let is_known = pv.volumes.iter().any(|volume| volume.path == *path);
        if of == group && !(is_known && segments == "linear") {
            pv.volumes.push(Volume {
                path: path.clone(),
                segments: segments.clone(),
            });
        }
    }
    if pv.volumes.len() > 1 {
        // What cannot be recognized has no root.
        let roots = appliance.ask("inspect-os").unwrap_or_default();
        let mut roots = roots.lines().map(|root| root.trim().to_owned());
        pv.root = roots.next().filter(|_| roots.next().is_none());
    }
    if pv.trouble.is_none() {
        if let Ok(path) = pv.chosen().map(|volume| volume.path.clone()) {
            pv.content = Some(Box::new(content_of_volume(appliance, &path)?));
        }
    }
    Ok(pv)
}

/// Another PV inside a logical volume is none that could be grown.
fn content_of_volume(appliance: &mut Appliance, path: &str) -> Result<Content> {
    let found = appliance.ask(&format!("vfs-type {}", word(path)?))?;
    match found.trim() {
        "LVM2_member" => Ok(Content::Other("LVM".to_owned())),
        _ => content(appliance, path),
    }
}

/// The answer of a program in the appliance to its command with `device` behind it.
///
/// The names of libguestfs' commands are not those of the kernel there: that one numbers the disk
/// and the appliance's own in the order in which they turn up. A path tells them apart.
fn run_on(appliance: &mut Appliance, command: &str, device: &str) -> Result<String> {
    let path = match device.strip_prefix(DISK) {
        None => device.to_owned(),
        Some("") => BY_PATH.to_owned(),
        Some(number) => format!("{BY_PATH}-part{number}"),
    };
    // Whoever has had the table open makes udev name its partitions again.
    let script = format!("udevadm settle; set -- {path}; {command} $(readlink -f $1)");
    appliance.ask(&format!("debug sh \"{script}\""))
}

/// The command of an LVM report.
fn lvm(report: &str, columns: &str) -> String {
    let options = "--noheadings --nosuffix --units b";
    format!("lvm {report} {options} --separator {SEPARATOR} -o {columns}")
}

/// Rows of an LVM report.
fn rows(answer: &str, columns: &str) -> Vec<Vec<String>> {
    let fields = |line: &str| -> Vec<String> {
        let fields = line.trim().split(SEPARATOR);
        fields.map(|field| field.trim().to_owned()).collect()
    };
    let wanted = columns.split(',').count();
    let rows = answer.lines().map(fields);
    rows.filter(|row| row.len() == wanted).collect()
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
