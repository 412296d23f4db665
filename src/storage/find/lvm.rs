// SPDX-License-Identifier: GPL-2.0-or-later

//! The volume groups of the host, with one call of LVM for all of them.

use std::sync::OnceLock;
use std::time::Instant;

use crate::finding::Finding;
use crate::host::sudo::Program;
use crate::storage::format::tags;
use crate::{Error, Result, props};

/// LVM's device settings for storage domains. The host's own let LVM see the host's disks only.
/// These are the part of VDSM's (VDSM 4.50 lib/vdsm/storage/lvm.py: `LVMCONF_TEMPLATE`) that decides
/// what is seen, and leave LVM's notes about devices as they are.
pub const CONFIG: &str = concat!(
    r#"devices { filter=["a|^/dev/mapper/|","r|.*|"] hints="none""#,
    " obtain_device_list_from_udev=0 use_devicesfile=0 }"
);

/// LVM's settings for a report, beside others: `--config` may be given once. From 2.03.26 on LVM
/// would else write warnings and errors into a JSON report (WHATS_NEW: "Use log/report_command_log=1
/// config setting by default for JSON output format"), and not on standard error. `silent` keeps
/// notices away from it, but for one of 2.03.16's, see [`json_lines`].
pub const PLAIN_REPORT: &str = "log { report_command_log=0 silent=1 }";

/// LVM, ended by root after sdcheck's usual time, or after its longest.
const LVM: Program<'_> = Program::of_host("/usr/sbin/lvm", &[10, 120]);

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

/// What LVM said when it was asked for the volume groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The groups that it reported.
    pub groups: Vec<Group>,
    /// Why there may be more; none if these are all.
    pub trouble: Option<Error>,
    /// Its standard error.
    stderr: String,
}

impl Answer {
    /// What LVM warned about, everything once: of any device that it sees, and any group. There is
    /// advice where that is known and LVM does not give it itself.
    pub fn warnings(&self) -> Vec<Finding> {
        let lines = self.stderr.lines();
        let texts: Vec<&str> = lines
            .filter_map(|line| line.trim().strip_prefix("WARNING: "))
            .collect();
        let mut warnings: Vec<Finding> = Vec::new();
        for text in &texts {
            // Another line says of which group it is, and where it was.
            let uuid = text.strip_prefix("Couldn't find device with uuid ");
            let missing =
                uuid.map(|uuid| format!(" is missing PV {} ", uuid.trim_end_matches('.')));
            let is_told =
                missing.is_some_and(|missing| texts.iter().any(|other| other.contains(&missing)));
            if is_told || warnings.iter().any(|other| other.text == *text) {
                continue;
            }
            let advice = if text.contains(" is missing PV ") {
                Some("connect this device to the host again")
            } else if text.starts_with("Not using device ") {
                Some(
                    "take this device away from the host: it is a copy, such as an array's snapshot",
                )
            } else if text.starts_with("VG name ") {
                Some("rename one of them: lvm vgrename UUID NAME")
            } else {
                None
            };
            let mut warning = Finding::warning("LVM", *text);
            warning.advice = advice.map(str::to_owned);
            warnings.push(warning);
        }
        warnings
    }
}

/// The volume groups, asked for when the first one is wanted, once, and until one deadline.
pub struct Lvm {
    end: Instant,
    answer: OnceLock<Result<Answer>>,
}

impl Lvm {
    /// Nothing is asked yet.
    pub fn new(end: Instant) -> Lvm {
        Lvm {
            end,
            answer: OnceLock::new(),
        }
    }

    /// What LVM says.
    ///
    /// # Errors
    /// As [`ask`].
    pub fn answer(&self) -> std::result::Result<&Answer, &Error> {
        self.answer.get_or_init(|| ask(self.end)).as_ref()
    }

    /// What LVM has said, if it was asked and has answered.
    pub fn answered(&self) -> Option<&Answer> {
        self.answer.get()?.as_ref().ok()
    }

    /// The first group called `name`, none if there is none, see [`Lvm::groups`].
    ///
    /// # Errors
    /// As [`Lvm::groups`].
    pub fn group(&self, name: &str) -> std::result::Result<Option<&Group>, Option<&Error>> {
        Ok(self.groups(name)?.first().copied())
    }

    /// The groups called `name`; more than one where a host sees a copy of a domain. What is wrong
    /// with another group is no reason not to know these.
    ///
    /// # Errors
    /// Why LVM does not say; none if it did not answer in time.
    pub fn groups(&self, name: &str) -> std::result::Result<Vec<&Group>, Option<&Error>> {
        match self.answer() {
            Ok(answer) => {
                let named = answer.groups.iter().filter(|group| group.name == name);
                let groups: Vec<_> = named.collect();
                match &answer.trouble {
                    Some(trouble) if groups.is_empty() => Err(Some(trouble)),
                    _ => Ok(groups),
                }
            }
            Err(_) if Instant::now() >= self.end => Err(None),
            Err(error) => Err(Some(error)),
        }
    }
}

