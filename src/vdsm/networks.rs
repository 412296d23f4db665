// SPDX-License-Identifier: GPL-2.0-or-later

//! The request that VDSM's network set-up hands over: networks, and what is to become of them. And
//! the networks that are set up already.

use std::fmt::Display;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::host::bridge::{MAX_IFNAME_BYTES, network_device};
use crate::host::files;
use crate::json::{Node, Object};
use crate::{Context, Error, Result, hook, props};

/// VDSM's running configuration: a file for each network and bond.
/// Above VDSM's running configuration. In that one VDSM takes every name, even one with a dot in front,
/// for a network or bond, and reads it (VDSM 4.50 lib/vdsm/network/netconfpersistence.py:
/// `Config._getConfigs`).
pub const STAGING: &str = "/var/lib/vdsm/staging";
const CONFIGURED: &str = "/var/lib/vdsm/staging/netconf";
const MAX_NETWORK_BYTES: u64 = 1 << 20;
const MAX_LIST_BYTES: u64 = 64 << 10;

/// A network that is being set up.
pub struct Network<'a> {
    /// Its name.
    pub name: String,
    /// The value of the custom property that was asked for.
    pub value: String,
    attributes: Object<'a>,
}

/// The networks that are set up with the custom property `property`, in the order of the request.
/// Those that are removed are none of them.
///
/// # Errors
/// The document is no such request, or the property is no string.
pub fn with_property<'a>(document: Node<'a>, property: &str) -> Result<Vec<Network<'a>>> {
    let mut found = Vec::new();
    for (name, attributes) in requested(document)?.members() {
        let attributes = attributes.object().ok_or_else(|| {
            Error::new(format!("network {name}: expected an object in the request"))
        })?;
        let is_set = |flag: &str| {
            attributes
                .get(flag)
                .is_some_and(|node| node.text() == "true")
        };
        let value = member(&attributes, "custom").and_then(|custom| custom.get(property));
        let Some(value) = value.filter(|_| !is_set("remove")) else {
            continue;
        };
        let value = value.string().ok_or_else(|| {
            Error::new(format!(
                "network {name}: {property}: expected a string, not {}",
                value.source()
            ))
        })?;
        found.push(Network {
            name: name.to_owned(),
            value,
            attributes,
        });
    }
    Ok(found)
}

/// The names of all networks of the request, removed ones too, in its order.
///
/// # Errors
/// The document is no such request.
pub fn names(document: Node<'_>) -> Result<Vec<String>> {
    let networks = requested(document)?;
    Ok(networks
        .members()
        .map(|(name, _)| name.to_owned())
        .collect())
}

/// Whether a word is anywhere in a request or in VDSM's running configuration, in upper or
/// lower case. Also true of what is no request.
///
/// # Errors
/// The configuration cannot be read.
pub fn mentions(document: Node<'_>, word: &str) -> Result<bool> {
    let request = document.object().and_then(|all| member(&all, "request"));
    let has = |name| request.as_ref().and_then(|it| member(it, name)).is_some();
    if !["networks", "bondings", "options"].into_iter().all(has) {
        return Ok(true);
    }
    let mut texts = document.source().as_bytes().to_vec();
    for kind in [Kind::Network, Kind::Bond] {
        for name in all(kind)? {
            let path = kind.directory().join(name);
            texts.extend(files::read_file(&path, MAX_NETWORK_BYTES)?);
        }
    }
    texts.make_ascii_lowercase();
    let mut places = texts.windows(word.len());
    Ok(places.any(|place| place == word.as_bytes()))
}

fn requested(document: Node<'_>) -> Result<Object<'_>> {
    let request = document.object().and_then(|all| member(&all, "request"));
    let networks = request.and_then(|request| member(&request, "networks"));
    networks.ok_or_else(|| hook::unexpected_json("an object with request.networks, an object"))
}

fn member<'a>(object: &Object<'a>, name: &str) -> Option<Object<'a>> {
    object.get(name).and_then(Node::object)
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A network.
    Network,
    /// A bond of NICs.
    Bond,
}

impl Kind {
    /// The member of the request that has all of them.
    pub fn member(self) -> &'static str {
        match self {
            Kind::Network => "networks",
            Kind::Bond => "bondings",
        }
    }

    /// How a message calls one.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Network => "network",
            Kind::Bond => "bond",
        }
    }

    /// Where VDSM keeps those that are set up.
    fn directory(self) -> PathBuf {
        Path::new(CONFIGURED).join(match self {
            Kind::Network => "nets",
            Kind::Bond => "bonds",
        })
    }
}

/// The file of VDSM's running configuration for a network or bond.
///
/// # Errors
/// Nothing can have this name.
pub fn configuration(kind: Kind, name: &str) -> Result<PathBuf> {
    if !is_interface(name) {
        let word = kind.word();
        return Err(Error::new(format!("{word} {name:?}: no such name can be")));
    }
    Ok(kind.directory().join(name))
}

