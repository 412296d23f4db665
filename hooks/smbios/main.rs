// SPDX-License-Identifier: GPL-2.0-or-later

//! Sets fields of the SMBIOS tables that the guest reads.
//!
//! Event: `before_vm_start`.
//!
//! Property: `smbios`, dictionaries of field to value, joined by `^`. Absent: nothing happens.
//!
//! `vendor`, `version`, `date` and `release` are the BIOS's; every other field is the system's.

mod date;

use std::process::ExitCode;

use vdsm_hooks::libvirt::domain;
use vdsm_hooks::props::Literal;
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "smbios";
const EXAMPLE: &str = "{'serial': 'X1'}^{'vendor': 'Acme'}";
/// The fields that libvirt knows (libvirt 9.0 src/conf/domain_conf.c: `virSysinfoBIOSParseXML`,
/// `virSysinfoSystemParseXML`).
const BIOS: [&str; 4] = ["vendor", "version", "date", "release"];
const SYSTEM: [&str; 7] = [
    "manufacturer",
    "product",
    "version",
    "serial",
    "uuid",
    "sku",
    "family",
];

struct Field {
    block: &'static str,
    name: String,
    value: String,
}

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(value) = props::text(PROPERTY)? else {
        return Ok(());
    };
    let mut fields = Vec::new();
    for part in value.split('^') {
        for field in parse(part).map_err(|error| props::wrong(PROPERTY, part, error))? {
            set(&mut fields, field);
        }
    }
    hook::edit(|document, edits| write_fields(document, edits, &fields))
}

fn write_fields(document: &Document<'_>, edits: &mut Edits<'_>, fields: &[Field]) -> Result {
    let root = domain::root(document)?;
    domain::check_is_machine(root)?;
    check_uuid(root, fields)?;
    if xml::children(root, "sysinfo").any(|sysinfo| xml::attr(sysinfo, "type").is_none()) {
        return Err(Error::new(format!(
            "{PROPERTY}: the domain has a <sysinfo> without a type, which libvirt refuses"
        )));
    }
    let is_smbios = |sysinfo: &Node<'_, '_>| xml::attr(*sysinfo, "type") == Some("smbios");
    let sysinfo = xml::children(root, "sysinfo").find(is_smbios);
    let mut blocks: Vec<&'static str> = Vec::new();
    for field in fields {
        if !blocks.contains(&field.block) {
            blocks.push(field.block);
        }
    }
    let mut new_blocks = Vec::new();
    for name in blocks {
        let fields = fields.iter().filter(|field| field.block == name);
        match sysinfo.and_then(|sysinfo| xml::child(sysinfo, name)) {
            Some(block) => fields.for_each(|field| set_entry(block, edits, field)),
            None => new_blocks
                .push(fields.fold(Element::new(name), |block, field| block.child(entry(field)))),
        }
    }
    match sysinfo {
        Some(sysinfo) => new_blocks
            .iter()
            .for_each(|block| edits.append(sysinfo, block)),
        None => {
            let new = Element::new("sysinfo").attr("type", "smbios");
            edits.append(root, &new_blocks.into_iter().fold(new, Element::child));
        }
    }
    // Without it libvirt does not hand the tables to the guest (libvirt 9.0 src/qemu/qemu_command.c:
    // qemuBuildSmbiosCommandLine).
    let Some(os) = xml::child(root, "os") else {
        return Ok(());
    };
    match xml::child(os, "smbios").map(|smbios| xml::attr(smbios, "mode")) {
        None => edits.append(os, &Element::new("smbios").attr("mode", "sysinfo")),
        Some(Some("sysinfo")) => {}
        Some(mode) => log::warn!(
            "{PROPERTY}: the domain has <smbios mode={:?}>, with which the guest sees none of the fields, expected mode=\"sysinfo\"",
            mode.unwrap_or_default()
        ),
    }
    Ok(())
}

fn set_entry(block: Node<'_, '_>, edits: &mut Edits<'_>, field: &Field) {
    let same_name = |entry: &Node<'_, '_>| xml::attr(*entry, "name") == Some(&field.name);
    match xml::children(block, "entry").find(same_name) {
        Some(entry) => edits.set_text(entry, &field.value),
        None => edits.append(block, &entry(field)),
    }
}

fn entry(field: &Field) -> Element {
    Element::new("entry")
        .attr("name", &field.name)
        .text(&field.value)
}

fn check_uuid(root: Node<'_, '_>, fields: &[Field]) -> Result {
    let plain = |uuid: &str| uuid.trim().replace('-', "").to_ascii_lowercase();
    let vm = xml::child(root, "uuid").map(xml::text).unwrap_or_default();
    match fields
        .iter()
        .find(|field| field.block == "system" && field.name == "uuid")
    {
        Some(field) if plain(&field.value) != plain(&vm) => Err(props::wrong(
            PROPERTY,
            &field.value,
            format!("libvirt takes no uuid other than the VM's, {vm}"),
        )),
        _ => Ok(()),
    }
}

/// The fields of one part.
fn parse(part: &str) -> Result<Vec<Field>> {
    let form = || {
        Error::new(format!(
            "expected dictionaries of field to value, as in {EXAMPLE}"
        ))
    };
    let literal =
        Literal::parse(part).map_err(|error| Error::new(format!("{error}, as in {EXAMPLE}")))?;
    let entries = literal
        .as_dict()
        .filter(|entries| !entries.is_empty())
        .ok_or_else(form)?;
    entries
        .into_iter()
        .map(|(name, value)| field(name, value).ok_or_else(form)?)
        .collect()
}

/// None if the literals are of other kinds than a field has.
fn field(name: &Literal, value: &Literal) -> Option<Result<Field>> {
    let name = name.as_text().filter(|name| !name.is_empty())?;
    let (Literal::Text(value) | Literal::Integer(value)) = value else {
        return None;
    };
    let block = if BIOS.contains(&name) {
        "bios"
    } else {
        "system"
    };
    Some(check(name, value, block).map(|()| Field {
        block,
        name: name.to_owned(),
        value: value.clone(),
    }))
}

fn check(name: &str, value: &str, block: &str) -> Result {
    xml::check_characters(name)
        .and_then(|()| xml::check_characters(value))
        .context(name)?;
    if name == "date" && !date::is_date(value) {
        return Err(Error::new("date: expected mm/dd/yyyy or mm/dd/yy"));
    }
    if block == "system" && !SYSTEM.contains(&name) {
        let known = [&BIOS[..], &SYSTEM[..]].concat().join(", ");
        log::warn!("{PROPERTY}: libvirt ignores the field {name:?}, it knows {known}");
    }
    Ok(())
}

/// Of a field that is given twice the last value counts.
fn set(fields: &mut Vec<Field>, field: Field) {
    match fields
        .iter_mut()
        .find(|known| known.block == field.block && known.name == field.name)
    {
        Some(known) => *known = field,
        None => fields.push(field),
    }
}
