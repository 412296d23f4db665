// SPDX-License-Identifier: GPL-2.0-or-later

//! faqemu: VMs of one architecture on hosts of another, which this machine cannot be all of.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(missing_docs)]

#[path = "caps.rs"]
mod caps;
#[path = "guest.rs"]
mod guest;

use guest::Guest;
use vdsm_hooks::{json, xml};

/// A VM with everything that some host cannot emulate.
const VM: &str = r#"<domain type="kvm">
  <memory>4194304</memory>
  <maxMemory slots="16">16777216</maxMemory>
  <sysinfo type="smbios"/>
  <os>
    <type arch="x86_64" machine="pc-q35-rhel9.4.0">hvm</type>
    <bios useserial="yes"/>
    <smbios mode="sysinfo"/>
  </os>
  <cpu match="exact"><model>Nehalem</model></cpu>
  <devices>
    <controller type="scsi"><address type="spapr-vio" reg="0x1"/><address type="spapr-vio" reg="0x2"/></controller>
    <controller type="usb"><address type="pci"/></controller>
    <graphics type="spice" port="-1"/>
    <graphics type="vnc" port="-1"/>
    <video><model type="qxl" ram="65536" vram="8192" vgamem="16384"/></video>
    <video><model type="qxl" ram="65536"/></video>
    <smartcard mode="passthrough" type="spicevmc"/>
    <smartcard mode="host"/>
    <sound model="ich6"/>
    <sound model="ac97"/>
    <disk type="file"><target dev="hda" bus="ide"/></disk>
    <disk type="file"><target dev="vda" bus="virtio"/></disk>
    <channel type="spicevmc"/>
    <channel type="unix"/>
  </devices>
</domain>
"#;

fn guest<'a>(real: &'a str, effective: &'a str) -> Guest<'a> {
    Guest {
        real,
        effective,
        memory: None,
        machine: None,
    }
}

fn emulated(vm: &str, guest: &Guest<'_>) -> String {
    let document = xml::parse(vm).unwrap();
    let mut edits = xml::Edits::new(&document);
    guest::emulate(&document, &mut edits, guest).unwrap();
    edits.finish().unwrap().expect("it changes")
}

/// The VM's text with some lines replaced; an empty one goes.
fn with(changes: &[(&str, &str)]) -> String {
    let mut text = VM.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        let (old, new) = if new.is_empty() {
            (format!("    {old}\n"), String::new())
        } else {
            ((*old).to_owned(), (*new).to_owned())
        };
        assert!(text.contains(&old), "{old}");
        text = text.replacen(&old, &new, 1);
    }
    text
}

