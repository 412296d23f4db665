#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs ethtool for the NICs of networks."""

import subprocess

import hooklib

for network in hooklib.read_json()["request"]["networks"].values():
    words = (network.get("custom") or {}).get("ethtool_opts", "").split()
    if network.get("remove") or not words:
        continue
    if "bonding" in network:
        with open(f"/sys/class/net/{network['bonding']}/bonding/slaves", encoding="utf-8") as file:
            nics = file.read().split()
    else:
        nics = [network["nic"]]
    commands = []
    for word in words:
        if word.startswith("-"):
            commands.append([])
        commands[-1].append(word)
    for option, device, *rest in commands:
        for nic in nics if device == "*" else [device]:
            subprocess.run(["ethtool", option, nic, *rest], check=True)
