// SPDX-License-Identifier: GPL-2.0-or-later

//! What this release installs, file by file.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use nix::unistd::geteuid;

use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::host::command::{self, Output};
use vdsm_hooks::host::interrupt;
use vdsm_hooks::host::temporary::{self, Named, Temporary};
use vdsm_hooks::host::transaction;
use vdsm_hooks::paths::{HELPERS, HOOKS};
use vdsm_hooks::runner::installed;
use vdsm_hooks::runner::mark::{self, Comment};
use vdsm_hooks::{Context as _, Error, Result};

use super::host;
use super::tree::{
    self, BASH_COMPLETION, DOC, FISH_COMPLETION, LICENCE, MAN, TOOL, Tree, ZSH_COMPLETION, below,
};
use crate::completion::{self, Shell};
use crate::{catalog, man};

pub(super) const LICENCE_TEXT: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/LICENSE"));
const README_TEXT: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
const PROGRAM_MODE: u32 = 0o755;
/// A large file may be among those that are put aside.
const COPY_TIMEOUT: Duration = Duration::from_secs(600);

/// What a file is to be.
pub(super) enum Content {
    Text(Cow<'static, [u8]>, u32),
    /// A built program, with the mode [`PROGRAM_MODE`].
    Program(PathBuf),
    Link(String),
}

/// A file to be installed.
pub(super) struct Wanted {
    pub(super) path: String,
    pub(super) content: Content,
    /// The package to remove where another hook is in its place.
    pub(super) package: Option<String>,
}

/// All files to be installed, programs before the links to them.
pub(super) struct List {
    pub(super) files: Vec<Wanted>,
    /// Lines for the list of those whose place does not tell that they are ours.
    pub(super) spread: Vec<String>,
    /// Our hook and the path of each hook of other packages that does the same.
    pub(super) others: Vec<(String, String)>,
}

/// What is installed of the hooks that the tree asks for, with programs of this directory.
pub(super) fn list(tree: &Tree, programs: &Path, tool: &clap::Command) -> Result<List> {
    let mut list = List {
        files: Vec::new(),
        spread: Vec::new(),
        others: Vec::new(),
    };
    let mut links = Vec::new();
    let hooks = tree.hooks()?;
    for hook in &hooks {
        list.add_hook(hook, programs, &mut links)?;
    }
    list.add_tool(&hooks, programs, tool)?;
    // After the programs, so that no link ever points to nothing.
    list.files.append(&mut links);
    Ok(list)
}

impl List {
    fn add(&mut self, path: &str, content: Content, package: Option<&str>) {
        self.files.push(Wanted {
            path: below(path).to_owned(),
            content,
            package: package.map(str::to_owned),
        });
    }

    fn add_text(&mut self, path: &str, text: Vec<u8>, mode: u32) {
        self.add(path, Content::Text(text.into(), mode), None);
    }

    fn add_hook(&mut self, hook: &Manifest, programs: &Path, links: &mut Vec<Wanted>) -> Result {
        let name = hook.name.as_str();
        let file = |file: &str| {
            let text = catalog::file(name, file);
            text.ok_or_else(|| Error::new(format!("hooks/{name}/{file} is not in this program")))
        };
        let readme = mark::marked(file("README.md")?, Comment::ANGLE);
        self.add_text(&format!("{DOC}/{name}.md"), readme, 0o644);
        if !hook.sudo.is_empty() {
            let rules = mark::sealed(file("sudoers")?);
            host::check_sudoers(&rules).context(format!("hooks/{name}/sudoers"))?;
            self.add_text(&tree::sudoers(name), rules, 0o440);
        }
        let package = hook.replaces.as_deref();
        let mut places = hook.events.iter().map(|event| hook.place(event));
        let program = places.next().unwrap_or_default();
        let target = format!("../{program}");
        let program = format!("{HOOKS}/{program}");
        self.add(&program, built(programs, name)?, package);
        self.remember_name(name, &program);
        for place in places {
            let link = format!("{HOOKS}/{place}");
            self.remember_name(name, &link);
            links.push(Wanted {
                path: below(&link).to_owned(),
                content: Content::Link(target.clone()),
                package: package.map(str::to_owned),
            });
        }
        let helpers = hook.helpers.iter().map(|helper| (HELPERS, helper));
        let daemons = hook.daemons.iter().map(|daemon| (HOOKS, daemon));
        for (directory, other) in helpers.chain(daemons) {
            let path = format!("{directory}/{other}");
            self.add(&path, built(programs, other)?, None);
            self.remember(name, &path);
        }
        for of_host in &hook.files {
            let text = mark::sealed(file(&of_host.source)?);
            let mode = u32::from_str_radix(&of_host.mode, 8);
            self.add_text(&of_host.path, text, mode.context(&of_host.path)?);
            self.remember(name, &of_host.path);
        }
        for other in hook.silences.iter().flat_map(|other| &other.places) {
            let path = format!("{HOOKS}/{other}");
            self.others.push((name.to_owned(), below(&path).to_owned()));
        }
        Ok(())
    }

    /// A file at an event that is not called like its hook is found by the list alone.
    fn remember_name(&mut self, hook: &str, path: &str) {
        if !tree::is_called_like(tree::name(path), hook) {
            self.remember(hook, path);
        }
    }

