// SPDX-License-Identifier: GPL-2.0-or-later

//! growdisk and `vdsm-hooks grow-disk` on real images, in libguestfs' appliance, on hosts of their
//! own. An appliance takes its time without the processor's help, so that most hooks share one
//! (`tests/support/appliance.rs`); those that are killed have one to themselves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use support::appliance::{Shared, Sharer, slowest_start};
use support::guests::{
    self, FILL, Layout, MIB, PATIENT, Vm, copy, has_boot_code, run, scratch, sum,
};
use support::{VM_ID, not_run, private_host};

/// What the disks have before they are enlarged, if it is not said.
const BEFORE: u64 = 400;

/// Types of partitions, as `guests::Layout` has them: BIOS boot, EFI, LVM, Windows recovery.
static LAYOUTS: [Layout; 39] = [
    (
        "gpt-ext4",
        BEFORE,
        "gpt\nx1 : start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, \
         attrs=\"LegacyBIOSBootable\"\nx2 : start=4096, size=815071, name=\"root\"",
        "mkfs ext4 @2",
        "@2",
    ),
    (
        "gpt-cloud",
        BEFORE,
        "gpt\nx1 : start=227328, size=591839\n\
         x2 : start=2048, size=8192, type=21686148-6449-6E6F-744E-656564454649\n\
         x3 : start=10240, size=217088, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        "mkfs ext4 @1\nmkfs vfat @3",
        "@1",
    ),
    (
        "gpt-lvm",
        800,
        "gpt\nx1 : start=2048, size=202752, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n\
         x2 : start=204800, size=1433567, type=E6D6D379-F507-44C2-A23C-238F2A3DF928",
        "mkfs vfat @1\npvcreate @2\nvgcreate cl @2\nlvcreate swap cl 64\n\
         lvcreate root cl 500\nmkswap /dev/cl/swap\nmkfs ext4 /dev/cl/root",
        "/dev/cl/root",
    ),
    (
        "mbr-ext4",
        BEFORE,
        "dos\nx1 : start=2048, size=817152, type=83, bootable",
        "mkfs ext4 @1",
        "@1",
    ),
    (
        "mbr-logical",
        BEFORE,
        "dos\nx1 : start=2048, size=204800, type=83\nx2 : start=208894, size=610306, type=5\n\
         x5 : start=208896, size=610304, type=8e",
        "mkfs ext2 @1\npvcreate @5\nvgcreate deb @5\nlvcreate-free root deb 100\n\
         mkfs ext4 /dev/deb/root",
        "/dev/deb/root",
    ),
    ("xfs", BEFORE, WHOLE_GPT, "mkfs xfs @1", "@1"),
    (
        "xfs-lvm",
        BEFORE,
        FDISK_GPT,
        "pvcreate @1\nvgcreate rhel @1\nlvcreate-free root rhel 100\nmkfs xfs /dev/rhel/root",
        "/dev/rhel/root",
    ),
    ("btrfs", BEFORE, FDISK_GPT, "mkfs btrfs @1", "@1"),
    ("ntfs", BEFORE, WHOLE_NTFS, "mkfs ntfs @1", "@1"),
    ("whole-ext4", BEFORE, "", "mkfs ext4 @", "@"),
    ("whole-xfs", BEFORE, "", "mkfs xfs @", "@"),
    (
        "whole-pv",
        BEFORE,
        "",
        "pvcreate @\nvgcreate data @\nlvcreate-free srv data 100\nmkfs ext4 /dev/data/srv",
        "/dev/data/srv",
    ),
    (
        "two-lvs",
        BEFORE,
        WHOLE_GPT,
        "pvcreate @1\nvgcreate two @1\nlvcreate root two 200\nlvcreate home two 100\n\
         mkfs ext4 /dev/two/root\nmkfs ext4 /dev/two/home",
        "/dev/two/home",
    ),
    ("swap-last", BEFORE, TWO_GPT, "mkfs ext4 @1\nmkswap @2", ""),
    (
        "luks",
        BEFORE,
        "dos\nx1 : start=2048, size=817152, type=83",
        "",
        "",
    ),
    (
        "md",
        BEFORE,
        WHOLE_GPT,
        "md-create tests @1 missingbitmap:1 level:raid1",
        "",
    ),
    (
        "recovery",
        BEFORE,
        "gpt\nx1 : start=2048, size=407552\n\
         x2 : start=409600, size=409567, type=DE94BBA4-06D1-4D40-A16A-BFD50179D6AC",
        "mkfs ntfs @1\nmkfs ntfs @2",
        "",
    ),
    (
        "mbr-recovery",
        BEFORE,
        "dos\nx1 : start=2048, size=407552, type=7\nx2 : start=409600, size=409600, type=27",
        "mkfs ntfs @2",
        "",
    ),
    (
        "dirty-ext4",
        BEFORE,
        "dos\nx1 : start=2048, size=817152, type=83",
        "mkfs ext4 @1",
        "",
    ),
    ("dirty-xfs", BEFORE, WHOLE_GPT, "mkfs xfs @1", ""),
    (
        "hibernated",
        BEFORE,
        WHOLE_NTFS,
        "mkfs ntfs @1\nmount @1 /\nfill-pattern hibr 8192 /hiberfil.sys\numount /",
        "",
    ),
    // At 64 KiB, see `spoil`.
    (
        "damaged",
        BEFORE,
        "dos\nx1 : start=128, size=819072, type=83",
        "mkfs ext4 @1",
        "",
    ),
    (
        "thin",
        BEFORE,
        WHOLE_GPT,
        "pvcreate @1\nvgcreate thin @1\n\
         debug sh \"lvm lvcreate -qq -L 100m -T thin/pool -V 200m -n root\"",
        "",
    ),
    (
        "lv-snapshot",
        BEFORE,
        WHOLE_GPT,
        "pvcreate @1\nvgcreate snapped @1\nlvcreate root snapped 200\nmkfs ext4 /dev/snapped/root\n\
         debug sh \"lvm lvcreate -qq -s -L 40m -n before snapped/root\"",
        "",
    ),
    ("half-vg", BEFORE, "", "", ""),
    ("other-half", 100, "", "", ""),
    (
        "two-pvs",
        BEFORE,
        TWO_GPT,
        "pvcreate @1\npvcreate @2\nvgcreate pair \"@1 @2\"\nlvcreate root pair 340\n\
         mkfs ext4 /dev/pair/root",
        "",
    ),
    ("mac-table", 40, "", "part-init @ mac", ""),
    ("empty-table", 40, "gpt", "", ""),
    (
        "empty-extended",
        80,
        "dos\nx1 : start=2048, size=38912, type=83\nx2 : start=40960, size=122880, type=5",
        "mkfs ext4 @1",
        "",
    ),
    (
        "vfat-last",
        80,
        "gpt\nx1 : start=2048, size=161759",
        "mkfs vfat @1",
        "",
    ),
    (
        "efi-ext4",
        80,
        "gpt\nx1 : start=2048, size=161759, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        "mkfs ext4 @1",
        "",
    ),
    // What sleeps in the first partition of these, and the tables of the others: see `spoil`.
    (
        "suspended",
        80,
        "gpt\nx1 : start=2048, size=40960\nx2 : start=43008, size=120799",
        "mkswap @1\nmkfs ext4 @2",
        "",
    ),
    (
        "windows-beside",
        80,
        "dos\nx1 : start=2048, size=40960, type=7\nx2 : start=43008, size=120832, type=83",
        "mkfs ntfs @1\nmkfs ext4 @2\nmount @1 /\nfill-pattern hibr 8192 /hiberfil.sys\numount /",
        "",
    ),
    (
        "hybrid",
        80,
        "gpt\nx1 : start=2048, size=161759",
        "mkfs ext4 @1",
        "",
    ),
    (
        "lost-gpt",
        80,
        "gpt\nx1 : start=2048, size=161759",
        "mkfs ext4 @1",
        "",
    ),
    ("blank", 40, "", "", ""),
    (
        "small-xfs",
        320,
        "gpt\nx1 : start=2048, size=653279",
        "mkfs xfs @1",
        "",
    ),
    (
        "small-ext4",
        80,
        "gpt\nx1 : start=2048, size=161759",
        "mkfs ext4 @1",
        "@1",
    ),
];

/// One partition from 64 KiB on, as libguestfs' `part-disk` makes it.
const WHOLE_GPT: &str = "gpt\nx1 : start=128, size=818944";
/// One partition as fdisk makes it: its GPT has the sector 2048 for the first usable one.
const FDISK_GPT: &str = "gpt\nfirst-lba: 2048\nx1 : start=2048, size=817119";
const WHOLE_NTFS: &str = "dos\nx1 : start=128, size=818944, type=7";
const TWO_GPT: &str = "gpt\nx1 : start=2048, size=407552\nx2 : start=409600, size=409567";

/// Two file systems are in use when the host of the appliance crashes; a volume group lies on two
/// disks.
const CRASH: &str = "vgcreate split \"{half-vg} {other-half}\"\nlvcreate root split 420\n\
    mkfs ext4 /dev/split/root\nvg-activate-all false\nmount {dirty-ext4}1 /\nmkdir /x\n\
    mount {dirty-xfs}1 /x\nwrite /a b\nwrite /x/a b";

/// The images, or why there are none on this machine.
fn images() -> Result<PathBuf, String> {
    private_host()?;
    if !Path::new("/usr/bin/python3").exists() {
        return Err("python3 is not installed".to_owned());
    }
    let (growing, refused) = LAYOUTS.split_at(13);
    guests::images([growing, refused], CRASH, spoil)
}

