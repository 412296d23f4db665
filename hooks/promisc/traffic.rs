// SPDX-License-Identifier: GPL-2.0-or-later

//! The kernel's filters that copy or divert packets, and the records of those that are ours.
//!
//! Of each VM there is a record under its id, one line `SOURCE TARGET MODE PREFERENCE` for each
//! pair; of each device one, `device:NAME`, with what it did not have before. They are written before
//! the steps that they tell of, so that all can be taken back after a crash at any point.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;
use vdsm_hooks::host::bridge::network_device;
use vdsm_hooks::host::command;
use vdsm_hooks::host::state::Records;
use vdsm_hooks::{Context as _, Error, Result};

use crate::pair::{self, Mode, Pair};

pub(crate) const HOOK: &str = "promisc";
const TIMEOUT: Duration = Duration::from_secs(5);
/// What distinguishes our filters from others on a device.
const FIRST_PREFERENCE: u16 = 49200;
const DIRECTIONS: [&str; 2] = ["ingress", "egress"];
/// What the record of a device can say.
const CLSACT: &str = "clsact";
const PROMISC: &str = "promisc";
/// The kernel's flag of a device that takes all packets (Linux 6.1 include/uapi/linux/if.h).
const IFF_PROMISC: u32 = 0x100;

pub(crate) struct Traffic<'a> {
    records: &'a Records,
    vm: &'a str,
}

/// A line of a VM's record.
struct Rule {
    source: String,
    mode: Mode,
    preference: u16,
}

impl<'a> Traffic<'a> {
    pub(crate) fn for_vm(records: &'a Records, vm: &'a str) -> Traffic<'a> {
        Traffic { records, vm }
    }

    /// Sets all of it up, in place of what the VM has; or nothing.
    pub(crate) fn start(&self, pairs: &[Pair]) -> Result {
        self.stop()?;
        let mut record = String::new();
        for pair in pairs {
            if let Err(error) = self.add(pair, &mut record) {
                return Err(match self.stop() {
                    Ok(()) => error,
                    Err(left) => Error::new(format!("{error}; not taken back: {left}")),
                });
            }
        }
        Ok(())
    }

    fn add(&self, pair: &Pair, record: &mut String) -> Result {
        let Pair {
            source,
            target,
            mode,
        } = pair;
        let kinds = kinds(source)?;
        let has_clsact = kinds.contains(CLSACT);
        if !has_clsact && kinds.contains("ingress") {
            return Err(Error::new(format!(
                "{source} has an ingress qdisc, as of VDSM's own port mirroring: expected none"
            )));
        }
        let preference = if has_clsact {
            free_preference(source)?
        } else {
            FIRST_PREFERENCE
        };
        *record += &format!("{pair} {preference}\n");
        self.records.write(self.vm, record)?;
        if !has_clsact {
            self.note(source, CLSACT)?;
            tc(&["qdisc", "add", "dev", source, CLSACT])?;
        }
        let (preference, mode) = (preference.to_string(), mode.to_string());
        for direction in DIRECTIONS {
            let mut words = vec![
                "filter",
                "add",
                "dev",
                source,
                direction,
                "pref",
                &preference,
            ];
            words.extend(["protocol", "all", "u32", "match", "u8", "0", "0"]);
            words.extend(["action", "mirred", "egress", &mode, "dev", target]);
            if pair.mode == Mode::Mirror {
                // Else the search ends here (tc-actions(8), iproute2 6.1), and a second sensor gets
                // nothing.
                words.push("continue");
            }
            tc(&words)?;
        }
        if pair.mode == Mode::Mirror && !is_promiscuous(source)? {
            self.note(source, PROMISC)?;
            ip(&["link", "set", "dev", source, PROMISC, "on"])?;
        }
        Ok(())
    }

    /// Takes down what the VM's record tells of. What fails is tried again the next time.
    pub(crate) fn stop(&self) -> Result {
        let Some(record) = self.records.read(self.vm)? else {
            return Ok(());
        };
        let rules = record.lines().map(parse).collect::<Result<Vec<Rule>>>();
        let rules = rules.context(format!("the record of {}", self.vm))?;
        let sources: BTreeSet<_> = rules.iter().map(|rule| &rule.source).collect();
        let mut failures = Vec::new();
        for source in sources {
            let rules = rules.iter().filter(|rule| rule.source == *source);
            let cleared = rules.map(remove).filter_map(Result::err);
            let before = failures.len();
            failures.extend(cleared);
            if failures.len() == before {
                failures.extend(self.leave(source).err());
            }
        }
        if failures.is_empty() {
            return self.records.remove(self.vm);
        }
        let failures: Vec<_> = failures.iter().map(Error::to_string).collect();
        Err(Error::new(failures.join("; ")))
    }

    /// Gives a device back as it was, if this VM was the last one.
    fn leave(&self, source: &str) -> Result {
        for other in self.records.names()? {
            if other == self.vm || other.starts_with("device:") {
                continue;
            }
            let record = self.records.read(&other)?.unwrap_or_default();
            let mut sources = record.lines().map(|line| line.split(' ').next());
            if sources.any(|one| one == Some(source)) {
                return Ok(());
            }
        }
        let name = device(source);
        let ours = self.records.read(&name)?.unwrap_or_default();
        if is_there(source) {
            if ours.lines().any(|line| line == PROMISC) {
                ip(&["link", "set", "dev", source, PROMISC, "off"])?;
            }
            // Somebody else may use it by now.
            let is_ours = ours.lines().any(|line| line == CLSACT);
            if is_ours && kinds(source)?.contains(CLSACT) && preferences(source)?.is_empty() {
                tc(&["qdisc", "del", "dev", source, CLSACT])?;
            }
        }
        self.records.remove(&name)
    }

    /// Writes down that a device is about to get something.
    fn note(&self, source: &str, what: &str) -> Result {
        let name = device(source);
        let ours = self.records.read(&name)?.unwrap_or_default();
        self.records.write(&name, &format!("{ours}{what}\n"))
    }
}

