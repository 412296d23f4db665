// SPDX-License-Identifier: GPL-2.0-or-later

//! The volume groups of the host, with one call of LVM for all of them.

use std::sync::OnceLock;
use std::time::Instant;

use super::tags;
use crate::{Error, Result, cmd};

/// LVM's device settings for storage domains. The host's own let LVM see the host's disks only.
/// These are the part of VDSM's that decides what is seen, and leave LVM's notes about devices as
/// they are.
pub const CONFIG: &str = concat!(
    r#"devices { filter=["a|^/dev/mapper/|","r|.*|"] hints="none""#,
    " obtain_device_list_from_udev=0 use_devicesfile=0 }"
);

/// A volume group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name: a storage domain's id.
    pub name: String,
    /// LVM's own id.
    pub uuid: String,
    /// The size of an extent in bytes.
    pub extent: String,
    /// Its tags.
    pub tags: Vec<String>,
}

impl Group {
    /// Whether this is a storage domain that VDSM has finished making.
    pub fn is_domain(&self) -> bool {
        self.has(tags::DOMAIN)
    }

    /// Whether VDSM has begun to make this domain, and not finished.
    pub fn is_unready(&self) -> bool {
        self.has(tags::UNREADY)
    }

    fn has(&self, tag: &str) -> bool {
        self.tags.iter().any(|known| known == tag)
    }
}

/// The volume groups, asked for when the first one is wanted, once, and until one deadline.
pub struct Lvm {
    end: Instant,
    groups: OnceLock<Result<Vec<Group>>>,
}

impl Lvm {
    /// Nothing is asked yet.
    pub fn new(end: Instant) -> Lvm {
        Lvm {
            end,
            groups: OnceLock::new(),
        }
    }

    /// All groups.
    ///
    /// # Errors
    /// As [`groups`].
    pub fn groups(&self) -> std::result::Result<&[Group], &Error> {
        let groups = self.groups.get_or_init(|| groups(self.end)).as_ref();
        groups.map(Vec::as_slice)
    }

    /// The group called `name`, none if there is none.
    ///
    /// # Errors
    /// Why LVM does not say; none if it did not answer in time.
    pub fn group(&self, name: &str) -> std::result::Result<Option<&Group>, Option<&Error>> {
        match self.groups() {
            Ok(groups) => Ok(groups.iter().find(|group| group.name == name)),
            Err(_) if Instant::now() >= self.end => Err(None),
            Err(error) => Err(Some(error)),
        }
    }
}

/// All volume groups on the host's multipath devices, read without a lock and without a change.
///
/// # Errors
/// LVM is not there, may not be run, fails, or does not answer until `end`.
pub fn groups(end: Instant) -> Result<Vec<Group>> {
    let arguments = [
        "vgs",
        "--readonly",
        "--reportformat",
        "json",
        "--units",
        "b",
        "--nosuffix",
        "--config",
        CONFIG,
        "--options",
        "vg_name,vg_uuid,vg_extent_size,vg_tags",
    ];
    let left = end.saturating_duration_since(Instant::now());
    let output = cmd::run_as_root("lvm", &arguments, left)?.success()?;
    let groups = parse(&String::from_utf8_lossy(&output.stdout));
    groups.ok_or_else(|| Error::new("lvm vgs: not the report that was expected"))
}

/// The groups in LVM's report: the objects that hold strings and nothing else. A reader of all JSON
/// would make a hook 40 KB larger.
fn parse(report: &str) -> Option<Vec<Group>> {
    let mut groups = Vec::new();
    // Names and values of the object that is open.
    let mut strings: Vec<String> = Vec::new();
    let mut depth = 0_usize;
    let mut rest = report;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => strings.push(string(&mut rest)?),
            '{' | '[' => {
                depth += 1;
                strings.clear();
            }
            '}' | ']' => {
                depth = depth.checked_sub(1)?;
                if !strings.is_empty() {
                    groups.push(group(&strings)?);
                    strings.clear();
                }
            }
            ',' | ':' | ' ' | '\n' => {}
            _ => return None,
        }
    }
    (depth == 0 && !report.is_empty()).then_some(groups)
}

/// The group with these members: names, each with its value behind it.
fn group(strings: &[String]) -> Option<Group> {
    Some(Group {
        name: value(strings, "vg_name")?.to_owned(),
        uuid: value(strings, "vg_uuid")?.to_owned(),
        extent: value(strings, "vg_extent_size")?.to_owned(),
        tags: value(strings, "vg_tags")?
            .split_terminator(',')
            .map(str::to_owned)
            .collect(),
    })
}

fn value<'s>(strings: &'s [String], name: &str) -> Option<&'s str> {
    let at = strings.iter().step_by(2).position(|known| known == name)?;
    strings.get(2 * at + 1).map(String::as_str)
}

/// Takes a string whose first quote is gone off `rest`. LVM escapes quotes and backslashes.
fn string(rest: &mut &str) -> Option<String> {
    let mut text = String::new();
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            '"' if !escaped => {
                *rest = &rest[at + 1..];
                return Some(text);
            }
            '\\' if !escaped => escaped = true,
            _ => {
                text.push(c);
                escaped = false;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn reports() {
        let row = r#"{"vg_name":"a", "vg_uuid":"u", "vg_extent_size":"134217728", "vg_tags":"MDT_A=1,RHAT_storage_domain"}"#;
        let group = Group {
            name: "a".to_owned(),
            uuid: "u".to_owned(),
            extent: "134217728".to_owned(),
            tags: vec!["MDT_A=1".to_owned(), "RHAT_storage_domain".to_owned()],
        };
        assert!(group.is_domain() && !group.is_unready());
        for (report, groups) in [
            (r#"  {"report": [{"vg": []}]}"#.to_owned(), Some(vec![])),
            (
                format!(r#"{{"report": [{{"vg": [{row}, {row}]}}], "log": []}}"#),
                Some(vec![group.clone(), group.clone()]),
            ),
            (r#"{"report": [{"log": []}]}"#.to_owned(), Some(vec![])),
            (
                r#"{"report": [{"vg": [{"vg_name":"a"}]}]}"#.to_owned(),
                None,
            ),
            (format!("[{row}"), None),
            (format!("{row}]"), None),
            (row.replace("tags\":", "tags"), None),
            ("  VG  Tags".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(parse(&report), groups, "{report}");
        }
        let untagged = parse(&row.replace("MDT_A=1,RHAT_storage_domain", ""));
        assert_eq!(untagged.map(|groups| groups[0].tags.len()), Some(0));
    }

    proptest! {
        #[test]
        fn reports_are_read_as_json_is(rows in prop::collection::vec(("\\PC{0,9}", "[ -~]{0,30}"), 0..5)) {
            let row = |(name, tags): &(String, String)| {
                json!({"vg_name": name, "vg_uuid": "u", "vg_extent_size": "1", "vg_tags": tags})
            };
            let rows_as_json: Vec<Value> = rows.iter().map(row).collect();
            let report = json!({"report": [{"vg": rows_as_json}]});
            for report in [report.to_string(), format!("{report:#}")] {
                let groups = parse(&report);
                let read = groups.map(|groups| {
                    let pair = |group: Group| (group.name, group.tags.join(","));
                    groups.into_iter().map(pair).collect::<Vec<_>>()
                });
                let expected = rows.iter().map(|(name, tags)| {
                    (name.clone(), tags.strip_suffix(',').unwrap_or(tags).to_owned())
                });
                prop_assert_eq!(read, Some(expected.collect()));
            }
        }
    }
}
