// SPDX-License-Identifier: GPL-2.0-or-later

//! The host's pools of huge pages, one for each size of page.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::{Context, Error, Result, host};

const POOLS: &str = "/sys/kernel/mm/hugepages";
const MEMINFO: &str = "/proc/meminfo";
const MOUNTS: &str = "/proc/self/mounts";
const LARGEST: u64 = 1 << 20;

/// The pool of pages of one size.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// The size of a page.
    pub kib: u64,
}

impl Pool {
    /// The pool of the host's default size, which a VM gets that names none.
    ///
    /// # Errors
    /// The kernel has no huge pages.
    pub fn default_size() -> Result<Pool> {
        let kib = meminfo("Hugepagesize")
            .context("the kernel has no huge pages, expected a default size")?;
        Ok(Pool { kib })
    }

    fn file(self) -> PathBuf {
        Path::new(POOLS)
            .join(format!("hugepages-{}kB", self.kib))
            .join("nr_hugepages")
    }

    /// How many pages there are, in use or not.
    ///
    /// # Errors
    /// There is no such pool.
    pub fn count(self) -> Result<u64> {
        let path = self.file();
        let text = String::from_utf8(host::read_file(&path, 64)?).unwrap_or_default();
        let number = text.trim().parse();
        number
            .map_err(|_| Error::new("expected a number"))
            .context(path.display())
    }

    /// Asks the kernel for this many pages, as root. It may find fewer: [`Pool::count`] tells.
    ///
    /// # Errors
    /// There is no such pool, or the kernel refuses.
    pub fn set(self, count: u64) -> Result {
        let path = self.file();
        // A file that is not there is not made.
        let mut file = fs::File::options()
            .write(true)
            .truncate(true)
            .open(&path)
            .context(path.display())?;
        file.write_all(count.to_string().as_bytes())
            .context(path.display())
    }

    /// Whether a file system with pages of this size is mounted, for QEMU to take them from.
    ///
    /// # Errors
    /// The list of mounts cannot be read.
    pub fn is_mounted(self) -> Result<bool> {
        let mounts = host::read_file(Path::new(MOUNTS), LARGEST)?;
        let mounts = String::from_utf8_lossy(&mounts);
        Ok(mounts.lines().any(|line| {
            let mut fields = line.split(' ').skip(2);
            let is_huge = fields.next() == Some("hugetlbfs");
            let options = fields.next().unwrap_or_default();
            let size = options
                .split(',')
                .find_map(|it| it.strip_prefix("pagesize="));
            is_huge && size.and_then(kib) == Some(self.kib)
        }))
    }
}

/// `2M` in KiB.
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

/// The memory of the host, in KiB.
///
/// # Errors
/// The kernel does not say.
pub fn host_memory() -> Result<u64> {
    meminfo("MemTotal")
}

fn meminfo(field: &str) -> Result<u64> {
    let text = host::read_file(Path::new(MEMINFO), LARGEST)?;
    let text = String::from_utf8_lossy(&text);
    let found = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name == field).then(|| value.trim().strip_suffix(" kB")?.parse().ok())?
    });
    found.ok_or_else(|| Error::new(format!("{MEMINFO}: no {field}")))
}
