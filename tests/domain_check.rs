// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain check` on whole domains: files, locks, contents, volumes, bad storage; and
//! `vdsm-hooks domain of`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

use crate::{domains, json_page, support};

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};
use vdsm_hooks::storage::{Metadata, locks, write};

use domains::{
    DATA, DATA_ID, DeadMount, EXPORT, EXPORT_ID, IMAGE, POOL, Storage, VOLUME,
    assert_nobody_works_on, hand_over, is_root, make_fifo,
};

const TOOL: &str = env!("CARGO_BIN_EXE_vdsm-hooks");
const ISO: &str = include_str!("data/storage/iso.metadata");
const ISO_ID: &str = "0d1b6ae4-4f7f-4b0c-9f0c-2a6f6a4f2f11";
const ISO_FILES: &str = "images/11111111-1111-1111-1111-111111111111";
const LOCAL: &str = include_str!("data/storage/local-4k.metadata");
const LOCAL_ID: &str = "a7d9b7c6-0d0c-4b6d-9c38-1f6b3a5d2e10";
const MASTER: &str = include_str!("data/storage/master-v3.metadata");

/// Tests that give files to VDSM's user need root.
macro_rules! needs_root {
    ($name:literal) => {
        if !is_root() {
            return support::not_run($name, "needs root, to give files to VDSM");
        }
    };
}

struct Done {
    status: i32,
    stdout: String,
    stderr: String,
}

fn tool(storage: &Storage, arguments: &[&str]) -> Done {
    run(Command::new(TOOL), storage, arguments)
}

