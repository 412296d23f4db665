// SPDX-License-Identifier: GPL-2.0-or-later

//! Which event fires.

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::{Error, Result};

/// The event that fires: the name of the directory that the program was called through.
///
/// VDSM calls a hook by its full path and tells the event in no other way. The last part may be a
/// symbolic link (one program serves several events), and so may the directory.
/// `VDSM_HOOK_EVENT` overrides it, for a dry run.
///
/// # Errors
/// The program was started without a path, so that no directory tells the event.
pub fn event() -> Result<String> {
    if let Some(event) = env::var_os("VDSM_HOOK_EVENT") {
        return Ok(event.to_string_lossy().into_owned());
    }
    let program = PathBuf::from(env::args_os().next().unwrap_or_default());
    let directory = match program.parent() {
        // Found through PATH: only the file itself can tell.
        None => env::current_exe()?.parent().map(Path::to_owned),
        Some(parent) if parent.as_os_str().is_empty() => {
            env::current_exe()?.parent().map(Path::to_owned)
        }
        Some(parent) => Some(fs::canonicalize(parent)?),
    };
    let name = directory.as_deref().and_then(Path::file_name);
    let name = name.ok_or_else(|| Error::new("cannot tell the event from the program's path"))?;
    Ok(name.to_string_lossy().into_owned())
}
