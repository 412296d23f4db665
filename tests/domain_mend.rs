// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain show`, `seal`, `release` and `checksum`, and the stories of the manual.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

use crate::{domains, support};

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use domains::lvm::{BLOCK, BLOCK_ID, BLOCK_TAGS, Groups};
use domains::{
    DATA, DATA_ID, EXPORT, EXPORT_ID, EXPORT_SEAL, POOL, Storage, is_root, kill_at_every_step, tool,
};
use support::not_run;

const MASTER: &str = include_str!("data/storage/master-v3.metadata");
const LOCAL: &str = include_str!("data/storage/local-4k.metadata");
const LOCAL_ID: &str = "a7d9b7c6-0d0c-4b6d-9c38-1f6b3a5d2e10";
const HELD: &[u8] = b"1               0004f9451493a840";

/// The example as it is while a data centre owns it.
fn attached() -> String {
    EXPORT
        .replace("POOL_UUID=", &format!("POOL_UUID={POOL}"))
        .replace(EXPORT_SEAL, "6e39683f46182b2520a541086f822f0ee0169154")
}

/// The files of a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The copies of a metadata file.
fn copies(file: &Path) -> Vec<String> {
    let name = file.file_name().unwrap().to_str().unwrap();
    let mut names = names(file.parent().unwrap());
    names.retain(|other| other.starts_with(&format!("{name}.")));
    names
}

#[test]
fn a_copy_is_sealed() {
    let storage = Storage::new();
    let file = storage.path().join("copy of it");
    let path = file.to_str().unwrap();
    let edited = EXPORT
        .replace("ROLE=", "ROLE=Master\nnonsense\nROLE=")
        .replace("=Export\n", "=Export \n");
    fs::write(&file, &edited).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    let shown = format!(
        "--- {path}
+++ {path}
@@ -1,5 +1,5 @@
 CLASS=Backup
-DESCRIPTION=Export 
+DESCRIPTION=Export
 IOOPTIMEOUTSEC=10
 LEASERETRIES=3
 LEASETIMESEC=60
@@ -8,8 +8,6 @@
 MASTER_VERSION=0
 POOL_UUID=
 REMOTE_PATH=192.168.1.108:/home/nfs_exports
-ROLE=Master
-nonsense
 ROLE=Regular
 SDUUID=37e0e64b-5445-4bc3-8675-ceff4637e8e3
 TYPE=NFS
note: the values are those that were sealed; cause of the broken seal: a stray U+0020 (blank) at the end of the value of DESCRIPTION
note: line 12, \"nonsense\", has no '=' and is left out
note: which ROLE was meant is not known: line 11 \"Master\", line 13 \"Regular\"; the last one stays, as VDSM reads it
note: the blanks around the value of DESCRIPTION are left out; VDSM 4.3 does not count them, VDSM 4.4 does
"
    );
    let before = storage.snapshot();
    let done = tool(&["seal", "--dry-run", path]);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    assert_eq!(done.stdout, shown);
    assert_eq!(storage.snapshot(), before);
    let done = tool(&["seal", path]);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    let copies = copies(&file);
    assert_eq!(copies.len(), 1);
    let copy = file.with_file_name(&copies[0]);
    let end = format!("written: {path}\nold file: {}\n", copy.display());
    assert_eq!(done.stdout, format!("{shown}{end}"));
    assert_eq!(fs::read_to_string(&copy).unwrap(), edited);
    assert_eq!(fs::read_to_string(&file).unwrap(), EXPORT);
    for file in [&file, &copy] {
        assert_eq!(fs::metadata(file).unwrap().mode() & 0o7777, 0o640);
    }
    let before = storage.snapshot();
    let done = tool(&["seal", path]);
    assert_eq!(
        (done.status, done.stdout),
        (0, format!("{path}: nothing to do\n"))
    );
    assert_eq!(storage.snapshot(), before);
}

