// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks run`, with hooks in shell and Python and real hooks of the suite.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support;
use support::tool::*;

#[test]
fn hooks_run_in_byte_order_and_only_what_vdsm_would_run() {
    let host = Host::new();
    for name in ["9_x", "10_x", "b", "A", "foo~"] {
        host.shell(&format!("before_vm_start/{name}"), "exit 0");
    }
    host.shell("before_vm_start/.hidden", "exit 2");
    host.shell("before_vm_start/50_off", "exit 2")
        .mode("before_vm_start/50_off", 0o644);
    fs::create_dir(host.path("hooks/before_vm_start/50_directory")).unwrap();
    symlink("nowhere", host.path("hooks/before_vm_start/50_dangling")).unwrap();
    symlink("../elsewhere", host.path("hooks/before_vm_start/60_link")).unwrap();
    host.shell("elsewhere", "echo \"$0\" >&2");
    // Without a #! line the shell runs it.
    host.hook("before_vm_start/70_bare", "echo bare >&2\n");
    let summary = host.json("before_vm_start", &[]);
    let names = of_hooks(&summary, "name");
    assert_eq!(
        names,
        ["10_x", "60_link", "70_bare", "9_x", "A", "b", "foo~"]
    );
    let called = host.path("hooks/before_vm_start/60_link");
    assert_eq!(
        summary["hooks"][1]["stderr"],
        format!("{}\n", called.display())
    );
    assert_eq!(summary["hooks"][1]["path"], called.to_str().unwrap());
    assert_eq!(summary["hooks"][2]["stderr"], "bare\n");
}

