// SPDX-License-Identifier: GPL-2.0-or-later

//! The value of the property.

use std::collections::HashSet;

use vdsm_hooks::image::grow::is_volume_name;
use vdsm_hooks::{Result, props};

/// What is to be grown.
pub(crate) struct Request<'a> {
    /// The disks, by their target names; none means all that can be.
    pub(crate) disks: Option<Vec<Disk<'a>>>,
    /// What is not grown stops the start.
    pub(crate) must: bool,
}

/// A disk that is named.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Disk<'a> {
    pub(crate) target: &'a str,
    /// The logical volume in it, `root` or `cl/root`.
    pub(crate) volume: Option<&'a str>,
}

const EXPECTED: &str = "expected 'off', 'auto' or names of disks such as 'vda,vdb:cl/home', and except \
     after 'off' optionally ',must'";

/// None if the property switches the hook off.
pub(crate) fn parse<'a>(property: &str, value: &'a str) -> Result<Option<Request<'a>>> {
    let wrong = |problem: &str| Err(props::wrong(property, value, problem));
    if value == "off" {
        return Ok(None);
    }
    let (names, must) = match value.strip_suffix(",must") {
        Some(names) => (names, true),
        None => (value, false),
    };
    // The second is the old spelling, as are blanks between names.
    if ["auto", "all"].contains(&names) {
        return Ok(Some(Request { disks: None, must }));
    }
    let mut disks = Vec::new();
    let mut known = HashSet::new();
    for name in names.split([',', ' ']) {
        let (target, volume) = match name.split_once(':') {
            Some((target, volume)) => (target, Some(volume)),
            None => (name, None),
        };
        if !is_target(target) || !volume.is_none_or(is_volume_name) {
            return wrong(EXPECTED);
        }
        if !known.insert(target) {
            return wrong(&format!("{target} twice, expected every disk once"));
        }
        disks.push(Disk { target, volume });
    }
    Ok(Some(Request {
        disks: Some(disks),
        must,
    }))
}

/// `vda` and the like.
fn is_target(name: &str) -> bool {
    let rest = ["hd", "sd", "vd"]
        .into_iter()
        .find_map(|bus| name.strip_prefix(bus));
    rest.is_some_and(|rest| {
        (1..=3).contains(&rest.len()) && rest.bytes().all(|byte| byte.is_ascii_lowercase())
    })
}
