#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks the qcow2 images of a VM."""

import os
import subprocess
import sys

import hooklib

value = os.environ.get("checkimages", "")
if value.startswith("true"):
    limit = float(value.split(":")[1]) if ":" in value else None
    for disk in hooklib.read().getElementsByTagName("disk"):
        attribute = {"file": "file", "block": "dev"}.get(disk.getAttribute("type"))
        driver = disk.getElementsByTagName("driver")
        if disk.getAttribute("device") != "disk" or attribute is None or not driver:
            continue
        if driver[0].getAttribute("type") != "qcow2":
            continue
        path = disk.getElementsByTagName("source")[0].getAttribute(attribute)
        seconds = limit or max(10, 0.02 * os.stat(path).st_size / 2**30)
        check = subprocess.run(
            ["/usr/bin/qemu-img", "check", "-f", "qcow2", path], capture_output=True, timeout=seconds, check=False
        )
        if check.returncode not in (0, 3):
            sys.exit(2)
        print(f"checkimages: {path}: {check.returncode}", file=sys.stderr)
