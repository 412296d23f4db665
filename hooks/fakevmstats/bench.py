#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Draws the statistics of every VM that is up."""

import itertools
import random
import uuid

import hooklib

GIB = 2**30
OF_DISK = {
    "readRate": 2**31,
    "writeRate": 2**31,
    "readLatency": 10**9,
    "writeLatency": 10**9,
    "flushLatency": 10**9,
}
OF_NIC = dict.fromkeys(("rxDropped", "rxErrors", "txDropped", "txErrors"), 62)
APPS = """
bash-5.1.8-9.el9.x86_64 chrony-4.5-3.el9.x86_64 coreutils-8.32-36.el9.x86_64
glibc-2.34-125.el9.x86_64 httpd-2.4.62-1.el9.x86_64 kernel-5.14.0-503.el9.x86_64
openssh-server-8.7p1-43.el9.x86_64 openssl-3.2.2-6.el9.x86_64 python3-3.9.19-8.el9.x86_64
qemu-guest-agent-9.0.0-10.el9.x86_64 sudo-1.9.5p2-10.el9.x86_64 systemd-252-46.el9.x86_64
""".split()


def draw(members, counters):
    for name, most in counters.items():
        number = random.randint(0, most)
        members[name] = number if isinstance(members.get(name), int) else str(number)


def invent_memory(vm):
    memory = vm.setdefault("memoryStats", {})
    total = int(memory.setdefault("mem_total", str(2 ** (20 + random.randint(0, 5)))))
    memory["mem_unused"] = memory["mem_free"] = str(random.randint(0, random.randint(0, total)))
    draw(memory, dict.fromkeys(("swap_in", "swap_out", "pageflt", "majflt"), 1024))


def mounted(path, total):
    used = random.randint(GIB // 4, total)
    return {"path": path, "fs": "ext4", "total": str(total), "used": str(used)}


def interfaces(vm_id):
    vm_bytes = uuid.UUID(vm_id).bytes
    stream = ((vm_bytes[k % 16] + k // 16) % 256 for k in itertools.count())
    next(stream)
    nics = []
    for number in range(1 + next(stream) % 3):
        hw = ":".join(f"{next(stream):02x}" for _ in range(6))
        a, b, c, d = (next(stream) for _ in range(4))
        nics.append(
            {
                "hw": hw,
                "inet": [f"{a}.{b}.{c}.{d}"],
                "inet6": [f"0:0:0:0:0:ffff:{a:x}{b:02x}:{c:x}{d:02x}"],
                "name": f"eth{number}",
            }
        )
    return nics


if hooklib.is_on("fake_vmstats_enable"):
    vms = hooklib.read_json()
    for vm in vms:
        if vm["status"] != "Up":
            continue
        total = random.uniform(0, 100)
        user = random.uniform(0, total)
        vm["cpuUser"], vm["cpuSys"] = f"{user:.2f}", f"{total - user:.2f}"
        draw(vm, {"memUsage": 100})
        for disk in vm.get("disks", {}).values():
            draw(disk, OF_DISK)
        for nic in vm.get("network", {}).values():
            draw(nic, OF_NIC)
        vm["session"] = "Unknown"
        invent_memory(vm)
        vm["diskUsage"] = [mounted("/", 20 * GIB), mounted("/boot", GIB), mounted("/home", 50 * GIB)]
        vm["netIfaces"] = interfaces(vm["vmId"])
        vm["guestFQDN"] = vm["vmId"].replace("-", "") + ".fakefqdn.com"
        vm["appsList"] = APPS
    hooklib.write_json(vms)
