// SPDX-License-Identifier: GPL-2.0-or-later

//! The virtual sizes of volumes, as qemu-img sees them.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use vdsm_hooks::storage::survey::{Image, Remark};
use vdsm_hooks::{Error, Result, cmd};

use super::progress::Progress;

/// The volumes of one domain.
pub(super) struct Volumes {
    pub(super) directory: PathBuf,
    pub(super) images: Vec<Image>,
    /// What came out.
    pub(super) remarks: Mutex<Vec<Remark>>,
    /// The storage has stopped to answer.
    silent: AtomicBool,
}

impl Volumes {
    pub(super) fn new(directory: PathBuf, images: Vec<Image>) -> Volumes {
        Volumes {
            directory,
            images,
            remarks: Mutex::new(Vec::new()),
            silent: AtomicBool::new(false),
        }
    }

    fn remark(&self, about: &str, problem: String) {
        let remark = Remark {
            about: about.to_owned(),
            problem,
            remedy: None,
        };
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        remarks.push(remark);
    }

    fn compare(&self, image: &Image, timeout: Duration) {
        if self.silent.load(Ordering::Relaxed) {
            return;
        }
        match virtual_size(&self.directory.join(&image.name), image.qcow2, timeout) {
            Ok(size) if size == image.capacity => {}
            Ok(size) => self.remark(
                &image.name,
                format!("virtual size {size}, but its .meta says {}", image.capacity),
            ),
            Err(error) => {
                let text = error.to_string();
                // One that waits is enough to know.
                if text.contains("gave up") && self.silent.swap(true, Ordering::Relaxed) {
                    return;
                }
                self.remark(&image.name, text);
            }
        }
    }
}

/// Compares the sizes of all volumes, as many at the same time as there are processors. The storage
/// of one domain that has stopped to answer holds up one of them at most `timeout` long.
pub(super) fn compare(domains: &[Volumes], timeout: Duration) {
    let all: Vec<(&Volumes, &Image)> = domains
        .iter()
        .flat_map(|domain| domain.images.iter().map(move |image| (domain, image)))
        .collect();
    let workers = thread::available_parallelism()
        .map_or(2, usize::from)
        .clamp(2, 8);
    let next = AtomicUsize::new(0);
    Progress::show("volumes", all.len(), |progress| {
        thread::scope(|scope| {
            for _ in 0..workers.min(all.len()) {
                scope.spawn(|| {
                    while let Some((domain, image)) = all.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        domain.compare(image, timeout);
                        progress.step();
                    }
                });
            }
        });
    });
}

/// What qemu-img says. The format is named, so that a guest's data is not taken for a header, and
/// no backing file is opened.
fn virtual_size(file: &Path, qcow2: bool, timeout: Duration) -> Result<u64> {
    let format = if qcow2 { "qcow2" } else { "raw" };
    let arguments = ["info", "--force-share", "--output=json", "-f", format, "--"].map(Path::new);
    let arguments = [&arguments[..], &[file]].concat();
    let output = cmd::run("qemu-img", &arguments, timeout)?.success()?;
    let info: Value = serde_json::from_slice(&output.stdout)?;
    let size = info.get("virtual-size").and_then(Value::as_u64);
    size.ok_or_else(|| Error::new("qemu-img: no virtual size in its answer"))
}
