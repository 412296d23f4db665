// SPDX-License-Identifier: GPL-2.0-or-later

//! Every document that a case of a hook produces, before the schemas and the libraries of the
//! libvirts that count: what was right before the hook is right after it.
//!
//! The hooks are not run: that `expected.diff` is what they do, the test of the cases holds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use support::libvirt::{Change, DIES, Libvirt, RELEASES};
use support::{hooks, not_run, root};
use vdsm_hooks::runner::difference::cut_long_lines;

#[test]
fn what_cases_produce_is_as_right_as_what_they_began_with() {
    let (changes, known) = changes();
    assert!(changes.len() > 200, "only {} changes", changes.len());
    let mut wrong: Option<Vec<(String, String)>> = None;
    for release in RELEASES {
        let libvirt = match Libvirt::of(release) {
            Ok(libvirt) => libvirt,
            Err(reason) => {
                not_run(
                    &format!("documents of cases, libvirt of {release}"),
                    &reason,
                );
                continue;
            }
        };
        let verdict = libvirt.judge(&changes).unwrap();
        let [schema, define] = verdict.wrong_before;
        let [schema_parts, define_parts] = verdict.by_parts;
        println!(
            "libvirt {}: {} changes of {} documents, {} make something wrong that was right; refused \
             before: {schema} by the schema, {define} by the library; without the engine's seclabels: \
             {schema_parts} and {define_parts}",
            libvirt.version,
            verdict.judged,
            verdict.documents,
            verdict.newly_wrong.len(),
        );
        wrong.get_or_insert_default().extend(verdict.newly_wrong);
    }
    let Some(wrong) = wrong else { return };
    let found: BTreeSet<String> = wrong.iter().map(|(name, _)| name.clone()).collect();
    let lines = wrong.iter().filter(|(name, _)| !known.contains(name));
    let lines: Vec<String> = lines.map(|(name, why)| format!("{name}: {why}")).collect();
    assert!(lines.is_empty(), "\n{}", lines.join("\n"));
    let stale: Vec<_> = known.difference(&found).collect();
    assert!(
        stale.is_empty(),
        "'not_valid', and libvirt takes it: {stale:?}"
    );
}

