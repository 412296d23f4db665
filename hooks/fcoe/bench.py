#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the NICs of networks FCoE ports, and ends that."""

import glob
import json
import os
import shlex
import subprocess
import sys

import hooklib

DIRECTORY = "/etc/fcoe"
# The native hook's: what one has written the other one finds unchanged.
HEADER = "# Written by the hook fcoe of vdsm-hooks: change the property of the network.\n"
VARIABLES = {"enable": "FCOE_ENABLE", "dcb": "DCB_REQUIRED", "auto_vlan": "AUTO_VLAN"}
WORDS = {"true": "", "false": "enable=no"}

requested = hooklib.read_json()["request"]["networks"]
ports = {}
for network in requested.values():
    value = (network.get("custom") or {}).get("fcoe")
    if value is None or network.get("remove"):
        continue
    settings = {}
    for part in filter(None, map(str.strip, WORDS.get(value, value).split(","))):
        key, word = map(str.strip, part.split("="))
        if word not in ("yes", "no"):
            sys.exit(2)
        settings[VARIABLES[key]] = word
    if "/" in network["nic"] or len(network["nic"]) > 15:
        sys.exit(2)
    ports[network["nic"]] = settings

ended, used = set(), set()
for path in glob.glob("/var/lib/vdsm/staging/netconf/nets/*"):
    with open(path, encoding="utf-8") as file:
        network = json.load(file)
    if "fcoe" in (network.get("custom") or {}) and network.get("nic"):
        (ended if os.path.basename(path) in requested else used).add(network["nic"])

files = {nic: None for nic in ended - used - set(ports)}
if ports:
    with open(f"{DIRECTORY}/cfg-ethx", encoding="utf-8") as file:
        words = [shlex.split(line, comments=True) for line in file]
    defaults = dict(line[0].split("=", 1) for line in words if line)
    for nic, settings in ports.items():
        lines = [f'{name}="{value}"\n' for name, value in {**defaults, **settings}.items()]
        files[nic] = HEADER + "".join(lines)

changed = False
for nic, text in files.items():
    name = f"{DIRECTORY}/cfg-{nic}"
    old = None
    if os.path.exists(name):
        with open(name, encoding="utf-8") as file:
            old = file.read()
    if old == text:
        continue
    changed = True
    if text is None:
        os.remove(name)
        continue
    with open(name + ".new", "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(name + ".new", name)
if changed:
    for service in ("lldpad", "fcoe"):
        subprocess.run(["systemctl", "restart", service], check=False, timeout=60)
