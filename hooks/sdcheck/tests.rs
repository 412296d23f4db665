// SPDX-License-Identifier: GPL-2.0-or-later

//! The hook sdcheck on real trees: every verdict under every policy, and storage that is dead.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

use crate::{domains, support};

use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use domains::{
    DATA, DATA_ID, DeadMount, EXPORT, EXPORT_ID, EXPORT_SEAL, IMAGE, POOL, Storage, TIMEOUT,
    VOLUME, assert_nobody_works_on, processes,
};
use vdsm_hooks::storage::{Metadata, write};

const SDCHECK: &str = env!("CARGO_BIN_EXE_sdcheck");

/// A running hook.
struct Firing {
    child: Child,
    document: tempfile::NamedTempFile,
    xml: String,
}

/// Starts the hook as VDSM does, with `settings` in its environment.
fn fire(storage: &Storage, xml: &str, settings: &[(&str, &str)]) -> Firing {
    let document = tempfile::NamedTempFile::new().unwrap();
    fs::write(document.path(), xml).unwrap();
    let child = Command::new(SDCHECK)
        .env_clear()
        .env("_hook_domxml", document.path())
        .env("sdcheck_repository", storage.repository())
        .env("sdcheck_run", storage.run())
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    Firing {
        child,
        document,
        xml: xml.to_owned(),
    }
}

impl Firing {
    /// Waits for the end: exit status and stderr. The document must be as it was.
    fn end(mut self) -> (i32, String) {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > TIMEOUT {
                let _ = self.child.kill();
                panic!("the hook hangs");
            }
            thread::sleep(Duration::from_millis(2));
        };
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.child
            .stdout
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        self.child
            .stderr
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        assert_eq!(stdout, "");
        assert_eq!(fs::read_to_string(self.document.path()).unwrap(), self.xml);
        (status.code().expect("killed by a signal"), stderr)
    }
}

fn check(storage: &Storage, xml: &str, settings: &[(&str, &str)]) -> (i32, String) {
    fire(storage, xml, settings).end()
}

/// A disk on a volume of the domain in `directory`.
fn disk(directory: &Path) -> String {
    let volume = directory.join("images").join(IMAGE).join(VOLUME);
    disk_of(&volume)
}

fn disk_of(volume: &Path) -> String {
    format!(
        "<disk type='file' device='disk'><source file='{}'/><target dev='sda'/></disk>",
        volume.display()
    )
}

/// A lease, which names a domain by its id alone.
fn lease(id: &str) -> String {
    format!("<lease><lockspace>{id}</lockspace><key>k</key></lease>")
}

fn vm(devices: &[String]) -> String {
    format!(
        "<domain type='kvm'><name>vm</name><devices>{}</devices></domain>",
        devices.concat()
    )
}

fn lines(stderr: &str) -> Vec<&str> {
    stderr.lines().collect()
}

