#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the smallest ISO image that a PC's firmware boots (El Torito, without emulation): it prints
one line on the first serial port and halts.

    bootable-iso.py FILE
"""

import struct
import sys

SECTOR = 2048
CATALOG, LOADER, END = 19, 20, 40
TEXT = b"guest of vdsm-hooks is up\r\n\0"
# xor ax,ax; mov ds,ax; mov si,7c22; cld; each byte to port 3f8 when 3fd says it is free; hlt
CODE = bytes.fromhex("31c08ed8be227cfcac84c0741288c4bafd03eca82074fb88e0baf803eeebe9f4ebfd")


def both(number):
    """A number in both byte orders."""
    return struct.pack("<I", number) + struct.pack(">I", number)


def descriptor(kind, rest):
    return (bytes([kind]) + b"CD001\x01" + rest).ljust(SECTOR, b"\0")


def primary():
    root = bytes([34, 0]) + both(LOADER + 1) + both(SECTOR) + bytes(7) + b"\x02" + bytes(6) + b"\x01\0"
    fields = bytes(1) + b" " * 32 + b"VDSM_HOOKS".ljust(32) + bytes(8) + both(END) + bytes(32)
    sizes = b"\x01\0\0\x01" * 2 + struct.pack("<H", SECTOR) + struct.pack(">H", SECTOR)
    return descriptor(1, (fields + sizes).ljust(149, b"\0") + root)


def catalog():
    entry = bytearray(b"\x01\0\0\0" + b"vdsm-hooks".ljust(24, b"\0") + b"\0\0\x55\xaa")
    words = struct.unpack("<16H", entry)
    struct.pack_into("<H", entry, 28, -sum(words) & 0xFFFF)
    boot = b"\x88\0" + struct.pack("<HBBHI", 0, 0, 0, 4, LOADER)
    return bytes(entry) + boot.ljust(32, b"\0")


image = bytearray(END * SECTOR)


def put(sector, content):
    image[sector * SECTOR : sector * SECTOR + len(content)] = content


put(16, primary())
put(17, descriptor(0, b"EL TORITO SPECIFICATION".ljust(32, b"\0") + bytes(32) + struct.pack("<I", CATALOG)))
put(18, descriptor(255, b""))
put(CATALOG, catalog())
put(LOADER, CODE + TEXT)
with open(sys.argv[1], "wb") as file:
    file.write(image)
