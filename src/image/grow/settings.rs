// SPDX-License-Identifier: GPL-2.0-or-later

//! What the administrator of this host says about growing: `/etc/vdsm-hooks/growdisk`.
//!
//! Not environment variables: custom properties are some too, and libguestfs has variables that name
//! programs to run.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use crate::host::files;
use crate::{Context, Error, Result};

const FILE: &str = "/etc/vdsm-hooks/growdisk";
const MAX_BYTES: u64 = 1 << 16;
/// A day is for ever.
const SECONDS: RangeInclusive<u64> = 1..=86_400;
const APPLIANCES: RangeInclusive<usize> = 1..=64;

/// The settings of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether anything is grown here.
    pub is_enabled: bool,
    /// How long a disk may take until the first write.
    pub prepare: Duration,
    /// How long it may take from there on.
    pub write: Duration,
    /// How many appliances run at once, each with 1.25 GiB of memory (`guestfish get-memsize`, libguestfs
    /// 1.48).
    pub parallel: usize,
    /// libguestfs' own settings: none, `force_tcg` or `force_kvm`.
    pub backend: Option<&'static str>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            is_enabled: true,
            prepare: Duration::from_secs(180),
            write: Duration::from_secs(900),
            parallel: 2,
            backend: None,
        }
    }
}

impl Settings {
    /// Those of this host; the defaults without a file.
    ///
    /// # Errors
    /// The file cannot be read, or has a line that says nothing that is known.
    pub fn of_host() -> Result<Settings> {
        let path = Path::new(FILE);
        match path.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Settings::default());
            }
            _ => {}
        }
        let text = files::read_file(path, MAX_BYTES)?;
        let text = String::from_utf8(text).context(FILE)?;
        Settings::parse(&text)
    }

    fn parse(text: &str) -> Result<Settings> {
        let mut settings = Settings::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let set = settings.set(key.trim(), value.trim());
            set.map_err(|expected| {
                Error::new(format!("{FILE}: line {}: {line:?}: {expected}", index + 1))
            })?;
        }
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &str) -> std::result::Result<(), String> {
        match key {
            "enabled" => {
                self.is_enabled = match value {
                    "yes" => true,
                    "no" => false,
                    _ => return Err("expected yes or no".to_owned()),
                }
            }
            "prepare_timeout" => self.prepare = seconds(value)?,
            "write_timeout" => self.write = seconds(value)?,
            "parallel" => self.parallel = number(value, &APPLIANCES)?,
            "backend_settings" => {
                self.backend = match value {
                    "" => None,
                    "force_tcg" => Some("force_tcg"),
                    "force_kvm" => Some("force_kvm"),
                    _ => return Err("expected force_tcg, force_kvm or nothing".to_owned()),
                }
            }
            _ => {
                return Err(
                    "expected enabled, prepare_timeout, write_timeout, parallel or \
                     backend_settings, '=' and a value"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }
}

fn seconds(value: &str) -> std::result::Result<Duration, String> {
    number(value, &SECONDS).map(Duration::from_secs)
}

fn number<N>(value: &str, range: &RangeInclusive<N>) -> std::result::Result<N, String>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        format!(
            "expected a number from {} to {}",
            range.start(),
            range.end()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_some_of_it() -> Result {
        assert_eq!(Settings::parse("")?, Settings::default());
        let text = "# TCG here\n\nenabled = no\nprepare_timeout=20\n write_timeout =  30\n\
            parallel = 40\nbackend_settings = force_tcg\n";
        let settings = Settings {
            is_enabled: false,
            prepare: Duration::from_secs(20),
            write: Duration::from_secs(30),
            parallel: 40,
            backend: Some("force_tcg"),
        };
        assert_eq!(Settings::parse(text)?, settings);
        assert_eq!(Settings::parse("backend_settings =\n")?.backend, None);
        Ok(())
    }

    #[test]
    fn what_is_not_understood_is_told() {
        for (text, says) in [
            (
                "enabled = maybe",
                "line 1: \"enabled = maybe\": expected yes or no",
            ),
            ("\nenabled", "line 2: \"enabled\": expected yes or no"),
            ("parallel = 0", "expected a number from 1 to 64"),
            ("prepare_timeout = 1.5", "expected a number from 1 to 86400"),
            ("write_timeout = -1", "expected a number from 1 to 86400"),
            (
                "backend_settings = force_tcg:gdb",
                "expected force_tcg, force_kvm or nothing",
            ),
            (
                "LIBGUESTFS_QEMU = /tmp/x",
                "expected enabled, prepare_timeout",
            ),
        ] {
            let said = Settings::parse(text).err().map(|error| error.to_string());
            assert!(
                said.as_ref().is_some_and(|said| said.contains(says)),
                "{said:?}"
            );
        }
    }
}