#[test]
fn every_verdict_under_every_policy() {
    let storage = Storage::new();
    let edited = EXPORT.replace("=Export\n", "=Import\n");
    let latin1 = [EXPORT.as_bytes(), b"X=\xe9\n"].concat();
    let unsealed = EXPORT.replace("_SHA_CKSUM", "#_SHA_CKSUM");
    let directory = storage.bare("nas:_unreadable", EXPORT_ID);
    fs::create_dir(directory.join("dom_md/metadata")).unwrap();
    let fifo = storage.fifo("nas:_fifo", EXPORT_ID);
    // Links to a sound domain, from which nothing is read.
    let sound = storage
        .domain("nas:_sound", EXPORT_ID, EXPORT)
        .join("dom_md");
    let linked = storage.bare("nas:_linked", EXPORT_ID);
    symlink(sound.join("metadata"), linked.join("dom_md/metadata")).unwrap();
    let moved = storage.mount("nas:_moved").join(EXPORT_ID);
    fs::create_dir_all(&moved).unwrap();
    symlink(&sound, moved.join("dom_md")).unwrap();
    let other = "99999999-5445-4bc3-8675-ceff4637e8e3";
    let file = |mount: &str, metadata: &[u8]| disk(&storage.domain(mount, EXPORT_ID, metadata));
    // What the VM uses; whether that is fatal; what is said.
    let rows: Vec<(String, Option<bool>, String)> = vec![
        (file("nas:_ok", EXPORT.as_bytes()), None, String::new()),
        (
            file("nas:_broken", edited.as_bytes()),
            Some(true),
            format!(
                "storage domain {EXPORT_ID} \"Import\" in {}: the metadata seal is broken, declared {EXPORT_SEAL}, computed 1e89fa76308e439e9aaf9fdb565f0f3390fbb5ce, likely cause: a line was edited, or the file damaged, after it was sealed",
                storage.mount("nas:_broken").join(EXPORT_ID).join("dom_md/metadata").display()
            ),
        ),
        (
            file("nas:_blank", EXPORT.replace("=Export\n", "=Export \n").as_bytes()),
            Some(true),
            "computed 017029886dd6331def57d5c5913e7576e15a6e58, likely cause: a stray U+0020 (blank) at the end of the value of DESCRIPTION".into(),
        ),
        (
            file("nas:_split", EXPORT.replace("=Export\n", "=Ex\u{2028}port\n").as_bytes()),
            Some(true),
            "likely cause: U+2028 (line separator) in DESCRIPTION splits the line for VDSM 4.4 and later".into(),
        ),
        (
            file("nas:_latin1", &latin1),
            Some(true),
            "\"Export\" in ".to_owned(),
        ),
        (
            file("nas:_latin1", &latin1),
            Some(true),
            format!(": the metadata is not UTF-8, byte {}, in line 16, is 0xe9", EXPORT.len() + 2),
        ),
        (file("nas:_empty", b""), Some(true), ": the metadata is empty".into()),
        (
            file("nas:_bare-seal", format!("_SHA_CKSUM={EXPORT_SEAL}\n").as_bytes()),
            Some(true),
            ": the metadata is empty".into(),
        ),
        (
            disk(&storage.bare("nas:_missing", EXPORT_ID)),
            Some(true),
            ": the metadata file is missing".into(),
        ),
        (
            file("nas:_unsealed", unsealed.as_bytes()),
            Some(false),
            "\"Export\" in ".into(),
        ),
        (
            file("nas:_unsealed", unsealed.as_bytes()),
            Some(false),
            ": the metadata carries no seal".into(),
        ),
        (
            disk(&storage.domain("nas:_copy", other, EXPORT)),
            Some(false),
            format!(": its SDUUID is \"{EXPORT_ID}\", not the name of its directory"),
        ),
        (
            lease("88888888-5445-4bc3-8675-ceff4637e8e3"),
            Some(false),
            // What comes before it depends on whether this machine's LVM answers.
            format!(" under {}", storage.repository().display()),
        ),
        (
            disk(&directory),
            Some(false),
            "/dom_md/metadata: cannot be read, a directory, expected a file".into(),
        ),
        (
            disk(&linked),
            Some(false),
            "/dom_md/metadata: cannot be read, a symbolic link, expected a file".into(),
        ),
        (
            disk(&moved),
            Some(false),
            ": cannot be read, dom_md is a symbolic link, expected a directory".into(),
        ),
        (
            file("nas:_huge", &vec![b'x'; (8 << 20) + 1]),
            Some(false),
            ": cannot be read, larger than 8388608 bytes".into(),
        ),
        (
            disk(&fifo),
            Some(false),
            "/dom_md/metadata: cannot be read, a FIFO, expected a file".into(),
        ),
    ];
    let before = storage.snapshot();
    for (used, fatal, said) in rows {
        for policy in ["off", "warn", "enforce", "strict"] {
            // All of them answer, on a busy machine too.
            let settings = [("sdcheck", policy), ("sdcheck_timeout", "60")];
            let stops = match (policy, fatal) {
                ("enforce", Some(fatal)) => fatal,
                ("strict", Some(_)) => true,
                _ => false,
            };
            // A domain, and the bare disk of a hotplug.
            let documents = [
                Some(vm(std::slice::from_ref(&used))),
                used.starts_with("<disk").then(|| used.clone()),
            ];
            for xml in documents.into_iter().flatten() {
                let (status, stderr) = check(&storage, &xml, &settings);
                let context = format!("{policy}: {xml}: {stderr}");
                assert_eq!(status, if stops { 2 } else { 0 }, "{context}");
                if policy == "off" || fatal.is_none() {
                    assert_eq!(stderr, "", "{context}");
                    continue;
                }
                let prefix = if stops {
                    "sdcheck: "
                } else {
                    "sdcheck: warning: "
                };
                assert_eq!(lines(&stderr).len(), 1, "{context}");
                assert!(stderr.starts_with(prefix), "{context}");
                assert!(
                    stderr.contains(&format!("{prefix}storage domain ")),
                    "{context}"
                );
                assert!(stderr.contains(&said), "{context}\nexpected {said}");
            }
        }
    }
    assert_eq!(storage.snapshot(), before);
    assert_nobody_works_on(storage.path());
}

