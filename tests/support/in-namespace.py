# SPDX-License-Identifier: GPL-2.0-or-later
"""in-namespace.py FILE: fires programs side by side on a host of their own, and tells what becomes of
them.

To be run as the first process of new mount and process namespaces, which take everything along when
they end. FILE is JSON: `empty` (places with nothing), `over` and `instead` (directories that lie
over the host's, or in their place), `dead` (file systems that never answer), `owned` (files and
directories of the user vdsm), `jobs`. A job has a command, and may have env, input, link (a program,
and the path by which it is called), and data: the name of the variable and the content of the data
file. Those with `vdsm` are run by that user; what those with `unread` write is read by nobody, and
the pipe is full, until all programs but sudo have ended, which may wait for its reader: sudo 1.9.16
does. `limit`: seconds for it to end.

Answer, on standard output: `jobs`, each with status (none: it did not end), stdout, stderr and
state; and `left`, the processes that are still there after `patience` seconds.
Status 77: this machine refuses a mount.
"""

import json
import os
import subprocess
import sys
import time

VDSM = 36


def mount(*words, **more):
    done = subprocess.run(["mount", *words], capture_output=True, text=True, **more)
    if done.returncode:
        print("cannot mount %s: %s" % (words[-1], done.stderr.strip()), file=sys.stderr)
        sys.exit(77)


def as_vdsm():
    os.setgroups([])
    os.setgid(VDSM)
    os.setuid(VDSM)


def others():
    """All other processes here, without those that have ended."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name) as stat:
                state = stat.read().rpartition(")")[2].split()[0]
            with open("/proc/%s/cmdline" % name) as line:
                words = line.read().replace("\0", " ").strip()
            owner = os.stat("/proc/" + name).st_uid
        except OSError:
            continue
        if int(name) != os.getpid() and state not in "ZX":
            found.append("%s %s of %s: %s" % (name, state, owner, words))
    return found


def programs():
    """Those that do something: without sudo itself."""
    return [process for process in others() if " of 0: /usr/bin/sudo " not in process]


def wait_for(those, end):
    while those() and time.time() < end:
        time.sleep(0.05)
    return those()


# The other ends of full pipes.
READERS = []


def full_pipe():
    """Where to write to a pipe that is full, and stays so while nobody closes its other end."""
    reader, end = os.pipe()
    READERS.append(reader)
    os.set_blocking(end, False)
    try:
        while True:
            os.write(end, bytes(4096))
    except BlockingIOError:
        os.set_blocking(end, True)
    return end


def start(number, job):
    if "link" in job:
        program, link = job["link"]
        os.makedirs(os.path.dirname(link), exist_ok=True)
        if not os.path.islink(link):
            os.symlink(program, link)
    env = dict(job.get("env", {}))
    if "data" in job:
        name, content = job["data"]
        directory = "/run/jobs/%d" % number
        os.makedirs(directory)
        env[name] = directory + "/data"
        with open(env[name], "w") as file:
            file.write(content)
        for path in (directory, env[name]):
            os.chown(path, VDSM, VDSM)
    output = full_pipe() if job.get("unread") else subprocess.PIPE
    return subprocess.Popen(
        job["command"],
        env=env,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        preexec_fn=as_vdsm if job.get("vdsm") else None,
    )


def give_input(job, process):
    try:
        process.stdin.write(job.get("input", "").encode())
        process.stdin.close()
    except BrokenPipeError:
        # It has ended before it read; its status tells.
        pass
    process.stdin = None


def finish(job, process, begun):
    left = max(begun + job["limit"] - time.time(), 0.1)
    try:
        stdout, stderr = process.communicate(timeout=left)
    except subprocess.TimeoutExpired:
        with open("/proc/%d/stat" % process.pid) as stat:
            state = stat.read().rpartition(")")[2].split()[0]
        return {"status": None, "state": state, "stdout": "", "stderr": ""}
    return {
        "status": process.returncode,
        "state": "",
        "stdout": (stdout or b"").decode(),
        "stderr": (stderr or b"").decode(),
    }


def main():
    with open(sys.argv[1]) as file:
        host = json.load(file)
    for place in host.get("empty", []):
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", place)
    for directory, place in host.get("over", []):
        mount("-t", "overlay", "-o", "lowerdir=%s:%s" % (directory, place), "overlay", place)
    for directory, place in host.get("instead", []):
        mount("--rbind", directory, place)
    for path in host.get("owned", []):
        if path.endswith("/"):
            os.makedirs(path, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "w").close()
        os.chown(path, VDSM, VDSM)
    servers = []
    for place in host.get("dead", []):
        os.makedirs(place, exist_ok=True)
        # Whoever waits is let go when this is closed, at our end.
        servers.append(os.open("/dev/fuse", os.O_RDWR))
        options = "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % servers[-1]
        mount("-i", "-t", "fuse", "-o", options, "dead", place, pass_fds=servers)

    begun = time.time()
    running = [start(number, job) for number, job in enumerate(host["jobs"])]
    for job, process in zip(host["jobs"], running):
        give_input(job, process)
    read = [finish(job, process, begun) for job, process in zip(host["jobs"], running) if not job.get("unread")]
    left = wait_for(programs, time.time() + host["patience"])
    for reader in READERS:
        os.close(reader)
    unread = [finish(job, process, time.time()) for job, process in zip(host["jobs"], running) if job.get("unread")]
    jobs = [(unread if job.get("unread") else read).pop(0) for job in host["jobs"]]
    left = left or wait_for(others, time.time() + host["patience"])
    print(json.dumps({"jobs": jobs, "left": left}))


main()
