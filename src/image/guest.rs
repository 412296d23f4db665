// SPDX-License-Identifier: GPL-2.0-or-later

//! The guest on a disk: which system it is, its file systems, and a file in them.

use crate::image::appliance::{self, Appliance, word};
use crate::{Context, Error, Result};

const SELINUX: &str = "/etc/selinux/config";

/// The one operating system of a disk.
pub struct System {
    root: String,
    is_windows: bool,
}

/// None if the disk has no operating system.
///
/// # Errors
/// It has several, or cannot be inspected.
pub fn inspect(appliance: &mut Appliance) -> Result<Option<System>> {
    let found = appliance.ask("inspect-os")?;
    let mut roots = found.lines();
    let Some(root) = roots.next().map(str::to_owned) else {
        return Ok(None);
    };
    let others = roots.count();
    if others > 0 {
        return Err(Error::new(format!(
            "{} operating systems on one disk, expected one",
            others + 1
        )));
    }
    let kind = appliance.ask(&format!("inspect-get-type {}", quoted(&root)))?;
    let is_windows = kind.trim() == "windows";
    Ok(Some(System { root, is_windows }))
}

impl System {
    /// Mounts the guest's file systems; the path as it is in them.
    ///
    /// # Errors
    /// The file system that the path lies on cannot be mounted, or there is no such drive.
    pub fn mount(&self, appliance: &mut Appliance, path: &str) -> Result<String> {
        if self.is_windows {
            return self.mount_drive(appliance, path);
        }
        let answer = appliance.ask(&format!("inspect-get-mountpoints {}", quoted(&self.root)))?;
        let mut mounts = pairs(&answer);
        // Those above come before those below.
        mounts.sort_by_key(|(point, _)| point.len());
        for (point, device) in mounts {
            let mounted = appliance.ask(&format!("mount {} {}", quoted(device), quoted(point)));
            let below = path.strip_prefix(point.trim_end_matches('/'));
            // What the guest keeps on another disk does not matter, unless the file belongs there.
            if below.is_some_and(|rest| rest.starts_with('/')) {
                mounted.context(format!("the guest's {point} cannot be mounted"))?;
            }
        }
        Ok(path.to_owned())
    }

    /// `/c/dir/file` is `C:\dir\file`, whatever the case.
    fn mount_drive(&self, appliance: &mut Appliance, path: &str) -> Result<String> {
        let wrong = || Error::new("the guest is Windows, expected /c/dir/file for C:\\dir\\file");
        let (drive, rest) = path[1..].split_once('/').ok_or_else(wrong)?;
        let is_letter = drive.len() == 1 && drive.chars().all(|c| c.is_ascii_alphabetic());
        if !is_letter || rest.is_empty() {
            return Err(wrong());
        }
        let command = format!("inspect-get-drive-mappings {}", quoted(&self.root));
        // A guest without its registry has no mappings.
        let answer = appliance.ask(&command).unwrap_or_default();
        let mapped = pairs(&answer)
            .into_iter()
            .find(|(letter, _)| letter.eq_ignore_ascii_case(drive))
            .map(|(_, device)| device.to_owned());
        let system = drive.eq_ignore_ascii_case("c").then(|| self.root.clone());
        let device = mapped
            .or(system)
            .ok_or_else(|| Error::new(format!("the guest has no drive {drive}: on this disk")))?;
        appliance.ask(&format!("mount {} /", quoted(&device)))?;
        let found = appliance.ask(&format!(
            "case-sensitive-path {}",
            quoted(&format!("/{rest}"))
        ))?;
        Ok(found.trim_end_matches('\n').to_owned())
    }

    /// Writes the file: all of it under another name, which then takes its place, so that a full
    /// file system costs nothing.
    ///
    /// # Errors
    /// The directory is missing, its file system is full or read-only, or something else than a
    /// file is there.
    pub fn put(&self, appliance: &mut Appliance, path: &str, content: &str) -> Result {
        let is_there = says_true(appliance, "exists", path)?;
        let target = if is_there && !self.is_windows {
            let real = appliance.ask(&format!("realpath {}", quoted(path)))?;
            real.trim_end_matches('\n').to_owned()
        } else {
            path.to_owned()
        };
        if is_there && !says_true(appliance, "is-file", &target)? {
            return Err(Error::new("something else than a file is there"));
        }
        let number = getrandom::u64().context("the system's random source")?;
        let directory = target
            .rsplit_once('/')
            .map_or("", |(directory, _)| directory);
        let new = format!("{directory}/.vdsm-hooks-{number:016x}");
        let written = self.write(appliance, &new, content, is_there.then_some(&target));
        let moved = written
            .and_then(|()| appliance.ask(&format!("mv {} {}", quoted(&new), quoted(&target))));
        if moved.is_err() {
            // What went wrong before says more than what goes wrong now.
            let _ = appliance.ask(&format!("rm-f {}", quoted(&new)));
        }
        moved?;
        if !self.is_windows && !is_there {
            label(appliance, &target);
        }
        Ok(())
    }

    /// The content, with owner, mode and label of the file whose place it is to take.
    fn write(
        &self,
        appliance: &mut Appliance,
        new: &str,
        content: &str,
        old: Option<&String>,
    ) -> Result {
        appliance.ask(&format!("write {} {}", quoted(new), quoted(content)))?;
        if let Some(old) = old.filter(|_| !self.is_windows) {
            let (old, new) = (quoted(old), quoted(new));
            appliance.ask(&format!("copy-attributes {old} {new} all:true"))?;
        }
        Ok(())
    }
}

/// Gives the file the label that the guest's SELinux policy has for it. The file is there all the
/// same.
fn label(appliance: &mut Appliance, path: &str) {
    let Ok(config) = appliance.ask(&format!("cat {SELINUX}")) else {
        return;
    };
    let policy = config
        .lines()
        .find_map(|line| line.trim().strip_prefix("SELINUXTYPE="));
    let labelled = word(policy.unwrap_or("targeted").trim()).and_then(|policy| {
        let contexts = format!("/etc/selinux/{policy}/contexts/files/file_contexts");
        appliance.ask(&format!("selinux-relabel {contexts} {}", quoted(path)))
    });
    if let Err(error) = labelled {
        log::warn!(
            "{path} has no SELinux label, 'restorecon {path}' in the guest gives it one: {error}"
        );
    }
}

/// The lines `key: value` of an answer.
fn pairs(answer: &str) -> Vec<(&str, &str)> {
    answer
        .lines()
        .filter_map(|line| line.split_once(": "))
        .collect()
}

/// Any text as one word of a command.
fn quoted(text: &str) -> String {
    appliance::quoted(text.as_bytes())
}

/// What the appliance answers to a question about a path.
fn says_true(appliance: &mut Appliance, question: &str, path: &str) -> Result<bool> {
    let answer = appliance.ask(&format!("{question} {}", quoted(path)))?;
    Ok(answer.trim() == "true")
}
