// SPDX-License-Identifier: GPL-2.0-or-later

//! Hooks that act on more than the document: on the disks of the VM, on files, networks and services of
//! the host. A dry run of a VM that runs would change the disk that it has open; so these are not
//! run unless somebody asks for it.

use vdsm_hooks::hook::manifest::{Manifest, Property, Scope};

use super::unread::Readers;

/// Whether a hook acts at an event of this name.
fn acts(hook: &Manifest, event: &str) -> bool {
    let mut events = hook.events.iter();
    events.any(|one| one.event == event && one.acts)
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
        for hook in &catalog {
            let could = !hook.commands.is_empty()
                || !hook.sudo.is_empty()
                || !hook.helpers.is_empty()
                || !hook.files.is_empty();
            let acts = hook.events.iter().any(|event| event.acts);
            let looks = LOOK.contains(&hook.name.as_str());
            assert_eq!(
                could,
                acts || looks,
                "{}: does it act, or only look?",
                hook.name
            );
            assert!(!(acts && looks), "{}: it acts", hook.name);
        }
    }
}
