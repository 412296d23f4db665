// SPDX-License-Identifier: GPL-2.0-or-later

//! What belongs to the suite's hooks: programs, helpers, rules and files, each in its place, as it
//! was installed; and the programs of the host that they run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::host::executable::{Executable, Program};
use vdsm_hooks::host::sudo::in_sudoers;
use vdsm_hooks::host::{allowlist, command};
use vdsm_hooks::paths::{HELPERS, HOOKS};
use vdsm_hooks::runner::installed::Origin;
use vdsm_hooks::runner::mark;

use super::{Host, packages, remedies};

/// A program that says its version answers at once, or something is wrong with the host.
const TIMEOUT: Duration = Duration::from_secs(10);
const SUDOERS: &str = "etc/sudoers.d/50_vdsm_hooks_";
/// Hooks and their files, of installations without a package manager.
const SPREAD: &str = "var/lib/vdsm-hooks/files";
const PAGES: &str = "usr/share/man/man8/vdsm-hook-";

impl Host<'_> {
    /// Whether a hook is installed, or was so and has lost its program.
    pub(super) fn has(&mut self, hook: &Manifest) -> bool {
        let places: Vec<String> = Host::places_of(hook).collect();
        places.iter().any(|path| self.is_ours(path)) || self.had(hook)
    }

    /// Whether something of the hook is here that comes with its program only.
    fn had(&self, hook: &Manifest) -> bool {
        let name = &hook.name;
        let files = [format!("{PAGES}{name}.8"), format!("{PAGES}{name}.8.gz")];
        let spread = fs::read_to_string(self.root.at(SPREAD)).unwrap_or_default();
        let rules = self.root.at(&format!("{SUDOERS}{name}"));
        files.iter().any(|file| self.root.at(file).is_file())
            || (rules.is_file() && !was_changed(&rules))
            || spread
                .lines()
                .any(|line| line.split('\t').next() == Some(name))
    }

    /// What 'uninstall' has left of a hook, since somebody had changed it.
    pub(super) fn left(&mut self, hook: &Manifest) {
        let path = format!("{SUDOERS}{}", hook.name);
        if was_changed(&self.root.at(&path)) {
            let what = format!(
                "{} lets user vdsm do what only this hook needs, which is not here",
                self.named(&path)
            );
            let remedy = self.removed(&path);
            self.warning(&hook.name, what, remedy);
        }
    }

    /// The hook's program at each of its events.
    pub(super) fn programs(&mut self, hook: &Manifest) {
        let (mut missing, mut taken) = (Vec::new(), Vec::new());
        let mut replace = false;
        let mut seen = BTreeSet::new();
        let mut remedy: Vec<String> = Vec::new();
        for path in Host::places_of(hook) {
            if self.is_hidden(&path) {
                continue;
            }
            let place = self.root.at(&path);
            for command in self.make_way(&path) {
                if !remedy.contains(&command) {
                    remedy.push(command);
                }
            }
            match self.origins.of(&place) {
                Some(Origin::Ours) => {
                    let found = fs::metadata(&place);
                    if found.is_ok_and(|found| seen.insert((found.dev(), found.ino()))) {
                        self.owner_and_mode(&path, 0o755, &hook.name);
                    }
                }
                None if !place.is_dir() => {
                    // A link to nothing is in the way.
                    replace |= place.is_symlink();
                    missing.push(self.named(&path));
                }
                None => taken.push(format!("{} is a directory", self.named(&path))),
                Some(origin) => {
                    taken.push(format!(
                        "{} is not the suite's: {origin}",
                        self.named(&path)
                    ));
                }
            }
        }
        let mut parts = Vec::new();
        if !missing.is_empty() {
            let verb = if missing.len() == 1 { "is" } else { "are" };
            parts.push(format!("{} {verb} missing", missing.join(", ")));
        }
        replace |= !taken.is_empty();
        parts.append(&mut taken);
        if !parts.is_empty() {
            remedy.extend(self.again(&hook.name, replace));
            self.problem(&hook.name, parts.join("; "), remedy);
        }
    }

    /// What is run by root or decides about root belongs to root, and nobody else writes to it.
    fn owner_and_mode(&mut self, path: &str, mode: u32, subject: &str) {
        let Ok(file) = fs::metadata(self.root.at(path)) else {
            if self.is_hidden(path) {
                return;
            }
            let again = self.again(subject, false);
            let what = format!("{} is missing", self.named(path));
            return self.problem(subject, what, again);
        };
        let (mut wrong, mut remedy) = (Vec::new(), Vec::new());
        if (file.uid(), file.gid()) != self.owner {
            wrong.push(format!("belongs to {}:{}", file.uid(), file.gid()));
            remedy.push(self.chown(path));
        }
        let found = file.permissions().mode() & 0o7777;
        if found != mode {
            wrong.push(format!("has the mode {found:04o}, not {mode:04o}"));
            remedy.push(self.chmod(&format!("{mode:04o}"), path));
        }
        if !wrong.is_empty() {
            let what = format!("{} {}", self.named(path), wrong.join(" and "));
            self.problem(subject, what, remedy);
        }
    }

    pub(super) fn helpers(&mut self, hook: &Manifest) {
        if !hook.helpers.is_empty() {
            self.safe_way(&format!("{HELPERS}/{}", hook.helpers[0]), "root");
        }
        for helper in &hook.helpers {
            self.owner_and_mode(&format!("{HELPERS}/{helper}"), 0o755, &hook.name);
        }
        for daemon in &hook.daemons {
            self.owner_and_mode(&format!("{HOOKS}/{daemon}"), 0o755, &hook.name);
        }
    }

    /// The hook's sudo rules, in its file.
    pub(super) fn rules(&mut self, hook: &Manifest) {
        if hook.sudo.is_empty() {
            return;
        }
        let path = format!("{SUDOERS}{}", hook.name);
        self.owner_and_mode(&path, 0o440, &hook.name);
        let Ok(text) = fs::read_to_string(self.root.at(&path)) else {
            self.is_hidden(&path);
            return;
        };
        let lacks = |command: &&String| {
            let rule = format!("vdsm ALL=(root) NOPASSWD: {}", in_sudoers(command));
            !text.lines().any(|line| line == rule)
        };
        let missing: Vec<&str> = hook.sudo.iter().filter(lacks).map(String::as_str).collect();
        if !missing.is_empty() {
            let (path, missing) = (self.named(&path), missing.join("', '"));
            let what = format!("{path} lacks the rule for '{missing}'");
            let again = self.again(&hook.name, true);
            self.problem(&hook.name, what, again);
        }
    }

    pub(super) fn files(&mut self, hook: &Manifest) {
        for file in &hook.files {
            let mode = u32::from_str_radix(&file.mode, 8).unwrap_or(0o644);
            self.owner_and_mode(&file.path, mode, &hook.name);
        }
    }

    /// Whether the programs are of one release with this tool, and whether they run.
    pub(super) fn versions(&mut self, hooks: &[&Manifest]) {
        let own = env!("CARGO_PKG_VERSION");
        // Of those that load the same libraries, one is tried: all of a build run, or none.
        let mut tried = BTreeSet::new();
        for hook in hooks {
            let Some(path) = Host::places_of(hook).find(|path| self.is_ours(path)) else {
                continue;
            };
            let Ok(Executable::Program(program)) = Executable::open(&self.root.at(&path)) else {
                continue;
            };
            match described(&program) {
                Some((name, _)) if name != hook.name => {
                    let what = format!("{} is the program of {name}", self.named(&path));
                    let again = self.again(&hook.name, false);
                    self.problem(&hook.name, what, again);
                }
                Some((_, version)) if version != own => {
                    let what = format!("its version is {version:?}, that of this tool is {own:?}");
                    let again = self.again(&hook.name, false);
                    self.warning(&hook.name, what, again);
                }
                _ => {}
            }
            let is_safe = fs::metadata(&path).is_ok_and(|found| {
                // What somebody else can change is not for root to try.
                found.uid() == self.owner.0 && found.mode() & 0o022 == 0
            });
            if !self.root.is_here() || !is_safe || !tried.insert(program.libraries()) {
                continue;
            }
            let ended = command::run(&path, &["--version"], TIMEOUT);
            if let Err(error) = ended.and_then(command::Output::checked) {
                let again = self.again(&hook.name, false);
                self.problem(&hook.name, format!("it does not run: {error}"), again);
            }
        }
    }

    /// The programs of the host that hooks run: one finding for each that is missing.
    pub(super) fn commands(&mut self, hooks: &[&Manifest]) {
        let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for hook in hooks {
            for program in &hook.commands {
                wanted.entry(program).or_default().push(&hook.name);
            }
        }
        for (program, names) in wanted {
            if remedies::program_of(&self.root, program).is_some() {
                continue;
            }
            let verb = if names.len() == 1 { "runs" } else { "run" };
            let mut what = format!("not on this host, and {} {verb} it", names.join(", "));
            let packaged = packages::of(program);
            let of_debian = packaged.and_then(|one| one.of_debian);
            if self.is_debian() && of_debian.is_none() {
                what += "; Debian has no package of it";
            }
            let remedy = self.packages(packaged.map(|one| one.of_el), of_debian);
            self.warning(program, what, remedy);
        }
    }

    /// What an administrator allows custom properties to name.
    pub(super) fn settings(&mut self) {
        self.is_hidden(allowlist::DIRECTORY);
        let entries = fs::read_dir(self.root.at(allowlist::DIRECTORY));
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let path = format!("{}/{}", allowlist::DIRECTORY, name.to_string_lossy());
            let Ok(file) = fs::metadata(entry.path()) else {
                continue;
            };
            let mode = file.permissions().mode();
            if file.uid() != self.owner.0 || mode & 0o022 != 0 {
                let what = format!("{} can be changed by others than root", self.named(&path));
                let remedy = vec![self.chown(&path), self.chmod("0644", &path)];
                self.problem("settings", what, remedy);
            }
        }
    }
}

/// Whether a file of ours is no longer as it was installed.
fn was_changed(file: &Path) -> bool {
    let text = fs::read(file).unwrap_or_default();
    mark::was_sealed(&text) && !mark::is_unchanged(&text)
}

/// The hook whose program a file is, if it is one of the suite.
pub(super) fn name_of(path: &Path) -> Option<String> {
    match Executable::open(path).ok()? {
        Executable::Program(program) => described(&program).map(|(name, _)| name),
        _ => None,
    }
}

/// Name and version in the description of itself that a program carries, its hook's `hook.json`: two
/// members of the outermost object.
fn described(program: &Program) -> Option<(String, String)> {
    let constants = program.constants().ok()?;
    let member = |start: &str| {
        let from = mark::find(&constants, start.as_bytes())? + start.len();
        let value = constants[from..].split(|byte| *byte == b'"').next()?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    Some((member("\n  \"name\": \"")?, member("\n  \"version\": \"")?))
}
