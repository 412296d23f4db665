// SPDX-License-Identifier: GPL-2.0-or-later

//! Runs a VM from copies of its disks on the host's own LVM storage. The originals stay as they
//! are, and nothing goes back to them.
//!
//! Events: `after_disk_prepare` makes the copy, or takes the one that is there, and redirects the
//! disk to it; `before_vm_migrate_source` refuses.
//!
//! Property: `localdisk=lvm|lvmthin`. Absent: nothing happens. A VM that ran on the originals
//! because of a wrong value would write to them, so that stops it.
//!
//! VDSM does not tell here whether the VM starts or wakes up. A whole copy is only activated,
//! which is right for both.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use vdsm_hooks::host::command;
use vdsm_hooks::host::sudo::Program;
use vdsm_hooks::json::{Edits, Node, Object};
use vdsm_hooks::vdsm::start;
use vdsm_hooks::{Context as _, Error, Result, helper, hook, program, props};

const PROPERTY: &str = "localdisk";
const BACKENDS: [(&str, &str); 2] = [("lvm", "lvm"), ("lvmthin", "lvmthin")];
const HELPER: Program<'_> = Program::helper(helper!("localdisk-helper"));
/// What the helper has for its lock and for LVM.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How long to wait for the storage of one image.
const INFO_TIMEOUT: Duration = Duration::from_secs(10);
/// Terabytes, while the host has better to do.
const COPY_TIMEOUT: Duration = Duration::from_secs(48 * 60 * 60);

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    if hook::event()? == "before_vm_migrate_source" {
        return match props::text(PROPERTY)? {
            Some(value) => Err(props::wrong(
                PROPERTY,
                &value,
                "a VM with local disks cannot migrate",
            )),
            None => Ok(()),
        };
    }
    match props::choice(PROPERTY, &BACKENDS)? {
        Some(backend) => hook::edit_json(|document, edits| redirect(document, edits, backend)),
        None => Ok(()),
    }
}

fn redirect<'a>(document: Node<'a>, edits: &mut Edits<'a>, backend: &str) -> Result {
    let disk = document
        .object()
        .ok_or_else(|| hook::unexpected_json("an object"))?;
    if disk.get("device").is_some_and(|kind| kind.text() != "disk") {
        return Ok(());
    }
    let lv = member(&disk, "volumeID")?;
    let shared = disk.get("shared").map(Node::text).unwrap_or_default();
    if !["", "none", "exclusive", "false", "null"].contains(&shared.to_ascii_lowercase().as_str()) {
        return Err(Error::new(format!(
            "{PROPERTY}={backend}: disk {lv} is shared ({shared}), expected one of this VM alone"
        )));
    }
    let local = copy_of(&disk, backend, &lv).context(format!("{PROPERTY}={backend}: disk {lv}"))?;
    edits.set(&disk, "path", &json!(local))?;
    edits.set(&disk, "format", &json!("raw"))?;
    edits.set(&disk, "diskType", &json!("block"))
}

/// The path of the disk's whole local copy, made if there is none.
fn copy_of(disk: &Object<'_>, backend: &str, lv: &str) -> Result<String> {
    let vm = start::vm_id()?;
    let path = member(disk, "path")?;
    // What follows a scheme such as `json:` is no path, and what begins with a dash an option.
    if !path.starts_with('/') {
        return Err(Error::new(format!("{path:?} is no absolute path")));
    }
    let format = match member(disk, "format")?.as_str() {
        "cow" => "qcow2",
        "raw" => "raw",
        other => {
            return Err(Error::new(format!(
                "its format is {other:?}, expected cow or raw"
            )));
        }
    };
    let image = member(disk, "imageID")?;
    let local = format!("/dev/ovirt-local/{lv}");

    let known: Value = serde_json::from_slice(&ask(&format!("list {lv}"))?)?;
    if let Some(tags) = known["lv_tags"].as_str() {
        let has = |tag: &str| tags.split(',').any(|one| one == tag);
        if !has(&format!("VM_{vm}")) {
            return Err(Error::new(format!(
                "the volume on this host has the tags {tags:?}, expected VM_{vm}"
            )));
        }
        if !has("UPDATING") {
            ask(&format!("activate {lv} {vm}"))?;
            return Ok(local);
        }
        ask(&format!("remove {lv} {vm}"))?;
    }
    let size = size(&path, format)?;
    ask(&format!("create {backend} {lv} {vm} {image} {size}"))?;
    copy(&path, format, &local, backend)?;
    ask(&format!("finish {lv} {vm}"))?;
    Ok(local)
}

/// How large the guest sees the disk. A format that is not given would be guessed from what the
/// guest has written.
fn size(path: &str, format: &str) -> Result<u64> {
    let arguments = ["info", "--output", "json", "-f", format, path];
    let info = command::run("qemu-img", &arguments, INFO_TIMEOUT)?.checked()?;
    let info: Value = serde_json::from_slice(&info.stdout).context("qemu-img info")?;
    let size = info["virtual-size"].as_u64();
    size.ok_or_else(|| Error::new("qemu-img info: no virtual-size"))
}

/// Copies when nobody else wants the processor or the disk. The copy ends with this program.
fn copy(path: &str, format: &str, local: &str, backend: &str) -> Result {
    let tool = |name| Ok::<_, Error>(command::find(name)?.display().to_string());
    let (nice, ionice, qemu_img) = (tool("nice")?, tool("ionice")?, tool("qemu-img")?);
    let mut words = vec!["--pdeathsig", "KILL", &nice, "-n", "19", &ionice, "-c", "3"];
    words.extend([&qemu_img, "convert", "-t", "none", "-T", "none", "-n"]);
    if backend == "lvmthin" {
        words.push("--target-is-zero");
    }
    words.extend(["-f", format, "-O", "raw", path, local]);
    let copied = command::run("setpriv", &words, COPY_TIMEOUT)?;
    copied.checked().map(drop).context("qemu-img convert")
}

fn ask(request: &str) -> Result<Vec<u8>> {
    let answer = HELPER.run_with_input(&format!("{request}\n"), HELPER_TIMEOUT)?;
    Ok(answer.checked()?.stdout)
}

fn member(disk: &Object<'_>, name: &str) -> Result<String> {
    let text = disk.get(name).and_then(Node::string);
    text.ok_or_else(|| hook::unexpected_json(&format!("a text '{name}'")))
}
