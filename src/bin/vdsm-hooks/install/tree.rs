// SPDX-License-Identifier: GPL-2.0-or-later

//! A host's root directory, or a directory in place of one, and which of the files below it are ours.
//!
//! Paths of files are those below the root, without a slash in front.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

use nix::fcntl::OFlag;

use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::host::files;
use vdsm_hooks::paths::{HELPERS, HOOKS};
use vdsm_hooks::runner::{installed, mark};
use vdsm_hooks::{Context as _, Error, Result};

use super::wanted::LICENCE_TEXT;
use crate::catalog;

/// What installations keep book in, and what they put aside.
pub(super) const STATE: &str = "var/lib/vdsm-hooks";
const KEPT: &str = "var/lib/vdsm-hooks/replaced";
/// The directories that installations have made, one a line: all others belong to somebody.
pub(super) const DIRECTORIES: &str = "var/lib/vdsm-hooks/directories";
/// Hook and path, with a tab between, of each file whose place does not tell that it is ours.
pub(super) const SPREAD: &str = "var/lib/vdsm-hooks/files";
pub(super) const TOOL: &str = "usr/bin/vdsm-hooks";
pub(super) const MAN: &str = "usr/share/man";
pub(super) const DOC: &str = "usr/share/doc/vdsm-hooks";
pub(super) const LICENCE: &str = "usr/share/licenses/vdsm-hooks/LICENSE";
pub(super) const BASH_COMPLETION: &str = "usr/share/bash-completion/completions/vdsm-hooks";
pub(super) const ZSH_COMPLETION: &str = "usr/share/zsh/site-functions/_vdsm-hooks";
pub(super) const FISH_COMPLETION: &str = "usr/share/fish/vendor_completions.d/vdsm-hooks.fish";
const SUDOERS: &str = "etc/sudoers.d";
const SUDOERS_START: &str = "50_vdsm_hooks_";
/// One of our lists has a few hundred lines; that of runs which were killed, those of each.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// A path of a host, as it is below a root.
pub(super) fn below(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// The sudo rules of a hook.
pub(super) fn sudoers(hook: &str) -> String {
    format!("{SUDOERS}/{SUDOERS_START}{hook}")
}

/// Where what is not ours is kept: hooks by their event, all else by its whole path.
pub(super) fn kept(path: &str) -> String {
    match path.strip_prefix(below(HOOKS)) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{KEPT}{rest}"),
        _ => format!("{KEPT}/{path}"),
    }
}

/// The directory of a path.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The last part of a path.
pub(super) fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Whether a file of this name at an event is the hook's by that: most have a number in front.
pub(super) fn is_called_like(file: &str, hook: &str) -> bool {
    file == hook || numbered(file) == Some(hook)
}

/// What follows the two digits of `50_name`.
fn numbered(file: &str) -> Option<&str> {
    let (number, name) = file.split_once('_')?;
    let is_number = number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(name)
}

/// The lines of one of our lists; none if it is not there.
pub(super) fn lines(path: &Path) -> Result<BTreeSet<String>> {
    // Without blocking: an interrupt would not end a wait for somebody to write to a FIFO.
    let nonblocking = OFlag::O_NONBLOCK.bits();
    let mut options = fs::OpenOptions::new();
    let file = match options.read(true).custom_flags(nonblocking).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        file => file.context(path.display())?,
    };
    let read = || -> Result<Vec<u8>> {
        if !file.metadata()?.is_file() {
            return Err(Error::new("not a regular file, expected one"));
        }
        let mut text = Vec::new();
        file.take(MAX_LIST_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_LIST_BYTES {
            return Err(Error::new(format!("larger than {MAX_LIST_BYTES} bytes")));
        }
        Ok(text)
    };
    let text = read().context(path.display())?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().map(str::to_owned).collect())
}

/// Which of two places of a file is meant.
#[derive(Clone, Copy)]
pub(super) enum Side {
    /// Its own.
    Installed,
    /// Where what was there before is kept.
    Kept,
}

impl Side {
    fn place(self, path: &str) -> String {
        match self {
            Side::Installed => path.to_owned(),
            Side::Kept => kept(path),
        }
    }
}

/// A root directory, and the hooks that are asked for.
pub(super) struct Tree {
    root: PathBuf,
    known: Vec<String>,
    asked: Vec<String>,
}

