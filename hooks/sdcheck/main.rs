// SPDX-License-Identifier: GPL-2.0-or-later

//! Verifies the metadata seal of every storage domain that the VM's XML names, before it starts.
//!
//! Events: `before_vm_start`, `before_vm_migrate_destination`, `before_disk_hotplug`.
//!
//! Property: `sdcheck=off|warn|enforce|strict`, of the VM or of VDSM's environment; `enforce` if it
//! is not set or blank. `off` does not even parse, `warn` never stops a VM. `sdcheck_timeout`:
//! seconds to wait for storage.
//!
//! The file systems are looked at by children of this program, and the tags of volume groups by one
//! call of LVM; both are given up after that time. Nothing is ever written.

use std::panic;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use vdsm_hooks::finding::{self, Finding, Severity};
use vdsm_hooks::storage::lvm::Lvm;
use vdsm_hooks::storage::{self, Roots, probe};
use vdsm_hooks::xml::Document;
use vdsm_hooks::{Error, Result, hook, program, props};

const DEFAULT_SECONDS: u64 = 10;
/// Many more than any VM uses, each of which costs a thread and a child.
const MAX_DOMAINS: usize = 256;
/// The same for the places where those may be: a directory and a link of each, and what a Gluster
/// volume's hosts add.
const MAX_PLACES: usize = 1024;

fn main() -> ExitCode {
    if let Some(status) = probe::serve() {
        return status;
    }
    hook::run(program!(), run)
}

#[derive(Clone, Copy, PartialEq)]
enum Policy {
    Off,
    Warn,
    Enforce,
    Strict,
}

fn run() -> Result {
    let policies = [
        ("off", Policy::Off),
        ("warn", Policy::Warn),
        ("enforce", Policy::Enforce),
        ("strict", Policy::Strict),
    ];
    let policy = match props::given("sdcheck")? {
        Some(_) => props::choice("sdcheck", &policies)?,
        None => None,
    };
    let policy = policy.unwrap_or(Policy::Enforce);
    if policy == Policy::Off {
        return Ok(());
    }
    if policy == Policy::Warn {
        // Not even a mistake of ours stops the VM.
        panic::set_hook(Box::new(|info| {
            log::warn!("internal error, please report it: {info}");
            #[allow(clippy::exit)] // The only way out of a panic with a chosen status.
            std::process::exit(0);
        }));
    }
    let checked =
        seconds(policy).and_then(|seconds| hook::read(|document| check(document, policy, seconds)));
    if policy == Policy::Warn {
        // Whatever keeps the check from being made must not stop the VM.
        return checked.or_else(|error| {
            log::warn!("{error}");
            Ok(())
        });
    }
    checked
}

/// How long to wait for storage.
fn seconds(policy: Policy) -> Result<u64> {
    let wanted = match props::given("sdcheck_timeout") {
        Ok(Some(_)) => props::number("sdcheck_timeout", 1..=120),
        other => other.map(|_| None),
    };
    match wanted {
        // The storage is looked at all the same.
        Err(error) if policy == Policy::Warn => {
            log::warn!("{error}; waiting {DEFAULT_SECONDS} seconds");
            Ok(DEFAULT_SECONDS)
        }
        wanted => Ok(wanted?.unwrap_or(DEFAULT_SECONDS)),
    }
}

fn check(document: &Document<'_>, policy: Policy, seconds: u64) -> Result {
    let roots = roots()?;
    let uses = storage::uses(document, &roots);
    if uses.len() > MAX_DOMAINS {
        return Err(Error::new(format!(
            "the XML names {} storage domains, expected at most {MAX_DOMAINS}",
            uses.len()
        )));
    }
    let places = uses
        .iter()
        .map(|one| one.directories.len() + one.links.len() + one.guesses.len());
    let places: usize = places.sum();
    if places > MAX_PLACES {
        return Err(Error::new(format!(
            "the XML names {places} places of storage domains, expected at most {MAX_PLACES}"
        )));
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let checked = storage::check(&uses, &roots, &Lvm::new(end), end);
    let findings = storage::worst_first(&checked, &roots, seconds);
    let stops = match policy {
        Policy::Strict => !findings.is_empty(),
        Policy::Enforce => finding::worst(&findings) == Some(Severity::Problem),
        Policy::Off | Policy::Warn => false,
    };
    if stops {
        // One line for all of them: VDSM shows the administrator what is on stderr.
        let texts: Vec<_> = findings.iter().map(Finding::to_string).collect();
        return Err(Error::new(texts.join("; ")));
    }
    for finding in findings {
        log::warn!("{finding}");
    }
    Ok(())
}

/// Where VDSM keeps its links and mounts. A host can say otherwise than VDSM's settings.
fn roots() -> Result<Roots> {
    let mut roots = match path("sdcheck_repository")? {
        Some(repository) => Roots {
            repository,
            ..Roots::default()
        },
        None => Roots::of_host()?,
    };
    if let Some(run) = path("sdcheck_run")? {
        roots.run = run;
    }
    Ok(roots)
}

fn path(name: &str) -> Result<Option<PathBuf>> {
    match props::given(name)? {
        Some(value) if !value.starts_with('/') => {
            Err(props::wrong(name, &value, "expected an absolute path"))
        }
        value => Ok(value.map(PathBuf::from)),
    }
}
