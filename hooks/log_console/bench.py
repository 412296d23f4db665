#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Logs the serial port of VMs that have the property or the right name."""

import os
import re

import hooklib

pattern = os.environ.get("log_console_vm_regexp", "")
if os.environ.get("log_console") == "on" or pattern:
    document = hooklib.read()
    name = document.getElementsByTagName("name")[0].firstChild.data
    if os.environ.get("log_console") == "on" or re.match(pattern, name):
        serial = hooklib.children(document.getElementsByTagName("devices")[0], "serial")[0]
        hooklib.append(serial, "log", file=f"/var/log/libvirt/qemu/{name}-console.log", append="on")
        hooklib.write(document)
