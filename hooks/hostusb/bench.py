#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Hands USB devices to a VM, chosen by vendor and product number."""

import glob
import os
import sys

import hooklib


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


if "hostusb" in os.environ:
    plugged = [
        f"0x{read(vendor)}:0x{read(os.path.dirname(vendor) + '/idProduct')}"
        for vendor in glob.glob("/sys/bus/usb/devices/*/idVendor")
    ]
    document = hooklib.read()
    devices = document.getElementsByTagName("devices")[0]
    for pair in os.environ["hostusb"].lower().split("&"):
        if plugged.count(pair) != 1:
            sys.exit(2)
        vendor, product = pair.split(":")
        hostdev = hooklib.append(devices, "hostdev", managed="no", mode="subsystem", type="usb")
        source = hooklib.append(hostdev, "source")
        hooklib.append(source, "vendor", id=vendor)
        hooklib.append(source, "product", id=product)
    hooklib.write(document)