#[test]
fn more_than_one_part_is_judged_in_documents_that_were_wrong() {
    let labelled = "<domain type='kvm' xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>\
        <name>a</name><memory>1048576</memory><vcpu>1</vcpu><os><type>hvm</type></os>\
        <devices><disk type='block' device='disk'>\
        <source dev='/dev/a'><seclabel model='dac' type='none' relabel='yes'/></source>\
        <target dev='sda' bus='scsi'/></disk></devices><q:commandline/></domain>";
    let other = labelled.replace("<devices>", "<wrong/><devices>");
    let damage = [
        ("<q:commandline/>", "<q:commandline/><q:commandline/>"),
        ("<vcpu>1</vcpu>", "<vcpu>1</vcpu><vcpu>2</vcpu>"),
        ("type='kvm'", "type='nonsense'"),
        ("<devices>", "<devices a='b'>"),
    ];
    let mut changes = Vec::new();
    for before in [labelled, &other] {
        changes.extend(damage.map(|(old, new)| Change {
            name: new.to_owned(),
            before: before.to_owned(),
            after: before.replace(old, new),
        }));
    }
    for release in RELEASES {
        let libvirt = match Libvirt::of(release) {
            Ok(libvirt) => libvirt,
            Err(reason) => {
                not_run(
                    &format!("damage to documents, libvirt of {release}"),
                    &reason,
                );
                continue;
            }
        };
        let verdict = libvirt.judge(&changes).unwrap();
        assert_eq!((verdict.wrong_before[0], verdict.by_parts[0]), (2, 1));
        let mut found: Vec<&str> = Vec::new();
        for (name, why) in &verdict.newly_wrong {
            if why.contains("schema") {
                found.push(name);
            }
        }
        assert_eq!(
            found,
            [damage, damage]
                .concat()
                .iter()
                .map(|(_, new)| *new)
                .collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_virsh_that_dies_of_a_document_judges_the_others() {
    let domain = |name: &str, inside: &str| {
        format!(
            "<domain type='test'><name>{name}</name><memory>1048576</memory>\
             <os><type>hvm</type></os><devices>{inside}</devices></domain>"
        )
    };
    let deadly = |name: &str| {
        let source = "<source protocol='vhost' wwpn='naa.5123456789abcde0'/>";
        let device =
            format!("<hostdev mode='subsystem' type='scsi_host' rawio='yes'>{source}</hostdev>");
        domain(name, &device)
    };
    let mut is_tried = false;
    for release in RELEASES {
        let Ok(libvirt) = Libvirt::of(release) else {
            continue;
        };
        let documents = [
            deadly("a"),
            domain("b", ""),
            domain("c", "<disk type='file'/>"),
            deadly("d"),
            domain("e", "<disk type='file'/>"),
            domain("f", ""),
        ];
        let found = libvirt.objections(documents.iter().map(String::as_str));
        let found: Vec<Vec<String>> = found.unwrap().into_iter().map(|one| one.define).collect();
        let is_right: Vec<bool> = found.iter().map(Vec::is_empty).collect();
        assert_eq!(is_right[1..3], [true, false], "{release}: {found:?}");
        assert_eq!(is_right[4..], [false, true], "{release}: {found:?}");
        if found[0] != [DIES] {
            continue;
        }
        is_tried = true;
        assert_eq!(found[3], [DIES]);

        let changes = [("both", 0, 3), ("afterwards", 1, 0), ("before", 0, 1)];
        let changes = changes.map(|(name, before, after)| Change {
            name: name.to_owned(),
            before: documents[before].clone(),
            after: documents[after].clone(),
        });
        let wrong = libvirt.judge(&changes).unwrap().newly_wrong;
        let of_define = wrong.iter().filter(|(_, why)| why.contains("define"));
        let names: Vec<&str> = of_define.map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["afterwards"], "{wrong:?}");

        let all: Vec<String> = (0..30).map(|number| deadly(&number.to_string())).collect();
        let found = libvirt.objections(all.iter().map(String::as_str));
        assert!(found.is_err(), "{found:?}");
    }
    if !is_tried {
        let reason = "none is here that dies of the document that libvirt 9.0.0 dies of";
        not_run("a virsh that dies of a document", reason);
    }
}

/// What cases make of a document where the hook comes to a good end.
/// And the names of those cases that say why the result is not right.
fn changes() -> (Vec<Change>, BTreeSet<String>) {
    let mut changes = Vec::new();
    let mut known = BTreeSet::new();
    for hook in hooks() {
        let cases = root().join("hooks").join(&hook.name).join("cases");
        for case in fs::read_dir(cases).into_iter().flatten() {
            let folder = case.unwrap().path();
            let (Ok(before), Ok(difference)) = (
                fs::read_to_string(folder.join("input.xml")),
                fs::read_to_string(folder.join("expected.diff")),
            ) else {
                continue;
            };
            let case: Value =
                serde_json::from_str(&fs::read_to_string(folder.join("case.json")).unwrap())
                    .unwrap();
            let status = case["status"].as_u64();
            if status.unwrap_or_else(|| panic!("{}: no status", folder.display())) != 0 {
                continue;
            }
            let word = case["any_of"][0].as_str().unwrap_or("ANY_OF");
            let name = format!("{}/{}", hook.name, file_name(&folder));
            if case["not_valid"].is_string() {
                known.insert(name.clone());
            }
            let after = patched(&before, &difference.replace("ANY_OF", word), &name);
            changes.push(Change {
                name,
                before,
                after,
            });
        }
    }
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    (changes, known)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// The text with a unified difference applied, which is one of pieces where lines are long.
fn patched(text: &str, difference: &str, name: &str) -> String {
    let text = cut_long_lines(text);
    let mut old = text.split_inclusive('\n');
    let mut line = 1;
    let mut result = String::new();
    let mut ends_without_newline = false;
    for change in difference.lines() {
        let (sign, rest) = change.split_at(change.len().min(1));
        match sign {
            "@" => {
                let start = rest
                    .split(['-', ',', ' '])
                    .find_map(|word| word.parse().ok());
                let start: usize = start.unwrap_or_else(|| panic!("{name}: {change}"));
                while line < start {
                    result += old.next().unwrap();
                    line += 1;
                }
            }
            " " | "-" => {
                let there = old.next().unwrap_or_else(|| panic!("{name}: {change}"));
                assert_eq!(there.trim_end_matches('\n'), rest, "{name}");
                line += 1;
                if sign == " " {
                    result += there;
                }
                ends_without_newline = false;
            }
            "+" => {
                result += rest;
                result.push('\n');
                ends_without_newline = true;
            }
            "\\" if ends_without_newline => drop(result.pop()),
            _ => {}
        }
    }
    result += &old.collect::<String>();
    result.replace("\\\n", "")
}

#[test]
fn a_difference_can_be_applied() {
    let one_line = "<a/>".repeat(200) + "\n";
    let one_line_after = "<a/>".repeat(99) + "<b/><c/>" + &"<a/>".repeat(100) + "\n";
    for (before, difference, after) in [
        (
            "a\nb\nc\nd\n",
            "@@ -2,2 +2,2 @@\n b\n-c\n+C\n",
            "a\nb\nC\nd\n",
        ),
        (
            "a\nb",
            "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+B\n\\ No newline at end of file\n",
            "a\nB",
        ),
        ("a\n", "", "a\n"),
        (
            &one_line,
            "@@ -99,3 +99,4 @@\n <a/>\\\n-<a/>\\\n+<b/>\\\n+<c/>\\\n <a/>\\\n",
            &one_line_after,
        ),
    ] {
        assert_eq!(patched(before, difference, "test"), after);
    }
}
