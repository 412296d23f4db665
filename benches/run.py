#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Times every hook as VDSM runs it: a whole process, from exec to exit.

Each hook runs with its property absent and present, on a small and on a large document: as it is
released (packaging/static.sh) and as a distribution builds it, next to an empty Rust program, /bin/true
and a Python hook of the same effect (hooks/<name>/bench.py). The programs take turns, in changing
order, so that a busy moment of the machine hits all of them. Then whole VM starts: all hooks of
before_vm_start one after the other, as VDSM runs them.

Nothing here fails for being slow; what fails is a hook whose result differs from its Python
counterpart's.

Every hook runs in a private root directory, on the host that its folder's cases/host.json describes,
so that also those that look at hardware have something to find. Needs root, cargo, strip and GNU time.
"""

import argparse
import difflib
import hashlib
import json
import math
import os
import platform
import random
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"
# So many rounds of the small programs, then of Python, and so on.
BLOCK = 10
SD = "5a1f0b6c-2d38-4e97-8c41-b7e903f6d215"
# That of the hosts in cases/host.json.
VM_ID = "5f1c2a7e-9d3b-4e57-8a40-0c6f3b1d2e99"


class Case(NamedTuple):
    """How to run a hook: with properties, or without any effect."""

    present: dict = {}
    absent: dict = {}
    # What VDSM hands over: the whole VM, one vNIC, or JSON.
    document: str = "domain"
    # What its folder does not say of the host on which it has something to do.
    host: dict = {}
    # The hook draws numbers: only names and kinds of the values are compared.
    drawn: bool = False
    # Whether it changes the document. Some only look at it, or act on the host.
    changes: bool = True


# What the events hand over that have no domain.
DOCUMENTS = {
    "after_disk_prepare": "prepared disk",
    "before_device_create": "interface",
    "before_nic_hotplug": "interface",
    "after_get_all_vm_stats": "statistics",
    "after_get_caps": "capabilities",
    "after_get_stats": "host statistics",
    "after_hostdev_list_by_caps": "devices",
    "before_network_setup": "networks",
}


def described(name):
    return json.loads((ROOT / "hooks" / name / "hook.json").read_text())


def wanted(name):
    """hooks/<name>/bench.json: where the examples of hook.json are not what is wanted; the members of
    Case, a note, and absent_only for a hook that is measured without its property alone."""
    file = ROOT / "hooks" / name / "bench.json"
    return json.loads(file.read_text()) if file.exists() else {}


def case_of(name):
    """The hook's case: its own, or one with the examples of its properties."""
    own = {member: value for member, value in wanted(name).items() if member not in ("note", "absent_only")}
    if own:
        return Case(**own)
    hook = described(name)
    examples = {scope: {} for scope in ("vm", "interface", "disk", "host", "network", "vdsm.conf", "engine")}
    for one in hook["properties"]:
        examples[one["scope"]][one["name"]] = one["example"]
    present = {**examples["engine"], **examples["interface"], **examples["disk"], **examples["vm"]}
    document = DOCUMENTS.get(hook["events"][0]["event"], "domain")
    host = {"vdsm_conf": {"vars": examples["vdsm.conf"]}} if examples["vdsm.conf"] else {}
    return Case(present, document=document, host=host)


# The ten of a whole VM start.
TEN = (
    "cpuflags diskunmap httpsisoboot log_console macspoof numa pincpu qemucmdline smbios spiceoptions"
).split()


def interface(number):
    return f"""
    <interface type="bridge">
      <mac address="56:6f:00:00:00:{number:02x}"/>
      <source bridge="ovirtmgmt"/>
      <target dev="vnet{number}"/>
      <model type="virtio"/>
      <link state="up"/>
      <mtu size="1500"/>
      <filterref filter="vdsm-no-mac-spoofing"/>
      <alias name="ua-7c1e94d8-03b6-4f2a-9d58-0000000000{number:02x}"/>
    </interface>"""