#[test]
fn what_cannot_be_mended() {
    let storage = Storage::new();
    let file = storage.path().join("metadata");
    let path = file.to_str().unwrap();
    let master = EXPORT.replace("ROLE=Regular", "ROLE=Master");
    for (command, content, message) in [
        (
            "seal",
            &b"\n_SHA_CKSUM=x\n"[..],
            "there is no key to seal; expected the metadata, from a copy",
        ),
        (
            "seal",
            b"A=\xe9",
            "not UTF-8, byte 2, in line 1, is 0xe9; cannot tell which character was meant: correct it by hand",
        ),
        (
            "release",
            MASTER.as_bytes(),
            "a data domain, expected an export or ISO domain; the engine itself releases a data domain when it imports it",
        ),
        (
            "release",
            master.as_bytes(),
            "the metadata is broken (the line of ROLE was edited: it says \"Master\", the seal is that of \"Regular\"), expected it sound; first: vdsm-hooks domain seal --restore",
        ),
    ] {
        fs::write(&file, content).unwrap();
        let before = storage.snapshot();
        let done = tool(&[command, "--force", path]);
        assert_eq!((done.status, done.stdout.as_str()), (2, ""));
        assert_eq!(done.stderr, format!("vdsm-hooks: {path}: {message}\n"));
        assert_eq!(storage.snapshot(), before);
    }
    let bare = storage.bare("nas:_x", EXPORT_ID).join("dom_md/metadata");
    let done = tool(&["seal", bare.to_str().unwrap()]);
    assert_eq!(
        (done.status, done.stderr),
        (
            2,
            format!(
                "vdsm-hooks: {0}: there is no such file, expected the metadata; is there a copy? ls {0}*\n",
                bare.display()
            )
        )
    );
}

/// Locks of each kind: nothing is written while one is held, but by force.
#[test]
fn a_domain_that_is_held() {
    if !is_root() {
        return not_run("a_domain_that_is_held", "needs root, to give files to VDSM");
    }
    let unsealed = |text: &str| text.replace("_SHA_CKSUM", "# was");
    let storage = Storage::new();
    let export = storage.whole("nas:_x", EXPORT_ID, &attached());
    let data = storage.whole("nas:_y", DATA_ID, &unsealed(DATA));
    let local = storage.whole("_local", LOCAL_ID, &unsealed(LOCAL));
    let write = |file: &Path, content: &[u8], at: u64| {
        let file = OpenOptions::new().write(true).open(file).unwrap();
        file.write_all_at(content, at).unwrap();
    };
    let leases = export.join("dom_md/leases");
    write(&leases, HELD, 0);
    // Host 3 is in the lockspace.
    let ids = data.join("dom_md/ids");
    write(&ids, &fs::read(&ids).unwrap()[..512], 1024);
    write(&ids, &3_u64.to_le_bytes(), 1024 + 0x20);
    write(&ids, b"node3", 1024 + 0x68);
    write(&ids, &77_u64.to_le_bytes(), 1024 + 0x98);
    // A process of this host has the local domain.
    let mut flock = Command::new("flock")
        .arg("--no-fork")
        .arg(local.join("dom_md/ids"))
        .args(["sh", "-c", "echo; exec sleep 1000"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0];
    std::io::Read::read_exact(flock.stdout.as_mut().unwrap(), &mut line).unwrap();
    for (domain, command, holder) in [
        (
            &export,
            "release",
            "held by host 1 since 2014-05-13 09:56:40 UTC",
        ),
        (&data, "seal", "in use by the hosts"),
        (&local, "seal", "held by process"),
    ] {
        let path = domain.to_str().unwrap();
        let file = domain.join("dom_md/metadata");
        let old = fs::read_to_string(&file).unwrap();
        let done = tool(&[command, path]);
        assert_eq!((done.status, done.stdout.as_str()), (2, ""), "{path}");
        let begin = format!("vdsm-hooks: {}: {holder}", file.display());
        assert!(done.stderr.starts_with(&begin), "{}", done.stderr);
        let end = "; expected a domain that nobody holds: put it into maintenance, or --force if you know that no host uses it\n";
        assert!(done.stderr.ends_with(end), "{}", done.stderr);
        let done = tool(&[command, "--dry-run", path]);
        assert_eq!(done.status, 0);
        assert!(
            done.stdout.contains(&format!("note: {holder}")),
            "{}",
            done.stdout
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), old);
        assert_eq!(copies(&file).len(), 0);
        let done = tool(&[command, "--force", path]);
        assert_eq!((done.status, done.stderr.as_str()), (0, ""));
        assert_ne!(fs::read_to_string(&file).unwrap(), old);
        let found = fs::metadata(&file).unwrap();
        assert_eq!(
            (found.uid(), found.gid(), found.mode()),
            (36, 36, 0o100_644)
        );
        assert_eq!(copies(&file).len(), 1);
    }
    assert_eq!(
        fs::read_to_string(export.join("dom_md/metadata")).unwrap(),
        EXPORT
    );
    flock.kill().unwrap();
    flock.wait().unwrap();
}

