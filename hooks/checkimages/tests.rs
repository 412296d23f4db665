// SPDX-License-Identifier: GPL-2.0-or-later

//! checkimages with the real qemu-img: whole, leaking and damaged images, in files and on a block
//! device, and images that cannot be checked in time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::{domains, support};

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use domains::{DeadMount, assert_nobody_works_on, processes};
use support::{Firing, Outcome, is_root, not_run};
use tempfile::TempDir;

const CLUSTER: u64 = 65536;

/// Images of each kind in a directory of their own.
struct Images(TempDir);

impl Images {
    /// The reason, where this machine cannot make them.
    fn new() -> Result<Images, String> {
        let images = Images(tempfile::tempdir().unwrap());
        let mode = Permissions::from_mode(0o755);
        fs::set_permissions(images.0.path(), mode).unwrap();
        let good = images.path("good");
        let good = good.to_str().unwrap();
        run("qemu-img", &["create", "-q", "-f", "qcow2", good, "64M"])?;
        run("qemu-io", &["-f", "qcow2", "-c", "write -q 0 64k", good])?;
        for kind in ["leaking", "corrupt"] {
            fs::copy(good, images.path(kind)).unwrap();
        }
        leak(&images.path("leaking"));
        corrupt(&images.path("corrupt"));
        Ok(images)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn fire(&self, value: &str, names: &[&str], wrapper: &[&str]) -> Outcome {
        let disks = names.iter().map(|name| disk("file", &self.path(name)));
        fire(value, &disks.collect::<String>(), wrapper)
    }

    /// The message with the directory left out.
    fn says(&self, outcome: &Outcome) -> String {
        let directory = format!("{}/", self.0.path().display());
        outcome.stderr.replace(&directory, "")
    }
}

fn fire(value: &str, disks: &str, wrapper: &[&str]) -> Outcome {
    let document = format!("<domain><devices>{disks}</devices></domain>\n");
    let outcome = Firing::new("checkimages", "before_vm_start", document.as_bytes())
        .variable("checkimages", value)
        .inside(wrapper)
        .run();
    assert!(!outcome.touched, "{outcome:?}");
    outcome
}

fn disk(kind: &str, path: &Path) -> String {
    let attribute = if kind == "file" { "file" } else { "dev" };
    let path = path.display();
    format!(
        "<disk type='{kind}' device='disk'><driver type='qcow2'/><source {attribute}='{path}'/></disk>"
    )
}

fn run(program: &str, arguments: &[&str]) -> Result<Output, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    assert!(output.status.success(), "{program}: {output:?}");
    Ok(output)
}

fn number(file: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at).unwrap();
    u64::from_be_bytes(bytes)
}

/// A cluster more, which nothing refers to, but which is counted as used.
fn leak(image: &Path) {
    let file = File::options().read(true).write(true).open(image).unwrap();
    let clusters = file.metadata().unwrap().len().div_ceil(CLUSTER);
    file.set_len((clusters + 1) * CLUSTER).unwrap();
    let table = number(&file, 48);
    let counts = number(&file, table);
    file.write_all_at(&[0, 1], counts + 2 * clusters).unwrap();
}

/// The first entry of the first L2 table leads to no cluster.
fn corrupt(image: &Path) {
    let file = File::options().read(true).write(true).open(image).unwrap();
    let l2 = number(&file, number(&file, 40)) & 0x00ff_ffff_ffff_fe00;
    let nonsense = (1u64 << 63) | 0x1200;
    file.write_all_at(&nonsense.to_be_bytes(), l2).unwrap();
}

#[test]
fn damage_is_told_from_leaks() {
    let images = match Images::new() {
        Ok(images) => images,
        Err(reason) => return not_run("damage_is_told_from_leaks", &reason),
    };
    // That they are what they are made for.
    for (name, status) in [("good", 0), ("leaking", 3), ("corrupt", 2)] {
        let check = Command::new("qemu-img")
            .args(["check", "-f", "qcow2"])
            .arg(images.path(name))
            .output();
        assert_eq!(check.unwrap().status.code(), Some(status), "{name}");
    }
    let good = images.fire("true", &["good", "leaking", "good"], &[]);
    assert_eq!(good.status, Some(0), "{good:?}");
    assert_eq!(
        images.says(&good),
        "checkimages: good: no errors\n\
         checkimages: warning: leaking: 1 leaked clusters, a waste of space but no harm to data; \
         'qemu-img check -r leaks' frees them while the VM is down\n\
         checkimages: good: no errors\n"
    );
    let before = fs::read(images.path("corrupt")).unwrap();
    let corrupt = images.fire("true,timeout:60", &["corrupt", "good"], &[]);
    assert_eq!(corrupt.status, Some(2), "{corrupt:?}");
    let says = images.says(&corrupt);
    let start = "checkimages: corrupt: the image is corrupted: qemu-img: exit status 2: ";
    assert!(says.starts_with(start), "{says}");
    assert_eq!(says.lines().count(), 1, "{says}");
    assert_eq!(fs::read(images.path("corrupt")).unwrap(), before);

    fs::write(images.path("raw"), "not qcow2").unwrap();
    let raw = images.fire("true", &["raw"], &[]);
    assert_eq!(raw.status, Some(2), "{raw:?}");
    let says = images.says(&raw);
    let start = "checkimages: raw: the check did not complete: qemu-img: exit status 1: ";
    assert!(says.starts_with(start), "{says}");
}