def disk(number, images):
    """Every other disk is a SCSI one."""
    bus, name = ("scsi", "sd") if number % 2 else ("virtio", "vd")
    target = name + chr(97 + number // 26) + chr(97 + number % 26)
    image = f"c0ffee00-0000-4000-8000-{number:012x}"
    source = f"{images}/{image}/d15c0000-0000-4000-8000-{number:012x}"
    metadata = f"""
      <ovirt-vm:device devtype="disk" name="{target}">
        <ovirt-vm:poolID>b7c0e6f2-15d4-4f0b-8c52-6a3e9d1f7042</ovirt-vm:poolID>
        <ovirt-vm:domainID>{SD}</ovirt-vm:domainID>
        <ovirt-vm:imageID>{image}</ovirt-vm:imageID>
        <ovirt-vm:volumeID>d15c0000-0000-4000-8000-{number:012x}</ovirt-vm:volumeID>
      </ovirt-vm:device>"""
    element = f"""
    <disk type="file" device="disk" snapshot="no">
      <driver name="qemu" type="raw" cache="none" io="threads" error_policy="stop"/>
      <source file="{source}">
        <seclabel model="dac" relabel="no"/>
      </source>
      <target dev="{target}" bus="{bus}"/>
      <serial>{image}</serial>
      <boot order="{number + 1}"/>
      <alias name="ua-{image}"/>
    </disk>"""
    return metadata, element


def root_port(number):
    return f"""
    <controller type="pci" model="pcie-root-port" index="{number + 1}">
      <alias name="ua-ab54d2e0-19c7-4b83-90f6-0000000000{number:02x}"/>
      <address type="pci" domain="0x0000" bus="0x00" slot="0x{2 + number // 8:02x}" function="0x{number % 8}"/>
    </controller>"""


def channel(name):
    return f"""
    <channel type="unix">
      <source mode="bind" path="/var/lib/libvirt/qemu/channels/{VM_ID}.{name}"/>
      <target type="virtio" name="{name}"/>
    </channel>"""


def domain(disks, images):
    """A VM of the shape that VDSM hands to before_vm_start; 5 disks make it 15 KiB."""
    pairs = [disk(number, images) for number in range(disks)]
    return f"""<?xml version="1.0" encoding="utf-8"?>
<domain type="kvm" xmlns:ovirt-vm="http://ovirt.org/vm/1.0" xmlns:ovirt-tune="http://ovirt.org/vm/tune/1.0">
  <name>mail01</name>
  <uuid>{VM_ID}</uuid>
  <metadata>
    <ovirt-tune:qos/>
    <ovirt-vm:vm>
      <ovirt-vm:clusterVersion>4.7</ovirt-vm:clusterVersion>
      <ovirt-vm:launchPaused>false</ovirt-vm:launchPaused>
      <ovirt-vm:custom/>{"".join(metadata for metadata, _ in pairs)}
    </ovirt-vm:vm>
  </metadata>
  <memory>4194304</memory>
  <currentMemory>4194304</currentMemory>
  <iothreads>1</iothreads>
  <maxMemory slots="16">16777216</maxMemory>
  <vcpu current="2">16</vcpu>
  <sysinfo type="smbios">
    <system>
      <entry name="manufacturer">oVirt</entry>
      <entry name="product">OS-NAME:</entry>
      <entry name="version">OS-VERSION:</entry>
      <entry name="serial">HOST-SERIAL:</entry>
      <entry name="uuid">{VM_ID}</entry>
    </system>
  </sysinfo>
  <os>
    <type arch="x86_64" machine="pc-q35-rhel9.4.0">hvm</type>
    <smbios mode="sysinfo"/>
  </os>
  <features>
    <acpi/>
  </features>
  <cpu match="exact">
    <model>Nehalem</model>
    <topology sockets="16" cores="1" threads="1"/>
  </cpu>
  <clock offset="variable" adjustment="0">
    <timer name="rtc" tickpolicy="catchup"/>
    <timer name="pit" tickpolicy="delay"/>
    <timer name="hpet" present="no"/>
  </clock>
  <devices>
    <controller type="usb" index="0" model="qemu-xhci" ports="8"/>
    <controller type="scsi" index="0" model="virtio-scsi"/>
    <controller type="virtio-serial" index="0" ports="16"/>{"".join(map(root_port, range(31)))}
    <hostdev mode="subsystem" type="pci" managed="no">
      <source>
        <address domain="0x0000" bus="0x0b" slot="0x00" function="0x0"/>
      </source>
    </hostdev>
    <hostdev mode="subsystem" type="scsi" managed="no" rawio="yes">
      <source>
        <adapter name="scsi_host3"/>
        <address bus="0" target="2" unit="0"/>
      </source>
    </hostdev>{"".join(element for _, element in pairs)}{interface(1)}{interface(2)}
    <serial type="unix">
      <source mode="bind" path="/var/run/ovirt-vmconsole-console/{VM_ID}.sock"/>
      <target port="0"/>
    </serial>{channel("ovirt-guest-agent.0")}{channel("org.qemu.guest_agent.0")}
    <input type="tablet" bus="usb"/>
    <graphics type="spice" port="-1" autoport="yes">
      <listen type="network" network="vdsm-ovirtmgmt"/>
    </graphics>
    <graphics type="vnc" port="-1" autoport="yes">
      <listen type="network" network="vdsm-ovirtmgmt"/>
    </graphics>
    <video>
      <model type="qxl" ram="65536" vram="8192" vgamem="16384" heads="1"/>
    </video>
    <memballoon model="virtio">
      <stats period="5"/>
    </memballoon>
    <rng model="virtio">
      <backend model="random">/dev/urandom</backend>
    </rng>
  </devices>
</domain>
"""


def make_storage_domain(work):
    """A sealed file storage domain; returns where its images are."""
    directory = work / "mnt" / "nas.example.com:_data" / SD
    (directory / "dom_md").mkdir(parents=True)
    lines = [
        "CLASS=Data",
        "DESCRIPTION=bench",
        "IOOPTIMEOUTSEC=10",
        "LEASERETRIES=3",
        "LEASETIMESEC=60",
        "LOCKPOLICY=",
        "LOCKRENEWALINTERVALSEC=5",
        "POOL_UUID=b7c0e6f2-15d4-4f0b-8c52-6a3e9d1f7042",
        "REMOTE_PATH=nas.example.com:/data",
        "ROLE=Regular",
        f"SDUUID={SD}",
        "TYPE=NFS",
        "VERSION=4",
    ]
    seal = hashlib.sha1("".join(lines).encode()).hexdigest()
    metadata = "\n".join([*lines, f"_SHA_CKSUM={seal}", ""])
    (directory / "dom_md" / "metadata").write_text(metadata)
    return directory / "images"


class Programs(NamedTuple):
    # As released, and as a distribution builds it: static, or with the system's libraries.
    hook: list
    shared: list
    python: list
    size: int
    shared_size: int


# Everything is built below the checkout, wherever the caller has his other programs built.
CARGO = {key: value for key, value in os.environ.items() if key != "CARGO_TARGET_DIR"}


def build_empty(work):
    """The empty program, with the profile of the hooks."""
    manifest = (ROOT / "Cargo.toml").read_text()
    profile = manifest[manifest.index("[profile.release]") :].split("\n\n")[0]
    source = ROOT / "benches" / "programs" / "empty.rs"
    package = work / "empty"
    package.mkdir()
    (package / "Cargo.toml").write_text(
        f"""bin = [{{ name = "empty", path = "{source}" }}]
[package]
name = "empty"
version = "0.0.0"
edition = "2024"

{profile}
"""
    )
    subprocess.run(["cargo", "build", "--quiet", "--release"], cwd=package, env=CARGO, check=True)
    return package / "target" / "release" / "empty"


def build(work, names):
    """The programs as installed, each in a directory called as its event, and the empty one."""
    command = ["cargo", "build", "--quiet", "--locked", "--release"]
    subprocess.run(command, cwd=ROOT, env=CARGO, check=True)
    subprocess.run(["sh", "packaging/static.sh", "--quiet"], cwd=ROOT, env=CARGO, check=True)
    empty = build_empty(work)
    subprocess.run(["strip", empty], check=True)
    (work / "python").mkdir()
    shutil.copy(ROOT / "benches" / "hooklib.py", work / "python")
    programs = {}
    for name in names:
        event = described(name)["events"][0]
        number = f"{event['order']:02}_" if "order" in event else ""
        built = []
        for kind in ("static", "release"):
            program = work / kind / event["event"] / f"{number}{name}"
            program.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "target" / kind / name, program)
            built.append(program)
        peer = work / "python" / f"{name}.py"
        shutil.copy(ROOT / "hooks" / name / "bench.py", peer)
        sizes = [program.stat().st_size for program in built]
        programs[name] = Programs(*([str(program)] for program in built), [PYTHON, str(peer)], *sizes)
    return str(empty), programs


