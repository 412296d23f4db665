// SPDX-License-Identifier: GPL-2.0-or-later

//! What hooks have root do ends, whatever the programs of the host do: as VDSM's user through the
//! real sudo, with the suite's rules, and with programs that never end, ignore SIGTERM, and have
//! children that hold their output open.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::{Value, json};
use support::{hooks, is_root, not_run, program, root};
use tempfile::TempDir;
use vdsm_hooks::host::sudo::allowed_by;
use vdsm_hooks::paths::HELPERS;

/// Never ends, in one of four ways.
const ENDLESS: &str = "#!/bin/sh
case $(($$ % 4)) in
0) exec sleep 1000000 ;;
1) (trap '' TERM; exec sleep 1000000) & exec sleep 1000000 ;;
2) trap '' TERM; while :; do sleep 1000000; done ;;
*) trap '' TERM HUP INT; sleep 1000000 & (while :; do sleep 1000; done) & wait; wait; sleep 1000000 ;;
esac
";
const PROGRAMS: [&str; 6] = ["ip", "lvm", "ovs-vsctl", "systemctl", "tc", "virsh"];
const VM: &str = "5f1a7d3e-8b24-4c96-b0e5-92d7c3a4f618";
const NIC: &str = r#"<interface type="bridge"><mac address="52:54:00:aa:00:09"/><source bridge="odd0"/></interface>"#;
/// The programs end after 20 seconds at the most, but the machine may have better to do.
const TIMEOUT: u64 = 90;

/// The directories of a host with the suite, a user vdsm, and programs that never end.
struct Host(TempDir);

impl Host {
    fn new() -> Host {
        let host = Host(tempfile::tempdir().unwrap());
        fs::set_permissions(host.0.path(), Permissions::from_mode(0o755)).unwrap();
        for name in PROGRAMS {
            for directory in ["bin", "sbin"] {
                host.file(&format!("usr/{directory}/{name}"), ENDLESS, 0o755);
            }
        }
        let ctl = "usr/share/openvswitch/scripts/ovs-ctl";
        host.file(ctl, "#!/bin/sh\nexit 0\n", 0o755);
        let vhostmd = "<vhostmd><globals><transport>virtio</transport></globals></vhostmd>";
        host.file("etc/vhostmd/vhostmd.conf", vhostmd, 0o644);
        for (name, entry) in [
            ("passwd", "vdsm:*:36:36::/:/bin/sh\n"),
            ("group", "kvm:x:36:\n"),
        ] {
            let text = fs::read_to_string(Path::new("/etc").join(name)).unwrap();
            let others = text.lines().filter(|line| {
                let mut fields = line.split(':');
                fields.next() != entry.split(':').next() && fields.nth(1) != Some("36")
            });
            let text: String = others.map(|line| format!("{line}\n")).collect();
            host.file(&format!("etc/{name}"), &(text + entry), 0o644);
        }
        for hook in hooks() {
            let folder = root().join("hooks").join(&hook.name);
            if let Ok(rules) = fs::read_to_string(folder.join("sudoers")) {
                host.file(
                    &format!("etc/sudoers.d/50_vdsm_hooks_{}", hook.name),
                    &rules,
                    0o440,
                );
                for helper in &hook.helpers {
                    host.copy(helper, &format!("{}/{helper}", &HELPERS[1..]));
                }
                for event in &hook.events {
                    let place = format!("usr/libexec/vdsm/hooks/{}/50_{}", event.event, hook.name);
                    host.copy(&hook.name, &place);
                }
            }
        }
        host
    }

