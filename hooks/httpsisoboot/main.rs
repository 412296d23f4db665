// SPDX-License-Identifier: GPL-2.0-or-later

//! Boots a VM from an ISO image on a web server, over https.
//!
//! Event: `before_vm_start`.
//!
//! Property: `httpsisoboot`, the image's URL. Absent: nothing happens.
//!
//! The image becomes a CD-ROM and the first boot device; every other boot order goes up by one.
//! `boot_hostdev` wants the first place as well: refused.

use std::net::Ipv6Addr;
use std::process::ExitCode;

use vdsm_hooks::libvirt::disk::Targets;
use vdsm_hooks::libvirt::{boot, domain};
use vdsm_hooks::xml::{self, Document, Edits, Element, Node};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "httpsisoboot";
const EXAMPLE: &str = "https://mirror.example/iso/rescue.iso";
const IDE_UNITS: [&str; 4] = ["hda", "hdb", "hdc", "hdd"];

/// Where the image is.
struct Image {
    host: String,
    port: u16,
    /// Without escapes: libvirt escapes it again.
    path: String,
    query: Option<String>,
}

fn main() -> ExitCode {
    hook::run(program!(), run)
}

fn run() -> Result {
    let Some(url) = props::text(PROPERTY)? else {
        return Ok(());
    };
    let image = parse(&url)
        .map_err(|problem| props::wrong(PROPERTY, &url, format!("{problem}, as in {EXAMPLE}")))?;
    boot::check_alone(PROPERTY).map_err(|error| props::wrong(PROPERTY, &url, error))?;
    hook::edit(|document, edits| boot_from(document, edits, &image).context(PROPERTY))
}

fn boot_from(document: &Document<'_>, edits: &mut Edits<'_>, image: &Image) -> Result {
    let devices = domain::devices(document)?;
    let places = boot::places(document)?;
    let source = image.source();
    let mut first = places.iter().filter(|place| place.order == 1);
    if first.any(|place| xml::is(place.device, "disk") && image.is_source_of(place.device)) {
        return Ok(());
    }
    let (bus, target) = free_target(document)?;
    boot::move_back(&places, edits);
    let driver = Element::new("driver").attr("name", "qemu");
    let cdrom = Element::new("disk")
        .attr("type", "network")
        .attr("device", "cdrom")
        .child(driver.attr("type", "raw"))
        .child(source)
        .child(Element::new("readonly"))
        .child(
            Element::new("target")
                .attr("bus", bus)
                .attr("tray", "closed")
                .attr("dev", &target),
        )
        .child(Element::new("boot").attr("order", "1"));
    edits.append(devices, &cdrom);
    Ok(())
}

impl Image {
    fn source(&self) -> Element {
        let source = Element::new("source")
            .attr("protocol", "https")
            .attr("name", &self.path);
        let source = match &self.query {
            Some(query) => source.attr("query", query),
            None => source,
        };
        let host = Element::new("host").attr("name", &self.host);
        source.child(host.attr("port", &self.port.to_string()))
    }

    fn is_source_of(&self, disk: Node<'_, '_>) -> bool {
        let source = xml::child(disk, "source");
        let host = source.and_then(|source| xml::child(source, "host"));
        let (Some(source), Some(host)) = (source, host) else {
            return false;
        };
        xml::attr(source, "protocol") == Some("https")
            && xml::attr(source, "name") == Some(&self.path)
            && xml::attr(source, "query") == self.query.as_deref()
            && xml::attr(host, "name") == Some(&self.host)
            && xml::attr(host, "port") == Some(&self.port.to_string())
    }
}

/// The bus that the VM's machine has CD-ROM drives on, and a free name there.
fn free_target(document: &Document<'_>) -> Result<(&'static str, String)> {
    let os = xml::child(domain::root(document)?, "os");
    let kind = os.and_then(|os| xml::child(os, "type"));
    let attr = |name| kind.and_then(|kind| xml::attr(kind, name));
    let machine = attr("machine").unwrap_or_default();
    let mut targets = Targets::from_document(document);
    if !matches!(attr("arch"), None | Some("x86_64" | "i686")) {
        return Ok(("scsi", targets.take_next("sd")));
    }
    if machine == "q35" || machine.starts_with("pc-q35") {
        return Ok(("sata", targets.take_next("sd")));
    }
    match IDE_UNITS.into_iter().find(|unit| targets.take(unit)) {
        Some(unit) => Ok(("ide", unit.to_owned())),
        None => Err(Error::new(format!(
            "no free IDE unit, all of {} are taken",
            IDE_UNITS.join(", ")
        ))),
    }
}

fn parse(url: &str) -> Result<Image> {
    let expected = |what: &str| Error::new(format!("expected {what}"));
    if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(expected("no white space; a blank is %20"));
    }
    let rest = url
        .split_once("://")
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("https"))
        .map(|(_, rest)| rest.split('#').next().unwrap_or_default())
        .ok_or_else(|| expected("a URL that begins with https://"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    if authority.contains('@') {
        return Err(expected("no user information, which libvirt could not use"));
    }
    // The colons of an IPv6 address are inside its brackets.
    let bracket = authority.find(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[bracket..].split_once(':') {
        Some((name, port)) => (&authority[..bracket + name.len()], port),
        None => (authority, "443"),
    };
    if path.is_empty() {
        return Err(expected("a path after the host"));
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| *port > 0 && digits);
    Ok(Image {
        host: check_host(host)?,
        port: port.ok_or_else(|| expected("a port from 1 to 65535"))?,
        path: unescape(path)?,
        query: query.map(str::to_owned),
    })
}

fn check_host(host: &str) -> Result<String> {
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let fits = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            !host.is_empty() && !host.starts_with('-') && host.chars().all(plain)
        }
    };
    if !fits {
        return Err(Error::new(
            "expected a host name, an IPv4 address, or an IPv6 address in brackets",
        ));
    }
    Ok(bracketed.unwrap_or(host).to_owned())
}

/// The path with its percent escapes decoded.
fn unescape(path: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.ok_or_else(|| Error::new("expected two hexadecimal digits after %"))?);
        rest = &after[2..];
    }
    let decoded = String::from_utf8(bytes).ok();
    decoded
        .filter(|text| !text.contains(char::is_control))
        .ok_or_else(|| Error::new("expected escapes that are text in UTF-8"))
}
