// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain check` and `vdsm-hooks domain checksum`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

use crate::{domains, json_page, support};

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use domains::{
    DATA, DATA_ID, DeadMount, EXPORT, EXPORT_ID, EXPORT_SEAL, Storage, assert_nobody_works_on,
    is_root,
};

const TOOL: &str = env!("CARGO_BIN_EXE_vdsm-hooks");

/// Runs the tool in `directory`: exit status, stdout, stderr.
fn domain(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(TOOL)
        .arg("domain")
        .args(arguments)
        .current_dir(directory)
        .env_remove("CLICOLOR_FORCE")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().expect("killed by a signal"),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn every_way_to_name_a_domain() {
    let name = "every_way_to_name_a_domain";
    if !is_root() {
        return support::not_run(name, "needs root, to give files to VDSM");
    }
    let storage = Storage::new();
    let good = storage.whole("nas:_x", EXPORT_ID, EXPORT);
    let file = good.join("dom_md/metadata");
    let before = storage.snapshot();
    let expected = format!(
        "{}\n  name:         \"Export\"\n  verdict:      ok\n  declared:     {EXPORT_SEAL}\n  computed:     {EXPORT_SEAL}\n  lock:         free\n  images:       1\n",
        file.display()
    );
    let absolute = |path: &Path| path.to_string_lossy().into_owned();
    for (directory, path) in [
        (storage.path(), absolute(&good)),
        (storage.path(), absolute(&good.join("dom_md"))),
        (storage.path(), absolute(&file)),
        (storage.path(), absolute(&storage.mount("nas:_x"))),
        (&storage.mount("nas:_x"), ".".to_owned()),
        (&storage.mount("nas:_x"), EXPORT_ID.to_owned()),
        (&good.join("dom_md"), "metadata".to_owned()),
        (&good.join("images"), "..".to_owned()),
    ] {
        let done = domain(directory, &["check", &path]);
        assert_eq!(done, (0, expected.clone(), String::new()), "{path}");
        let done = domain(directory, &["checksum", &path]);
        assert_eq!(
            done,
            (0, format!("{EXPORT_SEAL}\n"), String::new()),
            "{path}"
        );
    }
    assert_eq!(storage.snapshot(), before);
}

#[test]
fn verdicts_and_exit_statuses() {
    let storage = Storage::new();
    let root = storage.path();
    let padded = EXPORT.replace("=Export\n", "=Export \n");
    let resealed = padded.replace(EXPORT_SEAL, "017029886dd6331def57d5c5913e7576e15a6e58");
    let unsealed = EXPORT.replace("_SHA_CKSUM", "#_SHA_CKSUM");
    let foreign = EXPORT.replace(EXPORT_SEAL, "cd5051bb4d79fe9d5fe6772335acf2f388fe09b5");
    let attached = storage.domain("attached", "99999999-5445-4bc3-8675-ceff4637e8e3", EXPORT);
    let missing = storage.bare("missing", EXPORT_ID);
    let copy = |name: &str, metadata: &[u8]| {
        let path = root.join(name);
        fs::write(&path, metadata).unwrap();
        path
    };
    // What is judged; exit status; what is said, each in a line.
    let rows = [
        (copy("ok", DATA.as_bytes()), 0, vec!["verdict:      ok"]),
        (
            copy("padded", padded.as_bytes()),
            2,
            vec![
                "verdict:      broken",
                "declared:     5737f1270bf93fdd660fea819655b01a34c315b9",
                "computed:     017029886dd6331def57d5c5913e7576e15a6e58",
                "likely cause: a stray U+0020 (blank) at the end of the value of DESCRIPTION",
                "otherwise:    VDSM 4.3 and older: ok",
                "otherwise:    a script that works line by line: ok",
            ],
        ),
        (
            // VDSM of today is content; that is no finding, but worth knowing.
            copy("resealed", resealed.as_bytes()),
            0,
            vec![
                "verdict:      ok",
                "otherwise:    VDSM 4.3 and older: broken, computes 5737f1270bf93fdd660fea819655b01a34c315b9",
                "otherwise:    a script that works line by line: broken, computes 5737f1270bf93fdd660fea819655b01a34c315b9",
            ],
        ),
        (
            copy("unsealed", unsealed.as_bytes()),
            1,
            vec![
                "verdict:      unsealed",
                "computed:     7697118614bc404984f602d193fa5fbc90250d23",
            ],
        ),
        (
            copy("foreign", foreign.as_bytes()),
            2,
            vec!["likely cause: the line \"MASTER_VERSION=0\" was added after sealing"],
        ),
        (
            copy("latin1", b"DESCRIPTION=\xe9\n"),
            2,
            vec![
                "verdict:      not UTF-8",
                "likely cause: byte 12, in line 1, is 0xe9",
            ],
        ),
        (
            copy("empty", b"\n# nothing\n"),
            2,
            vec!["verdict:      empty"],
        ),
        (
            // Nobody else looks at a seal over nothing.
            copy(
                "seal-only",
                format!("_SHA_CKSUM={EXPORT_SEAL}\n").as_bytes(),
            ),
            2,
            vec![
                "verdict:      empty",
                "otherwise:    a script that works line by line: broken, computes da39a3ee5e6b4b0d3255bfef95601890afd80709",
            ],
        ),
        (missing.clone(), 2, vec!["verdict:      missing file"]),
        (
            missing.join("dom_md/metadata"),
            2,
            vec!["verdict:      missing file"],
        ),
        (
            attached,
            1,
            vec![
                "verdict:      ok",
                "finding:      SDUUID: 37e0e64b-5445-4bc3-8675-ceff4637e8e3, but the domain is in 99999999-5445-4bc3-8675-ceff4637e8e3",
            ],
        ),
        (
            copy(
                "wrong",
                b"VERSION=7\nCLASS=Data\nTYPE=NFS\nROLE=Regular\nDESCRIPTION=x\n",
            ),
            1,
            vec![
                "finding:      VERSION: \"7\" is unknown, expected one of 0, 2, 3, 4, 5",
                "finding:      SDUUID: missing",
                "finding:      LEASETIMESEC: missing, VDSM takes 60",
            ],
        ),
    ];
    for (path, status, said) in &rows {
        let (code, stdout, stderr) = domain(root, &["check", &path.to_string_lossy()]);
        assert_eq!((code, stderr.as_str()), (*status, ""), "{path:?}: {stdout}");
        for line in said {
            assert!(
                stdout.lines().any(|other| other.trim_start() == *line),
                "{line}\nis not in\n{stdout}"
            );
        }
    }
    // Of several the worst decides.
    let of = |names: &[&str]| domain(root, &[&["check"], names].concat()).0;
    assert_eq!(of(&["ok", "ok"]), 0);
    assert_eq!(of(&["ok", "unsealed"]), 1);
    assert_eq!(of(&["padded", "unsealed", "ok"]), 2);
    assert_eq!(of(&["ok", "no such file"]), 2);
}

#[test]
fn what_is_no_domain() {
    let storage = Storage::new();
    storage.domain("two", EXPORT_ID, EXPORT);
    storage.domain("two", DATA_ID, DATA);
    let block = storage.bare("blockSD", DATA_ID);
    std::os::unix::fs::symlink("/dev/x/metadata", block.join("dom_md/metadata")).unwrap();
    let two = storage.mount("two");
    let both = ["check", "checksum"].as_slice();
    for (commands, path, said) in [
        (both, storage.path().join("nothing"), "nothing: No such file or directory (os error 2)".to_owned()),
        (both, storage.run(), "run: no storage domain, expected one of: its directory, its dom_md, its metadata, the mount it is in".to_owned()),
        (&both[1..], two, format!("two: 2 storage domains, of which VDSM sees one only; name one of them: {EXPORT_ID}, {DATA_ID}")),
        (&both[1..], block, "metadata: a domain on block storage: its metadata is in the tags of its volume group, expected a domain on file storage".to_owned()),
    ] {
        for command in commands {
            let (code, stdout, stderr) = domain(storage.path(), &[command, &path.to_string_lossy()]);
            assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
            assert!(stderr.starts_with("vdsm-hooks: ") && stderr.ends_with(&format!("{said}\n")), "{stderr}");
        }
    }
}

/// Runs the tool with this on its standard input: exit status, stdout, stderr.
fn domain_of(input: &str, arguments: &[&str]) -> (i32, String, String) {
    let mut child = Command::new(TOOL)
        .arg("domain")
        .args(arguments)
        .current_dir("/")
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Who refuses it does not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().expect("killed by a signal"),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn metadata_on_standard_input() {
    let (code, stdout, stderr) = domain_of(EXPORT, &["check", "-"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(
        stdout.starts_with("standard input\n  name:         \"Export\"\n"),
        "{stdout}"
    );
    let edited = EXPORT.replace("ROLE=Regular", "ROLE=Master");
    let (code, stdout, _) = domain_of(&edited, &["check", "-"]);
    assert_eq!(code, 2);
    // The command is for the file that it came from.
    assert!(
        stdout.contains("  advice:       of the file itself: vdsm-hooks domain seal --restore FILE, or as it is: vdsm-hooks domain seal FILE\n"),
        "{stdout}"
    );
    assert!(!stdout.contains("mend:"), "{stdout}");
    let (code, stdout, _) = domain_of("", &["check", "--json", "-"]);
    let reports: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &reports["domains"][0]["verdict"]),
        (2, &json!("empty"))
    );
    assert_eq!(reports["domains"][0]["path"], "standard input");
    let (code, stdout, _) = domain_of(EXPORT, &["show", "-"]);
    assert!(
        code == 0 && stdout.contains("export domain"),
        "{code} {stdout}"
    );
    for command in ["seal", "release"] {
        let (code, stdout, stderr) = domain_of(EXPORT, &[command, "-"]);
        assert_eq!((code, stdout.as_str()), (2, ""));
        assert_eq!(
            stderr,
            "vdsm-hooks: standard input: expected the file itself, since it is replaced\n"
        );
    }
}

#[test]
fn json_for_scripts() {
    if !is_root() {
        return support::not_run("json_for_scripts", "needs root, to give files to VDSM");
    }
    let storage = Storage::new();
    let good = storage.whole("nas:_x", EXPORT_ID, EXPORT);
    let upper = EXPORT.replace(EXPORT_SEAL, &EXPORT_SEAL.to_uppercase());
    fs::write(storage.path().join("upper"), upper).unwrap();
    let (code, stdout, stderr) = domain(
        storage.path(),
        &["check", "--json", "upper", "none", &good.to_string_lossy()],
    );
    assert_eq!((code, stderr.as_str()), (2, ""));
    let answer: Value = serde_json::from_str(&stdout).unwrap();
    json_page::explains(&answer);
    let reports = &answer["domains"];
    let upper = &reports[0];
    assert_eq!(upper["path"], "upper");
    assert_eq!(
        upper["file"],
        *storage.path().join("upper").to_string_lossy()
    );
    assert_eq!(upper["verdict"], "broken");
    assert_eq!(upper["status"], 2);
    assert_eq!(upper["declared"], EXPORT_SEAL.to_uppercase());
    assert_eq!(upper["computed"], EXPORT_SEAL);
    assert_eq!(upper["cause"], "the digest is written in upper case");
    let shown = upper["engine"].as_str().unwrap();
    assert!(
        shown.starts_with("at an import \"There is no storage domain under"),
        "{shown}"
    );
    assert_eq!(upper["other_remedy"], Value::Null);
    assert_eq!(upper["otherwise"], json!([]));
    assert_eq!(upper["metadata"]["DESCRIPTION"], "Export");
    assert_eq!(
        answer["errors"],
        json!([{"path": "none", "error": format!("{}: No such file or directory (os error 2)", storage.path().join("none").display())}])
    );
    assert_eq!(reports[1]["verdict"], "ok");
    assert_eq!(reports[1]["findings"], json!([]));
    assert_eq!(reports[1]["cause"], Value::Null);
    assert_eq!(reports[1]["remedy"], Value::Null);
    assert_eq!(reports[1]["engine"], Value::Null);
    assert_eq!(reports[1]["facts"], json!({"lock": "free", "images": "1"}));
}

/// The command that stands below the verdict, as a shell runs it.
#[test]
fn what_is_printed_mends_a_broken_seal() {
    if !is_root() {
        return support::not_run(
            "what_is_printed_mends_a_broken_seal",
            "needs root, to give files to VDSM",
        );
    }
    let storage = Storage::new();
    let edited = EXPORT.replace("=Export\n", "=Import\n");
    let broken = storage.whole("nas:_x y", EXPORT_ID, &edited);
    let check = |directory: &Path| {
        let (code, stdout, _) = domain(storage.path(), &["check", directory.to_str().unwrap()]);
        (code, stdout)
    };
    let (_, report) = check(&broken);
    let mend = report
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("mend:"));
    let mend = mend.unwrap_or_else(|| panic!("{report}"));
    let done = Command::new("sh")
        .args(["-euc", mend])
        .current_dir("/")
        .env(
            "PATH",
            format!(
                "{}:/usr/bin:/bin",
                Path::new(TOOL).parent().unwrap().display()
            ),
        )
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success(),
        "{stdout}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let (code, report) = check(&broken);
    assert!(
        code == 0 && report.contains("verdict:      ok") && report.contains("\"Import\""),
        "{report}"
    );
    // Nothing but the name and the seal has changed.
    let now = fs::read_to_string(broken.join("dom_md/metadata")).unwrap();
    let seal = "1e89fa76308e439e9aaf9fdb565f0f3390fbb5ce";
    assert_eq!(
        now,
        EXPORT
            .replace("=Export\n", "=Import\n")
            .replace(EXPORT_SEAL, seal)
    );
}

/// What three readers compute, for every file about which they may disagree.
#[test]
fn checksums_by_every_reader() {
    let storage = Storage::new();
    let line = |old: &str, new: &str| EXPORT.replace(&format!("{old}\n"), &format!("{new}\n"));
    let description = |value: &str| line("=Export", &format!("={value}"));
    let mut reversed: Vec<&str> = EXPORT.lines().rev().collect();
    reversed.insert(3, "");
    let volumes: String = (0..12).map(|n| format!("PV{n}=x{n}\n")).collect();
    let nothing = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
    // None where nobody has written down what it is.
    let all = |seal| [Some(seal); 3];
    let good = Some(EXPORT_SEAL);
    for (text, seals) in [
        (EXPORT.to_owned(), all(EXPORT_SEAL)),
        (reversed.join("\n"), all(EXPORT_SEAL)),
        (EXPORT.replace('\n', "\r\n"), all(EXPORT_SEAL)),
        (format!("# exported by hand\n{EXPORT}"), all(EXPORT_SEAL)),
        (
            format!("# made=by hand\n{EXPORT}"),
            [
                Some("bbe581817a0ca605b2112cbe928d4194bbc97ee7"),
                Some("bbe581817a0ca605b2112cbe928d4194bbc97ee7"),
                good,
            ],
        ),
        (
            EXPORT.replace("_SHA", "#_SHA"),
            [
                Some("7697118614bc404984f602d193fa5fbc90250d23"),
                Some("7697118614bc404984f602d193fa5fbc90250d23"),
                good,
            ],
        ),
        (
            description("Export "),
            [Some("017029886dd6331def57d5c5913e7576e15a6e58"), good, good],
        ),
        (
            description("Export\u{a0}"),
            [
                Some("7fb191416b04ee03f6ca93a471a13ea37810be92"),
                Some("7fb191416b04ee03f6ca93a471a13ea37810be92"),
                good,
            ],
        ),
        (
            line("CLASS=Backup", " CLASS=Backup"),
            [good, Some("7dd058337d9e194b845baed2fbbf9d3a85d3c66e"), good],
        ),
        (
            line("ROLE=Regular", "ROLE = Regular"),
            [
                Some("3497d5af608cb3925c04aa5317795bf56431f773"),
                Some("13b8993f5e12a7562e1e9de2c582e9b63c1d63a2"),
                Some("f35df7069780f5e698d284145d61eccce55dfb2d"),
            ],
        ),
        (EXPORT.replace("_SHA", " _SHA"), [good, None, good]),
        (
            line(EXPORT_SEAL, &format!("{EXPORT_SEAL} ")),
            all(EXPORT_SEAL),
        ),
        (EXPORT.replace("CKSUM=", "CKSUM= "), all(EXPORT_SEAL)),
        (
            EXPORT.replace(EXPORT_SEAL, &EXPORT_SEAL.to_uppercase()),
            all(EXPORT_SEAL),
        ),
        (
            line("TYPE=NFS\nVERSION=0", "TYPE=NFS\nVERSION=0\nVERSION=0"),
            [good, good, Some("06676f9fb56ce28bb3a38e1069194d5229d9e7d1")],
        ),
        (format!("_SHA_CKSUM=x\n{EXPORT}"), all(EXPORT_SEAL)),
        (format!("{EXPORT}\0\0\0"), [good, good, None]),
        (EXPORT.replace('\n', "\r"), [good, good, None]),
        (
            description("Ex\u{b}port"),
            [
                Some("72f0a8d9c1835c3a01c9ac061d7308cc17a4c89d"),
                Some("1491515a384c2f0be938621f4903423074e0069d"),
                Some("1491515a384c2f0be938621f4903423074e0069d"),
            ],
        ),
        (
            description("Ex\u{2028}port"),
            [Some("72f0a8d9c1835c3a01c9ac061d7308cc17a4c89d"), None, None],
        ),
        (format!("NOTE hello\n{EXPORT}"), [good, good, None]),
        (
            format!("\u{feff}{EXPORT}"),
            all("912068ab61d28673dc841ab59e64162e66e60f88"),
        ),
        (format!("_SHA_CKSUM={EXPORT_SEAL}\n"), all(nothing)),
        (String::new(), all(nothing)),
        (
            volumes,
            [
                Some("5f3a5aa6a49e3029e1d364a58b7b17f037fc1e43"),
                Some("5f3a5aa6a49e3029e1d364a58b7b17f037fc1e43"),
                Some("ce7d69ba80f86d930ae228fdd21aaa1d321d6bc1"),
            ],
        ),
    ] {
        fs::write(storage.path().join("metadata"), &text).unwrap();
        for (reader, seal) in ["current", "old", "script"].into_iter().zip(seals) {
            let arguments = ["checksum", "--reader", reader, "metadata"];
            let (code, stdout, stderr) = domain(storage.path(), &arguments);
            assert_eq!((code, stderr.as_str()), (0, ""), "{text:?}");
            let seal = seal.unwrap_or(stdout.trim_end());
            assert_eq!(stdout, format!("{seal}\n"), "{reader}: {text:?}");
        }
    }
}

#[test]
fn the_checksum_of_anything_readable() {
    let storage = Storage::new();
    for (text, seal) in [
        ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        (
            "TYPE=x\r\nno key\n_SHA_CKSUM=1\n",
            "bb992333b0273a739148545546bb0e5698ae15c4",
        ),
    ] {
        fs::write(storage.path().join("metadata"), text).unwrap();
        let (code, stdout, stderr) = domain(storage.path(), &["checksum", "metadata"]);
        assert_eq!(
            (code, stdout, stderr),
            (0, format!("{seal}\n"), String::new()),
            "{text:?}"
        );
    }
    // As another command gives it.
    let line = "exec \"$0\" domain checksum - < metadata";
    let piped = Command::new("sh")
        .args(["-c", line, TOOL])
        .current_dir(storage.path())
        .output()
        .unwrap();
    assert_eq!(piped.stdout, b"bb992333b0273a739148545546bb0e5698ae15c4\n");
    let line = "head -c 9000000 /dev/zero | \"$0\" domain checksum -";
    let piped = Command::new("sh")
        .args(["-c", line, TOOL])
        .output()
        .unwrap();
    assert_eq!(piped.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&piped.stderr),
        "vdsm-hooks: standard input: larger than 8388608 bytes\n"
    );
    fs::write(storage.path().join("metadata"), b"A=\xff").unwrap();
    for reader in ["current", "old", "script"] {
        let arguments = ["checksum", "--reader", reader, "metadata"];
        let (code, _, stderr) = domain(storage.path(), &arguments);
        assert_eq!(code, 2);
        assert!(
            stderr.ends_with("metadata: not UTF-8, byte 2, in line 1, is 0xff\n"),
            "{stderr}"
        );
    }
}

#[test]
fn storage_that_does_not_answer_is_given_up() {
    let name = "storage_that_does_not_answer_is_given_up";
    let storage = Storage::new();
    let good = storage.domain("nas:_x", EXPORT_ID, EXPORT);
    let mount = storage.mount("nas:_dead");
    let dead = match DeadMount::on(&mount) {
        Ok(dead) => dead,
        Err(reason) => return support::not_run(name, &reason),
    };
    let (good, path) = (good.to_string_lossy(), mount.to_string_lossy());
    let (code, stdout, stderr) = domain(storage.path(), &["check", "--timeout", "1", &good, &path]);
    assert_eq!(code, 2);
    assert!(stdout.contains("verdict:      ok"), "{stdout}");
    assert_eq!(stderr, format!("vdsm-hooks: {path}: no answer in time\n"));
    for command in ["check", "checksum"] {
        let (code, _, stderr) = domain(storage.path(), &[command, "--timeout", "1", &path]);
        assert_eq!(code, 2);
        assert_eq!(stderr, format!("vdsm-hooks: {path}: no answer in time\n"));
    }
    drop(dead);
    assert_nobody_works_on(storage.path());
}