/// What the appliance does not do to partitions and tables: one is damaged, one is encrypted, and so on.
fn spoil(directory: &Path) {
    let write = |name: &str, bytes: &[u8], at: u64| {
        let image = File::options().write(true).open(directory.join(name));
        image.unwrap().write_all_at(bytes, at).unwrap();
    };
    // What the kernel writes over a swap area's mark (Linux, kernel/power/swap.c: HIBERNATE_SIG).
    write("suspended", b"S1SUSPEND", MIB + 4086);
    // The second entry of its MBR: the partition, once more, for who knows no GPT.
    let mut entry = [0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0];
    entry[12..].copy_from_slice(&161_759_u32.to_le_bytes());
    write("hybrid", &entry, 446 + 16);
    for at in [512, 80 * MIB - 512] {
        write("lost-gpt", &[0; 8], at);
    }
    let damage = ["-w", "-R", "sif <2> mode 0100644", "damaged?offset=65536"];
    run("debugfs", &damage, directory);
    run("truncate", &["-s", "16M", "encrypted"], directory);
    fs::write(directory.join("key"), "secret").unwrap();
    let format = [
        "luksFormat",
        "--batch-mode",
        "--type",
        "luks1",
        "--key-file",
        "key",
    ];
    // As few as it takes: nobody is to be kept out.
    let fast = ["--pbkdf-force-iterations", "1000", "encrypted"];
    run("cryptsetup", &[&format[..], &fast].concat(), directory);
    let copy = [
        "if=encrypted",
        "of=luks",
        "bs=1M",
        "seek=1",
        "conv=notrunc",
        "status=none",
    ];
    run("dd", &copy, directory);
    for name in ["encrypted", "key"] {
        fs::remove_file(directory.join(name)).unwrap();
    }
}

/// Tests that need images begin with it: the images, or it is said by name that this machine
/// has none.
macro_rules! images_or_return {
    ($test:expr) => {
        match images() {
            Ok(images) => images,
            Err(why) => return not_run($test, &why),
        }
    };
}

/// Lets VMs share appliances: what `look` asks of each that was written to, and `work` for each, side by side.
fn together(
    meeting: &Path,
    vms: &[&Vm],
    look: impl Fn(&Vm) -> String,
    work: impl Fn(&Vm) + Sync,
) -> BTreeMap<String, String> {
    let sharers = vms.iter().map(|vm| vm.sharer(&look(vm)));
    let shared = Shared::new(meeting, sharers.collect());
    shared.serve(|case| work(vms.iter().find(|vm| vm.case == case).unwrap()))
}

/// The line that a growth is worth, without the seconds.
fn assert_says_grown(said: &str, what: &str) {
    let (line, seconds) = said.rsplit_once(" in ").unwrap_or((said, ""));
    let number = seconds.strip_suffix(" s\n").unwrap_or("none");
    assert!(number.parse::<u32>().is_ok(), "{said}");
    assert!(
        line.starts_with(what) && line.ends_with(" GiB"),
        "{said:?}, expected {what:?}"
    );
}

/// What a check of a grown disk asks in the appliance.
fn look_at(system: &str, kind: &str) -> String {
    let (raw, part) = match system.strip_prefix('@') {
        Some("") => ("#".to_owned(), String::new()),
        Some(part) => (format!("#-part{part}"), part.to_owned()),
        None => (system.to_owned(), String::new()),
    };
    let _ = part;
    let check = match kind {
        "xfs" => format!("xfs-repair {system} nomodify:true"),
        "btrfs" => format!("btrfs-fsck {system}"),
        // Windows is asked to check it, and mounting is the check of everybody else.
        "ntfs" => format!("debug sh \"ntfsinfo -m -f {raw} >/dev/null\""),
        _ => format!("debug sh \"e2fsck -fn {raw} 2>/dev/null\""),
    };
    let lvm = match system.strip_prefix('@') {
        Some(_) => "",
        None => "vgs-full\nlvs-full\n",
    };
    format!("{check}\nmount-ro {system} /\nchecksum sha1 /data\nstatvfs /\numount /\n{lvm}")
}

/// The number behind `name` in an answer of guestfish.
fn field(answer: &str, name: &str) -> u64 {
    let mut lines = answer.lines().map(str::trim);
    let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let found = found.unwrap_or_else(|| panic!("no {name}: {answer}"));
    found.parse().unwrap()
}

/// The data is there, and the file system has so many bytes.
fn assert_sound(case: &str, answer: &str, size: u64) {
    let data = guests::hex(&vec![86; 3_000_000]);
    assert!(
        FILL.contains("3000000") && answer.contains(&data),
        "{case}: the data: {answer}"
    );
    let found = field(answer, "blocks") * field(answer, "frsize");
    // Some of it is for the file system itself.
    let least = size / 100 * 88;
    assert!(
        (least..=size).contains(&found),
        "{case}: {found} of {size}: {answer}"
    );
}

/// What `sfdisk` tells of an image, without what growing may change: ends and sizes of these
/// partitions, and the end of the disk.
fn table(image: &Path, grown: &[usize]) -> String {
    let text = run("sfdisk", &["-d", image.to_str().unwrap()], Path::new("/"));
    let mut table = String::new();
    let mut number = 0;
    for line in text.lines() {
        if line.starts_with("last-lba:") {
            continue;
        }
        let Some((_, rest)) = line.split_once(" : start=") else {
            // Not the name, which is a path here.
            if !line.starts_with("device:") {
                writeln!(table, "{line}").unwrap();
            }
            continue;
        };
        number += 1;
        let part = line.split(" : ").next().unwrap();
        let part: usize = part
            .rsplit(|letter: char| !letter.is_ascii_digit())
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let mut fields: Vec<&str> = rest.split(", ").map(str::trim).collect();
        fields.retain(|field| !(field.starts_with("size=") && grown.contains(&part)));
        writeln!(table, "{part}: {}", fields.join(", ")).unwrap();
    }
    assert!(number > 0, "{text}");
    table
}

/// Disks that grow: the layout, the MiB to grow to, the property's value, how the line about it
/// begins behind the name of the disk, the partitions that become larger, the kind of the file system,
/// and the MiB that it has in the end.
static GROWING: [[&str; 7]; 14] = [
    [
        "gpt-ext4",
        "800",
        "vda",
        "partition 2 (ext4): 0.4 -> 0.8",
        "2",
        "ext",
        "798",
    ],
    [
        "gpt-cloud",
        "800",
        "auto",
        "partition 1 (ext4): 0.3 -> 0.7",
        "1",
        "ext",
        "689",
    ],
    [
        "gpt-lvm",
        "1600",
        "vda",
        "partition 2, cl/root (ext4): 0.5 -> 1.3",
        "2",
        "ext",
        "1300",
    ],
    [
        "mbr-ext4",
        "800",
        "vda,must",
        "partition 1 (ext4): 0.4 -> 0.8",
        "1",
        "ext",
        "799",
    ],
    [
        "mbr-logical",
        "800",
        "vda:deb/root",
        "partition 5, deb/root (ext4): 0.3 -> 0.7",
        "2 5",
        "ext",
        "696",
    ],
    ["xfs", "800", "terminal", "", "1", "xfs", "800"],
    [
        "xfs-lvm",
        "800",
        "auto,must",
        "partition 1, rhel/root (xfs): 0.4 -> 0.8",
        "1",
        "xfs",
        "796",
    ],
    ["btrfs", "800", "tool --json --yes", "", "1", "btrfs", "800"],
    [
        "ntfs",
        "800",
        "vda",
        "partition 1 (ntfs): 0.4 -> 0.8",
        "1",
        "ntfs",
        "800",
    ],
    ["whole-ext4", "800", "vda", "", "", "ext", "800"],
    ["whole-xfs", "800", "auto", "", "", "xfs", "800"],
    ["whole-pv", "800", "vda", "", "", "ext", "796"],
    [
        "two-lvs",
        "800",
        "vda:home",
        "partition 1, two/home (ext4): 0.1 -> 0.5",
        "1",
        "ext",
        "500",
    ],
    [
        "qcow2",
        "800",
        "vda",
        "partition 2 (ext4): 0.4 -> 0.8",
        "",
        "ext",
        "798",
    ],
];

/// Disks with nothing to grow: a name, the layout, the MiB that it has, and the property's value.
static NOTHING: [(&str, &str, u64, &str); 7] = [
    ("same-mbr", "mbr-ext4", BEFORE, "vda,must"),
    ("same-swap", "swap-last", BEFORE, "vda,must"),
    ("same-luks", "luks", BEFORE, "vda"),
    ("same-md", "md", BEFORE, "auto,must"),
    ("15-more", "gpt-ext4", BEFORE + 15, "vda,must"),
    ("no-partition", "empty-table", 80, "vda,must"),
    ("unknown", "blank", 80, "auto,must"),
];

/// Of those that have grown.
const LOOKED_AT_AGAIN: [&str; 7] = [
    "gpt-cloud",
    "mbr-ext4",
    "mbr-logical",
    "xfs-lvm",
    "btrfs",
    "ntfs",
    "whole-xfs",
];

fn row(case: &str) -> Option<&'static [&'static str; 7]> {
    GROWING.iter().find(|row| row[0] == case)
}

/// The file system of a layout.
fn system(case: &str) -> &'static str {
    let name = if case == "qcow2" { "gpt-ext4" } else { case };
    let found = LAYOUTS.iter().find(|layout| layout.0 == name);
    found.unwrap().4
}

/// The state of the image before, by case.
type Before = BTreeMap<String, String>;

fn sums(vms: &[Vm]) -> Before {
    vms.iter()
        .map(|vm| (vm.case.clone(), sum(vm.image())))
        .collect()
}

