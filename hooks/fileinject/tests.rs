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

use crate::support;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

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
mkdir /dev
mkdir /proc
mkdir /run
mkdir /sys
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
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
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

fn firing(directory: &Path, disks: &[&str], value: &str) -> Firing {
    let disk = |name: &&str| {
        let path = directory.join(name);
        let path = path.display();
        format!(
            "<disk type='file' device='disk'><driver type='raw'/><source file='{path}'/></disk>"
        )
    };
    let disks: String = disks.iter().map(disk).collect();
    let document = format!("<domain><devices>{disks}</devices></domain>\n");
    Firing::new("fileinject", "before_vm_start", document.as_bytes())
        .variable("fileinject", value)
        .variable("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
        // On a real host it would be a resume.
        .without("vmId")
}

fn fire(directory: &Path, disks: &[&str], value: &str) -> Outcome {
    let outcome = firing(directory, disks, value).run();
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
    let left = killed_half_way(directory);
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
    // Whoever comes next clears up.
    assert!(!left.exists(), "{}", left.display());
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
    if let Err(reason) = boots_with(directory, "hello") {
        not_run("a_guest_boots_with_the_file", &reason);
    }
}

/// What a guest's first program does here: it prints the file.
const INIT: &str = r#"fn main() {
    println!("motd={}", std::fs::read_to_string("/etc/motd").unwrap());
    loop { std::thread::park() }
}"#;

/// Boots the guest `linux`, emulated, and waits until it has printed what it finds in the file. An
/// error: there is no guest on this machine.
fn boots_with(directory: &Path, content: &str) -> Result<(), String> {
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
    fs::write(directory.join("init.rs"), INIT).unwrap();
    let built = Command::new("rustc")
        .args(["-C", "target-feature=+crt-static", "-C", "strip=symbols"])
        .args(["-o", "init", "init.rs"])
        .current_dir(directory)
        .output();
    if !built.is_ok_and(|built| built.status.success()) {
        return Err("rustc builds no static program".to_owned());
    }
    let upload = "run\nmount /dev/sda1 /\nupload init /init\nchmod 0755 /init";
    fish(directory, &[], upload).unwrap();
    let mut qemu = Command::new("qemu-system-x86_64")
        .args([
            "-accel", "tcg", "-cpu", "max", "-m", "512", "-display", "none",
        ])
        .args(["-nodefaults", "-no-reboot", "-serial", "stdio"])
        .args(["-drive", "if=virtio,format=raw,snapshot=on,file=linux"])
        .args([
            "-append",
            "console=ttyS0 root=LABEL=root init=/init panic=-1",
        ])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("qemu-system-x86_64: {error}"))?;
    // A kernel that gives up ends its QEMU and so its output.
    let mut said = String::new();
    for line in BufReader::new(qemu.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
        said = said + &line + "\n";
        if line.contains("motd=") {
            break;
        }
    }
    qemu.kill().unwrap();
    qemu.wait().unwrap();
    assert!(said.contains(&format!("motd={content}\r\n")), "{said}");
    Ok(())
}

/// The processes that have the text in their command line.
fn processes_with(text: &str) -> usize {
    let lines = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let path = entry.unwrap().path().join("cmdline");
        fs::read_to_string(path).ok()
    });
    lines.filter(|line| line.contains(text)).count()
}

/// guestfish that works on the image, the QEMU that it has started and the process that watches over both;
/// none before QEMU is there, which alone has the image in its command line.
fn appliance_of(image: &str) -> Vec<String> {
    let process = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        let line = fs::read_to_string(path.join("cmdline")).ok()?;
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
        let id = path.file_name()?.to_str()?.to_owned();
        Some((id, parent.to_owned(), line))
    };
    let processes: Vec<_> = fs::read_dir("/proc").unwrap().filter_map(process).collect();
    let is_qemu = |line: &str| line.contains("qemu-system") && line.contains(image);
    let Some((_, guestfish, _)) = processes.iter().find(|(_, _, line)| is_qemu(line)) else {
        return Vec::new();
    };
    let of_it = processes
        .iter()
        .filter(|(id, parent, _)| id == guestfish || parent == guestfish);
    of_it.map(|(id, _, _)| id.clone()).collect()
}

/// Far longer than it takes; a limit only so that a failure ends.
fn wait_for(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{what}");
}

/// The directory that these processes have for their temporary files.
fn temporary_of(appliance: &[String]) -> PathBuf {
    let variable = |id: &String| {
        let environment = fs::read(Path::new("/proc").join(id).join("environ")).ok()?;
        let environment = String::from_utf8(environment).ok()?;
        let value = environment
            .split('\0')
            .find_map(|one| one.strip_prefix("TMPDIR="))?;
        Some(PathBuf::from(value))
    };
    appliance.iter().find_map(variable).unwrap()
}

/// A hook that dies while the appliance has the image leaves no process behind. The directory with its
/// temporary files is told: it may stay until the next one comes.
fn killed_half_way(directory: &Path) -> PathBuf {
    let image = directory.join("linux");
    let image = image.to_str().unwrap();
    let firing = firing(directory, &["linux"], "/etc/issue:late");
    let mut hook = firing.command().process_group(0).spawn().unwrap();
    wait_for("no appliance", || appliance_of(image).len() >= 3);
    let appliance = appliance_of(image);
    let temporary = temporary_of(&appliance);
    assert!(temporary.is_dir(), "{}", temporary.display());
    killpg(
        Pid::from_raw(i32::try_from(hook.id()).unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    hook.wait().unwrap();
    let is_gone = |id: &String| {
        let line = fs::read(Path::new("/proc").join(id).join("cmdline"));
        line.unwrap_or_default().is_empty()
    };
    wait_for("an appliance is left", || {
        processes_with(image) == 0 && appliance.iter().all(is_gone)
    });
    temporary
}
