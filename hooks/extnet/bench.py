#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Plugs the vNIC into one of libvirt's own networks."""

import os

import hooklib

if "extnet" in os.environ:
    document = hooklib.read()
    source = document.getElementsByTagName("source")[0]
    source.removeAttribute("bridge")
    source.setAttribute("network", os.environ["extnet"])
    document.documentElement.setAttribute("type", "network")
    hooklib.write(document)
