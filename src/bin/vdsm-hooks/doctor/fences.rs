// SPDX-License-Identifier: GPL-2.0-or-later

//! What else of a host keeps hooks from their work: fapolicyd, the kernel's limit for pings, a
//! directory that QEMU needs, and updates of oVirt Node.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::host::account::Account;
use vdsm_hooks::paths::{HELPERS, HOOKS};
use vdsm_hooks::runner::environment::assignments;

use super::Host;
use crate::catalog::PACKAGE;

/// Where dnf keeps the packages that an update of oVirt Node is to bring back (imgbased 042b4ba,
/// `constants.py.in` and `imgbased-persist.py`).
const PERSISTED: &str = "/var/imgbased/persisted-rpms";
/// Whether the daemon starts at boot.
const FAPOLICYD: &str = "/etc/systemd/system/multi-user.target.wants/fapolicyd.service";
const TRUST: &str = "/etc/fapolicyd/fapolicyd.trust";
/// More of the same, a text for each who adds some.
const MORE_TRUST: &str = "/etc/fapolicyd/trust.d";
/// Which groups may send pings without privileges: the lowest and the highest.
const PING: &str = "/proc/sys/net/ipv4/ping_group_range";
const SYSCTL: &str = "/etc/sysctl.d/50-vdsm-checkips.conf";
const SYSCONFIG: &str = "/etc/sysconfig/vdsm";
const LOGS: &str = "/var/log/qemu-firmware";

