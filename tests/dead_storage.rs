// SPDX-License-Identifier: GPL-2.0-or-later

//! Storage that never answers holds up no hook: each one that is told a path or looks at the VM's
//! disks ends within its own time, and says why; and none of the others touches the disks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{data_variable, hooks, is_root, not_run, program};
use vdsm_hooks::hook::manifest::Scope;
use vdsm_hooks::paths::HELPERS;
use vdsm_hooks::vdsm::events::{self, Data};

const IMAGES: &str = "/var/lib/libvirt/images";
/// Where VDSM, too, has the mounts of its storage domains.
const DEAD: &str = "/var/lib/libvirt/images/mnt/dead";
const ALIVE: &str = "/var/lib/libvirt/images/mnt/alive";
const VM: &str = "5f1a7d3e-8b24-4c96-b0e5-92d7c3a4f618";
const DOMAIN_ID: &str = "6f4f5a2b-9a58-4c9e-8e7f-6f1d5e0c3a11";
/// More than any hook waits for storage, since the machine may have better to do.
const LIMIT: u64 = 120;

/// A disk of the VM, in a storage domain in `place`.
fn disk(place: &str, target: &str, format: &str) -> String {
    format!(
        "<disk type='file' device='disk'><driver name='qemu' type='{format}'/>\
         <source file='{place}/{DOMAIN_ID}/images/{VM}/{DOMAIN_ID}'/>\
         <target dev='{target}' bus='virtio'/></disk>"
    )
}

fn domain(place: &str) -> String {
    let disks = disk(place, "vda", "raw") + &disk(place, "vdb", "qcow2");
    format!(
        "<domain type='kvm'><name>a</name><uuid>{VM}</uuid><memory unit='KiB'>1048576</memory>\
         <os><type arch='x86_64' machine='pc'>hvm</type></os><cpu mode='host-model'/>\
         <devices>{disks}</devices></domain>"
    )
}

fn job(hook: &str, event: &str, data: &str, properties: &[(&str, &str)]) -> Value {
    let link = json!([program(hook), format!("/run/hooks/{event}/50_{hook}")]);
    let mut env: serde_json::Map<String, Value> = properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    env.insert("vmId".to_owned(), json!(VM));
    let variable = data_variable(events::find(event).unwrap());
    json!({"link": link, "command": [link[1]], "env": env, "data": [variable, data], "limit": LIMIT})
}

/// Runs the jobs side by side on a host with a dead place for images; the answer, or why this
/// machine cannot.
fn run(jobs: &[Value]) -> Result<Value, String> {
    let host = tempfile::tempdir().unwrap();
    let at = |path: &str| {
        let path = host.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    let executable = |path: &str, text: &str| {
        fs::write(at(path), text).unwrap();
        fs::set_permissions(at(path), Permissions::from_mode(0o755)).unwrap();
    };
    // No local disk so far; LVM of this machine is none of our business.
    executable(
        "usr/sbin/lvm",
        "#!/bin/sh\necho '{\"report\": [{\"lv\": []}]}'\n",
    );
    executable(
        "usr/bin/guestfish",
        "#!/bin/sh\necho \"libguestfs: error: guestfish keeps in $LIBGUESTFS_CACHEDIR, works in $TMPDIR\" >&2\n",
    );
    executable("usr/bin/systemctl", "#!/bin/sh\n");
    fs::create_dir_all(at("etc/vhostmd")).unwrap();
    let vhostmd = format!(
        "<vhostmd><globals><disk><path>{DEAD}/vhostmd0</path></disk>\
         <transport>vbd</transport></globals></vhostmd>"
    );
    fs::write(at("etc/vhostmd/vhostmd.conf"), vhostmd).unwrap();
    let alive = at(ALIVE.replace("/var/lib", "var").as_str());
    let images = alive.join(DOMAIN_ID).join("images").join(VM);
    fs::create_dir_all(&images).unwrap();
    let image = fs::File::create(alive.join("image")).unwrap();
    image.set_len(1 << 20).unwrap();
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2"])
        .args([images.join(DOMAIN_ID).as_os_str(), "1M".as_ref()])
        .status();
    assert!(made.unwrap().success());
    let helper = at(&format!("{}/localdisk-helper", &HELPERS[1..]));
    fs::copy(program("localdisk-helper"), helper).unwrap();
    fs::create_dir_all(at("etc/vdsm-hooks")).unwrap();
    fs::write(at("etc/vdsm-hooks/growdisk"), "prepare_timeout = 10\n").unwrap();
    let repository = format!("[irs]\nrepository = {IMAGES}\n");
    fs::write(at("etc/vdsm/vdsm.conf"), repository).unwrap();
    let description = json!({
        "empty": ["/run"],
        "over": [[at("usr"), "/usr"], [at("etc"), "/etc"]],
        "instead": [[at("var"), "/var/lib"]],
        // The flags of a start, which growdisk wants to see.
        "owned": [format!("/run/vdsm/{VM}/launchflags"), "/run/jobs/"],
        "dead": [DEAD],
        "jobs": jobs,
        "patience": 0,
    });
    let file = at("jobs.json");
    fs::write(&file, description.to_string()).unwrap();
    support::in_namespace(&file, &["--net"])
}

fn why_not() -> Option<&'static str> {
    match (is_root(), Path::new("/usr/bin/python3").exists()) {
        (false, _) => Some("needs root for namespaces"),
        (_, false) => Some("python3 is not installed"),
        _ => None,
    }
}

