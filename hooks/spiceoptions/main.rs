// SPDX-License-Identifier: GPL-2.0-or-later

//! Tunes a VM's SPICE console: compression, streaming, mouse mode.
//!
//! Event: `before_vm_start`.
//!
//! Property: `spiceoptions`, a dictionary of element to a dictionary of attribute to value. Absent
//! or no SPICE display: nothing happens.
//!
//! An option that libvirt does not know is skipped with a warning, the others are applied.

use std::process::ExitCode;

use vdsm_hooks::props::Literal;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Result, hook, program, props};

const PROPERTY: &str = "spiceoptions";
const EXAMPLE: &str = "{'image': {'compression': 'glz'}}";
/// Element, its attribute, and the words that libvirt takes (libvirt 9.0 src/conf/domain_conf.c:
/// `virDomainGraphicsSpiceImageCompression` and those that follow it).
const OPTIONS: [(&str, &str, &[&str]); 6] = [
    (
        "image",
        "compression",
        &["auto_glz", "auto_lz", "quic", "glz", "lz", "off"],
    ),
    ("jpeg", "compression", &["auto", "never", "always"]),
    ("zlib", "compression", &["auto", "never", "always"]),
    ("playback", "compression", &["on", "off"]),
    ("streaming", "mode", &["filter", "all", "off"]),
    ("mouse", "mode", &["server", "client"]),
];

struct Setting {
    element: &'static str,
    attribute: &'static str,
    value: &'static str,
}

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    if props::text(PROPERTY)?.is_none() {
        return Ok(());
    }
    hook::edit(set_options)
}

fn set_options(document: &Document<'_>, edits: &mut Edits<'_>) -> Result {
    let is_spice = |display: &Node<'_, '_>| xml::attr(*display, "type") == Some("spice");
    let displays = xml::devices(document, "graphics")
        .into_iter()
        .filter(is_spice);
    let displays: Vec<_> = displays.collect();
    // A VM that lost its SPICE display starts, whatever its property says.
    if displays.is_empty() {
        log::warn!(
            "{PROPERTY}: the VM has no SPICE display{}, nothing is changed",
            others(document)
        );
        return Ok(());
    }
    let Some(literal) = props::literal(PROPERTY, EXAMPLE)? else {
        return Ok(());
    };
    let said = props::text(PROPERTY)?.unwrap_or_default();
    let settings = parse(&said, &literal)?;
    for display in displays {
        for Setting {
            element,
            attribute,
            value,
        } in &settings
        {
            match xml::child(display, element) {
                Some(option) => edits.set_attr(option, attribute, value),
                None => edits.append(display, &Element::new(element).attr(attribute, value)),
            }
        }
    }
    Ok(())
}

/// What displays the VM has instead, for the message.
fn others(document: &Document<'_>) -> String {
    let displays = xml::devices(document, "graphics").into_iter();
    let kinds: Vec<_> = displays.filter_map(|one| xml::attr(one, "type")).collect();
    match kinds[..] {
        [] => String::new(),
        [..] => format!(", only {}", kinds.join(", ")),
    }
}

/// The settings that libvirt knows, in the order of the value.
fn parse(given: &str, literal: &Literal) -> Result<Vec<Setting>> {
    let form = || {
        let problem = format!("expected a dictionary of dictionaries of strings, as in {EXAMPLE}");
        props::wrong(PROPERTY, given, problem)
    };
    let mut settings: Vec<Setting> = Vec::new();
    for (element, attributes) in literal.as_dict().ok_or_else(form)? {
        let element = element.as_text().ok_or_else(form)?;
        for (attribute, value) in attributes.as_dict().ok_or_else(form)? {
            let attribute = attribute.as_text().ok_or_else(form)?;
            let value = value.as_text().ok_or_else(form)?;
            match known(element, attribute, value) {
                Ok(setting) => {
                    // One element in two spellings is one setting: the last counts.
                    let same = settings.iter_mut().find(|s| s.element == setting.element);
                    match same {
                        Some(earlier) => *earlier = setting,
                        None => settings.push(setting),
                    }
                }
                Err(problem) => log::warn!("{PROPERTY}: {problem}; this option is skipped"),
            }
        }
    }
    Ok(settings)
}

fn known(element: &str, attribute: &str, value: &str) -> std::result::Result<Setting, String> {
    let option = OPTIONS
        .iter()
        .find(|(name, _, _)| name.eq_ignore_ascii_case(element));
    let Some((name, its_attribute, words)) = option else {
        let names: Vec<_> = OPTIONS.iter().map(|(name, _, _)| *name).collect();
        return Err(format!(
            "unknown element {}, expected one of {}",
            props::quoted(element),
            names.join(", ")
        ));
    };
    if *its_attribute != attribute {
        return Err(format!(
            "unknown attribute {} of {name}, expected {its_attribute}",
            props::quoted(attribute)
        ));
    }
    match words.iter().find(|word| **word == value) {
        Some(value) => Ok(Setting {
            element: name,
            attribute: its_attribute,
            value,
        }),
        None => Err(format!(
            "unknown {attribute} {} of {name}, expected one of {}",
            props::quoted(value),
            words.join(", ")
        )),
    }
}
