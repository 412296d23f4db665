// SPDX-License-Identifier: GPL-2.0-or-later

//! Copies the traffic of host networks into a VM, or diverts the VM's own traffic into the tap of
//! another one.
//!
//! Events: `after_vm_start`, `after_vm_migrate_destination`, which set the rules up;
//! `before_vm_destroy`, `after_vm_migrate_source`, which take them down.
//!
//! Property: `promisc`, `DEVICE:mirror` or `DEVICE:redirect`, several with commas between. Absent or
//! blank: nothing happens.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;

use vdsm_hooks::host::state::Records;
use vdsm_hooks::host::sudo::Program;
use vdsm_hooks::libvirt::interface;
use vdsm_hooks::vdsm::start;
use vdsm_hooks::xml::{self, Document};
use vdsm_hooks::{Error, Result, helper, hook, program, props};

mod pair;

use pair::{Mode, Pair, START, STOP};

const HOOK: &str = "promisc";
const HELPER: Program<'_> = Program::helper(helper!("promisc-tc"));

/// One of the property: the device, and what it is for.
type Item = (String, Mode);

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::given(HOOK)? else {
        return Ok(());
    };
    let items = parse(&value)?;
    match hook::event()?.as_str() {
        "before_vm_destroy" | "after_vm_migrate_source" => stop(),
        _ => start(&items, &value),
    }
}

fn start(items: &[Item], value: &str) -> Result {
    let vm = start::vm_id()?;
    hook::read(|document| {
        let taps = taps(document);
        if taps.is_empty() {
            return Err(Error::new("VM has no NIC to mirror to"));
        }
        let pairs = pairs(items, &taps);
        let mut request = format!("{START} {vm}\n");
        for pair in &pairs {
            pair.check()
                .map_err(|error| props::wrong(HOOK, value, error))?;
            writeln!(request, "{pair}")?;
        }
        ask(&request)?;
        for pair in pairs.iter().filter(|pair| pair.mode == Mode::Mirror) {
            let what = format!("{} is mirrored to {}", pair.source, pair.target);
            hook::report(HOOK, &what);
        }
        Ok(())
    })
}

/// What there is to take down is in the record.
fn stop() -> Result {
    let vm = start::vm_id()?;
    let taken_down = match Records::for_hook(HOOK)?.read(&vm)? {
        Some(_) => ask(&format!("{STOP} {vm}\n")),
        None => Ok(()),
    };
    taken_down.map_err(Error::keep_going)
}

fn ask(request: &str) -> Result {
    let answer = HELPER.run_with_input(request, pair::HELPER_TIMEOUT)?;
    answer.checked().map(drop)
}

/// The host's ends of the VM's NICs that are on bridges.
fn taps(document: &Document<'_>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    xml::devices(document, "interface")
        .into_iter()
        .filter(|interface| interface::kind(*interface) == "bridge")
        .filter_map(|interface| xml::attr(xml::child(interface, "target")?, "dev"))
        .filter(|tap| seen.insert(*tap))
        .map(str::to_owned)
        .collect()
}

/// One copy of a network is enough; of the VM's own traffic all is diverted.
fn pairs(items: &[Item], taps: &[String]) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    // Each tap is there once.
    for (at, (device, mode)) in items.iter().enumerate() {
        if items[..at].contains(&(device.clone(), *mode)) {
            continue;
        }
        let wanted = taps.iter().map(|tap| match mode {
            Mode::Mirror => (device, tap),
            Mode::Redirect => (tap, device),
        });
        let number = match mode {
            Mode::Mirror => 1,
            Mode::Redirect => taps.len(),
        };
        for (source, target) in wanted.take(number) {
            pairs.push(Pair {
                source: source.clone(),
                target: target.clone(),
                mode: *mode,
            });
        }
    }
    pairs
}

fn parse(value: &str) -> Result<Vec<Item>> {
    let item = |item: &str| {
        let (device, mode) = item.split_once(':')?;
        let mode = Mode::parse(mode)?;
        pair::is_name(device).then(|| (device.to_owned(), mode))
    };
    let items = value.split(',').map(|text| {
        item(text).ok_or_else(|| {
            let problem = format!("bad item {text:?}, expected DEVICE:mirror or DEVICE:redirect");
            props::wrong(HOOK, value, problem)
        })
    });
    items.collect()
}
