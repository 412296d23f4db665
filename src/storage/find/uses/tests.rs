// SPDX-License-Identifier: GPL-2.0-or-later

//! Every form in which an XML names a storage domain.

use super::*;
use crate::Result;

const DOMAIN: &str = "75f8a1bb-4504-4314-91ca-d9365a30692b";
const OTHER: &str = "37e0e64b-5445-4bc3-8675-ceff4637e8e3";
const IMG: &str = "4351c1d2-0d5e-469e-ab98-a0b31d7780e4";
const VOL: &str = "aaaaaaaa-0d5e-469e-ab98-a0b31d7780e4";
const POOL: &str = "59c4c3ee-0205-0227-0229-000000000155";

/// A use in short: kind, id, and every place with the letter of its list.
fn shorten(used: &DomainRef) -> String {
    let mut text = format!("{:?} {}", used.kind, used.id.as_deref().unwrap_or("master"));
    for (letter, paths) in [
        ('d', &used.directories),
        ('l', &used.links),
        ('i', &used.images),
        ('g', &used.guesses),
    ] {
        for path in paths {
            text += &format!(" {letter}:{}", path.display());
        }
    }
    text
}

fn used(xml: &str) -> Result<Vec<String>> {
    let document = xml::parse(xml)?;
    Ok(uses(&document, &Roots::default())
        .iter()
        .map(shorten)
        .collect())
}

/// `…` forms are written with names in place of the ids.
fn named(text: &str) -> String {
    [
        ("MAPPED", DOMAIN.replace('-', "--")),
        ("DOMAIN", DOMAIN.to_owned()),
        ("OTHER", OTHER.to_owned()),
        ("IMG", IMG.to_owned()),
        ("VOLUME", VOL.replace('-', "--")),
        ("VOL", VOL.to_owned()),
        ("POOL", POOL.to_owned()),
    ]
    .iter()
    .fold(text.to_owned(), |text, (name, id)| text.replace(name, id))
}

#[test]
fn sources_of_disks() -> Result {
    let mnt = "/rhev/data-center/mnt";
    for (source, expected) in [
        (
            "file='/rhev/data-center/mnt/nas:_export__1/DOMAIN/images/IMG/VOL'",
            format!("File DOMAIN d:{mnt}/nas:_export__1/DOMAIN"),
        ),
        (
            "file='/rhev/data-center/mnt/glusterSD/host:_vol/DOMAIN/images/IMG/VOL'",
            format!("File DOMAIN d:{mnt}/glusterSD/host:_vol/DOMAIN"),
        ),
        (
            // A repository elsewhere, doubled slashes, an ISO in a subdirectory called images.
            "file='//srv/dc//mnt/x/DOMAIN/images/11111111-1111-1111-1111-111111111111/images/a.iso'",
            "File DOMAIN d:/srv/dc/mnt/x/DOMAIN".to_owned(),
        ),
        (
            "dev='/rhev/data-center/mnt/blockSD/DOMAIN/images/IMG/VOL'",
            "Block DOMAIN".to_owned(),
        ),
        (
            "file='/rhev/data-center/POOL/DOMAIN/images/IMG/VOL'",
            "Unknown DOMAIN l:/rhev/data-center/POOL/DOMAIN".to_owned(),
        ),
        (
            "file='/rhev/data-center/POOL/mastersd/images/IMG/VOL'",
            "Unknown master l:/rhev/data-center/POOL/mastersd".to_owned(),
        ),
        (
            "file='/run/vdsm/storage/DOMAIN/IMG/VOL'",
            "Unknown DOMAIN i:/run/vdsm/storage/DOMAIN/IMG".to_owned(),
        ),
        (
            "dev='/var/run/vdsm/storage/DOMAIN/IMG/VOL'",
            "Unknown DOMAIN i:/run/vdsm/storage/DOMAIN/IMG".to_owned(),
        ),
        (
            "file='/var/lib/vdsm/transient/DOMAIN-VOL.Xa81_z'",
            "Unknown DOMAIN".to_owned(),
        ),
        ("dev='/dev/DOMAIN/VOL'", "Block DOMAIN".to_owned()),
        ("dev='/dev/mapper/MAPPED-VOLUME'", "Block DOMAIN".to_owned()),
        (
            "file='/rhev/data-center/mnt/x/DOMAIN/dom_md/xleases'",
            format!("File DOMAIN d:{mnt}/x/DOMAIN"),
        ),
        // None of them names a domain.
        ("dev='/dev/mapper/360014051234567890'", String::new()),
        ("dev='/dev/mapper/rhel-root'", String::new()),
        ("dev='/dev/sda'", String::new()),
        ("file='/run/vdsm/managedvolumes/DOMAIN'", String::new()),
        ("file='/run/vdsm/payload/DOMAIN.img'", String::new()),
        ("protocol='rbd' name='pool/volume-DOMAIN'", String::new()),
        (
            "protocol='https' name='x/DOMAIN/images/IMG/VOL'",
            String::new(),
        ),
        ("file=''", String::new()),
        ("startupPolicy='optional'", String::new()),
        ("file='DOMAIN/images/IMG/VOL'", String::new()),
        ("file='/x/DOMAIN/images/no-image/VOL'", String::new()),
        ("file='/rhev/data-center/mnt/x/DOMAIN'", String::new()),
    ] {
        let disk = named(&format!("<disk type='file'><source {source}/></disk>"));
        let expected: Vec<String> = match expected.as_str() {
            "" => Vec::new(),
            text => vec![named(text)],
        };
        assert_eq!(used(&disk)?, expected, "{disk}");
        let domain = format!("<domain><devices>{disk}</devices></domain>");
        assert_eq!(used(&domain)?, expected, "{domain}");
    }
    Ok(())
}

