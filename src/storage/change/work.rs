// SPDX-License-Identifier: GPL-2.0-or-later

//! What the administrator's tool has a child do on shared storage, beside what the hook asks for.
//! What a domain is to look like is not known here, nor how one is written.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::create::{self, Plan};
use super::repair::Repair;
use super::rewrite;
use crate::host::worker::message::{self, name_of, named};
use crate::host::worker::{self, Work, Worker};
use crate::storage::find::metadata_file::{self, Content, find_metadata};
use crate::storage::find::probe::in_turn;
use crate::storage::inspect::report::{Survey, shell_path};
use crate::storage::inspect::survey;
use crate::{Context, Error, Result};

/// What a child is asked.
#[derive(Debug, PartialEq)]
enum Request {
    /// The metadata that a path means.
    Read(PathBuf),
    /// Everything about the domains that a path means.
    Survey { path: PathBuf, with_volumes: bool },
    /// To make a domain.
    Create {
        target: PathBuf,
        /// Its metadata.
        text: String,
        owner: (u32, u32),
    },
    /// To repair metadata whose content has this digest.
    Repair {
        file: PathBuf,
        repair: Repair,
        digest: String,
    },
}

/// What it answers.
#[derive(Debug, PartialEq)]
enum Answer {
    /// The file, and what is in it.
    Read(PathBuf, Content),
    /// What was seen.
    Surveyed(Vec<Survey>),
    /// The domain's directory, and what is wrong with the one around it.
    Created(PathBuf, Option<String>),
    /// The copy of the old metadata.
    Repaired(PathBuf),
}

static WORKER: Worker<Request, Answer> = Worker::new(|request| match request {
    Request::Read(path) => {
        let file = find_metadata(&path)?;
        let content = metadata_file::read(&file);
        Ok(Answer::Read(file, content))
    }
    Request::Survey { path, with_volumes } => {
        survey::survey(&path, with_volumes).map(Answer::Surveyed)
    }
    Request::Create {
        target,
        text,
        owner,
    } => {
        let (domain, wrong) = create::serve(&target, &text, owner)?;
        Ok(Answer::Created(domain, wrong))
    }
    Request::Repair {
        file,
        repair,
        digest,
    } => rewrite::serve(&file, repair, &digest).map(Answer::Repaired),
});

/// What a child does for the functions of this module.
pub fn work() -> &'static dyn Work {
    &WORKER
}

impl message::Request for Request {
    fn encode(&self) -> Vec<OsString> {
        match self {
            Request::Read(path) => named("read", &[path.as_ref()]),
            Request::Survey { path, with_volumes } => {
                let what = if *with_volumes { "volumes" } else { "domains" };
                named("survey", &[path.as_ref(), what.as_ref()])
            }
            Request::Create {
                target,
                text,
                owner: (user, group),
            } => {
                let owner = format!("{user}:{group}");
                named("create", &[target.as_ref(), text.as_ref(), owner.as_ref()])
            }
            Request::Repair {
                file,
                repair,
                digest,
            } => {
                let how = repair.word();
                named("repair", &[file.as_ref(), how.as_ref(), digest.as_ref()])
            }
        }
    }

    fn decode(words: &[OsString]) -> Option<Self> {
        match name_of(words)? {
            ("read", [path]) => Some(Request::Read(path.into())),
            ("survey", [path, what]) => Some(Request::Survey {
                path: path.into(),
                with_volumes: match what.to_str()? {
                    "volumes" => true,
                    "domains" => false,
                    _ => return None,
                },
            }),
            ("create", [target, text, owner]) => {
                let (user, group) = owner.to_str()?.split_once(':')?;
                Some(Request::Create {
                    target: target.into(),
                    text: text.to_str()?.to_owned(),
                    owner: (user.parse().ok()?, group.parse().ok()?),
                })
            }
            ("repair", [file, how, digest]) => Some(Request::Repair {
                file: file.into(),
                repair: Repair::of_word(how.to_str()?)?,
                digest: digest.to_str()?.to_owned(),
            }),
            _ => None,
        }
    }
}

