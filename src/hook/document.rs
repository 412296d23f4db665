// SPDX-License-Identifier: GPL-2.0-or-later

//! The data file of an event: read, handed on, and replaced if it changes.
//!
//! It lies in `/tmp`, as VDSM's other data files. A hook that is killed while it replaces one
//! leaves `.NAME.RANDOM.new` there, which systemd-tmpfiles removes (systemd 252
//! tmpfiles.d/tmp.conf) like the data file of a killed VDSM: no later start comes by that name, and
//! to look for others in `/tmp` costs every start.

use std::env;
use std::path::{Path, PathBuf};

use crate::host::{files, temporary};
use crate::xml::{Document, Edits};
use crate::{Context, Error, Result, json, xml};

/// The largest document that is read: far above any domain XML, far below what would hurt a host.
const MAX_DOCUMENT_BYTES: u64 = 64 << 20;

/// Reads the event's XML, lets `change` record edits, and replaces the file if they change it.
///
/// An empty file means that the event has no document: `change` is not called. The new text is
/// parsed before it is written, and written to a temporary file that is renamed into place, so
/// the data file holds either the old document or the whole new one.
///
/// # Errors
/// No XML in this event, a file that cannot be read or parsed, whatever `change` returns, and a
/// result that cannot be written. The data file is then what it was.
///
/// ```no_run
/// use vdsm_hooks::{Result, hook, xml};
/// # fn run() -> Result {
/// hook::edit(|document, edits| {
///     for disk in xml::devices(document, "disk") {
///         edits.set_attr(disk, "snapshot", "no");
///     }
///     Ok(())
/// })
/// # }
/// ```
pub fn edit(change: impl FnOnce(&Document<'_>, &mut Edits<'_>) -> Result) -> Result {
    let Some((path, text)) = read_document("_hook_domxml", "_hook_json")? else {
        return Ok(());
    };
    let document = xml::parse(&text).context(path.display())?;
    let mut edits = Edits::new(&document);
    change(&document, &mut edits)?;
    save(&path, edits.finish()?)
}

/// Hands the event's XML to `look`, without a way to change it. Not called for an empty file.
///
/// # Errors
/// As [`edit`].
///
/// ```no_run
/// use vdsm_hooks::{Error, Result, hook, xml};
/// # fn run() -> Result {
/// hook::read(|document| {
///     if xml::devices(document, "disk").is_empty() {
///         return Err(Error::new("the VM has no disk"));
///     }
///     Ok(())
/// })
/// # }
/// ```
pub fn read(look: impl FnOnce(&Document<'_>) -> Result) -> Result {
    let Some((path, text)) = read_document("_hook_domxml", "_hook_json")? else {
        return Ok(());
    };
    look(&xml::parse(&text).context(path.display())?)
}

/// Reads the event's JSON, lets `change` record edits, and replaces the file if they change it.
/// As [`edit`], byte for byte.
///
/// # Errors
/// As [`edit`].
///
/// ```no_run
/// use vdsm_hooks::{Result, hook};
/// # fn run() -> Result {
/// hook::edit_json(|document, edits| {
///     let object = document.object();
///     let object = object.ok_or_else(|| hook::unexpected_json("an object"))?;
///     edits.set(&object, "kvmEnabled", &"true".into())
/// })
/// # }
/// ```
pub fn edit_json(
    change: impl for<'a> FnOnce(json::Node<'a>, &mut json::Edits<'a>) -> Result,
) -> Result {
    let Some((path, text)) = read_document("_hook_json", "_hook_domxml")? else {
        return Ok(());
    };
    let document = json::Node::parse(&text).context(path.display())?;
    let mut edits = json::Edits::new(&text);
    change(document, &mut edits)?;
    save(&path, edits.finish()?)
}

/// Hands the event's JSON to `look`, without a way to change it. Not called for an empty file.
///
/// # Errors
/// As [`edit`].
pub fn read_json(look: impl FnOnce(json::Node<'_>) -> Result) -> Result {
    let Some((path, text)) = read_document("_hook_json", "_hook_domxml")? else {
        return Ok(());
    };
    look(json::Node::parse(&text).context(path.display())?)
}

/// The error of JSON that is not of the event's shape.
pub fn unexpected_json(expected: &str) -> Error {
    let path = env::var_os("_hook_json").unwrap_or_default();
    let path = Path::new(&path).display();
    Error::new(format!("{path}: unexpected JSON: expected {expected}"))
}

/// The data file that VDSM names in the variable `wanted`. Where it names one of the `other` kind
/// the hook is installed for an event that it does not serve.
fn data_file(wanted: &str, other: &str) -> Result<PathBuf> {
    match env::var_os(wanted) {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ if env::var_os(other).is_some() => Err(Error::new(format!(
            "this event hands over {other}, the hook works on {wanted}: is it installed for the right event?"
        ))),
        _ => Err(Error::new(format!(
            "the variable {wanted} is not set: VDSM names the data file there; at a shell use 'vdsm-hooks run'"
        ))),
    }
}

/// The data file and its text, see [`data_file`]; nothing for an empty file.
fn read_document(wanted: &str, other: &str) -> Result<Option<(PathBuf, String)>> {
    let path = data_file(wanted, other)?;
    let bytes = files::read_file(&path, MAX_DOCUMENT_BYTES)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) => Err(Error::new(format!(
            "{}: not UTF-8 at byte {}",
            path.display(),
            error.utf8_error().valid_up_to()
        ))),
    }
}

/// Replaces the data file, if there is anything new.
fn save(path: &Path, new: Option<String>) -> Result {
    new.map_or(Ok(()), |new| temporary::replace_file(path, new.as_bytes()))
}
