// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain`: judges the metadata of storage domains, without writing to them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};
use vdsm_hooks::storage::probe::{self, Answer};
use vdsm_hooks::storage::{
    Finding, Judgement, METADATA_FILE, Reading, Verdict, findings, judge, seal,
};
use vdsm_hooks::{Error, Result, props};

/// What can be done with a storage domain.
#[derive(clap::Subcommand)]
pub(crate) enum DomainCommand {
    /// Judge the metadata of storage domains: the seal, and the values
    ///
    /// VDSM refuses a domain whose metadata does not fit its seal (_SHA_CKSUM), and drops it from
    /// the engine's list without a word. This command says whether the seal fits, why it probably
    /// does not, and what is wrong with the values. It judges by the rules of VDSM 4.4 and later,
    /// and mentions where VDSM 4.3 or a script that works line by line would say otherwise.
    ///
    /// Nothing is written. Storage that does not answer is given up after a while.
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The domain's directory, its dom_md, its metadata file, or the mount that holds it
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Print one JSON array with an object for every PATH
        #[arg(long)]
        json: bool,
        /// How long to wait for storage
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
        timeout: u64,
    },
    /// Print the seal that belongs to a metadata file
    ///
    /// The 40 digits that VDSM would write after _SHA_CKSUM= for the keys that the file has now,
    /// whatever seal it carries.
    #[command(after_help = CHECKSUM_HELP)]
    Checksum {
        /// The metadata file, or the directory of its domain
        file: PathBuf,
        /// How long to wait for storage
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
        timeout: u64,
    },
}

