// SPDX-License-Identifier: GPL-2.0-or-later

//! growdisk and `vdsm-hooks grow-disk` on real images, in libguestfs' appliance. An appliance takes
//! its time without the processor's help, so images are made and judged many at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::{domains, support};

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use sha1::{Digest as _, Sha1};
use tempfile::TempDir;

use domains::{DeadMount, assert_nobody_works_on};
use support::{Firing, Outcome, VM_ID, is_root, not_run, program};

const MIB: u64 = 1 << 20;
const BEFORE: u64 = 400 * MIB;
const AFTER: u64 = 700 * MIB;
/// What a file system of a grown disk has at least: more than the whole disk had.
const GROWN: u64 = 450 * MIB;
/// Seconds; a limit only so that a failure ends.
const LONG: &str = "1200";
/// What the file `/data` in each of them holds.
const FILL: &str = "fill 86 3000000 /data";

/// A disk that grows: its name, how it is made, and where the file system is. `@` is the device,
/// `#` its path for programs in the appliance, `%` a name of its own.
const GROWING: [(&str, &str, &str); 11] = [
    (
        "gpt-ext4",
        "part-init @ gpt\npart-add @ p 2048 40959\npart-add @ p 40960 819166\nmkfs ext4 @2",
        "@2",
    ),
    (
        "gpt-lvm-ext4",
        "part-init @ gpt\npart-add @ p 2048 40959\npart-add @ p 40960 819166\npvcreate @2\n\
         vgcreate % @2\nlvcreate root % 300\nlvcreate swap % 40\nmkswap /dev/%/swap\n\
         mkfs ext4 /dev/%/root\nmount /dev/%/root /\nmkdir /etc\nmkdir /bin\nmkdir /boot\n\
         write /etc/fstab \"/dev/%/root / ext4 defaults 0 0\\n\"\n\
         write /etc/os-release \"ID=debian\\nVERSION_ID=12\\n\"\numount /",
        "/dev/%/root",
    ),
    ("mbr-ext4", "part-disk @ mbr\nmkfs ext4 @1", "@1"),
    (
        "mbr-logical-pv",
        "part-init @ mbr\npart-add @ p 2048 40959\npart-add @ e 40960 -1\npart-add @ l 43008 -1\n\
         pvcreate @5\nvgcreate % @5\nlvcreate root % 340\nmkfs ext4 /dev/%/root",
        "/dev/%/root",
    ),
    ("xfs", "part-disk @ gpt\nmkfs xfs @1", "@1"),
    (
        "xfs-on-lvm",
        "part-disk @ gpt\npvcreate @1\nvgcreate % @1\nlvcreate root % 380\nmkfs xfs /dev/%/root",
        "/dev/%/root",
    ),
    ("btrfs", "part-disk @ gpt\nmkfs btrfs @1", "@1"),
    (
        "ntfs",
        "part-disk @ mbr\npart-set-mbr-id @ 1 7\nmkfs ntfs @1",
        "@1",
    ),
    ("whole-ext4", "mkfs ext4 @", "@"),
    (
        "whole-pv",
        "pvcreate @\nvgcreate % @\nlvcreate root % 380\nmkfs ext4 /dev/%/root",
        "/dev/%/root",
    ),
    (
        "first-lies-last",
        "part-init @ gpt\npart-add @ p 409600 819166\npart-add @ p 2048 409599\nmkfs ext4 @1\n\
         mkfs ext4 @2",
        "@1",
    ),
];