#[test]
fn a_hook_finds_vdsms_surroundings() {
    let host = Host::new();
    host.shell(
        "before_vm_start/50_look",
        "{ pwd; echo $#; cat; ls -l \"$_hook_domxml\" | cut -c1-10; } >&2; echo dropped; \
         env >&2; echo \"cmp: $(cmp \"$_hook_domxml\" \"$original\" && echo same)\" >&2",
    );
    let original = format!("original={}", host.path("vm.xml").display());
    let empty = host.file("empty", "");
    let ended = host.run(
        "before_vm_start",
        &["--json", "-p", &original, "--sysconfig", &empty],
    );
    let text = ended.json()["hooks"][0]["stderr"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(text.starts_with("/\n0\n-rw-------\n"), "{text}");
    let expected = [
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "USER",
        "_hook_domxml",
        "color",
        "original",
        "shared",
        "vmId",
    ];
    // What a shell sets of itself, and what depends on this machine.
    let unsure = ["OLDPWD", "PWD", "PYTHONPATH", "SHLVL", "_"];
    let names = text.lines().filter_map(|line| line.split_once('='));
    let mut names: Vec<_> = names.map(|(name, _)| name).collect();
    names.retain(|name| !name.starts_with("LC_") && !unsure.contains(name));
    names.sort_unstable();
    assert_eq!(names, expected, "{text}");
    for line in [
        format!("vmId={UUID}"),
        "cmp: same".into(),
        "color=blue".into(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(!ended.stdout().contains("dropped"));
    // The data file and its directory are gone.
    let data = text
        .lines()
        .find_map(|line| line.strip_prefix("_hook_domxml="))
        .unwrap();
    assert!(!Path::new(data).parent().unwrap().exists(), "{data}");
}

#[test]
fn a_later_layer_of_the_environment_wins() {
    let host = Host::new();
    let sysconfig = host.file(
        "vdsm",
        "# defaults\ncolor=default\nonly=\"of the host\"\nport=default\nvmId=no\nPYTHONPATH=/a\n",
    );
    let show = "for name in color only port shared vmId PYTHONPATH; do \
                eval echo \"$name=\\$$name\"; done >&2";
    host.shell("before_device_create/50_show", show);
    host.shell("before_get_caps/50_show", show);
    host.file("python/hooking.py", "");
    let python = host.path("python").display().to_string();
    let usual = ["--sysconfig", &sysconfig, "--hooking", &python, "--json"];
    let shown = |event: &str, arguments: &[&str]| {
        let all = [&[event], arguments, &usual].concat();
        let summary = host.tool("run", &all).json();
        summary["hooks"][0]["stderr"].as_str().unwrap().to_owned()
    };
    let nic = ["--domain", "vm.xml", "--device", MAC];
    assert_eq!(
        shown("before_device_create", &nic),
        format!(
            "color=blue\nonly=of the host\nport=red & green\nshared=of the vm\nvmId={UUID}\nPYTHONPATH=/a:{python}\n"
        )
    );
    let set = [
        "-p",
        "color=a=b;\u{e9}",
        "-d",
        "port=",
        "-d",
        "shared=x",
        "-p",
        "vmId=y",
        "--vm-id",
        "z",
    ];
    assert_eq!(
        shown("before_device_create", &[&nic[..], &set].concat()),
        format!(
            "color=a=b;\u{e9}\nonly=of the host\nport=\nshared=of the vm\nvmId=z\nPYTHONPATH=/a:{python}\n"
        )
    );
    // An event of the host has none of it.
    let bare = shown("before_get_caps", &[]);
    assert!(
        bare.starts_with("color=default\nonly=of the host\nport=default\nshared=\nvmId=no\n"),
        "{bare}"
    );
    host.tool("run", &["before_get_caps", "-p", "a=b"])
        .fails_with("VDSM passes no properties");
}

#[test]
fn each_hook_sees_what_the_one_before_left() {
    let host = Host::new();
    host.shell(
        "before_vm_start/10_a",
        "sed -i s/Nehalem/Westmere/ \"$_hook_domxml\"",
    );
    host.shell(
        "before_vm_start/20_b",
        "grep -q Westmere \"$_hook_domxml\" || exit 2",
    );
    // Replaced by a rename, with other line ends.
    host.shell(
        "before_vm_start/30_c",
        "sed 's/node7/node8/; s/$/\\r/' \"$_hook_domxml\" > \"$_hook_domxml.new\"; \
         mv \"$_hook_domxml.new\" \"$_hook_domxml\"",
    );
    let ended = host.run("before_vm_start", &["--output", "new.xml"]);
    assert_eq!(ended.status(), 0, "{}", ended.stdout());
    let expected = DOMAIN
        .replace("Nehalem", "Westmere")
        .replace("node7", "node8");
    assert_eq!(fs::read_to_string(host.path("new.xml")).unwrap(), expected);
    assert_eq!(fs::read_to_string(host.path("vm.xml")).unwrap(), DOMAIN);
    let text = ended.stdout();
    for line in [
        "--- before 10_a",
        "+++ after 10_a",
        "-  <cpu mode=\"custom\" match=\"exact\"><model>Nehalem</model></cpu>",
        "+  <cpu mode=\"custom\" match=\"exact\"><model>Westmere</model></cpu>",
        "+  <name>node8</name>\\r",
        "VDSM goes on, with what the hooks left",
        "the result is in new.xml",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.contains("\n20_b: no change\n"), "{text}");
    // An old file keeps its mode.
    fs::set_permissions(host.path("new.xml"), Permissions::from_mode(0o640)).unwrap();
    assert_eq!(
        host.run("before_vm_start", &["--hook", "a", "--output", "new.xml"])
            .status(),
        0
    );
    let kept = fs::metadata(host.path("new.xml"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(kept & 0o777, 0o640);
    let text = fs::read_to_string(host.path("new.xml")).unwrap();
    assert_eq!(text, DOMAIN.replace("Nehalem", "Westmere"));
}

#[test]
fn statuses_are_judged_as_vdsm_judges_them() {
    let host = Host::new();
    for event in ["before_vm_start", "before_vm_pause", "after_vm_start"] {
        host.shell(&format!("{event}/10_one"), "echo \"it's one\" >&2; exit 1");
        host.shell(&format!("{event}/20_odd"), "echo odd >&2; exit 3");
        host.shell(&format!("{event}/30_killed"), "kill -9 $$");
        host.shell(&format!("{event}/40_fine"), "echo fine >&2");
        host.shell(&format!("{event}/50_stop"), "echo stop >&2; exit 2");
        host.shell(&format!("{event}/60_never"), "touch \"$never\"");
    }
    let never = format!("never={}", host.path("never").display());
    let all = host.run("before_vm_start", &["--json", "-p", &never]);
    let summary = all.json();
    assert_eq!(all.status(), 2);
    let statuses = ["failed", "failed", "killed", "ok", "failed-stop", "skipped"];
    assert_eq!(of_hooks(&summary, "status"), statuses);
    assert_eq!(summary["hooks"][1]["exit_status"], 3);
    assert_eq!(summary["hooks"][2]["signal"], 9);
    assert!(!host.path("never").exists());
    let down = "VM node7 is down with error. Exit message: Hook Error: ";
    assert_eq!(summary["decision"], "stop");
    assert_eq!(summary["message"], format!("{down}(b'stop\\n',)"));

    // At the start the last that failed is shown, elsewhere the last that ran.
    let two = ["--hook", "one", "--hook", "40_fine"];
    let start = host.json("before_vm_start", &two);
    assert_eq!(start["message"], format!("{down}(b\"it's one\\n\",)"));
    let pause = host.json("before_vm_pause", &two);
    assert_eq!(pause["message"], "Hook Error: (b'fine\\n',)");
    // After the fact nothing can be stopped.
    let after = host.run("after_vm_start", &["--json"]);
    assert_eq!(after.status(), 1);
    let summary = after.json();
    assert_eq!(
        (&summary["decision"], &summary["message"]),
        (&"proceed-after-failure".into(), &Value::Null)
    );
    assert_eq!(of_hooks(&summary, "status")[5], "skipped");
    assert_eq!(host.run("before_vm_start", &["--hook", "fine"]).status(), 0);

    let text = host.run("before_vm_start", &[]).stdout();
    for part in [
        "10_one  failed (exit status 1); the hooks after it still run  ",
        "  stderr: it's one\n",
        "20_odd  failed (exit status 3, which VDSM warns of); the hooks after it still run  ",
        "(killed by signal 9)",
        "50_stop  failed (exit status 2); the hooks after it do not run  ",
        "\n60_never: skipped\n",
        "VDSM stops the operation\n  VM node7 is down",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_program_that_cannot_be_started_has_failed() {
    let host = Host::new();
    host.hook("after_vm_start/50_gone", "#!/no/such/interpreter\n");
    let summary = host.json("after_vm_start", &[]);
    assert_eq!(summary["hooks"][0]["exit_status"], 127);
    let stderr = summary["hooks"][0]["stderr"].as_str().unwrap();
    assert!(
        stderr.contains("failed to execute") && stderr.contains("50_gone"),
        "{stderr}"
    );
    assert_eq!(summary["decision"], "proceed-after-failure");
}

#[test]
fn data_that_vdsm_cannot_read_stops_every_operation() {
    for (event, script, problem) in [
        (
            "after_vm_start",
            "printf '<d>\\377</d>' > \"$_hook_domxml\"",
            "not UTF-8 at byte 3",
        ),
        (
            "after_vm_start",
            "rm \"$_hook_domxml\"",
            "the data file is gone",
        ),
        (
            "before_vm_start",
            "echo '<a><b></a>' > \"$_hook_domxml\"",
            "cannot parse XML: ",
        ),
        (
            "before_vm_start",
            ": > \"$_hook_domxml\"",
            "cannot parse XML: ",
        ),
        ("after_network_setup", ": > \"$_hook_json\"", "not JSON"),
        ("before_get_caps", "echo '{' > \"$_hook_json\"", "not JSON"),
    ] {
        let host = Host::new();
        let data = host.file("data.json", REQUEST);
        host.shell(&format!("{event}/10_fine"), "exit 0");
        host.shell(&format!("{event}/20_bad"), script);
        host.shell(&format!("{event}/30_fine"), "exit 0");
        let file = match event {
            "before_get_caps" => vec![],
            "after_network_setup" => vec!["--data", &data],
            _ => vec!["--domain", "vm.xml"],
        };
        let call = [&[event, "--json", "--output", "out"], &file[..]].concat();
        let ended = host.tool("run", &call);
        assert_eq!(ended.status(), 2, "{script}: {}", ended.stdout());
        let summary = ended.json();
        let message = summary["message"].as_str().unwrap();
        let expected = format!("VDSM cannot read the data that 20_bad left: {problem}");
        assert!(message.starts_with(&expected), "{script}: {message}");
        assert_eq!(of_hooks(&summary, "status"), ["ok"; 3], "{script}");
        assert_eq!(summary["hooks"][0]["problem"], Value::Null);
        assert!(!host.path("out").exists(), "{script}");
    }
    // VDSM does not look at XML that it will not use.
    let host = Host::new();
    host.shell(
        "after_vm_start/50_mess",
        "echo '<a><b></a>' > \"$_hook_domxml\"",
    );
    let ended = host.run("after_vm_start", &[]);
    assert_eq!(ended.status(), 0, "{}", ended.stdout());
    assert!(
        ended.stdout().contains("ignores what hooks write"),
        "{}",
        ended.stdout()
    );
}

#[test]
fn json_events_get_ascii_and_show_readable_diffs() {
    if !have("python3", "json_events_get_ascii_and_show_readable_diffs") {
        return;
    }
    let host = Host::new();
    let data = host.file("data.json", "{\"name\": \"Z\u{fc}rich\", \"load\": 1.50}");
    host.hook(
        "after_get_stats/50_python",
        "#!/usr/bin/env python3\nimport json, os, hooking\npath = os.environ['_hook_json']\n\
         text = open(path, 'rb').read()\nassert max(text) < 128, text\nstats = json.loads(text)\n\
         assert stats['name'] == 'Z\\u00fcrich'\nstats['users'] = hooking.users()\n\
         open(path, 'w').write(json.dumps(stats))\n",
    );
    host.file("python/hooking.py", "def users():\n    return 3\n");
    let python = host.path("python").display().to_string();
    let call = [
        "after_get_stats",
        "--data",
        &data,
        "--hooking",
        &python,
        "--json",
        "--output",
        "out.json",
    ];
    let ended = host.tool("run", &call);
    let summary = ended.json();
    assert_eq!(ended.status(), 0, "{summary:#}");
    let diff = summary["hooks"][0]["diff"].as_str().unwrap();
    assert!(
        diff.contains("+  \"users\": 3\n") && diff.contains(" {\n"),
        "{diff}"
    );
    let out: Value = serde_json::from_slice(&fs::read(host.path("out.json")).unwrap()).unwrap();
    assert_eq!(out["users"], 3);

    host.tool("run", &["after_get_stats", "--domain", "vm.xml"])
        .fails_with("use --data");
    host.tool("run", &["after_get_stats"])
        .fails_with("name a file with --data");
    host.run("after_get_stats", &["--schema"])
        .fails_with("use --data");
    host.tool("run", &["after_get_stats", "--data", "vm.xml"])
        .fails_with("not JSON");
    host.tool("run", &["before_vm_start", "--data", &data])
        .fails_with("use --domain");
}

#[test]
fn a_hook_that_hangs_is_killed_with_its_children() {
    let host = Host::new();
    host.shell(
        "after_vm_start/10_hangs",
        "echo before >&2; sleep 300 & echo $! > \"$marker\"; wait",
    );
    host.shell("after_vm_start/20_next", "exit 0");
    let marker = host.path("marker");
    let setting = format!("marker={}", marker.display());
    let call = [
        "-p",
        &setting,
        "--timeout",
        "1",
        "--json",
        "--output",
        "out.xml",
    ];
    let ended = host.run("after_vm_start", &call);
    assert_eq!(ended.status(), 3, "{}", ended.stdout());
    let summary = ended.json();
    assert_eq!(of_hooks(&summary, "status"), ["timed-out", "skipped"]);
    assert_eq!(summary["hooks"][0]["stderr"], "before\n");
    assert_eq!(summary["decision"], "hang");
    assert_eq!(
        summary["message"],
        "VDSM would wait for 10_hangs indefinitely"
    );
    assert!(!host.path("out.xml").exists());
    let child = fs::read_to_string(&marker).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
}

#[test]
fn an_interrupted_dry_run_leaves_no_hook_behind() {
    let host = Host::new();
    host.shell(
        "after_vm_start/10_hangs",
        "echo \"$$ $_hook_domxml\" > \"$marker.new\"; mv \"$marker.new\" \"$marker\"; sleep 300",
    );
    let marker = host.path("marker");
    let mut tool = start(
        Command::new(TOOL)
            .args(["run", "after_vm_start", "--domain"])
            .arg(host.path("vm.xml"))
            .arg("--hooks-dir")
            .arg(host.path("hooks"))
            .args(["-p", &format!("marker={}", marker.display())])
            .stdout(Stdio::null()),
    );
    while !marker.exists() {
        assert!(tool.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(tool.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(tool.wait().unwrap().code(), Some(128 + 15));
    let text = fs::read_to_string(&marker).unwrap();
    let (hook, data) = text.trim().split_once(' ').unwrap();
    let stat = fs::read_to_string(format!("/proc/{hook}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    assert!(!Path::new(data).parent().unwrap().exists(), "{data}");
}

#[test]
fn device_events_get_one_device() {
    let host = Host::new();
    host.shell(
        "before_nic_hotplug/50_count",
        "grep -c '<mac ' \"$_hook_domxml\" >&2; cat \"$_hook_domxml\" >&2",
    );
    let summary = host.json("before_nic_hotplug", &["--device", "00:1A:4A:16:01:52"]);
    let stderr = summary["hooks"][0]["stderr"].as_str().unwrap();
    assert!(
        stderr.starts_with("1\n<interface type=\"bridge\">\n"),
        "{stderr}"
    );
    assert!(
        stderr.contains("01:52") && stderr.ends_with("</interface>\n"),
        "{stderr}"
    );

    let choices = format!("choose one with --device: {MAC}, 00:1a:4a:16:01:52");
    host.run("before_nic_hotplug", &[]).fails_with(&choices);
    host.run("before_disk_hotplug", &[])
        .fails_with("this is a whole domain; none of its devices fits");
    host.run("before_nic_hotplug", &["--device", "vda"])
        .fails_with("no device is called \"vda\"");
    host.run("before_vm_start", &["--device", MAC])
        .fails_with("not an event of a device");
    let nic = host.file("nic.xml", "<interface><mac address='a'/></interface>");
    let ended = host.tool("run", &["before_nic_hotplug", "--domain", &nic, "--json"]);
    assert_eq!(
        ended.json()["hooks"][0]["stderr"],
        format!("1\n{}", fs::read_to_string(&nic).unwrap())
    );
    host.tool("run", &["before_vm_start", "--domain", &nic])
        .fails_with("and this is <interface>");

    // Empty where VDSM has nothing, whatever the administrator's file holds.
    for event in [
        "after_device_create",
        "before_vm_destroy",
        "before_set_num_of_cpus",
    ] {
        host.shell(
            &format!("{event}/50_size"),
            "wc -c < \"$_hook_domxml\" >&2; echo \"$vmId\" >&2",
        );
        let id = if event == "before_set_num_of_cpus" {
            ""
        } else {
            UUID
        };
        let summary = host.json(event, &[]);
        assert_eq!(
            summary["hooks"][0]["stderr"],
            format!("0\n{id}\n"),
            "{event}"
        );
    }
}

#[test]
fn nothing_installed_means_nothing_happens() {
    let host = Host::new();
    let ended = host.run("before_vm_start", &["--output", "out.xml"]);
    assert_eq!(ended.status(), 0);
    assert!(
        ended.stdout().contains("no hook to run"),
        "{}",
        ended.stdout()
    );
    assert_eq!(fs::read_to_string(host.path("out.xml")).unwrap(), DOMAIN);
    let ended = host.run("after_vm_dehibernate", &[]);
    assert_eq!(ended.status(), 0);
    // Any hook breaks this one.
    host.shell("after_vm_dehibernate/50_any", "exit 0");
    let ended = host.run("after_vm_dehibernate", &[]);
    assert_eq!(ended.status(), 2);
    assert!(
        ended.stdout().contains("50_any: skipped"),
        "{}",
        ended.stdout()
    );
}

#[test]
fn wrong_calls_say_what_would_be_right() {
    let host = Host::new();
    host.shell("before_vm_start/50_here", "exit 0");
    host.shell("before_vm_start/60_off", "exit 0")
        .mode("before_vm_start/60_off", 0o644);
    host.run("before_vm_start", &["--hook", "cpuflags"])
        .fails_with("no hook \"cpuflags\" at before_vm_start: there are 50_here");
    host.run("before_vm_start", &["--hook", "off"])
        .fails_with("60_off: not executable");
    host.run("after_vm_start", &["--hook", "x"])
        .fails_with("there is no hook at all");
    host.tool("run", &["before_vm_start"])
        .fails_with("name a file with --domain");
    host.tool("run", &["before_vm_start", "--domain", "none.xml"])
        .fails_with("none.xml: No such file");
    // The names of files are not all ours.
    host.tool("run", &["before_vm_start", "--domain", "\x1b[31mnone"])
        .fails_with("\\u{1b}[31mnone: No such file");
    host.run("before_vm_start", &["-d", "a=b"])
        .fails_with("no device properties");
    host.file("bad.xml", "<domain>");
    host.tool("run", &["before_vm_start", "--domain", "bad.xml"])
        .fails_with("cannot parse XML");
    for call in [
        &["-p", "x"][..],
        &["-p", "=x"],
        &["--timeout", "0"],
        &["--bogus"],
    ] {
        let ended = host.run("before_vm_start", call);
        assert_eq!(ended.status(), 64, "{call:?}");
        assert!(!ended.stderr().is_empty(), "{call:?}");
    }
    let ended = host.run("before_vm_strat", &[]);
    assert_eq!(ended.status(), 64);
    assert!(
        ended.stderr().contains("before_vm_start"),
        "{}",
        ended.stderr()
    );
    let vm = host.path("vm.xml").display().to_string();
    let call = ["run", "before_vm_start", "--domain", &vm];
    tool(&[&call[..], &["--hooks-dir", "/no/such"]].concat())
        .fails_with("/no/such: no such directory");
}

#[test]
fn colours_come_when_wanted_and_hooks_cannot_forge_them() {
    let host = Host::new();
    host.shell(
        "before_vm_start/50_forge",
        "printf 'a\\033[31mb\\n' >&2; sed -i 's/node7/\u{9b}31m/' \"$_hook_domxml\"",
    );
    host.shell("before_vm_start/60_turns", "printf 'a\u{202e}b\n' >&2");
    let unknown = "no hook \"x\" at before_vm_start: there are 50_forge, 60_turns, 70_\\u{1b}[31m";
    host.shell("before_vm_start/70_\u{1b}[31m", "exit 0");
    host.run("before_vm_start", &["--hook", "x"])
        .fails_with(unknown);
    let plain = host.run("before_vm_start", &[]).stdout();
    assert!(plain.contains("stderr: a\\u{202e}b\n"), "{plain}");
    assert!(
        !plain.contains('\x1b') && !plain.contains('\u{9b}'),
        "{plain:?}"
    );
    assert!(plain.contains("stderr: a\\u{1b}[31mb"), "{plain}");
    let coloured = host.run("before_vm_start", &["--color", "always"]).stdout();
    assert!(
        coloured.contains("\x1b[32m+  <name>\\u{9b}31m</name>\x1b[0m"),
        "{coloured:?}"
    );
    assert!(
        coloured.contains("\x1b[31m-  <name>node7</name>\x1b[0m"),
        "{coloured:?}"
    );
}

#[test]
fn the_schema_names_the_hook_that_broke_it() {
    if !have(
        "virt-xml-validate",
        "the_schema_names_the_hook_that_broke_it",
    ) {
        return;
    }
    let host = Host::new();
    host.shell(
        "before_vm_start/10_good",
        "sed -i s/Nehalem/Westmere/ \"$_hook_domxml\"",
    );
    host.shell(
        "before_vm_start/20_bad",
        "sed -i 's/<os>/<bogus\\/><os>/' \"$_hook_domxml\"",
    );
    host.shell("before_vm_start/30_same", "exit 0");
    let summary = host.json("before_vm_start", &["--schema"]);
    assert_eq!(
        summary["schema_before"],
        Value::Array(Vec::new()),
        "{summary:#}"
    );
    let schema = of_hooks(&summary, "schema");
    assert_eq!(
        (schema[0], schema[2]),
        (&Value::Array(Vec::new()), &Value::Array(Vec::new()))
    );
    assert!(schema[1].to_string().contains("bogus"), "{summary:#}");
    assert_eq!(summary["decision"], "proceed");
    let text = host.run("before_vm_start", &["--schema"]).stdout();
    assert!(
        text.contains("schema: not valid, broken by 20_bad"),
        "{text}"
    );
    let text = host
        .run("before_vm_start", &["--schema", "--hook", "good"])
        .stdout();
    assert!(text.contains("\nschema: valid\n"), "{text}");

    // What was wrong before is nobody's fault.
    host.file("vm.xml", &DOMAIN.replace("<devices>", "<wrong/><devices>"));
    let text = host
        .run("before_vm_start", &["--schema", "--hook", "good"])
        .stdout();
    assert!(text.contains("schema: not valid before any hook"), "{text}");
    assert!(
        text.contains("\nschema: not valid, as before; nothing wrong is new\n"),
        "{text}"
    );
    let text = host.run("before_vm_start", &["--schema"]).stdout();
    assert!(
        text.contains("\nschema: not valid, as before; made worse by 20_bad\n"),
        "{text}"
    );

    // A device is validated as part of the smallest domain.
    host.file("vm.xml", DOMAIN);
    host.shell(
        "before_nic_hotplug/50_bad",
        "sed -i 's/virtio/virtio\"  bogus=\"1/' \"$_hook_domxml\"",
    );
    let summary = host.json("before_nic_hotplug", &["--schema", "--device", MAC]);
    assert_eq!(
        summary["schema_before"],
        Value::Array(Vec::new()),
        "{summary:#}"
    );
    assert_ne!(
        summary["hooks"][0]["schema"],
        Value::Array(Vec::new()),
        "{summary:#}"
    );
}

#[test]
fn what_the_engine_wrote_wrong_is_no_hooks_fault() {
    let test = "what_the_engine_wrote_wrong_is_no_hooks_fault";
    if !have("virt-xml-validate", test) {
        return;
    }
    let host = Host::new();
    let disk = "<disk type='block' device='disk' snapshot='no'>\
        <source dev='/dev/a'><seclabel model='dac' type='none' relabel='yes'/></source>\
        <target dev='sda' bus='scsi'/></disk>";
    let with_disk = DOMAIN.replace("<devices>", &format!("<devices>{disk}"));
    host.file("vm.xml", &with_disk);
    // Each changes the disk whose seclabel is wrong, or what stands beside it.
    for (name, change) in [
        ("10_cpu", "s/Nehalem/Westmere/"),
        ("20_disk", "s/snapshot=.no./snapshot=\"internal\"/"),
        (
            "30_sibling",
            "s/<target /<driver name='qemu' type='raw'\\/>&/",
        ),
        ("40_bad", "s/<target /<bogus\\/>&/"),
        ("50_bad_beside", "s/<devices>/&<bogus\\/>/"),
    ] {
        let script = format!(
            "sed -i \"{}\" \"$_hook_domxml\"",
            change.replace('"', "\\\"")
        );
        host.shell(&format!("before_vm_start/{name}"), &script);
    }
    let summary = host.json("before_vm_start", &["--schema"]);
    assert_ne!(summary["schema_before"], Value::Array(Vec::new()));
    let blamed = of_hooks(&summary, "schema").into_iter();
    let blamed: Vec<bool> = blamed.map(|new| *new != Value::Array(Vec::new())).collect();
    assert_eq!(blamed, [false, false, false, true, true], "{summary:#}");
    let text = host.run("before_vm_start", &["--schema"]).stdout();
    let end = "schema: not valid, as before; made worse by 40_bad, 50_bad_beside\n";
    assert!(text.contains(end), "{text}");
}

#[test]
fn damage_to_more_than_one_part_is_found_among_the_engines() {
    let test = "damage_to_more_than_one_part_is_found_among_the_engines";
    if !have("virt-xml-validate", test) {
        return;
    }
    let host = Host::new();
    let disk = "<disk type='block' device='disk'>\
        <source dev='/dev/a'><seclabel model='dac' type='none' relabel='yes'/></source>\
        <target dev='sda' bus='scsi'/></disk>";
    let namespace = "xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0' \
        xmlns:m='http://x/?a=1&amp;b=2'";
    let with_disk = DOMAIN
        .replace("<devices>", &format!("<vcpu>1</vcpu><devices>{disk}"))
        .replace("</domain>", "<q:commandline/></domain>")
        .replace("<domain ", &format!("<domain {namespace} "));
    // With no more than the engine's seclabel, and with something else that is wrong.
    let with_console = with_disk.replace("<devices>", "<devices><console type='foo'/>");
    let console = "s/<console[^>]*>//";
    for (change, is_wrong) in [
        ("s/<q:commandline.>/&&/", true),
        ("s/<vcpu>/<vcpu>2<\\/vcpu>&/", true),
        ("s/type=.kvm./type='nonsense'/", true),
        ("s/<devices>/<devices a='b'>/", true),
        ("s/<model type=\\(.*\\)>/<model a='b' type=\\1>/", true),
        (
            "s/<devices>/&<rng model='virtio'><backend model='random'>\\/dev\\/random<\\/backend><\\/rng>/",
            false,
        ),
    ] {
        for document in [&with_disk, &with_console] {
            host.file("vm.xml", document);
            let script = format!("sed -i \"{change};{console}\" \"$_hook_domxml\"");
            host.shell("before_vm_start/50_x", &script);
            let text = host.run("before_vm_start", &["--schema"]).stdout();
            let end = if is_wrong {
                "made worse by 50_x"
            } else {
                "nothing wrong is new"
            };
            let end = format!("schema: not valid, as before; {end}\n");
            assert!(text.contains(&end), "{change}: {text}");
        }
    }
}

#[test]
fn real_hooks_of_the_suite_run_and_are_recognised() {
    let host = Host::new();
    host.suite("before_vm_start/50_cpuflags", "cpuflags");
    host.suite("before_vm_start/50_macspoof", "macspoof");
    fs::create_dir(host.path("hooks/before_nic_hotplug")).unwrap();
    symlink(
        "../before_vm_start/50_macspoof",
        host.path("hooks/before_nic_hotplug/50_macspoof"),
    )
    .unwrap();
    let ended = host.run(
        "before_vm_start",
        &["-p", "cpuflags=+pcid", "--output", "out.xml"],
    );
    assert_eq!(ended.status(), 0, "{}", ended.stdout());
    let out = fs::read_to_string(host.path("out.xml")).unwrap();
    assert!(out.contains("pcid") && out.contains("filterref"), "{out}");
    let nic = [
        "--device",
        MAC,
        "-d",
        "ifacemacspoof=true",
        "--output",
        "nic.xml",
    ];
    assert_eq!(host.run("before_nic_hotplug", &nic).status(), 0);
    assert!(
        !fs::read_to_string(host.path("nic.xml"))
            .unwrap()
            .contains("filterref")
    );
    let wrong = host.json("before_vm_start", &["-p", "cpuflags=pcid"]);
    assert_eq!(wrong["decision"], "stop");
    assert!(
        wrong["message"].as_str().unwrap().contains("cpuflags"),
        "{wrong:#}"
    );

    // Others: a script in the place of ours, a backup copy, and what VDSM skips.
    host.shell("before_vm_start/50_macbind", "exit 0");
    host.shell("before_vm_start/50_mine", "exit 0");
    host.shell("before_vm_start/50_mine~", "exit 0");
    host.shell("before_vm_start/50_mine.rpmsave", "exit 0");
    host.shell("before_vm_start/README", "text")
        .mode("before_vm_start/README", 0o644);
    host.suite("after_vm_start/60_other", "cpuflags");
    host.shell("before_vm_strat/50_lost", "exit 0");
    let list = host.tool("list", &["--json"]).json();
    let state = |hook: &str, number: usize| {
        let hooks = list["hooks"].as_array().unwrap();
        let hook = hooks.iter().find(|entry| entry["name"] == hook).unwrap();
        hook["files"][number].clone()
    };
    assert_eq!(state("cpuflags", 0)["installed"], true);
    assert_eq!(state("diskunmap", 0)["installed"], false);
    let linked = list["hooks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|hook| hook["name"] == "macspoof")
        .unwrap();
    let installed: Vec<_> = linked["files"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|file| file["installed"] == true)
        .map(|file| file["event"].as_str().unwrap())
        .collect();
    assert_eq!(installed, ["before_vm_start", "before_nic_hotplug"]);
    let foreign = state("macbind", 0);
    assert_eq!(foreign["installed"], false);
    assert!(
        foreign["remark"]
            .as_str()
            .unwrap()
            .contains("a script, probably of vdsm-hook-macbind")
    );
    let text = host.tool("list", &[]).stdout();
    for line in [
        "before_vm_start/50_mine          runs it   a script",
        "before_vm_start/50_mine.rpmsave  runs it   a script; probably not meant to run: left by the package manager",
        "before_vm_start/50_mine~         runs it   a script; probably not meant to run: a backup copy",
        "before_vm_start/README           skips it  not executable",
        "after_vm_start/60_other          runs it   a program of this suite",
        "before_vm_strat/50_lost          skips it  VDSM has no such event",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
}
