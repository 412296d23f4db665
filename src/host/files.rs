// SPDX-License-Identifier: GPL-2.0-or-later

//! Listings and bounded reads.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use crate::{Context, Error, Result};

/// The whole file, if it has at most `limit` bytes. A file of a known size takes one read.
///
/// # Errors
/// The file cannot be read, or is larger.
pub fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let bytes = read_at_most(path, limit + 1).context(path.display())?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(format!(
            "{}: larger than {limit} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

fn read_at_most(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let known = file.metadata()?.len().min(limit - 1);
    let mut bytes = Vec::new();
    if known > 0 {
        // One byte more, so that what comes back tells whether that was the end.
        bytes.resize(usize::try_from(known).map_or(0, |known| known + 1), 0);
        let read = match file.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            read => read?,
        };
        bytes.truncate(read);
        if read as u64 == known {
            return Ok(bytes);
        }
    }
    // A file of /proc has no size, one of /sys a page (Linux 6.1
    // Documentation/filesystems/sysfs.rst), and another may be growing.
    bytes.reserve(PAGE_BYTES);
    file.take(limit - bytes.len() as u64)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the kernel hands out of a file without a size at once.
const PAGE_BYTES: usize = 4096;

/// What stands for standard input where a file is named.
pub const STANDARD_INPUT: &str = "-";

/// [`read_file`], or standard input to its end.
///
/// # Errors
/// As [`read_file`].
pub fn read_or_standard_input(path: &Path, limit: u64) -> Result<Vec<u8>> {
    if path != Path::new(STANDARD_INPUT) {
        return read_file(path, limit);
    }
    let mut bytes = Vec::new();
    let mut input = io::stdin().lock().take(limit + 1);
    input.read_to_end(&mut bytes).context("standard input")?;
    if bytes.len() as u64 > limit {
        let problem = format!("standard input: larger than {limit} bytes");
        return Err(Error::new(problem));
    }
    Ok(bytes)
}

/// The names in a directory, sorted; none if it is not there.
///
/// # Errors
/// It cannot be read.
pub fn entries(directory: &Path) -> Result<Vec<String>> {
    let listing = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.context(directory.display())?,
    };
    let name =
        |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let names: io::Result<Vec<String>> = listing.map(name).collect();
    let mut names = names.context(directory.display())?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_to_its_limit_whatever_size_it_says() -> Result {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("file");
        for length in [0, 1, 31, 4096, 10_000] {
            let bytes = vec![b'x'; length];
            fs::write(&path, &bytes)?;
            for limit in [1, 31, 4096, 9_999, 10_000, 1 << 20] {
                let read = read_file(&path, limit).map_err(|error| error.to_string());
                let refused = format!("{}: larger than {limit} bytes", path.display());
                let is_small = length as u64 <= limit;
                let expected = if is_small {
                    Ok(bytes.clone())
                } else {
                    Err(refused)
                };
                assert_eq!(read, expected, "{length} of {limit}");
            }
        }
        // No size, and one that is larger than what comes.
        for file in [
            "/proc/self/status",
            "/sys/kernel/mm/transparent_hugepage/enabled",
        ] {
            let file = Path::new(file);
            if let Ok(whole) = fs::read(file) {
                assert_eq!(read_file(file, 1 << 20)?.len(), whole.len());
                assert!(read_file(file, 8).is_err() || whole.len() <= 8);
            }
        }
        Ok(())
    }
}