#[test]
fn no_link_is_followed_out_of_the_domain() {
    let storage = Storage::new();
    let domain = storage.bare("nas:_x", EXPORT_ID);
    let victim = storage.path().join("victim");
    fs::write(&victim, attached()).unwrap();
    symlink(&victim, domain.join("dom_md/metadata")).unwrap();
    let done = tool(&["seal", domain.to_str().unwrap()]);
    assert_eq!((done.status, done.stdout.as_str()), (2, ""));
    assert!(done.stderr.contains("expected a file"), "{}", done.stderr);
    // What VDSM writes under the same name first is not followed either.
    fs::remove_file(domain.join("dom_md/metadata")).unwrap();
    fs::write(domain.join("dom_md/metadata"), attached()).unwrap();
    symlink(&victim, domain.join("dom_md/metadata.new")).unwrap();
    age(&domain.join("dom_md/metadata.new"));
    let done = tool(&["release", domain.to_str().unwrap()]);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    assert_eq!(fs::read_to_string(&victim).unwrap(), attached());
    assert_eq!(
        fs::read_to_string(domain.join("dom_md/metadata")).unwrap(),
        EXPORT
    );
}

/// Makes a file, or link, two minutes old.
fn age(file: &Path) {
    let touch = Command::new("touch")
        .args(["-h", "-d", "2 minutes ago"])
        .arg(file)
        .status();
    assert!(touch.unwrap().success());
}

/// VDSM writes under the same name; taking it away would have one of the two put half of the other's
/// file in place.
#[test]
fn a_file_that_somebody_is_writing_is_left_to_him() {
    let storage = Storage::new();
    let domain = storage.domain("nas:_x", EXPORT_ID, attached());
    let file = domain.join("dom_md/metadata");
    let new = domain.join("dom_md/metadata.new");
    fs::write(&new, "half").unwrap();
    let release = ["release", domain.to_str().unwrap()];
    let done = tool(&release);
    assert_eq!(done.status, 2);
    assert!(
        done.stderr.contains("somebody is writing it"),
        "{}",
        done.stderr
    );
    assert_eq!(fs::read_to_string(&new).unwrap(), "half");
    assert_eq!(fs::read_to_string(&file).unwrap(), attached());
    assert_eq!(copies(&file), ["metadata.new"]);
    // Nobody writes for so long.
    age(&new);
    let done = tool(&release);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    assert_eq!(fs::read_to_string(&file).unwrap(), EXPORT);
    assert!(!new.exists());
}

/// The system calls of which every one is a step.
const STEPS: [&str; 7] = [
    "openat", "write", "fchown", "fchmod", "fsync", "renameat", "unlinkat",
];

