// SPDX-License-Identifier: GPL-2.0-or-later

//! What a hook changed, as a unified diff.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use similar::TextDiff;

use vdsm_hooks::runner::difference::cut_long_lines;

/// The unified diff between two states of the data file; empty if nothing changed that a person
/// could see. `hook` names it.
pub(crate) fn unified(before: &[u8], after: &[u8], json: bool, hook: &str) -> String {
    let (before, after) = (readable(before, json), readable(after, json));
    let names = [format!("before {hook}"), format!("after {hook}")];
    of_lines(&before, &after, [&names[0], &names[1]])
}

/// The unified diff between two texts with these names. A large one that is changed everywhere
/// gets a coarser diff instead of a long wait.
pub(crate) fn of_lines(before: &str, after: &str, names: [&str; 2]) -> String {
    let diff = TextDiff::configure()
        .timeout(Duration::from_secs(5))
        .diff_lines(before, after);
    diff.unified_diff()
        .context_radius(3)
        .header(names[0], names[1])
        .to_string()
}

/// Text for a person: JSON one member a line, XML on a long line one tag a line.
fn readable(data: &[u8], json: bool) -> String {
    if json {
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) {
            return format!("{value:#}\n");
        }
    }
    cut_long_lines(&String::from_utf8_lossy(data))
}

/// The same diff with colours.
pub(crate) fn coloured(diff: &str) -> String {
    let mut text = String::new();
    for line in diff.split_terminator('\n') {
        let style = match line.as_bytes().first() {
            _ if line.starts_with("--- ") || line.starts_with("+++ ") => Style::new().bold(),
            Some(b'@') => AnsiColor::Cyan.on_default(),
            Some(b'+') => AnsiColor::Green.on_default(),
            Some(b'-') => AnsiColor::Red.on_default(),
            _ => Style::new(),
        };
        let _ = writeln!(text, "{style}{}{style:#}", printable(line));
    }
    text
}

/// `text` without characters that could drive a terminal, or turn what stands behind them around.
pub(crate) fn printable(text: &str) -> String {
    let turns = |c| matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if turns(c) || c.is_control() && c != '\t' {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}
