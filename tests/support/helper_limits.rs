// SPDX-License-Identifier: GPL-2.0-or-later

//! Whether a helper that root runs ends by itself, where whatever it waits for never comes. Its limit
//! may be half an hour: all sleeps that are longer than that, but for two seconds, are shorter by as
//! much.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{in_namespace, is_root, program};

/// Makes the sleeps of one process shorter, those of its children not.
const SHORTER: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long seconds;

__attribute__((constructor)) static void begin(void) {
    seconds = atol(getenv("AHEAD"));
    unsetenv("LD_PRELOAD");
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left) {
    struct timespec shorter = *wanted;
    if (!(flags & TIMER_ABSTIME) && shorter.tv_sec > seconds)
        shorter.tv_sec -= seconds;
    return syscall(SYS_clock_nanosleep, clock, flags, &shorter, left);
}

int nanosleep(const struct timespec *wanted, struct timespec *left) {
    return clock_nanosleep(CLOCK_REALTIME, 0, wanted, left);
}
"#;
/// Long enough for the helper to be held up.
const SECONDS: u64 = 2;
/// Never ends, nor do its children.
const ENDLESS: &str = "#!/bin/sh
trap '' TERM HUP INT
sleep 1000000 &
while :; do sleep 1000000; done
";

/// A call of a helper.
pub struct Call<'a> {
    /// The helper's name.
    pub helper: &'a str,
    /// What it is told.
    pub arguments: &'a [&'a str],
    /// What it is told on standard input.
    pub input: &'a str,
    /// Programs of the host that never end, by name.
    pub endless: &'a [&'a str],
    /// Places of the host where nobody answers.
    pub dead: &'a [&'a str],
    /// After how many seconds it has to end.
    pub limit: u64,
}

impl Call<'_> {
    /// The helper says that it gives up, and ends with all that it has started; or why this machine
    /// cannot tell.
    pub fn gives_up(&self) -> Result<(), String> {
        if !is_root() {
            return Err("needs root for namespaces".to_owned());
        }
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let library = library(directory)?;
        for name in self.endless {
            for place in ["bin", "sbin"] {
                let path = directory.join("usr").join(place).join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, ENDLESS).unwrap();
                fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
            }
        }
        fs::create_dir_all(directory.join("usr")).unwrap();
        let command: Vec<_> = [program(self.helper).display().to_string()]
            .into_iter()
            .chain(self.arguments.iter().map(|word| (*word).to_owned()))
            .collect();
        let ahead = (self.limit - SECONDS).to_string();
        let description = json!({
            "over": [[directory.join("usr"), "/usr"]],
            "empty": ["/run"],
            "dead": self.dead,
            "jobs": [{
                "command": command,
                "env": {"LD_PRELOAD": library, "AHEAD": ahead, "LC_ALL": "C"},
                "input": self.input,
                "limit": 60,
            }],
            "patience": 20,
        });
        let file = directory.join("job.json");
        fs::write(&file, description.to_string()).unwrap();
        let answer = in_namespace(&file, &[])?;
        let job = &answer["jobs"][0];
        let said = format!("{}: gave up after {} s\n", self.helper, self.limit);
        assert_eq!(job["stderr"], said, "{answer}");
        assert_eq!(job["status"], 2, "{answer}");
        assert_eq!(answer["left"], json!([]), "{answer}");
        Ok(())
    }
}

/// Built as the linker of Rust's programs builds.
fn library(directory: &Path) -> Result<String, String> {
    let source = directory.join("shorter.c");
    fs::write(&source, SHORTER).unwrap();
    let library = directory.join("shorter.so").display().to_string();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", &library])
        .arg(source)
        .output()
        .map_err(|error| format!("cc: {error}"))?;
    if built.status.success() {
        Ok(library)
    } else {
        Err(String::from_utf8_lossy(&built.stderr).into_owned())
    }
}