#[test]
fn killed_at_every_step_the_metadata_is_whole() {
    let name = "killed_at_every_step_the_metadata_is_whole";
    let storage = Storage::new();
    let (mut old, mut new) = (0, 0);
    let done = kill_at_every_step(&STEPS, |number, inject| {
        let domain = storage.domain(&format!("nas:_x{number}"), EXPORT_ID, attached());
        let killed = inject(&["release", domain.to_str().unwrap()]);
        let file = domain.join("dom_md/metadata");
        match fs::read_to_string(&file).unwrap() {
            text if text == EXPORT => new += 1,
            text if text == attached() => old += 1,
            text => panic!("{text}"),
        }
        for copy in copies(&file) {
            // A name that VDSM too leaves behind.
            if copy != "metadata.new" {
                let text = fs::read_to_string(file.with_file_name(copy));
                assert_eq!(text.unwrap(), attached());
            }
        }
        // What is left does not hinder anybody for long.
        let left = file.with_file_name("metadata.new");
        if left.exists() {
            age(&left);
        }
        let done = tool(&["release", domain.to_str().unwrap()]);
        assert_eq!((done.status, done.stderr.as_str()), (0, ""));
        assert_eq!(fs::read_to_string(&file).unwrap(), EXPORT);
        fs::remove_dir_all(domain.parent().unwrap()).unwrap();
        killed
    });
    if let Err(reason) = done {
        return not_run(name, &reason);
    }
    assert!(old > 20 && new > STEPS.len(), "{old}, {new}");
}

#[test]
fn checksums_by_the_rules_of_each_reader() {
    let storage = Storage::new();
    let file = storage.path().join("metadata");
    let path = file.to_str().unwrap();
    let sealed = [EXPORT_SEAL; 3];
    let rows = [
        (EXPORT.to_owned(), sealed),
        (EXPORT.replace('\n', "\r\n"), sealed),
        (
            format!("{EXPORT}# made=by hand\n"),
            [
                "bbe581817a0ca605b2112cbe928d4194bbc97ee7",
                "bbe581817a0ca605b2112cbe928d4194bbc97ee7",
                EXPORT_SEAL,
            ],
        ),
        (
            EXPORT.replace("=Export\n", "=Export \n"),
            [
                "017029886dd6331def57d5c5913e7576e15a6e58",
                EXPORT_SEAL,
                EXPORT_SEAL,
            ],
        ),
        (
            EXPORT.replace("CLASS", " CLASS"),
            [
                EXPORT_SEAL,
                "7dd058337d9e194b845baed2fbbf9d3a85d3c66e",
                EXPORT_SEAL,
            ],
        ),
        (
            EXPORT.replace("ROLE=", "ROLE = "),
            [
                "3497d5af608cb3925c04aa5317795bf56431f773",
                "13b8993f5e12a7562e1e9de2c582e9b63c1d63a2",
                "f35df7069780f5e698d284145d61eccce55dfb2d",
            ],
        ),
        (
            String::new(),
            ["da39a3ee5e6b4b0d3255bfef95601890afd80709"; 3],
        ),
    ];
    for (text, seals) in rows {
        fs::write(&file, &text).unwrap();
        for (reader, seal) in ["current", "old", "script"].into_iter().zip(seals) {
            let done = tool(&["checksum", path, "--reader", reader]);
            let said = (done.status, done.stdout, done.stderr);
            assert_eq!(
                said,
                (0, format!("{seal}\n"), String::new()),
                "{reader}: {text:?}"
            );
        }
    }
}

