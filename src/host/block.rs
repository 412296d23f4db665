// SPDX-License-Identifier: GPL-2.0-or-later

//! Block devices of the host, as the kernel shows them below `/sys/block`: what they are, and who
//! on the host uses them. Nothing in here opens a device.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use crate::host::files;
use crate::{Context, Result};

const BLOCK: &str = "/sys/block";
const BY_ID: &str = "/dev/disk/by-id";
const MAX_BYTES: u64 = 16 << 20;

/// A disk, a partition, or a map of the device mapper.
pub struct Device {
    name: String,
    directory: PathBuf,
}

impl Device {
    /// The disk or map with this kernel name, for example `sda` or `dm-0`.
    pub fn from_name(name: &str) -> Device {
        Device {
            name: name.to_owned(),
            directory: Path::new(BLOCK).join(name),
        }
    }

    /// The map behind a node of the device mapper; none if there is no node, or if it is another
    /// kind of file or device.
    ///
    /// # Errors
    /// The node cannot be looked at.
    pub fn of_map(node: &Path) -> Result<Option<Device>> {
        let found = match fs::metadata(node) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            found => found.context(node.display())?,
        };
        if !found.file_type().is_block_device() {
            return Ok(None);
        }
        let (major, minor) = (major(found.rdev()), minor(found.rdev()));
        let device = Device::from_name(&format!("dm-{minor}"));
        let is_it = device.number() == format!("{major}:{minor}");
        Ok(is_it.then_some(device))
    }

    /// Whether this is a map of multipath (multipath-tools 0.9 libmultipath/devmapper.h:
    /// `UUID_PREFIX`).
    pub fn is_multipath(&self) -> bool {
        self.text("dm/uuid").starts_with("mpath-")
    }

    /// The path that a disk keeps when its kernel name changes, or else the one of that name.
    ///
    /// # Errors
    /// The links of udev cannot be read.
    pub fn path(&self) -> Result<String> {
        let links = files::entries(Path::new(BY_ID))?;
        let leads_here = |link: &&String| {
            fs::read_link(Path::new(BY_ID).join(link)).is_ok_and(|target| {
                target.file_name().and_then(|name| name.to_str()) == Some(&self.name)
            })
        };
        let link = ["wwn-", "scsi-"].iter().find_map(|kind| {
            let mut links = links.iter().filter(|link| link.starts_with(kind));
            links.find(leads_here)
        });
        Ok(match link {
            Some(link) => format!("{BY_ID}/{link}"),
            None => format!("/dev/{}", self.name),
        })
    }

    /// Who on the host uses the device or one of its partitions: maps and arrays that are made of
    /// it, mounts, swap. That it has partitions is no use.
    ///
    /// # Errors
    /// The kernel's tables cannot be read.
    pub fn users(&self) -> Result<Vec<String>> {
        let mounts = table("/proc/self/mountinfo")?;
        let swaps = table("/proc/swaps")?;
        let mut users = Vec::new();
        let mut parts = vec![Device {
            name: self.name.clone(),
            directory: self.directory.clone(),
        }];
        while let Some(part) = parts.pop() {
            for name in files::entries(&part.directory.join("holders"))? {
                let holder = Device::from_name(&name);
                if holder.is_partition_map() {
                    parts.push(holder);
                } else {
                    users.push(holder.title());
                }
            }
            for name in files::entries(&part.directory)? {
                let directory = part.directory.join(&name);
                if name.starts_with(&part.name) && directory.join("partition").exists() {
                    parts.push(Device { name, directory });
                }
            }
            let (number, nodes) = (part.number(), part.nodes());
            let points = mount_points(&mounts, &number, &nodes);
            users.extend(points.map(|point| format!("the mount {point}")));
            let first = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
            if swaps.lines().map(first).any(|swap| nodes.contains(&swap)) {
                users.push("swap".to_owned());
            }
        }
        Ok(users)
    }

    /// Partitions of a map are maps themselves (multipath-tools 0.9 kpartx/devmapper.c:
    /// `UUID_PREFIX`).
    fn is_partition_map(&self) -> bool {
        let uuid = self.text("dm/uuid");
        let number = uuid
            .strip_prefix("part")
            .and_then(|rest| rest.split_once('-'));
        number.is_some_and(|(number, _)| number.parse::<u32>().is_ok())
    }

    /// The kernel's number, `major:minor`.
    fn number(&self) -> String {
        self.text("dev")
    }

    fn nodes(&self) -> [String; 2] {
        [
            format!("/dev/{}", self.name),
            format!("/dev/mapper/{}", self.text("dm/name")),
        ]
    }

    /// For messages.
    fn title(&self) -> String {
        match self.text("dm/name") {
            map if map.is_empty() => self.name.clone(),
            map => map,
        }
    }

    /// A line of sysfs; empty if the device has none of that name.
    fn text(&self, file: &str) -> String {
        let text = fs::read_to_string(self.directory.join(file));
        text.unwrap_or_default().trim_end().to_owned()
    }
}

fn table(path: &str) -> Result<String> {
    let bytes = files::read_file(Path::new(path), MAX_BYTES)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where a device is mounted. Some file systems show a number of their own instead of the
/// device's (Linux 6.1 fs/super.c: `get_anon_bdev`), and then its node.
fn mount_points<'a>(
    mountinfo: &'a str,
    number: &'a str,
    nodes: &'a [String; 2],
) -> impl Iterator<Item = &'a str> {
    mountinfo.lines().filter_map(move |line| {
        let mut fields = line.split(' ');
        let is_it = fields.nth(2)? == number;
        let point = fields.nth(1)?;
        let node = line.split_once(" - ")?.1.split(' ').nth(1)?;
        (is_it || nodes.iter().any(|own| own == node)).then_some(point)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_told_by_number_or_node() {
        let mounts = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            35 22 0:50 /root /data rw - btrfs /dev/mapper/lun rw\n\
            36 22 8:1 / /boot rw - xfs /dev/sda1 rw\n";
        let points = |number: &str, node: &str| -> Vec<String> {
            let nodes = [node.to_owned(), "/dev/mapper/lun".to_owned()];
            let points = mount_points(mounts, number, &nodes);
            points.map(str::to_owned).collect()
        };
        assert_eq!(points("254:0", "/dev/x"), ["/", "/data"]);
        assert_eq!(points("8:0", "/dev/sda"), ["/data"]);
        assert_eq!(points("8:17", "/dev/sda1"), ["/data", "/boot"]);
    }
}
