// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks run` of a VM that starts: cold, out of a saved state, or out of VDSM's log.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::support;
use support::tool::*;
use support::{hooks, is_root, not_run};

/// What a hook does that shows which flags it finds.
const LOOK: &str = "cat /run/vdsm/$vmId/launchflags >&2 || echo none >&2";

/// The dry run on a host with this below `/run`, in a mount namespace of its own. `before` is run there
/// first, as is `after` at the end; none where this machine does not let us.
fn on_host(host: &Host, before: &str, call: &[&str], after: &str) -> Option<Ended> {
    if !is_root() {
        return None;
    }
    let script = format!(
        "{{ mount -t tmpfs run /run && mount --make-shared /run; }} || exit 77\n\
         {before}\n\"$@\"\nstatus=$?\n{{ {after}\n}} >&2\nexit $status"
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script, "sh"]);
    command.args(call).current_dir(host.root.path());
    let ended = end(&mut command);
    (ended.status() != 77).then_some(ended)
}

fn call<'a>(hooks: &'a str, event: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let common = [
        TOOL,
        "run",
        event,
        "--domain",
        "vm.xml",
        "--hooks-dir",
        hooks,
        "--json",
    ];
    [&common[..], more].concat()
}

#[test]
fn a_dry_run_is_a_cold_start_unless_another_is_asked_for() {
    let test = "a_dry_run_is_a_cold_start_unless_another_is_asked_for";
    let host = Host::new();
    host.shell("before_vm_start/50_look", LOOK);
    host.shell("before_vm_migrate_destination/50_look", LOOK);
    let directory = host.path("hooks").display().to_string();
    let vdsm = format!("mkdir -p /run/vdsm/{UUID} /run/vdsm/other; echo x >/run/vdsm/other/file");
    let flags = |text: &str| format!("{vdsm}; echo {text} >/run/vdsm/{UUID}/launchflags");
    let new = "mkdir -p /run/vdsm/other";
    let paused = DOMAIN.replace(
        "<ovirt-vm:custom>\n        <ovirt-vm:color>",
        "<ovirt-vm:launchPaused>true</ovirt-vm:launchPaused><ovirt-vm:custom>\n        <ovirt-vm:color>",
    );
    assert_ne!(paused, DOMAIN);
    let (start, migrate) = ("before_vm_start", "before_vm_migrate_destination");
    for (event, before, document, more, start, found) in [
        (start, &vdsm[..], DOMAIN, &[][..], "cold", "0"),
        (start, new, DOMAIN, &[], "cold", "0"),
        (start, &vdsm, &paused, &[], "cold", "1"),
        (start, &vdsm, DOMAIN, &["--resume"], "resume", "none"),
        // VDSM is just starting the VM.
        (start, &flags("8"), DOMAIN, &[], "cold", "8\n"),
        (start, &flags("8"), DOMAIN, &["--resume"], "resume", "none"),
        (migrate, &vdsm, DOMAIN, &[], "migration", "none"),
        (
            migrate,
            &vdsm,
            DOMAIN,
            &["--migration"],
            "migration",
            "none",
        ),
    ] {
        host.file("vm.xml", document);
        // Nothing of it is seen from outside, neither as a file nor as a mount.
        let after = "find /run/vdsm | sort; grep -c '/run/vdsm' /proc/self/mountinfo; true";
        let Some(ended) = on_host(&host, before, &call(&directory, event, more), after) else {
            return not_run(test, "needs root and mounts");
        };
        let place = format!("{event} {before} {more:?}");
        let summary = ended.json();
        assert_eq!(summary["start"], start, "{place}");
        assert_eq!(summary["start_remark"], Value::Null, "{place}");
        let said = summary["hooks"][0]["stderr"].as_str().unwrap();
        let expected = if found == "none" { "none\n" } else { found };
        assert!(said.ends_with(expected), "{place}: {said}");
        let has_flags = before.contains("launchflags");
        let seen = ended.stderr();
        assert_eq!(seen.contains("launchflags"), has_flags, "{place}: {seen}");
        assert!(seen.ends_with("\n0\n"), "{place}: {seen}");
    }
}