#[test]
fn what_a_domain_says_in_words() {
    let storage = Storage::new();
    let file = storage.path().join("metadata");
    let path = file.to_str().unwrap();
    let show = |text: &[u8]| {
        fs::write(&file, text).unwrap();
        tool(&["show", path])
    };
    let done = show(MASTER.as_bytes());
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    assert_eq!(
        done.stdout,
        format!(
            "{path}
  kind:         data domain: disks of VMs
  name:         data0
  id:           75f8a1bb-4504-4314-91ca-d9365a30692b
  format:       3 on disk, V3 in the engine
  storage:      NFS, made at nas.example.com:/export/data1
  attached to:  data centre {POOL}
  role:         master of its data centre
  lock:         lease 60 s, operations 10 s, 3 retries, renewed every 5 s
  seal:         fits
  LOCKPOLICY:   ON (VDSM ignores it)
  MASTER_VERSION: 1 (of the data centre; the engine knows better since 3.5)
  POOL_DESCRIPTION: Default (of the data centre; the engine knows better since 3.5)
  POOL_DOMAINS: 75f8a1bb-4504-4314-91ca-d9365a30692b:Active,37e0e64b-5445-4bc3-8675-ceff4637e8e3:Active (of the data centre; the engine knows better since 3.5)
  POOL_SPM_ID:  -1 (of the data centre; the engine knows better since 3.5)
  POOL_SPM_LVER: -1 (of the data centre; the engine knows better since 3.5)
"
        )
    );
    // What a terminal must not get, and what is not known.
    let done = show(b"DESCRIPTION=a\x1b[2Jb\nCLASS=x\nVERSION=9\nROLE=\n");
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    for line in [
        "  kind:         unknown, CLASS=x",
        "  name:         a\\u{1b}[2Jb",
        "  id:           not said",
        "  format:       9, unknown",
        "  seal:         none, VDSM takes it unchecked",
    ] {
        assert!(
            done.stdout.lines().any(|said| said == line),
            "{}",
            done.stdout
        );
    }
    let done = show(EXPORT.replace("Regular", "Master").as_bytes());
    assert!(
        done.stdout.contains(
            "  seal:         broken, VDSM refuses the domain; why: vdsm-hooks domain check\n"
        ),
        "{}",
        done.stdout
    );
    let done = show(b"");
    assert_eq!((done.status, done.stdout.as_str()), (2, ""));
    assert_eq!(done.stderr, format!("vdsm-hooks: {path}: empty\n"));
    // A domain, found by its id; its lock is told too.
    let repository = storage.repository();
    let repository = repository.to_str().unwrap();
    let domain = storage.domain("nas:_x", EXPORT_ID, EXPORT);
    fs::write(domain.join("dom_md/leases"), [HELD, &[0; 480]].concat()).unwrap();
    let done = tool(&["show", EXPORT_ID, "--repository", repository]);
    assert_eq!((done.status, done.stderr.as_str()), (0, ""));
    assert!(
        done.stdout
            .contains("  lock state:   held by host 1 since 2014-05-13 09:56:40 UTC\n"),
        "{}",
        done.stdout
    );
    // Two domains in one place.
    storage.domain("nas:_x", DATA_ID, DATA);
    let mount = storage.mount("nas:_x");
    let done = tool(&["show", mount.to_str().unwrap()]);
    assert_eq!(
        (done.status, done.stderr),
        (
            2,
            format!(
                "vdsm-hooks: {0}: 2 storage domains, expected the path or the id of one: {0}/{EXPORT_ID}/dom_md/metadata, {0}/{DATA_ID}/dom_md/metadata\n",
                mount.display()
            )
        )
    );
}

