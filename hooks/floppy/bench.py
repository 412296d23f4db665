#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts a floppy image of the host into a VM, as a USB disk."""

import os

import hooklib

if "floppy" in os.environ:
    path = hooklib.allowed_image(os.environ["floppy"].removesuffix(":usb"))
    document = hooklib.read()
    devices = document.getElementsByTagName("devices")[0]
    taken = {target.getAttribute("dev") for target in devices.getElementsByTagName("target")}
    disk = hooklib.append(devices, "disk", device="disk", snapshot="no", type="file")
    hooklib.append(disk, "driver", name="qemu", type="raw")
    source = hooklib.append(disk, "source", file=path)
    hooklib.append(source, "seclabel", model="dac", relabel="yes", type="none")
    hooklib.append(disk, "target", bus="usb", dev=hooklib.free_name(taken, "sd"), removable="on")
    hooklib.append(disk, "readonly")
    hooklib.write(document)
