// SPDX-License-Identifier: GPL-2.0-or-later

//! Everything that can be seen of a file domain, for the administrator: read by a child process in
//! one go, because any of it may block.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::dir::Dir;
use super::report::{Survey, Surveyor};
use super::{images, layout, volumes};
use crate::Result;
use crate::storage::find::metadata_file::{self, Content, again_if_stale, bounded};
use crate::storage::format::metadata::{MAX_METADATA_BYTES, Metadata};

/// Looks at what an administrator means by `path`: a domain's directory, its `dom_md`, its metadata
/// or a copy of it, or a mount with any number of domains.
///
/// # Errors
/// It is not there, or cannot be read.
pub(in crate::storage) fn survey(path: &Path, with_volumes: bool) -> Result<Vec<Survey>> {
    let files = metadata_file::find_all(path)?;
    Ok(files
        .into_iter()
        .map(|file| Surveyor::run(&file, with_volumes))
        .collect())
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
            Ok(_) if metadata_file::is_volume(file) => Content::Block,
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
            images::look(&mut surveyor, &domain);
            if with_volumes {
                volumes::look(&mut surveyor, &domain);
            }
        }
        surveyor.survey
    }
}

/// The metadata of a domain.
fn content(domain: &Dir) -> Content {
    let read = || {
        let dom_md = domain.dir("dom_md")?;
        match dom_md.look("metadata")? {
            None => Err(ErrorKind::NotFound.into()),
            Some(entry) if entry.is_file() => dom_md.read("metadata", 0, MAX_METADATA_BYTES + 1),
            Some(entry) => Err(io::Error::other(format!(
                "{}, expected a file",
                entry.words()
            ))),
        }
    };
    content_of(again_if_stale(read))
}

/// The metadata in a file that is no domain's.
fn copy(file: &Path) -> Content {
    content_of(metadata_file::content(file))
}

fn content_of(read: io::Result<Vec<u8>>) -> Content {
    match read.and_then(bounded) {
        Ok(content) => Content::Found(content),
        Err(error) if error.kind() == ErrorKind::NotFound => Content::Missing,
        Err(error) => Content::Unreadable(error.to_string()),
    }
}
