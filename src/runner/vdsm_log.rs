// SPDX-License-Identifier: GPL-2.0-or-later

//! The last start of a VM in VDSM's log: the document as the engine has sent it, and what became of the
//! hooks. A VM that did not start is not in libvirt, so its document is nowhere else; and VDSM logs it
//! a second time only after the hooks, if they let it.
//!
//! VDSM's formats (VDSM fd4b0df20): `static/etc/vdsm/logger.conf.in` for the line,
//! `lib/vdsm/common/api.py` (`logged`) and `logutils.py` (`call2str`) for the call,
//! `lib/vdsm/common/hooks.py` (`_runHooksDir`) for the hooks, `lib/vdsm/virt/vm.py` for the name of the
//! thread that starts a VM.

use std::cmp::Reverse;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use crate::host::files::STANDARD_INPUT;
use crate::libvirt::domain;
use crate::props::Literal;
use crate::{Context as _, Error, Result, xml};

/// Before the parameters of a start.
const CREATE: &str = "START create(vmParams=";
/// Far above a line of the log, which may hold a whole document.
const MAX_LINE_BYTES: u64 = 64 << 20;
/// So many other VMs are named where one is not found.
const MAX_NAMED: usize = 8;
/// How rotated logs begin: VDSM has them compressed by xz (VDSM fd4b0df20
/// `static/etc/vdsm/logrotate/vdsm`), others use gzip.
const COMPRESSED: [(&[u8], &str); 2] = [(b"\xfd7zXZ\0", "xz"), (b"\x1f\x8b", "gzip")];

/// One start of a VM.
#[derive(Debug, Default)]
pub struct Start {
    /// When it began, as the log has it.
    pub time: String,
    /// The VM's id.
    pub vm_id: String,
    /// The domain XML as the engine has sent it, before any hook.
    pub document: String,
    /// Whether the VM was to wake up from a saved state.
    pub is_resume: bool,
    /// The hooks that ran then, in their order.
    pub hooks: Vec<Ran>,
    /// The ids of other VMs of the same name that were started before.
    pub namesakes: Vec<String>,
    /// How many starts behind it cannot be read: they may be the VM's as well.
    pub unread: usize,
}

/// A hook that ran.
#[derive(Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its path.
    pub path: String,
    /// Its exit status; negative, the number of a signal.
    pub status: i32,
    /// What it said on standard error.
    pub stderr: String,
}

impl Ran {
    /// Whether VDSM fired it at this event.
    pub fn is_of(&self, event: &str) -> bool {
        Path::new(&self.path)
            .parent()
            .is_some_and(|directory| directory.ends_with(event))
    }
}

/// The last start of the VM with this name or id in the log; `-` is standard input.
///
/// # Errors
/// The log cannot be read, or is compressed, or has no start of this VM.
pub fn last_start(log: &Path, vm: &str) -> Result<Start> {
    if log == Path::new(STANDARD_INPUT) {
        return find(io::stdin().lock(), vm).context("standard input");
    }
    let file = File::open(log).context(log.display())?;
    find(BufReader::new(file), vm).context(log.display())
}

fn find(mut log: impl BufRead, vm: &str) -> Result<Start> {
    for (magic, program) in COMPRESSED {
        if log.fill_buf()?.starts_with(magic) {
            return Err(Error::new(format!(
                "compressed: give what '{program} -dc' makes of it to '--log -'"
            )));
        }
    }
    let mut found: Option<Start> = None;
    let mut others: Vec<String> = Vec::new();
    let (mut namesakes, mut unread) = (Vec::new(), 0_usize);
    let mut line = Vec::new();
    loop {
        line.clear();
        if log
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)?
            == 0
        {
            break;
        }
        let line = String::from_utf8_lossy(&line);
        if let Some((before, parameters)) = line.split_once(CREATE) {
            let (start, name) = match start(before, parameters) {
                Ok(start) => start,
                // That of another VM is not in the way.
                Err(_) if !has_word(parameters, vm) => {
                    unread += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if name == vm || start.vm_id.eq_ignore_ascii_case(vm) {
                if !namesakes.contains(&start.vm_id) {
                    namesakes.push(start.vm_id.clone());
                }
                unread = 0;
                found = Some(start);
            } else if !others.contains(&name) {
                others.push(name);
            }
        } else if let Some(start) = &mut found {
            start.hooks.extend(hook(&line, &start.vm_id));
        }
    }
    let Some(mut found) = found else {
        let others = started(others, unread, vm);
        return Err(Error::new(format!("no start of a VM {vm:?}: {others}")));
    };
    namesakes.retain(|id| *id != found.vm_id);
    found.namesakes = namesakes;
    found.unread = unread;
    Ok(found)
}

/// Whether the text has this word, not as a part of another one.
fn has_word(text: &str, word: &str) -> bool {
    let is_apart = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || "_-.".contains(c));
    text.match_indices(word).any(|(at, _)| {
        let (before, behind) = (&text[..at], &text[at + word.len()..]);
        is_apart(before.chars().next_back()) && is_apart(behind.chars().next())
    })
}