fn run(mut command: Command, storage: &Storage, arguments: &[&str]) -> Done {
    let output = command
        .arg("domain")
        .args(arguments)
        .arg("--repository")
        .arg(storage.repository())
        .current_dir("/")
        .env_remove("CLICOLOR_FORCE")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done {
        status: output.status.code().expect("killed by a signal"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// What is said about `targets`, in JSON.
fn told_of(storage: &Storage, targets: &[&str]) -> Value {
    let done = tool(storage, &[&["check", "--json"], targets].concat());
    assert_eq!(done.stderr, "");
    let answer: Value = serde_json::from_str(&done.stdout).unwrap();
    json_page::explains(&answer);
    answer
}

/// The reports on the domains among `targets`.
fn reports(storage: &Storage, targets: &[&str]) -> Vec<Value> {
    let told = told_of(storage, targets);
    told["domains"].as_array().unwrap().clone()
}

/// The report on one domain.
fn report(storage: &Storage, domain: &Path) -> Value {
    let mut all = reports(storage, &[domain.to_str().unwrap()]);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// What was found, each as `about: problem`. Every finding says what to do, and what the engine shows.
fn found(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap();
    let words = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    for finding in findings {
        let is_told = |name: &str| {
            finding[name]
                .as_str()
                .is_some_and(|words| !words.is_empty())
        };
        assert!(is_told("remedy") || is_told("advice"), "{finding:#}");
        assert!(is_told("engine"), "{finding:#}");
    }
    findings
        .iter()
        .map(|finding| format!("{}: {}", words(finding, "about"), words(finding, "problem")))
        .collect()
}

/// Runs a shell's command line in a directory.
fn inside(directory: &Path, line: &str) {
    run_shell("sh", directory, line);
}

fn run_shell(shell: &str, directory: &Path, line: &str) {
    let path = std::env::var("PATH").unwrap();
    let output = Command::new(shell)
        .args(["-euc", line])
        .current_dir(directory)
        .env(
            "PATH",
            format!("{}:{path}", Path::new(TOOL).parent().unwrap().display()),
        )
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}\n{stderr}");
}

/// The commands that a report prints, each to be run by itself.
fn remedies(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap();
    let all = [&report["remedy"]]
        .into_iter()
        .chain(findings.iter().map(|finding| &finding["remedy"]));
    all.filter_map(|remedy| remedy.as_str().map(str::to_owned))
        .collect()
}

/// Runs every command that a report on `domain` prints, as a person would who pastes them one after
/// the other; the report after that, which prints none.
fn mended(storage: &Storage, domain: &Path) -> Value {
    for remedy in remedies(&report(storage, domain)) {
        inside(Path::new("/"), &remedy);
    }
    let after = report(storage, domain);
    assert_eq!(remedies(&after), [""; 0], "{after:#}");
    after
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn domains_as_vdsm_makes_them() {
    needs_root!("domains_as_vdsm_makes_them");
    let storage = Storage::new();
    for (mount, id, metadata, facts) in [
        (
            "export",
            EXPORT_ID,
            EXPORT,
            json!({"lock": "free", "images": "1"}),
        ),
        (
            "iso",
            ISO_ID,
            ISO,
            json!({"lock": "free", "ISO files": "0"}),
        ),
        (
            "nfs",
            DATA_ID,
            DATA,
            json!({"hosts": "none", "SPM lock": "free", "images": "1"}),
        ),
        (
            "_local",
            LOCAL_ID,
            LOCAL,
            json!({"lock": "free", "images": "1"}),
        ),
        (
            "master",
            DATA_ID,
            MASTER,
            json!({"hosts": "none", "SPM lock": "free", "images": "1", "attached to": POOL}),
        ),
    ] {
        let domain = storage.whole(mount, id, metadata);
        if mount == "iso" {
            fs::remove_dir(domain.join("images").join(IMAGE)).unwrap();
        }
        let report = report(&storage, &domain);
        assert_eq!(found(&report), [""; 0], "{mount}");
        assert_eq!(
            (&report["verdict"], &report["status"]),
            (&json!("ok"), &json!(0)),
            "{mount}"
        );
        assert_eq!(report["facts"], facts, "{mount}");
    }
}

/// What mends something.
#[derive(Clone, Copy, PartialEq)]
enum By {
    /// The command that is printed with it.
    Command,
    /// That, which is one of sanlock's.
    Sanlock,
    /// Only a person, who is told what to do.
    Hand,
}

/// What is changed in a whole domain, what is found then, and what mends it.
type Row = (&'static str, fn(&Path), &'static str, By);

#[test]
fn what_is_wrong_with_files_and_what_mends_it() {
    needs_root!("what_is_wrong_with_files_and_what_mends_it");
    let storage = Storage::new();
    let rows: &[Row] = &[
        (
            EXPORT,
            |dir| set_mode(&dir.join("dom_md/ids"), 0o644),
            "dom_md/ids: mode 0644, expected 0660",
            By::Command,
        ),
        (
            EXPORT,
            |dir| set_mode(&dir.join("dom_md/metadata"), 0o600),
            "dom_md/metadata: mode 0600, expected 0644",
            By::Command,
        ),
        (
            EXPORT,
            |dir| set_mode(&dir.join("dom_md"), 0o700),
            "dom_md: mode 0700, expected 0755",
            By::Command,
        ),
        (
            EXPORT,
            |dir| set_mode(dir, 0o700),
            ".: mode 0700, expected 0755",
            By::Command,
        ),
        (
            EXPORT,
            |dir| inside(dir, "chown 0:0 . dom_md/inbox"),
            "owner: expected 36:36 for . (0:0), dom_md/inbox (0:0)",
            By::Command,
        ),
        (
            EXPORT,
            |dir| fs::remove_file(dir.join("dom_md/ids")).unwrap(),
            "dom_md/ids: missing",
            By::Command,
        ),
        (
            EXPORT,
            |dir| fs::remove_file(dir.join("dom_md/leases")).unwrap(),
            "dom_md/leases: missing",
            By::Command,
        ),
        (
            EXPORT,
            |dir| fs::remove_file(dir.join("dom_md/inbox")).unwrap(),
            "dom_md/inbox: missing",
            By::Command,
        ),
        (
            EXPORT,
            |dir| inside(dir, "truncate -s 1M dom_md/outbox"),
            "dom_md/outbox: 1048576 bytes, expected at least 16777216",
            By::Command,
        ),
        (
            EXPORT,
            |dir| inside(dir, "truncate -s 0 dom_md/leases"),
            "dom_md/leases: 0 bytes, expected at least 512",
            By::Command,
        ),
        (
            EXPORT,
            |dir| inside(dir, "yes | head -c 512 > dom_md/leases"),
            "dom_md/leases: no record of safelease",
            By::Command,
        ),
        (
            EXPORT,
            |dir| {
                fs::remove_file(dir.join("dom_md/ids")).unwrap();
                make_fifo(&dir.join("dom_md/ids"));
            },
            "dom_md/ids: a FIFO, expected a file",
            By::Command,
        ),
        (
            EXPORT,
            |dir| fs::remove_dir_all(dir.join("images")).unwrap(),
            "images: missing",
            By::Command,
        ),
        (
            EXPORT,
            |dir| {
                inside(
                    dir,
                    "install -d -o 36 -g 36 images/_remove_me_4351c1d2-0d5e-469e-ab98-a0b31d7780e4",
                );
            },
            "images/_remove_me_4351c1d2-0d5e-469e-ab98-a0b31d7780e4: left over from an image that was deleted",
            By::Command,
        ),
        (
            EXPORT,
            |dir| {
                inside(
                    dir,
                    "install -d -o 36 -g 36 master master/vms master/vms/4351c1d2-0d5e-469e-ab98-a0b31d7780e4",
                );
            },
            "master/vms/4351c1d2-0d5e-469e-ab98-a0b31d7780e4/4351c1d2-0d5e-469e-ab98-a0b31d7780e4.ovf: missing or empty, so that the engine cannot list what was exported",
            By::Command,
        ),
        (
            ISO,
            |dir| {
                inside(
                    dir,
                    "install -m 600 -o 36 -g 36 /dev/null images/11111111-1111-1111-1111-111111111111/a.iso",
                );
            },
            "images/11111111-1111-1111-1111-111111111111/a.iso: mode 0600 and group 36 keep it from the VMs: it has to be readable for all, or for the group kvm (36) or qemu (107)",
            By::Command,
        ),
        (
            ISO,
            |dir| {
                inside(
                    dir,
                    "mkdir images/11111111-1111-1111-1111-111111111111/sub; install -m 640 -g 0 /dev/null images/11111111-1111-1111-1111-111111111111/sub/a.iso",
                );
            },
            "images/11111111-1111-1111-1111-111111111111/sub/a.iso: mode 0640 and group 0 keep it from the VMs: it has to be readable for all, or for the group kvm (36) or qemu (107)",
            By::Command,
        ),
        (
            ISO,
            |dir| fs::remove_dir(dir.join(ISO_FILES)).unwrap(),
            "images/11111111-1111-1111-1111-111111111111: missing",
            By::Command,
        ),
        (
            ISO,
            |dir| fs::remove_dir_all(dir.join("images")).unwrap(),
            "images: missing",
            By::Command,
        ),
        (
            DATA,
            |dir| fs::remove_file(dir.join("dom_md/xleases")).unwrap(),
            "dom_md/xleases: missing",
            By::Command,
        ),
        (
            DATA,
            |dir| inside(dir, "truncate -s 512 dom_md/leases"),
            "dom_md/leases: 512 bytes, expected at least 2097152",
            By::Sanlock,
        ),
        (
            DATA,
            |dir| inside(dir, "truncate -s 0 dom_md/ids; truncate -s 1M dom_md/ids"),
            "dom_md/ids: no lockspace of sanlock",
            By::Sanlock,
        ),
        (
            DATA,
            |dir| inside(dir, "sed -i s/75f8/85f8/ dom_md/ids"),
            "dom_md/ids: the lockspace is called \"85f8a1bb-4504-4314-91ca-d9365a30692b\", expected 75f8a1bb-4504-4314-91ca-d9365a30692b",
            By::Sanlock,
        ),
        (
            DATA,
            |dir| inside(dir, "sed -i s/SDM/XDM/ dom_md/leases"),
            "dom_md/leases: the resource is called \"XDM\", expected SDM",
            By::Sanlock,
        ),
        (
            DATA,
            |dir| inside(dir, "sed -i s/75f8/85f8/ dom_md/xleases"),
            "dom_md/xleases: the lockspace is called \"85f8a1bb-4504-4314-91ca-d9365a30692b\", expected 75f8a1bb-4504-4314-91ca-d9365a30692b",
            By::Command,
        ),
        (
            DATA,
            |dir| {
                inside(
                    dir,
                    "truncate -s 0 dom_md/xleases; truncate -s 2M dom_md/xleases",
                );
            },
            "dom_md/xleases: no index of leases",
            By::Command,
        ),
        (
            DATA,
            |dir| inside(dir, "truncate -s 1M dom_md/xleases"),
            "dom_md/xleases: 1048576 bytes, expected at least 1302528",
            By::Command,
        ),
        (
            DATA,
            |dir| inside(dir, "rm dom_md/xleases; mkdir dom_md/xleases"),
            "dom_md/xleases: a directory, expected a file",
            By::Command,
        ),
        (
            DATA,
            |dir| inside(dir, "rm dom_md/leases; ln -s /dev/null dom_md/leases"),
            "dom_md/leases: a symbolic link, expected a file",
            By::Sanlock,
        ),
        (
            DATA,
            |dir| {
                inside(
                    dir,
                    "printf u | dd of=dom_md/xleases bs=1 seek=1048646 conv=notrunc status=none",
                );
            },
            "dom_md/xleases: the index is marked as being changed",
            By::Hand,
        ),
        (
            LOCAL,
            |dir| fs::remove_file(dir.join("dom_md/ids")).unwrap(),
            "dom_md/ids: missing",
            By::Command,
        ),
        (
            EXPORT,
            |dir| {
                inside(
                    dir,
                    "install -d -o 36 -g 36 master master/vms master/vms/x; : > master/vms/x/x.ovf",
                );
            },
            "master/vms/x/x.ovf: missing or empty, so that the engine cannot list what was exported",
            By::Command,
        ),
        (
            EXPORT,
            |dir| {
                inside(
                    dir,
                    "install -d -o 36 -g 36 master master/vms master/vms/x; : > master/vms/x/note",
                );
            },
            "master/vms/x/x.ovf: missing or empty, so that the engine cannot list what was exported",
            By::Hand,
        ),
        (
            EXPORT,
            |dir| inside(dir, "mv images elsewhere; ln -s elsewhere images"),
            "images: a symbolic link, expected a directory",
            By::Hand,
        ),
    ];
    let sanlock = Command::new("sanlock").arg("-h").output().is_ok();
    if !sanlock {
        support::not_run(
            "what_is_wrong_with_files_and_what_mends_it, with sanlock's commands",
            "sanlock is not installed",
        );
    }
    for (number, (metadata, change, problem, by)) in rows.iter().enumerate() {
        let id = metadata
            .lines()
            .find_map(|line| line.strip_prefix("SDUUID="))
            .unwrap();
        let domain = storage.whole(&format!("nas:_{number}"), id, metadata);
        if *metadata == ISO {
            fs::remove_dir(domain.join("images").join(IMAGE)).unwrap();
        }
        change(&domain);
        // sed -i makes a new file.
        if *metadata == DATA {
            hand_over(&domain);
        }
        let before = report(&storage, &domain);
        assert_eq!(found(&before), [*problem]);
        assert_eq!(before["status"], 1, "{problem}");
        match by {
            By::Hand => {
                assert_eq!(remedies(&before), [""; 0], "{problem}");
                assert!(before["findings"][0]["advice"].is_string(), "{problem}");
            }
            By::Sanlock if !sanlock => {}
            By::Command | By::Sanlock => {
                assert_eq!(remedies(&before).len(), 1, "{problem}");
                let after = mended(&storage, &domain);
                assert_eq!(found(&after), [""; 0], "{problem}");
                assert_eq!(after["status"], 0, "{problem}");
            }
        }
    }
}

/// The index that VDSM would have written, with these leases: the number of each, and its name.
fn index_of(space: &str, unit: u64, leases: &[(usize, &str)]) -> Vec<u8> {
    // >i x 4s x 48s x 10s x c 440x c, and 48s x 11s x 3c for each of 3960 records.
    let padded = |text: &str, length: usize| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(length, 0);
        bytes
    };
    let mut index = 0x1215_2016_u32.to_be_bytes().to_vec();
    index.extend(b"\x000001\0");
    index.extend(padded(space, 48));
    index.extend(b"\x000000000000\0-");
    index.extend([0; 440]);
    index.push(b'\n');
    for number in 0..3960 {
        let lease = leases.iter().find(|(known, _)| *known == number);
        let (name, offset) = lease.map_or(("", 0), |(_, name)| (*name, (3 + number as u64) * unit));
        index.extend(padded(name, 49));
        index.extend(format!("{offset:011}\0--\n").as_bytes());
    }
    assert_eq!(index.len(), 62 * 4096);
    index
}

/// The command for a lost index writes VDSM's own to the byte, in whichever shell, and names the leases
/// that are in the file: those that the index does not name VDSM would delete.
#[test]
fn the_index_of_leases_is_written_anew() {
    needs_root!("the_index_of_leases_is_written_anew");
    let storage = Storage::new();
    let (mut large, _) = Metadata::read(LOCAL);
    large.set("TYPE", "GLUSTERFS").unwrap();
    let large = write(&large);
    let empty: &[(usize, &str)] = &[];
    let two: &[(usize, &str)] = &[(0, "vm-1"), (7, "4351c1d2-0d5e-469e-ab98-a0b31d7780e4")];
    let mut number = 0;
    for (id, metadata, unit) in [(DATA_ID, DATA, 1_u64 << 20), (LOCAL_ID, &large, 2 << 20)] {
        for (leases, damage) in [
            (empty, "rm xleases"),
            (empty, ": > xleases"),
            (
                two,
                "dd if=/dev/zero of=xleases bs=512 seek=2048 count=500 conv=notrunc status=none",
            ),
            (
                two,
                "dd if=/dev/zero of=xleases bs=512 seek=4096 count=500 conv=notrunc status=none",
            ),
        ] {
            for shell in ["sh", "bash"] {
                number += 1;
                let domain = storage.whole(&format!("nas:_{number}'s x"), id, metadata);
                let dom_md = domain.join("dom_md");
                let file = dom_md.join("xleases");
                let lease = fs::read(dom_md.join("leases")).unwrap()
                    [usize::try_from(unit).unwrap()..][..512]
                    .to_vec();
                let mut content = fs::read(&file).unwrap();
                for (number, name) in leases {
                    let at = usize::try_from((3 + *number as u64) * unit).unwrap();
                    content.resize(content.len().max(at + usize::try_from(unit).unwrap()), 0);
                    let mut lease = lease.clone();
                    lease[0x68..0x68 + 48].fill(0);
                    lease[0x68..0x68 + name.len()].copy_from_slice(name.as_bytes());
                    content[at..at + 512].copy_from_slice(&lease);
                }
                fs::write(&file, &content).unwrap();
                inside(&dom_md, damage);
                let before = report(&storage, &domain);
                if found(&before).is_empty() {
                    // The other size of a unit.
                    continue;
                }
                let commands = remedies(&before);
                assert_eq!(commands.len(), 1, "{before:#}");
                run_shell(shell, Path::new("/"), &commands[0]);
                let after = report(&storage, &domain);
                assert_eq!(found(&after), [""; 0], "{damage}");
                let count = (!leases.is_empty()).then(|| leases.len().to_string());
                assert_eq!(after["facts"]["leases"].as_str(), count.as_deref());
                let now = fs::read(&file).unwrap();
                let at = usize::try_from(unit).unwrap();
                assert_eq!(
                    now[at..][..62 * 4096],
                    index_of(id, unit, leases),
                    "{damage}"
                );
                // Nothing else has changed.
                if !leases.is_empty() {
                    assert_eq!(now.len(), content.len());
                    assert_eq!(now[at + 62 * 4096..], content[at + 62 * 4096..]);
                }
            }
        }
    }
    // A name that has no place in a command, and a directory that is called otherwise.
    let domain = storage.whole("nas:_odd", DATA_ID, DATA);
    let file = domain.join("dom_md/xleases");
    let mut content = fs::read(&file).unwrap();
    let mut lease = fs::read(domain.join("dom_md/leases")).unwrap()[1 << 20..][..512].to_vec();
    lease[0x68..0x6c].copy_from_slice(b"$(x)");
    content.resize(4 << 20, 0);
    content[3 << 20..][..512].copy_from_slice(&lease);
    content[1 << 20..][..512].fill(0);
    fs::write(&file, &content).unwrap();
    let odd = report(&storage, &domain);
    assert_eq!(found(&odd), ["dom_md/xleases: no index of leases"]);
    assert_eq!(remedies(&odd), [""; 0]);
    let named = storage.whole("nas:_named", "a-b-c-d-$(touch x)-0123456789abcdefg", DATA);
    for name in ["ids", "leases"] {
        fs::write(named.join("dom_md").join(name), "").unwrap();
    }
    fs::remove_file(named.join("dom_md/xleases")).unwrap();
    let odd = report(&storage, &named);
    assert_eq!(found(&odd).len(), 4, "{odd:#}");
    assert_eq!(remedies(&odd), [""; 0]);
}

#[test]
fn locks_and_other_facts() {
    needs_root!("locks_and_other_facts");
    let storage = Storage::new();
    let export = storage.whole("export", EXPORT_ID, EXPORT);
    for (record, words) in [
        (
            &b"1               0004f9451493a840"[..],
            "held by host 1 since 2014-05-13 09:56:40 UTC",
        ),
        (
            b"",
            "never used, the first host to attach the domain waits 140 s",
        ),
    ] {
        let mut record = record.to_vec();
        record.resize(512, 0);
        fs::write(export.join("dom_md/leases"), record).unwrap();
        let report = report(&storage, &export);
        assert_eq!(
            (&report["facts"]["lock"], &report["status"]),
            (&json!(words), &json!(0))
        );
    }
    let iso = storage.whole("iso", ISO_ID, ISO);
    fs::write(iso.join("dom_md/leases"), [0; 512]).unwrap();
    let lock = &report(&storage, &iso)["facts"]["lock"];
    assert_eq!(
        *lock,
        "never used, the first host to attach the domain waits 13 s"
    );
    // Two hosts, the second of which manages the pool.
    let data = storage.whole("data", DATA_ID, DATA);
    let taken = |file: &str, at: usize, host: u8, name: &str| {
        let path = data.join("dom_md").join(file);
        let mut content = fs::read(&path).unwrap();
        let from = if file == "ids" { 0 } else { at };
        let sector = content[from..from + 512].to_vec();
        content[at..at + 512].copy_from_slice(&sector);
        content[at + 0x20] = host;
        content[at + 0x98] = 1;
        if !name.is_empty() {
            content[at + 0x68..at + 0x68 + name.len()].copy_from_slice(name.as_bytes());
        }
        fs::write(&path, content).unwrap();
    };
    taken("ids", 512, 2, "two");
    taken("ids", 0, 1, "one");
    taken("leases", 1 << 20, 2, "");
    let report_on = |domain: &Path| report(&storage, domain);
    let report = report_on(&data);
    assert_eq!(found(&report), [""; 0]);
    assert_eq!(report["facts"]["hosts"], "1 (one), 2 (two)");
    assert_eq!(report["facts"]["SPM lock"], "held by host 2");
    // A lease of its own for a VM, where the index says, and one that is called otherwise.
    let xleases = data.join("dom_md/xleases");
    let mut content = fs::read(&xleases).unwrap();
    content.resize(6 << 20, 0);
    let mut lease = fs::read(data.join("dom_md/leases")).unwrap()[1 << 20..][..512].to_vec();
    lease[0x68..0x6c].copy_from_slice(b"vm-1");
    content[(1 << 20) + 512 + 64..][..4].copy_from_slice(b"vm-1");
    content[4 << 20..][..512].copy_from_slice(&lease);
    fs::write(&xleases, &content).unwrap();
    let sound = report_on(&data);
    assert_eq!(found(&sound), [""; 0]);
    assert_eq!(sound["facts"]["leases"], "1");
    for number in [0, 2] {
        content[(1 << 20) + 512 + 64 * number..][..4].copy_from_slice(b"vm-2");
    }
    content[5 << 20..][..512].copy_from_slice(&lease);
    fs::write(&xleases, &content).unwrap();
    assert_eq!(
        found(&report_on(&data)),
        [
            "dom_md/xleases: no resource of sanlock at 3145728, expected \"vm-2\"",
            "dom_md/xleases: the resource is called \"vm-1\", expected vm-2"
        ]
    );
    // sanlock's own command makes both, but not what a host holds.
    assert_eq!(remedies(&report_on(&data)).len(), 1);
    content[(5 << 20) + 0x98] = 0;
    fs::write(&xleases, &content).unwrap();
    if Command::new("sanlock").arg("-h").output().is_err() {
        support::not_run(
            "locks_and_other_facts, with sanlock",
            "sanlock is not installed",
        );
    } else {
        let after = mended(&storage, &data);
        assert_eq!(found(&after), [""; 0]);
        assert_eq!(after["facts"]["leases"], "3");
    }
    // An attached export domain says how to let go of an engine that is no more.
    let attached = EXPORT
        .replace("POOL_UUID=", &format!("POOL_UUID={POOL}"))
        .replace(
            "5737f1270bf93fdd660fea819655b01a34c315b9",
            "6e39683f46182b2520a541086f822f0ee0169154",
        );
    let attached = storage.whole("attached", EXPORT_ID, &attached);
    let file = attached.join("dom_md/metadata");
    let done = tool(&storage, &["check", attached.to_str().unwrap()]);
    let line = format!(
        "  attached to:  {POOL}; if that is no more: vdsm-hooks domain release {}\n",
        file.display()
    );
    assert!(
        done.status == 0 && done.stdout.contains(&line),
        "{}",
        done.stdout
    );
    // What is left of a write that was cut off.
    fs::write(attached.join("dom_md/metadata.new"), "").unwrap();
    let done = tool(&storage, &["check", attached.to_str().unwrap()]);
    assert!(
        done.stdout
            .contains("remnant:      dom_md/metadata.new, harmless\n"),
        "{}",
        done.stdout
    );
}

/// Whom the locks belong to, and how large they are, the metadata says: where that is wrong, what is
/// printed must not write any.
#[test]
fn no_lock_is_made_after_metadata_that_is_wrong() {
    needs_root!("no_lock_is_made_after_metadata_that_is_wrong");
    let storage = Storage::new();
    let sealed = |text: &str, changes: &[(&str, &str)]| {
        let (mut metadata, _) = Metadata::read(text);
        for (key, value) in changes {
            metadata.set(key, value).unwrap();
        }
        write(&metadata)
    };
    let metadata_first =
        "mend the metadata first, then check again: it says what belongs into this file";
    let rows = [
        // Two edits, which no seal proves.
        (
            EXPORT_ID,
            EXPORT.replace("VERSION=0", "VERSION=3"),
            metadata_first,
        ),
        (
            DATA_ID,
            sealed(DATA, &[("ALIGNMENT", "2097152")]),
            metadata_first,
        ),
        (
            DATA_ID,
            sealed(DATA, &[("ALIGNMENT", "512")]),
            metadata_first,
        ),
        (
            DATA_ID,
            sealed(DATA, &[("BLOCK_SIZE", "4096"), ("ALIGNMENT", "3000000")]),
            metadata_first,
        ),
        (
            ISO_ID,
            DATA.to_owned(),
            "find out first which of its two ids is the domain's: the locks may be right",
        ),
    ];
    for (number, (id, metadata, advice)) in rows.iter().enumerate() {
        let domain = storage.whole(&format!("nas:_{number}"), id, DATA);
        fs::write(domain.join("dom_md/metadata"), metadata).unwrap();
        for lock in ["ids", "leases", "xleases"] {
            fs::write(domain.join("dom_md").join(lock), "").unwrap();
        }
        let report = report(&storage, &domain);
        let findings = report["findings"].as_array().unwrap();
        let of_locks = findings.iter().filter(|finding| {
            let about = finding["about"].as_str().unwrap();
            about.starts_with("dom_md/")
        });
        let of_locks: Vec<_> = of_locks.collect();
        assert!(of_locks.len() > 1, "{metadata}\n{report:#}");
        for finding in of_locks {
            assert_eq!(finding["remedy"], Value::Null, "{metadata}");
            assert_eq!(finding["advice"], *advice, "{metadata}");
        }
    }
    // What the seal proves is taken in place of what stands there.
    let proved = storage.whole("proved", DATA_ID, DATA);
    let edited = DATA.replace("VERSION=5", "VERSION=0");
    fs::write(proved.join("dom_md/metadata"), edited).unwrap();
    let before = report(&storage, &proved);
    assert_eq!(found(&before), [""; 0]);
    assert_eq!(before["facts"]["SPM lock"], "free");
    assert_eq!(mended(&storage, &proved)["status"], 0);
    // An empty dom_md would be a domain for VDSM, and a broken one.
    fs::remove_dir_all(proved.join("dom_md")).unwrap();
    let without = report(&storage, &proved);
    assert_eq!(found(&without), ["dom_md: missing"]);
    assert_eq!(remedies(&without), [""; 0]);
}

#[test]
fn no_lock_is_taken_from_who_holds_it() {
    needs_root!("no_lock_is_taken_from_who_holds_it");
    let storage = Storage::new();
    let with_host = |mount: &str| {
        let domain = storage.whole(mount, DATA_ID, DATA);
        let ids = domain.join("dom_md/ids");
        let mut content = fs::read(&ids).unwrap();
        let mut sector = content[..512].to_vec();
        sector[0x68..0x6b].copy_from_slice(b"two");
        sector[0x98] = 1;
        content[512..1024].copy_from_slice(&sector);
        fs::write(&ids, &content).unwrap();
        domain
    };
    let advice = |report: &Value| {
        assert_eq!(remedies(report), [""; 0], "{report:#}");
        report["findings"][0]["advice"].as_str().unwrap().to_owned()
    };
    let in_use = "put the domain into maintenance, then check again: in use by the hosts 2 (two)";
    // The first sector is what says that it is a lockspace.
    let damaged = with_host("damaged");
    inside(
        &damaged,
        "dd if=/dev/zero of=dom_md/ids bs=512 count=1 conv=notrunc status=none",
    );
    let seen = report(&storage, &damaged);
    assert_eq!(seen["facts"]["hosts"], "2 (two)");
    assert_eq!(found(&seen), ["dom_md/ids: no lockspace of sanlock"]);
    assert!(advice(&seen).starts_with(in_use), "{seen:#}");
    // Those of another name.
    let foreign = with_host("foreign");
    inside(&foreign, "sed -i s/75f8/85f8/ dom_md/ids");
    hand_over(&foreign);
    let seen = report(&storage, &foreign);
    assert_eq!(seen["facts"]["hosts"], "2 (two)");
    assert!(advice(&seen).starts_with(in_use), "{seen:#}");
    // While the leases are gone.
    let gone = with_host("gone");
    fs::remove_file(gone.join("dom_md/leases")).unwrap();
    let seen = report(&storage, &gone);
    assert_eq!(found(&seen), ["dom_md/leases: missing"]);
    assert!(advice(&seen).starts_with(in_use), "{seen:#}");
    // The storage pool manager's, which is called otherwise.
    let held = storage.whole("held", DATA_ID, DATA);
    inside(
        &held,
        "sed -i s/SDM/XDM/ dom_md/leases; printf 1 | dd of=dom_md/leases bs=1 seek=1048728 conv=notrunc status=none",
    );
    hand_over(&held);
    let words = advice(&report(&storage, &held));
    assert!(
        words.contains("held by host 0 as the storage pool manager"),
        "{words}"
    );
    // The metadata is no witness for the lock where it is what is broken.
    let edited = with_host("edited");
    let metadata = edited.join("dom_md/metadata");
    for text in [
        DATA.replace("VERSION=5", "VERSION=0"),
        DATA.replace("VERSION=5", "VERSION=0")
            .replace("data1", "x1"),
    ] {
        fs::write(&metadata, &text).unwrap();
        let told = report(&storage, &edited);
        let first = told["advice"].as_str().unwrap();
        assert!(
            first.starts_with("put the domain into maintenance first: in use by the hosts "),
            "{first}"
        );
        for remedy in ["remedy", "other_remedy"] {
            let Some(remedy) = told[remedy].as_str() else {
                continue;
            };
            let arguments: Vec<&str> = remedy.split(' ').skip(2).collect();
            let done = tool(&storage, &arguments);
            assert_eq!(done.status, 2, "{}", done.stdout);
            assert!(
                done.stderr.contains("in use by the hosts "),
                "{}",
                done.stderr
            );
        }
        assert_eq!(fs::read_to_string(&metadata).unwrap(), text);
    }
}

/// Who can write to the storage chooses names.
#[test]
fn names_that_a_terminal_would_obey() {
    needs_root!("names_that_a_terminal_would_obey");
    let storage = Storage::new();
    let odd = "n\u{1b}[31mas'\n $(false) %s";
    let domain = storage.whole(odd, EXPORT_ID, EXPORT);
    let edited = EXPORT.replace("ROLE=Regular", "ROLE=Master");
    fs::write(domain.join("dom_md/metadata"), edited).unwrap();
    set_mode(&domain.join("dom_md/ids"), 0o600);
    let remnant = OsStr::from_bytes(b"_remove_me_\xe9\x1b[31m\n'x");
    fs::create_dir(domain.join("images").join(remnant)).unwrap();
    fs::create_dir(domain.join("images/_remove_me_other")).unwrap();
    hand_over(&domain);
    set_mode(&domain.join("dom_md/ids"), 0o600);
    let done = tool(&storage, &["check", domain.to_str().unwrap()]);
    assert_eq!(done.status, 2);
    for line in done.stdout.lines() {
        assert!(!line.contains('\u{1b}'), "{line:?}");
        assert!(line.starts_with("  ") || line.starts_with('/'), "{line:?}");
    }
    let printed = done.stdout.lines().filter_map(|line| {
        let (name, command) = line.split_once(": ")?;
        (name.trim() == "mend").then(|| command.trim().to_owned())
    });
    let printed: Vec<String> = printed.collect();
    assert_eq!(printed.len(), 4, "{printed:#?}");
    for command in printed {
        inside(Path::new("/"), &command);
    }
    let after = tool(&storage, &["check", domain.to_str().unwrap()]);
    assert_eq!(after.status, 0, "{}", after.stdout);
    let shown = tool(&storage, &["show", EXPORT_ID]);
    assert!(!shown.stdout.contains('\u{1b}') && shown.stdout.contains("n\\u{1b}[31mas'\\n "));
}

#[test]
fn the_record_of_a_free_lock() {
    let storage = Storage::new();
    let file = storage.path().join("leases");
    fs::write(&file, locks::free_record()).unwrap();
    let sum = Command::new("sha256sum").arg(&file).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let digest = "7e99d26d9f01b4cc860aeea54913bdde114cfdceb37a157867388ccfc5e62190";
    assert_eq!(sum.split(' ').next(), Some(digest));
}

#[test]
fn locks_that_sanlock_and_safelease_wrote() {
    let name = "locks_that_sanlock_and_safelease_wrote";
    needs_root!("locks_that_sanlock_and_safelease_wrote");
    let run = |program: &str, arguments: &[&str], directory: &Path| {
        let mut command = Command::new(program);
        let output = command.args(arguments).current_dir(directory).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {output:?}"
        );
    };
    for program in ["sanlock", "safelease"] {
        if Command::new(program).arg("-h").output().is_err() {
            return support::not_run(name, &format!("{program} is not installed"));
        }
    }
    let storage = Storage::new();
    // Sectors of 4096 bytes, in units of 2 MiB.
    let (mut large, _) = Metadata::read(LOCAL);
    large.set("TYPE", "GLUSTERFS").unwrap();
    let large = write(&large);
    for (mount, id, metadata) in [
        ("v5", DATA_ID, DATA),
        ("v3", DATA_ID, MASTER),
        ("4k", LOCAL_ID, &large),
    ] {
        let data = storage.whole(mount, id, metadata);
        let dom_md = data.join("dom_md");
        for lock in ["ids", "leases"] {
            fs::write(dom_md.join(lock), "").unwrap();
        }
        let empty = report(&storage, &data);
        let findings = empty["findings"].as_array().unwrap();
        assert_eq!(findings.len(), 2, "{findings:?}");
        for finding in findings {
            inside(Path::new("/"), finding["remedy"].as_str().unwrap());
        }
        let free = report(&storage, &data);
        assert_eq!(found(&free), [""; 0]);
        assert_eq!(
            (&free["facts"]["hosts"], &free["facts"]["SPM lock"]),
            (&json!("none"), &json!("free"))
        );
        let unit = if metadata == large { 2 << 20 } else { 1 << 20 };
        let resource = format!("{id}:SDM:leases:{unit}");
        let take = ["direct", "acquire", "-i", "2", "-g", "1", "-r", &resource];
        run("sanlock", &take, &dom_md);
        let held = report(&storage, &data);
        assert_eq!(found(&held), [""; 0]);
        assert_eq!(held["facts"]["SPM lock"], "held by host 2");
    }
    let export = storage.whole("export", EXPORT_ID, EXPORT);
    let dom_md = export.join("dom_md");
    let lock = || report(&storage, &export)["facts"]["lock"].to_string();
    // Its status is not 0 even where it gets the lock; the record counts.
    let acquired = Command::new("safelease")
        .args(["acquire", "leases", "7", "2000", "1000"])
        .current_dir(&dom_md)
        .output();
    assert_eq!(acquired.unwrap().stderr, b"");
    assert!(
        lock().starts_with("\"held by host 7 since 20"),
        "{}",
        lock()
    );
    run("safelease", &["release", "leases", "7"], &dom_md);
    assert_eq!(lock(), "\"free\"");
}

#[test]
fn the_seal_and_what_mends_it() {
    let storage = Storage::new();
    let padded = storage.domain("a", EXPORT_ID, EXPORT.replace("=Export\n", "=Export \n"));
    let done = tool(&storage, &["check", padded.to_str().unwrap()]);
    let mend = format!(
        "  mend:         vdsm-hooks domain seal {}\n",
        padded.join("dom_md/metadata").display()
    );
    assert!(
        done.status == 2 && done.stdout.contains(&mend),
        "{}",
        done.stdout
    );
    // What a seal does not change it is not offered for: that a script sees it otherwise stays.
    let commented = storage.domain("c", EXPORT_ID, EXPORT.replace("_SHA", "#_SHA"));
    let before = report(&storage, &commented);
    assert!(before["remedy"].is_string(), "{before:#}");
    inside(Path::new("/"), before["remedy"].as_str().unwrap());
    let after = report(&storage, &commented);
    assert_eq!(after["verdict"], "ok");
    assert_ne!(after["otherwise"], json!([]));
    assert_eq!(after["remedy"], Value::Null);
    // Nor where lines are gone that VDSM needs, but what the seal proves comes back.
    let cut = storage.domain("d", EXPORT_ID, &EXPORT[..40]);
    let told = report(&storage, &cut);
    assert_eq!(told["remedy"], Value::Null);
    let advice = told["advice"].as_str().unwrap();
    assert!(advice.starts_with("put the lost lines back"), "{advice}");
    let without = EXPORT.replace("\nVERSION=0\n", "\n");
    let lost = storage.domain("e", EXPORT_ID, without);
    let told = report(&storage, &lost);
    let advice = told["findings"][0]["advice"].as_str().unwrap();
    assert_eq!(
        advice,
        "'vdsm-hooks domain seal --restore' puts back what was sealed"
    );
    inside(Path::new("/"), told["remedy"].as_str().unwrap());
    assert_eq!(report(&storage, &lost)["verdict"], "ok");
    // A name that a shell would split.
    let odd = storage.domain("a b", EXPORT_ID, EXPORT.replace("_SHA", "#_SHA"));
    let done = tool(&storage, &["check", odd.to_str().unwrap()]);
    let mend = format!("domain seal '{}'\n", odd.join("dom_md/metadata").display());
    assert!(done.stdout.contains(&mend), "{}", done.stdout);
}

#[test]
fn by_id_all_of_a_host_and_several_in_a_mount() {
    needs_root!("by_id_all_of_a_host_and_several_in_a_mount");
    let storage = Storage::new();
    let export = storage.whole("nas:_export", EXPORT_ID, EXPORT);
    let gluster = storage.whole("glusterSD/host:_vol", DATA_ID, DATA);
    fs::create_dir(storage.mount("nas:_empty")).unwrap();
    let file = |domain: &Path| domain.join("dom_md/metadata").display().to_string();
    let by_id = reports(&storage, &[DATA_ID, EXPORT_ID]);
    assert_eq!(by_id[0]["file"], file(&gluster));
    assert_eq!(by_id[1]["file"], file(&export));
    let all = told_of(&storage, &["--all"]);
    let domains = all["domains"].as_array().unwrap();
    let files: Vec<&Value> = domains.iter().map(|report| &report["file"]).collect();
    assert_eq!(files, [&json!(file(&export)), &json!(file(&gluster))]);
    let vacant = &all["vacant"][0];
    let empty = storage.mount("nas:_empty").display().to_string();
    assert_eq!(
        (&vacant["path"], &vacant["status"]),
        (&json!(empty), &json!(1))
    );
    assert_eq!(
        found(vacant),
        ["mount: nothing is mounted there, and no storage domain is in it"]
    );
    let nowhere = "99999999-5445-4bc3-8675-ceff4637e8e3";
    let done = tool(&storage, &["check", nowhere]);
    assert_eq!((done.status, done.stdout.as_str()), (2, ""));
    assert!(
        done.stderr.starts_with(&format!(
            "vdsm-hooks: storage domain {nowhere}: found nowhere under "
        )),
        "{}",
        done.stderr
    );
    assert_eq!(tool(&storage, &["check"]).status, 64);
    // Two domains in one mount are looked at, and each of them says so.
    let second = storage.whole("nas:_export", ISO_ID, ISO);
    fs::remove_dir(second.join("images").join(IMAGE)).unwrap();
    let both = reports(&storage, &[storage.mount("nas:_export").to_str().unwrap()]);
    let beside = |other: &str| {
        format!(".: VDSM sees one domain only in a mount, and there are others beside it: {other}")
    };
    assert_eq!(found(&both[0]), [beside(EXPORT_ID)]);
    assert_eq!(found(&both[1]), [beside(ISO_ID)]);
}

#[test]
fn two_hundred_domains_beside_a_dead_one() {
    let name = "two_hundred_domains_beside_a_dead_one";
    let storage = Storage::new();
    for number in 0..200 {
        storage.domain(&format!("nas:_{number:03}"), EXPORT_ID, EXPORT);
    }
    let all = told_of(&storage, &["--all"]);
    assert_eq!(all["domains"].as_array().unwrap().len(), 200);
    // They have one id.
    assert_eq!(all["copies"][0]["path"], EXPORT_ID);
    let mount = storage.mount("nas:_dead");
    let dead = match DeadMount::on(&mount) {
        Ok(dead) => dead,
        Err(reason) => return support::not_run(name, &reason),
    };
    let done = tool(&storage, &["check", "--all", "--timeout", "5"]);
    assert_eq!(done.stdout.matches("verdict:      ok").count(), 200);
    assert_eq!(
        done.stderr,
        format!("vdsm-hooks: {}: no answer in time\n", mount.display())
    );
    assert_eq!(done.status, 2);
    drop(dead);
    assert_nobody_works_on(storage.path());
}

#[test]
fn a_blocked_domain_delays_nobody() {
    let name = "a_blocked_domain_delays_nobody";
    let storage = Storage::new();
    for number in 0..40 {
        storage.domain(&format!("nas:_{number:03}"), EXPORT_ID, EXPORT);
    }
    // The first one, and more of them than are read at the same time.
    let dead: Result<Vec<DeadMount>, String> = (0..40)
        .map(|number| DeadMount::on(&storage.mount(&format!("dead:_{number:03}"))))
        .collect();
    let dead = match dead {
        Ok(dead) => dead,
        Err(reason) => return support::not_run(name, &reason),
    };
    let mut check = Command::new(TOOL)
        .args(["domain", "check", "--all", "--volumes", "--timeout", "3600"])
        .arg("--repository")
        .arg(storage.repository())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(check.stdout.take().unwrap()).lines();
    let verdicts = lines.map(Result::unwrap);
    let mut verdicts = verdicts.filter(|line| line == "  verdict:      ok");
    assert_eq!(verdicts.by_ref().take(40).count(), 40);
    // They are all there, and the others are still waited for.
    assert_eq!(check.try_wait().unwrap(), None);
    drop(dead);
    assert_eq!(verdicts.count(), 0);
    assert_eq!(check.wait().unwrap().code(), Some(2));
    assert_nobody_works_on(storage.path());
}

fn meta(image: &str, capacity: u64, changes: &[(&str, &str)]) -> String {
    let text = include_str!("data/storage/volume-v5.meta")
        .replace("10737418240", &capacity.to_string())
        .replace(IMAGE, image);
    changes
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to))
}

