// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks list`, `show` and `files`: what there is, and how it is switched on.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support;
use support::tool::*;

#[test]
fn files_has_one_line_per_package_and_installed_file() {
    let all = tool(&["files"]).stdout();
    // Every folder with a description is in the catalog, and all that it describes in the list.
    let mut count = 0;
    for hook in support::hooks() {
        let start = format!("{}\t", hook.name);
        let found = all.lines().filter(|line| line.starts_with(&start)).count();
        let files = hook.events.len() + hook.helpers.len() + hook.daemons.len() + hook.files.len();
        assert_eq!(found, 1 + files, "{}", hook.name);
        count += found;
    }
    assert_eq!(all.lines().count(), count, "{all}");
    assert_eq!(
        tool(&["files", "vmfex"]).stdout(),
        "vmfex\tpackage\tvdsm-hook-vmfex\t4.20.17\t-\t-\t-\tConnects chosen NICs of a VM to port profiles of a Cisco VM-FEX adapter\n\
         vmfex\tprogram\t/usr/libexec/vdsm/hooks/before_vm_start/50_vmfex\t0755\tvmfex\n\
         vmfex\tlink\t/usr/libexec/vdsm/hooks/before_vm_migrate_destination/50_vmfex\t-\t../before_vm_start/50_vmfex\n\
         vmfex\thelper\t/usr/libexec/vdsm-hooks/vmfex-pool\t0755\tvmfex-pool\n\
         vmfex\tfile\t/usr/lib/tmpfiles.d/vdsm-hooks-vmfex.conf\t0644\tvmfex.tmpfiles\n"
    );
    let replaces_nothing = tool(&["files", "sdcheck"]).stdout();
    assert!(replaces_nothing.starts_with("sdcheck\tpackage\t-\t-\t-\t-\t"));
    tool(&["files", "nonsense"]).fails_with("\"nonsense\" is not a hook of this suite");
}

#[test]
fn show_gives_the_engines_command_lines() {
    let text = tool(&["show", "macspoof"]).stdout();
    for line in [
        "  engine-config -s 'UserDefinedVMProperties=macspoof=^(true|false)$' --cver=4.7",
        "  engine-config -s 'CustomDeviceProperties={type=interface;prop={ifacemacspoof=^(true|false)$}}' --cver=4.7",
        "  vdsm-hooks run before_vm_start --domain FILE -p macspoof=true --hook macspoof",
        "what the -g commands print to 'vdsm-hooks engine-config macspoof --current -', and run",
        "Not in VDSM after 4.30.53; instead: a vNIC profile without a network filter, oVirt 4.0.",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    // The engine refuses to define what it knows already.
    let text = tool(&["show", "cpuflags"]).stdout();
    assert!(
        text.contains("sap_agent is predefined in the engine."),
        "{text}"
    );
    assert!(!text.contains("sap_agent=^"), "{text}");
    tool(&["show", "nonsense"]).fails_with("is not a hook of this suite");
}

#[test]
fn the_list_has_groups_and_says_what_came_instead() {
    let host = Host::new();
    let text = host.tool("list", &[]).stdout();
    let line = |wanted: &str| {
        let found = text.lines().position(|line| line.starts_with(wanted));
        found.unwrap_or_else(|| panic!("{wanted} in\n{text}"))
    };
    let lines = [
        "Hooks in place of today's VDSM's:",
        "cpuflags ",
        "Hooks that VDSM no longer has:",
        "macspoof ",
        "  Not in VDSM after 4.30.53; instead: a vNIC profile without",
        "Hooks that VDSM never had:",
        "sdcheck ",
    ];
    assert!(lines.map(line).is_sorted(), "{text}");

    let list = host.tool("list", &["--json"]).json();
    for hook in list["hooks"].as_array().unwrap() {
        let file = format!("hooks/{}/hook.json", hook["name"].as_str().unwrap());
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let described: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert_eq!(hook["retired"], described["retired"]);
        let group = match (&described["retired"], &described["replaces"]) {
            (Value::Null, Value::Null) => "new",
            (Value::Null, _) => "current",
            _ => "retired",
        };
        assert_eq!(hook["group"], group, "{hook}");
    }
}

#[test]
fn every_dry_run_that_show_prints_can_be_typed() {
    let host = Host::new();
    for hook in support::hooks() {
        host.shell(&hook.place(&hook.events[0]), "exit 0");
        let text = tool(&["show", &hook.name]).stdout();
        let line = text
            .lines()
            .find(|line| line.starts_with("  vdsm-hooks run "))
            .unwrap();
        let data = host.file("data.json", "{}");
        let command = line
            .replace("vdsm-hooks run", &format!("{TOOL} run --hooks-dir hooks"))
            .replace("--domain FILE", "--domain vm.xml")
            .replace("--data FILE", &format!("--data {data}"))
            .replace("MAC", MAC);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &command]).current_dir(host.root.path());
        let ended = end(&mut shell);
        assert_eq!(
            ended.status(),
            0,
            "{command}: {}{}",
            ended.stdout(),
            ended.stderr()
        );
    }
}
