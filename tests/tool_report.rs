// SPDX-License-Identifier: GPL-2.0-or-later

//! What `vdsm-hooks run` says on a host with many hooks, and of names that nobody knows.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use vdsm_hooks::hook::manifest::Manifest;
use vdsm_hooks::vdsm::events;

use crate::support;
use support::hooks;
use support::tool::*;

#[test]
fn seventy_hooks_that_do_nothing_are_a_few_lines() {
    let host = Host::new();
    for number in 10..80 {
        host.shell(&format!("before_vm_start/{number}_x"), "exit 0");
    }
    let text = host
        .run("before_vm_start", &["-p", "a=b c", "-p", "d=e"])
        .stdout();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.len() <= 6, "{text}");
    assert!(lines.contains(&"70 hooks: no change"), "{text}");
    assert!(lines.contains(&"VDSM goes on"), "{text}");
    assert_eq!(lines.last(), Some(&"0 of 70 hooks changed the document"));
    let vm = format!("VM node7  a='b c'  color=blue  d=e  shared='of the vm'  vmId={UUID}");
    assert_eq!(lines[1], vm, "{text}");

    let all = host.run("before_vm_start", &["--all"]).stdout();
    assert_eq!(all.matches("  no change\n").count(), 70, "{all}");
    assert!(
        all.contains("VM node7\n  color=blue\n  shared='of the vm'\n"),
        "{all}"
    );
}

#[test]
fn the_last_line_says_who_did_what() {
    let host = Host::new();
    host.shell("before_vm_start/10_a", "exit 0");
    host.shell(
        "before_vm_start/20_b",
        "sed -i s/Nehalem/Westmere/ \"$_hook_domxml\"",
    );
    host.shell("before_vm_start/30_c", "echo careful >&2");
    host.shell(
        "before_vm_start/40_d",
        "sed -i s/node7/node8/ \"$_hook_domxml\"; exit 1",
    );
    host.shell("before_vm_start/50_e", "exit 2");
    host.shell("before_vm_start/60_f", "exit 0");
    let text = host.run("before_vm_start", &[]).stdout();
    assert!(
        text.contains("\n10_a: no change\n60_f: skipped\nVDSM stops the operation\n"),
        "{text}"
    );
    let last =
        "2 of 6 hooks changed the document: 20_b, 40_d; 1 warned: 30_c; 2 failed: 40_d, 50_e\n";
    assert!(text.ends_with(last), "{text}");
    assert!(!text.contains("10_a  ok"), "{text}");
    assert!(text.contains("30_c  ok"), "{text}");

    let text = host.run("before_vm_start", &["--hook", "a"]).stdout();
    assert!(
        text.ends_with("VDSM goes on\n0 of 1 hook changed the document\n"),
        "{text}"
    );
    host.shell("after_get_stats/50_g", "echo '{\"a\": 1}' >\"$_hook_json\"");
    let data = host.file("stats.json", "{}");
    let text = host
        .tool("run", &["after_get_stats", "--data", &data])
        .stdout();
    assert!(
        text.ends_with("1 of 1 hook changed the data: 50_g\n"),
        "{text}"
    );
    host.shell("after_vm_start/50_hangs", "sleep 300");
    let text = host.run("after_vm_start", &["--timeout", "0.5"]).stdout();
    assert!(text.ends_with("; 1 did not end: 50_hangs\n"), "{text}");
    assert!(
        host.run("after_vm_cont", &[])
            .stdout()
            .ends_with("no hook ran\n")
    );
}

#[test]
fn data_that_stays_broken_is_told_once() {
    let host = Host::new();
    host.shell("before_vm_start/10_break", "echo '<a>' >\"$_hook_domxml\"");
    for number in 20..60 {
        host.shell(&format!("before_vm_start/{number}_x"), "exit 0");
    }
    let text = host.run("before_vm_start", &[]).stdout();
    assert_eq!(text.matches("  data: ").count(), 1, "{text}");
    assert!(text.contains("40 hooks: no change\n"), "{text}");
}

