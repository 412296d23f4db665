// SPDX-License-Identifier: GPL-2.0-or-later

//! The hook scratchpad where the host fails it: every step in turn, SIGKILL at every step, a disk
//! that was made again by somebody else, storage that is dead.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

use crate::{domains, support};

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use domains::{DeadMount, assert_nobody_works_on};
use support::steps::Step;
use support::{Firing, Outcome, VM_ID, is_root, not_run, steps};
use tempfile::TempDir;

const OTHER_VM: &str = "0e6b4d17-93f2-4c5a-a8d0-71c2f59e3b84";
const IMAGES: &str = "/var/lib/libvirt/images";
const DOMAIN: &[u8] = b"<domain><devices/></domain>\n";
/// Shows a directory as `/var/lib`, on a host without VDSM and without lists of what is allowed.
const SHOW: &str = "mount --rbind \"$1\" /var/lib
mount -t tmpfs tmpfs /run
[ ! -d /etc/vdsm-hooks ] || mount -t tmpfs tmpfs /etc/vdsm-hooks
shift; exec \"$@\"";
/// A directory that the hook sees as `/var/lib`, with a file of somebody else among the images.
struct Host(TempDir);

impl Host {
    fn new() -> Host {
        let host = Host(tempfile::tempdir().unwrap());
        fs::set_permissions(host.0.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(host.image("")).unwrap();
        host
    }

    fn image(&self, name: &str) -> PathBuf {
        self.0.path().join("libvirt/images").join(name)
    }

    fn fire(&self, event: &str, vm: &str, value: &str, wrapper: &[&str]) -> Outcome {
        let directory = self.0.path().to_str().unwrap();
        let show = ["unshare", "--mount", "sh", "-ec", SHOW, "sh", directory];
        Firing::new("scratchpad", event, DOMAIN)
            .variable("vmId", vm)
            .variable("scratchpad", value)
            .inside(&[&show, wrapper].concat())
            .run()
    }

    fn images(&self) -> Vec<String> {
        names(&self.image(""))
    }

    fn records(&self) -> Vec<String> {
        names(&self.record(""))
    }

    fn record(&self, vm: &str) -> PathBuf {
        self.0.path().join("vdsm/hooks/scratchpad").join(vm)
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn value(names: &[&str]) -> String {
    let entries = names.iter().map(|name| format!("1M,{IMAGES}/{name}"));
    entries.collect::<Vec<_>>().join(":")
}

/// Hosts where a start with two disks goes wrong at every step in turn.
fn at_every_step(what: &str, mut judge: impl FnMut(&str, &Host, &Outcome)) -> usize {
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("log");
    let run = |step: &Step| {
        let host = Host::new();
        fs::write(host.image("victim"), "data").unwrap();
        let mut words = step.strace(&log);
        // The child that does the work, as the hook starts it.
        words.extend(["sh", "-c", "exec \"$0\" __apart $PPID"].map(str::to_owned));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let outcome = host.fire("before_vm_start", VM_ID, &value(&["a", "b"]), &words);
        (log.clone(), host, outcome)
    };
    steps::every(what, run, |step, host, outcome| {
        judge(step, host, outcome);
        assert_eq!(fs::read(host.image("victim")).unwrap(), b"data");
    })
}

#[test]
fn what_was_made_goes_whichever_step_fails() {
    if let Some(reason) = steps::why_not() {
        return not_run("what_was_made_goes_whichever_step_fails", &reason);
    }
    let count = at_every_step("error=EIO", |step, host, outcome| {
        // Of some calls nobody needs the answer.
        if outcome.status == Some(0) {
            assert_eq!(host.images(), ["a", "b", "victim"], "{step}");
            assert_eq!(host.records(), [VM_ID], "{step}");
            return;
        }
        assert!(!outcome.touched, "{step}: {outcome:?}");
        if outcome.stderr.contains("left behind") {
            // Two steps have failed. It is kept book of.
            let outcome = host.fire("after_vm_destroy", VM_ID, &value(&["a", "b"]), &[]);
            assert_eq!(outcome.status, Some(0), "{step}: {outcome:?}");
        }
        assert_eq!(host.images(), ["victim"], "{step}: {outcome:?}");
        assert!(host.records().is_empty(), "{step}: {:?}", host.records());
    });
    assert!(count > 50, "only {count} steps");
}

#[test]
fn after_sigkill_at_any_step_the_next_destroy_cleans_up() {
    if let Some(reason) = steps::why_not() {
        return not_run(
            "after_sigkill_at_any_step_the_next_destroy_cleans_up",
            &reason,
        );
    }
    let count = at_every_step("signal=KILL", |step, host, _| {
        let outcome = host.fire("after_vm_destroy", VM_ID, &value(&["a", "b"]), &[]);
        assert_eq!(outcome.status, Some(0), "{step}: {outcome:?}");
        assert_eq!(host.images(), ["victim"], "{step}");
        assert!(host.records().is_empty(), "{step}: {:?}", host.records());
    });
    assert!(count > 50, "only {count} steps");
}

/// A limit of 0 for the size of files ends the hook where it writes its first record.
#[test]
fn after_an_end_at_its_record_the_vm_starts_again() {
    let test = "after_an_end_at_its_record_the_vm_starts_again";
    if !is_root() {
        return not_run(test, "needs root for a mount");
    }
    let host = Host::new();
    let fire = |event, wrapper| host.fire(event, VM_ID, &value(&["a"]), wrapper);
    let limit = ["sh", "-c", "ulimit -c 0; ulimit -f 0; exec \"$0\""];
    let ended = fire("before_vm_start", &limit);
    assert_eq!(ended.status, Some(2), "{ended:?}");
    assert_eq!(
        ended.stderr,
        "scratchpad: the child that does its work was killed by signal 25\n"
    );
    let again = fire("before_vm_start", &[]);
    assert_eq!(again.status, Some(0), "{again:?}");
    assert_eq!(host.images(), ["a"]);
    assert_eq!(host.records(), [VM_ID], "what was being written is gone");
    assert_eq!(fire("after_vm_destroy", &[]).stderr, "");
    assert!(host.images().is_empty() && host.records().is_empty());
    assert_eq!(fire("before_vm_start", &[]).status, Some(0));
}

/// At moments spread over the whole of a start, as VDSM's user, who cannot do what root can.
#[test]
fn after_sigkill_at_any_moment_the_vm_starts_again() {
    let test = "after_sigkill_at_any_moment_the_vm_starts_again";
    if !is_root() {
        return not_run(test, "needs root for a mount");
    }
    const KILLS: u32 = 60;
    let host = Host::new();
    let vdsm = |path: &Path| chown(path, Some(36), Some(36)).unwrap();
    fs::create_dir(host.0.path().join("vdsm")).unwrap();
    vdsm(&host.0.path().join("vdsm"));
    vdsm(&host.image(""));
    let disks = value(&["a", "b", "c"]);
    let as_vdsm = [
        "setpriv",
        "--reuid",
        "36",
        "--regid",
        "36",
        "--clear-groups",
    ];
    // Where that user can read and write it.
    let programs = tempfile::tempdir().unwrap();
    let open = |path: &Path| fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    open(programs.path());
    let copy = programs.path().join("scratchpad");
    fs::copy(support::program("scratchpad"), &copy).unwrap();
    let fire = |event: &str, wrapper: &[&str]| {
        let directory = host.0.path().to_str().unwrap();
        let show = ["unshare", "--mount", "sh", "-ec", SHOW, "sh", directory];
        let link = programs.path().join(event);
        fs::create_dir_all(&link).unwrap();
        open(&link);
        let link = link.join("50_scratchpad");
        let _ = symlink(&copy, &link);
        let firing = Firing::new("scratchpad", event, DOMAIN)
            .variable("vmId", VM_ID)
            .variable("scratchpad", &disks)
            .inside(&[&show, wrapper, &as_vdsm].concat())
            .through(&link);
        for path in [
            firing.directory(),
            firing.data.parent().unwrap(),
            &firing.data,
        ] {
            vdsm(path);
        }
        firing.run()
    };
    let start = Instant::now();
    let whole = fire("before_vm_start", &[]);
    let whole_time = start.elapsed();
    assert_eq!(whole.status, Some(0), "{whole:?}");
    let mut killed = 0;
    for number in 1..=KILLS {
        assert_eq!(fire("after_vm_destroy", &[]).status, Some(0), "{number}");
        assert_eq!(host.images(), [""; 0], "{number}");
        assert_eq!(host.records(), [""; 0], "{number}");
        let seconds = (whole_time * number / KILLS).as_secs_f64().to_string();
        // In the foreground it waits until the hook is gone.
        let timeout = ["timeout", "--foreground", "-s", "KILL", &seconds];
        let ended = fire("before_vm_start", &timeout);
        killed += u32::from(ended.status != Some(0));
        let again = fire("before_vm_start", &[]);
        assert_eq!(again.status, Some(0), "killed after {seconds} s: {again:?}");
        assert_eq!(host.images(), ["a", "b", "c"], "killed after {seconds} s");
        assert_eq!(host.records(), [VM_ID], "killed after {seconds} s");
    }
    assert!(killed > 0, "none of {KILLS} starts was killed");
}

#[test]
fn a_disk_belongs_to_one_vm() {
    let test = "a_disk_belongs_to_one_vm";
    if !is_root() {
        return not_run(test, "needs root for a mount");
    }
    let host = Host::new();
    let fire = |event, vm| host.fire(event, vm, &value(&["a"]), &[]);
    assert_eq!(fire("before_vm_start", VM_ID).status, Some(0));
    let refused = fire("before_vm_start", OTHER_VM);
    assert_eq!(refused.status, Some(2), "{refused:?}");
    assert_eq!(fire("after_vm_destroy", OTHER_VM).status, Some(0));
    assert_eq!(host.images(), ["a"]);
    assert_eq!(host.records(), [VM_ID]);

    // Somebody removes it, and another VM gets what may be the same inode again.
    fs::remove_file(host.image("a")).unwrap();
    assert_eq!(fire("before_vm_start", OTHER_VM).status, Some(0));
    let warned = fire("after_vm_destroy", VM_ID);
    assert!(
        warned.stderr.contains("another file is there now"),
        "{warned:?}"
    );
    assert_eq!(host.images(), ["a"]);
    assert_eq!(fire("after_vm_destroy", OTHER_VM).stderr, "");
    assert!(host.images().is_empty());
    assert!(host.records().is_empty());
}

#[test]
fn what_a_crash_of_the_host_left_goes_at_the_next_start() {
    let test = "what_a_crash_of_the_host_left_goes_at_the_next_start";
    if !is_root() {
        return not_run(test, "needs root for a mount");
    }
    let host = Host::new();
    let fire = |event| host.fire(event, VM_ID, &value(&["a", "b"]), &[]);
    assert_eq!(fire("before_vm_start").status, Some(0));
    fs::write(host.image("a"), "old data").unwrap();
    let again = fire("before_vm_start");
    assert_eq!(again.status, Some(0), "{again:?}");
    assert_eq!(fs::read(host.image("a")).unwrap(), vec![0; 1 << 20]);
    assert_eq!(fire("after_vm_destroy").stderr, "");
    assert!(host.images().is_empty());
}

/// Changes one of the numbers that the record has of the VM's only file.
fn change_record(host: &Host, column: usize, change: impl Fn(u128) -> u128) {
    let record = host.record(VM_ID);
    let text = fs::read_to_string(&record).unwrap();
    // The line before is of the file under its first name.
    let lines = text.lines().map(|line| {
        let mut words: Vec<String> = line.splitn(4, ' ').map(str::to_owned).collect();
        if words[1] != "0" {
            words[column] = change(words[column].parse().unwrap()).to_string();
        }
        words.join(" ") + "\n"
    });
    let new: String = lines.collect();
    assert_ne!(new, text);
    fs::write(&record, new).unwrap();
}

/// Devices get their numbers in the order in which they are mounted.
#[test]
fn after_a_boot_that_numbers_the_devices_anew_the_vm_starts_again() {
    let test = "after_a_boot_that_numbers_the_devices_anew_the_vm_starts_again";
    if !is_root() {
        return not_run(test, "needs root for a mount");
    }
    let host = Host::new();
    let fire = |event| host.fire(event, VM_ID, &value(&["a"]), &[]);
    assert_eq!(fire("before_vm_start").status, Some(0));
    let born = fs::metadata(host.image("a")).unwrap().created();
    if born.is_err() {
        return not_run(test, "the file system does not tell when a file was made");
    }
    for event in ["before_vm_start", "after_vm_destroy"] {
        change_record(&host, 0, |device| device + 1);
        let again = fire(event);
        assert_eq!((again.status, &*again.stderr), (Some(0), ""), "{event}");
    }
    assert!(host.images().is_empty() && host.records().is_empty());
}

#[test]
fn what_may_be_the_disk_from_before_a_boot_is_kept_book_of() {
    let test = "what_may_be_the_disk_from_before_a_boot_is_kept_book_of";
    if !is_root() {
        return not_run(test, "needs root for a mount");
    }
    let host = Host::new();
    let fire = |event| host.fire(event, VM_ID, &value(&["a"]), &[]);
    assert_eq!(fire("before_vm_start").status, Some(0));
    change_record(&host, 0, |device| device + 1);
    // As on a file system that does not tell it.
    change_record(&host, 2, |_| 0);
    for (event, status) in [("before_vm_start", 2), ("after_vm_destroy", 1)] {
        let refused = fire(event);
        assert_eq!(refused.status, Some(status), "{refused:?}");
        assert!(refused.stderr.contains("delete it"), "{refused:?}");
        assert_eq!(host.images(), ["a"]);
        assert_eq!(host.records(), [VM_ID]);
    }
    fs::remove_file(host.image("a")).unwrap();
    assert_eq!(fire("before_vm_start").status, Some(0));
    assert_eq!(fire("after_vm_destroy").stderr, "");
    assert!(host.images().is_empty() && host.records().is_empty());
}

/// A name is on the disk when its directory is.
#[test]
fn the_record_is_on_the_disk_before_the_file_is_made() {
    let test = "the_record_is_on_the_disk_before_the_file_is_made";
    if let Some(reason) = steps::why_not() {
        return not_run(test, &reason);
    }
    let host = Host::new();
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("log");
    let strace = [
        "strace",
        "-y",
        "-o",
        log.to_str().unwrap(),
        "-e",
        "trace=fsync,rename,renameat,renameat2,openat",
        // The child that does the work, as the hook starts it.
        "sh",
        "-c",
        "exec \"$0\" __apart $PPID",
    ];
    let outcome = host.fire("before_vm_start", VM_ID, &value(&["a"]), &strace);
    assert_eq!(outcome.status, Some(0), "{outcome:?}");
    let log = fs::read_to_string(&log).unwrap();
    let calls: Vec<&str> = log.lines().collect();
    let first = |what: &dyn Fn(&str) -> bool| calls.iter().position(|call| what(call));
    let synced = |directory: &str| {
        let call = format!("<{directory}>");
        first(&|line| line.starts_with("fsync(") && line.contains(&call))
    };
    let records = "/var/lib/vdsm/hooks/scratchpad";
    let named = first(&|call| call.starts_with("rename") && call.contains(VM_ID)).expect(&log);
    let made = first(&|call| call.contains("\".a.") && call.contains("O_CREAT")).expect(&log);
    for directory in ["/var/lib", "/var/lib/vdsm", "/var/lib/vdsm/hooks"] {
        assert!(synced(directory).expect(&log) < named, "{log}");
    }
    let durable = synced(records).expect(&log);
    assert!(named < durable && durable < made, "{log}");
}

#[test]
fn dead_storage_does_not_hold_up_a_vm() {
    let test = "dead_storage_does_not_hold_up_a_vm";
    if !is_root() {
        return not_run(test, "needs root for a mount");
    }
    let host = Host::new();
    let dead = host.image("dead");
    fs::create_dir(&dead).unwrap();
    let both = value(&["alive", "dead/b"]);
    let made = host.fire("before_vm_start", VM_ID, &both, &[]);
    assert_eq!(made.status, Some(0), "{made:?}");
    let mount = match DeadMount::on(&dead) {
        Ok(mount) => mount,
        Err(reason) => return not_run(test, &reason),
    };
    // Side by side, because each of them waits.
    thread::scope(|scope| {
        for (event, vm, status) in [
            ("before_vm_start", OTHER_VM, 2),
            ("after_vm_destroy", VM_ID, 1),
        ] {
            let host = &host;
            scope.spawn(move || {
                let outcome = host.fire(event, vm, &value(&["dead/b"]), &[]);
                assert_eq!(outcome.status, Some(status), "{outcome:?}");
                let silent = "dead/b: its storage does not answer within 10 seconds";
                assert!(outcome.stderr.contains(silent), "{outcome:?}");
            });
        }
    });
    // The child cannot die before somebody lets it go.
    drop(mount);
    assert_nobody_works_on(Path::new(IMAGES));
    assert_eq!(
        host.images(),
        ["dead"],
        "the other disk is deleted all the same"
    );
    assert_eq!(
        host.records(),
        [VM_ID],
        "what could not be deleted is kept book of"
    );
    assert_eq!(
        host.fire("after_vm_destroy", VM_ID, &both, &[]).status,
        Some(0)
    );
    assert!(names(&dead).is_empty());
    assert!(host.records().is_empty());
}
