// SPDX-License-Identifier: GPL-2.0-or-later

//! The virtual sizes of volumes, as qemu-img sees them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use vdsm_hooks::finding::Finding;
use vdsm_hooks::host::command;
use vdsm_hooks::storage::engine;
use vdsm_hooks::storage::report::Image;
use vdsm_hooks::storage::slots::Slots;
use vdsm_hooks::{Error, Result};

use super::progress::Progress;

/// Compares the sizes of a domain's volumes with their metadata; what is wrong. `turns` are those
/// of all domains. Storage that has stopped to answer holds this up for `timeout` at most.
pub(super) fn compare(
    directory: &Path,
    images: &[Image],
    timeout: Duration,
    turns: &Slots,
    progress: &Progress,
) -> Vec<Finding> {
    if images.is_empty() {
        return Vec::new();
    }
    if let Err(error) = command::find("qemu-img") {
        let problem = format!("the sizes of the volumes are not looked at, {error}");
        return vec![
            Finding::warning("images", problem)
                .with_advice("install QEMU's tools (qemu-img), or check on a host")
                .with_engine(engine::NOTHING),
        ];
    }
    let next = AtomicUsize::new(0);
    let silent = AtomicBool::new(false);
    let findings = Mutex::new(Vec::new());
    let work = || {
        while let Some(image) = images.get(next.fetch_add(1, Ordering::Relaxed)) {
            if silent.load(Ordering::Relaxed) {
                break;
            }
            let _turn = turns.take(Instant::now() + timeout);
            let end = Instant::now() + timeout;
            let size = virtual_size(&directory.join(&image.name), image.qcow2, timeout);
            progress.volume();
            let (mut problem, advice, shown) = match size {
                Ok(size) if size == image.capacity => continue,
                Ok(size) => (
                    format!("virtual size {size}, but its .meta says {}", image.capacity),
                    "while no VM uses the disk, put the right number of bytes into CAP of the .meta (of sectors of 512 bytes into SIZE)",
                    engine::SIZE,
                ),
                Err(error) => (
                    error.to_string(),
                    "start no VM with it before qemu-img can read it: put the volume back from a backup",
                    engine::DISK,
                ),
            };
            if Instant::now() >= end {
                // One that waits is enough to know.
                if silent.swap(true, Ordering::Relaxed) {
                    break;
                }
                problem += ", so the sizes of the volumes behind it are not looked at";
            }
            let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
            findings.push(
                Finding::warning(&image.name, problem)
                    .with_advice(advice)
                    .with_engine(shown),
            );
        }
    };
    thread::scope(|scope| {
        let workers = at_once().min(images.len());
        // This thread is one of them, should no other be made.
        (1..workers).for_each(|_| drop(thread::Builder::new().spawn_scoped(scope, work)));
        work();
    });
    let mut findings: Vec<Finding> = findings
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    findings.sort_by(|one, other| one.subject.cmp(&other.subject));
    findings
}

/// How many of qemu-img run at the same time: there is work for a processor in each.
pub(super) fn at_once() -> usize {
    thread::available_parallelism().map_or(2, |number| number.get().clamp(2, 8))
}

/// What qemu-img says. The format is named, so that a guest's data is not taken for a header, and
/// no backing file is opened.
fn virtual_size(file: &Path, qcow2: bool, timeout: Duration) -> Result<u64> {
    let format = if qcow2 { "qcow2" } else { "raw" };
    let arguments = ["info", "--force-share", "--output=json", "-f", format, "--"].map(Path::new);
    let arguments = [&arguments[..], &[file]].concat();
    let output = command::run("qemu-img", &arguments, timeout)?.checked()?;
    let info: Value = serde_json::from_slice(&output.stdout)?;
    let size = info.get("virtual-size").and_then(Value::as_u64);
    size.ok_or_else(|| Error::new("qemu-img: no virtual size in its answer"))
}