def environment(data, document, properties):
    """What VDSM gives a hook."""
    base = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "vmId": VM_ID}
    variable = "_hook_json" if is_json(document) else "_hook_domxml"
    return {**base, variable: str(data), **properties}


def is_json(document):
    return document.lstrip()[0] in "[{"


# allocate_net reports what it drew.
QUIETLY = [(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]


def timed(command, env):
    """Milliseconds from start to end of the process, which has to succeed."""
    begin = time.perf_counter_ns()
    pid = os.posix_spawn(command[0], command, env, file_actions=QUIETLY)
    _, status, _ = os.wait4(pid, 0)
    elapsed = time.perf_counter_ns() - begin
    if status:
        subprocess.run(command, env=env)
        raise SystemExit(f"{command}: status {os.waitstatus_to_exitcode(status)}")
    return elapsed / 1e6


def peak_memory(command, env):
    """KiB, as the kernel counts them for the process. By way of GNU time, because a process counts
    that of the one it was started from, and this one is large."""
    output = subprocess.run(
        ["time", "--format=%M", *command], env=env, capture_output=True, text=True, check=True
    )
    return int(output.stderr.split()[-1])


def meaning(text, drawn):
    if not is_json(text):
        return ET.canonicalize(text, strip_text=True)
    value = json.loads(text)
    return json.dumps(shape(value) if drawn else value, sort_keys=True)


def shape(value):
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


def check_same_effect(job, data, env):
    """Both programs have to make the same of the document."""
    results = []
    for command in (job["hook"], job["python"]):
        data.write_text(job["document"])
        timed(command, env)
        results.append(data.read_text())
    meant = [meaning(result, job["drawn"]) for result in results]
    if meant[0] != meant[1]:
        difference = difflib.unified_diff(*(re.split("[>,]", text) for text in meant), n=1)
        raise SystemExit(f"{job['name']}: the two programs differ:\n" + "\n".join(difference))
    if (results[0] != job["document"]) != job["changes"]:
        raise SystemExit(f"{job['name']}: expected a {'changed' if job['changes'] else 'n unchanged'} document")


class Row(NamedTuple):
    empty: float
    true: float
    hook: float
    shared: float
    python: float
    memory: int
    python_memory: int


def tenth(times):
    """What one run in ten is faster than: the program's own time, where a median has other work in it."""
    return sorted(times)[len(times) // 10]


def measure(job):
    """The times of one hook, with or without its property; runs inside the private root."""
    data = Path(job["data"])
    env = environment(data, job["document"], job["properties"])
    check_same_effect(job, data, env)
    commands = ([job["empty"]], ["/bin/true"], job["hook"], job["shared"], job["python"])
    times = [[] for _ in commands]
    small = list(zip(commands, times))[:-1]

    def run(command, taken):
        data.write_text(job["document"])
        taken.append(timed(command, env))

    # Python pushes the others out of the processor's caches, so it runs in blocks of its own.
    for begin in range(0, job["rounds"], BLOCK):
        block = range(begin, min(begin + BLOCK, job["rounds"]))
        for _ in block:
            random.shuffle(small)
            for command, taken in small:
                run(command, taken)
        for _ in block:
            run(job["python"], times[-1])
    memory = []
    for command in (job["hook"], job["python"]):
        peaks = []
        for _ in range(5):
            data.write_text(job["document"])
            peaks.append(peak_memory(command, env))
        memory.append(max(peaks))
    return [*map(tenth, times), *memory]


class Start(NamedTuple):
    empty: float
    hooks: float
    shared: float
    python: float


def measure_start(job):
    """The times of running many programs one after the other on one document."""
    data = Path(job["data"])
    env = environment(data, job["document"], job["properties"])
    series = ([[job["empty"]]] * len(job["hooks"]), job["hooks"], job["shared"], job["pythons"])
    times = [[] for _ in series]
    turns = list(zip(series, times))
    for _ in range(job["rounds"]):
        random.shuffle(turns)
        for commands, taken in turns:
            data.write_text(job["document"])
            taken.append(sum(timed(command, env) for command in commands))
    return list(map(tenth, times))


def lay_out(root, host, silent):
    """A private root directory for tests/support/with-host.sh; returns what shows where in it."""
    for name in ("usr/bin", "proc", "sys", "run", "tmp", "var/lib", "var/log", "dev/shm", "etc"):
        (root / name).mkdir(parents=True)
    binds = {}
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        real = Path("/", name)
        if real.is_symlink():
            (root / name).symlink_to(os.readlink(real))
        elif real.is_dir():
            binds[f"/{name}"] = real
    for name in ("null", "zero", "random", "urandom"):
        binds[f"/dev/{name}"] = Path("/dev", name)
    for name in ("ld.so.cache", "nsswitch.conf"):
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), root / "etc" / name)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nvdsm:x:36:36::/:/bin/false\n")

    def place(path):
        at = root / path.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        return at

    # Where stand-ins of the tests note that they were called.
    place("/.test/stub.sh").touch()
    for path in host.get("dirs", []):
        (root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for section, options in host.get("vdsm_conf", {}).items():
        lines = [f"{key} = {value}" for key, value in options.items()]
        place("/etc/vdsm/vdsm.conf").write_text("\n".join([f"[{section}]", *lines, ""]))
    for path, facts in host.get("files", {}).items():
        facts = facts if isinstance(facts, dict) else {"text": facts}
        at = place(path)
        at.write_text(facts.get("text", ""))
        if "size" in facts:
            os.truncate(at, facts["size"])
        at.chmod(int(facts.get("mode", "0644"), 8))
    for path, (major, minor) in host.get("block", {}).items():
        os.mknod(place(path), stat.S_IFBLK | 0o660, os.makedev(major, minor))
    for name, rules in host.get("commands", {}).items():
        at = place(name if name.startswith("/") else f"/usr/bin/{name}")
        if any("out" in rule for rule in rules):
            at.write_text(stand_in(rules))
            at.chmod(0o755)
        else:
            shutil.copy(silent, at)
    for path, target in host.get("links", {}).items():
        place(path).symlink_to(target)
    return binds


def stand_in(rules):
    """A program that gives the answer of the first rule whose words are all in its command line."""
    script = "#!/bin/sh\nwords=\" $* \"\n"
    script += 'has() { for word; do case "$words" in *" $word "*) ;; *) return 1 ;; esac; done; }\n'
    for rule in rules:
        words = " ".join(shlex.quote(word) for word in rule.get("has", []))
        script += f"has {words} && {{ cat <<'END'; exit {rule.get('rc', 0)}; }}\n"
        script += rule.get("out", "").removesuffix("\n") + "\nEND\n"
    return script


def inside(work, host, empty, job):
    """Does a job in a private root directory, on this host."""
    root = Path(tempfile.mkdtemp(dir=work))
    binds = lay_out(root, host, empty)
    for helper in job.get("helpers", []):
        at = root / "usr/libexec/vdsm-hooks" / helper
        at.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "target" / "static" / helper, at)
    binds[str(work)] = work
    for target, source in binds.items():
        at = root / target.lstrip("/")
        if source.is_dir():
            at.mkdir(parents=True, exist_ok=True)
        else:
            at.touch()
    (work / "job.json").write_text(json.dumps({**job, "data": "/tmp/data", "empty": empty}))
    script = ROOT / "tests" / "support" / "with-host.sh"
    words = [f"{source}={target}" for target, source in binds.items()]
    python = [PYTHON, "-B", str(work / "run.py"), "--job", str(work / "job.json")]
    command = ["unshare", "--mount", "--net", "sh", str(script), str(root), *words, "--", *python]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if output.returncode:
        raise SystemExit(f"{job['name']}: the measurement failed")
    shutil.rmtree(root)
    return json.loads(output.stdout)


