// SPDX-License-Identifier: GPL-2.0-or-later

//! vmdisk and floppy on real images and real file systems: what qemu-img makes, files that VDSM
//! may not read, storage that is shared, and storage that is dead.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::{domains, support};

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use domains::{DeadMount, assert_nobody_works_on};
use support::{Firing, Outcome, is_root, not_run};
use tempfile::TempDir;

const IMAGES: &str = "/var/lib/libvirt/images";
const DOMAIN: &[u8] = b"<domain><devices/></domain>\n";
/// Shows a directory as `/var/lib`, on a host without lists of what is allowed.
const SHOW: &str = "mount --rbind \"$1\" /var/lib
[ ! -d /etc/vdsm-hooks ] || mount -t tmpfs tmpfs /etc/vdsm-hooks
shift; exec \"$@\"";

/// A directory that the hooks see as `/var/lib`, with a directory for images.
struct Host(TempDir);

impl Host {
    fn new() -> Host {
        let host = Host(tempfile::tempdir().unwrap());
        fs::set_permissions(host.0.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(host.image("")).unwrap();
        host
    }

    /// Where an image lies outside of the hooks.
    fn image(&self, name: &str) -> PathBuf {
        self.0.path().join("libvirt/images").join(name)
    }

    fn fire(&self, hook: &str, event: &str, value: &str, wrapper: &[&str]) -> Outcome {
        let directory = self.0.path().to_str().unwrap();
        let show = ["unshare", "--mount", "sh", "-ec", SHOW, "sh", directory];
        Firing::new(hook, event, DOMAIN)
            .variable(hook, value)
            .inside(&[&show, wrapper].concat())
            .run()
    }
}

fn assert_refused(outcome: &Outcome, message: &str) {
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains(message), "{outcome:?}: {message}");
    assert!(!outcome.touched, "{outcome:?}");
}

#[test]
fn what_qemu_img_makes_is_told_apart() {
    let test = "what_qemu_img_makes_is_told_apart";
    if !is_root() {
        return not_run(test, "needs root for a mount");
    }
    let host = Host::new();
    let make = |arguments: &[&str]| {
        let made = Command::new("qemu-img")
            .args(["create", "-q"])
            .args(arguments)
            .current_dir(host.image(""))
            .output();
        made.map(|output| assert!(output.status.success(), "{output:?}"))
    };
    if let Err(error) = make(&["-f", "raw", "raw", "1M"]) {
        return not_run(test, &format!("qemu-img: {error}"));
    }
    for arguments in [
        &["-f", "qcow2", "new", "1M"][..],
        &["-f", "qcow2", "-o", "compat=0.10", "old", "1M"],
        &["-f", "qcow2", "-b", "new", "-F", "qcow2", "overlay"],
        &[
            "-f",
            "qcow2",
            "-o",
            "compat=0.10",
            "-b",
            "old",
            "-F",
            "qcow2",
            "old-overlay",
        ],
        &["-f", "qcow2", "-o", "data_file=data", "split", "1M"],
        &["-f", "vmdk", "foreign", "1M"],
    ] {
        make(arguments).unwrap();
    }
    for (name, format, problem) in [
        ("raw", "raw", None),
        ("raw", "qcow2", Some("not a qcow2 image")),
        ("new", "qcow2", None),
        ("new", "raw", Some("not a raw image")),
        ("old", "qcow2", None),
        ("overlay", "qcow2", Some("it has a backing file")),
        ("old-overlay", "qcow2", Some("it has a backing file")),
        ("split", "qcow2", Some("it has an external data file")),
        ("foreign", "qcow2", Some("not a qcow2 image")),
    ] {
        let value = format!("{IMAGES}/{name}:{format}");
        let outcome = host.fire("vmdisk", "before_vm_start", &value, &[]);
        match problem {
            Some(problem) => assert_refused(&outcome, problem),
            None => assert!(outcome.status == Some(0) && outcome.touched, "{outcome:?}"),
        }
    }
}

#[test]
fn a_user_without_access() {
    if !is_root() {
        return not_run("a_user_without_access", "needs root to be another user");
    }
    let host = Host::new();
    let as_vdsm = ["setpriv", "--reuid=36", "--regid=36", "--clear-groups"];
    let scenes = [
        ("0600", "0755", "vmdisk", "the group kvm"),
        // The image is fine, libvirt hands it over; the document here is root's.
        ("0600", "0755", "floppy", "DATA: Permission denied"),
        ("0644", "0700", "vmdisk", "cannot look at it"),
        ("0644", "0700", "floppy", "cannot look at it"),
    ];
    for (file, directory, hook, problem) in scenes {
        let mode = |text| Permissions::from_mode(u32::from_str_radix(text, 8).unwrap());
        fs::write(host.image("a"), "x").unwrap();
        fs::set_permissions(host.image("a"), mode(file)).unwrap();
        fs::set_permissions(host.image(""), mode(directory)).unwrap();
        let format = if hook == "vmdisk" { ":raw" } else { "" };
        let value = format!("{IMAGES}/a{format}");
        let outcome = host.fire(hook, "before_vm_start", &value, &as_vdsm);
        assert_refused(&outcome, problem);
    }
}