/// A volume file, made by qemu-img, and its metadata.
fn volume(domain: &Path, image: &str, id: &str, format: &str, size: u64, meta: &str) -> PathBuf {
    let directory = domain.join("images").join(image);
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join(id);
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", format])
        .arg(&file)
        .arg(size.to_string())
        .status();
    assert!(made.unwrap().success());
    fs::write(directory.join(format!("{id}.meta")), meta).unwrap();
    file
}

#[test]
fn volumes() {
    needs_root!("volumes");
    if Command::new("qemu-img").arg("--version").output().is_err() {
        return support::not_run("volumes", "qemu-img is not installed");
    }
    let storage = Storage::new();
    let domain = storage.whole("nas:_x", DATA_ID, DATA);
    let image = |number: u32| format!("{number:08}-0d5e-469e-ab98-a0b31d7780e4");
    let id = |number: u32| format!("{number:08}-8c1d-4a27-9e46-0d5b7a913c20");
    let raw = [("FORMAT=COW", "FORMAT=RAW")];
    let size = 1 << 20;
    let good = |number: u32, changes: &[(&str, &str)]| {
        let format = if changes.contains(&raw[0]) {
            "raw"
        } else {
            "qcow2"
        };
        let meta = meta(&image(number), size, changes);
        volume(&domain, &image(number), &id(number), format, size, &meta)
    };
    good(1, &[]);
    good(2, &raw);
    // A chain, and the volume of a template in another image.
    let parent = id(1);
    volume(
        &domain,
        &image(1),
        &id(3),
        "qcow2",
        size,
        &meta(
            &image(1),
            size,
            &[(
                "PUUID=00000000-0000-0000-0000-000000000000",
                &format!("PUUID={parent}"),
            )],
        ),
    );
    let shared = good(4, &[("VOLTYPE=LEAF", "VOLTYPE=SHARED")]);
    let building = domain.join("images").join(image(5));
    fs::create_dir(&building).unwrap();
    for name in [id(4), format!("{}.meta", id(4))] {
        fs::hard_link(shared.with_file_name(&name), building.join(&name)).unwrap();
    }
    let lease = |number: u32, resource: &str| {
        let mut record = fs::read(domain.join("dom_md/leases")).unwrap()[1 << 20..][..512].to_vec();
        record[0x68..][..resource.len()].copy_from_slice(resource.as_bytes());
        let name = format!("images/{}/{}.lease", image(number), id(number));
        fs::write(domain.join(name), record).unwrap();
    };
    lease(1, &id(1));
    hand_over(&domain);
    // Old VDSM made it read-only.
    set_mode(&shared, 0o440);
    let check = || {
        let all = reports(&storage, &["--volumes", DATA_ID]);
        found(&all[0])
    };
    assert_eq!(check(), [""; 0]);
    // One of each kind of trouble.
    let place = |number: u32| format!("images/{}/{}", image(number), id(number));
    let larger = meta(&image(6), 2 << 20, &[]);
    volume(&domain, &image(6), &id(6), "qcow2", size, &larger);
    let larger = meta(&image(7), 2 << 20, &raw);
    volume(&domain, &image(7), &id(7), "raw", size, &larger);
    volume(
        &domain,
        &image(8),
        &id(8),
        "raw",
        size,
        &meta(&image(8), size, &[]),
    );
    good(
        9,
        &[
            ("DOMAIN=75", "DOMAIN=85"),
            ("IMAGE=0", "IMAGE=1"),
            ("PUUID=0", "PUUID=1"),
            ("SEQ=1", "SEQ=x"),
        ],
    );
    fs::remove_file(good(10, &[]).with_extension("meta")).unwrap();
    fs::remove_file(good(11, &[])).unwrap();
    let elsewhere = good(12, &[]);
    fs::remove_file(&elsewhere).unwrap();
    symlink("/etc/passwd", &elsewhere).unwrap();
    let guest = good(13, &raw);
    fs::write(&guest, b"QFI\xfb\0\0\0\x03 a guest's own data").unwrap();
    File::options()
        .write(true)
        .open(&guest)
        .unwrap()
        .set_len(size)
        .unwrap();
    // qemu-img would open the file that the header names.
    let data_file = storage.path().join("data");
    let cow = domain.join(place(14));
    good(14, &[]);
    fs::remove_file(&cow).unwrap();
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-o"])
        .arg(format!("data_file={}", data_file.display()))
        .arg(&cow)
        .arg(size.to_string())
        .status();
    assert!(made.unwrap().success());
    good(15, &[]);
    lease(15, &id(1));
    good(16, &[]);
    fs::write(domain.join(format!("{}.lease", place(16))), [0; 512]).unwrap();
    hand_over(&domain);
    set_mode(&domain.join(place(1)), 0o600);
    set_mode(&domain.join(format!("{}.meta", place(1))), 0o666);
    set_mode(&domain.join(format!("{}.lease", place(1))), 0o666);
    inside(&domain, &format!("chown 0:36 {}", place(2)));
    let meta_of = |number: u32| format!("{}.meta", place(number));
    let mut expected = vec![
        format!("{}: mode 0600, expected 0660", place(1)),
        format!("{}.meta: mode 0666, expected 0644", place(1)),
        format!("{}.lease: mode 0666, expected 0660", place(1)),
        format!("{}: owner 0:36, expected 36:36", place(2)),
        format!(
            "{}.lease: the resource is called \"{}\", expected {}",
            place(15),
            id(1),
            id(15)
        ),
        format!("{}.lease: no resource of sanlock", place(16)),
        format!(
            "{}: virtual size 1048576, but its .meta says 2097152",
            place(6)
        ),
        format!(
            "{}: virtual size 1048576, but its .meta says 2097152",
            place(7)
        ),
        format!("{}: no qcow2 image, which FORMAT=COW says", place(8)),
        format!("{}: SEQ=\"x\" is not a whole number", meta_of(9)),
        format!(
            "{}: DOMAIN=85f8a1bb-4504-4314-91ca-d9365a30692b, but it is in {DATA_ID}",
            meta_of(9)
        ),
        format!(
            "{}: IMAGE=10000009-0d5e-469e-ab98-a0b31d7780e4, but it is in {}",
            meta_of(9),
            image(9)
        ),
        format!(
            "{}: its parent 10000000-0000-0000-0000-000000000000 is not in the image",
            meta_of(9)
        ),
        format!("{}: a volume without its .meta", place(10)),
        format!("{}: no volume belongs to it", meta_of(11)),
        format!("{}: a symbolic link, expected a file", place(12)),
        format!(
            "{}: a qcow2 image with a data file elsewhere, which VDSM never makes",
            place(14)
        ),
    ];
    let mut all = check();
    expected.sort();
    all.sort();
    assert_eq!(all, expected);
    // The commands that are printed mend what they are printed with; the rest is for a person.
    let sanlock = Command::new("sanlock").arg("-h").output().is_ok();
    if !sanlock {
        support::not_run(
            "volumes, with sanlock's commands",
            "sanlock is not installed",
        );
    }
    let commands = || remedies(&reports(&storage, &["--volumes", DATA_ID])[0]);
    for command in commands() {
        if sanlock || !command.contains("sanlock") {
            inside(Path::new("/"), &command);
        }
    }
    let is_done = |finding: &str| {
        let by_sanlock = finding.contains(".lease: ") && !finding.contains(": mode ");
        (by_sanlock && sanlock) || finding.contains(": mode ") || finding.contains(": owner ")
    };
    expected.retain(|finding| !is_done(finding));
    let mut left = check();
    left.sort();
    assert_eq!(left, expected);
    assert_eq!(commands().is_empty(), sanlock);
}

