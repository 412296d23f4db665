#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures every hook as a whole process and writes docs/benchmarks.md.

    python3 benches/run.py [--rounds N] [--hook NAME]... [--output FILE]

Each hook is run with its property absent and present, on a small and on a large document, next to
an empty Rust program, /bin/true and a Python hook of the same effect (benches/python). The
programs take turns, in changing order, so that a busy moment of the machine hits all of them. Nothing here fails for
being slow; what fails is a hook whose result differs from its Python counterpart's.

Needs cargo, strip, GNU time and, for macbind, root (a bridge in a network namespace).
"""

import argparse
import difflib
import hashlib
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"
BRIDGE = "bench0"
# So many rounds of the small programs, then of Python, and so on.
BLOCK = 10
SD = "5a1f0b6c-2d38-4e97-8c41-b7e903f6d215"
VM_ID = "0e6b4d17-93f2-4c5a-a8d0-71c2f59e3b84"


class Case(NamedTuple):
    """How to run a hook: with properties, or without any effect."""

    present: dict
    absent: dict = {}
    # What VDSM hands over: the whole VM, or one vNIC.
    document: str = "domain"


CASES = {
    "allocate_net": Case({"equivnets": "blue blue"}, document="interface"),
    "boot_hostdev": Case({"boot_hostdev": "pci_0000_0b_00_0"}),
    "cpuflags": Case({"cpuflags": "+pcid,-svm"}),
    "diskunmap": Case({"diskunmap": "on"}),
    "extnet": Case({"extnet": "lab"}, document="interface"),
    "isolatedprivatevlan": Case({"isolatedprivatevlan": "52:54:00:aa:bb:cc"}),
    "log_console": Case({"log_console_vm_regexp": "mail"}),
    "log_firmware": Case({"log_firmware_vm_regexp": "mail", "log_firmware_dir": "/tmp"}),
    "macbind": Case({"macbind": "{'56:6f:00:00:00:01': '%s'}" % BRIDGE}),
    "macspoof": Case({"macspoof": "true"}),
    "noipspoof": Case({"noipspoof": "192.0.2.9,192.0.2.10"}),
    "qemucmdline": Case({"qemu_cmdline": '["-fw_cfg", "name=opt/a,string=b"]'}),
    "qos": Case({"qos": "56:6f:00:00:00:01=in{'average':'1000','peak':'2000'}^out{'average':'500'}"}),
    # Works without a property; this is how to switch it off.
    "sdcheck": Case({}, absent={"sdcheck": "off"}),
    "smbios": Case({"smbios": "{'serial': 'X-4711'}^{'vendor': 'Acme'}"}),
    "spiceoptions": Case({"spiceoptions": "{'image': {'compression': 'glz'}}"}),
}


def interface(number):
    return f"""
    <interface type="bridge">
      <mac address="56:6f:00:00:00:{number:02x}"/>
      <source bridge="ovirtmgmt"/>
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
    hook: list
    python: list
    size: int


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
    empty = build_empty(work)
    subprocess.run(["strip", empty], check=True)
    shutil.copytree(ROOT / "benches" / "python", work / "python")
    programs = {}
    for name in names:
        described = json.loads((ROOT / "hooks" / name / "hook.json").read_text())
        event = described["events"][0]
        directory = work / "hooks" / event["event"]
        directory.mkdir(parents=True, exist_ok=True)
        program = directory / f"{event['order']:02}_{name}"
        shutil.copy(ROOT / "target" / "release" / name, program)
        subprocess.run(["strip", program], check=True)
        python = [PYTHON, str(work / "python" / f"{name}.py")]
        programs[name] = Programs([str(program)], python, program.stat().st_size)
    return str(empty), programs


def environment(data, properties):
    """What VDSM gives a hook."""
    base = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "vmId": VM_ID}
    return {**base, "_hook_domxml": str(data), **properties}


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


def meaning(text):
    return ET.canonicalize(text, strip_text=True)


