// SPDX-License-Identifier: GPL-2.0-or-later

//! Domains on block storage: real LVM, its tags written by real vgchange.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

use crate::{domains, support};

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use vdsm_hooks::storage::tags::{self, DOMAIN, UNREADY as UNREADY_TAG};
use vdsm_hooks::storage::{self, Metadata};

use domains::lvm::{BLOCK, BLOCK_ID, BLOCK_TAGS, Groups, RELEASES};
use domains::{EXPORT, EXPORT_ID, IMAGE, POOL, Storage, VOLUME};

const SDCHECK: &str = env!("CARGO_BIN_EXE_sdcheck");
const TOOL: &str = env!("CARGO_BIN_EXE_vdsm-hooks");
const LOCALDISK_HELPER: &str = env!("CARGO_BIN_EXE_localdisk-helper");

/// What LVM warns about on every private host: there is no device mapper.
const WARNED: &str = "LVM of this host\n  warning:      Activation disabled. No device-mapper interaction will be attempted.\n";

const BROKEN: &str = "b0000000-9a58-4c9e-8e7f-6f1d5e0c3a11";
const UNSEALED: &str = "c0000000-9a58-4c9e-8e7f-6f1d5e0c3a11";
const UNREADY: &str = "d0000000-9a58-4c9e-8e7f-6f1d5e0c3a11";
const FOREIGN: &str = "e0000000-9a58-4c9e-8e7f-6f1d5e0c3a11";
const NOWHERE: &str = "f0000000-9a58-4c9e-8e7f-6f1d5e0c3a11";

/// The tags of the example as the domain `id`.
fn sealed(id: &str) -> String {
    let (mut metadata, _) = Metadata::read(BLOCK);
    metadata.set("SDUUID", id).unwrap();
    let text = storage::write(&metadata);
    let lines: Vec<String> = text.lines().map(tags::encode).collect();
    format!("{}\n{DOMAIN}\n", lines.join("\n"))
}

/// A host with one group of each kind, or why there can be none.
fn groups() -> Result<Groups, String> {
    let mut groups = Groups::new()?;
    let tags: Vec<&str> = BLOCK_TAGS.lines().collect();
    groups.make(BLOCK_ID, &tags)?;
    // One vgchange for the others, as VDSM does it.
    for (id, changes) in [
        (BROKEN, ("&225&s", "&225&s&32&")),
        (UNSEALED, ("MDT__SHA_CKSUM", "OLD__SHA_CKSUM")),
        (UNREADY, (DOMAIN, UNREADY_TAG)),
    ] {
        groups.make(id, &[])?;
        let tags = sealed(id).replace(changes.0, changes.1);
        let tags = tags.lines().flat_map(|tag| ["--addtag", tag]);
        let arguments: Vec<&str> = ["vgchange"].into_iter().chain(tags).chain([id]).collect();
        groups.lvm(&arguments);
    }
    groups.make(FOREIGN, &["somebody", "else"])?;
    Ok(groups)
}

/// The hook on the host of `groups`, called by `prefix`: exit status and stderr.
fn check(
    groups: &Groups,
    storage: &Storage,
    prefix: &[&str],
    xml: &str,
    policy: &str,
) -> (i32, String) {
    let document = groups.file("document");
    fs::write(&document, xml).unwrap();
    let program = groups.file("sdcheck");
    if !program.exists() {
        fs::copy(SDCHECK, &program).unwrap();
    }
    let mut command = groups.on(Path::new("env"));
    command
        .arg("-i")
        .arg(format!("_hook_domxml={}", document.display()))
        .arg(format!(
            "sdcheck_repository={}",
            storage.repository().display()
        ))
        .arg(format!("sdcheck_run={}", storage.run().display()))
        .arg(format!("sdcheck={policy}"))
        .args(prefix)
        .arg(program);
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), stderr)
}

