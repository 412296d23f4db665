// SPDX-License-Identifier: GPL-2.0-or-later

//! Whose traffic goes where: what the hook asks its root helper for, one line for each pair.

use std::fmt;
use std::time::Duration;

use vdsm_hooks::host::{allowlist, bridge};
use vdsm_hooks::{Error, Result};

/// How long the helper may take. Its records tell the next one what it did not finish.
pub(crate) const HELPER_TIMEOUT: Duration = Duration::from_secs(120);

/// The administrator's list of bridges that may be watched.
const LIST: &str = "promisc-networks";

/// The first word of a request.
pub(crate) const START: &str = "start";
pub(crate) const STOP: &str = "stop";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Mirror,
    Redirect,
}

impl Mode {
    pub(crate) fn parse(word: &str) -> Option<Mode> {
        match word {
            "mirror" => Some(Mode::Mirror),
            "redirect" => Some(Mode::Redirect),
            _ => None,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Mirror => "mirror",
            Mode::Redirect => "redirect",
        })
    }
}

/// `SOURCE TARGET MODE`
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) mode: Mode,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.source, self.target, self.mode)
    }
}

impl Pair {
    /// Checks that this host has both devices, and that they may be used like that: only bridges
    /// are watched, and only by taps, and only taps lose their traffic.
    pub(crate) fn check(&self) -> Result {
        for device in [&self.source, &self.target] {
            if !is_name(device) || !bridge::network_device(device).exists() {
                return Err(Error::new(format!("no such device {device}")));
            }
        }
        if self.source == self.target {
            return Err(Error::new(format!("no such device {}", self.source)));
        }
        match self.mode {
            Mode::Mirror => check_source(&self.source, self.mode)
                .and_then(|()| {
                    allowlist::check(LIST, &self.source).map_err(|why| {
                        Error::new(format!("{} may not be mirrored: {why}", self.source))
                    })
                })
                .and_then(|()| tap(&self.target)),
            Mode::Redirect if is(&self.target, "bridge") => Err(Error::new(format!(
                "redirect needs a tap, {} is a bridge",
                self.target
            ))),
            Mode::Redirect => {
                check_source(&self.source, self.mode).and_then(|()| tap(&self.target))
            }
        }
    }
}

/// Checks that a device is of the kind whose traffic is copied or diverted.
pub(crate) fn check_source(source: &str, mode: Mode) -> Result {
    match mode {
        Mode::Mirror if !is(source, "bridge") => Err(Error::new(format!(
            "{source} may not be mirrored, expected a Linux bridge"
        ))),
        Mode::Mirror => Ok(()),
        Mode::Redirect => tap(source),
    }
}

/// What the kernel takes for a name, and sudo, tc and a line of a record for one word.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    bridge::is_name(name) && name.chars().all(fits)
}

fn tap(device: &str) -> Result {
    if is(device, "tun_flags") {
        return Ok(());
    }
    Err(Error::new(format!("{device} is not a tap device")))
}

fn is(device: &str, file: &str) -> bool {
    bridge::network_device(device).join(file).exists()
}
