#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Gives a VM virtual functions of the host as NICs."""

import os
import sys

import hooklib

RECORDS = "/run/vdsm/hooks/sriov"

if os.environ.get("sriov", "").strip():
    document = hooklib.read()
    if not os.listdir("/sys/kernel/iommu_groups"):
        sys.exit(2)
    os.makedirs(RECORDS, exist_ok=True)
    devices = hooklib.children(document.documentElement, "devices")[0]
    for item in os.environ["sriov"].split(","):
        name, _, mac = item.partition("@")
        path = f"/sys/class/net/{name}"
        if not os.path.exists(f"{path}/device/physfn") or os.path.lexists(f"{path}/master"):
            sys.exit(2)
        pci = os.path.basename(os.path.realpath(f"{path}/device"))
        record = f"{RECORDS}/{pci}"
        if os.path.exists(record):
            with open(record, encoding="ascii") as file:
                if file.read() != os.environ["vmId"]:
                    sys.exit(2)
        else:
            with open(record, "x", encoding="ascii") as file:
                file.write(os.environ["vmId"])
        nic = hooklib.append(devices, "interface", managed="yes", type="hostdev")
        hooklib.append(nic, "driver", name="vfio")
        hooklib.append(nic, "mac", address=mac)
        domain, bus, rest = pci.split(":")
        slot, function = rest.split(".")
        source = hooklib.append(nic, "source")
        hooklib.append(
            source, "address", type="pci", domain=f"0x{domain}", bus=f"0x{bus}", slot=f"0x{slot}", function=f"0x{function}"
        )
    hooklib.write(document)