#[test]
fn a_directory_of_ten_thousand_images() {
    needs_root!("a_directory_of_ten_thousand_images");
    let storage = Storage::new();
    let domain = storage.whole("nas:_x", DATA_ID, DATA);
    for number in 0..10_000 {
        let image = format!("{number:08}-0d5e-469e-ab98-a0b31d7780e4");
        let directory = domain.join("images").join(image);
        fs::create_dir(&directory).unwrap();
        // Every one has something to be said about it.
        fs::write(
            directory.join(format!("{number:08}-8c1d-4a27-9e46-0d5b7a913c20")),
            "",
        )
        .unwrap();
    }
    let all = reports(&storage, &["--volumes", DATA_ID]);
    assert_eq!(all[0]["facts"]["images"], "10001");
    assert_eq!(found(&all[0]).len(), 200);
    assert_eq!(all[0]["more_findings"], 9800);
}

#[test]
fn links_lead_nowhere() {
    needs_root!("links_lead_nowhere");
    let storage = Storage::new();
    let secret = storage.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("metadata"), EXPORT).unwrap();
    let said = "a symbolic link, expected a ";
    // A link to a whole domain, one to nothing, and one to itself.
    for (number, target) in [secret.as_path(), Path::new("/nowhere"), Path::new("x")]
        .iter()
        .enumerate()
    {
        for name in ["dom_md", "dom_md/metadata", "dom_md/leases", "images"] {
            let domain = storage.whole(
                &format!("nas:_{number}{}", name.replace('/', "_")),
                EXPORT_ID,
                EXPORT,
            );
            let link = domain.join(name);
            if link.is_dir() {
                fs::remove_dir_all(&link).unwrap();
            } else {
                fs::remove_file(&link).unwrap();
            }
            let target = if *target == Path::new("x") {
                link.clone()
            } else {
                target.to_path_buf()
            };
            symlink(target, &link).unwrap();
            let done = tool(&storage, &["check", domain.to_str().unwrap()]);
            let all = done.stdout.clone() + &done.stderr;
            assert_ne!(done.status, 0, "{all}");
            if name == "dom_md" {
                assert!(!all.contains("Export"), "{all}");
            } else {
                assert!(all.contains(said), "{name}: {all}");
            }
        }
    }
}

