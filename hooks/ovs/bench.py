#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a vNIC on a network of Open vSwitch a port of it."""

import json
import os

import hooklib

document = hooklib.read()
interface = document.getElementsByTagName("interface")[0]
source = hooklib.children(interface, "source")[0]
path = f"/var/lib/vdsm/staging/netconf/nets/{source.getAttribute('bridge')}"
if os.path.exists(path):
    with open(path, encoding="utf-8") as file:
        network = json.load(file)
    if network.get("custom", {}).get("ovs"):
        if not network.get("vlan"):
            source.setAttribute("bridge", "ovsbr0")
        for old in hooklib.children(interface, "filterref"):
            interface.removeChild(old)
        if not hooklib.children(interface, "virtualport"):
            hooklib.append(interface, "virtualport", type="openvswitch")
        hooklib.write(document)