/// Both read metadata in the same way, so that the hook refuses nothing that the tool finds sound.
#[test]
fn the_tool_says_the_same() {
    let storage = Storage::new();
    let sound = storage.domain("nas:_sound", EXPORT_ID, EXPORT);
    let bare = |mount: &str| storage.bare(mount, EXPORT_ID);
    let metadata = |directory: &Path| directory.join("dom_md/metadata");
    let empty = storage.domain("nas:_empty", EXPORT_ID, "");
    let huge = storage.domain("nas:_huge", EXPORT_ID, vec![b'x'; (8 << 20) + 1]);
    // More than VDSM ever writes, which it reads all the same.
    let (mut metadata_of_many, _) = Metadata::read(EXPORT);
    metadata_of_many.set("NOTE", &"x".repeat(100_000)).unwrap();
    let large = storage.domain("nas:_large", EXPORT_ID, write(&metadata_of_many));
    let padded = EXPORT.to_owned() + &"\0".repeat(1 << 20);
    let padded = storage.domain("nas:_padded", EXPORT_ID, padded);
    let broken = EXPORT.replace("Regular", "Master");
    let broken = storage.domain("nas:_broken", EXPORT_ID, broken);
    let missing = bare("nas:_missing");
    let fifo = storage.fifo("nas:_fifo", EXPORT_ID);
    let directory = bare("nas:_directory");
    fs::create_dir(metadata(&directory)).unwrap();
    let linked = bare("nas:_linked");
    symlink(metadata(&sound), metadata(&linked)).unwrap();
    let [moved, cut, file] = ["nas:_moved", "nas:_cut", "nas:_file"].map(|mount| {
        let domain = bare(mount);
        fs::remove_dir(domain.join("dom_md")).unwrap();
        domain
    });
    symlink(sound.join("dom_md"), moved.join("dom_md")).unwrap();
    fs::write(file.join("dom_md"), EXPORT).unwrap();
    // What the hook says; what the tool does, if it is not the same.
    for (domain, said, verdict) in [
        (&sound, "", Some("ok")),
        (&large, "", Some("ok")),
        (&padded, "", Some("ok")),
        (&broken, "the metadata seal is broken, ", Some("broken")),
        (&empty, "the metadata is empty", Some("empty")),
        (
            &missing,
            "the metadata file is missing",
            Some("missing file"),
        ),
        (&cut, "the metadata file is missing", Some("missing file")),
        (&file, "the metadata file is missing", Some("missing file")),
        (&huge, "cannot be read, larger than 8388608 bytes", None),
        (&fifo, "cannot be read, a FIFO, expected a file", None),
        (
            &directory,
            "cannot be read, a directory, expected a file",
            None,
        ),
        (
            &linked,
            "cannot be read, a symbolic link, expected a file",
            None,
        ),
        (
            &moved,
            "cannot be read, dom_md is a symbolic link, expected a directory",
            None,
        ),
    ] {
        let place = metadata(domain).display().to_string();
        let (_, stderr) = check(&storage, &vm(&[disk(domain)]), &[("sdcheck", "strict")]);
        match said {
            "" => assert_eq!(stderr, ""),
            said => assert!(stderr.contains(&format!(" in {place}: {said}")), "{stderr}"),
        }
        let tool = domains::tool(&["check", domain.to_str().unwrap()]);
        match verdict {
            Some(verdict) => {
                let line = format!("\n  verdict:      {verdict}\n");
                assert!(tool.stdout.contains(&line), "{}", tool.stdout);
            }
            None => assert_eq!(tool.stderr, format!("vdsm-hooks: {place}: {said}\n")),
        }
    }
}

