// SPDX-License-Identifier: GPL-2.0-or-later

//! Everything that VDSM runs at its events, whosoever it is: whether VDSM can run it, who can change
//! it, and whether it was meant to run.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use vdsm_hooks::finding::Severity;
use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::host::account::{Account, EXECUTE, READ, directories};
use vdsm_hooks::paths::HOOKS;
use vdsm_hooks::runner::installed::{self, Entry, Obstacle, Origin};
use vdsm_hooks::vdsm::events::{self, EVENTS, Event, Failure};
use vdsm_hooks::{Context as _, Result};

use super::remedies::{is_plain, program_of};
use super::{Host, programs};
use crate::names::nearest;

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
        self.is_hidden(HOOKS);
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
            if self.is_hidden(&format!("{HOOKS}/{name}")) {
                continue;
            }
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
        for hook in installed {
            self.silenced(hook);
        }
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
        let hook = format!("{HOOKS}/x");
        let way = directories(self.root.path(), &self.root.at(&hook));
        let is_closed = |at: &&PathBuf| {
            fs::metadata(at).is_ok_and(|found| !self.users.vdsm.may(&found, EXECUTE))
        };
        let closed = way.iter().filter(is_closed);
        let closed: Vec<String> = closed.filter_map(|at| self.below(at)).collect();
        if !closed.is_empty() {
            let names: Vec<String> = closed.iter().map(|path| self.named(path)).collect();
            let what = format!(
                "user vdsm cannot go through {}, so that VDSM runs no hook at all",
                names.join(", ")
            );
            let remedy = closed.iter().map(|path| self.chmod("0755", path));
            let remedy = remedy.collect();
            self.problem("hooks", what, remedy);
        }
        self.safe_way(&hook, "root and vdsm");
    }

    /// A path of this machine as the host has it.
    pub(super) fn below(&self, place: &Path) -> Option<String> {
        let below = place.strip_prefix(self.root.path()).ok()?;
        Some(format!("/{}", below.to_str()?))
    }

    /// Only root changes the directories on the way to what is run as `user`: whoever can, puts
    /// another file in its place.
    pub(super) fn safe_way(&mut self, path: &str, user: &str) {
        let place = self.root.at(path);
        for at in directories(self.root.path(), &place) {
            let below = self.below(&at);
            if let Some(below) = below.filter(|_| self.judged.insert(at)) {
                self.safe("hooks", &below, user);
            }
        }
    }

    /// Whether the directory of an event is closed to the user that looks into it; then what is in it
    /// does not matter.
    fn is_closed(&mut self, event: &Event, entries: &[Entry], account: &Account) -> bool {
        let path = format!("{HOOKS}/{}", event.name);
        let user = account.name.clone();
        self.judged.insert(self.root.at(&path));
        self.safe(event.name, &path, &user);
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
                let taken = format!("{HOOKS}/{event}/{}", entry.name);
                let to = self.root.shown(&format!("{HOOKS}/{event}/"));
                if self.root.at(&taken).symlink_metadata().is_err() {
                    remedy.push(format!("mv -n {from} {to}"));
                }
            }
            self.warning(&place, what, remedy);
        }
    }

    /// One file. What it gives back is the hook of the suite that could be in its place.
    fn entry(&mut self, seen: &Seen<'_>, installed: &[&'a Manifest]) -> Option<&'a Manifest> {
        let name = &seen.entry.name;
        let origin = self.origins.of(&seen.entry.real);
        let place = self.places.get(&seen.place).copied();
        if place.is_some() && origin == Some(Origin::Ours) {
            return None;
        }
        let is_installed = |hook: &Manifest| installed.iter().any(|one| one.name == hook.name);
        if origin.is_none() && place.is_some_and(is_installed) {
            // Said of the hook.
            return None;
        }
        if installed.iter().any(|hook| is_silenced(hook, &seen.place)) {
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
            let remedy = self.silence(&seen.path);
            self.problem(&seen.place, what, remedy);
            return None;
        }
        if let Some(hook) = twin {
            let what = format!(
                "VDSM runs it besides the suite's {}: two hooks for one job",
                hook.name
            );
            let remedy = self.silence(&seen.path);
            self.problem(&seen.place, what, remedy);
            return None;
        }
        let is_ours = origin == Some(Origin::Ours);
        if let Some(hook) = is_ours
            .then(|| programs::name_of(&seen.entry.real))
            .flatten()
        {
            let what =
                format!("it is the suite's {hook}, which has another place: every call fails");
            let remedy = self.removed(&seen.path);
            self.problem(&seen.place, what, remedy);
            return None;
        }
        self.hindered(seen);
        self.safe(&seen.place, &seen.path, &seen.account.name);
        if let Some(real) = self.below(&seen.entry.real) {
            self.safe_way(&real, &seen.account.name);
        }
        // What is in the place of an installed hook was said of that one.
        place.filter(|hook| origin == Some(Origin::Script) && !is_installed(hook))
    }

    /// The hooks of another package that do the same as one of the suite: they rest while it is here.
    fn silenced(&mut self, hook: &Manifest) {
        let Some(other) = &hook.silences else {
            return;
        };
        let (mut running, mut resting) = (Vec::new(), Vec::new());
        for place in &other.places {
            let path = format!("{HOOKS}/{place}");
            match fs::metadata(self.root.at(&path)) {
                Ok(found) if found.is_file() && found.mode() & 0o111 != 0 => running.push(path),
                Ok(found) if found.is_file() => resting.push(path),
                _ => {}
            }
        }
        let package = &other.package;
        let named = |paths: &[String]| -> String {
            let names: Vec<String> = paths.iter().map(|path| self.named(path)).collect();
            names.join(", ")
        };
        if !running.is_empty() {
            let what = format!(
                "VDSM runs hooks of {package} besides it, which do the same: {}",
                named(&running)
            );
            // So that they come back when this hook goes.
            let again = self.again(&hook.name, true);
            self.problem(&hook.name, what, again);
        } else if !resting.is_empty() {
            let (verb, them) = if resting.len() == 1 {
                ("rests", "it")
            } else {
                ("rest", "them")
            };
            let what = format!(
                "{} of {package} {verb}, since {} does the same: 'rpm -V {package}' shows .M. for {them}",
                named(&resting),
                hook.name
            );
            self.note(what, &[]);
        }
    }

    /// A file that VDSM does not run.
    fn skipped(&mut self, seen: &Seen<'_>, why: &str, twin: Option<&str>) {
        let real = &seen.entry.real;
        let mut remedy = Vec::new();
        match (fs::metadata(real), twin) {
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
                let barred = seen.account.barred(self.root.path(), real);
                let closed = barred.and_then(|closed| self.below(&closed));
                remedy.extend(closed.map(|closed| self.chmod("a+rx", &closed)));
            }
        }
        let what = format!("VDSM skips it without a message: {why}");
        self.warning(&seen.place, what, remedy);
    }

    /// Whether VDSM can run a file that it tries to run.
    fn hindered(&mut self, seen: &Seen<'_>) {
        let obstacle = installed::obstacle(&self.root, &seen.entry.real, &seen.account);
        let Some(obstacle) = obstacle else {
            return;
        };
        let cure = self.cure(seen, &obstacle);
        if matches!(obstacle, Obstacle::NoInterpreter | Obstacle::LateLine) {
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
            // What is before it goes, up to its line and in it.
            Obstacle::LateLine => vec![self.sed("0,/#!/{s/^.*#!/#!/;/^#!/!d}", path)],
            Obstacle::Loader(loader) => self.packages(Some(loader.as_str()), None),
            Obstacle::Interpreter(wanted) => self.interpreter(wanted, path),
            Obstacle::NotFound(wanted) => self.looked_for(wanted, path),
            Obstacle::NoInterpreter => {
                let size = fs::metadata(&seen.entry.real).map_or(0, |found| found.len());
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
        if !is_plain(wanted) {
            return Vec::new();
        }
        let place = self.root.resolve(wanted).filter(|place| place.is_file());
        if let Some(place) = place.filter(|_| wanted.starts_with('/')) {
            let barred = self.users.vdsm.barred(self.root.path(), &place);
            return match barred.and_then(|closed| self.below(&closed)) {
                Some(closed) => vec![self.chmod("a+rx", &closed)],
                None => vec![self.chmod("0755", wanted)],
            };
        }
        let name = wanted.rsplit('/').next().unwrap_or(wanted);
        match program_of(&self.root, name).or_else(|| self.successor(name)) {
            Some(there) => vec![self.sed(&format!("1s|{wanted}|{there}|"), path)],
            None if wanted.starts_with('/') => self.packages(Some(wanted), None),
            None => Vec::new(),
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
    fn safe(&mut self, subject: &str, path: &str, user: &str) {
        let place = self.root.resolve(path);
        let Some(file) = place.and_then(|place| fs::metadata(place).ok()) else {
            return;
        };
        let mode = file.mode() & 0o7777;
        let is_others = file.uid() != self.owner.0;
        let is_open = mode & 0o002 != 0 || (mode & 0o020 != 0 && file.gid() != self.owner.1);
        if !is_others && !is_open {
            return;
        }
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

/// Whether a place is one whose hook rests while this one is here.
fn is_silenced(hook: &Manifest, place: &str) -> bool {
    let mut silenced = hook.silences.iter().flat_map(|other| &other.places);
    silenced.any(|one| one == place)
}

/// Whether a file is by its name for the job of a hook: `60_macspoof.py` is for macspoof's, and
/// `50_qemu_cmdline` for qemucmdline's.
fn same_job(file: &str, hook: &str) -> bool {
    let plain = |name: &str| name.replace(['_', '-'], "").to_ascii_lowercase();
    let stem = installed::without_number(file);
    let stem = stem.split_once('.').map_or(stem, |(stem, _)| stem);
    plain(stem) == plain(hook)
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
        for file in ["50_macspoof2", "50_macspoof_site", "macbind"] {
            assert!(!same_job(file, "macspoof"), "{file}");
        }
    }
}
