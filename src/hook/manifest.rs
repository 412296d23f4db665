// SPDX-License-Identifier: GPL-2.0-or-later

//! What a hook says about itself: `hooks/<name>/hook.json`.
//!
//! The file is the single source for `--describe`, `--help`, the installer, the packages, the
//! documentation and the administrator's tool. It is parsed when the suite is built (`src/manifest`
//! includes this file) and by the tool; a hook carries finished texts.

use std::fmt::{self, Display, Formatter, Write as _};

use serde::{Deserialize, Serialize};

/// A hook: what it is called, when it runs, what switches it on and what it needs.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Folder, program, and prefix of every message.
    pub name: String,
    /// One sentence of at most 79 characters, a verb first, without a full stop.
    pub summary: String,
    /// VDSM's own package of this hook, with which ours conflicts; none for a hook that VDSM never
    /// had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// For a hook that VDSM no longer ships: since when, and what came instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<Retired>,
    /// Other packages whose hooks do not get along with this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// Another package's hooks that do the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silences: Option<Silenced>,
    /// What has to be installed besides VDSM and what VDSM itself needs: names of packages on EL, or
    /// files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// As [`Manifest::requires`], but not to be had on every EL that VDSM runs on: without them the hook
    /// says what is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recommends: Vec<String>,
    /// Every event that the hook is installed for.
    pub events: Vec<Installation>,
    /// Whether the hook acts on every VM, also on those that have none of its properties.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unasked: bool,
    /// Custom properties and host-wide variables that the hook reads.
    pub properties: Vec<Property>,
    /// Properties of other hooks that this one reads, to refuse contradictions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks_at: Vec<String>,
    /// Host programs that the hook may run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// Exact command lines that the hook runs as root through `sudo -n`, see [`in_sudoers`](crate::host::sudo::in_sudoers). As
    /// there, `*` and `[0-9]` stand for what the hook chooses, unless a backslash is before them,
    /// and `""` for no arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sudo: Vec<String>,
    /// Units of systemd that the hook cannot do without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Programs of the hook's folder that run as root, installed in [`HELPERS`](crate::paths::HELPERS).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub helpers: Vec<String>,
    /// Programs of the hook's folder that units among its files start, installed in [`HOOKS`](crate::paths::HOOKS).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub daemons: Vec<String>,
    /// Files of the hook's folder that the host needs at places of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<HostFile>,
}

/// The last line of every program's help. Its first words tell the suite's programs from others,
/// see `runner::mark`.
const PART_OF: &str = "Part of vdsm-hooks, licence GPL-2.0-or-later.\n";

/// Why VDSM no longer ships a hook.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    /// The last release of VDSM with the hook's package, for example `4.30.53`.
    pub last: String,
    /// What oVirt has instead and since when, in words; or that there is nothing.
    pub superseded_by: String,
}

/// Since when, and what instead.
impl Display for Retired {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (last, instead) = (&self.last, &self.superseded_by);
        write!(f, "Not in VDSM after {last}; instead: {instead}")
    }
}

/// Hooks of a package that does more than they do, and so stays installed. While ours is there, they
/// are not executable, and VDSM passes over them.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Silenced {
    /// The package's name on EL.
    pub package: String,
    /// Their places as [`Manifest::place`] has them: `event/file`.
    pub places: Vec<String>,
}

impl Silenced {
    /// The mode that the package gives them.
    pub const MODE: u32 = 0o555;
}

/// What a hook is to VDSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Today's VDSM ships a hook of this name.
    Current,
    /// An older VDSM did.
    Retired,
    /// VDSM never had it.
    New,
}

/// A file that a hook puts on the host besides its program.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HostFile {
    /// The file in the hook's folder.
    pub source: String,
    /// Where it goes, an absolute path.
    pub path: String,
    /// Its mode in octal, for example `0644`; the owner is root.
    pub mode: String,
}

/// One event that a hook is installed for.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Installation {
    /// VDSM's name of the event, the name of the directory.
    pub event: String,
    /// Place among the hooks of the event, 0 to 99; VDSM runs them in name order. None for a file
    /// without a number, which runs after those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<u8>,
    /// The file name there, if it is not made of [`Installation::order`] and the hook's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What the hook does there.
    pub effect: String,
    /// Whether it acts there on more than the document: on the VM's disks, on files, networks or services
    /// of the host. A dry run leaves it out unless it is told not to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acts: bool,
}

/// One custom property or setting that a hook reads.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Property {
    /// The variable, or the key.
    pub name: String,
    /// Who sets it.
    pub scope: Scope,
    /// What a value may be, in words.
    pub syntax: String,
    /// The regular expression to give to engine-config; none for settings of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// A value that works.
    pub example: String,
    /// Values that have no effect but a message, and that the regular expression keeps out of the
    /// engine already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<String>,
    /// Values that the regular expression lets pass and only the hook refuses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// Where a property is defined in the engine, or that it belongs to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// A custom property of the VM.
    Vm,
    /// A custom property of a vNIC profile.
    Interface,
    /// A custom property of a disk.
    Disk,
    /// A custom property of a network.
    Network,
    /// What the engine sets for a vNIC without being asked.
    Engine,
    /// A variable of VDSM's environment, set for the whole host in `/etc/sysconfig/vdsm`.
    Host,
    /// A key in the section `[vars]` of VDSM's own configuration. No environment variable.
    #[serde(rename = "vdsm.conf")]
    VdsmConf,
}

