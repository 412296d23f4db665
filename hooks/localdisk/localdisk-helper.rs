// SPDX-License-Identifier: GPL-2.0-or-later

//! Root helper of the hook localdisk: the few LVM commands that a VM's local disks need, in the
//! group `ovirt-local` and nowhere else.
//!
//! It takes no arguments. One line on standard input says what to do:
//! `list LV`, `create lvm|lvmthin LV VM IMAGE BYTES`, `activate LV VM`, `finish LV VM`,
//! `remove LV VM`.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use vdsm_hooks::host::{command, state};
use vdsm_hooks::storage::lvm::{PLAIN_REPORT, json_lines};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const HOOK: &str = "localdisk";
const LVM: &str = "/usr/sbin/lvm";
const GROUP: &str = "ovirt-local";
const POOL: &str = "pool0";
const UPDATING: &str = "UPDATING";
const PARENT: &str = "PU_00000000-0000-0000-0000-000000000000";
/// The administrator's list of the group's disks, if there is one.
const DEVICES_FILE: &str = "ovirt-local.devices";
/// Without it all disks are looked at: the host's own list has those that it has mounted itself,
/// and would hide the group (lvmdevices(8), LVM 2.03.16).
const ALL_DEVICES: &str = r#"devices { filter=["a|.*|"] use_devicesfile=0 hints="none" }"#;
/// Making a volume wipes what was on it, on a disk that copies keep busy.
const LVM_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const LOCK_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// For one request: the lock, a look, a change.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);
const MAX_REQUEST_BYTES: u64 = 512;

fn main() -> ExitCode {
    hook::run_helper_on_request(program!(), TIMEOUT, MAX_REQUEST_BYTES, serve)
}

fn serve(request: &str) -> Result {
    let line = request.strip_suffix('\n').unwrap_or(request);
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["list", lv] => list(uuid(lv)?),
        ["create", kind @ ("lvm" | "lvmthin"), lv, vm, image, size] => {
            create(kind, uuid(lv)?, uuid(vm)?, uuid(image)?, bytes(size)?)
        }
        ["activate", lv, vm] => change(uuid(lv)?, uuid(vm)?, false, |volume| {
            lvm("lvchange", &["--activate", "y", volume])
        }),
        ["finish", lv, vm] => change(uuid(lv)?, uuid(vm)?, true, |volume| {
            let device = Path::new("/dev").join(volume);
            // From here on a power cut does not cost a block of a copy that counts as whole.
            let written = File::open(&device).and_then(|device| device.sync_all());
            written.context(device.display())?;
            lvm("lvchange", &["--deltag", UPDATING, volume])
        }),
        ["remove", lv, vm] => change(uuid(lv)?, uuid(vm)?, true, |volume| {
            lvm("lvremove", &["-f", volume])
        }),
        _ => Err(Error::new(format!(
            "{}: expected list, create, activate, finish or remove, and their words",
            props::quoted(line)
        ))),
    }
}

/// Says what LVM reports of the volume; `null` if there is none.
fn list(lv: &str) -> Result {
    let volume = look(lv)?;
    Ok(writeln!(io::stdout(), "{volume}")?)
}

fn create(kind: &str, lv: &str, vm: &str, image: &str, size: u64) -> Result {
    let (vm, image) = (format!("VM_{vm}"), format!("IU_{image}"));
    let size = format!("{size}b");
    let mut words = vec!["--yes", "--wipesignatures", "y", "--name", lv];
    for tag in [UPDATING, &vm, &image, PARENT] {
        words.extend(["--addtag", tag]);
    }
    match kind {
        "lvm" => words.extend(["--size", &size]),
        _ => words.extend(["--thinpool", POOL, "--virtualsize", &size]),
    }
    words.push(GROUP);
    let _lock = state::lock(HOOK, LOCK_TIMEOUT)?;
    lvm("lvcreate", &words).map(drop)
}

/// Does something with a volume of this VM, whose copy has to be `unfinished` or whole. Nobody
/// changes it in between.
fn change(
    lv: &str,
    vm: &str,
    unfinished: bool,
    work: impl FnOnce(&str) -> Result<Vec<u8>>,
) -> Result {
    let _lock = state::lock(HOOK, LOCK_TIMEOUT)?;
    let volume = look(lv)?;
    let tags = volume["lv_tags"].as_str();
    let tags = tags.ok_or_else(|| Error::new(format!("{lv}: no such volume")))?;
    let has = |tag: &str| tags.split(',').any(|known| known == tag);
    if !has(&format!("VM_{vm}")) {
        return Err(Error::new(format!("{lv}: not a volume of VM {vm}")));
    }
    if has(UPDATING) != unfinished {
        let expected = if unfinished { "with" } else { "without" };
        return Err(Error::new(format!(
            "{lv}: its tags are {tags:?}, expected some {expected} {UPDATING}"
        )));
    }
    work(&format!("{GROUP}/{lv}")).map(drop)
}

fn look(lv: &str) -> Result<Value> {
    let chosen = format!("lv_name=\"{lv}\"");
    let report = lvm(
        "lvs",
        &[
            "-o",
            "name,attr,tags,size",
            "--units",
            "b",
            "--nosuffix",
            "--reportformat",
            "json",
            "--select",
            &chosen,
            GROUP,
        ],
    )?;
    let report = String::from_utf8_lossy(&report);
    let report: String = json_lines(&report).collect();
    let mut report: Value = serde_json::from_str(&report).context("lvm lvs")?;
    let volume = report.pointer_mut("/report/0/lv/0").map(Value::take);
    Ok(volume.unwrap_or_default())
}

fn lvm(command: &str, words: &[&str]) -> Result<Vec<u8>> {
    let has_file = Path::new("/etc/lvm/devices").join(DEVICES_FILE).exists();
    // LVM takes one --config (2.03.16 tools/args.h: config_ARG is not groupable).
    let all_devices = format!("{ALL_DEVICES} {PLAIN_REPORT}");
    let options: &[&str] = if has_file {
        &["--devicesfile", DEVICES_FILE, "--config", PLAIN_REPORT]
    } else {
        &["--config", &all_devices]
    };
    let words = [&[command], options, words].concat();
    Ok(command::run(LVM, &words, LVM_TIMEOUT)?.checked()?.stdout)
}

fn uuid(text: &str) -> Result<&str> {
    if props::is_uuid(text) {
        Ok(text)
    } else {
        Err(Error::new(format!(
            "{}: expected a UUID",
            props::quoted(text)
        )))
    }
}

fn bytes(text: &str) -> Result<u64> {
    let digits = text.chars().all(|c| c.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number > 0);
    number.ok_or_else(|| {
        Error::new(format!(
            "{}: expected a number of bytes above 0",
            props::quoted(text)
        ))
    })
}
