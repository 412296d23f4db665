#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Plugs multipath LUNs of the host in as virtio disks."""

import os
import stat
import sys

import hooklib

if "directlun" in os.environ:
    document = hooklib.read()
    devices = document.getElementsByTagName("devices")[0]
    taken = {target.getAttribute("dev") for target in devices.getElementsByTagName("target")}
    for item in os.environ["directlun"].split(","):
        name, _, option = item.partition(":")
        node = os.stat(f"/dev/mapper/{name}")
        block = f"/sys/block/dm-{os.minor(node.st_rdev)}"
        with open(f"{block}/dm/uuid", encoding="utf-8") as uuid:
            is_multipath = stat.S_ISBLK(node.st_mode) and uuid.read().startswith("mpath-")
        if not is_multipath or os.listdir(f"{block}/holders"):
            sys.exit(2)
        disk = hooklib.append(devices, "disk", device="disk", snapshot="no", type="block")
        hooklib.append(disk, "driver", cache="none", error_policy="stop", io="native", name="qemu", type="raw")
        source = hooklib.append(disk, "source", dev=f"/dev/mapper/{name}")
        hooklib.append(source, "seclabel", model="dac", relabel="yes", type="none")
        target = hooklib.free_name(taken, "vd")
        hooklib.append(disk, "target", bus="virtio", dev=target)
        if option == "readonly":
            hooklib.append(disk, "readonly")
    hooklib.write(document)
