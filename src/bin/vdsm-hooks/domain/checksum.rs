// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain checksum`: the seal that belongs to a metadata file.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use vdsm_hooks::storage::{Verdict, judge, seal};
use vdsm_hooks::{Error, Result};

/// Print the seal that belongs to a metadata file
///
/// The 40 digits that VDSM would write after _SHA_CKSUM= for the keys that the file has now,
/// whatever seal it carries.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The metadata file, or the directory of its domain
    file: PathBuf,
    #[command(flatten)]
    host: super::Host,
}

const HELP: &str = "\
Examples:
  Seal a metadata file anew after an edit, with the domain in maintenance and a copy kept:
    cp -p metadata metadata.old
    seal=$(vdsm-hooks domain checksum metadata.old)
    { grep -v _SHA_CKSUM= metadata.old; echo \"_SHA_CKSUM=$seal\"; } > metadata
    vdsm-hooks domain check metadata";

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (file, content) = super::read(&arguments.file, arguments.host.end())?;
    let judgement = judge(content.as_deref());
    if let Verdict::NotUtf8 | Verdict::Missing = judgement.reading.verdict {
        let cause = judgement.cause.map(|cause| format!(", {cause}"));
        return Err(Error::new(format!(
            "{}: {}{}",
            file.display(),
            judgement.reading.verdict.words(),
            cause.unwrap_or_default()
        )));
    }
    writeln!(io::stdout(), "{}", seal(&judgement.metadata))?;
    Ok(ExitCode::SUCCESS)
}
