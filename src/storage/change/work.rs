// SPDX-License-Identifier: GPL-2.0-or-later

//! What the administrator's tool has a child do on shared storage, beside what the hook asks for.
//! What a domain is to look like is not known here, nor how one is written.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use super::create::{self, Plan};
use super::repair::Repair;
use super::rewrite;
use crate::storage::find::metadata_file::find_metadata;
use crate::storage::find::probe::{self, Answer, message, path_of, read, run};
use crate::storage::inspect::report::Survey;
use crate::storage::inspect::survey;
use crate::{Context, Error, Result};

/// Finds the metadata that an administrator means by `path` (a domain's directory, its `dom_md`, a
/// metadata file, or a mount with one domain): the file, and what is there.
///
/// # Errors
/// There is nothing of the kind, or no answer until `end`.
pub fn meant(path: &Path, end: Instant) -> Result<(PathBuf, Answer)> {
    // The child works in another directory.
    let path = std::path::absolute(path).context(path.display())?;
    let message = run(&["meant".as_ref(), path.as_os_str()], end);
    match message.split_first() {
        Some((b'f', file)) => {
            let file = path_of(file);
            let answer = Answer::of(&run(&["file".as_ref(), file.as_os_str()], end));
            Ok((file, answer))
        }
        Some((b's', _)) => Err(Error::new(format!("{}: no answer in time", path.display()))),
        _ => Err(Error::new(String::from_utf8_lossy(
            message.get(1..).unwrap_or_default(),
        ))),
    }
}

/// Everything about the domains that an administrator means by `path`, see [`Survey`].
///
/// # Errors
/// It cannot be read, or there is no answer until `end`.
pub fn survey(path: &Path, with_volumes: bool, end: Instant) -> Result<Vec<Survey>> {
    // The child works in another directory.
    let path = std::path::absolute(path).context(path.display())?;
    let volumes = if with_volumes { "volumes" } else { "" };
    let message = run(
        &["survey".as_ref(), path.as_os_str(), volumes.as_ref()],
        end,
    );
    match &message[..] {
        b"s" => Err(Error::new(format!("{}: no answer in time", path.display()))),
        [b'u', reason @ ..] => Err(Error::new(String::from_utf8_lossy(reason))),
        message => survey::of_message(message),
    }
}

/// Makes the domain of `plan` in `target`. Gives its directory, and what is wrong with `target`
/// if something is.
///
/// # Errors
/// There is a domain already, something could not be made, or there is no answer until `end`.
pub fn create(target: &Path, plan: &Plan, end: Instant) -> Result<(PathBuf, Option<String>)> {
    let target = std::path::absolute(target).context(target.display())?;
    let (user, group) = plan.owner;
    let (text, owner) = (plan.text(), format!("{user}:{group}"));
    let arguments: [&OsStr; 4] = [
        "create".as_ref(),
        target.as_os_str(),
        text.as_ref(),
        owner.as_ref(),
    ];
    let answer = path_in(&run(&arguments, end), &target)?;
    let mut parts = answer.as_os_str().as_bytes().splitn(2, |byte| *byte == 0);
    let domain = path_of(parts.next().unwrap_or_default());
    let wrong = parts.next().filter(|wrong| !wrong.is_empty());
    Ok((
        domain,
        wrong.map(|wrong| String::from_utf8_lossy(wrong).into_owned()),
    ))
}

/// Mends a metadata file that has this content; the copy of the old one.
///
/// # Errors
/// It cannot be mended this way or written, it has another content by now, or there is no answer
/// until `end`.
pub fn mend(file: &Path, mend: Repair, content: &[u8], end: Instant) -> Result<PathBuf> {
    let digest = rewrite::digest(content);
    let arguments: [&OsStr; 4] = [
        "mend".as_ref(),
        file.as_os_str(),
        mend.word().as_ref(),
        digest.as_ref(),
    ];
    path_in(&run(&arguments, end), file)
}

/// The path in the message of a child that has worked on `place`.
fn path_in(message: &[u8], place: &Path) -> Result<PathBuf> {
    match message.split_first() {
        Some((b'f', path)) => Ok(path_of(path)),
        Some((b's', _)) => Err(Error::new(format!(
            "{0}: no answer in time, and what was done is not known; once it answers: vdsm-hooks domain check {0}",
            place.display()
        ))),
        Some((_, reason)) => Err(Error::new(String::from_utf8_lossy(reason))),
        None => Err(Error::new(format!(
            "{}: the child that works there died",
            place.display()
        ))),
    }
}

/// [`probe::serve`], and the work besides that only the administrator's tool asks for, here and as
/// `also` elsewhere.
pub fn serve_tool(also: impl FnOnce(&str, &[PathBuf]) -> Option<Vec<u8>>) -> Option<ExitCode> {
    probe::serve_also(|what, arguments| match (what, arguments) {
        ("file", [file]) => Some(read(file)),
        ("survey", [path, volumes]) => {
            let with_volumes = !volumes.as_os_str().is_empty();
            Some(survey::to_message(survey::survey(path, with_volumes)))
        }
        ("meant", [path]) => Some(path_or_error(find_metadata(path))),
        ("create", [target, text, owner]) => {
            let made = create::serve(target, &text.to_string_lossy(), &owner.to_string_lossy());
            Some(path_or_error(made.map(|(domain, wrong)| {
                let mut answer = domain.into_os_string();
                answer.push(format!("\0{wrong}"));
                PathBuf::from(answer)
            })))
        }
        ("mend", [file, word, digest]) => {
            let mend = Repair::of_word(&word.to_string_lossy())?;
            let copy = rewrite::serve(file, mend, &digest.to_string_lossy());
            Some(path_or_error(copy))
        }
        (what, arguments) => also(what, arguments),
    })
}

fn path_or_error(path: Result<PathBuf>) -> Vec<u8> {
    match path {
        Ok(path) => message(b'f', path.as_os_str().as_bytes()),
        Err(error) => message(b'e', error.to_string().as_bytes()),
    }
}
