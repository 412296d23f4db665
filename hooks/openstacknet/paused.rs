// SPDX-License-Identifier: GPL-2.0-or-later

//! A start that is paused until Neutron has wired the VM, unless the user wants it paused anyway.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use vdsm_hooks::vdsm_conf::VdsmConf;
use vdsm_hooks::{Context, Error, Result, cmd, host, phase, props};

/// The flag of a paused start.
const PAUSED: u32 = 1;
/// How long Neutron's agents may take.
const WIRING: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(60);

/// What [`ask`] has made, so that it can be taken back.
pub(crate) struct Asked {
    flags: PathBuf,
    /// The flags before; none if there was no file.
    before: Option<u32>,
    mark: PathBuf,
}

/// Asks VDSM for a paused start, and leaves the mark for [`end`]. Nothing is made where the user
/// wants the VM paused, nor for a VM that wakes up.
pub(crate) fn ask() -> Result<Option<Asked>> {
    let vm = phase::vm_id()?;
    if phase::is_resume()? {
        return Ok(None);
    }
    let (flags, mark) = (phase::launch_flags(&vm), mark(&vm));
    let before = read(&flags)?;
    let old = before.unwrap_or_default();
    if old & PAUSED != 0 {
        drop_stale(&mark, &flags)?;
        return Ok(None);
    }
    let asked = Asked {
        flags,
        before,
        mark,
    };
    let made = write(&asked.flags, &(old | PAUSED).to_string());
    let made = made.and_then(|()| write(&asked.mark, "true"));
    if let Err(error) = made {
        asked.take_back();
        return Err(error);
    }
    Ok(Some(asked))
}

impl Asked {
    /// Puts the flags back and the mark away, as far as possible.
    pub(crate) fn take_back(&self) {
        let _ = fs::remove_file(&self.mark);
        let _ = match self.before {
            Some(flags) => write(&self.flags, &flags.to_string()),
            None => fs::remove_file(&self.flags).map_err(Error::from),
        };
    }
}

/// Resumes the VM that was paused for Neutron.
pub(crate) fn end() -> Result {
    let vm = phase::vm_id()?;
    let mark = mark(&vm);
    let flags = read(&phase::launch_flags(&vm))?.unwrap_or_default();
    if !mark.exists() || flags & PAUSED == 0 {
        return Ok(());
    }
    thread::sleep(WIRING);
    let id = format!("vmID={vm}");
    let mut words = vec!["VM", "cont", id.as_str()];
    if VdsmConf::read()?.flag("vars", "ssl")? == Some(false) {
        words.insert(0, "--insecure");
    }
    cmd::run("vdsm-client", &words, PATIENCE)
        .and_then(cmd::Output::success)
        .context("the VM stays paused until somebody resumes it, in the engine or with 'vdsm-client VM cont'")?;
    fs::remove_file(&mark).context(mark.display())
}

fn mark(vm: &str) -> PathBuf {
    phase::directory(vm).join("marked_for_unpause")
}

fn read(flags: &Path) -> Result<Option<u32>> {
    let bytes = match host::read_file(flags, 64) {
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

fn write(path: &Path, text: &str) -> Result {
    if path.exists() {
        return host::replace_file(path, text.as_bytes());
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).context(directory.display())?;
    }
    fs::write(path, text).context(path.display())
}
