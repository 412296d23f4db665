// SPDX-License-Identifier: GPL-2.0-or-later

//! Limits the bandwidth of single NICs, chosen by MAC address.
//!
//! Events: `before_vm_start`, `before_nic_hotplug`, `before_update_device`.
//!
//! Property: `qos`, entries `MAC=in{...}^out{...}` joined by `&`. Absent or blank: nothing
//! happens. What is said about one direction leaves the other as it was.
//!
//! libvirt takes the first `<bandwidth>` of a NIC, and the engine writes one into every NIC, so
//! this one replaces what is there.

use std::process::ExitCode;

use vdsm_hooks::libvirt::interface;
use vdsm_hooks::props::Mac;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "qos";
const EXAMPLE: &str = "52:54:00:00:00:01=in{'average':'1000'}^out{'average':'500'}";
/// The directions in the property and in the document.
const DIRECTIONS: [(&str, &str); 2] = [("in", "inbound"), ("out", "outbound")];
/// KiB/s, and KiB for the burst.
const KEYS: [&str; 4] = ["average", "peak", "burst", "floor"];

/// The values of one direction, in the order of [`KEYS`].
type Limits = [Option<String>; KEYS.len()];
/// Both directions.
type Bandwidth = [Option<Limits>; DIRECTIONS.len()];

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::given(PROPERTY)? else {
        return Ok(());
    };
    let entries = parse(&value)?;
    hook::edit(|document, edits| limit(document, edits, &entries))
}

fn limit(document: &Document<'_>, edits: &mut Edits<'_>, entries: &[(Mac, Bandwidth)]) -> Result {
    let interfaces = interface::all(document)?.into_iter();
    let interfaces: Vec<_> = interfaces.map(|nic| (interface::mac(nic), nic)).collect();
    // An event of one NIC says nothing about the others.
    let is_domain = xml::is(document.root_element(), "domain");
    for (mac, bandwidth) in entries {
        let mut found = interfaces
            .iter()
            .filter(|(own, _)| *own == Some(*mac))
            .peekable();
        if is_domain && found.peek().is_none() {
            let problem = "the VM has no NIC with this MAC address";
            return Err(props::wrong(PROPERTY, &mac.to_string(), problem));
        }
        for (_, interface) in found {
            let done = set(*interface, edits, bandwidth);
            done.map_err(|error| props::wrong(PROPERTY, &mac.to_string(), error))?;
        }
    }
    Ok(())
}

fn set(interface: Node<'_, '_>, edits: &mut Edits<'_>, given: &Bandwidth) -> Result {
    let (label, kind) = (interface::label(interface), interface::kind(interface));
    // On the others libvirt silently does nothing (libvirt 9.0 src/qemu/qemu_command.c:
    // qemuBuildInterfaceCommandLine asks virNetDevSupportsBandwidth).
    if !["bridge", "network", "ethernet", "direct"].contains(&kind) {
        return Err(Error::new(format!(
            "{label} cannot be limited (type {kind})"
        )));
    }
    if kind != "network" && matches!(given[0], Some([.., Some(_)])) {
        log::warn!(
            "{PROPERTY}: {label}: libvirt takes floor only on a NIC of type network, not {kind}"
        );
    }
    let present: Vec<_> = xml::children(interface, "bandwidth").collect();
    let current = present.first().map(|first| read(*first));
    let mut wanted = given.clone();
    for (limits, before) in wanted.iter_mut().zip(current.clone().unwrap_or_default()) {
        *limits = limits.take().or(before);
    }
    if present.len() == 1 && current.as_ref() == Some(&wanted) {
        return Ok(());
    }
    for old in present {
        edits.remove(old);
    }
    let mut new = Element::new("bandwidth");
    for ((_, element), limits) in DIRECTIONS.iter().zip(wanted) {
        let Some(limits) = limits else { continue };
        let mut direction = Element::new(element);
        for (key, number) in KEYS.iter().zip(limits) {
            if let Some(number) = number {
                direction = direction.attr(key, &number);
            }
        }
        new = new.child(direction);
    }
    edits.append(interface, &new);
    Ok(())
}