#[test]
fn what_a_hook_mounts_elsewhere_the_host_sees() {
    let test = "what_a_hook_mounts_elsewhere_the_host_sees";
    let host = Host::new();
    let place = host.path("place").display().to_string();
    host.shell(
        "before_vm_start/50_mount",
        &format!("mkdir {place}/disk && mount -t tmpfs disk {place}/disk"),
    );
    let directory = host.path("hooks").display().to_string();
    let before = format!(
        "mkdir -p /run/vdsm/other {place}; mount -t tmpfs place {place} && mount --make-shared {place}"
    );
    let after = format!("grep -c ' {place}/disk ' /proc/self/mountinfo");
    match on_host(
        &host,
        &before,
        &call(&directory, "before_vm_start", &[]),
        &after,
    ) {
        Some(ended) => {
            assert_eq!(
                ended.json()["hooks"][0]["status"],
                "ok",
                "{}",
                ended.stdout()
            );
            assert_eq!(ended.stderr(), "1\n");
        }
        None => not_run(test, "needs root and mounts"),
    }
}

#[test]
fn a_hook_that_minds_the_flags_is_named_where_there_can_be_none() {
    let test = "a_hook_that_minds_the_flags_is_named_where_there_can_be_none";
    let host = Host::new();
    let file = |name: &str| {
        let hook = hooks().into_iter().find(|hook| hook.name == name).unwrap();
        let start = hook
            .events
            .iter()
            .find(|one| one.event == "before_vm_start")
            .unwrap();
        hook.installed_as(start)
    };
    let (growdisk, scratchpad) = (file("growdisk"), file("scratchpad"));
    // The hook that VDSM had looks at them as well.
    for file in [&growdisk, &scratchpad] {
        host.shell(&format!("before_vm_start/{file}"), "exit 0");
    }
    let directory = host.path("hooks").display().to_string();
    let both = ["-p", "growdisk=auto", "-p", "scratchpad=1G,/x", "--act"];
    let run = |before: &str, user: &[&str], more: &[&str]| {
        let call = [
            user,
            &call(&directory, "before_vm_start", &[&both[..], more].concat())[..],
        ]
        .concat();
        let ended = on_host(&host, before, &call, "true")?;
        Some(ended.json()["start_remark"].clone())
    };
    let Some(remark) = run("mkdir /run/vdsm", &[], &[]) else {
        return not_run(test, "needs root and mounts");
    };
    let without = "VDSM does not run here, /run/vdsm is empty";
    assert_eq!(
        remark,
        format!(
            "played as a cold start without launch flags, which matters to {growdisk}: {without}"
        )
    );
    let remark = run("true", &[], &["--resume"]).unwrap();
    let names = format!("{growdisk}, {scratchpad}");
    assert_eq!(
        remark,
        format!("played as a cold start without launch flags, which matters to {names}: {without}")
    );
    // Whom no property asks does not mind, nor who is not run.
    let only_asked = call(&directory, "before_vm_start", &both[..4]);
    let ended = on_host(&host, "true", &only_asked, "true").unwrap();
    assert_eq!(ended.json()["start_remark"], Value::Null);
    let call = call(&directory, "before_vm_start", &[]);
    let ended = on_host(&host, "true", &call, "true").unwrap();
    assert_eq!(ended.json()["start_remark"], Value::Null);

    if !have("setpriv", test) {
        return;
    }
    fs::set_permissions(host.root.path(), Permissions::from_mode(0o755)).unwrap();
    let user = ["setpriv", "--reuid=36", "--regid=36", "--clear-groups"];
    let remark = run("mkdir -p /run/vdsm/other", &user, &[]).unwrap();
    assert_eq!(
        remark,
        format!(
            "played as a resume, which matters to {names}: only root can give hooks launch flags that \
             the host does not see"
        )
    );
    assert_eq!(
        run("mkdir -p /run/vdsm/other", &user, &["--resume"]).unwrap(),
        Value::Null
    );
}

