// SPDX-License-Identifier: GPL-2.0-or-later

//! What the unit of VDSM's daemon forbids: hooks are its children. As VDSM installs it, nothing
//! (VDSM fd4b0df20, vdsmd.service.in), but drop-ins may.

use std::collections::BTreeMap;
use std::fs;

use vdsm_hooks::finding::Severity;
use vdsm_hooks::hook::manifest::Manifest;

use super::Host;

const UNIT: &str = "vdsmd.service";
/// Where systemd looks for units, what is in an earlier one counts (systemd.unit(5), 252).
const DIRECTORIES: [&str; 3] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
];
/// Settings that hooks meet (systemd.exec(5), 252), and how.
const SETTINGS: [(&str, &str); 4] = [
    ("NoNewPrivileges", "sudo cannot work"),
    ("PrivateTmp", "hooks have another /tmp than the host"),
    (
        "ProtectHome",
        "hooks do not find the host's home directories",
    ),
    ("ProtectSystem", "hooks cannot change the host's files"),
];

impl Host<'_> {
    /// What is forbidden to the hooks that are installed.
    pub(super) fn unit_forbids(&mut self, hooks: &[&Manifest]) {
        if hooks.is_empty() {
            return;
        }
        let as_root = hooks.iter().filter(|hook| !hook.sudo.is_empty());
        let as_root: Vec<&str> = as_root.map(|hook| hook.name.as_str()).collect();
        let settings = self.unit_settings();
        for (name, meaning) in SETTINGS {
            let Some((value, file)) = settings.get(name) else {
                continue;
            };
            let mut what = format!("{} has {name}={value}: {meaning}", self.named(file));
            let mut severity = Severity::Warning;
            if name == SETTINGS[0].0 {
                if as_root.is_empty() {
                    continue;
                }
                severity = Severity::Problem;
                what += &format!(", and with it not {}", as_root.join(", "));
            }
            let mut remedy = vec![self.sed(&format!("/^ *{name} *=/d"), file)];
            if self.root.is_here() {
                remedy.push("systemctl daemon-reload".to_owned());
                remedy.push(format!("systemctl restart {UNIT}"));
            }
            self.add(severity, UNIT, what, remedy);
        }
    }

    /// The settings that forbid something: value, and path of the file that has it.
    fn unit_settings(&self) -> BTreeMap<&'static str, (String, String)> {
        let mut settings = BTreeMap::new();
        for path in self.unit_files() {
            let text = fs::read_to_string(self.root.at(&path)).unwrap_or_default();
            let assigned = text.lines().filter_map(|line| line.split_once('='));
            for (name, value) in assigned {
                let Some((name, _)) = SETTINGS.iter().find(|(known, _)| *known == name.trim())
                else {
                    continue;
                };
                let value = value.trim();
                let is_off = ["", "0", "no", "n", "false", "f", "off"];
                if is_off.contains(&value.to_ascii_lowercase().as_str()) {
                    settings.remove(name);
                } else {
                    settings.insert(*name, (value.to_owned(), path.clone()));
                }
            }
        }
        settings
    }

    /// The unit and its drop-ins, a later one counts.
    fn unit_files(&self) -> Vec<String> {
        let mut units = DIRECTORIES
            .map(|directory| format!("{directory}/{UNIT}"))
            .into_iter();
        let unit = units.find(|path| self.root.at(path).is_file());
        let mut drop_ins: BTreeMap<String, String> = BTreeMap::new();
        for directory in DIRECTORIES {
            let directory = format!("{directory}/{UNIT}.d");
            for entry in fs::read_dir(self.root.at(&directory))
                .into_iter()
                .flatten()
                .flatten()
            {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.ends_with(".conf") {
                    let path = format!("{directory}/{name}");
                    drop_ins.entry(name).or_insert(path);
                }
            }
        }
        unit.into_iter().chain(drop_ins.into_values()).collect()
    }
}