#[test]
fn dead_storage_does_not_hold_up_a_vm() {
    let test = "dead_storage_does_not_hold_up_a_vm";
    if !is_root() {
        return not_run(test, "needs root for a mount");
    }
    let host = Host::new();
    let elsewhere = host.0.path().join("elsewhere");
    let mounts = (DeadMount::on(&host.image("")), DeadMount::on(&elsewhere));
    let mounts = match mounts {
        (Ok(one), Ok(other)) => (one, other),
        (Err(reason), _) | (_, Err(reason)) => return not_run(test, &reason),
    };
    let silent = "its storage does not answer within 10 seconds";
    // Side by side, because each of them waits.
    thread::scope(|scope| {
        for (hook, event, value, problem) in [
            (
                "vmdisk",
                "before_vm_start",
                format!("{IMAGES}/a:raw"),
                silent,
            ),
            (
                "vmdisk",
                "before_vm_migrate_source",
                format!("{IMAGES}/a:raw"),
                silent,
            ),
            (
                "floppy",
                "before_vm_start",
                format!("{IMAGES}/a:usb"),
                silent,
            ),
            (
                "floppy",
                "before_vm_start",
                "/var/lib/elsewhere/a".to_owned(),
                "not in an allowed directory",
            ),
        ] {
            let host = &host;
            scope.spawn(move || assert_refused(&host.fire(hook, event, &value, &[]), problem));
        }
    });
    // The children cannot die before somebody lets them go.
    drop(mounts);
    assert_nobody_works_on(Path::new(IMAGES));
}

#[test]
fn shared_storage_lets_a_vm_migrate() {
    let test = "shared_storage_lets_a_vm_migrate";
    if !is_root() {
        return not_run(test, "needs root for a mount");
    }
    let event = "before_vm_migrate_source";
    let value = format!("{IMAGES}/a:raw");
    for (kind, migrates) in [("glusterfs", true), ("sshfs", false)] {
        let host = Host::new();
        if let Err(reason) = mount_with_one_file(kind, &host.image("")) {
            return not_run(test, &reason);
        }
        let outcome = host.fire("vmdisk", event, &value, &[]);
        let unmounted = Command::new("umount")
            .arg("-l")
            .arg(host.image(""))
            .status();
        assert!(unmounted.unwrap().success());
        if migrates {
            assert_eq!(outcome.status, Some(0), "{outcome:?}");
            assert!(outcome.stderr.is_empty() && !outcome.touched, "{outcome:?}");
        } else {
            assert_refused(&outcome, "the image is local, cannot migrate");
        }
    }
}

/// Mounts a file system in which every name is an empty regular file; the table of mounts calls it
/// `fuse.KIND`. The kind as an option: mount(8) of util-linux 2.41 loses it from the type's name.
fn mount_with_one_file(kind: &str, directory: &Path) -> Result<(), String> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::fcntl::OFlag::O_CLOEXEC.bits())
        .open("/dev/fuse")
        .map_err(|error| format!("/dev/fuse: {error}"))?;
    let options = format!("subtype={kind},fd=0,rootmode=40000,user_id=0,group_id=0,allow_other");
    let mounted = Command::new("mount")
        .args(["-i", "-t", "fuse", "-o", &options, "one"])
        .arg(directory)
        .stdin(Stdio::from(device.try_clone().unwrap()))
        .output()
        .map_err(|error| format!("mount: {error}"))?;
    if !mounted.status.success() {
        return Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned());
    }
    thread::spawn(move || serve(device));
    Ok(())
}

/// Answers the kernel until the file system is unmounted. The layouts are those of
/// `linux/fuse.h`.
fn serve(mut device: File) {
    const LOOKUP: u32 = 1;
    const GETATTR: u32 = 3;
    const INIT: u32 = 26;
    const ENOSYS: i32 = 38;
    let mut request = vec![0; 1 << 18];
    while let Ok(count) = device.read(&mut request) {
        let number = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        assert!(count >= 40, "a header at least");
        let (error, body) = match number(4) {
            INIT => {
                let mut body = [7u32, number(44)].map(u32::to_ne_bytes).concat();
                body.resize(20, 0);
                body.extend(4096u32.to_ne_bytes());
                body.resize(64, 0);
                (0, body)
            }
            // Node 2, again and again.
            LOOKUP => {
                let ids = [2, 0, u64::MAX, u64::MAX].map(u64::to_ne_bytes).concat();
                (0, [ids, vec![0; 8], attributes(2, 0o100_644)].concat())
            }
            GETATTR => {
                let node = u64::from(number(16));
                let mode = if node == 1 { 0o040_755 } else { 0o100_644 };
                let valid = u64::MAX.to_ne_bytes().to_vec();
                (0, [valid, vec![0; 8], attributes(node, mode)].concat())
            }
            _ => (-ENOSYS, Vec::new()),
        };
        let length = u32::try_from(16 + body.len()).unwrap();
        let head = [length.to_ne_bytes(), error.to_ne_bytes()].concat();
        // A request that wants no answer gets none taken.
        let _ = device.write_all(&[&head, &request[8..16], &body].concat());
    }
}

fn attributes(node: u64, mode: u32) -> Vec<u8> {
    let mut attributes = node.to_ne_bytes().to_vec();
    attributes.resize(60, 0);
    attributes.extend([mode, 1].map(u32::to_ne_bytes).concat());
    attributes.resize(88, 0);
    attributes
}
