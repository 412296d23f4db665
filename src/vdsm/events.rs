// SPDX-License-Identifier: GPL-2.0-or-later

//! VDSM's events: what a hook is given there, and what VDSM makes of its result (VDSM 4.50
//! lib/vdsm/common/hooks.py).

use std::fmt::{self, Display, Formatter};

/// One of VDSM's events, a directory below `/usr/libexec/vdsm/hooks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Name of the event and of its directory.
    pub name: &'static str,
    /// What the data file holds.
    pub data: Data,
    /// What VDSM adds to its own environment.
    pub environment: Environment,
    /// What a failing hook means.
    pub failure: Failure,
    /// Whether VDSM goes on with what the hooks made of the data.
    pub output_used: bool,
}

/// What the data file of an event holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// A whole domain XML.
    Domain,
    /// One device element.
    Device,
    /// One device element, but for most VMs nothing: VDSM has no XML of devices that were there
    /// at the VM's start.
    DeviceOrNothing,
    /// Nothing: an empty file.
    Nothing,
    /// JSON.
    Json,
    /// JSON, always the empty object.
    EmptyObject,
}

impl Display for Data {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Data::Domain => "a domain XML",
            Data::Device => "one device element",
            Data::DeviceOrNothing => "one device element, or an empty file",
            Data::Nothing => "an empty file",
            Data::Json => "JSON",
            Data::EmptyObject => "the JSON object {}",
        })
    }
}

impl Data {
    /// Whether the variable is `_hook_json`; else it is `_hook_domxml`.
    pub fn is_json(self) -> bool {
        matches!(self, Data::Json | Data::EmptyObject)
    }
}

/// What VDSM adds to its own environment for the hooks of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// No property at all, no `vmId`.
    Bare,
    /// The VM's custom properties and `vmId`.
    Vm,
    /// Those, and parameters of the event below them: the device's custom properties for device
    /// events, `FROM_SNAPSHOT`, the parameters of a console ticket.
    VmAndParameters,
}

/// What a failing hook means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The operation ends with an error.
    Aborts,
    /// A line in VDSM's log.
    Logged,
    /// VDSM cannot start any hook here, and the operation ends with an error as soon as one is
    /// installed: it passes a boolean where only text is possible.
    CannotStart,
}

/// In what way a VM comes to run: VDSM fires some events in more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It boots.
    Cold,
    /// It wakes up from a saved state.
    Resume,
    /// It comes from another host.
    Migration,
}

impl Start {
    /// For scripts.
    pub fn keyword(self) -> &'static str {
        match self {
            Start::Cold => "cold",
            Start::Resume => "resume",
            Start::Migration => "migration",
        }
    }
}

/// For people.
impl Display for Start {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Start::Cold => "a cold start",
            Start::Resume => "a resume",
            Start::Migration => "an incoming migration",
        })
    }
}

/// What VDSM takes apart of the JSON of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An object.
    Object,
    /// An object with `request`, which has `networks`, `bondings` and `options`, objects as well.
    Request,
    /// An array, of which VDSM takes the first object.
    FirstObject,
    /// An array of objects.
    Objects,
}

/// The event that VDSM calls `name`.
pub fn find(name: &str) -> Option<&'static Event> {
    EVENTS.iter().find(|event| event.name == name)
}

use Data::{Device, DeviceOrNothing, Domain, EmptyObject, Json, Nothing};
use Environment::{Bare, Vm, VmAndParameters};
use Failure::{Aborts, CannotStart, Logged};

/// What [`Event::output_used`] says, in the table.
const USED: bool = true;
const IGNORED: bool = false;

const fn event(
    name: &'static str,
    data: Data,
    environment: Environment,
    failure: Failure,
    output_used: bool,
) -> Event {
    Event {
        name,
        data,
        environment,
        failure,
        output_used,
    }
}

