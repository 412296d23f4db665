// SPDX-License-Identifier: GPL-2.0-or-later

//! `vdsm-hooks domain check` and `vdsm-hooks domain checksum`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod domains;
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

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
    let reports: Value = serde_json::from_str(&stdout).unwrap();
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
    assert_eq!(upper["otherwise"], json!([]));
    assert_eq!(upper["metadata"]["DESCRIPTION"], "Export");
    assert_eq!(
        reports[1],
        json!({"path": "none", "error": format!("{}: No such file or directory (os error 2)", storage.path().join("none").display())})
    );
    assert_eq!(reports[2]["verdict"], "ok");
    assert_eq!(reports[2]["findings"], json!([]));
    assert_eq!(reports[2]["cause"], Value::Null);
    assert_eq!(reports[2]["remedy"], Value::Null);
    assert_eq!(reports[2]["facts"], json!({"lock": "free", "images": "1"}));
}

/// The recipe of the help, as a shell runs it.
#[test]
fn the_recipe_mends_a_broken_seal() {
    if !is_root() {
        return support::not_run(
            "the_recipe_mends_a_broken_seal",
            "needs root, to give files to VDSM",
        );
    }
    let storage = Storage::new();
    let edited = EXPORT.replace("=Export\n", "=Import\n");
    let broken = storage.whole("nas:_x", EXPORT_ID, &edited);
    let help = domain(storage.path(), &["checksum", "--help"]).1;
    let recipe: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.contains("cp -p"))
        .take_while(|line| line.starts_with("    "))
        .collect();
    assert!(recipe.len() >= 4, "{help}");
    let done = Command::new("sh")
        .args(["-euc", &recipe.join("\n")])
        .current_dir(broken.join("dom_md"))
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
    assert!(
        stdout.contains("verdict:      ok") && stdout.contains("\"Import\""),
        "{stdout}"
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
    fs::write(storage.path().join("metadata"), b"A=\xff").unwrap();
    let (code, _, stderr) = domain(storage.path(), &["checksum", "metadata"]);
    assert_eq!(code, 2);
    assert!(
        stderr.ends_with("metadata: not UTF-8, byte 2, in line 1, is 0xff\n"),
        "{stderr}"
    );
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
