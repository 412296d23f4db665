// SPDX-License-Identifier: GPL-2.0-or-later

//! What is reported of a file domain to the administrator, and the pen of those that fill it in.
//! What there is to look at is not known here.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::host::command::shell_quoted;
use crate::storage::find::dir::{Dir, MAX_ENTRIES};
use crate::storage::find::metadata_file::{Content, domain_of};
use crate::storage::format::metadata::{Metadata, integer};
use crate::storage::verdict::engine;
use crate::{Error, Result};

/// The most findings that are told of one domain.
pub const MAX_FINDINGS: usize = 200;

/// A volume whose virtual size is to be compared with its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its name below the domain's directory.
    pub name: String,
    /// Whether it is qcow2; else it is raw.
    pub qcow2: bool,
    /// The virtual size that its metadata says.
    pub capacity: u64,
}

/// What was seen of one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// The metadata file.
    pub file: OsString,
    /// What is in it. It goes over beside the rest, since it is no text.
    #[serde(skip)]
    pub metadata: Content,
    /// What is wrong besides the metadata: each about a file below the domain's directory.
    pub findings: Vec<Finding>,
    /// How many findings more there would be.
    pub unsaid: usize,
    /// The lock, and other things that are worth knowing: name and words.
    pub facts: Vec<(String, String)>,
    /// Who holds the domain, or why that is not known; nothing if nobody does.
    pub holders: Vec<String>,
    /// The volumes, if they were asked for.
    pub images: Vec<Image>,
}

impl Survey {
    /// Of a copy of metadata, which is called `name`.
    pub fn of_copy(name: impl Into<OsString>, content: Vec<u8>) -> Survey {
        Survey {
            metadata: Content::Found(content),
            ..Survey::new(name)
        }
    }

    /// Nothing was seen yet.
    pub(super) fn new(file: impl Into<OsString>) -> Survey {
        Survey {
            file: file.into(),
            metadata: Content::Missing,
            findings: Vec::new(),
            unsaid: 0,
            facts: Vec::new(),
            holders: Vec::new(),
            images: Vec::new(),
        }
    }

    /// The domain's directory; none for a copy of metadata somewhere else.
    pub fn directory(&self) -> Option<&Path> {
        domain_of(Path::new(&self.file))
    }

    /// The metadata; none if there is none.
    ///
    /// # Errors
    /// It cannot be read, or is not in a file.
    pub fn content(&self) -> Result<Option<&[u8]>> {
        let place = Path::new(&self.file).display();
        match &self.metadata {
            Content::Found(content) => Ok(Some(content)),
            Content::Missing | Content::Absent => Ok(None),
            Content::Block => Err(Error::new(format!(
                "{place}: a domain on block storage, expected its id in place of the path"
            ))),
            Content::Unreadable(reason) => {
                Err(Error::new(format!("{place}: cannot be read, {reason}")))
            }
        }
    }
}

/// A path for a POSIX shell, in one line that no terminal obeys: where it has control characters, or
/// is not UTF-8, printf(1) makes it. Only a line end at its end gets lost there, and with it the
/// file, which then is not found.
pub fn shell_path(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => shell_quoted(text),
        _ => {
            let mut format = String::new();
            for byte in bytes {
                if byte.is_ascii_alphanumeric() || b"+-_.,:=/@ ".contains(byte) {
                    format.push(char::from(*byte));
                } else {
                    format += &format!("\\{byte:03o}");
                }
            }
            format!("\"$(printf '{format}')\"")
        }
    }
}

/// What is to be done about something that is wrong: a command, or what only a person can do, or
/// both.
pub(super) struct Cure {
    command: Option<String>,
    advice: Option<String>,
}

impl Cure {
    /// A command for a shell, after which nothing is wrong any more.
    pub(super) fn command(command: impl Into<String>) -> Cure {
        Cure {
            command: Some(command.into()),
            advice: None,
        }
    }

    /// What to do where no command can know it.
    pub(super) fn advice(advice: impl Into<String>) -> Cure {
        Cure {
            command: None,
            advice: Some(advice.into()),
        }
    }

    /// The same after this command.
    pub(super) fn after(self, first: &str) -> Cure {
        Cure {
            command: self.command.map(|command| format!("{first} && {command}")),
            ..self
        }
    }

    /// The command as something to be done only if `condition` holds, which only a person knows.
    pub(super) fn only(self, condition: &str) -> Cure {
        match self.command {
            Some(command) => Cure::advice(format!("{condition}: {command}")),
            None => self,
        }
    }

    /// The same with something to know beside the command, if there is one.
    pub(super) fn and_if_command(self, advice: &str) -> Cure {
        if self.command.is_some() {
            self.and(advice)
        } else {
            self
        }
    }

    /// The same with something to know beside the command.
    pub(super) fn and(self, advice: impl Into<String>) -> Cure {
        Cure {
            advice: Some(advice.into()),
            ..self
        }
    }
}