#[test]
fn a_slow_hook_is_named_although_it_did_nothing() {
    let host = Host::new();
    host.shell("before_vm_start/10_slow", "sleep 1.2");
    host.shell("before_vm_start/20_x", "exit 0");
    let text = host.run("before_vm_start", &[]).stdout();
    assert!(
        text.contains("10_slow, 20_x: no change; 10_slow took 1."),
        "{text}"
    );
}

/// The hook of the suite at its place at `event`.
fn install(host: &Host, event: &str, name: &str) {
    let hook = hooks().into_iter().find(|hook| hook.name == name).unwrap();
    let one = hook.events.iter().find(|one| one.event == event).unwrap();
    host.suite(&hook.place(one), name);
}

/// What is said on standard error.
fn said(host: &Host, event: &str, arguments: &[&str]) -> Vec<String> {
    let ended = host.run(event, arguments);
    assert_eq!(ended.status(), 0, "{}{}", ended.stdout(), ended.stderr());
    let lines = ended.stderr();
    lines
        .lines()
        .map(|line| line.strip_prefix("vdsm-hooks: ").unwrap().to_owned())
        .collect()
}

#[test]
fn a_property_that_nobody_reads_is_said() {
    let host = Host::new();
    // Nothing in the metadata that nobody knows.
    host.file(
        "vm.xml",
        &DOMAIN
            .replace("color>", "diskunmap>")
            .replace("shared>", "viodiskcache>"),
    );
    for name in ["cpuflags", "diskunmap", "numa"] {
        install(&host, "before_vm_start", name);
    }
    let set = |values: &[&str]| {
        let arguments: Vec<&str> = values.iter().flat_map(|value| ["-p", *value]).collect();
        said(&host, "before_vm_start", &arguments)
    };
    assert_eq!(set(&["diskunmap=off"]), Vec::<String>::new());
    assert_eq!(
        set(&[
            "diskunmap=off",
            "numaset=strict:1-4",
            "cpuflag=+pcid",
            "colour=red"
        ]),
        [
            "numaset: no hook at before_vm_start reads it; what RHV's guides call numaset is numa",
            "cpuflag: no hook at before_vm_start reads it; cpuflags?",
            "colour: no hook at before_vm_start reads it",
        ]
    );
    // What VDSM sets in any case.
    assert_eq!(
        set(&["diskunmap=off", "vmId=x", "_hook_domxml=/x"]),
        [
            "vmId: VDSM sets it itself, to the id of the VM; see --vm-id",
            "_hook_domxml: VDSM sets it itself, to the file with the data",
        ]
    );
    // Of another event, or of a hook that is not here.
    let elsewhere = set(&["diskunmap=off", "extnet=net1", "smbios={}"]);
    assert!(
        elsewhere[0].starts_with(
            "extnet: no hook at before_vm_start reads it; extnet does at before_device_create, "
        ),
        "{elsewhere:?}"
    );
    assert_eq!(
        elsewhere[1],
        "smbios: smbios reads it at before_vm_start, and is not installed here"
    );
    // Not the engine's own, and nothing that is a switch of every hook.
    let known = [
        "diskunmap=off",
        "viodiskcache=none",
        "VDSM_HOOK_LOG=debug",
        "hugepages=1024",
    ];
    assert_eq!(set(&known), Vec::<String>::new());
    let call = ["--hook", "numa", "-p", "diskunmap=off"];
    let file = "50_diskunmap";
    assert_eq!(
        said(&host, "before_vm_start", &call),
        [format!(
            "diskunmap: {file} would read it, and is not among those that ran"
        )]
    );

    // In the VM's metadata.
    host.file(
        "vm.xml",
        &DOMAIN
            .replace("color>", "diskunmapp>")
            .replace(">blue<", ">on<"),
    );
    let lines = said(&host, "before_vm_start", &[]);
    assert_eq!(
        lines,
        [
            "diskunmapp: no hook at before_vm_start reads it; diskunmap?",
            "shared: no hook at before_vm_start reads it",
        ]
    );
    // A hook of somebody else may read anything.
    host.shell("before_vm_start/70_foreign", "exit 0");
    assert_eq!(said(&host, "before_vm_start", &[]), Vec::<String>::new());
    assert_eq!(
        said(&host, "before_vm_start", &["-p", "cpuflag=+pcid"]),
        ["cpuflag: no hook of the suite at before_vm_start reads it; cpuflags?"]
    );
}

