// SPDX-License-Identifier: GPL-2.0-or-later

//! VMs whose disks lie in a storage domain, on a host of their own, for tests with guestfish; and
//! what there is to be seen of such an image.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::{Whence, lseek};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use tempfile::TempDir;

use super::appliance::{Appliance, Shared, Sharer, device, path};
use super::host::{Facts, Host};
use super::{Firing, VM_ID, host, program, root};

pub const MIB: u64 = 1 << 20;
pub const DOMAIN: &str = "1b6f8a52-3d0e-4c7f-9a41-7e2d5c90b3f6";
const MOUNT: &str = "/rhev/data-center/mnt/nas.example.com:_data";
const VDSM: u32 = 36;
/// Where libguestfs may keep VDSM's appliance, and hooks what they have to themselves meanwhile.
const PLACES: [&str; 2] = ["/var/tmp", "/var/lib/vdsm/hooks/libguestfs"];
const CACHE: &str = ".guestfs-36";
/// Where a VM finds the appliance that it shares.
const MEETING: &str = "/.test/meeting";
/// What is written to `/data` of a guest.
pub const FILL: &str = "fill 86 3000000 /data";

/// How a guest's disk is laid out: a name, the MiB, the partition table as `sfdisk` reads it,
/// guestfish's commands, in which `@` is the device and `#` its path for programs in the appliance, and
/// the file system that gets the file `/data`, if any.
pub type Layout = (&'static str, u64, &'static str, &'static str, &'static str);

fn script_of((_, _, _, make, system): &Layout, index: usize) -> String {
    let mut script = (*make).to_owned();
    if !system.is_empty() {
        write!(script, "\nmount {system} /\n{FILL}\numount /").unwrap();
    }
    on_drive(&script, index)
}

/// Makes an image with a boot loader and a partition table, which takes the appliance ten times as
/// long.
fn partitioned(image: &Path, (_, mib, table, _, _): &Layout) {
    let file = File::create(image).unwrap();
    file.set_len(mib * MIB).unwrap();
    for (offset, length) in BOOT {
        file.write_all_at(&vec![0x90; length], offset).unwrap();
    }
    if table.is_empty() {
        return;
    }
    let mut child = Command::new("sfdisk")
        .args(["--quiet", "--wipe", "never"])
        .arg(image)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let table = if table.contains("first-lba") {
        (*table).to_owned()
    } else {
        // As parted and libguestfs make it.
        table.replacen("gpt", "gpt\nfirst-lba: 34", 1)
    };
    writeln!(input, "label: {table}").unwrap();
    drop(input);
    assert!(child.wait().unwrap().success(), "{}", image.display());
}

/// A script for the drive with this number.
pub fn on_drive(script: &str, index: usize) -> String {
    script
        .replace('@', &device(index))
        .replace('#', &path(index))
}

pub fn scratch() -> TempDir {
    let directory = TempDir::new_in("/var/tmp").unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    directory
}

pub fn hex(bytes: &[u8]) -> String {
    Sha1::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

/// Runs a program that must succeed; what it prints.
pub fn run(program: &str, arguments: &[&str], directory: &Path) -> String {
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The images of these layouts, or the cause why there are none on this machine. Each part is made in
/// an appliance of its own; `crash` is what that of the last part does in the end, when its host
/// crashes, and `spoil` what is done to the images afterwards. They are kept for the next run.
pub fn images(
    parts: [&[Layout]; 2],
    crash: &str,
    spoil: impl Fn(&Path),
) -> Result<PathBuf, String> {
    static MADE: Mutex<bool> = Mutex::new(true);
    let mut made = MADE.lock().unwrap_or_else(|_| panic!("see above"));
    assert!(*made, "see the first failure: the images cannot be made");
    let mut text = crash.to_owned();
    for (index, layout) in parts.concat().iter().enumerate() {
        write!(text, "{layout:?}{}", script_of(layout, index)).unwrap();
    }
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let images = tmp.join(format!("growdisk-{}", hex(text.as_bytes())));
    if images.exists() {
        return Ok(images);
    }
    if let Err(error) = Command::new("guestfish").arg("--version").output() {
        return Err(format!("guestfish: {error}"));
    }
    *made = false;
    let directory = TempDir::new_in(tmp).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| make(directory.path(), parts[0], ""));
        make(directory.path(), parts[1], crash);
    });
    spoil(directory.path());
    fs::rename(directory.keep(), &images).unwrap();
    *made = true;
    Ok(images)
}

