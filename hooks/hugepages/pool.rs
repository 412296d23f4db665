// SPDX-License-Identifier: GPL-2.0-or-later

//! The host's pools of huge pages, one for each size of page: what the hook and its helper know.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vdsm_hooks::host::files;
use vdsm_hooks::{Context, Error, Result};

/// How long the helper may take: the kernel moves memory out of the way for each page.
pub(crate) const HELPER_TIMEOUT: Duration = Duration::from_secs(60);

const POOLS: &str = "/sys/kernel/mm/hugepages";
const MEMINFO: &str = "/proc/meminfo";
pub(crate) const MAX_BYTES: u64 = 1 << 20;

/// The pool of pages of one size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool {
    /// The size of a page.
    pub(crate) kib: u64,
}

impl Pool {
    /// The kernel's file with the number of pages (Linux 6.1
    /// Documentation/admin-guide/mm/hugetlbpage.rst).
    pub(crate) fn file(self) -> PathBuf {
        Path::new(POOLS)
            .join(format!("hugepages-{}kB", self.kib))
            .join("nr_hugepages")
    }

    /// How many pages there are, in use or not.
    ///
    /// # Errors
    /// There is no such pool.
    pub(crate) fn count(self) -> Result<u64> {
        let path = self.file();
        let text = String::from_utf8(files::read_file(&path, 64)?).unwrap_or_default();
        let number = text.trim().parse();
        number
            .map_err(|_| Error::new("expected a number"))
            .context(path.display())
    }
}

/// The memory of the host, in KiB.
///
/// # Errors
/// The kernel does not say.
pub(crate) fn host_memory() -> Result<u64> {
    meminfo("MemTotal")
}

/// A value of the kernel's list, in KiB.
///
/// # Errors
/// The kernel does not say.
pub(crate) fn meminfo(field: &str) -> Result<u64> {
    let text = files::read_file(Path::new(MEMINFO), MAX_BYTES)?;
    let text = String::from_utf8_lossy(&text);
    let found = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name == field).then(|| value.trim().strip_suffix(" kB")?.parse().ok())?
    });
    found.ok_or_else(|| Error::new(format!("{MEMINFO}: no {field}")))
}
