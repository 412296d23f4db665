// SPDX-License-Identifier: GPL-2.0-or-later

//! The daemon of the hook checkips: asks the watched addresses in turns, and leaves a stamp for
//! each network of which one answers.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::OFlag;
use vdsm_hooks::host::command;
use vdsm_hooks::{Context, Error, Result, hook, program, props};

mod networks;

const INTERVAL: Duration = Duration::from_secs(20);
/// For ping to give up; and for us, where it is stuck in a name server.
const PING_SECONDS: &str = "15";
const TIMEOUT: Duration = Duration::from_secs(18);
/// A name in the DNS, or an address with its interface, is not longer.
const MAX_NAME_BYTES: usize = 253;

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    loop {
        let next = Instant::now() + INTERVAL;
        round();
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Asks all addresses at the same time.
fn round() {
    let networks = networks::watched(|name, _, addresses| (name.to_owned(), addresses));
    thread::scope(|scope| {
        for (network, addresses) in &networks {
            for (option, address) in addresses {
                let ask_one = move || {
                    if let Err(error) = ask(network, option, address) {
                        log::warn!("network {network:?}: {error}");
                    }
                };
                // Without a thread there is no answer this time.
                if let Err(error) = thread::Builder::new().spawn_scoped(scope, ask_one) {
                    log::warn!("network {network:?}: {error}");
                }
            }
        }
    });
}

fn ask(network: &str, option: &str, address: &str) -> Result {
    let shown = props::quoted(address);
    if !is_address(option, address) {
        return Err(Error::new(format!(
            "{shown}: expected an address or the name of a host"
        )));
    }
    let words = [
        option,
        "-n",
        "-q",
        "-c",
        "1",
        "-w",
        PING_SECONDS,
        "--",
        address,
    ];
    let output = command::run("ping", &words, TIMEOUT)
        .and_then(command::Output::checked)
        .context(format!("{shown} does not answer"));
    output.and_then(|_| stamp(network))
}

/// What the properties' regular expressions let pass.
fn is_address(option: &str, text: &str) -> bool {
    let extra = if option == "-6" { ":%" } else { "" };
    let inside = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c) || extra.contains(c);
    let first = |c: char| c.is_ascii_alphanumeric() || (c == ':' && !extra.is_empty());
    text.len() <= MAX_NAME_BYTES && text.starts_with(first) && text.chars().all(inside)
}

fn stamp(network: &str) -> Result {
    let path = Path::new(networks::STAMPS).join(network);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(&path)
        .and_then(|file| file.set_modified(SystemTime::now()))
        .context(path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ping_is_given() {
        for (option, address, fine) in [
            ("-4", "192.0.2.1", true),
            ("-4", "gw-1.example.com", true),
            ("-4", "2001:db8::1", false),
            ("-4", "", false),
            ("-4", "-I", false),
            ("-4", ".a", false),
            ("-4", "a b", false),
            ("-4", "a\n", false),
            ("-4", "ä", false),
            ("-6", "2001:db8::1", true),
            ("-6", "::1", true),
            ("-6", "fe80::1%em1", true),
            ("-6", "gw-1.example.com", true),
            ("-6", "%em1", false),
            ("-6", "-c", false),
        ] {
            assert_eq!(is_address(option, address), fine, "{option} {address:?}");
        }
        assert!(is_address("-4", &"a".repeat(253)));
        assert!(!is_address("-4", &"a".repeat(254)));
    }
}