/// A disk that is refused: its name, how it is made, and why.
const REFUSED: [(&str, &str, &str); 8] = [
    (
        "swap-last",
        "part-init @ gpt\npart-add @ p 2048 409599\npart-add @ p 409600 819166\nmkfs ext4 @1\n\
         mkswap @2",
        "swap lies last",
    ),
    (
        "luks",
        "part-init @ mbr\npart-add @ p 2048 -1",
        "crypto_LUKS lies last",
    ),
    (
        "two-pvs",
        "part-init @ gpt\npart-add @ p 2048 409599\npart-add @ p 409600 819166\npvcreate @1\n\
         pvcreate @2\nvgcreate % \"@1 @2\"\nlvcreate root % 340\nmkfs ext4 /dev/%/root",
        "2 physical volumes",
    ),
    (
        "dirty-ext4",
        "part-init @ mbr\npart-add @ p 2048 -1\nmkfs ext4 @1",
        "its journal has to be replayed",
    ),
    (
        "unclean-ext4",
        "part-init @ mbr\npart-add @ p 2048 -1\nmkfs ext4 @1",
        "its state is \"not clean\"",
    ),
    (
        "dirty-ntfs",
        "part-disk @ mbr\npart-set-mbr-id @ 1 7\nmkfs ntfs @1\nntfsresize @1 size:300000000",
        "dirty",
    ),
    (
        "recovery",
        "part-disk @ gpt\nmkfs ntfs @1\npart-set-gpt-type @ 1 DE94BBA4-06D1-4D40-A16A-BFD50179D6AC",
        "it is for recovery",
    ),
    (
        "thin",
        "part-disk @ gpt\npvcreate @1\nvgcreate % @1\n\
         debug sh \"lvm lvcreate -qq -L 100m -T %/pool -V 200m -n root\"",
        "a logical volume is thin",
    ),
];

/// Why there is no appliance on this machine; none if there is one.
fn why_not() -> Option<&'static str> {
    static WHY: OnceLock<Option<String>> = OnceLock::new();
    let why = WHY.get_or_init(|| {
        let mut command = guestfish();
        match command.args(["-a", "/dev/null", "run"]).output() {
            Err(error) => Some(format!("guestfish: {error}")),
            Ok(output) if !output.status.success() => {
                let said = String::from_utf8_lossy(&output.stderr);
                let first = said.lines().next().unwrap_or_default();
                Some(format!("the appliance does not start: {first}"))
            }
            Ok(_) => None,
        }
    });
    why.as_deref()
}

fn guestfish() -> Command {
    let mut command = Command::new("guestfish");
    command
        .env("LIBGUESTFS_BACKEND", "direct")
        .env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg");
    command
}

/// The answer of one appliance with all of these images to a script.
fn ask_guestfish(images: &[PathBuf], options: &[&str], script: &str) -> String {
    let mut command = guestfish();
    command.args(options);
    for image in images {
        command.arg("-a").arg(image);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{answer}");
    answer
}

/// The device of the image number `index` in an appliance of several.
fn device(index: usize) -> String {
    format!("/dev/sd{}", char::from(b'a' + u8::try_from(index).unwrap()))
}

/// The same device for programs that `debug sh` runs: the kernel of the appliance numbers disks in
/// the order in which they turn up.
fn path(index: usize) -> String {
    format!("/dev/disk/by-path/*-scsi-0:0:{index}:0")
}

/// A layout's commands for the image number `index`; volume groups have the layout's own name.
fn filled(script: &str, index: usize, layout: &str) -> String {
    let group = layout.replace('-', "_");
    script
        .replace('@', &device(index))
        .replace('#', &path(index))
        .replace('%', &group)
}

/// The images of all layouts, made once for a text of them, before they are enlarged. They are
/// kept for the next run, since an appliance takes minutes for them where it has little of a
/// processor.
fn images() -> &'static Path {
    static IMAGES: OnceLock<PathBuf> = OnceLock::new();
    IMAGES.get_or_init(|| {
        let mut script = "run\n".to_owned();
        let mut names = Vec::new();
        let growing = GROWING.iter().map(|(name, make, system)| {
            let fill = format!("\nmount {system} /\n{FILL}\numount /");
            (*name, format!("{make}{fill}"))
        });
        let refused = REFUSED
            .iter()
            .map(|(name, make, _)| (*name, (*make).to_owned()));
        for (index, (name, make)) in growing.chain(refused).enumerate() {
            names.push(name);
            writeln!(script, "{}", filled(&make, index, name)).unwrap();
        }
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let made = tmp.join(format!("growdisk-{}", hex(script.as_bytes())));
        if !made.exists() {
            let directory = TempDir::new_in(tmp).unwrap();
            let images: Vec<PathBuf> = names
                .iter()
                .map(|name| directory.path().join(name))
                .collect();
            for image in &images {
                File::create(image).unwrap().set_len(BEFORE).unwrap();
            }
            ask_guestfish(&images, &["--format=raw"], &script);
            spoil(directory.path());
            fs::rename(directory.keep(), &made).unwrap();
        }
        made
    })
}

