// SPDX-License-Identifier: GPL-2.0-or-later

//! What is wrong with the values of metadata, whether it is sealed or not.

use super::engine;
use crate::finding::Finding;
use crate::props::{is_uuid, quoted};
use crate::storage::format::metadata::{Metadata, integer};

/// The values that keys usually have: those that VDSM and the old engine-setup write.
pub(super) const USUAL: &[(&str, &[&str])] = &[
    ("VERSION", &["0", "2", "3", "4", "5"]),
    ("CLASS", &CLASSES),
    ("TYPE", &TYPES),
    ("ROLE", &["Regular", "Master"]),
    ("POOL_UUID", &["", NO_POOL]),
    ("LOCKPOLICY", &["", "ON"]),
    ("MASTER_VERSION", &["0", "1"]),
    ("ALIGNMENT", &["1048576", "2097152", "4194304", "8388608"]),
    ("BLOCK_SIZE", &["512", "4096"]),
    ("IOOPTIMEOUTSEC", &["10", "1"]),
    ("LEASERETRIES", &["3"]),
    ("LEASETIMESEC", &["60", "5"]),
    ("LOCKRENEWALINTERVALSEC", &["5"]),
];

const CLASSES: [&str; 3] = ["Data", "Iso", "Backup"];
const TYPES: [&str; 7] = [
    "NFS",
    "LOCALFS",
    "POSIXFS",
    "GLUSTERFS",
    "CIFS",
    "ISCSI",
    "FCP",
];
const BLOCK_TYPES: [&str; 2] = ["ISCSI", "FCP"];
/// What to do where a domain is called otherwise than its metadata says.
const OTHER_NAME: &str = "find out which of the two is the domain's id, such as from the engine: if the directory or the volume group was renamed or copied, give it that name back while no host uses it; if the line is wrong, correct it and make a new seal with 'vdsm-hooks domain seal'";
const NO_POOL: &str = "00000000-0000-0000-0000-000000000000";
/// Numbers of the domain's lock, with what VDSM takes in their place (VDSM 4.50 lib/vdsm/storage/sd.py:
/// `DEFAULT_LEASE_PARAMS`, `intOrDefault`).
const LEASE_NUMBERS: [(&str, i64); 4] = [
    ("IOOPTIMEOUTSEC", 10),
    ("LEASERETRIES", 3),
    ("LEASETIMESEC", 60),
    ("LOCKRENEWALINTERVALSEC", 5),
];
/// The longest name of a domain on block storage (VDSM 4.50 lib/vdsm/storage/sd.py:
/// `MAX_DOMAIN_DESCRIPTION_SIZE`).
const MAX_ON_BLOCK_CHARS: usize = 50;

/// What is wrong with the values. `name` is the domain's directory (or volume group), if it is
/// known, and must be its SDUUID. The subject of each is the key.
pub fn findings(metadata: &Metadata, name: Option<&str>) -> Vec<Finding> {
    let mut found = Findings {
        metadata,
        found: Vec::new(),
    };
    let version = found.version();
    found.class_and_type(version);
    found.names(version, name);
    found.pools();
    found.lease_numbers(version);
    found.sectors(version);
    found.found
}

/// Keys without which VDSM loads no domain.
const NEEDED: [&str; 5] = ["VERSION", "CLASS", "TYPE", "ROLE", "DESCRIPTION"];

/// Whether lines are missing without which VDSM loads no domain, so that a seal would be of no use.
pub fn is_cut(metadata: &Metadata) -> bool {
    NEEDED.iter().any(|key| metadata.get(key).is_none())
}

struct Findings<'m> {
    metadata: &'m Metadata,
    found: Vec<Finding>,
}

impl<'m> Findings<'m> {
    fn add(&mut self, key: &'static str, problem: impl Into<String>, engine: &str) {
        let finding = Finding::warning(key, problem).with_engine(engine);
        self.found.push(finding);
    }