#[test]
fn metadata_without_end_and_what_is_no_file() {
    let storage = Storage::new();
    let huge = storage.domain("huge", EXPORT_ID, "");
    File::options()
        .write(true)
        .open(huge.join("dom_md/metadata"))
        .unwrap()
        .set_len(10 << 20)
        .unwrap();
    let fifo = storage.fifo("fifo", EXPORT_ID);
    let directory = storage.bare("directory", EXPORT_ID);
    fs::create_dir(directory.join("dom_md/metadata")).unwrap();
    for (domain, said) in [
        (huge.as_path(), "larger than 8388608 bytes"),
        (&fifo, "a FIFO, expected a file"),
        (&directory, "a directory, expected a file"),
    ] {
        let done = tool(&storage, &["check", domain.to_str().unwrap()]);
        assert_eq!((done.status, done.stdout.as_str()), (2, ""), "{said}");
        assert_eq!(
            done.stderr,
            format!(
                "vdsm-hooks: {}: cannot be read, {said}\n",
                domain.join("dom_md/metadata").display()
            )
        );
    }
}

/// VDSM reads the whole file, however long it is.
#[test]
fn metadata_of_any_length_gets_its_verdict() {
    needs_root!("metadata_of_any_length_gets_its_verdict");
    let storage = Storage::new();
    let mut number = 0;
    let mut look = |metadata: &str| {
        number += 1;
        let domain = storage.whole(&format!("nas:_{number}"), EXPORT_ID, metadata);
        (report(&storage, &domain), domain)
    };
    let (mut long, _) = Metadata::read(EXPORT);
    long.set("DESCRIPTION", &"x".repeat(70_000)).unwrap();
    let long = write(&long);
    assert_eq!(look(&long).0["verdict"], "ok");
    let (broken, domain) = look(&long.replace("ROLE=Regular", "ROLE=Master"));
    assert_eq!(
        (&broken["verdict"], &broken["status"]),
        (&json!("broken"), &json!(2))
    );
    let after = mended(&storage, &domain);
    assert_eq!(
        (&after["verdict"], &after["status"]),
        (&json!("ok"), &json!(0))
    );
    // Very many keys, unsorted.
    let keys: String = (1..100_000_u64)
        .map(|n| format!("{:x}={n}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    assert_eq!(look(&(keys + EXPORT)).0["verdict"], "broken");
    // Padding is no text for VDSM, and makes a script say otherwise.
    let (padded, domain) = look(&(EXPORT.to_owned() + &"\0".repeat(5 << 20)));
    assert_eq!(
        (&padded["verdict"], &padded["status"]),
        (&json!("ok"), &json!(0))
    );
    assert_eq!(padded["otherwise"][0]["verdict"], "broken");
    let after = mended(&storage, &domain);
    assert_eq!(after["otherwise"], json!([]));
    assert_eq!(
        fs::read_to_string(domain.join("dom_md/metadata")).unwrap(),
        EXPORT
    );
}

/// A host whose storage is not there is never all well.
#[test]
fn a_repository_without_domains() {
    needs_root!("a_repository_without_domains");
    let storage = Storage::new();
    let repository = storage.path().join("data-centre");
    let all = |repository: &Path| {
        let repository = repository.to_str().unwrap();
        domains::tool(&["check", "--all", "--repository", repository])
    };
    // A letter is wrong.
    let done = all(&repository);
    let said = format!(
        "vdsm-hooks: {}, expected VDSM's repository, which --repository names: No such file or directory (os error 2)\n",
        repository.display()
    );
    assert_eq!((done.status, done.stderr.as_str()), (2, said.as_str()));
    assert_eq!(done.stdout, "");
    let done = all(Path::new("/etc/passwd"));
    assert!(
        done.status == 2 && done.stderr.ends_with("--repository names: no directory\n"),
        "{}",
        done.stderr
    );
    // Nothing is mounted.
    let nothing = |mnt: &Path| {
        format!(
            "vdsm-hooks: no storage domain: none is mounted in {}, and no volume group that this host sees is one; is the storage connected?\n",
            mnt.display()
        )
    };
    let mnt = storage.repository().join("mnt");
    let done = tool(&storage, &["check", "--all"]);
    assert_eq!((done.status, &done.stderr), (3, &nothing(&mnt)));
    assert!(done.stdout.ends_with("0 domains\n"), "{}", done.stdout);
    let done = tool(&storage, &["check", "--all", "--json"]);
    assert_eq!((done.status, &done.stderr), (3, &nothing(&mnt)));
    let answer: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        (&answer["format"], &answer["domains"]),
        (&json!(1), &json!([]))
    );
    // One level too deep.
    let done = all(&mnt);
    assert_eq!((done.status, &done.stderr), (3, &nothing(&mnt.join("mnt"))));
    // The directories for mounts are left, and no mount is there.
    let left = storage.mount("nas:_data");
    fs::create_dir(&left).unwrap();
    let done = tool(&storage, &["check", "--all"]);
    assert_eq!((done.status, &done.stderr), (3, &nothing(&mnt)));
    let vacant = format!(
        "{}\n  finding:      nothing is mounted there, and no storage domain is in it\n    advice:     ",
        left.display()
    );
    assert!(done.stdout.contains(&vacant), "{}", done.stdout);
    assert!(
        done.stdout
            .ends_with("0 domains, 1 place without a domain\n"),
        "{}",
        done.stdout
    );
    // Beside a domain that is there.
    storage.whole("nas:_export", EXPORT_ID, EXPORT);
    let done = tool(&storage, &["check", "--all"]);
    assert_eq!((done.status, done.stderr.as_str()), (1, ""));
    assert!(
        done.stdout
            .ends_with("\n1 domain, 1 place without a domain\n"),
        "{}",
        done.stdout
    );
    fs::remove_dir(&left).unwrap();
    let done = tool(&storage, &["check", "--all"]);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    assert!(
        done.stdout.ends_with("\n1 domain, nothing wrong\n"),
        "{}",
        done.stdout
    );
    // A link is no mount, and says nothing of one.
    let local = storage.path().join("local");
    fs::create_dir(&local).unwrap();
    symlink(&local, storage.mount("_local")).unwrap();
    let done = tool(&storage, &["check", "--all"]);
    assert!(
        done.status == 1
            && done
                .stdout
                .contains("  finding:      no storage domain in it\n"),
        "{}",
        done.stdout
    );
    fs::remove_file(storage.mount("_local")).unwrap();
    // A mount without a domain.
    let line = format!(
        "mount -t tmpfs none '{}' && exec \"$0\" domain check --all --repository '{}'",
        left.display(),
        storage.repository().display()
    );
    fs::create_dir(&left).unwrap();
    let mounted = Command::new("unshare")
        .args(["-m", "sh", "-c", &line, TOOL])
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&mounted.stdout);
    if stdout.is_empty() {
        let reason = String::from_utf8_lossy(&mounted.stderr).into_owned();
        return support::not_run("a_repository_without_domains, with a mount", &reason);
    }
    let vacant = format!(
        "{}\n  finding:      no storage domain in it\n",
        left.display()
    );
    assert!(
        mounted.status.code() == Some(1) && stdout.contains(&vacant),
        "{stdout}"
    );
}