impl Tree {
    /// The directory need not be there yet. Without hooks all are asked for.
    pub(super) fn new(root: Option<&Path>, hooks: &[String]) -> Result<Tree> {
        let names = |found: Vec<Manifest>| found.into_iter().map(|hook| hook.name);
        let known: Vec<String> = names(catalog::all()?).collect();
        let asked = match hooks {
            [] => Vec::new(),
            hooks => names(catalog::find(hooks)?).collect(),
        };
        let mut root = root.map_or_else(|| PathBuf::from("/"), Path::to_owned);
        if !root.is_absolute() {
            root = env::current_dir().context(root.display())?.join(root);
        }
        let is_real = fs::canonicalize(&root).is_ok_and(|found| found == Path::new("/"));
        Ok(Tree {
            // Without a slash at the end.
            root: if is_real {
                PathBuf::from("/")
            } else {
                root.components().collect()
            },
            known,
            asked,
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it is that of the machine that this program runs on.
    pub(super) fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// ` below ROOT` for messages, unless it is the real one.
    pub(super) fn below(&self) -> String {
        if self.is_real() {
            String::new()
        } else {
            format!(" below {}", self.root.display())
        }
    }

    /// Where a file is.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join(below(path))
    }

    /// The same, for messages.
    pub(super) fn shown(&self, path: &str) -> String {
        self.at(path).display().to_string()
    }

    /// The hooks asked for.
    pub(super) fn hooks(&self) -> Result<Vec<Manifest>> {
        catalog::find(&self.asked)
    }

    /// Whether all hooks are meant, and with them what belongs to none.
    pub(super) fn is_whole(&self) -> bool {
        self.asked.is_empty()
    }

    /// Whether this hook is one of them.
    pub(super) fn is_asked(&self, hook: &str) -> bool {
        self.is_whole() || self.asked.iter().any(|asked| asked == hook)
    }

    /// Whether anything is there, be it a link to nothing.
    pub(super) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }

    pub(super) fn is_link(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok_and(|found| found.is_symlink())
    }

    /// Where a link points to, as it is written there.
    pub(super) fn target(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.at(path)).ok()?;
        target.to_str().map(str::to_owned)
    }

    /// The text of a file, if it is one and can be read.
    pub(super) fn text(&self, path: &str) -> Option<Vec<u8>> {
        let path = self.at(path);
        let is_file = fs::metadata(&path).is_ok_and(|found| found.is_file());
        is_file.then(|| fs::read(path).ok()).flatten()
    }

    /// Whether two files have the same text, or two links the same target.
    pub(super) fn are_alike(&self, one: &str, other: &str) -> bool {
        match (self.is_link(one), self.is_link(other)) {
            (true, true) => self.target(one) == self.target(other),
            (false, false) => self.text(one).is_some() && self.text(one) == self.text(other),
            _ => false,
        }
    }

    /// Whether they have the same owner and mode as well.
    pub(super) fn are_same(&self, one: &str, other: &str) -> bool {
        let of = |path| {
            let found = fs::symlink_metadata(self.at(path)).ok();
            found.map(|found| (found.mode(), found.uid(), found.gid()))
        };
        self.are_alike(one, other) && of(one) == of(other)
    }

    /// Whether a file is one that some release of ours has installed, and that nobody has changed
    /// where that is an administrator's to do.
    pub(super) fn is_ours(&self, path: &str) -> bool {
        if let Some(place) = path.strip_prefix(below(HOOKS)) {
            return if self.is_link(path) {
                self.is_our_link(path)
            } else {
                !place.is_empty() && installed::is_program(&self.at(path))
            };
        }
        if self.is_link(path) {
            return false;
        }
        if path == TOOL || path.starts_with(below(HELPERS)) {
            return installed::is_program(&self.at(path));
        }
        let Some(text) = self.text(path) else {
            return false;
        };
        match path {
            LICENCE => text == LICENCE_TEXT,
            BASH_COMPLETION | ZSH_COMPLETION | FISH_COMPLETION => mark::has_mark(&text),
            _ if [MAN, DOC].contains(&top(path)) => mark::has_mark(&text),
            // Earlier releases have installed them without a checksum.
            _ if top(path) == SUDOERS && !mark::was_sealed(&text) => mark::has_mark(&text),
            _ => mark::is_unchanged(&text),
        }
    }

    /// As we make them: to a program at another event.
    fn is_our_link(&self, path: &str) -> bool {
        let target = self.target(path).unwrap_or_default();
        let parts: Vec<&str> = target.split('/').collect();
        match parts[..] {
            ["..", event, file] if event != ".." => {
                let program = format!("{}/{event}/{file}", below(HOOKS));
                installed::is_program(&self.at(&program))
            }
            _ => false,
        }
    }

