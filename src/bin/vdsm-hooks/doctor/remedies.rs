// SPDX-License-Identifier: GPL-2.0-or-later

//! The commands that mend what is found, each as it can be pasted into a shell of this machine.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{env, fs};

use vdsm_hooks::host::account::directories;
use vdsm_hooks::host::command::shell_quoted;
use vdsm_hooks::host::root::Root;
use vdsm_hooks::runner::installed;

use super::Host;
use crate::catalog::PACKAGE;

/// What 'vdsm-hooks install' keeps book in.
const BOOK: &str = "var/lib/vdsm-hooks/directories";
/// What only Debian and its like have.
const DEBIAN: &str = "etc/debian_version";

/// Commands, one a line; none if there are none, or if a name in them cannot be typed.
pub(super) fn pasteable(commands: Vec<String>) -> Option<String> {
    let cannot_be_typed = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    let mut lines: Vec<String> = Vec::new();
    for line in commands {
        if line.contains(cannot_be_typed) {
            return None;
        }
        lines.push(line);
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

impl Host<'_> {
    /// Puts everything of a hook into its place; with `replace` also where something else is now.
    pub(super) fn again(&self, hook: &str, replace: bool) -> Vec<String> {
        if !self.has_book() {
            return vec![self.dnf(&["reinstall", &format!("{PACKAGE}{hook}")])];
        }
        vec![self.install(&[hook], replace)]
    }

    /// Whether hooks were installed without a package manager.
    pub(super) fn has_book(&self) -> bool {
        self.root.at(BOOK).exists()
    }

    /// A command of the host.
    pub(super) fn on_host(&self, words: &[&str]) -> String {
        let mut all = Vec::new();
        if !self.root.is_here() {
            let root = self.root.path().to_string_lossy().into_owned();
            all.extend(["chroot".to_owned(), root]);
        }
        all.extend(words.iter().map(|word| (*word).to_owned()));
        line(&all)
    }

    /// Installs hooks of a build: that of this tool if it is one, or else from the source tree.
    pub(super) fn install(&self, hooks: &[&str], replace: bool) -> String {
        let mut words = if has_programs(hooks) {
            let own = env::current_exe().unwrap_or_default();
            vec![own.to_string_lossy().into_owned(), "install".to_owned()]
        } else {
            vec!["./install.sh".to_owned()]
        };
        if !self.root.is_here() {
            let root = self.root.path().to_string_lossy().into_owned();
            words.extend(["--destdir".to_owned(), root]);
        }
        if replace {
            words.push("--replace".to_owned());
        }
        for hook in hooks {
            words.extend(["--hook".to_owned(), (*hook).to_owned()]);
        }
        line(&words)
    }

    /// Hooks of the suite in place of those of VDSM: of a build, or of packages.
    pub(super) fn swap(&self, hooks: &[(&str, Option<&str>)]) -> Vec<String> {
        let names: Vec<&str> = hooks.iter().map(|(name, _)| *name).collect();
        if has_programs(&names) {
            return vec![self.install(&names, true)];
        }
        let packages = hooks.iter().filter_map(|(name, package)| {
            let ours = format!("{PACKAGE}{name}");
            package.map(|package| self.dnf(&["swap", package, &ours]))
        });
        packages.collect()
    }

    /// Installs packages by their names on EL and on Debian; what cannot be had is none.
    pub(super) fn packages(&self, of_el: Option<&str>, of_debian: Option<&str>) -> Vec<String> {
        if !self.is_debian() {
            return of_el
                .iter()
                .map(|name| self.dnf(&["install", name]))
                .collect();
        }
        let install = |name: &&str| self.on_host(&["apt-get", "install", name]);
        of_debian.iter().map(install).collect()
    }

    pub(super) fn is_debian(&self) -> bool {
        self.root.at(DEBIAN).exists()
    }

    pub(super) fn dnf(&self, words: &[&str]) -> String {
        let mut all = vec!["dnf".to_owned()];
        if !self.root.is_here() {
            all.push(format!("--installroot={}", self.root.path().display()));
        }
        all.extend(words.iter().map(|word| (*word).to_owned()));
        line(&all)
    }

    /// Gives a file to whom everything belongs.
    pub(super) fn chown(&self, path: &str) -> String {
        let owner = match self.owner {
            (0, 0) => "root:root".to_owned(),
            (user, group) => format!("{user}:{group}"),
        };
        format!("chown {owner} {}", self.real(path))
    }

    /// The file of the host that a path leads to, for a command line: over the host's links, which
    /// lead to files of this machine where it is only mounted.
    fn real(&self, path: &str) -> String {
        match self.root.resolve(path) {
            Some(place) => shell_quoted(&place.to_string_lossy()),
            None => self.root.shown(path),
        }
    }

    /// `mode` in octal or in letters.
    pub(super) fn chmod(&self, mode: &str, path: &str) -> String {
        format!("chmod {mode} {}", self.real(path))
    }

    /// Changes a text by a command of sed.
    pub(super) fn sed(&self, command: &str, path: &str) -> String {
        format!("sed -i '{command}' {}", self.real(path))
    }

    /// Has VDSM no longer run a file. What is a second name of another file is removed, since the mode
    /// is that file's as well; none where the directory has two names.
    pub(super) fn silence(&self, path: &str) -> Vec<String> {
        let place = self.root.at(path);
        let Ok(found) = fs::symlink_metadata(&place) else {
            return Vec::new();
        };
        let has_two_names = place.parent().is_some_and(Path::is_symlink);
        if has_two_names || found.is_symlink() || found.nlink() > 1 {
            return self.removed(path);
        }
        vec![self.chmod("a-x", path)]
    }

    /// Removes a file; none where its directory has two names, by the other of which it may be meant.
    pub(super) fn removed(&self, path: &str) -> Vec<String> {
        let place = self.root.at(path);
        if place.parent().is_some_and(Path::is_symlink) {
            return Vec::new();
        }
        vec![format!("rm {}", self.root.shown(path))]
    }

    /// Moves away what is no directory and stands where one belongs, and what is one and stands where
    /// a program belongs.
    pub(super) fn make_way(&self, path: &str) -> Vec<String> {
        let mut commands = Vec::new();
        for at in directories(self.root.path(), &self.root.at(path)) {
            if fs::symlink_metadata(&at).is_ok() && !at.is_dir() {
                commands.push(moved_away(&at));
                return commands;
            }
        }
        let place = self.root.at(path);
        // A link to it leads to the program again when that is back.
        if place.is_dir() && !place.is_symlink() {
            commands.push(moved_away(&place));
        }
        commands
    }
}

/// Whether this tool lies beside the programs of these hooks, as in a build.
fn has_programs(hooks: &[&str]) -> bool {
    let own = env::current_exe().unwrap_or_default();
    let mut programs = hooks.iter().map(|hook| own.with_file_name(hook));
    programs.all(|program| installed::is_program(&program))
}

/// Moves something to a name that is free.
fn moved_away(place: &Path) -> String {
    let place = place.to_string_lossy();
    let mut free = format!("{place}.old");
    while Path::new(&free).symlink_metadata().is_ok() {
        free += ".old";
    }
    format!("mv -nT {} {}", shell_quoted(&place), shell_quoted(&free))
}

fn line(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| shell_quoted(word)).collect();
    words.join(" ")
}

/// Whether a path can be written into a command of sed as it is.
pub(super) fn is_plain(path: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/_.+-".contains(c);
    !path.is_empty() && path.chars().all(is_plain)
}

/// Where this host has a program of that name.
pub(super) fn program_of(root: &Root, name: &str) -> Option<String> {
    let mut places = vdsm_hooks::host::command::DIRECTORIES
        .iter()
        .map(|directory| format!("{directory}/{name}"));
    places.find(|path| root.resolve(path).is_some_and(|place| place.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_typed_is_no_command() {
        let lines = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| (*word).to_owned()).collect()
        };
        assert_eq!(pasteable(Vec::new()), None);
        assert_eq!(pasteable(lines(&["a", "b"])).as_deref(), Some("a\nb"));
        for word in ["rm 'a\nb'", "rm '\u{1b}[2J'", "rm '\u{fffd}'"] {
            assert_eq!(pasteable(lines(&[word])), None, "{word:?}");
        }
    }
}