/// The hooks that are told a path or look at disks, all of them in `place`; how they end where it is
/// dead, and what they say.
fn lookers(place: &str) -> Vec<(Value, i64, &'static str)> {
    let domain = domain(place);
    let image = format!("{place}/image");
    let silent = "its storage does not answer within 10 seconds";
    let prepared = json!({
        "device": "disk", "path": image, "format": "raw", "shared": "false", "diskType": "file",
        "domainID": DOMAIN_ID, "poolID": VM, "imageID": VM, "volumeID": DOMAIN_ID,
    });
    let prepared = prepared.to_string();
    let raw = format!("{image}:raw");
    let scratch = format!("1M,{place}/scratch");
    let on_start =
        |hook, property, value: &str| job(hook, "before_vm_start", &domain, &[(property, value)]);
    let mut rows = vec![
        (
            on_start("fileinject", "fileinject", "/etc/motd:x"),
            2,
            silent,
        ),
        (on_start("vmdisk", "vmdisk", &raw), 2, silent),
        (
            job(
                "vmdisk",
                "before_vm_migrate_source",
                &domain,
                &[("vmdisk", &raw)],
            ),
            2,
            silent,
        ),
        (
            job(
                "vmdisk",
                "before_vm_migrate_destination",
                &domain,
                &[("vmdisk", &raw)],
            ),
            2,
            silent,
        ),
        (on_start("floppy", "floppy", &image), 2, silent),
        (on_start("scratchpad", "scratchpad", &scratch), 2, silent),
        (
            on_start("checkimages", "checkimages", "true"),
            2,
            "not checked within 10 seconds",
        ),
        (
            job(
                "growdisk",
                "before_vm_start",
                &domain,
                &[("growdisk", "vda,must")],
            ),
            2,
            "gave up after",
        ),
        (
            job(
                "localdisk",
                "after_disk_prepare",
                &prepared,
                &[("localdisk", "lvm")],
            ),
            2,
            "qemu-img: gave up after 10000 ms",
        ),
    ];
    let to_dead = [("log_firmware", "on"), ("log_firmware_dir", DEAD)];
    rows.push((
        job("log_firmware", "before_vm_start", &domain, &to_dead),
        0,
        silent,
    ));
    rows.push((
        on_start("vhostmd", "sap_agent", "true"),
        0,
        "vhostmd0 does not appear",
    ));
    let check = |event, data: &str| {
        let properties = [("sdcheck_timeout", "2"), ("sdcheck", "strict")];
        (
            job("sdcheck", event, data, &properties),
            2,
            "the storage did not answer within 2 s",
        )
    };
    rows.push(check("before_vm_start", &domain));
    rows.push(check("before_vm_migrate_destination", &domain));
    rows.push(check("before_disk_hotplug", &disk(place, "sdc", "raw")));
    rows
}

#[test]
fn hooks_that_look_at_storage_give_up_and_say_so() {
    let test = "hooks_that_look_at_storage_give_up_and_say_so";
    if let Some(reason) = why_not() {
        return not_run(test, reason);
    }
    let rows = lookers(DEAD);
    let jobs: Vec<_> = rows.iter().map(|(job, _, _)| job.clone()).collect();
    let answer = match run(&jobs) {
        Ok(answer) => answer,
        Err(reason) => return not_run(test, &reason),
    };
    for (index, (job, status, said)) in rows.iter().enumerate() {
        let outcome = &answer["jobs"][index];
        let stderr = outcome["stderr"].as_str().unwrap();
        let place = format!("{}: {outcome}", job["command"]);
        assert!(
            outcome["status"] == *status && stderr.contains(said),
            "{place}"
        );
        assert_eq!(stderr.lines().count(), 1, "{place}");
    }
}

/// How a hook ends with images that are there: when it has looked at them, and nothing but what the
/// test does not have is missing.
fn how_far(hook: &str) -> (i32, &'static str) {
    match hook.rsplit_once('_').map_or("", |(_, name)| name) {
        "vmdisk" if hook.contains("migrate_source") => (2, "the image is local, cannot migrate"),
        "checkimages" | "floppy" | "scratchpad" | "vmdisk" => (0, ""),
        "firmware" => (0, "does not answer"),
        "vhostmd" => (0, "does not appear"),
        // Where no stranger can have put anything before.
        "fileinject" | "growdisk" => (
            2,
            "guestfish keeps in /var/lib/vdsm-hooks/libguestfs, works in /var/lib/vdsm-hooks/libguestfs/run.",
        ),
        "localdisk" => (2, "qemu-img convert"),
        "sdcheck" => (2, "the metadata file is missing"),
        _ => panic!("{hook}"),
    }
}