def check_same_effect(name, programs, data, document, env, changes):
    """Both programs have to make the same of the document."""
    results = []
    for command in (programs.hook, programs.python):
        data.write_text(document)
        timed(command, env)
        results.append(meaning(data.read_text()))
    if results[0] != results[1]:
        difference = difflib.unified_diff(*(result.split(">") for result in results), n=1)
        raise SystemExit(f"{name}: the two programs differ:\n" + "\n".join(difference))
    if (results[0] != meaning(document)) != changes:
        raise SystemExit(f"{name}: expected a {'changed' if changes else 'n unchanged'} document")


class Row(NamedTuple):
    empty: float
    true: float
    hook: float
    python: float
    memory: int
    python_memory: int


def measure(name, programs, empty, data, document, properties, present, rounds):
    env = environment(data, properties)
    # sdcheck only looks.
    changes = present and name != "sdcheck"
    check_same_effect(name, programs, data, document, env, changes)
    commands = ([empty], ["/bin/true"], programs.hook, programs.python)
    times = [[] for _ in commands]
    small = list(zip(commands, times))[:3]

    def run(command, taken):
        data.write_text(document)
        taken.append(timed(command, env))

    # Python pushes the others out of the processor's caches, so it runs in blocks of its own.
    for begin in range(0, rounds, BLOCK):
        block = range(begin, min(begin + BLOCK, rounds))
        for _ in block:
            random.shuffle(small)
            for command, taken in small:
                run(command, taken)
        for _ in block:
            run(programs.python, times[3])
    memory = []
    for command in (programs.hook, programs.python):
        peaks = []
        for _ in range(5):
            data.write_text(document)
            peaks.append(peak_memory(command, env))
        memory.append(max(peaks))
    return Row(*map(statistics.median, times), *memory)


def as_markdown(title, rows, names):
    lines = [
        f"### {title}",
        "",
        "| hook | absent ÷ empty | present ÷ empty | present ÷ true | Python ÷ hook, absent"
        " | Python ÷ hook, present | ms absent | ms present | ms Python | peak KiB | Python's KiB |",
        "|---|" + "---:|" * 10,
    ]
    for name in names:
        absent, present = rows[name]
        lines.append(
            f"| {name} | {absent.hook / absent.empty:.2f} | {present.hook / present.empty:.2f}"
            f" | {present.hook / present.true:.2f} | {absent.python / absent.hook:.1f}"
            f" | {present.python / present.hook:.1f} | {absent.hook:.2f} | {present.hook:.2f}"
            f" | {present.python:.1f} | {present.memory} | {present.python_memory} |"
        )
    return lines


def verdicts(rows, programs, names):
    """Each target with the hooks that miss it."""

    def line(target, value, holds, unit=""):
        missed = [f"{name} {value(name):.{digits(unit)}f}{unit}" for name in names if not holds(value(name))]
        reached = f"{len(names) - len(missed)} of {len(names)}"
        return f"| {target} | {reached} | {', '.join(missed) or '–'} |"

    def digits(unit):
        return 0 if unit else 2

    absent = {name: rows[name][0] for name in names}
    present = {name: rows[name][1] for name in names}
    return [
        "| target, at 15 KiB | reached by | missed by |",
        "|---|---|---|",
        line(
            "absent: at most 1.15 × the empty Rust program",
            lambda name: absent[name].hook / absent[name].empty,
            lambda value: value <= 1.15,
        ),
        line(
            "present: at most 1.6 × the empty Rust program",
            lambda name: present[name].hook / present[name].empty,
            lambda value: value <= 1.6,
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
        ),
        line(
            "peak memory: at most 4096 KiB",
            lambda name: present[name].memory,
            lambda value: value <= 4096,
            " KiB",
        ),
        line(
            "size stripped: at most 600 KB (600,000 bytes)",
            lambda name: programs[name].size,
            lambda value: value <= 600_000,
            " bytes",
        ),
    ]


