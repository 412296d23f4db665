// SPDX-License-Identifier: GPL-2.0-or-later

//! What libvirt's domain XML says of a VM's memory. libvirt counts in KiB unless an attribute
//! `unit` says otherwise.

use roxmltree::Node;

use crate::xml::{self, Edits};
use crate::{Error, Result};

/// The memory that the VM starts with, in KiB.
pub fn size(domain: Node<'_, '_>) -> Option<u64> {
    let memory = xml::child(domain, "memory")?;
    kib(&xml::text(memory), xml::attr(memory, "unit"))
}

/// What the memory of the VM may grow to, in KiB; none if it cannot grow.
pub fn most(domain: Node<'_, '_>) -> Option<u64> {
    let most = xml::child(domain, "maxMemory")?;
    kib(&xml::text(most), xml::attr(most, "unit"))
}

/// What the VM has in memory modules, which are part of its memory, in KiB.
fn modules(domain: Node<'_, '_>) -> u64 {
    let devices = xml::child(domain, "devices").into_iter();
    let modules = devices.flat_map(|devices| xml::children(devices, "memory"));
    let targets = modules.filter_map(|module| xml::child(module, "target"));
    let sizes = targets.filter_map(|target| xml::child(target, "size"));
    let sizes = sizes.filter_map(|size| kib(&xml::text(size), xml::attr(size, "unit")));
    sizes.fold(0, u64::saturating_add)
}

/// Sets what the memory may grow to, where the VM has a limit.
pub fn set_most(domain: Node<'_, '_>, edits: &mut Edits<'_>, kib: u64) {
    set_kib(domain, "maxMemory", edits, kib);
}

/// Sets the VM's memory. Its NUMA cells, which outweigh it in libvirt (see below), get shares as before.
///
/// # Errors
/// The VM has as much in memory modules, or more: libvirt refuses that (libvirt 9.0
/// src/conf/domain_postparse.c: `virDomainDefPostParseMemory`).
pub fn set(domain: Node<'_, '_>, edits: &mut Edits<'_>, kib: u64) -> Result {
    let modules = modules(domain);
    if modules > 0 && modules >= kib {
        return Err(Error::new(format!(
            "{kib} KiB, and the VM has {modules} KiB in memory modules alone"
        )));
    }
    set_kib(domain, "memory", edits, kib);
    set_kib(domain, "currentMemory", edits, kib);
    let numa = xml::child(domain, "cpu").and_then(|cpu| xml::child(cpu, "numa"));
    let cells = numa
        .into_iter()
        .flat_map(|numa| xml::children(numa, "cell"));
    let cells: Vec<_> = cells.map(|cell| (cell, size_of(cell))).collect();
    let total: u128 = cells.iter().map(|(_, size)| u128::from(*size)).sum();
    let mut before: u128 = 0;
    for (cell, size) in cells {
        if total == 0 {
            return Ok(());
        }
        // Of rounded sums, so that the shares add up.
        let share_of = |part: u128| part * u128::from(kib) / total;
        let share = share_of(before + u128::from(size)) - share_of(before);
        before += u128::from(size);
        set_unit(cell, edits);
        edits.set_attr(cell, "memory", &share.to_string());
    }
    Ok(())
}

fn size_of(cell: Node<'_, '_>) -> u64 {
    let size = xml::attr(cell, "memory").unwrap_or_default();
    kib(size, xml::attr(cell, "unit")).unwrap_or_default()
}

fn set_kib(domain: Node<'_, '_>, name: &'static str, edits: &mut Edits<'_>, kib: u64) {
    if let Some(element) = xml::child(domain, name) {
        set_unit(element, edits);
        edits.set_text(element, &kib.to_string());
    }
}

/// KiB, said or not.
fn set_unit(element: Node<'_, '_>, edits: &mut Edits<'_>) {
    if xml::attr(element, "unit") != Some("KiB") {
        edits.remove_attr(element, "unit");
    }
}

/// A size in one of libvirt's units (libvirt 9.0 src/util/virutil.c: `virScaleInteger`).
fn kib(number: &str, unit: Option<&str>) -> Option<u64> {
    let unit = unit.unwrap_or("KiB").to_ascii_lowercase();
    let bytes: u128 = match unit.as_str() {
        "b" | "bytes" => 1,
        "kb" => 1000,
        "k" | "kib" => 1 << 10,
        "mb" => 1_000_000,
        "m" | "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "g" | "gib" => 1 << 30,
        "tb" => 1_000_000_000_000,
        "t" | "tib" => 1 << 40,
        _ => return None,
    };
    let number: u64 = number.trim().parse().ok()?;
    u64::try_from(u128::from(number) * bytes / 1024).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_to(kib: u64, text: &str) -> crate::Result<Option<String>> {
        let document = xml::parse(text)?;
        let mut edits = Edits::new(&document);
        set(document.root_element(), &mut edits, kib)?;
        edits.finish()
    }

    #[test]
    fn cells_keep_their_shares() -> crate::Result {
        for (cells, kib, expected) in [
            ([("100", ""), ("100", "")], 301, ["150", "151"]),
            ([("300", ""), ("100", "")], 400_000, ["300000", "100000"]),
            ([("1", " unit='GiB'"), ("1048576", "")], 10, ["5", "5"]),
            ([("4194304", ""), ("0", "")], 7, ["7", "0"]),
        ] {
            let [(a, unit_a), (b, unit_b)] = cells;
            let old = format!(
                "<domain><memory unit='MiB'>9</memory><cpu><numa><cell memory='{a}'{unit_a}/>\
                 <cell memory='{b}'{unit_b}/></numa></cpu></domain>"
            );
            let [new_a, new_b] = expected;
            let new = format!(
                "<domain><memory>{kib}</memory><cpu><numa><cell memory='{new_a}'/>\
                 <cell memory='{new_b}'/></numa></cpu></domain>"
            );
            assert_eq!(set_to(kib, &old)?, Some(new));
        }
        let said = |number| {
            format!(
                "<domain><memory unit='KiB'>{number}</memory><cpu><numa>\
                 <cell memory='{number}' unit='KiB'/></numa></cpu></domain>"
            )
        };
        assert_eq!(set_to(5, &said(4))?, Some(said(5)));
        // Nothing to share out, and nothing there.
        let empty = "<domain><cpu><numa><cell memory='0'/></numa></cpu></domain>";
        assert_eq!(set_to(5, empty)?, None);
        assert_eq!(set_to(5, "<domain/>")?, None);
        Ok(())
    }

    #[test]
    fn units() {
        for (number, unit, expected) in [
            ("4194304", None, Some(4_194_304)),
            (" 4\n", Some("GiB"), Some(4_194_304)),
            ("4", Some("g"), Some(4_194_304)),
            ("2048", Some("bytes"), Some(2)),
            ("5", Some("k"), Some(5)),
            ("5", Some("KiB"), Some(5)),
            ("1024", Some("kB"), Some(1000)),
            ("128", Some("MB"), Some(125_000)),
            ("3", Some("M"), Some(3072)),
            ("3", Some("MiB"), Some(3072)),
            ("1024", Some("GB"), Some(1_000_000_000)),
            ("3", Some("TiB"), Some(3 << 30)),
            ("1024", Some("TB"), Some(1_000_000_000_000)),
            ("1", Some("furlong"), None),
            ("-1", None, None),
            ("18446744073709551615", Some("T"), None),
        ] {
            assert_eq!(kib(number, unit), expected, "{number} {unit:?}");
        }
    }
}
