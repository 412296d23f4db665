# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hook in Python with minidom or json needs: VDSM's data file and VDSM's settings."""

import configparser
import glob
import json
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


def read_json():
    with open(os.environ["_hook_json"], encoding="utf-8") as file:
        return json.load(file)


def write_json(value):
    with open(os.environ["_hook_json"], "w", encoding="utf-8") as file:
        json.dump(value, file)


def settings():
    """The section [vars] of vdsm.conf."""
    drop_ins = [
        path
        for directory in ("/usr/lib", "/run", "/etc")
        for path in glob.glob(f"{directory}/vdsm/vdsm.conf.d/*.conf")
    ]
    conf = configparser.ConfigParser()
    conf.read(["/etc/vdsm/vdsm.conf", *sorted(drop_ins, key=os.path.basename)])
    return conf["vars"] if conf.has_section("vars") else {}


def is_on(key):
    found = settings()
    return key in found and found.getboolean(key)