def said_by(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def report(arguments, empty, programs, names, small, large, sizes):
    pair = next(iter(small.values()))[0]
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
            f"Every figure is a median of {arguments.rounds} runs from start to end of the process,"
            f" at nice {os.nice(0)}, with the data file on",
            f"{arguments.where}. The empty Rust program, `/bin/true` and the hook take turns in random"
            " order, with the Python hook",
            "between blocks of ten. *Empty* is `fn main() {}`, built with the hooks' profile; here it takes"
            f" {pair.empty:.2f} ms,",
            f"`/bin/true` {pair.true:.2f} ms. *Python* is a hook of the same effect with"
            " `xml.dom.minidom` (`benches/python`);",
            "before the times are taken both have to make the same of the document. *Absent*: no",
            "property, and the document stays as it is. Memory is the peak resident set.",
            "",
            "## Targets",
            "",
            *verdicts(small, programs, names),
            "",
            "## Figures",
            "",
            *as_markdown(f"A VM with 5 disks, {sizes[0]:,} bytes", small, names),
            "",
            *as_markdown(f"A VM with 200 disks, {sizes[1]:,} bytes", large, names),
            "",
            "`allocate_net` and `extnet` get one vNIC, "
            f"{sizes[2]:,} bytes, in both tables: their events hand over no more. `sdcheck`",
            "works without a property; *absent* is `sdcheck=off`, and *present* reads one storage domain,",
            "in a child process that can be given up, which its Python counterpart does without.",
            "",
            "### Size",
            "",
            f"Stripped. The empty program has {os.path.getsize(empty):,} bytes.",
            "",
            "| hook | bytes |",
            "|---|---:|",
            *(f"| {name} | {programs[name].size:,} |" for name in names),
            "",
        ]
    )


def enter_network_namespace():
    """Starts this script again in a network namespace with a bridge for macbind."""
    if "VDSM_HOOKS_BENCH" in os.environ:
        return
    os.environ["VDSM_HOOKS_BENCH"] = "1"
    script = f'mount -t sysfs sysfs /sys && ip link add {BRIDGE} type bridge && exec "$@"'
    command = ["unshare", "--mount", "--net", "sh", "-c", script, "sh", sys.executable, *sys.argv]
    os.execvp(command[0], command)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--hook", action="append", help="this hook only; may be given several times")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks.md")
    arguments = parser.parse_args()

    present = sorted(path.parent.name for path in ROOT.glob("hooks/*/hook.json"))
    if unknown := set(present) - set(CASES):
        raise SystemExit(f"no case in benches/run.py for {', '.join(sorted(unknown))}")
    names = arguments.hook or present
    if os.geteuid() == 0:
        enter_network_namespace()
        # As VDSM, whose hooks inherit it; and other work on the machine disturbs less.
        os.nice(-20)
    if not Path(f"/sys/class/net/{BRIDGE}").exists() and "macbind" in names:
        print("NOT RUN: macbind: needs root, for a bridge")
        names.remove("macbind")

    fast = Path("/dev/shm")
    arguments.where = "tmpfs" if fast.is_dir() else "disk"
    with tempfile.TemporaryDirectory(dir=fast if fast.is_dir() else None) as directory:
        work = Path(directory)
        images = make_storage_domain(work)
        empty, programs = build(work, names)
        data = work / "data.xml"
        documents = [domain(5, images), domain(200, images)]
        nic = '<?xml version="1.0" encoding="utf-8"?>' + interface(1)
        small, large = {}, {}
        for name in names:
            case = CASES[name]
            for rows, whole in zip((small, large), documents):
                document = nic if case.document == "interface" else whole
                rows[name] = [
                    measure(name, programs[name], empty, data, document, properties, there, arguments.rounds)
                    for properties, there in ((case.absent, False), (case.present, True))
                ]
            print(f"{name}: {small[name][1].hook / small[name][1].empty:.2f} × the empty program")
        sizes = [len(text.encode()) for text in (*documents, nic)]
        text = report(arguments, empty, programs, names, small, large, sizes)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(text)
    print(f"written: {arguments.output}")


if __name__ == "__main__":
    main()
