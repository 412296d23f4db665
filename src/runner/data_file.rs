// SPDX-License-Identifier: GPL-2.0-or-later

//! What VDSM would hand to the hooks of an event (VDSM 4.50 lib/vdsm/common/hooks.py: `_runHooksDir`):
//! made from the administrator's file.

use std::path::Path;

use roxmltree::Node;

use crate::host::files;
use crate::libvirt::domain;
use crate::vdsm::events::{Data, Environment, Event};
use crate::{Context as _, Error, Result, json, xml};

use super::environment::Variables;

/// Namespace of oVirt's metadata, which holds the custom properties.
const OVIRT: &str = "http://ovirt.org/vm/1.0";
/// Far above any domain XML.
const MAX_BYTES: u64 = 64 << 20;

/// The data, and what a domain XML says about its VM.
#[derive(Debug, Default)]
pub struct Input {
    /// Content of the data file.
    pub data: Vec<u8>,
    /// The VM's name; none if the data does not say.
    pub vm_name: Option<String>,
    /// Its id; none if the data does not say.
    pub vm_id: Option<String>,
    /// Custom properties of the VM, from the metadata.
    pub properties: Variables,
    /// Custom properties of the device, from the metadata.
    pub parameters: Variables,
}

/// Reads what the event needs from `file`; `device` chooses one device of a domain.
///
/// # Errors
/// The file cannot be read, is not what the event hands over, or there is none where there must be.
pub fn input(event: &Event, file: Option<&Path>, device: Option<&str>) -> Result<Input> {
    if event.data.is_json() {
        return from_json(event, file);
    }
    match file {
        Some(file) => {
            let text = utf8(file)?;
            from_xml(event, &text, device).context(file.display())
        }
        None if matches!(event.data, Data::Domain | Data::Device) => Err(Error::new(format!(
            "VDSM hands over {} at {}: name a file with --domain",
            event.data, event.name
        ))),
        None => Ok(Input::default()),
    }
}

fn utf8(file: &Path) -> Result<String> {
    String::from_utf8(files::read_file(file, MAX_BYTES)?).context(file.display())
}

fn from_json(event: &Event, file: Option<&Path>) -> Result<Input> {
    let text = match (file, event.data) {
        (_, Data::EmptyObject) => "{}".to_owned(),
        (Some(file), _) => utf8(file)?,
        (None, _) => {
            return Err(Error::new(format!(
                "VDSM hands over JSON at {}: name a file with --data",
                event.name
            )));
        }
    };
    let value = serde_json::from_str(&text)
        .context(file.unwrap_or(Path::new("")).display())
        .context("not JSON")?;
    Ok(Input {
        // The way VDSM writes it.
        data: json::to_ascii(&value)?.into_bytes(),
        ..Input::default()
    })
}

fn from_xml(event: &Event, text: &str, device: Option<&str>) -> Result<Input> {
    let document = xml::parse(text)?;
    let root = document.root_element();
    let is_domain = xml::is(root, "domain");
    let mut input = Input::default();
    if is_domain {
        let name = domain::vm_name(&document);
        input.vm_name = Some(name).filter(|name| !name.is_empty());
        input.vm_id = xml::child(root, "uuid").map(|uuid| xml::text(uuid).trim().to_owned());
        if let Some(vm) = metadata(root) {
            input.properties = custom(vm);
        }
    }
    input.data = match event.data {
        Data::Domain if is_domain => text.as_bytes().to_vec(),
        Data::Domain => {
            return Err(Error::new(format!(
                "VDSM hands over a whole domain at {}, and this is <{}>",
                event.name,
                root.tag_name().name()
            )));
        }
        Data::Device | Data::DeviceOrNothing if !is_domain => text.as_bytes().to_vec(),
        Data::DeviceOrNothing if device.is_none() => Vec::new(),
        Data::Device | Data::DeviceOrNothing => {
            let node = choose(root, device, event)?;
            if event.environment == Environment::VmAndParameters {
                input.parameters = device_properties(root, node);
            }
            alone(text, node)?
        }
        _ => Vec::new(),
    };
    Ok(input)
}