/// Makes images: file systems on this machine where it can, which is faster, and all others in
/// one appliance.
fn make(directory: &Path, layouts: &[Layout], crash: &str) {
    let mut drives = Vec::new();
    for layout in layouts {
        let image = directory.join(layout.0);
        partitioned(&image, layout);
        let is_made = is_made_here(&image, layout);
        if !is_made || crash.contains(&format!("{{{}}}", layout.0)) {
            drives.push((image, layout, is_made));
        }
    }
    let images: Vec<(&Path, &str)> = (drives.iter())
        .map(|(image, ..)| (&**image, "raw"))
        .collect();
    let mut appliance = Appliance::start(&images, true);
    let mut last = crash.to_owned();
    for (index, (_, layout, is_made)) in drives.iter().enumerate() {
        if !is_made {
            appliance.do_all(&script_of(layout, index));
        }
        last = last.replace(&format!("{{{}}}", layout.0), &device(index));
    }
    appliance.do_all(&format!("umount-all\nsync\n{last}\nsync"));
    appliance.crash();
}

/// Whether this machine has done what a layout wants: file systems and swap, and a file on one of them.
fn is_made_here(image: &Path, (_, mib, table, make, system): &Layout) -> bool {
    let plain = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        ["mkfs", kind, place] => Some((kind.to_owned(), place.to_owned())),
        ["mkswap", place] => Some(("swap".to_owned(), place.to_owned())),
        _ => None,
    };
    let Some(steps) = make.lines().map(plain).collect::<Option<Vec<_>>>() else {
        return false;
    };
    for (kind, place) in steps {
        let number = place.strip_prefix('@').unwrap();
        let part = table.lines().find_map(|line| {
            let rest = line.trim().strip_prefix(&format!("x{number} : start="))?;
            let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
            let (start, size) = (numbers.next()?, numbers.find(|text| !text.is_empty())?);
            Some((
                start.parse::<u64>().ok()? * 512,
                size.parse::<u64>().ok()? * 512,
            ))
        });
        let (start, size) = if number.is_empty() {
            (0, mib * MIB)
        } else {
            part.unwrap()
        };
        let Ok(device) = Loop::new(image, start, size) else {
            return false;
        };
        let (program, arguments): (_, &[&str]) = match &*kind {
            "swap" => ("mkswap", &["-q"]),
            "ntfs" => ("mkntfs", &["-Q", "-q", "-F"]),
            "vfat" => ("mkfs.vfat", &["-I"]),
            "xfs" => ("mkfs.xfs", &["-q", "-f"]),
            "btrfs" => ("mkfs.btrfs", &["-q", "-f"]),
            "ext2" => ("mkfs.ext2", &["-q", "-F"]),
            _ => ("mkfs.ext4", &["-q", "-F"]),
        };
        let made = Command::new(program)
            .args(arguments)
            .arg(&device.0)
            .output();
        if !made.is_ok_and(|output| output.status.success()) {
            return false;
        }
        if place == *system && !is_filled(&device.0, &kind) {
            return false;
        }
    }
    true
}

/// Whether a file system on this device has [`FILL`]'s file now.
fn is_filled(device: &str, kind: &str) -> bool {
    let directory = scratch();
    let content = vec![86; 3_000_000];
    let succeeds = |command: &mut Command| {
        let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        ended.is_ok_and(|status| status.success())
    };
    if kind == "ntfs" {
        let file = directory.path().join("data");
        fs::write(&file, content).unwrap();
        return succeeds(
            Command::new("ntfscp")
                .args(["-f", device])
                .arg(file)
                .arg("/data"),
        );
    }
    if !succeeds(
        Command::new("mount")
            .args(["-t", kind, device])
            .arg(directory.path()),
    ) {
        return false;
    }
    fs::write(directory.path().join("data"), content).unwrap();
    succeeds(Command::new("umount").arg(directory.path()))
}

