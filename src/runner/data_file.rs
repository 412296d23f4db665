// SPDX-License-Identifier: GPL-2.0-or-later

//! What VDSM would hand to the hooks of an event (VDSM 4.50 lib/vdsm/common/hooks.py: `_runHooksDir`):
//! made from the administrator's file.

use std::path::Path;

use roxmltree::Node;
use serde_json::Value;

use crate::host::files;
use crate::libvirt::domain;
use crate::vdsm::events::{Data, Environment, Event, Shape, Start};
use crate::{Context as _, Error, Result, json, props, xml};

use super::environment::Variables;

/// Namespace of oVirt's metadata, which holds the custom properties.
const OVIRT: &str = "http://ovirt.org/vm/1.0";
/// Far above any domain XML.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// Where the data comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// From nowhere: there are events that need none.
    Nothing,
    /// A file, or standard input where it is `-`.
    File(&'a Path),
    /// This text, and what errors call it.
    Text(&'a str, &'a str),
}

impl Source<'_> {
    /// The text; none if there is none.
    fn text(self) -> Result<Option<String>> {
        Ok(match self {
            Source::Nothing => None,
            Source::File(file) => {
                let bytes = files::read_or_standard_input(file, MAX_BYTES)?;
                Some(String::from_utf8(bytes).context(self.name())?)
            }
            Source::Text(text, _) => Some(text.to_owned()),
        })
    }

    /// What errors call it.
    fn name(self) -> String {
        match self {
            Source::Nothing => String::new(),
            Source::File(file) if file == Path::new(files::STANDARD_INPUT) => {
                "standard input".to_owned()
            }
            Source::File(file) => file.display().to_string(),
            Source::Text(_, name) => name.to_owned(),
        }
    }
}

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
    /// Whether the VM is to be paused when it starts, from the metadata.
    pub is_paused: bool,
}

/// Reads what the event needs from `source`; `device` chooses one device of a domain.
///
/// # Errors
/// The source cannot be read, is not what the event hands over, or there is none where there must
/// be.
pub fn input(event: &Event, source: Source<'_>, device: Option<&str>) -> Result<Input> {
    if event.data.is_json() {
        return from_json(event, source);
    }
    match source.text()? {
        Some(text) => from_xml(event, &text, device).context(source.name()),
        None if matches!(event.data, Data::Domain | Data::Device) => Err(Error::new(format!(
            "VDSM hands over {} at {}: name a file with --domain",
            event.data, event.name
        ))),
        None => Ok(Input::default()),
    }
}

fn from_json(event: &Event, source: Source<'_>) -> Result<Input> {
    let text = match (event.data, source.text()?) {
        (Data::EmptyObject, _) => "{}".to_owned(),
        (_, Some(text)) => text,
        (_, None) => {
            return Err(Error::new(format!(
                "VDSM hands over JSON at {}: name a file with --data",
                event.name
            )));
        }
    };
    let value = serde_json::from_str(&text)
        .context(source.name())
        .context("not JSON")?;
    if let Some(problem) = event.shape().and_then(|shape| misshapen(shape, &value)) {
        let (name, event) = (source.name(), event.name);
        return Err(Error::new(format!(
            "{name}: not what VDSM hands over at {event}: {problem}"
        )));
    }
    Ok(Input {
        // The way VDSM writes it.
        data: json::to_ascii(&value)?.into_bytes(),
        ..Input::default()
    })
}

