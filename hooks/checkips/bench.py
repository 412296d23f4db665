#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports interfaces as down below networks whose address has not answered for a minute."""

import json
import os
import sys
import time

import hooklib

NETWORKS = "/var/lib/vdsm/persistence/netconf/nets"
STAMPS = "/run/vdsm/checkips"


def is_silent(name):
    try:
        return time.time() - os.stat(os.path.join(STAMPS, name)).st_mtime > 60
    except FileNotFoundError:
        return True


silent = []
for name in os.listdir(NETWORKS) if os.path.isdir(NETWORKS) else []:
    with open(os.path.join(NETWORKS, name), encoding="utf-8") as file:
        network = json.load(file)
    custom = network.get("custom") or {}
    if ("checkipv4" in custom or "checkipv6" in custom) and is_silent(name):
        silent.append(network.get("nic") or network.get("bonding"))
if not silent:
    sys.exit(0)
statistics = hooklib.read_json()
for interface in silent:
    statistics["network"][interface]["state"] = "down"
hooklib.write_json(statistics)
