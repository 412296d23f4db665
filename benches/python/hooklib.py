# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hook in Python with minidom needs: reading and writing VDSM's data file."""

import os
import sys
from xml.dom import minidom


def read():
    return minidom.parse(os.environ["_hook_domxml"])


def write(document):
    with open(os.environ["_hook_domxml"], "w", encoding="utf-8") as file:
        document.writexml(file, encoding="utf-8")


def children(parent, name):
    return [node for node in parent.childNodes if node.nodeName == name]


def append(parent, name, /, **attributes):
    element = parent.ownerDocument.createElement(name)
    for key, value in attributes.items():
        element.setAttribute(key, value)
    return parent.appendChild(element)


def append_arguments(domain, words):
    domain.setAttribute("xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0")
    block = append(domain, "qemu:commandline")
    for word in words:
        append(block, "qemu:arg", value=word)


def free_name(taken, prefix):
    """The first name of a disk that is not taken, and takes it."""
    letters = [chr(97 + number) for number in range(26)]
    names = letters + [one + other for one in letters for other in letters]
    name = next(prefix + name for name in names if prefix + name not in taken)
    taken.add(name)
    return name


def allowed_image(path):
    """The image with links resolved, if it lies where libvirt keeps its own."""
    path = os.path.realpath(path)
    if not path.startswith("/var/lib/libvirt/images/") or not os.path.isfile(path):
        sys.exit(2)
    return path