#[test]
fn gluster_without_a_mount() -> Result {
    let disk = named(
        "<disk type='network'><source protocol='gluster' name='my_vol/DOMAIN/images/IMG/VOL'>\
         <host name='a.example'/><host name='b.example' port='0'/></source></disk>",
    );
    let guess = "/rhev/data-center/mnt/glusterSD";
    assert_eq!(
        used(&disk)?,
        [named(&format!(
            "File DOMAIN g:{guess}/a.example:_my__vol/DOMAIN g:{guess}/b.example:_my__vol/DOMAIN"
        ))]
    );
    Ok(())
}

#[test]
fn a_chain_and_a_mirror() -> Result {
    let disk = named(
        "<disk><source file='/rhev/data-center/mnt/x/DOMAIN/images/IMG/VOL'/>\
         <backingStore><source file='/rhev/data-center/mnt/y/OTHER/images/IMG/VOL'/>\
         <backingStore><source dev='/dev/aaaaaaaa-4504-4314-91ca-d9365a30692b/VOL'/></backingStore>\
         </backingStore>\
         <mirror file='/rhev/data-center/mnt/z/bbbbbbbb-4504-4314-91ca-d9365a30692b/images/IMG/VOL'>\
         <source file='/rhev/data-center/mnt/x/DOMAIN/images/IMG/VOL'/></mirror></disk>",
    );
    let expected = [
        "File DOMAIN d:/rhev/data-center/mnt/x/DOMAIN",
        "File OTHER d:/rhev/data-center/mnt/y/OTHER",
        "Block aaaaaaaa-4504-4314-91ca-d9365a30692b",
        "File bbbbbbbb-4504-4314-91ca-d9365a30692b d:/rhev/data-center/mnt/z/bbbbbbbb-4504-4314-91ca-d9365a30692b",
    ];
    assert_eq!(used(&disk)?, expected.map(named));
    Ok(())
}