/// What a write has left that was cut off, where it is all that there is.
#[test]
fn lost_metadata_comes_back() {
    needs_root!("lost_metadata_comes_back");
    let storage = Storage::new();
    for (number, lost) in ["rm metadata", ": > metadata"].into_iter().enumerate() {
        let domain = storage.whole(&format!("nas:_{number}"), EXPORT_ID, EXPORT);
        let dom_md = domain.join("dom_md");
        inside(&dom_md, "cp -p metadata metadata.new");
        assert_eq!(
            report(&storage, &domain)["facts"]["remnant"],
            "dom_md/metadata.new, harmless"
        );
        inside(&dom_md, lost);
        let before = report(&storage, &domain);
        assert_eq!(before["status"], 2);
        let advice = before["advice"].as_str().unwrap();
        assert!(
            advice.starts_with("put it back from a backup or a copy beside it"),
            "{advice}"
        );
        assert_eq!(
            found(&before),
            ["dom_md/metadata.new: whole and sealed, while dom_md/metadata is lost"]
        );
        let after = mended(&storage, &domain);
        assert_eq!(
            (&after["verdict"], &after["status"]),
            (&json!("ok"), &json!(0))
        );
        assert_eq!(fs::read_to_string(dom_md.join("metadata")).unwrap(), EXPORT);
        // One that was cut off itself is of no use.
        inside(&dom_md, "head -c 100 metadata > metadata.new; rm metadata");
        let report = report(&storage, &domain);
        assert_eq!(
            (found(&report), remedies(&report)),
            (Vec::new(), Vec::new())
        );
    }
}

