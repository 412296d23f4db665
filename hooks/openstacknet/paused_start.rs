// SPDX-License-Identifier: GPL-2.0-or-later

//! A start that is paused until somebody outside of oVirt, such as Neutron, has wired the VM; unless
//! the user wants it paused anyway.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use vdsm_hooks::host::{command, files, temporary};
use vdsm_hooks::vdsm::conf::VdsmConf;
use vdsm_hooks::vdsm::start;
use vdsm_hooks::{Context, Error, Result, props};

/// The flag of a paused start.
const PAUSED: u32 = 1;
/// How long the wiring may take.
const WIRING: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(60);

/// What [`ask`] has made, so that it can be taken back.
#[must_use]
pub(crate) struct PausedStart {
    vm: String,
    /// The flags before; none if there was no file.
    before: Option<u32>,
}

/// Asks VDSM for a paused start, and leaves the mark for [`end`]. Nothing is made where the user
/// wants the VM paused.
///
/// # Errors
/// No `vmId`, flags that are no number, or one of the files cannot be written; nothing is left.
pub(crate) fn ask() -> Result<Option<PausedStart>> {
    let vm = start::vm_id()?;
    let flags = start::launch_flags(&vm);
    let before = read(&flags)?;
    let old = before.unwrap_or_default();
    if old & PAUSED != 0 {
        drop_stale(&mark(&vm), &flags)?;
        return Ok(None);
    }
    let new = (old | PAUSED).to_string();
    match before {
        Some(_) => temporary::replace_file(&flags, new.as_bytes())?,
        None => start::make_launch_flags(&vm, &new)?,
    }
    let mark = mark(&vm);
    let paused = PausedStart { vm, before };
    if let Err(error) = fs::write(&mark, "true") {
        paused.take_back();
        return Err(error).context(mark.display());
    }
    Ok(Some(paused))
}

impl PausedStart {
    /// Puts the mark away and the flags back, as far as possible.
    pub(crate) fn take_back(&self) {
        let _ = fs::remove_file(mark(&self.vm));
        let back = match self.before {
            Some(flags) => temporary::replace_file(
                &start::launch_flags(&self.vm),
                flags.to_string().as_bytes(),
            ),
            None => start::drop_launch_flags(&self.vm),
        };
        if let Err(error) = back {
            log::warn!("the VM will start paused: {error}");
        }
    }
}

/// Resumes the VM that [`ask`] had paused, after a while.
///
/// # Errors
/// No `vmId`, or VDSM does not resume the VM; the mark stays.
pub(crate) fn end() -> Result {
    let vm = start::vm_id()?;
    let mark = mark(&vm);
    let flags = read(&start::launch_flags(&vm))?.unwrap_or_default();
    if !mark.exists() || flags & PAUSED == 0 {
        return Ok(());
    }
    thread::sleep(WIRING);
    let id = format!("vmID={vm}");
    let mut words = vec!["VM", "cont", id.as_str()];
    if VdsmConf::read()?.flag("vars", "ssl")? == Some(false) {
        words.insert(0, "--insecure");
    }
    command::run("vdsm-client", &words, TIMEOUT)
        .and_then(command::Output::checked)
        .context("the VM stays paused until somebody resumes it, in the engine or with 'vdsm-client VM cont'")?;
    fs::remove_file(&mark).context(mark.display())
}

fn mark(vm: &str) -> PathBuf {
    start::directory(vm).join("marked_for_unpause")
}

fn read(flags: &Path) -> Result<Option<u32>> {
    let bytes = match files::read_file(flags, 64) {
        Err(_) if !flags.exists() => return Ok(None),
        other => other?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let number = text.lines().next().unwrap_or_default().trim().parse();
    number.map(Some).map_err(|_| {
        let text = props::quoted(&text);
        Error::new(format!("{}: {text} is no number", flags.display()))
    })
}

/// A mark that is older than the flags is of an earlier start. One that is not is ours: we have
/// set the flag for another vNIC.
fn drop_stale(mark: &Path, flags: &Path) -> Result {
    let changed = |file: &Path| fs::metadata(file).and_then(|file| file.modified());
    let marked = match changed(mark) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.context(mark.display())?,
    };
    if marked < changed(flags).context(flags.display())? {
        fs::remove_file(mark).context(mark.display())?;
    }
    Ok(())
}