/// All events of VDSM 4.50, in the order in which they can happen to a VM; those of the host last.
#[rustfmt::skip]
pub const EVENTS: [Event; 58] = [
    event("before_vdsm_start", Nothing, Bare, Logged, IGNORED),
    event("after_vdsm_stop", Nothing, Bare, Logged, IGNORED),
    event("after_disk_prepare", Json, Vm, Aborts, USED),
    event("before_device_create", Device, VmAndParameters, Aborts, USED),
    event("before_vm_start", Domain, Vm, Aborts, USED),
    event("after_vm_start", Domain, Vm, Logged, IGNORED),
    event("after_device_create", DeviceOrNothing, VmAndParameters, Logged, IGNORED),
    event("before_vm_pause", Domain, Vm, Aborts, IGNORED),
    event("after_vm_pause", Domain, Vm, Logged, IGNORED),
    event("before_vm_cont", Domain, Vm, Aborts, IGNORED),
    event("after_vm_cont", Domain, Vm, Logged, IGNORED),
    event("before_device_destroy", DeviceOrNothing, VmAndParameters, Aborts, IGNORED),
    event("before_vm_destroy", Nothing, Vm, Logged, IGNORED),
    event("after_vm_destroy", Domain, Vm, Logged, IGNORED),
    event("after_device_destroy", DeviceOrNothing, VmAndParameters, Logged, IGNORED),
    event("before_vm_hibernate", Domain, Vm, Aborts, IGNORED),
    event("after_vm_hibernate", Domain, Vm, Logged, IGNORED),
    event("before_vm_dehibernate", Domain, VmAndParameters, Aborts, IGNORED),
    event("after_vm_dehibernate", Domain, VmAndParameters, CannotStart, IGNORED),
    event("before_device_migrate_source", DeviceOrNothing, VmAndParameters, Aborts, IGNORED),
    event("before_vm_migrate_source", Domain, Vm, Aborts, IGNORED),
    event("after_vm_migrate_source", Domain, Vm, Logged, IGNORED),
    event("after_device_migrate_source", DeviceOrNothing, VmAndParameters, Logged, IGNORED),
    event("before_device_migrate_destination", Device, VmAndParameters, Aborts, IGNORED),
    event("before_vm_migrate_destination", Domain, Vm, Aborts, IGNORED),
    event("after_vm_migrate_destination", Domain, Vm, Logged, IGNORED),
    event("after_device_migrate_destination", Device, VmAndParameters, Logged, IGNORED),
    event("before_nic_hotplug", Device, VmAndParameters, Aborts, USED),
    event("after_nic_hotplug", Device, VmAndParameters, Logged, IGNORED),
    event("after_nic_hotplug_fail", Device, VmAndParameters, Logged, IGNORED),
    event("before_nic_hotunplug", Device, VmAndParameters, Aborts, IGNORED),
    event("after_nic_hotunplug", Device, VmAndParameters, Logged, IGNORED),
    event("after_nic_hotunplug_fail", Device, VmAndParameters, Logged, IGNORED),
    event("before_update_device", Device, VmAndParameters, Aborts, USED),
    event("after_update_device", Device, VmAndParameters, Logged, IGNORED),
    event("after_update_device_fail", Device, VmAndParameters, Logged, IGNORED),
    event("before_disk_hotplug", Device, VmAndParameters, Aborts, USED),
    event("after_disk_hotplug", Device, VmAndParameters, Logged, IGNORED),
    event("before_disk_hotunplug", Device, VmAndParameters, Aborts, IGNORED),
    event("after_disk_hotunplug", Device, VmAndParameters, Logged, IGNORED),
    event("before_memory_hotplug", Device, Vm, Aborts, USED),
    event("after_memory_hotplug", Device, Vm, Logged, IGNORED),
    event("before_set_num_of_cpus", Nothing, Bare, Aborts, IGNORED),
    event("after_set_num_of_cpus", Nothing, Bare, Logged, IGNORED),
    event("before_vm_set_ticket", Domain, VmAndParameters, Logged, IGNORED),
    event("after_vm_set_ticket", Domain, VmAndParameters, Logged, IGNORED),
    event("before_network_setup", Json, Bare, Aborts, USED),
    event("after_network_setup", Json, Bare, Logged, IGNORED),
    event("after_network_setup_fail", Json, Bare, Logged, IGNORED),
    event("before_get_caps", EmptyObject, Bare, Aborts, IGNORED),
    event("after_get_caps", Json, Bare, Logged, USED),
    event("before_get_stats", EmptyObject, Bare, Aborts, IGNORED),
    event("after_get_stats", Json, Bare, Logged, USED),
    event("before_get_vm_stats", EmptyObject, Bare, Aborts, IGNORED),
    event("after_get_vm_stats", Json, Bare, Logged, USED),
    event("before_get_all_vm_stats", EmptyObject, Bare, Aborts, IGNORED),
    event("after_get_all_vm_stats", Json, Bare, Logged, USED),
    event("after_hostdev_list_by_caps", Json, Bare, Logged, USED),
];

impl Event {
    /// Which hook's stderr becomes the error of the operation: at a VM's start that of the last
    /// hook that failed, elsewhere that of the last one that ran, even if that one succeeded.
    pub fn shows_last_failed(&self) -> bool {
        self.name == "before_vm_start"
    }

    /// Whether the event is part of starting or restoring a VM, so that an error ends in "VM is
    /// down with error".
    pub fn starts_vm(&self) -> bool {
        [
            "after_disk_prepare",
            "before_device_create",
            "before_vm_start",
            "before_vm_dehibernate",
            "after_vm_dehibernate",
        ]
        .contains(&self.name)
    }

