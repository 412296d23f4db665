// SPDX-License-Identifier: GPL-2.0-or-later

//! fileinject with the real libguestfs: what is written, where it lands, and what is left alone.
//!
//! An appliance takes its time without KVM, so that all guests are made in one and read in one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Firing, Outcome, not_run};

/// A GPT disk: ext4, xfs on `/var`, btrfs on `/srv`. An MBR disk: LVM. An MBR disk: Windows.
const GUESTS: &str = r#"run
part-init /dev/sda gpt
part-add /dev/sda p 2048 204799
part-add /dev/sda p 204800 1024000
part-add /dev/sda p 1026048 1433600
mkfs ext4 /dev/sda1 label:root
mkfs xfs /dev/sda2
mkfs btrfs /dev/sda3
part-init /dev/sdb mbr
part-add /dev/sdb p 2048 -1
pvcreate /dev/sdb1
vgcreate guest /dev/sdb1
lvcreate root guest 40
mkfs ext4 /dev/guest/root
part-init /dev/sdc mbr
part-add /dev/sdc p 2048 -1
part-set-mbr-id /dev/sdc 1 7
mkfs ntfs /dev/sdc1
mount /dev/sda1 /
mkdir /bin
mkdir /etc
mkdir /var
mkdir /srv
write /etc/fstab "LABEL=root / ext4 defaults 0 0\n/dev/sda2 /var xfs defaults 0 0\n/dev/sda3 /srv btrfs defaults 0 0\n"
write /etc/os-release "ID=debian\nVERSION_ID=12\nNAME=Debian\n"
write /etc/motd old
chmod 0600 /etc/motd
chown 7 8 /etc/motd
umount-all
mount /dev/guest/root /
mkdir /bin
mkdir /etc
write /etc/fstab "/dev/guest/root / ext4 defaults 0 0\n"
write /etc/os-release "ID=debian\nVERSION_ID=12\nNAME=Debian\n"
umount-all
mount /dev/sdc1 /
mkdir-p /Windows/System32/config
mkdir-p /ProgramData/Site
upload CMD /Windows/System32/cmd.exe
umount-all
"#;

/// What the guests have afterwards, in the order of the answers.
const LOOK: &str = r#"run
mount-ro /dev/sda1 /
cat /etc/motd
stat /etc/motd
exists /var/x
umount-all
mount-ro /dev/sda2 /
cat "/a \"b\\n$c"
umount-all
mount-ro /dev/sda3 /
exists /none
filesize /empty
umount-all
mount-ro /dev/guest/root /
cat /etc/issue
umount-all
mount-ro /dev/sdc1 /
cat /ProgramData/Site/New.TXT
"#;

fn fish(directory: &Path, options: &[&str], script: &str) -> Result<String, String> {
    let mut command = Command::new("guestfish");
    command.args(options).current_dir(directory);
    for name in ["linux", "lvm", "windows"] {
        command.args(["--format=raw", "-a", name]);
    }
    let mut child = command
        .env("LIBGUESTFS_BACKEND", "direct")
        .env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("guestfish: {error}"))?;
    let mut input = child.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// As much of a 64-bit program as it takes to be known as one.
fn program() -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[60] = 64;
    bytes[64..70].copy_from_slice(b"PE\0\0\x64\x86");
    bytes[70] = 1;
    bytes[84] = 0xf0;
    bytes[86] = 0x22;
    bytes[88..90].copy_from_slice(&[0x0b, 0x02]);
    bytes[156] = 3;
    bytes
}

fn fire(directory: &Path, disks: &[&str], value: &str) -> Outcome {
    let disk = |name: &&str| {
        let path = directory.join(name);
        let path = path.display();
        format!(
            "<disk type='file' device='disk'><driver type='raw'/><source file='{path}'/></disk>"
        )
    };
    let disks: String = disks.iter().map(disk).collect();
    let document = format!("<domain><devices>{disks}</devices></domain>\n");
    let mut firing = Firing::new("fileinject", "before_vm_start", document.as_bytes())
        .variable("fileinject", value)
        .variable("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg");
    // On a real host it would be a resume.
    firing = firing.without("vmId");
    let outcome = firing.run();
    assert!(!outcome.touched, "{outcome:?}");
    outcome
}

#[test]
fn files_land_where_the_guest_sees_them() {
    let test = "files_land_where_the_guest_sees_them";
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for (name, megabytes) in [("linux", 720), ("lvm", 64), ("windows", 64), ("blank", 16)] {
        let file = File::create(directory.join(name)).unwrap();
        file.set_len(megabytes << 20).unwrap();
    }
    fs::write(directory.join("CMD"), program()).unwrap();
    if let Err(reason) = fish(directory, &[], GUESTS) {
        return not_run(test, reason.lines().next().unwrap_or("guestfish failed"));
    }
    for (disks, value) in [
        (&["blank", "linux"][..], "/etc/motd:hello"),
        (&["linux"], "/var/a \"b\\n$c:x\\n\"é;"),
        (&["linux"], "/srv/empty:"),
        (&["lvm", "blank"], "/etc/issue:a:b"),
        (&["windows"], "/c/programdata/SITE/New.TXT:hello"),
    ] {
        let outcome = fire(directory, disks, value);
        assert_eq!(outcome.status, Some(0), "{value}: {outcome:?}");
        assert_eq!(outcome.stderr, "", "{value}");
    }
    for (disks, value, problem) in [
        (&["linux"][..], "/none/x:hello", "No such file or directory"),
        (
            &["blank"],
            "/etc/motd:hello",
            "no known operating system on",
        ),
    ] {
        let outcome = fire(directory, disks, value);
        assert_eq!(outcome.status, Some(2), "{value}: {outcome:?}");
        assert!(outcome.stderr.contains(problem), "{value}: {outcome:?}");
    }
    let found = fish(directory, &["--ro"], LOOK).unwrap();
    let (content, rest) = found.split_once('\n').unwrap();
    assert_eq!(content, "hello", "{found}");
    for fact in ["mode: 33152\n", "uid: 7\n", "gid: 8\n"] {
        assert!(rest.contains(fact), "{found}");
    }
    assert!(
        rest.ends_with("false\nx\\n\"é;\nfalse\n0\na:b\nhello\n"),
        "{found}"
    );
}
