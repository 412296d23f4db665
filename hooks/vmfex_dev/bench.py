#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Connects the vNIC to a port profile, over a network of libvirt's."""

import glob
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import hooklib

NO_ADDRESS = "00:00:00:00:00:00\n"


def virsh(*words):
    command = ["virsh", "-r", *words]
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=10).stdout


def is_free(path):
    with open(f"{path}/address", encoding="ascii") as address:
        return address.read() == NO_ADDRESS


if "vmfex" in os.environ:
    free = {os.path.basename(path) for path in glob.glob("/sys/class/net/*") if is_free(path)}
    if "direct-pool" not in virsh("net-list", "--all"):
        sys.exit(2)
    network = ET.fromstring(virsh("net-dumpxml", "direct-pool"))
    if {one.get("dev") for one in network.iterfind("forward/interface")} != free:
        sys.exit(2)
    document = hooklib.read()
    interface = document.documentElement
    source = hooklib.children(interface, "source")[0]
    source.removeAttribute("bridge")
    source.setAttribute("network", "direct-pool")
    interface.setAttribute("type", "network")
    for name in ("filterref", "vlan", "port", "virtualport"):
        for gone in hooklib.children(interface, name):
            interface.removeChild(gone)
    port = hooklib.append(interface, "virtualport", type="802.1Qbh")
    hooklib.append(port, "parameters", profileid=os.environ["vmfex"])
    hooklib.write(document)