/// What a `<bandwidth>` says.
fn read(bandwidth: Node<'_, '_>) -> Bandwidth {
    DIRECTIONS.map(|(_, element)| {
        let direction = xml::child(bandwidth, element)?;
        Some(KEYS.map(|key| xml::attr(direction, key).map(str::to_owned)))
    })
}

fn parse(value: &str) -> Result<Vec<(Mac, Bandwidth)>> {
    let mut entries: Vec<(Mac, Bandwidth)> = Vec::new();
    for text in value.split('&') {
        let entry = parse_entry(text).and_then(|(mac, bandwidth)| {
            if entries.iter().any(|(known, _)| *known == mac) {
                return Err(Error::new("this MAC address has an entry already"));
            }
            Ok((mac, bandwidth))
        });
        entries.push(entry.map_err(|error| props::wrong(PROPERTY, text, error))?);
    }
    Ok(entries)
}

fn parse_entry(text: &str) -> Result<(Mac, Bandwidth)> {
    let form = || Error::new(format!("expected an entry as in {EXAMPLE}"));
    let (mac, parts) = text.split_once('=').ok_or_else(form)?;
    let mac = Mac::parse(mac).ok_or_else(form)?;
    let mut bandwidth = Bandwidth::default();
    for part in parts.split('^') {
        let (word, body) = part.split_once('{').ok_or_else(form)?;
        let body = body.strip_suffix('}').ok_or_else(form)?;
        let Some(at) = DIRECTIONS.iter().position(|(known, _)| *known == word) else {
            return Err(Error::new(format!("{word:?} is neither in nor out")));
        };
        if bandwidth[at].is_some() {
            return Err(Error::new(format!("{word} is there twice")));
        }
        bandwidth[at] = Some(parse_limits(body, word).context(word)?);
    }
    Ok((mac, bandwidth))
}

/// Reads what is between the braces. Quotes are free, as is a comma at the end.
fn parse_limits(body: &str, direction: &str) -> Result<Limits> {
    let body = body.trim();
    let mut numbers = [None; KEYS.len()];
    for item in body.strip_suffix(',').unwrap_or(body).split(',') {
        let Some((key, number)) = item.split_once(':') else {
            return Err(Error::new(
                "expected 'key':'number', such as 'average':'1000'",
            ));
        };
        let (key, number) = (unquoted(key), unquoted(number));
        let Some(at) = KEYS.iter().position(|known| *known == key) else {
            let keys = KEYS.join(", ");
            return Err(Error::new(format!(
                "{key:?} is unknown, expected one of {keys}"
            )));
        };
        if key == "floor" && direction != "in" {
            return Err(Error::new("floor is for in only"));
        }
        if numbers[at].is_some() {
            return Err(Error::new(format!("{key} is there twice")));
        }
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = number
            .parse::<u32>()
            .ok()
            .filter(|parsed| digits && *parsed > 0);
        numbers[at] = Some(parsed.ok_or_else(|| {
            let most = u32::MAX;
            Error::new(format!(
                "{key}={number:?}: expected a whole number from 1 to {most}"
            ))
        })?);
    }
    let [average, peak, ..] = numbers;
    let average = average.ok_or_else(|| Error::new("average is missing"))?;
    if peak.is_some_and(|peak| peak < average) {
        return Err(Error::new("peak is below average"));
    }
    Ok(numbers.map(|number| number.map(|number| number.to_string())))
}

/// The word without blanks around it and without its quotes.
fn unquoted(word: &str) -> &str {
    let word = word.trim();
    let inside = |quote| word.strip_prefix(quote)?.strip_suffix(quote);
    inside('\'').or_else(|| inside('"')).unwrap_or(word)
}
