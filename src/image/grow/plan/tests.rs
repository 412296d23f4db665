// SPDX-License-Identifier: GPL-2.0-or-later

//! The whole table of decisions, without an appliance.

use super::*;

const GPT: Table = Table::Gpt {
    margin: 34,
    is_hybrid: false,
};
const GIB: u64 = 1 << 30;
const OLD: u64 = 800 * MIB;
const NEW: u64 = 1600 * MIB;
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

fn partition(number: u32, start: u64, end: u64, role: Role, kind: &str) -> Partition {
    Partition {
        number,
        start,
        end,
        role,
        kind: kind.to_owned(),
    }
}

/// The partition that ends where the disk ended.
fn only(kind: &str) -> Vec<Partition> {
    let end = OLD - 34 * SECTOR;
    vec![partition(1, MIB, end, Role::Primary, kind)]
}

fn system(name: &str, device: &str, size: u64, room: u64) -> FileSystem {
    FileSystem {
        device: device.to_owned(),
        kind: Kind::named(name).unwrap_or(Kind::Ext),
        name: name.to_owned(),
        size,
        room,
        trouble: None,
    }
}

fn full(name: &str) -> FileSystem {
    let size = OLD - MIB - 34 * SECTOR;
    system(name, "/dev/sda1", size, size)
}

fn gpt(content: Content) -> Found {
    Found {
        size: NEW,
        table: GPT,
        partitions: only(LINUX),
        content: Some(content),
        asleep: None,
    }
}

fn mbr(content: Content) -> Found {
    Found {
        table: Table::Mbr,
        partitions: only("0x83"),
        ..gpt(content)
    }
}

fn whole(content: Content) -> Found {
    Found {
        table: Table::None,
        partitions: Vec::new(),
        ..gpt(content)
    }
}

fn ext() -> Content {
    Content::FileSystem(full("ext4"))
}

fn other(name: &str) -> Content {
    Content::Other(name.to_owned())
}

fn volume(name: &str, attributes: &str, size: u64, content: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        attributes: attributes.to_owned(),
        size,
        content: content.to_owned(),
    }
}

const EXTENT: u64 = 4 * MIB;
const PLAIN: &str = "-wi-a-----";

/// A physical volume of 199 extents with `cl/swap` and `cl/root`, of which some are free.
fn cl() -> Lvm {
    Lvm {
        device: "/dev/sda1".to_owned(),
        volumes_of_disk: 1,
        room: OLD - MIB - 34 * SECTOR,
        first_extent: MIB,
        extents: 199,
        groups: vec![Group {
            name: "cl".to_owned(),
            attributes: "wz--n-".to_owned(),
            extent: EXTENT,
            free: 58,
        }],
        volumes: vec![
            volume("cl/swap", PLAIN, 64 * MIB, "swap"),
            volume("cl/root", PLAIN, 500 * MIB, "ext4"),
        ],
        system: Some(system("ext4", "/dev/cl/root", 500 * MIB, 500 * MIB)),
    }
}

fn with(change: impl FnOnce(&mut Lvm)) -> Found {
    let mut lvm = cl();
    change(&mut lvm);
    gpt(Content::Lvm(lvm))
}

const NAMED: Choice<'_> = Choice {
    volume: None,
    is_named: true,
};

fn named(volume: &str) -> Choice<'_> {
    Choice {
        volume: Some(volume),
        is_named: true,
    }
}

/// The commands, `nothing`, or why not.
fn verdict(found: &Found, choice: Choice<'_>) -> String {
    match plan(found, choice) {
        Ok(None) => "nothing".to_owned(),
        Ok(Some(plan)) => {
            let commands: Vec<String> = plan.steps.iter().map(Step::command).collect();
            commands.join("; ")
        }
        Err(error) => format!("refused: {error}"),
    }
}

fn assert_grows(found: &Found, commands: &[&str]) {
    assert_eq!(
        verdict(found, Choice::default()),
        commands.join("; "),
        "{found:?}"
    );
}

fn assert_nothing(found: &Found) {
    assert_eq!(verdict(found, NAMED), "nothing", "{found:?}");
}

