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

mod support;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use sha1::{Digest as _, Sha1};
use tempfile::TempDir;

use support::{Firing, VM_ID, is_root, not_run, program};

const MIB: u64 = 1 << 20;
const BEFORE: u64 = 400 * MIB;
const AFTER: u64 = 700 * MIB;
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
        "part-disk @ gpt\n\
         debug sh \"echo secret |\
         cryptsetup -q luksFormat --type luks1 --pbkdf-force-iterations 1000 #-part1\"",
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
        "part-disk @ gpt\nmkfs ext4 @1\n\
         debug sh \"debugfs -w -R 'feature needs_recovery' #-part1\"",
        "its journal has to be replayed",
    ),
    (
        "unclean-ext4",
        "part-disk @ mbr\nmkfs ext4 @1\ndebug sh \"debugfs -w -R 'ssv state 0' #-part1\"",
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
            fs::rename(directory.keep(), &made).unwrap();
        }
        made
    })
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
            "xfs" | "btrfs" if mended => String::new(),
            "btrfs" => format!("btrfs-check {system}"),
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
        if part.starts_with("xfs") {
            assert!(part.lines().nth(1) == Some("0"), "{part}");
        }
    }
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
    // It greets when it has opened its disks.
    let mut greeting = String::new();
    let mut output = BufReader::new(qemu.stdout.take().unwrap());
    output.read_line(&mut greeting).unwrap();
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

/// A cold start of a VM with one disk.
fn start(image: &Path, value: &str) -> Firing {
    let document = format!(
        "<domain><name>a</name><devices><disk type='file' device='disk'>\
         <driver name='qemu' type='raw'/><source file='{}'/><target dev='vda'/></disk>\
         </devices></domain>",
        image.display()
    );
    let host = format!(
        "mount -t tmpfs tmpfs /run; mkdir -p /run/vdsm/{VM_ID}; \
         echo 0 >/run/vdsm/{VM_ID}/launchflags; exec \"$@\""
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