/// VDSM's user needs no more of a domain's directories than to get through.
#[test]
fn directories_need_not_be_listed() {
    if !support::is_root() {
        let test = "directories_need_not_be_listed";
        return support::not_run(test, "needs root to become another user");
    }
    let storage = Storage::new();
    let domain = storage.domain("nas:_x", DATA_ID, DATA);
    for directory in [&domain, &domain.join("dom_md")] {
        fs::set_permissions(directory, Permissions::from_mode(0o711)).unwrap();
    }
    let output = by_vdsm(&storage, &vm(&[disk(&domain)]), &[])
        .env("sdcheck", "strict")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
}

/// The hook as VDSM's user, behind the words of another command.
fn by_vdsm(storage: &Storage, xml: &str, before: &[&str]) -> Command {
    let document = storage.path().join("vm.xml");
    fs::write(&document, xml).unwrap();
    // Where everybody can read it.
    let program = storage.path().join("sdcheck");
    if !program.exists() {
        fs::copy(SDCHECK, &program).unwrap();
    }
    fs::set_permissions(storage.path(), Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=36", "--regid=36", "--clear-groups"])
        .args(before)
        .arg(program)
        .env("_hook_domxml", &document)
        .env("sdcheck_repository", storage.repository())
        .env("sdcheck_run", storage.run());
    command
}

#[test]
fn enforce_is_the_default_and_nothing_else_is_known() {
    let storage = Storage::new();
    let broken = storage.domain("nas:_x", EXPORT_ID, EXPORT.replace("Regular", "Master"));
    let xml = vm(&[disk(&broken)]);
    let (status, stderr) = check(&storage, &xml, &[]);
    assert_eq!(status, 2);
    assert!(
        stderr.contains(
            "the line of ROLE was edited: it says \"Master\", the seal is that of \"Regular\""
        ),
        "{stderr}"
    );
    for (name, value, said) in [
        (
            "sdcheck",
            "on",
            "sdcheck=\"on\": expected one of off, warn, enforce, strict",
        ),
        (
            "sdcheck",
            "Off",
            "sdcheck=\"Off\": expected one of off, warn, enforce, strict",
        ),
        (
            "sdcheck_timeout",
            "0",
            "sdcheck_timeout=\"0\": expected a whole number from 1 to 120",
        ),
        (
            "sdcheck_timeout",
            "121",
            "sdcheck_timeout=\"121\": expected a whole number from 1 to 120",
        ),
        (
            "sdcheck_timeout",
            "1.5",
            "sdcheck_timeout=\"1.5\": expected a whole number from 1 to 120",
        ),
        (
            "sdcheck_repository",
            "dc",
            "sdcheck_repository=\"dc\": expected an absolute path",
        ),
    ] {
        let (status, stderr) = check(&storage, &xml, &[(name, value)]);
        assert_eq!((status, stderr), (2, format!("sdcheck: {said}\n")));
    }
}

#[test]
fn a_blank_value_is_absent() {
    let storage = Storage::new();
    let good = storage.domain("nas:_x", DATA_ID, DATA);
    let broken = storage.domain("nas:_x", EXPORT_ID, EXPORT.replace("Regular", "Master"));
    for blank in ["", " ", "\t"] {
        for name in ["sdcheck", "sdcheck_timeout"] {
            let settings = [(name, blank)];
            let checked = check(&storage, &vm(&[disk(&good)]), &settings);
            assert_eq!(checked, (0, String::new()), "{name}={blank:?}");
            let (status, stderr) = check(&storage, &vm(&[disk(&broken)]), &settings);
            assert_eq!(status, 2, "{name}={blank:?}: {stderr}");
            assert!(stderr.contains("the line of ROLE was edited"), "{stderr}");
        }
        // These say where VDSM's own settings are not asked.
        for name in ["sdcheck_repository", "sdcheck_run"] {
            let checked = check(&storage, "<domain/>", &[(name, blank)]);
            assert_eq!(checked, (0, String::new()), "{name}={blank:?}");
        }
    }
}

#[test]
fn a_domain_in_very_many_places_is_not_looked_for() {
    let storage = Storage::new();
    let places = (0..1025).map(|n| {
        let directory = format!("/nowhere/mnt/{n}/{DATA_ID}");
        disk(Path::new(&directory))
    });
    let xml = vm(&places.collect::<Vec<_>>());
    let expected = "sdcheck: the XML names 1025 places of storage domains, expected at most 1024\n";
    assert_eq!(check(&storage, &xml, &[]), (2, expected.to_owned()));
}

#[test]
fn warn_never_stops_a_vm_whatever_else_is_wrong() {
    let storage = Storage::new();
    let broken = storage.domain("nas:_x", EXPORT_ID, EXPORT.replace("Regular", "Master"));
    let xml = vm(&[disk(&broken)]);
    for (name, value, checked) in [
        ("sdcheck_timeout", "0", true),
        ("sdcheck_timeout", "ten", true),
        ("sdcheck_repository", "dc", false),
        ("sdcheck_run", "run", false),
        ("_hook_domxml", "/nowhere/x", false),
        ("_hook_domxml", "/", false),
    ] {
        let (status, stderr) = check(&storage, &xml, &[("sdcheck", "warn"), (name, value)]);
        assert_eq!(status, 0, "{name}={value}: {stderr}");
        let about = |word: &str| stderr.lines().any(|line| line.contains(word));
        assert!(about(value), "{name}={value}: {stderr}");
        assert_eq!(about("the line of ROLE was edited"), checked, "{stderr}");
        let warning = |line: &str| line.starts_with("sdcheck: warning: ");
        assert!(stderr.lines().all(warning), "{stderr}");
    }
}

/// A host where VDSM's user may start no further thread, or only so many.
#[test]
fn a_host_at_its_limits_is_a_doubt() {
    if !support::is_root() {
        let test = "a_host_at_its_limits_is_a_doubt";
        return support::not_run(test, "needs root to become another user");
    }
    let storage = Storage::new();
    let healthy = storage.domain("nas:_x", DATA_ID, DATA);
    let xml = vm(&[disk(&healthy)]);
    // The hook itself is the first; its second and third are threads, its fourth is a child.
    for most in 1..=3 {
        for (policy, status) in [("warn", 0), ("enforce", 0), ("strict", 2)] {
            let limit = format!("--nproc={most}");
            let output = by_vdsm(&storage, &xml, &["prlimit", &limit])
                .env("sdcheck", policy)
                .output()
                .unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            let context = format!("{policy}, at most {most}: {stderr}");
            assert_eq!(output.status.code(), Some(status), "{context}");
            let begin = match status {
                0 => "sdcheck: warning: storage domain ",
                _ => "sdcheck: storage domain ",
            };
            assert!(stderr.starts_with(begin), "{context}");
            assert!(stderr.contains(": cannot be read, "), "{context}");
            assert_eq!(lines(&stderr).len(), 1, "{context}");
        }
    }
}

#[test]
fn off_does_not_parse_and_warn_never_stops() {
    let storage = Storage::new();
    for (xml, status) in [
        ("", 0),
        ("<domain", 2),
        ("<!DOCTYPE x []><domain/>", 2),
        ("<domain/>", 0),
    ] {
        assert_eq!(
            check(&storage, xml, &[("sdcheck", "off")]),
            (0, String::new())
        );
        assert_eq!(check(&storage, xml, &[]).0, status, "{xml}");
        let (warned, stderr) = check(&storage, xml, &[("sdcheck", "warn")]);
        assert_eq!(warned, 0, "{xml}");
        assert_eq!(
            stderr.starts_with("sdcheck: warning: "),
            status == 2,
            "{stderr}"
        );
    }
}

#[test]
fn several_bad_domains_make_one_line_with_the_worst_first() {
    let storage = Storage::new();
    let unsealed = storage.domain("nas:_a", EXPORT_ID, EXPORT.replace("_SHA", "#_SHA"));
    let broken = storage.domain("nas:_b", DATA_ID, DATA.replace("=data1", "=data2"));
    let id = "11111111-4504-4314-91ca-d9365a30692b";
    let empty = storage.domain("nas:_c", id, "");
    let xml = vm(&[disk(&unsealed), disk(&empty), disk(&broken)]);
    let (status, stderr) = check(&storage, &xml, &[]);
    assert_eq!(status, 2);
    let problems: Vec<&str> = stderr.trim_end().split("; ").collect();
    assert_eq!(lines(&stderr).len(), 1, "{stderr}");
    assert_eq!(problems.len(), 3, "{stderr}");
    for (problem, (id, what)) in problems.iter().zip([
        (
            DATA_ID,
            "the line of DESCRIPTION was edited: it says \"data2\", the seal is that of \"data1\"",
        ),
        (id, "is empty"),
        (EXPORT_ID, "carries no seal"),
    ]) {
        assert!(problem.contains(id) && problem.ends_with(what), "{problem}");
    }
    // Where nothing stops, each is a warning of its own.
    let (status, stderr) = check(&storage, &xml, &[("sdcheck", "warn")]);
    assert_eq!((status, lines(&stderr).len()), (0, 3), "{stderr}");
}

#[test]
fn a_domain_is_found_in_every_way() {
    let storage = Storage::new();
    let repository = storage.repository();
    // One broken domain, so that finding it shows.
    let broken = EXPORT.replace("Regular", "Master");
    let direct = storage.domain("nas:_direct", EXPORT_ID, &broken);
    let ids: Vec<String> = (0..6).map(|n| format!("{n}{}", &EXPORT_ID[1..])).collect();
    let make = |number: usize, mount: &str| storage.domain(mount, &ids[number], &broken);
    let gluster = make(0, "glusterSD/host:_my__vol");
    storage.link_into_pool(&make(1, "nas:_pool"), &ids[1]);
    storage.link_into_pool(&make(2, "nas:_master"), "mastersd");
    let prepared = make(4, "nas:_prepared");
    fs::create_dir_all(storage.run().join(&ids[4])).unwrap();
    symlink(
        prepared.join("images").join(IMAGE),
        storage.run().join(&ids[4]).join(IMAGE),
    )
    .unwrap();
    // LocalFS: the mount is a link.
    let local = storage.path().join("local");
    fs::create_dir(&local).unwrap();
    symlink(&local, storage.mount("_data_images")).unwrap();
    make(5, "_data_images");
    let volume = |directory: &Path| directory.join("images").join(IMAGE).join(VOLUME);
    let gluster_source = |host: &str| {
        format!(
            "<disk type='network'><source protocol='gluster' name='my_vol/{}/images/{IMAGE}/{VOLUME}'><host name='{host}'/></source></disk>",
            ids[0]
        )
    };
    let ovirt = |members: &str| {
        format!(
            "<domain xmlns:v='http://ovirt.org/vm/1.0'><metadata><v:vm><v:device devtype='disk'>{members}</v:device></v:vm></metadata></domain>"
        )
    };
    let pool = repository.join(POOL);
    for (xml, id) in [
        (disk(&direct), EXPORT_ID),
        (disk(&gluster), &ids[0]),
        (gluster_source("host"), &ids[0]),
        (gluster_source("other"), &ids[0]),
        (disk(&pool.join(&ids[1])), &ids[1]),
        (vm(&[lease(&ids[1])]), &ids[1]),
        (
            disk_of(&pool.join("mastersd/images").join(IMAGE).join("a.iso")),
            &ids[2],
        ),
        (vm(&[lease(&ids[2])]), &ids[2]),
        (
            disk_of(&storage.run().join(&ids[4]).join(IMAGE).join(VOLUME)),
            &ids[4],
        ),
        (
            disk_of(
                &Path::new("/var/run/vdsm/storage")
                    .join(&ids[4])
                    .join(IMAGE)
                    .join(VOLUME),
            ),
            &ids[4],
        ),
        (
            disk_of(&Path::new("/var/lib/vdsm/transient").join(format!("{}-{VOLUME}.x1", ids[5]))),
            &ids[5],
        ),
        (vm(&[lease(&ids[5])]), &ids[5]),
        (
            format!(
                "<domain><os><kernel>{}</kernel></os></domain>",
                volume(&direct).display()
            ),
            EXPORT_ID,
        ),
        (
            ovirt(&format!(
                "<v:domainID>{}</v:domainID><v:imageID>{IMAGE}</v:imageID>",
                ids[4]
            )),
            &ids[4],
        ),
        (
            ovirt(&format!(
                "<v:domainID>{}</v:domainID><v:poolID>{POOL}</v:poolID>",
                ids[1]
            )),
            &ids[1],
        ),
        (
            ovirt(&format!(
                "<v:volumeChain><v:volumeChainNode><v:path>{}</v:path></v:volumeChainNode></v:volumeChain>",
                volume(&direct).display()
            )),
            EXPORT_ID,
        ),
    ] {
        let (status, stderr) = check(&storage, &xml, &[]);
        assert_eq!(status, 2, "{xml}: {stderr}");
        assert!(
            stderr.starts_with(&format!("sdcheck: storage domain {id} \"Export\"")),
            "{xml}: {stderr}"
        );
        assert!(stderr.contains("ROLE was edited"), "{xml}: {stderr}");
    }
    // The id is the one of the directory, so its SDUUID differs; found twice, it is said once.
    let both = vm(&[
        lease(&ids[2]),
        disk_of(&pool.join("mastersd/images").join(IMAGE).join("x")),
    ]);
    let (_, stderr) = check(&storage, &both, &[]);
    assert_eq!(stderr.matches("seal is broken").count(), 1, "{stderr}");
}

#[test]
fn a_vm_without_storage_domains_is_none_of_its_business() {
    let storage = Storage::new();
    let xml = vm(&[
        disk_of(Path::new("/dev/mapper/360014051234567890")),
        "<disk type='network'><source protocol='rbd' name='pool/volume-1'/></disk>".to_owned(),
        "<disk type='file' device='cdrom'><source file=''/></disk>".to_owned(),
        "<interface type='bridge'/>".to_owned(),
    ]);
    assert_eq!(
        check(&storage, &xml, &[("sdcheck", "strict")]),
        (0, String::new())
    );
}

/// Both are being read at the same time, and an error of theirs is one of the storage.
#[test]
fn blocked_domains_are_waited_for_side_by_side() {
    let storage = Storage::new();
    let mounts = ["nas:_a", "nas:_b"].map(|name| storage.mount(name));
    let dead: Result<Vec<_>, _> = mounts.iter().map(|mount| DeadMount::on(mount)).collect();
    let dead = match dead {
        Ok(dead) => dead,
        Err(reason) => {
            return support::not_run("blocked_domains_are_waited_for_side_by_side", &reason);
        }
    };
    let disks = mounts.each_ref().map(|mount| disk(&mount.join(DATA_ID)));
    let firing = fire(&storage, &vm(&disks), &[("sdcheck_timeout", "120")]);
    let begin = Instant::now();
    while mounts.iter().any(|mount| processes(mount).is_empty()) {
        assert!(begin.elapsed() < TIMEOUT);
        thread::sleep(Duration::from_millis(2));
    }
    // The kernel tells whoever waits that the server is gone.
    drop(dead);
    let (status, stderr) = firing.end();
    assert_eq!((status, lines(&stderr).len()), (0, 2), "{stderr}");
    for (line, mount) in lines(&stderr).into_iter().zip(&mounts) {
        let said = format!(
            "in {}/{DATA_ID}/dom_md/metadata: cannot be read, ",
            mount.display()
        );
        assert!(line.contains(&said), "{line}");
    }
    assert_nobody_works_on(storage.path());
}

#[test]
fn a_dead_mount() {
    let storage = Storage::new();
    let healthy = storage.domain("nas:_good", DATA_ID, DATA);
    let broken_id = "22222222-4504-4314-91ca-d9365a30692b";
    let broken = storage.domain("nas:_broken", broken_id, DATA.replace("=data1", "=data2"));
    let mount = storage.mount("nas:_dead");
    let dead = match DeadMount::on(&mount) {
        Ok(dead) => dead,
        Err(reason) => return support::not_run("a_dead_mount", &reason),
    };
    // A dead mount neither delays nor spoils the answer for a domain elsewhere.
    let long = [("sdcheck_timeout", "120"), ("sdcheck", "strict")];
    for xml in [
        vm(&[disk(&healthy)]),
        vm(&[lease(DATA_ID)]),
        vm(&[disk(&healthy), lease(DATA_ID)]),
    ] {
        assert_eq!(check(&storage, &xml, &long), (0, String::new()), "{xml}");
    }
    // A domain on it is given up.
    let short = |policy: &'static str| [("sdcheck_timeout", "1"), ("sdcheck", policy)];
    let on_it = vm(&[disk(&mount.join(EXPORT_ID))]);
    let said = "the storage did not answer within 1 s\n";
    let (status, stderr) = check(&storage, &on_it, &short("enforce"));
    assert_eq!(status, 0, "{stderr}");
    assert!(
        stderr.starts_with("sdcheck: warning: ") && stderr.ends_with(said),
        "{stderr}"
    );
    // The child that was given up cannot even be killed: that is what dead storage does.
    let left = processes(&mount);
    assert!(left.iter().any(|(_, state)| *state == 'D'), "{left:?}");
    let (status, stderr) = check(&storage, &on_it, &short("strict"));
    assert_eq!(status, 2);
    assert!(stderr.ends_with(said), "{stderr}");
    // An id that is nowhere may be on the dead one.
    let (status, stderr) = check(&storage, &vm(&[lease(EXPORT_ID)]), &short("enforce"));
    assert_eq!(status, 0, "{stderr}");
    assert!(
        stderr.ends_with(", 1 of its mounts did not answer within 1 s\n"),
        "{stderr}"
    );
    // And a broken domain is seen beside a dead one.
    let both = vm(&[disk(&mount.join(EXPORT_ID)), disk(&broken), lease(DATA_ID)]);
    let (status, stderr) = check(&storage, &both, &short("enforce"));
    assert_eq!((status, lines(&stderr).len()), (2, 1), "{stderr}");
    assert!(
        stderr.starts_with(&format!("sdcheck: storage domain {broken_id} \"data2\"")),
        "{stderr}"
    );
    assert!(stderr.contains(said.trim_end()), "{stderr}");
    drop(dead);
    assert_nobody_works_on(storage.path());
}

/// More dead mounts than children may run at once.
#[test]
fn many_blocked_mounts_do_not_keep_a_healthy_one_waiting() {
    let storage = Storage::new();
    let dead: Result<Vec<_>, _> = (0..80)
        .map(|number| DeadMount::on(&storage.mount(&format!("a{number}:_x"))))
        .collect();
    let dead = match dead {
        Ok(dead) => dead,
        Err(reason) => {
            let test = "many_blocked_mounts_do_not_keep_a_healthy_one_waiting";
            return support::not_run(test, &reason);
        }
    };
    storage.domain("z:_good", EXPORT_ID, EXPORT);
    let long = [("sdcheck_timeout", "120"), ("sdcheck", "strict")];
    let xml = vm(&[lease(EXPORT_ID)]);
    assert_eq!(check(&storage, &xml, &long), (0, String::new()));
    drop(dead);
    assert_nobody_works_on(storage.path());
}

#[test]
fn the_repository_of_vdsm_conf() {
    let storage = Storage::new();
    let broken = storage.domain("nas:_x", EXPORT_ID, EXPORT.replace("Regular", "Master"));
    let document = storage.path().join("vm.xml");
    fs::write(&document, vm(&[lease(EXPORT_ID)])).unwrap();
    let conf = storage.path().join("conf");
    fs::write(
        &conf,
        format!("[irs]\nrepository = {}\n", storage.repository().display()),
    )
    .unwrap();
    // An /etc of its own, in a mount namespace of its own.
    let script = "mount -t tmpfs etc /etc && mkdir -p /etc/vdsm/vdsm.conf.d && cp \"$1\" \"/etc/vdsm/$2\" && exec \"$3\"";
    for place in ["vdsm.conf", "vdsm.conf.d/50_site.conf"] {
        let possible = Command::new("unshare").args(["-m", "true"]).status();
        if !possible.is_ok_and(|status| status.success()) {
            return support::not_run("the_repository_of_vdsm_conf", "no mount namespace here");
        }
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c", script, "sh"])
            .arg(&conf)
            .args([place, SDCHECK])
            .env("_hook_domxml", &document)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(&*broken.to_string_lossy()), "{stderr}");
    }
}

/// A child is no way around the hook's arguments, and dies with its parent.
#[test]
fn a_child_needs_its_parent() {
    let output = Command::new(SDCHECK)
        .args(["__probe", "1", "domain", "/etc"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    let storage = Storage::new();
    let mount = storage.mount("nas:_x");
    let dead = match DeadMount::killable(&mount) {
        Ok(dead) => dead,
        Err(reason) => return support::not_run("a_child_needs_its_parent", &reason),
    };
    let xml = vm(&[disk(&mount.join(EXPORT_ID))]);
    let mut firing = fire(&storage, &xml, &[("sdcheck_timeout", "120")]);
    let begin = Instant::now();
    while processes(&mount).is_empty() {
        assert!(begin.elapsed() < TIMEOUT);
        thread::sleep(Duration::from_millis(2));
    }
    firing.child.kill().unwrap();
    firing.child.wait().unwrap();
    assert_nobody_works_on(storage.path());
    drop(dead);
}
