// SPDX-License-Identifier: GPL-2.0-or-later

//! The networks that are watched, and the stamps that the daemon leaves for the hook.

use std::fs;
use std::path::Path;

use vdsm_hooks::host::files;
use vdsm_hooks::json::{Node, Object};
use vdsm_hooks::{Context, Error, Result};

const NETWORKS: &str = "/var/lib/vdsm/persistence/netconf/nets";
/// A file for each network whose address has answered; its time is that of the last answer.
pub(crate) const STAMPS: &str = "/run/vdsm/checkips";
/// VDSM writes a few hundred bytes.
const MAX_BYTES: u64 = 1 << 20;
/// The properties, and ping's option for their addresses.
const PROPERTIES: [(&str, &str); 2] = [("checkipv4", "-4"), ("checkipv6", "-6")];

/// Ping's option and the address.
pub(crate) type Address = (&'static str, String);

/// What `pick` makes of each watched network of VDSM's configuration: of its name, its
/// configuration and its addresses. What cannot be read of that is a warning.
pub(crate) fn watched<T>(pick: impl Fn(&str, &Object<'_>, Vec<Address>) -> T) -> Vec<T> {
    let names = files::entries(Path::new(NETWORKS)).unwrap_or_else(|error| {
        log::warn!("{error}");
        Vec::new()
    });
    let read = |name: &String| {
        read(name, &pick).unwrap_or_else(|error| {
            log::warn!("{error}");
            None
        })
    };
    names.iter().filter_map(read).collect()
}

fn read<T>(name: &str, pick: impl Fn(&str, &Object<'_>, Vec<Address>) -> T) -> Result<Option<T>> {
    let path = Path::new(NETWORKS).join(name);
    let place = &path.display();
    // To open a pipe could block indefinitely.
    if !fs::metadata(&path).context(place)?.is_file() {
        return Err(Error::new(format!("{place}: not a file")));
    }
    let text = String::from_utf8(files::read_file(&path, MAX_BYTES)?).context(place)?;
    let network = Node::parse(&text).context(place)?.object();
    let network = network.ok_or_else(|| Error::new(format!("{place}: expected an object")))?;
    let Some(custom) = network.get("custom").and_then(Node::object) else {
        return Ok(None);
    };
    let address = |(property, option)| {
        let value = custom.get(property)?;
        (value.source() != "null").then(|| (option, value.text()))
    };
    let addresses: Vec<_> = PROPERTIES.into_iter().filter_map(address).collect();
    Ok((!addresses.is_empty()).then(|| pick(name, &network, addresses)))
}