/// A part of an image as a device of this machine.
struct Loop(String);

impl Loop {
    fn new(image: &Path, start: u64, size: u64) -> Result<Loop, String> {
        let output = Command::new("losetup")
            .args(["--find", "--show", "--offset", &start.to_string()])
            .args(["--sizelimit", &size.to_string()])
            .arg(image)
            .output();
        match output {
            Ok(output) if output.status.success() => Ok(Loop(
                String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            )),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

/// Where a boot loader lies: before the table, and in the gap behind it.
const BOOT: [(u64, usize); 2] = [(0, 440), (48 * 512, 512)];

/// Whether it is still there.
pub fn has_boot_code(image: &Path) -> bool {
    let file = File::open(image).unwrap();
    BOOT.iter().all(|(offset, length)| {
        let mut found = vec![0; *length];
        file.read_exact_at(&mut found, *offset).unwrap();
        found.iter().all(|byte| *byte == 0x90)
    })
}

/// SHA-256 of an image's length, its data, and where that lies.
pub fn sum(image: &Path) -> String {
    let file = File::open(image).unwrap();
    let length = file.metadata().unwrap().len();
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    write!(input, "{length} ").unwrap();
    let (mut at, mut block) = (0, vec![0; 1 << 16]);
    // Behind the last data there is no more (ENXIO). Whether zeros are kept as a hole is the host
    // file system's affair.
    while let Ok(data) = lseek(&file, at, Whence::SeekData) {
        at = data >> 16 << 16;
        let offset = u64::try_from(at).unwrap();
        let size = usize::try_from(length - offset).unwrap().min(1 << 16);
        file.read_exact_at(&mut block[..size], offset).unwrap();
        if block[..size].iter().any(|byte| *byte != 0) {
            write!(input, "{at} ").unwrap();
            input.write_all(&block[..size]).unwrap();
        }
        at += 1 << 16;
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A copy of an image with another length.
pub fn copy(from: &Path, to: &Path, mib: u64) {
    let copied = Command::new("cp")
        .args(["--sparse=always", "--reflink=auto"])
        .args([from, to])
        .status();
    assert!(copied.unwrap().success());
    let file = File::options().write(true).open(to).unwrap();
    file.set_len(mib * MIB).unwrap();
}

/// A name of the form of Engine's.
fn uuid(of: &str) -> String {
    let hex = hex(of.as_bytes());
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..32],
    ];
    parts.join("-")
}

/// The appliance of VDSM's user: as root's, which tests of all hooks make, but its own. libguestfs
/// makes it anew where it is older than the machine's packages.
fn cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let made = Path::new("/var/tmp/.guestfs-0");
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("growdisk-guestfs-36");
        let root = "appliance.d/root";
        let age = |of: &Path| fs::metadata(of.join(root)).and_then(|root| root.modified());
        if age(made).is_err() {
            Appliance::start(&[], false).shut_down();
        }
        if age(made).unwrap() != age(&kept).unwrap_or(SystemTime::UNIX_EPOCH) {
            let _ = fs::remove_dir_all(&kept);
            let kept = kept.to_str().unwrap();
            let arguments = ["-a", "--sparse=always", "/var/tmp/.guestfs-0", kept];
            run("cp", &arguments, Path::new("/"));
            run("chown", &["-R", "36:36", kept], Path::new("/"));
        }
        kept
    })
}

fn tool_command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/");
    command
}

/// A VM, its disks, and its host.
pub struct Vm {
    pub case: String,
    pub firing: Firing,
    pub disks: Vec<Disk>,
    /// What lies in place of `/rhev/data-center/mnt/nas.example.com:_data`.
    domain: PathBuf,
    scratch: Option<TempDir>,
    /// What the document has besides.
    pub devices: String,
}

/// One of its disks.
pub struct Disk {
    /// Here.
    pub image: PathBuf,
    /// On the VM's host.
    pub path: String,
    pub volume: String,
    pub format: String,
    is_block: bool,
}

/// The settings of the host file of most VMs: nobody is to be given up on a busy machine.
pub const PATIENT: &str =
    "backend_settings = force_tcg\nprepare_timeout = 3000\nwrite_timeout = 3000\n";