def host_of(name):
    """The host on which the hook has something to do."""
    file = ROOT / "hooks" / name / "cases" / "host.json"
    return {**(json.loads(file.read_text()) if file.exists() else {}), **case_of(name).host}


def merged(hosts):
    """One host with the files and directories of all."""
    whole = {"dirs": [], "files": {}}
    for host in hosts:
        whole["dirs"] += host.get("dirs", [])
        whole["files"].update(host.get("files", {}))
    return whole


def as_markdown(title, rows, names):
    lines = [
        f"### {title}",
        "",
        "| hook | absent ÷ true | shared: absent ÷ true | present ÷ absent | shared: present ÷ absent"
        " | Python ÷ hook, absent | Python ÷ hook, present | ms absent | ms present | ms Python"
        " | peak KiB | Python's KiB |",
        "|---|" + "---:|" * 11,
    ]
    for name in names:
        absent, present = rows[name]
        cells = ["–"] * 11
        cells[0] = f"{absent.hook / absent.true:.2f}"
        cells[1] = f"{absent.shared / absent.true:.2f}"
        cells[4] = f"{absent.python / absent.hook:.1f}"
        cells[6] = f"{absent.hook:.2f}"
        cells[9:] = str(absent.memory), str(absent.python_memory)
        if present:
            cells[2] = f"{present.hook / absent.hook:.2f}"
            cells[3] = f"{present.shared / absent.shared:.2f}"
            cells[5] = f"{present.python / present.hook:.1f}"
            cells[7:] = f"{present.hook:.2f}", f"{present.python:.1f}", str(present.memory), str(present.python_memory)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def only_edits(name):
    """All that the hook does is to change the document: it runs nothing."""
    hook = described(name)
    return case_of(name).changes and not any(hook.get(member) for member in ("commands", "sudo", "helpers"))


