// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks doctor`: whether a host has what its hooks need, and nothing that runs by accident.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nix::unistd::geteuid;
use serde_json::{Value, json};

use vdsm_hooks::finding::{self, Finding, Severity};
use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::host::sudo::{allowed_by, in_sudoers};
use vdsm_hooks::host::{allowlist, command};
use vdsm_hooks::paths::{HELPERS, HOOKS};
use vdsm_hooks::runner::installed::{self, Entry, Origin};
use vdsm_hooks::vdsm::events;
use vdsm_hooks::{Context as _, Result};

use crate::diff::printable;
use crate::{catalog, print};

/// Check that this host has what its hooks need, and that nothing runs by accident
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Root directory of the host to look at
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Looks at every installed hook of the suite: its program at each of its events, owners and modes,
the programs it runs, its root helpers, sudo rules, settings, services and SELinux labels. And at
everything else that VDSM would run: backup copies, a second hook for the same job.

The exit status is 0 if all is well, 1 if there are warnings only, 2 if there are problems. Run it
as root: only root can ask sudo what user vdsm may do.

Example:
  vdsm-hooks doctor --root /mnt/sysimage";

/// The programs that are asked answer at once, or something is wrong with the host.
const TIMEOUT: Duration = Duration::from_secs(10);
const SUDOERS: &str = "/etc/sudoers.d";
/// What an administrator allows custom properties to name.

#[derive(Default)]
struct Report {
    hooks: Vec<String>,
    /// Problems are hooks that do not work, and what runs that should not.
    findings: Vec<Finding>,
    /// What could not be looked at, and why.
    not_checked: Vec<String>,
}

/// A host, and what is found on it.
struct Host<'a> {
    root: &'a Path,
    report: Report,
}

/// Looks.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let root = fs::canonicalize(&arguments.root).context(arguments.root.display())?;
    let mut host = Host {
        root: &root,
        report: Report::default(),
    };
    host.examine(&catalog::all()?)?;
    let report = host.report;
    if arguments.json {
        print(&format!("{:#}\n", to_json(&report)))?;
    } else {
        print(&text(&report)?)?;
    }
    let severity = finding::worst(&report.findings);
    Ok(ExitCode::from(severity.map_or(0, Severity::status)))
}

fn to_json(report: &Report) -> Value {
    let findings = report.findings.iter().map(|finding| {
        json!({
            "problem": finding.severity == Severity::Problem,
            "subject": finding.subject,
            "what": finding.text,
            "remedy": finding.remedy,
        })
    });
    json!({
        "hooks": report.hooks,
        "findings": findings.collect::<Vec<_>>(),
        "not_checked": report.not_checked,
    })
}

fn text(report: &Report) -> Result<String> {
    let mut text = match report.hooks.len() {
        0 => "No hook of this suite is installed.\n".to_owned(),
        1 => format!("One hook of this suite is installed: {}\n", report.hooks[0]),
        count => {
            let names = report.hooks.join(", ");
            format!("{count} hooks of this suite are installed: {names}\n")
        }
    };
    for finding in &report.findings {
        write!(text, "\n{}: {finding}\n", finding.severity)?;
        if let Some(remedy) = &finding.remedy {
            writeln!(text, "    {remedy}")?;
        }
    }
    for what in &report.not_checked {
        write!(text, "\nnot checked: {what}\n")?;
    }
    if report.findings.is_empty() {
        text += "\nNo problems found.\n";
    }
    Ok(text)
}

