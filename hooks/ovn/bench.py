#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Connects a vNIC of an OVN network to the integration bridge."""

import os

import hooklib

if os.environ.get("provider_type") == "EXTERNAL_NETWORK" and os.environ.get("plugin_type") == "OVIRT_PROVIDER_OVN":
    document = hooklib.read()
    interface = document.getElementsByTagName("interface")[0]
    hooklib.children(interface, "source")[0].setAttribute("bridge", "br-int")
    for old in hooklib.children(interface, "virtualport"):
        interface.removeChild(old)
    port = hooklib.append(interface, "virtualport", type="openvswitch")
    hooklib.append(port, "parameters", interfaceid=os.environ["vnic_id"])
    hooklib.write(document)
