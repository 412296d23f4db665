#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Adds three NICs that are not there, or their devices."""

import hooklib

PF, VF0, VF1 = "pci_0000_16_00_0", "pci_0000_16_10_0", "pci_0000_16_10_2"


def nic(hwaddr, ipv6addrs, speed):
    return {
        "addr": "",
        "dhcpv4": False,
        "dhcpv6": False,
        "gateway": "",
        "hwaddr": hwaddr,
        "ipv4addrs": [],
        "ipv4defaultroute": False,
        "ipv6addrs": ipv6addrs,
        "ipv6autoconf": False,
        "ipv6gateway": "::",
        "mtu": "1500",
        "netmask": "",
        "speed": speed,
    }


def pci(slot, function, iommu_group, product, product_id, **more):
    params = {
        "address": {"bus": "22", "domain": "0", "function": function, "slot": slot},
        "capability": "pci",
        "iommu_group": iommu_group,
        "is_assignable": "true",
        "parent": "pci_0000_00_03_0",
        "product": product,
        "product_id": product_id,
        "vendor": "Intel Corporation",
        "vendor_id": "0x8086",
    }
    return {"params": {**params, **more}}


def net(interface, parent):
    return {"params": {"capability": "net", "interface": interface, "parent": parent}}


if hooklib.is_on("fake_sriov_enable"):
    document = hooklib.read_json()
    if "nics" in document:
        document["hostdevPassthrough"] = "true"
        document["nics"].update(
            {
                "enp22s0f0": nic("78:e7:d1:e4:8f:16", ["fe80::7ae7:d1ff:fee4:8f16/64"], 1000),
                "enp22s16": nic("aa:8c:31:98:8a:9a", [], 0),
                "enp22s16f2": nic("ce:1f:0b:d1:ca:93", [], 0),
            }
        )
    else:
        virtual = ("82576 Virtual Function", "0x10ca")
        physical = ("82576 Gigabit Network Connection", "0x10e7")
        document.update(
            {
                PF: pci("0", "0", "15", *physical, totalvfs=7),
                "net_enp22s0f0_78_e7_d1_e4_8f_16": net("enp22s0f0", PF),
                VF0: pci("16", "0", "23", *virtual, physfn=PF),
                "net_enp22s16_aa_8c_31_98_8a_9a": net("enp22s16", VF0),
                VF1: pci("16", "2", "24", *virtual, physfn=PF),
                "net_enp22s16f2_ce_1f_0b_d1_ca_93": net("enp22s16f2", VF1),
            }
        )
    hooklib.write_json(document)
