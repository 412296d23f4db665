// SPDX-License-Identifier: GPL-2.0-or-later

//! Root helper of the hook hugepages: `hugepages-set KIB COUNT` sets how many huge pages of a size
//! the host has, no more than its memory holds.

use std::fs;
use std::io::Write as _;
use std::process::ExitCode;

use vdsm_hooks::{Context as _, Error, Result, hook, program};

mod pool;

use pool::Pool;

fn main() -> ExitCode {
    hook::run_helper(program!(), pool::HELPER_TIMEOUT, set)
}

fn set(arguments: &[String]) -> Result {
    let [kib, count] = arguments else {
        return Err(Error::new(format!(
            "{} arguments, expected the size of a page in KiB and a number of pages",
            arguments.len()
        )));
    };
    let (pool, count) = (Pool { kib: number(kib)? }, number(count)?);
    // Which also finds out whether there is such a pool.
    let now = pool.count()?;
    let most = pool::host_memory()? / pool.kib.max(1);
    if count > now && count > most {
        return Err(Error::new(format!(
            "{count} pages of {kib} KiB, expected at most {most}, which is the memory of the host"
        )));
    }
    write(pool, count)
}

/// Asks the kernel for this many pages, as root. It may find fewer (Linux 6.1
/// Documentation/admin-guide/mm/hugetlbpage.rst): [`Pool::count`] tells.
fn write(pool: Pool, count: u64) -> Result {
    let path = pool.file();
    // A file that is not there is not made.
    let mut file = fs::File::options()
        .write(true)
        .truncate(true)
        .open(&path)
        .context(path.display())?;
    file.write_all(count.to_string().as_bytes())
        .context(path.display())
}

/// Digits as the hook writes them.
fn number(text: &str) -> Result<u64> {
    let number: Option<u64> = text.parse().ok();
    number
        .filter(|number| number.to_string() == text)
        .ok_or_else(|| Error::new(format!("{text:?}: expected a number")))
}