/// Whether this is the path of such a file.
pub fn is_configuration(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kinds = [Kind::Network, Kind::Bond].into_iter();
    let mut paths = kinds.filter_map(|kind| configuration(kind, &name).ok());
    paths.any(|known| known.as_os_str() == path.as_os_str())
}

/// The attributes of a network that is set up already; none if there is no such network.
///
/// # Errors
/// VDSM's file cannot be read.
pub fn configured(name: &str) -> Result<Option<Value>> {
    attributes(&Kind::Network.directory().join(name))
}

/// The same of a bond.
///
/// # Errors
/// As [`configured`].
pub fn configured_bond(name: &str) -> Result<Option<Value>> {
    attributes(&Kind::Bond.directory().join(name))
}

fn attributes(path: &Path) -> Result<Option<Value>> {
    if !is_file(path)? {
        return Ok(None);
    }
    let text = files::read_file(path, MAX_NETWORK_BYTES)?;
    serde_json::from_slice(&text).context(path.display())
}

/// The names of all networks that are set up already.
///
/// # Errors
/// They cannot be listed.
pub fn all_configured() -> Result<Vec<String>> {
    all(Kind::Network)
}

/// The names of all bonds that are set up already.
///
/// # Errors
/// They cannot be listed.
pub fn all_bonds() -> Result<Vec<String>> {
    all(Kind::Bond)
}

/// Without hidden files, which are what is left of one that was being written, and what is no file.
fn all(kind: Kind) -> Result<Vec<String>> {
    let directory = kind.directory();
    let mut names = files::entries(&directory)?;
    names.retain(|name| !name.starts_with('.'));
    let files = names.into_iter().map(|name| {
        let is_file = is_file(&directory.join(&name))?;
        Ok(is_file.then_some(name))
    });
    files.filter_map(Result::transpose).collect()
}

/// Unlike [`Path::is_file`], what cannot be told is an error.
fn is_file(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.is_file()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context(path.display()),
    }
}

impl Network<'_> {
    /// The error of a part of the property's value.
    pub fn wrong(&self, property: &str, problem: impl Display) -> Error {
        let Network { name, value, .. } = self;
        Error::new(format!(
            "network {name}: {}",
            props::wrong(property, value, problem)
        ))
    }

    fn text(&self, name: &str) -> Option<String> {
        let node = self
            .attributes
            .get(name)
            .filter(|node| node.source() != "null")?;
        Some(node.text()).filter(|text| !text.is_empty())
    }

    /// A name that is an argument or part of a path afterwards.
    fn interface(&self, name: &str) -> Result<Option<String>> {
        match self.text(name) {
            Some(device) if !is_interface(&device) => Err(Error::new(format!(
                "network {}: {name} {device:?} is not the name of a network device",
                self.name
            ))),
            device => Ok(device),
        }
    }

    /// The NIC of a network that has one to itself, without a bond.
    ///
    /// # Errors
    /// No NIC can have this name.
    pub fn nic(&self) -> Result<Option<String>> {
        self.interface("nic")
    }

    /// The NICs below the network: those of its bond in the kernel's order, else its own.
    ///
    /// # Errors
    /// The bond cannot be read.
    pub fn nics(&self) -> Result<Vec<String>> {
        let Some(bond) = self.interface("bonding")? else {
            return Ok(self.nic()?.into_iter().collect());
        };
        let list = network_device(&bond).join("bonding/slaves");
        let nics =
            files::read_file(&list, MAX_LIST_BYTES).context(format!("network {}", self.name))?;
        let nics = String::from_utf8_lossy(&nics);
        Ok(nics.split_whitespace().map(str::to_owned).collect())
    }

    /// The device that has the network's addresses.
    ///
    /// # Errors
    /// The request names none.
    pub fn device(&self) -> Result<String> {
        let is_bridged = self.text("bridged").as_deref() == Some("true");
        if is_bridged || self.text("switch").as_deref() == Some("ovs") {
            return Ok(self.name.clone());
        }
        let below = match self.interface("bonding")? {
            Some(bond) => Some(bond),
            None => self.nic()?,
        };
        let below = below.ok_or_else(|| {
            Error::new(format!(
                "network {}: it has no device: neither nic nor bonding, and no bridge",
                self.name
            ))
        })?;
        Ok(match self.text("vlan") {
            Some(vlan) => format!("{below}.{vlan}"),
            None => below,
        })
    }
}

/// Whether a network device can have this name.
pub fn is_interface(name: &str) -> bool {
    let breaks = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    (1..=MAX_IFNAME_BYTES).contains(&name.len())
        && !name.starts_with(['-', '.'])
        && !name.contains(breaks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_network_devices() {
        for name in ["e", "eth0", "br-int", "a.b", "fifteen-bytes.."] {
            assert!(is_interface(name), "{name}");
        }
        for name in ["", ".", "-e", "a/b", "a b", "a\u{7f}b", "sixteen-bytes..."] {
            assert!(!is_interface(name), "{name:?}");
        }
    }
}
