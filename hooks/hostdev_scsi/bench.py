#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns passed-through SCSI devices into disks on the same device."""

import os
import sys

import hooklib

WANTED = {"managed": "no", "mode": "subsystem", "rawio": "yes", "type": "scsi"}

if "hostdev_scsi" in os.environ:
    form = {"device": "lun", "rawio": "yes"} if os.environ["hostdev_scsi"] == "scsi_block" else {"device": "disk"}
    document = hooklib.read()
    devices = document.getElementsByTagName("devices")[0]
    taken = {target.getAttribute("dev") for target in devices.getElementsByTagName("target")}
    for hostdev in hooklib.children(devices, "hostdev"):
        if dict(hostdev.attributes.items()) != WANTED:
            continue
        source = hooklib.children(hostdev, "source")[0]
        host = hooklib.children(source, "adapter")[0].getAttribute("name").removeprefix("scsi_host")
        address = hooklib.children(source, "address")[0]
        place = ":".join([host] + [address.getAttribute(name) for name in ("bus", "target", "unit")])
        name = os.listdir(f"/sys/bus/scsi/devices/{place}/block")[0]
        holders = f"/sys/block/{name}/holders"
        if os.path.isdir(holders) and os.listdir(holders):
            sys.exit(2)
        disk = document.createElement("disk")
        for key, value in {**form, "snapshot": "no", "type": "block"}.items():
            disk.setAttribute(key, value)
        hooklib.append(disk, "driver", cache="none", io="native", name="qemu", type="raw")
        source = hooklib.append(disk, "source", dev=f"/dev/{name}")
        hooklib.append(source, "seclabel", model="dac", relabel="yes", type="none")
        hooklib.append(disk, "target", bus="scsi", dev=hooklib.free_name(taken, "sd"))
        devices.replaceChild(disk, hostdev)
    if not any(one.getAttribute("type") == "scsi" for one in hooklib.children(devices, "controller")):
        hooklib.append(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    hooklib.write(document)
