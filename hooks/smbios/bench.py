#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets fields of the SMBIOS tables."""

import ast
import os

import hooklib

BIOS = ("vendor", "version", "date", "release")

if "smbios" in os.environ:
    document = hooklib.read()
    sysinfo = document.getElementsByTagName("sysinfo")[0]
    for part in os.environ["smbios"].split("^"):
        for name, value in ast.literal_eval(part).items():
            kind = "bios" if name in BIOS else "system"
            block = (hooklib.children(sysinfo, kind) or [hooklib.append(sysinfo, kind)])[0]
            for entry in hooklib.children(block, "entry"):
                if entry.getAttribute("name") == name:
                    entry.firstChild.data = value
                    break
            else:
                entry = hooklib.append(block, "entry", name=name)
                entry.appendChild(document.createTextNode(value))
    hooklib.write(document)
