// SPDX-License-Identifier: GPL-2.0-or-later

//! The worked examples, and everything that readers disagree about.

use proptest::prelude::*;

use super::*;
use crate::storage::format::seal::digest;
use crate::storage::{findings, write};

const EXPORT: &str = include_str!("../../../../tests/data/storage/export.metadata");
const ISO: &str = include_str!("../../../../tests/data/storage/iso.metadata");
const NFS_V5: &str = include_str!("../../../../tests/data/storage/nfs-v5.metadata");
const LOCAL_4K: &str = include_str!("../../../../tests/data/storage/local-4k.metadata");
const MASTER_V3: &str = include_str!("../../../../tests/data/storage/master-v3.metadata");
const BLOCK_V5: &str = include_str!("../../../../tests/data/storage/block-v5.metadata");
const EXPORT_SEAL: &str = "5737f1270bf93fdd660fea819655b01a34c315b9";

fn judged(text: &str) -> Judgement {
    judge(Some(text.as_bytes()))
}

/// A key, and the value it gets; without one it is dropped.
type Change<'t> = (&'t str, Option<&'t str>);

/// `text` with the lines of `changes` in place of those with the same key, added where there is
/// none.
fn changed(text: &str, changes: &[Change<'_>]) -> Metadata {
    let (mut metadata, _) = Metadata::read(text);
    for (key, value) in changes {
        metadata = metadata.with(key, value.map(str::to_owned));
    }
    metadata
}

#[test]
fn examples_are_sealed_and_sound() {
    for (name, text) in [
        ("export", EXPORT),
        ("iso", ISO),
        ("nfs v5", NFS_V5),
        ("local 4k", LOCAL_4K),
        ("master v3", MASTER_V3),
        ("block v5", BLOCK_V5),
    ] {
        let judgement = judged(text);
        assert_eq!(judgement.reading.verdict, Verdict::Ok, "{name}");
        assert_eq!(judgement.others, [], "{name}");
        assert_eq!(write(&judgement.metadata), text, "{name}");
        let id = judgement.metadata.get("SDUUID");
        assert_eq!(findings(&judgement.metadata, id), [], "{name}");
    }
}

#[test]
fn variants_of_the_examples() {
    let pool = "59c4c3ee-0205-0227-0229-000000000155";
    let pools = format!("{pool},84fab540-fbf2-11ea-a568-5254002fb5cc");
    let v4 = [
        ("ALIGNMENT", None),
        ("BLOCK_SIZE", None),
        ("VERSION", Some("4")),
    ];
    let named = [&v4[..], &[("DESCRIPTION", Some("données 数据 😀"))]].concat();
    let block_v4 = [
        &v4[..],
        &[("LOGBLKSIZE", Some("512")), ("PHYBLKSIZE", Some("512"))],
    ]
    .concat();
    let rows: [(&str, &[Change<'_>], &str); 8] = [
        (
            EXPORT,
            &[("MASTER_VERSION", None)],
            "cd5051bb4d79fe9d5fe6772335acf2f388fe09b5",
        ),
        (
            EXPORT,
            &[("POOL_UUID", Some(pool))],
            "6e39683f46182b2520a541086f822f0ee0169154",
        ),
        (
            EXPORT,
            &[("#_SHA_CKSUM", Some(EXPORT_SEAL))],
            "7697118614bc404984f602d193fa5fbc90250d23",
        ),
        (
            ISO,
            &[("POOL_UUID", Some(&pools))],
            "4894731394af5da41be4b7c30fb77efc16d3d4c2",
        ),
        (NFS_V5, &v4, "0159f25b7017c2b616ed8288bf8390ae43936176"),
        (NFS_V5, &named, "9605ee1de0fa40926fc1d1c66711f5e5be01b0ba"),
        (
            BLOCK_V5,
            &block_v4,
            "0812638dc0e1ecd02fba6047423c4b6922b51f12",
        ),
        (EXPORT, &[], EXPORT_SEAL),
    ];
    for (text, changes, digest) in rows {
        let metadata = changed(text, changes);
        assert_eq!(seal(&metadata), digest, "{changes:?}");
        // What is written is read back, and is sealed for VDSM of any age.
        let judgement = judged(&write(&metadata));
        assert_eq!(judgement.metadata, metadata, "{changes:?}");
        assert_eq!(judgement.reading.verdict, Verdict::Ok, "{changes:?}");
        assert_eq!(
            read_as_4_3(&write(&metadata)).verdict,
            Verdict::Ok,
            "{changes:?}"
        );
    }
}

#[test]
fn a_character_is_hashed_as_its_reference() {
    let hashed = |text: &str| digest(&format!("DESCRIPTION={text}"));
    assert_eq!(hashed("数据"), hashed("&#25968;&#25454;"));
    assert_eq!(
        hashed("données 数据 😀"),
        hashed("donn&#233;es &#25968;&#25454; &#128512;")
    );
    assert_ne!(hashed("é"), hashed("&#xe9;"));
}

#[test]
fn nothing_sealed() {
    let empty = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
    assert_eq!(seal(&Metadata::default()), empty);
    assert_eq!(write(&Metadata::default()), format!("_SHA_CKSUM={empty}\n"));
    // VDSM writes that, and takes it for empty when it reads it.
    assert_eq!(
        judged(&write(&Metadata::default())).reading.verdict,
        Verdict::Empty
    );
}

#[test]
fn physical_volumes_are_sorted_by_key() {
    let lines: Vec<String> = (0..12).map(|n| format!("PV{n}=x{n}")).collect();
    let by_key = "5f3a5aa6a49e3029e1d364a58b7b17f037fc1e43";
    let by_line = "ce7d69ba80f86d930ae228fdd21aaa1d321d6bc1";
    let (metadata, _) = Metadata::from_lines(lines.iter().map(String::as_str));
    assert_eq!(seal(&metadata), by_key);
    let text = lines.join("\n");
    assert_eq!(read_as_4_3(&text).computed.as_deref(), Some(by_key));
    assert_eq!(read_by_line(&text).computed.as_deref(), Some(by_line));
    let judgement = judged(&format!("{text}\n_SHA_CKSUM={by_line}\n"));
    assert_eq!(judgement.reading.verdict, Verdict::Broken);
    assert_eq!(
        judgement.cause.as_deref(),
        Some("the digest was made over lines sorted as a whole, not by their key")
    );
}

/// A verdict in short: `ok`, `unsealed`, `empty`, or broken with this digest computed; an empty
/// text is broken with any.
fn short(reading: &Reading, expected: &str) -> bool {
    let broken = reading.verdict == Verdict::Broken;
    match expected {
        "" => broken,
        "ok" | "unsealed" | "empty" => reading.verdict.to_string() == expected,
        digest => broken && reading.computed.as_deref() == Some(digest),
    }
}

#[test]
#[allow(clippy::too_many_lines)] // A table.
fn where_readers_disagree() {
    let description =
        |value: &str| EXPORT.replace("DESCRIPTION=Export\n", &format!("DESCRIPTION={value}\n"));
    let sealed_as = |text: String, seal: &str| text.replace(EXPORT_SEAL, seal);
    let line = |old: &str, new: &str| EXPORT.replace(&format!("{old}\n"), &format!("{new}\n"));
    let mut reversed: Vec<&str> = EXPORT.lines().rev().collect();
    reversed.insert(3, "");
    let upper = EXPORT.replace(EXPORT_SEAL, &EXPORT_SEAL.to_uppercase());
    let separated = {
        let metadata = changed(EXPORT, &[("DESCRIPTION", Some("Ex\u{2028}port"))]);
        sealed_as(description("Ex\u{2028}port"), &seal(&metadata))
    };
    let padded = "017029886dd6331def57d5c5913e7576e15a6e58";
    let no_break = "7fb191416b04ee03f6ca93a471a13ea37810be92";
    // The text; what VDSM 4.4, VDSM 4.3 and a line script make of it; the likely cause.
    let rows: Vec<(String, &str, &str, &str, &str)> = vec![
        (EXPORT.into(), "ok", "ok", "ok", ""),
        (reversed.join("\n"), "ok", "ok", "ok", ""),
        (EXPORT.replace('\n', "\r\n"), "ok", "ok", "ok", ""),
        (
            format!("# exported by hand\n{EXPORT}"),
            "ok",
            "ok",
            "ok",
            "",
        ),
        (
            format!("# made=by hand\n{EXPORT}"),
            "bbe581817a0ca605b2112cbe928d4194bbc97ee7",
            "bbe581817a0ca605b2112cbe928d4194bbc97ee7",
            "ok",
            "the line \"# made=by hand\" is not a comment for VDSM: a line with '=' counts",
        ),
        (
            EXPORT.replace("_SHA", "#_SHA"),
            "unsealed",
            "unsealed",
            "unsealed",
            "",
        ),
        (
            description("Export "),
            padded,
            "ok",
            "ok",
            "a stray U+0020 (blank) at the end of the value of DESCRIPTION",
        ),
        (sealed_as(description("Export "), padded), "ok", "", "", ""),
        (
            sealed_as(description("Export\u{a0}"), no_break),
            "ok",
            "ok",
            "",
            "",
        ),
        (
            line("CLASS=Backup", " CLASS=Backup"),
            "ok",
            "7dd058337d9e194b845baed2fbbf9d3a85d3c66e",
            "ok",
            "",
        ),
        (
            line("ROLE=Regular", "ROLE = Regular"),
            "3497d5af608cb3925c04aa5317795bf56431f773",
            "13b8993f5e12a7562e1e9de2c582e9b63c1d63a2",
            "f35df7069780f5e698d284145d61eccce55dfb2d",
            "a stray U+0020 (blank) after ROLE=",
        ),
        (EXPORT.replace("_SHA", " _SHA"), "ok", "unsealed", "ok", ""),
        (
            line(EXPORT_SEAL, &format!("{EXPORT_SEAL} ")),
            EXPORT_SEAL,
            "ok",
            "ok",
            "a stray blank beside the digest",
        ),
        (
            EXPORT.replace("CKSUM=", "CKSUM= "),
            EXPORT_SEAL,
            "ok",
            EXPORT_SEAL,
            "a stray blank beside the digest",
        ),
        (
            upper,
            EXPORT_SEAL,
            EXPORT_SEAL,
            EXPORT_SEAL,
            "the digest is written in upper case",
        ),
        (
            line("TYPE=NFS\nVERSION=0", "TYPE=NFS\nVERSION=0\nVERSION=0"),
            "ok",
            "ok",
            "06676f9fb56ce28bb3a38e1069194d5229d9e7d1",
            "",
        ),
        (format!("_SHA_CKSUM=x\n{EXPORT}"), "ok", "ok", "ok", ""),
        (format!("{EXPORT}\0\0\0"), "ok", "ok", "", ""),
        (EXPORT.replace('\n', "\r"), "ok", "ok", "unsealed", ""),
        (
            description("Ex\u{b}port"),
            "72f0a8d9c1835c3a01c9ac061d7308cc17a4c89d",
            "1491515a384c2f0be938621f4903423074e0069d",
            "1491515a384c2f0be938621f4903423074e0069d",
            "U+000B (vertical tab) in DESCRIPTION splits the line for VDSM 4.4 and later",
        ),
        (
            separated,
            "72f0a8d9c1835c3a01c9ac061d7308cc17a4c89d",
            "ok",
            "ok",
            "U+2028 (line separator) in DESCRIPTION splits the line for VDSM 4.4 and later",
        ),
        (format!("NOTE hello\n{EXPORT}"), "ok", "ok", "", ""),
        (
            format!("\u{feff}{EXPORT}"),
            "912068ab61d28673dc841ab59e64162e66e60f88",
            "912068ab61d28673dc841ab59e64162e66e60f88",
            "912068ab61d28673dc841ab59e64162e66e60f88",
            "a byte order mark (U+FEFF) at the start of the file",
        ),
        (
            format!("_SHA_CKSUM={EXPORT_SEAL}\n"),
            "empty",
            "empty",
            "",
            "",
        ),
        (String::new(), "empty", "empty", "unsealed", ""),
    ];
    for (text, vdsm44, vdsm43, script, cause) in rows {
        let judgement = judged(&text);
        let (older, lines) = (read_as_4_3(&text), read_by_line(&text));
        assert!(short(&judgement.reading, vdsm44), "{text:?}: {judgement:?}");
        assert!(short(&older, vdsm43), "{text:?}: {older:?}");
        assert!(short(&lines, script), "{text:?}: {lines:?}");
        assert_eq!(judgement.cause.unwrap_or_default(), cause, "{text:?}");
        // A reader is mentioned where it says something else; of an empty file only a seal that it
        // calls broken.
        let mentioned = |reader| judgement.others.iter().any(|(other, _)| *other == reader);
        let differs = |other: &Reading| match judgement.reading.verdict {
            Verdict::Empty => other.verdict == Verdict::Broken,
            verdict => other.verdict != verdict || other.computed != judgement.reading.computed,
        };
        assert_eq!(mentioned(Reader::Vdsm43), differs(&older), "{text:?}");
        assert_eq!(mentioned(Reader::LineScript), differs(&lines), "{text:?}");
    }
}

#[test]
fn no_text_and_no_file() {
    let latin1 = [
        b"CLASS=Backup\nDESCRIPTION=donn",
        &b"\xe9es\nVERSION=0\n"[..],
    ]
    .concat();
    let judgement = judge(Some(&latin1));
    assert_eq!(judgement.reading.verdict, Verdict::NotUtf8);
    assert_eq!(
        judgement.cause.as_deref(),
        Some("byte 29, in line 2, is 0xe9")
    );
    assert_eq!(
        judgement.metadata.get("DESCRIPTION"),
        Some("donn\u{fffd}es")
    );
    let cut = "DESCRIPTION=é".as_bytes();
    assert_eq!(
        judge(Some(&cut[..cut.len() - 1])).reading.verdict,
        Verdict::NotUtf8
    );
    assert_eq!(judge(None).reading.verdict, Verdict::Missing);
    // NULs are taken off before decoding, and only at the end.
    assert_eq!(judged("\0\0").reading.verdict, Verdict::Empty);
    assert_eq!(judged("A=1\0\0").metadata.get("A"), Some("1"));
    assert_eq!(judged("A=1\0\0\n").metadata.get("A"), Some("1\0\0"));
}

#[test]
fn every_character_that_splits_a_line() {
    for (c, name) in [
        ('\n', ""),
        ('\r', " (carriage return) in"),
        ('\u{b}', " (vertical tab) in"),
        ('\u{c}', " (form feed) in"),
        ('\u{1c}', " in"),
        ('\u{1d}', " in"),
        ('\u{1e}', " in"),
        ('\u{85}', " (next line) in"),
        ('\u{2028}', " (line separator) in"),
        ('\u{2029}', " (paragraph separator) in"),
    ] {
        let (metadata, _) = Metadata::read(&format!("A=1{c}B=2{c}"));
        assert_eq!(metadata.get("A"), Some("1"), "{c:?}");
        assert_eq!(metadata.get("B"), Some("2"), "{c:?}");
        let mut empty = Metadata::default();
        assert!(empty.set("A", &format!("1{c}")).is_err(), "{c:?}");
        // Sealed over it, as VDSM does without looking: the domain locks itself out.
        let value = format!("x{c}y");
        let sealed = digest(&format!("DESCRIPTION={value}VERSION=3"));
        let text = format!("DESCRIPTION={value}\nVERSION=3\n_SHA_CKSUM={sealed}\n");
        let judgement = judged(&text);
        assert_eq!(judgement.reading.verdict, Verdict::Broken, "{c:?}");
        if c == '\n' {
            continue;
        }
        let cause = judgement.cause.unwrap_or_default();
        let named = format!("U+{:04X}{name}", u32::from(c));
        assert!(
            cause.contains(&named) && cause.contains("DESCRIPTION"),
            "{cause}"
        );
    }
    for c in ['\t', '\u{1f}', '\u{a0}', '\u{feff}', '\0', '\u{200b}'] {
        let (metadata, _) = Metadata::read(&format!("A=1{c}B"));
        assert_eq!(metadata.get("A"), Some(format!("1{c}B").as_str()), "{c:?}");
    }
}

#[test]
#[allow(clippy::too_many_lines)] // A table.
fn likely_causes() {
    let line = |old: &str, new: &str| EXPORT.replace(old, new);
    let in_order = EXPORT.lines().rev().filter(|one| !one.starts_with('_'));
    let unsorted = format!(
        "{}\n_SHA_CKSUM={}\n",
        in_order.clone().collect::<Vec<_>>().join("\n"),
        digest(&in_order.collect::<String>())
    );
    let ends: String = EXPORT
        .lines()
        .filter(|one| !one.starts_with('_'))
        .map(|one| format!("{one}\n"))
        .collect();
    let with_ends = EXPORT.replace(EXPORT_SEAL, &digest(&ends));
    let utf8 = {
        let lines = "CLASS=DataDESCRIPTION=é";
        let made = hex_sha1(lines.as_bytes());
        format!("CLASS=Data\nDESCRIPTION=é\n_SHA_CKSUM={made}\n")
    };
    let stripped = {
        let metadata = changed(EXPORT, &[("DESCRIPTION", Some("Export "))]);
        EXPORT.replace(EXPORT_SEAL, &seal(&metadata))
    };
    let two_blanks = line("=Export\n", "=Export \n").replace("=Regular\n", "=Regular\t\n");
    let one_of_two = {
        let metadata = changed(EXPORT, &[("DESCRIPTION", Some("Export "))]);
        two_blanks.replace(EXPORT_SEAL, &seal(&metadata))
    };
    let unsorted_with_ends = {
        let lines: Vec<&str> = ends.lines().rev().collect();
        let lines = lines.join("\n") + "\n";
        let made = digest(&lines);
        format!("{lines}_SHA_CKSUM={made}\n")
    };
    for (text, cause) in [
        (
            line("=Export\n", "=Exporf\n"),
            "the line of DESCRIPTION was edited: it says \"Exporf\", the seal is that of \"Export\"",
        ),
        (
            line("192.168.1.108", "192.168.1.10"),
            "the line of REMOTE_PATH was edited: it says \"192.168.1.10:/home/nfs_exports\", the seal is that of \"192.168.1.108:/home/nfs_exports\"",
        ),
        (
            line("ROLE=Regular", "ROLE=Master"),
            "the line of ROLE was edited: it says \"Master\", the seal is that of \"Regular\"",
        ),
        (
            line(
                "POOL_UUID=",
                "POOL_UUID=59c4c3ee-0205-0227-0229-000000000155",
            ),
            "the line of POOL_UUID was edited: it says \"59c4c3ee-0205-0227-0229-000000000155\", the seal is that of \"\"",
        ),
        (
            line("MASTER_VERSION=0\n", ""),
            "the line MASTER_VERSION=0 has been lost",
        ),
        (
            line("TYPE=NFS\n", "TYPE=NFS\nOWNER=me\n"),
            "the line \"OWNER=me\" was added after sealing",
        ),
        (
            line("VERSION=0\n_", "VERSION=0\nCLASS=Iso\n_"),
            "CLASS stands there twice, and the later line counts",
        ),
        (
            line("VERSION=0\n_", "VERSION=0\r\n_SHA_CKSUM=1234\n#"),
            "_SHA_CKSUM=\"1234\" is not a digest of 40 hexadecimal digits",
        ),
        (
            unsorted,
            "the digest was made over the lines in the order of the file, not sorted",
        ),
        (with_ends, "the digest was made over the line ends too"),
        (
            unsorted_with_ends,
            "the digest was made over the line ends too",
        ),
        (
            two_blanks,
            "a stray U+0020 (blank) at the end of the value of DESCRIPTION and a stray U+0009 (tab) at the end of the value of ROLE",
        ),
        (
            one_of_two,
            "a stray U+0009 (tab) at the end of the value of ROLE",
        ),
        (
            line("=Export\n", "=Export\u{a0}\n"),
            "a stray U+00A0 (no-break space) at the end of the value of DESCRIPTION",
        ),
        (
            line("=Export\n", "=Exporf\n").replace("ROLE", "VERSION=0\nROLE"),
            "the line of DESCRIPTION was edited: it says \"Exporf\", the seal is that of \"Export\"",
        ),
        (
            line("192.168.1.108:/home/nfs_exports", "nas:/somewhere/else")
                .replace("DESCRIPTION", "a\u{b}note\nDESCRIPTION"),
            "U+000B (vertical tab) in line 2 splits the line for VDSM 4.4 and later, or an edited line",
        ),
        (
            utf8,
            "the digest was made over UTF-8 and not over character references",
        ),
        (
            stripped,
            "the value of DESCRIPTION has lost the blank at its end",
        ),
        (
            line("192.168.1.108:/home/nfs_exports", "nas:/somewhere/else"),
            "a line was edited, or the file damaged, after it was sealed",
        ),
        (
            line(
                "192.168.1.108:/home/nfs_exports",
                "nas:/somewhere\u{c}/else",
            ),
            "U+000C (form feed) in REMOTE_PATH splits the line for VDSM 4.4 and later, or an edited line",
        ),
        (
            // Ends of lines are no stray characters.
            line(
                "192.168.1.108:/home/nfs_exports",
                "nas:/somewhere\u{c}/else",
            )
            .replace('\n', "\r\n"),
            "U+000C (form feed) in REMOTE_PATH splits the line for VDSM 4.4 and later, or an edited line",
        ),
        (
            // Too large to try anything.
            format!("X={}\u{2029}\n{EXPORT}", "x".repeat(20_000)),
            "U+2029 (paragraph separator) in X splits the line for VDSM 4.4 and later",
        ),
    ] {
        let judgement = judged(&text);
        assert_eq!(judgement.reading.verdict, Verdict::Broken, "{text}");
        assert_eq!(judgement.cause.as_deref(), Some(cause), "{text}");
        // What the seal fits is known, and it does fit that.
        let untold = [
            "the digest was made ",
            "splits the line",
            "damaged",
            "not a digest",
        ];
        let is_told = !untold.iter().any(|words| cause.contains(words));
        assert_eq!(judgement.proved.is_some(), is_told, "{cause}");
        if let Some(proved) = &judgement.proved {
            let restored = judged(&write(proved)).reading;
            assert_eq!(restored.verdict, Verdict::Ok, "{cause}");
            let declared = judgement.reading.declared.unwrap_or_default();
            let declared = declared.trim().to_lowercase();
            assert_eq!(restored.declared, Some(declared), "{cause}");
        }
    }
    // A character in a value is taken out of it where the seal is that of the rest; where the seal is
    // that of the value with it, VDSM of today could not read it back.
    let split = line("=Export\n", "=Ex\u{2028}port\n");
    assert_eq!(judged(&split).proved, Some(Metadata::read(EXPORT).0));
    let sealed_with_it = {
        let metadata = changed(EXPORT, &[("DESCRIPTION", Some("Ex\u{2028}port"))]);
        split.replace(EXPORT_SEAL, &seal(&metadata))
    };
    let judgement = judged(&sealed_with_it);
    assert!(
        judgement
            .cause
            .is_some_and(|cause| cause.contains("splits the line"))
    );
    assert_eq!(judgement.proved, None);
    // As large as may be, to be tried.
    let filled = |size: usize| format!("{}X={}\n", EXPORT, "x".repeat(size - EXPORT.len() - 3));
    for (size, is_tried) in [(8 << 10, true), ((8 << 10) + 1, false)] {
        let cause = judged(&filled(size)).cause.unwrap_or_default();
        assert_eq!(
            cause.ends_with("was added after sealing"),
            is_tried,
            "{cause}"
        );
    }
}

fn hex_sha1(bytes: &[u8]) -> String {
    use sha1::Digest as _;
    crate::storage::format::seal::hex(&sha1::Sha1::digest(bytes))
}

#[test]
fn a_key_that_cannot_be_written_is_refused() {
    for (key, value) in [
        ("_SHA_CKSUM", "x"),
        ("A=B", "x"),
        (" A", "x"),
        ("A\u{1f}", "x"),
        ("A\nB", "x"),
        ("A", "x\u{2028}"),
    ] {
        assert!(
            Metadata::default().set(key, value).is_err(),
            "{key:?}={value:?}"
        );
    }
    for (key, value) in [
        ("", ""),
        ("# A", "="),
        ("\u{feff}A", " \0 "),
        ("_SHA_CKSUM ", ""),
    ] {
        let mut metadata = Metadata::default();
        let set = metadata.set(key, value);
        assert_eq!(set.is_ok(), key != "_SHA_CKSUM ", "{key:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever can be set is written and read back, with an unbroken seal.
    #[test]
    fn what_is_written_is_read_back(pairs in prop::collection::vec((".{0,12}", ".{0,40}"), 0..12)) {
        let mut metadata = Metadata::default();
        for (key, value) in &pairs {
            let _ = metadata.set(key, value);
        }
        let text = write(&metadata);
        let judgement = judge(Some(text.as_bytes()));
        prop_assert_eq!(&judgement.metadata, &metadata);
        let expected = if metadata.is_empty() { Verdict::Empty } else { Verdict::Ok };
        prop_assert_eq!(judgement.reading.verdict, expected);
        prop_assert_eq!(write(&judgement.metadata), text);
    }

    /// No file makes a reader panic, and sealing what was read mends any.
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let judgement = judge(Some(&bytes));
        let verdict = judge(Some(write(&judgement.metadata).as_bytes())).reading.verdict;
        prop_assert!(matches!(verdict, Verdict::Ok | Verdict::Empty));
    }

    /// One changed byte of a sealed value never goes unseen.
    #[test]
    fn a_flipped_bit_is_seen(at in 0..EXPORT.len() - 60, bit in 0..7u8) {
        let mut bytes = EXPORT.as_bytes().to_vec();
        bytes[at] ^= 1 << bit;
        let old = Metadata::read(EXPORT).0;
        let judgement = judge(Some(&bytes));
        prop_assert_eq!(judgement.reading.verdict == Verdict::Ok, judgement.metadata == old);
    }
}