/// The first command that is printed puts back what the seal proves, to the byte; the second one keeps
/// what stands there now.
#[test]
fn what_the_seal_proves_is_put_back() {
    let name = "what_the_seal_proves_is_put_back";
    if !is_root() {
        return not_run(name, "needs root, to give files to VDSM");
    }
    let storage = Storage::new();
    let pool = format!("POOL_UUID={POOL}\n");
    for (number, (old, new)) in [
        ("POOL_UUID=\n", pool.as_str()),
        ("DESCRIPTION=Export\n", "DESCRIPTION=Exports\n"),
        ("MASTER_VERSION=0\n", ""),
        ("ROLE=Regular\n", "OWNER=me\nROLE=Regular\n"),
        ("VERSION=0\n_", "VERSION=3\n_"),
    ]
    .into_iter()
    .enumerate()
    {
        for keep in [false, true] {
            let edited = EXPORT.replace(old, new);
            let domain = storage.whole(&format!("nas:_{number} {keep}"), EXPORT_ID, &edited);
            // What its version demands besides is none of this.
            domains::complete(&domain, EXPORT_ID, EXPORT);
            let file = domain.join("dom_md/metadata");
            let check = || tool(&["check", domain.to_str().unwrap()]);
            let report = check().stdout;
            let printed = |name: &str| {
                let line = report
                    .lines()
                    .find_map(|line| line.trim_start().strip_prefix(name));
                let line = line.unwrap_or_else(|| panic!("{name}\n{report}"));
                let path = std::env::var("PATH").unwrap();
                let directory = Path::new(env!("CARGO_BIN_EXE_vdsm-hooks"))
                    .parent()
                    .unwrap();
                let done = Command::new("sh")
                    .args(["-euc", line])
                    .env("PATH", format!("{}:{path}", directory.display()))
                    .output()
                    .unwrap();
                let stderr = String::from_utf8_lossy(&done.stderr);
                assert!(done.status.success(), "{line}: {stderr}");
                String::from_utf8_lossy(&done.stdout).into_owned()
            };
            let now = || fs::read_to_string(&file).unwrap();
            if keep {
                let said = printed("or, as it is:");
                let note = "note: the values are not those that were sealed, which 'vdsm-hooks domain seal --restore' puts back; ";
                assert!(said.contains(note), "{said}");
                assert_ne!(now(), EXPORT);
                continue;
            }
            let said = printed("mend:");
            assert!(
                said.contains("note: the seal proves the values; "),
                "{said}"
            );
            assert_eq!(now(), EXPORT, "{old:?}");
            let check = check();
            assert_eq!(check.status, 0, "{}", check.stdout);
            assert!(!check.stdout.contains("mend:"), "{}", check.stdout);
            assert_eq!(copies(&file).len(), 1);
            let again = tool(&["seal", "--restore", file.to_str().unwrap()]);
            assert_eq!(
                (again.status, again.stdout),
                (0, format!("{}: nothing to do\n", file.display()))
            );
        }
    }
    // What is not proved stays as it is, and the report does not offer it.
    let edited = EXPORT.replace("nfs_exports", "somewhere else");
    let domain = storage.whole("nas:_unknown", EXPORT_ID, &edited);
    let path = domain.to_str().unwrap();
    let check = tool(&["check", path]);
    assert!(!check.stdout.contains("--restore"), "{}", check.stdout);
    let refused = tool(&["seal", "--restore", path]);
    assert_eq!((refused.status, refused.stdout.as_str()), (2, ""));
    assert!(
        refused.stderr.ends_with("; expected the metadata from a copy, or, if the values are right: vdsm-hooks domain seal\n"),
        "{}",
        refused.stderr
    );
    assert_eq!(
        fs::read_to_string(domain.join("dom_md/metadata")).unwrap(),
        edited
    );
    // Somebody holds it.
    let held = storage.whole(
        "nas:_held",
        EXPORT_ID,
        &EXPORT.replace("=Regular", "=Master"),
    );
    let leases = OpenOptions::new()
        .write(true)
        .open(held.join("dom_md/leases"))
        .unwrap();
    leases.write_all_at(HELD, 0).unwrap();
    let refused = tool(&["seal", "--restore", held.to_str().unwrap()]);
    assert!(
        refused.status == 2 && refused.stderr.contains("held by host 1"),
        "{}",
        refused.stderr
    );
}

