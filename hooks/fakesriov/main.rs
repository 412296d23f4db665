// SPDX-License-Identifier: GPL-2.0-or-later

//! Reports a network card with two virtual functions that the host does not have, so that the
//! engine's SR-IOV dialogs can be tested.
//!
//! Events: `after_get_caps`, `after_hostdev_list_by_caps`.
//!
//! Setting: `fake_sriov_enable` in the section `[vars]` of vdsm.conf. False or absent: nothing
//! happens.
//!
//! A real device of the same name stays what it is.

use std::process::ExitCode;

use serde_json::{Value, json};
use vdsm_hooks::json::{Edits, Node, Object};
use vdsm_hooks::vdsm::conf::VdsmConf;
use vdsm_hooks::{Error, Result, hook, program};

/// libvirt's names of the physical function and of the two virtual ones, made of the kernel's addresses
/// (libvirt 9.0 src/node_device/node_device_driver.c: `nodeDeviceGenerateName`): their numbers are
/// hexadecimal, those of the NICs' names (bus 22, slot 16) are not.
const PF: &str = "pci_0000_16_00_0";
const VF0: &str = "pci_0000_16_10_0";
const VF1: &str = "pci_0000_16_10_2";

fn main() -> ExitCode {
    hook::run(program!(), || run().map_err(Error::keep_going))
}

fn run() -> Result {
    if VdsmConf::turning_on("fake_sriov_enable")?.is_none() {
        return Ok(());
    }
    match hook::event()?.as_str() {
        "after_hostdev_list_by_caps" => hook::edit_json(add_devices),
        _ => hook::edit_json(add_nics),
    }
}

fn add_nics<'a>(document: Node<'a>, edits: &mut Edits<'a>) -> Result {
    let caps = document.object();
    let caps = caps.ok_or_else(|| hook::unexpected_json("an object, the capabilities"))?;
    edits.set(&caps, "hostdevPassthrough", &json!("true"))?;
    let fakes = [
        (
            "enp22s0f0",
            nic("78:e7:d1:e4:8f:16", &["fe80::7ae7:d1ff:fee4:8f16/64"], 1000),
        ),
        ("enp22s16", nic("aa:8c:31:98:8a:9a", &[], 0)),
        ("enp22s16f2", nic("ce:1f:0b:d1:ca:93", &[], 0)),
    ];
    let Some(nics) = caps.get("nics") else {
        log::warn!("the capabilities have no 'nics': it gets the fake ones only");
        let fakes = fakes.map(|(name, nic)| (name.to_owned(), nic));
        return edits.set(&caps, "nics", &Value::Object(fakes.into_iter().collect()));
    };
    let nics = nics.object();
    let nics = nics.ok_or_else(|| hook::unexpected_json("'nics' to be an object"))?;
    add(&nics, edits, "NIC", &fakes)
}

/// A NIC without addresses but its own link-local one.
fn nic(hwaddr: &str, ipv6addrs: &[&str], speed: u32) -> Value {
    json!({
        "addr": "",
        "dhcpv4": false,
        "dhcpv6": false,
        "gateway": "",
        "hwaddr": hwaddr,
        "ipv4addrs": [],
        "ipv4defaultroute": false,
        "ipv6addrs": ipv6addrs,
        "ipv6autoconf": false,
        "ipv6gateway": "::",
        "mtu": "1500",
        "netmask": "",
        "speed": speed,
    })
}

fn add_devices<'a>(document: Node<'a>, edits: &mut Edits<'a>) -> Result {
    let devices = document.object();
    let devices = devices.ok_or_else(|| hook::unexpected_json("an object of devices"))?;
    let mut pf = pci("0", "0", "15", "82576 Gigabit Network Connection", "0x10e7");
    pf["params"]["totalvfs"] = json!(7);
    let fakes = [
        (PF, pf),
        ("net_enp22s0f0_78_e7_d1_e4_8f_16", net("enp22s0f0", PF)),
        (VF0, vf("0", "23")),
        ("net_enp22s16_aa_8c_31_98_8a_9a", net("enp22s16", VF0)),
        (VF1, vf("2", "24")),
        ("net_enp22s16f2_ce_1f_0b_d1_ca_93", net("enp22s16f2", VF1)),
    ];
    add(&devices, edits, "device", &fakes)
}

fn pci(slot: &str, function: &str, iommu_group: &str, product: &str, product_id: &str) -> Value {
    json!({"params": {
        "address": {"bus": "22", "domain": "0", "function": function, "slot": slot},
        "capability": "pci",
        "iommu_group": iommu_group,
        "is_assignable": "true",
        "parent": "pci_0000_00_03_0",
        "product": product,
        "product_id": product_id,
        "vendor": "Intel Corporation",
        "vendor_id": "0x8086",
    }})
}

fn vf(function: &str, iommu_group: &str) -> Value {
    let product = "82576 Virtual Function";
    let mut vf = pci("16", function, iommu_group, product, "0x10ca");
    vf["params"]["physfn"] = json!(PF);
    vf
}

fn net(interface: &str, parent: &str) -> Value {
    json!({"params": {"capability": "net", "interface": interface, "parent": parent}})
}

fn add<'a>(
    object: &Object<'a>,
    edits: &mut Edits<'a>,
    kind: &str,
    fakes: &[(&str, Value)],
) -> Result {
    for (name, fake) in fakes {
        match object.get(name) {
            Some(known) if known.value().as_ref() != Some(fake) => {
                log::warn!("the host has a {kind} {name} of its own, which stays as it is");
            }
            _ => edits.set(object, name, fake)?,
        }
    }
    Ok(())
}