#[test]
fn all_layouts_grow_and_then_have_nothing_to_grow() {
    let test = "all_layouts_grow_and_then_have_nothing_to_grow";
    let images = images_or_return!(test);
    let meeting = scratch();
    let mut vms: Vec<Vm> = Vec::new();
    let mut tables = BTreeMap::new();
    for [case, to, _, _, parts, _, _] in &GROWING {
        let name = if *case == "qcow2" { "gpt-ext4" } else { case };
        let image = images.join(name);
        let to: u64 = to.parse().unwrap();
        let mut vm = match *case {
            "qcow2" => Vm::new(case, meeting.path(), &[(&image, BEFORE)]),
            _ => Vm::new(case, meeting.path(), &[(&image, to)]),
        };
        if *case == "qcow2" {
            let base = vm.add_snapshot(to);
            tables.insert("base", sum(&base));
        }
        if !parts.is_empty() {
            tables.insert(case, table(vm.image(), &numbers(parts)));
        }
        vms.push(vm);
    }
    for (case, layout, mib, _) in &NOTHING {
        let image = images.join(layout);
        vms.push(Vm::new(case, meeting.path(), &[(&image, *mib)]));
    }
    let before = sums(&vms);
    for vm in &vms {
        vm.share(json!({}));
    }
    let all: Vec<&Vm> = vms.iter().collect();
    let look = |vm: &Vm| match row(&vm.case) {
        Some(row) => look_at(system(&vm.case), row[5]),
        None => String::new(),
    };
    let answers = together(meeting.path(), &all, look, |vm| first_start(vm, &before));

    // As it was, but for sizes.
    for [case, _, _, _, parts, _, _] in &GROWING {
        let vm = vms.iter().find(|vm| vm.case == *case).unwrap();
        if !parts.is_empty() {
            assert_eq!(table(vm.image(), &numbers(parts)), tables[case], "{case}");
            assert!(has_boot_code(vm.image()), "{case}: the boot code is gone");
        }
        assert_eq!(vm.left_behind(), [""; 0], "{case}");
        assert!(!vm.journal().exists(), "{case}");
        if *case == "qcow2" {
            let check = ["check", "-q", "-f", "qcow2", vm.image().to_str().unwrap()];
            run("qemu-img", &check, Path::new("/"));
            let base = vm.image().parent().unwrap();
            let bases = fs::read_dir(base)
                .unwrap()
                .map(|entry| entry.unwrap().path());
            let mut bases = bases.filter(|path| path != vm.image() && path.extension().is_none());
            assert_eq!(sum(&bases.next().unwrap()), tables["base"], "the base");
        }
    }
    let before = sums(&vms);
    // It is known that there is nothing left.
    for vm in &vms {
        let calls = vm.calls().len();
        vm.remove_guestfish();
        let value = if vm.case == "unknown" {
            "auto"
        } else {
            "vda,must"
        };
        // Two logical volumes: which one is still to be said.
        let value = if vm.case == "two-lvs" {
            "vda:home"
        } else {
            value
        };
        // The tool keeps no book of what it has seen: it is asked.
        if !system_by_tool(&vm.case) {
            assert_eq!(vm.start(value), (Some(0), String::new()), "{}", vm.case);
        }
        if vm.case == "15-more" {
            // A copy in its place is another image.
            let copied = vm.image().with_extension("copy");
            copy(vm.image(), &copied, BEFORE + 15);
            fs::rename(copied, vm.image()).unwrap();
            vm.own();
            let (status, said) = vm.start(value);
            assert_eq!(status, Some(2), "{}: {said}", vm.case);
            assert_refused(&said, "guestfish", &vm.case);
        }
        assert_eq!(vm.calls().len(), calls);
        vm.put_stand_in();
    }
    // Nor is there if it is looked at again: every kind of table, of file system, and LVM. NTFS was
    // enlarged once more.
    let again: Vec<&Vm> = (vms.iter().filter(|vm| LOOKED_AT_AGAIN.contains(&&*vm.case))).collect();
    for vm in &again {
        let seen = fs::remove_file(vm.seen());
        assert_eq!(seen.is_ok(), !system_by_tool(&vm.case), "{}", vm.case);
        if vm.case == "ntfs" {
            enlarge(vm.image(), 2400);
        }
    }
    let before = before.into_iter().map(|(case, old)| match &*case {
        "ntfs" => (
            case.clone(),
            sum(again.iter().find(|vm| vm.case == case).unwrap().image()),
        ),
        _ => (case, old),
    });
    let before: Before = before.collect();
    let booted = thread::scope(|scope| {
        let find = |case: &str| vms.iter().find(|vm| vm.case == case).unwrap().image();
        let disks = [find("gpt-lvm"), find("gpt-ext4")];
        let booted = scope.spawn(move || boots(disks));
        together(
            meeting.path(),
            &again,
            |_| String::new(),
            |vm| second_start(vm, &before),
        );
        booted.join().unwrap()
    });
    for [case, _, _, _, _, _, mib] in &GROWING {
        let size: u64 = mib.parse().unwrap();
        assert_sound(case, &answers[*case], size * MIB);
    }
    let volumes = &answers["gpt-lvm"];
    assert_eq!(field(volumes, "vg_free_count"), 33, "{volumes}");
    assert!(
        volumes.contains(&format!("lv_size: {}", 1300 * MIB)),
        "{volumes}"
    );
    if let Err(why) = booted {
        not_run("a_grown_disk_boots", &why);
    }
}

/// Whether the tool has grown it, not the hook.
fn system_by_tool(case: &str) -> bool {
    row(case).is_some_and(|row| row[2].starts_with("t"))
}

fn numbers(text: &str) -> Vec<usize> {
    text.split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect()
}

fn enlarge(image: &Path, mib: u64) {
    let file = File::options().write(true).open(image).unwrap();
    file.set_len(mib * MIB).unwrap();
}

fn first_start(vm: &Vm, before: &Before) {
    let case = &vm.case;
    let Some([_, _, value, says, _, kind, _]) = row(case) else {
        let (_, _, _, value) = NOTHING.iter().find(|row| row.0 == case).unwrap();
        assert_eq!(vm.start(value), (Some(0), String::new()), "{case}");
        assert_eq!(sum(vm.image()), before[case], "{case}");
        return;
    };
    let mut words = value.split(' ');
    if *value == "terminal" {
        let (status, said) = vm.tool_at_terminal(&[], b"y\n");
        assert_eq!(status, Some(0), "{case}: {said}");
        let (_, said) = said.split_once("[y/N] ").unwrap();
        assert!(
            said.contains("partition 1 (xfs): 0.4 -> 0.8 GiB in "),
            "{said}"
        );
        return;
    }
    if words.next() == Some("tool") {
        let arguments: Vec<&str> = words.collect();
        let output = vm.tool(&arguments);
        assert_eq!(output.status.code(), Some(0), "{case}: {output:?}");
        if arguments.contains(&"--json") {
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(answer["result"], "grow", "{case}: {answer}");
        }
        return;
    }
    let (status, said) = vm.start(value);
    assert_eq!(status, Some(0), "{case}: {said}");
    let (first, rest) = said.split_once('\n').unwrap();
    // What a revert would bring back is worth another line.
    assert_eq!(case == "qcow2", rest.contains("snapshot"), "{said}");
    let said = format!("{first}\n");
    assert_says_grown(&said, &format!("growdisk: vda: {says}"));
    let name = if *kind == "ext" { "ext4" } else { kind };
    assert!(said.contains(&format!("({name}): ")), "{case}: {said}");
}

fn second_start(vm: &Vm, before: &Before) {
    let (status, said) = vm.start("vda");
    assert_eq!(status, Some(0), "{}: {said}", vm.case);
    if vm.case == "ntfs" {
        assert_refused(&said, "", &vm.case);
    } else {
        assert_eq!(said, "", "{}", vm.case);
    }
    assert_eq!(sum(vm.image()), before[&vm.case], "{}", vm.case);
}

/// One line that refuses, with this in its reason.
fn assert_refused(said: &str, reason: &str, case: &str) {
    let found = said
        .strip_prefix("growdisk: vda: ")
        .and_then(|rest| rest.strip_suffix("; not grown\n"));
    let found = found.unwrap_or_else(|| panic!("{case}: {said:?}"));
    assert!(
        !found.is_empty() && !found.contains('\n'),
        "{case}: {said:?}"
    );
    assert!(
        found.contains(reason),
        "{case}: {said:?}, expected {reason:?}"
    );
}

/// Disks that are refused: a name, the layout, the MiB to grow to, the property's value, and what the
/// reason has. All of them are tried where a refusal stops the start, or where it does not.
static REFUSED: [(&str, &str, u64, &str, &str); 24] = [
    (
        "swap",
        "swap-last",
        800,
        "vda",
        "partition 2 (swap) lies last",
    ),
    (
        "luks",
        "luks",
        800,
        "vda,must",
        "partition 1 (crypto_LUKS) lies last",
    ),
    (
        "md",
        "md",
        800,
        "vda",
        "partition 1 (linux_raid_member) lies last",
    ),
    ("recovery", "recovery", 800, "vda,must", "partition 2"),
    ("mbr-recovery", "mbr-recovery", 800, "vda", "partition 2"),
    (
        "dirty-ext4",
        "dirty-ext4",
        800,
        "vda,must",
        "not unmounted cleanly",
    ),
    (
        "dirty-xfs",
        "dirty-xfs",
        800,
        "vda",
        "not unmounted cleanly",
    ),
    (
        "hibernated",
        "hibernated",
        800,
        "vda,must",
        "not unmounted cleanly",
    ),
    ("damaged", "damaged", 800, "vda", ""),
    ("two-lvs", "two-lvs", 800, "vda,must", "name one of two/"),
    (
        "no-such-lv",
        "two-lvs",
        800,
        "vda:two/var",
        "name one of two/",
    ),
    ("thin", "thin", 800, "vda,must", "thin"),
    ("lv-snapshot", "lv-snapshot", 800, "vda", "snapped"),
    (
        "half-vg",
        "half-vg",
        800,
        "vda,must",
        "the volume group split has 2 physical volumes",
    ),
    (
        "two-pvs",
        "two-pvs",
        800,
        "vda",
        "the volume group pair has 2 physical volumes",
    ),
    ("mac", "mac-table", 80, "vda,must", "partition table mac"),
    ("extended", "empty-extended", 160, "vda", ""),
    (
        "vfat",
        "vfat-last",
        160,
        "vda,must",
        "partition 1 (vfat) lies last",
    ),
    ("efi", "efi-ext4", 160, "vda", "partition 1"),
    ("unknown", "blank", 80, "vda,must", ""),
    (
        "suspended",
        "suspended",
        160,
        "vda,must",
        "partition 1 (swsuspend) keeps a system that hibernates",
    ),
    (
        "windows-beside",
        "windows-beside",
        160,
        "vda",
        "partition 1 (ntfs) keeps a system that hibernates",
    ),
    ("hybrid", "hybrid", 160, "auto,must", "a hybrid MBR"),
    ("lost-gpt", "lost-gpt", 160, "vda", "partition table PMBR"),
];