/// The command that is printed seals the tags, and nothing else runs it.
#[test]
fn tags_are_sealed_by_the_command_that_is_shown() {
    let name = "tags_are_sealed_by_the_command_that_is_shown";
    let made = Groups::new().and_then(|mut groups| {
        groups.make(BLOCK_ID, &[])?;
        let tags = BLOCK_TAGS.replace("LEASERETRIES=3", "LEASERETRIES=4");
        let tags = tags.lines().flat_map(|tag| ["--addtag", tag]);
        let arguments: Vec<&str> = ["vgchange"]
            .into_iter()
            .chain(tags)
            .chain([BLOCK_ID])
            .collect();
        groups.lvm(&arguments);
        Ok(groups)
    });
    let groups = match made {
        Ok(groups) => groups,
        Err(reason) => return not_run(name, &reason),
    };
    let storage = Storage::new();
    let tool = |arguments: &[&str]| {
        let mut command = groups.on(Path::new(env!("CARGO_BIN_EXE_vdsm-hooks")));
        command.arg("domain").args(arguments);
        let output = command
            .arg("--repository")
            .arg(storage.repository())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let tags = || groups.lvm(&["vgs", "--noheadings", "-o", "vg_tags", BLOCK_ID]);
    let before = tags();
    let (status, stdout, stderr) = tool(&["seal", BLOCK_ID]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert_eq!(tags(), before);
    let (shown, command) = stdout
        .split_once("To be run as root, on one host, while no host uses the domain:\n")
        .unwrap();
    let cause = "the line of LEASERETRIES was edited: it says \"4\", the seal is that of \"3\"\n";
    assert!(
        shown.ends_with(&format!("cause of the broken seal: {cause}")),
        "{shown}"
    );
    // The first command of a check puts the old value back, the second one is this one.
    let (_, check, _) = tool(&["check", BLOCK_ID]);
    let (_, restored, _) = tool(&["seal", "--restore", BLOCK_ID]);
    assert!(restored.contains(&format!("note: the seal proves the values; {cause}")));
    let (_, restore) = restored
        .split_once("To be run as root, on one host, while no host uses the domain:\n")
        .unwrap();
    assert!(
        check.contains(&format!("  mend:         {}", restore.trim_start())),
        "{check}"
    );
    assert!(
        check.contains(&format!("  or, as it is: {}", command.trim_start())),
        "{check}"
    );
    groups.shell(restore);
    let original: Vec<&str> = BLOCK_TAGS.lines().collect();
    let mut now: Vec<String> = tags().trim().split(',').map(str::to_owned).collect();
    now.sort();
    let mut expected = original.clone();
    expected.sort_unstable();
    assert_eq!(now, expected);
    let (_, stdout, _) = tool(&["seal", "--restore", BLOCK_ID]);
    assert_eq!(stdout, format!("volume group {BLOCK_ID}: nothing to do\n"));
    // And back to what it was, for the other way.
    groups.lvm(&[
        "vgchange",
        "--deltag",
        "MDT_LEASERETRIES=3",
        "--addtag",
        "MDT_LEASERETRIES=4",
        BLOCK_ID,
    ]);
    groups.shell(command);
    let (status, stdout, stderr) = tool(&["seal", BLOCK_ID]);
    assert_eq!(
        (status, stdout.as_str(), stderr.as_str()),
        (
            Some(0),
            format!("volume group {BLOCK_ID}: nothing to do\n").as_str(),
            ""
        )
    );
    let (status, stdout, _) = tool(&["show", BLOCK_ID]);
    assert_eq!(status, Some(0));
    let words = format!(
        "volume group {BLOCK_ID}\n  kind:         data domain: disks of VMs\n  name:         fc data & más\n"
    );
    assert!(stdout.starts_with(&words), "{stdout}");
    assert!(stdout.contains("  seal:         fits\n"), "{stdout}");
    assert!(
        BLOCK.contains("LEASERETRIES=3") && stdout.contains(" 4 retries"),
        "{stdout}"
    );
    let (status, stdout, stderr) = tool(&["release", BLOCK_ID]);
    assert_eq!((status, stdout.as_str()), (Some(2), ""));
    assert!(
        stderr.contains("a data domain, expected an export or ISO domain"),
        "{stderr}"
    );
}

/// The commands of the manual's stories do what the manual says.
#[test]
fn the_stories_of_the_manual() {
    let name = "the_stories_of_the_manual";
    if !is_root() {
        return not_run(name, "needs root, to give files to VDSM");
    }
    let storage = Storage::new();
    let directory = storage.path().join("man");
    let man = Command::new(env!("CARGO_BIN_EXE_vdsm-hooks"))
        .arg("man")
        .arg(&directory)
        .status();
    assert!(man.unwrap().success());
    let page = fs::read_to_string(directory.join("vdsm-hooks-domain.1")).unwrap();
    let page = page.replace("\\-", "-");
    // The lines of a story that call the tool, with a place of the test in that of the story's.
    let run = |title: &str, replaced: &[(&str, &Path)], status: &[i32]| {
        let begin = format!("\n.SS \"{title}\"\n");
        let story = page.split_once(&begin).unwrap().1;
        let story = story.split("\n.S").next().unwrap();
        // A long command goes on on the next line.
        let story = story.replace(" \\\\\n", " ");
        let commands = (story.lines()).filter_map(|line| line.strip_prefix("vdsm-hooks domain "));
        let done: Vec<_> = commands
            .map(|line| {
                let mut line = line.to_owned();
                for (from, to) in replaced {
                    line = line.replace(from, to.to_str().unwrap());
                }
                let mut arguments: Vec<&str> = line.split_whitespace().collect();
                let repository = storage.repository();
                arguments.extend(["--repository", repository.to_str().unwrap()]);
                tool(&arguments)
            })
            .collect();
        let said: Vec<i32> = done.iter().map(|done| done.status).collect();
        assert_eq!(said, status, "{}", done[0].stderr);
        done
    };
    let mount = storage.mount("nas:_export");
    fs::create_dir_all(&mount).unwrap();
    domains::hand_over(&mount);
    run(
        "An export domain from nothing",
        &[("/srv/export", &mount)],
        &[0],
    );
    let domain = mount.join(&names(&mount)[0]);
    let file = domain.join("dom_md/metadata");
    let sound = fs::read_to_string(&file).unwrap();

    let pool = sound.replace("POOL_UUID=", &format!("POOL_UUID={POOL}"));
    fs::write(&file, pool).unwrap();
    assert_eq!(tool(&["seal", domain.to_str().unwrap()]).status, 0);
    let done = run("The orphan", &[("/mnt/export", &mount)], &[0, 0, 0]);
    let owner = format!("  attached to:  {POOL}; if that is no more: vdsm-hooks domain release ");
    assert!(done[0].stdout.contains(&owner), "{}", done[0].stdout);
    assert!(
        done[0].stdout.contains("  lock:         free\n"),
        "{}",
        done[0].stdout
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), sound);

    let edited = sound.replace("=Export\n", "=Exports\n");
    fs::write(&file, edited).unwrap();
    let place = [("/rhev/data-center/mnt/nas:_x/ID", domain.as_path())];
    let done = run("The broken seal", &place, &[2, 0, 0, 0, 0]);
    assert!(
        done[0]
            .stdout
            .contains("likely cause: the line of DESCRIPTION was edited"),
        "{}",
        done[0].stdout
    );
    assert!(done[2].stdout.contains("\nwritten: "), "{}", done[2].stdout);
    assert!(
        done[3].stdout.ends_with(": nothing to do\n"),
        "{}",
        done[3].stdout
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), sound);
    let check = tool(&["check", domain.to_str().unwrap()]);
    assert_eq!(check.status, 0, "{}", check.stdout);
}
