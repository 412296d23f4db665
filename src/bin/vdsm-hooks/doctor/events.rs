// SPDX-License-Identifier: GPL-2.0-or-later

//! Everything that VDSM runs at its events, whosoever it is: whether VDSM can run it, who can change
//! it, and whether it was meant to run.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use vdsm_hooks::finding::Severity;
use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::host::account::{Account, EXECUTE, READ};
use vdsm_hooks::paths::HOOKS;
use vdsm_hooks::runner::installed::{self, Entry, Obstacle, Origin};
use vdsm_hooks::vdsm::events::{self, EVENTS, Event, Failure};
use vdsm_hooks::{Context as _, Result};

use super::Host;
use super::remedies::{is_plain, program_of};
use crate::names::nearest;

/// Files of other packages that do the job of a hook and are not called like it.
const OTHER_FILES: &[(&str, &str)] = &[("ovirt_provider_ovn_hook", "ovn")];

/// A file at an event.
struct Seen<'e> {
    event: &'static Event,
    entry: &'e Entry,
    /// `event/file`, for messages.
    place: String,
    /// Its path on the host.
    path: String,
    account: Account,
}

impl<'a> Host<'a> {
    pub(super) fn events(&mut self, installed: &[&'a Manifest]) -> Result {
        let hooks_dir = self.root.at(HOOKS);
        let mut directories: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(&hooks_dir).into_iter().flatten() {
            directories.push(entry.context(hooks_dir.display())?.path());
        }
        directories.sort();
        directories.retain(|path| path.is_dir());
        if !directories.is_empty() {
            self.way();
        }
        let mut others: Vec<(&str, Option<&str>)> = Vec::new();
        for path in &directories {
            let name = path.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            let Some(event) = events::find(&name) else {
                self.unknown_event(&name, &installed::entries(path)?);
                continue;
            };
            let account = self.users.of_event(event).clone();
            let entries = installed::entries_of(path, &self.root, &account)?;
            if self.is_closed(event, &entries, &account) {
                continue;
            }
            for entry in entries.iter().filter(|entry| !entry.name.starts_with('.')) {
                let place = format!("{name}/{}", entry.name);
                let seen = Seen {
                    event,
                    entry,
                    path: format!("{HOOKS}/{place}"),
                    place,
                    account: account.clone(),
                };
                let other = self.entry(&seen, installed);
                others.extend(other.map(|hook| (hook.name.as_str(), hook.replaces.as_deref())));
            }
        }
        others.sort_unstable();
        others.dedup();
        self.offer(&others);
        Ok(())
    }

    /// Which of VDSM's hooks here have one in the suite.
    fn offer(&mut self, others: &[(&str, Option<&str>)]) {
        let names: Vec<&str> = others.iter().map(|(name, _)| *name).collect();
        let what = match names.as_slice() {
            [] => return,
            [name] => format!("one hook of VDSM here has one in this suite: {name}"),
            names => format!(
                "{} hooks of VDSM here have one in this suite: {}",
                names.len(),
                names.join(", ")
            ),
        };
        let commands = self.swap(others);
        self.note(what, &commands);
    }

    /// The directories above those of the events.
    fn way(&mut self) {
        let place = self.root.at(&format!("{HOOKS}/x"));
        if let Some(barred) = self.users.vdsm.barred(self.root.path(), &place) {
            let below = barred.strip_prefix(self.root.path()).unwrap_or(&barred);
            let path = format!("/{}", below.display());
            let what = format!(
                "user vdsm cannot go through {}, so that VDSM runs no hook at all",
                self.named(&path)
            );
            let remedy = vec![self.chmod("0755", &path)];
            self.problem("hooks", what, remedy);
        }
        self.safe("hooks", HOOKS, None);
    }

    /// Whether the directory of an event is closed to the user that looks into it; then what is in it
    /// does not matter.
    fn is_closed(&mut self, event: &Event, entries: &[Entry], account: &Account) -> bool {
        let path = format!("{HOOKS}/{}", event.name);
        self.safe(event.name, &path, Some(event));
        let place = self.root.at(&path);
        let can_look = fs::metadata(&place).is_ok_and(|found| account.may(&found, READ | EXECUTE));
        if can_look {
            return account.barred(self.root.path(), &place).is_some();
        }
        let is_program = |entry: &&Entry| {
            let found = fs::metadata(&entry.path);
            found.is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
        };
        let hooks = match entries.iter().filter(is_program).count() {
            0 => return true,
            1 => "the hook".to_owned(),
            count => format!("the {count} hooks"),
        };
        let what = format!(
            "user vdsm cannot look into {}, so that VDSM skips {hooks} there without a message",
            self.named(&path)
        );
        let remedy = vec![self.chmod("0755", &path)];
        self.problem(event.name, what, remedy);
        true
    }

    /// Nothing there ever runs.
    fn unknown_event(&mut self, name: &str, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| entry.skipped.is_none()) {
            let place = format!("{name}/{}", entry.name);
            let mut what = "VDSM has no such event, so it never runs this".to_owned();
            let mut remedy = Vec::new();
            if let Some(event) = nearest(name, EVENTS.iter().map(|event| event.name)) {
                what += &format!("; is it for {event}?");
                let from = self.root.shown(&format!("{HOOKS}/{place}"));
                let to = self.root.shown(&format!("{HOOKS}/{event}/"));
                remedy.push(format!("mv -n {from} {to}"));
            }
            self.warning(&place, what, remedy);
        }
    }

