#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts vhostmd and adds its disk and channel."""

import os
import subprocess
from xml.dom import minidom

import hooklib

if os.environ.get("sap_agent") == "true":
    configuration = minidom.parse("/etc/vhostmd/vhostmd.conf")
    transports = [node.firstChild.data for node in configuration.getElementsByTagName("transport")]
    subprocess.run(["/usr/bin/systemctl", "start", "vhostmd.service"], check=True)
    document = hooklib.read()
    devices = hooklib.children(document.documentElement, "devices")[0]
    if "vbd" in transports:
        disk = hooklib.append(devices, "disk", type="file", device="disk")
        hooklib.append(disk, "source", file="/dev/shm/vhostmd0")
        hooklib.append(disk, "target", dev="vdzz", bus="virtio")
        hooklib.append(disk, "readonly")
    if "virtio" in transports:
        channel = hooklib.append(devices, "channel", type="unix")
        hooklib.append(channel, "source", mode="bind")
        hooklib.append(channel, "target", type="virtio", name="org.github.vhostmd.1")
    hooklib.write(document)
