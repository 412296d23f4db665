// SPDX-License-Identifier: GPL-2.0-or-later

//! Validation against libvirt's schema, which VDSM itself never asks for: libvirt drops elements
//! and attributes that it does not know without a word.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use roxmltree::Document;

use vdsm_hooks::{Context as _, Error, Result, cmd, xml};

const PROGRAM: &str = "virt-xml-validate";
const DEADLINE: Duration = Duration::from_secs(60);

/// libvirt has a schema for domains only, so a device is put into the smallest domain there is.
const AROUND_DEVICE: [&str; 2] = [
    "<domain type='kvm'><name>x</name><memory>1</memory><os><type>hvm</type></os><devices>",
    "</devices></domain>",
];

/// Whether the program is there.
pub(crate) fn check_installed() -> Result {
    cmd::find(PROGRAM).map(drop).map_err(|error| {
        Error::new(format!(
            "{error}; --schema needs libvirt's client programs \
             (Debian: libvirt-clients, EL: libvirt-client)"
        ))
    })
}

/// What the schema has against the document, one line each; empty if it is valid.
pub(crate) fn problems(data: &[u8]) -> Result<Vec<String>> {
    let text = String::from_utf8_lossy(data);
    let document = match xml::parse(&text) {
        Ok(document) => document,
        Err(error) => return Ok(vec![error.to_string()]),
    };
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("document.xml");
    fs::write(&file, as_domain(&text, &document)).context(file.display())?;
    let output = cmd::run(PROGRAM, &[file.as_os_str(), OsStr::new("domain")], DEADLINE)?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    let messages = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    Ok(readable(&messages, &file))
}

fn as_domain(text: &str, document: &Document<'_>) -> String {
    let root = document.root_element();
    if xml::is(root, "domain") {
        return text.to_owned();
    }
    let [before, after] = AROUND_DEVICE;
    format!("{before}{}{after}", &text[root.range()])
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