/// Asks for all volume groups on the host's multipath devices, without a lock and without a change.
///
/// # Errors
/// LVM is not there, may not be run, does not answer until `end`, or reports nothing.
pub fn ask(end: Instant) -> Result<Answer> {
    let config = format!("{CONFIG} {PLAIN_REPORT}");
    let arguments = [
        "vgs",
        "--readonly",
        "--reportformat",
        "json",
        "--units",
        "b",
        "--nosuffix",
        "--config",
        &config,
        "--options",
        "vg_name,vg_uuid,vg_extent_size,vg_tags",
    ];
    let left = end.saturating_duration_since(Instant::now());
    let output = LVM.run(&arguments, left)?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    // Of a call that failed, the reason says more than a report that is none.
    let trouble = output.checked().err();
    match (parse(&stdout), trouble) {
        (Ok(groups), trouble) => Ok(Answer {
            groups,
            trouble,
            stderr,
        }),
        (Err(_), Some(trouble)) => Err(trouble),
        (Err(line), None) => {
            let at = match line {
                "" => String::new(),
                line => format!(", at {}", props::quoted(line.trim())),
            };
            Err(Error::new(format!(
                "lvm vgs: not the report that was expected{at}"
            )))
        }
    }
}

/// The lines of an LVM report that are JSON. LVM 2.03.16 says in the middle of them that it scans
/// once more, whatever its settings.
pub fn json_lines(report: &str) -> impl Iterator<Item = &str> {
    let is_json = |line: &&str| {
        line.trim_start()
            .starts_with(['{', '[', ']', '}', '"', ','])
    };
    report.lines().filter(is_json)
}

/// The groups in LVM's report: the objects in `report[].vg[]`, whose members are strings. What
/// is elsewhere is not looked at. A reader of all JSON would make a hook 40 KB larger.
///
/// # Errors
/// The line that is not as expected; nothing if the end is not.
fn parse(report: &str) -> std::result::Result<Vec<Group>, &str> {
    let mut groups: Option<Vec<Group>> = None;
    // Every object and list that is open, behind its name in the one around it.
    let mut open: Vec<String> = Vec::new();
    // Names and values of the object that is open.
    let mut strings: Vec<String> = Vec::new();
    for line in json_lines(report) {
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '"' => strings.push(string(&mut rest).ok_or(line)?),
                '{' | '[' => {
                    open.push(strings.pop().unwrap_or_default() + c.encode_utf8(&mut [0; 4]));
                    strings.clear();
                }
                '}' | ']' => {
                    match open.concat().as_str() {
                        "{report[{vg[" => drop(groups.get_or_insert_default()),
                        "{report[{vg[{" => {
                            let group = group(&strings).ok_or(line)?;
                            groups.get_or_insert_default().push(group);
                        }
                        _ => {}
                    }
                    let begin = if c == '}' { '{' } else { '[' };
                    if open.pop().is_none_or(|name| !name.ends_with(begin)) {
                        return Err(line);
                    }
                    strings.clear();
                }
                ',' | ':' | ' ' => {}
                _ => return Err(line),
            }
        }
    }
    groups.filter(|_| open.is_empty()).ok_or("")
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

