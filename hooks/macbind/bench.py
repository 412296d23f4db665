#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts vNICs, chosen by their MAC address, on other bridges."""

import ast
import os

import hooklib

if "macbind" in os.environ:
    bridges = ast.literal_eval(os.environ["macbind"])
    if all(os.path.exists(f"/sys/class/net/{bridge}/bridge") for bridge in bridges.values()):
        document = hooklib.read()
        for interface in document.getElementsByTagName("interface"):
            mac = interface.getElementsByTagName("mac")[0].getAttribute("address").lower()
            if mac in bridges:
                interface.removeChild(interface.getElementsByTagName("source")[0])
                hooklib.append(interface, "source", bridge=bridges[mac])
        hooklib.write(document)
