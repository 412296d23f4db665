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
        let silenced = hook.silences.map_or(0, |other| other.places.len());
        let files = hook.events.len()
            + hook.helpers.len()
            + hook.daemons.len()
            + hook.files.len()
            + silenced;
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
        "  engine-config -m 'UserDefinedVMProperties=macspoof=^(true|false)$' --cver=4.7",
        "  engine-config -s 'CustomDeviceProperties={type=interface;prop={ifacemacspoof=^(true|false)$}}' --cver=4.7",
        "  vdsm-hooks run before_vm_start --domain FILE -p macspoof=true --hook macspoof",
        "-m adds to its list, but -s replaces a whole one, and the other properties in",
        "Give what -g prints to 'vdsm-hooks engine-config macspoof --current -': what",
        "Not in VDSM after 4.30.53; instead: a vNIC profile without a network filter, oVirt 4.0.",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    for (hook, said) in [
        ("cpuflags", "\n-m adds to the list, where"),
        ("vmfex_dev", "\n-s replaces the whole list, and"),
    ] {
        let text = tool(&["show", hook]).stdout();
        assert!(text.contains(said), "{said} in\n{text}");
    }
    // What works on more than the document has to be asked to.
    let text = tool(&["show", "growdisk"]).stdout();
    let lines = "\nTry it on a domain XML, it does its work on this host; without --act it is not run\n  \
                 vdsm-hooks run before_vm_start --domain FILE -p growdisk=auto --hook growdisk --act\n";
    assert!(text.contains(lines), "{text}");
    // What the engine knows already is not defined again.
    let text = tool(&["show", "cpuflags"]).stdout();
    assert!(
        text.contains("sap_agent is predefined in the engine."),
        "{text}"
    );
    assert!(!text.contains("sap_agent=^"), "{text}");
    tool(&["show", "nonsense"]).fails_with("is not a hook of this suite");
}

#[test]
fn hooks_are_found_by_all_their_names() {
    let page = tool(&["show", "macspoof"]).stdout();
    for (name, head) in [
        (
            "ifacemacspoof",
            "ifacemacspoof is a property of macspoof.\n\n",
        ),
        ("50_macspoof", "50_macspoof is a file of macspoof.\n\n"),
        (
            "before_nic_hotplug/50_macspoof",
            "before_nic_hotplug/50_macspoof is a file of macspoof.\n\n",
        ),
        (
            "vdsm-hook-macspoof",
            "vdsm-hook-macspoof is the package of macspoof.\n\n",
        ),
        ("anti-spoofing", "anti-spoofing is said of macspoof.\n\n"),
    ] {
        assert_eq!(tool(&["show", name]).stdout(), format!("{head}{page}"));
    }
    let several = tool(&["show", "sap_agent"]).stdout();
    assert_eq!(
        several,
        "sap_agent is a property of these hooks; 'vdsm-hooks show HOOK' explains one:\n  \
         cpuflags  Adds features to the virtual CPU, or removes them\n  \
         vhostmd   Gives a VM the metrics of its host that vhostmd publishes, for SAP's monitoring\n"
    );
    // What people call it who know no name.
    for (wish, head) in [
        ("discard", "discard is said of diskunmap.\n\ndiskunmap: "),
        (
            "huge pages",
            "huge pages is said of hugepages.\n\nhugepages: ",
        ),
        ("spoof", "spoof is part of what is said of these hooks; "),
        (
            "trim",
            "trim stands in the README of diskunmap.\n\ndiskunmap: ",
        ),
    ] {
        let text = tool(&["show", wish]).stdout();
        assert!(text.starts_with(head), "{text}");
    }
    tool(&["show", " "]).fails_with("\" \" is not a hook of this suite");
    let numa = tool(&["show", "numaset"]).stdout();
    let head = "numaset is today numa.\n\nnuma: Binds a VM's memory";
    assert!(numa.starts_with(head), "{numa}");
    let nested = tool(&["show", "nestedvt"]).stdout();
    let none = "\nProperties\n  None: it acts on every VM of the host\n\n";
    assert!(nested.contains(none), "{nested}");
    // Other commands take what stands for one hook.
    let files = tool(&["files", "macspoof"]).stdout();
    assert_eq!(tool(&["files", "50_macspoof"]).stdout(), files);
    assert_eq!(tool(&["files", "vdsm-hook-macspoof"]).stdout(), files);
    tool(&["files", "sap_agent"]).fails_with("a property of cpuflags and vhostmd: name the hook");
}