fn disk(volume: &str) -> String {
    format!("<disk type='block'><source dev='{volume}'/><target dev='sda'/></disk>")
}

fn by_device(id: &str) -> String {
    disk(&format!("/dev/{id}/{VOLUME}"))
}

fn vm(devices: &[String]) -> String {
    format!("<domain><devices>{}</devices></domain>", devices.concat())
}

#[test]
fn the_hook_judges_tags_by_the_same_policy() {
    let groups = match groups() {
        Ok(groups) => groups,
        Err(reason) => {
            return support::not_run("the_hook_judges_tags_by_the_same_policy", &reason);
        }
    };
    let storage = Storage::new();
    let tags = "in the tags of its volume group";
    let name = "\"fc data & más\"";
    // The group; whether what is wrong is fatal; what is said.
    let rows = [
        (BLOCK_ID, None, String::new()),
        (
            BROKEN,
            Some(true),
            format!("{BROKEN} \"fc data & más \" {tags}: the metadata seal is broken, declared "),
        ),
        (
            UNSEALED,
            Some(false),
            format!("{UNSEALED} {name} {tags}: the metadata carries no seal\n"),
        ),
        (
            UNREADY,
            Some(false),
            format!("{UNREADY}: its volume group is a domain that VDSM has not finished making\n"),
        ),
        (
            FOREIGN,
            Some(false),
            format!("{FOREIGN}: its volume group has no tag RHAT_storage_domain\n"),
        ),
        (
            NOWHERE,
            Some(false),
            format!("{NOWHERE}: this host sees no volume group of this name\n"),
        ),
    ];
    for (id, fatal, said) in rows {
        for policy in ["warn", "enforce", "strict"] {
            let (status, stderr) = check(&groups, &storage, &[], &vm(&[by_device(id)]), policy);
            let stops =
                fatal.is_some_and(|fatal| policy == "strict" || policy == "enforce" && fatal);
            assert_eq!(status, if stops { 2 } else { 0 }, "{policy}: {stderr}");
            let Some(_) = fatal else {
                assert_eq!(stderr, "");
                continue;
            };
            let warning = if stops { "" } else { "warning: " };
            let begin = format!("sdcheck: {warning}storage domain {said}");
            assert!(stderr.starts_with(&begin), "{begin}\n{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
}

#[test]
fn every_way_to_a_group_and_one_call_for_all() {
    let name = "every_way_to_a_group_and_one_call_for_all";
    let groups = match groups() {
        Ok(groups) => groups,
        Err(reason) => return support::not_run(name, &reason),
    };
    let storage = Storage::new();
    // As VDSM links it: every entry leads to a logical volume, the one called metadata too.
    let block = storage.bare("blockSD", BROKEN);
    symlink(
        format!("/dev/{BROKEN}/metadata"),
        block.join("dom_md/metadata"),
    )
    .unwrap();
    storage.link_into_pool(&block, BROKEN);
    let prepared = storage.run().join(BROKEN).join(IMAGE);
    fs::create_dir_all(&prepared).unwrap();
    symlink(format!("/dev/{BROKEN}/{VOLUME}"), prepared.join(VOLUME)).unwrap();
    let below = |directory: &Path| directory.join("images").join(IMAGE).join(VOLUME);
    let lease = |id: &str| format!("<lease><lockspace>{id}</lockspace><key>k</key></lease>");
    let ways = [
        disk(&below(&block).to_string_lossy()),
        disk(&below(&storage.repository().join(POOL).join(BROKEN)).to_string_lossy()),
        disk(&prepared.join(VOLUME).to_string_lossy()),
        by_device(BROKEN),
        disk(&format!("/dev/mapper/{}-x", BROKEN.replace('-', "--"))),
        lease(BROKEN),
    ];
    for way in &ways {
        let (status, stderr) = check(
            &groups,
            &storage,
            &[],
            &vm(std::slice::from_ref(way)),
            "enforce",
        );
        assert_eq!(status, 2, "{way}: {stderr}");
        assert!(
            stderr.starts_with(&format!(
                "sdcheck: storage domain {BROKEN} \"fc data & más \" in the tags"
            )),
            "{way}: {stderr}"
        );
        assert!(
            stderr.ends_with(
                "likely cause: a stray U+0020 (blank) at the end of the value of DESCRIPTION\n"
            ),
            "{way}: {stderr}"
        );
    }
    // An id that no link and no mount knows may still be a group.
    let (status, stderr) = check(&groups, &storage, &[], &vm(&[lease(UNSEALED)]), "strict");
    assert_eq!(status, 2);
    assert!(
        stderr.ends_with("the metadata carries no seal\n"),
        "{stderr}"
    );
    // All ways and groups together, and a file domain beside them.
    let file = storage.domain("nas:_x", EXPORT_ID, EXPORT.replace("Regular", "Master"));
    let all: Vec<String> = ways
        .into_iter()
        .chain([BLOCK_ID, UNSEALED, NOWHERE].map(by_device))
        .chain([disk(&below(&file).to_string_lossy())])
        .collect();
    let (status, stderr) = check(&groups, &storage, &[], &vm(&all), "enforce");
    assert_eq!((status, stderr.lines().count()), (2, 1));
    assert_eq!(stderr.matches("; storage domain ").count(), 3, "{stderr}");
    if Command::new("strace").arg("-V").output().is_err() {
        return support::not_run(name, "one call: strace is not installed");
    }
    let calls = |xml: &str| {
        let log = groups.file("calls");
        let log = log.to_str().unwrap();
        let strace = [
            "strace",
            "-qq",
            "-f",
            "-s",
            "200",
            "-e",
            "trace=execve",
            "-o",
            log,
        ];
        check(&groups, &storage, &strace, xml, "warn");
        let calls = fs::read_to_string(log).unwrap();
        let is_call = |line: &&str| line.contains("/lvm\", ");
        calls.lines().filter(is_call).count()
    };
    assert_eq!(calls(&vm(&all)), 1);
    assert_eq!(calls(&vm(&all[all.len() - 1..])), 0);
}

/// As VDSM runs hooks: its user may run as root what sdcheck's rules say, and nothing else.
#[test]
fn the_user_vdsm_reads_tags_through_sudo() {
    let name = "the_user_vdsm_reads_tags_through_sudo";
    if Command::new("sudo").arg("-V").output().is_err() {
        return support::not_run(name, "sudo is not installed");
    }
    let groups = match groups() {
        Ok(groups) => groups,
        Err(reason) => return support::not_run(name, &reason),
    };
    let storage = Storage::new();
    for directory in [storage.path(), groups.file("").as_path()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let vdsm = ["setpriv", "--reuid=36", "--regid=36", "--clear-groups"];
    let xml = vm(&[by_device(BROKEN)]);
    let (status, stderr) = check(&groups, &storage, &vdsm, &xml, "enforce");
    assert_eq!(status, 2, "{stderr}");
    assert!(stderr.contains("the metadata seal is broken"), "{stderr}");
    let xml = vm(&[by_device(BLOCK_ID)]);
    assert_eq!(
        check(&groups, &storage, &vdsm, &xml, "strict"),
        (0, String::new())
    );
    // Somebody whom sudo does not let.
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let (status, stderr) = check(&groups, &storage, &nobody, &xml, "enforce");
    assert_eq!(status, 0, "{stderr}");
    let begin = format!(
        "sdcheck: warning: storage domain {BLOCK_ID} in the tags of its volume group: cannot be read, lvm: exit status 1: sudo: "
    );
    assert!(stderr.starts_with(&begin), "{stderr}");
}

/// The tool on the host of `groups`: exit status, stdout and stderr.
fn tool(groups: &Groups, storage: &Storage, arguments: &[&str]) -> (i32, String, String) {
    let output = groups
        .on(Path::new(TOOL))
        .arg("domain")
        .args(arguments)
        .arg("--repository")
        .arg(storage.repository())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn the_tool_judges_groups_and_prints_what_mends_them() {
    let name = "the_tool_judges_groups_and_prints_what_mends_them";
    let groups = match groups() {
        Ok(groups) => groups,
        Err(reason) => return support::not_run(name, &reason),
    };
    let storage = Storage::new();
    let block = storage.bare("blockSD", BROKEN);
    symlink(
        format!("/dev/{BROKEN}/metadata"),
        block.join("dom_md/metadata"),
    )
    .unwrap();
    let id_of = |group: &str| {
        let options = ["vgs", "--noheadings", "-o", "vg_uuid", group];
        groups.lvm(&options).trim().to_owned()
    };
    // The tags of the example name another group's VGUUID.
    let vguuid = |group: &str| {
        format!(
            "  finding:      VGUUID: \"Kq2wJE-3Zk0-Tq8A-9xYb-1LmN-0pQr-StUvWx\", but that of the volume group is {}\n    advice:     find out whether the group is a copy of another domain's before a host sees both\n    engine:     nothing\n",
            id_of(group)
        )
    };
    let (status, stdout, stderr) = tool(&groups, &storage, &["check", BLOCK_ID]);
    assert_eq!((status, stderr.as_str()), (1, ""));
    let seal = "7f8ac41fc2f2a83bf9f459eb2034f34169644cf4";
    assert_eq!(
        stdout,
        format!(
            "volume group {BLOCK_ID}\n  name:         \"fc data & más\"\n  verdict:      ok\n  declared:     {seal}\n  computed:     {seal}\n{}{WARNED}",
            vguuid(BLOCK_ID)
        )
    );
    // By its id, and by the path that VDSM gives it.
    let path = block.to_str().unwrap();
    for target in [BROKEN, path] {
        let (status, stdout, stderr) = tool(&groups, &storage, &["check", target]);
        assert_eq!((status, stderr.as_str()), (2, ""), "{stdout}");
        assert!(
            stdout.starts_with(&format!("volume group {BROKEN}\n")),
            "{stdout}"
        );
        assert!(
            stdout.contains(
                "likely cause: a stray U+0020 (blank) at the end of the value of DESCRIPTION\n"
            ),
            "{stdout}"
        );
    }
    // Every group that is or becomes a domain, and no other.
    let (status, stdout, stderr) = tool(&groups, &storage, &["check", "--all"]);
    assert_eq!((status, stderr.as_str()), (2, ""));
    let mut places: Vec<&str> = stdout
        .lines()
        .filter(|line| !line.starts_with(' '))
        .collect();
    places.sort_unstable();
    let mut expected = [BLOCK_ID, BROKEN, UNSEALED, UNREADY]
        .map(|id| format!("volume group {id}"))
        .to_vec();
    expected.push("LVM of this host".to_owned());
    expected.push("4 domains, 1 broken, 3 with findings".to_owned());
    expected.sort();
    assert_eq!(places, expected);
    assert!(
        stdout.contains(
            "  finding:      tags: RHAT_storage_domain_UNREADY: VDSM has not finished making it\n"
        ),
        "{stdout}"
    );
    // What is printed mends it.
    for id in [BROKEN, UNSEALED] {
        let (_, stdout, _) = tool(&groups, &storage, &["check", id]);
        let mend = stdout
            .lines()
            .find_map(|line| line.trim_start().strip_prefix("mend:"));
        let mend = mend.unwrap_or_else(|| panic!("{stdout}"));
        assert!(mend.trim().starts_with("lvm vgchange --config "), "{mend}");
        // To seal is to print the same, and to change nothing.
        let before = groups.lvm(&["vgs", "-o", "vg_name,vg_tags"]);
        let (status, stdout, stderr) = tool(&groups, &storage, &["seal", id]);
        assert!(stdout.contains(mend.trim()), "{status} {stdout}{stderr}");
        assert_eq!(groups.lvm(&["vgs", "-o", "vg_name,vg_tags"]), before);
        groups.shell(mend);
        let (status, stdout, _) = tool(&groups, &storage, &["check", id]);
        assert_eq!(status, 1, "{stdout}");
        assert!(
            stdout.contains("verdict:      ok\n") && !stdout.contains("mend:"),
            "{stdout}"
        );
    }
    let (status, stdout, stderr) = tool(&groups, &storage, &["check", FOREIGN]);
    assert_eq!((status, stdout.as_str()), (2, WARNED));
    assert!(
        stderr.contains("its volume group has no tag RHAT_storage_domain"),
        "{stderr}"
    );
    // Where a VM has them.
    let xml = groups.file("vm.xml");
    fs::write(&xml, vm(&[by_device(BLOCK_ID)])).unwrap();
    let (status, stdout, _) = tool(&groups, &storage, &["of", xml.to_str().unwrap()]);
    assert_eq!(
        (status, stdout),
        (
            0,
            format!(
                "{BLOCK_ID}\n  name:         \"fc data & más\"\n  metadata:     in the tags of its volume group\n  verdict:      ok\n    volume:     {VOLUME}\n"
            )
        )
    );
}

/// A host on which LVM has something to warn about, whatever its version.
struct Trouble {
    groups: Groups,
    /// The two devices of the foreign group, and a copy of that of the sound domain.
    foreign: Vec<usize>,
    copy: usize,
    /// What was on the first device of the foreign group, if that is damaged.
    damage: Option<[u8; 8]>,
}

/// What may be wrong beside the domains.
const TROUBLES: [&[&str]; 4] = [&[], &["missing"], &["damaged"], &["copy", "missing"]];

impl Trouble {
    fn new(release: &str) -> Result<Trouble, String> {
        let mut groups = Groups::with_lvm_of(release)?;
        for (id, changes) in [(BLOCK_ID, ("", "")), (BROKEN, ("&225&s", "&225&s&32&"))] {
            let tags = sealed(id).replace(changes.0, changes.1);
            let tags = tags.lines().flat_map(|tag| ["--addtag", tag]);
            groups.make(id, &[])?;
            groups.lvm(
                &["vgchange"]
                    .into_iter()
                    .chain(tags)
                    .chain([id])
                    .collect::<Vec<_>>(),
            );
        }
        let foreign = groups.make_on(2, "othervg", &[])?;
        let copy = groups.copy(0)?;
        Ok(Trouble {
            groups,
            foreign,
            copy,
            damage: None,
        })
    }

    /// Makes exactly these things wrong.
    fn make(&mut self, what: &[&str]) {
        let is = |name: &str| what.contains(&name);
        self.groups.show(self.foreign[1], !is("missing"));
        self.groups.show(self.copy, is("copy"));
        if is("damaged") != self.damage.is_some() {
            let mut bytes = self.damage.take().unwrap_or(*b"damaged!");
            self.groups.exchange(self.foreign[0], &mut bytes);
            self.damage = is("damaged").then_some(bytes);
        }
    }
}

/// What is wrong with another group, or with a device, neither stops a VM on a sound domain nor lets
/// one start on a broken domain.
#[test]
fn trouble_beside_a_domain_is_none_of_the_domain() {
    let name = "trouble_beside_a_domain_is_none_of_the_domain";
    for release in RELEASES {
        let mut host = match Trouble::new(release) {
            Ok(host) => host,
            Err(reason) => {
                support::not_run(&format!("{name}, with the LVM of {release}"), &reason);
                continue;
            }
        };
        let storage = Storage::new();
        let lease = |id: &str| format!("<lease><lockspace>{id}</lockspace><key>k</key></lease>");
        for trouble in TROUBLES {
            host.make(trouble);
            // Both ways to a group: as the XML has it, and after no mount has it.
            let both = |id| vec![by_device(id), lease(id)];
            let broken = ": the metadata seal is broken, declared ";
            let none = ": this host sees no volume group of this name\n";
            for (used, fatal, said) in [
                (both(BLOCK_ID), None, ""),
                (both(BROKEN), Some(true), broken),
                (vec![by_device(NOWHERE)], Some(false), none),
            ] {
                for policy in ["warn", "enforce", "strict"] {
                    let (status, stderr) = check(&host.groups, &storage, &[], &vm(&used), policy);
                    let stops = fatal
                        .is_some_and(|fatal| policy == "strict" || policy == "enforce" && fatal);
                    let context = format!("{release} {trouble:?} {policy} {used:?}: {stderr}");
                    assert_eq!(status, if stops { 2 } else { 0 }, "{context}");
                    assert_eq!(
                        stderr.lines().count(),
                        usize::from(fatal.is_some()),
                        "{context}"
                    );
                    assert!(stderr.contains(said), "{context}");
                }
            }
        }
    }
}

/// The tool judges as if there were no trouble, and says what LVM warned about and what to do.
#[test]
fn the_tool_says_what_lvm_warned_about() {
    let name = "the_tool_says_what_lvm_warned_about";
    for release in RELEASES {
        let mut host = match Trouble::new(release) {
            Ok(host) => host,
            Err(reason) => {
                support::not_run(&format!("{name}, with the LVM of {release}"), &reason);
                continue;
            }
        };
        let storage = Storage::new();
        for trouble in TROUBLES {
            host.make(trouble);
            tool_tells(&host, &storage, trouble);
        }
    }
}

fn tool_tells(host: &Trouble, storage: &Storage, trouble: &[&str]) {
    let path = |number: usize| host.groups.path_of(number);
    let (first, last, copy) = (
        path(host.foreign[0]),
        path(host.foreign[1]),
        path(host.copy),
    );
    let told = |what: &str| match what {
        "missing" => (
            " is missing PV ",
            format!(
                "(last written to {last}).\n    advice:     connect this device to the host again\n"
            ),
        ),
        "damaged" => (
            "  warning:      Metadata location on ",
            format!("  warning:      repair VG metadata on {first} with vgck --updatemetadata.\n"),
        ),
        _ => (
            "  warning:      Not using device ",
            format!("{copy} for PV "),
        ),
    };
    for (arguments, status) in [
        (&["check", BLOCK_ID][..], 1),
        (&["check", BROKEN], 2),
        (&["check", "--all"], 2),
        (&["check", NOWHERE], 2),
    ] {
        let (found, stdout, stderr) = tool(&host.groups, storage, arguments);
        let context = format!("{trouble:?} {arguments:?}: {stdout}{stderr}");
        assert_eq!(found, status, "{context}");
        match arguments[1] {
            NOWHERE => assert!(stderr.contains(": found nowhere under "), "{context}"),
            _ => assert_eq!(stderr, "", "{context}"),
        }
        let domains = stdout.matches("\n  verdict:      ").count();
        let expected = match arguments[1] {
            "--all" => 2,
            NOWHERE => 0,
            _ => 1,
        };
        assert_eq!(domains, expected, "{context}");
        let (_, warnings) = stdout.split_once(WARNED).expect(&context);
        for what in ["missing", "damaged", "copy"] {
            let (begin, rest) = told(what);
            let is_told = warnings.contains(begin) && warnings.contains(&rest);
            assert_eq!(is_told, trouble.contains(&what), "{what}: {context}");
        }
        assert!(
            trouble.is_empty() != warnings.contains("warning:"),
            "{context}"
        );
    }
    let (_, stdout, _) = tool(&host.groups, storage, &["check", "--json", "--all"]);
    let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    crate::json_page::explains(&answer);
    assert_eq!(answer["domains"].as_array().unwrap().len(), 2, "{stdout}");
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!(warnings.len() > 1, !trouble.is_empty(), "{stdout}");
}

/// A domain of which the host does not see all devices.
#[test]
fn a_missing_device_of_a_domain_is_a_finding() {
    let name = "a_missing_device_of_a_domain_is_a_finding";
    for release in RELEASES {
        let made = Groups::with_lvm_of(release).and_then(|mut groups| {
            let tags = sealed(BLOCK_ID);
            let tags: Vec<&str> = tags.lines().collect();
            let devices = groups.make_on(2, BLOCK_ID, &tags)?;
            groups.show(devices[1], false);
            Ok((groups, devices[1]))
        });
        let (groups, device) = match made {
            Ok(made) => made,
            Err(reason) => {
                support::not_run(&format!("{name}, with the LVM of {release}"), &reason);
                continue;
            }
        };
        let storage = Storage::new();
        let (status, stdout, stderr) = tool(&groups, &storage, &["check", BLOCK_ID]);
        assert_eq!((status, stderr.as_str()), (1, ""), "{stdout}");
        let finding = format!("  finding:      LVM: VG {BLOCK_ID} is missing PV ");
        let remedy = format!(
            "(last written to {}).\n    advice:     connect this device to the host again\n{WARNED}",
            groups.path_of(device)
        );
        assert!(stdout.contains(&finding), "{stdout}");
        assert!(stdout.ends_with(&remedy), "{stdout}");
    }
}

/// LVM that fails, or says what nobody expects: the check could not be made, and that is what is said.
#[test]
fn what_lvm_cannot_tell_is_not_found_nowhere() {
    let name = "what_lvm_cannot_tell_is_not_found_nowhere";
    let groups = match Groups::new() {
        Ok(groups) => groups,
        Err(reason) => return support::not_run(name, &reason),
    };
    let storage = Storage::new();
    let row = |id: &str| {
        let tags = sealed(id)
            .replace("ROLE=Regular", "ROLE=Master")
            .replace('\n', ",");
        format!(
            r#"{{"vg_name":"{id}","vg_uuid":"u","vg_extent_size":"134217728","vg_tags":"{}"}}"#,
            tags.trim_end_matches(',')
        )
    };
    let lease = |id: &str| format!("<lease><lockspace>{id}</lockspace><key>k</key></lease>");
    for (report, status, said) in [
        (
            r#"{"report":[{"vg":[{"vg_uuid":"u"}]}]}"#.to_owned(),
            0,
            r#"lvm vgs: not the report that was expected, at "{\"report\":[{\"vg\":[{\"vg_uuid\":\"u\"}]}]}""#,
        ),
        (
            String::new(),
            0,
            "lvm vgs: not the report that was expected",
        ),
        (String::new(), 5, "lvm: exit status 5: Internal error"),
        // What it can tell of others says nothing of this one.
        (
            format!(r#"{{"report":[{{"vg":[{}]}}]}}"#, row(BROKEN)),
            5,
            "lvm: exit status 5: Internal error",
        ),
    ] {
        let lvm = groups.file("lvm");
        let script = format!(
            "#!/bin/sh\ncat <<'END'\n{report}\nEND\n[ {status} = 0 ] || echo '  Internal error.' >&2\nexit {status}\n"
        );
        fs::write(&lvm, script).unwrap();
        fs::set_permissions(&lvm, fs::Permissions::from_mode(0o755)).unwrap();
        let with_lvm = [
            "sh",
            "-euc",
            r#"mount --bind "$0" /usr/sbin/lvm; exec "$@""#,
            lvm.to_str().unwrap(),
        ];
        for used in [by_device(BLOCK_ID), lease(BLOCK_ID)] {
            for (policy, stops) in [("warn", false), ("enforce", false), ("strict", true)] {
                let hook = [&with_lvm[..], &["env"]].concat();
                let xml = vm(std::slice::from_ref(&used));
                let (code, stderr) = check(&groups, &storage, &hook, &xml, policy);
                let context = format!("{policy} {used}: {stderr}");
                assert_eq!(code, if stops { 2 } else { 0 }, "{context}");
                assert!(stderr.ends_with(&format!(", {said}\n")), "{context}");
                assert!(!stderr.contains("nowhere"), "{context}");
                assert_eq!(stderr.lines().count(), 1, "{context}");
            }
        }
        let run = |target: &str| {
            let mut command = groups.on(Path::new("sh"));
            command
                .args(&with_lvm[1..])
                .args([TOOL, "domain", "check", target, "--repository"]);
            let output = command.arg(storage.repository()).output().unwrap();
            (
                output.status.code(),
                String::from_utf8(output.stderr).unwrap(),
            )
        };
        for target in [BLOCK_ID, "--all"] {
            let (code, stderr) = run(target);
            assert_eq!(code, Some(2), "{stderr}");
            assert!(stderr.ends_with(&format!("{said}\n")), "{target}: {stderr}");
            assert!(!stderr.contains("nowhere"), "{target}: {stderr}");
        }
        // But what it does tell counts.
        if report.contains(BROKEN) {
            let hook = [&with_lvm[..], &["env"]].concat();
            let (code, stderr) = check(
                &groups,
                &storage,
                &hook,
                &vm(&[by_device(BROKEN)]),
                "enforce",
            );
            assert!(
                code == 2 && stderr.contains("the metadata seal is broken"),
                "{stderr}"
            );
        }
    }
}

/// The hook localdisk's helper: it knows its volume whatever else LVM has to say, and hands on why
/// LVM failed.
#[test]
fn the_helper_of_localdisk_reads_its_volume() {
    let name = "the_helper_of_localdisk_reads_its_volume";
    for release in RELEASES {
        let mut host = match Trouble::new(release) {
            Ok(host) => host,
            Err(reason) => {
                support::not_run(&format!("{name}, with the LVM of {release}"), &reason);
                continue;
            }
        };
        let list = |host: &Trouble| {
            let line = format!("echo list {VOLUME} | {LOCALDISK_HELPER}");
            let output = host
                .groups
                .on(Path::new("sh"))
                .args(["-c", &line])
                .output()
                .unwrap();
            let text = |bytes| String::from_utf8(bytes).unwrap();
            (
                output.status.code(),
                text(output.stdout),
                text(output.stderr),
            )
        };
        for trouble in TROUBLES {
            host.make(trouble);
            let (status, stdout, stderr) = list(&host);
            assert_eq!(
                (status, stdout.as_str()),
                (Some(2), ""),
                "{release} {trouble:?}: {stderr}"
            );
            assert_eq!(
                stderr,
                "localdisk-helper: /usr/sbin/lvm: exit status 5: Cannot process volume group ovirt-local\n",
                "{release} {trouble:?}"
            );
        }
        host.make(&[]);
        host.groups.make("ovirt-local", &[]).unwrap();
        host.groups.lvm(&[
            "lvcreate",
            "-an",
            "-Zn",
            "-Wn",
            "-L",
            "128m",
            "--addtag",
            "UPDATING",
            "-n",
            VOLUME,
            "ovirt-local",
        ]);
        for trouble in TROUBLES {
            host.make(trouble);
            let (status, stdout, stderr) = list(&host);
            assert_eq!(
                (status, stderr.as_str()),
                (Some(0), ""),
                "{release} {trouble:?}: {stdout}"
            );
            let volume: serde_json::Value = serde_json::from_str(&stdout).unwrap();
            assert_eq!(volume["lv_name"], VOLUME, "{release} {trouble:?}");
            assert_eq!(volume["lv_tags"], "UPDATING", "{release} {trouble:?}");
        }
    }
}