    /// One file. What it gives back is the hook of the suite that could be in its place.
    fn entry(&mut self, seen: &Seen<'_>, installed: &[&'a Manifest]) -> Option<&'a Manifest> {
        let name = &seen.entry.name;
        let origin = self.origins.of(&seen.entry.path);
        let place = self.places.get(&seen.place).copied();
        if place.is_some() && origin == Some(Origin::Ours) {
            return None;
        }
        let is_installed = |hook: &Manifest| installed.iter().any(|one| one.name == hook.name);
        if origin.is_none() && place.is_some_and(is_installed) {
            // Said of the hook.
            return None;
        }
        let is_at = |hook: &Manifest| hook.events.iter().any(|one| one.event == seen.event.name);
        let mut twins = installed
            .iter()
            .filter(|hook| place.is_none() && is_at(hook));
        let twin = twins.find(|hook| same_job(name, &hook.name));
        if let Some(why) = seen.entry.skipped {
            self.skipped(seen, why, twin.map(|hook| hook.name.as_str()));
            return None;
        }
        if let Some(why) = installed::by_accident(name) {
            let what = format!("VDSM runs it, and it was probably not meant to run: {why}");
            let remedy = vec![self.chmod("a-x", &seen.path)];
            self.problem(&seen.place, what, remedy);
            return None;
        }
        if let Some(hook) = twin {
            let what = format!(
                "VDSM runs it besides the suite's {}: two hooks for one job",
                hook.name
            );
            let remedy = vec![self.chmod("a-x", &seen.path)];
            self.problem(&seen.place, what, remedy);
            return None;
        }
        self.hindered(seen);
        self.safe(&seen.place, &seen.path, Some(seen.event));
        // What is in the place of an installed hook was said of that one.
        place.filter(|hook| origin == Some(Origin::Script) && !is_installed(hook))
    }

    /// A file that VDSM does not run.
    fn skipped(&mut self, seen: &Seen<'_>, why: &str, twin: Option<&str>) {
        let path = &seen.entry.path;
        let mut remedy = Vec::new();
        match (fs::metadata(path), twin) {
            (Err(_), _) => remedy.push(format!("rm {}", self.root.shown(&seen.path))),
            // No file is no hook.
            (Ok(file), _) if !file.is_file() => return,
            (Ok(_), Some(hook)) => {
                let what = format!(
                    "{} is not executable: the suite's {hook} is in its place, and 'rpm -V' of the \
                     package that has it shows .M. for it",
                    self.named(&seen.path)
                );
                return self.note(what, &[]);
            }
            (Ok(_), None) if !installed::is_meant_to_run(seen.entry) => return,
            (Ok(file), None) if !seen.account.may(&file, EXECUTE) => {
                remedy.push(self.chmod("0755", &seen.path));
            }
            (Ok(_), None) => {
                // A link, and the way to what it leads to.
                let real = fs::canonicalize(path).unwrap_or_default();
                let barred = seen.account.barred(self.root.path(), &real);
                let below = barred.as_ref().and_then(|closed| {
                    let below = closed.strip_prefix(self.root.path()).ok()?;
                    below.to_str()
                });
                remedy.extend(below.map(|closed| self.chmod("a+rx", closed)));
            }
        }
        let what = format!("VDSM skips it without a message: {why}");
        self.warning(&seen.place, what, remedy);
    }

    /// Whether VDSM can run a file that it tries to run.
    fn hindered(&mut self, seen: &Seen<'_>) {
        let obstacle = installed::obstacle(&self.root, &seen.entry.path, &seen.account);
        let Some(obstacle) = obstacle else {
            return;
        };
        let cure = self.cure(seen, &obstacle);
        if obstacle == Obstacle::NoInterpreter {
            return self.warning(&seen.place, obstacle.to_string(), cure);
        }
        let follows = match seen.event.failure {
            Failure::Aborts => "every call fails and stops the operation",
            Failure::Logged => "every call fails, which VDSM only logs",
            Failure::CannotStart => "VDSM cannot run it",
        };
        let what = format!("{obstacle}: {follows}");
        self.problem(&seen.place, what, cure);
    }

    fn cure(&self, seen: &Seen<'_>, obstacle: &Obstacle) -> Vec<String> {
        let path = &seen.path;
        match obstacle {
            Obstacle::CarriageReturn => vec![self.sed(r"s/\r$//", path)],
            Obstacle::Unreadable => vec![self.chmod("a+r", path)],
            Obstacle::Loader(loader) => self.packages(Some(loader.as_str()), None),
            Obstacle::Interpreter(wanted) => self.interpreter(wanted, path),
            Obstacle::NotFound(wanted) => self.looked_for(wanted, path),
            Obstacle::NoInterpreter => {
                let size = fs::metadata(&seen.entry.path).map_or(0, |found| found.len());
                if size == 0 {
                    return vec![format!("rm {}", self.root.shown(path))];
                }
                let interpreter = match seen.entry.name.rsplit_once('.') {
                    Some((_, "py")) => "/usr/bin/python3",
                    Some((_, "pl")) => "/usr/bin/perl",
                    // As now, but said.
                    _ => "/bin/sh",
                };
                vec![self.sed(&format!("1i #!{interpreter}"), path)]
            }
        }
    }

    /// For a script whose interpreter is not there, or not for its user.
    fn interpreter(&self, wanted: &str, path: &str) -> Vec<String> {
        if !is_plain(wanted) || !wanted.starts_with('/') {
            return Vec::new();
        }
        if self
            .root
            .resolve(wanted)
            .is_some_and(|place| place.is_file())
        {
            return vec![self.chmod("0755", wanted)];
        }
        let name = wanted.rsplit('/').next().unwrap_or(wanted);
        match program_of(&self.root, name).or_else(|| self.successor(name)) {
            Some(there) => vec![self.sed(&format!("1s|{wanted}|{there}|"), path)],
            None => self.packages(Some(wanted), None),
        }
    }

    /// For a script whose interpreter `env` does not find.
    fn looked_for(&self, wanted: &str, path: &str) -> Vec<String> {
        if let Some((name, _)) = wanted.split_once(' ') {
            // The kernel hands on one word, and env splits it only if it is told to.
            let is_there = program_of(&self.root, name).is_some();
            let split = self.sed("1s|env  *|env -S |", path);
            return is_there.then_some(split).into_iter().collect();
        }
        if !is_plain(wanted) {
            return Vec::new();
        }
        match self.successor(wanted) {
            Some(there) => {
                vec![self.sed(&format!("1s|env  *{wanted}|env {}|", name_of(&there)), path)]
            }
            None => self.packages(Some(&format!("/usr/bin/{wanted}")), None),
        }
    }

    /// What came after a program that EL has no more.
    fn successor(&self, name: &str) -> Option<String> {
        let next = (name == "python").then_some("python3")?;
        program_of(&self.root, next)
    }

    /// Only root changes what VDSM runs, and where it looks for that.
    fn safe(&mut self, subject: &str, path: &str, event: Option<&Event>) {
        let Ok(file) = fs::metadata(self.root.at(path)) else {
            return;
        };
        let mode = file.mode() & 0o7777;
        let is_others = file.uid() != self.owner.0;
        let is_open = mode & 0o002 != 0 || (mode & 0o020 != 0 && file.gid() != self.owner.1);
        if !is_others && !is_open {
            return;
        }
        let user = match event {
            Some(event) => self.users.of_event(event).name.clone(),
            None => "root and vdsm".to_owned(),
        };
        // What user vdsm runs he could also do without this file.
        let is_his_own = !is_open && user == "vdsm" && file.uid() == self.users.vdsm.user;
        let severity = if is_his_own {
            Severity::Warning
        } else {
            Severity::Problem
        };
        let object = if file.is_dir() { "what is in " } else { "" };
        let what = format!(
            "others than root can change {object}{}, which VDSM runs as {user}: it belongs to {}:{} \
             and has the mode {mode:04o}",
            self.named(path),
            file.uid(),
            file.gid()
        );
        let mut remedy = Vec::new();
        if is_others {
            remedy.push(self.chown(path));
        }
        if is_open {
            remedy.push(self.chmod("go-w", path));
        }
        self.add(severity, subject, what, remedy);
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether a file is by its name for the job of a hook: `60_macspoof.py` is for macspoof's, and
/// `50_qemu_cmdline` for qemucmdline's.
fn same_job(file: &str, hook: &str) -> bool {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let stem = installed::without_number(file);
    let stem = stem.split_once('.').map_or(stem, |(stem, _)| stem);
    plain(stem) == plain(hook) || OTHER_FILES.contains(&(stem, hook))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_told_by_name() {
        for file in ["50_macspoof", "macspoof", "60_macspoof.py", "99_Mac-Spoof"] {
            assert!(same_job(file, "macspoof"), "{file}");
        }
        assert!(same_job("50_qemu_cmdline", "qemucmdline"));
        for file in ["10_ovirt_provider_ovn_hook", "ovirt_provider_ovn_hook"] {
            assert!(same_job(file, "ovn") && !same_job(file, "ovs"), "{file}");
        }
        for file in ["50_macspoof2", "50_macspoof_site", "macbind"] {
            assert!(!same_job(file, "macspoof"), "{file}");
        }
    }
}