/// Of two domains with one id VDSM takes one.
#[test]
fn copies_of_a_domain_are_told() {
    needs_root!("copies_of_a_domain_are_told");
    let storage = Storage::new();
    let one = storage.whole("nas:_a", EXPORT_ID, EXPORT);
    let other = storage.whole("nas:_b", EXPORT_ID, EXPORT);
    let data = storage.whole("nas:_c", DATA_ID, DATA);
    let done = tool(&storage, &["check", "--all"]);
    let told = format!(
        "storage domain {EXPORT_ID}\n  finding:      2 domains have this id: {}, {}\n    advice:     find out which is the one in use",
        one.display(),
        other.display()
    );
    assert!(
        done.status == 1 && done.stdout.contains(&told),
        "{}",
        done.stdout
    );
    assert!(
        done.stdout
            .ends_with("\n3 domains, 1 id in several places\n"),
        "{}",
        done.stdout
    );
    let all = told_of(&storage, &["--all"]);
    assert_eq!(all["domains"].as_array().unwrap().len(), 3);
    let copy = &all["copies"][0];
    assert_eq!(
        (&copy["path"], &copy["status"]),
        (&json!(EXPORT_ID), &json!(1))
    );
    assert_eq!(found(copy).len(), 1);
    // The same place twice, and a copy of the metadata alone, are no second domain.
    let file = storage.path().join("metadata");
    fs::write(&file, DATA).unwrap();
    let data = data.to_str().unwrap();
    let done = tool(
        &storage,
        &["check", data, data, DATA_ID, file.to_str().unwrap()],
    );
    assert!(
        done.status == 0 && done.stdout.ends_with("\n4 domains, nothing wrong\n"),
        "{}",
        done.stdout
    );
    // A copy under another name.
    let third = "99999999-5445-4bc3-8675-ceff4637e8e3";
    let renamed = storage.whole("nas:_d", third, DATA);
    let all = told_of(&storage, &[data, renamed.to_str().unwrap()]);
    let copy = &all["copies"][0];
    assert_eq!(copy["path"], DATA_ID);
    let id = &found(copy)[0];
    assert!(
        id.contains(data) && id.contains(renamed.to_str().unwrap()),
        "{id}"
    );
}

