// SPDX-License-Identifier: GPL-2.0-or-later

//! Everything that can be seen of a file domain, for the administrator: read by a child process in
//! one go, because any of it may block.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::inside::{Dir, MOST_ENTRIES};
use super::metadata::MOST_METADATA;
use super::probe;
use super::{Metadata, contents, is_uuid, layout, volumes};
use crate::host::command::shell_quoted;
use crate::{Error, Result};

/// The most remarks that are made about one domain.
pub const MOST_REMARKS: usize = 200;

/// One thing that is wrong with a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// The file below the domain's directory, or the key of the metadata.
    pub about: String,
    /// What is wrong and what would be right.
    pub problem: String,
    /// The command that mends it, if there is one.
    pub remedy: Option<String>,
}

/// The metadata of a domain, or of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// The whole file.
    Found(Vec<u8>),
    /// There is none.
    Missing,
    /// It is in the tags of a volume group.
    Block,
    /// It cannot be read, and why.
    Unreadable(String),
}

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
    /// What is in it.
    pub metadata: Content,
    /// What is wrong besides the metadata.
    pub remarks: Vec<Remark>,
    /// How many remarks more there would be.
    pub unsaid: usize,
    /// The lock, and other things that are worth knowing: name and words.
    pub facts: Vec<(String, String)>,
    /// Who holds the domain, or why that is not known; nothing if nobody does.
    pub holders: Vec<String>,
    /// The volumes, if they were asked for.
    pub images: Vec<Image>,
}

impl Survey {
    /// The domain's directory; none for a copy of metadata somewhere else.
    pub fn directory(&self) -> Option<&Path> {
        let file = Path::new(&self.file);
        let inside = file.ends_with(super::METADATA_FILE);
        inside.then(|| file.ancestors().nth(2)).flatten()
    }
}

/// Looks at what an administrator means by `path`: a domain's directory, its `dom_md`, its metadata
/// or a copy of it, or a mount with any number of domains.
///
/// # Errors
/// It is not there, or cannot be read.
pub fn survey(path: &Path, with_volumes: bool) -> Result<Vec<Survey>> {
    let files = probe::find_all(path)?;
    Ok(files
        .into_iter()
        .map(|file| Surveyor::run(&file, with_volumes))
        .collect())
}

/// A domain that is being looked at.
pub(super) struct Surveyor {
    pub(super) directory: PathBuf,
    /// The domain's id: the name of its directory.
    pub(super) id: String,
    pub(super) metadata: Metadata,
    survey: Survey,
}

impl Surveyor {
    fn run(file: &Path, with_volumes: bool) -> Survey {
        let mut survey = Survey {
            file: file.as_os_str().to_owned(),
            metadata: Content::Missing,
            remarks: Vec::new(),
            unsaid: 0,
            facts: Vec::new(),
            holders: Vec::new(),
            images: Vec::new(),
        };
        let Some(directory) = survey.directory().map(Path::to_owned) else {
            survey.metadata = copy(file);
            return survey;
        };
        let domain = Dir::of_domain(&directory);
        survey.metadata = match &domain {
            Ok(_) if probe::is_volume(file) => Content::Block,
            Ok(domain) => content(domain),
            Err(error) => Content::Unreadable(error.to_string()),
        };
        let text = match &survey.metadata {
            Content::Found(content) => String::from_utf8_lossy(content).into_owned(),
            _ => String::new(),
        };
        let name = directory.file_name().unwrap_or_default();
        let mut surveyor = Surveyor {
            id: name.to_string_lossy().into_owned(),
            metadata: Metadata::read(text.trim_end_matches('\0')).0,
            directory,
            survey,
        };
        let is_file_domain = surveyor.survey.metadata != Content::Block;
        if let (Ok(domain), true) = (domain, is_file_domain) {
            layout::look(&mut surveyor, &domain);
            contents::look(&mut surveyor, &domain);
            if with_volumes {
                volumes::look(&mut surveyor, &domain);
            }
        }
        surveyor.survey
    }

    /// The domain's version; none if the metadata does not say.
    pub(super) fn version(&self) -> Option<i64> {
        self.number("VERSION")
    }

    /// A number of the metadata.
    pub(super) fn number(&self, key: &str) -> Option<i64> {
        self.metadata.get(key).and_then(super::findings::integer)
    }

