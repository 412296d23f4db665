#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sets options of the SPICE display."""

import ast
import os

import hooklib

if "spiceoptions" in os.environ:
    options = ast.literal_eval(os.environ["spiceoptions"])
    document = hooklib.read()
    for graphics in document.getElementsByTagName("graphics"):
        if graphics.getAttribute("type") == "spice":
            for name, attributes in options.items():
                hooklib.append(graphics, name, **attributes)
    hooklib.write(document)
