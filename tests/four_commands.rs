// SPDX-License-Identifier: GPL-2.0-or-later

//! The commands of the README, typed as they stand there: those of "A wish, in four commands" on a host
//! where the VM runs, and with an engine that knows nothing of the property yet; and those of which
//! it shows the answer.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support;
use support::root;
use support::tool::*;

/// What the engine had before.
const LIST: &str = "memory=^[0-9]+$";

fn commands() -> Vec<String> {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, section) = page.split_once("\n## A wish, in four commands\n").unwrap();
    let is_typed = |line: &&str| line.starts_with("    ");
    let typed = section
        .lines()
        .skip_while(|line| !is_typed(line))
        .take_while(is_typed);
    typed.map(|line| line.trim().to_owned()).collect()
}

/// What the first block of a section types, a line each, and what it shows of the last one's answer.
fn session(heading: &str) -> (Vec<String>, String) {
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let is_inside = |line: &&str| line.is_empty() || line.starts_with("    ");
    let lines = section
        .lines()
        .skip_while(|line| !line.starts_with("    $ "));
    let block: Vec<&str> = lines.take_while(is_inside).collect();
    let block = block.join("\n").replace("\n    ", "\n").replace("\\\n", "");
    let (mut typed, mut shown) = (Vec::new(), String::new());
    for line in block.trim().lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            typed.push(command.to_owned());
        } else {
            shown += &format!("{line}\n");
        }
    }
    (typed, shown)
}

/// A text in which no time stands.
fn without_times(text: &str) -> String {
    let time = pcre2::bytes::Regex::new(r"^([0-9]+\.[0-9]|[0-9]+) ms$").unwrap();
    let is_time = |words: &str| time.is_match(words.as_bytes()).unwrap();
    let line = |line: &str| match line.rsplit_once("  ") {
        Some((start, end)) if is_time(end) => format!("{start}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn the_dry_run_shows_what_the_readme_shows() {
    let host = Host::new();
    for hook in ["cpuflags", "diskunmap"] {
        host.suite(&format!("before_vm_start/50_{hook}"), hook);
    }
    let document = root().join("tests/data/ovirt-vm.xml");
    fs::copy(document, host.path("vm.xml")).unwrap();
    let (typed, shown) = session("A dry run");
    let [command] = typed.as_slice() else {
        panic!("{typed:?}")
    };
    // Which needs libvirt's schema, and is tried elsewhere.
    let command = command.replace("vdsm-hooks", TOOL).replace(" --schema", "");
    let hooks = host.path("hooks").display().to_string();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{command} --hooks-dir {hooks}")]);
    let ended = end(shell.current_dir(host.root.path()));
    assert_eq!(ended.status(), 0, "{}", ended.stderr());
    let said = ended.stdout().replace(&hooks, "/usr/libexec/vdsm/hooks");
    let shown = shown.replace("schema: valid\n", "");
    assert_eq!(without_times(&said), without_times(&shown));
}

#[test]
fn engine_config_prints_what_the_readme_shows() {
    let host = Host::new();
    host.file(
        "now",
        &format!("UserDefinedVMProperties: {LIST} version: 4.7\n"),
    );
    let (typed, shown) = session("Turn a property on");
    let command = typed.last().unwrap().replace("vdsm-hooks", TOOL);
    let mut shell = Command::new("/bin/sh");
    let ended = end(shell.args(["-c", &command]).current_dir(host.root.path()));
    assert_eq!(ended.status(), 0, "{}", ended.stderr());
    assert_eq!(ended.stdout(), shown);
}

#[test]
fn a_wish_takes_four_commands() {
    let host = Host::new();
    host.suite("before_vm_start/50_diskunmap", "diskunmap");
    let list = host.file("list", LIST);
    let program = |name: &str, script: &str| {
        let path = host.file(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    };
    let hooks = host.path("hooks");
    let hooks = hooks.display();
    program(
        "vdsm-hooks",
        &format!("[ \"$1\" != run ] || set -- \"$@\" --hooks-dir {hooks}\nexec {TOOL} \"$@\""),
    );
    let document = root().join("tests/data/ovirt-vm.xml");
    let document = document.display();
    program(
        "virsh",
        &format!("[ \"$*\" = '-r dumpxml mail01' ] && cat {document}"),
    );
    program("ssh", "[ \"$1\" = root@engine ] && shift && exec \"$@\"");
    program(
        "engine-config",
        &format!(
            "case $1 in -g) echo \"$2: $(cat {list}) version: 4.7\" ;; -s) echo \"${{2#*=}}\" >{list} ;; esac"
        ),
    );
    program("systemctl", "[ \"$*\" = 'restart ovirt-engine' ]");
    let types = |text: &str| {
        let mut shell = Command::new("/bin/sh");
        let path = format!("{}:/usr/bin:/bin", host.path("bin").display());
        let ended = end(shell.args(["-euc", text]).env("PATH", path));
        assert_eq!(ended.status(), 0, "{text}\n{}", ended.stderr());
        ended.stdout()
    };
    let known = || fs::read_to_string(&list).unwrap().trim().to_owned();

    let [show, run, define, drop]: [String; 4] = commands().try_into().expect("four commands");
    let text = types(&show);
    assert!(text.contains("example: diskunmap=on"), "{text}");
    let text = types(&run);
    assert!(text.contains(" discard=\"unmap\""), "{text}");
    assert!(
        text.contains("VDSM goes on, with what the hooks left"),
        "{text}"
    );
    types(&types(&define));
    assert_eq!(known(), format!("{LIST};diskunmap=^(off|on)$"));
    types(&types(&drop));
    assert_eq!(known(), LIST);
}