#[test]
fn all_refusals_keep_every_byte() {
    let test = "all_refusals_keep_every_byte";
    let images = images_or_return!(test);
    let meeting = scratch();
    let new = |case: &str, layout: &str, mib| {
        Vm::new(case, meeting.path(), &[(&images.join(layout), mib)])
    };
    let mut vms: Vec<Vm> = REFUSED
        .iter()
        .map(|(case, layout, mib, _, _)| new(case, layout, *mib))
        .collect();
    let plan = "grow-disk --plan";
    vms.push(new(plan, "gpt-lvm", 1600));
    vms.push(new("--plan --json", "whole-ext4", 800));
    vms.push(new("--json", "recovery", 800));
    vms.push(new("--json nothing", "small-ext4", 80));
    for (case, _) in TYPED {
        vms.push(new(case, "small-ext4", 160));
    }
    // Three more disks, of which two have too little room.
    let small = Tmpfs::new("3m");
    match &small {
        Ok(small) => {
            let image = images.join("small-xfs");
            let disks: [(&Path, u64); 1] = [(&image, 200 << 10)];
            vms.push(Vm::with_domain(
                "no room",
                meeting.path(),
                &disks,
                small.0.path(),
            ));
        }
        Err(why) => not_run("an_image_on_a_small_file_system", why),
    }
    let block = Block::new(&images, meeting.path());
    if let Err(why) = &block {
        not_run("qcow2_on_a_block_device_needs_room", why);
    }
    let before = sums(&vms);
    for vm in &vms {
        vm.share(json!({}));
    }
    let mut all: Vec<&Vm> = vms.iter().collect();
    if let Ok(block) = &block {
        block.vm.share(json!({}));
        all.push(&block.vm);
    }
    together(
        meeting.path(),
        &all,
        |_| String::new(),
        |vm| {
            let refused = REFUSED.iter().find(|row| row.0 == vm.case);
            let (value, reason) = match refused {
                Some((_, _, _, value, reason)) => (*value, *reason),
                None if vm.case.contains("--") => return the_tool_answers(vm),
                None if vm.case.starts_with("asked") => return the_tool_asks(vm),
                None => ("vda", ""),
            };
            let (status, said) = vm.start(value);
            let expected = if value.ends_with(",must") { 2 } else { 0 };
            assert_eq!(status, Some(expected), "{}: {said}", vm.case);
            assert_refused(&said, reason, &vm.case);
        },
    );
    for vm in &vms {
        assert_eq!(sum(vm.image()), before[&vm.case], "{}", vm.case);
        assert_eq!(vm.left_behind(), [""; 0], "{}", vm.case);
        assert!(!vm.journal().exists(), "{}", vm.case);
        // What was only looked at is not known to be grown.
        let nothing = vm.case == "--json nothing";
        assert!(nothing || !vm.seen().exists(), "{}", vm.case);
        let calls = vm.calls();
        assert_eq!(calls.len(), 1, "{}: {calls:?}", vm.case);
    }
    if let Ok(block) = &block {
        assert_eq!(sum(&block.file), block.before, "the block device");
    }
}

#[test]
fn guestfish_gets_nothing_of_ours() {
    let test = "guestfish_gets_nothing_of_ours";
    if let Err(why) = private_host() {
        return not_run(test, why);
    }
    let meeting = scratch();
    let vm = quick(test, meeting.path());
    // Nobody is there: all calls fail.
    vm.share(json!({}));
    let mut command = vm.command("vda");
    let ours = [
        ("LIBGUESTFS_HV", "/x"),
        ("TMPDIR", "/x"),
        ("LIBGUESTFS_PATH", "/x"),
    ];
    let output = command.envs(ours).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_refused(&said, "", test);
    let calls = vm.calls();
    assert_eq!(calls.len(), 1, "{said}");
    let call = &calls[0];
    let env = call["env"].as_object().unwrap();
    let names: Vec<&str> = env
        .keys()
        .map(String::as_str)
        .filter(|name| *name != "LC_CTYPE")
        .collect();
    let mut expected = vec![
        "HOME",
        "LC_ALL",
        "LIBGUESTFS_BACKEND",
        "LIBGUESTFS_BACKEND_SETTINGS",
        "LIBGUESTFS_CACHEDIR",
        "PATH",
        "TMPDIR",
        "XDG_RUNTIME_DIR",
    ];
    let mut sorted = names.clone();
    sorted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sorted, expected, "{call}");
    assert_eq!(env["LC_ALL"], "C", "{call}");
    assert_eq!(env["LIBGUESTFS_BACKEND"], "direct", "{call}");
    assert_eq!(env["LIBGUESTFS_BACKEND_SETTINGS"], "force_tcg", "{call}");
    let private = env["TMPDIR"].as_str().unwrap();
    // Where nobody but VDSM's user can put anything.
    let cache = env["LIBGUESTFS_CACHEDIR"].as_str().unwrap();
    assert_eq!(cache, "/var/lib/vdsm/hooks/libguestfs", "{call}");
    assert!(private.starts_with(&format!("{cache}/run.")), "{call}");
    for name in ["HOME", "XDG_RUNTIME_DIR"] {
        assert_eq!(env[name], private, "{call}");
    }
    assert_eq!(call["mode"], 0o700, "{call}");
    assert_eq!(call["uid"], 36, "{call}");
    assert_eq!(call["leads_group"], true, "{call}");
}

/// What is typed when it is asked whether the steps are to be gone, where that is not wanted.
const TYPED: [(&str, &[u8]); 2] = [("asked, no", b"\n"), ("asked, Control-C", b"\x03")];

/// `vdsm-hooks grow-disk` at a terminal asks, and does nothing.
fn the_tool_asks(vm: &Vm) {
    let (_, typed) = TYPED.iter().find(|(case, _)| *case == vm.case).unwrap();
    let (status, said) = vm.tool_at_terminal(&[], typed);
    assert_eq!(status, Some(1), "{}: {said}", vm.case);
    assert!(
        said.contains("  resize2fs /dev/sda1"),
        "{}: {said}",
        vm.case
    );
    assert!(said.contains("nothing was done"), "{}: {said}", vm.case);
}

/// What `vdsm-hooks grow-disk` says of a disk that it only looks at.
fn the_tool_answers(vm: &Vm) {
    let arguments = vm.case.trim_start_matches("grow-disk ");
    let arguments: Vec<&str> = arguments
        .split(' ')
        .filter(|word| word.starts_with('-'))
        .collect();
    let output = vm.tool(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let refused = vm.case == "--json";
    assert_eq!(
        output.status.code(),
        Some(i32::from(refused)),
        "{}: {said}",
        vm.case
    );
    if !arguments.contains(&"--json") {
        let (first, steps) = text.split_once('\n').unwrap();
        assert!(first.starts_with("grow-disk: "), "{text}");
        let about = ": raw 1.6 GiB, gpt, partition 2 ends at 0.8 GiB -> PV, LV cl/root (ext4); \
                     writes about ";
        let number = first
            .split(about)
            .nth(1)
            .and_then(|rest| rest.strip_suffix(" MiB"));
        assert!(
            number.is_some_and(|number| number.parse::<u32>().is_ok()),
            "{text}"
        );
        let expected = "  part-expand-gpt /dev/sda\n  part-resize /dev/sda 2 -34\n  \
            pvresize /dev/sda2\n  lvresize /dev/cl/root 1300\n  \
            e2fsck /dev/cl/root correct:true\n  resize2fs /dev/cl/root\n";
        assert_eq!(steps, expected);
        assert_eq!(said, "");
        return;
    }
    let answer: Value = serde_json::from_str(&text).unwrap();
    let members: Vec<&str> = answer
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        members,
        [
            "format",
            "image",
            "image_format",
            "size",
            "result",
            "reason",
            "steps"
        ],
        "{text}"
    );
    assert_eq!(answer["image_format"], "raw", "{text}");
    assert_eq!(
        answer["size"],
        json!(fs::metadata(vm.image()).unwrap().len()),
        "{text}"
    );
    let image = answer["image"].as_str().unwrap();
    assert!(vm.disks[0].path.ends_with(image), "{text}");
    let steps = answer["steps"].as_array().unwrap();
    let ops: Vec<&str> = steps
        .iter()
        .map(|step| step["op"].as_str().unwrap())
        .collect();
    assert!(
        steps.iter().all(|step| step["device"] == "/dev/sda"),
        "{text}"
    );
    let (result, expected) = match &*vm.case {
        "--json" => ("refused", &[][..]),
        "--json nothing" => ("nothing", &[][..]),
        _ => ("grow", &["e2fsck", "resize2fs"][..]),
    };
    assert_eq!(answer["result"], result, "{text}");
    assert_eq!(ops, expected, "{text}");
    let reason = answer["reason"].as_str().unwrap_or_default();
    assert_eq!(!reason.is_empty(), refused, "{text}");
}

/// A small file system of this machine, as long as it lives.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn new(size: &str) -> Result<Tmpfs, String> {
        let directory = scratch();
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("uid=36,gid=36,mode=755,size={size}"),
                "tmpfs",
            ])
            .arg(directory.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Tmpfs(directory)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("mount: {error}")),
        }
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// A VM with a qcow2 volume on a block device that ends soon behind it.
struct Block {
    vm: Vm,
    device: String,
    file: PathBuf,
    before: String,
    _directory: TempDir,
}

impl Block {
    fn new(images: &Path, meeting: &Path) -> Result<Block, String> {
        let mut vm = Vm::new("block", meeting, &[(&images.join("small-ext4"), 80)]);
        vm.convert();
        let directory = scratch();
        let file = directory.path().join("volume");
        fs::copy(vm.image(), &file).unwrap();
        let path = file.to_str().unwrap();
        run(
            "qemu-img",
            &["resize", "-q", "-f", "qcow2", path, "160M"],
            Path::new("/"),
        );
        // Not the 64 MiB that there have to be in any case.
        enlarge(&file, fs::metadata(&file).unwrap().len() / MIB + 50);
        let made = Command::new("losetup")
            .args(["--find", "--show", path])
            .output();
        let made = made.map_err(|error| format!("losetup: {error}"))?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).trim().to_owned());
        }
        let device = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        vm.put_on_block(&device);
        let before = sum(&file);
        Ok(Block {
            vm,
            device,
            file,
            before,
            _directory: directory,
        })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let _ = Command::new("losetup")
            .args(["--detach", &self.device])
            .status();
    }
}

/// The steps of the plan for LVM, and how long each is left to work before guestfish is killed, in
/// seconds. The appliance itself is killed when all of them have come so far.
const STEPS: [(&str, f64); 6] = [
    ("part-expand-gpt ", 0.05),
    ("part-resize ", 0.1),
    ("pvresize ", 0.1),
    ("lvresize ", 0.1),
    ("e2fsck ", 0.1),
    ("resize2fs ", 0.2),
];