const ALWAYS: [(&str, &str); 2] = [
    (r#"<domain type="kvm">"#, r#"<domain type="qemu">"#),
    (
        r#"<cpu match="exact"><model>Nehalem</model></cpu>"#,
        "<cpu></cpu>",
    ),
];
/// On every POWER host.
const POWER: [(&str, &str); 4] = [
    (
        r#"<graphics type="spice" port="-1"/>"#,
        r#"<graphics type="vnc" port="-1" first=""/>"#,
    ),
    (r#"<graphics type="vnc" port="-1"/>"#, ""),
    (r#"<sound model="ich6"/>"#, ""),
    (r#"<sound model="ac97"/>"#, ""),
];

#[test]
fn each_pair_of_architectures_changes_what_it_must() {
    let x86 = r#"arch="x86_64" machine="pc-q35-rhel9.4.0""#;
    let power_on_x86 = [
        (x86, r#"arch="x86_64" machine="pc-i440fx-rhel7.1.0""#),
        (
            r#"<controller type="scsi"><address type="spapr-vio" reg="0x1"/><address type="spapr-vio" reg="0x2"/></controller>"#,
            r#"<controller type="scsi"></controller>"#,
        ),
    ];
    let x86_on_power = [
        (x86, r#"arch="ppc64le" machine="pseries""#),
        (
            r#"<model type="qxl" ram="65536" vram="8192" vgamem="16384"/>"#,
            r#"<model type="vga" vram="8192"/>"#,
        ),
        (r#"<smartcard mode="passthrough" type="spicevmc"/>"#, ""),
        (r#"<smartcard mode="host"/>"#, ""),
        (
            r#"<disk type="file"><target dev="hda" bus="ide"/></disk>"#,
            "",
        ),
        (r#"<channel type="spicevmc"/>"#, ""),
        (r#"<bios useserial="yes"/>"#, ""),
        (r#"<smbios mode="sysinfo"/>"#, ""),
        ("\n  <sysinfo type=\"smbios\"/>\n", "\n"),
        (
            r#"<maxMemory slots="16">16777216</maxMemory>"#,
            r#"<maxMemory slots="2">1073741824</maxMemory>"#,
        ),
    ];
    let arch = |name: &str| format!(r#"arch="{name}" machine="pc-q35-rhel9.4.0""#);
    let (ppc, arm, s390) = (arch("ppc64le"), arch("aarch64"), arch("s390x"));
    let (on_ppc, on_arm, on_s390) = ([(x86, &*ppc)], [(x86, &*arm)], [(x86, &*s390)]);
    for (real, effective, changes) in [
        ("x86_64", "x86_64", vec![]),
        ("x86_64", "ppc64", vec![]),
        ("x86_64", "aarch64", vec![]),
        ("x86_64", "ppc64le", power_on_x86.to_vec()),
        ("ppc64le", "ppc64le", [&on_ppc[..], &POWER].concat()),
        ("ppc64le", "aarch64", [&on_ppc[..], &POWER].concat()),
        ("ppc64le", "x86_64", [&x86_on_power[..], &POWER].concat()),
        ("aarch64", "x86_64", on_arm.to_vec()),
        ("s390x", "ppc64le", on_s390.to_vec()),
    ] {
        let changes = [&ALWAYS[..], &changes].concat();
        let expected = with(&changes).replace(r#" first="""#, "");
        let found = emulated(VM, &guest(real, effective));
        assert_eq!(found, expected, "{real} as {effective}");
        // What was left out is not missed, and nothing is done twice.
        let again = xml::parse(&found).unwrap();
        let mut edits = xml::Edits::new(&again);
        guest::emulate(&again, &mut edits, &guest(real, effective)).unwrap();
        assert_eq!(edits.finish(), Ok(None), "{real} as {effective}, again");
    }
}

#[test]
fn a_machine_type_of_ones_own() {
    for (real, effective) in [("x86_64", "ppc64le"), ("ppc64le", "x86_64")] {
        let mut guest = guest(real, effective);
        guest.machine = Some("pc-i440fx-7.2".to_owned());
        let found = emulated(VM, &guest);
        assert!(found.contains(r#"machine="pc-i440fx-7.2""#), "{found}");
    }
}

#[test]
fn the_limit_of_memory_is_always_above_the_memory() {
    for (effective, memory, slots, most) in [
        ("x86_64", 262_144, 2, 1_073_741_824),
        ("x86_64", 1_073_741_824, 2, 4_294_967_296_u64),
        ("ppc64le", 262_144, 16, 16_777_216),
        ("ppc64le", 16_777_216, 16, 67_108_864),
    ] {
        let mut guest = guest("ppc64le", effective);
        guest.memory = Some(memory);
        let found = emulated(VM, &guest);
        let expected = format!("<maxMemory slots=\"{slots}\">{most}</maxMemory>");
        assert!(found.contains(&expected), "{expected}: {found}");
        assert!(
            found.contains(&format!("<memory>{memory}</memory>")),
            "{found}"
        );
    }
}

#[test]
fn flags_of_another_architecture_are_not_mixed_in() {
    let pose = |real: &str, effective: &str| {
        let text = "{}";
        let mut edits = json::Edits::new(text);
        let document = json::Node::parse(text).unwrap();
        caps::pose(document, &mut edits, real, effective).unwrap();
        let new = edits.finish().unwrap().unwrap();
        let flags = json::Node::parse(&new).unwrap().object().unwrap();
        flags.get("cpuFlags").unwrap().text()
    };
    assert!(pose("ppc64le", "x86_64").starts_with("vmx,sse2,nx,model_486,"));
    assert_eq!(pose("x86_64", "ppc64"), "powernv,model_POWER8");
    assert_eq!(pose("x86_64", "aarch64"), "");
}
