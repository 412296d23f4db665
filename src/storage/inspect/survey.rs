// SPDX-License-Identifier: GPL-2.0-or-later

//! Everything that can be seen of a file domain, for the administrator: read by a child process in
//! one go, because any of it may block.

use std::path::Path;

use super::report::{Survey, Surveyor};
use super::{images, layout, volumes};
use crate::Result;
use crate::storage::find::metadata_file::{self, Content};
use crate::storage::format::metadata::Metadata;
use crate::storage::format::reading::{Reading, Verdict, without_padding};
use crate::storage::format::seal::seal;
use crate::storage::verdict::judge::judge;

/// Longer text is not tried for what its seal proves, but for a digest that is spelt otherwise.
const MAX_JUDGED_BYTES: usize = 8 << 10;

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

/// What the seal was made over, if it proves that, and else what the text says; and whether VDSM would
/// take it. Who asks judges the text once more, so a long one, of which no seal proves anything, is not
/// judged here: there may be very many keys.
fn values(content: &[u8]) -> (Metadata, bool) {
    let text = String::from_utf8_lossy(content);
    let text = without_padding(&text);
    let (metadata, declared) = Metadata::read(text);
    let verdict = Reading::compare(declared, seal(&metadata)).verdict;
    let is_whole = std::str::from_utf8(content).is_ok();
    if is_whole && verdict != Verdict::Broken {
        let is_there = !metadata.is_empty();
        return (metadata, is_there);
    }
    if is_whole && text.len() <= MAX_JUDGED_BYTES {
        if let Some(proved) = judge(Some(text.as_bytes())).proved {
            return (proved, true);
        }
    }
    (metadata, false)
}

impl Surveyor {
    fn run(file: &Path, with_volumes: bool) -> Survey {
        let mut survey = Survey::new(file);
        let Some(directory) = survey.directory().map(Path::to_owned) else {
            survey.metadata = metadata_file::read(file);
            return survey;
        };
        let domain = metadata_file::open(&directory);
        survey.metadata = match &domain {
            Ok(domain) => metadata_file::read_domain(domain),
            Err(content) => content.clone(),
        };
        let (metadata, is_sealed) = match &survey.metadata {
            Content::Found(content) => values(content),
            _ => (Metadata::default(), false),
        };
        let name = directory.file_name().unwrap_or_default();
        let mut surveyor = Surveyor {
            id: name.to_string_lossy().into_owned(),
            metadata,
            is_sealed,
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