/// Only children of the hook may make a call about what lies on storage: all of the hook's own
/// calls that have a path are looked at, while it goes as far as it can.
#[test]
fn no_hook_calls_storage_itself() {
    let test = "no_hook_calls_storage_itself";
    let strace = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    let can_trace = strace.is_ok_and(|output| output.status.success());
    if let Some(reason) = why_not().or((!can_trace).then_some("strace does not work here")) {
        return not_run(test, reason);
    }
    let logs = tempfile::tempdir().unwrap();
    let log = |number: usize| logs.path().join(number.to_string());
    let mut jobs: Vec<_> = lookers(ALIVE).into_iter().map(|(job, _, _)| job).collect();
    let scratch = format!("1M,{ALIVE}/scratch");
    jobs.push(job(
        "scratchpad",
        "after_vm_destroy",
        &domain(ALIVE),
        &[("scratchpad", &scratch)],
    ));
    for (number, job) in jobs.iter_mut().enumerate() {
        let hook = job["command"][0].take();
        job["command"] = json!(["strace", "-y", "-o", log(number), "-e", "trace=%file", hook]);
    }
    // growdisk leaves alone an image that another one has open, so that it has them to itself.
    let name = |job: &Value| job["link"][1].to_string();
    let growdisk = jobs.iter().position(|job| name(job).contains("growdisk"));
    let (before, from) = jobs.split_at(growdisk.unwrap());
    let (alone, after) = from.split_at(1);
    let mut outcomes = Vec::new();
    for jobs in [before, alone, after] {
        let mut answer = match run(jobs) {
            Ok(answer) => answer,
            Err(reason) => return not_run(test, &reason),
        };
        outcomes.append(answer["jobs"].as_array_mut().unwrap());
    }
    let mut not_as_far = Vec::new();
    for (number, (job, outcome)) in jobs.iter().zip(&outcomes).enumerate() {
        let hook = job["command"].as_array().unwrap().last().unwrap();
        let (status, said) = how_far(hook.as_str().unwrap());
        let stderr = outcome["stderr"].as_str().unwrap();
        if outcome["status"] != status || !stderr.contains(said) {
            not_as_far.push(format!("{hook}: {outcome}"));
        }
        let calls = fs::read_to_string(log(number)).unwrap();
        assert!(calls.contains("/run/"), "{job}: {calls}");
        // What another process has open is told by the kernel, which asks no storage.
        let is_told = |call: &str| call.starts_with("readlink(\"/proc/");
        let mut calls = calls.lines().filter(|call| !is_told(call));
        let on_storage = calls.find(|call| call.contains(IMAGES));
        assert_eq!(on_storage, None, "{job}");
    }
    assert!(not_as_far.is_empty(), "{}", not_as_far.join("\n"));
}

/// Every hook, at each of its events that has a document with disks, or may have; each path that a
/// property or a setting of the host names is dead too.
#[test]
fn no_hook_is_held_up() {
    let test = "no_hook_is_held_up";
    if let Some(reason) = why_not() {
        return not_run(test, reason);
    }
    let domain = domain(DEAD);
    let disk = disk(DEAD, "sdc", "raw");
    let (mut jobs, mut dead) = (Vec::new(), 0);
    for hook in hooks() {
        let properties: Vec<_> = hook
            .properties
            .iter()
            .filter_map(|property| {
                let (name, example) = (&property.name, &property.example);
                let of_host = matches!(property.scope, Scope::Host | Scope::VdsmConf);
                let value = if name.ends_with("_timeout") {
                    "10".to_owned()
                } else if !of_host {
                    example.replace(IMAGES, DEAD)
                } else if example.starts_with('/') {
                    DEAD.to_owned()
                } else {
                    return None;
                };
                Some((name.as_str(), value))
            })
            .collect();
        let properties: Vec<_> = properties
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let told = |value: &&(&str, &str)| value.1.contains(DEAD);
        dead += properties.iter().filter(told).count();
        for event in &hook.events {
            let data = match events::find(&event.event).unwrap().data {
                Data::Domain => &domain,
                Data::Device | Data::DeviceOrNothing => &disk,
                _ => continue,
            };
            jobs.push(job(&hook.name, &event.event, data, &properties));
        }
    }
    assert!(jobs.len() > 60, "only {}", jobs.len());
    // Of floppy, log_firmware, scratchpad, vmdisk, and two of sdcheck.
    assert!(dead >= 6, "only {dead} properties name what is dead");
    let answer = match run(&jobs) {
        Ok(answer) => answer,
        Err(reason) => return not_run(test, &reason),
    };
    for (job, outcome) in jobs.iter().zip(answer["jobs"].as_array().unwrap()) {
        assert!(outcome["status"].is_i64(), "{}: {outcome}", job["command"]);
    }
}
