#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reserves huge pages of the host and backs the VM's memory with them."""

import fcntl
import os
import subprocess
import sys

import hooklib

RECORDS = "/run/vdsm/hooks/hugepages"
HELPER = "/usr/libexec/vdsm-hooks/hugepages-set"

asked = os.environ.get("hugepages_count") or os.environ.get("hugepages")
if asked:
    document = hooklib.read()
    if document.getElementsByTagName("hugepages"):
        sys.exit(0)
    with open("/proc/meminfo", encoding="ascii") as lines:
        size = next(line.split()[1] for line in lines if line.startswith("Hugepagesize:"))
    pool = f"/sys/kernel/mm/hugepages/hugepages-{size}kB/nr_hugepages"
    os.makedirs(RECORDS, mode=0o700, exist_ok=True)
    with open(os.path.join(RECORDS, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(pool, encoding="ascii") as file:
            before = int(file.read())
        subprocess.run([HELPER, size, str(before + int(asked))], check=True, timeout=60)
        with open(os.path.join(RECORDS, os.environ["vmId"]), "w", encoding="ascii") as record:
            record.write(f"{size} {asked}\n")
    domain = document.documentElement
    backing = document.createElement("memoryBacking")
    backing.appendChild(document.createElement("hugepages"))
    after = document.getElementsByTagName("currentMemory")[0]
    domain.insertBefore(backing, after.nextSibling)
    hooklib.write(document)
