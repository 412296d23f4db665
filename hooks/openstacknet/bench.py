#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Connects a vNIC of an OpenStack network to the integration bridge, and asks for a paused start."""

import os

import hooklib

if os.environ.get("provider_type") == "OPENSTACK_NETWORK":
    port_id = os.environ["vnic_id"]
    document = hooklib.read()
    interface = document.getElementsByTagName("interface")[0]
    targets = hooklib.children(interface, "target")
    target = targets[0] if targets else hooklib.append(interface, "target")
    target.setAttribute("dev", f"tap{port_id}"[:14])
    hooklib.children(interface, "source")[0].setAttribute("bridge", "br-int")
    port = hooklib.append(interface, "virtualport", type="openvswitch")
    hooklib.append(port, "parameters", interfaceid=port_id)
    start = f"/run/vdsm/{os.environ['vmId']}"
    with open(f"{start}/launchflags", encoding="ascii") as file:
        flags = int(file.readline())
    if not flags & 1:
        with open(f"{start}/launchflags", "w", encoding="ascii") as file:
            file.write(str(flags | 1))
        with open(f"{start}/marked_for_unpause", "w", encoding="ascii") as file:
            file.write("true")
    hooklib.write(document)
