// SPDX-License-Identifier: GPL-2.0-or-later

//! What each VM has reserved of the host's huge pages.

use std::path::Path;
use std::time::Duration;

use vdsm_hooks::host::state::{self, Lock, Records};
use vdsm_hooks::host::sudo::Program;
use vdsm_hooks::host::{command, files};
use vdsm_hooks::{Context, Error, Result, helper};

use crate::pool::{HELPER_TIMEOUT, MAX_BYTES, Pool, meminfo};

const HOOK: &str = "hugepages";
const HELPER: Program<'_> = Program::helper(helper!("hugepages-set"));
const LOCK_TIMEOUT: Duration = Duration::from_secs(120);
const MOUNTS: &str = "/proc/self/mounts";

/// The pool of the host's default size, which a VM gets that names none.
///
/// # Errors
/// The kernel has no huge pages.
pub(crate) fn default_pool() -> Result<Pool> {
    let kib =
        meminfo("Hugepagesize").context("the kernel has no huge pages, expected a default size")?;
    Ok(Pool { kib })
}

/// Whether a file system with pages of this size is mounted, for QEMU to take them from.
///
/// # Errors
/// The list of mounts cannot be read.
pub(crate) fn is_mounted(pool: Pool) -> Result<bool> {
    let mounts = files::read_file(Path::new(MOUNTS), MAX_BYTES)?;
    let mounts = String::from_utf8_lossy(&mounts);
    Ok(mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(2);
        let is_huge = fields.next() == Some("hugetlbfs");
        let options = fields.next().unwrap_or_default();
        let size = options
            .split(',')
            .find_map(|it| it.strip_prefix("pagesize="));
        is_huge && size.and_then(kib) == Some(pool.kib)
    }))
}

/// `2M` in KiB: how the kernel shows the size (Linux 6.1 fs/hugetlbfs/inode.c).
fn kib(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(['K', 'M', 'G']);
    let shift = match &size[digits.len()..] {
        "K" => 0,
        "M" => 10,
        "G" => 20,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Reserves pages for a VM, on top of those that are there. False: they are reserved already.
///
/// # Errors
/// There are too few, and the pool is as before; or the helper fails.
pub(crate) fn reserve(vm: &str, pool: Pool, count: u64) -> Result<bool> {
    let reservations = Reservations::open()?;
    if reservations.records.read(vm)?.is_some() {
        return Ok(false);
    }
    let before = pool.count()?;
    let kib = pool.kib;
    // First, so that whoever comes after a crash finds out.
    reservations
        .records
        .write(vm, &format!("{kib} {count} {before}\n"))?;
    let gained = reservations.gain(pool, before, count);
    let reserved =
        gained.and_then(|()| reservations.records.write(vm, &format!("{kib} {count}\n")));
    if reserved.is_err() {
        // A helper that did not end in time still has the lock: it is waited for.
        drop(reservations);
        if let Err(error) = Reservations::open() {
            log::warn!("the host keeps up to {count} pages too many: {error}");
        }
    }
    reserved.map(|()| true)
}

/// Gives back what was reserved for a VM, once.
///
/// # Errors
/// The record is broken, or the helper fails; the next one who reserves or releases tries again.
pub(crate) fn release(vm: &str) -> Result {
    let reservations = Reservations::open()?;
    let Some(Record { pool, count, .. }) = reservations.for_vm(vm)? else {
        return Ok(());
    };
    let end = pool.count()?.saturating_sub(count);
    let record = format!("{} {count} {end}\n", pool.kib);
    reservations.records.write(vm, &record)?;
    reservations.bring_down(vm, pool, end)
}

/// A VM's record: `KIB COUNT`. With a third number the pool is just being brought down to that, or
/// was up from there when its hook died.
struct Record {
    pool: Pool,
    count: u64,
    down_to: Option<u64>,
}

impl Record {
    fn parse(text: &str) -> Option<Record> {
        let numbers: Option<Vec<u64>> = text.split_whitespace().map(|it| it.parse().ok()).collect();
        let (kib, count, down_to) = match numbers?[..] {
            [kib, count] => (kib, count, None),
            [kib, count, end] => (kib, count, Some(end)),
            _ => return None,
        };
        let pool = Pool { kib };
        Some(Record {
            pool,
            count,
            down_to,
        })
    }
}

/// The records, while nobody else has them.
struct Reservations {
    lock: Lock,
    records: Records,
}

impl Reservations {
    /// Without the records of hooks that died half way: what they began is brought to its end.
    fn open() -> Result<Reservations> {
        let lock = state::lock(HOOK, LOCK_TIMEOUT)?;
        let records = Records::for_hook(HOOK)?;
        let reservations = Reservations { lock, records };
        for vm in reservations.records.names()? {
            // One that is broken is in nobody's way but its own VM's.
            let Ok(Some(Record { pool, down_to, .. })) = reservations.for_vm(&vm) else {
                continue;
            };
            if let Some(end) = down_to {
                reservations.bring_down(&vm, pool, end)?;
            }
        }
        Ok(reservations)
    }

    fn for_vm(&self, vm: &str) -> Result<Option<Record>> {
        let Some(text) = self.records.read(vm)? else {
            return Ok(None);
        };
        let record = Record::parse(&text).ok_or_else(|| Error::new("broken record"));
        record.context(vm).map(Some)
    }

    fn gain(&self, pool: Pool, before: u64, wanted: u64) -> Result {
        self.set(pool, before.saturating_add(wanted))?;
        let gained = pool.count()?.saturating_sub(before);
        if gained < wanted {
            return Err(Error::new(format!(
                "only {gained} of {wanted} pages available"
            )));
        }
        Ok(())
    }

    fn bring_down(&self, vm: &str, pool: Pool, end: u64) -> Result {
        if pool.count()? > end {
            self.set(pool, end)?;
        }
        self.records.remove(vm)
    }

    fn set(&self, pool: Pool, count: u64) -> Result {
        let words = [pool.kib.to_string(), count.to_string()];
        let ended = HELPER.run_under(&self.lock, &words, HELPER_TIMEOUT);
        let ended = ended.and_then(command::Output::checked);
        ended.map(drop).context("cannot set page count")
    }
}