#[test]
fn an_image_on_a_block_device() {
    let test = "an_image_on_a_block_device";
    if !is_root() {
        return not_run(test, "needs root for a loop device");
    }
    let images = match Images::new() {
        Ok(images) => images,
        Err(reason) => return not_run(test, &reason),
    };
    for (name, status) in [("good", 0), ("corrupt", 2)] {
        let attached = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(images.path(name))
            .output();
        let attached = match attached {
            Ok(output) if output.status.success() => output.stdout,
            other => return not_run(test, &format!("losetup: {other:?}")),
        };
        let device = String::from_utf8(attached).unwrap();
        let device = device.trim();
        let outcome = fire("true", &disk("block", Path::new(device)), &[]);
        run("losetup", &["--detach", device]).unwrap();
        assert_eq!(outcome.status, Some(status), "{outcome:?}");
        assert!(outcome.stderr.contains(device), "{outcome:?}");
    }
}

#[test]
fn an_image_that_the_hook_may_not_read() {
    let test = "an_image_that_the_hook_may_not_read";
    if !is_root() {
        return not_run(test, "needs root to give a file away");
    }
    let images = match Images::new() {
        Ok(images) => images,
        Err(reason) => return not_run(test, &reason),
    };
    fs::set_permissions(images.path("good"), Permissions::from_mode(0o600)).unwrap();
    chown(images.path("good"), Some(36), Some(36)).unwrap();
    // The document is root's, so this is root without root's access to everything.
    let without_access = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];
    let outcome = images.fire("true", &["good"], &without_access);
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    assert_eq!(
        images.says(&outcome),
        "checkimages: good: Permission denied (os error 13)\n"
    );
}

#[test]
fn dead_storage_stops_the_start_in_time() {
    let test = "dead_storage_stops_the_start_in_time";
    if !is_root() {
        return not_run(test, "needs root for a mount");
    }
    let directory = tempfile::tempdir().unwrap();
    let mount = match DeadMount::on(directory.path()) {
        Ok(mount) => mount,
        Err(reason) => return not_run(test, &reason),
    };
    let image = directory.path().join("a");
    let outcome = fire("true,timeout:0.5", &disk("file", &image), &[]);
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    let says = format!(
        "checkimages: {}: not checked within 0.5 seconds; checkimages=true,timeout:2 allows more\n",
        image.display()
    );
    assert_eq!(outcome.stderr, says);
    drop(mount);
    assert_nobody_works_on(directory.path());
}

#[test]
fn a_child_that_dies_is_told_of() {
    let test = "a_child_that_dies_is_told_of";
    if !is_root() {
        return not_run(test, "needs root for a mount");
    }
    let directory = tempfile::tempdir().unwrap();
    let mount = match DeadMount::on(directory.path()) {
        Ok(mount) => mount,
        Err(reason) => return not_run(test, &reason),
    };
    let image = directory.path().join("a");
    let disk = disk("file", &image);
    let outcome = thread::scope(|scope| {
        let fired = scope.spawn(|| fire("true,timeout:60", &disk, &[]));
        while processes(&image).is_empty() && !fired.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
        for (number, _) in processes(&image) {
            run("kill", &["-KILL", &number]).unwrap();
        }
        // It can die only now.
        drop(mount);
        fired.join().unwrap()
    });
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    let says = format!(
        "checkimages: {}: the worker process died, signal: 9 (SIGKILL)\n",
        image.display()
    );
    assert_eq!(outcome.stderr, says);
}

#[test]
fn no_qemu_img_outlives_its_limit() {
    let test = "no_qemu_img_outlives_its_limit";
    let images = match Images::new() {
        Ok(images) => images,
        Err(reason) => return not_run(test, &reason),
    };
    let outcome = images.fire("true,timeout:0.001", &["good"], &[]);
    assert_eq!(outcome.status, Some(2), "{outcome:?}");
    assert_eq!(
        images.says(&outcome),
        "checkimages: good: not checked within 0.001 seconds; checkimages=true,timeout:1 allows more\n"
    );
    assert_nobody_works_on(&images.path("good"));
}