#[test]
fn killed_in_every_step_it_is_finished_by_the_next_run() {
    let test = "killed_in_every_step_it_is_finished_by_the_next_run";
    let images = images_or_return!(test);
    let meeting = scratch();
    let disk: [(&Path, u64); 1] = [(&images.join("gpt-lvm"), 1600)];
    let new = |case: &str| Vm::new(case, meeting.path(), &disk);
    let mut vms: Vec<Vm> = STEPS.iter().map(|(step, _)| new(step)).collect();
    for (vm, (step, wait)) in vms.iter().zip(STEPS) {
        vm.share(json!({"at": {"step": step, "writes": true, "wait": wait, "act": "kill"}}));
    }
    // The hook dies, and guestfish does not.
    let orphan = new("orphan");
    orphan.share(json!({
        "alone": true,
        "at": {"step": "lvresize ", "writes": true, "wait": 0, "act": "tell"},
    }));
    vms.push(orphan);
    // Until they write, one is as the other.
    let sharers = vms.iter().map(|vm| Sharer {
        copy_of: Some("first".to_owned()),
        ..vm.sharer("")
    });
    let shared = Shared::new(meeting.path(), sharers.collect()).crashing();
    shared.serve(|case| killed_run(vms.iter().find(|vm| vm.case == case).unwrap()));
    for vm in &vms {
        assert_journal(vm, STEPS.len());
        vm.share(json!({}));
    }
    // The journal of a disk that was enlarged once more since.
    let stale = new("stale");
    enlarge(stale.image(), 1604);
    let journal = fs::read_to_string(vms[0].journal()).unwrap();
    let give_journal = |vm: &Vm, identity: Option<&str>| {
        let text = journal.replace(&vms[0].disks[0].volume, &vm.disks[0].volume);
        let mut text: Value = serde_json::from_str(&text).unwrap();
        if let Some(identity) = identity {
            text["identity"] = json!(identity);
        }
        fs::create_dir_all(vm.journal().parent().unwrap()).unwrap();
        fs::write(vm.journal(), text.to_string()).unwrap();
        vm.own();
        vm.share(json!({}));
    };
    // Of before there were identities.
    give_journal(&stale, Some(""));
    // A copy under the same id, of a time before the growth; what it was copied from waits.
    let copied = new("copy");
    give_journal(&copied, None);
    // One that was enlarged since: its own growth would take the journal's place.
    let larger = new("larger copy");
    enlarge(larger.image(), 1604);
    give_journal(&larger, None);
    let before = sum(larger.image());
    vms.extend([stale, copied, larger]);
    let all: Vec<&Vm> = vms.iter().collect();
    let look = |_: &Vm| look_at("/dev/cl/root", "ext");
    let answers = together(meeting.path(), &all, look, |vm| {
        let (status, said) = vm.start("vda,must");
        if vm.case == "larger copy" {
            assert_eq!(status, Some(2), "{}: {said}", vm.case);
            assert_refused(&said, "a growth of another image under the id", &vm.case);
            return;
        }
        assert_eq!(status, Some(0), "{}: {said}", vm.case);
        // Another line says what became of the journal.
        let (first, rest) = said.split_once('\n').unwrap();
        let line = if vm.case == "stale" {
            rest.to_owned()
        } else {
            format!("{first}\n")
        };
        assert_eq!(said.lines().count(), 2, "{}: {said}", vm.case);
        assert_says_grown(&line, "growdisk: vda: partition 2, cl/root (ext4): ");
    });
    let larger = vms.pop().unwrap();
    assert!(larger.journal().exists() && !larger.seen().exists());
    assert_eq!(sum(larger.image()), before, "{}", larger.case);
    for vm in &vms {
        assert_eq!(vm.journal().exists(), vm.case == "copy", "{}", vm.case);
        assert!(vm.seen().exists(), "{}", vm.case);
        if vm.case == "copy" {
            // It has nothing to do with that any more.
            let calls = vm.calls().len();
            assert_eq!(vm.start("vda,must"), (Some(0), String::new()));
            assert_eq!(vm.calls().len(), calls);
        }
        assert_eq!(vm.left_behind(), [""; 0], "{}", vm.case);
        assert_eq!(
            table(vm.image(), &[2]),
            table(&images.join("gpt-lvm"), &[2]),
            "{}",
            vm.case
        );
        let answer = &answers[&vm.case];
        let size = if vm.case == "stale" { 1304 } else { 1300 };
        assert_sound(&vm.case, answer, size * MIB);
        assert_eq!(field(answer, "vg_free_count"), 33, "{}: {answer}", vm.case);
        let size = format!("lv_size: {}", size * MIB);
        assert!(answer.contains(&size), "{}: {answer}", vm.case);
    }
}

/// A run of which guestfish is killed, or the hook.
fn killed_run(vm: &Vm) {
    if vm.case == "orphan" {
        let mut hook = Hook::spawn(vm, "vda");
        hook.wait_until_reached(vm);
        kill(hook.pid(), Signal::SIGKILL).unwrap();
        hook.child.wait().unwrap();
        wait_for("guestfish goes on without the hook", || {
            vm.processes().is_empty()
        });
        return;
    }
    let (status, said) = vm.start("vda");
    assert_eq!(status, Some(2), "{}: {said}", vm.case);
    let number = STEPS.iter().position(|(step, _)| *step == vm.case).unwrap() + 1;
    let step = vm.case.trim();
    assert!(
        said.starts_with(&format!("growdisk: vda: step {number} ({step} ")),
        "{said}"
    );
    let repair = format!(
        "; repair or run vdsm-hooks grow-disk {}\n",
        vm.disks[0].path
    );
    assert!(
        said.ends_with(&repair) && said.contains(") failed: "),
        "{said}"
    );
    assert_eq!(vm.left_behind(), [""; 0], "{}", vm.case);
}

/// What is written down before the first write, for the next run and for who has to repair it.
fn assert_journal(vm: &Vm, steps: usize) {
    let text = fs::read_to_string(vm.journal()).unwrap();
    let journal: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(journal["path"], vm.disks[0].path, "{}: {text}", vm.case);
    assert_eq!(journal["format"], "raw", "{}: {text}", vm.case);
    assert_eq!(
        journal["size"],
        fs::metadata(vm.image()).unwrap().len(),
        "{}: {text}",
        vm.case
    );
    assert_eq!(
        journal["steps"].as_array().unwrap().len(),
        steps,
        "{}: {text}",
        vm.case
    );
    assert!(!vm.seen().exists(), "{}", vm.case);
}

/// A running hook.
struct Hook {
    child: Child,
}

impl Hook {
    fn spawn(vm: &Vm, value: &str) -> Hook {
        let mut command = vm.command(value);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        Hook { child }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Until `guestfish.py` has told that it is there.
    fn wait_until_reached(&mut self, vm: &Vm) {
        wait_for("guestfish never got there", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut said = String::new();
                let _ = self.child.stderr.take().unwrap().read_to_string(&mut said);
                panic!("{}: the hook has ended: {status}: {said}", vm.case);
            }
            vm.at("/.test/reached").exists()
        });
    }

    fn end(self) -> (Option<i32>, String) {
        let output = self.child.wait_with_output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    // Far longer than it takes; a limit only so that a failure ends.
    for _ in 0..6000 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{what}");
}

#[test]
fn before_the_first_write_everything_can_end_it() {
    let test = "before_the_first_write_everything_can_end_it";
    let images = images_or_return!(test);
    let meeting = scratch();
    // Each when the appliance is on its way.
    let at_run = |act: &str| json!({"at": {"step": "run", "writes": false, "wait": 2, "act": act}});
    for (case, value, act) in [
        ("prepare_timeout, must", "vda,must", ""),
        ("stands still", "vda,must", "stop"),
        ("guestfish is killed", "vda", "kill"),
        ("SIGTERM", "vda", "tell"),
        ("SIGKILL", "vda", "tell"),
    ] {
        let vm = Vm::new(case, meeting.path(), &[(&images.join("small-ext4"), 160)]);
        let before = sum(vm.image());
        if act.is_empty() || act == "stop" {
            vm.set_host_file("backend_settings = force_tcg\nprepare_timeout = 4\n");
        }
        vm.set_guestfish(if act.is_empty() {
            json!({})
        } else {
            at_run(act)
        });
        let mut hook = Hook::spawn(&vm, value);
        if act == "tell" {
            hook.wait_until_reached(&vm);
            assert!(vm.processes().len() > 2, "{case}: no appliance");
            let signal = if case == "SIGKILL" {
                Signal::SIGKILL
            } else {
                Signal::SIGTERM
            };
            kill(hook.pid(), signal).unwrap();
        }
        let (status, said) = hook.end();
        if case == "SIGKILL" {
            assert_eq!(status, None, "{case}: {said}");
            wait_for("an appliance is left", || vm.processes().is_empty());
        } else {
            let expected = if value.ends_with("must") { 2 } else { 0 };
            assert_eq!(status, Some(expected), "{case}: {said}");
            assert_refused(&said, "", case);
            assert_eq!(vm.left_behind(), [""; 0], "{case}");
        }
        assert_eq!(sum(vm.image()), before, "{case}");
        assert!(!vm.journal().exists() && !vm.seen().exists(), "{case}");
        assert_eq!(vm.calls().len(), 1, "{case}");
    }
}

