// SPDX-License-Identifier: GPL-2.0-or-later

//! The four commands of the README's "A wish, in four commands", typed as they stand there, on a host
//! where the VM runs, and with an engine that knows nothing of the property yet.

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