impl Vm {
    /// With disks that are copies of these images, enlarged to so many MiB; a place of all
    /// that may share an appliance.
    pub fn new(case: &str, meeting: &Path, images: &[(&Path, u64)]) -> Vm {
        let domain = scratch();
        let mut vm = Vm::with_domain(case, meeting, images, domain.path());
        vm.scratch = Some(domain);
        vm
    }

    /// The same, with a storage domain in this place.
    pub fn with_domain(case: &str, meeting: &Path, images: &[(&Path, u64)], domain: &Path) -> Vm {
        let mut disks = Vec::new();
        for (number, (image, mib)) in images.iter().enumerate() {
            let (volume, directory) = (
                uuid(&format!("volume {case} {number}")),
                uuid(&format!("image {case} {number}")),
            );
            let place = domain.join(DOMAIN).join("images").join(&directory);
            fs::create_dir_all(&place).unwrap();
            let here = place.join(&volume);
            copy(image, &here, *mib);
            write_meta(&here, "RAW");
            disks.push(Disk {
                image: here,
                path: format!("{MOUNT}/{DOMAIN}/images/{directory}/{volume}"),
                volume,
                format: "raw".to_owned(),
                is_block: false,
            });
        }
        let metadata = domain.join(DOMAIN).join("dom_md/metadata");
        fs::create_dir_all(metadata.parent().unwrap()).unwrap();
        fs::write(metadata, "CLASS=Data\nVERSION=5\n").unwrap();
        let firing = Vm::host(meeting, domain);
        let vm = Vm {
            case: case.to_owned(),
            firing,
            disks,
            domain: domain.to_owned(),
            scratch: None,
            devices: String::new(),
        };
        vm.set_guestfish(json!({}));
        vm.own();
        vm
    }

    fn host(meeting: &Path, domain: &Path) -> Firing {
        let mut host = Host::default();
        let text = |text: &str| host::File::Text(text.to_owned());
        let stand_in = fs::read_to_string(root().join("tests/support/guestfish.py")).unwrap();
        let stand_in = host::File::Facts(Facts {
            text: Some(stand_in),
            mode: Some("0755".to_owned()),
            ..Facts::default()
        });
        host.files = [
            ("/etc/vdsm-hooks/growdisk".to_owned(), text(PATIENT)),
            (format!("/run/vdsm/{VM_ID}/launchflags"), text("0\n")),
            ("/usr/bin/guestfish".to_owned(), stand_in),
            ("/.test/guestfish-calls".to_owned(), text("")),
        ]
        .into();
        let links = [("/etc/os-release", "../usr/lib/os-release")];
        host.links = links.map(|(at, to)| (at.to_owned(), to.to_owned())).into();
        host.dirs = vec!["/var/lib/vdsm".to_owned()];
        let mut firing = Firing::new("growdisk", "before_vm_start", b"")
            .on(&host)
            .showing(domain, MOUNT)
            .showing(meeting, MEETING)
            .inside(&["setpriv", "--reuid=36", "--regid=36", "--clear-groups"]);
        for place in PLACES {
            firing = firing.showing(cache(), &format!("{place}/{CACHE}"));
        }
        // What libguestfs compares its appliance with.
        for place in ["/var/lib/dpkg", "/var/lib/rpm", "/boot"] {
            if Path::new(place).is_dir() {
                firing = firing.showing(Path::new(place), place);
            }
        }
        let real = firing.root().unwrap().at("/.test/guestfish");
        fs::copy("/usr/bin/guestfish", real).unwrap();
        firing
    }

    /// Gives everything that VDSM's user has on a host to it.
    pub fn own(&self) {
        let firing = self.firing.directory().to_str().unwrap();
        let domain = self.domain.to_str().unwrap();
        let calls = self.at("/.test/guestfish-calls");
        let places = ["run", "var/lib/vdsm", ".test"].map(|name| self.at(&format!("/{name}")));
        let places = places.iter().map(|place| place.to_str().unwrap());
        let data = format!("{firing}/data");
        let all: Vec<&str> = places
            .chain([domain, &data, calls.to_str().unwrap()])
            .collect();
        run(
            "chown",
            &[&["-R", "-h", "36:36"], &*all].concat(),
            Path::new("/"),
        );
        chown(firing, Some(VDSM), None).unwrap();
    }

