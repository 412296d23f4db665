#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Pins the VM's CPUs."""

import os

import hooklib

if "pincpu" in os.environ:
    document = hooklib.read()
    vcpu = hooklib.children(document.documentElement, "vcpu")[0]
    vcpu.setAttribute("cpuset", os.environ["pincpu"])
    hooklib.write(document)