    fn at(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn file(&self, path: &str, text: &str, mode: u32) {
        let path = self.at(path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    /// A built program, in a place that VDSM's user can reach.
    fn copy(&self, name: &str, path: &str) {
        let (path, first) = (self.at(path), self.at(&format!("programs/{name}")));
        if !first.exists() {
            let built = program(name);
            fs::hard_link(&built, &first)
                .or_else(|_| fs::copy(built, &first).map(drop))
                .unwrap();
        }
        fs::hard_link(first, path).unwrap();
    }

    /// Runs the jobs side by side, where these places are file systems that do not answer; the
    /// answer, or why this machine cannot.
    fn run(&self, jobs: &[Value], dead: &[String]) -> Result<Value, String> {
        let over = |place: &str| json!([self.0.path().join(&place[1..]), place]);
        let description = json!({
            "over": [over("/usr"), over("/etc")],
            "empty": ["/run", "/sys/class/net"],
            "owned": [
                "/run/vdsm/", "/run/vdsm/hooks/", "/run/openvswitch/db.sock", "/run/jobs/",
                // Devices that are no bridges of Linux, a bridge, and a tap.
                "/sys/class/net/odd0/", "/sys/class/net/br0/bridge/",
                "/sys/class/net/tap0/tun_flags",
            ],
            "dead": dead,
            "jobs": jobs,
            "patience": TIMEOUT,
        });
        let file = self.at(&format!("jobs-of-{}.json", dead.len()));
        fs::write(&file, description.to_string()).unwrap();
        support::in_namespace(&file, &[])
    }
}

/// VDSM's user fires a hook.
fn fire(hook: &str, event: &str, data: &str, properties: &[(&str, &str)]) -> Value {
    let variable = if data.starts_with('{') {
        "_hook_json"
    } else {
        "_hook_domxml"
    };
    let mut env: serde_json::Map<String, Value> = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    env.insert("vmId".to_owned(), json!(VM));
    let command = [format!("/usr/libexec/vdsm/hooks/{event}/50_{hook}")];
    json!({"command": command, "env": env, "data": [variable, data], "vdsm": true, "limit": TIMEOUT})
}

/// What hooks give to sudo. Of no variable at all sudo 1.9.16p2 (Debian 13) dies by SIGSEGV.
fn as_hooks() -> Value {
    json!({"LC_ALL": "C"})
}

/// VDSM's user has a helper do something.
fn help(helper: &[&str], input: &str) -> Value {
    let path = format!("{HELPERS}/{}", helper[0]);
    let command = [&["/usr/bin/sudo", "-n", &path], &helper[1..]].concat();
    json!({"command": command, "env": as_hooks(), "input": input, "vdsm": true, "limit": TIMEOUT})
}

/// The job where nobody reads what it writes.
fn unread(mut job: Value) -> Value {
    job["unread"] = json!(true);
    job
}

fn why_not() -> Option<&'static str> {
    let is_there = |program: &str| Path::new("/usr/bin").join(program).exists();
    match (is_root(), is_there("sudo"), is_there("python3")) {
        (false, _, _) => Some("needs root for namespaces"),
        (_, false, _) => Some("sudo is not installed"),
        (_, _, false) => Some("python3 is not installed"),
        _ => None,
    }
}

#[test]
fn nothing_of_roots_is_left_a_hundred_times() {
    let test = "nothing_of_roots_is_left_a_hundred_times";
    if let Some(reason) = why_not() {
        return not_run(test, reason);
    }
    let free_tap = |port: &str| {
        let properties = [
            ("provider_type", "OPENSTACK_NETWORK"),
            ("plugin_type", "LINUX_BRIDGE"),
            ("vnic_id", port),
        ];
        fire("openstacknet", "after_nic_hotplug", NIC, &properties)
    };
    let vm = format!("<domain><name>a</name><devices>{NIC}</devices></domain>");
    let group = "6f4f5a2b-9a58-4c9e-8e7f-6f1d5e0c3a11";
    let disk = format!("<disk type='block'><source dev='/dev/{group}/{VM}'/></disk>");
    let block = format!("<domain><name>a</name><devices>{disk}</devices></domain>");
    let check = |properties: &[(&str, &str)]| {
        let properties = [&[("sdcheck_repository", "/run/none")], properties].concat();
        fire("sdcheck", "before_vm_start", &block, &properties)
    };
    let macbind = [("macbind", "{'52:54:00:aa:00:09': 'odd0'}")];
    let promisc = format!("start {VM}\nbr0 tap0 mirror\n");
    // How often, what, and what is said.
    let kinds = [
        (
            20,
            fire("ovn", "after_get_caps", "{}", &[]),
            "ovs-vsctl: gave up after 8000 ms",
        ),
        (
            15,
            fire("openstacknet", "after_get_caps", "{}", &[]),
            "ovs-vsctl: gave up after",
        ),
        (
            10,
            fire("macbind", "before_vm_start", &vm, &macbind),
            "ovs-vsctl: gave up after 8000 ms",
        ),
        (
            10,
            fire("ovs", "before_nic_hotplug", NIC, &[]),
            "ovs-vsctl: gave up after 8000 ms",
        ),
        (
            10,
            fire("vhostmd", "before_vm_start", &vm, &[("sap_agent", "true")]),
            "systemctl: gave up after 20000 ms",
        ),
        (10, check(&[]), "did not answer within 10 s"),
        (
            10,
            check(&[("sdcheck_timeout", "2")]),
            "did not answer within 2 s",
        ),
        // Of ip, or of the helper where the machine is busy.
        (4, free_tap("1"), "gave up after"),
        // It cannot even say that it gave up.
        (1, unread(help(&["openstacknet-tap", "tapnone"], "")), ""),
        (
            3,
            help(&["vmfex-pool"], ""),
            "virsh: gave up after 10000 ms",
        ),
        (
            2,
            help(&["promisc-tc"], &promisc),
            "tc: gave up after 5000 ms",
        ),
    ];
    let repeated = kinds
        .iter()
        .flat_map(|(count, job, said)| (0..*count).map(move |_| (job.clone(), *said)));
    let all: Vec<_> = repeated.collect();
    // Helpers that are blocked themselves, in the kernel, each on a place of its own.
    let blocked = |number| {
        let job = free_tap(&format!("dead{number}"));
        (job, "gave up after 10")
    };
    let blocked: Vec<_> = (0..5).map(blocked).collect();
    assert_eq!(all.len() + blocked.len(), 100);
    let dead: Vec<_> = (0..5)
        .map(|number| format!("/sys/class/net/tapdead{number}"))
        .collect();
    let host = Host::new();
    let run = |jobs: &[(Value, &str)], dead: &[String]| match ends(&host, jobs, dead) {
        Ok(()) => {}
        Err(reason) => not_run(test, &reason),
    };
    thread::scope(|scope| {
        scope.spawn(|| run(&all, &[]));
        scope.spawn(|| run(&blocked, &dead));
    });
}

/// All jobs say what they are to say, and nobody is left.
fn ends(host: &Host, jobs: &[(Value, &str)], dead: &[String]) -> Result<(), String> {
    let commands: Vec<_> = jobs.iter().map(|(job, _)| job.clone()).collect();
    let answer = host.run(&commands, dead)?;
    let left = answer["left"].as_array().unwrap();
    assert!(left.is_empty(), "{} are left: {left:#?}", left.len());
    for (index, (job, said)) in jobs.iter().enumerate() {
        let outcome = &answer["jobs"][index];
        let stderr = outcome["stderr"].as_str().unwrap();
        assert!(
            outcome["status"].is_i64() && stderr.contains(said),
            "{}: {said:?}: {outcome}",
            job["command"]
        );
    }
    Ok(())
}

#[test]
fn sudo_lets_vdsm_run_what_the_descriptions_say_and_no_more() {
    let test = "sudo_lets_vdsm_run_what_the_descriptions_say_and_no_more";
    if let Some(reason) = why_not() {
        return not_run(test, reason);
    }
    let question = |command: &str| {
        let words = ["/usr/bin/sudo", "-n", "-l", "-U", "vdsm"];
        let words: Vec<&str> = words.into_iter().chain(command.split(' ')).collect();
        json!({"command": words, "env": as_hooks(), "limit": TIMEOUT})
    };
    let mut questions = Vec::new();
    for command in hooks().into_iter().flat_map(|hook| hook.sudo) {
        let example = allowed_by(&command);
        questions.push((0, example.clone()));
        let program = example.strip_prefix("/usr/bin/timeout -s KILL ");
        if let Some((_, program)) = program.and_then(|rest| rest.split_once(' ')) {
            // Without an end, with another one, with one more word.
            for command in [
                program.to_owned(),
                format!("/usr/bin/timeout -s KILL 3600 {program}"),
                format!("{example} x"),
            ] {
                questions.push((1, command));
            }
        }
    }
    assert!(questions.len() > 30, "{questions:?}");
    let jobs: Vec<_> = questions
        .iter()
        .map(|(_, command)| question(command))
        .collect();
    let doctor = json!({"command": [program("vdsm-hooks"), "doctor"], "limit": TIMEOUT});
    let answer = match Host::new().run(&[jobs, vec![doctor]].concat(), &[]) {
        Ok(answer) => answer,
        Err(reason) => return not_run(test, &reason),
    };
    for (index, (status, command)) in questions.iter().enumerate() {
        let outcome = &answer["jobs"][index];
        assert_eq!(outcome["status"], *status, "{command}: {outcome}");
    }
    let said = &answer["jobs"][questions.len()];
    assert!(!said["stdout"].as_str().unwrap().contains("sudo"), "{said}");
}
