// SPDX-License-Identifier: GPL-2.0-or-later

//! Hooks that act on more than the document: on the disks of the VM, on files, networks and services of
//! the host. A dry run of a VM that runs would change the disk that it has open; so these are not
//! run unless somebody asks for it.

use vdsm_hooks::hook::manifest::{Manifest, Property, Scope};

use super::unread::Readers;

/// The hooks, and the events at which they act.
const ACT: [(&str, &[&str]); 15] = [
    ("ethtool_options", &["after_network_setup"]),
    ("extra_ipv4_addrs", &["after_network_setup"]),
    ("fcoe", &["before_network_setup"]),
    ("fileinject", &["before_vm_start"]),
    ("growdisk", &["before_vm_start"]),
    (
        "hugepages",
        &[
            "before_vm_start",
            "before_vm_migrate_destination",
            "after_vm_destroy",
        ],
    ),
    ("localdisk", &["after_disk_prepare"]),
    (
        "openstacknet",
        &[
            "after_device_create",
            "after_nic_hotplug",
            "after_device_migrate_destination",
            "after_vm_start",
        ],
    ),
    (
        "ovs",
        &[
            "before_network_setup",
            "after_network_setup",
            "after_network_setup_fail",
        ],
    ),
    (
        "promisc",
        &[
            "after_vm_start",
            "after_vm_migrate_destination",
            "before_vm_destroy",
            "after_vm_migrate_source",
        ],
    ),
    ("scratchpad", &["before_vm_start", "after_vm_destroy"]),
    ("sriov", &["before_vm_start", "after_vm_destroy"]),
    (
        "vhostmd",
        &[
            "before_vm_start",
            "before_vm_migrate_destination",
            "before_vm_dehibernate",
            "after_vm_destroy",
        ],
    ),
    (
        "vmfex",
        &["before_vm_start", "before_vm_migrate_destination"],
    ),
    (
        "vmfex_dev",
        &[
            "before_device_create",
            "before_nic_hotplug",
            "before_device_migrate_destination",
        ],
    ),
];

/// Whether a hook acts at an event of this name.
pub(crate) fn acts(hook: &Manifest, event: &str) -> bool {
    let mut all = ACT.iter();
    all.any(|(name, events)| *name == hook.name && events.contains(&event))
}

/// The files of the event that are not run unless `act`: those of hooks that act there and are asked
/// to. `data` is what they would be given. A hook of VDSM in the place of one of ours does the same.
pub(super) fn left_out(readers: &Readers<'_>, data: &[u8], act: bool) -> Vec<String> {
    if act {
        return Vec::new();
    }
    let acting = readers.catalog.iter().filter(|hook| {
        acts(hook, readers.event.name) && (hook.unasked || is_asked(hook, readers, data))
    });
    let files = acting.flat_map(|hook| readers.files(hook));
    files.filter(|file| readers.has_fired(file)).collect()
}

fn is_asked(hook: &Manifest, readers: &Readers<'_>, data: &[u8]) -> bool {
    let asks = |property: &Property| match property.scope {
        // In the data.
        Scope::Network => {
            let name = format!("\"{}\"", property.name);
            data.windows(name.len()).any(|part| part == name.as_bytes())
        }
        // The engine's own are set for the hooks of others too, to other values.
        Scope::Engine => readers.environment.get(&property.name) == Some(&property.example),
        _ => readers.environment.contains_key(&property.name),
    };
    hook.properties.iter().any(asks)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hooks that run programs or have files on the host, and only look at what there is.
    const LOOK: [&str; 8] = [
        "checkimages",
        "checkips",
        "floppy",
        "isolatedprivatevlan",
        "macbind",
        "nestedvt",
        "ovn",
        "sdcheck",
    ];

    #[test]
    fn every_hook_that_could_act_is_judged() {
        let catalog = crate::catalog::all().unwrap();
        for (name, events) in ACT {
            let hook = catalog.iter().find(|hook| hook.name == name);
            let hook = hook.unwrap_or_else(|| panic!("no hook {name}"));
            for event in events {
                assert!(
                    hook.events.iter().any(|one| one.event == *event),
                    "{name} {event}"
                );
            }
        }
        for hook in &catalog {
            let could = !hook.commands.is_empty()
                || !hook.sudo.is_empty()
                || !hook.helpers.is_empty()
                || !hook.files.is_empty();
            let is_judged = ACT.iter().any(|(name, _)| *name == hook.name)
                || LOOK.contains(&hook.name.as_str());
            assert!(
                !could || is_judged,
                "{}: does it act (run/acting.rs), or only look?",
                hook.name
            );
        }
    }
}
