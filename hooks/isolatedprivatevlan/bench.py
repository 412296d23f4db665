#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Gives all vNICs a filter that lets them talk to one gateway only."""

import os

import hooklib

value = os.environ.get("isolatedprivatevlan")
if value is not None:
    gateway, _, address = value.partition(",")
    document = hooklib.read()
    devices = hooklib.children(document.documentElement, "devices")[0]
    for interface in hooklib.children(devices, "interface"):
        for old in hooklib.children(interface, "filterref"):
            interface.removeChild(old)
        name = "clean-traffic-gateway" if address else "isolatedprivatevlan-vdsm"
        filter_ = hooklib.append(interface, "filterref", filter=name)
        hooklib.append(filter_, "parameter", name="GATEWAY_MAC", value=gateway.lower())
        if address:
            hooklib.append(filter_, "parameter", name="IP", value=address)
    hooklib.write(document)
