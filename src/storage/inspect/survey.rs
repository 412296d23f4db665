// SPDX-License-Identifier: GPL-2.0-or-later

//! Everything that can be seen of a file domain, for the administrator: read by a child process in
//! one go, because any of it may block.

use std::path::Path;

use super::report::{Survey, Surveyor};
use super::{images, layout, volumes};
use crate::Result;
use crate::storage::find::metadata_file::{self, Content};
use crate::storage::format::reading::Verdict;
use crate::storage::verdict::judge::judge;

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
        let judgement = match &survey.metadata {
            Content::Found(content) => judge(Some(content)),
            _ => judge(None),
        };
        let is_sealed = match judgement.reading.verdict {
            Verdict::Ok | Verdict::Unsealed => true,
            _ => judgement.proved.is_some(),
        };
        let name = directory.file_name().unwrap_or_default();
        let mut surveyor = Surveyor {
            id: name.to_string_lossy().into_owned(),
            metadata: judgement.proved.unwrap_or(judgement.metadata),
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
