// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain create`: what it makes, what the checker and the real safelease say of that,
//! and what is left when it is stopped at any step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

use crate::{domains, support};

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

use domains::{Done, EXPORT, EXPORT_ID, Storage, is_root, kill_at_every_step, tool};
use support::not_run;

const ISO: &str = include_str!("data/storage/iso.metadata");
const ISO_ID: &str = "0d1b6ae4-4f7f-4b0c-9f0c-2a6f6a4f2f11";
const EXPORT_PATH: &str = "192.168.1.108:/home/nfs_exports";

/// A directory that VDSM may write to.
fn target(storage: &Storage, name: &str) -> String {
    let directory = storage.path().join(name);
    fs::create_dir_all(&directory).unwrap();
    chown(&directory, Some(36), Some(36)).unwrap();
    directory.to_str().unwrap().to_owned()
}

/// Makes the example of an export domain.
fn create(directory: &str) -> Done {
    let arguments = [
        "create",
        "export",
        directory,
        "--name",
        "Export",
        "--uuid",
        EXPORT_ID,
        "--remote-path",
        EXPORT_PATH,
    ];
    tool(&arguments)
}

/// Everything below `directory`: kind and mode, owner, size, name.
fn tree(directory: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let size = if found.is_dir() { 0 } else { found.len() };
            let name = path.strip_prefix(directory).unwrap().display();
            lines.push(format!(
                "{name} {:o} {}:{} {size}",
                found.mode(),
                found.uid(),
                found.gid()
            ));
            if found.is_dir() {
                waiting.push(path);
            }
        }
    }
    lines.sort();
    lines
}