/// What keeps VDSM from using JSON of an event.
fn misshapen(shape: Shape, value: &Value) -> Option<String> {
    let not = |wanted: &str, found: &Value| format!("expected {wanted}, found {}", kind(found));
    match shape {
        Shape::Object if value.is_object() => None,
        Shape::Object => Some(not("an object", value)),
        Shape::Request => {
            let Some(request) = value.get("request") else {
                return Some("expected an object with \"request\"".to_owned());
            };
            let mut members = ["networks", "bondings", "options"].iter();
            members.find_map(|name| match request.get(name) {
                Some(member) if member.is_object() => None,
                Some(member) => Some(not(&format!("an object as \"{name}\""), member)),
                None => Some(format!("\"request\" has no \"{name}\"")),
            })
        }
        Shape::FirstObject => match value.as_array().map(|array| array.first()) {
            Some(Some(first)) if first.is_object() => None,
            Some(Some(first)) => Some(not("an array with an object", first) + " in it"),
            Some(None) => Some("expected an array with an object, found an empty one".to_owned()),
            None => Some(not("an array with an object", value)),
        },
        Shape::Objects => match value.as_array() {
            Some(array) => {
                let wrong = array.iter().find(|one| !one.is_object())?;
                Some(not("an array of objects", wrong) + " in it")
            }
            None => Some(not("an array of objects", value)),
        },
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
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
            // VDSM reads it where it makes the launch flags (VDSM fd4b0df20 lib/vdsm/virt/vm.py).
            let paused = vm
                .children()
                .find(|node| node.has_tag_name((OVIRT, "launchPaused")));
            input.is_paused = paused.is_some_and(|node| props::is_true(&xml::text(node)));
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
pub fn names(device: Node<'_, '_>) -> [Option<String>; 3] {
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
    let fits = |node: &&Node<'a, 'i>| {
        let element = event.device();
        element.is_none_or(|element| node.tag_name().name() == element)
    };
    let mut choices: Vec<String> = devices
        .iter()
        .filter(fits)
        .filter_map(|node| names(*node).into_iter().flatten().next())
        .collect();
    choices.dedup();
    Err(Error::new(match choices.as_slice() {
        [] => format!("{problem}; none of its devices fits"),
        choices => format!(
            "{problem}: choose one with --device: {}",
            choices.join(", ")
        ),
    }))
}

/// One element of the text as a document of its own.
fn alone(text: &str, node: Node<'_, '_>) -> Result<Vec<u8>> {
    let element = &text[node.range()];
    xml::parse(element).context("the device uses a namespace that is declared outside of it")?;
    Ok(format!("{element}\n").into_bytes())
}

/// Why VDSM could not go on with what the hooks left in the data file, where a VM starts in this way.
pub fn problem(event: &Event, start: Option<Start>, data: Option<&[u8]>) -> Option<String> {
    let Some(data) = data else {
        return Some("the data file is gone".to_owned());
    };
    let text = match std::str::from_utf8(data) {
        Ok(text) => text,
        Err(error) => return Some(format!("not UTF-8 at byte {}", error.valid_up_to())),
    };
    if event.data.is_json() {
        // VDSM parses it whatever becomes of it.
        return match serde_json::from_str::<Value>(text) {
            Err(error) => Some(format!("not JSON: {error}")),
            Ok(_) if !event.output_used => None,
            Ok(value) => misshapen(event.shape()?, &value),
        };
    }
    // A whole document that goes nowhere is not parsed; a device is, to be put into one.
    if !event.output_used || (event.data == Data::Domain && !event.output_used_at(start)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vdsm::events;

    #[test]
    fn json_has_the_shape_that_vdsm_takes_apart() {
        let request = r#"{"request": {"networks": {}, "bondings": {}, "options": {}}}"#;
        for (event, text, problem) in [
            ("after_get_caps", "{}", None),
            (
                "after_get_caps",
                "[]",
                Some("expected an object, found an array"),
            ),
            (
                "after_get_stats",
                "null",
                Some("expected an object, found null"),
            ),
            (
                "after_hostdev_list_by_caps",
                "\"\"",
                Some("expected an object, found a text"),
            ),
            ("before_network_setup", request, None),
            (
                "before_network_setup",
                "[]",
                Some("expected an object with \"request\""),
            ),
            (
                "before_network_setup",
                r#"{"request": {"networks": {}, "options": {}}}"#,
                Some("\"request\" has no \"bondings\""),
            ),
            (
                "before_network_setup",
                r#"{"request": {"networks": [], "bondings": {}, "options": {}}}"#,
                Some("expected an object as \"networks\", found an array"),
            ),
            ("after_get_vm_stats", "[{}, 1]", None),
            (
                "after_get_vm_stats",
                "[]",
                Some("expected an array with an object, found an empty one"),
            ),
            (
                "after_get_vm_stats",
                "[true]",
                Some("expected an array with an object, found a boolean in it"),
            ),
            (
                "after_get_vm_stats",
                "{}",
                Some("expected an array with an object, found an object"),
            ),
            ("after_get_all_vm_stats", "[]", None),
            (
                "after_get_all_vm_stats",
                "[{}, []]",
                Some("expected an array of objects, found an array in it"),
            ),
            (
                "after_get_all_vm_stats",
                "{}",
                Some("expected an array of objects, found an object"),
            ),
            // What goes nowhere only has to be JSON.
            ("after_network_setup", "1", None),
            ("before_get_caps", "1", None),
        ] {
            let found = events::find(event)
                .and_then(|event| super::problem(event, None, Some(text.as_bytes())));
            assert_eq!(found.as_deref(), problem, "{event} {text}");
        }
    }

    #[test]
    fn a_document_that_goes_nowhere_need_not_be_one() {
        let broken = |event: &str, start| {
            events::find(event).is_some_and(|event| problem(event, start, Some(b"<a>")).is_some())
        };
        assert!(broken("before_vm_start", Some(Start::Cold)));
        assert!(!broken("before_vm_start", Some(Start::Resume)));
        assert!(broken("before_device_create", Some(Start::Resume)));
        assert!(!broken("after_vm_start", None));
    }
}
