// SPDX-License-Identifier: GPL-2.0-or-later

//! What `run -h` and `run --help` say besides the options, at 80 columns.

pub(super) const SHORT: &str = "\
Example:
  vdsm-hooks run before_vm_start --domain vm1.xml -p cpuflags=+pcid

Exit status: 0 VDSM goes on, 1 it goes on although a hook failed, 2 it stops the
operation, 3 it would wait indefinitely, 4 something is wrong that VDSM does not
notice (--strict only), 64 the dry run was not possible. More with --help.";

pub(super) const LONG: &str = "\
Examples:
  All installed hooks, with the properties that the VM has in its metadata:
      vdsm-hooks run before_vm_start --domain vm1.xml
  The same for a VM that did not start, from VDSM's log:
      vdsm-hooks run before_vm_start --log /var/log/vdsm/vdsm.log --vm vm1
  One hook, one property, libvirt's opinion of the result, and the result:
      vdsm-hooks run before_vm_start --domain vm1.xml --hook cpuflags \\
          -p cpuflags=+pcid --schema --output new.xml
  A device event, with one NIC of the domain:
      vdsm-hooks run before_nic_hotplug --domain vm1.xml \\
          --device 00:1a:4a:16:01:51 -d ifacemacspoof=true
  A JSON event:
      vdsm-hooks run after_get_stats --data stats.json
  A hook that works on the VM's disk, for a VM that is down:
      vdsm-hooks run before_vm_start --domain vm1.xml -p growdisk=auto --act
  In a pipe:
      virsh -r dumpxml vm1 | vdsm-hooks run before_vm_start --domain - \\
          --output - | xmllint --format -

Where the document comes from:
  A VM that did not start is not in libvirt. What the engine has sent for it is
  in VDSM's log, before any hook: --log finds it, with the VM's properties, and
  shows beside the dry run what the hooks did then. A rotated log:
      xz -dc vdsm.log.1.xz | vdsm-hooks run before_vm_start --log - --vm vm1
  Of a VM that runs, 'virsh -r dumpxml' prints the document after the hooks.

What is shown:
  Hooks that changed something, said something or failed. All others are
  counted; --all shows each. The last line says who changed the document, who
  warned and who failed. On standard error: properties that no hook reads, and
  values of -p and -d that the engine would not take.

What is as in VDSM:
  Every executable file of the event's directory runs, in byte-wise order of the
  names, in any language, in '/', with standard input at its end, without
  arguments, its standard output dropped. Status 2 skips the rest. Each hook
  sees what the one before left. The result is read back and, where VDSM parses
  it, parsed; JSON has to have the shape that VDSM takes apart.
  The environment, a later one wins: what systemd gives to the daemon (PATH, the
  host's locale, and, where the daemon is not root, HOME and USER of vdsm;
  nothing of your shell); the daemon's settings file; device properties and -d;
  VM properties and -p; vmId; PYTHONPATH with VDSM's hooking module;
  _hook_domxml or _hook_json.
  A start is a cold one: hooks find VDSM's launch flags in /run/vdsm/ID. Nobody
  else sees these, and what a hook writes beside them is gone afterwards. Only
  root can have that, on a host where VDSM runs; where it cannot be, and a hook
  minds, the report says so.

What is not:
  Hooks of the suite, and VDSM's of the same name, that act on more than the
  document (the VM's disks, files, networks and services of this host) are not
  run where a property asks them to, and the report names them. With --act they
  run, and do what they do: to a VM's disk while no VM has it open, please.
  Hooks of others always run, and nobody knows what they do besides. Hooks run
  as you; most run as vdsm in VDSM: 'runuser -u vdsm -- vdsm-hooks run ...'.
  VDSM has no time limit and never validates.

Exit status, whatever --schema says:
  0   VDSM goes on with the operation
  1   it goes on although a hook failed: the event ignores failures
  2   it stops the operation: a hook failed where that counts, or the data
      cannot be used
  3   it would wait indefinitely: a hook did not end in time
  4   with --strict: it goes on, but a hook warned or was not run (see --act),
      the schema has something new against the result, a property is not read by
      any hook, or the engine would not take its value
  64  the dry run was not possible: wrong call, unreadable file, no such hook";
