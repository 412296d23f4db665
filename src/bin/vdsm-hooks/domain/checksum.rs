// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain checksum`: the seal that belongs to a metadata file.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use vdsm_hooks::storage::{self, Reader, judge};
use vdsm_hooks::{Error, Result};

/// Print the seal that belongs to a metadata file
///
/// The 40 digits that VDSM would write after _SHA_CKSUM= for the keys that the file has now,
/// whatever seal it carries. 'vdsm-hooks domain seal' writes them.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The metadata file, or the directory of its domain; - is standard input
    file: PathBuf,
    /// Whose rules: those of VDSM 4.4 and later, of VDSM 4.3 and older, or of scripts that sort and
    /// hash lines
    #[arg(long, value_name = "READER", default_value = "current")]
    reader: ReaderName,
    #[command(flatten)]
    host: super::Host,
}

const HELP: &str = "\
Example:
  Do old hosts and new ones agree on a file?
    vdsm-hooks domain checksum metadata
    vdsm-hooks domain checksum --reader old metadata";

#[derive(Clone, Copy, clap::ValueEnum)]
enum ReaderName {
    Current,
    Old,
    Script,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (file, content) = if super::is_standard_input(&arguments.file) {
        (
            super::STANDARD_INPUT.into(),
            Some(super::standard_input(super::MAX_METADATA_BYTES)?),
        )
    } else {
        super::read(&arguments.file, arguments.host.end())?
    };
    let text = content.as_deref().map(std::str::from_utf8);
    let Some(Ok(text)) = text else {
        let judgement = judge(content.as_deref());
        let cause = judgement.cause.map(|cause| format!(", {cause}"));
        return Err(Error::new(format!(
            "{}: {}{}",
            file.display(),
            judgement.reading.verdict,
            cause.unwrap_or_default()
        )));
    };
    let reader = match arguments.reader {
        ReaderName::Current => Reader::Vdsm44,
        ReaderName::Old => Reader::Vdsm43,
        ReaderName::Script => Reader::LineScript,
    };
    writeln!(io::stdout(), "{}", storage::checksum(text, reader))?;
    Ok(ExitCode::SUCCESS)
}
