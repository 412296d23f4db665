// SPDX-License-Identifier: GPL-2.0-or-later

//! Which kind of start a VM is in: VDSM fires the same events for a cold start and for a resume,
//! and drops what hooks make of the document of a resume.

use std::path::{Path, PathBuf};

use crate::props;
use crate::{Error, Result};

const RUN: &str = "/run/vdsm";

/// The id of the VM, as VDSM passes it.
///
/// # Errors
/// None was passed, or it is no UUID.
pub fn vm_id() -> Result<String> {
    let id = props::text("vmId")?.ok_or_else(|| Error::new("vmId is not set: VDSM passes it"))?;
    let is_hex = |part: &str| part.chars().all(|c| c.is_ascii_hexdigit());
    let lengths = id.split('-').map(str::len);
    if lengths.eq([8, 4, 4, 4, 12]) && id.split('-').all(is_hex) {
        return Ok(id);
    }
    Err(props::wrong("vmId", &id, "expected a UUID"))
}

/// The directory in which VDSM and hooks keep what belongs to one start of the VM.
pub fn directory(vm: &str) -> PathBuf {
    Path::new(RUN).join(vm)
}

/// The file with the flags of a start. VDSM writes it before the hooks of a cold start, and only
/// then.
pub fn launch_flags(vm: &str) -> PathBuf {
    directory(vm).join("launchflags")
}

/// Whether the VM wakes up from a saved state. Where VDSM does not run, as in a dry run, it does
/// not.
///
/// # Errors
/// A `vmId` that is no UUID.
pub fn is_resume() -> Result<bool> {
    if !Path::new(RUN).exists() || props::text("vmId")?.is_none() {
        return Ok(false);
    }
    Ok(!launch_flags(&vm_id()?).exists())
}
