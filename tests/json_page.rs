// SPDX-License-Identifier: GPL-2.0-or-later

//! What the tool prints for scripts is what docs/json.md says, member by member: whatever a test reads
//! of it goes through [`explains`]. That the document is the manual page a test beside its source says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::tool::*;
use crate::{domains, support};
use domains::{EXPORT, EXPORT_ID};

const PAGE: &str = include_str!("../docs/json.md");

/// Members that need what not every machine has, and the test that prints them there.
const RARE: [(&str, &str, &str); 3] = [
    ("domain check", "warnings[]", "block_domains::"),
    ("domain check", "domains[].otherwise[]", "domain_check::"),
    ("grow-disk", "steps[]", "growdisk::"),
];

/// The members of a command's answer: their types by their paths.
type Members = BTreeMap<String, String>;

fn page() -> BTreeMap<String, Members> {
    let mut commands: BTreeMap<String, Members> = BTreeMap::new();
    let mut command = "";
    for line in PAGE.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            command = name;
        }
        let Some(row) = line.strip_prefix("| `") else {
            continue;
        };
        let (path, rest) = row.split_once("` | ").unwrap();
        let (kind, about) = rest.split_once(" | ").unwrap();
        assert!(about.len() > 5, "{command} {path}: {about}");
        let members = commands.entry(command.to_owned()).or_default();
        let before = members.insert(path.to_owned(), kind.to_owned());
        assert_eq!(before, None, "{command}: {path} twice");
    }
    commands
}

/// Names of the members of the object at `place`, which ends with a dot or is empty.
fn below<'m>(members: &'m Members, place: &str) -> BTreeSet<&'m str> {
    let paths = members.keys().filter_map(|path| path.strip_prefix(place));
    paths.filter(|rest| !rest.contains(['.', '['])).collect()
}

