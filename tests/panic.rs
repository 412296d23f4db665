// SPDX-License-Identifier: GPL-2.0-or-later

//! A panic inside a hook is one line on stderr and exit status 2, not a death by signal. A program
//! of its own, because it has to panic in earnest: it runs itself as the hook.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::env;
use std::process::{Command, ExitCode};

use vdsm_hooks::hook::{self, Program};

const HOOK: Program = Program {
    name: "fragile",
    version: "1",
    help: "",
    description: "",
};

fn main() -> ExitCode {
    if env::var_os("BE_THE_HOOK").is_some() {
        return hook::run(HOOK, || panic!("first line\nsecond line"));
    }
    let output = Command::new(env::current_exe().unwrap())
        .env("BE_THE_HOOK", "1")
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let start =
        "fragile: internal error, please report it: first line\\nsecond line at tests/panic.rs:";
    assert!(stderr.starts_with(start), "{stderr}");
    println!("test a_panic_is_one_line_and_status_2 ... ok");
    ExitCode::SUCCESS
}