    /// The list of files whose place does not tell that they are ours: hook and path.
    fn spread(&self) -> Result<Vec<(String, String)>> {
        let lines = lines(&self.at(SPREAD))?;
        let of_line = |line: &String| {
            let (hook, path) = line.split_once('\t')?;
            Some((hook.to_owned(), below(path).to_owned()))
        };
        Ok(lines.iter().filter_map(of_line).collect())
    }

    /// The names in a directory that do not begin with a dot.
    fn names(&self, directory: &str) -> Result<Vec<String>> {
        let directory = self.at(directory);
        if !directory.is_dir() {
            return Ok(Vec::new());
        }
        let mut names = files::entries(&directory)?;
        names.retain(|name| !name.starts_with('.'));
        Ok(names)
    }

    /// The files that may be ours, by their names, links before the files that they point to. The
    /// paths are those that they have once they are installed.
    pub(super) fn found(&self, side: Side) -> Result<Vec<String>> {
        let spread = self.spread()?;
        let mut found = Vec::new();
        let mut programs = Vec::new();
        for event in self.names(&side.place(below(HOOKS)))? {
            let directory = format!("{}/{event}", below(HOOKS));
            for file in self.names(&side.place(&directory))? {
                let path = format!("{directory}/{file}");
                if !self.may_be_hook(&file) || spread.iter().any(|(_, other)| *other == path) {
                    continue;
                }
                if self.is_link(&side.place(&path)) {
                    found.push(path);
                } else {
                    programs.push(path);
                }
            }
        }
        found.append(&mut programs);
        let man8 = format!("{MAN}/man8");
        for (directory, start, end) in [
            (SUDOERS, SUDOERS_START, ""),
            (&man8, "vdsm-hook-", ".8"),
            (DOC, "", ".md"),
        ] {
            for file in self.names(&side.place(directory))? {
                let hook = file.strip_prefix(start).filter(|_| file.ends_with(end));
                let hook = hook.map(|rest| rest.rsplit_once('.').map_or(rest, |(name, _)| name));
                if hook.is_some_and(|hook| self.is_asked(hook)) {
                    found.push(format!("{directory}/{file}"));
                }
            }
        }
        let spread = spread.into_iter().filter(|(hook, _)| self.is_asked(hook));
        found.extend(spread.map(|(_, path)| path));
        if self.is_whole() {
            for chapter in ['1', '7'] {
                let directory = format!("{MAN}/man{chapter}");
                for file in self.names(&side.place(&directory))? {
                    let rest = file.strip_prefix("vdsm-hooks");
                    let rest = rest.and_then(|rest| rest.strip_suffix(chapter)?.strip_suffix('.'));
                    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) {
                        found.push(format!("{directory}/{file}"));
                    }
                }
            }
            found.extend(
                [
                    TOOL,
                    BASH_COMPLETION,
                    ZSH_COMPLETION,
                    FISH_COMPLETION,
                    LICENCE,
                ]
                .map(str::to_owned),
            );
        }
        found.retain(|path| self.exists(&side.place(path)));
        Ok(found)
    }

    /// Whether a file of this name at an event may be one of the hooks asked for, also of another
    /// release.
    fn may_be_hook(&self, file: &str) -> bool {
        match numbered(file) {
            Some(hook) => self.is_asked(hook),
            None => self.known.iter().any(|hook| hook == file) && self.is_asked(file),
        }
    }
}

