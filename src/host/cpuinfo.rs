// SPDX-License-Identifier: GPL-2.0-or-later

//! What the host's processor is.

use std::env::consts;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use crate::{Context, Result};

const CPUINFO: &str = "/proc/cpuinfo";

/// libvirt's name of the host's architecture, which is the one that the program was built for.
/// The kernel would tell another one under setarch(8).
pub fn architecture() -> &'static str {
    match consts::ARCH {
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        other => other,
    }
}

/// The flags of an x86 host's first processor; elsewhere there are none.
///
/// # Errors
/// The kernel's file cannot be read.
pub fn cpu_flags() -> Result<Vec<String>> {
    let file = File::open(CPUINFO).context(CPUINFO)?;
    for line in BufReader::new(file).lines() {
        let line = line.context(CPUINFO)?;
        let field = line.split_once(':');
        if let Some((_, flags)) = field.filter(|(name, _)| name.trim_end() == "flags") {
            return Ok(flags.split_whitespace().map(str::to_owned).collect());
        }
    }
    Ok(Vec::new())
}
