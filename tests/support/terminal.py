#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Types into an interactive shell on a terminal of its own, and prints what its line has become.

    terminal.py FILE SHELL [ARGUMENT]...

Each line of standard input is typed, and then ^G, at which the shell has to write its line into FILE and to
forget it. It makes FILE a first time when it is ready.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

SECONDS = 60


def main():
    answer, command = sys.argv[1], sys.argv[2:]
    child, terminal = pty.fork()
    if child == 0:
        # So large that no list asks before it is shown.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 500, 500, 0, 0))
        os.execvp(command[0], command)
    end = time.monotonic() + SECONDS
    shown = bytearray()

    def line():
        while not os.path.exists(answer):
            try:
                if select.select([terminal], [], [], 0.02)[0]:
                    shown.extend(os.read(terminal, 65536))
            except OSError:
                sys.exit("the shell has ended: " + shown.decode(errors="replace"))
            if time.monotonic() > end:
                sys.exit("no answer, the terminal shows: " + shown.decode(errors="replace"))
        with open(answer, encoding="utf-8") as file:
            text = file.read()
        os.unlink(answer)
        return text

    try:
        line()
        for keys in sys.stdin:
            os.write(terminal, keys.rstrip("\n").encode() + b"\x07")
            print(line(), flush=True)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


main()
