// SPDX-License-Identifier: GPL-2.0-or-later

//! Root helper of the hook promisc: sets up and takes down what diverts packets, on standard input
//! `start VMID` and a line `SOURCE TARGET MODE` for each pair, or `stop VMID`.

use std::process::ExitCode;
use std::time::Duration;

use vdsm_hooks::host::state::{self, Records};
use vdsm_hooks::props::is_uuid;
use vdsm_hooks::{Error, Result, hook, program};

mod pair;
mod traffic;

use pair::{Mode, Pair, START, STOP};
use traffic::Traffic;

const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_REQUEST_BYTES: u64 = 16 << 10;
const MAX_PAIRS: usize = 32;

fn main() -> ExitCode {
    hook::run_helper_on_request(program!(), pair::HELPER_TIMEOUT, MAX_REQUEST_BYTES, serve)
}

fn serve(request: &str) -> Result {
    let mut lines = request.lines();
    let first = lines.next().unwrap_or_default();
    let (verb, vm) = first.split_once(' ').unwrap_or_default();
    if !is_uuid(vm) {
        return Err(bad(first, "start or stop, and a VM's id"));
    }
    let lines: Vec<_> = lines.collect();
    match verb {
        STOP if lines.is_empty() => {
            let _lock = state::lock(traffic::HOOK, TIMEOUT)?;
            Traffic::for_vm(&Records::for_hook(traffic::HOOK)?, vm).stop()
        }
        START if (1..=MAX_PAIRS).contains(&lines.len()) => {
            let pairs = lines.into_iter().map(parse);
            let pairs = pairs.collect::<Result<Vec<Pair>>>()?;
            let _lock = state::lock(traffic::HOOK, TIMEOUT)?;
            Traffic::for_vm(&Records::for_hook(traffic::HOOK)?, vm).start(&pairs)
        }
        _ => Err(bad(first, "start with 1 to 32 pairs, or stop")),
    }
}

fn parse(line: &str) -> Result<Pair> {
    let expected = "a device, a device, and mirror or redirect";
    let words: Vec<_> = line.split(' ').collect();
    let [source, target, mode] = words[..] else {
        return Err(bad(line, expected));
    };
    let mode = Mode::parse(mode).ok_or_else(|| bad(line, expected))?;
    let pair = Pair {
        source: source.to_owned(),
        target: target.to_owned(),
        mode,
    };
    pair.check()?;
    Ok(pair)
}

fn bad(line: &str, expected: &str) -> Error {
    Error::new(format!("{line:?}: expected {expected}"))
}
