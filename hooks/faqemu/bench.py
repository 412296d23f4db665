#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Poses as a host of Intel's with KVM, and emulates its VMs. No other architecture."""

import os

import hooklib

FLAGS = """
vmx sse2 nx model_486 model_pentium spec_ctrl ssbd md_clear model_Skylake-Client model_qemu32
model_coreduo model_core2duo model_n270 model_Conroe model_Westmere model_Nehalem model_Opteron_G5
""".split()
MACHINES = """
pc-i440fx-rhel7.1.0 rhel6.3.0 pc-q35-rhel7.6.0 pc-q35-rhel7.5.0 pc-q35-rhel7.4.0 pc-q35-rhel7.3.0
pc-i440fx-rhel7.0.0 pc-i440fx-2.6 rhel6.1.0 rhel6.6.0 rhel6.2.0 pc pc-i440fx-rhel7.6.0
pc-i440fx-rhel7.5.0 pc-i440fx-rhel7.4.0 pc-i440fx-rhel7.3.0 q35 pc-i440fx-rhel7.2.0 rhel6.4.0
rhel6.0.0 rhel6.5.0
""".split()


def real_flags():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            name, _, flags = line.partition(":")
            if name.strip() == "flags":
                return flags.split()
    return []


def pose():
    caps = hooklib.read_json()
    caps["kvmEnabled"] = True
    caps["cpuModel"] = "Intel(Fake) CPU"
    caps["cpuFlags"] = ",".join(dict.fromkeys(real_flags() + FLAGS))
    caps["emulatedMachines"] = list(dict.fromkeys(MACHINES + caps.get("emulatedMachines", [])))
    hooklib.write_json(caps)


def set_text(element, text):
    element.firstChild.data = text


def emulate(memory):
    document = hooklib.read()
    domain = document.documentElement
    domain.setAttribute("type", "qemu")
    for os_ in hooklib.children(domain, "os"):
        for kind in hooklib.children(os_, "type"):
            kind.setAttribute("arch", os.uname().machine)
    for cpu in hooklib.children(domain, "cpu"):
        for name in ("mode", "match", "check", "migratable"):
            if cpu.hasAttribute(name):
                cpu.removeAttribute(name)
        for name in ("model", "vendor", "feature"):
            for child in hooklib.children(cpu, name):
                cpu.removeChild(child)
    if int(memory):
        for name in ("memory", "currentMemory"):
            for element in hooklib.children(domain, name):
                set_text(element, memory)
        for most in hooklib.children(domain, "maxMemory"):
            if int(most.firstChild.data) <= int(memory):
                set_text(most, str(4 * int(memory)))
    hooklib.write(document)


if hooklib.is_on("fake_kvm_support"):
    if "_hook_json" in os.environ:
        pose()
    else:
        emulate(hooklib.settings().get("fake_kvm_memory", "0"))
