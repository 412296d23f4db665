// SPDX-License-Identifier: GPL-2.0-or-later

//! Connects a vNIC to one network picked at random out of a pool, at each start of the VM.
//!
//! Event: `before_device_create`.
//!
//! Property: `equivnets`, names of bridges separated by white space. Absent: nothing happens.
//!
//! Whether the bridge exists on this host is not checked; libvirt says so at the start. Unlike
//! other hooks it reports on success: the choice can be read nowhere else.

use std::process::ExitCode;

use vdsm_hooks::host::bridge;
use vdsm_hooks::libvirt::interface;
use vdsm_hooks::vdsm::network_choice;
use vdsm_hooks::xml::{self, Document, Edits, Node};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "equivnets";

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::text(PROPERTY)? else {
        return Ok(());
    };
    let mut picked = None;
    hook::edit(|document, edits| {
        picked = allocate(document, edits, &value)?;
        Ok(())
    })?;
    if let Some((name, number)) = picked {
        let text = format!("{PROPERTY}: picked {name:?} out of {number}");
        hook::report(env!("CARGO_BIN_NAME"), &text);
    }
    Ok(())
}

/// The name, and out of how many; none for a device that is no vNIC.
fn allocate<'v>(
    document: &Document<'_>,
    edits: &mut Edits<'_>,
    value: &'v str,
) -> Result<Option<(&'v str, usize)>> {
    let interface = document.root_element();
    if !xml::is(interface, "interface") {
        return Ok(None);
    }
    let pool: Vec<&str> = value.split_whitespace().collect();
    if pool.is_empty() {
        let problem = "the pool is empty, expected one or more bridge names";
        return Err(props::wrong(PROPERTY, value, problem));
    }
    let kind = xml::attr(interface, "type").unwrap_or_default();
    // The attribute of <source> has the name of the interface's type.
    if !["bridge", "network"].contains(&kind) {
        return Err(Error::new(format!(
            "{PROPERTY}: a vNIC of type {kind:?} cannot be moved to a bridge, expected bridge or network"
        )));
    }
    for network in &pool {
        check(network, kind)?;
    }
    network_choice::check_alone(PROPERTY, interface)
        .context(interface::label(interface))
        .map_err(|error| props::wrong(PROPERTY, value, error))?;
    let sources = interface
        .descendants()
        .filter(|node| xml::is(*node, "source"));
    let sources: Vec<_> = sources.collect();
    let lacks_attribute = |source: &Node<'_, '_>| xml::attr(*source, kind).is_none();
    if sources.is_empty() || sources.iter().any(lacks_attribute) {
        return Err(Error::new(format!(
            "{PROPERTY}: the vNIC's <source> has no attribute {kind:?}, so it cannot be moved"
        )));
    }
    let name = pick(&pool)?;
    for source in sources {
        edits.set_attr(source, kind, name);
    }
    Ok(Some((name, pool.len())))
}

fn check(name: &str, kind: &str) -> Result {
    let too_long = kind == "bridge" && name.len() > bridge::MAX_IFNAME_BYTES;
    if too_long || name.contains('/') || name.chars().any(char::is_control) {
        return Err(props::wrong(
            PROPERTY,
            name,
            "not the name of a bridge: expected at most 15 bytes without '/' and control characters",
        ));
    }
    Ok(())
}

/// One entry, each equally likely, by the system's random source. Of 2^64 numbers no entry gets
/// noticeably more than another.
fn pick<'a>(pool: &[&'a str]) -> Result<&'a str> {
    let number = getrandom::u64().context("the system's random source")?;
    Ok(pool[(number % pool.len() as u64) as usize])
}