impl Host<'_> {
    fn examine(&mut self, hooks: &[Manifest]) -> Result {
        let installed: Vec<&Manifest> = hooks.iter().filter(|hook| self.has(hook)).collect();
        self.report.hooks = installed.iter().map(|hook| hook.name.clone()).collect();
        for hook in &installed {
            self.programs(hook);
            self.commands(hook);
            self.helpers(hook);
            self.sudo(hook);
            self.files(hook);
            self.services(hook);
        }
        self.labels(&installed);
        self.settings();
        self.events(&installed)
    }

    /// A path of the host.
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Whether it is the machine that this program runs on.
    fn is_here(&self) -> bool {
        self.root == Path::new("/")
    }

    /// A hook does not work, or something runs that should not.
    fn problem(&mut self, subject: &str, what: String, remedy: String) {
        let finding = Finding::problem(printable(subject), what);
        self.report.findings.push(finding.with_remedy(remedy));
    }

    /// What may be meant as it is.
    fn warning(&mut self, subject: &str, what: String, remedy: String) {
        let finding = Finding::warning(printable(subject), what);
        self.report.findings.push(finding.with_remedy(remedy));
    }

    /// The hook's file at each event.
    fn places<'h>(&self, hook: &'h Manifest) -> impl Iterator<Item = String> + use<'h> {
        hook.events
            .iter()
            .map(|event| format!("{}/{}/{}", HOOKS, event.event, hook.installed_as(event)))
    }

    fn is_ours(&self, path: &str) -> bool {
        installed::origin(&self.at(path)) == Origin::Ours
    }

    fn has(&self, hook: &Manifest) -> bool {
        self.places(hook).any(|path| self.is_ours(&path))
    }

    fn programs(&mut self, hook: &Manifest) {
        for path in self.places(hook) {
            if self.is_ours(&path) {
                self.owner_and_mode(&path, 0o755, &hook.name);
            } else if fs::symlink_metadata(self.at(&path)).is_ok() {
                let what = format!("{path} is not the suite's");
                let remedy = "move it away, then install the hook again".to_owned();
                self.problem(&hook.name, what, remedy);
            } else {
                self.missing(&path, &hook.name);
            }
        }
        if !self.is_here() {
            return;
        }
        let program = self.places(hook).next().unwrap_or_default();
        let version = format!("{} {}", hook.name, env!("CARGO_PKG_VERSION"));
        match command::run(&program, &["--version"], TIMEOUT) {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                if said != version {
                    let what = format!("its version is {said:?}, that of this tool {version:?}");
                    let remedy = "install both from one release".to_owned();
                    self.warning(&hook.name, what, remedy);
                }
            }
            Err(error) => {
                let remedy = "install the hook again, for this machine".to_owned();
                self.problem(&hook.name, format!("it does not run: {error}"), remedy);
            }
        }
    }

    fn missing(&mut self, path: &str, hook: &str) {
        let what = format!("{path} is missing");
        self.problem(hook, what, again(hook));
    }

    /// What is run by root or decides about root belongs to root, and nobody else writes to it.
    fn owner_and_mode(&mut self, path: &str, mode: u32, subject: &str) {
        let Ok(file) = fs::metadata(self.at(path)) else {
            return self.missing(path, subject);
        };
        // Who is not root installs below a directory of his own.
        if geteuid().is_root() && (file.uid(), file.gid()) != (0, 0) {
            let what = format!("{path} belongs to {}:{}", file.uid(), file.gid());
            self.problem(subject, what, format!("chown root:root {path}"));
        }
        let found = file.permissions().mode() & 0o7777;
        if found != mode {
            let what = format!("{path} has the mode {found:04o}");
            self.problem(subject, what, format!("chmod {mode:04o} {path}"));
        }
    }

    fn commands(&mut self, hook: &Manifest) {
        for program in &hook.commands {
            let found = command::DIRECTORIES
                .iter()
                .any(|directory| self.at(directory).join(program).is_file());
            if !found {
                let what = format!("the program {program} is not on this host");
                let remedy = "install its package, if VMs here use what the hook needs it for (see 'vdsm-hooks show')";
                self.warning(&hook.name, what, remedy.to_owned());
            }
        }
    }

    fn helpers(&mut self, hook: &Manifest) {
        for helper in &hook.helpers {
            self.owner_and_mode(&format!("{HELPERS}/{helper}"), 0o755, &hook.name);
        }
        for daemon in &hook.daemons {
            self.owner_and_mode(&format!("{HOOKS}/{daemon}"), 0o755, &hook.name);
        }
    }

    fn sudo(&mut self, hook: &Manifest) {
        if hook.sudo.is_empty() {
            return;
        }
        let path = format!("{SUDOERS}/50_vdsm_hooks_{}", hook.name);
        let Ok(rules) = fs::read_to_string(self.at(&path)) else {
            return self.missing(&path, &hook.name);
        };
        self.owner_and_mode(&path, 0o440, &hook.name);
        for command in &hook.sudo {
            let rule = format!("vdsm ALL=(root) NOPASSWD: {}", in_sudoers(command));
            if !rules.lines().any(|line| line == rule) {
                let what = format!("{path} lacks the rule for '{command}'");
                self.problem(&hook.name, what, again(&hook.name));
            } else if self.is_here() {
                self.effective(hook, command);
            }
        }
    }

    /// Whether sudo lets user vdsm: another file may take back what this one gives, since the last
    /// rule that matches counts (sudoers(5), 1.9.13).
    fn effective(&mut self, hook: &Manifest, command: &str) {
        // A static program cannot load what knows the users; and that may hang.
        let asked = command::run("getent", &["passwd", "vdsm"], TIMEOUT);
        let is_user = asked.is_ok_and(|known| known.status.success());
        if !geteuid().is_root() || !is_user {
            let what =
                format!("whether sudo lets user vdsm run '{command}' (needs root, and the user)");
            self.report.not_checked.push(what);
            return;
        }
        let example = allowed_by(command);
        let words = ["-n", "-l", "-U", "vdsm"].into_iter();
        let words: Vec<&str> = words.chain(example.split(' ')).collect();
        let refused = match command::run("sudo", &words, TIMEOUT) {
            Ok(output) if output.status.success() => return,
            Ok(_) => format!("sudo does not let user vdsm run '{command}'"),
            Err(error) => format!("sudo does not answer: {error}"),
        };
        let remedy =
            "look for a rule in /etc/sudoers or a later file of /etc/sudoers.d that takes it back";
        self.problem(&hook.name, refused, remedy.to_owned());
    }

    fn files(&mut self, hook: &Manifest) {
        for file in &hook.files {
            let mode = u32::from_str_radix(&file.mode, 8).unwrap_or(0o644);
            self.owner_and_mode(&file.path, mode, &hook.name);
        }
    }

    fn services(&mut self, hook: &Manifest) {
        for unit in &hook.services {
            if !self.is_here() || !Path::new("/run/systemd/system").exists() {
                let what = format!("{}: {unit} (systemd does not run here)", hook.name);
                self.report.not_checked.push(what);
                continue;
            }
            let words = ["show", "--property=LoadState", "--value", unit];
            let state = command::run("systemctl", &words, TIMEOUT)
                .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
            match state {
                Ok(state) if state == "loaded" => {}
                Ok(state) => {
                    let what = format!("{unit} is {state}");
                    let remedy = format!(
                        "install the package that {unit} is in, or 'systemctl unmask {unit}'"
                    );
                    self.problem(&hook.name, what, remedy);
                }
                Err(error) => self.report.not_checked.push(format!("{unit}: {error}")),
            }
        }
    }

    /// SELinux labels: what restorecon would change.
    fn labels(&mut self, hooks: &[&Manifest]) {
        if hooks.is_empty() {
            return;
        }
        if !self.is_here() || !Path::new("/sys/fs/selinux/enforce").exists() {
            let what = "SELinux labels (SELinux is off here)".to_owned();
            return self.report.not_checked.push(what);
        }
        for hook in hooks {
            let helpers = hook
                .helpers
                .iter()
                .map(|helper| format!("{HELPERS}/{helper}"));
            let files = hook.files.iter().map(|file| file.path.clone());
            let paths: Vec<String> = self.places(hook).chain(helpers).chain(files).collect();
            let words: Vec<&str> = ["-n", "-v"]
                .into_iter()
                .chain(paths.iter().map(String::as_str))
                .collect();
            match command::run("restorecon", &words, TIMEOUT) {
                Ok(output) if output.stdout.is_empty() => {}
                Ok(_) => {
                    let what = "a file of it has the wrong SELinux label".to_owned();
                    let remedy = format!("restorecon -v {}", paths.join(" "));
                    self.problem(&hook.name, what, remedy);
                }
                Err(error) => self
                    .report
                    .not_checked
                    .push(format!("SELinux labels: {error}")),
            }
        }
    }

    fn settings(&mut self) {
        for entry in fs::read_dir(self.at(allowlist::DIRECTORY))
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = format!(
                "{}/{}",
                allowlist::DIRECTORY,
                entry.file_name().to_string_lossy()
            );
            let Ok(file) = fs::metadata(entry.path()) else {
                continue;
            };
            let mode = file.permissions().mode();
            if (geteuid().is_root() && file.uid() != 0) || mode & 0o022 != 0 {
                let what = format!("{path} can be changed by others than root");
                let remedy = format!("chown root:root {path}; chmod 0644 {path}");
                self.problem("settings", what, remedy);
            }
        }
    }

    /// Everything that VDSM runs at its events and that is none of the hooks' files.
    fn events(&mut self, installed: &[&Manifest]) -> Result {
        let hooks_dir = self.at(HOOKS);
        let mut directories: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(&hooks_dir).into_iter().flatten() {
            directories.push(entry.context(hooks_dir.display())?.path());
        }
        directories.sort();
        for path in directories.iter().filter(|path| path.is_dir()) {
            let event = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            for entry in installed::entries(path)? {
                self.entry(&event, &entry, installed);
            }
        }
        Ok(())
    }

    fn entry(&mut self, event: &str, entry: &Entry, installed: &[&Manifest]) {
        let place = format!("{event}/{}", entry.name);
        let path = format!("{HOOKS}/{place}");
        let known = installed
            .iter()
            .any(|hook| self.places(hook).any(|own| own == path));
        if known || entry.name.starts_with('.') {
            return;
        }
        if events::find(event).is_none() {
            let what = "VDSM has no such event, so it never runs this".to_owned();
            return self.warning(&place, what, format!("move {path} to the event it is for"));
        }
        if let Some(why) = entry.skipped {
            let what = format!("VDSM skips it without a message: {why}");
            return self.warning(&place, what, format!("chmod 0755 {path}, or remove it"));
        }
        if let Some(why) = installed::by_accident(&entry.name) {
            let what = format!("VDSM runs it, and it was probably not meant to run: {why}");
            return self.problem(&place, what, format!("rm {path}"));
        }
        let twin = installed.iter().find(|hook| {
            same_job(&entry.name, &hook.name) && hook.events.iter().any(|one| one.event == event)
        });
        if let Some(hook) = twin {
            let what = format!(
                "VDSM runs it besides the suite's {}: two hooks for one job",
                hook.name
            );
            let remedy = match &hook.replaces {
                Some(package) => format!("remove {path}, or the package {package}"),
                None => format!("remove {path}"),
            };
            self.problem(&place, what, remedy);
        }
    }
}

fn again(hook: &str) -> String {
    format!(
        "install the hook again: the package vdsm-hooks-{hook}, or './install.sh --hook {hook}'"
    )
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
