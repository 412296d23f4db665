#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for guestfish in a private root directory: notes each call, and hands on what it is told, to
guestfish itself or to an appliance that many share (appliance.rs).

/.test/guestfish.json is
    case    the name of the case, for the shared appliance
    real    guestfish
    shared  the shared appliance's socket; none: every call is guestfish's own
    alone   with "shared": a call that may write is guestfish's own all the same, when its turn comes
    at      where something happens: `step`, the beginning of a command; `writes`, whether only in a
            call that may write; `wait`, seconds from the command on; `later`, whether other commands go
            on meanwhile; and `act`, one of
            kill  SIGKILL to the process group, the host's crash as far as an appliance is concerned
            stop  SIGSTOP to the process group, a storage that stands still
            tell  /.test/reached is made, for the test that waits for it
Calls are lines of JSON in /.test/guestfish-calls.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

with open("/.test/guestfish.json") as file:
    SETTINGS = json.load(file)
STDIN = sys.stdin.buffer


def note():
    call = {
        "arguments": sys.argv[1:],
        "env": dict(os.environ),
        "mode": os.stat(os.environ.get("TMPDIR", "/")).st_mode & 0o7777,
        "uid": os.getuid(),
        "nice": os.nice(0),
        "leads_group": os.getpgid(0) == os.getpid(),
        "group": os.getpgid(0),
    }
    with open("/.test/guestfish-calls", "a") as calls:
        calls.write(json.dumps(call) + "\n")


def act(line, writes):
    """What is to happen at this line, which has been handed on."""
    at = SETTINGS.get("at")
    if not at or (at["writes"] and not writes) or not line.strip().lstrip(b"-").decode().startswith(at["step"]):
        return
    if at.get("later"):
        threading.Thread(target=happen, args=(at,), daemon=True).start()
    else:
        happen(at)


def happen(at):
    time.sleep(at["wait"])
    if at["act"] == "tell":
        with open("/.test/reached", "w"):
            return
    # Of the test itself nothing is to be killed.
    if os.getpgid(0) != os.getpid():
        print("guestfish.py: not in a process group of its own", file=sys.stderr)
        os._exit(97)
    os.killpg(0, signal.SIGKILL if at["act"] == "kill" else signal.SIGSTOP)


def first_lines():
    """The lines up to the first drive, after which it is known who is meant."""
    lines = []
    for line in iter(STDIN.readline, b""):
        lines.append(line)
        if b"add-drive" in line:
            break
    return lines


def alone(lines, writes):
    command = ["guestfish"] + sys.argv[1:]
    child = subprocess.Popen(command, executable=SETTINGS["real"], stdin=subprocess.PIPE)
    try:
        while lines:
            for line in lines:
                child.stdin.write(line)
                child.stdin.flush()
                act(line, writes)
            line = STDIN.readline()
            lines = [line] if line else []
        child.stdin.close()
    except BrokenPipeError:
        # It has failed, and says so itself.
        pass
    status = child.wait()
    os._exit(status if status >= 0 else 128 - status)


def connect(lines, writes):
    server = socket.socket(socket.AF_UNIX)
    server.connect(SETTINGS["shared"])
    head = {
        "case": SETTINGS["case"],
        "writes": writes,
        "alone": bool(writes and SETTINGS.get("alone")),
        "temporary": os.environ.get("TMPDIR", ""),
    }
    server.sendall(json.dumps(head).encode() + b"\n")
    return server


def hand_on(server, lines, writes):
    try:
        while lines:
            for line in lines:
                server.sendall(line if line.endswith(b"\n") else line + b"\n")
                act(line, writes)
            line = STDIN.readline()
            lines = [line] if line else []
        server.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def together(server, lines, writes):
    threading.Thread(target=hand_on, args=(server, lines, writes), daemon=True).start()
    answers = server.makefile("rb")
    while True:
        head = answers.readline().split()
        if not head:
            os._exit(98)
        number = int(head[1])
        if head[0] == b"x":
            os._exit(number)
        text = answers.read(number)
        target = 1 if head[0] == b"o" else 2
        while text:
            text = text[os.write(target, text):]


def main():
    note()
    lines = first_lines()
    writes = bool(lines) and b"/overlay.qcow2" not in lines[-1]
    if not SETTINGS.get("shared"):
        alone(lines, writes)
    server = connect(lines, writes)
    if writes and SETTINGS.get("alone"):
        server.recv(1)
        alone(lines, writes)
    together(server, lines, writes)


main()