    /// Its host, with another directory in place of `/var/tmp`.
    pub fn with_temporary(mut self, directory: &Path) -> Vm {
        fs::create_dir(directory.join(CACHE)).unwrap();
        for place in PLACES {
            self.firing = self
                .firing
                .showing(directory, place)
                .showing(cache(), &format!("{place}/{CACHE}"));
        }
        self
    }

    /// A place on its host.
    pub fn at(&self, path: &str) -> PathBuf {
        self.firing.root().unwrap().at(path)
    }

    pub fn set_host_file(&self, text: &str) {
        fs::write(self.at("/etc/vdsm-hooks/growdisk"), text).unwrap();
    }

    /// What `guestfish.py` is to do; alone if nothing else is said.
    pub fn set_guestfish(&self, mut settings: Value) {
        settings["case"] = json!(self.case);
        settings["real"] = json!("/.test/guestfish");
        fs::write(self.at("/.test/guestfish.json"), settings.to_string()).unwrap();
    }

    /// From now on the shared appliance has its calls; besides, what `guestfish.py` is to do.
    pub fn share(&self, mut settings: Value) {
        settings["shared"] = json!(Shared::socket(Path::new(MEETING)));
        self.set_guestfish(settings);
    }

    /// The real one, without anybody between it and the hook.
    pub fn use_guestfish_itself(&self) {
        fs::remove_file(self.at("/usr/bin/guestfish")).unwrap();
    }

    /// `guestfish.py` again.
    pub fn put_stand_in(&self) {
        let place = self.at("/usr/bin/guestfish");
        let _ = fs::remove_file(&place);
        fs::copy(root().join("tests/support/guestfish.py"), &place).unwrap();
        fs::set_permissions(&place, Permissions::from_mode(0o755)).unwrap();
    }