/// The disk is refused, and if it was not enlarged there is nothing to grow.
fn assert_refused(found: &Found, choice: Choice<'_>, reason: &str) {
    let said = verdict(found, choice);
    assert!(
        said.starts_with("refused: ") && said.contains(reason),
        "{said:?}: {found:?}"
    );
    if found
        .partitions
        .iter()
        .any(|one| one.role == Role::Extended)
    {
        return;
    }
    let same = Found {
        size: OLD,
        ..found.clone()
    };
    if found.table != Table::None {
        assert_eq!(verdict(&same, choice), "nothing", "not enlarged: {same:?}");
    }
}

const GPT_STEPS: [&str; 2] = ["part-expand-gpt /dev/sda", "part-resize /dev/sda 1 -34"];

#[test]
fn file_systems_of_a_partition() {
    for (name, commands) in [
        (
            "ext2",
            &["e2fsck /dev/sda1 correct:true", "resize2fs /dev/sda1"][..],
        ),
        (
            "ext4",
            &["e2fsck /dev/sda1 correct:true", "resize2fs /dev/sda1"],
        ),
        ("xfs", &["mount /dev/sda1 /", "xfs-growfs /", "umount /"]),
        (
            "btrfs",
            &["mount /dev/sda1 /", "btrfs-filesystem-resize /", "umount /"],
        ),
        ("ntfs", &["ntfsresize /dev/sda1"]),
    ] {
        let content = Content::FileSystem(full(name));
        assert_grows(&gpt(content.clone()), &[&GPT_STEPS[..], commands].concat());
        let steps = [&["part-resize /dev/sda 1 -1"][..], commands].concat();
        assert_grows(&mbr(content), &steps);
    }
}

#[test]
fn a_gpt_keeps_its_margin() {
    // As fdisk makes it.
    let fdisk = |partitions, size| Found {
        size,
        table: Table::Gpt {
            margin: 2048,
            is_hybrid: false,
        },
        partitions,
        ..gpt(ext())
    };
    assert_grows(
        &fdisk(only(LINUX), NEW),
        &[
            "part-expand-gpt /dev/sda",
            "part-resize /dev/sda 1 -2048",
            "e2fsck /dev/sda1 correct:true",
            "resize2fs /dev/sda1",
        ],
    );
    // Up to the old end at first, to the margin later on.
    assert_nothing(&fdisk(only(LINUX), OLD));
    let grown = vec![partition(1, MIB, OLD - MIB, Role::Primary, LINUX)];
    assert_nothing(&fdisk(grown.clone(), OLD));
    assert_nothing(&fdisk(grown.clone(), OLD + WORTH - SECTOR));
    let commands = verdict(&fdisk(grown, OLD + WORTH), NAMED);
    assert!(commands.starts_with("part-expand-gpt"), "{commands}");
}