def verdicts(rows, starts, empty, programs, names):
    """Each target with the hooks that miss it."""

    def line(target, value, holds, unit="", names=names):
        missed = [f"{name} {value(name):.{digits(unit)}f}{unit}" for name in names if not holds(value(name))]
        reached = f"{len(names) - len(missed)} of {len(names)}"
        return f"| {target} | {reached} | {', '.join(missed) or '–'} |"

    def digits(unit):
        return 0 if unit == " KiB" else 2

    absent = {name: rows[name][0] for name in names}
    present = {name: rows[name][1] for name in names if rows[name][1]}
    editing = [name for name in present if only_edits(name)]
    lines = [
        "| target, at 15 KiB | reached by | missed by |",
        "|---|---|---|",
        line(
            "absent, as released: at most 1.15 × /bin/true",
            lambda name: absent[name].hook / absent[name].true,
            lambda value: value <= 1.15,
        ),
        line(
            "absent, as a distribution builds it: at most 1.35 × /bin/true",
            lambda name: absent[name].shared / absent[name].true,
            lambda value: value <= 1.35,
        ),
        line(
            "present, of hooks that only edit, as released: at most 1.5 × absent",
            lambda name: present[name].hook / absent[name].hook,
            lambda value: value <= 1.5,
            names=editing,
        ),
        line(
            "absent: at least 10 × faster than the Python hook",
            lambda name: absent[name].python / absent[name].hook,
            lambda value: value >= 10,
        ),
        line(
            "present: at least 10 × faster than the Python hook",
            lambda name: present[name].python / present[name].hook,
            lambda value: value >= 10,
            names=list(present),
        ),
        line(
            "peak memory: at most 4096 KiB",
            lambda name: present.get(name, absent[name]).memory,
            lambda value: value <= 4096,
            " KiB",
        ),
        line(
            "size as a distribution builds it: at most 2.5 × the empty program",
            lambda name: programs[name].shared_size / Path(empty).stat().st_size,
            lambda value: value <= 2.5,
        ),
        line(
            "size as released: at most 1.7 MiB",
            lambda name: programs[name].size / 2**20,
            lambda value: value <= 1.7,
            " MiB",
        ),
    ]
    if starts:
        (title, count), start = next(iter(starts.items()))
        each = start.hooks / count
        lines.append(
            f"| a VM start, {count} {title}: at most 0.75 ms a hook |"
            f" {each:.2f} ms | {'–' if each <= 0.75 else 'it'} |"
        )
    return lines


