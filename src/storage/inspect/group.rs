// SPDX-License-Identifier: GPL-2.0-or-later

//! A volume group that is a domain: what is wrong with it, and the command that mends its metadata.
//! How LVM is asked for groups is not known here.

use crate::finding::Finding;
use crate::host::command::shell_quoted;
use crate::props;
use crate::storage::find::lvm::{CONFIG, Group};
use crate::storage::format::metadata::Metadata;
use crate::storage::format::tags::{self, UNREADY};
use crate::storage::verdict::engine;

/// The size of the extents of a domain in bytes.
const EXTENT: u64 = 128 << 20;

/// The command that does what [`tags::change`] says; none if there is nothing to do.
pub fn command(group: &Group, metadata: &Metadata) -> Option<String> {
    let change = tags::change(&group.tags, metadata);
    if change.is_empty() {
        return None;
    }
    let words = ["lvm", "vgchange", "--config", CONFIG].map(str::to_owned);
    let words = words.into_iter().chain(change).chain([group.name.clone()]);
    let words: Vec<String> = words.map(|word| shell_quoted(&word)).collect();
    Some(words.join(" "))
}

/// What is wrong with a volume group that is a domain with this metadata.
pub fn findings(group: &Group, metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |about: &str, problem: String, engine: &str, advice: &str| {
        let finding = Finding::warning(about, problem).with_engine(engine);
        findings.push(finding.with_advice(advice));
    };
    if group.is_unready() {
        add(
            "tags",
            format!("{UNREADY}: VDSM has not finished making it"),
            engine::LOST_ON_BLOCK,
            "if nobody is making it now it never was a domain: the engine can make a new one of its LUNs, which overwrites them",
        );
    }
    if let Some(uuid) = metadata.get("VGUUID").filter(|uuid| *uuid != group.uuid) {
        let uuid = props::quoted(uuid);
        add(
            "VGUUID",
            format!("{uuid}, but that of the volume group is {}", group.uuid),
            engine::NOTHING,
            "find out whether the group is a copy of another domain's before a host sees both",
        );
    }
    if group.extent != EXTENT.to_string() {
        add(
            "extents",
            format!("of {} bytes, expected {EXTENT}", group.extent),
            engine::NOTHING,
            "VDSM never makes such a group: copy its disks to a domain that the engine makes",
        );
    }
    let kind = metadata.get("TYPE").unwrap_or_default();
    if !["ISCSI", "FCP", ""].contains(&kind.to_uppercase().as_str()) {
        let kind = props::quoted(kind);
        add(
            "TYPE",
            format!("{kind}, but the domain is a volume group, expected ISCSI or FCP"),
            engine::LOST_ON_BLOCK,
            "change the tag of TYPE to what connects its LUNs, then seal it",
        );
    }
    for (key, value) in metadata.iter() {
        let number = key.strip_prefix("PV").unwrap_or_default();
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let fields = value.split(',').filter_map(|field| field.split_once(':'));
        let names: Vec<&str> = fields.map(|(name, _)| name).collect();
        if names != ["pv", "uuid", "pestart", "pecount", "mapoffset"] {
            let value = props::quoted(value);
            add(
                key,
                format!("{value}, expected pv:,uuid:,pestart:,pecount:,mapoffset:"),
                engine::NOTHING,
                "put the tag back as 'lvm pvs -o pv_name,pv_uuid,pv_pe_count' says, then seal it",
            );
        }
    }
    findings
}