impl message::Answer for Answer {
    fn encode(&self, message: &mut Vec<u8>) {
        match self {
            Answer::Read(file, content) => {
                b'r'.encode(message);
                file.encode(message);
                content.encode(message);
            }
            // Deep, and in no hook.
            Answer::Surveyed(surveys) => {
                b's'.encode(message);
                let json = serde_json::to_vec(surveys);
                json.unwrap_or_default().encode(message);
                for survey in surveys {
                    survey.metadata.encode(message);
                }
            }
            Answer::Created(domain, wrong) => {
                b'c'.encode(message);
                domain.encode(message);
                wrong.encode(message);
            }
            Answer::Repaired(copy) => {
                b'w'.encode(message);
                copy.encode(message);
            }
        }
    }

    fn decode(message: &mut &[u8]) -> Option<Self> {
        match u8::decode(message)? {
            b'r' => Some(Answer::Read(
                PathBuf::decode(message)?,
                Content::decode(message)?,
            )),
            b's' => {
                let json: Vec<u8> = Vec::decode(message)?;
                let mut surveys: Vec<Survey> = serde_json::from_slice(&json).ok()?;
                for survey in &mut surveys {
                    survey.metadata = Content::decode(message)?;
                }
                Some(Answer::Surveyed(surveys))
            }
            b'c' => Some(Answer::Created(
                PathBuf::decode(message)?,
                Option::decode(message)?,
            )),
            b'w' => PathBuf::decode(message).map(Answer::Repaired),
            _ => None,
        }
    }
}

/// What a child answers that looks at `place`.
fn look(request: &Request, place: &Path, end: Instant) -> Result<Answer> {
    let answer = in_turn(&WORKER, request, end).context(place.display())?;
    answer.unwrap_or_else(|| {
        let place = place.display();
        Err(Error::new(format!("{place}: no answer in time")))
    })
}

/// What a child answers that writes in `place`.
fn write(request: &Request, place: &Path, end: Instant) -> Result<Answer> {
    let answer = in_turn(&WORKER, request, end).context(place.display())?;
    answer.unwrap_or_else(|| {
        Err(Error::new(format!(
            "{0}: no answer in time, and what was done is not known; once it answers: vdsm-hooks domain check {1}",
            place.display(),
            shell_path(place)
        )))
    })
}

/// Finds the metadata that an administrator means by `path` (a domain's directory, its `dom_md`, a
/// metadata file, or a mount with one domain): the file, and what is there.
///
/// # Errors
/// There is nothing of the kind, or no answer until `end`.
pub fn read(path: &Path, end: Instant) -> Result<(PathBuf, Content)> {
    // The child works in another directory.
    let path = std::path::absolute(path).context(path.display())?;
    match look(&Request::Read(path.clone()), &path, end)? {
        Answer::Read(file, content) => Ok((file, content)),
        _ => Err(worker::unexpected()),
    }
}

/// Everything about the domains that an administrator means by `path`, see [`Survey`].
///
/// # Errors
/// It cannot be read, or there is no answer until `end`.
pub fn survey(path: &Path, with_volumes: bool, end: Instant) -> Result<Vec<Survey>> {
    // The child works in another directory.
    let path = std::path::absolute(path).context(path.display())?;
    let request = Request::Survey {
        path: path.clone(),
        with_volumes,
    };
    match look(&request, &path, end)? {
        Answer::Surveyed(surveys) => Ok(surveys),
        _ => Err(worker::unexpected()),
    }
}

/// Makes the domain of `plan` in `target`. Gives its directory, and what is wrong with `target`
/// if something is.
///
/// # Errors
/// There is a domain already, something could not be made, or there is no answer until `end`.
pub fn create(target: &Path, plan: &Plan, end: Instant) -> Result<(PathBuf, Option<String>)> {
    let target = std::path::absolute(target).context(target.display())?;
    let request = Request::Create {
        target: target.clone(),
        text: plan.text(),
        owner: plan.owner,
    };
    match write(&request, &target, end)? {
        Answer::Created(domain, wrong) => Ok((domain, wrong)),
        _ => Err(worker::unexpected()),
    }
}

