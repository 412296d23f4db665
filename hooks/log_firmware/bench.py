#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Logs what the firmware of VMs says that have the property or the right name."""

import os
import re

import hooklib

pattern = os.environ.get("log_firmware_vm_regexp", "")
if os.environ.get("log_firmware") == "on" or pattern:
    document = hooklib.read()
    name = document.getElementsByTagName("name")[0].firstChild.data
    if os.environ.get("log_firmware") == "on" or re.match(pattern, name):
        directory = os.environ.get("log_firmware_dir", "/var/log/qemu-firmware")
        words = [
            "-chardev",
            f"file,id=firmware,path={directory}/{name}-firmware.log",
            "-device",
            "isa-debugcon,iobase=0x402,chardev=firmware",
        ]
        hooklib.append_arguments(document.documentElement, words)
        hooklib.write(document)
