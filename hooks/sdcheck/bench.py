#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Verifies the seal of the storage domains that the VM uses, without a limit of time."""

import hashlib
import os
import re
import sys

import hooklib

IMAGE = re.compile(r"(.*/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/images/")

if os.environ.get("sdcheck") != "off":
    document = hooklib.read()
    found = set()
    for source in document.getElementsByTagName("source"):
        match = IMAGE.match(source.getAttribute("file"))
        if match:
            found.add(match.group(1))
    for directory in found:
        with open(directory + "/dom_md/metadata", encoding="utf-8") as file:
            pairs = dict(line.split("=", 1) for line in file.read().splitlines() if "=" in line)
        seal = pairs.pop("_SHA_CKSUM", None)
        lines = "".join(f"{key}={pairs[key]}" for key in sorted(pairs))
        if hashlib.sha1(lines.encode("ascii", "xmlcharrefreplace")).hexdigest() != seal:
            sys.exit(2)
