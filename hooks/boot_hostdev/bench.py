#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a PCI host device the first to boot."""

import os

import hooklib

if "boot_hostdev" in os.environ:
    wanted = [int(part, 16) for part in os.environ["boot_hostdev"].split("_")[1:]]
    document = hooklib.read()
    for boot in document.getElementsByTagName("boot"):
        boot.setAttribute("order", str(int(boot.getAttribute("order")) + 1))
    for device in document.getElementsByTagName("hostdev"):
        if device.getAttribute("type") != "pci":
            continue
        address = device.getElementsByTagName("address")[0]
        names = ("domain", "bus", "slot", "function")
        if [int(address.getAttribute(name), 16) for name in names] == wanted:
            hooklib.append(device, "boot", order="1")
    hooklib.write(document)