/// What a log has that has no start of this VM: the names that begin like it first, the last ones before
/// others.
fn started(mut names: Vec<String>, unread: usize, vm: &str) -> String {
    let alike = |name: &String| {
        let letters = name.chars().zip(vm.chars());
        letters.take_while(|(one, other)| one == other).count()
    };
    names.reverse();
    names.sort_by_key(|name| Reverse(alike(name)));
    let mut parts: Vec<String> = names
        .iter()
        .take(MAX_NAMED)
        .map(|name| shown(name))
        .collect();
    if names.len() > MAX_NAMED {
        parts.push(format!("{} others", names.len() - MAX_NAMED));
    }
    if unread > 0 {
        parts.push(format!("{unread} that cannot be read"));
    }
    match parts.as_slice() {
        [] => "it has no start at all".to_owned(),
        parts => format!("it has starts of {}", parts.join(", ")),
    }
}

/// Of a name that anybody may have chosen.
fn shown(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

/// What VDSM was told to start, and the VM's name. `before` is what stands before it in the line.
fn start(before: &str, parameters: &str) -> Result<(Start, String)> {
    let time = before.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let parameters = Literal::prefix(parameters)
        .context("the parameters of a start")
        .context(&time)?;
    let entries = parameters.as_dict().unwrap_or_default();
    let of = |wanted: &str| {
        let mut entries = entries.iter();
        entries.find_map(|(key, value)| (key.as_text() == Some(wanted)).then_some(*value))
    };
    // As VDSM does (VDSM fd4b0df20 lib/vdsm/API.py: VM.create).
    let document = of("_srcDomXML").or_else(|| of("xml"));
    let document = document.and_then(Literal::as_text).unwrap_or_default();
    if !document.contains('<') {
        let problem = "the parameters of a start: there is no domain XML among them";
        return Err(Error::new(problem)).context(&time);
    }
    let parsed = xml::parse(document)
        .context("the document of a start")
        .context(&time)?;
    let id = xml::child(parsed.root_element(), "uuid").map(xml::text);
    let start = Start {
        vm_id: id.unwrap_or_default().trim().to_owned(),
        document: document.to_owned(),
        is_resume: of("hiberVolHandle")
            .or_else(|| of("memoryDumpVolume"))
            .is_some(),
        time,
        ..Start::default()
    };
    Ok((start, domain::vm_name(&parsed)))
}

/// The hook that a line speaks of, if the thread that starts the VM has run it.
fn hook(line: &str, vm_id: &str) -> Option<Ran> {
    let thread = format!("(vm/{}) ", vm_id.get(..8)?);
    let (_, said) = line.split_once(&thread)?;
    // The logger's name.
    let (_, said) = said.split_once("] ")?;
    let (path, rest) = said.split_once(": rc=")?;
    let (status, stderr) = rest.split_once(" err=b")?;
    // Bytes in Python's notation, which has a character for each.
    let stderr = Literal::prefix(stderr).ok()?;
    let bytes: Vec<u8> = stderr
        .as_text()?
        .chars()
        .filter_map(|c| u8::try_from(c).ok())
        .collect();
    Some(Ran {
        path: path.to_owned(),
        status: status.parse().ok()?,
        stderr: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5f1c2a7e-9d3b-4e57-8a40-0c6f3b1d2e99";

    fn create(time: &str, name: &str, id: &str, more: &str) -> String {
        format!(
            "2026-06-25 11:24:{time},123+0200 INFO  (jsonrpc/5) [api.virt] START create(vmParams=\
             {{'vmID': '{id}', 'xml': '<?xml version=\"1.0\"?>\\n<domain><name>{name}</name>\
             <uuid>{id}</uuid><description>it\\'s \\xe9</description></domain>\\n'{more}}}) \
             from=::ffff:10.0.0.1,51000, flow_id=1, vmId= (api:31)\n"
        )
    }

    fn ran(thread: &str, hook: &str, status: &str, err: &str) -> String {
        format!(
            "2026-06-25 11:24:33,001+0200 INFO  (vm/{thread}) [root] \
             /usr/libexec/vdsm/hooks/{hook}: rc={status} err=b{err} (hooks:122)\n"
        )
    }

    #[test]
    fn the_last_start_of_the_vm_and_its_hooks_are_found() -> Result {
        let other = "11111111-9d3b-4e57-8a40-0c6f3b1d2e99";
        let log = [
            create("01", "node7", ID, ""),
            ran("5f1c2a7e", "before_vm_start/50_old", "0", "''"),
            create("02", "node8", other, ""),
            create(
                "03",
                "node7",
                ID,
                ", 'memoryDumpVolume': {'poolID': 'p'}, 'n': None",
            ),
            "no line of VDSM's \u{fffd}\n".to_owned(),
            ran("11111111", "before_vm_start/50_other", "2", "'x'"),
            ran("5f1c2a7e", "before_vm_start/50_a", "0", "''"),
            ran(
                "5f1c2a7e",
                "before_vm_start/50_b",
                "-9",
                r#""it's \xc3\xa9\n""#,
            ),
            ran("5f1c2a7e", "before_device_create/50_c", "2", r"'a\tb\\'"),
        ];
        for vm in ["node7", ID] {
            let start = find(log.concat().as_bytes(), vm)?;
            assert_eq!(start.time, "2026-06-25 11:24:03,123+0200");
            assert_eq!(start.vm_id, ID);
            assert!(
                start
                    .document
                    .ends_with("<description>it's é</description></domain>\n")
            );
            assert!(start.is_resume);
            let hooks: Vec<_> = start
                .hooks
                .iter()
                .map(|hook| (hook.path.as_str(), hook.status, hook.stderr.as_str()))
                .collect();
            assert_eq!(
                hooks,
                [
                    ("/usr/libexec/vdsm/hooks/before_vm_start/50_a", 0, ""),
                    (
                        "/usr/libexec/vdsm/hooks/before_vm_start/50_b",
                        -9,
                        "it's é\n"
                    ),
                    (
                        "/usr/libexec/vdsm/hooks/before_device_create/50_c",
                        2,
                        "a\tb\\"
                    ),
                ]
            );
            assert!(start.hooks[0].is_of("before_vm_start"));
            assert!(!start.hooks[2].is_of("before_vm_start"));
        }
        assert!(!find(log.concat().as_bytes(), "node8")?.is_resume);
        Ok(())
    }

    #[test]
    fn a_log_without_the_vm_says_what_it_has() {
        let said = |log: &[u8]| match find(log, "node9") {
            Ok(start) => start.time,
            Err(error) => error.to_string(),
        };
        assert_eq!(
            said(b""),
            "no start of a VM \"node9\": it has no start at all"
        );
        let two = create("01", "node7", ID, "") + &create("02", "node8", ID, "");
        assert_eq!(
            said(two.as_bytes()),
            "no start of a VM \"node9\": it has starts of node8, node7"
        );
        let many = (0..600).map(|number| create("01", &format!("web{number}"), ID, ""));
        let many = many.collect::<String>() + &create("02", "node12\u{9b}1m\u{202e}", ID, "");
        assert_eq!(
            said((many + &create("03", "\u{1}", ID, "")).as_bytes()),
            "no start of a VM \"node9\": it has starts of node12\\u{9b}1m\\u{202e}, web599, web598, \
             web597, web596, web595, web594, web593, 593 others, 1 that cannot be read"
        );
        assert_eq!(
            said(
                create("01", "node9", ID, "")
                    .replace("'xml'", "'yaml'")
                    .as_bytes()
            ),
            "2026-06-25 11:24:01,123+0200: the parameters of a start: there is no domain XML among them"
        );
        assert_eq!(
            said(b"\xfd7zXZ\0\0"),
            "compressed: give what 'xz -dc' makes of it to '--log -'"
        );
        // A line that is cut off is in the way of its own VM only.
        let line = create("01", "node9", ID, "");
        let cut = &line[..line.len() - 150];
        assert!(cut.contains("node9"), "{cut}");
        let found = said(cut.as_bytes());
        let problem = "2026-06-25 11:24:01,123+0200: the parameters of a start: at character";
        assert!(found.starts_with(problem), "{found}");
        for other in ["node7", "node99", "my-node9", "node9.old"] {
            let others = format!("{}\n{}", cut.replace("node9", other), line);
            let time = "2026-06-25 11:24:01,123+0200";
            assert_eq!(said(others.as_bytes()), time, "{other}");
        }
        // One that is cut before the name may have been its.
        let unread = |log: &str| find(log.as_bytes(), "node9").map(|start| start.unread);
        let start = &line[..line.find("<domain>").unwrap()];
        assert_eq!(unread(&format!("{start}\n{line}")).unwrap(), 0);
        assert_eq!(unread(&format!("{line}{start}\n{start}")).unwrap(), 2);
    }

    #[test]
    fn others_of_the_name_are_known() -> Result {
        let other = "11111111-9d3b-4e57-8a40-0c6f3b1d2e99";
        let log = [ID, other, ID, other].map(|id| create("01", "node7", id, ""));
        assert_eq!(find(log.concat().as_bytes(), "node7")?.namesakes, [ID]);
        assert!(find(log.concat().as_bytes(), ID)?.namesakes.is_empty());
        Ok(())
    }
}