/// The VM's block of oVirt's metadata.
fn metadata<'a, 'i>(domain: Node<'a, 'i>) -> Option<Node<'a, 'i>> {
    let metadata = xml::child(domain, "metadata")?;
    metadata
        .children()
        .find(|node| node.has_tag_name((OVIRT, "vm")))
}

/// The custom properties right below `node`.
fn custom(node: Node<'_, '_>) -> Variables {
    node.children()
        .filter(|child| child.has_tag_name((OVIRT, "custom")))
        .flat_map(|custom| custom.children().filter(Node::is_element))
        .map(|property| (property.tag_name().name().to_owned(), xml::text(property)))
        .collect()
}

/// The custom properties that the metadata keeps for `device`, which it knows by MAC address,
/// target name or alias.
fn device_properties(domain: Node<'_, '_>, device: Node<'_, '_>) -> Variables {
    let known = [("mac_address", 0), ("name", 1), ("alias", 2)];
    let names = names(device);
    let is_ours = |entry: &Node<'_, '_>| {
        known.iter().any(|(attribute, number)| {
            let name = names[*number].as_deref();
            name.is_some() && xml::attr(*entry, attribute) == name
        })
    };
    let entries = metadata(domain).into_iter().flat_map(|vm| vm.children());
    entries
        .filter(|node| node.has_tag_name((OVIRT, "device")))
        .filter(is_ours)
        .flat_map(custom)
        .collect()
}

/// MAC address, target name and alias of a device.
fn names(device: Node<'_, '_>) -> [Option<String>; 3] {
    [("mac", "address"), ("target", "dev"), ("alias", "name")].map(|(element, attribute)| {
        let value = xml::child(device, element).and_then(|child| xml::attr(child, attribute));
        value.map(str::to_owned)
    })
}

fn choose<'a, 'i>(
    domain: Node<'a, 'i>,
    wanted: Option<&str>,
    event: &Event,
) -> Result<Node<'a, 'i>> {
    let devices = xml::children(domain, "devices").flat_map(|devices| devices.children());
    let devices: Vec<_> = devices.filter(Node::is_element).collect();
    let called = |node: &&Node<'a, 'i>, name: &str| {
        let mut names = names(**node).into_iter().flatten();
        names.any(|one| one.eq_ignore_ascii_case(name))
    };
    if let Some(wanted) = wanted {
        if let Some(found) = devices.iter().find(|node| called(node, wanted)) {
            return Ok(*found);
        }
    }
    let problem = match wanted {
        None => format!(
            "VDSM hands over one device at {}, and this is a whole domain",
            event.name
        ),
        Some(wanted) => format!("no device is called {wanted:?}"),
    };
    let mut choices: Vec<String> = devices
        .iter()
        .filter_map(|node| names(*node).into_iter().flatten().next())
        .collect();
    choices.dedup();
    Err(Error::new(format!(
        "{problem}: choose one with --device: {}",
        choices.join(", ")
    )))
}

/// One element of the text as a document of its own.
fn alone(text: &str, node: Node<'_, '_>) -> Result<Vec<u8>> {
    let element = &text[node.range()];
    xml::parse(element).context("the device uses a namespace that is declared outside of it")?;
    Ok(format!("{element}\n").into_bytes())
}

/// Why VDSM could not go on with what the hooks left in the data file.
pub fn problem(event: &Event, data: Option<&[u8]>) -> Option<String> {
    let Some(data) = data else {
        return Some("the data file is gone".to_owned());
    };
    let text = match std::str::from_utf8(data) {
        Ok(text) => text,
        Err(error) => return Some(format!("not UTF-8 at byte {}", error.valid_up_to())),
    };
    if event.data.is_json() {
        // VDSM parses it whatever becomes of it.
        let parsed = serde_json::from_str::<serde_json::Value>(text);
        return parsed.err().map(|error| format!("not JSON: {error}"));
    }
    if !event.output_used {
        return None;
    }
    // Unlike our hooks VDSM has nothing against a DTD.
    let error = xml::check_well_formed(text).err()?;
    Some(error.to_string())
}

/// The text as VDSM reads it back: all line ends are line feeds.
///
/// # Errors
/// It is not UTF-8.
pub fn read_back(data: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(data)?;
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}