#[test]
fn after_the_first_write_a_signal_waits_and_the_limit_does_not() {
    let test = "after_the_first_write_a_signal_waits_and_the_limit_does_not";
    let images = images_or_return!(test);
    let meeting = scratch();
    let disk: (&Path, u64) = (&images.join("small-ext4"), 160);
    // SIGTERM in the last step. No other disk is begun after it.
    let term = Vm::new("SIGTERM", meeting.path(), &[disk]);
    term.share(json!({"at": {"step": "resize2fs ", "writes": true, "wait": 0, "act": "tell"}}));
    // An appliance that stands still, and another disk of the VM.
    let still = Vm::new("write_timeout", meeting.path(), &[disk, disk]);
    // Enough to get there, and to be waited for.
    let limit = 30 + 3 * slowest_start().as_secs();
    still.set_host_file(&format!(
        "backend_settings = force_tcg\nprepare_timeout = 3000\nwrite_timeout = {limit}\n"
    ));
    still.share(json!({
        "alone": true,
        "at": {"step": "resize2fs ", "writes": true, "wait": 0.3, "act": "stop"},
    }));
    let other = &still.disks[1].image;
    let before = sum(other);
    together(
        meeting.path(),
        &[&term, &still],
        |_| String::new(),
        |vm| {
            if vm.case == "SIGTERM" {
                let mut hook = Hook::spawn(vm, "vda");
                hook.wait_until_reached(vm);
                kill(hook.pid(), Signal::SIGTERM).unwrap();
                let (_, said) = hook.end();
                assert_says_grown(&said, "growdisk: vda: partition 1 (ext4): 0.1 -> 0.2");
                return;
            }
            let (status, said) = vm.start("vda,vdb");
            assert_eq!(status, Some(2), "{said}");
            assert!(said.starts_with("growdisk: vda: step "), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        },
    );
    assert!(!term.journal().exists() && term.seen().exists());
    assert_eq!(term.left_behind(), [""; 0]);
    assert_eq!(sum(other), before, "another disk after a failure");
    assert_eq!(still.left_behind(), [""; 0]);
    assert_journal(&still, 4);

    // The tool looks at the journal first; a plan leaves it, and whoever has mended the disk by
    // hand drops it.
    let calls = still.calls().len();
    let before = sum(still.image());
    let plan = still.tool(&["--plan", "--format", "qcow2"]);
    assert_eq!(plan.status.code(), Some(2), "{plan:?}");
    assert!(still.journal().exists(), "{plan:?}");
    // As long as it is not finished the VM does not start, whatever keeps it from that.
    let away = still.image().with_extension("away");
    fs::rename(still.image(), &away).unwrap();
    let (status, said) = still.start("vda");
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("what was cut off is not finished"), "{said}");
    fs::rename(&away, still.image()).unwrap();
    let forgotten = still.tool(&["--forget"]);
    assert_eq!(forgotten.status.code(), Some(0), "{forgotten:?}");
    assert!(!still.journal().exists(), "{forgotten:?}");
    let again = still.tool(&["--forget"]);
    assert_eq!(again.status.code(), Some(0), "{again:?}");
    assert_eq!(still.calls().len(), calls, "--forget needs no appliance");
    assert_eq!(sum(still.image()), before, "--forget");
}

#[test]
fn alone_as_vdsm_with_an_empty_environment() {
    let test = "alone_as_vdsm_with_an_empty_environment";
    let images = images_or_return!(test);
    let meeting = scratch();
    let image = images.join("gpt-ext4");
    let vm = Vm::new(test, meeting.path(), &[(&image, 800)]);
    let before = table(vm.image(), &[2]);
    vm.use_guestfish_itself();
    let mut command = vm.command("vda,must");
    command
        .env_clear()
        .env("growdisk", "vda,must")
        .env("vmId", VM_ID);
    command.env("_hook_domxml", &vm.firing.data);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_says_grown(&said, "growdisk: vda: partition 2 (ext4): 0.4 -> 0.8");
    assert_eq!(table(vm.image(), &[2]), before);
    assert_eq!(vm.left_behind(), [""; 0]);
    assert!(!vm.journal().exists() && vm.seen().exists());
    let path = vm.image().to_str().unwrap();
    // It begins at 2 MiB.
    let facts = [
        "-R",
        "show_super_stats -h",
        &format!("{path}?offset={}", 2 * MIB),
    ];
    let check = run("debugfs", &facts, Path::new("/"));
    assert!(
        check.contains("Filesystem state:         clean\n"),
        "{check}"
    );
    let blocks = check
        .lines()
        .find_map(|line| line.strip_prefix("Block count:"));
    let blocks: u64 = blocks.unwrap().trim().parse().unwrap();
    let size = check
        .lines()
        .find_map(|line| line.strip_prefix("Block size:"));
    let size: u64 = size.unwrap().trim().parse().unwrap();
    assert!(
        (796 * MIB..=798 * MIB).contains(&(blocks * size)),
        "{check}"
    );
}

#[test]
fn a_disk_that_plays_another_format_is_read_as_what_it_is() {
    let test = "a_disk_that_plays_another_format_is_read_as_what_it_is";
    let images = images_or_return!(test);
    let meeting = scratch();
    let blank = images.join("blank");
    let disks: [(&Path, u64); 2] = [(&blank, 160), (&images.join("small-ext4"), 160)];
    let vm = Vm::new(test, meeting.path(), &disks);
    // The guest of a raw disk has written the header of a qcow2 to it, whose data are in another
    // VM's disk.
    let of = |disk: usize| vm.disks[disk].image.clone();
    let other = of(1);
    let made = scratch();
    // Made with a name as long as the real one, which is not there outside of the VM's host.
    let data = &*vm.disks[1].path;
    let name = ["x", "xx"][(data.len() + 1) % 2];
    let name = "./".repeat((data.len() - 1) / 2) + name;
    let options = format!("data_file={name},data_file_raw=on");
    let arguments = [
        "create", "-q", "-f", "qcow2", "-o", &options, "disk", "160M",
    ];
    run("qemu-img", &arguments, made.path());
    copy(&made.path().join("disk"), &of(0), 160);
    let header = fs::read(made.path().join("disk")).unwrap();
    let at = header
        .windows(name.len())
        .position(|bytes| bytes == name.as_bytes());
    let disk = File::options().write(true).open(of(0)).unwrap();
    disk.write_all_at(data.as_bytes(), at.unwrap().try_into().unwrap())
        .unwrap();
    vm.own();
    let before = [sum(&of(0)), sum(&other)];
    vm.use_guestfish_itself();
    let sums = || [sum(&of(0)), sum(&other)];
    let (status, said) = vm.start("vda");
    assert_eq!(sums(), before, "{said}");
    assert_eq!(status, Some(0), "{said}");
    assert_refused(&said, "something unknown", test);
    let plan = vm.tool(&["--plan"]);
    assert_eq!(sums(), before, "{plan:?}");
    assert_eq!(plan.status.code(), Some(1), "{plan:?}");
}

#[test]
fn an_appliance_without_room_is_given_up() {
    let test = "an_appliance_without_room_is_given_up";
    let images = images_or_return!(test);
    let small = match Tmpfs::new("3m") {
        Ok(small) => small,
        Err(why) => return not_run(test, &why),
    };
    let meeting = scratch();
    let image = images.join("small-xfs");
    let vm = Vm::new("no room", meeting.path(), &[(&image, 200 << 10)]);
    vm.set_host_file("backend_settings = force_tcg\nprepare_timeout = 30\n");
    let vm = vm.with_temporary(small.0.path());
    let before = sum(vm.image());
    let (status, said) = vm.start("vda,must");
    assert_eq!(status, Some(2), "{said}");
    assert_refused(&said, "", test);
    assert_eq!(sum(vm.image()), before);
    assert!(!vm.journal().exists());
    assert_eq!(vm.left_behind(), [""; 0]);
    assert_eq!(vm.calls().len(), 1, "{said}");
    let left: Vec<_> = fs::read_dir(small.0.path()).unwrap().collect();
    // The place of the appliance's cache.
    assert_eq!(left.len(), 1, "{left:?}");
}

/// A VM whose host needs no appliance: `guestfish.py` would only fail, and note that it was called.
fn quick(case: &str, meeting: &Path) -> Vm {
    let blank = scratch();
    let image = blank.path().join("blank");
    File::create(&image).unwrap().write_all(b"guest").unwrap();
    Vm::new(case, meeting, &[(&image, 8)])
}

/// Leaves the journal of a growth that was cut off.
fn cut_off(vm: &Vm) {
    fs::create_dir_all(vm.journal().parent().unwrap()).unwrap();
    let journal = json!({
        "format": "raw",
        "size": 8 * MIB,
        "steps": [{"op": "pvresize", "device": "/dev/sda"}],
    });
    fs::write(vm.journal(), journal.to_string()).unwrap();
    vm.own();
}

/// Runs the hook where no disk may be opened; its status, and what it says.
fn without_appliance(vm: &Vm, value: &str) -> (Option<i32>, String) {
    let before = sum(vm.image());
    let answer = vm.start(value);
    assert_eq!(sum(vm.image()), before, "{value}");
    assert_eq!(
        vm.calls(),
        [Value::Null; 0],
        "{}: {value}: {answer:?}",
        vm.case
    );
    assert_eq!(vm.left_behind(), [""; 0], "{}: {value}", vm.case);
    answer
}

#[test]
fn only_a_cold_start_opens_a_disk() {
    let test = "only_a_cold_start_opens_a_disk";
    if let Err(why) = private_host() {
        return not_run(test, why);
    }
    let meeting = scratch();
    let nic = "<metadata xmlns:ovirt-vm='http://ovirt.org/vm/1.0'><ovirt-vm:vm>\
        <ovirt-vm:device mac_address='00:1a:4a:16:01:51'><ovirt-vm:custom>\
        <ovirt-vm:provider_type>OPENSTACK_NETWORK</ovirt-vm:provider_type></ovirt-vm:custom>\
        </ovirt-vm:device></ovirt-vm:vm></metadata><devices>";
    for case in [
        "no flags",
        "old flags",
        "flags of the future",
        "a link",
        "a directory",
        "OpenStack",
    ] {
        let vm = quick(case, meeting.path());
        let flags = vm.at(&format!("/run/vdsm/{VM_ID}/launchflags"));
        for value in ["vda", "vda,must", "auto,must"] {
            let document = match case {
                "OpenStack" => vm.document().replace("<devices>", nic),
                _ => vm.document(),
            };
            let mut command = vm.command_on(value, &document);
            match case {
                "no flags" => drop(fs::remove_file(&flags)),
                "old flags" | "flags of the future" => {
                    let file = File::options().write(true).open(&flags).unwrap();
                    let now = SystemTime::now();
                    let away = Duration::from_secs(6 * 60);
                    let then = if case == "old flags" {
                        now - away
                    } else {
                        now + away
                    };
                    file.set_modified(then).unwrap();
                }
                "a link" if !flags.is_symlink() => {
                    let other = flags.with_extension("other");
                    fs::rename(&flags, &other).unwrap();
                    std::os::unix::fs::symlink("launchflags.other", &flags).unwrap();
                }
                "a directory" if !flags.is_dir() => {
                    fs::remove_file(&flags).unwrap();
                    fs::create_dir(&flags).unwrap();
                }
                _ => {}
            }
            let before = sum(vm.image());
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{case}: {value}: {said}");
            assert_eq!(
                said, "growdisk: not a cold start, disks left alone\n",
                "{case}: {value}"
            );
            assert_eq!(vm.calls(), [Value::Null; 0], "{case}: {value}");
            assert_eq!(sum(vm.image()), before, "{case}: {value}");
        }
    }
}