#[test]
fn leases_and_boot_files() -> Result {
    let domain = named(
        "<domain><os><loader>/usr/share/OVMF/OVMF_CODE.fd</loader>\
         <kernel>/rhev/data-center/POOL/OTHER/images/IMG/vmlinuz</kernel>\
         <initrd> /rhev/data-center/mnt/iso/cccccccc-4504-4314-91ca-d9365a30692b/images/IMG/initrd\n</initrd></os>\
         <devices><lease><lockspace>DOMAIN</lockspace><key>k</key><target path='/dev/DOMAIN/xleases' offset='1'/></lease>\
         <lease><lockspace>bbbbbbbb-4504-4314-91ca-d9365a30692b</lockspace>\
         <target path='LEASE-PATH:VOL:aaaaaaaa-4504-4314-91ca-d9365a30692b'/></lease>\
         <lease><lockspace>not an id</lockspace></lease></devices></domain>",
    );
    let expected = [
        "Block DOMAIN",
        "Unknown bbbbbbbb-4504-4314-91ca-d9365a30692b",
        "Unknown aaaaaaaa-4504-4314-91ca-d9365a30692b",
        "Unknown OTHER l:/rhev/data-center/POOL/OTHER",
        "File cccccccc-4504-4314-91ca-d9365a30692b d:/rhev/data-center/mnt/iso/cccccccc-4504-4314-91ca-d9365a30692b",
    ];
    assert_eq!(used(&domain)?, expected.map(named));
    Ok(())
}

#[test]
fn what_ovirt_keeps_in_the_metadata() -> Result {
    let chain = "<m:volumeChain><m:volumeChainNode><m:domainID>OTHER</m:domainID>\
         <m:path>/rhev/data-center/mnt/x/OTHER/images/IMG/VOL</m:path>\
         <m:leasePath>/dev/aaaaaaaa-4504-4314-91ca-d9365a30692b/leases</m:leasePath>\
         </m:volumeChainNode></m:volumeChain>";
    let device =
        "<m:domainID>DOMAIN</m:domainID><m:imageID>IMG</m:imageID><m:poolID>POOL</m:poolID>";
    let domain = |uri: &str, kind: &str| {
        named(&format!(
            "<domain xmlns:m='{uri}'><metadata><m:vm><m:device devtype='{kind}' name='sda'>\
             {device}{chain}</m:device></m:vm></metadata></domain>"
        ))
    };
    let expected = [
        "Unknown DOMAIN l:/rhev/data-center/POOL/DOMAIN i:/run/vdsm/storage/DOMAIN/IMG",
        "File OTHER d:/rhev/data-center/mnt/x/OTHER",
        "Block aaaaaaaa-4504-4314-91ca-d9365a30692b",
    ];
    assert_eq!(used(&domain(OVIRT_VM, "disk"))?, expected.map(named));
    assert_eq!(used(&domain(OVIRT_VM, "lease"))?, [""; 0]);
    assert_eq!(used(&domain("http://example.com/", "disk"))?, [""; 0]);
    Ok(())
}

#[test]
fn one_entry_for_one_domain() -> Result {
    let domain = named(
        "<domain xmlns:m='http://ovirt.org/vm/1.0'><metadata><m:vm><m:device devtype='disk'>\
         <m:domainID>DOMAIN</m:domainID><m:poolID>POOL</m:poolID></m:device></m:vm></metadata><devices>\
         <disk><source file='/rhev/data-center/mnt/x/DOMAIN/images/IMG/VOL'/></disk>\
         <disk><source file='/rhev/data-center/mnt/x/DOMAIN/images/IMG/OTHER'/></disk>\
         <disk><source file='/rhev/data-center/POOL/mastersd/images/IMG/OTHER'/></disk>\
         <disk><source file='/rhev/data-center/POOL/mastersd/images/IMG/VOL'/></disk>\
         <lease><lockspace>DOMAIN</lockspace></lease></devices></domain>",
    );
    let expected = [
        "File DOMAIN d:/rhev/data-center/mnt/x/DOMAIN l:/rhev/data-center/POOL/DOMAIN",
        "Unknown master l:/rhev/data-center/POOL/mastersd",
    ];
    assert_eq!(used(&domain)?, expected.map(named));
    Ok(())
}

#[test]
fn a_document_without_disks_has_no_domains() -> Result {
    assert_eq!(used("<domain/>")?, [""; 0]);
    assert_eq!(
        used("<interface><source bridge='x'/></interface>")?,
        [""; 0]
    );
    assert_eq!(
        used("<x><disk><source dev='/dev/DOMAIN/VOL'/></disk></x>")?,
        [""; 0]
    );
    Ok(())
}
