#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Adds IPv4 addresses to the devices of networks."""

import ipaddress
import subprocess

import hooklib

for name, network in hooklib.read_json()["request"]["networks"].items():
    value = (network.get("custom") or {}).get("ipv4_addrs", "")
    if network.get("remove") or not value.strip():
        continue
    device = name
    if not network.get("bridged") and network.get("switch") != "ovs":
        device = network.get("bonding") or network["nic"]
        if "vlan" in network:
            device += f".{network['vlan']}"
    for entry in value.split(","):
        address = str(ipaddress.IPv4Interface(entry.strip()))
        subprocess.run(["ip", "-4", "addr", "add", "dev", device, address], check=True)
