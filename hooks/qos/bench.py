#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits the bandwidth of single vNICs."""

import ast
import os

import hooklib

value = os.environ.get("qos")
if value:
    wanted = {}
    for entry in value.split("&"):
        mac, _, parts = entry.partition("=")
        wanted[mac.lower()] = dict(part.split("{", 1) for part in parts.split("^"))
    document = hooklib.read()
    for interface in document.getElementsByTagName("interface"):
        mac = hooklib.children(interface, "mac")[0].getAttribute("address").lower()
        if mac not in wanted:
            continue
        for old in hooklib.children(interface, "bandwidth"):
            interface.removeChild(old)
        bandwidth = hooklib.append(interface, "bandwidth")
        for word, element in (("in", "inbound"), ("out", "outbound")):
            if word in wanted[mac]:
                limits = ast.literal_eval("{" + wanted[mac][word])
                hooklib.append(bandwidth, element, **limits)
    hooklib.write(document)