#[test]
fn an_export_domain() {
    if !is_root() {
        return not_run("an_export_domain", "needs root, to give files to VDSM");
    }
    let storage = Storage::new();
    let directory = target(&storage, "export");
    let done = create(&directory);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    let domain = Path::new(&directory).join(EXPORT_ID);
    let metadata = domain.join("dom_md/metadata");
    assert!(
        done.stdout.starts_with(metadata.to_str().unwrap()),
        "{}",
        done.stdout
    );
    assert_eq!(fs::read_to_string(&metadata).unwrap(), EXPORT);
    assert_eq!(
        tree(Path::new(&directory)),
        [
            "37e0e64b-5445-4bc3-8675-ceff4637e8e3 40755 36:36 0",
            "37e0e64b-5445-4bc3-8675-ceff4637e8e3/dom_md 40755 36:36 0",
            "37e0e64b-5445-4bc3-8675-ceff4637e8e3/dom_md/ids 100660 36:36 0",
            "37e0e64b-5445-4bc3-8675-ceff4637e8e3/dom_md/inbox 100660 36:36 16777216",
            "37e0e64b-5445-4bc3-8675-ceff4637e8e3/dom_md/leases 100660 36:36 512",
            "37e0e64b-5445-4bc3-8675-ceff4637e8e3/dom_md/metadata 100644 36:36 318",
            "37e0e64b-5445-4bc3-8675-ceff4637e8e3/dom_md/outbox 100660 36:36 16777216",
            "37e0e64b-5445-4bc3-8675-ceff4637e8e3/images 40755 36:36 0",
            "37e0e64b-5445-4bc3-8675-ceff4637e8e3/master 40755 36:36 0",
            "37e0e64b-5445-4bc3-8675-ceff4637e8e3/master/tasks 40755 36:36 0",
            "37e0e64b-5445-4bc3-8675-ceff4637e8e3/master/vms 40755 36:36 0",
        ]
    );
    // The mailboxes take no room.
    let inbox = fs::metadata(domain.join("dom_md/inbox")).unwrap();
    assert_eq!(inbox.blocks(), 0);
    let done = tool(&["check", &directory]);
    assert_eq!(
        (done.status, done.stderr.as_str()),
        (0, ""),
        "{}",
        done.stdout
    );
    assert!(!done.stdout.contains("finding"), "{}", done.stdout);
    // VDSM sees one domain only in each mount.
    let done = tool(&["create", "iso", &directory, "--name", "second"]);
    assert_eq!((done.status, done.stdout.as_str()), (2, ""));
    assert_eq!(
        done.stderr,
        format!(
            "vdsm-hooks: {}: a storage domain is there already, and VDSM sees one only in each mount; expected a directory without any\n",
            domain.display()
        )
    );
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

#[test]
fn an_iso_domain() {
    if !is_root() {
        return not_run("an_iso_domain", "needs root, to give files to VDSM");
    }
    let storage = Storage::new();
    let directory = target(&storage, "iso lib");
    let done = tool(&[
        "create",
        "iso",
        &directory,
        "--name",
        "ISO_DOMAIN",
        "--type",
        "localfs",
    ]);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    let made: Vec<_> = fs::read_dir(&directory).unwrap().collect();
    let domain = made[0].as_ref().unwrap().path();
    assert!(
        domain
            .join("images/11111111-1111-1111-1111-111111111111")
            .is_dir()
    );
    assert!(!domain.join("master").exists());
    let metadata = fs::read_to_string(domain.join("dom_md/metadata")).unwrap();
    for line in [
        "CLASS=Iso",
        "TYPE=LOCALFS",
        &format!("REMOTE_PATH={directory}"),
        &format!("SDUUID={}", domain.file_name().unwrap().to_str().unwrap()),
    ] {
        assert!(metadata.lines().any(|found| found == line), "{metadata}");
    }
    // With the id of somebody's choice, and the name of this host.
    let other = target(&storage, "other");
    let done = tool(&["create", "iso", &other, "--name", "a", "--uuid", ISO_ID]);
    assert_eq!(done.status, 0, "{}", done.stderr);
    let metadata = fs::read_to_string(Path::new(&other).join(ISO_ID).join("dom_md/metadata"));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let line = format!("\nREMOTE_PATH={}:{other}\n", host.trim());
    assert!(metadata.unwrap().contains(&line));
}

#[test]
fn what_is_refused() {
    if !is_root() {
        return not_run("what_is_refused", "needs root, to give files to VDSM");
    }
    let storage = Storage::new();
    let domain = storage.whole("nas:_x", ISO_ID, ISO);
    let empty = target(&storage, "empty");
    let before = storage.snapshot();
    let missing = format!("{empty}/missing");
    let inside = domain.join("images");
    let inside = inside.to_str().unwrap();
    let place = domain.display();
    for (arguments, message) in [
        (
            vec![inside, "--name", "a"],
            format!("{place}: a storage domain, expected a directory that is not in one"),
        ),
        (
            vec![&missing, "--name", "a"],
            format!("{missing}: No such file or directory (os error 2)"),
        ),
        (
            vec![&empty, "--name", "a b"],
            "the name \"a b\": expected letters from a to z, digits, '-' and '_'".to_owned(),
        ),
        (
            vec![&empty, "--name", "a", "--uuid", "x"],
            "the id \"x\": expected a uuid in lower case, such as 37e0e64b-5445-4bc3-8675-ceff4637e8e3".to_owned(),
        ),
    ] {
        let done = tool(&[&["create", "export"], &arguments[..]].concat());
        let said = (done.status, done.stdout.as_str(), done.stderr.as_str());
        assert_eq!(said, (2, "", format!("vdsm-hooks: {message}\n").as_str()));
    }
    assert_eq!(storage.snapshot(), before);
    // Something of that name is there, or somebody else is making a domain.
    for (name, message) in [
        (EXPORT_ID, format!("{empty}/{EXPORT_ID}: exists already")),
        (
            ".vdsm-hooks-new",
            format!(
                "{empty}/.vdsm-hooks-new: another call is making a domain, or was interrupted; if it was, remove what it left: rm -r {empty}/.vdsm-hooks-new"
            ),
        ),
    ] {
        let path = Path::new(&empty).join(name);
        symlink("nowhere", &path).unwrap();
        let done = create(&empty);
        assert_eq!(
            (done.status, done.stderr),
            (2, format!("vdsm-hooks: {message}\n"))
        );
        fs::remove_file(&path).unwrap();
        assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    }
}

#[test]
fn others_than_root() {
    if !is_root() {
        return not_run("others_than_root", "needs root, to become others");
    }
    let storage = Storage::new();
    fs::set_permissions(storage.path(), Permissions::from_mode(0o755)).unwrap();
    let program = storage.path().join("vdsm-hooks");
    fs::copy(env!("CARGO_BIN_EXE_vdsm-hooks"), &program).unwrap();
    let directory = target(&storage, "export");
    let by = |user: u32| {
        let mut command = Command::new("setpriv");
        command
            .args([&format!("--reuid={user}"), &format!("--regid={user}")])
            .args(["--clear-groups".as_ref(), program.as_os_str()]);
        let arguments = ["create", "export", &directory, "--name", "Export"];
        domains::run_tool(command, &arguments)
    };
    // Somebody who cannot give files away.
    fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
    let done = by(1000);
    assert_eq!((done.status, done.stdout.as_str()), (2, ""));
    assert!(
        done.stderr.contains("cannot be given to 36:36")
            && done.stderr.contains("setpriv --reuid 36"),
        "{}",
        done.stderr
    );
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    // Somebody who may not write there.
    fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    let done = by(1000);
    assert_eq!(done.status, 2);
    assert!(done.stderr.contains("Permission denied"), "{}", done.stderr);
    // VDSM itself.
    let done = by(36);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    // A directory that VDSM cannot write to is worth a word.
    let closed = target(&storage, "closed");
    chown(&closed, Some(0), Some(0)).unwrap();
    let done = create(&closed);
    assert_eq!(
        (done.status, done.stderr),
        (
            1,
            format!(
                "vdsm-hooks: {closed} belongs to 0:0 with mode 0755, and VDSM, the user 36, wants to write there: chown 36:36 {closed}\n"
            )
        )
    );
}

#[test]
fn a_full_disk() {
    let name = "a_full_disk";
    if !is_root() {
        return not_run(name, "needs root, to mount a file system");
    }
    let storage = Storage::new();
    let directory = target(&storage, "full");
    // In a mount namespace of its own, so that nothing of it stays.
    let script = "mount -t tmpfs -o size=16k,nr_inodes=${3} tmpfs \"$1\" || exit 99
        \"$2\" domain create export \"$1\" --name Export
        echo \"status $?\"
        ls -A \"$1\"";
    for inodes in 2..13 {
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh", &directory])
            .arg(env!("CARGO_BIN_EXE_vdsm-hooks"))
            .arg(inodes.to_string())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.code() == Some(99) {
            return not_run(name, &stderr);
        }
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if inodes == 12 {
            // Eleven files and directories, and the one that is mounted.
            let fits = stdout.contains("verdict:      ok") && stdout.contains("status 0\n");
            assert!(fits, "{stdout}{stderr}");
            continue;
        }
        assert_eq!(stdout, "status 2\n", "{inodes}: {stderr}");
        assert!(stderr.contains("No space left on device"), "{stderr}");
    }
}

/// The steps of a child that make something.
const STEPS: [&str; 10] = [
    "mkdirat",
    "openat",
    "write",
    "ftruncate",
    "fchown",
    "fchmod",
    "fsync",
    "renameat",
    "newfstatat",
    "close",
];

#[test]
fn killed_at_every_step_there_is_nothing_or_a_whole_domain() {
    let name = "killed_at_every_step_there_is_nothing_or_a_whole_domain";
    if !is_root() {
        return not_run(name, "needs root, to give files to VDSM");
    }
    let storage = Storage::new();
    let (mut nothing, mut whole) = (0, 0);
    let done = kill_at_every_step(&STEPS, |number, inject| {
        let directory = target(&storage, &format!("export{number}"));
        let killed = inject(&[
            "create",
            "export",
            &directory,
            "--name",
            "Export",
            "--uuid",
            EXPORT_ID,
            "--remote-path",
            EXPORT_PATH,
        ]);
        let left: Vec<_> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        match left[..] {
            [] => nothing += 1,
            // VDSM does not see it, and the next call says what to do about it.
            [ref name] if name == ".vdsm-hooks-new" => nothing += 1,
            [ref name] if name == EXPORT_ID => {
                whole += 1;
                let done = tool(&["check", &directory]);
                assert_eq!(done.status, 0, "{}", done.stdout);
                let text = fs::read_to_string(format!("{directory}/{name}/dom_md/metadata"));
                assert_eq!(text.unwrap(), EXPORT);
            }
            _ => panic!("{left:?}"),
        }
        fs::remove_dir_all(&directory).unwrap();
        killed
    });
    if let Err(reason) = done {
        return not_run(name, &reason);
    }
    // Both were seen.
    assert!(nothing > 50 && whole > STEPS.len(), "{nothing}, {whole}");
}

/// The lock as VDSM takes it when the domain is attached, by the program that VDSM runs.
#[test]
fn the_real_safelease_takes_and_releases_the_lock() {
    let name = "the_real_safelease_takes_and_releases_the_lock";
    if !is_root() {
        return not_run(name, "needs root, to give files to VDSM");
    }
    if Command::new("safelease").arg("-h").output().is_err() {
        return not_run(name, "safelease is not installed");
    }
    let storage = Storage::new();
    let directory = target(&storage, "export");
    assert_eq!(create(&directory).status, 0);
    let leases = Path::new(&directory).join(EXPORT_ID).join("dom_md/leases");
    let free = fs::read(&leases).unwrap();
    let safelease = |what: &str, arguments: &[&str]| {
        let output = Command::new("setpriv")
            .args(["--reuid=36", "--regid=36", "--clear-groups", "safelease"])
            .arg(what)
            .arg(&leases)
            .args(arguments)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        // It says 1 when it has acquired the lock; what counts is what it has written.
        let status = i32::from(what == "acquire");
        assert_eq!(
            (output.status.code(), stderr),
            (Some(status), String::new())
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let host = ["7", "2000", "1000"];
    // VDSM's user gets as far as the file.
    fs::set_permissions(storage.path(), Permissions::from_mode(0o755)).unwrap();
    // Only with all of these arguments, whatever its help says.
    let state = safelease("query", &host);
    assert!(state.starts_with("FREE:"), "{state}");
    safelease("acquire", &host);
    let state = safelease("query", &host);
    assert!(state.starts_with("LOCKED:"), "{state}");
    let done = tool(&["check", &directory]);
    assert!(
        done.stdout
            .contains("  lock:         held by host 7 since "),
        "{}",
        done.stdout
    );
    safelease("release", &["7"]);
    assert_eq!(fs::read(&leases).unwrap(), free);
    let done = tool(&["check", &directory]);
    assert!(
        done.stdout.contains("  lock:         free\n"),
        "{}",
        done.stdout
    );
}
