#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends made-up Ethernet frames into one network device and tells which come out of another.

    python3 frames.py FROM TO NAME=KIND/SOURCE/TARGET/ADDRESS[/DEVICE]...

KIND is udp, udp6 or arp; SOURCE and TARGET are MAC addresses, ADDRESS the sender's IP address, DEVICE
another one to send from. The
names of those that arrive are printed. The last one has to arrive: frames do not overtake each
other here, so what has not arrived before it never will.
"""

import os
import socket
import struct
import sys
import time
from ipaddress import ip_address

ALL_PROTOCOLS = 3
UDP = 17
DEADLINE = 20


def ipv4(source, data):
    target = ip_address("192.0.2.254").packed
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 0, 0, 64, UDP, 0)
    words = struct.unpack("!10H", header + source + target)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~total & 0xFFFF)
    return header + source + target + data


def frame(name, kind, source, target, address):
    """The name travels as the payload, behind the end of an ARP packet."""
    source, target = (bytes.fromhex(mac.replace(":", "")) for mac in (source, target))
    address = ip_address(address).packed
    name = f"<{name}>".encode()
    udp = struct.pack("!HHHH", 4711, 4711, 8 + len(name), 0) + name
    if kind == "udp":
        protocol, packet = 0x0800, ipv4(address, udp)
    elif kind == "udp6":
        header = struct.pack("!IHBB", 6 << 28, len(udp), UDP, 64)
        protocol, packet = 0x86DD, header + address + ip_address("2001:db8::1").packed + udp
    elif kind == "arp":
        request = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + source + address
        protocol, packet = 0x0806, request + bytes(6) + ip_address("192.0.2.254").packed + name
    else:
        sys.exit(f"{kind}: no such kind of frame")
    return (target + source + struct.pack("!H", protocol) + packet).ljust(60, b"\0")


def device(name):
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS))
    raw.bind((name, 0))
    return raw


def main():
    sender, receiver, *frames = sys.argv[1:]
    frames = dict(text.split("=", 1) for text in frames)
    # On one processor, so that none overtakes another.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    receiver = device(receiver)
    for name, text in frames.items():
        kind, source, target, address, *other = text.split("/")
        device(*other or [sender]).send(frame(name, kind, source, target, address))
    last = name
    arrived = []
    end = time.monotonic() + DEADLINE
    while last not in arrived:
        receiver.settimeout(max(0.01, end - time.monotonic()))
        try:
            data = receiver.recv(2048)
        except TimeoutError:
            sys.exit(f"{last} does not arrive, only: {' '.join(arrived)}")
        arrived += [name for name in frames if f"<{name}>".encode() in data]
    print(*arrived)


main()