impl Host<'_> {
    pub(super) fn fences(&mut self, hooks: &[&Manifest]) {
        self.trust(hooks);
        for hook in hooks {
            match hook.name.as_str() {
                "checkips" => self.pings(hook),
                "log_firmware" => self.logs(hook),
                _ => {}
            }
        }
    }

    /// fapolicyd lets nothing start that is neither of a package nor in its lists, with the size that
    /// it has there (fapolicyd.trust(5)).
    fn trust(&mut self, hooks: &[&Manifest]) {
        let is_on = fs::symlink_metadata(self.root.at(FAPOLICYD)).is_ok();
        if !is_on || !self.has_book() || hooks.is_empty() {
            return;
        }
        let mut lists = vec![self.root.at(TRUST)];
        let more = fs::read_dir(self.root.at(MORE_TRUST)).into_iter().flatten();
        lists.extend(more.flatten().map(|entry| entry.path()));
        let texts = lists
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok());
        let trusted = texts.collect::<Vec<_>>().join("\n");
        let (mut unknown, mut other) = (0, 0);
        for path in self.programs_of(hooks) {
            let Some(size) = self.size(&path) else {
                continue;
            };
            let listed = trusted
                .lines()
                .find_map(|line| line.strip_prefix(path.as_str())?.strip_prefix(' '));
            match listed {
                None => unknown += 1,
                Some(rest) if rest.split(' ').next() != Some(size.as_str()) => other += 1,
                Some(_) => {}
            }
        }
        let what = match (unknown, other) {
            (0, 0) => return,
            (0, _) => format!("has {} in its lists as before", counted(other)),
            (_, 0) => format!("does not know {}", counted(unknown)),
            _ => format!("does not know {}, and {other} as before", counted(unknown)),
        };
        let what = format!("{what}, and does not let that start (EPERM)");
        let mut remedy = Vec::new();
        for directory in [HOOKS, HELPERS] {
            if self.root.at(directory).is_dir() {
                let directory = format!("{directory}/");
                for act in ["delete", "add"] {
                    if act == "add" || other > 0 {
                        let words = ["fapolicyd-cli", "--file", act, &directory];
                        let mut words = words.to_vec();
                        words.extend(["--trust-file", "vdsm-hooks"]);
                        remedy.push(self.on_host(&words));
                    }
                }
            }
        }
        remedy.push(self.on_host(&["fapolicyd-cli", "--update"]));
        self.problem("fapolicyd", what, remedy);
    }

    /// The programs and helpers of hooks, each once, as they are called.
    fn programs_of(&self, hooks: &[&Manifest]) -> Vec<String> {
        let mut paths: Vec<String> = Vec::new();
        for hook in hooks {
            paths.extend(Host::places_of(hook));
            paths.extend(hook.helpers.iter().map(|name| format!("{HELPERS}/{name}")));
            paths.extend(hook.daemons.iter().map(|name| format!("{HOOKS}/{name}")));
        }
        // What the kernel starts is behind the link.
        let real = paths.iter().filter_map(|path| self.root.resolve(path));
        let mut real: Vec<String> = real.filter_map(|place| self.below(&place)).collect();
        real.sort();
        real.dedup();
        real
    }

    fn size(&self, path: &str) -> Option<String> {
        let found = fs::metadata(self.root.at(path)).ok()?;
        Some(found.len().to_string())
    }

    /// The daemon pings without privileges: the kernel has to let its group (icmp(7)).
    fn pings(&mut self, hook: &Manifest) {
        let text = fs::read_to_string(self.root.at(PING)).unwrap_or_default();
        let numbers: Vec<u32> = text.split_whitespace().flat_map(str::parse).collect();
        let &[lowest, highest] = numbers.as_slice() else {
            return;
        };
        let group = self.users.vdsm.group();
        if (lowest..=highest).contains(&group) {
            return;
        }
        let what = format!(
            "the kernel lets groups {lowest} to {highest} send pings, and VDSM's group has the number \
             {group}: every network with an address to check counts as down"
        );
        let line = "net.ipv4.ping_group_range = 0 2147483647";
        let remedy = vec![
            format!("echo '{line}' > {}", self.root.shown(SYSCTL)),
            self.on_host(&["sysctl", "-p", SYSCTL]),
        ];
        self.problem(&hook.name, what, remedy);
    }

    /// QEMU itself opens the logs of its firmware.
    fn logs(&mut self, hook: &Manifest) {
        let settings = fs::read_to_string(self.root.at(SYSCONFIG)).unwrap_or_default();
        let chosen = assignments(&settings).into_iter().rev();
        let directory = chosen
            .into_iter()
            .find(|(name, _)| name == "log_firmware_dir");
        let directory = directory.map_or_else(|| LOGS.to_owned(), |(_, directory)| directory);
        let qemu = Account::of_host(self.root.path(), "qemu", (107, 107));
        let owner = if self.root.is_here() {
            ("qemu".to_owned(), "qemu".to_owned())
        } else {
            (qemu.user.to_string(), qemu.group().to_string())
        };
        let shown = self.root.shown(&directory);
        let named = self.named(&directory);
        let (what, remedy) = match fs::metadata(self.root.at(&directory)) {
            Ok(found) if !found.is_dir() => return,
            Ok(found) if found.uid() == qemu.user && found.mode() & 0o300 == 0o300 => return,
            Ok(found) => (
                format!(
                    "{named} belongs to {}:{} and not to qemu",
                    found.uid(),
                    found.gid()
                ),
                vec![
                    format!("chown {}:{} {shown}", owner.0, owner.1),
                    format!("chmod 0700 {shown}"),
                ],
            ),
            Err(_) if self.is_hidden(&directory) => return,
            Err(_) => (
                format!("{named} is missing"),
                vec![format!(
                    "install -d -o {} -g {} -m 0700 {shown}",
                    owner.0, owner.1
                )],
            ),
        };
        let what = format!("{what}: QEMU does not start a VM whose firmware is logged");
        self.warning(&hook.name, what, remedy);
    }

    /// Packages that an update of oVirt Node should have brought back, and has not: it says so in one
    /// line of a log.
    pub(super) fn persisted(&mut self, hooks: &[Manifest], installed: &[&Manifest]) {
        let entries = fs::read_dir(self.root.at(PERSISTED)).into_iter().flatten();
        let mut files: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        files.sort();
        for hook in hooks {
            if installed.iter().any(|one| one.name == hook.name) {
                continue;
            }
            let prefix = format!("{PACKAGE}{}-", hook.name);
            let is_its = |file: &&String| {
                let version = file.strip_prefix(&prefix);
                version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
            };
            let Some(file) = files.iter().rev().find(is_its) else {
                continue;
            };
            let file = format!("{PERSISTED}/{file}");
            let of_vdsm = hook.replaces.as_deref().filter(|_| {
                let mut places = Host::places_of(hook);
                places.any(|place| self.root.at(&place).is_file())
            });
            let (what, words) = match of_vdsm {
                Some(theirs) => (
                    format!("the new image has {theirs} in its place"),
                    vec!["swap", theirs, &file],
                ),
                None => (
                    "its package is not on the new image".to_owned(),
                    vec!["install", &file],
                ),
            };
            let what = format!("an update of oVirt Node has not brought it back: {what}");
            let remedy = vec![self.dnf(&words)];
            self.problem(&hook.name, what, remedy);
        }
    }
}

fn counted(programs: usize) -> String {
    match programs {
        1 => "one program of a hook".to_owned(),
        count => format!("{count} programs of hooks"),
    }
}
