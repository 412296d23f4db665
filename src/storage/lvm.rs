// SPDX-License-Identifier: GPL-2.0-or-later

//! The volume groups of the host, with one call of LVM for all of them.

use std::time::Instant;

use super::tags;
use crate::json::Node;
use crate::{Context as _, Error, Result, cmd};

/// LVM's device settings for a storage domain. The host's own keep such devices out: those of the
/// host's disks only are to be seen there. This is the part of VDSM's own settings that decides
/// what is seen.
pub const CONFIG: &str = r#"devices { use_devicesfile=0 filter=["a|^/dev/mapper/|","r|.*|"] }"#;

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
    parse(&String::from_utf8_lossy(&output.stdout)).context("lvm vgs")
}

/// The groups in LVM's report.
fn parse(report: &str) -> Result<Vec<Group>> {
    let unknown = || Error::new("not the report that was expected");
    let mut groups = Vec::new();
    let report = Node::parse(report)?.object().ok_or_else(unknown)?;
    let sections = report.get("report").and_then(Node::array);
    for section in sections.ok_or_else(unknown)? {
        let section = section.object().ok_or_else(unknown)?;
        // Newer versions add sections of their own.
        let Some(rows) = section.get("vg").and_then(Node::array) else {
            continue;
        };
        for row in rows {
            let row = row.object().ok_or_else(unknown)?;
            let text = |name| row.get(name).and_then(Node::string).ok_or_else(unknown);
            groups.push(Group {
                name: text("vg_name")?,
                uuid: text("vg_uuid")?,
                extent: text("vg_extent_size")?,
                tags: text("vg_tags")?
                    .split_terminator(',')
                    .map(str::to_owned)
                    .collect(),
            });
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
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
            (r#"  {"report": [{"vg": []}]}"#.to_owned(), Ok(vec![])),
            (
                format!(r#"{{"report": [{{"vg": [{row}, {row}]}}], "log": []}}"#),
                Ok(vec![group.clone(), group.clone()]),
            ),
            (r#"{"report": [{"log": []}]}"#.to_owned(), Ok(vec![])),
            (
                row.replace("MDT_A=1,RHAT_storage_domain", ""),
                Err("not the report that was expected"),
            ),
            (
                r#"{"report": [{"vg": [{"vg_name":"a"}]}]}"#.to_owned(),
                Err("not the report that was expected"),
            ),
            ("[]".to_owned(), Err("not the report that was expected")),
        ] {
            let parsed = parse(&report).map_err(|error| error.to_string());
            assert_eq!(parsed, groups.map_err(str::to_owned), "{report}");
        }
        assert!(parse("  VG  Tags").is_err());
        let untagged = row.replace("MDT_A=1,RHAT_storage_domain", "");
        let untagged = parse(&format!(r#"{{"report": [{{"vg": [{untagged}]}}]}}"#));
        assert_eq!(untagged.map(|groups| groups[0].tags.len()), Ok(0));
    }
}