    /// In what ways a VM can come to run where VDSM fires this event, the usual one first; none if
    /// it is fired elsewhere (VDSM fd4b0df20 lib/vdsm/virt/vm.py: `_run`).
    pub fn starts(&self) -> &'static [Start] {
        use Start::{Cold, Migration, Resume};
        match self.name {
            "after_disk_prepare" => &[Cold, Resume, Migration],
            "before_device_create" | "before_vm_start" => &[Cold, Resume],
            "before_vm_dehibernate" | "after_vm_dehibernate" => &[Resume],
            "before_device_migrate_destination"
            | "before_vm_migrate_destination"
            | "after_vm_migrate_destination"
            | "after_device_migrate_destination" => &[Migration],
            _ => &[],
        }
    }

    /// Whether VDSM goes on with what the hooks made of the data when a VM starts in this way: a VM
    /// that wakes up has the document with which it was saved (VDSM fd4b0df20 lib/vdsm/virt/vm.py:
    /// `_run`, "we ignore the output of the hook").
    pub fn output_used_at(&self, start: Option<Start>) -> bool {
        let is_dropped = start == Some(Start::Resume) && self.data != Data::Json;
        self.output_used && !is_dropped
    }

    /// What the JSON has to be like; none if VDSM hands over the empty object (VDSM fd4b0df20
    /// lib/vdsm/network/api.py: `_apply_hook`; lib/vdsm/API.py: `VM.getStats`, `getAllVmStats`;
    /// lib/vdsm/virt/vm.py: `_preparePathsForDrives`; lib/vdsm/common/hostdev.py: `list_by_caps`).
    pub fn shape(&self) -> Option<Shape> {
        match self.name {
            _ if self.data != Data::Json => None,
            "before_network_setup" | "after_network_setup" | "after_network_setup_fail" => {
                Some(Shape::Request)
            }
            "after_get_vm_stats" => Some(Shape::FirstObject),
            "after_get_all_vm_stats" => Some(Shape::Objects),
            _ => Some(Shape::Object),
        }
    }

    /// The element of a device that this event is about; none where it may be any.
    pub fn device(&self) -> Option<&'static str> {
        let has = |part: &str| self.name.contains(part);
        match self.data {
            Data::Device if has("_nic_") || has("_update_device") => Some("interface"),
            Data::Device if has("_disk_") => Some("disk"),
            Data::Device if has("_memory_") => Some("memory"),
            _ => None,
        }
    }

    /// Whether supervdsmd, not vdsmd, runs the hooks.
    pub fn run_by_supervdsmd(&self) -> bool {
        self.name.ends_with("_network_setup") || self.name == "after_network_setup_fail"
    }

    /// Whether the hooks run as root; else as `vdsm`.
    pub fn run_by_root(&self) -> bool {
        self.run_by_supervdsmd() || self.name == "before_vdsm_start"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_there_once_and_consistent() {
        for (number, event) in EVENTS.iter().enumerate() {
            assert_eq!(find(event.name), Some(&EVENTS[number]), "{}", event.name);
            let parts = event.name.split('_').next();
            assert!(matches!(parts, Some("before" | "after")), "{}", event.name);
            // What happened already cannot be stopped.
            if event.failure == Aborts && event.name != "after_disk_prepare" {
                assert!(event.name.starts_with("before_"), "{}", event.name);
            }
            assert!(
                !event.output_used || !matches!(event.data, Nothing | EmptyObject),
                "{}",
                event.name
            );
        }
    }

    #[test]
    fn what_hooks_write_for_a_vm_that_wakes_up_is_dropped() {
        let used = |name: &str, start| find(name).is_some_and(|event| event.output_used_at(start));
        for name in ["before_device_create", "before_vm_start"] {
            assert!(used(name, Some(Start::Cold)), "{name}");
            assert!(!used(name, Some(Start::Resume)), "{name}");
        }
        // The disks are the same in either way.
        assert!(used("after_disk_prepare", Some(Start::Resume)));
        assert!(used("after_disk_prepare", Some(Start::Migration)));
        assert!(used("before_nic_hotplug", None));
        assert!(!used(
            "before_vm_migrate_destination",
            Some(Start::Migration)
        ));
    }

    #[test]
    fn the_counts_are_vdsms() {
        let count =
            |wanted: fn(&Event) -> bool| EVENTS.iter().filter(|event| wanted(event)).count();
        assert_eq!(count(|event| event.failure == Aborts), 24);
        assert_eq!(count(|event| event.output_used), 13);
        assert_eq!(count(|event| event.data.is_json()), 13);
        assert_eq!(count(|event| event.environment == Bare), 16);
        assert_eq!(count(Event::run_by_root), 4);
        assert_eq!(count(|event| !event.starts().is_empty()), 9);
        assert_eq!(count(|event| event.shape().is_some()), 9);
        assert_eq!(count(|event| event.device() == Some("interface")), 9);
        assert_eq!(count(|event| event.device() == Some("disk")), 4);
        assert_eq!(count(|event| event.device() == Some("memory")), 2);
    }
}
