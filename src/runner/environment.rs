// SPDX-License-Identifier: GPL-2.0-or-later

//! The environment that VDSM gives its hooks, layer by layer (VDSM 4.50 lib/vdsm/common/hooks.py:
//! `_runHooksDir`).
//!
//! The lowest layer is that of the daemon, as systemd makes it: nothing of the administrator's own
//! shell gets in, so that a hook behaves here as it does there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::host::files;
use crate::vdsm::events::{Environment, Event};
use crate::{Context as _, Error, Result};

/// systemd's search path for services, as it is where `/bin` is not `/usr/bin`: else it ends before
/// `/sbin` (systemd.exec(5), 252: `$PATH`).
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Far above any settings file.
const MAX_BYTES: u64 = 1 << 20;

/// Names and values.
pub type Variables = Vec<(String, String)>;

/// What the caller of a hook adds.
pub struct Layers<'a> {
    /// The event that fires.
    pub event: &'a Event,
    /// The daemon's settings file, `-` for standard input; the event's own if none.
    pub sysconfig: Option<&'a Path>,
    /// Device properties and other parameters of the event.
    pub parameters: &'a [(String, String)],
    /// Custom properties of the VM.
    pub properties: &'a [(String, String)],
    /// Id of the VM; none at events without one.
    pub vm_id: Option<&'a str>,
    /// Directory of VDSM's `hooking.py`.
    pub hooking: Option<&'a Path>,
    /// The file that hooks read and change.
    pub data_file: &'a Path,
}

/// The whole environment; a later layer wins.
///
/// # Errors
/// The settings file cannot be read.
pub fn build(layers: &Layers<'_>) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    all.extend(locale());
    if !layers.event.run_by_root() {
        let home = "/var/lib/vdsm".to_owned();
        all.extend(
            [
                ("USER", "vdsm".to_owned()),
                ("LOGNAME", "vdsm".to_owned()),
                ("HOME", home),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
    }
    all.extend(sysconfig(layers)?);
    if layers.event.environment != Environment::Bare {
        all.extend(layers.parameters.iter().cloned());
        all.extend(layers.properties.iter().cloned());
        if let Some(id) = layers.vm_id {
            all.insert("vmId".to_owned(), id.to_owned());
        }
    }
    if let Some(directory) = layers.hooking {
        let old = all.get("PYTHONPATH").cloned().unwrap_or_default();
        let new = format!("{old}:{}", directory.display());
        all.insert("PYTHONPATH".to_owned(), new);
    }
    let variable = if layers.event.data.is_json() {
        "_hook_json"
    } else {
        "_hook_domxml"
    };
    all.insert(variable.to_owned(), layers.data_file.display().to_string());
    Ok(all)
}

/// The host's locale, which systemd gives to every service (systemd.exec(5), 252: `$LANG`).
fn locale() -> Variables {
    let text = fs::read_to_string("/etc/locale.conf").unwrap_or_default();
    let mut settings = assignments(&text);
    settings.retain(|(name, _)| name == "LANG" || name.starts_with("LC_"));
    if settings.is_empty() {
        settings.push(("LANG".to_owned(), "C.UTF-8".to_owned()));
    }
    settings
}

/// The settings file of the daemon's service unit: the place of host-wide defaults.
fn sysconfig(layers: &Layers<'_>) -> Result<Variables> {
    let usual = if layers.event.run_by_supervdsmd() {
        "/etc/sysconfig/supervdsmd"
    } else {
        "/etc/sysconfig/vdsm"
    };
    let path = match layers.sysconfig {
        Some(path) => path,
        None if !Path::new(usual).exists() => return Ok(Variables::new()),
        None => Path::new(usual),
    };
    let bytes = files::read_or_standard_input(path, MAX_BYTES)?;
    let text = String::from_utf8(bytes).context(path.display())?;
    Ok(assignments(&text))
}

/// The assignments of a file in the format of systemd's `EnvironmentFile`, see systemd.exec(5): no
/// expansion, comments begin a line, quotes may be around (parts of) a value, a backslash takes away the
/// meaning of the next character or joins two lines.
pub fn assignments(text: &str) -> Variables {
    let mut found = Variables::new();
    let mut rest = text.chars().peekable();
    while rest.peek().is_some() {
        let mut name = String::new();
        while let Some(c) = rest.next_if(|c| *c != '\n' && *c != '=') {
            name.push(c);
        }
        let name = name.trim().to_owned();
        let comment = name.starts_with(['#', ';']);
        if rest.next() != Some('=') {
            continue;
        }
        if comment {
            rest.by_ref().find(|c| *c == '\n');
            continue;
        }
        let (mut value, mut quote, mut solid) = (String::new(), None, 0);
        while let Some(c) = rest.next() {
            match (c, quote) {
                ('\n', None) => break,
                ('\\', None | Some('"')) => {
                    if let Some(next) = rest.next().filter(|next| *next != '\n') {
                        if quote.is_some() && !"\"\\`$".contains(next) {
                            value.push('\\');
                        }
                        value.push(next);
                    }
                    solid = value.len();
                }
                ('\'' | '"', None) => {
                    quote = Some(c);
                    solid = value.len();
                }
                (c, Some(open)) if c == open => {
                    quote = None;
                    solid = value.len();
                }
                (c, None) if c.is_whitespace() && value.is_empty() && solid == 0 => {}
                (c, _) => {
                    value.push(c);
                    if quote.is_some() || !c.is_whitespace() {
                        solid = value.len();
                    }
                }
            }
        }
        // Blanks at the end do not count unless they were quoted.
        value.truncate(solid);
        if is_name(&name) {
            found.push((name, value));
        }
    }
    found
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `key=value` of the command line.
///
/// # Errors
/// What is wrong with it, in words.
pub fn property(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some(("", _)) => Err("no name before '='".to_owned()),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("expected NAME=VALUE".to_owned()),
    }
}

/// The directory of VDSM's `hooking` module, which the original Python hooks import: `vdsm/hook`
/// below some Python's `site-packages`. None where VDSM is not installed.
///
/// # Errors
/// It is not in the directory that was `wanted`.
pub fn hooking_directory(wanted: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(directory) = wanted {
        if directory.join("hooking.py").is_file() {
            return Ok(Some(std::path::absolute(directory)?));
        }
        let directory = directory.display();
        return Err(Error::new(format!(
            "--hooking {directory}: no hooking.py in it"
        )));
    }
    let mut found = Vec::new();
    for library in ["/usr/lib", "/usr/lib64"] {
        for python in fs::read_dir(library).into_iter().flatten().flatten() {
            if python.file_name().to_string_lossy().starts_with("python3") {
                found.push(python.path().join("site-packages/vdsm/hook"));
            }
        }
    }
    found.retain(|directory| directory.join("hooking.py").is_file());
    found.sort();
    Ok(found.pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_systemd_reads_them() {
        let text = "# a=1\n;b=2\n\nc = plain text  \nd=\"in \\\"quotes\\\" \"\ne='$x \\n'\n\
                    f=two\\\nlines\nno assignment\n9=x\ng=\nh=last";
        let found = assignments(text);
        let expected = [
            ("c", "plain text"),
            ("d", "in \"quotes\" "),
            ("e", "$x \\n"),
            ("f", "twolines"),
            ("g", ""),
            ("h", "last"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, expected);
    }
}