    /// Whether a value of the metadata is this word, in any case.
    pub(super) fn says(&self, key: &str, word: &str) -> bool {
        let value = self.metadata.get(key);
        value.is_some_and(|value| value.eq_ignore_ascii_case(word))
    }

    /// A file of the domain, for a shell.
    pub(super) fn path(&self, name: impl AsRef<Path>) -> String {
        let name = name.as_ref();
        let path = if name.as_os_str().is_empty() {
            self.directory.clone()
        } else {
            self.directory.join(name)
        };
        shell_quoted(&path.to_string_lossy())
    }

    pub(super) fn remark(
        &mut self,
        about: impl AsRef<Path>,
        problem: impl Into<String>,
        remedy: impl Into<Option<String>>,
    ) {
        if self.survey.remarks.len() == MOST_REMARKS {
            self.survey.unsaid += 1;
            return;
        }
        self.survey.remarks.push(Remark {
            about: about.as_ref().to_string_lossy().into_owned(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
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

    /// A directory of the domain; a remark and none if it cannot be read.
    pub(super) fn open(&mut self, parent: &Dir, name: &str) -> Option<Dir> {
        let error = match parent.dir(name) {
            Ok(dir) => return Some(dir),
            Err(error) => error,
        };
        let about = parent.name.join(name);
        let problem = match (parent.look(name), error.kind()) {
            (_, ErrorKind::NotFound) => "missing".to_owned(),
            (Ok(Some(entry)), _) if !entry.is_dir() => {
                format!("{}, expected a directory", entry.words())
            }
            _ => error.to_string(),
        };
        self.remark(about, problem, None);
        None
    }

    /// The names in a directory; a remark and none if it cannot be read, and a remark if there are
    /// too many.
    pub(super) fn names(&mut self, dir: &Dir) -> Vec<OsString> {
        match dir.names() {
            Ok((names, false)) => names,
            Ok((names, true)) => {
                let problem =
                    format!("more than {MOST_ENTRIES} entries, the others are not looked at");
                self.remark(&dir.name, problem, None);
                names
            }
            Err(error) => {
                self.remark(&dir.name, error.to_string(), None);
                Vec::new()
            }
        }
    }
}

/// The metadata of a domain.
fn content(domain: &Dir) -> Content {
    let read = || {
        let dom_md = domain.dir("dom_md")?;
        match dom_md.look("metadata")? {
            None => Err(ErrorKind::NotFound.into()),
            Some(entry) if entry.is_file() => dom_md.read("metadata", 0, MOST_METADATA + 1),
            Some(entry) => Err(io::Error::other(format!(
                "{}, expected a file",
                entry.words()
            ))),
        }
    };
    let content = match read() {
        // The SPM has just replaced the file on an NFS server; the new one is whole.
        Err(error) if error.kind() == ErrorKind::StaleNetworkFileHandle => read(),
        other => other,
    };
    bounded(content)
}

/// The metadata in a file that is no domain's.
fn copy(file: &Path) -> Content {
    bounded(probe::content(file))
}

fn bounded(content: io::Result<Vec<u8>>) -> Content {
    match content {
        Ok(content) if content.len() as u64 > MOST_METADATA => {
            Content::Unreadable(format!("larger than {MOST_METADATA} bytes"))
        }
        Ok(content) => Content::Found(content),
        Err(error) if error.kind() == ErrorKind::NotFound => Content::Missing,
        Err(error) => Content::Unreadable(error.to_string()),
    }
}

/// The child's message for [`survey`], and what it means.
pub(super) fn to_message(surveys: Result<Vec<Survey>>) -> Vec<u8> {
    let answer = surveys.map_err(|error| error.to_string());
    serde_json::to_vec(&answer).unwrap_or_default()
}

/// Reads the message of a child.
///
/// # Errors
/// What the child says instead.
pub(super) fn of_message(message: &[u8]) -> Result<Vec<Survey>> {
    let answer: std::result::Result<Vec<Survey>, String> = serde_json::from_slice(message)
        .map_err(|_| Error::new("the child that reads it died, or had too much to say"))?;
    answer.map_err(Error::new)
}

/// Whether VDSM would take a directory of this name for a domain, if it has a `dom_md`.
pub(super) fn looks_like_domain(name: &str) -> bool {
    name.matches('-').count() >= 4 || is_uuid(name)
}
