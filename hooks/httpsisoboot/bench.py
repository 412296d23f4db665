#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots from an image on a web server."""

import os
from urllib.parse import unquote, urlsplit

import hooklib

if "httpsisoboot" in os.environ:
    url = urlsplit(os.environ["httpsisoboot"])
    document = hooklib.read()
    devices = hooklib.children(document.documentElement, "devices")[0]
    taken = []
    for device in devices.childNodes:
        for boot in hooklib.children(device, "boot"):
            boot.setAttribute("order", str(int(boot.getAttribute("order")) + 1))
        if device.nodeName == "disk":
            taken += [target.getAttribute("dev") for target in hooklib.children(device, "target")]
    disk = hooklib.append(devices, "disk", type="network", device="cdrom")
    hooklib.append(disk, "driver", name="qemu", type="raw")
    source = hooklib.append(disk, "source", protocol="https", name=unquote(url.path))
    hooklib.append(source, "host", name=url.hostname, port=str(url.port or 443))
    hooklib.append(disk, "readonly")
    target = next(name for name in ("sd" + c for c in "abcdefghijklmnopqrstuvwxyz") if name not in taken)
    hooklib.append(disk, "target", bus="sata", tray="closed", dev=target)
    hooklib.append(disk, "boot", order="1")
    hooklib.write(document)
