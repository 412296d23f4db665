#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Takes VDSM's filter off all vNICs."""

import os

import hooklib

if os.environ.get("macspoof") == "true":
    document = hooklib.read()
    for interface in document.getElementsByTagName("interface"):
        for filter_ in hooklib.children(interface, "filterref"):
            if filter_.getAttribute("filter") == "vdsm-no-mac-spoofing":
                interface.removeChild(filter_)
    hooklib.write(document)
