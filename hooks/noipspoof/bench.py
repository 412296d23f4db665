#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns VDSM's filter into one with the VM's IPv4 addresses."""

import os

import hooklib

value = os.environ.get("noipspoof")
if value is not None:
    document = hooklib.read()
    for interface in document.getElementsByTagName("interface"):
        for filter_ in hooklib.children(interface, "filterref"):
            if filter_.getAttribute("filter") == "vdsm-no-mac-spoofing":
                filter_.setAttribute("filter", "clean-traffic")
                for address in value.split(","):
                    hooklib.append(filter_, "parameter", name="IP", value=address)
    hooklib.write(document)