impl Scope {
    /// The word for it in `hook.json`.
    pub fn keyword(self) -> &'static str {
        match self {
            Scope::Vm => "vm",
            Scope::Interface => "interface",
            Scope::Disk => "disk",
            Scope::Network => "network",
            Scope::Engine => "engine",
            Scope::Host => "host",
            Scope::VdsmConf => "vdsm.conf",
        }
    }
}

impl Display for Scope {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Scope::Vm => "VM custom property",
            Scope::Interface => "vNIC profile custom property",
            Scope::Disk => "disk custom property",
            Scope::Network => "network custom property",
            Scope::Engine => "set by the engine for a vNIC",
            Scope::Host => "host default in /etc/sysconfig/vdsm",
            Scope::VdsmConf => "key in section [vars] of vdsm.conf",
        })
    }
}

/// So wide is a terminal that nobody has made wider.
const COLUMNS: usize = 80;

/// The words in lines, the first one behind `first`, the others behind `others`. A word that is longer
/// than a line stands alone.
fn filled(words: &str, first: &str, others: &str) -> String {
    let mut text = String::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        let width = line.chars().count() + usize::from(!is_empty) + word.chars().count();
        if !is_empty && width > COLUMNS {
            text += &line;
            text.push('\n');
            line = others.to_owned();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    text + &line + "\n"
}

/// What is typed as it is: alone in its line if it does not fit behind its title.
fn typed(title: &str, value: &str) -> String {
    if title.chars().count() + value.chars().count() <= COLUMNS {
        return format!("{title}{value}\n");
    }
    let indent = " ".repeat(title.len() - title.trim_start().len());
    format!("{}\n{indent}    {value}\n", title.trim_end())
}

impl Manifest {
    /// Reads the text of a `hook.json`.
    ///
    /// # Errors
    /// The text is not JSON, or lacks or misspells a member.
    pub fn parse(text: &str) -> serde_json::Result<Manifest> {
        serde_json::from_str(text)
    }

    /// What the hook is to VDSM.
    pub fn group(&self) -> Group {
        match (&self.retired, &self.replaces) {
            (Some(_), _) => Group::Retired,
            (None, Some(_)) => Group::Current,
            (None, None) => Group::New,
        }
    }

    /// The file name that VDSM runs at `event`, for example `50_cpuflags`.
    pub fn installed_as(&self, event: &Installation) -> String {
        match (&event.file, event.order) {
            (Some(file), _) => file.clone(),
            (None, Some(order)) => format!("{order:02}_{}", self.name),
            (None, None) => self.name.clone(),
        }
    }

    /// Where that is below VDSM's directory of hooks: `event/NN_name`.
    pub fn place(&self, event: &Installation) -> String {
        format!("{}/{}", event.event, self.installed_as(event))
    }

    /// The text of `--help`, at most 80 columns wide.
    pub fn help(&self) -> String {
        let name = &self.name;
        let mut text = filled(&format!("{name}: {}", self.summary), "", "    ");
        let tried = format!(
            "VDSM runs this program by itself, without arguments. To try it on a domain XML file use \
             the tool: 'vdsm-hooks show {name}' prints the command line."
        );
        text += &format!("\n{}", filled(&tried, "", ""));
        text += "\nEvents:\n";
        for event in &self.events {
            let _ = writeln!(text, "    {}", self.place(event));
            text += &filled(&event.effect, "        ", "        ");
        }
        text += if self.properties.is_empty() {
            "\nIt has no property: it acts on every VM of the host.\n"
        } else {
            "\nProperties:\n"
        };
        for property in &self.properties {
            let _ = writeln!(text, "    {} ({})", property.name, property.scope);
            text += &filled(&property.syntax, "        ", "        ");
            text += &typed("        example: ", &property.example);
        }
        if !self.looks_at.is_empty() {
            let others = self.looks_at.join(", ");
            let others = format!("Refuses what contradicts these properties: {others}");
            text += &format!("\n{}", filled(&others, "", "    "));
        }
        for (title, lines) in [("Runs:", &self.commands), ("Runs as root:", &self.sudo)] {
            if !lines.is_empty() {
                let _ = writeln!(text, "\n{title}");
            }
            for line in lines {
                text += &filled(line, "    ", "        ");
            }
        }
        text += "\nOptions: --help, --version, --describe (this description as JSON).\n\
                 Environment: VDSM_HOOK_LOG=debug says more; VDSM_HOOK_EVENT=EVENT forces the\n\
                 event.\n";
        text + PART_OF
    }

    /// The text of `--help` of a daemon.
    pub fn help_of_daemon(&self, daemon: &str) -> String {
        let hook = &self.name;
        format!(
            "{daemon}: the daemon of the hook {hook}\n\n\
             systemd runs it. It takes no arguments.\n\n\
             Options: --help, --version, --describe (the hook's description as JSON).\n{PART_OF}"
        )
    }

    /// The text of `--help` of a root helper.
    pub fn help_of_helper(&self, helper: &str) -> String {
        let hook = &self.name;
        format!(
            "{helper}: what the hook {hook} does as root\n\n\
             The hook runs it by itself; sudo lets VDSM's user do so.\n\n\
             Options: --help, --version, --describe (the hook's description as JSON).\n{PART_OF}"
        )
    }
}
