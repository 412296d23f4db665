// SPDX-License-Identifier: GPL-2.0-or-later

//! A hook whose every step fails in turn.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Firing, Outcome, is_root, private_host};

/// The calls by which a hook and its libraries change something, or find out what is there.
const CALLS: [&str; 17] = [
    "openat",
    "openat2",
    "read",
    "write",
    "fsync",
    "chmod,fchmod",
    "chown,fchown",
    "link,linkat",
    "rename,renameat,renameat2",
    "unlink,unlinkat",
    "mkdir,mkdirat",
    "statx,newfstatat",
    "readlink,getdents64",
    "clone,clone3,vfork",
    "execve",
    "wait4,waitid",
    "pipe2,poll,ppoll",
];

/// Why nothing can be made to fail here.
pub fn why_not() -> Option<String> {
    if !is_root() {
        return Some("needs root for a private host".to_owned());
    }
    if let Err(reason) = private_host() {
        return Some(reason.to_owned());
    }
    let strace = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    match strace {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(format!("strace: {error}")),
    }
}

/// One call of the hook that something happens to.
pub struct Step {
    calls: &'static str,
    inject: String,
}

impl Step {
    /// The command to run the hook inside of, which writes what happened to `log`.
    pub fn strace(&self, log: &Path) -> Vec<String> {
        let log = log.to_str().unwrap();
        let trace = format!("trace={}", self.calls);
        let words = ["strace", "-o", log, "-e", &trace, "-e", &self.inject];
        words.map(str::to_owned).into()
    }
}

/// Calls `run` with `what` (`error=EIO`, `signal=KILL`) done to the first, second, third of each of
/// [`CALLS`] and so on; it returns the log, whatever the hook was run on, and how it ended. `judge`
/// gets each of them. How often that was.
pub fn every<T>(
    what: &str,
    mut run: impl FnMut(&Step) -> (PathBuf, T, Outcome),
    mut judge: impl FnMut(&str, &T, &Outcome),
) -> usize {
    let mut count = 0;
    for calls in CALLS {
        for number in 1.. {
            let inject = format!("inject={calls}:{what}:when={number}");
            let (log, host, outcome) = run(&Step { calls, inject });
            let log = fs::read_to_string(log).unwrap();
            if !log.contains("(INJECTED)") && !log.contains("killed by SIGKILL") {
                assert_eq!(outcome.status, Some(0), "{calls}: {outcome:?}");
                break;
            }
            count += 1;
            judge(
                &format!("{calls}, number {number}: {outcome:?}"),
                &host,
                &outcome,
            );
            assert!(number < 1000, "{calls} has no end");
        }
    }
    count
}

/// [`every`] with fresh firings.
pub fn each(
    what: &str,
    firing: impl Fn() -> Firing,
    judge: impl FnMut(&str, &Firing, &Outcome),
) -> usize {
    let run = |step: &Step| {
        let firing = firing();
        let log = firing.directory().join("strace");
        let words = step.strace(&log);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let firing = firing.inside(&words);
        let outcome = firing.run();
        (log, firing, outcome)
    };
    every(what, run, judge)
}