#[test]
fn misspelt_names_are_answered_with_what_was_meant() {
    for (words, meant) in [
        (&["show", "diskunma"][..], "did you mean diskunmap?"),
        (&["show", "ifacemacspof"], "did you mean ifacemacspoof?"),
        (
            &["show", "before_vm_strat"],
            "did you mean before_vm_start?",
        ),
        (&["show", "50_makspoof"], "did you mean 50_macspoof?"),
        (&["files", "macspof"], "did you mean macspoof?"),
        (&["engine-config", "macspof"], "did you mean macspoof?"),
        (&["list", "macspof"], "did you mean macspoof?"),
        (
            &["uninstall", "--destdir", "/nowhere", "--hook", "cpuflagz"],
            "did you mean cpuflags?",
        ),
        (&["list", "--instaled"], "--installed"),
    ] {
        let ended = tool(words);
        assert_eq!(ended.status(), 64, "{words:?}");
        let said = ended.stderr();
        assert!(said.contains(meant), "{words:?}: {said}");
        assert!(said.len() < 300, "{words:?}: {said}");
    }
    tool(&["show", "nonsense"]).fails_with("'vdsm-hooks list' names them");
    tool(&["files", "after_vm_pause"]).fails_with("not a hook of this suite but an event");
}

#[test]
fn show_explains_events() {
    let text = tool(&["show", "before_nic_hotplug"]).stdout();
    for line in [
        "before_nic_hotplug: an event of VDSM",
        "A hook gets        one device element, in the file that _hook_domxml names",
        "Custom properties  those of the VM, and of the device or the event",
        "A hook runs as     vdsm",
        "Its failure        stops the operation",
        "What it writes     is what VDSM goes on with",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    let files: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
    assert!(files.is_sorted() && files.len() > 5, "{text}");
    assert!(
        files.iter().any(|line| line.starts_with("  50_macspoof")),
        "{text}"
    );
    // Nothing leans on what is not there.
    let effect =
        "Takes VDSM's anti-spoofing filter off a VM's NICs: the same for the NIC being plugged in";
    assert!(text.contains(&format!("  {effect}\n")), "{text}");
    let text = tool(&["show", "before_network_setup"]).stdout();
    assert!(text.contains("A hook runs as     root\n"), "{text}");
    let text = tool(&["show", "after_vm_pause"]).stdout();
    assert!(
        text.ends_with("\nNo hook of this suite is called there.\n"),
        "{text}"
    );
}

/// A host with hooks of all kinds.
fn host() -> Host {
    let host = Host::new();
    host.suite("before_vm_start/50_cpuflags", "cpuflags");
    host.suite("before_vm_start/50_macspoof", "macspoof");
    host.shell("before_vm_start/50_numa", "exit 0");
    host.shell("before_vm_start/70_site", "exit 0");
    host.shell("before_vm_start/70_site~", "exit 0");
    host.hook("before_vm_start/80_old", "#!/no/python\n");
    host.shell("after_vm_start/50_private", "exit 0");
    host.mode("after_vm_start/50_private", 0o700);
    host.shell("after_network_setup/50_private", "exit 0");
    host.mode("after_network_setup/50_private", 0o700);
    host
}

#[test]
fn the_list_begins_with_what_is_here() {
    let host = host();
    let text = host.tool("list", &[]).stdout();
    let start = format!(
        "In {}, not of this suite:\n\n\
         EVENT/FILE                      VDSM      WHAT\n\
         after_vm_start/50_private       skips it  not executable for user vdsm, as which VDSM runs it\n\
         before_vm_start/70_site~        runs it   a script; probably not meant to run: a backup copy\n\
         before_vm_start/80_old          runs it   a script; its interpreter /no/python is not on this host, or not for its user\n\
         after_network_setup/50_private  runs it   a script\n\
         before_vm_start/50_numa         runs it   a script, probably of vdsm-hook-numa; the suite's numa goes there\n\
         before_vm_start/70_site         runs it   a script\n\
         \n\
         Hooks of this suite on this host:\n\n\
         cpuflags  Adds features to the virtual CPU, or removes them\n    \
         before_vm_start/50_cpuflags\n\
         macspoof  Takes VDSM's anti-spoofing filter off a VM's NICs\n    \
         before_vm_start/50_macspoof\n    \
         before_device_create/50_macspoof  is missing\n",
        host.path("hooks").display()
    );
    assert!(text.starts_with(&start), "{text}\nnot\n{start}");
    let count = support::hooks().len();
    let end = format!(
        "\nHooks: 2 of this suite here, {} not here; 6 other files, of which VDSM runs 5, \
         3 to be looked at: see 'vdsm-hooks doctor'.\n",
        count - 2
    );
    assert!(text.ends_with(&end), "{text}");
    let here = host.tool("list", &["--installed"]).stdout();
    assert!(
        here.starts_with(&start) && !here.contains("Not here"),
        "{here}"
    );
    assert!(
        here.contains("\nHooks: 2 of this suite here; 6 other files"),
        "{here}"
    );
    let missing = host.tool("list", &["--missing"]).stdout();
    assert!(
        missing.starts_with("Not here, in place of today's VDSM's:\n"),
        "{missing}"
    );
    assert!(
        missing.ends_with(&format!("\nHooks: {} not here.\n", count - 2)),
        "{missing}"
    );
}

#[test]
fn the_list_is_searched_by_words() {
    let host = host();
    let found = |words: &[&str]| host.tool("list", words).stdout();
    let text = found(&["Discard"]);
    let line = "diskunmap  Lets a guest give freed blocks back: discard for its SCSI and IDE disks";
    assert!(text.lines().any(|found| found == line), "{text}");
    assert!(
        text.ends_with("\nHooks: 0 of this suite here, 1 not here; no other files.\n"),
        "{text}"
    );
    for (words, name) in [
        (&["hugepages_count"][..], "hugepages"),
        (&["equivnets"], "allocate_net"),
        (&["vdsm-hook-ethtool-options"], "ethtool_options"),
        (&["numaset"], "numa"),
        (&["after_disk_prepare"], "localdisk"),
        (&["Trim"], "diskunmap"),
    ] {
        let list = host.tool("list", &[words, &["--json"]].concat()).json();
        assert_eq!(of_hooks(&list, "name"), [name], "{words:?}");
    }
    let text = found(&["site"]);
    assert!(text.contains("before_vm_start/70_site~ "), "{text}");
    host.tool("list", &["xyzzy"])
        .fails_with("nothing here and no hook of this suite has xyzzy");
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
        "Not here, in place of today's VDSM's:",
        "cpuflags ",
        "Not here, and VDSM no longer has them:",
        "macspoof ",
        "                     Not in VDSM after 4.30.53; instead: a vNIC profile without",
        "Not here, and VDSM never had them:",
        "sdcheck ",
        "Hooks: 0 of this suite here, ",
    ];
    assert!(lines.map(line).is_sorted(), "{text}");

    let list = host.tool("list", &["--json"]).json();
    assert_eq!(list["format"], 1);
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
        let answer = tool(&["show", "--json", &hook.name]).json();
        assert_eq!(answer["hooks"][0]["try_it"], line.trim());
        let [_, data] = host.data(&hook.events[0].event);
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