# Of the plot, in pixels.
LABELS, CHART, LINE = 130, 640, 15


def plot(rows, names):
    """Every hook against the floor and against Python, on the small document, as SVG; milliseconds on a
    logarithmic scale."""
    taken = [time for name in names for row in rows[name] if row for time in (row.true, row.hook, row.python)]
    least, most = math.log10(min(taken)) - 0.05, math.log10(max(taken)) + 0.05

    def x(milliseconds):
        return LABELS + CHART * (math.log10(milliseconds) - least) / (most - least)

    height = LINE * (len(names) + 4)
    texts, marks = [], []

    def text(at, y, words, anchor="start"):
        texts.append(f'<text x="{at:.0f}" y="{y}" text-anchor="{anchor}">{words}</text>')

    legend = (("#555", False, "/bin/true"), ("#06c", False, "absent"), ("#06c", True, "present"))
    legend += (("#c60", False, "Python, absent"), ("#c60", True, "Python, present"))

    def mark(at, y, colour, full):
        fill = colour if full else "none"
        marks.append(f'<circle cx="{at:.1f}" cy="{y}" r="3.5" stroke="{colour}" fill="{fill}"/>')

    for number, (colour, full, words) in enumerate(legend):
        mark(LABELS + 120 * number, 10, colour, full)
        text(LABELS + 120 * number + 8, 14, words)
    steps = [value for power in range(-2, 4) for value in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)]
    bottom = height - LINE
    for value in steps:
        if least <= math.log10(value) <= most:
            marks.append(f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="22" y2="{bottom - 8}" stroke="#ddd"/>')
            text(x(value), bottom + 6, f"{value:g} ms", "middle")
    for number, name in enumerate(names):
        y = LINE * (number + 2) + 2
        text(LABELS - 8, y + 4, name, "end")
        absent, present = rows[name]
        mark(x(absent.true), y, "#555", False)
        for row, full in ((absent, False), (present, True)):
            if row:
                mark(x(row.hook), y, "#06c", full)
                mark(x(row.python), y, "#c60", full)
    return "\n".join(
        [
            "<!-- SPDX-License-Identifier: GPL-2.0-or-later -->",
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + CHART + 20}" height="{height}"'
            ' font-family="sans-serif" font-size="11">',
            '<rect width="100%" height="100%" fill="white"/>',
            *marks,
            *texts,
            "</svg>",
            "",
        ]
    )