/// What the appliance does not do to partitions: two file systems become dirty, one is encrypted.
fn spoil(directory: &Path) {
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let output = command.args(arguments).current_dir(directory).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(output.status.success(), "{program}: {output:?}");
    };
    let partition = |image: &str| format!("{image}?offset={MIB}");
    let journal = "feature needs_recovery";
    run("debugfs", &["-w", "-R", journal, &partition("dirty-ext4")]);
    let state = "set_super_value state 0";
    run("debugfs", &["-w", "-R", state, &partition("unclean-ext4")]);
    let secret = ["--object", "secret,id=s,data=secret"];
    let format = ["-f", "luks", "-o", "key-secret=s,iter-time=10"];
    let create = [
        &["create", "-q"],
        &secret[..],
        &format,
        &["encrypted", "16M"],
    ];
    run("qemu-img", &create.concat());
    let copy = ["if=encrypted", "of=luks", "bs=1M", "seek=1", "conv=notrunc"];
    run("dd", &copy);
    fs::remove_file(directory.join("encrypted")).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    Sha1::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

/// A copy of a layout's image, enlarged.
fn enlarged(directory: &TempDir, name: &str, copy: &str) -> PathBuf {
    let image = directory.path().join(copy);
    let copied = Command::new("cp")
        .arg("--sparse=always")
        .args([&images().join(name), &image])
        .status();
    assert!(copied.unwrap().success());
    let file = File::options().write(true).open(&image).unwrap();
    file.set_len(AFTER).unwrap();
    image
}

fn scratch() -> TempDir {
    TempDir::new_in("/var/tmp").unwrap()
}

/// What tells one content of an image from another.
fn sum(path: &Path) -> String {
    let output = Command::new("sha1sum").arg(path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// `/data` as it was written.
fn data_sum() -> String {
    let data = vec![86; 3_000_000];
    hex(&data)
}

fn tool(arguments: &[&str], image: &Path) -> Output {
    Command::new(program("vdsm-hooks"))
        .env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
        .args(["grow-disk", "--timeout", LONG])
        .args(arguments)
        .arg(image)
        .output()
        .unwrap()
}

/// Runs `work` on all of these, two at a time.
fn two_at_a_time<T: Sync>(things: &[T], work: impl Fn(&T) + Sync) {
    let next = Mutex::new(things.iter());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let thing = next.lock().unwrap().next();
                    match thing {
                        Some(thing) => work(thing),
                        None => break,
                    }
                }
            });
        }
    });
}

/// Looks into grown disks, in one appliance: the data is there, the file system is sound and as
/// large as it should be. `mended`: after the check that a guest's start would make.
fn assert_sound(disks: &[(&str, PathBuf)], options: &[&str], wanted: u64, mended: bool) {
    let mut script = "run\n".to_owned();
    for (index, (layout, _)) in disks.iter().enumerate() {
        let (_, _, system) = GROWING.iter().find(|(name, _, _)| name == layout).unwrap();
        let raw = filled(&system.replacen('@', "#-part", 1), index, layout);
        let raw = raw.strip_suffix("-part").unwrap_or(&raw);
        let system = filled(system, index, layout);
        let check = match *layout {
            // These read their logs when they are mounted.
            "xfs" | "xfs-on-lvm" | "btrfs" if mended => String::new(),
            "btrfs" => format!("btrfs-fsck {system}"),
            "xfs" | "xfs-on-lvm" => format!("xfs-repair {system} nomodify:true"),
            // Windows is asked to check it, and mounting is the check of everybody else.
            "ntfs" => String::new(),
            _ if mended => format!("debug sh \"e2fsck -fy {raw} >/dev/null 2>&1; true\""),
            _ => format!("debug sh \"e2fsck -fn {raw}\""),
        };
        writeln!(
            script,
            "echo == {layout}\n{check}\nmount-ro {system} /\nchecksum sha1 /data\nstatvfs /\numount /"
        )
        .unwrap();
    }
    let images: Vec<PathBuf> = disks.iter().map(|(_, image)| image.clone()).collect();
    let answer = ask_guestfish(&images, &[&["--ro"], options].concat(), &script);
    let parts: Vec<&str> = answer.split("== ").skip(1).collect();
    assert_eq!(parts.len(), disks.len(), "{answer}");
    for part in parts {
        assert!(part.contains(&data_sum()), "the data is gone: {part}");
        let field = |name: &str| -> u64 {
            let mut lines = part.lines();
            let found = lines.find_map(|line| line.strip_prefix(name));
            found.unwrap().trim().parse().unwrap()
        };
        let size = field("blocks:") * field("frsize:");
        assert!(size >= wanted, "{size} of {wanted} bytes: {part}");
        if part.starts_with("xfs") && !mended {
            assert!(part.lines().nth(1) == Some("0"), "{part}");
        }
    }
}