#[test]
fn a_start_that_fails_fails_in_the_dry_run() {
    let test = "a_start_that_fails_fails_in_the_dry_run";
    let host = Host::new();
    host.suite("before_vm_start/50_fileinject", "fileinject");
    let directory = host.path("hooks").display().to_string();
    let property = ["-p", "fileinject=/etc/motd:hello", "--act"];
    let before = "mkdir -p /run/vdsm/other";
    let cold = call(&directory, "before_vm_start", &property);
    let Some(cold) = on_host(&host, before, &cold, "true") else {
        return not_run(test, "needs root and mounts");
    };
    assert_eq!(cold.json()["decision"], "stop", "{}", cold.stdout());
    let resume = [&property[..], &["--resume"]].concat();
    let resume = on_host(
        &host,
        before,
        &call(&directory, "before_vm_start", &resume),
        "true",
    )
    .unwrap();
    let summary = resume.json();
    assert_eq!(summary["decision"], "proceed", "{summary:#}");
    let said = summary["hooks"][0]["stderr"].as_str().unwrap();
    assert!(said.contains("the VM wakes up"), "{said}");
}

#[test]
fn what_hooks_write_for_a_vm_that_wakes_up_is_dropped() {
    let host = Host::new();
    host.shell(
        "before_vm_start/50_change",
        "sed -i s/Nehalem/Westmere/ \"$_hook_domxml\"",
    );
    host.shell("before_vm_start/60_break", "echo '<a>' >\"$_hook_domxml\"");
    let text = host
        .run("before_vm_start", &["--hook", "change", "--resume"])
        .stdout();
    for part in [
        "1 hook in ",
        "before_vm_start, a resume\n",
        "VDSM goes on, and drops what the hooks left: the VM has the document with which it was saved\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Nobody parses what goes nowhere.
    assert_eq!(host.run("before_vm_start", &["--resume"]).status(), 0);
    let cold = host.run("before_vm_start", &[]);
    assert_eq!(cold.status(), 2, "{}", cold.stdout());
    assert!(
        cold.stdout().contains("before_vm_start, a cold start\n"),
        "{}",
        cold.stdout()
    );
    assert_eq!(
        host.json("before_vm_start", &["--resume"])["output_used"],
        false
    );
    assert_eq!(host.json("before_vm_start", &[])["output_used"], true);

    host.run("after_vm_start", &["--resume"]).fails_with(
        "VDSM does not fire after_vm_start for a resume, but after_disk_prepare, before_device_create, \
         before_vm_start, before_vm_dehibernate, after_vm_dehibernate",
    );
    host.run("before_vm_start", &["--migration"]).fails_with(
        "VDSM does not fire before_vm_start for an incoming migration, but after_disk_prepare",
    );
    assert_eq!(
        host.json("before_nic_hotplug", &["--device", MAC])["start"],
        Value::Null
    );
}

/// A log of VDSM with a start of the VM, and before it one of another.
fn log(host: &Host, more: &str) -> String {
    let python = |text: &str| {
        format!(
            "'{}'",
            text.replace('\\', "\\\\")
                .replace('\'', "\\'")
                .replace('\n', "\\n")
        )
    };
    let line = |time: &str, thread: &str, text: &str| {
        format!("2026-06-25 11:24:{time},123+0200 INFO  ({thread}) [virt] {text} (x:1)\n")
    };
    let create = |time: &str, document: &str, more: &str| {
        let call = format!(
            "START create(vmParams={{'xml': {}{more}}}) from=::1,1, vmId=",
            python(document)
        );
        line(time, "jsonrpc/1", &call)
    };
    let hook = |name: &str, said: &str| {
        line(
            "03",
            "vm/5f1c2a7e",
            &format!("/usr/libexec/vdsm/hooks/before_vm_start/{name}: {said}"),
        )
    };
    let other = DOMAIN
        .replace("node7", "node8")
        .replace(UUID, "11111111-9d3b-4e57-8a40-0c6f3b1d2e99");
    let text = [
        create("01", &DOMAIN.replace("blue", "red"), ""),
        create("02", DOMAIN, more),
        create("03", &other, ""),
        hook("50_show", "rc=0 err=b''"),
        hook("60_fails", "rc=2 err=b'no \\xc3\\xa9\\n'"),
    ];
    host.file("vdsm.log", &text.concat())
}

#[test]
fn a_start_is_played_again_from_vdsms_log() {
    let host = Host::new();
    host.shell(
        "before_vm_start/50_show",
        "echo \"$color\" >&2; cmp \"$_hook_domxml\" \"$original\" >&2",
    );
    host.shell("before_vm_start/60_fails", "exit 0");
    log(&host, "");
    let original = format!("original={}", host.path("vm.xml").display());
    let run = |more: &[&str]| {
        let all = ["before_vm_start", "--log", "vdsm.log", "-p", &original];
        host.tool("run", &[&all[..], more].concat())
    };
    for vm in ["node7", UUID] {
        let summary = run(&["--vm", vm, "--json"]).json();
        assert_eq!(summary["start"], "cold");
        assert_eq!(summary["hooks"][0]["stderr"], "blue\n", "{summary:#}");
        assert_eq!(summary["log"]["time"], "2026-06-25 11:24:02,123+0200");
        assert_eq!(summary["log"]["hooks"][1]["rc"], 2);
        assert_eq!(summary["log"]["hooks"][1]["stderr"], "no \u{e9}\n");
    }
    let text = run(&["--vm", "node7"]).stdout();
    let part = "in the log: 1 of 2 hooks at before_vm_start failed or said something\n  \
                60_fails  rc=2, here ok\n    stderr: no \u{e9}\n";
    assert!(text.contains(part), "{text}");
    assert!(
        text.contains("as the engine sent it, 2026-06-25 11:24:02,123+0200\n"),
        "{text}"
    );

    // Another VM had its name.
    let older = fs::read_to_string(host.path("vdsm.log")).unwrap();
    let other = "22222222-9d3b-4e57-8a40-0c6f3b1d2e99";
    let both = older
        .replace(UUID, other)
        .replace("vm/5f1c2a7e", "vm/22222222")
        + &older;
    host.file("vdsm.log", &both);
    let summary = run(&["--vm", "node7", "--json"]).json();
    assert_eq!(summary["log"]["namesakes"], json!([other]));
    let line = format!("\nanother VM had this name before: --vm {other} chooses it\n");
    let text = run(&["--vm", "node7"]).stdout();
    assert!(text.contains(&line), "{text}");
    let text = run(&["--vm", other]).stdout();
    assert!(text.contains(&format!("vmId={other}\n")), "{text}");
    assert!(!text.contains("another VM"), "{text}");

    // The log ends within a start.
    let cut = format!(
        "{older}2026-06-25 11:24:09,123+0200 INFO (jsonrpc/1) [virt] START create(vmParams={{'xml': '<?x"
    );
    host.file("vdsm.log", &cut);
    let text = run(&["--vm", "node7"]).stdout();
    let line = "\nstarts behind it that cannot be read, of this VM perhaps: 1\n";
    assert!(text.contains(line), "{text}");

    // A VM that was to wake up.
    log(&host, ", 'memoryDumpVolume': {'poolID': 'p'}");
    assert_eq!(run(&["--vm", "node7", "--json"]).json()["start"], "resume");

    run(&["--vm", "node9"])
        .fails_with("vdsm.log: no start of a VM \"node9\": it has starts of node8, node7");
    let ended = run(&[]);
    assert_eq!(ended.status(), 64);
    assert!(ended.stderr().contains("--vm <NAME>"), "{}", ended.stderr());
    host.tool(
        "run",
        &["after_get_stats", "--log", "vdsm.log", "--vm", "node7"],
    )
    .fails_with("use --data");
    if have("xz", "a_start_is_played_again_from_vdsms_log") {
        let packed = end(Command::new("xz").arg("-k").arg(host.path("vdsm.log")));
        assert_eq!(packed.status(), 0, "{}", packed.stderr());
        let all = ["before_vm_start", "--log", "vdsm.log.xz", "--vm", "node7"];
        host.tool("run", &all)
            .fails_with("vdsm.log.xz: compressed: give what 'xz -dc' makes of it to '--log -'");
    }
}
