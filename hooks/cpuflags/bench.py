#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Requires and forbids features of the CPU."""

import os

import hooklib

if "cpuflags" in os.environ:
    document = hooklib.read()
    cpu = document.getElementsByTagName("cpu")[0]
    for flag in os.environ["cpuflags"].split(","):
        policy = "require" if flag[0] == "+" else "disable"
        hooklib.append(cpu, "feature", name=flag[1:], policy=policy)
    hooklib.write(document)