def said_by(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def report(arguments, empty, programs, names, small, large, starts, texts):
    pair = next(iter(small.values()))[0]

    def size(kind, which):
        return f"{len(texts[kind][which].encode()):,}"

    return "\n".join(
        [
            "<!-- SPDX-License-Identifier: GPL-2.0-or-later -->",
            "<!-- Written by benches/run.py: change that, not this. -->",
            "",
            "# How fast the hooks are",
            "",
            "VDSM starts every installed hook at every event, whether or not the VM has its property,",
            "and waits for each. So the time of the whole process counts, most of all where there is",
            "nothing to do.",
            "",
            f"Measured with `python3 benches/run.py --rounds {arguments.rounds}` on {processor()},",
            f"{os.cpu_count()} CPUs, Linux {platform.release()}, {said_by('rustc', '--version')},"
            f" {said_by(PYTHON, '--version')}.",
            "",
            f"Every figure is the tenth percentile of {arguments.rounds} runs from start to end of the process,"
            f" at nice {os.nice(0)}, with the data file",
            f"on {arguments.where}. `/bin/true`, an empty Rust program, the hook as it is released, which is"
            " static, and the hook",
            "as a distribution builds it, which is *shared*, take turns in random order, with the Python hook",
            "between blocks of ten. *Empty* is `fn main() {}`, built with the hooks' profile but without"
            " our build script;",
            f"here it takes {pair.empty:.2f} ms, `/bin/true` {pair.true:.2f} ms. *Python* is a hook of the same"
            " effect with `xml.dom.minidom`",
            "(`hooks/<name>/bench.py`); before the times are taken both have to make the same of the document.",
            "*Absent*: no property, and the document stays as it is. Where a column does not say *shared* it",
            "is about the hook as released. Memory is the peak resident set.",
            "",
            "## Targets",
            "",
            *verdicts(small, starts, empty, programs, names),
            "",
            "## Figures",
            "",
            *(
                [f"![Every hook against /bin/true and against Python, in milliseconds]({arguments.plot.name})", ""]
                if arguments.plot
                else []
            ),
            *as_markdown(f"A VM with 5 disks, {size('domain', 0)} bytes", small, names),
            "",
            *as_markdown(f"A VM with 200 disks, {size('domain', 1)} bytes", large, names),
            "",
            "`allocate_net` and `extnet` get one vNIC, "
            f"{size('interface', 0)} bytes, in both tables: their events hand over no more. Hooks of the",
            "host's own events get JSON: "
            + ", ".join(f"{size(kind, 0)} and {size(kind, 1)} bytes of {kind}" for kind in texts if kind not in ("domain", "interface"))
            + ".",
            "*Present* is then a key of vdsm.conf that switches them on.",
            "",
            "`sdcheck` works without a property; *absent* is `sdcheck=off`, and *present* reads one storage",
            "domain, in a child process that can be given up, which its Python counterpart does without.",
            "`nestedvt` has no property; *present* is a host whose KVM can nest. `vhostmd` starts a service,",
            "here one that does nothing. What these do takes as long as the programs that do it, so they",
            f"are measured only without their property: {', '.join(name for name in names if wanted(name).get('absent_only'))}.",
            "",
            "### Whole VM starts",
            "",
            "Every hook of `before_vm_start`, one after the other on one document, as VDSM runs them.",
            f"The ten properties are those of {', '.join(TEN)}.",
            "",
            "| VM start | ms | ms a hook | shared: ms | ÷ as many empty programs | Python's ms | Python ÷ hooks |",
            "|---|---:|---:|---:|---:|---:|---:|",
            *(
                f"| {count} {title} | {start.hooks:.1f} | {start.hooks / count:.2f} | {start.shared:.1f}"
                f" | {start.hooks / start.empty:.2f} | {start.python:.0f} | {start.python / start.hooks:.1f} |"
                for (title, count), start in starts.items()
            ),
            "",
            "### Size",
            "",
            f"Stripped. The empty program has {os.path.getsize(empty):,} bytes. All hooks together have"
            f" {sum(program.size for program in programs.values()) / 2**20:.1f} MiB as released,",
            f"and {sum(program.shared_size for program in programs.values()) / 2**20:.1f} MiB as a distribution"
            " builds them.",
            "",
            "| hook | bytes, as released | shared |",
            "|---|---:|---:|",
            *(f"| {name} | {programs[name].size:,} | {programs[name].shared_size:,} |" for name in names),
            "",
        ]
    )


def documents(images):
    """What VDSM hands over, small and large."""
    nic = '<?xml version="1.0" encoding="utf-8"?>' + interface(1)
    sample = lambda name: json.loads((ROOT / "tests" / "data" / f"{name}.json").read_text())
    statistics_of_vm, devices, capabilities = map(sample, ("vm-stats", "host-devices", "capabilities"))
    networks, host, prepared = map(sample, ("network-setup", "host-stats", "prepared-disk"))
    some, many = (5, 500)

    def pair(make):
        return tuple(json.dumps(make(count)) for count in (some, many))

    def grown(mapping, count):
        """The mapping with its entries repeated under new names."""
        return {f"{key}{number or ''}": value for number in range(count) for key, value in mapping.items()}

    def asking(count, **custom):
        asked = {"blue": {"nic": "em2", "custom": custom}}
        grown_networks = {**grown(networks["request"]["networks"], count), **asked}
        return {"request": {**networks["request"], "networks": grown_networks}}

    return {
        "domain": (domain(5, images), domain(200, images)),
        "interface": (nic, nic),
        "statistics": pair(lambda count: statistics_of_vm[:1] * count),
        "capabilities": pair(lambda count: {**capabilities, "nics": grown(capabilities["nics"], count)}),
        "host statistics": pair(lambda count: {**host, "network": grown(host["network"], count)}),
        "devices": pair(lambda count: grown(devices, count)),
        "prepared disk": pair(lambda count: {**prepared, "volumeChain": [prepared["volumeInfo"]] * count}),
        "networks": pair(
            lambda count: asking(
                count,
                ipv6addr="2001:db8::5",
                dhcpv6="false",
                ethtool_opts="--offload * tso off",
                ipv4_addrs="192.0.2.10/24",
            )
        ),
        # The properties of networks stand in the document.
        "networks, unasked": pair(asking),
    }


def measure_hooks(work, names, rounds, empty, programs, texts):
    """The rows of all hooks on the small and on the large document."""
    small, large = {}, {}
    for name in names:
        case = case_of(name)
        unasked = texts.get(f"{case.document}, unasked", texts[case.document])
        for rows, without, document in zip((small, large), unasked, texts[case.document]):
            rows[name] = [None, None]
            for there in (False,) if wanted(name).get("absent_only") else (False, True):
                job = {
                    "name": name,
                    "rounds": rounds,
                    "hook": programs[name].hook,
                    "shared": programs[name].shared,
                    "python": programs[name].python,
                    "document": document if there else without,
                    "drawn": case.drawn,
                    "properties": case.present if there else case.absent,
                    "changes": there and case.changes,
                    "helpers": described(name).get("helpers", []),
                }
                rows[name][there] = Row(*inside(work, host_of(name) if there else {}, empty, job))
        last = small[name][1] or small[name][0]
        print(f"{name}: {last.hook / last.true:.2f} × /bin/true")
    return small, large


def measure_starts(work, rounds, empty, programs, text):
    """Whole starts: every hook of before_vm_start, with no property and with ten."""
    starting = sorted(
        (program for program in programs.values() if "/before_vm_start/" in program.hook[0]),
        key=lambda program: program.hook,
    )
    if not starting:
        return {}
    ten = {key: value for name in TEN for key, value in case_of(name).present.items()}
    starts = {}
    for title, properties, host in (
        ("hooks, no property set", {}, {}),
        ("hooks, ten properties set", ten, merged(map(host_of, TEN))),
    ):
        job = {
            "name": title,
            "rounds": max(5, rounds // 4),
            "hooks": [program.hook for program in starting],
            "shared": [program.shared for program in starting],
            "pythons": [program.python for program in starting],
            "document": text,
            "properties": properties,
        }
        starts[title, len(starting)] = Start(*inside(work, host, empty, job))
    return starts


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--hook", action="append", help="this hook only; may be given several times")
    parser.add_argument("--output", type=Path, help="default: docs/benchmarks.md, or standard output with --hook")
    parser.add_argument("--plot", type=Path, help="default: docs/benchmarks.svg, or none with --hook")
    # What this script asks of itself inside a private root directory.
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        job = json.loads(arguments.job.read_text())
        print(json.dumps(measure_start(job) if "hooks" in job else measure(job)))
        return

    if not arguments.hook:
        arguments.output = arguments.output or ROOT / "docs" / "benchmarks.md"
        arguments.plot = arguments.plot or ROOT / "docs" / "benchmarks.svg"
    names = sorted(path.parent.name for path in ROOT.glob("hooks/*/hook.json"))
    names = arguments.hook or names
    if missing := [name for name in names if not (ROOT / "hooks" / name / "bench.py").exists()]:
        raise SystemExit(f"no Python hook of the same effect, hooks/<name>/bench.py, for {', '.join(missing)}")
    if os.geteuid() != 0:
        raise SystemExit("NOT RUN: needs root, for private root directories")
    # As VDSM, whose hooks inherit it; and other work on the machine disturbs less.
    os.nice(-20)
    fast = Path("/dev/shm")
    arguments.where = "tmpfs" if fast.is_dir() else "disk"
    with tempfile.TemporaryDirectory(dir=fast if fast.is_dir() else None) as directory:
        work = Path(directory)
        shutil.copy(__file__, work / "run.py")
        texts = documents(make_storage_domain(work))
        empty, programs = build(work, names)
        small, large = measure_hooks(work, names, arguments.rounds, empty, programs, texts)
        starts = measure_starts(work, arguments.rounds, empty, programs, texts["domain"][0])
        text = report(arguments, empty, programs, names, small, large, starts, texts)
    if not arguments.output:
        print(text)
    for path, content in [(arguments.output, text), (arguments.plot, plot(small, names))]:
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            print(f"written: {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