#[test]
fn values_and_what_becomes_of_them() {
    let test = "values_and_what_becomes_of_them";
    if let Err(why) = private_host() {
        return not_run(test, why);
    }
    let meeting = scratch();
    let vm = quick("values", meeting.path());
    for value in ["", " ", "off"] {
        assert_eq!(
            without_appliance(&vm, value),
            (Some(0), String::new()),
            "{value:?}"
        );
    }
    for value in [
        "vda,vda",
        "vda,vda:root",
        "vda:",
        "vda:/root",
        "vda:a/b/c",
        "vda1",
        "VDA",
        "must",
        ",must",
        "vda,must,vdb",
        "vda,MUST",
        "off,must",
        "auto,vda",
        "vda,",
        "/dev/vda",
        "vda:-x",
        "vda:root@snap",
        "vda:50%",
        "xvda",
        "vdaaaa",
    ] {
        let (status, said) = without_appliance(&vm, value);
        assert_eq!(status, Some(2), "{value}: {said}");
        let named = said.starts_with("growdisk: ") && said.contains("growdisk=");
        assert!(
            named && said.contains("expected") && said.lines().count() == 1,
            "{value}: {said}"
        );
    }
    // A name that no disk has.
    for (value, expected) in [
        ("vdb", 0),
        ("vdb,must", 2),
        ("sda:cl/root", 0),
        ("hdc:root", 0),
    ] {
        let (status, said) = without_appliance(&vm, value);
        assert_eq!(status, Some(expected), "{value}: {said}");
        let name = value.split([',', ':']).next().unwrap();
        assert!(
            said.starts_with(&format!("growdisk: {name}: ")),
            "{value}: {said}"
        );
        assert!(said.ends_with("; not grown\n"), "{value}: {said}");
    }
    vm.set_host_file("enabled = no\n");
    for value in ["vda", "vda,must"] {
        assert_eq!(without_appliance(&vm, value), (Some(0), String::new()));
    }
    for text in ["enabled = maybe\n", "speed = 9\n", "prepare_timeout = 0\n"] {
        vm.set_host_file(text);
        for (value, expected) in [("vda", 0), ("vda,must", 2)] {
            let (status, said) = without_appliance(&vm, value);
            assert_eq!(status, Some(expected), "{text}: {said}");
            assert_refused(&said, "/etc/vdsm-hooks/growdisk", text);
        }
    }
    // A growth that was cut off is finished before the start, whatever is wrong with the file.
    cut_off(&vm);
    let (status, said) = without_appliance(&vm, "vda");
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("what was cut off is not finished: /etc/"),
        "{said}"
    );
    fs::remove_file(vm.journal()).unwrap();
    vm.set_host_file(PATIENT);
    let mut command = vm.command_on("vda", "<domain><devices>");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.starts_with("growdisk: ") && said.lines().count() == 1,
        "{said}"
    );
    assert_eq!(vm.calls(), [Value::Null; 0]);
    // A host without guestfish.
    vm.remove_guestfish();
    for (value, expected) in [("vda", 0), ("vda,must", 2), ("auto,must", 2)] {
        let (status, said) = without_appliance(&vm, value);
        assert_eq!(status, Some(expected), "{value}: {said}");
        assert_refused(&said, "guestfish", value);
    }
}

#[test]
fn disks_that_are_no_vms_own_are_left_alone() {
    let test = "disks_that_are_no_vms_own_are_left_alone";
    if let Err(why) = private_host() {
        return not_run(test, why);
    }
    let meeting = scratch();
    let mut vm = quick("disks", meeting.path());
    let path = vm.disks[0].path.clone();
    let file = "<disk type='file' device='disk' snapshot='no'>";
    let raw = "type='raw'";
    for (case, from, to) in [
        ("readonly", "</disk>", "<readonly/></disk>"),
        ("shareable", "</disk>", "<shareable/></disk>"),
        ("transient", "</disk>", "<transient/></disk>"),
        (
            "encryption",
            "</disk>",
            "<encryption format='luks'/></disk>",
        ),
        (
            "mirror",
            "</disk>",
            "<mirror type='file' file='/x'/></disk>",
        ),
        (
            "4096",
            "</disk>",
            "<blockio logical_block_size='4096' physical_block_size='4096'/></disk>",
        ),
        ("cdrom", "device='disk'", "device='cdrom'"),
        ("lun", "device='disk'", "device='lun'"),
        ("no device", "device='disk' ", ""),
        ("network", "type='file' ", "type='network' "),
        ("volume", "type='file' ", "type='volume' "),
        ("qed", raw, "type='qed'"),
        ("no format", raw, ""),
        ("direct LUN", &*path, "/dev/mapper/3600a098000aa"),
        (
            "managed",
            &*path,
            "/run/vdsm/managedvolumes/f1a0e6d2-21c8-4d2f-9a7e-3b6a5c4d2e10",
        ),
        ("local copy", &*path, "/var/lib/vdsm/transient/a-b.c"),
        (
            "hosted engine",
            "/rhev/data-center/mnt/nas.example.com:_data/",
            "/run/vdsm/storage/",
        ),
        ("somewhere", &*path, "/var/lib/libvirt/images/a.img"),
        ("no source", &*format!("<source file='{path}'/>"), ""),
    ] {
        let document = vm.document().replace(from, to);
        assert_ne!(document, vm.document(), "{case}");
        for (value, expected) in [("vda", 0), ("vda,must", 2), ("auto,must", 0)] {
            let output = vm.command_on(value, &document).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(expected),
                "{case}: {value}: {said}"
            );
            match value {
                "auto,must" => assert_eq!(said, "", "{case}"),
                _ => assert_refused(&said, "", case),
            }
            assert_eq!(vm.calls(), [Value::Null; 0], "{case}: {value}");
        }
    }
    assert!(vm.document().contains(file));
    // One of which a growth was cut off is a volume all the same.
    cut_off(&vm);
    let document = vm.document().replace("</disk>", "<shareable/></disk>");
    for value in ["vda", "auto"] {
        let output = vm.command_on(value, &document).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{value}: {said}");
        let reason = "what was cut off is not finished: the disk has <shareable/>";
        assert!(said.contains(reason), "{value}: {said}");
        assert_eq!(vm.calls(), [Value::Null; 0], "{value}");
    }
    fs::remove_file(vm.journal()).unwrap();
    // What `qemu-img info` tells.
    vm.convert();
    let directory = vm.image().parent().unwrap().to_owned();
    let name = vm.disks[0].volume.clone();
    let remake = |options: &[&str]| {
        fs::remove_file(vm.image()).unwrap();
        run(
            "qemu-img",
            &[&["create", "-q", "-f", "qcow2"], options].concat(),
            &directory,
        );
        vm.own();
    };
    let patch = |offset: u64, bytes: &[u8]| {
        let file = File::options().write(true).open(vm.image()).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    };
    run("truncate", &["-s", "8M", "base"], &directory);
    for case in ["data-file", "corrupt", "no backing format", "not qcow2"] {
        match case {
            "data-file" => remake(&["-o", "data_file=data,data_file_raw=on", &name, "8M"]),
            "corrupt" => {
                remake(&[&name, "8M"]);
                // Bit 1 of the incompatible features (qemu, docs/interop/qcow2.txt).
                patch(79, &[2]);
            }
            "no backing format" => {
                remake(&["-F", "raw", "-b", "base", &name, "8M"]);
                let bytes = fs::read(vm.image()).unwrap();
                let mark = 0xE279_2ACA_u32.to_be_bytes();
                let at = bytes.windows(4).position(|four| four == mark).unwrap();
                // An extension that nobody knows.
                patch(at.try_into().unwrap(), &[0x11, 0x22, 0x33, 0x44]);
            }
            _ => patch(0, b"none"),
        }
        for (value, expected) in [("vda", 0), ("vda,must", 2)] {
            let (status, said) = without_appliance(&vm, value);
            assert_eq!(status, Some(expected), "{case}: {value}: {said}");
            assert_refused(&said, "", case);
        }
    }
}

#[test]
fn who_waits_for_a_lock_or_a_place_gives_up() {
    let test = "who_waits_for_a_lock_or_a_place_gives_up";
    if let Err(why) = private_host() {
        return not_run(test, why);
    }
    let meeting = scratch();
    let vm = quick("locks", meeting.path());
    vm.set_host_file("backend_settings = force_tcg\nprepare_timeout = 1\nparallel = 1\n");
    let directory = vm.at("/run/vdsm/hooks/growdisk");
    fs::create_dir_all(&directory).unwrap();
    let lock = format!("{}.lock", vm.disks[0].volume);
    for names in [&[&*lock][..], &["slot.0", "slot.1"]] {
        let held: Vec<_> = names
            .iter()
            .map(|name| {
                let file = File::create(directory.join(name)).unwrap();
                Flock::lock(file, FlockArg::LockExclusive).unwrap()
            })
            .collect();
        vm.own();
        for (value, expected) in [("vda", 0), ("vda,must", 2)] {
            let (status, said) = vm.start(value);
            assert_eq!(status, Some(expected), "{names:?}: {said}");
            assert_refused(&said, "", names[0]);
            assert_eq!(vm.calls(), [Value::Null; 0], "{names:?}");
        }
        drop(held);
    }
}

#[test]
fn an_image_in_use_is_left_to_who_has_it() {
    let test = "an_image_in_use_is_left_to_who_has_it";
    if let Err(why) = private_host() {
        return not_run(test, why);
    }
    let meeting = scratch();
    for format in ["raw", "qcow2"] {
        let mut vm = quick(format, meeting.path());
        if format == "qcow2" {
            vm.convert();
        }
        let before = sum(vm.image());
        let qemu = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-S", "-display", "none", "-nodefaults"])
            .args(["-qmp", "stdio", "-drive"])
            .arg(format!(
                "if=virtio,format={format},file={}",
                vm.image().display()
            ))
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
        let answers =
            [("vda", 0), ("vda,must", 2)].map(|(value, status)| (vm.start(value), status));
        let tool = vm.tool(&[]);
        qemu.kill().unwrap();
        qemu.wait().unwrap();
        for ((status, said), expected) in answers {
            assert_eq!(status, Some(expected), "{format}: {said}");
            assert_refused(&said, "in use", format);
        }
        assert_eq!(tool.status.code(), Some(1), "{tool:?}");
        assert_eq!(vm.calls(), [Value::Null; 0], "{format}");
        assert_eq!(sum(vm.image()), before, "{format}");
    }
}

