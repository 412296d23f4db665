#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Requires the CPU feature for nesting, if the host can nest."""

import hooklib


def is_nested(module):
    try:
        with open(f"/sys/module/{module}/parameters/nested") as file:
            return file.readline().strip() in ("Y", "1")
    except FileNotFoundError:
        return False


for module, feature in (("kvm_intel", "vmx"), ("kvm_amd", "svm")):
    if is_nested(module):
        document = hooklib.read()
        cpu = hooklib.children(document.documentElement, "cpu")[0]
        hooklib.append(cpu, "feature", name=feature, policy="require")
        hooklib.write(document)
        break
