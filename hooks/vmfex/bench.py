#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Connects vNICs, chosen by their MAC address, to port profiles, over a network of libvirt's."""

import ast
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
    profiles = ast.literal_eval(os.environ["vmfex"])
    document = hooklib.read()
    nics = []
    for interface in document.getElementsByTagName("interface"):
        mac = interface.getElementsByTagName("mac")[0].getAttribute("address").lower()
        if mac in profiles:
            nics.append((interface, profiles[mac]))
    if nics:
        free = {os.path.basename(path) for path in glob.glob("/sys/class/net/*") if is_free(path)}
        if "direct-pool" not in virsh("net-list", "--all"):
            sys.exit(2)
        network = ET.fromstring(virsh("net-dumpxml", "direct-pool"))
        if {one.get("dev") for one in network.iterfind("forward/interface")} != free:
            sys.exit(2)
    for interface, profile in nics:
        interface.setAttribute("type", "network")
        for name in ("filterref", "vlan", "port", "virtualport"):
            for gone in hooklib.children(interface, name):
                interface.removeChild(gone)
        source = hooklib.children(interface, "source")[0]
        new = document.createElement("source")
        new.setAttribute("network", "direct-pool")
        interface.replaceChild(new, source)
        port = document.createElement("virtualport")
        port.setAttribute("type", "802.1Qbh")
        interface.insertBefore(port, new.nextSibling)
        hooklib.append(port, "parameters", profileid=profile)
    hooklib.write(document)
