// SPDX-License-Identifier: GPL-2.0-or-later

//! Gives a VM the metrics of its host that vhostmd publishes, as SAP's monitoring wants them.
//!
//! Events: `before_vm_start`, `before_vm_migrate_destination` and `before_vm_dehibernate` start the
//! service and add the devices; `after_vm_destroy` stops the service after the last such VM.
//!
//! Property: `sap_agent`, a boolean. Absent or false: nothing happens.
//!
//! Reads `/etc/vhostmd/vhostmd.conf`. Runs systemctl as root, and at the end `virsh`, read-only, to
//! find out about the other VMs.

mod others;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use vdsm_hooks::host::files;
use vdsm_hooks::host::sudo::Program;
use vdsm_hooks::host::worker::Worker;
use vdsm_hooks::libvirt::domain;
use vdsm_hooks::xml::{self, Document, Edits, Element};
use vdsm_hooks::{Context, Error, Result, hook, program, props};

const PROPERTY: &str = "sap_agent";
const CONFIGURATION: &str = "/etc/vhostmd/vhostmd.conf";
const DEFAULT_DISK: &str = "/dev/shm/vhostmd0";
const TARGET: &str = "vdzz";
const CHANNEL: &str = "org.github.vhostmd.1";
const SERVICE: &str = "vhostmd.service";
/// In sudoers too.
const SERVICE_TIMEOUT: Duration = Duration::from_secs(20);
const SYSTEMCTL: Program<'_> = Program::of_host("/usr/bin/systemctl", &[SERVICE_TIMEOUT.as_secs()]);
/// How long the started service may take to make its disk.
const DISK_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits until a file is there; who asks says how long.
static AWAIT: Worker<PathBuf, ()> = Worker::new(|file| {
    while !file.exists() {
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
});

fn main() -> ExitCode {
    if let Some(status) = AWAIT.serve() {
        return status;
    }
    // Exit 1 at a start: it is refused all the same, and the other hooks may have something to say.
    // Where a migration or a restored VM is stopped, VDSM shows the message of the hook that ran
    // last (VDSM 4.50 lib/vdsm/common/hooks.py: HookError(err)), which would be an empty one.
    hook::run(program!(), || {
        run().map_err(|error| match hook::event().as_deref() {
            Ok("before_vm_migrate_destination" | "before_vm_dehibernate") => error,
            _ => error.keep_going(),
        })
    })
}

fn run() -> Result {
    if props::flag(PROPERTY)? != Some(true) {
        return Ok(());
    }
    if hook::event()? == "after_vm_destroy" {
        return stop_after_the_last();
    }
    let metrics = Metrics::read()?;
    hook::edit(|document, edits| {
        metrics.add_devices(document, edits)?;
        metrics.start_service();
        Ok(())
    })
}

/// How this host publishes its metrics.
struct Metrics {
    /// The file that is a disk for the VMs.
    disk: String,
    by_disk: bool,
    by_channel: bool,
}

impl Metrics {
    fn read() -> Result<Metrics> {
        let bytes = files::read_file(Path::new(CONFIGURATION), 1 << 20)?;
        let text = String::from_utf8(bytes).context(CONFIGURATION)?;
        let document = xml::parse_with_dtd(&text).context(CONFIGURATION)?;
        let globals = xml::child(document.root_element(), "globals").ok_or_else(|| {
            Error::new(format!("{CONFIGURATION}: expected <globals> in <vhostmd>"))
        })?;
        let path = xml::child(globals, "disk").and_then(|disk| xml::child(disk, "path"));
        let disk = path.map_or_else(|| DEFAULT_DISK.to_owned(), xml::text);
        let disk = disk.trim().to_owned();
        if !disk.starts_with('/') {
            return Err(Error::new(format!(
                "{CONFIGURATION}: the disk's path is {disk:?}, expected an absolute one"
            )));
        }
        let has = |name: &str| {
            let mut transports = xml::children(globals, "transport").map(xml::text);
            transports.any(|transport| transport.trim() == name)
        };
        Ok(Metrics {
            disk,
            by_disk: has("vbd"),
            by_channel: has("virtio"),
        })
    }

    fn add_devices(&self, document: &Document<'_>, edits: &mut Edits<'_>) -> Result {
        let devices = domain::devices(document)?;
        if !self.by_disk && !self.by_channel {
            log::warn!(
                "{CONFIGURATION}: no transport for this VM, expected <transport> vbd or virtio"
            );
        }
        if self.by_disk && !has_disk(document, Some(&self.disk)) {
            let target = Element::new("target")
                .attr("dev", TARGET)
                .attr("bus", "virtio");
            let disk = Element::new("disk")
                .attr("type", "file")
                .attr("device", "disk")
                .child(Element::new("source").attr("file", &self.disk))
                .child(target)
                .child(Element::new("readonly"));
            edits.append(devices, &disk);
        }
        if self.by_channel && !has_channel(document) {
            let target = Element::new("target")
                .attr("type", "virtio")
                .attr("name", CHANNEL);
            let channel = Element::new("channel")
                .attr("type", "unix")
                .child(Element::new("source").attr("mode", "bind"))
                .child(target);
            edits.append(devices, &channel);
        }
        Ok(())
    }

    /// A VM without metrics is better than none: what goes wrong is a warning.
    fn start_service(&self) {
        if let Err(error) = service("start") {
            log::warn!("{PROPERTY}: the VM may lack the metrics: {error}");
            return;
        }
        if !self.by_disk {
            return;
        }
        let disk = &self.disk;
        // The administrator may have put it on storage that is dead.
        let end = Instant::now() + DISK_TIMEOUT;
        match AWAIT.ask(&PathBuf::from(disk), end) {
            Ok(Some(Ok(_))) => {}
            Ok(None) => log::warn!(
                "{PROPERTY}: {SERVICE} runs, but {disk} does not appear; libvirt will refuse the VM"
            ),
            Ok(Some(Err(error))) | Err(error) => log::warn!("{PROPERTY}: {disk}: {error}"),
        }
    }
}

/// Whether the VM has the disk: by its target, or by its file.
fn has_disk(document: &Document<'_>, file: Option<&str>) -> bool {
    xml::devices(document, "disk").into_iter().any(|disk| {
        let attr = |child, name| xml::child(disk, child).and_then(|child| xml::attr(child, name));
        attr("target", "dev") == Some(TARGET) || (file.is_some() && attr("source", "file") == file)
    })
}

fn has_channel(document: &Document<'_>) -> bool {
    let channels = xml::devices(document, "channel").into_iter();
    let mut targets = channels.filter_map(|channel| xml::child(channel, "target"));
    targets.any(|target| xml::attr(target, "name") == Some(CHANNEL))
}

fn service(verb: &str) -> Result {
    let done = SYSTEMCTL.run(&[verb, SERVICE], SERVICE_TIMEOUT)?;
    done.checked().map(drop)
}

fn stop_after_the_last() -> Result {
    let own = props::text("vmId")?.unwrap_or_default();
    let needed = others::any_needs_metrics(&own).context(format!(
        "{SERVICE} keeps running, because the other VMs cannot be determined"
    ))?;
    if needed { Ok(()) } else { service("stop") }
}