#[test]
fn every_layout_grows() {
    if let Some(why) = why_not() {
        return not_run("every_layout_grows", why);
    }
    let directory = scratch();
    let mut disks: Vec<(&str, PathBuf)> = Vec::new();
    for (name, _, _) in &GROWING {
        disks.push((name, enlarged(&directory, name, name)));
    }
    two_at_a_time(&disks, |(name, image)| {
        let before = sum(image);
        let planned = (*name == "gpt-lvm-ext4").then(|| tool(&["--plan"], image));
        assert_eq!(sum(image), before, "{name}: --plan writes");
        let grown = tool(&[], image);
        assert_eq!(grown.status.code(), Some(0), "{name}: {grown:?}");
        assert!(grown.stderr.is_empty(), "{name}: {grown:?}");
        assert!(!grown.stdout.is_empty(), "{name}: nothing was grown");
        if let Some(planned) = planned {
            assert_eq!(planned.status.code(), Some(0), "{name}: {planned:?}");
            assert_eq!(grown.stdout, planned.stdout, "{name}");
        }
    });
    assert_sound(&disks, &["--format=raw"], GROWN, false);
    // There is nothing left to grow.
    let two = disks
        .iter()
        .filter(|(name, _)| ["gpt-lvm-ext4", "whole-ext4"].contains(name));
    two_at_a_time(&two.collect::<Vec<_>>(), |(name, image)| {
        let before = sum(image);
        let again = tool(&[], image);
        assert_eq!(again.status.code(), Some(0), "{name}: {again:?}");
        assert!(
            again.stdout.is_empty() && again.stderr.is_empty(),
            "{name}: {again:?}"
        );
        assert_eq!(sum(image), before, "{name}");
    });
}

#[test]
fn what_is_refused_keeps_every_byte() {
    if let Some(why) = why_not() {
        return not_run("what_is_refused_keeps_every_byte", why);
    }
    let directory = scratch();
    two_at_a_time(&REFUSED, |(name, _, why)| {
        let image = enlarged(&directory, name, name);
        let before = sum(&image);
        let refused = tool(&[], &image);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(why), "{name}: {said}");
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
        assert_eq!(sum(&image), before, "{name}");
    });
}

#[test]
fn a_snapshot_keeps_what_lies_below() {
    let test = "a_snapshot_keeps_what_lies_below";
    if let Some(why) = why_not() {
        return not_run(test, why);
    }
    let directory = scratch();
    let base = directory.path().join("base");
    fs::copy(images().join("gpt-ext4"), &base).unwrap();
    let overlay = directory.path().join("overlay");
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw"])
        .args(["overlay", "700M"])
        .current_dir(directory.path())
        .status();
    assert!(made.unwrap().success());
    let before = sum(&base);
    let grown = tool(&["--format", "qcow2"], &overlay);
    let said = String::from_utf8_lossy(&grown.stderr);
    assert_eq!(grown.status.code(), Some(0), "{said}");
    assert!(said.contains("brings the old size back"), "{said}");
    assert_eq!(sum(&base), before, "the base is written to");
    assert_sound(&[("gpt-ext4", overlay)], &["--format=qcow2"], GROWN, false);
}

#[test]
fn an_image_in_use_is_left_to_who_has_it() {
    let test = "an_image_in_use_is_left_to_who_has_it";
    let directory = scratch();
    let image = directory.path().join("disk");
    File::create(&image).unwrap().set_len(BEFORE).unwrap();
    let qemu = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg", "-S", "-display", "none", "-nodefaults"])
        .args(["-qmp", "stdio", "-drive"])
        .arg(format!("if=virtio,format=raw,file={}", image.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut qemu = match qemu {
        Err(error) => return not_run(test, &format!("qemu-system-x86_64: {error}")),
        Ok(qemu) => qemu,
    };
    // It may greet before it has opened its disks, and answers after that.
    let mut input = qemu.stdin.take().unwrap();
    input
        .write_all(b"{\"execute\": \"qmp_capabilities\"}\n")
        .unwrap();
    let mut output = BufReader::new(qemu.stdout.take().unwrap());
    for _greeting_and_answer in 0..2 {
        output.read_line(&mut String::new()).unwrap();
    }
    let refused = tool(&[], &image);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let who = format!("in use by qemu-system-x86 (process {})", qemu.id());
    qemu.kill().unwrap();
    qemu.wait().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&who), "{said}: {who}");
    assert_eq!(
        fs::read(&image).unwrap(),
        vec![0; usize::try_from(BEFORE).unwrap()]
    );
}

