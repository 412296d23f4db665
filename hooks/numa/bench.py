#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Binds the VM's memory to NUMA nodes."""

import os

import hooklib

if "numa" in os.environ:
    mode, nodes = os.environ["numa"].split(":")
    document = hooklib.read()
    domain = document.documentElement
    vcpu = hooklib.children(domain, "vcpu")[0]
    tune = document.createElement("numatune")
    domain.insertBefore(tune, vcpu.nextSibling)
    hooklib.append(tune, "memory", mode=mode, nodeset=nodes)
    hooklib.write(document)