    /// The value of one of [`NEEDED`].
    fn required(&mut self, key: &'static str) -> Option<&'m str> {
        debug_assert!(NEEDED.contains(&key), "{key}");
        let value = self.metadata.get(key);
        if value.is_none() {
            self.add(
                key,
                "missing, so that VDSM cannot load the domain",
                engine::LOST,
            );
        }
        value
    }

    fn version(&mut self) -> Option<i64> {
        let text = self.required("VERSION")?;
        let version = integer(text).filter(|version| [0, 2, 3, 4, 5].contains(version));
        if version.is_none() {
            self.add(
                "VERSION",
                format!("{} is unknown, expected one of 0, 2, 3, 4, 5", quoted(text)),
                engine::LOST,
            );
        }
        version
    }

    fn class_and_type(&mut self, version: Option<i64>) {
        let class = self.required("CLASS").filter(|class| {
            let known = CLASSES.contains(class);
            if !known {
                self.add(
                    "CLASS",
                    format!(
                        "{} is unknown, expected one of {}",
                        quoted(class),
                        CLASSES.join(", ")
                    ),
                    engine::LOST,
                );
            }
            known
        });
        let kind = self.required("TYPE").and_then(|text| {
            let upper = text.to_uppercase();
            let kind = TYPES.into_iter().find(|known| *known == upper);
            if kind.is_none() {
                self.add(
                    "TYPE",
                    format!(
                        "{} is unknown, expected one of {}",
                        quoted(text),
                        TYPES.join(", ")
                    ),
                    engine::LOST,
                );
            }
            kind
        });
        let on_block = kind.map(|kind| BLOCK_TYPES.contains(&kind));
        match (version, class) {
            (Some(0), _) | (None, _) | (_, None | Some("Data")) => {}
            (Some(version), Some(class)) => self.add(
                "VERSION",
                format!("{version} is for data domains only, expected 0 for CLASS={class}"),
                engine::VERSION,
            ),
        }
        match (version, on_block) {
            (Some(0), Some(true)) => self.add(
                "VERSION",
                "0 on block storage cannot be read by VDSM 4.4 and later, expected 2 to 5",
                engine::LOST_ON_BLOCK,
            ),
            (Some(2), Some(false)) => self.add(
                "VERSION",
                "2 is for block storage only, expected 0, 3, 4 or 5",
                engine::LOST,
            ),
            _ => {}
        }
        if let (Some("Iso" | "Backup"), Some(kind), Some(true)) = (class, kind, on_block) {
            self.add(
                "TYPE",
                format!("{kind} cannot hold an ISO or export domain, expected file storage"),
                engine::VERSION,
            );
        }
    }

    fn names(&mut self, version: Option<i64>, name: Option<&str>) {
        self.required("ROLE");
        if let Some(description) = self.required("DESCRIPTION") {
            if version.is_some_and(|version| version < 3) && !description.is_ascii() {
                self.add(
                    "DESCRIPTION",
                    "only ASCII is allowed below version 3",
                    engine::NAME,
                );
            }
            let kind = self.metadata.get("TYPE").unwrap_or_default().to_uppercase();
            let length = description.chars().count();
            if BLOCK_TYPES.contains(&kind.as_str()) && length > MAX_ON_BLOCK_CHARS {
                self.add(
                    "DESCRIPTION",
                    format!("{length} characters, at most {MAX_ON_BLOCK_CHARS} on block storage"),
                    engine::NAME,
                );
            }
        }
        match (self.metadata.get("SDUUID"), name) {
            // VDSM goes by the directory (VDSM 4.50 lib/vdsm/storage/fileSD.py: `scanDomains`).
            (None, _) => self.add("SDUUID", "missing", engine::NOTHING),
            (Some(id), _) if !is_uuid(id) => {
                let problem = format!("{} is not a UUID", quoted(id));
                self.add("SDUUID", problem, engine::NOTHING);
            }
            (Some(id), Some(name)) if id != name => {
                let problem = format!("{id}, but the domain is in {name}");
                self.add("SDUUID", problem, engine::OTHER);
                if let Some(finding) = self.found.last_mut() {
                    finding.advice = Some(OTHER_NAME.to_owned());
                }
            }
            _ => {}
        }
    }

    fn pools(&mut self) {
        let text = self.metadata.get("POOL_UUID").unwrap_or_default();
        if text.is_empty() {
            return;
        }
        let pools: Vec<&str> = text.split(',').collect();
        for pool in &pools {
            if !is_uuid(pool) {
                let problem = format!("{} is not a UUID", quoted(pool));
                self.add("POOL_UUID", problem, engine::ATTACHED);
            }
        }
        let attached = pools.iter().filter(|pool| **pool != NO_POOL).count();
        if attached > 1 && self.metadata.get("CLASS") != Some("Iso") {
            self.add(
                "POOL_UUID",
                format!("{attached} pools, only an ISO domain may have more than one"),
                engine::ATTACHED,
            );
        }
    }

    fn lease_numbers(&mut self, version: Option<i64>) {
        for (key, default) in LEASE_NUMBERS {
            let problem = match self.metadata.get(key) {
                None => "missing".to_owned(),
                Some(text) if integer(text).is_none() => {
                    format!("{} is not a whole number", quoted(text))
                }
                Some(_) => continue,
            };
            let problem = format!("{problem}, VDSM takes {default}");
            self.add(key, problem, engine::USUAL);
        }
        let number = |key: &str| self.metadata.get(key).and_then(integer);
        let (Some(operation), Some(lease)) = (number("IOOPTIMEOUTSEC"), number("LEASETIMESEC"))
        else {
            return;
        };
        // Only safelease looks at them (safelease 1.0 src/safelease.c: validate_lease_params);
        // sanlock has its own times.
        if version.is_some_and(|version| version < 3) {
            if operation < 1 {
                self.add(
                    "IOOPTIMEOUTSEC",
                    format!("{operation}, at least 1 is needed"),
                    engine::LOCK,
                );
            }
            if lease < operation {
                self.add(
                    "LEASETIMESEC",
                    format!(
                        "{lease} is below IOOPTIMEOUTSEC={operation}, so the lock cannot be taken"
                    ),
                    engine::LOCK,
                );
            }
        }
    }

    fn sectors(&mut self, version: Option<i64>) {
        let alignment =
            self.sector_value("ALIGNMENT", version, &[1 << 20, 2 << 20, 4 << 20, 8 << 20]);
        let block_size = self.sector_value("BLOCK_SIZE", version, &[512, 4096]);
        if let (512, Some(alignment)) = (block_size.unwrap_or(512), alignment) {
            if version == Some(5) && alignment != 1 << 20 {
                self.add(
                    "ALIGNMENT",
                    format!("{alignment} with sectors of 512 bytes, expected 1048576"),
                    engine::LOCK,
                );
            }
        }
    }

    /// The value of ALIGNMENT or BLOCK_SIZE. The first of `allowed` is also that of old versions.
    fn sector_value(
        &mut self,
        key: &'static str,
        version: Option<i64>,
        allowed: &[i64],
    ) -> Option<i64> {
        let text = self.metadata.get(key)?;
        let value = integer(text).filter(|value| allowed.contains(value));
        match value {
            None => {
                let allowed: Vec<_> = allowed.iter().map(i64::to_string).collect();
                self.add(
                    key,
                    format!("{}, expected one of {}", quoted(text), allowed.join(", ")),
                    engine::LOST,
                );
            }
            Some(value) if version.is_some_and(|version| version < 5) && value != allowed[0] => {
                self.add(
                    key,
                    format!("{value}, expected {} below version 5", allowed[0]),
                    engine::LOST,
                );
            }
            Some(_) => {}
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "75f8a1bb-4504-4314-91ca-d9365a30692b";

    fn changed(text: &str, changes: &str) -> Vec<String> {
        let mut metadata = Metadata::read(text).0;
        for change in changes.split_terminator('|') {
            metadata = match change.split_once('=') {
                Some((key, value)) => metadata.with(key, Some(value.to_owned())),
                None => metadata.with(change, None),
            };
        }
        let found = findings(&metadata, Some(ID));
        found.iter().map(Finding::to_string).collect()
    }

    #[test]
    #[allow(clippy::too_many_lines)] // A table.
    fn values_beyond_the_seal() {
        let nfs = include_str!("../../../tests/data/storage/nfs-v5.metadata");
        let pool = "59c4c3ee-0205-0227-0229-000000000155";
        let two = format!("POOL_UUID={pool},{pool}");
        let iso = "CLASS=Iso|VERSION=0|ALIGNMENT|BLOCK_SIZE|";
        let long = format!("TYPE=iscsi|DESCRIPTION={}", "x".repeat(51));
        let cannot = "missing, so that VDSM cannot load the domain";
        let rows: Vec<(String, Vec<String>)> = [
            ("", vec![]),
            ("TYPE=nfs", vec![]),
            ("VERSION= 5 ", vec![]),
            ("ROLE=master|EXTRA=1|MASTER_VERSION=0", vec![]),
            ("POOL_UUID", vec![]),
            (&format!("POOL_UUID={pool}"), vec![]),
            (&format!("POOL_UUID={pool},{NO_POOL}"), vec![]),
            (&format!("{iso}{two}"), vec![]),
            (&format!("{iso}LEASETIMESEC=5|IOOPTIMEOUTSEC=1"), vec![]),
            ("LOCKPOLICY|REMOTE_PATH", vec![]),
            ("ALIGNMENT|BLOCK_SIZE", vec![]),
            ("VERSION", vec![format!("VERSION: {cannot}")]),
            ("VERSION=1", vec!["VERSION: \"1\" is unknown, expected one of 0, 2, 3, 4, 5".into()]),
            ("VERSION=x", vec!["VERSION: \"x\" is unknown, expected one of 0, 2, 3, 4, 5".into()]),
            ("CLASS", vec![format!("CLASS: {cannot}")]),
            ("CLASS=data", vec!["CLASS: \"data\" is unknown, expected one of Data, Iso, Backup".into()]),
            ("CLASS=Iso", vec!["VERSION: 5 is for data domains only, expected 0 for CLASS=Iso".into()]),
            ("CLASS=Backup", vec!["VERSION: 5 is for data domains only, expected 0 for CLASS=Backup".into()]),
            ("TYPE", vec![format!("TYPE: {cannot}")]),
            (
                "TYPE=NFS ",
                vec!["TYPE: \"NFS \" is unknown, expected one of NFS, LOCALFS, POSIXFS, GLUSTERFS, CIFS, ISCSI, FCP".into()],
            ),
            (
                "VERSION=0|TYPE=FCP|CLASS=Iso",
                vec![
                    "VERSION: 0 on block storage cannot be read by VDSM 4.4 and later, expected 2 to 5".into(),
                    "TYPE: FCP cannot hold an ISO or export domain, expected file storage".into(),
                ],
            ),
            ("VERSION=2|TYPE=ISCSI", vec![]),
            ("VERSION=2", vec!["VERSION: 2 is for block storage only, expected 0, 3, 4 or 5".into()]),
            ("ROLE", vec![format!("ROLE: {cannot}")]),
            ("DESCRIPTION", vec![format!("DESCRIPTION: {cannot}")]),
            ("DESCRIPTION=données", vec![]),
            ("VERSION=0|DESCRIPTION=données", vec!["DESCRIPTION: only ASCII is allowed below version 3".into()]),
            ("VERSION=3|DESCRIPTION=données|LEASETIMESEC=5", vec![]),
            (&format!("TYPE=iscsi|DESCRIPTION={}", "x".repeat(50)), vec![]),
            (&long, vec!["DESCRIPTION: 51 characters, at most 50 on block storage".into()]),
            ("SDUUID", vec!["SDUUID: missing".into()]),
            ("SDUUID=x", vec!["SDUUID: \"x\" is not a UUID".into()]),
            (&format!("SDUUID={pool}"), vec![format!("SDUUID: {pool}, but the domain is in {ID}")]),
            ("POOL_UUID=x", vec!["POOL_UUID: \"x\" is not a UUID".into()]),
            (&two, vec!["POOL_UUID: 2 pools, only an ISO domain may have more than one".into()]),
            ("LEASERETRIES", vec!["LEASERETRIES: missing, VDSM takes 3".into()]),
            ("LEASETIMESEC=1m", vec!["LEASETIMESEC: \"1m\" is not a whole number, VDSM takes 60".into()]),
            (
                &format!("{iso}LEASETIMESEC=5"),
                vec!["LEASETIMESEC: 5 is below IOOPTIMEOUTSEC=10, so the lock cannot be taken".into()],
            ),
            (&format!("{iso}LEASETIMESEC=10|IOOPTIMEOUTSEC=10"), vec![]),
            (&format!("{iso}IOOPTIMEOUTSEC=0"), vec!["IOOPTIMEOUTSEC: 0, at least 1 is needed".into()]),
            ("LEASETIMESEC=5", vec![]),
            ("BLOCK_SIZE=1024", vec!["BLOCK_SIZE: \"1024\", expected one of 512, 4096".into()]),
            ("BLOCK_SIZE=4096|ALIGNMENT=2097152", vec![]),
            ("BLOCK_SIZE=4096|ALIGNMENT=4194304", vec![]),
            ("BLOCK_SIZE=4096|ALIGNMENT=8388608", vec![]),
            ("ALIGNMENT=2097152", vec!["ALIGNMENT: 2097152 with sectors of 512 bytes, expected 1048576".into()]),
            ("VERSION=4", vec![]),
            (
                "VERSION=4|BLOCK_SIZE=4096",
                vec!["BLOCK_SIZE: 4096, expected 512 below version 5".into()],
            ),
        ]
        .into_iter()
        .map(|(changes, found)| (changes.to_owned(), found))
        .collect();
        for (changes, expected) in rows {
            assert_eq!(changed(nfs, &changes), expected, "{changes}");
        }
    }
}
