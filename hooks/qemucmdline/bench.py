#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Hands arguments to QEMU."""

import json
import os

import hooklib

if "qemu_cmdline" in os.environ:
    document = hooklib.read()
    hooklib.append_arguments(document.documentElement, json.loads(os.environ["qemu_cmdline"]))
    hooklib.write(document)