#[test]
fn qcow2_on_a_block_device_needs_free_room() {
    let test = "qcow2_on_a_block_device_needs_free_room";
    if let Some(why) = why_not() {
        return not_run(test, why);
    }
    if !is_root() {
        return not_run(test, "needs root for a loop device");
    }
    let directory = scratch();
    let image = directory.path().join("volume");
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output
            .map_err(|error| format!("{program}: {error}"))
            .and_then(|output| {
                let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                let said = String::from_utf8_lossy(&output.stderr);
                output
                    .status
                    .success()
                    .then_some(text)
                    .ok_or(format!("{program}: {said}"))
            })
    };
    let path = image.to_str().unwrap();
    let source = images().join("gpt-ext4");
    let source = source.to_str().unwrap();
    run(
        "qemu-img",
        &["convert", "-f", "raw", "-O", "qcow2", source, path],
    )
    .unwrap();
    run("qemu-img", &["resize", "-q", "-f", "qcow2", path, "2G"]).unwrap();
    for (size, status) in [(200 * MIB, 1), (1024 * MIB, 0)] {
        File::options()
            .write(true)
            .open(&image)
            .unwrap()
            .set_len(size)
            .unwrap();
        let device = match run("losetup", &["--find", "--show", path]) {
            Err(why) => return not_run(test, why.trim()),
            Ok(device) => device,
        };
        let planned = tool(&["--plan", "--format", "qcow2"], Path::new(&device));
        run("losetup", &["--detach", &device]).unwrap();
        let said = String::from_utf8_lossy(&planned.stderr);
        assert_eq!(planned.status.code(), Some(status), "{said}");
        assert!(status == 0 || said.contains("MiB are free"), "{said}");
    }
}

/// A cold start of a VM with one disk.
fn start(image: &Path, value: &str) -> Firing {
    start_on("", image, value)
}

