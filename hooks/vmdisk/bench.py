#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Adds image files of the host as virtio disks."""

import os
import sys

import hooklib

if "vmdisk" in os.environ:
    document = hooklib.read()
    devices = document.getElementsByTagName("devices")[0]
    taken = {target.getAttribute("dev") for target in devices.getElementsByTagName("target")}
    for item in os.environ["vmdisk"].split(","):
        path, form = item.split(":")
        path = hooklib.allowed_image(path)
        with open(path, "rb") as image:
            header = image.read(104)
        if (form == "qcow2") != (header[:4] == b"QFI\xfb") or (form == "qcow2" and any(header[8:16])):
            sys.exit(2)
        disk = hooklib.append(devices, "disk", device="disk", snapshot="no", type="file")
        hooklib.append(disk, "driver", cache="none", error_policy="stop", name="qemu", type=form)
        source = hooklib.append(disk, "source", file=path)
        hooklib.append(source, "seclabel", model="dac", relabel="yes", type="none")
        hooklib.append(disk, "target", bus="virtio", dev=hooklib.free_name(taken, "vd"))
    hooklib.write(document)
