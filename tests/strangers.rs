// SPDX-License-Identifier: GPL-2.0-or-later

//! Hooks in a directory where every user can write, as `/tmp` is, where VDSM makes its data files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use support::{Firing, is_root, not_run, program, root};
use tempfile::TempDir;

/// Hooks that change the document of every VM, and the properties that ask them to.
const HOOKS: [(&str, &str); 6] = [
    ("diskunmap", "diskunmap=on"),
    ("smartcard", "smartcard=true"),
    ("smbios", "smbios={'serial': 'X1'}"),
    ("spiceoptions", "spiceoptions={'mouse': {'mode': 'server'}}"),
    (
        "qemucmdline",
        r#"qemu_cmdline=["-fw_cfg", "name=opt/a,string=b"]"#,
    ),
    ("macspoof", "macspoof=true"),
];
const STARTS: usize = 100;
/// VDSM's user, and that of the stranger.
const VDSM_USER: u32 = 36;
const NOBODY: u32 = 65534;

/// Makes the names `.NAME.NUMBER.new` for the next 120 processes, of each data file that appears,
/// and keeps book of them.
const STRANGER: &str = r#"cd "$1" && set -C && while :; do
    for file in tmp*; do
        [ -e "$file" ] || continue
        read -r _ _ _ _ last </proc/loadavg
        number=$last
        while [ "$number" -lt "$((last + 120))" ]; do
            number=$((number + 1))
            name=.$file.$number.new
            [ -e "$name" ] || { : >"$name" && echo "$name" >>"$2"; }
        done
    done
done 2>/dev/null"#;

/// What VDSM does: a data file, then the hooks, as its user. The stranger has begun by then.
const VDSM: &str = r#"directory=$1 hooks=$2 made=$3 starts=$4
setpriv --reuid 65534 --regid 65534 --clear-groups sh -c "$STRANGER" stranger "$directory" "$made" &
number=0
while [ "$number" -lt "$starts" ]; do
    number=$((number + 1))
    data=$directory/tmpq$number
    setpriv --reuid 36 --regid 36 --clear-groups sh -c 'umask 077; cat "$1" >"$2"' sh "$hooks/document" "$data"
    tries=0
    while ! grep -q "^\.tmpq$number\." "$made"; do
        sleep 0.01
        tries=$((tries + 1))
        [ "$tries" -lt 6000 ] || exit 9
    done
    for hook in "$hooks"/*.sh; do
        _hook_domxml=$data setpriv --reuid 36 --regid 36 --clear-groups "$hook" || echo "start $number: exit $?" >&2
    done
    cmp -s "$hooks/document" "$data" && echo "start $number: unchanged" >&2
    rm "$data"
done
"#;

#[test]
fn a_user_who_watches_the_directory_stops_no_start() {
    let test = "a_user_who_watches_the_directory_stops_no_start";
    if !is_root() {
        return not_run(test, "needs root to become two users");
    }
    let work = TempDir::new().unwrap();
    let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    open(work.path(), 0o755);
    let shared = work.path().join("shared");
    let hooks = work.path().join("hooks");
    for (directory, mode) in [(&shared, 0o1777), (&hooks, 0o755)] {
        fs::create_dir(directory).unwrap();
        open(directory, mode);
    }
    // In its own directory VDSM's user could remove the files of others, in spite of the sticky bit.
    chown(&shared, Some(VDSM_USER), None).unwrap();
    fs::copy(root().join("tests/data/domain.xml"), hooks.join("document")).unwrap();
    for (hook, property) in HOOKS {
        // Where user vdsm can run it.
        let copy = hooks.join(hook);
        fs::copy(program(hook), &copy).unwrap();
        let quoted = property.replace('\'', r"'\''");
        let script = format!(
            "#!/bin/sh\nexec env '{quoted}' vmId={} '{}'\n",
            support::VM_ID,
            copy.display()
        );
        let script_file = hooks.join(format!("{hook}.sh"));
        fs::write(&script_file, script).unwrap();
        open(&script_file, 0o755);
    }
    let made = work.path().join("made");
    fs::write(&made, "").unwrap();
    open(&made, 0o666);
    // In a namespace of process ids of their own, no other process of the machine takes numbers
    // away, and nothing outlives the script.
    let output = Command::new("unshare")
        .args([
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "sh",
            "-c",
            VDSM,
            "vdsm",
        ])
        .args([&shared, &hooks, &made])
        .arg(STARTS.to_string())
        .env("STRANGER", STRANGER)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("unshare") {
        return not_run(test, said.trim());
    }
    assert!(
        output.status.success() && said.is_empty(),
        "{}: {said}",
        output.status
    );

    let made = fs::read_to_string(&made).unwrap();
    let taken: Vec<&str> = made.lines().collect();
    assert!(taken.len() >= STARTS * 100, "only {} names", taken.len());
    let missing = taken.iter().filter(|name| !shared.join(name).exists());
    assert_eq!(missing.count(), 0, "files of the stranger are gone");
    // The stranger is killed at any moment: its last file may not be in its book.
    let entries = fs::read_dir(&shared).unwrap().map(Result::unwrap);
    let left = entries.filter(|entry| entry.metadata().unwrap().uid() != NOBODY);
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "hooks have left behind: {left:?}");
}

/// The process id stays over exec, so the name that earlier versions took is certain here.
#[test]
fn a_name_that_somebody_has_taken_is_not_in_the_way() {
    let document = fs::read(root().join("tests/data/domain.xml")).unwrap();
    let taken = r#"echo mine >"${_hook_domxml%/*}/.${_hook_domxml##*/}.$$.new"; exec "$0""#;
    let firing = Firing::new("diskunmap", "before_vm_start", &document)
        .variable("diskunmap", "on")
        .inside(&["sh", "-c", taken]);
    let outcome = firing.run();
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    assert!(outcome.touched);
    let [left] = &outcome.left_behind[..] else {
        panic!("{outcome:?}");
    };
    let left = fs::read_to_string(firing.data.with_file_name(left)).unwrap();
    assert_eq!(left, "mine\n");
}
