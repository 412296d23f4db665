#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Adds a smart card reader to a SPICE VM."""

import os

import hooklib

if os.environ.get("smartcard") == "true":
    document = hooklib.read()
    devices = hooklib.children(document.documentElement, "devices")[0]
    displays = [display.getAttribute("type") for display in hooklib.children(devices, "graphics")]
    if "spice" in displays and not hooklib.children(devices, "smartcard"):
        hooklib.append(devices, "smartcard", mode="passthrough", type="spicevmc")
    hooklib.write(document)