#[test]
fn a_value_that_the_engine_would_not_take_is_said() {
    let host = Host::new();
    install(&host, "before_vm_start", "diskunmap");
    host.file(
        "vm.xml",
        &DOMAIN
            .replace("color>", "vhost>")
            .replace("shared>", "sndbuf>"),
    );
    let lines = said(&host, "before_vm_start", &["-p", "diskunmap=yes"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    let begin = "diskunmap=\"yes\": the engine would not take it, expected ";
    assert!(lines[0].starts_with(begin), "{lines:?}");
    assert_eq!(
        said(&host, "before_vm_start", &["-p", "diskunmap=on"]),
        Vec::<String>::new()
    );
    // Whatever the regular expression says.
    let lines = said(&host, "before_vm_start", &["-p", "diskunmap=on;off"]);
    let end = "=\"on;off\": the engine would not take it, expected no semicolon: it ends a value";
    assert_eq!(lines, [format!("diskunmap{end}")]);
    // A device's.
    let nic = ["--device", MAC, "-d", "ifacemacspoof=perhaps"];
    install(&host, "before_nic_hotplug", "macspoof");
    let lines = said(&host, "before_nic_hotplug", &nic);
    assert!(
        lines[0].starts_with("ifacemacspoof=\"perhaps\": the engine would not take"),
        "{lines:?}"
    );
}

#[test]
fn what_is_wrong_has_a_status_of_its_own_where_it_is_wanted() {
    let test = "what_is_wrong_has_a_status_of_its_own_where_it_is_wanted";
    if !have("virt-xml-validate", test) {
        return;
    }
    let host = Host::new();
    host.file(
        "vm.xml",
        &DOMAIN
            .replace("color>", "vhost>")
            .replace("shared>", "sndbuf>"),
    );
    install(&host, "before_vm_start", "diskunmap");
    host.shell("before_vm_start/60_fine", "exit 0");
    host.shell("before_vm_start/70_warns", "echo careful >&2");
    host.shell(
        "before_vm_start/80_breaks",
        "sed -i 's/<os>/<bogus\\/><os>/' \"$_hook_domxml\"",
    );
    host.shell("before_vm_start/90_fails", "exit 1");
    host.shell("after_vm_start/50_fails", "exit 1");
    for (event, arguments, status, finding) in [
        ("before_vm_start", &["--hook", "fine"][..], 0, ""),
        (
            "before_vm_start",
            &["--hook", "warns"],
            4,
            "70_warns warned",
        ),
        (
            "before_vm_start",
            &["--hook", "breaks"],
            4,
            "the schema is broken by 80_breaks",
        ),
        // VDSM stops anyway.
        ("before_vm_start", &["--hook", "fails"], 2, ""),
        ("after_vm_start", &[], 1, ""),
        (
            "before_vm_start",
            &[
                "--hook",
                "diskunmap",
                "-p",
                "diskunmap=off",
                "-p",
                "cpuflag=+pcid",
            ],
            4,
            "cpuflag: no hook at before_vm_start reads it; cpuflags?",
        ),
        (
            "before_vm_start",
            &["--hook", "fine", "-p", "diskunmap=on"],
            4,
            "diskunmap: 50_diskunmap would read it, and is not among those that ran",
        ),
    ] {
        let strict = [&["--strict"], arguments].concat();
        let ended = host.run(event, &strict);
        assert_eq!(ended.status(), status, "{arguments:?}: {}", ended.stdout());
        if finding.is_empty() {
            assert!(!ended.stdout().contains("strict: "), "{}", ended.stdout());
        } else {
            let line = format!("strict: {finding}\n");
            assert!(ended.stdout().contains(&line), "{line}: {}", ended.stdout());
            let summary = host.json(event, arguments);
            // The schema is asked only where somebody wants it.
            let findings = summary["findings"].as_array().unwrap();
            let is_schema = finding.contains("schema");
            assert_eq!(
                findings.contains(&finding.into()),
                !is_schema,
                "{summary:#}"
            );
            assert_eq!(host.run(event, arguments).status(), 0, "{arguments:?}");
        }
    }
    // JSON has no schema, and needs none.
    host.shell("after_get_stats/50_fine", "exit 0");
    let data = host.file("stats.json", "{}");
    let ended = host.tool("run", &["after_get_stats", "--data", &data, "--strict"]);
    assert_eq!(ended.status(), 0, "{}{}", ended.stdout(), ended.stderr());
}

#[test]
fn what_acts_on_more_than_the_document_is_run_only_if_asked_to() {
    let host = Host::new();
    let touch = |place: &str| {
        let made = host.path(place.rsplit_once('/').unwrap().1);
        host.shell(place, &format!("touch {}", made.display()));
    };
    touch("before_vm_start/40_growdisk");
    touch("before_vm_start/50_fileinject");
    touch("before_vm_start/60_other");
    touch("after_vm_destroy/50_scratchpad");
    touch("after_network_setup/30_ethtool_options");
    let made = || -> Vec<&str> {
        let names = [
            "40_growdisk",
            "50_fileinject",
            "60_other",
            "50_scratchpad",
            "30_ethtool_options",
        ];
        let there = names.into_iter().filter(|name| host.path(name).exists());
        let there: Vec<_> = there.collect();
        for name in &there {
            fs::remove_file(host.path(name)).unwrap();
        }
        there
    };

    let both = ["-p", "growdisk=auto", "-p", "fileinject=/etc/motd:hello"];
    let ended = host.run("before_vm_start", &both);
    assert_eq!(made(), ["60_other"]);
    assert_eq!(ended.status(), 0);
    let text = ended.stdout();
    for line in [
        "60_other: no change",
        "40_growdisk, 50_fileinject: not run (acts on more than the document); --act runs such hooks",
        "VDSM goes on, unless 40_growdisk or 50_fileinject fails",
        "0 of 3 hooks changed the document; 2 not run: 40_growdisk, 50_fileinject",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert_eq!(ended.stderr(), "");
    let summary = host.json("before_vm_start", &both);
    assert_eq!(of_hooks(&summary, "status"), ["not-run", "not-run", "ok"]);
    assert_eq!(summary["format"], 1);
    assert_eq!(summary["vm"], "node7");
    let set = json!({
        "color": "blue",
        "fileinject": "/etc/motd:hello",
        "growdisk": "auto",
        "shared": "of the vm",
        "vmId": UUID,
    });
    assert_eq!(summary["properties"], set);
    assert_eq!(
        summary["findings"],
        json!(["40_growdisk was not run", "50_fileinject was not run"])
    );
    assert_eq!(made(), ["60_other"]);

    // Whom nobody asks does nothing; who is asked for by name is not yet asked to act.
    host.run("before_vm_start", &both[..2]);
    assert_eq!(made(), ["50_fileinject", "60_other"]);
    let one = [&both[..], &["--hook", "growdisk"]].concat();
    let text = host.run("before_vm_start", &one).stdout();
    assert!(
        text.ends_with("0 of 1 hook changed the document; 1 not run: 40_growdisk\n"),
        "{text}"
    );
    assert_eq!(made(), Vec::<&str>::new());
    host.run("before_vm_start", &[&both[..], &["--act"]].concat());
    assert_eq!(made(), ["40_growdisk", "50_fileinject", "60_other"]);

    // Where VDSM only logs failures it goes on in any case.
    let text = host
        .run("after_vm_destroy", &["-p", "scratchpad=1G,/x"])
        .stdout();
    assert!(text.contains("VDSM goes on\n"), "{text}");
    assert_eq!(made(), Vec::<&str>::new());

    // Properties of networks are in the data.
    let asked = REQUEST.replace(
        "\"networks\": {}",
        "\"networks\": {\"n\": {\"custom\": {\"ethtool_opts\": \"-K em1 gro off\"}}}",
    );
    for (request, expected) in [(REQUEST, vec!["30_ethtool_options"]), (&asked, vec![])] {
        let data = host.file("request.json", request);
        host.tool("run", &["after_network_setup", "--data", &data]);
        assert_eq!(made(), expected, "{request}");
    }
}

#[test]
fn a_hook_is_found_by_every_name_that_it_goes_by() {
    let host = Host::new();
    host.file("vm.xml", DOMAIN);
    let all = hooks();
    for hook in &all {
        for one in &hook.events {
            host.shell(&hook.place(one), "exit 0");
        }
    }
    let ran = |hook: &Manifest, number: usize, name: &str| -> Vec<Value> {
        let event = &hook.events[number].event;
        let [option, file] = host.data(event);
        let mut call = vec![event.as_str(), &option, &file, "--hook", name, "--json"];
        if events::find(event).unwrap().data == events::Data::Device {
            call.extend(["--device", MAC]);
        }
        let ended = host.tool("run", &call);
        assert_eq!(ended.status(), 0, "{name} at {event}: {}", ended.stderr());
        of_hooks(&ended.json(), "name")
            .into_iter()
            .cloned()
            .collect()
    };
    for hook in &all {
        let file = hook.installed_as(&hook.events[0]);
        let package = format!("vdsm-hooks-{}", hook.name);
        let mut names = vec![hook.name.as_str(), &file, &package];
        names.extend(hook.replaces.as_deref());
        for name in names {
            assert_eq!(ran(hook, 0, name), [file.as_str()], "{name}");
        }
    }
    // At each of its events, and by a property.
    let called = |name: &str| all.iter().find(|hook| hook.name == name).unwrap();
    for name in ["ovn", "vmfex_dev"] {
        let hook = called(name);
        for (number, one) in hook.events.iter().enumerate() {
            assert_eq!(
                ran(hook, number, name),
                [hook.installed_as(one).as_str()],
                "{name}"
            );
        }
    }
    assert_eq!(
        ran(called("qemucmdline"), 0, "qemu_cmdline"),
        ["50_qemucmdline"]
    );

    // What is not here says where it is, or what was meant.
    host.run("before_vm_start", &["--hook", "extnet"])
        .fails_with("no hook \"extnet\" at before_vm_start: extnet is for before_device_create, ");
    host.run("before_vm_start", &["--hook", "diskunmapp"])
        .fails_with("no hook \"diskunmapp\" at before_vm_start: diskunmap?");
    let ended = host.run("before_vm_start", &["--hook", "something else"]);
    ended.fails_with("others, which 'vdsm-hooks list' names");
    assert!(ended.stderr().len() < 120, "{}", ended.stderr());
}

#[test]
fn a_misspelt_event_gets_the_right_one_and_no_other() {
    for (wrong, right) in [
        ("before_vm_strat", ": before_vm_start?"),
        ("beforevmstart", ": before_vm_start?"),
        ("bogus", "\n"),
    ] {
        let ended = tool(&["run", wrong]);
        assert_eq!(ended.status(), 64);
        let said = ended.stderr();
        assert!(
            said.contains(&format!("VDSM has no event {wrong:?}{right}")),
            "{said}"
        );
        assert!(said.len() < 200, "{said}");
    }
}

/// The tool with this on its standard input.
fn piped(host: &Host, arguments: &[&str], input: &str) -> Ended {
    let mut command = Command::new(TOOL);
    command
        .arg("run")
        .arg("--hooks-dir")
        .arg(host.path("hooks"))
        .args(arguments);
    command.current_dir(host.root.path());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = start(&mut command);
    // Whoever refuses to read it has ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Ended(child.wait_with_output().unwrap())
}

#[test]
fn a_dash_is_standard_input_or_output() {
    let host = Host::new();
    host.shell(
        "before_vm_start/50_x",
        "sed -i s/Nehalem/$model/ \"$_hook_domxml\"; cat >&2",
    );
    host.shell("after_get_stats/50_x", "exit 0");
    let changed = DOMAIN.replace("Nehalem", "Westmere");
    let model = ["-p", "model=Westmere"];
    let call = [
        &["before_vm_start", "--domain", "-", "--output", "-"][..],
        &model,
    ]
    .concat();
    let ended = piped(&host, &call, DOMAIN);
    assert_eq!(ended.status(), 0, "{}", ended.stderr());
    assert_eq!(ended.stdout(), changed);
    // The report is elsewhere, and the hook has found its own standard input at its end.
    let report = ended.stderr();
    assert!(
        report.contains("the result is in standard output\n"),
        "{report}"
    );
    assert!(
        report.contains("1 of 1 hook changed the document: 50_x\n"),
        "{report}"
    );
    assert!(!report.contains("stderr: "), "{report}");

    let call = [
        "before_vm_start",
        "--domain",
        "vm.xml",
        "--sysconfig",
        "-",
        "--output",
        "-",
    ];
    assert_eq!(piped(&host, &call, "model=Westmere\n").stdout(), changed);
    let call = ["after_get_stats", "--data", "-", "--output", "-"];
    assert_eq!(
        piped(&host, &call, "{\"a\":1}").stdout().trim_end(),
        "{\"a\":1}"
    );
    let call = ["before_vm_start", "--domain", "-"];
    piped(&host, &call, "<domain>").fails_with("standard input: cannot parse XML");
    let call = ["before_vm_start", "--domain", "-", "--sysconfig", "-"];
    piped(&host, &call, "").fails_with("--domain and --sysconfig cannot both be standard input");
    let call = [
        "before_vm_start",
        "--domain",
        "vm.xml",
        "--output",
        "-",
        "--json",
    ];
    piped(&host, &call, "").fails_with("--json and --output cannot both go to standard output");
}

#[test]
fn json_has_the_shape_that_vdsm_hands_over_and_takes_back() {
    for (event, data, wrong, problem) in [
        (
            "after_get_caps",
            "{}",
            "[]",
            "expected an object, found an array",
        ),
        (
            "after_get_vm_stats",
            "[{}]",
            "{}",
            "expected an array with an object, found an object",
        ),
        (
            "after_get_all_vm_stats",
            "[]",
            "[1]",
            "expected an array of objects, found a number in it",
        ),
        (
            "before_network_setup",
            REQUEST,
            "{\"request\": {}}",
            "\"request\" has no \"networks\"",
        ),
    ] {
        let host = Host::new();
        let file = host.file("data.json", data);
        host.shell(
            &format!("{event}/50_bad"),
            &format!("echo '{wrong}' >\"$_hook_json\""),
        );
        let ended = host.tool("run", &[event, "--data", &file, "--json"]);
        assert_eq!(ended.status(), 2, "{event}: {}", ended.stdout());
        let summary = ended.json();
        assert_eq!(
            summary["message"],
            format!("VDSM cannot read the data that 50_bad left: {problem}")
        );
        // Nor does VDSM hand it over.
        let file = host.file("wrong.json", wrong);
        let expected = format!("wrong.json: not what VDSM hands over at {event}: {problem}");
        host.tool("run", &[event, "--data", &file])
            .fails_with(&expected);
    }
}