    /// A host that has none: what overlayfs takes for a removed file.
    pub fn remove_guestfish(&self) {
        let place = self.at("/usr/bin/guestfish");
        let _ = fs::remove_file(&place);
        mknod(&place, SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
    }

    /// The image as it is handed to the shared appliance.
    pub fn sharer(&self, look: &str) -> Sharer {
        let disk = &self.disks[0];
        Sharer {
            case: self.case.clone(),
            image: disk.image.clone(),
            format: disk.format.clone(),
            root: self.at("/"),
            copy_of: None,
            look: look.to_owned(),
        }
    }

    pub fn image(&self) -> &Path {
        &self.disks[0].image
    }

    /// The first disk becomes a new volume above it, of so many MiB.
    pub fn add_snapshot(&mut self, mib: u64) -> PathBuf {
        let base = self.disks[0].image.clone();
        let disk = &mut self.disks[0];
        let volume = uuid(&format!("leaf {}", self.case));
        let directory = base.parent().unwrap();
        let arguments = [
            "create",
            "-q",
            "-f",
            "qcow2",
            "-F",
            "raw",
            "-b",
            &disk.volume,
        ];
        let size = format!("{mib}M");
        run(
            "qemu-img",
            &[&arguments[..], &[&volume, &size]].concat(),
            directory,
        );
        disk.path = disk.path.replace(&disk.volume, &volume);
        disk.image = directory.join(&volume);
        "qcow2".clone_into(&mut disk.format);
        disk.volume = volume;
        write_meta(&disk.image, "COW");
        self.own();
        base
    }

    /// The first disk's image becomes a qcow2 of the same content.
    pub fn convert(&mut self) {
        let image = self.image().to_str().unwrap().to_owned();
        let raw = format!("{image}.raw");
        fs::rename(&image, &raw).unwrap();
        let arguments = ["convert", "-f", "raw", "-O", "qcow2", &raw, &image];
        run("qemu-img", &arguments, Path::new("/"));
        fs::remove_file(raw).unwrap();
        "qcow2".clone_into(&mut self.disks[0].format);
        write_meta(self.image(), "COW");
        self.own();
    }

    /// The first disk is a volume of a block domain, and this its device here.
    pub fn put_on_block(&mut self, device: &str) {
        let disk = &mut self.disks[0];
        let image = disk.image.parent().unwrap().file_name().unwrap();
        let image = image.to_str().unwrap().to_owned();
        let volume = disk.volume.clone();
        disk.image = PathBuf::from(device);
        disk.path = format!("/rhev/data-center/mnt/blockSD/{DOMAIN}/images/{image}/{volume}");
        disk.is_block = true;
        let links = [
            (
                format!("/rhev/data-center/mnt/blockSD/{DOMAIN}/images/{image}"),
                format!("/run/vdsm/storage/{DOMAIN}/{image}"),
            ),
            (
                format!("/run/vdsm/storage/{DOMAIN}/{image}/{volume}"),
                format!("/dev/{DOMAIN}/{volume}"),
            ),
        ];
        for (link, target) in links {
            let link = self.at(&link);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(target, link).unwrap();
        }
        let node = self.at(&format!("/dev/{DOMAIN}/{volume}"));
        fs::create_dir_all(node.parent().unwrap()).unwrap();
        let number = fs::metadata(device).unwrap().rdev();
        mknod(
            &node,
            SFlag::S_IFBLK,
            Mode::from_bits_truncate(0o660),
            number,
        )
        .unwrap();
        self.own();
        chown(node, Some(VDSM), Some(VDSM)).unwrap();
    }

    /// The elements of its disks.
    pub fn disk_elements(&self) -> String {
        let disks = self.disks.iter().zip("abcdefgh".chars());
        disks
            .map(|(disk, letter)| {
                let format = &disk.format;
                let path = &disk.path;
                let (kind, place) = if disk.is_block {
                    ("block", "dev")
                } else {
                    ("file", "file")
                };
                format!(
                    "<disk type='{kind}' device='disk' snapshot='no'>\
                     <target bus='virtio' dev='vd{letter}'/><source {place}='{path}'/>\
                     <driver name='qemu' type='{format}' cache='none' io='threads'/></disk>"
                )
            })
            .collect()
    }

    pub fn document(&self) -> String {
        let disks = self.disk_elements();
        format!(
            "<domain type='kvm'><name>a</name><uuid>{VM_ID}</uuid><devices>{disks}{}</devices>\
             </domain>\n",
            self.devices
        )
    }

    /// The command of a cold start.
    pub fn command(&self, value: &str) -> Command {
        self.command_on(value, &self.document())
    }

    pub fn command_on(&self, value: &str, document: &str) -> Command {
        fs::write(&self.firing.data, document).unwrap();
        let flags = self.at(&format!("/run/vdsm/{VM_ID}/launchflags"));
        if flags.is_file() {
            fs::write(flags, "0\n").unwrap();
        }
        let mut command = self.firing.command();
        command.env("growdisk", value);
        command
    }

    /// A cold start: its status, and what it says.
    pub fn start(&self, value: &str) -> (Option<i32>, String) {
        let document = self.document();
        let output = self.command_on(value, &document).output().unwrap();
        assert_eq!(output.stdout, b"", "{}", self.case);
        let left = fs::read_to_string(&self.firing.data).unwrap();
        assert_eq!(left, document, "{}: the document", self.case);
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    /// `vdsm-hooks grow-disk` on its first disk, by root.
    pub fn tool(&self, arguments: &[&str]) -> Output {
        self.tool_on(&self.disks[0].path, arguments)
    }

    /// The same with another name for the disk.
    pub fn tool_on(&self, image: &str, arguments: &[&str]) -> Output {
        let words = self.tool_words(image, arguments);
        tool_command(&words).stdin(Stdio::null()).output().unwrap()
    }

    /// [`Vm::tool`] at a terminal of its own, where this is typed when it asks; its status, and all that is
    /// to be seen there.
    pub fn tool_at_terminal(&self, arguments: &[&str], typed: &[u8]) -> (Option<i32>, String) {
        let words = self.tool_words(&self.disks[0].path, arguments);
        let quoted = words
            .iter()
            .map(|word| format!("'{}'", word.replace('\'', "'\\''")));
        // The shell is not to have a say in what becomes of Control-C.
        let line = format!("exec {}", quoted.collect::<Vec<_>>().join(" "));
        let words = ["script", "-q", "-e", "-c", &line, "/dev/null"];
        let mut terminal = tool_command(&words.map(str::to_owned));
        let terminal = terminal.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut terminal = terminal.spawn().unwrap();
        let mut output = terminal.stdout.take().unwrap();
        let (mut said, mut byte) = (Vec::new(), [0]);
        while output.read(&mut byte).unwrap() > 0 {
            said.push(byte[0]);
            if said.ends_with(b"[y/N] ") {
                terminal.stdin.as_mut().unwrap().write_all(typed).unwrap();
            }
        }
        let status = terminal.wait().unwrap();
        (status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    fn tool_words(&self, image: &str, arguments: &[&str]) -> Vec<String> {
        let mut words = self.firing.root().unwrap().wrapper();
        words.push(program("vdsm-hooks").to_str().unwrap().to_owned());
        words.extend(["grow-disk", image].map(str::to_owned));
        words.extend(arguments.iter().map(|&word| word.to_owned()));
        words
    }

    /// The calls of guestfish.
    pub fn calls(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.at("/.test/guestfish-calls")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The journal of its first disk.
    pub fn journal(&self) -> PathBuf {
        let volume = &self.disks[0].volume;
        self.at(&format!("/var/lib/vdsm/hooks/growdisk/{volume}.json"))
    }

    /// What is kept about its first disk until the next boot.
    pub fn seen(&self) -> PathBuf {
        let volume = &self.disks[0].volume;
        self.at(&format!("/run/vdsm/hooks/growdisk/seen/{volume}"))
    }

    /// Its processes that are still there.
    pub fn processes(&self) -> Vec<String> {
        let directory = self.firing.directory().to_str().unwrap();
        let entries = fs::read_dir("/proc").unwrap();
        let all = entries.filter_map(|entry| {
            let process = entry.unwrap().path();
            let mounts = fs::read_to_string(process.join("mountinfo")).ok()?;
            let line = fs::read_to_string(process.join("cmdline")).ok()?;
            mounts
                .contains(directory)
                .then(|| format!("{}: {}", process.display(), line.replace('\0', " ")))
        });
        all.collect()
    }

    /// What a run has left behind besides its records: processes, after some time for those that
    /// were killed, files in the places for them, locks.
    pub fn left_behind(&self) -> Vec<String> {
        for _ in 0..100 {
            if self.processes().is_empty() {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let mut left = self.processes();
        for place in PLACES {
            let entries = fs::read_dir(self.at(place)).unwrap();
            let entries = entries.map(|entry| entry.unwrap());
            left.extend(
                entries
                    .filter(|entry| entry.file_name() != CACHE)
                    .map(|entry| entry.path().display().to_string()),
            );
        }
        if let Ok(locks) = fs::read_dir(self.at("/run/vdsm/hooks/growdisk")) {
            for lock in locks.map(|entry| entry.unwrap().path()) {
                let held = lock.is_file() && {
                    let file = File::options().write(true).open(&lock).unwrap();
                    let flag = nix::fcntl::FlockArg::LockExclusiveNonblock;
                    nix::fcntl::Flock::lock(file, flag).is_err()
                };
                left.extend(held.then(|| format!("{} is locked", lock.display())));
            }
        }
        left
    }
}

/// The metadata of a volume, as VDSM writes them.
fn write_meta(volume: &Path, format: &str) {
    let image = volume.parent().unwrap().file_name().unwrap().to_str();
    let size = fs::metadata(volume).unwrap().size();
    let text = format!(
        "CAP={size}\nCTIME=1600000000\nDESCRIPTION=\nDISKTYPE=DATA\nDOMAIN={DOMAIN}\n\
         FORMAT={format}\nGEN=0\nIMAGE={}\nLEGALITY=LEGAL\n\
         PUUID=00000000-0000-0000-0000-000000000000\nTYPE=SPARSE\nVOLTYPE=LEAF\nEOF\n",
        image.unwrap()
    );
    fs::write(volume.with_extension("meta"), text).unwrap();
}