/// Repairs a metadata file that has this content; the copy of the old one.
///
/// # Errors
/// It cannot be repaired this way or written, it has another content by now, or there is no answer
/// until `end`.
pub fn repair(file: &Path, repair: Repair, content: &[u8], end: Instant) -> Result<PathBuf> {
    let request = Request::Repair {
        file: file.to_owned(),
        repair,
        digest: rewrite::digest(content),
    };
    match write(&request, file, end)? {
        Answer::Repaired(copy) => Ok(copy),
        _ => Err(worker::unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Finding;
    use crate::host::worker::message::{
        Answer as _, assert_goes_over, assert_is_understood, latin1,
    };
    use crate::storage::inspect::report::Image;

    #[test]
    fn requests() {
        let survey_of = |path: PathBuf, with_volumes| Request::Survey { path, with_volumes };
        let repair_by = |repair| Request::Repair {
            file: latin1(),
            repair,
            digest: "da39a3ee5e6b4b0d3255bfef95601890afd80709".to_owned(),
        };
        assert_is_understood(&[
            Request::Read(latin1()),
            survey_of("/mnt".into(), true),
            survey_of(latin1(), false),
            Request::Create {
                target: latin1(),
                text: "CLASS=Iso\nVERSION=0\n".to_owned(),
                owner: (36, u32::MAX),
            },
            repair_by(Repair::Seal),
            repair_by(Repair::Restore),
            repair_by(Repair::Release),
        ]);
        let of = |words: &[&OsString]| {
            let words: Vec<OsString> = words.iter().map(|word| (*word).clone()).collect();
            <Request as message::Request>::decode(&words)
        };
        let [survey, create, repair, path, right] =
            ["survey", "create", "repair", "/a", "36:36"].map(OsString::from);
        let [none, one, many] = ["", "36", "36:36:36"].map(OsString::from);
        let no_text = latin1().into_os_string();
        assert!(of(&[&create, &path, &path, &right]).is_some());
        for words in [
            [&create, &path, &path, &none],
            [&create, &path, &path, &one],
            [&create, &path, &path, &many],
            [&create, &path, &no_text, &right],
            [&repair, &path, &path, &path],
            [&repair, &path, &no_text, &path],
        ] {
            assert_eq!(of(&words), None, "{words:?}");
        }
        assert_eq!(of(&[&survey, &path, &none]), None);
    }

    #[test]
    fn answers() {
        let survey = Survey {
            file: latin1().into(),
            metadata: Content::Found(b"A=1\n\0\xff".to_vec()),
            findings: vec![
                Finding::warning("dom_md/ids", "missing"),
                Finding::problem("", "données").with_remedy("cat\n".to_owned()),
            ],
            unsaid: 1,
            facts: vec![("lock".to_owned(), "free".to_owned())],
            holders: vec!["host 1".to_owned()],
            images: vec![Image {
                name: "images/a".to_owned(),
                qcow2: true,
                capacity: u64::MAX,
            }],
        };
        let padded = Survey {
            metadata: Content::Found(b"A=1\n\0\0".to_vec()),
            ..survey.clone()
        };
        assert_goes_over(&[
            Answer::Read(latin1(), Content::Missing),
            Answer::Read(latin1(), Content::Found(vec![0; 9])),
            Answer::Read("/a".into(), Content::Found(b"A=1".to_vec())),
            Answer::Surveyed(Vec::new()),
            Answer::Surveyed(vec![padded, survey]),
            Answer::Created(latin1(), None),
            Answer::Created("/a".into(), Some("closed".to_owned())),
            Answer::Repaired(latin1()),
        ]);
        for message in [&b""[..], b"x", b"r", b"s"] {
            assert_eq!(message::decode::<Answer>(message), None, "{message:?}");
        }
        let mut no_json = vec![b's'];
        b"[{]".to_vec().encode(&mut no_json);
        assert_eq!(message::decode::<Answer>(&no_json), None);
    }
}