fn names(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// The page explains an answer: every member that it has, its type, and no other. What was seen.
#[track_caller]
pub(crate) fn explains(answer: &Value) -> BTreeSet<(String, String)> {
    assert_eq!(answer.as_object().unwrap().keys().next().unwrap(), "format");
    assert_eq!(answer["format"], 1);
    let page = page();
    let found = page
        .iter()
        .find(|(_, members)| below(members, "") == names(answer));
    let (command, members) = found.unwrap_or_else(|| panic!("no command has {:?}", names(answer)));
    let mut seen = BTreeSet::new();
    object(answer, "", members, &mut seen);
    seen.into_iter()
        .map(|path| (command.clone(), path))
        .collect()
}

#[track_caller]
fn object(value: &Value, place: &str, members: &Members, seen: &mut BTreeSet<String>) {
    assert_eq!(names(value), below(members, place), "at {place:?}");
    for (name, value) in value.as_object().unwrap() {
        let path = format!("{place}{name}");
        let kind = &members[&path];
        assert!(is(value, kind), "{path}: {value}, expected {kind}");
        match value {
            Value::Object(_) if kind.starts_with("object of ") => {}
            Value::Object(_) => object(value, &format!("{path}."), members, seen),
            Value::Array(list) if kind.starts_with("list of objects") => {
                for value in list {
                    object(value, &format!("{path}[]."), members, seen);
                }
            }
            _ => {}
        }
        seen.insert(path);
    }
}

fn is(value: &Value, kind: &str) -> bool {
    if let Some(kind) = kind.strip_suffix(" or null") {
        return value.is_null() || is(value, kind);
    }
    if let Some(kind) = kind.strip_prefix("list of ") {
        let list = value.as_array();
        return list.is_some_and(|list| list.iter().all(|one| is(one, &kind[..kind.len() - 1])));
    }
    if let Some(kind) = kind.strip_prefix("object of ") {
        let object = value.as_object();
        return object
            .is_some_and(|object| object.values().all(|one| is(one, &kind[..kind.len() - 1])));
    }
    match kind {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "object" => value.is_object(),
        other => panic!("the page has the type {other}"),
    }
}

/// A start in VDSM's log, of which a hook is told.
fn log(host: &Host) -> String {
    let line = |thread: &str, text: &str| {
        format!("2026-06-25 11:24:02,123+0200 INFO  ({thread}) [virt] {text} (x:1)\n")
    };
    let document = DOMAIN.replace('\n', "\\n");
    let create = format!("START create(vmParams={{'xml': '{document}'}}) from=::1,1, vmId=");
    let hook = "/usr/libexec/vdsm/hooks/before_vm_start/50_show: rc=0 err=b''";
    let text = line("jsonrpc/1", &create) + &line("vm/5f1c2a7e", hook);
    host.file("vdsm.log", &text)
}

/// What a command prints.
fn answer(arguments: &[&str]) -> Value {
    tool(arguments).json()
}

#[test]
fn every_member_of_the_page_is_printed() {
    let host = Host::new();
    host.shell(
        "before_vm_start/50_show",
        "sed -i s/Nehalem/Haswell/ \"$_hook_domxml\"; echo warn >&2",
    );
    host.shell("before_vm_start/60_kill", "kill -9 $$");
    host.shell("before_vm_start/60_old~", "exit 0");
    let hooks = host.path("hooks").display().to_string();
    let log = log(&host);
    let domain = host.path("vm.xml").display().to_string();
    let usual = ["run", "before_vm_start", "--json", "--hooks-dir", &hooks];
    let mut answers = vec![
        answer(&[&usual[..], &["--domain", &domain, "-p", "nobody=reads"]].concat()),
        answer(&[&usual[..], &["--log", &log, "--vm", "node7"]].concat()),
        answer(&["list", "--json", "--hooks-dir", &hooks]),
        answer(&["list", "--json", "--missing"]),
        answer(&["show", "--json", "macspoof", "cpuflags", "after_get_stats"]),
        answer(&["engine-config", "--json", "cpuflags", "macspoof"]),
        answer(&[
            "engine-config",
            "--json",
            "cpuflags",
            "--current",
            "UserDefinedVMProperties: a=^b$ version: 4.7",
        ]),
        answer(&["grow-disk", "--json", "--plan", "/nowhere/disk"]),
    ];
    // A host with somebody's script in the place of a hook, and a backup copy.
    for place in ["50_numa", "50_mine~"] {
        host.file(
            &format!("host/usr/libexec/vdsm/hooks/before_vm_start/{place}"),
            "#!/bin/sh\n",
        );
        let path = host.path(&format!(
            "host/usr/libexec/vdsm/hooks/before_vm_start/{place}"
        ));
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let root = host.path("host").display().to_string();
    answers.push(answer(&["doctor", "--json", "--root", &root]));
    // Two copies of a domain, a place without one, and one that is not there.
    for mount in ["one", "two"] {
        host.file(
            &format!("storage/mnt/{mount}/{EXPORT_ID}/dom_md/metadata"),
            EXPORT,
        );
    }
    fs::create_dir(host.path("storage/mnt/empty")).unwrap();
    let storage = host.path("storage").display().to_string();
    let check = [
        "domain",
        "check",
        "--json",
        "--all",
        "/nowhere",
        "--repository",
        &storage,
    ];
    answers.push(answer(&check));

    let mut seen = BTreeSet::new();
    for answer in &answers {
        seen.extend(explains(answer));
    }
    for (command, members) in page() {
        for path in members.into_keys() {
            let is_rare = RARE
                .iter()
                .any(|(of, rare, _)| *of == command && path.starts_with(&format!("{rare}.")));
            let pair = (command.clone(), path);
            assert!(seen.contains(&pair) != is_rare, "{pair:?}, rare: {is_rare}");
        }
    }
}

#[test]
fn an_answer_has_the_same_members_whatever_is_found() {
    let host = Host::new();
    let none = host.run("before_vm_start", &["--json"]).json();
    assert_eq!(none["hooks"], json!([]));
    assert_eq!(none["vm"], "node7");
    assert_eq!(none["properties"]["color"], "blue");
    assert_eq!(none["schema_before"], Value::Null);
    assert_eq!(none["log"], Value::Null);
    // What is there already: the same members, and nothing in them.
    let key = "UserDefinedVMProperties";
    let lists = |current: &str| {
        let current = format!("{key}: {current} version: 4.7");
        answer(&["engine-config", "--json", "cpuflags", "--current", &current])
    };
    let added = lists("a=^b$");
    let after = added["lists"][0]["after"].as_str().unwrap();
    let unchanged = lists(after);
    assert_eq!(unchanged["restart"], Value::Null);
    assert_eq!(
        unchanged["lists"],
        json!([{
            "key": key,
            "before": after,
            "after": after,
            "changes": [],
            "command": null,
            "way_back": null,
        }])
    );
}

#[test]
fn lists_of_the_engine_are_told_to_scripts() {
    let current = "UserDefinedVMProperties: a=^b$ version: 4.7";
    let call = ["engine-config", "cpuflags", "--current", current];
    let told = answer(&[&call[..], &["--json"]].concat());
    let list = &told["lists"][0];
    assert_eq!(list["before"], "a=^b$");
    let after = list["after"].as_str().unwrap();
    assert!(after.starts_with("a=^b$;cpuflags="), "{after}");
    assert_eq!(list["changes"], json!(["new cpuflags"]));
    let script = tool(&call).stdout();
    for command in [&list["command"], &told["restart"]] {
        let command = command.as_str().unwrap();
        assert!(
            script.contains(&format!("\n{command}\n")),
            "{command} in\n{script}"
        );
    }
    let back = list["way_back"].as_str().unwrap();
    assert!(
        script.contains(&format!("\n#   {back}\n")),
        "{back} in\n{script}"
    );
}

#[test]
fn hooks_are_explained_to_scripts() {
    let told = answer(&["show", "--json", "cpuflags", "before_nic_hotplug"]);
    let hooks = of_hooks(&told, "name");
    assert_eq!(hooks[0], "cpuflags");
    assert!(hooks.iter().any(|name| *name == "macspoof"), "{hooks:?}");
    assert_eq!(told["events"][0]["event"], "before_nic_hotplug");
    for hook in support::hooks() {
        let told = answer(&["show", "--json", &hook.name]);
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("hooks/{}/hook.json", hook.name));
        let described: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let told = &told["hooks"][0];
        for member in ["name", "summary"] {
            assert_eq!(told[member], described[member]);
        }
        for (told, described) in told["properties"]
            .as_array()
            .unwrap()
            .iter()
            .zip(described["properties"].as_array().unwrap())
        {
            for member in ["name", "scope", "syntax", "regex", "example"] {
                assert_eq!(told[member], described[member], "{}: {member}", hook.name);
            }
        }
    }
}
