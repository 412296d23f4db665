#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets the IPv6 configuration of networks from their custom properties."""

import ipaddress

import hooklib

BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

document = hooklib.read_json()
changed = False
for network in document["request"]["networks"].values():
    custom = network.get("custom") or {}
    if network.get("remove"):
        continue
    for name in ("ipv6addr", "ipv6gateway", "ipv6autoconf", "dhcpv6"):
        value = custom.get(name)
        if value is None:
            continue
        if name == "ipv6addr":
            value = str(ipaddress.IPv6Interface(value))
        elif name == "ipv6gateway":
            value = str(ipaddress.IPv6Address(value))
        else:
            value = BOOLEANS[value.lower()]
        network[name] = value
        changed = True
if changed:
    hooklib.write_json(document)