/// The name of a device's record.
fn device(name: &str) -> String {
    format!("device:{name}")
}

/// The record is the user vdsm's to write: it is taken for what it says of a filter with one of our
/// preferences, and [`remove`] asks that it is on a device that could have got one.
fn parse(line: &str) -> Result<Rule> {
    let words: Vec<_> = line.split(' ').collect();
    let rule = match words[..] {
        [source, _, mode, preference] if pair::is_name(source) => {
            let preference = preference.parse().ok();
            let preference = preference.filter(|number| *number >= FIRST_PREFERENCE);
            Mode::parse(mode)
                .zip(preference)
                .map(|(mode, preference)| Rule {
                    source: source.to_owned(),
                    mode,
                    preference,
                })
        }
        _ => None,
    };
    rule.ok_or_else(|| Error::new(format!("{line:?} is no line of a record")))
}

/// A tap is gone with its VM, and its filters with it.
fn remove(rule: &Rule) -> Result {
    if !is_there(&rule.source) {
        return Ok(());
    }
    pair::check_source(&rule.source, rule.mode).context("the record")?;
    let preference = rule.preference.to_string();
    for direction in DIRECTIONS {
        if filters(&rule.source, direction)?.contains(&rule.preference) {
            tc(&[
                "filter",
                "del",
                "dev",
                &rule.source,
                direction,
                "pref",
                &preference,
            ])?;
        }
    }
    Ok(())
}

fn free_preference(source: &str) -> Result<u16> {
    let taken = preferences(source)?;
    let free = (FIRST_PREFERENCE..=u16::MAX).find(|number| !taken.contains(number));
    free.ok_or_else(|| Error::new(format!("{source} has no room for another filter")))
}

/// The preferences of all filters in either direction, ours and others.
fn preferences(source: &str) -> Result<BTreeSet<u16>> {
    let mut all = BTreeSet::new();
    for direction in DIRECTIONS {
        all.extend(filters(source, direction)?);
    }
    Ok(all)
}

fn filters(source: &str, direction: &str) -> Result<BTreeSet<u16>> {
    if !kinds(source)?.contains(CLSACT) {
        return Ok(BTreeSet::new());
    }
    let filters = list(&["-j", "filter", "show", "dev", source, direction])?;
    let preference = |filter: &Value| u16::try_from(filter["pref"].as_u64()?).ok();
    Ok(filters.iter().filter_map(preference).collect())
}

/// The kinds of queueing that a device has.
fn kinds(source: &str) -> Result<BTreeSet<String>> {
    let qdiscs = list(&["-j", "qdisc", "show", "dev", source])?;
    let kind = |qdisc: &Value| qdisc["kind"].as_str().map(str::to_owned);
    Ok(qdiscs.iter().filter_map(kind).collect())
}

fn list(words: &[&str]) -> Result<Vec<Value>> {
    let what = || format!("tc {}", words.join(" "));
    let output = command::run("tc", words, TIMEOUT)?.checked();
    let output = output.context(what())?.stdout;
    if output.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&output).context(what())
}

fn tc(words: &[&str]) -> Result {
    run("tc", words)
}

fn ip(words: &[&str]) -> Result {
    run("ip", words)
}

fn run(program: &str, words: &[&str]) -> Result {
    let output = command::run(program, words, TIMEOUT).and_then(command::Output::checked);
    let what = format!("{program} {} failed", words.join(" "));
    output.map(drop).context(what)
}

fn is_there(device: &str) -> bool {
    network_device(device).exists()
}

fn is_promiscuous(device: &str) -> Result<bool> {
    let path = network_device(device).join("flags");
    let text = fs::read_to_string(&path).context(path.display())?;
    let flags = u32::from_str_radix(text.trim().trim_start_matches("0x"), 16);
    Ok(flags.context(path.display())? & IFF_PROMISC != 0)
}