/// The one of our directories in which a path is.
fn top(path: &str) -> &str {
    let is_in = |directory: &&str| {
        path.strip_prefix(*directory)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    [MAN, DOC, SUDOERS].into_iter().find(is_in).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use vdsm_hooks::runner::mark::Comment;

    use super::*;

    #[test]
    fn what_is_not_ours_is_kept_by_its_event_or_its_path() {
        for (path, expected) in [
            (
                "usr/libexec/vdsm/hooks/before_vm_start/50_a",
                "before_vm_start/50_a",
            ),
            ("usr/libexec/vdsm/hooks", ""),
            ("usr/libexec/vdsm/hooks.conf", "usr/libexec/vdsm/hooks.conf"),
            ("usr/bin/vdsm-hooks", "usr/bin/vdsm-hooks"),
        ] {
            let expected = format!("{KEPT}/{expected}");
            assert_eq!(kept(path), expected.trim_end_matches('/'));
        }
    }

    #[test]
    fn files_are_called_like_hooks_with_a_number_or_without() {
        for file in ["50_macspoof", "00_macspoof", "macspoof"] {
            assert!(is_called_like(file, "macspoof"), "{file}");
        }
        for file in [
            "5_macspoof",
            "500_macspoof",
            "x0_macspoof",
            "50_macspoof2",
            "50macspoof",
        ] {
            assert!(!is_called_like(file, "macspoof"), "{file}");
        }
    }

    #[test]
    fn a_root_has_no_slash_at_its_end_and_the_real_one_is_known() -> Result {
        for root in ["/", "//", "/./", "/usr/.."] {
            let tree = Tree::new(Some(Path::new(root)), &[])?;
            assert!(tree.is_real() && tree.below().is_empty(), "{root}");
            assert_eq!(tree.shown(TOOL), "/usr/bin/vdsm-hooks");
        }
        let tree = Tree::new(Some(Path::new("/nowhere//a/")), &[])?;
        assert_eq!(tree.below(), " below /nowhere/a");
        assert_eq!(tree.shown("/etc/x"), "/nowhere/a/etc/x");
        let refused = Tree::new(None, &["cpuflagz".to_owned()]).err();
        let refused = refused.map(|error| error.to_string()).unwrap_or_default();
        let expected = "\"cpuflagz\" is not a hook of this suite: did you mean cpuflags?";
        assert_eq!(refused, expected);
        let by_file = Tree::new(None, &["50_cpuflags".to_owned()])?;
        assert!(by_file.is_asked("cpuflags") && !by_file.is_whole());
        Ok(())
    }

    #[test]
    fn ours_is_what_has_the_mark_of_its_place() -> Result {
        let root = tempfile::tempdir()?;
        let tree = Tree::new(Some(root.path()), &[])?;
        let write = |path: &str, text: &[u8]| -> Result {
            let file = tree.at(path);
            fs::create_dir_all(file.parent().unwrap_or(&file))?;
            Ok(fs::write(file, text)?)
        };
        let program = b"\x7fELF code, Part of vdsm-hooks, licence GPL";
        let script = b"#!/bin/sh\n# Part of vdsm-hooks\n";
        let sealed = mark::sealed(b"d /run/vdsm\n");
        let hook = "usr/libexec/vdsm/hooks/before_vm_start/50_a";
        let link = "usr/libexec/vdsm/hooks/before_vm_dehibernate/50_a";
        let tmpfiles = "usr/lib/tmpfiles.d/vdsm-hooks-a.conf";
        let manual = "usr/share/man/man8/vdsm-hook-a.8";
        let rules = "etc/sudoers.d/50_vdsm_hooks_a";
        for (path, text, expected) in [
            (hook, &program[..], true),
            (hook, script, false),
            (TOOL, program, true),
            (TOOL, script, false),
            ("usr/libexec/vdsm-hooks/a-helper", program, true),
            ("usr/libexec/vdsm-hooks/a-helper", script, false),
            (manual, script, true),
            (manual, b"text", false),
            (rules, &mark::marked(b"vdsm ALL\n", Comment::HASH), true),
            (rules, &sealed, true),
            (rules, &sealed[1..], false),
            (rules, b"vdsm ALL\n", false),
            (LICENCE, LICENCE_TEXT, true),
            (LICENCE, script, false),
            (tmpfiles, &sealed, true),
            (tmpfiles, &sealed[1..], false),
            (tmpfiles, script, false),
        ] {
            write(path, text)?;
            assert_eq!(tree.is_ours(path), expected, "{path}: {text:?}");
        }
        write(hook, program)?;
        let directory = tree.at(parent(link));
        fs::create_dir_all(&directory)?;
        for (target, expected) in [
            ("../before_vm_start/50_a", true),
            ("../before_vm_start/50_b", false),
            ("../../hooks/before_vm_start/50_a", false),
            ("../before_vm_start/../before_vm_start/50_a", false),
            ("50_a", false),
        ] {
            symlink(target, tree.at(link))?;
            assert_eq!(tree.is_ours(link), expected, "{target}");
            fs::remove_file(tree.at(link))?;
        }
        fs::remove_file(tree.at(manual))?;
        symlink(tree.at(tmpfiles), tree.at(manual))?;
        assert!(!tree.is_ours(manual), "a link");
        Ok(())
    }
}