    fn remember(&mut self, hook: &str, path: &str) {
        self.spread.push(format!("{hook}\t{}", below(path)));
    }

    fn add_tool(&mut self, hooks: &[Manifest], programs: &Path, tool: &clap::Command) -> Result {
        self.add(TOOL, built(programs, "vdsm-hooks")?, None);
        for (name, page) in man::pages(hooks, tool.clone())? {
            let chapter = name.rsplit_once('.').map_or("1", |(_, chapter)| chapter);
            let path = format!("{MAN}/man{chapter}/{name}");
            self.add_text(&path, mark::marked(page.as_bytes(), Comment::ROFF), 0o644);
        }
        for (shell, path) in [
            (Shell::Bash, BASH_COMPLETION),
            (Shell::Zsh, ZSH_COMPLETION),
            (Shell::Fish, FISH_COMPLETION),
        ] {
            let script = completion::script(shell).as_bytes();
            self.add_text(path, mark::marked(script, Comment::HASH), 0o644);
        }
        let readme = mark::marked(README_TEXT, Comment::ANGLE);
        self.add_text(&format!("{DOC}/README.md"), readme, 0o644);
        self.add(LICENCE, Content::Text(LICENCE_TEXT.into(), 0o644), None);
        Ok(())
    }
}

fn built(programs: &Path, name: &str) -> Result<Content> {
    let program = programs.join(name);
    if installed::is_program(&program) {
        return Ok(Content::Program(program));
    }
    Err(Error::new(format!(
        "{} is missing or not part of vdsm-hooks: build with 'cargo build --release --locked', \
         and name the directory with --programs",
        program.display()
    )))
}

impl Wanted {
    /// Whether the file is in its place already.
    pub(super) fn is_current(&self, tree: &Tree) -> Result<bool> {
        let place = tree.at(&self.path);
        let Ok(found) = fs::symlink_metadata(&place) else {
            return Ok(false);
        };
        let (text, mode) = match &self.content {
            Content::Link(target) => {
                let is_same = tree.target(&self.path).as_ref() == Some(target);
                // Another hook may link its events in the same way, and wants its link back some day.
                return Ok(is_same && (fs::metadata(&place).is_err() || tree.is_ours(&self.path)));
            }
            Content::Text(text, mode) => (text.clone(), *mode),
            Content::Program(program) => {
                if fs::metadata(program).context(program.display())?.len() != found.len() {
                    return Ok(false);
                }
                (
                    fs::read(program).context(program.display())?.into(),
                    PROGRAM_MODE,
                )
            }
        };
        // Who is not root cannot give files away.
        let is_owned = !geteuid().is_root() || (found.uid(), found.gid()) == (0, 0);
        let is_alike = found.is_file() && is_owned && found.mode() & 0o7777 == mode;
        Ok(is_alike && fs::read(&place).is_ok_and(|there| there == *text))
    }
}

impl transaction::Content for Content {
    fn make<'d>(&self, directory: BorrowedFd<'d>, name: &str) -> io::Result<Named<'d>> {
        interrupt::pending()?;
        match self {
            Content::Link(target) => Named::link(directory, name, Path::new(target)),
            Content::Text(text, mode) => made(directory, name, &mut &text[..], *mode),
            Content::Program(program) => {
                made(directory, name, &mut File::open(program)?, PROGRAM_MODE)
            }
        }
    }
}

/// A new file with what `source` gives.
fn made<'d>(
    directory: BorrowedFd<'d>,
    name: &str,
    source: &mut dyn io::Read,
    mode: u32,
) -> io::Result<Named<'d>> {
    let mut new = Temporary::new(directory, name)?;
    let file = new.file();
    io::copy(source, file)?;
    if geteuid().is_root() {
        fchown(&*file, Some(0), Some(0))?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(new.written())
}

/// A copy of a file or link, with everything that belongs to it.
pub(super) struct Copied {
    from: PathBuf,
    mode: Option<u32>,
}

impl Copied {
    pub(super) fn of(from: PathBuf) -> Copied {
        Copied { from, mode: None }
    }

    /// A copy of a file, with another mode.
    pub(super) fn with_mode(from: PathBuf, mode: u32) -> Copied {
        let mode = Some(mode);
        Copied { from, mode }
    }
}

impl transaction::Content for Copied {
    fn make<'d>(&self, directory: BorrowedFd<'d>, name: &str) -> io::Result<Named<'d>> {
        interrupt::pending()?;
        let copy = temporary::name(name)?;
        // The directory that is open, whatever its path leads to now.
        let here = format!("/proc/{}/fd/{}", process::id(), directory.as_raw_fd());
        let to = format!("{here}/{copy}");
        let words = [
            OsStr::new("-a"),
            OsStr::new("--"),
            self.from.as_os_str(),
            OsStr::new(&to),
        ];
        let copied = command::run("cp", &words, COPY_TIMEOUT).and_then(Output::checked);
        let made = Named::made(directory, copy);
        if let Err(error) = copied {
            return Err(io::Error::other(error.to_string().replace(&to, name)));
        }
        if let Some(mode) = self.mode {
            fs::set_permissions(&to, Permissions::from_mode(mode))?;
        }
        made
    }
}

/// One of our own lists.
pub(super) fn list_of(lines: &BTreeSet<String>) -> Content {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Content::Text(text.into_bytes().into(), 0o644)
}
