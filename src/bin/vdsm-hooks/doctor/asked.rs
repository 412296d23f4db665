// SPDX-License-Identifier: GPL-2.0-or-later

//! What only the running host can say: whether sudo lets VDSM's user do what hooks do as root, whether
//! services are there, and SELinux labels. Each is asked once, whatever the number of hooks.

use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::unistd::geteuid;

use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::host::command;
use vdsm_hooks::host::sudo::{allowed_by, in_sudoers};
use vdsm_hooks::paths::HELPERS;

use super::Host;

/// Programs that are asked answer at once, or something is wrong with the host.
const TIMEOUT: Duration = Duration::from_secs(10);

impl Host<'_> {
    /// Whether sudo lets user vdsm: another file may take back what ours give, since the last rule
    /// that matches counts (sudoers(5), 1.9.13).
    pub(super) fn sudo(&mut self, hooks: &[&Manifest]) {
        let rules: Vec<(&str, &str)> = hooks
            .iter()
            .flat_map(|hook| {
                hook.sudo
                    .iter()
                    .map(|rule| (hook.name.as_str(), rule.as_str()))
            })
            .collect();
        if rules.is_empty() || !self.root.is_here() {
            return;
        }
        let listed = command::run("sudo", &["-n", "-l", "-U", "vdsm"], TIMEOUT);
        let listed = match listed {
            Ok(output) if output.status.success() && geteuid().is_root() => output.stdout,
            Err(error) => {
                let what = format!("what sudo lets user vdsm do: {error}");
                return self.report.not_checked.push(what);
            }
            Ok(_) => {
                let what = "what sudo lets user vdsm do (needs root, and the user)";
                return self.report.not_checked.push(what.to_owned());
            }
        };
        let listed = String::from_utf8_lossy(&listed);
        let doubtful: Vec<(&str, &str)> = rules
            .into_iter()
            .filter(|(_, rule)| !is_surely_allowed(&listed, rule))
            .collect();
        let answers: Vec<Option<String>> = thread::scope(|scope| {
            let ask = |(_, rule): &(&str, &str)| {
                let rule = (*rule).to_owned();
                scope.spawn(move || refusal(&rule))
            };
            let asked: Vec<_> = doubtful.iter().map(ask).collect();
            let answers = asked.into_iter().map(|one| one.join().ok().flatten());
            answers.collect()
        });
        for ((hook, _), answer) in doubtful.iter().zip(answers) {
            if let Some(what) = answer {
                // No command knows which of the two rules is meant.
                self.problem(hook, what, Vec::new());
            }
        }
    }

    pub(super) fn services(&mut self, hooks: &[&Manifest]) {
        let units: Vec<(&Manifest, &str)> = hooks
            .iter()
            .flat_map(|hook| hook.services.iter().map(|unit| (*hook, unit.as_str())))
            .collect();
        if units.is_empty() {
            return;
        }
        if !self.root.is_here() || !Path::new("/run/systemd/system").exists() {
            let units: Vec<String> = units
                .iter()
                .map(|(hook, unit)| format!("{unit} of {}", hook.name))
                .collect();
            let what = format!("services (systemd does not run here): {}", units.join(", "));
            return self.report.not_checked.push(what);
        }
        let mut words = vec!["show", "--property=LoadState"];
        words.extend(units.iter().map(|(_, unit)| *unit));
        let answer = command::run("systemctl", &words, TIMEOUT);
        let answer = match answer.and_then(command::Output::checked) {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => return self.report.not_checked.push(format!("services: {error}")),
        };
        let states = answer
            .lines()
            .filter_map(|line| line.strip_prefix("LoadState="));
        for ((hook, unit), state) in units.iter().zip(states) {
            if state != "loaded" {
                let remedy = self.unit(hook, unit, state);
                self.problem(&hook.name, format!("{unit} is {state}"), remedy);
            }
        }
    }

    /// How a unit comes to be there.
    fn unit(&self, hook: &Manifest, unit: &str, state: &str) -> Vec<String> {
        if state == "masked" {
            return vec![format!("systemctl unmask {unit}")];
        }
        if hook.files.iter().any(|file| file.path.ends_with(unit)) {
            return self.again(&hook.name, false);
        }
        let packages = hook.requires.iter().chain(&hook.recommends);
        packages
            .flat_map(|package| self.packages(Some(package.as_str()), None))
            .collect()
    }

    /// SELinux labels: what restorecon would change.
    pub(super) fn labels(&mut self, hooks: &[&Manifest]) {
        if hooks.is_empty() {
            return;
        }
        if !self.root.is_here() || !Path::new("/sys/fs/selinux/enforce").exists() {
            let what = "SELinux labels (SELinux is off here)".to_owned();
            return self.report.not_checked.push(what);
        }
        let mut paths: Vec<String> = Vec::new();
        for hook in hooks {
            let helpers = hook.helpers.iter();
            paths.extend(Host::places_of(hook));
            paths.extend(helpers.map(|helper| format!("{HELPERS}/{helper}")));
            paths.extend(hook.files.iter().map(|file| file.path.clone()));
        }
        paths.retain(|path| self.root.at(path).exists());
        let mut words = vec!["-n", "-v"];
        words.extend(paths.iter().map(String::as_str));
        match command::run("restorecon", &words, TIMEOUT) {
            Ok(output) if output.stdout.is_empty() => {}
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                let is_wrong = |path: &&String| said.split_whitespace().any(|word| word == **path);
                let wrong: Vec<&str> = paths.iter().filter(is_wrong).map(String::as_str).collect();
                let wrong = wrong.join(" ");
                let what = format!("wrong SELinux labels: {wrong}");
                self.problem("SELinux", what, vec![format!("restorecon -v {wrong}")]);
            }
            Err(error) => {
                let what = format!("SELinux labels: {error}");
                self.report.not_checked.push(what);
            }
        }
    }
}

