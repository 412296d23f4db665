// SPDX-License-Identifier: GPL-2.0-or-later

//! Validation against libvirt's schema, which VDSM itself never asks for: libvirt silently drops
//! elements and attributes that it does not know.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use vdsm_hooks::host::command;
use vdsm_hooks::libvirt::parts;
use vdsm_hooks::{Context as _, Error, Result};

const PROGRAM: &str = "virt-xml-validate";
const TIMEOUT: Duration = Duration::from_secs(60);

/// Whether the program is there.
pub(crate) fn check_installed() -> Result {
    command::find(PROGRAM).map(drop).map_err(|error| {
        Error::new(format!(
            "{error}; --schema and --strict need libvirt's client programs \
             (Debian: libvirt-clients, EL: libvirt-client)"
        ))
    })
}

/// What the schema has against the document, one line each; empty if it is valid. libvirt has a
/// schema for domains only, so a device is put into the smallest domain there is.
pub(crate) fn problems(data: &[u8]) -> Result<Vec<String>> {
    match parts::as_domain(&String::from_utf8_lossy(data)) {
        Ok(domain) => problems_of(&domain),
        Err(error) => Ok(vec![error.to_string()]),
    }
}

/// What the schema has against `after` and had not against `before`, which is not valid. `now` is
/// what it has against all of `after`.
pub(crate) fn new_problems(before: &[u8], after: &[u8], now: &[String]) -> Result<Vec<String>> {
    if now.is_empty() {
        return Ok(Vec::new());
    }
    let text = String::from_utf8_lossy;
    let Ok(comparison) = parts::Comparison::new(&text(before), &text(after)) else {
        // Not XML any more, or not before.
        return Ok(now.to_vec());
    };
    // One element of a name is the same as all of them.
    let mut judged: BTreeMap<String, Vec<String>> = BTreeMap::new();
    comparison.new_among_others(|domain| {
        if let Some(problems) = judged.get(domain) {
            return Ok(problems.clone());
        }
        let problems = problems_of(domain)?;
        judged.insert(domain.to_owned(), problems.clone());
        Ok(problems)
    })
}

fn problems_of(domain: &str) -> Result<Vec<String>> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("document.xml");
    fs::write(&file, domain).context(file.display())?;
    let output = command::run(PROGRAM, &[file.as_os_str(), OsStr::new("domain")], TIMEOUT)?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let messages = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    Ok(readable(&messages, &file))
}

/// The messages without the name of our file, line numbers (they move with every edit) and lines
/// that only sum up.
fn readable(messages: &str, file: &Path) -> Vec<String> {
    let file = file.display().to_string();
    let mut found: Vec<String> = Vec::new();
    for line in messages.lines() {
        let line = line.strip_prefix(&format!("{file}:")).unwrap_or(line);
        let line = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let line = line.trim_start_matches([':', ' ']).trim();
        let line = line.replace("Relax-NG validity error : ", "");
        if !line.is_empty() && !line.contains(&file) && !found.contains(&line) {
            found.push(line);
        }
    }
    if found.is_empty() {
        found.push("not valid, without a reason".to_owned());
    }
    found
}
