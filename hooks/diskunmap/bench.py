#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Passes discards of SCSI and IDE disks on to the storage."""

import os

import hooklib

if os.environ.get("diskunmap") == "on":
    document = hooklib.read()
    for disk in document.getElementsByTagName("disk"):
        bus = disk.getElementsByTagName("target")[0].getAttribute("bus")
        if disk.getAttribute("device") in ("disk", "lun") and bus in ("scsi", "ide"):
            disk.getElementsByTagName("driver")[0].setAttribute("discard", "unmap")
    hooklib.write(document)