/// A domain that is being looked at.
pub(super) struct Surveyor {
    pub(super) directory: PathBuf,
    /// The domain's id: the name of its directory.
    pub(super) id: String,
    /// What the seal was made over, if it proves that, and else what the file says.
    pub(super) metadata: Metadata,
    /// Whether VDSM would take these values.
    pub(super) is_sealed: bool,
    pub(super) survey: Survey,
}

impl Surveyor {
    /// The domain's version; none if the metadata does not say.
    pub(super) fn version(&self) -> Option<i64> {
        self.number("VERSION")
    }

    /// A number of the metadata.
    pub(super) fn number(&self, key: &str) -> Option<i64> {
        self.metadata.get(key).and_then(integer)
    }

    /// Whether a value of the metadata is this word, in any case.
    pub(super) fn says(&self, key: &str, word: &str) -> bool {
        let value = self.metadata.get(key);
        value.is_some_and(|value| value.eq_ignore_ascii_case(word))
    }

    /// A file of the domain, for a shell.
    pub(super) fn path(&self, name: impl AsRef<Path>) -> String {
        let name = name.as_ref();
        if name.as_os_str().is_empty() {
            return shell_path(&self.directory);
        }
        shell_path(&self.directory.join(name))
    }

    /// Something that is wrong, what the engine shows of it, and what is to be done.
    pub(super) fn finding(
        &mut self,
        about: impl AsRef<Path>,
        text: impl Into<String>,
        engine: &str,
        cure: Cure,
    ) {
        if self.survey.findings.len() == MAX_FINDINGS {
            self.survey.unsaid += 1;
            return;
        }
        let about = match about.as_ref().to_string_lossy() {
            // The domain itself.
            nameless if nameless.is_empty() => ".".into(),
            named => named,
        };
        let mut finding = Finding::warning(about, text)
            .with_remedy(cure.command)
            .with_engine(engine);
        finding.advice = cure.advice;
        self.survey.findings.push(finding);
    }

    /// Something that cannot be looked at, because the storage gives an error.
    pub(super) fn trouble(&mut self, about: impl AsRef<Path>, error: &io::Error) {
        let (engine, advice) = match error.kind() {
            // Root too may be nobody there.
            ErrorKind::PermissionDenied => (
                engine::HIDDEN,
                "check as root or, where the server takes root for nobody, as VDSM's user (sudo -u vdsm)",
            ),
            _ => (
                engine::STORAGE,
                "look for the storage's trouble in its server's log and in that of the kernel (dmesg), then check again",
            ),
        };
        self.finding(about, error.to_string(), engine, Cure::advice(advice));
    }

    pub(super) fn fact(&mut self, name: &str, words: impl Into<String>) {
        self.survey.facts.push((name.to_owned(), words.into()));
    }

    pub(super) fn held(&mut self, by: impl Into<String>) {
        self.survey.holders.push(by.into());
    }

    pub(super) fn image(&mut self, image: Image) {
        self.survey.images.push(image);
    }

    /// The command that makes directories of the domain.
    pub(super) fn directories<'p>(&self, names: impl IntoIterator<Item = &'p PathBuf>) -> String {
        let mut command = "install -d -m 0755 -o 36 -g 36".to_owned();
        for name in names {
            command = format!("{command} {}", self.path(name));
        }
        command
    }

    /// A directory of the domain; a finding, which the engine shows as `engine`, and none if it
    /// cannot be read.
    pub(super) fn open(&mut self, parent: &Dir, name: &str, engine: &str) -> Option<Dir> {
        let error = match parent.dir(name) {
            Ok(dir) => return Some(dir),
            Err(error) => error,
        };
        let about = parent.name.join(name);
        match (parent.look(name), error.kind()) {
            (_, ErrorKind::NotFound) => {
                let made = Cure::command(self.directories([&about]));
                let cure = match name {
                    // An empty one would make VDSM see a domain without metadata.
                    "dom_md" => Cure::advice(
                        "put it back from a backup with the metadata in it: an empty one is of no use",
                    ),
                    "images" => made.and("the files that were in it come back from a backup only"),
                    _ => made,
                };
                self.finding(about, "missing", engine, cure);
            }
            (Ok(Some(entry)), _) if !entry.is_dir() => {
                let problem = format!("{}, expected a directory", entry.describe());
                let cure = Cure::advice(
                    "put the directory itself in its place: what is outside of the domain is not looked at",
                );
                self.finding(about, problem, engine, cure);
            }
            _ => self.trouble(about, &error),
        }
        None
    }

    /// The names in a directory; a finding and none if it cannot be read, and a finding if there are
    /// too many.
    pub(super) fn names(&mut self, dir: &Dir) -> Vec<OsString> {
        match dir.names() {
            Ok((names, false)) => names,
            Ok((names, true)) => {
                let problem =
                    format!("more than {MAX_ENTRIES} entries, the others are not looked at");
                let cure = Cure::advice("find out what has made so many: VDSM reads them all");
                self.finding(&dir.name, problem, engine::NOTHING, cure);
                names
            }
            Err(error) => {
                self.trouble(&dir.name, &error);
                Vec::new()
            }
        }
    }
}
