#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes a file into a guest's disk."""

import os
import subprocess
import sys

import hooklib

value = os.environ.get("fileinject")
if value is not None:
    path, content = value.split(":", 1)
    for disk in hooklib.read().getElementsByTagName("disk"):
        if disk.getAttribute("device") != "disk":
            continue
        source = disk.getElementsByTagName("source")[0]
        image = source.getAttribute("file") or source.getAttribute("dev")
        written = subprocess.run(
            ["/usr/bin/guestfish", "--format=raw", "-a", image, "-i", "write", path, content],
            env={**os.environ, "LIBGUESTFS_BACKEND": "direct"},
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if written.returncode == 0:
            break
    else:
        sys.exit(2)