/// Whether the list of all that sudo allows leaves no doubt about a rule: it is there, and nothing is
/// that could take it back.
fn is_surely_allowed(listed: &str, rule: &str) -> bool {
    let mut entries = listed
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with('('));
    let is_there = |line: &str| {
        let commands = line.split_once("NOPASSWD: ").map(|(_, commands)| commands);
        commands.is_some_and(|command| command == rule || command == in_sudoers(rule))
    };
    entries.clone().any(is_there)
        && entries.all(|line| line.contains("NOPASSWD: ") && !line.contains('!'))
}

/// Why sudo does not run it, if it does not.
fn refusal(rule: &str) -> Option<String> {
    let example = allowed_by(rule);
    let words = ["-n", "-l", "-U", "vdsm"].into_iter();
    let words: Vec<&str> = words.chain(example.split(' ')).collect();
    match command::run("sudo", &words, TIMEOUT) {
        Ok(output) if output.status.success() => None,
        Ok(_) => Some(format!(
            "sudo does not let user vdsm run '{rule}': a later rule in /etc/sudoers or /etc/sudoers.d \
             takes it back, since the last one that matches counts"
        )),
        Err(error) => Some(format!("sudo does not answer: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_exceptions_leaves_no_doubt() {
        let start = "Matching Defaults entries for vdsm on h:\n    !requiretty, env_reset\n\n\
                     User vdsm may run the following commands on h:\n";
        let rule = "/x/hugepages-set [0-9]* [0-9]*";
        let ours = "    (root) NOPASSWD: /x/hugepages-set [0-9]* [0-9]*\n";
        let vdsms = "    (ALL) NOPASSWD: /usr/bin/a, /usr/bin/b\n";
        for (entries, expected) in [
            (ours.to_owned(), true),
            (format!("{vdsms}{ours}"), true),
            (vdsms.to_owned(), false),
            (format!("{ours}    (ALL) ALL\n"), false),
            (
                format!("{ours}    (ALL) NOPASSWD: ALL, !/x/hugepages-set\n"),
                false,
            ),
            (
                format!("{ours}    (root) PASSWD: /x/hugepages-set\n"),
                false,
            ),
        ] {
            let listed = format!("{start}{entries}");
            assert_eq!(is_surely_allowed(&listed, rule), expected, "{entries}");
        }
        let escaped = format!("{start}    (root) NOPASSWD: /x/a b\\:c\n");
        assert!(is_surely_allowed(&escaped, "/x/a b:c"));
    }
}