const CHECK_HELP: &str = "\
Examples:
  Every domain that is mounted on this host:
    vdsm-hooks domain check /rhev/data-center/mnt/*:*
  One domain, for a script:
    vdsm-hooks domain check --json /srv/export/37e0e64b-5445-4bc3-8675-ceff4637e8e3
  A copy of a metadata file, before it goes back:
    vdsm-hooks domain check /tmp/metadata

Exit status: 0 all is well; 1 findings: no seal, or values that are wrong; 2 broken: the seal does
not fit, the text is not UTF-8, the metadata is empty or missing, or it could not be read.";

const CHECKSUM_HELP: &str = "\
Examples:
  Seal a metadata file anew after an edit, with the domain in maintenance and a copy kept:
    cp -p metadata metadata.old
    seal=$(vdsm-hooks domain checksum metadata.old)
    { grep -v _SHA_CKSUM= metadata.old; echo \"_SHA_CKSUM=$seal\"; } > metadata
    vdsm-hooks domain check metadata";

/// Runs a subcommand; the status is the one that its help promises. What cannot be judged counts
/// as broken: a script that asks must not go on.
pub(crate) fn run(command: &DomainCommand) -> ExitCode {
    let done = match command {
        DomainCommand::Check {
            paths,
            json,
            timeout,
        } => check(paths, *json, Duration::from_secs(*timeout)),
        DomainCommand::Checksum { file, timeout } => {
            checksum(file, Duration::from_secs(*timeout)).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "vdsm-hooks: {error}");
        ExitCode::from(2)
    })
}

fn check(paths: &[PathBuf], as_json: bool, timeout: Duration) -> Result<ExitCode> {
    let end = Instant::now() + timeout;
    let reports: Vec<Result<Report>> = thread::scope(|scope| {
        let running: Vec<_> = paths
            .iter()
            .map(|path| scope.spawn(move || Report::of(path, end)))
            .collect();
        running
            .into_iter()
            .map(|thread| {
                let died = |_| Err(Error::new("internal error, please report it"));
                thread.join().unwrap_or_else(died)
            })
            .collect()
    });
    let status = reports.iter().map(|report| match report {
        Ok(report) => report.status(),
        Err(_) => 2,
    });
    let status = status.max().unwrap_or_default();
    if as_json {
        let reports = paths
            .iter()
            .zip(&reports)
            .map(|(path, report)| match report {
                Ok(report) => report.to_json(path),
                Err(error) => json!({"path": path.to_string_lossy(), "error": error.to_string()}),
            });
        writeln!(io::stdout(), "{:#}", Value::Array(reports.collect()))?;
        return Ok(ExitCode::from(status));
    }
    let mut out = anstream::stdout();
    for report in &reports {
        match report {
            Ok(report) => report.print(&mut out)?,
            Err(error) => writeln!(io::stderr(), "vdsm-hooks: {error}")?,
        }
    }
    Ok(ExitCode::from(status))
}

fn checksum(file: &Path, timeout: Duration) -> Result {
    let (file, content) = read(file, Instant::now() + timeout)?;
    let wrong = |what: &str| Error::new(format!("{}: {what}", file.display()));
    let judgement = judge(content.as_deref());
    match judgement.reading.verdict {
        Verdict::NotUtf8 | Verdict::Missing => {
            let cause = judgement.cause.map(|cause| format!(", {cause}"));
            let verdict = judgement.reading.verdict.words();
            Err(wrong(&format!("{verdict}{}", cause.unwrap_or_default())))
        }
        _ => Ok(writeln!(io::stdout(), "{}", seal(&judgement.metadata))?),
    }
}

/// The metadata file that `path` means, and its content, none if it is missing.
fn read(path: &Path, end: Instant) -> Result<(PathBuf, Option<Vec<u8>>)> {
    let (file, answer) = probe::meant(path, end)?;
    let wrong = |what: &str| Err(Error::new(format!("{}: {what}", file.display())));
    match answer {
        Answer::Found(content) => Ok((file, Some(content))),
        Answer::Missing | Answer::Absent => Ok((file, None)),
        Answer::Silent => wrong("no answer in time"),
        Answer::Unreadable(reason) => wrong(&reason),
        Answer::Block => wrong(
            "a domain on block storage: its metadata is in the tags of its volume group, expected a domain on file storage",
        ),
    }
}

/// What is said about one domain.
struct Report {
    file: PathBuf,
    judgement: Judgement,
    findings: Vec<Finding>,
}

impl Report {
    fn of(path: &Path, end: Instant) -> Result<Report> {
        let (file, content) = read(path, end)?;
        let judgement = judge(content.as_deref());
        // A copy somewhere else says nothing about the directory.
        let directory = file
            .ends_with(METADATA_FILE)
            .then(|| file.ancestors().nth(2).and_then(Path::file_name))
            .flatten();
        let directory = directory.map(|name| name.to_string_lossy().into_owned());
        // Text that cannot be decoded has no values, and nothing at all has none that are wrong.
        let findings = match judgement.reading.verdict {
            Verdict::NotUtf8 | Verdict::Missing | Verdict::Empty => Vec::new(),
            _ => findings(&judgement.metadata, directory.as_deref()),
        };
        Ok(Report {
            file,
            judgement,
            findings,
        })
    }

    fn status(&self) -> u8 {
        match self.judgement.reading.verdict {
            Verdict::Ok => u8::from(!self.findings.is_empty()),
            Verdict::Unsealed => 1,
            _ => 2,
        }
    }

    fn print(&self, out: &mut impl Write) -> Result {
        let reading = &self.judgement.reading;
        writeln!(out, "{}", self.file.display())?;
        let mut line =
            |name: &str, text: &str| writeln!(out, "  {:<13} {text}", format!("{name}:"));
        if let Some(description) = self.judgement.metadata.get("DESCRIPTION") {
            line("name", &props::quoted(description))?;
        }
        let color = match self.status() {
            0 => AnsiColor::Green,
            1 => AnsiColor::Yellow,
            _ => AnsiColor::Red,
        };
        let style = Style::new().bold().fg_color(Some(color.into()));
        line(
            "verdict",
            &format!("{style}{}{style:#}", reading.verdict.words()),
        )?;
        if let Some(declared) = &reading.declared {
            line("declared", props::quoted(declared).trim_matches('"'))?;
        }
        if let Some(computed) = &reading.computed {
            line("computed", computed)?;
        }
        if let Some(cause) = &self.judgement.cause {
            line("likely cause", cause)?;
        }
        for (reader, other) in &self.judgement.others {
            line("otherwise", &format!("{reader}: {}", in_words(other)))?;
        }
        for finding in &self.findings {
            line("finding", &finding.to_string())?;
        }
        Ok(())
    }

    fn to_json(&self, path: &Path) -> Value {
        let judgement = &self.judgement;
        let others = judgement.others.iter().map(|(reader, other)| {
            json!({
                "reader": reader.to_string(),
                "verdict": other.verdict.words(),
                "declared": other.declared,
                "computed": other.computed,
            })
        });
        let findings = self
            .findings
            .iter()
            .map(|finding| json!({"key": finding.key, "problem": finding.problem}));
        let metadata: serde_json::Map<String, Value> = judgement
            .metadata
            .iter()
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect();
        json!({
            "path": path.to_string_lossy(),
            "file": self.file.to_string_lossy(),
            "verdict": judgement.reading.verdict.words(),
            "status": self.status(),
            "declared": judgement.reading.declared,
            "computed": judgement.reading.computed,
            "cause": judgement.cause,
            "otherwise": others.collect::<Vec<_>>(),
            "findings": findings.collect::<Vec<_>>(),
            "metadata": metadata,
        })
    }
}

fn in_words(reading: &Reading) -> String {
    match (reading.verdict, &reading.computed) {
        (Verdict::Broken, Some(computed)) => format!("broken, computes {computed}"),
        (verdict, _) => verdict.words().to_owned(),
    }
}
