// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks engine-config`: the engine's lists of properties.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use proptest::prelude::*;

use crate::support;
use support::tool::*;

const VM_KEY: &str = "UserDefinedVMProperties";
const DEVICE_KEY: &str = "CustomDeviceProperties";
const NETWORK_KEY: &str = "UserDefinedNetworkCustomProperties";

/// The engine's own value, braces and all.
const SECURITY_GROUPS: &str = "{type=interface;prop={SecurityGroups=^(?:(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}, *)*[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|)$}}";

fn engine_config(arguments: &[&str]) -> Ended {
    tool(&[&["engine-config"], arguments].concat())
}

/// An engine's machine, whose `engine-config` and `systemctl` write down how they are called.
struct Engine(Host);

impl Engine {
    fn new() -> Engine {
        let host = Host::new();
        for program in ["engine-config", "systemctl"] {
            let write = format!("printf '%s\\n' {program} \"$@\" . >> \"$calls\"");
            let path = host.file(&format!("bin/{program}"), &format!("#!/bin/sh\n{write}\n"));
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        Engine(host)
    }

    /// What is called when somebody pastes the text.
    fn paste(&self, text: &str) -> Vec<Vec<String>> {
        let calls = self.0.path("calls");
        fs::write(&calls, "").unwrap();
        let path = format!("{}:/usr/bin:/bin", self.0.path("bin").display());
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-euc", text])
            .env("calls", &calls)
            .env("PATH", path);
        let ended = end(&mut shell);
        assert_eq!(ended.status(), 0, "{text}\n{}", ended.stderr());
        let calls = fs::read_to_string(&calls).unwrap();
        let calls = calls.split_terminator("\n.\n");
        calls
            .map(|call| call.split('\n').map(str::to_owned).collect())
            .collect()
    }

    /// The lists that the text makes, on an engine that had none, and nothing else but a restart after
    /// them.
    fn lists(&self, text: &str) -> Vec<(String, String)> {
        self.after(text, &[])
    }

    /// What an engine has after the text, that had `now`.
    fn after(&self, text: &str, now: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut calls = self.paste(text);
        calls.retain(|call| call[1] != "-g");
        assert_eq!(
            calls.pop().unwrap(),
            ["systemctl", "restart", "ovirt-engine"],
            "{text}"
        );
        let now = now.iter();
        let mut lists: Vec<_> = now
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        for call in &calls {
            assert_eq!(call[0], "engine-config", "{text}");
            assert_eq!(call[3..], ["--cver=4.7"], "{text}");
            let (key, value) = call[2].split_once('=').unwrap();
            let at = lists.iter().position(|(name, _)| name == key);
            let at = at.unwrap_or_else(|| {
                lists.push((key.to_owned(), String::new()));
                lists.len() - 1
            });
            lists[at].1 = match call[1].as_str() {
                "-s" => value.to_owned(),
                "-m" if key == VM_KEY => merged(value, &lists[at].1),
                other => panic!("{other} {key} in\n{text}"),
            };
        }
        lists
    }
}

/// What `engine-config -m` makes of a list (ovirt-engine 4.5
/// …/core/config/EngineConfigLogic.java: mergedValues).
fn merged(added: &str, now: &str) -> String {
    if now.trim().is_empty() {
        return added.to_owned();
    }
    let mut list = now.trim().to_owned();
    for one in added.split_terminator(';') {
        if !list.split_terminator(';').any(|there| there == one) {
            if !list.ends_with(';') {
                list.push(';');
            }
            list += one;
        }
    }
    list
}

/// The commands that put the old lists back.
fn way_back(text: &str) -> String {
    let (_, after) = text.split_once("\n# To go back:\n").unwrap();
    let lines = after.lines().map_while(|line| line.strip_prefix("#   "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn engine_config_adds_to_what_is_there() {
    let engine = Engine::new();
    // All levels, as engine-config shows them.
    let devices =
        format!("{DEVICE_KEY}:  version: 4.6\n{DEVICE_KEY}: {SECURITY_GROUPS} version: 4.7\n");
    let vm = format!("{VM_KEY}: memory=^[0-9]+$;quote='\"; version: 4.7");
    let vm_before = "memory=^[0-9]+$;quote='\";";
    let call = [
        "macspoof",
        "extnet",
        "--current",
        &devices,
        "--current",
        &vm,
    ];
    let ended = engine_config(&call);
    assert_eq!((ended.status(), ended.stderr()), (0, String::new()));
    let text = ended.stdout();
    let inside = SECURITY_GROUPS.strip_suffix("}}").unwrap();
    let expected = [
        (VM_KEY, format!("{vm_before}macspoof=^(true|false)$")),
        (
            DEVICE_KEY,
            format!("{inside};ifacemacspoof=^(true|false)$;extnet=^[A-Za-z0-9_.][A-Za-z0-9_. -]{{0,49}}$}}}}"),
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value));
    assert_eq!(engine.lists(&text), expected);
    for line in [
        "# UserDefinedVMProperties, level 4.7: new macspoof",
        "# CustomDeviceProperties, level 4.7: new ifacemacspoof, new extnet",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    // Back to the last byte.
    let old = [(VM_KEY, vm_before), (DEVICE_KEY, SECURITY_GROUPS)];
    let old = old.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(engine.lists(&way_back(&text)), old);

    // Of a level that is not there nothing is known.
    let call = [&call[..], &["--cver", "4.6"]].concat();
    engine_config(&call)
        .fails_with("UserDefinedVMProperties is not there for level 4.6, only for 4.7");
}

#[test]
fn what_engine_config_prints_leaves_nothing_to_do() {
    let engine = Engine::new();
    // All hooks, to lists that are not known and to empty ones.
    let empty = [VM_KEY, DEVICE_KEY, NETWORK_KEY].map(|key| format!("{key}:  version: 4.7"));
    let anew = engine_config(&[]).stdout();
    let added = engine_config(&["--current", &empty.join("\n")]).stdout();
    let lists = engine.lists(&anew);
    assert_eq!(lists, engine.lists(&added));
    let looked = engine
        .paste(&anew)
        .into_iter()
        .filter(|call| call[1] == "-g");
    let looked: Vec<_> = looked.map(|call| call[2].clone()).collect();
    let keys: Vec<_> = lists.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(looked, keys);
    assert!(keys.len() >= 2, "{keys:?}");

    // From a file, and through a pipe.
    let now = lists
        .iter()
        .map(|(key, value)| format!("{key}: {value} version: 4.7\n"));
    let now: String = now.collect();
    let file = engine.0.file("now", &now);
    let ended = engine_config(&["--current", &file]);
    let mut pipe = Command::new("/bin/sh");
    pipe.args([
        "-c",
        "\"$1\" engine-config --current - < \"$2\"",
        "sh",
        TOOL,
        &file,
    ]);
    assert_eq!(end(&mut pipe).stdout(), ended.stdout());
    let text = ended.stdout();
    let lines = text
        .lines()
        .filter(|line| line.ends_with(": nothing to change"));
    assert_eq!(lines.count(), keys.len(), "{text}");
    assert_eq!(engine.paste(&text), Vec::<Vec<String>>::new());
    assert!(!text.contains("To go back"), "{text}");

    // What is predefined in the engine is not defined, and the host's settings are named.
    assert!(!added.contains("sap_agent="), "{added}");
    for line in [
        "# sap_agent is predefined in the engine.",
        "# Set a default for the whole host, in /etc/sysconfig/vdsm",
        "#   sdcheck_repository=\"/rhev/data-center\"",
    ] {
        assert!(
            added.lines().any(|found| found == line),
            "{line} in\n{added}"
        );
    }
}

#[test]
fn another_regular_expression_stays_unless_it_is_to_go() {
    let engine = Engine::new();
    let current = format!("{VM_KEY}=a=b;diskunmap=^.*$;c=d");
    let stays = engine_config(&["diskunmap", "--current", &current]);
    assert_eq!(
        stays.stdout(),
        "# UserDefinedVMProperties, level 4.7: nothing to change\n"
    );
    assert_eq!(
        stays.stderr(),
        "vdsm-hooks: UserDefinedVMProperties: diskunmap=^.*$ stays; --replace makes it ^(off|on)$\n"
    );
    let goes = engine_config(&["diskunmap", "--replace", "--current", &current]);
    let expected = (VM_KEY.to_owned(), "a=b;diskunmap=^(off|on)$;c=d".to_owned());
    assert_eq!(engine.lists(&goes.stdout()), [expected]);
    assert_eq!(
        goes.stderr(),
        "vdsm-hooks: UserDefinedVMProperties: diskunmap=^.*$ is replaced\n"
    );
}

#[test]
fn what_is_no_list_is_refused_with_its_place() {
    let host = Host::new();
    let vm = |value: &str| format!("{VM_KEY}={value}");
    for (current, message) in [
        (
            vm("a=b;c"),
            "--current: UserDefinedVMProperties, level 4.7: \"c\": expected NAME=REGEX",
        ),
        (
            vm("a=b") + "\n\nfoo",
            "--current: line 3: \"foo\": expected what 'engine-config -g KEY'",
        ),
        (
            vm("a=b") + "\n" + &vm("c=d"),
            "UserDefinedVMProperties has more than one value",
        ),
        (
            format!("{DEVICE_KEY}="),
            "--current: no UserDefinedVMProperties, which the hooks need",
        ),
        (host.file("empty", "\n"), "empty: empty, expected what"),
        ("-".to_owned(), "standard input: empty, expected what"),
        ("/no/such/file".to_owned(), "/no/such/file: No such file"),
    ] {
        engine_config(&["cpuflags", "--current", &current]).fails_with(message);
    }
    engine_config(&["nonsense"]).fails_with("is not a hook of this suite");
    assert_eq!(engine_config(&["--cver", "new"]).status(), 64);
    // The same twice is no contradiction.
    let same = vm("a=b") + "\n" + &vm("a=b");
    assert_eq!(engine_config(&["cpuflags", "--current", &same]).status(), 0);
}

#[test]
fn without_a_list_what_can_be_added_is_added() {
    let engine = Engine::new();
    let text = engine_config(&["diskunmap"]).stdout();
    assert_eq!(
        text,
        "\
# UserDefinedVMProperties, level 4.7: -m adds to the list that is there. Where that has one
# of these properties with another regular expression, both are in it then, and
# the engine takes the new one. With --current that is seen before; without, keep
# what the first command shows, to go back.
engine-config -g UserDefinedVMProperties
engine-config -m 'UserDefinedVMProperties=diskunmap=^(off|on)$' --cver=4.7
systemctl restart ovirt-engine
"
    );
    for (now, after) in [
        ("", "diskunmap=^(off|on)$"),
        ("memory=^[0-9]+$", "memory=^[0-9]+$;diskunmap=^(off|on)$"),
        ("diskunmap=^(off|on)$;", "diskunmap=^(off|on)$;"),
        // As the comment says.
        (
            "diskunmap=^.*$;a=b",
            "diskunmap=^.*$;a=b;diskunmap=^(off|on)$",
        ),
    ] {
        let expected = [(VM_KEY.to_owned(), after.to_owned())];
        assert_eq!(engine.after(&text, &[(VM_KEY, now)]), expected, "{now}");
    }
    // The list of devices can only be replaced.
    let text = engine_config(&["macspoof"]).stdout();
    let after = engine.after(&text, &[(VM_KEY, "a=b"), (DEVICE_KEY, SECURITY_GROUPS)]);
    let devices = "{type=interface;prop={ifacemacspoof=^(true|false)$}}";
    let expected = [
        (VM_KEY, "a=b;macspoof=^(true|false)$"),
        (DEVICE_KEY, devices),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(after, expected);
    assert!(text.lines().all(|line| line.trim_start() == line), "{text}");
    // What hooks share is said once, and so is that there is nothing to say.
    let text = engine_config(&["cpuflags", "vhostmd"]).stdout();
    let shared = "# sap_agent is predefined in the engine.\n";
    assert_eq!(text.matches(shared).count(), 1, "{text}");
    assert_eq!(
        engine_config(&["nestedvt"]).stdout(),
        "# These hooks have no property that anybody defines.\n"
    );
    let text = engine_config(&["macspoof"]).stdout();
    let warning = "# The engine's own SecurityGroups is in this list.";
    assert!(text.lines().any(|line| line == warning), "{text}");
}

#[test]
fn what_a_hook_needed_is_dropped_and_nothing_else() {
    let engine = Engine::new();
    let vm = "a=b;macspoof=^.*$;cpuflags=^x$;c=d";
    let inside = SECURITY_GROUPS.strip_suffix("}}").unwrap();
    let devices = format!("{inside};ifacemacspoof=^(true|false)$}}}}");
    let current = format!("{VM_KEY}={vm}\n{DEVICE_KEY}={devices}");
    let ended = engine_config(&["--drop", "macspoof", "--current", &current]);
    assert_eq!((ended.status(), ended.stderr()), (0, String::new()));
    let text = ended.stdout();
    let owned =
        |lists: [(&str, &str); 2]| lists.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let without = owned([
        (VM_KEY, "a=b;cpuflags=^x$;c=d"),
        (DEVICE_KEY, SECURITY_GROUPS),
    ]);
    assert_eq!(engine.lists(&text), without);
    for line in [
        "# UserDefinedVMProperties, level 4.7: without macspoof",
        "# CustomDeviceProperties, level 4.7: without ifacemacspoof",
        "# VMs that have such a property start without it, and the engine does not say so.",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    let old = owned([(VM_KEY, vm), (DEVICE_KEY, &devices)]);
    assert_eq!(engine.lists(&way_back(&text)), old);

    // One comes and one goes, in one list.
    let call = ["diskunmap", "--drop", "cpuflags", "--current", &current];
    let text = engine_config(&call).stdout();
    let list = "a=b;macspoof=^.*$;c=d;diskunmap=^(off|on)$";
    assert_eq!(engine.lists(&text), [(VM_KEY.to_owned(), list.to_owned())]);
    let line = "# UserDefinedVMProperties, level 4.7: without cpuflags, new diskunmap";
    assert!(text.lines().any(|found| found == line), "{text}");

    // What is not there need not go.
    let ended = engine_config(&["--drop", "diskunmap", "--current", &current]);
    assert_eq!(
        ended.stdout(),
        "# UserDefinedVMProperties, level 4.7: nothing to change\n"
    );

    engine_config(&["--drop", "cpuflags"]).fails_with("--drop: what the engine has is not known");
    engine_config(&["cpuflags", "--drop", "cpuflags", "--current", &current])
        .fails_with("cpuflags: to be defined and dropped");
    engine_config(&["--drop", "nonsense", "--current", &current]).fails_with("nonsense");
}

#[test]
fn all_that_the_suite_has_added_is_dropped_again() {
    let engine = Engine::new();
    let foreign = [
        (VM_KEY, "a=b;c=d"),
        (DEVICE_KEY, SECURITY_GROUPS),
        (NETWORK_KEY, "n=^x$"),
    ];
    let lines = |lists: &[(String, String)]| {
        let lines = lists
            .iter()
            .map(|(key, value)| format!("{key}: {value} version: 4.7\n"));
        lines.collect::<String>()
    };
    let foreign = foreign.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let added = engine.lists(&engine_config(&["--current", &lines(&foreign)]).stdout());
    assert!(
        added.iter().all(|list| !foreign.contains(list)),
        "{added:?}"
    );
    let hooks = support::hooks();
    let mut call = Vec::new();
    for hook in &hooks {
        call.extend(["--drop", hook.name.as_str()]);
    }
    let current = lines(&added);
    call.extend(["--current", current.as_str()]);
    let dropped = engine_config(&call);
    assert_eq!((dropped.status(), dropped.stderr()), (0, String::new()));
    let dropped = engine.lists(&dropped.stdout());
    for list in &dropped {
        assert!(foreign.contains(list), "{list:?}");
    }
    assert_eq!(dropped.len(), added.len());
}

#[test]
fn what_comes_beside_the_lists_is_passed_over_and_named() {
    let list = format!("{VM_KEY}: a=b version: 4.7");
    let expected = engine_config(&["diskunmap", "--current", &list]);
    let noise = format!(
        "Picked up JAVA_TOOL_OPTIONS: -Dcom.redhat.fips=false\n\
         VdcVersion: 4.5.6 version: general\n{list}\n"
    );
    let ended = engine_config(&["diskunmap", "--current", &noise]);
    assert_eq!(ended.stdout(), expected.stdout());
    assert_eq!(
        ended.stderr(),
        "vdsm-hooks: --current: line 1 is passed over: \
         \"Picked up JAVA_TOOL_OPTIONS: -Dcom.redhat.fips=false\"\n\
         vdsm-hooks: --current: a line of another key is passed over\n"
    );
    let alone = "Picked up JAVA_TOOL_OPTIONS: -Dcom.redhat.fips=false\n";
    engine_config(&["diskunmap", "--current", alone]).fails_with("--current: no list in it");
    // What '-g KEY --cver=4.7' prints is of no key.
    let value = "a=b";
    engine_config(&["diskunmap", "--current", value]).fails_with("prints without --cver");
}

proptest! {
    // Each case is four processes.
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn commands_survive_the_shell(foreign in "[^;\\pC]{0,30}", other in "[$`\\\\!'\"*~&|{}= ]{0,9}") {
        let engine = Engine::new();
        let vm = format!("zz={foreign};yy={other}");
        let devices = format!("{{type=disk;prop={{zz={foreign};yy={other}}}}}");
        let current = format!("{VM_KEY}: {vm} version: 4.7\n{DEVICE_KEY}: {devices} version: 4.7");
        let text = engine_config(&["macspoof", "--current", &current]).stdout();
        let interface = "{type=interface;prop={ifacemacspoof=^(true|false)$}}";
        let expected = [
            (VM_KEY.to_owned(), format!("{vm};macspoof=^(true|false)$")),
            (DEVICE_KEY.to_owned(), format!("{devices};{interface}")),
        ];
        prop_assert_eq!(engine.lists(&text), expected);
        let old = [(VM_KEY.to_owned(), vm), (DEVICE_KEY.to_owned(), devices)];
        prop_assert_eq!(engine.lists(&way_back(&text)), old);
    }
}