#[test]
fn the_tool_tells_what_it_cannot_do() {
    let test = "the_tool_tells_what_it_cannot_do";
    if let Err(why) = private_host() {
        return not_run(test, why);
    }
    let meeting = scratch();
    let vm = quick("tool", meeting.path());
    let meta = vm.image().with_extension("meta");
    for (case, arguments, expected) in [
        ("another format", &["--format", "vmdk"][..], 64),
        ("an unknown option", &["--force"], 64),
        ("no name of a volume", &["--lv", "cl/-x"], 64),
    ] {
        let output = vm.tool(arguments);
        assert_eq!(output.status.code(), Some(expected), "{case}: {output:?}");
        assert!(!output.stderr.is_empty(), "{case}: {output:?}");
    }
    // Root works as VDSM's user; whatever name the image has, it is the same image.
    for (file, line) in [
        ("passwd", "vdsm:x:36:36::/:/bin/false\n"),
        ("group", "kvm:x:36:\n"),
    ] {
        fs::write(vm.at(&format!("/etc/{file}")), line).unwrap();
    }
    let output = vm.tool(&[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let calls = vm.calls();
    assert_eq!(
        (calls.len(), &calls[0]["uid"]),
        (1, &json!(36)),
        "{output:?}"
    );
    let link = vm.image().with_file_name("link");
    std::os::unix::fs::symlink(vm.image().file_name().unwrap(), &link).unwrap();
    cut_off(&vm);
    let by_link = vm.disks[0].path.replace(&vm.disks[0].volume, "link");
    let forgotten = vm.tool_on(&by_link, &["--forget"]);
    assert_eq!(forgotten.status.code(), Some(0), "{forgotten:?}");
    assert!(!vm.journal().exists(), "{forgotten:?}");
    fs::remove_file(link).unwrap();
    fs::write(vm.at("/.test/guestfish-calls"), "").unwrap();
    // Who may not keep a journal is refused, and has lost nothing.
    let journals = vm.at("/var/lib/vdsm/hooks/growdisk");
    fs::set_permissions(&journals, Permissions::from_mode(0o700)).unwrap();
    chown(&journals, Some(0), None).unwrap();
    let output = vm.tool(&["--yes"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/var/lib/vdsm/hooks/growdisk: "), "{said}");
    assert_eq!(vm.start("vda").0, Some(2));
    vm.own();
    vm.remove_guestfish();
    let output = vm.tool(&[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("guestfish") && said.contains("not grown"),
        "{said}"
    );
    // The format is never probed.
    fs::remove_file(meta).unwrap();
    let output = vm.tool(&["--plan"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--format"), "{said}");
    assert_eq!(vm.calls(), [Value::Null; 0]);
}

/// How often `killed_at_any_moment` kills; 100 by hand now and then.
const KILLS: &str = "GROWDISK_KILLS";
/// As many share the appliances of their second runs.
const AT_ONCE: usize = 40;

#[test]
fn killed_at_any_moment_the_next_run_finishes() {
    let test = "killed_at_any_moment_the_next_run_finishes";
    let images = images_or_return!(test);
    let kills = std::env::var(KILLS).map_or(1, |number| number.parse().unwrap());
    let meeting = scratch();
    let numbers: Vec<usize> = (0..kills).collect();
    for numbers in numbers.chunks(AT_ONCE) {
        let killed = Mutex::new(Vec::new());
        two_at_a_time(numbers, |number| {
            let case = format!("kill {number}");
            let vm = Vm::new(&case, meeting.path(), &[(&images.join("gpt-lvm"), 1600)]);
            kill_somewhere(&vm);
            vm.share(json!({}));
            killed.lock().unwrap().push(vm);
        });
        let killed = killed.into_inner().unwrap();
        let all: Vec<&Vm> = killed.iter().collect();
        together(meeting.path(), &all, |_| String::new(), finish);
    }
}

/// Kills guestfish and its appliance at some moment of a growth, of which a line tells.
fn kill_somewhere(vm: &Vm) {
    let before = sum(vm.image());
    // Which call of guestfish, and when in it.
    let nanoseconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .subsec_nanos();
    let longest = 2.0 * slowest_start().as_secs_f64();
    let wait = f64::from(nanoseconds % 997) / 997.0 * longest;
    let writes = nanoseconds % 5 > 0;
    let case = format!("{}: {wait:.1} s from the start, writes: {writes}", vm.case);
    vm.set_guestfish(json!({
        "at": {"step": "add-drive", "writes": writes, "wait": wait, "act": "kill", "later": true},
    }));
    let (status, said) = vm.start("vda");
    println!("{case}: {status:?} {}", said.trim());
    assert_eq!(vm.left_behind(), [""; 0], "{case}: {said}");
    match status {
        Some(2) => assert!(vm.journal().exists(), "{case}: {said}"),
        Some(0) if said.ends_with("; not grown\n") => {
            assert!(!vm.journal().exists(), "{case}: {said}");
            assert_eq!(sum(vm.image()), before, "{case}: {said}");
        }
        _ => assert_eq!(status, Some(0), "{case}: {said}"),
    }
}

/// The next run of one that was killed.
fn finish(vm: &Vm) {
    let case = &vm.case;
    let (status, said) = vm.start("vda,must");
    let why = said.contains("not grown") || said.contains("failed: ");
    assert!(
        status == Some(0) || (status == Some(2) && why),
        "{case}: {status:?} {said}"
    );
    assert_eq!(vm.left_behind(), [""; 0], "{case}: {said}");
    if status == Some(0) {
        let path = vm.image().to_str().unwrap();
        let table = run("sfdisk", &["-d", path], Path::new("/"));
        assert!(
            table.contains("start=      204800, size=     3071967,"),
            "{case}: {table}"
        );
        assert!(!vm.journal().exists(), "{case}");
    } else {
        println!("{case}: {}", said.trim());
    }
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

/// What a guest's first program does here: it shows its disks, and mounts one of them.
const INIT: &str = "#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /proc /sys /dev /mnt
mount -t proc proc /proc
# It says whether the kernel unpacks modules by itself.
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_pci virtio_blk ext4; do modprobe $module; done
for second in 1 2 3 4 5 6 7 8 9 10; do [ -e /dev/vdb2 ] || sleep 1; done
cat /proc/partitions
mount -r -t ext4 /dev/vdb2 /mnt && echo mounted
cat /proc/mounts
";

/// Boots a kernel with copies of these disks, emulated, and looks at what it finds there. An error:
/// there is no guest on this machine.
fn boots(images: [&Path; 2]) -> Result<(), String> {
    let newest = |start: &str| -> Result<PathBuf, String> {
        let entries = fs::read_dir("/boot").map_err(|error| format!("/boot: {error}"))?;
        let paths = entries.map(|entry| entry.unwrap().path());
        let mut found: Vec<_> = paths
            .filter(|path| path.to_str().unwrap().starts_with(start))
            .collect();
        found.sort();
        found.pop().ok_or_else(|| format!("there is no {start}*"))
    };
    let (kernel, initrd) = (newest("/boot/vmlinuz-")?, newest("/boot/initrd.img-")?);
    if let Err(error) = Command::new("qemu-system-x86_64").arg("--version").output() {
        return Err(format!("qemu-system-x86_64: {error}"));
    }
    let directory = scratch();
    // The kernel takes an archive behind another one, in which a file takes the place of an earlier.
    let mut all = fs::read(initrd).unwrap();
    all.resize(all.len().next_multiple_of(4), 0);
    all.extend(archive("init", INIT.as_bytes()));
    fs::write(directory.path().join("initrd"), all).unwrap();
    // Whatever the guest does, it ends: the kernel when its first program does, and QEMU with it.
    let mut qemu = Command::new("timeout");
    qemu.args(["-s", "KILL", "600", "qemu-system-x86_64"]);
    for (number, image) in images.iter().enumerate() {
        let name = format!("disk{number}");
        let mib = fs::metadata(image).unwrap().len() / MIB;
        copy(image, &directory.path().join(&name), mib);
        qemu.args(["-drive", &format!("if=virtio,format=raw,file={name}")]);
    }
    let mut qemu = qemu
        .args([
            "-accel", "tcg", "-cpu", "max", "-m", "512", "-display", "none",
        ])
        .args(["-nodefaults", "-no-reboot", "-serial", "stdio"])
        .args([
            "-append",
            "console=ttyS0 panic=-1 quiet",
            "-initrd",
            "initrd",
            "-kernel",
        ])
        .arg(kernel)
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    for line in BufReader::new(qemu.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
        said = said + line.trim_end() + "\n";
    }
    qemu.wait().unwrap();
    let blocks = |name: &str| {
        let mut lines = said
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(|words| words.last() == Some(&name));
        line.and_then(|words| words[2].parse::<u64>().ok())
    };
    // In KiB; the last 34 sectors are the table's copy.
    assert_eq!(blocks("vda"), Some(1600 << 10), "{said}");
    assert_eq!(blocks("vda2"), Some((1500 << 10) - 17), "{said}");
    assert_eq!(blocks("vdb2"), Some((798 << 10) - 17), "{said}");
    assert!(said.contains("\nmounted\n"), "{said}");
    Ok(())
}

/// An archive with one program, in the kernel's format (Documentation/driver-api/early-userspace/
/// buffer-format.rst).
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    for (number, (name, content)) in [(name, content), ("TRAILER!!!", &[][..])]
        .iter()
        .enumerate()
    {
        let fields = [
            number + 1,
            0o100_755,
            0,
            0,
            1,
            0,
            content.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0,
        ];
        let fields: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        all.extend(format!("070701{fields}{name}\0").into_bytes());
        all.resize(all.len().next_multiple_of(4), 0);
        all.extend_from_slice(content);
        all.resize(all.len().next_multiple_of(4), 0);
    }
    all
}
