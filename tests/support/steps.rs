// SPDX-License-Identifier: GPL-2.0-or-later

//! A hook whose every step fails in turn.

use std::fs;
use std::process::Command;

use super::{Firing, Outcome, is_root, private_host};

/// The calls by which a hook and its libraries change something, or find out what is there.
const CALLS: [&str; 15] = [
    "openat",
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

/// Runs fresh firings with `what` (`error=EIO`, `signal=KILL`) done to the first, second, third of
/// each of [`CALLS`] and so on; `judge` gets each of them. How often that was.
pub fn each(
    what: &str,
    firing: impl Fn() -> Firing,
    mut judge: impl FnMut(&str, &Firing, &Outcome),
) -> usize {
    let mut count = 0;
    for calls in CALLS {
        for step in 1.. {
            let firing = firing();
            let log = firing.directory().join("strace");
            let trace = format!("trace={calls}");
            let inject = format!("inject={calls}:{what}:when={step}");
            let log_name = log.to_str().unwrap();
            let strace = ["strace", "-o", log_name, "-e", &trace, "-e", &inject];
            let firing = firing.inside(&strace);
            let outcome = firing.run();
            let log = fs::read_to_string(log).unwrap();
            if !log.contains("(INJECTED)") && !log.contains("killed by SIGKILL") {
                assert_eq!(outcome.status, Some(0), "{calls}: {outcome:?}");
                break;
            }
            count += 1;
            judge(
                &format!("{calls}, number {step}: {outcome:?}"),
                &firing,
                &outcome,
            );
            assert!(step < 1000, "{calls} has no end");
        }
    }
    count
}
