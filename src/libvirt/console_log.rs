// SPDX-License-Identifier: GPL-2.0-or-later

//! Which VMs' output is logged on the host, and under which file name.

use crate::{Error, Result, props};

/// The longest file name that most file systems take is 255 bytes; the rest is for the ending.
const MAX_NAME_BYTES: usize = 240;

/// What the VM's own property and the host's default together ask for.
pub enum LogFilter {
    /// Not this VM.
    No,
    /// This VM, whatever it is called.
    Yes,
    /// This VM, if its name matches the pattern of the named variable.
    IfNamed(&'static str, String),
}

/// Reads the VM's property (`on` or `off`; anything else counts as not set) and the host's pattern
/// in `pattern_variable`. `off` beats everything, and `on` needs no pattern.
///
/// # Errors
/// A value that is not UTF-8.
pub fn wanted(property: &str, pattern_variable: &'static str) -> Result<LogFilter> {
    match props::text(property)?.as_deref() {
        Some("off") => return Ok(LogFilter::No),
        Some("on") => return Ok(LogFilter::Yes),
        Some(other) => log::warn!(
            "{property}={}: expected on or off; it counts as not set",
            props::quoted(other)
        ),
        None => {}
    }
    Ok(match props::text(pattern_variable)? {
        Some(pattern) if !pattern.is_empty() => LogFilter::IfNamed(pattern_variable, pattern),
        _ => LogFilter::No,
    })
}

impl LogFilter {
    /// Whether the VM `name` is to be logged. A pattern must match at the start of the name, as
    /// Python's `re.match` does.
    ///
    /// # Errors
    /// The pattern is no regular expression, or takes too long on this name.
    pub fn for_vm(&self, name: &str) -> Result<bool> {
        let (variable, pattern) = match self {
            LogFilter::No => return Ok(false),
            LogFilter::Yes => return Ok(true),
            LogFilter::IfNamed(variable, pattern) => (variable, pattern),
        };
        let compiled = pcre2::bytes::RegexBuilder::new()
            .utf(true)
            .ucp(true)
            .build(pattern);
        let compiled = compiled.map_err(|error| {
            let place = error
                .offset()
                .map(|at| format!(" at byte {at}"))
                .unwrap_or_default();
            let reason = reason(&error);
            props::wrong(
                variable,
                pattern,
                format!("not a regular expression{place}: {reason}"),
            )
        })?;
        // The library counts its steps, so that no pattern runs indefinitely.
        let found = compiled.find(name.as_bytes()).map_err(|error| {
            let problem = format!(
                "gave up on the VM's name {}: {}",
                props::quoted(name),
                reason(&error)
            );
            props::wrong(variable, pattern, problem)
        })?;
        // The leftmost match is found first, so one that begins later means that none begins here.
        Ok(found.is_some_and(|found| found.start() == 0))
    }
}

/// The library's message without its beginning, which says what we say ourselves.
fn reason(error: &pcre2::Error) -> String {
    let text = error.to_string();
    text.rsplit(": ").next().unwrap_or_default().to_owned()
}

/// Checks that a VM's name can be part of a file name. VDSM also starts VMs that the engine did
/// not name.
///
/// # Errors
/// Empty, too long, or with a `/` or a control character.
pub fn check_file_name(name: &str) -> Result {
    if name.trim().is_empty() {
        return Err(Error::new("the VM has no name to call the log file by"));
    }
    if name.len() > MAX_NAME_BYTES || name.chars().any(|c| c == '/' || c.is_control()) {
        return Err(Error::new(format!(
            "the VM's name {} cannot be part of a file name: expected at most {MAX_NAME_BYTES} bytes without '/' and control characters",
            props::quoted(name)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        for fine in ["a", "VM 1: \"test\"", "..", &"a".repeat(MAX_NAME_BYTES)] {
            assert_eq!(check_file_name(fine), Ok(()), "{fine}");
        }
        for wrong in ["", " ", "a/b", "a\nb", &"a".repeat(MAX_NAME_BYTES + 1)] {
            assert!(check_file_name(wrong).is_err(), "{wrong}");
        }
    }
}
