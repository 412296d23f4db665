// SPDX-License-Identifier: GPL-2.0-or-later

//! Checks a VM's qcow2 images before it starts, and refuses the start if one is damaged.
//!
//! Event: `before_vm_start`. The images are only read, so a resume is no matter.
//!
//! Property: `checkimages=true` or `true,timeout:SECONDS`. Absent, blank or `false`: nothing happens.
//!
//! Runs `qemu-img check`. A child of this program looks at the images first, which is given up when
//! their storage does not answer.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vdsm_hooks::host::command;
use vdsm_hooks::host::worker::Worker;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::xml::{self, Document};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "checkimages";
const SHORTEST: Duration = Duration::from_secs(10);
/// More would be as good as no limit; the clock cannot count to just any number.
const MAX_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);
const SECONDS_PER_GIB: f64 = 0.02;
/// What `qemu-img check` ends with (qemu-img(1), QEMU 10.0).
const CORRUPT: i32 = 2;
const LEAKS: i32 = 3;

/// The size of an image.
static SIZE: Worker<PathBuf, u64> = Worker::new(|path| size(&path));

fn main() -> ExitCode {
    SIZE.serve().unwrap_or_else(|| hook::run(program!(), run))
}

fn run() -> Result {
    let Some(value) = props::given(PROPERTY)? else {
        return Ok(());
    };
    let Some(limit) = parse(&value)? else {
        return Ok(());
    };
    hook::read(|document| {
        let images = images(document)?;
        images.iter().try_for_each(|path| check(path, limit))
    })
}

/// Each image's own limit, if the value has one; none if nothing is to be checked.
fn parse(value: &str) -> Result<Option<Option<Duration>>> {
    let wrong = || {
        let expected = "expected true, false or true,timeout:SECONDS with more than 0 seconds";
        props::wrong(PROPERTY, value, expected)
    };
    let (word, option) = match value.split_once(',') {
        Some((word, option)) => (word, Some(option)),
        None => (value, None),
    };
    let limit = option.map(|option| {
        let seconds = option.strip_prefix("timeout:").and_then(seconds);
        seconds.ok_or_else(wrong)
    });
    let limit = limit.transpose()?;
    match word {
        "true" => Ok(Some(limit)),
        "false" => Ok(None),
        _ => Err(wrong()),
    }
}

/// Digits, with or without a fraction. Rust's own numbers could be infinite.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let seconds = text.parse::<f64>().ok()?.min(MAX_TIMEOUT.as_secs_f64());
    let limit = Duration::try_from_secs_f64(seconds).ok()?;
    (!limit.is_zero()).then_some(limit)
}

/// The paths of the VM's qcow2 images, in order.
fn images(document: &Document<'_>) -> Result<Vec<String>> {
    domain::root(document)?;
    let mut images = Vec::new();
    for disk in xml::devices(document, "disk") {
        let attr = |child, name| xml::child(disk, child).and_then(|child| xml::attr(child, name));
        let is_image = xml::attr(disk, "device") == Some("disk");
        let attribute = match xml::attr(disk, "type") {
            Some("file") => "file",
            Some("block") => "dev",
            _ => continue,
        };
        if !is_image || attr("driver", "type") != Some("qcow2") {
            continue;
        }
        let path = attr("source", attribute).unwrap_or_default();
        if !path.starts_with('/') {
            return Err(Error::new(format!(
                "a disk's image is {path:?}, expected an absolute path"
            )));
        }
        images.push(path.to_owned());
    }
    Ok(images)
}

fn check(path: &str, limit: Option<Duration>) -> Result {
    let start = Instant::now();
    let too_slow = |given: Duration| {
        let seconds = given.as_secs_f64();
        let more = (seconds * 4.0).ceil();
        Error::new(format!(
            "{path}: not checked within {seconds} seconds; {PROPERTY}=true,timeout:{more} allows more"
        ))
    };
    let timeout = limit.unwrap_or(SHORTEST);
    let size = SIZE
        .ask(&PathBuf::from(path), start + timeout)
        .context(path)?;
    let size = size.ok_or_else(|| too_slow(timeout))?.context(path)?;
    let end = match limit {
        Some(limit) => start + limit,
        None => Instant::now() + default_limit(size),
    };
    let left = end.saturating_duration_since(Instant::now());
    let output = match command::run("qemu-img", &["check", "-f", "qcow2", path], left) {
        Err(_) if Instant::now() >= end => {
            return Err(too_slow(limit.unwrap_or_else(|| default_limit(size))));
        }
        output => output?,
    };
    match output.status.code() {
        Some(0) => hook::report(PROPERTY, &format!("{path}: no errors")),
        Some(LEAKS) => {
            let stdout = String::from_utf8_lossy(&output.stdout);
            log::warn!(
                "{path}: {} leaked clusters, a waste of space but no harm to data; 'qemu-img check -r leaks' frees them while the VM is down",
                leaked(&stdout).unwrap_or("an unknown number of")
            );
        }
        Some(CORRUPT) => {
            let corrupt = "the image is corrupted";
            return output.checked().map(drop).context(corrupt).context(path);
        }
        _ => {
            let failed = "the check did not complete";
            return output.checked().map(drop).context(failed).context(path);
        }
    }
    Ok(())
}

/// How long the check of an image of this many bytes may take.
fn default_limit(size: u64) -> Duration {
    let gib = Duration::from_secs(size >> 30);
    gib.mul_f64(SECONDS_PER_GIB).max(SHORTEST)
}

fn leaked(stdout: &str) -> Option<&str> {
    let line = " leaked clusters were found on the image.";
    stdout.lines().find_map(|text| text.strip_suffix(line))
}

/// The child's work: how much there is to read.
fn size(path: &Path) -> Result<u64> {
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Err(Error::new(
            "expected a regular file or a block device, it is something else",
        ));
    }
    Ok(File::open(path)?.seek(SeekFrom::End(0))?)
}