#[test]
fn the_last_partition_is_the_one_that_ends_last() {
    let mut found = gpt(Content::FileSystem(system(
        "ext4",
        "/dev/sda1",
        600 * MIB,
        600 * MIB,
    )));
    let end = OLD - 34 * SECTOR;
    found.partitions = vec![
        partition(1, 200 * MIB, end, Role::Primary, LINUX),
        partition(
            14,
            MIB,
            5 * MIB,
            Role::Primary,
            "21686148-6449-6E6F-744E-656564454649",
        ),
        partition(
            15,
            5 * MIB,
            111 * MIB,
            Role::Primary,
            "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        ),
    ];
    let check = ["e2fsck /dev/sda1 correct:true", "resize2fs /dev/sda1"];
    assert_grows(&found, &[&GPT_STEPS[..], &check].concat());
}

#[test]
fn logical_partitions() {
    let content = |device| Content::FileSystem(system("ext4", device, 500 * MIB, 500 * MIB));
    let mut found = mbr(content("/dev/sda5"));
    found.partitions = vec![
        partition(1, MIB, 100 * MIB, Role::Primary, "0x83"),
        partition(2, 101 * MIB, OLD, Role::Extended, "0x05"),
        partition(5, 102 * MIB, OLD, Role::Logical, "0x83"),
    ];
    let check = ["e2fsck /dev/sda5 correct:true", "resize2fs /dev/sda5"];
    let table = ["part-resize /dev/sda 2 -1", "part-resize /dev/sda 5 -1"];
    assert_grows(&found, &[&table[..], &check].concat());
    // Cut off behind the first step.
    found.partitions[1].end = NEW;
    assert_grows(&found, &[&table[..], &check].concat());

    // A primary one behind the extended one.
    found.content = Some(content("/dev/sda3"));
    found.partitions[1].end = 300 * MIB;
    found.partitions[2].end = 300 * MIB;
    found
        .partitions
        .push(partition(3, 300 * MIB, OLD, Role::Primary, "0x83"));
    let check_third = ["e2fsck /dev/sda3 correct:true", "resize2fs /dev/sda3"];
    assert_grows(
        &found,
        &[&["part-resize /dev/sda 3 -1"][..], &check_third].concat(),
    );

    let mut empty = mbr(content("/dev/sda1"));
    empty.partitions = vec![
        partition(1, MIB, 500 * MIB, Role::Primary, "0x83"),
        partition(2, 500 * MIB, OLD, Role::Extended, "0x05"),
    ];
    assert_refused(
        &empty,
        Choice::default(),
        "partition 2 (extended, empty) lies last",
    );
    empty.partitions[1].end = NEW;
    assert_nothing(&empty);
}

#[test]
fn an_mbr_ends_at_two_tib() {
    let content = Content::FileSystem(full("ext4"));
    let mut found = mbr(content);
    let check = ["e2fsck /dev/sda1 correct:true", "resize2fs /dev/sda1"];
    for (size, end) in [
        (2048 * GIB, "-1"),
        (2048 * GIB + SECTOR, "4294967295"),
        (4096 * GIB, "4294967295"),
    ] {
        found.size = size;
        let resize = format!("part-resize /dev/sda 1 {end}");
        assert_grows(&found, &[&[resize.as_str()][..], &check].concat());
        let warning = plan(&found, Choice::default()).ok().flatten();
        let warning = warning.and_then(|plan| plan.warning);
        assert_eq!(warning.is_some(), end != "-1", "{size}");
    }
    found.partitions[0].end = 2048 * GIB;
    found.content = Some(Content::FileSystem(system(
        "ext4",
        "/dev/sda1",
        2047 * GIB,
        2047 * GIB,
    )));
    assert_nothing(&found);
}

#[test]
fn disks_without_a_table() {
    let part = system("ext4", "/dev/sda", OLD, NEW);
    let check = ["e2fsck /dev/sda correct:true", "resize2fs /dev/sda"];
    assert_grows(&whole(Content::FileSystem(part)), &check);
    let same = system("ext4", "/dev/sda", NEW - 15 * MIB, NEW);
    assert_nothing(&whole(Content::FileSystem(same)));

    let mut lvm = cl();
    lvm.device = "/dev/sda".to_owned();
    lvm.room = NEW;
    let commands = [
        "pvresize /dev/sda",
        "lvresize /dev/cl/root 1300",
        "e2fsck /dev/cl/root correct:true",
        "resize2fs /dev/cl/root",
    ];
    assert_grows(&whole(Content::Lvm(lvm)), &commands);

    for name in ["", "swap", "crypto_LUKS"] {
        assert_eq!(verdict(&whole(other(name)), Choice::default()), "nothing");
    }
    assert_refused(
        &whole(other("")),
        NAMED,
        "something unknown takes the whole disk",
    );
    assert_refused(
        &whole(other("crypto_LUKS")),
        NAMED,
        "crypto_LUKS takes the whole disk",
    );
}

#[test]
fn tables_that_nobody_here_grows() {
    let mut found = gpt(ext());
    found.table = Table::Other("dasd".to_owned());
    assert_refused(&found, Choice::default(), "partition table dasd");
    // Of which not even the partitions can be listed: a GPT that is damaged, or of other sectors.
    found.table = Table::Other("PMBR".to_owned());
    found.partitions.clear();
    assert!(verdict(&found, NAMED).contains("partition table PMBR"));
    assert_eq!(verdict(&found, Choice::default()), "nothing");
    let mut hybrid = gpt(ext());
    hybrid.table = Table::Gpt {
        margin: 34,
        is_hybrid: true,
    };
    assert_refused(&hybrid, Choice::default(), "hybrid MBR");
    let mut protective = mbr(ext());
    protective
        .partitions
        .insert(0, partition(2, 512, MIB, Role::Primary, "0xee"));
    assert_refused(&protective, Choice::default(), "GPT which cannot be read");
    let empty = Found {
        partitions: Vec::new(),
        content: None,
        ..gpt(ext())
    };
    assert_nothing(&empty);
}

#[test]
fn a_system_that_sleeps_beside() {
    for mut found in [gpt(ext()), mbr(ext()), with(|_| ())] {
        found.asleep = Some("partition 2 (swsuspend)".to_owned());
        let reason = "partition 2 (swsuspend) keeps a system that hibernates";
        assert_refused(&found, Choice::default(), reason);
    }
}

#[test]
fn what_lies_last_and_cannot_grow() {
    for name in ["swap", "crypto_LUKS", "linux_raid_member", "bcache", "vfat"] {
        let reason = format!("partition 1 ({name}) lies last");
        assert_refused(&gpt(other(name)), Choice::default(), &reason);
        assert_refused(&mbr(other(name)), Choice::default(), &reason);
    }
    assert_refused(
        &gpt(other("")),
        Choice::default(),
        "partition 1 (something unknown) lies last",
    );
}

#[test]
fn types_that_are_somebodys() {
    let ntfs = || Content::FileSystem(full("ntfs"));
    for (kind, name) in GPT_RESERVED {
        let mut found = gpt(ntfs());
        for spelling in [kind.to_owned(), kind.to_lowercase()] {
            found.partitions = only(&spelling);
            assert_refused(
                &found,
                Choice::default(),
                &format!("partition 1 ({name}) lies last"),
            );
        }
    }
    for (kind, name) in MBR_RESERVED {
        let mut found = mbr(ntfs());
        found.partitions = only(kind);
        let reason = match kind {
            "0xee" => "GPT which cannot be read".to_owned(),
            _ => format!("partition 1 ({name}) lies last"),
        };
        assert_refused(&found, Choice::default(), &reason);
    }
    // Where somebody's is not the last it does not matter.
    let mut found = gpt(Content::FileSystem(full("ntfs")));
    found.partitions.push(partition(
        2,
        512,
        MIB,
        Role::Primary,
        "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC",
    ));
    assert_grows(
        &found,
        &[&GPT_STEPS[..], &["ntfsresize /dev/sda1"]].concat(),
    );
}

#[test]
fn logical_volumes() {
    let commands = [
        "part-expand-gpt /dev/sda",
        "part-resize /dev/sda 1 -34",
        "pvresize /dev/sda1",
        // What was free before stays free.
        "lvresize /dev/cl/root 1300",
        "e2fsck /dev/cl/root correct:true",
        "resize2fs /dev/cl/root",
    ];
    assert_grows(&with(|_| ()), &commands);
    // Only the file system is short: somebody has grown the volume by hand.
    let short = |lvm: &mut Lvm| {
        lvm.system = Some(system("ext4", "/dev/cl/root", 400 * MIB, 500 * MIB));
    };
    let mut found = with(short);
    found.size = OLD;
    assert_grows(&found, &commands[4..]);
    // Only the physical volume is.
    let mut with_short_pv = with(|lvm| lvm.extents = 100);
    with_short_pv.size = OLD;
    assert_grows(
        &with_short_pv,
        &[
            &["pvresize /dev/sda1", "lvresize /dev/cl/root 896"][..],
            &commands[4..],
        ]
        .concat(),
    );
    // Room that is less than one extent is of no use.
    let mut with_large_extents = with(|lvm| lvm.groups[0].extent = GIB);
    with_large_extents.size = NEW;
    assert_nothing(&with_large_extents);
}

#[test]
fn lvm_that_is_left_alone() {
    let refused = |found: Found, reason| assert_refused(&found, Choice::default(), reason);
    refused(
        with(|lvm| lvm.volumes_of_disk = 2),
        "the volume group cl has 2 physical volumes, expected one",
    );
    refused(with(|lvm| lvm.groups.clear()), "in no volume group");
    let second = |lvm: &mut Lvm| lvm.groups.push(lvm.groups[0].clone());
    refused(with(second), "2 volume groups");
    for attributes in ["rz--n-", "w---n-", "wzx-n-", "wz-pn-", "wz--c-"] {
        let change = |lvm: &mut Lvm| lvm.groups[0].attributes = attributes.to_owned();
        refused(with(change), "the volume group cl is");
    }
    for (attributes, kind) in [
        ("twi-a-tz--", "cl/swap is a thin pool"),
        ("Vwi-a-tz--", "cl/swap is thin"),
        ("swi-a-s---", "cl/swap is a snapshot"),
        ("owi-a-s---", "cl/swap is the origin of a snapshot"),
        ("rwi-a-r---", "cl/swap is a RAID"),
        ("mwi-a-m---", "cl/swap is a mirror"),
        ("Cwi-a-C---", "cl/swap is a cache"),
        ("pwi-------", "cl/swap is of the kind 'p'"),
    ] {
        let change = |lvm: &mut Lvm| lvm.volumes[0].attributes = attributes.to_owned();
        refused(with(change), kind);
    }
}

#[test]
fn one_of_several_logical_volumes() {
    let home = |lvm: &mut Lvm| {
        lvm.volumes.push(volume("cl/home", PLAIN, 100 * MIB, "xfs"));
        lvm.system = None;
    };
    assert_refused(&with(home), NAMED, "name one of cl/root, cl/home");
    assert_refused(&with(home), named("var"), "name one of cl/root, cl/home");
    assert_refused(&with(home), named("swap"), "name one of cl/root, cl/home");
    assert_refused(
        &with(home),
        named("ol/home"),
        "name one of cl/root, cl/home",
    );
    let chosen = |lvm: &mut Lvm| {
        home(lvm);
        lvm.system = Some(system("xfs", "/dev/cl/home", 100 * MIB, 100 * MIB));
    };
    for name in ["home", "cl/home"] {
        let said = verdict(&with(chosen), named(name));
        assert!(
            said.ends_with(
                "lvresize /dev/cl/home 900; mount /dev/cl/home /; xfs-growfs /; umount /"
            ),
            "{said}"
        );
    }
    // Of one that is named wrongly nothing is guessed either.
    assert_refused(&with(|_| ()), named("var"), "name one of cl/root");
    let none = |lvm: &mut Lvm| {
        lvm.volumes.pop();
        lvm.system = None;
    };
    assert_refused(
        &with(none),
        NAMED,
        "no logical volume holds a file system that can grow",
    );
    assert_refused(
        &gpt(ext()),
        named("root"),
        "partition 1 holds no LVM, but root is named",
    );
}

#[test]
fn file_systems_that_are_dirty() {
    let dirty = |name| {
        let mut system = full(name);
        system.trouble = Some("not unmounted cleanly".to_owned());
        Content::FileSystem(system)
    };
    for name in ["ext4", "xfs", "btrfs", "ntfs"] {
        assert_refused(
            &gpt(dirty(name)),
            Choice::default(),
            "not unmounted cleanly",
        );
    }
    let change = |lvm: &mut Lvm| {
        if let Some(system) = &mut lvm.system {
            system.trouble = Some("not unmounted cleanly".to_owned());
        }
    };
    assert_refused(&with(change), Choice::default(), "not unmounted cleanly");
    // The partition has been grown already, and the file system has not.
    let mut found = gpt(dirty("ext4"));
    found.size = OLD;
    if let Some(Content::FileSystem(system)) = &mut found.content {
        system.size -= 100 * MIB;
    }
    let said = verdict(&found, Choice::default());
    assert_eq!(said, "refused: not unmounted cleanly");
}

#[test]
fn fifteen_mib_are_nothing() {
    for (more, grows) in [(15, false), (16, true)] {
        for mut found in [gpt(ext()), mbr(ext())] {
            let usable = usable_end(&found);
            let end = found.partitions[0].end;
            found.size = end + more * MIB + (found.size - usable);
            assert_eq!(verdict(&found, NAMED) != "nothing", grows, "{found:?}");
        }
    }
}

#[test]
fn a_plan_says_what_it_grows() -> Result {
    let plan = plan(&with(|_| ()), Choice::default())?.ok_or_else(|| Error::new("nothing"))?;
    assert_eq!(plan.partition, Some(1));
    assert_eq!(plan.volume.as_deref(), Some("cl/root"));
    assert_eq!(
        (plan.system.name.as_str(), plan.system.size),
        ("ext4", 500 * MIB)
    );
    Ok(())
}