/// [`start`] on a host that these commands have prepared.
fn start_on(prepare: &str, image: &Path, value: &str) -> Firing {
    let document = format!(
        "<domain><name>a</name><devices><disk type='file' device='disk'>\
         <driver name='qemu' type='raw'/><source file='{}'/><target dev='vda'/></disk>\
         </devices></domain>",
        image.display()
    );
    let host = format!(
        "mount -t tmpfs tmpfs /run; mkdir -p /run/vdsm/{VM_ID}; \
         echo 0 >/run/vdsm/{VM_ID}/launchflags; {prepare}exec \"$@\""
    );
    Firing::new("growdisk", "before_vm_start", document.as_bytes())
        .variable("growdisk", value)
        .variable("growdisk_timeout", LONG)
        .variable("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
        .inside(&["unshare", "--mount", "sh", "-ec", &host, "sh"])
}

/// The process groups of guestfish with this image.
fn appliances(image: &Path) -> Vec<Pid> {
    let image = image.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap();
    let ids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    ids.filter(|id: &i32| {
        let command = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        command.starts_with("/usr/bin/guestfish") && command.contains(image)
    })
    .filter_map(|id| nix::unistd::getpgid(Some(Pid::from_raw(id))).ok())
    .collect()
}

/// Starts the hook and calls `act` when it has sent `step` to an appliance that may write (a look
/// has other commands). The rest of what it says, and its status.
fn at_step(firing: &Firing, step: &str, act: impl FnOnce(Pid)) -> (String, Option<i32>) {
    let mut hook = firing
        .command()
        .env("VDSM_HOOK_LOG", "debug")
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut act = Some(act);
    let mut said = String::new();
    for line in BufReader::new(hook.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains(&format!("guestfish: {step}")) {
            if let Some(act) = act.take() {
                act(Pid::from_raw(i32::try_from(hook.id()).unwrap()));
            }
        }
        said += &line;
        said.push('\n');
    }
    let status = hook.wait().unwrap();
    assert!(act.is_none(), "no step '{step}': {said}");
    (said, status.code())
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    // Far longer than it takes; a limit only so that a failure ends.
    for _ in 0..600 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{what}");
}

#[test]
fn a_start_grows_the_disk_and_leaves_the_document() {
    let test = "a_start_grows_the_disk_and_leaves_the_document";
    if let Some(why) = why_not().or((!is_root()).then_some("needs root for a mount")) {
        return not_run(test, why);
    }
    let directory = scratch();
    let image = enlarged(&directory, "mbr-ext4", "disk");
    let outcome: Outcome = start(&image, "vda,must").run();
    assert_eq!(
        (outcome.status, &*outcome.stderr),
        (Some(0), ""),
        "{outcome:?}"
    );
    assert!(!outcome.touched, "{outcome:?}");
    assert_sound(&[("mbr-ext4", image)], &["--format=raw"], GROWN, false);
}

#[test]
fn at_the_deadline_nothing_is_written_and_nobody_left() {
    let test = "at_the_deadline_nothing_is_written_and_nobody_left";
    if let Some(why) = why_not().or((!is_root()).then_some("needs root for a mount")) {
        return not_run(test, why);
    }
    let directory = scratch();
    for (value, status) in [("vda", 0), ("vda,must", 2)] {
        let image = enlarged(&directory, "mbr-ext4", "disk");
        let before = sum(&image);
        let firing = start(&image, value).variable("growdisk_timeout", "10");
        let (said, code) = at_step(&firing, "run", |_| {
            for group in appliances(&image) {
                killpg(group, Signal::SIGSTOP).unwrap();
            }
        });
        assert_eq!(code, Some(status), "{said}");
        assert!(said.contains("disk vda: not grown"), "{said}");
        assert!(said.contains("given up at the deadline"), "{said}");
        assert_eq!(sum(&image), before, "{said}");
        wait_for("an appliance is left", || appliances(&image).is_empty());
    }
}

#[test]
fn at_the_deadline_after_the_first_write_the_step_is_named() {
    let test = "at_the_deadline_after_the_first_write_the_step_is_named";
    if let Some(why) = why_not().or((!is_root()).then_some("needs root for a mount")) {
        return not_run(test, why);
    }
    let directory = scratch();
    // The partition is larger already.
    let image = enlarged(&directory, "mbr-ext4", "disk");
    let before = sum(&image);
    // Long enough to come there: the look has a time of its own.
    let firing = start(&image, "vda").variable("growdisk_timeout", "150");
    let (said, code) = at_step(&firing, "resize2fs", |_| {
        for group in appliances(&image) {
            killpg(group, Signal::SIGSTOP).unwrap();
        }
    });
    assert_eq!(code, Some(2), "{said}");
    let says = "disk vda: growing failed half way: step 'resize2fs";
    assert!(said.contains(says), "{said}");
    assert_ne!(sum(&image), before, "{said}");
    wait_for("an appliance is left", || appliances(&image).is_empty());
    assert_sound(&[("mbr-ext4", image)], &["--format=raw"], BEFORE / 2, false);
}

/// On storage that does not answer, on a host that `prepare` has made, nothing costs more than its
/// time, and all end with `says` and nobody left.
fn assert_given_up(test: &str, prepare: &str, says: &str) {
    if !is_root() {
        return not_run(test, "needs root for a mount");
    }
    let directory = scratch();
    let dead = match DeadMount::on(directory.path()) {
        Ok(dead) => dead,
        Err(reason) => return not_run(test, &reason),
    };
    let image = directory.path().join("disk");
    for (value, status) in [("vda", 0), ("vda,must", 2)] {
        let outcome = start_on(prepare, &image, value)
            .variable("growdisk_timeout", "10")
            .run();
        let said = &outcome.stderr;
        assert_eq!(outcome.status, Some(status), "{said}");
        assert!(
            said.contains(&format!("disk vda: not grown: {says}")),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let prepare = format!("{prepare}exec \"$@\"");
    let mut tool = Command::new("unshare");
    tool.args(["--mount", "sh", "-ec", &prepare, "sh"]);
    tool.arg(program("vdsm-hooks"));
    tool.args(["grow-disk", "--timeout", "10", "--format", "raw"]);
    let output = tool.arg(&image).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("not grown: {says}")), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    drop(dead);
    assert_nobody_works_on(directory.path());
}

#[test]
fn storage_that_does_not_answer_costs_no_more_than_the_time() {
    let test = "storage_that_does_not_answer_costs_no_more_than_the_time";
    assert_given_up(test, "", "qemu-img: gave up");
}

#[test]
fn storage_that_dies_after_qemu_img_costs_no_more_than_the_time() {
    let test = "storage_that_dies_after_qemu_img_costs_no_more_than_the_time";
    // Answers without the storage, so that our own look is the first to touch it.
    let host = scratch();
    let stand_in = host.path().join("qemu-img");
    let facts = r#"[{"filename":"disk","format":"raw"}]"#;
    fs::write(&stand_in, format!("#!/bin/sh\necho '{facts}'\n")).unwrap();
    fs::set_permissions(&stand_in, Permissions::from_mode(0o755)).unwrap();
    let prepare = format!("mount --bind {} /usr/bin/qemu-img; ", stand_in.display());
    let says = "its storage did not answer before the deadline";
    assert_given_up(test, &prepare, says);
}

/// Waits for the first write to an image that a step makes. Some steps write nothing before their
/// end, so the wait is short.
fn wait_for_write(image: &Path) {
    let written = || fs::metadata(image).unwrap().modified().unwrap();
    let before = written();
    for _ in 0..200 {
        if written() != before {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn killed_in_every_step_the_data_is_there() {
    let test = "killed_in_every_step_the_data_is_there";
    if let Some(why) = why_not().or((!is_root()).then_some("needs root for a mount")) {
        return not_run(test, why);
    }
    let steps = [
        ("part-expand-gpt", "gpt-ext4"),
        ("part-resize", "first-lies-last"),
        ("pvresize", "gpt-lvm-ext4"),
        ("lvresize-free", "whole-pv"),
        ("e2fsck", "mbr-ext4"),
        ("resize2fs", "whole-ext4"),
        ("xfs-growfs", "xfs"),
        ("btrfs-filesystem-resize", "btrfs"),
        ("ntfsresize", "ntfs"),
    ];
    let directory = scratch();
    two_at_a_time(&steps, |(step, layout)| {
        let image = enlarged(&directory, layout, layout);
        // The hook dies, and the host under the appliance as well.
        at_step(&start(&image, "all"), &format!("{step} "), |hook| {
            wait_for_write(&image);
            for group in appliances(&image) {
                killpg(group, Signal::SIGKILL).unwrap();
            }
            let _ = killpg(hook, Signal::SIGKILL);
        });
        wait_for("an appliance is left", || appliances(&image).is_empty());
    });
    let disks = steps.map(|(_, layout)| (layout, directory.path().join(layout)));
    // What was cut short is finished by the next run, or it is left to the guest's own check.
    let (grown, left) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    two_at_a_time(&disks, |(layout, image)| {
        let before = sum(image);
        let again = tool(&[], image);
        let said = String::from_utf8_lossy(&again.stderr);
        let disk = (*layout, image.clone());
        if again.status.success() {
            return grown.lock().unwrap().push(disk);
        }
        assert_eq!(again.status.code(), Some(1), "{layout}: {said}");
        assert!(said.contains("dirty"), "{layout}: {said}");
        assert_eq!(sum(image), before, "{layout}: {said}");
        left.lock().unwrap().push(disk);
    });
    let (grown, left) = (grown.into_inner().unwrap(), left.into_inner().unwrap());
    assert!(!grown.is_empty());
    assert_sound(&grown, &["--format=raw"], 0, false);
    if !left.is_empty() {
        assert_sound(&left, &["--format=raw"], 0, true);
    }
}

#[test]
fn a_hook_that_dies_leaves_no_appliance() {
    let test = "a_hook_that_dies_leaves_no_appliance";
    if let Some(why) = why_not().or((!is_root()).then_some("needs root for a mount")) {
        return not_run(test, why);
    }
    let directory = scratch();
    let image = enlarged(&directory, "mbr-ext4", "disk");
    at_step(&start(&image, "all"), "resize2fs", |hook| {
        killpg(hook, Signal::SIGKILL).unwrap();
    });
    wait_for("an appliance is left", || appliances(&image).is_empty());
    // It has brought the step to its end, or has never got it.
    assert_sound(&[("mbr-ext4", image)], &["--format=raw"], BEFORE / 2, false);
}