/// Takes a string whose first quote is gone off `rest`. LVM escapes quotes, and backslashes
/// from 2.03.33 on (device_mapper/libdm-report.c).
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
    use crate::storage::{Verdict, judge_tags};

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
            (
                format!(
                    "  {{\n\"report\": [\n  Retrying metadata scan.\n{{\"vg\": [\n{row}\n]}}]}}\n"
                ),
                Some(vec![group.clone()]),
            ),
            // What is not asked for may look as it likes, and be called as it likes.
            (
                format!(
                    r#"{{"log": [{{"vg": [{{"a":"b"}}]}}], "report": [{{"log": [{{"a":"b"}}]}}, {{"vg": [{row}]}}]}}"#
                ),
                Some(vec![group.clone()]),
            ),
            (r#"{"report": [{"log": []}]}"#.to_owned(), None),
            (r#"{"report": [{"vg": [{}]}]}"#.to_owned(), None),
            (r#"{"report": [{"vg": [}]}]"#.to_owned(), None),
            (format!(r#"{{"report": [{{"vg": [{row}]}}]"#), None),
            (format!(r#"{{"report": [{{"lv": [{row}]}}]}}"#), None),
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
            assert_eq!(parse(&report).ok(), groups, "{report}");
        }
        let untagged = row.replace("MDT_A=1,RHAT_storage_domain", "");
        let with_none = format!(r#"{{"report": [{{"vg": [{untagged}]}}]}}"#);
        assert_eq!(parse(&with_none).unwrap()[0].tags, [""; 0]);
        // The line is told.
        let nameless = r#"    {"vg_uuid":"u"}"#;
        let with_line = format!("{{\"report\": [{{\"vg\": [\n{nameless}\n]}}]}}");
        assert_eq!(parse(&with_line), Err(nameless));
        assert_eq!(parse(""), Err(""));
    }

    /// What two versions of LVM said of one host: a sound domain, and beside it what the name says.
    /// The older one writes its log on standard error, the newer one into the report, as
    /// [`PLAIN_REPORT`] forbids.
    macro_rules! recorded {
        ($name:literal) => {
            [
                (
                    include_str!(concat!("../../../tests/data/lvm/2.03.16/", $name, ".json")),
                    include_str!(concat!(
                        "../../../tests/data/lvm/2.03.16/",
                        $name,
                        ".stderr"
                    )),
                ),
                (
                    include_str!(concat!("../../../tests/data/lvm/2.03.31/", $name, ".json")),
                    include_str!(concat!(
                        "../../../tests/data/lvm/2.03.31/",
                        $name,
                        ".stderr"
                    )),
                ),
            ]
        };
    }

    #[test]
    fn recorded_reports() {
        for (name, reports, others) in [
            ("copy", recorded!("copy"), &[][..]),
            ("damaged", recorded!("damaged"), &["othervg"][..]),
            ("missing", recorded!("missing"), &["othervg"][..]),
        ] {
            for (report, _) in reports {
                let groups = parse(report).unwrap_or_else(|line| panic!("{name}: {line}"));
                let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
                let domain = "6f4f5a2b-9a58-4c9e-8e7f-6f1d5e0c3a11";
                assert_eq!(names, [&[domain], others].concat(), "{name}");
                let judgement = judge_tags(&groups[0].tags);
                assert_eq!(judgement.reading.verdict, Verdict::Ok, "{name}");
            }
        }
        // Those of other reports can be read by a reader of JSON, and are none of groups.
        for (report, _) in recorded!("nogroup") {
            let lines: String = json_lines(report).collect();
            let read: Value = serde_json::from_str(&lines).unwrap();
            assert_eq!(read["report"][0]["lv"], json!([]));
            assert_eq!(parse(report), Err(""));
        }
    }

    #[test]
    fn recorded_warnings() {
        let warnings = |recorded: [(&str, &str); 2]| {
            let answer = Answer {
                groups: Vec::new(),
                trouble: None,
                stderr: recorded[0].1.to_owned(),
            };
            let warnings = answer.warnings().into_iter();
            let told: Vec<_> = warnings
                .map(|warning| (warning.text, warning.advice))
                .collect();
            // The test machine's own.
            assert!(told[0].0.starts_with("Activation disabled."), "{told:?}");
            told[1..].to_owned()
        };
        let missing = warnings(recorded!("missing"));
        assert_eq!(
            missing,
            [(
                "VG othervg is missing PV W3YPwt-w8Wb-tTEj-8OMn-GcnF-GzxD-PQrOsM (last written to /dev/mapper/36001c).".to_owned(),
                Some("connect this device to the host again".to_owned())
            )]
        );
        let copy = warnings(recorded!("copy"));
        assert_eq!(copy.len(), 2);
        assert_eq!(
            copy[0],
            (
                "Not using device /dev/mapper/36001d for PV Zh9qie-uot2-PMRd-NKc7-rmx3-uJW3-s6igqC.".to_owned(),
                Some("take this device away from the host: it is a copy, such as an array's snapshot".to_owned())
            )
        );
        // Every line once, and here LVM has the advice itself.
        let damaged = warnings(recorded!("damaged"));
        assert_eq!(damaged.len(), 8);
        assert!(damaged.iter().all(|(_, advice)| advice.is_none()));
        let own = "repair VG metadata on /dev/mapper/36001b with vgck --updatemetadata.";
        assert!(damaged.iter().any(|(text, _)| text == own), "{damaged:?}");
    }

    proptest! {
        #[test]
        fn reports_are_read_as_json_is(rows in prop::collection::vec(("\\PC{0,9}", "[ -~]{0,30}"), 0..5)) {
            let row = |(name, tags): &(String, String)| {
                json!({"vg_name": name, "vg_uuid": "u", "vg_extent_size": "1", "vg_tags": tags})
            };
            let rows_as_json: Vec<Value> = rows.iter().map(row).collect();
            let report = json!({"report": [{"vg": rows_as_json}]});
            for text in [report.to_string(), format!("{report:#}")] {
                let groups = parse(&text);
                let read = groups.ok().map(|groups| {
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