/// Errors of the storage, which the kernel is made to return.
/// Which of them is meant the id does not say.
#[test]
fn copies_are_seen_by_the_id_too() {
    needs_root!("copies_are_seen_by_the_id_too");
    let storage = Storage::new();
    let edited = EXPORT.replace("ROLE=Regular", "ROLE=Master");
    for mount in ["a", "b"] {
        storage.whole(mount, EXPORT_ID, &edited);
    }
    // A mount that is a link, as that of a local domain, is the same place.
    symlink(storage.mount("a"), storage.mount("c")).unwrap();
    let done = tool(&storage, &["check", EXPORT_ID]);
    assert_eq!(done.status, 2, "{}", done.stdout);
    assert!(
        done.stdout
            .contains("\n  finding:      2 domains have this id: "),
        "{}",
        done.stdout
    );
    assert!(
        done.stdout
            .ends_with("\n2 domains, 2 broken, 1 id in several places\n")
    );
    for arguments in [
        &["seal", "--restore"][..],
        &["seal"],
        &["release"],
        &["show"],
    ] {
        let done = tool(&storage, &[arguments, &[EXPORT_ID]].concat());
        assert_eq!((done.status, done.stdout.as_str()), (2, ""));
        let [a, b] = ["a", "b"].map(|mount| storage.mount(mount).join(EXPORT_ID));
        assert_eq!(
            done.stderr,
            format!(
                "vdsm-hooks: {EXPORT_ID}: 2 storage domains, expected the path or the id of one: {}/dom_md/metadata, {}/dom_md/metadata\n",
                a.display(),
                b.display()
            )
        );
    }
}

#[test]
fn errors_of_the_storage() {
    needs_root!("errors_of_the_storage");
    let storage = Storage::new();
    let domain = storage.whole("nas:_x", EXPORT_ID, EXPORT);
    let failing = |file: &str, fault: &str| {
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-o", "/dev/null", "-P"])
            .arg(domain.join(file));
        strace.args([
            "-e",
            "trace=read",
            "-e",
            &format!("inject=read:{fault}"),
            TOOL,
        ]);
        let timeout = if fault.contains("delay") { "1" } else { "60" };
        let arguments = ["check", "--timeout", timeout, domain.to_str().unwrap()];
        run(strace, &storage, &arguments)
    };
    if Command::new("strace").arg("-V").output().is_err() {
        return support::not_run("errors_of_the_storage", "strace is not installed");
    }
    let metadata = domain.join("dom_md/metadata");
    for (fault, said) in [
        ("error=EIO", "Input/output error (os error 5)"),
        ("error=ESTALE", "Stale file handle (os error 116)"),
    ] {
        let done = failing("dom_md/metadata", fault);
        assert_eq!(done.status, 2, "{}", done.stdout);
        assert_eq!(
            done.stderr,
            format!(
                "vdsm-hooks: {}: cannot be read, {said}\n",
                metadata.display()
            )
        );
    }
    // The SPM has just replaced the file.
    let done = failing("dom_md/metadata", "error=ESTALE:when=1");
    assert_eq!(
        (done.status, done.stderr.as_str()),
        (0, ""),
        "{}",
        done.stdout
    );
    // A read that takes longer than anybody waits. strace has its own words about that.
    let done = failing("dom_md/metadata", "delay_enter=3000000");
    let said = format!("vdsm-hooks: {}: no answer in time\n", domain.display());
    assert!(
        done.status == 2 && done.stderr.ends_with(&said),
        "{}",
        done.stderr
    );
    // The other files do not keep the seal from being judged.
    let done = failing("dom_md/leases", "error=EIO");
    assert_eq!(
        (done.status, done.stderr.as_str()),
        (1, ""),
        "{}",
        done.stdout
    );
    assert!(done.stdout.contains("verdict:      ok"), "{}", done.stdout);
    assert!(
        done.stdout
            .contains("finding:      dom_md/leases: Input/output error (os error 5)\n"),
        "{}",
        done.stdout
    );
}

#[test]
fn a_file_that_is_replaced_is_seen_whole() {
    let storage = Storage::new();
    let domain = storage.domain("nas:_x", EXPORT_ID, EXPORT);
    let other = write(&{
        let (mut metadata, _) = Metadata::read(EXPORT);
        metadata.set("DESCRIPTION", &"x".repeat(30_000)).unwrap();
        metadata
    });
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for text in [EXPORT, other.as_str()].iter().cycle() {
                let new = domain.join("dom_md/metadata.new");
                fs::write(&new, text).unwrap();
                fs::rename(&new, domain.join("dom_md/metadata")).unwrap();
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        for _ in 0..40 {
            assert_eq!(report(&storage, &domain)["verdict"], "ok");
        }
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn progress_is_for_terminals() {
    let name = "progress_is_for_terminals";
    let storage = Storage::new();
    storage.domain("nas:_x", EXPORT_ID, EXPORT);
    let mount = storage.mount("nas:_dead");
    let dead = match DeadMount::on(&mount) {
        Ok(dead) => dead,
        Err(reason) => return support::not_run(name, &reason),
    };
    let line = format!(
        "{TOOL} domain check --all --timeout 2 --repository '{}'",
        storage.repository().display()
    );
    let terminal = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::null())
        .output();
    let Ok(terminal) = terminal else {
        return support::not_run(name, "script is not installed");
    };
    let said = String::from_utf8_lossy(&terminal.stdout);
    let last = said.rfind(" places").unwrap_or_else(|| panic!("{said}"));
    assert!(
        said[..last].ends_with(" of 3") || said[..last].ends_with(" of 2"),
        "{said}"
    );
    assert!(said[last..].contains("\r\x1b[K"), "{said}");
    drop(dead);
    assert_nobody_works_on(storage.path());
}

#[test]
fn what_a_vm_uses() {
    let storage = Storage::new();
    let data = storage.domain("nas:_data", DATA_ID, DATA);
    let export = storage.domain(
        "nas:_export",
        EXPORT_ID,
        EXPORT.replace("=Export\n", "=Import\n"),
    );
    let nowhere = "99999999-5445-4bc3-8675-ceff4637e8e3";
    let base = "bbbbbbbb-0d5e-469e-ab98-a0b31d7780e4";
    let volume = |domain: &Path, id: &str| {
        domain
            .join("images")
            .join(IMAGE)
            .join(id)
            .display()
            .to_string()
    };
    let xml = format!(
        "<domain xmlns:v='http://ovirt.org/vm/1.0'><metadata><v:vm><v:device devtype='disk'>\
         <v:domainID>{DATA_ID}</v:domainID><v:imageID>{IMAGE}</v:imageID><v:volumeID>{VOLUME}</v:volumeID>\
         </v:device></v:vm></metadata><os><kernel>{}</kernel></os><devices>\
         <disk type='file'><source file='{}'/><backingStore type='file'><source file='{}'/></backingStore></disk>\
         <disk type='block'><source dev='/dev/mapper/{}-{}'/></disk>\
         <lease><lockspace>{nowhere}</lockspace><target path='/dev/{nowhere}/xleases'/></lease>\
         <lease><lockspace>{DATA_ID}</lockspace><target path='LEASE-PATH:{VOLUME}:{DATA_ID}'/></lease>\
         </devices></domain>",
        volume(&export, "vmlinuz"),
        volume(&data, VOLUME),
        volume(&data, base),
        nowhere.replace('-', "--"),
        VOLUME.replace('-', "--"),
    );
    let file = storage.path().join("vm.xml");
    fs::write(&file, xml).unwrap();
    let file = file.to_str().unwrap();
    let done = tool(&storage, &["of", file]);
    assert_eq!(
        (done.status, done.stderr.as_str()),
        (1, ""),
        "{}",
        done.stdout
    );
    let expected = format!(
        "{DATA_ID}\n  name:         \"data1\"\n  metadata:     {}\n  verdict:      ok\n  image:        {IMAGE}\n    volume:     {VOLUME}\n    volume:     {base}\n",
        data.join("dom_md/metadata").display()
    );
    assert!(
        done.stdout.starts_with(&expected),
        "{expected}\n{}",
        done.stdout
    );
    let rest = &done.stdout[expected.len()..];
    let block = rest.find(EXPORT_ID).unwrap();
    assert!(
        rest[..block].starts_with(&format!("{nowhere}\n  finding:      ")),
        "{rest}"
    );
    assert!(
        rest[..block].ends_with(&format!("    volume:     {VOLUME}\n")),
        "{rest}"
    );
    let expected = format!(
        "{EXPORT_ID}\n  name:         \"Import\"\n  metadata:     {}\n  verdict:      broken\n  image:        {IMAGE}\n    volume:     vmlinuz\n",
        export.join("dom_md/metadata").display()
    );
    assert_eq!(rest[block..], expected);
    // As another command gives it.
    let line = format!(
        "exec \"$0\" domain of --repository '{}' - < '{file}'",
        storage.repository().display()
    );
    let piped = Command::new("sh")
        .args(["-c", &line, TOOL])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&piped.stdout), done.stdout);
    assert_eq!(piped.status.code(), Some(1));
    // Nothing to say, and nothing to read.
    fs::write(file, "<domain/>").unwrap();
    let done = tool(&storage, &["of", file]);
    assert_eq!(
        (done.status, done.stdout),
        (0, format!("{file}: uses no storage domain\n"))
    );
    for (text, said) in [("<domain", "vm.xml: "), ("", "vm.xml: ")] {
        fs::write(file, text).unwrap();
        let done = tool(&storage, &["of", file]);
        assert!(
            done.status == 2 && done.stderr.contains(said),
            "{}",
            done.stderr
        );
    }
}
