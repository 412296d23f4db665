// SPDX-License-Identifier: GPL-2.0-or-later

//! One step of a plan: a command of guestfish, as data, so that it can be kept in a journal and read
//! back as nothing else.

use serde_json::{Map, Value};

use crate::image::appliance::word;
use crate::json::{Node, Object};
use crate::{Error, Result};

/// What is done to a device of the appliance: the disk, a partition or a logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// By libguestfs' name, `/dev/sda2`.
    pub device: String,
    /// What is done to it.
    pub action: Action,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Moves the backup of a GPT to the end of the disk (guestfish(1), "part-expand-gpt"). Without
    /// it parted refuses the next step.
    ExpandGpt,
    /// Moves the end of a partition: to a sector, or so many before the end of the disk.
    ResizePartition {
        /// Which one.
        number: u32,
        /// The sector, negative from the end.
        end: i64,
    },
    /// Gives a physical volume all of its device.
    ResizePv,
    /// Gives a logical volume this size.
    ResizeLv {
        /// In MiB.
        mib: u64,
    },
    /// Checks an ext file system and mends only what is safe. `resize2fs` by itself would answer
    /// yes to everything (libguestfs 1.48 daemon/ext2.c: `if_not_mounted_run_e2fsck`).
    CheckExt,
    /// Gives an ext file system all of its device.
    ResizeExt,
    /// Mounts a file system that grows only so.
    Mount,
    /// Gives the mounted XFS all of its device.
    GrowXfs,
    /// Gives the mounted btrfs all of its device.
    GrowBtrfs,
    /// Ends the mount.
    Unmount,
    /// Gives an NTFS all of its device. Windows checks it at its next boot (guestfish(1),
    /// "ntfsresize").
    ResizeNtfs,
}

impl Action {
    /// guestfish's name of the command.
    pub fn name(self) -> &'static str {
        match self {
            Action::ExpandGpt => "part-expand-gpt",
            Action::ResizePartition { .. } => "part-resize",
            Action::ResizePv => "pvresize",
            Action::ResizeLv { .. } => "lvresize",
            Action::CheckExt => "e2fsck",
            Action::ResizeExt => "resize2fs",
            Action::Mount => "mount",
            Action::GrowXfs => "xfs-growfs",
            Action::GrowBtrfs => "btrfs-filesystem-resize",
            Action::Unmount => "umount",
            Action::ResizeNtfs => "ntfsresize",
        }
    }
}

impl Step {
    /// A step on `device`.
    pub fn new(device: &str, action: Action) -> Step {
        Step {
            device: device.to_owned(),
            action,
        }
    }

    /// The command as guestfish takes it.
    pub fn command(&self) -> String {
        let (name, device) = (self.action.name(), &self.device);
        match self.action {
            Action::ResizePartition { number, end } => format!("{name} {device} {number} {end}"),
            Action::ResizeLv { mib } => format!("{name} {device} {mib}"),
            Action::CheckExt => format!("{name} {device} correct:true"),
            Action::Mount => format!("{name} {device} /"),
            Action::GrowXfs | Action::GrowBtrfs | Action::Unmount => format!("{name} /"),
            Action::ExpandGpt | Action::ResizePv | Action::ResizeExt | Action::ResizeNtfs => {
                format!("{name} {device}")
            }
        }
    }

    /// As JSON: `op` and `device`, and what the command has besides.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("op".to_owned(), self.action.name().into());
        object.insert("device".to_owned(), self.device.as_str().into());
        match self.action {
            Action::ResizePartition { number, end } => {
                object.insert("partition".to_owned(), number.into());
                object.insert("end".to_owned(), end.into());
            }
            Action::ResizeLv { mib } => {
                object.insert("mib".to_owned(), mib.into());
            }
            _ => {}
        }
        Value::Object(object)
    }

    /// The step that [`Step::to_json`] wrote.
    ///
    /// # Errors
    /// It is none.
    pub fn from_json(object: &Object<'_>) -> Result<Step> {
        let text = |member| object.get(member).and_then(Node::string);
        let name = text("op").unwrap_or_default();
        let number = |member| object.get(member).map(Node::text).unwrap_or_default();
        let wrong = || Error::new(format!("no step of ours: {name:?}"));
        let action = match name.as_str() {
            "part-resize" => Action::ResizePartition {
                number: number("partition").parse().map_err(|_| wrong())?,
                end: number("end").parse().map_err(|_| wrong())?,
            },
            "lvresize" => Action::ResizeLv {
                mib: number("mib").parse().map_err(|_| wrong())?,
            },
            _ => PLAIN
                .into_iter()
                .find(|action| action.name() == name)
                .ok_or_else(wrong)?,
        };
        let device = text("device").unwrap_or_default();
        if !device.starts_with("/dev/") {
            return Err(wrong());
        }
        Ok(Step::new(word(&device)?, action))
    }
}

/// Those that are told by their name alone.
const PLAIN: [Action; 9] = [
    Action::ExpandGpt,
    Action::ResizePv,
    Action::CheckExt,
    Action::ResizeExt,
    Action::Mount,
    Action::GrowXfs,
    Action::GrowBtrfs,
    Action::Unmount,
    Action::ResizeNtfs,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Step> {
        let object = Node::parse(text)?.object();
        Step::from_json(&object.ok_or_else(|| Error::new("no object"))?)
    }

    #[test]
    fn a_step_is_read_back_as_itself() -> Result {
        let others = [
            Action::ResizePartition {
                number: 2,
                end: -34,
            },
            Action::ResizePartition {
                number: 5,
                end: 4_294_967_295,
            },
            Action::ResizeLv { mib: 1300 },
        ];
        for action in PLAIN.into_iter().chain(others) {
            let step = Step::new("/dev/cl/root", action);
            assert_eq!(read(&step.to_json().to_string())?, step);
        }
        Ok(())
    }

    #[test]
    fn nothing_else_is_a_step() {
        for text in [
            r"{}",
            r#"{"op":"rm-rf","device":"/dev/sda"}"#,
            r#"{"op":"pvresize"}"#,
            r#"{"op":"pvresize","device":"/dev/sda\nrm-rf /"}"#,
            r#"{"op":"pvresize","device":"/dev/sda rm"}"#,
            r#"{"op":"pvresize","device":"/etc/passwd"}"#,
            r#"{"op":"lvresize","device":"/dev/cl/root"}"#,
            r#"{"op":"lvresize","device":"/dev/cl/root","mib":-1}"#,
            r#"{"op":"part-resize","device":"/dev/sda","partition":1}"#,
            r#"{"op":"part-resize","device":"/dev/sda","partition":1,"end":"x"}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn commands() {
        let command = |device, action| Step::new(device, action).command();
        assert_eq!(
            command(
                "/dev/sda",
                Action::ResizePartition {
                    number: 2,
                    end: -34
                }
            ),
            "part-resize /dev/sda 2 -34"
        );
        assert_eq!(
            command("/dev/cl/root", Action::ResizeLv { mib: 1300 }),
            "lvresize /dev/cl/root 1300"
        );
        assert_eq!(
            command("/dev/cl/root", Action::CheckExt),
            "e2fsck /dev/cl/root correct:true"
        );
        assert_eq!(command("/dev/sda1", Action::Mount), "mount /dev/sda1 /");
        assert_eq!(command("/dev/sda1", Action::GrowXfs), "xfs-growfs /");
        assert_eq!(
            command("/dev/sda", Action::ExpandGpt),
            "part-expand-gpt /dev/sda"
        );
    }
}
